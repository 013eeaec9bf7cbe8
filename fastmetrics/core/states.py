"""The one home of the states of a metric; ``docs/states.md`` says who may write what, and when.

A metric points to one :class:`States`. Metrics of a collection that count the same point to the
same one, or to a :class:`Derived` that reads another. Who leaves takes a copy; ``forward`` and
``sync`` put others in their place and the old ones back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_dynamo_compiling

from fastmetrics.core.alive import ALIVE, append_later, next_number
from fastmetrics.core.locking import Lock
from fastmetrics.utilities.data import in_one_step, map_tensors, normal_tensor, packed
from fastmetrics.utilities.dtypes import is_wide
from fastmetrics.utilities.exceptions import TorchMetricsUserError

if TYPE_CHECKING:
    from fastmetrics.core.reductions import Reduction
    from fastmetrics.core.statistic import Statistic

State = Tensor | list[Tensor]

# Equal versions mean equal content, in all states of the process.
next_version = itertools.count(1).__next__


def _is_zero(default: State) -> bool:
    return isinstance(default, Tensor) and (default.is_meta or not bool(default.any()))


def _fits(memory: Tensor, value: Tensor) -> bool:
    return (
        memory.shape == value.shape
        and memory.dtype == value.dtype
        and memory.device == value.device
        and not memory.is_inference()
        and not memory.requires_grad
    )


def _placed(default: Tensor, like: Tensor) -> Tensor:
    """Return a default in the dtype of another tensor and on its device, if that has memory."""
    device = default.device if like.is_meta else like.device
    return normal_tensor(lambda: default.to(device, like.dtype))


def private_copy(state: Any) -> Any:
    """Return a state with the value of ``state``, free of autograd, that shares nothing with it."""
    if isinstance(state, Tensor):
        return normal_tensor(state.detach().clone)
    return list(state)


class Forgotten(dict[str, Any]):
    """The values of states that were dropped."""

    def __missing__(self, name: str) -> Any:
        raise TorchMetricsUserError(
            f"The state {name!r} was dropped when a MetricTracker began another step: it keeps the"
            " value of a step whose value was computed. Metrics with `compute_with_cache=False` or"
            " persistent states keep their states."
        )


class States:
    """Values of states with what is known about each, and how often they were updated.

    Attributes:
        values: the states by name; whoever adds a batch writes here.
        batch: whether they hold one batch of ``forward``, to be joined to others.
        number: of all states that are none of one batch.
        defaults: what a reset returns to, by name.
        reductions: how each merges, by name.
        count: the number of updates that were counted.
        touched: whether a compiled region made updates, which counts none.
        shared: whether a collection updates them, for one metric or for several.
        left: whether a metric has gone since, so that the collection plans anew.
        weighs_updates: whether a reduction asks for the number of updates.
        grows: whether lists may keep memory ready for more rows.
        spare: such memory, by whatever names the statistic likes.
        wide: whether an input of a batch on a GPU was float64, so that no value needs to wait for
            the state that says so; None where that alone knows.
        lock: held by the thread that changes the states or reads more than one of them; all states
            that a collection shares have the same one.
    """

    __slots__ = (
        "__weakref__",
        "batch",
        "count",
        "defaults",
        "grows",
        "home",
        "left",
        "lock",
        "number",
        "reductions",
        "scratch",
        "shared",
        "spare",
        "touched",
        "values",
        "version",
        "weighs_updates",
        "wide",
        "zeros",
    )

    def __init__(self, values: dict[str, Any] | None = None, *, batch: bool = False) -> None:
        self.values: dict[str, Any] = {} if values is None else values
        self.batch = batch
        if not (batch or is_dynamo_compiling()):
            self.number = next_number()
            ALIVE[self.number] = self
        self.defaults: dict[str, State] = {}
        self.reductions: dict[str, Reduction] = {}
        self.count = 0
        self.version = 0
        self.touched = False
        self.shared = False
        self.left = False
        self.grows = True
        self.weighs_updates = False
        self.spare: dict[str, Any] = {}
        self.wide: bool | None = None
        # None in a compiled region, which has one thread and cannot make locks.
        self.lock: Any = None if is_dynamo_compiling() else Lock()
        # The memory that each state had first, which a reset fills again; the states of the last
        # batch of `forward`, and those among their defaults that are zero.
        self.home: dict[str, Tensor] = {}
        self.scratch: States | None = None
        self.zeros: dict[str, State] = {}

    def declare(
        self, name: str, default: State, reduction: Reduction, device: torch.device | None = None
    ) -> None:
        """Add a state with the value ``default``, which is kept.

        On the meta ``device`` the state has no value, and the default need not be there.
        """
        self.defaults[name] = default
        self.reductions[name] = reduction
        self.weighs_updates |= reduction.weighs_updates
        self.scratch = None
        self.fill(name, device if device is not None and device.type == "meta" else None)

    def fill(self, name: str, device: torch.device | None = None) -> None:
        """Return a state to its default, in the memory that it had first if that fits.

        If it had none, that is made on ``device``, or where the default is.
        """
        default = self.defaults[name]
        if isinstance(default, list):
            self.values.setdefault(name, []).clear()
            return
        home = self.home.get(name)
        device = (device or default.device) if home is None else home.device
        if default.is_meta and device.type != "meta":
            raise RuntimeError(
                f"The default of the state {name!r} has no value: it was made on the meta device."
            )
        if home is None or home.shape != default.shape or home.dtype != default.dtype:
            if device.type == "meta":  # where there are no values that could be copied
                home = torch.empty(default.shape, dtype=default.dtype, device=device)
            else:
                home = private_copy(default.to(device))
            self.home[name] = home
        elif not home.is_meta:
            home.copy_(default)
        self.values[name] = home

    def reset(self) -> None:
        """Return all states to their defaults; also where an interrupt comes in between."""
        if is_dynamo_compiling():
            self._reset()
            self.changed()
            return
        self.changed()  # first: no cached value may outlive what it belongs to
        try:
            self._reset()
        except BaseException:
            self._reset()
            raise

    def _reset(self) -> None:
        for name in self.defaults:
            self.fill(name)
        self.spare.clear()
        self.count = 0
        self.touched = False

    def changed(self) -> None:
        """Say that the content is another one than before."""
        if is_dynamo_compiling():
            self.touched = True
        else:
            self.version = next_version()

    def note(self) -> None:
        """Count an update; in a compiled region, where that compiles anew, only if it must be."""
        if is_dynamo_compiling():
            self.touched = True
            self.count += self.weighs_updates
        else:
            self.version = next_version()
            self.count += 1

    def stamp(self) -> int:
        """Return what a cached value belongs to: it is another one after every change."""
        if self.touched and not is_dynamo_compiling():
            self.count, self.touched = max(self.count, 1), False
            self.version = next_version()
        return self.version

    def updates(self) -> int:
        """Return the number of updates, 1 if none but those in compiled regions were made."""
        return self.count or int(self.touched)

    def assign(self, name: str, value: State) -> None:
        """Give a state the value of ``value``, in memory of its own, the old one if that fits."""
        home = self.home.get(name)
        if not isinstance(value, Tensor):
            self.values[name] = list(value)
        elif home is not None and _fits(home, value):
            home.copy_(value)
            self.values[name] = home
        else:
            self.values[name] = self.home[name] = private_copy(value)
        self.spare.clear()

    def append(self, tensors: dict[str, Tensor]) -> None:
        """Put a tensor at the end of each of some lists."""
        if is_dynamo_compiling() and not self.batch:
            append_later(self.number, tensors)
            return
        for name, tensor in tensors.items():
            self.values[name].append(tensor)

    def join(self, batch: States, but: Container[str] = ()) -> None:
        """Put the states of one batch, ``but`` some, behind these.

        What adds up in place does so in one step, and lists grow together, so that an interrupt
        finds all of it or nothing.
        """
        totals: list[Tensor] = []
        parts: list[Tensor] = []
        lists: list[list[Tensor]] = []
        ends: list[list[Tensor]] = []
        values, home = self.values, self.home
        compiling = is_compiling()  # which does not know whether numbers have gradients
        for name, part in batch.values.items():
            if name in but:
                continue
            total, reduction = values[name], self.reductions[name]
            if isinstance(total, list):
                lists.append(total)
                ends.append(map_tensors(Tensor.detach, part))
                continue
            if total is not home.get(name):  # somebody may hold it
                total = values[name] = home[name] = private_copy(total)
            if (
                reduction.adds
                and part.dtype is total.dtype
                and part.shape == total.shape
                and not (part.requires_grad or (compiling and part.is_floating_point()))
            ):
                totals.append(total)
                parts.append(part)
            else:
                values[name] = home[name] = reduction.join(total, part, self.updates)
        if compiling:
            for each, end in zip(lists, ends, strict=True):
                each.extend(end)
            for total, part in zip(totals, parts, strict=True):
                total.add_(part)
            return
        if lists:
            in_one_step(list.extend, lists, ends)
        if totals:
            in_one_step(Tensor.add_, totals, parts)  # faster than `torch._foreach_add_`

    def merge(self, values: Mapping[str, State], count: int) -> None:
        """Put these states behind ``values``, those of ``count`` updates."""
        own_count = self.updates()
        merged = {
            name: reduction.merge(values[name], self.values[name], (count, own_count))
            for name, reduction in self.reductions.items()
        }
        self.changed()  # first: no cached value may outlive what it belongs to
        for name, state in merged.items():
            self.assign(name, state)
        self.count, self.touched = own_count + count, False
        self.changed()

    def like(self, values: dict[str, Any]) -> States:
        """Return states with other values, as many updates and the same declarations."""
        new = States(values)
        new.defaults, new.reductions = self.defaults, self.reductions
        new.count, new.touched, new.grows = self.count, self.touched, self.grows
        new.weighs_updates = self.weighs_updates
        new.changed()
        return new

    def copy(self) -> States:
        """Return the same in memory of its own; values that were cached stay valid for both.

        Whoever holds the lock of these states holds that of the copy, too.
        """
        new = self.like({name: private_copy(value) for name, value in self.values.items()})
        new.lock = self.lock
        new.home = {n: value for n, value in new.values.items() if isinstance(value, Tensor)}
        new.defaults, new.reductions = dict(self.defaults), dict(self.reductions)
        new.version = self.version
        return new

    def twin(self, reuse: bool) -> States:
        """Return states for one batch: those of the last one, emptied, if nobody holds them."""
        twin = self.scratch if reuse else None
        if twin is None:
            twin = blank(self, batch=True)
            if reuse:
                self.scratch = twin
                twin.zeros = {n: d for n, d in self.defaults.items() if _is_zero(d)}
            return twin
        for name, default in self.defaults.items():
            if twin.zeros.get(name) is default:  # half the time of a copy
                twin.values[name] = twin.home[name].zero_()
            elif isinstance(default, list):
                twin.values[name] = []  # the elements of the last batch stay with who has them
            else:
                twin.fill(name)
        twin.lock = self.lock
        twin.wide = None
        twin.changed()
        return twin

    def note_width(self, preds: Tensor, target: Tensor) -> None:
        """Know whether an input of this batch was float64, where asking a state would wait."""
        if self.batch and not preds.is_cpu:
            self.wide = bool(self.wide) or is_wide(preds, target)

    def move(self, fn: Callable[[Tensor], Tensor], names: list[str]) -> bool:
        """Replace the tensors and defaults of ``names`` by what ``fn`` makes of them.

        Defaults keep their values, whatever ``fn`` does to those, and never go to the meta device.
        Return whether states came from there: they are those of no data then.
        """

        def normal(tensor: Tensor) -> Tensor:
            return normal_tensor(lambda: fn(tensor))

        fresh = False
        for name in names:
            default, value = self.defaults[name], self.values.get(name)
            if isinstance(default, Tensor):
                like = value if isinstance(value, Tensor) else default
                self.defaults[name] = _placed(default, fn(default.new_empty(0, device=like.device)))
            if value is None:  # what is read off others has none
                continue
            self.values[name] = moved = map_tensors(normal, value)
            if isinstance(moved, Tensor):
                self.home[name] = moved
                if value.is_meta and not moved.is_meta and not default.is_meta:  # type: ignore[union-attr]
                    self.fill(name)
                    fresh = True
        if fresh:
            self.count, self.touched = 0, False
        self.scratch = None
        self.spare.clear()
        self.changed()
        return fresh

    def forget(self, defaults: dict[str, State]) -> None:
        """Drop all values, as if nothing had changed; ``defaults`` are equal ones to share.

        Whoever asks for a value afterwards is refused, until a reset.
        """
        self.values, self.home, self.zeros = Forgotten(), {}, {}
        self.scratch, self.defaults = None, dict(defaults)
        self.spare.clear()

    def tensors(self) -> list[Tensor]:
        """Return all tensors."""
        found: list[Tensor] = []
        for value in self.values.values():
            found.extend(value if isinstance(value, list) else [value])
        return found

    def lists_to_cpu(self) -> None:
        """Move what is in lists to the CPU."""
        for value in self.values.values():
            if isinstance(value, list):
                value[:] = [element.to("cpu") for element in value]

    def __deepcopy__(self, memo: dict[int, Any]) -> States:
        """Return a copy; metrics that share these states share the copy, if they are copied too."""
        memo[id(self)] = new = self.copy()
        for name, value in new.values.items():
            if isinstance(value, list):
                new.values[name] = [private_copy(element) for element in value]
        new.values = type(self.values)(new.values)  # which may be forgotten
        new.shared, new.left = self.shared, self.left
        new.lock = deepcopy(self.lock, memo)
        return new

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a file needs: no memory that is not in use."""
        left_out = {"__weakref__", "home", "number", "scratch", "spare", "version", "wide", "zeros"}
        state = {n: getattr(self, n) for n in self.__slots__ if n not in left_out}
        with self.lock:
            for name in ("values", "defaults"):
                kept = {n: map_tensors(packed, v) for n, v in state[name].items()}
                state[name] = type(state[name])(kept)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]  # the slots, then what was kept
        for name, value in state.items():
            setattr(self, name, value)
        self.home = {n: value for n, value in self.values.items() if isinstance(value, Tensor)}
        self.changed()


