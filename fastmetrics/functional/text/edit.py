"""Edit distance of characters.

Source: Levenshtein, Binary codes capable of correcting deletions, insertions and reversals, Soviet
Physics Doklady 10 (1966).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.functional._public import public
from fastmetrics.functional.text._values import number_of, value_of
from fastmetrics.ops.edits import EDITS, SAMPLES, Edits
from fastmetrics.ops.strings import count_texts
from fastmetrics.utilities.checks import check_choice, check_int
from fastmetrics.utilities.data import scalar

__all__ = ["edit_distance"]

_REDUCTIONS = (None, "mean", "sum", "none")


def distances(substitution_cost: int, reduction: str | None) -> Edits:
    """Return what is counted; the arguments are checked."""
    check_int("substitution_cost", substitution_cost, 0)
    check_choice("reduction", reduction, _REDUCTIONS)
    return Edits(
        words=False,
        substitution=substitution_cost,
        keeps_rows=reduction in ("none", None),
        whole=reduction != "mean",
    )


def mean(edits: Any, target: Any, preds: Any, longer: Any, samples: Any) -> Any:
    """Return the mean over samples."""
    return edits / samples


def read_distance(
    statistic: Edits, states: States, reduction: str | None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the distances, int32 ``[N]``, their sum, int64, or their mean in ``dtype``."""
    if statistic.keeps_rows:
        return statistic.rows_in(states)[:, EDITS].int()
    if reduction == "sum":
        return statistic.sums(states)[EDITS].long()
    found: Tensor = value_of(statistic, states, mean, dtype)
    return found


@public
def edit_distance(
    preds: str | Sequence[str],
    target: str | Sequence[str],
    substitution_cost: int = 1,
    reduction: str | None = "mean",
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Insertions, deletions and substitutions of characters that lead from ``preds`` to ``target``.

    ``insertions + deletions + substitution_cost * substitutions``. Characters are code points. The
    distance is that of the cheapest edits, for texts of any length.

    Args:
        preds: predicted texts, a string or N of them.
        target: true texts, as many.
        substitution_cost: what a substitution costs, a whole number of at least 0; an insertion and
            a deletion cost 1 each.
        reduction: ``"mean"``, ``"sum"``, or None or ``"none"`` for the distance of each sample.
        weight: optional ``[N]``, a weight for each sample, for the mean.

    Returns:
        The mean, a float32 scalar, 0 of no samples; the sum, an int64 scalar; or int32 ``[N]``.

    Raises:
        ValueError: the texts are no strings or differ in number, another argument is not as above.

    >>> from fastmetrics.functional.text import edit_distance
    >>> edit_distance(["rain", "lnaguaeg"], ["shine", "language"])
    tensor(3.5000)
    >>> edit_distance(["rain", "lnaguaeg"], ["shine", "language"], reduction=None)
    tensor([3, 4], dtype=torch.int32)
    >>> edit_distance("rain", "shine", substitution_cost=2)
    tensor(5.)
    """
    statistic = distances(substitution_cost, reduction)
    if reduction == "mean" and weight is None:
        sums = statistic.numbers_of(preds, target)
        return scalar(number_of(mean, sums) if sums[SAMPLES] else 0.0)
    states = count_texts(statistic, "edit_distance", preds, target, weight)
    return read_distance(statistic, states, reduction)
