"""Specificity: how many negatives are found.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: Altman and Bland, Diagnostic tests 1: sensitivity and specificity, BMJ 308 (1994).
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
    "binary_specificity",
    "multiclass_specificity",
    "multilabel_specificity",
    "specificity",
]


def _specificity(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
    return tn, tn + fp


SPECIFICITY = Ratio(_specificity, zero_division=0.0)


def binary_specificity(
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
    """Specificity of binary inputs, ``tn / (tn + fp)``.

    0 where there are no negatives.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_specificity
    >>> preds, target = torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1])
    >>> binary_specificity(preds, target)
    tensor(0.5000)
    """
    return binary_value(
        "binary_specificity",
        SPECIFICITY,
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


def multiclass_specificity(
    preds: Tensor,
    target: Tensor,
    num_classes: int | None,
    average: str | None = "macro",
    top_k: int = 1,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Specificity of each class, ``tn / (tn + fp)``, averaged.

    0 where there are no negatives.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_specificity
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> multiclass_specificity(preds, target, num_classes=3)
    tensor(0.8056)
    """
    return multiclass_value(
        "multiclass_specificity",
        SPECIFICITY,
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


def multilabel_specificity(
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
    """Specificity of each label, ``tn / (tn + fp)``, averaged.

    0 where there are no negatives.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_specificity
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])
    >>> multilabel_specificity(preds, target, num_labels=2)
    tensor(0.7500)
    """
    return multilabel_value(
        "multilabel_specificity",
        SPECIFICITY,
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


def specificity(
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
    """Specificity of ``task``, which is binary, multiclass or multilabel.

    ``tn / (tn + fp)``.

    Calls the function above that is named after ``task`` with those arguments that it has;
    multiclass needs ``num_classes``, multilabel ``num_labels``.

    >>> import torch
    >>> from fastmetrics.functional import specificity
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> specificity(preds, target, task="multiclass", num_classes=3)
    tensor(0.8000)
    """
    return call_for_task(
        task,
        {
            "binary": binary_specificity,
            "multiclass": multiclass_specificity,
            "multilabel": multilabel_specificity,
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
