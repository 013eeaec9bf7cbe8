"""n-grams: those of predictions that a reference has, too, as BLEU counts them.

An n-gram is n tokens in a row. A row of a sample has, for n from 1 to N,

============== ================================================================================
``matches n``  how many n-grams of the prediction a reference has, each as often as that one of
               the references that has it most often
``n-grams n``  how many n-grams the prediction has
``preds``      the number of its tokens
``target``     that of the reference whose length is closest; of two, the first
``samples``    1
============== ================================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, frozen
from fastmetrics.ops.strings import Texts, TextSums, kernel, rows_for, with_references
from fastmetrics.ops.tokens import check_tokenizer, for_kernels, tokens_of
from fastmetrics.utilities.checks import check_bool, check_int


def grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """Return how often each n-gram is there."""
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def grouped(texts: Sequence[Any], counts: Sequence[int]) -> list[Sequence[Any]]:
    """Return texts in groups of these sizes."""
    ends = [0]
    for each in counts:
        ends.append(ends[-1] + each)
    return [texts[a:b] for a, b in pairwise(ends)]


@kernel
def ngram_rows(
    rows: Tensor, preds: Texts, target: Texts, counts: Sequence[int], orders: int, tokenizer: int,
    lowercase: bool, classes: bytes,
) -> None:  # fmt: skip
    """Fill float64 ``rows`` ``[N, 2 * orders + 3]``.

    ``target`` holds all references one after the other, ``counts`` how many each sample has.
    ``tokenizer`` is a place in ``NATIVE`` of ``fastmetrics.ops.tokens``.
    """
    for i, (line, references) in enumerate(zip(preds, grouped(target, counts), strict=True)):
        ours = tokens_of(line, tokenizer, lowercase)
        theirs = [tokens_of(each, tokenizer, lowercase) for each in references]
        matches = []
        for n in range(1, orders + 1):
            pooled: Counter[tuple[str, ...]] = Counter()
            for tokens in theirs:
                pooled |= grams(tokens, n)
            matches.append((grams(ours, n) & pooled).total())
        totals = [max(len(ours) - n, 0) for n in range(orders)]
        closest = min((len(tokens) for tokens in theirs), key=lambda size: abs(size - len(ours)))
        rows[i] = rows.new_tensor([*matches, *totals, len(ours), closest, 1])


@frozen()
class NGrams(TextSums):
    """Matching n-grams of predictions, all n-grams, and the lengths of both sides, added up.

    Attributes:
        n_gram: the largest n.
        tokenizer: one of sacrebleu's, by its name.
        lowercase: whether tokens are taken in lower case.
    """

    n_gram: int = 4
    tokenizer: str = "none"
    lowercase: bool = False

    keeps_rows = False
    op = staticmethod(ngram_rows)

    def __post_init__(self) -> None:
        """Check the arguments, and load what the tokenizer needs."""
        check_int("n_gram", self.n_gram, 1)
        check_tokenizer(self.tokenizer)
        check_bool("lowercase", self.lowercase)

    @property
    @override
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]  # depends on `n_gram`
        orders = range(1, self.n_gram + 1)
        found = [f"{what} {n}" for what in ("matches", "n-grams") for n in orders]
        return (*found, "preds", "target", "samples")

    @override
    def rows_of(self, preds: Any, target: Any) -> Tensor:
        hypotheses, references = with_references(preds, target)
        flat = [*chain.from_iterable(references)]
        (ours, theirs), tokenizer, lowercase, classes = for_kernels(
            (hypotheses, flat), self.tokenizer, self.lowercase
        )
        rows = rows_for(hypotheses, 2 * self.n_gram + 3)
        counts = [*map(len, references)]
        ngram_rows(rows, ours, theirs, counts, self.n_gram, tokenizer, lowercase, classes)
        return rows

    @override
    def read_from(self, other: Statistic, states: States) -> dict[str, Any] | None:
        """Take the smaller orders of one that counts more of them in the same tokens."""
        if not isinstance(other, NGrams) or self.n_gram > other.n_gram:
            return None
        if (self.tokenizer, self.lowercase) != (other.tokenizer, other.lowercase):
            return None
        sums, n = other.sums(states), other.n_gram
        parts = sums[: self.n_gram], sums[n : n + self.n_gram], sums[2 * n :]
        return {"sums": torch.cat(parts)}
