"""Gathering metric states from all processes and reducing them to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from fastmetrics.utilities.data import dim_zero_cat, dim_zero_mean

__all__ = [
    "Gather",
    "Reduction",
    "State",
    "distributed_available",
    "gather_all_tensors",
    "sync_list_state",
    "sync_tensor_state",
]

State = Tensor | list[Tensor]
Reduction = Callable[..., Any] | None
Gather = Callable[..., list[Tensor]]

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


def sync_tensor_state(
    state: Tensor, reduction: Reduction, gather: Gather, group: Any, update_count: int
) -> Any:
    """Return the tensor ``state`` of all processes, reduced; stacked when there is no reduction.

    A process that has seen no data may still hold a default of another shape (a scalar zero beside
    vectors): it is broadcast. It takes no part in a mean.
    """
    parts = gather(state, group=group)
    if reduction is dim_zero_cat:
        return dim_zero_cat(parts)
    if reduction is dim_zero_mean:
        counts = gather(torch.tensor(update_count, device=state.device), group=group)
        parts = [p for p, n in zip(parts, counts, strict=True) if n > 0] or parts
    if any(part.shape != parts[0].shape for part in parts):
        parts = list(torch.broadcast_tensors(*parts))
    stacked = torch.stack(list(parts))
    return stacked if reduction is None else reduction(stacked)


def sync_list_state(
    state: Sequence[Tensor], reduction: Reduction, gather: Gather, group: Any, empty: Tensor
) -> Any:
    """Return the list ``state`` of all processes, reduced; one flat list without a reduction.

    Processes may hold lists of different lengths, or nothing: ``empty`` stands in for what they
    lack.
    """
    if reduction is dim_zero_cat:
        return dim_zero_cat(gather(dim_zero_cat(state) if state else empty, group=group))
    if gather is gather_all_tensors:
        length = torch.tensor(len(state), device=empty.device)
        lengths = [int(n) for n in gather(length, group=group)]
    else:  # a user's function sees the elements of the state and nothing else
        lengths = []
    elements: list[Tensor] = []
    for i in range(max(lengths, default=len(state))):
        parts = gather(state[i] if i < len(state) else empty, group=group)
        elements += [part for r, part in enumerate(parts) if not lengths or i < lengths[r]]
    return elements if reduction is None or not elements else reduction(elements)
