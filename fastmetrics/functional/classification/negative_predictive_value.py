"""Negative predictive value: how many predicted negatives are right.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: Altman and Bland, Diagnostic tests 2: predictive values, BMJ 309 (1994).
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
    "binary_negative_predictive_value",
    "multiclass_negative_predictive_value",
    "multilabel_negative_predictive_value",
    "negative_predictive_value",
]


def _negative_predictive_value(
    tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor
) -> tuple[Tensor, Tensor]:
    return tn, tn + fn


NEGATIVE_PREDICTIVE_VALUE = Ratio(_negative_predictive_value, top_k_aware=True)


def binary_negative_predictive_value(
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
    """Negative predictive value of binary inputs, ``tn / (tn + fn)``.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_negative_predictive_value
    >>> preds, target = torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1])
    >>> binary_negative_predictive_value(preds, target)
    tensor(0.5000)
    """
    return binary_value(
        "binary_negative_predictive_value",
        NEGATIVE_PREDICTIVE_VALUE,
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


def multiclass_negative_predictive_value(
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
    """Negative predictive value of each class, ``tn / (tn + fn)``, averaged.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_negative_predictive_value
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> multiclass_negative_predictive_value(preds, target, num_classes=3)
    tensor(0.8056)
    """
    return multiclass_value(
        "multiclass_negative_predictive_value",
        NEGATIVE_PREDICTIVE_VALUE,
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


def multilabel_negative_predictive_value(
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
    """Negative predictive value of each label, ``tn / (tn + fn)``, averaged.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_negative_predictive_value
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])
    >>> multilabel_negative_predictive_value(preds, target, num_labels=2)
    tensor(0.7500)
    """
    return multilabel_value(
        "multilabel_negative_predictive_value",
        NEGATIVE_PREDICTIVE_VALUE,
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


def negative_predictive_value(
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
    """Negative predictive value of ``task``, which is binary, multiclass or multilabel.

    ``tn / (tn + fn)``.

    Calls the function above that is named after ``task`` with those arguments that it has;
    multiclass needs ``num_classes``, multilabel ``num_labels``.

    >>> import torch
    >>> from fastmetrics.functional import negative_predictive_value
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> negative_predictive_value(preds, target, task="multiclass", num_classes=3)
    tensor(0.8000)
    """
    return call_for_task(
        task,
        {
            "binary": binary_negative_predictive_value,
            "multiclass": multiclass_negative_predictive_value,
            "multilabel": multilabel_negative_predictive_value,
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
