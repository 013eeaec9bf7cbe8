"""Minkowski distance.

Source: Minkowski, Geometrie der Zahlen, Teubner 1910.
"""

from __future__ import annotations

import functools

from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.regression._error_values import N, checked_sums, error_value
from fastmetrics.ops.error_sums import POWER

__all__ = ["minkowski_distance"]


def distance(power_sum: N, weight: N, *, p: float) -> N:
    """Return the root of the sum of powers."""
    root: N = power_sum ** (1.0 / p)
    return root


@public
def minkowski_distance(preds: Tensor, targets: Tensor, p: float) -> Tensor:
    """Minkowski distance, ``sum(|preds - targets|^p)^(1 / p)``.

    Args:
        preds: predictions, any real type and shape.
        targets: true values in the shape of ``preds``.
        p: the exponent, at least 1.

    Returns:
        A scalar, float64 if an input is and float32 otherwise; it carries gradients.

    Raises:
        TorchMetricsUserError: ``p`` is not a number of at least 1.
        RuntimeError: the shapes differ.
        ValueError: the inputs are not real.

    >>> import torch
    >>> from fastmetrics.functional.regression import minkowski_distance
    >>> preds, target = torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0])
    >>> minkowski_distance(preds, target, p=3)
    tensor(1.7517)
    """
    statistic = checked_sums(POWER, p=p)
    formula = functools.partial(distance, p=p)
    return error_value("minkowski_distance", statistic, formula, preds, targets, None)
