"""States under the names of torchmetrics, in the form of its checkpoints: read, and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import State, States, private_copy
from fastmetrics.core.statistic import Lists, View, batches_of, check_tensor


@dataclass(frozen=True)
class Translation:
    """How torchmetrics shows the states of a metric.

    Attributes:
        views: its states by name, one by one.
        lists: its lists, which say together what was counted.
        stand_ins: states that no value here depends on, by name, with what is written for them.
    """

    views: Mapping[str, View] = field(default_factory=dict)
    lists: Lists | None = None
    stand_ins: Mapping[str, Callable[[States], Tensor]] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The names of all of its states."""
        return {*self.views, *self.stand_ins, *self._needed()}

    def _needed(self) -> tuple[str, ...]:
        return () if self.lists is None else self.lists.names

    def says_all(self, given: Mapping[str, Any]) -> bool:
        """Whether these states tell everything that was counted."""
        if not given:
            return False
        settable = {name for name, view in self.views.items() if view.set is not None}
        return given.keys() >= {*settable, *self._needed()}

    def take(self, states: States, given: Mapping[str, Any]) -> None:
        """Make the states say what ``given`` ones say, which torchmetrics has written.

        Raises:
            ValueError: one has another shape or dtype, or those that belong together do not come
                together; the states may have changed by then.
        """
        if self.lists is not None and given.keys() & {*self.lists.names}:
            missing = [name for name in self.lists.names if name not in given]
            if missing:
                came = [name for name in self.lists.names if name in given]
                raise ValueError(f"{came} must come together with {missing}, which are missing.")
            for tensors in batches_of({name: given[name] for name in self.lists.names}):
                self.lists.take(states, tensors)
        adapting = {n: x for n, x in given.items() if n in self.views and self.views[n].adapts}
        shapes = {name: tuple(getattr(x, "shape", ())) for name, x in adapting.items()}
        if len({*shapes.values()}) > 1:
            raise ValueError(f"States must have the same shape, got {shapes}.")
        # As by default: the shape of a view may grow with what is set.
        wanted = {name: self.views[name].get(states) for name in given if name in self.views}
        for name, default in wanted.items():
            view = self.views[name]
            if view.set is not None:
                _check(name, given[name], default, view.adapts)
                view.set(states, given[name])

    def give(self, states: States) -> dict[str, State]:
        """Return the states as torchmetrics would write them.

        Raises:
            ValueError: they do not hold what it keeps.
        """
        self.check_written()
        given: dict[str, State] = {n: private_copy(v.get(states)) for n, v in self.views.items()}
        given |= {name: value(states) for name, value in self.stand_ins.items()}
        if self.lists is not None and self.lists.give is not None:
            batches = self.lists.give(states)
            for place, name in enumerate(self.lists.names):
                given[name] = [batch[place] for batch in batches]
        return given

    def check_written(self) -> None:
        """Raise ``ValueError`` if torchmetrics keeps more than these states hold."""
        if self.lists is not None and self.lists.give is None:
            names = " and ".join(f"`{name}`" for name in self.lists.names)
            raise ValueError(
                f"torchmetrics keeps every sample in {names}, and only sums are kept here, from"
                " which they cannot be written."
            )


def _check(name: str, value: Any, default: Tensor, adapts: bool) -> None:
    """Raise ``ValueError`` unless a state of torchmetrics can be the given one."""
    check_tensor(name, value)
    if value.is_complex() or value.dtype is torch.bool:
        raise ValueError(f"`{name}` must hold real numbers, got {value.dtype}.")
    if adapts and value.ndim < 2:
        return
    if value.shape != default.shape and not value.numel() == default.numel() == 1:
        raise ValueError(
            f"`{name}` must have shape {tuple(default.shape)}, got {tuple(value.shape)}."
        )
