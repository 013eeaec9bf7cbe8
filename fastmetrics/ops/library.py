"""What every op shares: the library handle, event counters, metadata checks and error texts.

Shapes in this package use N samples, C classes, L labels, D remaining positions (all trailing
axes flattened). ``events`` is an int64 ``[3]`` tensor beside every statistic; it sums over ranks:

====== =============================================================================
column meaning
====== =============================================================================
0      samples left out because a label was out of range (the CPU raises instead)
1      samples whose scores contained NaN
2      scores outside ``[0, 1]``, counted only where probabilities and logits must be told apart
====== =============================================================================
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import Library

# The kernels hold labels in 32 bits; an unknown number of classes ends here.
MAX_LABELS = 2**31 - 1

INVALID, NAN, OUTSIDE = 0, 1, 2
NUM_EVENTS = 3

SCORE_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
LABEL_DTYPES = frozenset(
    {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
)
WEIGHT_DTYPES = SCORE_DTYPES | LABEL_DTYPES

# Lives as long as the process, as the ops do.
LIBRARY = Library("fastmetrics", "DEF")

REFERENCES: dict[str, Callable[..., None]] = {}
CHECKS: dict[str, Callable[..., None]] = {}

# Ops that `compute` runs once over what a metric has kept, rather than `update` over every batch.
COMPUTE_OPS: set[str] = set()
# Ops that GPUs run by the reference: torch's own device kernels do the work there.
WITHOUT_TRITON: set[str] = set()


def define(
    name: str,
    schema: str,
    reference: Callable[..., None],
    check: Callable[..., None],
    in_compute: bool = False,
    triton: bool = True,
) -> Callable[..., None]:
    """Declare one op with its reference and its metadata check, and return a function that runs it.

    ``in_compute`` marks an op that ``compute`` calls instead of ``update``, and ``triton=False``
    one that has no Triton kernel.

    The reference serves every device that has no kernel of its own. The check is the fake, and runs
    before the reference and before the GPU kernels. The CPU kernels guard their memory themselves,
    so the check runs only to word what they refuse: it takes as long as a small kernel. The ops are
    not differentiable, so autograd passes them through and keeps no input alive.
    """

    def checked_reference(*args: Any) -> None:
        check(*args)
        with torch.no_grad():  # the operations inside would keep a graph
            reference(*args)

    LIBRARY.define(f"{name}{schema} -> ()")
    LIBRARY.impl(name, checked_reference, "CompositeExplicitAutograd")
    LIBRARY.impl(name, torch.library.fallthrough_kernel, "Autograd")
    torch.library.register_fake(f"fastmetrics::{name}", check, lib=LIBRARY)
    REFERENCES[name] = reference
    CHECKS[name] = check
    if in_compute:
        COMPUTE_OPS.add(name)
    if not triton:
        WITHOUT_TRITON.add(name)
    handle = getattr(torch.ops.fastmetrics, name).default

    def run(*args: Any) -> None:
        try:
            handle(*args)
        except (ValueError, RuntimeError):
            check(*args)
            raise

    return run


def new_events(device: torch.device | str | None = None) -> Tensor:
    """Return zeroed event counters, int64 ``[3]``."""
    return torch.zeros(NUM_EVENTS, dtype=torch.int64, device=device)


# What becomes of NaN scores, for the warning about them.
NAN_AS_TORCH = "argmax and thresholds treat them as torch does."
NAN_RANKS_LAST = "they rank below every score."


def raise_events(owner: str, events: Tensor, nan_treatment: str = NAN_AS_TORCH) -> None:
    """Report what an update could not: raise for invalid labels, warn for NaN scores.

    Reads ``events`` on the host, so it belongs into ``compute`` and never into ``update``. In
    regions that torch compiles it does nothing; the ops themselves still raise on a CPU.
    """
    if torch.compiler.is_compiling():
        return
    invalid, nan, _ = events.tolist()
    if invalid:
        raise RuntimeError(
            f"{owner}: {invalid} samples were left out because `preds` or `target` held labels"
            " outside the allowed range."
        )
    if nan:
        warnings.warn(
            f"{owner}: {nan} samples had NaN scores; {nan_treatment}",
            UserWarning,
            stacklevel=2,
        )


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


def check_label_dtype(op: str, name: str, labels: Tensor) -> None:
    """Raise unless labels are integers or booleans."""
    if labels.dtype not in LABEL_DTYPES:
        raise ValueError(
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
