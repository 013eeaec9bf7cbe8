"""Hinge loss: how far scores stay behind a margin of one, on average.

Shared arguments (N samples, C classes; positions of trailing axes ``...`` count as samples):

- ``preds``: scores, float16, bfloat16, float32 or float64; binary ``[N, ...]``, multiclass
  ``[N, C, ...]``.
- ``target``: labels in any integer type or bool ``[N, ...]``; 0 or 1, or in ``[0, C)``.
- ``squared``: average the squares of the losses.
- ``multiclass_mode``: ``"crammer-singer"`` compares the score of the target with the largest other
  one; ``"one-vs-all"`` has a loss for each class, against the rest.
- ``ignore_index``: integer or None; positions with this target are left out.
- ``validate_args``: check the arguments and the labels; False skips both.
- ``weight``: optional ``[N]`` of non-negative numbers, how much each sample counts.
- ``input``: ``"probs"`` takes scores as they are, also decision values outside ``[0, 1]``;
  ``"logits"`` applies a sigmoid (binary) or softmax (multiclass) first; ``"auto"`` does that as
  soon as one score lies outside ``[0, 1]``.

The value is float32, a scalar or for ``"one-vs-all"`` ``[C]``, worked out in float64; NaN without
samples. NaN scores make it NaN, with a warning. All raise ``ValueError`` for arguments, shapes,
dtypes and devices that do not fit and ``RuntimeError`` for labels out of range.

Source: Cortes and Vapnik, Support-vector networks, Machine Learning 20 (1995); classes: Crammer and
Singer, On the algorithmic implementation of multiclass kernel-based vector machines, Journal of
Machine Learning Research 2 (2001).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.classification._statistic import choose_reading
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.ops import hinge_sums_
from fastmetrics.ops.faults import new_events, raise_events
from fastmetrics.utilities.checks import INPUTS, check_choice, check_ignore_index, check_int

__all__ = ["binary_hinge_loss", "hinge_loss", "multiclass_hinge_loss"]

MULTICLASS_MODES = ("crammer-singer", "one-vs-all")


NAN_TREATMENT = "their loss is NaN."


def check_hinge_arguments(squared: Any, ignore_index: Any, input: Any) -> None:
    """Raise ``ValueError`` unless the arguments that all hinge losses have are in range."""
    if not isinstance(squared, bool):
        raise ValueError(f"`squared` must be True or False, got {squared!r}.")
    check_ignore_index(ignore_index)
    check_choice("input", input, INPUTS)


def check_multiclass_arguments(
    num_classes: Any, squared: Any, multiclass_mode: Any, ignore_index: Any, input: Any
) -> None:
    """Raise ``ValueError`` unless the arguments of a multiclass hinge loss are in range."""
    check_hinge_arguments(squared, ignore_index, input)
    check_int("num_classes", num_classes, 2)
    check_choice("multiclass_mode", multiclass_mode, MULTICLASS_MODES)


def sums_shape(num_losses: int, input: str) -> tuple[int, int]:
    """Shape of the statistic: a row for each reading, K sums and the number of samples."""
    return (2 if input == "auto" else 1, num_losses + 1)


def hinge_formula(sums: Tensor, events: Tensor) -> Tensor:
    """Divide the ``sums`` ``[H, K + 1]`` by the samples in the last column: float32 ``[K]``.

    A single loss (K = 1) is a scalar.
    """
    row = choose_reading(sums, events, -2)
    losses = (row[:-1] / row[-1]).float()
    return losses if len(losses) > 1 else losses[0]


def _hinge_loss(
    owner: str,
    preds: Tensor,
    target: Tensor,
    num_losses: int,
    multiclass: bool,
    squared: bool,
    ignore_index: int | None,
    validate_args: bool,
    weight: Tensor | None,
    input: str,
) -> Tensor:
    shape = sums_shape(num_losses, input)
    sums = torch.zeros(shape, dtype=torch.float64, device=target.device)
    events = new_events(target.device)
    hinge_sums_(
        sums,
        events,
        preds,
        target,
        multiclass,
        squared,
        input == "logits",
        weight,
        ignore_index,
        validate_args,
    )
    if validate_args:
        raise_events(owner, events, NAN_TREATMENT)
    return hinge_formula(sums, events)


def binary_hinge_loss(
    preds: Tensor,
    target: Tensor,
    squared: bool = False,
    ignore_index: int | None = None,
    validate_args: bool = False,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Mean of ``max(0, 1 - y * score)``, where y is 1 for target 1 and -1 for target 0.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_hinge_loss
    >>> binary_hinge_loss(torch.tensor([0.3, 0.9, 0.5]), torch.tensor([0, 1, 1]))
    tensor(0.6333)
    """
    if validate_args:
        check_hinge_arguments(squared, ignore_index, input)
    return _hinge_loss(
        "binary_hinge_loss",
        preds,
        target,
        1,
        False,
        squared,
        ignore_index,
        validate_args,
        weight,
        input,
    )


def multiclass_hinge_loss(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    squared: bool = False,
    multiclass_mode: str = "crammer-singer",
    ignore_index: int | None = None,
    validate_args: bool = False,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Mean of ``max(0, 1 - margin)``, one loss per sample or one per class.

    The margin of a sample is the score of its target less the largest other score; one-vs-all the
    score of a class for its own samples and the negative of it for all others.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_hinge_loss
    >>> preds = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    >>> multiclass_hinge_loss(preds, torch.tensor([1, 2]), num_classes=3)
    tensor(0.5500)
    """
    if validate_args:
        check_multiclass_arguments(num_classes, squared, multiclass_mode, ignore_index, input)
    return _hinge_loss(
        "multiclass_hinge_loss",
        preds,
        target,
        1 if multiclass_mode == "crammer-singer" else num_classes,
        True,
        squared,
        ignore_index,
        validate_args,
        weight,
        input,
    )


def hinge_loss(
    preds: Tensor,
    target: Tensor,
    task: str,
    num_classes: int | None = None,
    squared: bool = False,
    multiclass_mode: str = "crammer-singer",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Hinge loss of ``task``: ``"binary"`` or ``"multiclass"``.

    Mean of ``max(0, 1 - margin)``, or of its square.

    Passes the arguments that the task has to :func:`binary_hinge_loss` or
    :func:`multiclass_hinge_loss` (needs ``num_classes``).

    >>> import torch
    >>> from fastmetrics.functional import hinge_loss
    >>> hinge_loss(torch.tensor([0.3, 0.9, 0.5]), torch.tensor([0, 1, 1]), task="binary")
    tensor(0.6333)
    """
    multiclass = partial(multiclass_hinge_loss, multiclass_mode=multiclass_mode, input=input)
    return call_for_task(
        task,
        {"binary": partial(binary_hinge_loss, input=input), "multiclass": multiclass},
        preds,
        target,
        num_classes=num_classes,
        squared=squared,
        ignore_index=ignore_index,
        validate_args=validate_args,
        weight=weight,
    )
