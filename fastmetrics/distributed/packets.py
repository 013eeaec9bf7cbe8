"""All states of any number of metrics in a handful of collectives.

Every exchange starts with one gather of headers of a fixed size, which hold a hash of what the
processes are about to send. Only if the hashes differ, descriptions are exchanged too: from them
each process learns how to bring the states together, or raises the same error as all others. Then
sums travel in one all-reduce for integers and one for floating-point numbers, largest and smallest
values in one more, and whatever else there is in one gather of bytes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from fastmetrics.core.reductions import Reduction
from fastmetrics.core.states import State
from fastmetrics.distributed._wire import Wire, explaining
from fastmetrics.distributed.gathering import SENDABLE
from fastmetrics.utilities.data import dim_zero_cat

__all__ = ["Parcel", "canonical", "exchange"]

_MAGIC = 0x666D_7061_636B_6574  # "fmpacket"
_VERSION = 2
_ALIGNMENT = 16
_LARGEST = torch.iinfo(torch.int64).max
# What runs, and how to read it once it is done.
_Started = tuple[Any, Callable[[], list[Any]]]
# What float64 and int64 hold without loss.
_EXACT = frozenset(dtype for dtype in SENDABLE if not dtype.is_complex)


class Parcel(NamedTuple):
    """The states of one metric, and what all processes must agree on.

    ``source`` is the name of the first metric with the same states, often its own. ``config`` says
    what they count, ``updated`` whether they have seen data, and ``dtype`` and ``device`` what an
    empty list would hold.
    """

    name: str
    source: str
    kind: str
    config: str
    reductions: Mapping[str, Reduction]
    defaults: Mapping[str, State]
    states: Mapping[str, State]
    updated: bool
    device: torch.device
    dtype: torch.dtype

    def snapshot(self) -> Parcel:
        """Return a copy that later updates leave alone; the tensors in lists are never written.

        What shares the states of another is not looked at.
        """
        if self.source != self.name:
            return self
        states = {
            name: state.detach().clone() if isinstance(state, Tensor) else [*state]
            for name, state in self.states.items()
        }
        return self._replace(states=states)

    def outline(self) -> list[Any]:
        """Return what must be the same in all processes."""
        states = [
            [name, reduction.name, _form(self.defaults[name])]
            for name, reduction in self.reductions.items()
        ]
        return [self.name, self.kind, self.config, states]


class _Slot(NamedTuple):
    """One state of this process, as it is sent: a list without "cat" is several tensors."""

    owner: int
    name: str
    where: str
    parcel: Parcel
    tensors: list[Tensor]

    @property
    def reduction(self) -> Reduction:
        return self.parcel.reductions[self.name]

    @property
    def is_joined(self) -> bool:
        """Whether processes may hold any number of rows."""
        return self.reduction.concatenates

    @property
    def is_list(self) -> bool:
        return isinstance(self.parcel.states[self.name], list) and not self.is_joined

    @property
    def device(self) -> torch.device:
        state = self.parcel.states[self.name]
        return state.device if isinstance(state, Tensor) else self.parcel.device

    def layout(self) -> list[Any]:
        shapes = [[dtype_name(t.dtype), [*t.shape]] for t in self.tensors]
        return [self.is_list, self.parcel.updated, shapes]

    def is_blank(self) -> bool:
        """Whether the state is that of no data, so that it may take any shape."""
        default = self.parcel.defaults[self.name]
        return (
            not self.is_list
            and isinstance(default, Tensor)
            and self.tensors[0].shape == default.shape
            and torch.equal(self.tensors[0], default.to(self.tensors[0].device))
        )


class _Parts(NamedTuple):
    """What the processes hold in one slot: dtypes and shapes of each, and who has seen data."""

    is_list: bool
    updated: list[bool]
    layouts: list[list[tuple[torch.dtype, tuple[int, ...]]]]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        return functools.reduce(torch.promote_types, (each[0][0] for each in self.layouts))

    def adds_up(self, reduction: Reduction) -> bool:
        """Whether an all-reduce brings the parts together."""
        return not self.is_list and reduction.wire is not None and self.dtype in _EXACT


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of ``dtype`` as an attribute of torch."""
    return str(dtype).removeprefix("torch.")


