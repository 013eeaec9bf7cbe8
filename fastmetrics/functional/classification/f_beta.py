"""F-beta scores: the weighted harmonic mean of precision and recall.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: van Rijsbergen, Information Retrieval, 2nd edition, Butterworths 1979, chapter 7.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from fastmetrics.functional.classification import _count_functions as counting
from fastmetrics.functional.classification._ratio import Ratio
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


def _fbeta(beta: float, tp: float, fp: float, tn: float, fn: float) -> tuple[float, float]:
    hits = (1 + beta**2) * tp
    return hits, hits + beta**2 * fn + fp


def fbeta(beta: float) -> Ratio:
    """Return the F-beta formula."""
    return Ratio(partial(_fbeta, beta))


F1 = fbeta(1.0)


def _checked_fbeta(beta: float, validate_args: bool, **others: Any) -> Ratio:
    if validate_args is not False:
        check_beta(beta)
    return fbeta(beta)


@counting.of_batch(_checked_fbeta, needs=", beta=0.5", shows="tensor(0.5000)")
def binary_fbeta_score(
    preds: Tensor, target: Tensor, beta: float, threshold: float = 0.5,
    multidim_average: str = "global", ignore_index: int | None = None, validate_args: bool = True,
    zero_division: float = 0.0, *, weight: Tensor | None = None, input: str = "auto",
) -> Tensor:  # fmt: skip
    """F-beta score of binary inputs, ``(1 + beta²) tp / ((1 + beta²) tp + beta² fn + fp)``."""


@counting.of_batch(_checked_fbeta, needs=", beta=0.5", shows="tensor(0.6296)")
def multiclass_fbeta_score(
    preds: Tensor, target: Tensor, beta: float, num_classes: int | None,
    average: str | None = "macro", top_k: int = 1, multidim_average: str = "global",
    ignore_index: int | None = None, validate_args: bool = True, zero_division: float = 0.0,
    *, weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """F-beta score of each class, averaged.

    ``(1 + beta²) tp / ((1 + beta²) tp + beta² fn + fp)`` for each.
    """


@counting.of_batch(_checked_fbeta, needs=", beta=0.5", shows="tensor(0.6944)")
def multilabel_fbeta_score(
    preds: Tensor, target: Tensor, beta: float, num_labels: int, threshold: float = 0.5,
    average: str | None = "macro", multidim_average: str = "global",
    ignore_index: int | None = None, validate_args: bool = True, zero_division: float = 0.0,
    *, weight: Tensor | None = None, input: str = "auto",
) -> Tensor:  # fmt: skip
    """F-beta score of each label, averaged.

    ``(1 + beta²) tp / ((1 + beta²) tp + beta² fn + fp)`` for each.
    """


@counting.of_task(
    binary_fbeta_score, multiclass_fbeta_score, multilabel_fbeta_score,
    needs=", beta=0.5", shows="tensor(0.6000)",
)  # fmt: skip
def fbeta_score(
    preds: Tensor, target: Tensor, task: str, beta: float = 1.0, threshold: float = 0.5,
    num_classes: int | None = None, num_labels: int | None = None, average: str | None = "micro",
    multidim_average: str = "global", top_k: int = 1, ignore_index: int | None = None,
    validate_args: bool = True, zero_division: float = 0.0,
    *, weight: Tensor | None = None, input: str = "auto",
) -> Tensor:  # fmt: skip
    """F-beta score of ``task``, ``(1 + beta²) tp / ((1 + beta²) tp + beta² fn + fp)``."""


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
