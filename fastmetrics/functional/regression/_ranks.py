"""What the correlations of ranks share: checks of their inputs, and chunks as the ops take them."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from fastmetrics.ops.checks import WEIGHT_DTYPES


def check_samples(owner: str, preds: Tensor, target: Tensor, outputs: int) -> None:
    """Raise unless both are real and ``[N, outputs]``, or ``[N]`` for one output."""
    shape = preds.shape
    if shape != target.shape:
        raise RuntimeError(
            f"{owner}: `preds` and `target` must have the same shape, got {tuple(shape)} and"
            f" {tuple(target.shape)}."
        )
    if shape[1:] != (outputs,) and (len(shape) != 1 or outputs != 1):
        wanted = "(N,) or (N, 1)" if outputs == 1 else f"(N, {outputs})"
        raise ValueError(
            f"{owner}: `preds` and `target` must have shape {wanted}, got {tuple(shape)}."
        )
    if preds.dtype not in WEIGHT_DTYPES or target.dtype not in WEIGHT_DTYPES:
        raise ValueError(
            f"{owner}: `preds` and `target` must be real tensors, got {preds.dtype} and"
            f" {target.dtype}."
        )


def num_outputs(preds: Tensor) -> int:
    """Return the number of outputs of ``[N]`` or ``[N, D]``."""
    return preds.shape[1] if preds.ndim == 2 else 1


def _wider(a: torch.dtype, b: torch.dtype) -> torch.dtype:
    """Return a dtype that keeps apart what is different in either, as far as there is one."""
    # torch would have an integer and a float share that of the float.
    mixed = a.is_floating_point != b.is_floating_point
    return torch.float64 if mixed else torch.promote_types(a, b)


def of_one_dtype(chunks: list[Tensor]) -> list[Tensor]:
    """Return chunks that can be compared: as they are, or in the widest of their dtypes."""
    dtypes = {chunk.dtype for chunk in chunks}
    if len(dtypes) < 2:
        return chunks
    widest = functools.reduce(_wider, dtypes)
    return [chunk.to(widest) for chunk in chunks]
