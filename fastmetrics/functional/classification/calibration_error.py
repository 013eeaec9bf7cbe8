"""Calibration error: how far confidences are from the share of predictions that are right.

Positions are sorted by confidence into ``n_bins`` bins of equal width; a confidence of exactly 1
has a bin of its own, as in torchmetrics. With the share ``w`` of all positions that lie in a bin,
their mean confidence ``c`` and the share ``a`` of them that are right:

- ``norm="l1"``: sum of ``w |a - c|``, the expected calibration error
- ``norm="l2"``: square root of the sum of ``w (a - c)^2``
- ``norm="max"``: the largest ``|a - c|``

The value is a float32 scalar in [0, 1]. Without positions that count it is NaN for "l1", else 0.

Arguments that all functions share:

- ``preds``: scores of any float type, probabilities or logits; binary ``[N, ...]``, multiclass
  ``[N, C, ...]``. The confidence is the probability of class 1, or the largest of a row.
- ``target``: any integer type or bool, ``[N, ...]``: 0 and 1, or classes.
- ``num_classes``: C, at least 2.
- ``n_bins``: at least 1.
- ``ignore_index``: positions with this target are left out; integer or None.
- ``validate_args``: check arguments and labels.
- ``weight``: ``[N]``, what each sample counts; 1 by default.
- ``input``: ``"probs"``, ``"logits"`` (through a sigmoid or softmax), or ``"auto"``: logits as soon
  as one score lies outside [0, 1].

Raises ``ValueError`` for arguments, shapes and dtypes, ``RuntimeError`` for labels out of range.
Positions with NaN scores are left out with a warning.

Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian
binning, AAAI 2015; "l2": Kumar, Liang and Ma, Verified uncertainty calibration, NeurIPS 2019.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.classification._statistic import (
    _readable,
    choose_reading,
    divide,
)
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.ops import calibration_bins_
from fastmetrics.ops.faults import new_events, raise_events
from fastmetrics.utilities.checks import INPUTS, check_choice, check_ignore_index, check_int

__all__ = ["binary_calibration_error", "calibration_error", "multiclass_calibration_error"]

NORMS = ("l1", "l2", "max")
NAN_TREATMENT = "they have no confidence and are left out."

# Up to here numbers are faster than tensors.
_FEW_BINS = 64


def check_calibration_arguments(
    n_bins: Any, norm: Any, ignore_index: Any, input: Any, num_classes: Any = None
) -> None:
    """Raise ``ValueError`` unless all arguments are in range; None classes for binary inputs."""
    if num_classes is not None:
        check_int("num_classes", num_classes, 2)
    check_int("n_bins", n_bins, 1)
    check_choice("norm", norm, NORMS)
    check_ignore_index(ignore_index)
    check_choice("input", input, INPUTS)


def bin_edges(n_bins: int, device: torch.device | None = None) -> Tensor:
    """Lower edges of the bins as float32 and as float64 numbers, float64 ``[2, n_bins + 1]``."""
    # Made on the CPU: other devices round differently.
    rows = [
        torch.linspace(0, 1, n_bins + 1, dtype=dtype) for dtype in (torch.float32, torch.double)
    ]
    return torch.stack([row.double() for row in rows]).to(device)


def calibration_formula(bins: Tensor, norm: str) -> Tensor:
    """Return the float32 error from sums ``[B, 3]``: positions, confidences, right ones."""
    if len(bins) <= _FEW_BINS and _readable(bins):
        return torch.full((), _error_of_rows(bins.tolist(), norm), dtype=torch.float32)
    count, confidence, right = bins.unbind(-1)
    gap = (right - confidence).abs()
    if norm == "l1":
        return (gap.sum() / count.sum()).float()
    gap = divide(gap, count)
    if norm == "max":
        return gap.amax().float()
    return divide((gap * gap * count).sum(), count.sum()).sqrt().float()


def _error_of_rows(rows: list[list[float]], norm: str) -> float:
    """Do the same with numbers."""
    total = mean = square = largest = 0.0
    for count, confidence, right in rows:
        if count:
            distance = abs(right - confidence)
            gap = distance / count
            total += count
            mean += distance
            square += distance * gap
            largest = gap if gap > largest else largest
    if norm == "l1":
        return mean / total if total else math.nan
    if norm == "max":
        return largest
    return math.sqrt(square / total) if total else 0.0


def count_bins(
    owner: str,
    preds: Tensor,
    target: Tensor,
    n_bins: int,
    num_classes: int,
    ignore_index: int | None,
    validate_args: bool,
    weight: Tensor | None,
    input: str,
) -> Tensor:
    """Count one batch, ``[B, 3]``; ``num_classes=0`` for binary inputs."""
    readings = 2 if input == "auto" else 1
    bins = torch.zeros((readings, n_bins + 1, 3), dtype=torch.float64, device=target.device)
    events = new_events(target.device)
    calibration_bins_(
        bins,
        events,
        preds,
        target,
        weight,
        bin_edges(n_bins, target.device),
        num_classes,
        input == "logits",
        ignore_index,
        validate_args,
    )
    if validate_args:
        raise_events(owner, events, NAN_TREATMENT)
    return choose_reading(bins, events, -3)


def binary_calibration_error(
    preds: Tensor,
    target: Tensor,
    n_bins: int = 15,
    norm: str = "l1",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Compare probabilities of class 1 with how often it occurs; see the module docstring.

    The norm of ``accuracy_b - confidence_b`` over the bins b, each with its share of positions.

    Returns a float32 scalar.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_calibration_error
    >>> preds, target = torch.tensor([0.25, 0.25, 0.55, 0.75, 0.75]), torch.tensor([0, 0, 1, 1, 1])
    >>> binary_calibration_error(preds, target, n_bins=2)
    tensor(0.2900)
    """
    if validate_args:
        check_calibration_arguments(n_bins, norm, ignore_index, input)
    bins = count_bins(
        "binary_calibration_error",
        preds,
        target,
        n_bins,
        0,
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return calibration_formula(bins, norm)


def multiclass_calibration_error(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    n_bins: int = 15,
    norm: str = "l1",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Compare the largest probability of each row with how often its class is right.

    The norm of ``accuracy_b - confidence_b`` over the bins b, each with its share of positions.

    See the module docstring. Returns a float32 scalar.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_calibration_error
    >>> preds = torch.tensor([[0.25, 0.20, 0.55], [0.10, 0.30, 0.60], [0.90, 0.05, 0.05]])
    >>> multiclass_calibration_error(preds, torch.tensor([0, 2, 0]), num_classes=3, n_bins=3)
    tensor(0.0833)
    """
    if validate_args:
        check_calibration_arguments(n_bins, norm, ignore_index, input, num_classes)
    bins = count_bins(
        "multiclass_calibration_error",
        preds,
        target,
        n_bins,
        num_classes,
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return calibration_formula(bins, norm)


def calibration_error(
    preds: Tensor,
    target: Tensor,
    task: str,
    n_bins: int = 15,
    norm: str = "l1",
    num_classes: int | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Compute the calibration error of ``task``, which is "binary" or "multiclass".

    The norm of ``accuracy_b - confidence_b`` over the bins b, each with its share of positions.

    Passes the arguments that the task has to the function above that is named after it.

    >>> import torch
    >>> from fastmetrics.functional import calibration_error
    >>> preds, target = torch.tensor([0.25, 0.25, 0.55, 0.75, 0.75]), torch.tensor([0, 0, 1, 1, 1])
    >>> calibration_error(preds, target, task="binary", n_bins=2, norm="max")
    tensor(0.3167)
    """
    tasks = {
        name: partial(function, input=input)
        for name, function in (
            ("binary", binary_calibration_error),
            ("multiclass", multiclass_calibration_error),
        )
    }
    return call_for_task(
        task,
        tasks,
        preds,
        target,
        n_bins=n_bins,
        norm=norm,
        num_classes=num_classes,
        ignore_index=ignore_index,
        validate_args=validate_args,
        weight=weight,
    )
