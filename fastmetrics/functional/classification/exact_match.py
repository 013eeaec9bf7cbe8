"""Exact match: the share of samples with every position right.

Shared arguments as in the docstring of the ``stat_scores`` module. A multiclass sample has the
positions of its trailing axes; for multilabel inputs the positions are the labels, and each
element of the trailing axes is a sample of its own. Ignored positions count as right.
``"samplewise"`` returns ``[N]`` and needs trailing axes. Values are float32 in ``[0, 1]``, 0 where
there are no samples.

Source: Zhang and Zhou, A review on multi-label learning algorithms, IEEE Transactions on Knowledge
and Data Engineering 26 (2014), where it is called subset accuracy.
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.classification._statistic import choose_reading, divide, new_counts
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.stat_scores import (
    check_multiclass_arguments,
    check_multilabel_arguments,
)
from fastmetrics.ops import exact_match_, label_exact_match_
from fastmetrics.ops.faults import new_events, raise_events

__all__ = ["exact_match", "multiclass_exact_match", "multilabel_exact_match"]


def exact_match_formula(counts: Tensor) -> Tensor:
    """Divide ``counts`` ``[..., 2]``, samples with every position right and all samples."""
    right, total = counts.double().unbind(-1)
    return divide(right, total).float()


def multiclass_exact_match(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Share of multiclass samples whose trailing positions are all right.

    ``#{samples with every position right} / #{samples}``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_exact_match
    >>> preds, target = torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0, 2], [1, 0]])
    >>> multiclass_exact_match(preds, target, num_classes=3)
    tensor(0.5000)
    """
    if validate_args:
        check_multiclass_arguments(num_classes, 1, None, multidim_average, ignore_index, 0)
    samplewise = multidim_average == "samplewise"
    counts = new_counts((2,), target, weight, samplewise, target.device)
    events = new_events(target.device)
    exact_match_(counts, events, preds, target, weight, num_classes, ignore_index, validate_args)
    if validate_args:
        raise_events("multiclass_exact_match", events)
    return exact_match_formula(counts)


def multilabel_exact_match(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Share of multilabel samples whose labels are all right.

    ``#{samples with every position right} / #{samples}``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_exact_match
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])
    >>> multilabel_exact_match(preds, target, num_labels=2)
    tensor(0.3333)
    """
    if validate_args:
        check_multilabel_arguments(
            num_labels, threshold, None, multidim_average, ignore_index, 0, input
        )
    shape = (2 if input == "auto" else 1, 2)
    samplewise = multidim_average == "samplewise"
    counts = new_counts(shape, target, weight, samplewise, target.device, label_axes=1)
    events = new_events(target.device)
    label_exact_match_(
        counts,
        events,
        preds,
        target,
        weight,
        num_labels,
        threshold,
        input == "logits",
        ignore_index,
        validate_args,
    )
    if validate_args:
        raise_events("multilabel_exact_match", events)
    return exact_match_formula(choose_reading(counts, events, -2))


def exact_match(
    preds: Tensor,
    target: Tensor,
    task: str,
    num_classes: int | None = None,
    num_labels: int | None = None,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Exact match of ``task``: ``"multiclass"`` or ``"multilabel"``.

    ``#{samples with every position right} / #{samples}``.

    Passes the arguments that the task has to :func:`multiclass_exact_match` (needs ``num_classes``)
    or :func:`multilabel_exact_match` (needs ``num_labels``).

    >>> import torch
    >>> from fastmetrics.functional import exact_match
    >>> preds, target = torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0, 2], [1, 0]])
    >>> exact_match(preds, target, task="multiclass", num_classes=3)
    tensor(0.5000)
    """
    return call_for_task(
        task,
        {"multiclass": multiclass_exact_match, "multilabel": multilabel_exact_match},
        preds,
        target,
        num_classes=num_classes,
        num_labels=num_labels,
        threshold=threshold,
        multidim_average=multidim_average,
        ignore_index=ignore_index,
        validate_args=validate_args,
        weight=weight,
        input=input,
    )
