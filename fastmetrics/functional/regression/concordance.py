"""Lin's concordance correlation coefficient.

Source: Lin, A concordance correlation coefficient to evaluate reproducibility, Biometrics 45
(1989).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.regression._moments import (
    any_wide,
    as_result,
    count_moments,
    wide_inputs,
)
from fastmetrics.functional.regression.pearson import correlation
from fastmetrics.ops.co_moments import COUNT, M2_X, M2_Y, MEAN_D, WEIGHT

__all__ = ["concordance_corrcoef"]


def concordance_formula(moments: Tensor, wide: bool = False) -> Tensor:
    """Return the coefficients of ``moments`` ``[D, 12]``, ``[D]``."""
    x, y, count = moments[:, M2_X], moments[:, M2_Y], moments[:, COUNT]
    bias = moments[:, MEAN_D].square() * moments[:, WEIGHT] * ((count - 1) / count)
    pearson = correlation(moments, "concordance_corrcoef")
    value = 2 * pearson * x.sqrt() * y.sqrt() / (x + y + bias)
    return as_result(value, wide or any_wide(moments))


def concordance_corrcoef(preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Concordance, ``2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2)``, in [-1, 1].

    NaN, with a warning, where predictions or targets are constant. The value is float32, or
    float64 when an input is.

    Args:
        preds: x, ``[N]`` or ``[N, D]``, any real dtype.
        target: y, in the same shape.
        weight: how much each sample counts, ``[N]``.

    Returns:
        ``[D]``, with D = 1 for ``[N]``.

    Raises:
        ValueError: shapes other than these.
        RuntimeError: ``preds`` and ``target`` have different shapes.

    >>> import torch
    >>> concordance_corrcoef(
    ...     torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0])
    ... )
    tensor([0.9777])
    """
    moments = count_moments(preds, target, weight)
    return concordance_formula(moments, wide_inputs(preds, target))
