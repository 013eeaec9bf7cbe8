"""ROUGE scores of samples: F-measure, precision and recall of what predictions and targets share.

What is shared is n-grams, the longest common subsequence of words (``SUBSEQUENCE``), or the words
of the target that are in such a subsequence of any two sentences of both (``SUMMARY``). A row of a
sample has the three scores for each of these kinds, and 1.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.statistic import frozen
from fastmetrics.ops.ngrams import grams, grouped
from fastmetrics.ops.strings import Texts, TextSums, kernel, rows_for, with_references
from fastmetrics.ops.tokens import LETTERS, ROUGE, spaced, tokens_of
from fastmetrics.utilities.prints import rank_zero_warn

SUBSEQUENCE, SUMMARY = 0, -1
SCORES = ("fmeasure", "precision", "recall")


def _in_one(sentences: Sequence[Texts]) -> tuple[Texts, list[int]]:
    """Return all sentences one after the other, and how many each text has."""
    return [*chain.from_iterable(sentences)], [*map(len, sentences)]


class _Letters(dict[str, str]):
    """A letter for each word."""

    def __missing__(self, word: str) -> str:
        letter = self[word] = chr(len(self))
        return letter


# A text in sentences.
Split = Callable[[str], Sequence[str]]


def _score(hits: int, ours: int, theirs: int) -> tuple[float, float, float]:
    if not hits:
        return 0.0, 0.0, 0.0
    precision, recall = hits / ours, hits / theirs
    return 2 * precision * recall / (precision + recall), precision, recall


def _lengths(ours: Sequence[str], theirs: Sequence[str]) -> list[list[int]]:
    """Return the lengths of the longest common subsequences of all prefixes, theirs by ours."""
    table = [[0] * (len(ours) + 1)]
    for word in theirs:
        above, row = table[-1], [0]
        for i, other in enumerate(ours):
            row.append(above[i] + 1 if word == other else max(above[i + 1], row[i]))
        table.append(row)
    return table


def _shared(ours: Sequence[str], theirs: Sequence[str]) -> set[int]:
    """Return where words of ``theirs`` are in the common subsequence that rouge-score finds."""
    table, found = _lengths(ours, theirs), set()
    i, j = len(ours), len(theirs)
    while i and j:
        if ours[i - 1] == theirs[j - 1]:
            found.add(j - 1)
            i, j = i - 1, j - 1
        elif table[j][i - 1] > table[j - 1][i]:
            i -= 1
        else:
            j -= 1
    return found


def _summary(ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> int:
    left, right = Counter(chain.from_iterable(ours)), Counter(chain.from_iterable(theirs))
    hits = 0
    for sentence in theirs:
        for place in sorted(set().union(*(_shared(other, sentence) for other in ours))):
            word = sentence[place]
            if left[word] and right[word]:
                hits += 1
                left[word] -= 1
                right[word] -= 1
    return hits


@kernel
def rouge_rows(
    rows: Tensor, preds: Texts, target: Texts, counts: Sequence[int], pred_sentences: Texts,
    pred_counts: Sequence[int], target_sentences: Texts, target_counts: Sequence[int],
    kinds: Sequence[int], average: bool, tokenizer: int,
) -> None:  # fmt: skip
    """Fill float64 ``rows`` ``[N, 3 * len(kinds) + 1]``.

    ``target`` holds all references one after the other, ``counts`` how many each sample has. The
    sentences of predictions and references, which only ``SUMMARY`` asks for, come in the same way.
    ``kinds`` are numbers n, for n-grams, or the constants of this module.
    """

    def score(kind: int, ours: list[str], theirs: list[str], here: Any, there: Any) -> Any:
        if kind == SUBSEQUENCE:
            return _score(_lengths(ours, theirs)[-1][-1], len(ours), len(theirs))
        if kind == SUMMARY:
            return _score(_summary(here, there), sum(map(len, here)), sum(map(len, there)))
        shared = (grams(ours, kind) & grams(theirs, kind)).total()
        return _score(shared, len(ours) - kind + 1, len(theirs) - kind + 1)

    def tokens(texts: Iterable[str]) -> list[list[str]]:
        return [tokens_of(text, tokenizer, False) for text in texts]

    of_preds = grouped(tokens(pred_sentences), pred_counts)
    of_target = grouped(grouped(tokens(target_sentences), target_counts), counts)
    groups = zip(tokens(preds), grouped(tokens(target), counts), strict=True)
    for i, (ours, references) in enumerate(groups):
        row: list[float] = []
        for kind in kinds:
            here = of_preds[i] if kind == SUMMARY else None
            there = of_target[i] if kind == SUMMARY else [None] * len(references)
            scores = [
                score(kind, ours, theirs, here, each)
                for theirs, each in zip(references, there, strict=True)
            ]
            if average:
                row += (sum(column) / len(scores) for column in zip(*scores, strict=True))
            else:  # torchmetrics compares in float32
                best: list[float] = max(
                    scores, key=lambda each: float(torch.tensor(each[0], device="cpu"))
                )
                row += best
        rows[i] = rows.new_tensor([*row, 1])


def _punkt() -> Split | None:
    """Return nltk's splitter, where it and its data are there."""
    if importlib.util.find_spec("nltk") is None:
        return None
    nltk = importlib.import_module("nltk")
    # What `nltk.data.find` looks for, which takes 250 µs to say that nothing is there.
    places = [os.path.join(home, "tokenizers", "punkt_tab") for home in nltk.data.path]
    there = any(os.path.exists(place) or os.path.exists(place + ".zip") for place in places)
    split: Split | None = nltk.sent_tokenize if there else None
    return split


