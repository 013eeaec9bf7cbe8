"""Minkowski distance.

Source: Minkowski, Geometrie der Zahlen, Teubner 1910.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.regression._errors import batch_sums, is_readable, result_dtype
from fastmetrics.ops.error_sums import POWER
from fastmetrics.utilities.exceptions import TorchMetricsUserError

__all__ = ["minkowski_distance"]

TERMS = POWER


def check_exponent(p: Any) -> None:
    """Raise ``TorchMetricsUserError`` unless ``p`` is a number of at least 1."""
    if not (isinstance(p, (float, int)) and p >= 1):
        raise TorchMetricsUserError(f"`p` must be a float or int of at least 1, got {p!r}.")


def distance_value(sums: Tensor, p: float) -> Tensor:
    """Return the root of the sum of powers."""
    return sums.select(-1, 0).pow(1.0 / p)


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
    check_exponent(p)
    sums = batch_sums(preds, targets, None, TERMS, p=p)
    dtype = result_dtype(preds, targets)
    if is_readable(sums):
        return torch.full((), sums.tolist()[0][0] ** (1.0 / p), dtype=dtype)
    return distance_value(sums[0], p).to(dtype)
