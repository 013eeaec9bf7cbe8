"""Metric states as bytes, to be merged by another process, on another day.

A file is: a mark, the version and the length of the description; the description, as JSON; the
elements of all states in that order; a checksum. Nothing in it is ever run.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from fastmetrics.core.states import State
from fastmetrics.distributed.gathering import SENDABLE
from fastmetrics.distributed.packets import dtype_name
from fastmetrics.utilities.data import bytes_of, tensor_of

if TYPE_CHECKING:
    from fastmetrics.collections import MetricCollection
    from fastmetrics.metric import Metric

__all__ = ["merge_states", "read_states", "write_states"]

Measured = TypeVar("Measured", "Metric", "MetricCollection")
T = TypeVar("T")

_MARK = b"\x89fmstate"
_VERSION = 2
_START = struct.Struct("<8sIQ")
_END = struct.Struct("<I")
_NAMES = frozenset(map(dtype_name, SENDABLE))
# Operations of torch take no more.
_MOST_AXES = 64


def write_states(metrics: dict[str, Metric]) -> bytes:
    """Return the states of ``metrics``; those of a metric that shares them are written once."""
    first: dict[int, str] = {}
    records, tensors = [], []
    for name, metric in metrics.items():
        source = first.setdefault(id(metric._own_states()), name)
        held_by = metric._own_states()
        states = held_by.values if source == name else {}
        held = {key: state if isinstance(state, list) else [state] for key, state in states.items()}
        tensors += [tensor for each in held.values() for tensor in each]
        records.append(
            {
                "outline": metric._parcel(name).outline(),
                "extras": metric._extras(),
                "count": held_by.count,
                "traced": held_by.touched,
                "source": source,
                "states": {
                    key: [isinstance(states[key], list), *map(_form, each)]
                    for key, each in held.items()
                },
            }
        )
    text = json.dumps({"byteorder": sys.byteorder, "metrics": records}).encode()
    parts = [_START.pack(_MARK, _VERSION, len(text)), text, *map(bytes_of, tensors)]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join([*parts, _END.pack(checksum)])


def read_states(data: bytes, metrics: dict[str, Metric]) -> None:
    """Give ``metrics`` the states that :func:`write_states` wrote for such metrics.

    Raises:
        ValueError: ``data`` is damaged or malformed, or stems from other metrics; nothing has
            changed then but names of layers.
    """
    described, elements = _description(data)
    if described.get("byteorder") != sys.byteorder:
        raise ValueError(
            f"The states were saved on a {described.get('byteorder')}-endian machine, this one is"
            f" {sys.byteorder}-endian."
        )
    records = [_record(each) for each in _checked(described.get("metrics"), list, "`metrics`")]
    names = [record.outline[0] for record in records]
    if names != [*metrics]:
        raise ValueError(f"The states are those of {names}, not of {[*metrics]}.")
    for record, (name, metric) in zip(records, metrics.items(), strict=True):
        metric._take_extras(_checked(record.extras, type(metric._extras()), "`extras`"))
        outline = metric._parcel(name).outline()
        if outline != record.outline:
            raise ValueError(
                f"The states of {name!r} were saved by {record.outline[1:]}, which are not the"
                f" class, arguments and states of this metric: {outline[1:]}."
            )
    holders = {record.outline[0]: record for record in records if record.states}
    for record, metric in zip(records, metrics.values(), strict=True):
        held = holders[record.source].states if record.source in holders else {}
        if held.keys() != metric._defaults.keys():
            raise _malformed(f"{record.outline[0]!r} has the states {[*held]}")
    found = _states(elements, {name: record.states for name, record in holders.items()})
    for record, metric in zip(records, metrics.values(), strict=True):
        metric._check_states(found.get(record.source, {}))
    for record, metric in zip(records, metrics.values(), strict=True):
        metric._take_states(found.get(record.source, {}))
        states = metric._states
        states.count, states.touched = record.count, record.traced


def _form(tensor: Tensor) -> list[Any]:
    if tensor.dtype not in SENDABLE:
        raise ValueError(f"States must have one of the dtypes {SENDABLE}, got {tensor.dtype}.")
    return [dtype_name(tensor.dtype), [*tensor.shape]]


def _malformed(what: str) -> ValueError:
    return ValueError(f"The description of the saved states is malformed: {what}.")


def _checked(value: Any, kind: type[T], what: str) -> T:
    """Return ``value``, which must be exactly of this kind: a bool is no number."""
    if type(value) is not kind:
        raise _malformed(f"{what} must be a {kind.__name__}, got {type(value).__name__}")
    return value


def _description(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the description and the elements behind it, once the checksum is right."""
    if not isinstance(data, bytes):
        raise ValueError(f"`data` must be bytes, got {type(data).__name__}.")
    if len(data) < _START.size + _END.size or not data.startswith(_MARK):
        raise ValueError(
            "These bytes are no saved states of metrics, or only the beginning of some."
        )
    _, version, length = _START.unpack_from(data)
    if version != _VERSION:
        raise ValueError(
            f"The states have format version {version}, this fastmetrics reads {_VERSION}."
        )
    rest = memoryview(data)[: -_END.size]
    if _END.unpack_from(data, len(rest))[0] != zlib.crc32(rest):
        raise ValueError("The saved states are damaged or incomplete: the checksum is wrong.")
    rest = rest[_START.size :]
    if length > len(rest):
        raise _malformed(f"it has {len(rest)} bytes, and says {length}")
    try:
        described = json.loads(bytes(rest[:length]))
    except (ValueError, RecursionError) as error:
        raise _malformed(f"it is no JSON ({error})") from None
    return _checked(described, dict, "it"), rest[length:]


