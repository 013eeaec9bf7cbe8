"""Fresh counts, for functions that do not count through a statistic yet."""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.functional.classification._ratio import divide as divide
from fastmetrics.ops.counted import choose_interpretation as choose_reading
from fastmetrics.ops.counted import is_readable as _readable

__all__ = ["_readable", "choose_reading", "divide", "new_counts"]


def new_counts(
    shape: tuple[int, ...],
    target: Tensor,
    weight: Tensor | None,
    samplewise: bool,
    device: torch.device,
    label_axes: int = 0,
) -> Tensor:
    """Return zeroed counts of ``shape``, or ``[N, *shape]`` when each sample keeps its own.

    Raises:
        ValueError: samplewise, and there is a weight or no axis left to count over.
    """
    if not samplewise:
        dtype = torch.int64 if weight is None else torch.float64
        return torch.zeros(shape, dtype=dtype, device=device)
    if weight is not None:
        raise ValueError("`weight` needs multidim_average='global', got 'samplewise'.")
    if target.ndim < 2 + label_axes:
        raise ValueError(
            f"multidim_average='samplewise' needs `target` with at least {2 + label_axes} axes,"
            f" got shape {tuple(target.shape)}."
        )
    return torch.zeros((target.shape[0], *shape), dtype=torch.int64, device=device)
