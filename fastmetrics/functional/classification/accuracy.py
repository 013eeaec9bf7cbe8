"""Accuracy: the share of predictions that are right.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: Sokolova and Lapalme, A systematic analysis of performance measures for classification
tasks, Information Processing & Management 45 (2009).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.classification import _count_functions as counting
from fastmetrics.functional.classification._ratio import Ratio

__all__ = ["accuracy", "binary_accuracy", "multiclass_accuracy", "multilabel_accuracy"]

ACCURACY = Ratio(lambda tp, fp, tn, fn: (tp + tn, tp + tn + fp + fn), zero_division=0.0)
MULTICLASS_ACCURACY = Ratio(
    lambda tp, fp, tn, fn: (tp, tp + fn), zero_division=0.0, top_k_aware=True
)

binary_accuracy: counting.BinaryFunction = counting.binary(
    "binary_accuracy",
    ACCURACY,
    "Accuracy of binary inputs, ``(tp + tn) / (tp + fp + tn + fn)``; 0 where nothing was counted.",
    shows="tensor(0.5000)",
)


@counting.of_batch(lambda **_: MULTICLASS_ACCURACY, shows="tensor(0.6667)")
def multiclass_accuracy(  # unlike its siblings it may be called without `num_classes`
    preds: Tensor, target: Tensor, num_classes: int | None = None, average: str | None = "macro",
    top_k: int = 1, multidim_average: str = "global", ignore_index: int | None = None,
    validate_args: bool = True, *, weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Accuracy of each class, ``tp / (tp + fn)``, averaged; 0 where nothing was counted."""


multilabel_accuracy: counting.MultilabelFunction = counting.multilabel(
    "multilabel_accuracy",
    ACCURACY,
    "Accuracy of each label, ``(tp + tn) / (tp + fp + tn + fn)``, averaged; 0 where"
    " nothing was counted.",
    shows="tensor(0.6667)",
)
accuracy: counting.TaskFunction = counting.by_task(
    "accuracy",
    "Accuracy of ``task``: the share of what is right, ``(tp + tn) / (tp + tn + fp + fn)``.",
    binary_accuracy,
    multiclass_accuracy,
    multilabel_accuracy,
    shows="tensor(0.6000)",
)
