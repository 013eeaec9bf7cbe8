"""Spearman's rank correlation coefficient.

Source: Spearman, The proof and measurement of association between two things, American Journal of
Psychology 15 (1904).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.ops import rank_moments_
from fastmetrics.ops.counted import is_few
from fastmetrics.ops.ranks import CO_MOMENT, COUNT, M2_PREDS, M2_TARGET, NUM_MOMENTS, Samples
from fastmetrics.utilities.data import vector
from fastmetrics.utilities.dtypes import result_dtype

__all__ = ["spearman_corrcoef"]


def spearman_formula(moments: Tensor) -> Tensor:
    """Return the correlation of the ranks of each output ``[D]``, float64."""
    spread = moments[:, M2_PREDS].sqrt() * moments[:, M2_TARGET].sqrt()
    value = moments[:, CO_MOMENT] / torch.where(spread == 0, 1.0, spread)
    value = torch.where(moments[:, COUNT] > 0, value, torch.nan)
    return value.clamp(-1.0, 1.0)


def _of_row(row: list[float]) -> float:
    """Return the same of the moments of one output."""
    spread = math.sqrt(row[M2_PREDS]) * math.sqrt(row[M2_TARGET])
    value = row[CO_MOMENT] / (spread or 1.0) if row[COUNT] > 0 else math.nan
    return value if value != value else min(1.0, max(-1.0, value))


def rank_correlation(preds: list[Tensor], target: list[Tensor], outputs: int) -> Tensor:
    """Return Spearman's correlation ``[D]`` of chunks as `rank_moments_` takes them."""
    moments = torch.zeros(outputs, NUM_MOMENTS, dtype=torch.float64, device=preds[0].device)
    rank_moments_(moments, preds, target)
    dtype = result_dtype(preds[0], target[0])
    if is_few(moments):
        return vector([*map(_of_row, moments.tolist())], dtype)
    return spearman_formula(moments).to(dtype)


@public
def spearman_corrcoef(preds: Tensor, target: Tensor) -> Tensor:
    """Spearman's correlation, Pearson's correlation of the ranks, in [-1, 1].

    ``cov(rank_x, rank_y) / (sd(rank_x) * sd(rank_y))``, ties taking the mean of their ranks.

    Equal numbers share the mean of their ranks, and all sums are exact. 0 where predictions or
    targets are constant; NaN where one of them is NaN, or for no samples. Not differentiable.

    Args:
        preds: predictions, ``[N]`` or ``[N, D]``, any float dtype.
        target: the truth, in the same shape.

    Returns:
        A scalar, or ``[D]``; float64 if an input is, else float32.

    Raises:
        TypeError: an input is not floating point.
        ValueError: shapes other than these.
        RuntimeError: ``preds`` and ``target`` have different shapes.

    >>> import torch
    >>> from fastmetrics.functional import spearman_corrcoef
    >>> spearman_corrcoef(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 1.0]))
    tensor(0.4000)
    """
    outputs = preds.shape[1] if preds.ndim == 2 else 1
    Samples(outputs, floating=True).check_batch("spearman_corrcoef", preds, target)
    value = rank_correlation([preds], [target], outputs)
    return value[0] if preds.ndim == 1 else value
