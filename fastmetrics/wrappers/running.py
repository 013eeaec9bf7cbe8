"""The value of a metric over the last few batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from fastmetrics.core.locking import exclusive
from fastmetrics.core.stateful import EXTRAS
from fastmetrics.core.states import States, private_copy
from fastmetrics.core.statistic_metric import StatisticMetric
from fastmetrics.distributed import gather_all_tensors
from fastmetrics.metric import Metric, is_native
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

    The states of each batch in the window are kept apart, so memory is that of as many metrics as
    there are batches in it.
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
        if not is_native(base_metric):
            raise ValueError(f"`base_metric` must be a Metric of fastmetrics, got {base_metric!r}.")
        check_int("window", window, 1)
        if base_metric.full_state_update is not False:
            raise ValueError(
                "`base_metric` must have `full_state_update = False`, got"
                f" {base_metric.full_state_update}."
            )
        self.base_metric = base_metric
        self.window = window
        self._num_vals_seen = 0
        self._empty_at = -1
        self._slots_persist = False

    def _declare(self, slot: int) -> None:
        """Make room for one more batch: the window takes memory as it fills."""
        own, batch = self._states, self.base_metric._states
        for name, default in batch.defaults.items():
            own.declare(f"{name}_{slot}", default, batch.reductions[name], self.device)

    def _emptied(self) -> Metric:
        """Return the metric, emptied should an interrupt have left something in it."""
        own = self.__dict__
        metric: Metric = own["_modules"]["base_metric"]  # half the time of asking for it
        changed = not is_dynamo_compiling() and metric._states.stamp() != own["_empty_at"]
        if changed or metric._states.updates():
            self._empty(metric)
        return metric

    def _empty(self, metric: Metric) -> None:
        """Empty the metric, and know it from one that something was added to since."""
        metric.reset()
        if not is_dynamo_compiling():
            self.__dict__["_empty_at"] = metric._states.stamp()

    def _keep_batch(self, metric: Metric) -> None:
        """Exchange the states of the metric, one batch, with the oldest of the window."""
        own, batch, window = self._private(), metric._private(), self.__dict__
        seen = window["_num_vals_seen"]
        slot = seen % window["window"]
        if seen == slot:
            self._declare(slot)
        newest: dict[str, Any] = {}
        oldest: dict[str, Any] = {}
        for name in batch.defaults:
            place, value = f"{name}_{slot}", batch.values[name]
            newest[place] = list(value) if isinstance(value, list) else value
            oldest[place] = own.values[place]
        batch.home.clear()  # this memory goes to the window
        try:
            own.values.update(newest)
            window["_num_vals_seen"] = seen + 1
        except BaseException:
            own.values.update(oldest)
            window["_num_vals_seen"] = seen
            raise
        for name, place in zip(batch.defaults, newest, strict=True):
            if isinstance(oldest[place], Tensor):
                own.home[place], batch.home[name] = newest[place], oldest[place]
        self._empty(metric)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch to the window; arguments as in ``update`` of the metric."""
        metric = self._emptied()
        metric.update(*args, **kwargs)
        self._keep_batch(metric)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the window and return the value of the batch alone."""
        return self._keep_and_value(args, kwargs)

    @exclusive
    def _keep_and_value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        metric = self._emptied()
        value = metric(*args, **kwargs)
        self._private().changed()
        self._keep_batch(metric)
        self._states.note()
        self.__dict__["_forward_cache"] = value
        return value

    @exclusive
    def compute(self) -> Any:
        """Return the value of the metric over the batches of the window, oldest first."""
        seen = self._num_vals_seen
        slots = [i % self.window for i in range(max(0, seen - self.window), seen)]
        metric = self._emptied()
        head = metric._private()
        values = {name: private_copy(value) for name, value in head.values.items()}
        with torch.no_grad():
            for name, reduction in head.reductions.items():
                parts = [self._states.values[f"{name}_{slot}"] for slot in slots]
                for count, part in enumerate(parts):
                    total = reduction.merge(values[name], part, (count, 1))
                    values[name] = total if count else private_copy(part)
        whole = head.like(values)
        whole.count, whole.lock = len(slots), head.lock
        metric._point(whole)
        try:
            return metric.compute()
        finally:
            metric._point(head)

    @exclusive
    def reset(self) -> None:
        """Empty the window."""
        self.__dict__["_kept"] = None
        self._open(0)
        self.__dict__["_forward_cache"] = None
        self.base_metric.reset()

    def _open(self, seen: int) -> None:
        """Let the window hold so many batches, or the last of them, which are still to be set."""
        empty = States()
        empty.lock, empty.count = self._states.lock, seen
        empty.changed()
        self.__dict__.update(_num_vals_seen=seen, _states=empty)
        for slot in range(self._in_use()):
            self._declare(slot)

    def _in_use(self) -> int:
        return min(self._num_vals_seen, self.window)

    def _sync_dist(
        self,
        dist_sync_fn: Callable[..., Any] = gather_all_tensors,
        process_group: Any | None = None,
    ) -> None:
        # All processes must send as many batches; those that are missing are without data.
        own = self._states
        own.defaults, own.reductions = dict(own.defaults), dict(own.reductions)
        count = torch.tensor(self._in_use(), device=self.device)
        counts = dist_sync_fn(count, group=process_group or self.process_group)
        for slot in range(int(count), max(map(int, counts))):
            self._declare(slot)
        super()._sync_dist(dist_sync_fn, process_group)

    def _persist(self, mode: bool | str) -> None:
        self.__dict__["_slots_persist"] = mode

    @property
    def _persistent(self) -> dict[str, bool | str]:
        return dict.fromkeys(self._defaults, self._slots_persist)

    def _form(self) -> bool | str:
        mode: bool | str = self._slots_persist
        return mode

    def _batch(self, slot: int) -> dict[str, Any]:
        """Return the states of a batch of the window, those of no data where it has none yet."""
        own = self._states.values
        return {
            name: own.get(f"{name}_{slot}", private_copy(default))
            for name, default in self.base_metric._defaults.items()
        }

    def __getattr__(self, name: str) -> Any:
        """Return a state of a batch by the name that it has here or in torchmetrics."""
        state, _, slot = name.rpartition("_")
        base = self.__dict__.get("_modules", {}).get("base_metric")
        if base is not None and slot.isdecimal() and int(slot) < self.window:
            batch = self._batch(int(slot))
            if state in batch:
                return batch[state]
            if isinstance(base, StatisticMetric) and state in base._views():
                return base._views()[state].get(States(batch))
        return super().__getattr__(name)

    def _check_upstream(self) -> None:
        self.base_metric._check_upstream()

    def _upstream_states(self, states: States) -> dict[str, Any]:
        """Return the whole window, the oldest batch first, which torchmetrics forgets first."""
        written: dict[str, Any] = {}
        for place in range(self.window):
            batch = States(self._batch((self._num_vals_seen + place) % self.window))
            given = self.base_metric._upstream_states(batch)
            written.update((f"{name}_{place}", state) for name, state in given.items())
        return written

    def _check_states(self, states: Mapping[str, Any]) -> None:
        for slot in range(self._in_use()):
            batch = {name: states[f"{name}_{slot}"] for name in self.base_metric._defaults}
            with _naming(slot):
                self.base_metric._check_states(batch)

    def _extras(self) -> list[int]:
        return [self._num_vals_seen, self.window]

    def _seen_by(self, extras: list[Any]) -> int:
        """Return how many batches a window with these extras has seen."""
        if len(extras) != 2 or not all(type(number) is int for number in extras):
            raise ValueError(f"A window says batches and places, two numbers, got {extras!r:.80}.")
        seen: int = extras[0]
        if not 0 <= seen < 2**63:
            raise ValueError(f"The number of batches seen must not be negative, got {seen}.")
        if extras[1] != self.window:
            raise ValueError(f"`window` must be {extras[1]}, as saved, got {self.window}.")
        return seen

    def _take_extras(self, extras: list[int]) -> None:
        self._open(self._seen_by(extras))

    def _saved_names(self, found: Sequence[str]) -> list[str]:
        known = self.base_metric._state_names()
        parts = {name: name.rpartition("_") for name in found}
        return [
            name
            for name, (state, _, slot) in parts.items()
            if name == EXTRAS or (state in known and slot.isdecimal())
        ]

    def _read_saved(self, given: Mapping[str, Any], extras: Any) -> tuple[dict[str, Any], Any]:
        """Read a window of torchmetrics, too, which tells neither count nor place.

        It goes on behind the last slot that holds anything.
        """
        slots: dict[int, dict[str, Any]] = {}
        for key, value in given.items():
            name, _, place = key.rpartition("_")
            slots.setdefault(int(place), {})[name] = value
        seen = self.window if extras is None else self._seen_by(extras)
        if max(slots, default=-1) >= min(seen, self.window):
            raise ValueError(
                f"`window` is {self.window}, with {seen} batches seen, and there are states of"
                f" batch {max(slots)}, counted from 0."
            )
        batches = {}
        for slot, batch in slots.items():
            with _naming(slot):
                batches[slot] = self.base_metric._read(batch, keep=False)
        if extras is None:
            filled = [slot for slot, batch in batches.items() if self._holds_data(batch)]
            seen = max(filled, default=-1) + 1
        states = {
            f"{name}_{slot}": state
            for slot, batch in batches.items()
            if slot < seen
            for name, state in batch.items()
        }
        return states, [seen, self.window]

    def _holds_data(self, batch: Mapping[str, Any]) -> bool:
        """Whether the states of a batch are others than by default."""
        for name, default in self.base_metric._defaults.items():
            value = batch[name]
            if not isinstance(default, Tensor):
                if value:
                    return True
            elif value.shape != default.shape or not torch.equal(value.to(default), default):
                return True
        return False

    @property
    def _hands_on(self) -> Metric:
        return self.base_metric
