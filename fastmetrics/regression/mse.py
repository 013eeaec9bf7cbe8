"""Mean squared error."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.functional.regression.mse import TERMS, squared_value
from fastmetrics.regression._errors import ErrorSumMetric

__all__ = ["MeanSquaredError"]


class MeanSquaredError(ErrorSumMetric):
    """Mean squared error, ``mean((preds - target)^2)``, or its root.

    ``update(preds, target, *, weight=None)`` takes inputs of any real type and one shape, with
    several outputs ``[N, num_outputs]``, and an optional ``weight`` ``[N]``.

    Args:
        squared: False returns the root.
        num_outputs: 1 takes the mean over all positions, more that of each column.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``squared`` is not a bool or ``num_outputs`` not a positive integer; the inputs
            of an update are not real, or do not fit ``num_outputs``.
        RuntimeError: the shapes of an update differ.

    >>> import torch
    >>> from fastmetrics.regression import MeanSquaredError
    >>> metric = MeanSquaredError(num_outputs=2)
    >>> metric(torch.tensor([[3.0, 5.0], [2.5, 7.0]]), torch.tensor([[2.0, 5.0], [4.0, 8.0]]))
    tensor([1.6250, 0.5000])
    """

    def __init__(self, squared: bool = True, num_outputs: int = 1, **kwargs: Any) -> None:
        if not isinstance(squared, bool):
            raise ValueError(f"`squared` must be a bool, got {squared!r}.")
        super().__init__(TERMS, num_outputs, **kwargs)
        self.squared = squared
        self.num_outputs = num_outputs

    def _value(self, sums: Tensor) -> Tensor:
        return squared_value(sums, self.squared)
