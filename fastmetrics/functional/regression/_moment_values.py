"""What formulas over co-moments share; `fastmetrics.ops.co_moments` names the columns."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from fastmetrics.core.statistic import count_with_gradients
from fastmetrics.ops.co_moments import (
    EXPONENT_D,
    EXPONENT_X,
    EXPONENT_Y,
    WIDE,
    Moments,
)
from fastmetrics.ops.powers import times_power
from fastmetrics.utilities.data import scalar
from fastmetrics.utilities.recording import is_recorded

# Up to here numbers are faster than tensors.
_FEW = 8

_ONE = Moments()
_FLAT = Moments(flat=True)

MULTIOUTPUTS = ("raw_values", "uniform_average", "variance_weighted")


def count_moments(
    owner: str, preds: Tensor, target: Tensor, weight: Tensor | None, *, flat: bool = False
) -> Tensor:
    """Return the moments of one batch ``[N]`` or ``[N, D]``; ``flat`` takes any shape as ``[N]``.

    Raises:
        RuntimeError: ``preds`` and ``target`` have different shapes.
        ValueError: another shape, no real dtype, or a weight that does not fit.
    """
    several = preds.ndim == 2 and not flat
    statistic = Moments(preds.shape[1]) if several else (_FLAT if flat else _ONE)
    moments: Tensor = count_with_gradients(statistic, owner, preds, target, weight).values[
        "moments"
    ]
    return moments


def any_wide(moments: Tensor, known: bool | None) -> bool:
    """Whether any input was float64, if that is not known; not asked in compiled regions."""
    if known is not None:
        return known
    return not is_recorded() and moments[0, WIDE].item() == 1


def may_ask(moments: Tensor, wide: bool | None) -> bool:
    """Whether to look at values for the sake of a warning.

    Not in compiled regions, nor where it would be the only wait for a GPU: there dtypes are known
    of one batch, but not of all batches, whose value waits anyway.
    """
    return (moments.is_cpu or wide is None) and not is_recorded()


def few_rows(moments: Tensor) -> list[list[float]] | None:
    """Return the rows as numbers where those are faster than a dozen tensor operations.

    That is for few outputs on the CPU; numbers let no gradients through, and raise where they
    leave the range of float64.
    """
    if not moments.is_cpu or moments.requires_grad or moments.shape[0] > _FEW:
        return None
    if is_recorded():
        return None
    rows: list[list[float]] = moments.tolist()
    return None if any(any(row[EXPONENT_X:]) for row in rows) else rows


def as_result(value: Tensor | float, wide: bool) -> Tensor:
    """Round a value to float32, unless an input was float64."""
    if not isinstance(value, Tensor):
        return scalar(value, torch.float64 if wide else torch.float32)
    return value if wide else value.float()


def by_residuals(values: Tensor, moments: Tensor, power: int) -> Tensor:
    """Return what the residuals gave to this power, in terms of the exponents of the target."""
    return times_power(values, power * (moments[:, EXPONENT_D] - moments[:, EXPONENT_Y]))


def by_largest_target(values: Tensor, moments: Tensor, power: int) -> Tensor:
    """Return what the targets gave to this power, in terms of one exponent for all outputs."""
    exponents = moments[:, EXPONENT_Y]
    return times_power(values, power * (exponents - exponents.max())) if len(values) else values


def average_outputs(scores: Tensor, spread: Tensor, multioutput: str) -> Tensor:
    """Average ``scores`` ``[D]`` as ``multioutput`` says; ``spread`` are the variances."""
    if multioutput == "raw_values":
        return scores
    if multioutput == "uniform_average":
        return scores.mean()
    return (spread / spread.sum() * scores).sum()


def explained_numbers(pairs: Iterable[tuple[float, float]]) -> float:
    """Return the mean of `explained` over pairs of unexplained and total sums of squares."""
    scores = [
        1.0 if rest == 0 else 0.0 if total == 0 else 1.0 - rest / total for rest, total in pairs
    ]
    return sum(scores) / len(scores) if scores else math.nan


def explained(unexplained: Tensor, total: Tensor) -> Tensor:
    """Return ``1 - unexplained / total``; 1 where nothing is left to explain, else 0 for 0/0."""
    constant = total == 0
    scores = 1 - unexplained / torch.where(constant, 1.0, total)
    scores = torch.where(constant, 0.0, scores)
    return torch.where(unexplained == 0, 1.0, scores)
