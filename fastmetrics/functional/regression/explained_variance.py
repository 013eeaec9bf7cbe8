"""Explained variance, which R2 is for predictions without a bias.

Source: the user guide of scikit-learn, section on the metrics of regression.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.regression._moment_values import (
    MULTIOUTPUTS,
    any_wide,
    as_result,
    average_outputs,
    by_largest_target,
    by_residuals,
    count_moments,
    explained,
    explained_numbers,
    few_rows,
)
from fastmetrics.ops.co_moments import COUNT, M2_D, M2_Y, WEIGHT, WIDE
from fastmetrics.utilities.checks import check_choice
from fastmetrics.utilities.dtypes import is_wide

__all__ = ["explained_variance"]


def explained_variance_formula(
    moments: Tensor, multioutput: str = "uniform_average", wide: bool | None = None
) -> Tensor:
    """Return the value for ``moments`` ``[D, 18]``: a scalar, or ``[D]`` for ``"raw_values"``."""
    rows = few_rows(moments) if multioutput == "uniform_average" else None
    if rows is not None:
        # One sample has no variance, so that NaN stands for it.
        pairs = ((row[M2_D], row[M2_Y]) if row[COUNT] > 1 else (math.nan, math.nan) for row in rows)
        return as_result(explained_numbers(pairs), wide or any(row[WIDE] == 1 for row in rows))
    weight = moments[:, WEIGHT]
    variance = moments[:, M2_Y] / weight
    scores = explained(by_residuals(moments[:, M2_D], moments, 2) / weight, variance)
    scores = torch.where(moments[:, COUNT] < 2, torch.nan, scores)
    value = average_outputs(scores, by_largest_target(variance, moments, 2), multioutput)
    return as_result(value, any_wide(moments, wide))


@public
def explained_variance(
    preds: Tensor,
    target: Tensor,
    multioutput: str = "uniform_average",
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Explained variance, ``1 - var(y - f) / var(y)``, at most 1.

    A constant target gives 1 for predictions that err by a constant, else 0; fewer than two samples
    give NaN. The value is float32, or float64 when an input is.

    Args:
        preds: predictions f, ``[N]`` or ``[N, ...]``, any real dtype.
        target: the truth y, in the same shape.
        multioutput: ``"uniform_average"`` over the outputs, ``"variance_weighted"``, or
            ``"raw_values"`` in the shape of one sample.
        weight: how much each sample counts, ``[N]``.

    Raises:
        ValueError: another ``multioutput``, or shapes other than these.
        RuntimeError: ``preds`` and ``target`` have different shapes.

    >>> import torch
    >>> from fastmetrics.functional import explained_variance
    >>> explained_variance(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(0.9572)
    """
    check_choice("multioutput", multioutput, MULTIOUTPUTS)
    shape = preds.shape[1:]
    if preds.ndim > 2 and target.shape == preds.shape:
        preds, target = preds.flatten(1), target.flatten(1)
    moments = count_moments("explained_variance", preds, target, weight)
    value = explained_variance_formula(moments, multioutput, is_wide(preds, target))
    return value.view(shape) if multioutput == "raw_values" else value
