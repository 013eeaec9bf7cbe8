"""Gathering metric states from all processes and reducing them to one."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from fastmetrics.core.reductions import Mean, Reduction
from fastmetrics.core.states import State
from fastmetrics.utilities.data import dim_zero_cat

__all__ = ["distributed_available", "gather_all_tensors", "gather_state", "is_real"]

# A function that gathers a tensor, bound to its process group.
Gather = partial[list[Tensor]]

# The header of a tensor on the wire: its dtype, its number of axes, its sizes.
_MAX_NDIM = 30
SENDABLE = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
)


def distributed_available() -> bool:
    """Whether a default process group exists."""
    return dist.is_available() and dist.is_initialized()


def is_real(group: Any | None) -> bool:
    """Whether a process group is more than what somebody has put in place of torch's functions.

    Those of a mocked environment know gathers, and none of the ways in which packets travel.
    """
    group = dist.group.WORLD if group is None else group
    size = getattr(group, "size", None)
    return group is not None and (size is None or size() == dist.get_world_size(group))


def gather_all_tensors(result: Tensor, group: Any | None = None) -> list[Tensor]:
    """Gather ``result`` of every process of ``group``; all processes must call this.

    Shapes, numbers of axes and dtypes may differ between processes, and tensors may be empty: each
    tensor travels as bytes, padded to the longest. The own element of the list is ``result``
    itself, so gradients flow through it.

    Raises:
        ValueError: a dtype or number of axes that cannot be sent.
    """
    group = dist.group.WORLD if group is None else group
    headers = _all_gather(_header(result), group)
    shapes = [tuple(h[2 : 2 + int(h[1])].tolist()) for h in headers]
    dtypes = [SENDABLE[int(h[0])] for h in headers]
    sizes = [
        torch.Size(shape).numel() * dtype.itemsize
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    payload = torch.zeros(max(sizes), dtype=torch.uint8, device=result.device)
    own = result.detach().contiguous().reshape(-1).view(torch.uint8)
    payload[: own.numel()] = own
    received = _all_gather(payload, group) if max(sizes) else [payload] * len(sizes)
    gathered = [
        data[:size].view(dtype).view(shape)
        for data, size, dtype, shape in zip(received, sizes, dtypes, shapes, strict=True)
    ]
    gathered[dist.get_rank(group)] = result
    return gathered


def _header(tensor: Tensor) -> Tensor:
    if tensor.dtype not in SENDABLE or tensor.ndim > _MAX_NDIM:
        raise ValueError(
            f"A state must have at most {_MAX_NDIM} axes and one of the dtypes {SENDABLE} to be"
            f" gathered, got shape {tuple(tensor.shape)} and dtype {tensor.dtype}."
        )
    sizes = [*tensor.shape] + [0] * (_MAX_NDIM - tensor.ndim)
    return torch.tensor([SENDABLE.index(tensor.dtype), tensor.ndim, *sizes], device=tensor.device)


def _all_gather(tensor: Tensor, group: Any) -> list[Tensor]:
    received = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
    dist.all_gather(received, tensor, group=group)
    return received


def gather_state(
    state: State, reduction: Reduction, gather: Gather, *, updates: int, empty: Tensor
) -> Any:
    """Return the state of all processes; ``empty`` stands in for what a list lacks.

    A process that has seen no data may still hold a default of another shape (a scalar zero beside
    vectors): it is broadcast. A user's function sees the states and nothing else, each once.
    """
    if isinstance(state, list):
        return _gather_list(state, reduction, gather, empty)
    parts = gather(state)
    updated = [True] * len(parts)
    if isinstance(reduction, Mean) and gather.func is gather_all_tensors:
        updated = [int(n) > 0 for n in gather(torch.tensor(updates, device=state.device))]
    if not reduction.concatenates and any(part.shape != parts[0].shape for part in parts):
        parts = list(torch.broadcast_tensors(*parts))
    return reduction.gather(parts, updated)


def _gather_list(state: list[Tensor], reduction: Reduction, gather: Gather, empty: Tensor) -> Any:
    """Return one tensor, or one flat list; processes may hold lists of different lengths."""
    if reduction.concatenates:
        parts = gather(dim_zero_cat(state) if state else empty)
        return reduction.gather(parts, [True] * len(parts))
    lengths: list[int] = []
    if gather.func is gather_all_tensors:
        lengths = [int(n) for n in gather(torch.tensor(len(state), device=empty.device))]
    elements: list[Tensor] = []
    for i in range(max(lengths, default=len(state))):
        parts = gather(state[i] if i < len(state) else empty)
        elements += [part for r, part in enumerate(parts) if not lengths or i < lengths[r]]
    return reduction.gather_lists(elements)
