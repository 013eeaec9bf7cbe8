"""Metric states as bytes, to be merged by another process, on another day.

A file is: a mark, the version and the length of the description; the description, as JSON; the
elements of all states in that order; a checksum. Nothing in it is ever run.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from fastmetrics.core.states import State
from fastmetrics.distributed.gathering import SENDABLE
from fastmetrics.distributed.packets import dtype_name

if TYPE_CHECKING:
    from fastmetrics.collections import MetricCollection
    from fastmetrics.metric import Metric

__all__ = ["merge_states", "read_states", "write_states"]

Measured = TypeVar("Measured", "Metric", "MetricCollection")

_MARK = b"\x89fmstate"
_VERSION = 2
_START = struct.Struct("<8sIQ")
_END = struct.Struct("<I")
_NAMES = frozenset(map(dtype_name, SENDABLE))


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
    parts = [_START.pack(_MARK, _VERSION, len(text)), text, *map(_elements, tensors)]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join([*parts, _END.pack(checksum)])


def read_states(data: bytes, metrics: dict[str, Metric]) -> None:
    """Give ``metrics`` the states that :func:`write_states` wrote for such metrics.

    Raises:
        ValueError: ``data`` is damaged, or stems from other metrics; nothing has changed then but
            names of layers.
    """
    described, start = _description(data)
    if described["byteorder"] != sys.byteorder:
        raise ValueError(f"The states were saved on a {described['byteorder']}-endian machine.")
    records = described["metrics"]
    names = [record["outline"][0] for record in records]
    if names != [*metrics]:
        raise ValueError(f"The states are those of {names}, not of {[*metrics]}.")
    found: dict[str, dict[str, State]] = {}
    for record, (name, metric) in zip(records, metrics.items(), strict=True):
        metric._take_extras(record["extras"])
        outline = metric._parcel(name).outline()
        if outline != record["outline"]:
            raise ValueError(
                f"The states of {name!r} were saved by {record['outline'][1:]}, which are not the"
                f" class, arguments and states of this metric: {outline[1:]}."
            )
        found[name], start = _states(data, start, record["states"])
    for record, metric in zip(records, metrics.values(), strict=True):
        metric._take_states(found[record["source"]])
        states = metric._states
        states.count, states.touched = record["count"], record["traced"]


def _form(tensor: Tensor) -> list[Any]:
    if tensor.dtype not in SENDABLE:
        raise ValueError(f"States must have one of the dtypes {SENDABLE}, got {tensor.dtype}.")
    return [dtype_name(tensor.dtype), [*tensor.shape]]


def _elements(tensor: Tensor) -> bytes:
    data = tensor.detach().cpu().contiguous()
    return ctypes.string_at(data.data_ptr(), data.nbytes) if data.nbytes else b""


def _description(data: bytes) -> tuple[Any, int]:
    """Return the description and where the elements begin, once the checksum is right."""
    if len(data) < _START.size + _END.size or not data.startswith(_MARK):
        raise ValueError(
            "These bytes are no saved states of metrics, or only the beginning of some."
        )
    _, version, length = _START.unpack_from(data)
    if version != _VERSION:
        raise ValueError(
            f"The states have format version {version}, this fastmetrics reads {_VERSION}."
        )
    end = len(data) - _END.size
    if _END.unpack_from(data, end)[0] != zlib.crc32(memoryview(data)[:end]):
        raise ValueError("The saved states are damaged or incomplete: the checksum is wrong.")
    start = _START.size + length
    return json.loads(data[_START.size : start]), start


def _states(data: bytes, start: int, forms: dict[str, Any]) -> tuple[dict[str, State], int]:
    """Return the states that begin at ``start``, and where they end."""
    states: dict[str, State] = {}
    for name, (is_list, *tensors) in forms.items():
        held = []
        for dtype, shape in tensors:
            tensor = torch.empty(shape, dtype=_dtype(dtype))
            if tensor.nbytes:
                end = start + tensor.nbytes
                flat = torch.frombuffer(bytearray(data[start:end]), dtype=tensor.dtype)
                tensor, start = flat.view(shape), end
            held.append(tensor)
        states[name] = held if is_list else held[0]
    return states, start


def _dtype(name: str) -> torch.dtype:
    if name not in _NAMES:
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
