"""Root mean squared error in units of the target.

Source: Shcherbakov and others, A survey of forecast error measures, World Applied Sciences Journal
24 (2013).
"""

from __future__ import annotations

import math

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
from fastmetrics.ops.co_moments import (
    EXPONENT_Y,
    M2_Y,
    MAX_Y,
    MEAN_Y,
    MIN_Y,
    WEIGHT,
)
from fastmetrics.ops.powers import times_power
from fastmetrics.utilities.checks import check_choice, check_int
from fastmetrics.utilities.data import quotient
from fastmetrics.utilities.dtypes import is_wide

__all__ = ["normalized_root_mean_squared_error"]

NORMALIZATIONS = ("mean", "range", "std", "l2")


def check_nrmse(normalization: str, num_outputs: int) -> None:
    """Raise ``ValueError`` for arguments that the error does not take."""
    check_choice("normalization", normalization, NORMALIZATIONS)
    check_int("num_outputs", num_outputs, 1)


def _of_row(row: list[float], normalization: str) -> float:
    weight, mean, spread = row[WEIGHT], row[MEAN_Y], row[M2_Y]
    if normalization == "mean":
        scale = mean
    elif normalization == "range":
        scale = row[MAX_Y] - row[MIN_Y]
    elif normalization == "std":
        scale = math.sqrt(quotient(spread, weight))
    else:
        scale = math.sqrt(spread + weight * mean * mean)
    return quotient(math.sqrt(quotient(squared_errors_of(row), weight)), scale)


def nrmse_formula(moments: Tensor, normalization: str = "mean", wide: bool | None = None) -> Tensor:
    """Return the errors of ``moments`` ``[D, 18]``, ``[D]``."""
    rows = few_rows(moments) if len(moments) == 1 else None
    if rows:
        return as_result(_of_row(rows[0], normalization), any_wide(moments, wide))
    weight = moments[:, WEIGHT]
    mean, spread = moments[:, MEAN_Y], moments[:, M2_Y]
    if normalization == "mean":
        scale = mean
    elif normalization == "range":
        by_y = -moments[:, EXPONENT_Y]
        scale = times_power(moments[:, MAX_Y], by_y) - times_power(moments[:, MIN_Y], by_y)
    elif normalization == "std":
        scale = (spread / weight).sqrt()
    else:
        scale = (spread + weight * mean.square()).sqrt()
    value = by_residuals((squared_errors(moments) / weight).sqrt(), moments, 1) / scale
    return as_result(value, any_wide(moments, wide))


@public
def normalized_root_mean_squared_error(
    preds: Tensor,
    target: Tensor,
    normalization: str = "mean",
    num_outputs: int = 1,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Root mean squared error ``sqrt(mean((y - f)^2))``, divided by a scale of the target.

    The value is float32, or float64 when an input is; infinite or NaN where the scale is zero.

    Args:
        preds: predictions f, any shape for one output, ``[N, D]`` for D; any real dtype.
        target: the truth y, in the same shape.
        normalization: the scale: ``"mean"``, ``"range"`` (largest less smallest), ``"std"`` (of the
            population) or ``"l2"`` (the root of the sum of squares) of the target.
        num_outputs: D.
        weight: how much each sample counts, ``[N]``, for ``preds`` ``[N]`` or ``[N, D]``. Samples
            of weight zero are left out of the range.

    Returns:
        A scalar for one output, else ``[D]``.

    Raises:
        ValueError: another ``normalization``, or shapes other than these.
        RuntimeError: ``preds`` and ``target`` have different shapes.

    >>> import torch
    >>> from fastmetrics.functional import normalized_root_mean_squared_error
    >>> preds, target = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0, 2.0, 2.0])
    >>> normalized_root_mean_squared_error(preds, target, normalization="mean")
    tensor(0.4000)
    """
    check_nrmse(normalization, num_outputs)
    owner, flat = "normalized_root_mean_squared_error", num_outputs == 1
    moments = count_moments(owner, preds, target, weight, flat=flat)
    if moments.shape[0] != num_outputs:
        raise ValueError(
            f"`preds` and `target` must have shape (N, {num_outputs}), got {tuple(preds.shape)}."
        )
    return nrmse_formula(moments, normalization, is_wide(preds, target)).squeeze()
