"""Precision and recall: how many predicted positives are right, how many positives are found.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: van Rijsbergen, Information Retrieval, 2nd edition, Butterworths 1979, chapter 7; averages:
Sokolova and Lapalme, A systematic analysis of performance measures for classification tasks,
Information Processing & Management 45 (2009).
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
    "binary_precision",
    "binary_recall",
    "multiclass_precision",
    "multiclass_recall",
    "multilabel_precision",
    "multilabel_recall",
    "precision",
    "recall",
]


def _precision(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
    return tp, tp + fp


def _recall(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
    return tp, tp + fn


PRECISION = Ratio(_precision, top_k_aware=True)
RECALL = Ratio(_recall, top_k_aware=True)


def binary_precision(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Precision of binary inputs, ``tp / (tp + fp)``.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_precision
    >>> preds, target = torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1])
    >>> binary_precision(preds, target)
    tensor(0.5000)
    """
    return binary_value(
        "binary_precision",
        PRECISION,
        preds,
        target,
        threshold,
        multidim_average,
        ignore_index,
        validate_args,
        zero_division,
        weight,
        input,
    )


def multiclass_precision(
    preds: Tensor,
    target: Tensor,
    num_classes: int | None,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Precision of each class, ``tp / (tp + fp)``, averaged.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_precision
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> multiclass_precision(preds, target, num_classes=3)
    tensor(0.6667)
    """
    return multiclass_value(
        "multiclass_precision",
        PRECISION,
        preds,
        target,
        num_classes,
        average,
        top_k,
        multidim_average,
        ignore_index,
        validate_args,
        zero_division,
        weight,
    )


def multilabel_precision(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Precision of each label, ``tp / (tp + fp)``, averaged.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_precision
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])
    >>> multilabel_precision(preds, target, num_labels=2)
    tensor(0.7500)
    """
    return multilabel_value(
        "multilabel_precision",
        PRECISION,
        preds,
        target,
        num_labels,
        threshold,
        average,
        multidim_average,
        ignore_index,
        validate_args,
        zero_division,
        weight,
        input,
    )


def precision(
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
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Precision of ``task``, which is binary, multiclass or multilabel.

    ``tp / (tp + fp)``.

    Calls the function above that is named after ``task`` with those arguments that it has;
    multiclass needs ``num_classes``, multilabel ``num_labels``.

    >>> import torch
    >>> from fastmetrics.functional import precision
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> precision(preds, target, task="multiclass", num_classes=3)
    tensor(0.6000)
    """
    return call_for_task(
        task,
        {
            "binary": binary_precision,
            "multiclass": multiclass_precision,
            "multilabel": multilabel_precision,
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
        zero_division=zero_division,
        weight=weight,
        input=input,
    )


def binary_recall(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Recall of binary inputs, ``tp / (tp + fn)``.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_recall
    >>> preds, target = torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1])
    >>> binary_recall(preds, target)
    tensor(0.5000)
    """
    return binary_value(
        "binary_recall",
        RECALL,
        preds,
        target,
        threshold,
        multidim_average,
        ignore_index,
        validate_args,
        zero_division,
        weight,
        input,
    )


def multiclass_recall(
    preds: Tensor,
    target: Tensor,
    num_classes: int | None,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Recall of each class, ``tp / (tp + fn)``, averaged.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_recall
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> multiclass_recall(preds, target, num_classes=3)
    tensor(0.6667)
    """
    return multiclass_value(
        "multiclass_recall",
        RECALL,
        preds,
        target,
        num_classes,
        average,
        top_k,
        multidim_average,
        ignore_index,
        validate_args,
        zero_division,
        weight,
    )


def multilabel_recall(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Recall of each label, ``tp / (tp + fn)``, averaged.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_recall
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])
    >>> multilabel_recall(preds, target, num_labels=2)
    tensor(0.7500)
    """
    return multilabel_value(
        "multilabel_recall",
        RECALL,
        preds,
        target,
        num_labels,
        threshold,
        average,
        multidim_average,
        ignore_index,
        validate_args,
        zero_division,
        weight,
        input,
    )


def recall(
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
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Recall of ``task``, which is binary, multiclass or multilabel.

    ``tp / (tp + fn)``.

    Calls the function above that is named after ``task`` with those arguments that it has;
    multiclass needs ``num_classes``, multilabel ``num_labels``.

    >>> import torch
    >>> from fastmetrics.functional import recall
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> recall(preds, target, task="multiclass", num_classes=3)
    tensor(0.6000)
    """
    return call_for_task(
        task,
        {
            "binary": binary_recall,
            "multiclass": multiclass_recall,
            "multilabel": multilabel_recall,
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
        zero_division=zero_division,
        weight=weight,
        input=input,
    )
