"""R2, the share of the variance of the target that predictions account for.

Source: Draper and Smith, Applied Regression Analysis, 3rd edition, Wiley 1998.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.regression._moment_values import (
    MULTIOUTPUTS,
    as_result,
    average_outputs,
    by_largest_target,
    by_residuals,
    count_moments,
    explained,
    explained_numbers,
    few_rows,
    may_ask,
)
from fastmetrics.ops.co_moments import COUNT, M2_D, M2_Y, MEAN_D, WEIGHT, WIDE
from fastmetrics.utilities.checks import check_choice, check_int
from fastmetrics.utilities.dtypes import is_wide
from fastmetrics.utilities.prints import rank_zero_warn

__all__ = ["r2_score"]


def check_r2(adjusted: Any, multioutput: str) -> None:
    """Raise ``ValueError`` for arguments that R2 does not take."""
    check_int("adjusted", adjusted, 0)
    check_choice("multioutput", multioutput, MULTIOUTPUTS)


def squared_errors(moments: Tensor) -> Tensor:
    """Return the weighted sum of the squared residuals of each output."""
    return moments[:, M2_D] + moments[:, WEIGHT] * moments[:, MEAN_D].square()


def squared_errors_of(row: list[float]) -> float:
    """Return the same of the moments of one output."""
    return row[M2_D] + row[WEIGHT] * row[MEAN_D] * row[MEAN_D]


def _adjust(value: Tensor | float, count: Tensor | int, adjusted: int) -> Tensor | float:
    """Return R2 adjusted for so many regressors, where there are samples enough."""
    if isinstance(count, Tensor):  # not known to the host
        value = torch.where(count < 2, torch.nan, value)
        if not adjusted:
            return value
        free = count - adjusted - 1
        return torch.where(free > 0, 1 - (1 - value) * (count - 1) / free, value)
    if count < 2:
        return value * math.nan
    if adjusted > count - 1:
        rank_zero_warn(
            f"`adjusted`={adjusted} regressors are more than {count} samples can tell apart: R2 is"
            " not adjusted.",
            UserWarning,
        )
    elif adjusted == count - 1:
        rank_zero_warn(
            f"`adjusted`={adjusted} regressors and {count} samples would divide by zero: R2 is not"
            " adjusted.",
            UserWarning,
        )
    elif adjusted:
        value = 1 - (1 - value) * (count - 1) / (count - adjusted - 1)
    return value


def r2_formula(
    moments: Tensor,
    adjusted: int = 0,
    multioutput: str = "uniform_average",
    wide: bool | None = None,
    *,
    needs_two: bool = True,
) -> Tensor:
    """Return R2 of ``moments`` ``[D, 18]``: one value, or ``[D]`` for ``"raw_values"``.

    R2 of fewer than two samples is NaN, or an error where ``needs_two``; NaN always in compiled
    regions, and of one batch on a GPU.
    """
    count: Tensor | int | None
    rows = few_rows(moments)
    if not may_ask(moments, wide):
        count = moments[0, COUNT]
    elif len(moments):
        row = rows[0] if rows else moments[0].tolist()
        count, wide = int(row[COUNT]), wide or row[WIDE] == 1
        if needs_two and count < 2:
            raise ValueError(f"r2_score needs at least two samples, got {count}.")
    else:  # no output has counted any
        count = None
    value: Tensor | float
    if rows is not None and multioutput == "uniform_average":
        value = explained_numbers((squared_errors_of(row), row[M2_Y]) for row in rows)
    else:
        total = moments[:, M2_Y]
        errors = by_residuals(squared_errors(moments), moments, 2)
        spread = by_largest_target(total, moments, 2)
        value = average_outputs(explained(errors, total), spread, multioutput)
    if count is not None:
        value = _adjust(value, count, adjusted)
    return as_result(value, bool(wide))


@public
def r2_score(
    preds: Tensor,
    target: Tensor,
    adjusted: int = 0,
    multioutput: str = "uniform_average",
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """R2, ``1 - sum((y - f)^2) / sum((y - mean(y))^2)``, at most 1.

    A constant target gives 1 for perfect predictions, else 0. The value is float32, or float64 when
    an input is.

    Args:
        preds: predictions f, ``[N]`` or ``[N, D]``, any real dtype.
        target: the truth y, in the same shape.
        adjusted: number of regressors k in ``1 - (1 - R2) (N - 1) / (N - k - 1)``; 0 for none.
        multioutput: ``"uniform_average"`` over the outputs, ``"variance_weighted"``, or
            ``"raw_values"`` ``[D]``.
        weight: how much each sample counts, ``[N]``.

    Raises:
        ValueError: fewer than two samples, or arguments or shapes other than these.
        RuntimeError: ``preds`` and ``target`` have different shapes.

    >>> import torch
    >>> from fastmetrics.functional import r2_score
    >>> r2_score(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(0.9486)
    """
    check_r2(adjusted, multioutput)
    moments = count_moments("r2_score", preds, target, weight)
    value = r2_formula(moments, adjusted, multioutput, is_wide(preds, target))
    return value.squeeze() if preds.ndim == 1 and value.ndim else value
