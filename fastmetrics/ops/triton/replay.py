"""Launching kernels from the host: all of an update or nothing, and again without planning anew.

The host side of an op plans: what it hands to `launch` and takes from `buffer` is noted. Before the
first launch every kernel is compiled and loaded, so that an update that the machine cannot run (no
C compiler, no room for the cache) has not begun when `CannotLaunch` is raised.

Planning and Triton's own look-up of a compiled kernel take tens of microseconds, most of the time
of a small update. Both depend only on shapes, strides, types, the alignment of the data and plain
values; so a plan is kept under these, and the next update like it makes the buffers and launches
the compiled kernels at once.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastmetrics.ops.backend import CannotLaunch

GPUS = ("cuda", "xpu")
MAX_REPLAYS = 4096
# What is no tensor; asking a value whether it is one takes longer.
_PLAIN = frozenset((int, bool, type(None)))


class Launch(NamedTuple):
    """One launch as an op makes it."""

    kernel: Any
    grid: tuple[int, ...]
    args: tuple[Any, ...]
    config: dict[str, Any]


class Step(NamedTuple):
    """One compiled launch of a plan, with some of its arguments left open."""

    run: Callable[..., None]
    values: list[Any]
    open: tuple[tuple[int, int], ...]
    """Pairs of a place in ``values`` and the source that belongs there: the flat arguments of the
    op, and the buffers behind them."""


class Buffer(NamedTuple):
    """Memory of the device that an update needs besides its arguments."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    zeroed: bool

    def make(self, device: torch.device) -> Tensor:
        """Take the memory, on the current stream."""
        make = torch.zeros if self.zeroed else torch.empty
        return make(self.shape, dtype=self.dtype, device=device)


class Replay(NamedTuple):
    """How to repeat an update."""

    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]

    def run(self, flat: tuple[Any, ...], device: torch.device) -> None:
        """Launch on these arguments."""
        sources = flat
        if self.buffers:
            sources = (*flat, *(each.make(device) for each in self.buffers))
        for run, values, places in self.steps:
            given = values.copy()
            for place, source in places:
                given[place] = sources[source]
            run(*given)


class Plan:
    """What one update launches, and the buffers that it takes."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []
        self.buffers: list[Buffer] = []
        self.made: list[Tensor] = []


class _Planning(threading.local):
    plan: Plan | None = None


_planning = _Planning()


@contextlib.contextmanager
def _planned() -> Iterator[Plan]:
    plan = _planning.plan = Plan()
    try:
        yield plan
    finally:
        _planning.plan = None


def device_of(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Make the device of a tensor the current one, on which Triton launches."""
    if tensor.device.type not in GPUS:
        return contextlib.nullcontext()
    guard: contextlib.AbstractContextManager[Any] = getattr(torch, tensor.device.type).device(
        tensor.device.index
    )
    return guard


def launch(
    kernel: Any, grid: tuple[int, ...], *args: Any, registers: int | None = None, **config: Any
) -> None:
    """Launch on the current stream, at the end of the update where one is being planned.

    ``registers`` are the most of a thread. NVIDIA's assembler spills some for the sake of one more
    program on each multiprocessor, unless it is told how many there are.
    """
    if registers is not None and torch.version.cuda is not None:
        config["maxnreg"] = registers
    one = Launch(kernel, grid, args, config)
    if _planning.plan is not None:
        _planning.plan.launches.append(one)
        return
    if any(isinstance(x, Tensor) and x.device.type in GPUS for x in args):
        _compiled(one)
    kernel[grid](*args, **config)


def buffer(
    state: Tensor, *shape: int, dtype: torch.dtype = torch.float64, zeroed: bool = False
) -> Tensor:
    """Memory beside a state, for one update."""
    made = Buffer(shape, dtype, zeroed)
    tensor = made.make(state.device)
    if _planning.plan is not None:
        _planning.plan.buffers.append(made)
        _planning.plan.made.append(tensor)
    return tensor


def _compiled(one: Launch) -> Callable[..., None]:
    """Compile and load the kernel of a launch; return what runs it on all of its arguments."""
    try:
        compiled = one.kernel.warmup(*one.args, grid=one.grid, **one.config)
        run: Callable[..., None] = compiled[(*one.grid, 1, 1)[:3]]
    except Exception as error:
        last = str(error).strip().rpartition("\n")[2]
        raise CannotLaunch(f"{type(error).__name__}: {last}") from error
    return run


