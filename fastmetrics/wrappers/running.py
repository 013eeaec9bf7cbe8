"""The value of a metric over the last few batches."""

from __future__ import annotations

from typing import Any

import torch

from fastmetrics.core.states import States, private_copy
from fastmetrics.core.statistic_metric import StatisticMetric
from fastmetrics.metric import Metric
from fastmetrics.utilities.checks import check_int
from fastmetrics.wrappers.abstract import WrapperMetric

__all__ = ["Running"]


class Running(WrapperMetric):
    """A metric over the last ``window`` batches: ``compute`` forgets what came before.

    The states of each batch in the window are kept apart, so memory is that of ``window`` metrics.
    ``forward`` returns the value of the batch alone, as for any metric.

    Args:
        base_metric: a metric with ``full_state_update = False``.
        window: how many calls of ``update`` and ``forward`` count, at least 1.

    Raises:
        ValueError: ``base_metric`` is no such metric, or ``window`` no positive integer.

    Example:
        >>> from fastmetrics.aggregation import SumMetric
        >>> from fastmetrics.wrappers import Running
        >>> metric = Running(SumMetric(), window=2)
        >>> for value in (1.0, 2.0, 4.0):
        ...     metric.update(value)
        >>> metric.compute()
        tensor(6.)
    """

    fused_update = True

    def __init__(self, base_metric: Metric, window: int = 5) -> None:
        super().__init__()
        if not isinstance(base_metric, Metric):
            raise ValueError(f"`base_metric` must be a Metric, got {base_metric!r}.")
        check_int("window", window, 1)
        if base_metric.full_state_update is not False:
            raise ValueError(
                "`base_metric` must have `full_state_update = False`, got"
                f" {base_metric.full_state_update}."
            )
        self.base_metric = base_metric
        self.window = window
        self._num_vals_seen = 0
        states = base_metric._states
        for name, default in states.defaults.items():
            for slot in range(window):
                self.add_state(f"{name}_{slot}", default, states.reductions[name])

    def _keep_batch(self) -> None:
        """Exchange the states of the metric, one batch, with the oldest of the window."""
        own, batch = self._private(), self.base_metric._private()
        slot = self._num_vals_seen % self.window
        for name in batch.defaults:
            own.exchange(f"{name}_{slot}", batch, name)
        self.base_metric.reset()
        self.__dict__["_num_vals_seen"] += 1

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch to the window; arguments as in ``update`` of the metric."""
        self.base_metric.update(*args, **kwargs)
        self._keep_batch()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the window and return the value of the batch alone."""
        value = self.base_metric(*args, **kwargs)
        self._keep_batch()
        self._states.note()
        self.__dict__["_forward_cache"] = value
        return value

    def compute(self) -> Any:
        """Return the value of the metric over the batches of the window, oldest first."""
        seen = self._num_vals_seen
        slots = [i % self.window for i in range(max(0, seen - self.window), seen)]
        states = self.base_metric._private()
        with torch.no_grad():
            for name, reduction in states.reductions.items():
                parts = [self._states.values[f"{name}_{slot}"] for slot in slots]
                for count, part in enumerate(parts):
                    total = reduction.merge(states.values[name], part, (count, 1))
                    states.values[name] = total if count else private_copy(part)
        states.count = len(slots)
        states.changed()
        try:
            return self.base_metric.compute()
        finally:
            self.base_metric.reset()

    def reset(self) -> None:
        """Empty the window."""
        super().reset()
        self.base_metric.reset()
        self.__dict__["_num_vals_seen"] = 0

    def __getattr__(self, name: str) -> Any:
        """Return a state of a batch by the name that torchmetrics gives it."""
        state, _, slot = name.rpartition("_")
        base = self.__dict__.get("_modules", {}).get("base_metric")
        if slot.isdecimal() and isinstance(base, StatisticMetric) and state in base._views():
            values = {each: getattr(self, f"{each}_{slot}") for each in base._defaults}
            return base._views()[state].get(States(values))
        return super().__getattr__(name)

    def _extras(self) -> int:
        return self._num_vals_seen

    def _take_extras(self, extras: int) -> None:
        self.__dict__["_num_vals_seen"] = extras

    @property
    def _hands_on(self) -> Metric:
        return self.base_metric
