"""The smallest and the largest value that a metric has had."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from fastmetrics.core.locking import exclusive
from fastmetrics.metric import Metric
from fastmetrics.wrappers._inside import MetricsInside, handed_on

__all__ = ["MinMaxMetric"]


class MinMaxMetric(MetricsInside):
    """A metric with the ``min`` and ``max`` over all values that it has returned so far.

    The value is ``{"raw": value, "max": max, "min": min}``. Each ``compute`` and each ``forward``
    counts; NaN does not. ``reset`` forgets the data, not the extremes: they outlive an epoch.

    Args:
        base_metric: a metric whose value is one number.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``base_metric`` is no metric.

    Example:
        >>> import torch
        >>> from fastmetrics.classification import BinaryAccuracy
        >>> from fastmetrics.wrappers import MinMaxMetric
        >>> metric = MinMaxMetric(BinaryAccuracy())
        >>> metric(torch.tensor([1, 1]), torch.tensor([1, 1]))
        {'raw': tensor(1.), 'max': tensor(1.), 'min': tensor(1.)}
        >>> metric.update(torch.tensor([0, 0]), torch.tensor([1, 1]))
        >>> metric.compute()
        {'raw': tensor(0.5000), 'max': tensor(1.), 'min': tensor(0.5000)}
    """

    fused_update = True
    full_state_update = True
    min_val: Tensor
    max_val: Tensor

    def __init__(self, base_metric: Metric, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(base_metric, Metric):
            raise ValueError(f"`base_metric` must be a Metric, got {base_metric!r}.")
        self._base_metric = base_metric
        self.min_val = torch.tensor(float("inf"), device=self._default_device)
        self.max_val = torch.tensor(float("-inf"), device=self._default_device)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch; arguments as for the metric."""
        self._base_metric.update(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch and return its value, with the extremes, for which it counts."""
        if self._has_own_steps(MinMaxMetric):
            return self._forward_by_steps(args, kwargs)
        return self._forwarded(self._with_extremes(self._base_metric(*args, **kwargs)))

    def _value(self) -> dict[str, Any]:
        return self._with_extremes(self._base_metric.compute())

    def _with_extremes(self, value: Any) -> dict[str, Any]:
        if not self._is_suitable_val(value):
            raise RuntimeError(f"The value of `base_metric` must be one number, got {value}.")
        number = torch.as_tensor(value).detach()
        self._widen(number, number)
        return {"raw": value, "max": self.max_val, "min": self.min_val}

    @exclusive
    def _widen(self, smallest: Tensor, largest: Tensor) -> None:
        # They keep what they have where the other is NaN.
        self.max_val = torch.fmax(self.max_val.to(largest.device), largest)
        self.min_val = torch.fmin(self.min_val.to(smallest.device), smallest)

    @staticmethod
    def _is_suitable_val(val: Any) -> bool:
        """Whether a value is one number."""
        return isinstance(val, (int, float)) or (isinstance(val, Tensor) and val.numel() == 1)

    @property
    def _hands_on(self) -> Any:
        return handed_on(self._base_metric)

    def _merge_earlier(self, part: Self) -> None:
        super()._merge_earlier(part)
        self._widen(part.min_val, part.max_val)

    def _extras(self) -> list[float]:
        return [self.min_val.item(), self.max_val.item()]

    def _take_extras(self, extras: list[float]) -> None:
        smallest, largest = extras
        self.min_val, self.max_val = torch.tensor(smallest), torch.tensor(largest)
