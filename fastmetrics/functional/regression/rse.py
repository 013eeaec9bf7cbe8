"""Relative squared error.

Source: Witten, Frank and Hall, Data Mining, 3rd edition, Morgan Kaufmann 2011.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.regression._moment_values import (
    any_wide,
    as_result,
    by_residuals,
    count_moments,
    few_rows,
)
from fastmetrics.functional.regression.r2 import squared_errors, squared_errors_of
from fastmetrics.ops.co_moments import EXPONENT_D, M2_Y, WEIGHT
from fastmetrics.ops.powers import times_power
from fastmetrics.utilities.checks import check_bool
from fastmetrics.utilities.dtypes import is_wide

__all__ = ["relative_squared_error"]

_EPS32, _EPS64 = torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps


def _of_row(row: list[float], squared: bool, wide: bool) -> float:
    error = (
        squared_errors_of(row) / (row[M2_Y] or (_EPS64 if wide else _EPS32))
        if row[WEIGHT]
        else math.nan
    )
    return error if squared else math.sqrt(error)


def relative_squared_error_formula(
    moments: Tensor, squared: bool = True, wide: bool | None = None
) -> Tensor:
    """Return the mean over the outputs of ``moments`` ``[D, 18]``."""
    wide = any_wide(moments, wide)
    rows = few_rows(moments)
    if rows:
        return as_result(sum(_of_row(row, squared, wide) for row in rows) / len(rows), wide)
    total, weight = moments[:, M2_Y], moments[:, WEIGHT]
    smallest = _EPS64 if wide else _EPS32
    errors = squared_errors(moments)
    errors = torch.where(
        total == 0,
        times_power(errors, 2 * moments[:, EXPONENT_D]) / smallest,
        by_residuals(errors, moments, 2) / torch.where(total == 0, 1.0, total),
    )
    errors = torch.where(weight == 0, torch.nan, errors)
    return as_result((errors if squared else errors.sqrt()).mean(), wide)


@public
def relative_squared_error(
    preds: Tensor, target: Tensor, squared: bool = True, *, weight: Tensor | None = None
) -> Tensor:
    """Relative squared error, ``sum((y - f)^2) / sum((y - mean(y))^2)``, the mean over the outputs.

    Where the target is constant the denominator is the ``eps`` of the value's dtype: float32, or
    float64 when an input is.

    Args:
        preds: predictions f, ``[N]`` or ``[N, D]``, any real dtype.
        target: the truth y, in the same shape.
        squared: False for the square root of each output's error.
        weight: how much each sample counts, ``[N]``.

    Raises:
        ValueError: shapes other than these.
        RuntimeError: ``preds`` and ``target`` have different shapes.

    >>> import torch
    >>> from fastmetrics.functional import relative_squared_error
    >>> relative_squared_error(
    ...     torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0])
    ... )
    tensor(0.0514)
    """
    check_bool("squared", squared)
    moments = count_moments("relative_squared_error", preds, target, weight)
    return relative_squared_error_formula(moments, squared, is_wide(preds, target))
