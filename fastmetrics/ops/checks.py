"""Checks of arguments by their metadata, and the texts of errors that all backends share.

Shapes in this package use N samples, C classes, L labels, D remaining positions (all trailing
axes flattened).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fastmetrics.utilities.refusals import REAL_DTYPES, REAL_TENSOR, what_else

# The kernels hold labels in 32 bits; an unknown number of classes ends here.
MAX_LABELS = 2**31 - 1

SCORE_DTYPES = frozenset(dtype for dtype in REAL_DTYPES if dtype.is_floating_point)
LABEL_DTYPES = REAL_DTYPES - SCORE_DTYPES
WEIGHT_DTYPES = REAL_DTYPES


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


def check_score_dtype(op: str, preds: Tensor) -> None:
    """Raise unless predictions are scores, which are floats."""
    if preds.dtype not in SCORE_DTYPES:
        raise ValueError(f"{op}: `preds` must be a float tensor, got dtype {preds.dtype}.")


def check_summed_scores(op: str, state: Tensor, preds: Tensor) -> None:
    """Raise unless scores are floats, and the sums of what is worked out of them float64."""
    check_score_dtype(op, preds)
    if state.dtype != torch.float64:
        raise ValueError(f"{op}: the metric state must be float64, got {state.dtype}.")


def check_real(op: str, name: str, tensor: Tensor) -> None:
    """Raise unless a tensor holds real numbers in a form that all backends read."""
    if tensor.layout is not torch.strided:
        raise ValueError(f"{op}: `{name}` must be a dense tensor, got {what_else(tensor)}.")
    if tensor.dtype not in WEIGHT_DTYPES:
        raise ValueError(f"{op}: `{name}` must be {REAL_TENSOR}, got dtype {tensor.dtype}.")


def check_weight(op: str, state: Tensor, weight: Tensor, num_samples: int) -> None:
    """Raise unless ``weight`` is a real ``[N]`` tensor and the state can hold weighted sums."""
    if weight.shape != (num_samples,):
        raise ValueError(
            f"{op}: `weight` must have one entry per sample, shape ({num_samples},),"
            f" got {tuple(weight.shape)}."
        )
    check_real(op, "weight", weight)
    if weight.device != state.device:
        raise ValueError(
            f"{op}: `weight` must be on the device of the metric state, {state.device},"
            f" got {weight.device}."
        )
    if state.dtype != torch.float64:
        raise ValueError(f"{op}: a weighted update needs a float64 state, got {state.dtype}.")


def refuse_mapped(op: str, args: Iterable[object]) -> None:
    """Raise if ``torch.vmap`` maps an argument: an op writes one state, not one for each entry."""
    if any(isinstance(arg, Tensor) and torch._C._functorch.is_batchedtensor(arg) for arg in args):
        raise RuntimeError(
            f"{op}: torch.vmap cannot map what changes a state, such as the update of a metric; it"
            " can map the functions of fastmetrics.functional."
        )


def shape_text(tensor: Tensor) -> str:
    """Print a shape as a tuple."""
    return str(tuple(tensor.shape))


def check_held(owner: str, device: torch.device | None = None, **tensors: Tensor) -> None:
    """Raise unless these hold numbers on one device that can be read later.

    A metric whose ``device`` is the meta device keeps what is there.

    Raises:
        ValueError: a packed tensor such as a sparse one, one left over from a trace, two devices.
    """
    first = next(iter(tensors.values()))
    has_data = device is None or device.type != "meta"
    for name, tensor in tensors.items():
        packed = tensor.layout is not torch.strided or type(tensor) is not Tensor
        if packed or (has_data and tensor.is_meta):
            found = what_else(tensor)
            if found is not None:
                raise ValueError(f"{owner}: `{name}` must be a dense tensor, got {found}.")
        if tensor.device != first.device:
            raise ValueError(
                f"{owner}: {' and '.join(f'`{n}`' for n in tensors)} must be on one device, got"
                f" {' and '.join(str(t.device) for t in tensors.values())}."
            )


def check_beside(name: str, tensor: Tensor, kept: Tensor) -> None:
    """Raise ``ValueError`` unless a batch is on the device of those kept before."""
    if tensor.device != kept.device or (type(tensor) is not type(kept) and _is_fake(tensor, kept)):
        raise ValueError(
            f"`{name}` must be on the device of the batches before, {kept.device}, got"
            f" {tensor.device}."
        )


def _is_fake(*tensors: Tensor) -> bool:
    return any(type(tensor).__name__ == "FakeTensor" for tensor in tensors)