def at_line_ends(text: str) -> list[str]:
    """Return the lines of a text, which rouge-score takes for sentences."""
    return [line for line in text.split("\n") if line]


def sentence_splitter() -> Split:
    """Return what splits texts for ``SUMMARY``; warns where nltk's splitter is not there."""
    split = _punkt()
    if split is not None:
        return split
    rank_zero_warn(
        "rougeLsum takes each line for a sentence, as rouge-score does: nltk with its data"
        " punkt_tab, by which torchmetrics splits, is not installed.",
        UserWarning,
    )
    return at_line_ends


@functools.cache
def porter() -> Callable[[str], str]:
    """Return what takes the endings off words of more than three letters.

    Raises:
        ModuleNotFoundError: nltk, whose stemmer it is, is not installed.
    """
    try:
        stem = importlib.import_module("nltk.stem.porter").PorterStemmer().stem
    except ImportError as error:
        raise ModuleNotFoundError(
            "`use_stemmer=True` needs the package nltk: pip install nltk"
        ) from error

    @functools.lru_cache(1 << 16)
    def stemmed(word: str) -> str:
        return str(stem(word)) if len(word) > 3 else word

    return stemmed


@frozen()
class Rouge(TextSums):
    """ROUGE scores of samples, added up.

    Attributes:
        kinds: numbers n, for n-grams, ``SUBSEQUENCE`` and ``SUMMARY``.
        average: whether scores are averaged over the references of a sample, instead of those of
            the best.
        stem: whether words are compared without their endings.
        normalizer: what makes a text ready instead of lower case and spaces for all but ASCII
            letters and digits.
        tokenizer: what finds the words of that, instead of ``str.split``.
    """

    kinds: tuple[int, ...]
    average: bool = False
    stem: bool = False
    normalizer: Callable[[str], str] | None = None
    tokenizer: Callable[[str], Sequence[str]] | None = None

    keeps_rows = False
    op = staticmethod(rouge_rows)

    @property
    @override
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]  # depends on `kinds`
        found = [f"{score} {kind}" for kind in self.kinds for score in SCORES]
        return (*found, "samples")

    @override
    def rows_of(self, preds: Any, target: Any) -> Tensor:
        hypotheses, references = with_references(preds, target)
        counts = [*map(len, references)]
        texts: list[Texts] = [hypotheses, [*chain.from_iterable(references)]]
        sentences: list[list[Texts]] = [[], []]
        if SUMMARY in self.kinds:
            split = sentence_splitter()
            sentences = [[split(text) for text in some] for some in texts]
        tokenizer = ROUGE
        if self.stem or self.normalizer or self.tokenizer:
            tokenizer = LETTERS
            texts, sentences = self._in_letters(texts, counts, sentences)
        of_preds, of_target = map(_in_one, sentences)
        rows = rows_for(hypotheses, 3 * len(self.kinds) + 1)
        ours, theirs = texts
        rouge_rows(
            rows, ours, theirs, counts, *of_preds, *of_target, [*self.kinds], self.average,
            tokenizer,
        )  # fmt: skip
        return rows

    def _words(self, text: str) -> Iterator[str]:
        text = self.normalizer(text) if self.normalizer else spaced(text, "rouge", False)
        words = self.tokenizer(text) if self.tokenizer else text.split()
        stem = porter() if self.stem else str
        return (stem(word) for word in words if isinstance(word, str) and word)

    def _in_letters(
        self, texts: Sequence[Texts], counts: list[int], sentences: list[list[Texts]]
    ) -> tuple[list[Texts], list[list[Texts]]]:
        """Return texts with a letter for each word; a sample has letters of its own."""
        of_preds = [_Letters() for _ in counts]
        of_target = [letters for letters, n in zip(of_preds, counts, strict=True) for _ in range(n)]

        def written(text: str, letters: _Letters) -> str:
            return "".join([letters[word] for word in self._words(text)])

        owners = of_preds, of_target
        both_sides = zip(texts, owners, strict=True)
        whole: list[Texts] = [[*map(written, some, own)] for some, own in both_sides]
        parts: list[list[Texts]] = [
            [
                [written(each, letters) for each in text]
                for text, letters in zip(*both, strict=False)
            ]
            for both in zip(sentences, owners, strict=True)
        ]
        return whole, parts
