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

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.statistic import frozen
from fastmetrics.ops.strings import Texts, TextSums, check_each, kernel, pairs_of

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


@kernel
def edit_rows(rows: Tensor, preds: Texts, target: Texts, words: bool, substitution: int) -> None:
    """Fill float64 ``rows`` ``[N, 5]`` for pairs of strings.

    ``words`` counts words instead of characters. A ``substitution`` costs 0, 1 or 2 steps.
    """
    for i, (ours, theirs) in enumerate(zip(preds, target, strict=True)):
        p, t = (ours.split(), theirs.split()) if words else (ours, theirs)
        longer = max(len(p), len(t))
        row = [distance(p, t, substitution), len(t), len(p), longer, 1]
        rows[i] = torch.tensor(row, dtype=torch.float64)


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
        rows = torch.empty(len(left), len(self.columns), dtype=torch.float64)
        try:
            edit_rows(rows, left, right, self.words, self.substitution)
        except (TypeError, AttributeError):
            check_each("preds", left)
            check_each("target", right)
            raise
        return rows

    @override
    def _weigh(self, rows: Tensor, weight: Tensor) -> None:
        if self.whole:
            raise ValueError("`weight` needs `reduction` to be 'mean'.")
        super()._weigh(rows, weight)
