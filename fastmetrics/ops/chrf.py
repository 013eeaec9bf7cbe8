"""n-grams of characters and of words, as chrF counts them: of the best reference of a prediction.

A row of a sample has, for each order of characters and then for each of words, the n-grams of the
prediction, then for each again those of its best reference, and then those that are in both, each
as often as in both; behind them the score of the sample, and 1. Where no reference has any n-gram
of the prediction, none is the best, and both counts are 0.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists, Statistic, check_form, frozen, kept_lists
from fastmetrics.ops.ngrams import grams, grouped
from fastmetrics.ops.strings import Texts, TextSums, kernel, rows_for, uncompiled, with_references
from fastmetrics.utilities.checks import check_bool, check_int, check_number

# What a score divides by at least; of sacrebleu and torchmetrics.
SMALLEST = 1e-16


def characters_of(line: str, whitespace: bool) -> Sequence[str]:
    """Return the characters of a line: all of them, or those that are no blanks."""
    return line if whitespace else line.strip().replace(" ", "")


def words_of(line: str) -> list[str]:
    """Return words; a mark of punctuation at the end of one, or else at its start, is one, too."""
    words = []
    for word in line.split():
        border = 0
        if len(word) > 1 and word[-1] in string.punctuation:
            border = len(word) - 1
        elif len(word) > 1 and word[0] in string.punctuation:
            border = 1
        words += [word[:border], word[border:]] if border else [word]
    return words


def f_score(matching: float, ours: float, theirs: float, beta: float) -> float:
    """Return the score of one order; 0 without a match."""
    if not matching:
        return 0.0
    precision, recall = matching / ours, matching / theirs
    square = beta**2
    return (1 + square) * precision * recall / max(square * precision + recall, SMALLEST)


@kernel
def chrf_rows(
    rows: Tensor, preds: Texts, target: Texts, counts: Sequence[int], char_orders: int,
    word_orders: int, beta: float, whitespace: bool,
) -> None:  # fmt: skip
    """Fill float64 ``rows`` ``[N, 3 * (char_orders + word_orders) + 2]``.

    ``target`` holds all references one after the other, ``counts`` how many each sample has.
    """

    def grams_of(line: str) -> list[Any]:
        characters, words = characters_of(line, whitespace), words_of(line)
        return [
            *(grams(characters, n) for n in range(1, char_orders + 1)),
            *(grams(words, n) for n in range(1, word_orders + 1)),
        ]

    orders = char_orders + word_orders
    for i, (line, references) in enumerate(zip(preds, grouped(target, counts), strict=True)):
        ours = grams_of(line)
        sizes = [each.total() for each in ours]
        best, found, best_sizes = 0.0, [0] * orders, [0] * orders
        for reference in references:
            theirs = grams_of(reference)
            there = [each.total() for each in theirs]
            matching = [(a & b).total() for a, b in zip(ours, theirs, strict=True)]
            scores = [
                f_score(m, p, t, beta) for m, p, t in zip(matching, sizes, there, strict=True)
            ]
            score = (sum(scores[:char_orders]) + sum(scores[char_orders:])) / orders
            if score > best:
                best, found, best_sizes = score, matching, there
        rows[i] = rows.new_tensor([*sizes, *best_sizes, *found, best, 1])


@frozen()
class CharacterGrams(TextSums):
    """n-grams of predictions, of their best references, and those that are in both, added up.

    Attributes:
        char_orders: the largest n for characters.
        word_orders: that for words; 0 counts none.
        beta: how much more recall weighs in the choice of the best reference.
        lowercase: whether texts are taken in lower case.
        whitespace: whether blanks are characters.
        keeps_scores: whether the score of each sample is kept, too: ``sentence_chrf_score``, a list
            of ``[N]``.
    """

    char_orders: int = 6
    word_orders: int = 2
    beta: float = 2.0
    lowercase: bool = False
    whitespace: bool = False
    keeps_scores: bool = False

    keeps_rows = False
    op = staticmethod(chrf_rows)
    exact = ("sums",)

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_int("n_char_order", self.char_orders, 1)
        check_int("n_word_order", self.word_orders, 0)
        check_number("beta", self.beta)
        if not 0 <= self.beta <= 1e150:  # whose square is finite
            raise ValueError(f"`beta` must lie in [0, 1e150], got {self.beta!r}.")
        check_bool("lowercase", self.lowercase)
        check_bool("whitespace", self.whitespace)
        check_bool("return_sentence_level_score", self.keeps_scores)

    @property
    def orders(self) -> int:
        """The number of orders of both."""
        return self.char_orders + self.word_orders

    @property
    @override
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]  # depends on the orders
        orders = [f"char {n}" for n in range(1, self.char_orders + 1)]
        orders += [f"word {n}" for n in range(1, self.word_orders + 1)]
        found = [f"{what} {order}" for what in ("preds", "target", "matching") for order in orders]
        return (*found, "score", "samples")

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        kept = {"sentence_chrf_score": "cat"} if self.keeps_scores else {}
        return {"sums": "sum"} | kept

    @property
    @override
    def batches(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]  # as above
        return (("sentence_chrf_score",),) if self.keeps_scores else ()

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        kept: dict[str, Any] = {"sentence_chrf_score": []} if self.keeps_scores else {}
        return super().empty(device) | kept

    @override
    def rows_of(self, preds: Any, target: Any) -> Tensor:
        hypotheses, references = with_references(preds, target)
        ours: Texts = hypotheses
        theirs: Texts = [*chain.from_iterable(references)]
        if self.lowercase:
            ours, theirs = ([line.lower() for line in some] for some in (ours, theirs))
        rows = rows_for(hypotheses, 3 * self.orders + 2)
        options = self.char_orders, self.word_orders, self.beta, self.whitespace
        chrf_rows(rows, ours, theirs, [*map(len, references)], *options)
        return rows

    @override
    @uncompiled
    def add(self, states: States, preds: Any, target: Any, weight: Tensor | None = None) -> None:
        if not self.keeps_scores:
            super().add(states, preds, target, weight)
            return
        rows = self.rows_of(preds, target)
        scores = rows[:, -2].to(states.values["sums"].device, torch.float32)
        self.add_rows(states, rows, weight)
        states.values["sentence_chrf_score"].append(scores)

    @override
    def read_from(self, other: Statistic, states: States) -> dict[str, Any] | None:
        """Take the sums of one that keeps the scores, too."""
        same = isinstance(other, CharacterGrams) and other._compared()[:-1] == self._compared()[:-1]
        if not same or self.keeps_scores:
            return None
        return {"sums": states.values["sums"]}

    @override
    def lists(self) -> Lists | None:
        return kept_lists(("sentence_chrf_score",)) if self.keeps_scores else None

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        check_form(names[0], tensors[0], ("N",))
