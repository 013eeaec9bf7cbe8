"""Accuracy: the share of predictions that are right.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: Sokolova and Lapalme, A systematic analysis of performance measures for classification
tasks, Information Processing & Management 45 (2009).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.classification._statistic import Ratio
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.stat_scores import (
    binary_value,
    multiclass_value,
    multilabel_value,
)

__all__ = [
    "accuracy",
    "binary_accuracy",
    "multiclass_accuracy",
    "multilabel_accuracy",
]


def _right(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
    return tp + tn, tp + tn + fp + fn


def _found(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
    return tp, tp + fn


ACCURACY = Ratio(_right, zero_division=0.0)
MULTICLASS_ACCURACY = Ratio(_found, zero_division=0.0, top_k_aware=True)


def binary_accuracy(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Accuracy of binary inputs, ``(tp + tn) / (tp + fp + tn + fn)``.

    0 where nothing was counted.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_accuracy
    >>> preds, target = torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1])
    >>> binary_accuracy(preds, target)
    tensor(0.5000)
    """
    return binary_value(
        "binary_accuracy",
        ACCURACY,
        preds,
        target,
        threshold,
        multidim_average,
        ignore_index,
        validate_args,
        0.0,
        weight,
        input,
    )


def multiclass_accuracy(
    preds: Tensor,
    target: Tensor,
    num_classes: int | None = None,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Accuracy of each class, ``tp / (tp + fn)``, averaged.

    0 where nothing was counted.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_accuracy
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> multiclass_accuracy(preds, target, num_classes=3)
    tensor(0.6667)
    """
    return multiclass_value(
        "multiclass_accuracy",
        MULTICLASS_ACCURACY,
        preds,
        target,
        num_classes,
        average,
        top_k,
        multidim_average,
        ignore_index,
        validate_args,
        0.0,
        weight,
    )


def multilabel_accuracy(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Accuracy of each label, ``(tp + tn) / (tp + fp + tn + fn)``, averaged.

    0 where nothing was counted.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_accuracy
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])
    >>> multilabel_accuracy(preds, target, num_labels=2)
    tensor(0.6667)
    """
    return multilabel_value(
        "multilabel_accuracy",
        ACCURACY,
        preds,
        target,
        num_labels,
        threshold,
        average,
        multidim_average,
        ignore_index,
        validate_args,
        0.0,
        weight,
        input,
    )


def accuracy(
    preds: Tensor,
    target: Tensor,
    task: str,
    threshold: float = 0.5,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "micro",
    multidim_average: str = "global",
    top_k: int = 1,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Accuracy of ``task``, which is binary, multiclass or multilabel.

    ``(tp + tn) / (tp + tn + fp + fn)``, the share of what is right.

    Calls the function above that is named after ``task`` with those arguments that it has;
    multiclass needs ``num_classes``, multilabel ``num_labels``.

    >>> import torch
    >>> from fastmetrics.functional import accuracy
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> accuracy(preds, target, task="multiclass", num_classes=3)
    tensor(0.6000)
    """
    return call_for_task(
        task,
        {
            "binary": binary_accuracy,
            "multiclass": multiclass_accuracy,
            "multilabel": multilabel_accuracy,
        },
        preds,
        target,
        threshold=threshold,
        num_classes=num_classes,
        num_labels=num_labels,
        average=average,
        multidim_average=multidim_average,
        top_k=top_k,
        ignore_index=ignore_index,
        validate_args=validate_args,
        weight=weight,
        input=input,
    )
