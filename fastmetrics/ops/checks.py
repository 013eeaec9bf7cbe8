"""Checks of arguments by their metadata, and the texts of errors that all backends share.

Shapes in this package use N samples, C classes, L labels, D remaining positions (all trailing
axes flattened).
"""

from __future__ import annotations

import torch
from torch import Tensor

# The kernels hold labels in 32 bits; an unknown number of classes ends here.
MAX_LABELS = 2**31 - 1

SCORE_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
LABEL_DTYPES = frozenset(
    {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
)
WEIGHT_DTYPES = SCORE_DTYPES | LABEL_DTYPES


def range_text(num_labels: int, ignore_index: int | None) -> str:
    """Say which labels are allowed; ``num_labels`` is 0 when unknown."""
    allowed = f"must lie in [0, {num_labels or MAX_LABELS})"
    return allowed if ignore_index is None else f"{allowed} or equal ignore_index={ignore_index}"


def raise_first_invalid(
    op: str, name: str, labels: Tensor, invalid: Tensor, num_labels: int, ignore_index: int | None
) -> None:
    """Raise for the first invalid label, with the text that every backend uses."""
    position = int(invalid.flatten().to(torch.uint8).argmax())
    value = int(labels.flatten()[position])
    raise RuntimeError(
        f"{op}: `{name}` {range_text(num_labels, ignore_index)}, got {value} at flat index"
        f" {position}."
    )


def check_devices(op: str, state: Tensor, preds: Tensor, target: Tensor) -> None:
    """Raise unless state and inputs live on one device."""
    device = state.device
    if preds.device != device or target.device != device:
        raise ValueError(
            f"{op}: `preds`, `target` and the metric state must be on one device, got"
            f" {preds.device}, {target.device} and {device}."
        )


class FloatTargetError(ValueError):
    """`target` is a float tensor; what it holds may be labels nevertheless."""


def labels_in(target: Tensor) -> Tensor | None:
    """Return a float ``target`` as integers, or None if it holds other numbers; waits for a GPU."""
    if torch.compiler.is_compiling() or not bool((target == target.floor()).all()):
        return None
    return target.long()


def check_label_dtype(op: str, name: str, labels: Tensor) -> None:
    """Raise unless labels are integers or booleans."""
    if labels.dtype not in LABEL_DTYPES:
        is_float_target = name == "target" and labels.dtype in SCORE_DTYPES
        raise (FloatTargetError if is_float_target else ValueError)(
            f"{op}: `{name}` must be an integer or bool tensor, got dtype {labels.dtype}."
        )


def check_weight(op: str, state: Tensor, weight: Tensor, num_samples: int) -> None:
    """Raise unless ``weight`` is a real ``[N]`` tensor and the state can hold weighted sums."""
    if weight.shape != (num_samples,):
        raise ValueError(
            f"{op}: `weight` must have one entry per sample, shape ({num_samples},),"
            f" got {tuple(weight.shape)}."
        )
    if weight.dtype not in WEIGHT_DTYPES:
        raise ValueError(f"{op}: `weight` must be a real tensor, got dtype {weight.dtype}.")
    if weight.device != state.device:
        raise ValueError(
            f"{op}: `weight` must be on the device of the metric state, {state.device},"
            f" got {weight.device}."
        )
    if state.dtype != torch.float64:
        raise ValueError(f"{op}: a weighted update needs a float64 state, got {state.dtype}.")


def shape_text(tensor: Tensor) -> str:
    """Print a shape as a tuple."""
    return str(tuple(tensor.shape))