def blank(like: States | Reader, *, batch: bool = False) -> States:
    """Return states with the declarations and the lock of ``like``, and no data."""
    new = States(batch=batch)
    new.defaults, new.reductions, new.lock = like.defaults, like.reductions, like.lock
    for name in new.defaults:
        # Asking for it in a compiled region would be one more guard.
        home = None if is_dynamo_compiling() else like.home.get(name)
        new.fill(name, None if home is None else home.device)
    return new


class Batch(States):
    """The states of one batch that a function counts and reads at once: values, and no more.

    Nobody else sees them, so they may have any form that the statistic can read.
    """

    __slots__ = ()

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.batch = True
        self.wide = None


class Seen:
    """What was read off states of one version; metrics that read the same share it."""

    __slots__ = ("values", "version")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.version = -1


class Reader:
    """Shared states as another metric shows them, worked out when somebody asks.

    Attributes:
        source: the states that are read.
        own: those that the metric had, to which it returns when it leaves.
    """

    __slots__ = ("_seen", "own", "source")
    shared = True

    def __init__(self, source: States, own: States, seen: Seen | None = None) -> None:
        self.source = source
        self.own = own
        self._seen = Seen() if seen is None else seen

    def _read(self) -> dict[str, Any]:
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what was read, of a source whose values were dropped."""
        self._seen.values, self._seen.version = {}, -1

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs, without what was read."""
        slots = [name for cls in type(self).__mro__ for name in getattr(cls, "__slots__", ())]
        return {name: getattr(self, name) for name in slots if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._seen = Seen()
        for name, value in state.items():
            setattr(self, name, value)

    @property
    def values(self) -> dict[str, Any]:
        """The states."""
        if is_compiling():
            return self._read()
        seen, version = self._seen, self.source.stamp()
        if seen.version != version:
            seen.values, seen.version = self._read(), version
        return seen.values

    @property
    def left(self) -> bool:
        """Whether the collection must plan anew; said of the source."""
        return self.source.left

    @left.setter
    def left(self, left: bool) -> None:
        self.source.left = left

    # The declarations are those of the metric, and what happened to the data that of the source.
    defaults = property(lambda self: self.own.defaults)
    reductions = property(lambda self: self.own.reductions)
    home = property(lambda self: self.own.home)
    batch = property(lambda self: self.source.batch)
    count = property(lambda self: self.source.count)
    touched = property(lambda self: self.source.touched)
    grows = property(lambda self: self.source.grows)
    lock = property(lambda self: self.source.lock)
    weighs_updates = property(lambda self: self.own.weighs_updates)

    def updates(self) -> int:
        """Return the number of updates."""
        return self.source.updates()

    def stamp(self) -> int:
        """Return what a cached value belongs to."""
        return self.source.stamp()

    def tensors(self) -> list[Tensor]:
        """Return the tensors of the source: those that are read are new each time."""
        return self.source.tensors()

    def copy(self) -> States:
        """Return states of its own with the same values."""
        own, source = self.own, self.source
        for name, value in self.values.items():
            own.assign(name, value)
        own.count, own.touched, own.version = source.count, source.touched, source.version
        own.defaults, own.reductions = dict(own.defaults), dict(own.reductions)
        own.shared = own.left = False
        own.lock = source.lock
        return own


class Derived(Reader):
    """States that the statistic of another metric contains."""

    __slots__ = ("other", "statistic")

    def __init__(
        self,
        source: States,
        own: States,
        *,
        statistic: Statistic,
        other: Statistic,
        seen: Seen | None = None,
    ) -> None:
        super().__init__(source, own, seen)
        self.statistic = statistic
        self.other = other

    def _read(self) -> dict[str, Any]:
        return self.read_off(self.source)

    def read_off(self, source: States) -> dict[str, Any]:
        """Return these states as others say them, which the other statistic has filled."""
        values = self.statistic.read_from(self.other, source)
        assert values is not None  # decided when the collection was planned
        return values


class Lent(Reader):
    """A copy of shared states, for a user who may write into it."""

    __slots__ = ()

    def _read(self) -> dict[str, Any]:
        values = self.source.values
        return {name: private_copy(values[name]) for name in values or self.source.defaults}
