"""Hamming distance: the share of predictions that are wrong.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: Schapire and Singer, BoosTexter: a boosting-based system for text categorization, Machine
Learning 39 (2000).
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
    "binary_hamming_distance",
    "hamming_distance",
    "multiclass_hamming_distance",
    "multilabel_hamming_distance",
]


def _wrong(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
    return fp + fn, tp + tn + fp + fn


def _missed(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
    return fn, tp + fn


# One minus an accuracy that is 0 where nothing was counted.
HAMMING_DISTANCE = Ratio(_wrong, zero_division=1.0)
MULTICLASS_HAMMING_DISTANCE = Ratio(_missed, zero_division=1.0)


def binary_hamming_distance(
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
    """Hamming distance of binary inputs, ``(fp + fn) / (tp + fp + tn + fn)``.

    1 where nothing was counted.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_hamming_distance
    >>> preds, target = torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1])
    >>> binary_hamming_distance(preds, target)
    tensor(0.5000)
    """
    return binary_value(
        "binary_hamming_distance",
        HAMMING_DISTANCE,
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


def multiclass_hamming_distance(
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
    """Hamming distance of each class, ``fn / (tp + fn)``, averaged.

    1 where nothing was counted.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_hamming_distance
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> multiclass_hamming_distance(preds, target, num_classes=3)
    tensor(0.3333)
    """
    return multiclass_value(
        "multiclass_hamming_distance",
        MULTICLASS_HAMMING_DISTANCE,
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


def multilabel_hamming_distance(
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
    """Hamming distance of each label, ``(fp + fn) / (tp + fp + tn + fn)``, averaged.

    1 where nothing was counted.

    Arguments, shapes and errors as in the docstring of the ``stat_scores`` module.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_hamming_distance
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])
    >>> multilabel_hamming_distance(preds, target, num_labels=2)
    tensor(0.3333)
    """
    return multilabel_value(
        "multilabel_hamming_distance",
        HAMMING_DISTANCE,
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


def hamming_distance(
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
    """Hamming distance of ``task``, which is binary, multiclass or multilabel.

    ``(fp + fn) / (tp + fp + tn + fn)``, the share of what is wrong.

    Calls the function above that is named after ``task`` with those arguments that it has;
    multiclass needs ``num_classes``, multilabel ``num_labels``.

    >>> import torch
    >>> from fastmetrics.functional import hamming_distance
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> hamming_distance(preds, target, task="multiclass", num_classes=3)
    tensor(0.4000)
    """
    return call_for_task(
        task,
        {
            "binary": binary_hamming_distance,
            "multiclass": multiclass_hamming_distance,
            "multilabel": multilabel_hamming_distance,
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