def canonical(value: Any) -> str:
    """Return a text that is equal for equal arguments in all processes.

    Of an object whose ``repr`` may hold an address only the class counts.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(canonical, value))})"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(canonical, value)))}}}"
    if is_dataclass(value) and not isinstance(value, type):
        return repr(value)
    named = value if isinstance(value, type) else type(value)
    return f"<{named.__module__}.{named.__qualname__}>"


def _form(default: State) -> str:
    if isinstance(default, Tensor):
        return f"{dtype_name(default.dtype)}{[*default.shape]}"
    return "list"


def _fingerprint(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


@torch.no_grad()
def exchange(
    parcels: Sequence[Parcel], group: Any = None, channel: Any = None
) -> list[dict[str, State]]:
    """Return the states of all processes of ``group``, reduced; each process must call this.

    They travel by ``channel``, a gloo backend between these processes, if there is one.

    Raises:
        RuntimeError: processes bring different metrics or states that do not fit together, with the
            same words in all of them; or one does not answer.
    """
    slots, problem = _slots_of(parcels)
    devices = {tensor.device for slot in slots for tensor in slot.tensors}
    wire = Wire(group, devices, channel)
    sources, parts = _agree(parcels, slots, problem, wire)
    sent = [i for i, slot in enumerate(slots) if sources[slot.owner] == slot.owner]
    slots, parts = [slots[i] for i in sent], [parts[i] for i in sent]
    collected = _collect(slots, parts, wire)
    found: dict[int, dict[str, State]] = {i: {} for i in sources}
    for slot, part, each in zip(slots, parts, collected, strict=True):
        found[slot.owner][slot.name] = _combine(slot, part, each)
    return [found[source] for source in sources]


def _slots_of(parcels: Sequence[Parcel]) -> tuple[list[_Slot], str]:
    """Return what there is to send, and why it cannot be sent, if so: the others must know."""
    slots: dict[tuple[str, str], _Slot] = {}
    for i, parcel in enumerate(parcels):
        for name in parcel.reductions:
            where = f"state {name!r} of {parcel.name}"
            try:
                shared = slots.get((parcel.source, name))
                tensors = shared.tensors if shared else _tensors_of(parcel, name)
            except (TypeError, ValueError, RuntimeError) as error:
                return [], f"the {where}: {error}"
            slots[parcel.name, name] = _Slot(i, name, where, parcel, tensors)
    return [*slots.values()], ""


def _tensors_of(parcel: Parcel, name: str) -> list[Tensor]:
    state = parcel.states[name]
    tensors = list(state) if isinstance(state, list) else [state]
    if parcel.reductions[name].concatenates:
        empty = torch.empty(0, device=parcel.device, dtype=parcel.dtype)
        tensors = [dim_zero_cat(tensors) if tensors else empty]
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or tensor.dtype not in SENDABLE:
            what = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"it must hold tensors of the dtypes {SENDABLE}, got {what}.")
    return tensors


def _agree(
    parcels: Sequence[Parcel], slots: Sequence[_Slot], problem: str, wire: Wire
) -> tuple[list[int], list[_Parts]]:
    """Return whose states each metric shares and what all processes hold, or raise in all."""
    places = {parcel.name: i for i, parcel in enumerate(parcels)}
    outlines = [parcel.outline() for parcel in parcels]
    sources = [places[parcel.source] for parcel in parcels]
    layouts = [slot.layout() for slot in slots]
    record = json.dumps([outlines, sources, layouts, problem]).encode()
    header = [_MAGIC, _VERSION, _fingerprint(record), len(record), wire.own_accelerator]
    headers = [part.tolist() for part in wire.gather(header, torch.int64)]
    _check_versions(headers, wire)
    wire.choose(all(each[4] for each in headers))
    if not problem and all(each[2] == headers[0][2] for each in headers):
        grown = [False] * wire.size
        return sources, [
            _merge_layouts(slot, [layout] * wire.size, grown, wire)
            for slot, layout in zip(slots, layouts, strict=True)
        ]
    records = _gather_records(record, [each[3] for each in headers], wire)
    for place, (_, _, _, text) in enumerate(records):
        if text:
            raise RuntimeError(f"Rank {wire.rank(place)} cannot synchronise {text}")
    _check_outlines([each[0] for each in records], wire)
    # Where metrics have parted in one process, all of them send each on its own.
    for each in records:
        sources = [
            own if own == other else i
            for i, (own, other) in enumerate(zip(sources, each[1], strict=True))
        ]
    found = [[each[2][i] for each in records] for i in range(len(slots))]
    blank = _gather_blanks(slots, found, wire)
    return sources, [_merge_layouts(*each, wire) for each in zip(slots, found, blank, strict=True)]


def _check_versions(headers: list[list[int]], wire: Wire) -> None:
    for place, header in enumerate(headers):
        if header[0] != _MAGIC:
            raise RuntimeError(
                f"Rank {wire.rank(place)} does not synchronise metrics: the processes call"
                " collectives in different orders."
            )
        if header[1] != _VERSION:
            raise RuntimeError(
                f"Rank {wire.rank(place)} speaks version {header[1]} of the protocol, this process"
                f" version {_VERSION}; install the same fastmetrics everywhere."
            )


def _gather_records(record: bytes, lengths: list[int], wire: Wire) -> list[Any]:
    padded = [*record.ljust(max(lengths), b" ")]
    received = wire.gather(padded, torch.uint8)
    return [json.loads(bytes(part.tolist())) for part in received]


def _gather_blanks(
    slots: Sequence[_Slot], layouts: list[list[list[Any]]], wire: Wire
) -> list[list[bool]]:
    """Return, for each slot, which processes hold no data; asked only where shapes differ."""
    fixed = [
        [held[2][0][1] for held in each]
        for slot, each in zip(slots, layouts, strict=True)
        if not (slot.is_list or slot.is_joined) and all(held[2] for held in each)
    ]
    if all(shapes.count(shapes[0]) == wire.size for shapes in fixed):
        return [[False] * wire.size for _ in slots]
    blanks = wire.gather([slot.is_blank() for slot in slots], torch.uint8)
    return torch.stack(blanks, 1).bool().tolist()


def _check_outlines(outlines: list[Any], wire: Wire) -> None:
    """Raise for the first rank and metric that differ from those of the first rank."""
    first = outlines[0]
    for place, other in enumerate(outlines):
        for i in range(max(len(first), len(other))):
            pair = [each[i] if i < len(each) else None for each in (first, other)]
            if pair[0] != pair[1]:
                one, two = _difference(*pair)
                raise RuntimeError(
                    f"The processes synchronise different metrics: rank {wire.rank(place)} has"
                    f" {two}, rank {wire.rank(0)} has {one}."
                )


def _difference(one: Any, two: Any) -> tuple[str, str]:
    """Return the first thing in which two outlines differ, in words."""
    if one is None or two is None or one[:2] != two[:2]:
        words = [f"{x[0]} ({x[1]})" if x else "no further metric" for x in (one, two)]
    elif one[2] != two[2]:
        words = [f"{x[0]} with the arguments {_short(x[2])}" for x in (one, two)]
    else:
        odd = [[state for state in x[3] if state not in y[3]] for x, y in ((one, two), (two, one))]
        words = [f"{one[0]} with the states {_short(str(states))}" for states in odd]
    return words[0], words[1]


def _short(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def _merge_layouts(slot: _Slot, layouts: list[list[Any]], blank: list[bool], wire: Wire) -> _Parts:
    """Return what all processes hold in ``slot``; those without data take the shape of others."""
    held = [
        [(getattr(torch, dtype), tuple(shape)) for dtype, shape in layout[2]] for layout in layouts
    ]
    parts = _Parts(slot.is_list, [layout[1] for layout in layouts], held, ())
    if any(layout[0] != slot.is_list for layout in layouts):
        kinds = [
            f"rank {wire.rank(i)}: {'list' if x[0] else 'tensor'}" for i, x in enumerate(layouts)
        ]
        raise RuntimeError(f"The {slot.where} must be of one kind, got {', '.join(kinds)}.")
    if slot.is_list or slot.is_joined:
        return parts
    shapes = [each[0][1] for each in held]
    grown = [place for place, is_blank in enumerate(blank) if not is_blank]
    target = shapes[grown[0]] if grown else max(shapes, key=lambda shape: (len(shape), shape))
    for place, shape in enumerate(shapes):
        if shape != target and not (blank[place] and _broadcasts(shape, target)):
            raise RuntimeError(
                f"The {slot.where} has shape {shape} in rank {wire.rank(place)} and {target} in"
                f" rank {wire.rank(shapes.index(target))}, which do not fit together."
            )
    return parts._replace(shape=target)


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    padded = (1,) * (len(target) - len(shape)) + shape
    return len(padded) == len(target) and all(
        n in (1, m) for n, m in zip(padded, target, strict=True)
    )


def _collect(slots: Sequence[_Slot], parts: Sequence[_Parts], wire: Wire) -> list[Any]:
    """Return, for each slot, its reduced state, or the tensors of each process."""
    kinds: dict[Callable[..., _Started], list[int]] = {}
    for i, (slot, part) in enumerate(zip(slots, parts, strict=True)):
        kinds.setdefault(_way(slot, part), []).append(i)
    found: list[Any] = [None] * len(slots)
    with explaining(wire.group):
        started = [
            (chosen, *start([slots[i] for i in chosen], [parts[i] for i in chosen], wire))
            for start, chosen in sorted(kinds.items(), key=lambda item: _WAYS.index(item[0]))
        ]
        for chosen, work, finish in started:
            work.wait()
            for i, result in zip(chosen, finish(), strict=True):
                found[i] = result
    return found


def _way(slot: _Slot, part: _Parts) -> Callable[..., _Started]:
    if not part.adds_up(slot.reduction):
        return _start_bytes
    if slot.reduction.wire != "sum":
        return _start_extremes
    return _start_numbers if part.dtype.is_floating_point else _start_integers


def _start_sums(
    dtype: torch.dtype, slots: Sequence[_Slot], parts: Sequence[_Parts], wire: Wire
) -> _Started:
    own = [s.tensors[0].expand(p.shape) for s, p in zip(slots, parts, strict=True)]
    buffer = wire.flat(own, dtype)
    # A sum of small integers is one of int64, as torch has it.
    dtypes = [p.dtype if p.dtype.is_floating_point else dtype for p in parts]

    def finish() -> list[Tensor]:
        states = _split(buffer, slots, parts)
        return [state.to(d) for state, d in zip(states, dtypes, strict=True)]

    return wire.start_reduce(buffer, dist.ReduceOp.SUM), finish


_start_integers = functools.partial(_start_sums, torch.int64)
_start_numbers = functools.partial(_start_sums, torch.float64)


def _start_extremes(slots: Sequence[_Slot], parts: Sequence[_Parts], wire: Wire) -> _Started:
    """Reduce the largest and the smallest values of any dtype together, as integers."""
    own = [
        _to_order(s.tensors[0].expand(p.shape), p.dtype, s.reduction.wire == "min")
        for s, p in zip(slots, parts, strict=True)
    ]
    buffer = wire.flat(own, torch.int64)

    def finish() -> list[Tensor]:
        return [
            _from_order(state, part.dtype, slot.reduction.wire == "min")
            for state, slot, part in zip(_split(buffer, slots, parts), slots, parts, strict=True)
        ]

    return wire.start_reduce(buffer, dist.ReduceOp.MAX), finish


def _to_order(state: Tensor, dtype: torch.dtype, smallest: bool) -> Tensor:
    """Return integers that compare as the values do, or the other way round; NaN is on top."""
    if not dtype.is_floating_point:
        return ~state.long() if smallest else state.long()
    values = state.detach().double()
    bits = values.view(torch.int64)
    order = bits ^ (bits >> 63 & _LARGEST)
    return torch.where(values.isnan(), _LARGEST, ~order if smallest else order)


def _from_order(order: Tensor, dtype: torch.dtype, smallest: bool) -> Tensor:
    if smallest:
        order = ~order
    if dtype.is_floating_point:
        order = (order ^ (order >> 63 & _LARGEST)).view(torch.float64)
    return order.to(dtype)


def _split(buffer: Tensor, slots: Sequence[_Slot], parts: Sequence[_Parts]) -> list[Tensor]:
    """Return the pieces of a flat buffer, each on its device."""
    placed = {device: buffer.to(device) for device in {slot.device for slot in slots}}
    states, start = [], 0
    for slot, part in zip(slots, parts, strict=True):
        end = start + math.prod(part.shape)
        states.append(placed[slot.device][start:end].view(part.shape))
        start = end
    return states


def _start_bytes(slots: Sequence[_Slot], parts: Sequence[_Parts], wire: Wire) -> _Started:
    """Gather tensors of any dtypes and shapes, padded to what the process with most data sends."""
    lengths = [
        sum(_padded(held) for part in parts for held in part.layouts[place])
        for place in range(wire.size)
    ]
    tensors = [tensor for slot in slots for tensor in slot.tensors]
    received, work = wire.start_gather(_payload(tensors, max(lengths), wire))

    def finish() -> list[list[list[Tensor]]]:
        unpacked = [
            _unpack(
                data,
                [
                    (slot.device, part.layouts[place])
                    for slot, part in zip(slots, parts, strict=True)
                ],
            )
            for place, data in enumerate(received)
        ]
        return [list(each) for each in zip(*unpacked, strict=True)]

    return work, finish


_WAYS = (_start_integers, _start_numbers, _start_extremes, _start_bytes)


def _padded(held: tuple[torch.dtype, tuple[int, ...]]) -> int:
    dtype, shape = held
    return -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT


def _payload(tensors: Sequence[Tensor], length: int, wire: Wire) -> Tensor:
    devices = {tensor.device for tensor in tensors}
    source = devices.pop() if len(devices) == 1 else wire.device
    payload = torch.zeros(length, dtype=torch.uint8, device=source)
    start = 0
    for tensor in tensors:
        data = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        payload[start : start + len(data)] = data
        start += _padded((tensor.dtype, tensor.shape))
    return payload.to(wire.device)


def _unpack(
    data: Tensor, wanted: list[tuple[torch.device, list[tuple[torch.dtype, tuple[int, ...]]]]]
) -> list[list[Tensor]]:
    """Return the tensors of one process, slot by slot."""
    placed = {device: data.to(device) for device, _ in wanted}
    found, start = [], 0
    for device, layout in wanted:
        tensors = []
        for dtype, shape in layout:
            end = start + math.prod(shape) * dtype.itemsize
            tensors.append(placed[device][start:end].view(dtype).view(shape))
            start += _padded((dtype, shape))
        found.append(tensors)
    return found


def _combine(slot: _Slot, part: _Parts, collected: Any) -> Any:
    """Return the state of all processes from what they sent."""
    if part.adds_up(slot.reduction):
        return collected  # reduced on the way
    if slot.is_list:
        longest = max(map(len, collected))
        elements = [each[i] for i in range(longest) for each in collected if i < len(each)]
        return slot.reduction.gather_lists(elements)
    tensors = [each[0] for each in collected]
    if not slot.is_joined:
        tensors = [tensor.expand(part.shape) for tensor in tensors]
    return slot.reduction.gather(tensors, part.updated)
