"""Pearson's correlation coefficient.

Source: Pearson, Note on regression and inheritance in the case of two parents, Proceedings of the
Royal Society of London 58 (1895).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.functional.regression._declare import PairFunction, correlation
from fastmetrics.functional.regression._moment_values import any_wide, as_result, few_rows
from fastmetrics.ops.co_moments import C_XY, M2_X, M2_Y, WIDE
from fastmetrics.utilities.prints import rank_zero_warn
from fastmetrics.utilities.recording import is_recorded

__all__ = ["pearson_corrcoef"]


def defined_correlation(moments: Tensor, owner: str) -> Tensor:
    """Return the correlation of each output ``[D]``; NaN, with a warning, without variance."""
    x, y, xy = moments[:, M2_X], moments[:, M2_Y], moments[:, C_XY]
    defined = (x > 0) & (y > 0) & x.isfinite() & y.isfinite() & xy.isfinite()
    if not is_recorded() and not defined.all():
        rank_zero_warn(
            f"{owner}: predictions or targets of an output are constant, fewer than two or not"
            " finite; its correlation is NaN.",
            UserWarning,
        )
    spread = torch.where(defined, x, 1.0).sqrt() * torch.where(defined, y, 1.0).sqrt()
    return torch.where(defined, (xy / spread).clamp(-1.0, 1.0), torch.nan)


def pearson_formula(moments: Tensor, wide: bool = False) -> Tensor:
    """Return the correlation of ``moments`` ``[D, 12]``: a scalar for one output, else ``[D]``."""
    rows = few_rows(moments) if moments.shape[0] == 1 else None
    if rows is not None:
        x, y, xy = (rows[0][column] for column in (M2_X, M2_Y, C_XY))
        if 0 < x < math.inf and 0 < y < math.inf and math.isfinite(xy):
            number = min(1.0, max(-1.0, xy / (math.sqrt(x) * math.sqrt(y))))
            return as_result(number, wide or rows[0][WIDE] > 0)
    value = defined_correlation(moments, "pearson_corrcoef")
    return as_result(value.squeeze(), wide or any_wide(moments))


pearson_corrcoef: PairFunction = correlation(
    "pearson_corrcoef",
    pearson_formula,
    """Pearson's correlation, ``cov(x, y) / (std(x) std(y))``, in [-1, 1].""",
    returns="A scalar, or ``[D]``.",
    example="""
    >>> pearson_corrcoef(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(0.9849)
    """,
)
