"""The value of a metric over the last few batches."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from fastmetrics.core.states import States, blank, private_copy
from fastmetrics.core.statistic_metric import StatisticMetric
from fastmetrics.metric import Metric
from fastmetrics.utilities.checks import check_int
from fastmetrics.wrappers.abstract import WrapperMetric

__all__ = ["Running"]


@contextmanager
def _naming(slot: int) -> Generator[None, None, None]:
    """Say in errors about states which batch of the window they are of."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"slot {slot} of the window: {error}") from None


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

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take a window under the names of torchmetrics, too, which tell neither count nor place.

        It goes on behind the last slot that holds anything.
        """
        base, error_msgs = self.base_metric, args[-1]
        named = base._translation().names if isinstance(base, StatisticMetric) else set()
        slots: dict[int, dict[str, Any]] = {}
        for key in [key for key in state_dict if key.startswith(prefix)]:
            name, _, slot = key.removeprefix(prefix).rpartition("_")
            if name in named - base._defaults.keys() and slot.isdecimal():
                slots.setdefault(int(slot), {})[name] = state_dict.pop(key)
        if slots:
            try:
                states = self._read_slots(slots)
            except ValueError as error:
                error_msgs.append(f"{prefix[:-1] or type(self).__name__}: {error}")
            else:
                self._take_states(states)
                self.__dict__["_num_vals_seen"] = self._last_filled() + 1
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _read_slots(self, slots: dict[int, dict[str, Any]]) -> dict[str, Any]:
        """Return the states that torchmetrics' states of some slots say; all else is as by default.

        Raises:
            ValueError: one of them is no such state, or the window has fewer slots.
        """
        base = self.base_metric
        assert isinstance(base, StatisticMetric)
        if max(slots) >= self.window:
            raise ValueError(f"`window` is {self.window}, and the states are of {max(slots) + 1}.")
        read = blank(self._states).values
        for slot, given in slots.items():
            with _naming(slot):
                states = base._read(given, keep=False)
            read.update((f"{name}_{slot}", state) for name, state in states.items())
        return read

    def _check_states(self, states: Mapping[str, Any]) -> None:
        for slot in range(self.window):
            with _naming(slot):
                self.base_metric._check_states(
                    {name: states[f"{name}_{slot}"] for name in self.base_metric._defaults}
                )

    def _last_filled(self) -> int:
        """Return the last slot whose states are not as by default, -1 if there is none."""
        own = self._states
        for slot in reversed(range(self.window)):
            for name in self.base_metric._defaults:
                value, default = (x[f"{name}_{slot}"] for x in (own.values, own.defaults))
                if len(value) if isinstance(value, list) else not torch.equal(value, default):
                    return slot
        return -1

    def _check_upstream(self) -> None:
        self.base_metric._check_upstream()

    def _upstream_states(self) -> dict[str, Any]:
        base, own = self.base_metric, self._states.values
        written: dict[str, Any] = {}
        for place in range(self.window):  # the oldest first, which torchmetrics forgets first
            slot = (self._num_vals_seen + place) % self.window
            batch = States({name: own[f"{name}_{slot}"] for name in base._defaults})
            states = batch.values
            if isinstance(base, StatisticMetric):
                states = base._translation().give(batch)
            written.update((f"{name}_{place}", state) for name, state in states.items())
        return written

    def _extras(self) -> int:
        return self._num_vals_seen

    def _take_extras(self, extras: int) -> None:
        if extras < 0:
            raise ValueError(f"The number of batches seen must not be negative, got {extras}.")
        self.__dict__["_num_vals_seen"] = extras

    def _filter_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        return self.base_metric._filter_kwargs(**kwargs)
