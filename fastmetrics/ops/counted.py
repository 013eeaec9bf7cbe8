"""What all statistics of counts share: counts, event counters beside them, and weighted updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self, override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, View, check_form
from fastmetrics.ops.define import DIRECT
from fastmetrics.ops.faults import NAN, NAN_AS_TORCH, NUM_EVENTS, OUTSIDE, new_events, raise_events
from fastmetrics.utilities.data import normal_tensor
from fastmetrics.utilities.recording import is_recorded

COUNTS = ("tp", "fp", "tn", "fn")
IN_ORDER = (0, 1, 2, 3)
# Where they stand in a table [[tn, fp], [fn, tp]] that is laid flat.
TABLE_ORDER = (3, 1, 0, 2)

# Up to here numbers are faster than tensors: for ten classes on a CPU 5 against 15 to 20 µs.
FEW = 32
# Below every count and every usable weight: a denominator of zero becomes this, and 0/0 becomes 0.
TINY = 1e-300


def is_readable(tensor: Tensor) -> bool:
    """Whether the host can look at values for free: real ones on the CPU, not being compiled."""
    return type(tensor) is Tensor and tensor.is_cpu and not is_recorded()


def is_few(table: Tensor) -> bool:
    """Whether ``table`` ``[C, ...]`` is of few classes that the host can look at for free."""
    return table.shape[0] <= FEW and is_readable(table)


def divide(numerator: Tensor, denominator: Tensor, undefined: float = 0.0) -> Tensor:
    """Divide float64 counts; ``undefined`` stands where the denominator is zero."""
    if undefined == 0:
        return numerator / denominator.clamp_min(TINY)
    return torch.where(denominator == 0, undefined, numerator / denominator)


def choose_interpretation(state: Tensor, events: Tensor, dim: int = -4) -> Tensor:
    """Keep one of the interpretations of scores along ``dim``, as probabilities or as logits.

    The logits if any score lay outside [0, 1]. The axis goes. On a GPU the choice is made there,
    without waiting for it.
    """
    if state.shape[dim] == 1:
        return state.select(dim, 0)
    if is_readable(events):
        return state.select(dim, int(events.tolist()[OUTSIDE] > 0))
    chosen = events.narrow(0, OUTSIDE, 1).clamp(max=1).to(state.device)  # lists may be elsewhere
    return state.index_select(dim, chosen).squeeze(dim)


@dataclass(slots=True)
class Counts:
    """True and false positives and negatives of each class, by name.

    Attributes:
        state: ``[..., C, 4]`` as a statistic keeps it, or ``[..., H, C, 2, 2]`` beside ``events``.
        order: the columns of ``table`` that hold tp, fp, tn and fn.
        top_k: how many classes are predicted for each sample; None for labels, of which each is
            predicted or not.
        events: what says which of H interpretations of scores to read.
    """

    state: Tensor
    order: tuple[int, int, int, int]
    top_k: int | None = None
    events: Tensor | None = None

    @property
    def table(self) -> Tensor:
        """The counts, ``[..., C, 4]``."""
        if self.events is not None:
            self.state = choose_interpretation(self.state, self.events).flatten(-2)
            self.events = None
        return self.state

    @property
    def tp(self) -> Tensor:
        """True positives, ``[..., C]``."""
        return self.table.select(-1, self.order[0])

    @property
    def fp(self) -> Tensor:
        """False positives, ``[..., C]``."""
        return self.table.select(-1, self.order[1])

    @property
    def tn(self) -> Tensor:
        """True negatives, ``[..., C]``."""
        return self.table.select(-1, self.order[2])

    @property
    def fn(self) -> Tensor:
        """False negatives, ``[..., C]``."""
        return self.table.select(-1, self.order[3])

    def columns(self, dtype: torch.dtype | None = None) -> list[Tensor]:
        """Return tp, fp, tn and fn, each ``[..., C]``."""
        table = self.table if dtype is None else self.table.to(dtype)
        columns = table.unbind(-1)
        return [columns[i] for i in self.order]

    def rows(self) -> Sequence[Sequence[float]] | None:
        """Return tp, fp, tn and fn of each class as numbers.

        None unless the classes are few, and the host can look at them for free.
        """
        state, events = self.state, self.events
        if events is None:
            if state.ndim != 2 or not is_few(state):
                return None
            rows = state.tolist()
        else:  # numbers are chosen among in less time than tensors
            if state.ndim != 4 or state.shape[1] > FEW or not is_readable(state):
                return None
            interpretations = state.tolist()
            chosen = len(interpretations) > 1 and events.tolist()[OUTSIDE] > 0
            rows = [first + second for first, second in interpretations[chosen]]
        return rows if self.order == IN_ORDER else [*map(itemgetter(*self.order), rows)]

    def micro(self, keepdim: bool = False) -> Counts:
        """Return the counts of all classes together."""
        return Counts(self.table.sum(-2, keepdim=keepdim), self.order, self.top_k)


class CountStatistic(Statistic):
    """The states ``counts``, int64 of ``shape`` or float64 once weighted, and ``events``.

    Samplewise, ``counts`` is a list with a tensor ``[N, *shape]`` for each batch.

    Attributes:
        validate_args: whether labels out of range are reported.
        samplewise: whether each sample is counted on its own.
        dtype: of ``counts`` without weights.
        nan_treatment: what becomes of NaN scores, for the warning about them.
    """

    exact = ("counts",)
    validate_args: bool
    samplewise: bool = False
    dtype: ClassVar[torch.dtype] = torch.int64
    nan_treatment: ClassVar[str] = NAN_AS_TORCH

    def __post_init__(self) -> None:
        """Raise ``ValueError`` unless it is clear whether to check anything."""
        if not isinstance(self.validate_args, bool):
            raise ValueError(f"`validate_args` must be a bool, got {self.validate_args!r}.")

    def check(self) -> None:
        """Raise ``ValueError`` unless the arguments are in range."""

    def checked(self) -> Self:
        """Return itself, checked unless ``validate_args`` is False."""
        if self.validate_args:
            self.check()
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of ``counts``."""
        raise NotImplementedError

    @property
    def label_axes(self) -> int:
        """How many axes of ``target`` behind the first are neither samples nor counted over."""
        return 0

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {"counts": "cat" if self.samplewise else "sum", "events": "sum"}

    @property
    @override
    def batches(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]  # see `samplewise`
        return (("counts",),) if self.samplewise else ()

    @override
    def check_state(self, name: str, value: Tensor, default: Tensor) -> None:
        if name == "counts":
            check_form(name, value, self.shape, *dict.fromkeys((self.dtype, torch.float64)))
        else:
            super().check_state(name, value, default)

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        check_form(names[0], tensors[0], ("N", *self.shape), torch.int64)

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        if self.samplewise:
            return {"counts": [], "events": new_events(device)}
        counts = torch.zeros(*self.shape, dtype=self.dtype, device=device)
        return {"counts": counts, "events": new_events(device)}

    @override
    def open(self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        if self.samplewise:
            return self._new_rows(target, weight, states.values["events"].device)
        counts: Tensor = states.values["counts"]
        return counts if weight is None else normal_tensor(counts.double)

    @override
    def keep(self, states: States, state: Tensor) -> None:
        values = states.values
        if self.samplewise:
            states.append({"counts": state})
        elif state is not values["counts"]:
            values["counts"] = state

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        values = states.values
        if weight is None and not self.samplewise:  # by far the most common
            self.op(values["counts"], values["events"], preds, target, None, *self.arguments())
            return
        counts = self.open(states, preds, target, weight)
        self.op(counts, values["events"], preds, target, weight, *self.arguments())
        self.keep(states, counts)

    @override
    def report(self, owner: str, states: States) -> None:
        if self.validate_args:
            raise_events(owner, states.values["events"], self.nan_treatment)

    def numbers(self) -> Callable[[Tensor, Tensor], Any]:
        """Return what counts a batch as numbers, those of ``counts`` and of ``events``, in order.

        Its answer is None where tensors must do, or a report has to tell of NaN.
        """
        count = DIRECT[self.op.__name__]
        counts, events = (self.dtype.is_floating_point, *self.shape), (False, NUM_EVENTS)
        arguments = self.arguments()

        def numbers(preds: Tensor, target: Tensor) -> Any:
            found = count(counts, events, preds, target, None, *arguments)
            return found if found and not found[1][NAN] else None

        return numbers

    def write(self, states: States, index: Any, value: Any) -> None:
        """Set ``counts[index]``; the counts become floats where the value is one."""
        value = torch.as_tensor(value, device=states.values["events"].device)
        counts = states.values["counts"]
        if value.is_floating_point() and not counts.is_floating_point():
            counts = states.values["counts"] = normal_tensor(counts.double)
        counts[index] = value

    def write_all(self, states: States, value: Any) -> None:
        """Set all counts."""
        self.write(states, ..., value)

    def part(self, get: Callable[[States], Tensor], *index: Any) -> View:
        """Return a view that ``get`` reads, and that is assigned to ``counts[index]``."""

        def assign(states: States, value: Any) -> None:
            # A copy: what `get` returns may be a part of the counts itself.
            self.write(states, index, torch.as_tensor(value).clone())

        return View(get, assign)

    def counts_of(self, states: States) -> Tensor:
        """Return the counts of all batches as one tensor."""
        counts: Tensor | list[Tensor] = states.values["counts"]
        if not isinstance(counts, list):
            return counts
        if counts:
            return torch.cat(counts) if len(counts) > 1 else counts[0]
        device = states.values["events"].device
        return torch.zeros((0, *self.shape), dtype=torch.int64, device=device)

    def _new_rows(self, target: Tensor, weight: Tensor | None, device: torch.device) -> Tensor:
        if weight is not None:
            raise ValueError("`weight` needs multidim_average='global', got 'samplewise'.")
        axes = 2 + self.label_axes
        if target.ndim < axes:
            raise ValueError(
                f"multidim_average='samplewise' needs `target` with at least {axes} axes,"
                f" got shape {tuple(target.shape)}."
            )
        return torch.zeros((target.shape[0], *self.shape), dtype=torch.int64, device=device)
