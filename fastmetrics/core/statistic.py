"""What a metric counts, as a value that classes, functions, collections and tests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, FrozenInstanceError, dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self, dataclass_transform, override

from fastmetrics.core.states import Batch, States

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound="Statistic")


class View(NamedTuple):
    """One state under the name, and in the form, that torchmetrics gives it.

    Attributes:
        get: returns it.
        set: makes the states say the given value; None where it does not tell what was counted.
    """

    get: Callable[[States], Any]
    set: Callable[[States, Any], None] | None = None


def counts_only(update: F) -> F:
    """Mark an ``update`` that does nothing but add the batch to ``self.statistic``.

    Metrics with equal statistics whose update is marked share their states in a collection. A class
    that overrides ``update`` says it anew.
    """
    update.counts_only = True  # type: ignore[attr-defined]  # functions have attributes
    return update


class Statistic:
    """What is counted: states, the op that adds a batch to them, and how to read them.

    A subclass is :func:`frozen`, in the module of its op. Its fields are everything that changes
    what is counted, so two metrics share their states exactly when their statistics are equal;
    tensors that follow from the fields are kept in fields that do not compare.

    Attributes:
        op: the op that adds a batch to the first state.
        exact: the states that keep their dtype whatever a user chooses for values.
    """

    op: ClassVar[Callable[..., None]]
    exact: ClassVar[tuple[str, ...]] = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def _compared(self) -> tuple[Any, ...]:
        return tuple([getattr(self, each.name) for each in fields(self) if each.compare])

    @override
    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self._compared() == other._compared()

    @override
    def __hash__(self) -> int:
        return hash(self._compared())

    @override
    def __repr__(self) -> str:
        shown = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr]
        return f"{self.__class__.__qualname__}({', '.join(shown)})"

    @override
    def __setattr__(self, name: str, value: object) -> None:
        known = self.__dataclass_fields__.get(name)
        if name in self.__dict__ or known is None or not known.init:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super().__setattr__(name, value)

    @property
    def reductions(self) -> Mapping[str, Any]:
        """How each state merges over batches and ranks, as in ``Metric.add_state``.

        The first one is the state that the op takes.
        """
        raise NotImplementedError

    @property
    def rows(self) -> str | None:
        """What a sample is: "classes", "labels" or "numbers"; None if no pass can update these.

        The statistics of one kind of sample fit into one pass over a batch.
        """
        return None

    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        """Return the states of no data."""
        raise NotImplementedError

    def empty_batch(self, device: torch.device) -> dict[str, Any]:
        """Return those states of no data that one batch, which nobody joins to others, needs."""
        return self.empty(device)

    def arguments(self) -> tuple[Any, ...]:
        """Return what the op takes after the states and the batch."""
        return ()

    def open(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None
    ) -> Tensor | None:
        """Return the tensor that the op may change for this batch.

        None where only :meth:`add` can take it; a pass then leaves the batch to each metric.
        """
        raise NotImplementedError

    def keep(self, states: States, state: Tensor) -> None:
        """Make what :meth:`open` returned, after the op, the state."""

    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        """Add one batch. When that raises, the states are as before."""
        raise NotImplementedError

    def with_gradients(
        self, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> dict[str, Any]:
        """Return the states of one batch, by torch operations that autograd can follow.

        Only of statistics whose metrics are differentiable; the ops have no gradients.
        """
        raise NotImplementedError

    def join(self, total: States, batch: States) -> tuple[str, ...]:
        """Add states of one batch to a total in a way of its own.

        Return the names of those that need no more; the others follow their reductions.
        """
        return ()

    def report(self, owner: str, states: States) -> None:
        """Raise or warn about what an update could not; called once the states are complete."""

    def read_from(self, other: Statistic, states: States) -> dict[str, Any] | None:
        """Return the states this one would have, had it seen the data in ``states`` of ``other``.

        None if those do not say.
        """
        return None

    def views(self) -> Mapping[str, View]:
        """Return torchmetrics' states by name; those that have the same form here are left out."""
        return {}

    def to(self, device: torch.device) -> Self:
        """Return the same statistic with its tensors on ``device``."""
        return self


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(*, kw_only: bool = False) -> Callable[[type[S]], type[S]]:
    """Make a class of statistics a dataclass that compares, prints and refuses as the base does.

    ``dataclass(frozen=True)`` would write and compile the same five methods for each class at every
    import, which takes a millisecond for each.
    """
    return dataclass(eq=False, repr=False, kw_only=kw_only)


def count(
    statistic: Statistic, owner: str, preds: Tensor, target: Tensor, weight: Tensor | None = None
) -> States:
    """Return the states of one batch, reported on; for the function ``owner``."""
    states = Batch(statistic.empty_batch(target.device))
    statistic.add(states, preds, target, weight)
    statistic.report(owner, states)
    return states


def wants_gradients(*values: object) -> bool:
    """Whether autograd is to follow what is worked out of these values."""
    if not torch.is_grad_enabled():
        return False
    for value in values:  # noqa: SIM110  # a generator takes twice the time
        if isinstance(value, Tensor) and value.requires_grad:
            return True
    return False


def count_with_gradients(
    statistic: Statistic, owner: str, preds: Tensor, target: Tensor, weight: Tensor | None = None
) -> States:
    """Do as :func:`count`; gradients flow through the states where an input wants any."""
    if not wants_gradients(preds, target, weight):
        return count(statistic, owner, preds, target, weight)
    states = Batch(statistic.with_gradients(preds, target, weight))
    statistic.report(owner, states)
    return states
