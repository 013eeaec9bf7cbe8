"""Relative squared error."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.functional.regression.rse import relative_squared_error_formula
from fastmetrics.regression._moments import MomentsMetric
from fastmetrics.utilities.checks import check_int

__all__ = ["RelativeSquaredError"]


class RelativeSquaredError(MomentsMetric):
    """Relative squared error, ``sum((y - f)^2) / sum((y - mean(y))^2)``, the mean over the outputs.

    ``preds`` f and ``target`` y are ``[N]``, or ``[N, D]`` with D outputs. Where the target is
    constant the denominator is the ``eps`` of the value's dtype.

    Args:
        num_outputs: D.
        squared: False for the square root of each output's error.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``num_outputs`` is no positive integer.

    >>> import torch
    >>> from fastmetrics.regression import RelativeSquaredError
    >>> metric = RelativeSquaredError()
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(0.0514)
    """

    higher_is_better = False

    def __init__(self, num_outputs: int = 1, squared: bool = True, **kwargs: Any) -> None:
        check_int("num_outputs", num_outputs, 1)
        super().__init__(num_outputs, **kwargs)
        self.num_outputs = num_outputs
        self.squared = squared

    def compute(self) -> Tensor:
        """Return the mean error of the outputs, a scalar."""
        return relative_squared_error_formula(self._final(), self.squared, self._wide)
