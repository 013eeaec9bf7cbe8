"""Tweedie deviance.

Source: Jørgensen, Exponential dispersion models, Journal of the Royal Statistical Society B 49
(1987).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.regression._error_values import N, checked_sums, error_value
from fastmetrics.ops.error_sums import DEVIANCE

__all__ = ["tweedie_deviance_score"]


def mean_deviance(deviance: N, outside: N, weight: N) -> N:
    """Return the mean deviance; nothing lies outside the domain once this is asked for."""
    return deviance / weight


@public
def tweedie_deviance_score(
    preds: Tensor, targets: Tensor, power: float = 0.0, *, weight: Tensor | None = None
) -> Tensor:
    """Mean Tweedie deviance, by its power, with p = preds and t = targets.

    ========== ==================================== =========================================
    power      deviance                             domain
    ========== ==================================== =========================================
    0          ``(t - p)^2``                        any
    1          ``2 (t log(t / p) + p - t)``         p > 0, t >= 0
    2          ``2 (log(p / t) + t / p - 1)``       p > 0, t > 0
    other q    ``2 (max(t, 0)^(2 - q) / ((1 - q)    p > 0; t >= 0 for 1 < q < 2;
               (2 - q)) - t p^(1 - q) / (1 - q)     t > 0 for q > 2
               + p^(2 - q) / (2 - q))``
    ========== ==================================== =========================================

    Args:
        preds: predictions, any real type and shape.
        targets: true values in the shape of ``preds``.
        power: not between 0 and 1.
        weight: optional ``[N]``, a weight for each entry of the first axis.

    Returns:
        A scalar, float64 if an input is and float32 otherwise; it carries gradients.

    Raises:
        RuntimeError: the shapes differ.
        ValueError: ``power`` lies between 0 and 1, a number lies outside the domain, the inputs are
            not real, or ``weight`` does not fit.

    >>> import torch
    >>> from fastmetrics.functional.regression import tweedie_deviance_score
    >>> preds, targets = torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    >>> tweedie_deviance_score(preds, targets, power=2)
    tensor(1.2083)
    """
    statistic = checked_sums(DEVIANCE, power=power)
    return error_value("tweedie_deviance_score", statistic, mean_deviance, preds, targets, weight)
