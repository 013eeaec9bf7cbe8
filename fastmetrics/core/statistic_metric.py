"""A metric that is a statistic and a formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar, overload

from torch import Tensor
from typing_extensions import Self

from fastmetrics.core.keywords import adds
from fastmetrics.core.reductions import reduction_of
from fastmetrics.core.states import States, blank, private_copy
from fastmetrics.core.statistic import Lists, Statistic, View, counts_only
from fastmetrics.core.translation import Translation
from fastmetrics.distributed import Parcel
from fastmetrics.metric import Metric
from fastmetrics.utilities.data import map_tensors, normal_tensor

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
    # States of torchmetrics that no value depends on, and what is written for them.
    _stand_ins: ClassVar[Mapping[str, Callable[[States], Tensor]]] = {}
    statistic: Statistic

    @property
    def _exact_states(self) -> tuple[str, ...]:  # type: ignore[override]  # a constant of the base
        return self.statistic.exact

    def __init__(self, statistic: Statistic, **settings: Any) -> None:
        Metric.__init__(self, **settings)  # whatever else a subclass stems from
        self.statistic = statistic.to(self.device)
        self.__dict__["_view_names"] = frozenset(self._views())
        defaults = normal_tensor(lambda: statistic.empty(self._default_device))
        reductions = statistic.reductions
        self._declare_states(defaults, {name: reduction_of(reductions[name]) for name in defaults})

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
        return {
            **{n: view.get(states) for n, view in self._views().items()},
            **super().metric_state,
        }

    def _lists(self) -> Lists | None:
        """Return the lists that torchmetrics keeps, if it does."""
        return self.statistic.lists()

    def _declared(self) -> set[str]:
        """Return the states that a subclass keeps beside those of the statistic."""
        return self._defaults.keys() - self.statistic.reductions.keys()

    def _translation(self) -> Translation:
        """Return what torchmetrics shows, but for what a subclass keeps under the same names."""
        declared, lists = self._declared(), self._lists()
        views = {name: view for name, view in self._views().items() if name not in declared}
        if lists is not None and declared & {*lists.names}:
            lists = None
        return Translation(views, lists, self._stand_ins)

    def _parcel(self, name: str, source: str = "") -> Parcel:
        self.statistic.settle(self._own_states())
        return super()._parcel(name, source)

    def _check_states(self, states: Mapping[str, Any]) -> None:
        self.statistic.check_states(states)

    def _state_names(self) -> set[str]:
        return super()._state_names() | self._translation().names

    def _named_here(self, states: dict[str, Any]) -> dict[str, Any]:
        own = self._defaults.keys()
        unknown = states.keys() - own - self._translation().names
        if unknown and not states.keys() >= own:
            raise ValueError(
                f"`incoming_state` must hold states of {type(self).__name__}, got"
                f" {sorted(unknown)}."
            )
        return self._read(states, keep=False)

    def _read(self, given: Mapping[str, Any], *, keep: bool) -> dict[str, Any]:
        """Return the states that ``given`` ones say, ours or those of torchmetrics."""
        if given.keys() == self._defaults.keys():
            self._check_states(given)
            return {name: map_tensors(Tensor.detach, value) for name, value in given.items()}
        translation = self._translation()
        named = {
            name: map_tensors(lambda tensor: tensor.detach().to(self.device), value)
            for name, value in given.items()
            if name in translation.names
        }
        if given.keys() >= self.statistic.reductions.keys():  # complete, under the names of ours
            named = {}
        read = blank(self._states)
        kept = self._states.values if keep and not translation.says_all(named) else {}
        for name, value in kept.items():
            read.assign(name, value)
        for name, value in given.items():
            if name in self._defaults and name not in named:
                read.values[name] = private_copy(value) if isinstance(value, Tensor) else value
        translation.take(read, named)
        self._check_states(read.values)
        return read.values

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

    def _upstream_states(self, states: States) -> dict[str, Any]:
        declared = {name: states.values[name] for name in self._declared()}
        return declared | self._translation().give(states)

    def _check_upstream(self) -> None:
        translation = self._translation()
        translation.check_written()
        if not translation.names and not self._declared():
            raise ValueError(f"torchmetrics has no metric that counts {self.statistic!r}.")

    def _lists_grow_unseen(self) -> bool:
        return bool(self.statistic.batches)

    def _report(self) -> None:
        self.statistic.report(type(self).__name__, self._states)

    def _join(self, total: States, batch: States) -> None:
        total.join(batch, but=self.statistic.join(total, batch))

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        super()._apply(fn, *args, **kwargs)
        self.__dict__["statistic"] = self.statistic.to(self.device)
        return self
