"""Edits: insertions, deletions and substitutions that lead from predictions to targets.

A sequence of characters is edited into another one in the fewest steps; a row of a pair has

=========== ==========================================================================
``edits``   the number of steps, each substitution counting as ``substitution``
``target``  the length of the target
``preds``   that of the prediction
``longer``  the larger of both
``samples`` 1
=========== ==========================================================================

Characters are code points, as in Python; words are what ``str.split()`` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.statistic import frozen
from fastmetrics.ops.strings import (
    Texts,
    TextSums,
    check_each,
    kernel,
    pairs_of,
    rows_for,
    uncompiled,
)

EDITS, TARGET, PREDS, LONGER, SAMPLES = range(5)


def distance(preds: Sequence[str], target: Sequence[str], substitution: int) -> int:
    """Return the cost of the cheapest edits."""
    row: list[int] = [*range(len(target) + 1)]
    for i, symbol in enumerate(preds, 1):
        above, row[0] = row[0], i
        for j, wanted in enumerate(target, 1):
            best = above if symbol == wanted else above + substitution
            above = row[j]
            row[j] = min(best, above + 1, row[j - 1] + 1)
    return row[-1]


def check_pairs(preds: Texts, target: Texts) -> None:
    """Raise ``ValueError`` for what is no string in them."""
    check_each("preds", preds)
    check_each("target", target)


@kernel
def edit_rows(rows: Tensor, preds: Texts, target: Texts, words: bool, substitution: int) -> None:
    """Fill float64 ``rows`` ``[N, 5]`` for pairs of strings.

    ``words`` counts words instead of characters. A ``substitution`` costs 0, 1 or 2 steps.
    """
    check_pairs(preds, target)  # bytes and lists would do, too
    for i, (ours, theirs) in enumerate(zip(preds, target, strict=True)):
        p, t = (ours.split(), theirs.split()) if words else (ours, theirs)
        longer = max(len(p), len(t))
        row = [distance(p, t, substitution), len(t), len(p), longer, 1]
        rows[i] = rows.new_tensor(row)


@kernel
def edit_sums(sums: Tensor, preds: Texts, target: Texts, words: bool, substitution: int) -> None:
    """Add the rows of :func:`edit_rows` up to float64 ``sums`` ``[5]``."""
    rows = rows_for(preds, len(sums))
    edit_rows(rows, preds, target, words, substitution)
    sums += rows.sum(0)


KEEP, SUBSTITUTE, DELETE, INSERT = "=SDI"


def steps_between(preds: Sequence[str], target: Sequence[str]) -> str:
    """Return the steps that edit one target, as :func:`edit_steps` does."""
    front = back = 0  # ends that both have in common are kept, whatever else is as cheap
    shorter = min(len(preds), len(target))
    while front < shorter and preds[front] == target[front]:
        front += 1
    while back < shorter - front and preds[-1 - back] == target[-1 - back]:
        back += 1
    preds, target = preds[front : len(preds) - back], target[front : len(target) - back]
    table = [[*range(len(preds) + 1)]]
    for i, wanted in enumerate(target, 1):
        above, row = table[-1], [i]
        for j, symbol in enumerate(preds, 1):
            row.append(min(above[j - 1] + (symbol != wanted), above[j] + 1, row[-1] + 1))
        table.append(row)
    steps = []
    i, j = len(target), len(preds)
    while i and j:
        if table[i][j] == table[i - 1][j] + 1:
            i -= 1
            steps.append(DELETE)
        elif j > 1 and table[i][j - 1] == table[i - 1][j - 1] - 1:
            j -= 1
            steps.append(INSERT)
        else:
            i, j = i - 1, j - 1
            steps.append(KEEP if target[i] == preds[j] else SUBSTITUTE)
    middle = DELETE * i + INSERT * j + "".join(reversed(steps))
    return KEEP * front + middle + KEEP * back


@kernel
def edit_steps(preds: Texts, target: Texts, words: bool) -> list[str]:
    """Return for each pair the steps that edit the target into the prediction.

    For texts whose table is too large the compiled function has None.

    A step is ``=`` (kept), ``S`` (substituted), ``D`` (missing from the prediction) or ``I``
    (only there). Of equally cheap edits, those that packages for speech recognition report.
    """
    pairs = zip(preds, target, strict=True)
    return [steps_between(p.split(), t.split()) if words else steps_between(p, t) for p, t in pairs]


@frozen()
class Edits(TextSums):
    """The edits of pairs of strings, and their lengths, added up.

    Attributes:
        words: whether words are edited, or characters.
        substitution: how many steps a substitution is; more than 2 are as 2, since a deletion and
            an insertion do the same.
        keeps_rows: whether the row of each sample is kept.
        whole: whether weights, which need not be whole numbers, are refused.
    """

    words: bool
    substitution: int = 1
    keeps_rows: bool = False
    whole: bool = False

    op = staticmethod(edit_rows)
    columns = ("edits", "target", "preds", "longer", "samples")

    def __post_init__(self) -> None:
        """Make equal costs look the same."""
        object.__setattr__(self, "substitution", min(self.substitution, 2))

    @override
    def rows_of(self, preds: Any, target: Any) -> Tensor:
        left, right = pairs_of(preds, target)
        rows = rows_for(left, len(self.columns))
        self._run(edit_rows, rows, left, right)
        return rows

    @override
    @uncompiled
    def numbers_of(self, preds: Any, target: Any) -> list[float]:
        sums = torch.zeros(len(self.columns), dtype=torch.float64, device="cpu")
        self._run(edit_sums, sums, *pairs_of(preds, target))
        found: list[float] = sums.tolist()
        return found

    @override
    def add_sums(self, sums: Tensor, preds: Any, target: Any) -> None:
        plain = sums.dtype is torch.float64 and sums.shape == (len(self.columns),)
        if plain and sums.is_contiguous():
            self._run(edit_sums, sums, *pairs_of(preds, target))
        else:  # of a user, who may assign anything
            super().add_sums(sums, preds, target)

    def _run(self, run: Callable[..., None], into: Tensor, preds: Texts, target: Texts) -> None:
        try:
            run(into, preds, target, self.words, self.substitution)
        except (TypeError, AttributeError):
            check_pairs(preds, target)
            raise

    @override
    def weigh(self, rows: Tensor, weight: Tensor) -> None:
        """Multiply the last column; not where the sums are those of whole numbers."""
        if self.whole:
            raise ValueError("`weight` needs `reduction` to be 'mean'.")
        super().weigh(rows, weight)
