"""A metric that is a statistic and a formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar, overload

from torch import Tensor
from typing_extensions import Self

from fastmetrics.core.keywords import adds
from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, View, counts_only
from fastmetrics.metric import Metric

T = TypeVar("T")


class StatisticField(Generic[T]):
    """A field of the statistic as an attribute of the metric; assigning it replaces the statistic.

    The name is that of the attribute, unless another one is given.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    @overload
    def __get__(self, metric: None, owner: type) -> Self: ...
    @overload
    def __get__(self, metric: StatisticMetric, owner: type) -> T: ...
    def __get__(self, metric: StatisticMetric | None, owner: type) -> Self | T:
        if metric is None:
            return self
        value: T = getattr(metric.statistic, self.name)
        return value

    def __set__(self, metric: StatisticMetric, value: T) -> None:
        replacement: Any = dataclasses.replace(metric.statistic, **{self.name: value})
        metric.statistic = replacement


class StatisticMetric(Metric):
    """A metric whose ``update`` adds the batch to a statistic, and whose ``compute`` reads it.

    Args:
        statistic: what is counted.
        settings: as for :class:`~fastmetrics.metric.Metric`.
    """

    full_state_update = False
    fused_update = True
    # States of torchmetrics that no value depends on, which its checkpoints may hold.
    _not_kept: ClassVar[tuple[str, ...]] = ()
    statistic: Statistic

    @property
    def _exact_states(self) -> tuple[str, ...]:  # type: ignore[override]  # a constant of the base
        return self.statistic.exact

    def __init__(self, statistic: Statistic, **settings: Any) -> None:
        Metric.__init__(self, **settings)  # whatever else a subclass stems from
        self.statistic = statistic.to(self.device)
        self.__dict__["_view_names"] = frozenset(self._views())
        for name, state in statistic.empty(self._default_device).items():
            self.add_state(name, state, statistic.reductions[name])

    @counts_only
    @adds("weight")
    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Add one batch; arguments as for the op of the statistic."""
        self.statistic.add(self._states, preds, target, weight)

    def _views(self) -> Mapping[str, View]:
        """Return torchmetrics' states by name, as this metric shows them."""
        return self.statistic.views()

    @property
    def metric_state(self) -> dict[str, Any]:
        """The states themselves, and as torchmetrics has them, by name."""
        states = self._states
        return {**{n: view.get(states) for n, view in self._views().items()}, **states.values}

    def _named_here(self, states: dict[str, Any]) -> dict[str, Any]:
        views = self._views()
        if states.keys() >= self._defaults.keys() or not states.keys() & views.keys():
            return states
        named = self._states.twin(reuse=False)  # those that are not named stay as by default
        for name, value in states.items():
            setter = views[name].set if name in views else None
            if setter is not None:
                setter(named, value)
            elif name in named.values:
                named.assign(name, value)
            else:
                raise ValueError(
                    f"`incoming_state` must hold states of {type(self).__name__}, got {name!r}."
                )
        values: dict[str, Any] = named.values
        return values

    def __getattr__(self, name: str) -> Any:
        """Return a state by the name that torchmetrics gives it."""
        statistic = self.__dict__.get("statistic")
        view = None if statistic is None else self._views().get(name)
        return super().__getattr__(name) if view is None else view.get(self._states)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__.get("_view_names", ()) or name in self._defaults:
            super().__setattr__(name, value)
            return
        view = self._views()[name]
        if view.set is None:
            raise AttributeError(f"`{name}` of {type(self).__name__} can be read, not assigned.")
        states = self._private()
        view.set(states, value)
        states.changed()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take states under the names of torchmetrics, too; those that say nothing new are left."""
        for name in self._not_kept:
            state_dict.pop(prefix + name, None)
        for name, view in self._views().items():
            key = prefix + name
            if key in state_dict and name not in self._defaults:
                value = state_dict.pop(key)
                if view.set is not None:
                    setattr(self, name, value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _report(self) -> None:
        self.statistic.report(type(self).__name__, self._states)

    def _join(self, total: States, batch: States) -> None:
        total.join(batch, but=self.statistic.join(total, batch))

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        super()._apply(fn, *args, **kwargs)
        self.__dict__["statistic"] = self.statistic.to(self.device)
        return self