@dataclass(frozen=True)
class _Record:
    """What a file says about one metric; no states where it shares those of ``source``."""

    outline: list[Any]
    extras: Any
    count: int
    traced: bool
    source: str
    states: dict[str, tuple[bool, list[tuple[torch.dtype, list[int]]]]]


def _record(described: Any) -> _Record:
    """Return what is said about a metric, once each part is of the right kind."""
    parts = _checked(described, dict, "a metric")
    if parts.keys() != {"outline", "extras", "count", "traced", "source", "states"}:
        raise _malformed(f"a metric has {[*parts]}")
    outline = _checked(parts["outline"], list, "`outline`")
    _checked(outline[0] if outline else None, str, "a name")
    if not 0 <= _checked(parts["count"], int, "`count`") < 2**63:
        raise _malformed(f"`count` is {parts['count']}")
    _checked(parts["traced"], bool, "`traced`")
    _checked(parts["source"], str, "`source`")
    held = _checked(parts["states"], dict, "`states`").items()
    return _Record(**parts | {"states": {name: _held(name, forms) for name, forms in held}})


def _held(name: str, forms: Any) -> tuple[bool, list[tuple[torch.dtype, list[int]]]]:
    """Return whether a state is a list, and the dtypes and shapes of its tensors."""
    is_list, *tensors = _checked(forms, list, f"state {name!r}") or [None]
    if not _checked(is_list, bool, f"the kind of state {name!r}") and len(tensors) != 1:
        raise _malformed(f"state {name!r} has {len(tensors)} tensors and is no list")
    return is_list, [_read_form(name, form) for form in tensors]


def _read_form(name: str, form: Any) -> tuple[torch.dtype, list[int]]:
    if len(_checked(form, list, f"a tensor of state {name!r}")) != 2:
        raise _malformed(f"a tensor of state {name!r} is {form}")
    dtype, shape = _dtype(form[0]), _checked(form[1], list, f"a shape of state {name!r}")
    if len(shape) > _MOST_AXES or any(_checked(n, int, "an axis") < 0 for n in shape):
        raise _malformed(f"a tensor of state {name!r} has the shape {shape}")
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize >= 2**63:
        raise _malformed(f"a tensor of state {name!r} has the shape {shape}")
    return dtype, shape


def _states(
    elements: memoryview,
    forms: dict[str, dict[str, tuple[bool, list[tuple[torch.dtype, list[int]]]]]],
) -> dict[str, dict[str, State]]:
    """Return the states of each metric, once ``elements`` are as many bytes as they take."""
    every = [form for states in forms.values() for _, held in states.values() for form in held]
    size = sum(math.prod(shape) * dtype.itemsize for dtype, shape in every)
    if size != len(elements):
        raise _malformed(f"its states take {size} bytes, and {len(elements)} follow")
    start = 0

    def read(dtype: torch.dtype, shape: list[int]) -> Tensor:
        nonlocal start
        end = start + math.prod(shape) * dtype.itemsize
        part, start = bytes(elements[start:end]), end
        return tensor_of(part, dtype, shape)

    found: dict[str, dict[str, State]] = {}
    for metric, states in forms.items():
        found[metric] = {}
        for name, (is_list, held) in states.items():
            tensors = [read(*form) for form in held]
            found[metric][name] = tensors if is_list else tensors[0]
    return found


def _dtype(name: Any) -> torch.dtype:
    if not isinstance(name, str) or name not in _NAMES:
        raise ValueError(f"The saved states have the unknown dtype {name!r}.")
    found: torch.dtype = getattr(torch, name)
    return found


def merge_states(parts: Iterable[Measured | bytes], like: Measured | None = None) -> Measured:
    """Return a metric, or a collection, that has seen the data of all ``parts``, in that order.

    Args:
        parts: metrics or collections that count the same, and what ``state_bytes`` returned for
            such; they stay as they are.
        like: says how to read bytes; the first part that is no bytes by default.

    Raises:
        ValueError: there are no parts, nothing says how to read bytes, bytes are damaged, or parts
            do not count the same.
        RuntimeError: a metric cannot be merged, see :meth:`fastmetrics.metric.Metric.merge_state`.

    Example:
        >>> from fastmetrics import SumMetric
        >>> from fastmetrics.distributed import merge_states
        >>> saved = []
        >>> for value in (1.0, 2.0):
        ...     metric = SumMetric()
        ...     metric.update(value)
        ...     saved.append(metric.state_bytes())
        >>> merge_states(saved, like=SumMetric()).compute()
        tensor(3.)
    """
    given = list(parts)
    template = next((part for part in given if not isinstance(part, bytes)), None)
    template = like if like is not None else template
    if not given or template is None:
        raise ValueError("`parts` must not be empty, and bytes need `like`, a metric to read them.")
    # Bytes say what they are and are checked against the template; so are all parts, this way.
    saved = [part if isinstance(part, bytes) else part.state_bytes() for part in given]
    merged: Measured = template.from_state_bytes(saved[-1])
    for part in reversed(saved[:-1]):
        merged._merge_earlier(template.from_state_bytes(part))
    return merged