def replayable(op: Callable[..., None], varying: tuple[str, ...] = ()) -> Callable[..., None]:
    """Give the host side of an op its plans, the right device, and a contiguous state.

    The op plans alone: what it does to tensors itself comes before all launches. ``varying`` names
    integers that differ from update to update: the kernel takes them under the same name,
    unspecialised, and nothing else depends on them but for the bits they need.
    """
    replays: dict[Any, Replay] = {}
    parameters = inspect.signature(op).parameters
    names = [*parameters]
    lists = any(str(x.annotation).startswith("list") for x in parameters.values())
    written = 1 + (names[1:2] == ["events"])
    places = {names.index(name): name for name in varying}

    @functools.wraps(op)
    def entry(*args: Any) -> None:
        if _planning.plan is not None:  # one job of several
            op(*args)
            return
        flat, changed = args, args[:written]
        if lists:
            flat, changed = _flat(args), _flat(changed)
        for x in changed:
            if not x.is_contiguous():
                _on_dense_state(entry, args, written)
                return
        device = flat[0].device
        if device.type not in GPUS:
            with _planned() as plan:
                op(*args)
            for one in plan.launches:
                one.kernel[one.grid](*one.args, **one.config)
            return
        module = getattr(torch, device.type)
        if module.current_device() != device.index:
            with module.device(device.index):
                entry(*args)
            return
        key = _key(device.index, flat, places)
        replay = replays.get(key)
        if replay is not None:
            replay.run(flat, device)
            return
        with _planned() as plan:
            op(*args)
        replay = _begin(plan, flat, places)
        if replay is not None:
            if len(replays) >= MAX_REPLAYS:
                replays.clear()
            replays[key] = replay

    return entry


def _flat(args: Iterable[Any]) -> tuple[Any, ...]:
    """Arguments one after the other, those in lists too."""
    return tuple(y for x in args for y in (x if isinstance(x, list) else (x,)))


def _key(device: int, flat: tuple[Any, ...], varying: dict[int, str]) -> tuple[Any, ...]:
    """What a plan depends on."""
    facts: list[Any] = [device]
    ids = []
    for x in flat:
        kind = type(x)
        if kind in _PLAIN:
            facts.append(x)
        elif kind is float:  # a NaN is unlike itself, and the zeros are alike
            facts.append(x.hex())
        else:
            ids.append(id(x))
            facts.append((x.shape, x.stride(), x.dtype, x.data_ptr() % 16))
    for index in varying:
        facts[index + 1] = flat[index] < 2**31
    if len({*ids}) < len(ids):
        facts += map(ids.index, ids)
    return tuple(facts)


def _begin(plan: Plan, flat: tuple[Any, ...], varying: dict[int, str]) -> Replay | None:
    """Compile and launch a plan; return it where all tensors in it can be found again."""
    runs = [_compiled(one) for one in plan.launches]
    for one in plan.launches:
        one.kernel[one.grid](*one.args, **one.config)
    sources = (*flat, *plan.made)
    steps = [
        _step(one, run, sources, varying) for one, run in zip(plan.launches, runs, strict=True)
    ]
    known = tuple(step for step in steps if step is not None)
    return Replay(tuple(plan.buffers), known) if len(known) == len(steps) else None


def _step(
    one: Launch, run: Callable[..., None], sources: tuple[Any, ...], varying: dict[int, str]
) -> Step | None:
    """Leave open what differs from update to update; None if that is not among the sources."""
    names = one.kernel.arg_names
    named = dict(zip(names, one.args, strict=False)) | one.config
    values = [named[name] for name in names]
    open_places = [(names.index(name), i) for i, name in varying.items() if name in names]
    for place, value in enumerate(values):
        if isinstance(value, Tensor):
            source = _source_of(value, sources)
            if source is None:
                return None
            open_places.append((place, source))
            values[place] = None
    return Step(run, values, tuple(open_places))


def _source_of(tensor: Tensor, sources: tuple[Any, ...]) -> int | None:
    """Which source a tensor is, or begins at, as views do that are the same to a kernel."""
    tensors = [(i, x) for i, x in enumerate(sources) if isinstance(x, Tensor)]
    same = [i for i, x in tensors if x is tensor]
    if same:
        return same[0]
    begins = [i for i, x in tensors if x.data_ptr() == tensor.data_ptr()]
    return begins[0] if len(begins) == 1 else None


def _on_dense_state(entry: Callable[..., None], args: tuple[Any, ...], written: int) -> None:
    """Let kernels assume a contiguous state and events; others are copied there and back."""
    dense = [
        [y.contiguous() for y in x] if isinstance(x, list) else x.contiguous()
        for x in args[:written]
    ]
    entry(*dense, *args[written:])
    for tensor, result in zip(_flat(args[:written]), _flat(dense), strict=True):
        if tensor is not result:
            tensor.copy_(result)
