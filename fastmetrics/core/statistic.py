"""What a metric counts, as a value that classes, functions, collections and tests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, FrozenInstanceError, dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from typing_extensions import Self, dataclass_transform, override

from fastmetrics.core.states import Batch, States
from fastmetrics.utilities.data import packed_attributes

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound="Statistic")


class View(NamedTuple):
    """One state under the name, and in the form, that torchmetrics gives it.

    Attributes:
        get: returns it.
        set: makes the states say the given value; None where it follows from the others.
        adapts: whether the first batch decides about its shape.
    """

    get: Callable[[States], Any]
    set: Callable[[States, Any], None] | None = None
    adapts: bool = False


def element_view(state: str, place: int, dtype: torch.dtype | None = None) -> View:
    """Return a view of an element of a state, of another dtype if one is given."""

    def get(states: States) -> Tensor:
        element: Tensor = states.values[state][place]
        return element if dtype is None else element.to(dtype)

    def write(states: States, value: Any) -> None:
        states.values[state][place] = value

    return View(get, write)


@dataclass(frozen=True)
class Lists:
    """Lists of torchmetrics that say together what was counted, a tensor for each batch.

    Attributes:
        names: those of the lists.
        take: adds one batch, a tensor for each name, to the states.
        give: returns the batches of states, each a tensor for each name, or raises ``ValueError``
            where the states do not hold them; None where they never do.
    """

    names: tuple[str, ...]
    take: Callable[[States, tuple[Tensor, ...]], None]
    give: Callable[[States], list[tuple[Tensor, ...]]] | None = None


def kept_lists(names: tuple[str, ...]) -> Lists:
    """Return lists that states hold under the same names, in the same form."""

    def take(states: States, batch: tuple[Tensor, ...]) -> None:
        for name, tensor in zip(names, batch, strict=True):
            states.values[name].append(tensor)

    def give(states: States) -> list[tuple[Tensor, ...]]:
        return batches_of({name: states.values[name] for name in names})

    return Lists(names, take, give)


def check_tensor(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless a state is a tensor."""
    if not isinstance(value, Tensor):
        raise ValueError(f"`{name}` must be a tensor, got {type(value).__name__}.")


def check_form(name: str, value: Tensor, shape: tuple[Any, ...], *dtypes: torch.dtype) -> None:
    """Raise ``ValueError`` unless a state has this shape, in which names stand for any number.

    Without ``dtypes`` it may have any floating-point one.
    """
    fits = len(shape) == value.ndim and all(
        isinstance(wanted, str) or wanted == found
        for wanted, found in zip(shape, value.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
        raise ValueError(f"`{name}` must have shape ({wanted}), got {tuple(value.shape)}.")
    if value.dtype not in dtypes if dtypes else not value.is_floating_point():
        kinds = " or ".join(sorted(map(str, dtypes))) if dtypes else "floating point"
        raise ValueError(f"`{name}` must be {kinds}, got {value.dtype}.")


def batches_of(lists: Mapping[str, Any]) -> list[tuple[Tensor, ...]]:
    """Return the tensors of lists with one for each batch, batch by batch.

    Raises:
        ValueError: one of them is no list of tensors, or they have different lengths.
    """
    held = {name: [x] if isinstance(x, Tensor) else x for name, x in lists.items()}
    for name, tensors in held.items():
        if not isinstance(tensors, (list, tuple)) or not all(
            isinstance(each, Tensor) for each in tensors
        ):
            raise ValueError(f"`{name}` must be a list of tensors, got {tensors!r:.80}.")
    lengths = {name: len(tensors) for name, tensors in held.items()}
    if len({*lengths.values()}) > 1:
        raise ValueError(f"Lists must hold as many batches, got {lengths}.")
    return [*zip(*held.values(), strict=True)]


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
        batches: the list states, those together that have a tensor each for a batch.
        reports_weights_alone: whether what a CPU has counted without weights needs no report.
    """

    op: ClassVar[Callable[..., None]]
    exact: ClassVar[tuple[str, ...]] = ()
    batches: ClassVar[tuple[tuple[str, ...], ...]] = ()
    reports_weights_alone: ClassVar[bool] = False
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
        own, known = self.__dict__, self.__dataclass_fields__.get(name)
        if name in own or known is None or not known.init:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        own[name] = value

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the statistic itself, which nobody changes."""
        return self

    __getstate__ = packed_attributes

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
        if not is_dynamo_compiling():
            return ()
        for names in self.batches:
            for tensors in zip(*(batch.values[name] for name in names), strict=True):
                total.append(dict(zip(names, tensors, strict=True)))
        return tuple(name for names in self.batches for name in names)

    def report(self, owner: str, states: States) -> None:
        """Raise or warn about what an update could not; called once the states are complete."""

    def read_from(self, other: Statistic, states: States) -> dict[str, Any] | None:
        """Return the states this one would have, had it seen the data in ``states`` of ``other``.

        None if those do not say.
        """
        return None

    def settle(self, states: States) -> None:
        """Bring states into the form in which other processes have theirs, before they are joined.

        Changes nothing of what they say.
        """

    def check_states(self, values: Mapping[str, Any]) -> None:
        """Raise ``ValueError`` unless these can be the states, as after a load."""
        for name, default in self.empty(torch.device("meta")).items():
            if isinstance(default, Tensor):
                check_tensor(name, values[name])
                self.check_state(name, values[name], default)
        for names in self.batches:
            for tensors in batches_of({name: values[name] for name in names}):
                self.check_batch_states(names, tensors)

    def check_state(self, name: str, value: Tensor, default: Tensor) -> None:
        """Raise ``ValueError`` unless ``value`` can be that of a state with this default."""
        check_form(name, value, tuple(default.shape), default.dtype)

    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        """Raise ``ValueError`` unless list states of these names can hold these tensors."""

    def views(self) -> Mapping[str, View]:
        """Return torchmetrics' states by name; those that have the same form here are left out."""
        return {}

    def lists(self) -> Lists | None:
        """Return torchmetrics' lists, where it keeps such instead."""
        return None

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
    # On a CPU labels are refused at once, and only scores and weights can be NaN.
    clean = statistic.reports_weights_alone or not preds.is_floating_point()
    if not clean or weight is not None or not target.is_cpu:
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


def check_declared(metric: Any, states: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless states keep the kind and shape of a metric's defaults.

    For classes whose states always do: ``_check_states = check_declared``.
    """
    for name, default in metric._defaults.items():
        if isinstance(default, list):
            batches_of({name: states[name]})
        else:
            check_tensor(name, states[name])
            dtypes = () if default.is_floating_point() else (default.dtype,)
            check_form(name, states[name], tuple(default.shape), *dtypes)
