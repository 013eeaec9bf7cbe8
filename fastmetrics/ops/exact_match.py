"""Samples with every position right: multiclass, and multilabel by threshold."""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.ops.checks import shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.inputs import (
    LOGITS,
    PROBS,
    check_class_inputs,
    check_label_inputs,
    read_classes,
    read_labels,
    sample_weights,
)

__all__ = ["exact_match_", "label_exact_match_"]


def check_exact_match(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    num_classes: int,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Metadata check of `exact_match_`, and its fake."""
    check_class_inputs("exact_match_", state, preds, target, weight, num_classes)


def check_label_exact_match(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    num_labels: int,
    threshold: float,
    logits: bool,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Metadata check of `label_exact_match_`, and its fake."""
    check_label_inputs("label_exact_match_", state, preds, target, weight, num_labels)
    if preds.ndim < 2:
        raise ValueError(
            "label_exact_match_: `preds` and `target` must have shape (N, L, ...),"
            f" got {shape_text(preds)}."
        )


def exact_match_reference(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    num_classes: int,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Plain torch twin of the compiled kernels."""
    if not target.numel():  # samples without positions are no samples
        return
    pred, labels, counted, invalid = read_classes(
        "exact_match_", events, preds, target, num_classes, 1, ignore_index, validate
    )
    usable = ~invalid.any(1)
    correct = ((pred == labels) | ~counted).all(1) & usable
    delta = torch.stack(
        (
            sample_weights(correct.unsqueeze(1), weight).squeeze(1),
            sample_weights(usable.unsqueeze(1), weight).squeeze(1),
        ),
        dim=-1,
    )
    state += delta if state.ndim == 2 else delta.sum(0)


def label_exact_match_reference(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    num_labels: int,
    threshold: float,
    logits: bool,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Plain torch twin of the compiled kernels."""
    num_readings = state.shape[-2]
    readings = (PROBS, LOGITS) if num_readings == 2 else (int(logits),)
    predicted, labels, counted, invalid = read_labels(
        "label_exact_match_", events, preds, target, threshold, readings, ignore_index, validate
    )
    num_samples = target.shape[0]
    shape = (num_samples, num_labels, target[0, 0].numel() if num_samples else 0)
    usable = ~invalid.reshape(shape).any(1)
    total = sample_weights(usable, weight).sum(1)
    for index, pred in enumerate(predicted):
        correct = ((pred == labels) | ~counted).reshape(shape).all(1) & usable
        delta = torch.stack((sample_weights(correct, weight).sum(1), total), dim=-1)
        state.select(-2, index).add_(delta if state.ndim == 3 else delta.sum(0))


_exact_match = define(
    "exact_match_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " int num_classes, int? ignore_index, bool validate)",
    exact_match_reference,
    check_exact_match,
)
_label_exact_match = define(
    "label_exact_match_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " int num_labels, float threshold, bool logits, int? ignore_index, bool validate)",
    label_exact_match_reference,
    check_label_exact_match,
)


def exact_match_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    num_classes: int = 0,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add one batch to ``(samples with every position correct, samples)``.

    Ignored positions count as correct. Arguments as in :func:`stat_scores_`, with ``state``
    int64 or float64 ``[2]``, or ``[N, 2]`` to keep samples apart.

    >>> import torch
    >>> from fastmetrics.ops import exact_match_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(2, dtype=torch.int64)
    >>> preds, target = torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [1, 0]])
    >>> exact_match_(state, new_events(), preds, target, None, 2)
    >>> state
    tensor([1, 2])
    """
    _exact_match(state, events, preds, target, weight, num_classes, ignore_index, validate)


def label_exact_match_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    num_labels: int = 2,
    threshold: float = 0.5,
    logits: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add one batch to ``(positions with every label correct, positions)``.

    A position is one sample, or one element of the axes after the label axis. Ignored labels count
    as correct. Arguments as in :func:`label_confusion_`, with ``state`` ``[H, 2]``, or
    ``[N, H, 2]`` to keep samples apart.

    >>> import torch
    >>> from fastmetrics.ops import label_exact_match_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(1, 2, dtype=torch.int64)
    >>> preds, target = torch.tensor([[0.2, 0.9], [0.6, 0.7]]), torch.tensor([[0, 1], [1, 0]])
    >>> label_exact_match_(state, new_events(), preds, target, None, 2)
    >>> state
    tensor([[1, 2]])
    """
    _label_exact_match(
        state, events, preds, target, weight, num_labels, threshold, logits, ignore_index, validate
    )
