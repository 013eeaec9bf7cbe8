"""Pearson's correlation coefficient.

Source: Pearson, Note on regression and inheritance in the case of two parents, Proceedings of the
Royal Society of London 58 (1895).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.functional.regression._declare import PairFunction, correlation
from fastmetrics.functional.regression._moment_values import any_wide, as_result, few_rows, may_ask
from fastmetrics.ops.co_moments import C_XY, M2_X, M2_Y, MEAN_X, MEAN_Y, WEIGHT, WIDE
from fastmetrics.utilities.prints import rank_zero_warn

__all__ = ["pearson_corrcoef"]


# Deviations of so few steps between neighbouring numbers are what rounding leaves of the inputs.
_FEWEST_STEPS = 8.0
_EPS32, _EPS64 = torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps


def _warn_of_rounding(owner: str) -> None:
    rank_zero_warn(
        f"{owner}: the deviations of predictions or targets of an output are no larger than the"
        " rounding of such numbers; their correlation says little.",
        UserWarning,
    )


def _least(mean: Tensor, moments: Tensor, wide: bool | None) -> Tensor:
    """Return the sum of squares that rounding alone may leave around this mean."""
    kind = moments[:, WIDE]
    eps = torch.where(kind == 1, _EPS64, _EPS64 if wide else _EPS32)
    step = _FEWEST_STEPS * torch.where(kind == 0.5, 0.0, eps)
    return (mean * step).square() * moments[:, WEIGHT]


def defined_correlation(moments: Tensor, owner: str, wide: bool | None = None) -> Tensor:
    """Return the correlation of each output ``[D]``; NaN without variance, with a warning.

    ``wide`` as far as it was known before, see `may_ask`.
    """
    x, y, xy = moments[:, M2_X], moments[:, M2_Y], moments[:, C_XY]
    defined = (x > 0) & (y > 0) & x.isfinite() & y.isfinite() & xy.isfinite()
    if may_ask(moments, wide):
        least_x = _least(moments[:, MEAN_X], moments, wide)
        least_y = _least(moments[:, MEAN_Y], moments, wide)
        rounding = defined & ((x < least_x) | (y < least_y))
        is_defined, is_rounding = torch.stack((defined.all(), rounding.any())).tolist()
        if not is_defined:
            rank_zero_warn(
                f"{owner}: predictions or targets of an output are constant, fewer than two or not"
                " finite; its correlation is NaN.",
                UserWarning,
            )
        if is_rounding:
            _warn_of_rounding(owner)
    spread = torch.where(defined, x, 1.0).sqrt() * torch.where(defined, y, 1.0).sqrt()
    return torch.where(defined, (xy / spread).clamp(-1.0, 1.0), torch.nan)


def correlation_of_one(
    moments: Tensor, owner: str, wide: bool | None
) -> tuple[float, list[float], bool] | None:
    """Return the correlation of one output, its moments, and whether an input was float64.

    None where tensors must do, or where the correlation is not defined.
    """
    rows = few_rows(moments) if moments.shape[0] == 1 else None
    if rows is None:
        return None
    (row,) = rows
    x, y, xy = row[M2_X], row[M2_Y], row[C_XY]
    if not (0 < x < math.inf and 0 < y < math.inf and math.isfinite(xy)):
        return None
    is_wide = wide or row[WIDE] == 1
    step = _FEWEST_STEPS * (_EPS64 if is_wide else 0.0 if row[WIDE] else _EPS32)
    least_x, least_y = row[MEAN_X] * step, row[MEAN_Y] * step
    if x < least_x * least_x * row[WEIGHT] or y < least_y * least_y * row[WEIGHT]:
        _warn_of_rounding(owner)
    return min(1.0, max(-1.0, xy / (math.sqrt(x) * math.sqrt(y)))), row, is_wide


def pearson_formula(moments: Tensor, wide: bool | None = None) -> Tensor:
    """Return the correlation of ``moments`` ``[D, 18]``: a scalar for one output, else ``[D]``."""
    one = correlation_of_one(moments, "pearson_corrcoef", wide)
    if one is not None:
        return as_result(one[0], one[2])
    value = defined_correlation(moments, "pearson_corrcoef", wide)
    return as_result(value.squeeze(), any_wide(moments, wide))


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
