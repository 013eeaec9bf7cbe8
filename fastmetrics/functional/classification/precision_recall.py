"""Precision and recall: how many predicted positives are right, how many positives are found.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: van Rijsbergen, Information Retrieval, 2nd edition, Butterworths 1979, chapter 7; averages:
Sokolova and Lapalme, A systematic analysis of performance measures for classification tasks,
Information Processing & Management 45 (2009).
"""

from __future__ import annotations

from fastmetrics.functional.classification import _count_functions as counting
from fastmetrics.functional.classification._ratio import Ratio

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

PRECISION = Ratio(lambda tp, fp, tn, fn: (tp, tp + fp), top_k_aware=True)
RECALL = Ratio(lambda tp, fp, tn, fn: (tp, tp + fn), top_k_aware=True)

binary_precision: counting.BinaryZeroDivisionFunction = counting.binary_zero_division(
    "binary_precision",
    PRECISION,
    "Precision of binary inputs, ``tp / (tp + fp)``.",
    shows="tensor(0.5000)",
)
multiclass_precision: counting.MulticlassZeroDivisionFunction = counting.multiclass_zero_division(
    "multiclass_precision",
    PRECISION,
    "Precision of each class, ``tp / (tp + fp)``, averaged.",
    shows="tensor(0.6667)",
)
multilabel_precision: counting.MultilabelZeroDivisionFunction = counting.multilabel_zero_division(
    "multilabel_precision",
    PRECISION,
    "Precision of each label, ``tp / (tp + fp)``, averaged.",
    shows="tensor(0.7500)",
)
precision: counting.TaskZeroDivisionFunction = counting.by_task_zero_division(
    "precision",
    "Precision of ``task``, ``tp / (tp + fp)``.",
    binary_precision,
    multiclass_precision,
    multilabel_precision,
    shows="tensor(0.6000)",
)
binary_recall: counting.BinaryZeroDivisionFunction = counting.binary_zero_division(
    "binary_recall",
    RECALL,
    "Recall of binary inputs, ``tp / (tp + fn)``.",
    shows="tensor(0.5000)",
)
multiclass_recall: counting.MulticlassZeroDivisionFunction = counting.multiclass_zero_division(
    "multiclass_recall",
    RECALL,
    "Recall of each class, ``tp / (tp + fn)``, averaged.",
    shows="tensor(0.6667)",
)
multilabel_recall: counting.MultilabelZeroDivisionFunction = counting.multilabel_zero_division(
    "multilabel_recall",
    RECALL,
    "Recall of each label, ``tp / (tp + fn)``, averaged.",
    shows="tensor(0.7500)",
)
recall: counting.TaskZeroDivisionFunction = counting.by_task_zero_division(
    "recall",
    "Recall of ``task``, ``tp / (tp + fn)``.",
    binary_recall,
    multiclass_recall,
    multilabel_recall,
    shows="tensor(0.6000)",
)
