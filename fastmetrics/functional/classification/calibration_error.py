"""Calibration error: how far confidences are from the share of predictions that are right.

Positions are sorted by confidence into ``n_bins`` bins of equal width; the last one contains 1.
With the share ``w`` of all positions that lie in a bin, their mean confidence ``c`` and the share
``a`` of them that are right:

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

from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.functional._declare import Read, planned_by
from fastmetrics.functional.classification._tasks import calls_its_task
from fastmetrics.ops.calibration import CalibrationBins
from fastmetrics.ops.counted import divide
from fastmetrics.utilities.checks import check_choice
from fastmetrics.utilities.data import scalar

__all__ = ["binary_calibration_error", "calibration_error", "multiclass_calibration_error"]

NORMS = ("l1", "l2", "max")


def check_norm(norm: str) -> None:
    """Raise ``ValueError`` unless ``norm`` names one."""
    check_choice("norm", norm, NORMS)


def calibration_value(statistic: CalibrationBins, states: States, norm: str) -> Tensor:
    """Return the float32 error of what was counted."""
    rows = statistic.numbers_of(states)
    if rows is not None:
        return scalar(_error_of_rows(rows, norm))
    positions, confidence, right = statistic.read(states).unbind(-1)
    gap = (right - confidence).abs()
    if norm == "l1":
        return (gap.sum() / positions.sum()).float()
    gap = divide(gap, positions)
    if norm == "max":
        return gap.amax().float()
    return divide((gap * gap * positions).sum(), positions.sum()).sqrt().float()


def _error_of_rows(rows: list[list[float]], norm: str) -> float:
    """Do the same with numbers."""
    total = mean = square = largest = 0.0
    for positions, confidence, right in rows:
        if positions:
            distance = abs(right - confidence)
            gap = distance / positions
            total += positions
            mean += distance
            square += distance * gap
            largest = gap if gap > largest else largest
    if norm == "l1":
        return mean / total if total else math.nan
    if norm == "max":
        return largest
    return math.sqrt(square / total) if total else 0.0


def _plan(norm: str, **arguments: Any) -> tuple[CalibrationBins, Read]:
    statistic = CalibrationBins(**arguments)
    if statistic.validate_args:
        check_norm(norm)
    return statistic.checked(), partial(calibration_value, norm=norm)


@planned_by(_plan)
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


@planned_by(_plan)
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


@calls_its_task(binary=binary_calibration_error, multiclass=multiclass_calibration_error)
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
