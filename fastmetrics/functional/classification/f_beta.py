"""F-beta scores: the weighted harmonic mean of precision and recall.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: van Rijsbergen, Information Retrieval, 2nd edition, Butterworths 1979, chapter 7.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from fastmetrics.functional.classification import _count_functions as counting
from fastmetrics.functional.classification._count_functions import check_averaging, counts_of
from fastmetrics.functional.classification._ratio import Ratio
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.ops.confusion import BinaryTable, LabelTables
from fastmetrics.ops.stat_scores import ClassCounts
from fastmetrics.utilities.checks import check_beta

__all__ = [
    "binary_f1_score",
    "binary_fbeta_score",
    "f1_score",
    "fbeta_score",
    "multiclass_f1_score",
    "multiclass_fbeta_score",
    "multilabel_f1_score",
    "multilabel_fbeta_score",
]


def _fbeta(beta: float, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
    hits = (1 + beta**2) * tp
    return hits, hits + beta**2 * fn + fp


def fbeta(beta: float) -> Ratio:
    """Return the F-beta formula."""
    return Ratio(partial(_fbeta, beta))


F1 = fbeta(1.0)


def binary_fbeta_score(
    preds: Tensor,
    target: Tensor,
    beta: float,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    zero_division: float = 0.0,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """F-beta score of binary inputs, ``(1 + beta²) tp / ((1 + beta²) tp + beta² fn + fp)``.

    ``beta``: float above 0, how much more recall matters than precision.
    Arguments, shapes and errors as in
    :mod:`fastmetrics.functional.classification.stat_scores`.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_fbeta_score
    >>> preds, target = torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1])
    >>> binary_fbeta_score(preds, target, beta=0.5)
    tensor(0.5000)
    """
    table = BinaryTable(
        threshold,
        samplewise=multidim_average == "samplewise",
        ignore_index=ignore_index,
        validate_args=validate_args,
        input=input,
    )
    if validate_args:
        check_beta(beta)
        check_averaging("micro", multidim_average, zero_division)
    counts = counts_of(table, "binary_fbeta_score", preds, target, weight)
    return fbeta(beta)(counts, "micro", zero_division)


def multiclass_fbeta_score(
    preds: Tensor,
    target: Tensor,
    beta: float,
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
    """F-beta score of each class, averaged; formula and ``beta`` as in :func:`binary_fbeta_score`.

    ``(1 + b^2) * tp / ((1 + b^2) * tp + b^2 * fn + fp)`` with b for ``beta``.

    Arguments, shapes and errors as in
    :mod:`fastmetrics.functional.classification.stat_scores`.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_fbeta_score
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> multiclass_fbeta_score(preds, target, beta=0.5, num_classes=3)
    tensor(0.6296)
    """
    counted = ClassCounts(
        num_classes,
        top_k,
        samplewise=multidim_average == "samplewise",
        ignore_index=ignore_index,
        validate_args=validate_args,
    )
    if validate_args:
        check_beta(beta)
        check_averaging(
            average, multidim_average, zero_division=zero_division, num_classes=num_classes
        )
    counts = counts_of(counted, "multiclass_fbeta_score", preds, target, weight)
    return fbeta(beta)(counts, average, zero_division)


def multilabel_fbeta_score(
    preds: Tensor,
    target: Tensor,
    beta: float,
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
    """F-beta score of each label, averaged; formula and ``beta`` as in :func:`binary_fbeta_score`.

    ``(1 + b^2) * tp / ((1 + b^2) * tp + b^2 * fn + fp)`` with b for ``beta``.

    Arguments, shapes and errors as in
    :mod:`fastmetrics.functional.classification.stat_scores`.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_fbeta_score
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])
    >>> multilabel_fbeta_score(preds, target, beta=0.5, num_labels=2)
    tensor(0.6944)
    """
    tables = LabelTables(
        num_labels,
        threshold,
        samplewise=multidim_average == "samplewise",
        ignore_index=ignore_index,
        validate_args=validate_args,
        input=input,
    )
    if validate_args:
        check_beta(beta)
        check_averaging(average, multidim_average, zero_division)
    counts = counts_of(tables, "multilabel_fbeta_score", preds, target, weight)
    return fbeta(beta)(counts, average, zero_division)


def fbeta_score(
    preds: Tensor,
    target: Tensor,
    task: str,
    beta: float = 1.0,
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
    """F-beta score of ``task``, which is binary, multiclass or multilabel.

    ``(1 + b^2) * tp / ((1 + b^2) * tp + b^2 * fn + fp)`` with b for ``beta``.

    Calls the function above that is named after ``task`` with those arguments that it has;
    multiclass needs ``num_classes``, multilabel ``num_labels``.

    >>> import torch
    >>> from fastmetrics.functional import fbeta_score
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> fbeta_score(preds, target, task="multiclass", beta=0.5, num_classes=3)
    tensor(0.6000)
    """
    return call_for_task(
        task,
        {
            "binary": binary_fbeta_score,
            "multiclass": multiclass_fbeta_score,
            "multilabel": multilabel_fbeta_score,
        },
        preds,
        target,
        beta=beta,
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


binary_f1_score: counting.BinaryZeroDivisionFunction = counting.binary_zero_division(
    "binary_f1_score",
    F1,
    "F1 score of binary inputs, ``2 tp / (2 tp + fn + fp)``.",
    shows="tensor(0.5000)",
)
multiclass_f1_score: counting.MulticlassZeroDivisionFunction = counting.multiclass_zero_division(
    "multiclass_f1_score",
    F1,
    "F1 score of each class, ``2 tp / (2 tp + fn + fp)``, averaged.",
    shows="tensor(0.6111)",
)
multilabel_f1_score: counting.MultilabelZeroDivisionFunction = counting.multilabel_zero_division(
    "multilabel_f1_score",
    F1,
    "F1 score of each label, ``2 tp / (2 tp + fn + fp)``, averaged.",
    shows="tensor(0.6667)",
)
f1_score: counting.TaskZeroDivisionFunction = counting.by_task_zero_division(
    "f1_score",
    "F1 score of ``task``, ``2 tp / (2 tp + fn + fp)``.",
    binary_f1_score,
    multiclass_f1_score,
    multilabel_f1_score,
    shows="tensor(0.6000)",
)
