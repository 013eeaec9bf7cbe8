"""Specificity: how many negatives are found.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: Altman and Bland, Diagnostic tests 1: sensitivity and specificity, BMJ 308 (1994).
"""

from __future__ import annotations

from fastmetrics.functional.classification import _count_functions as counting
from fastmetrics.functional.classification._ratio import Ratio

__all__ = ["binary_specificity", "multiclass_specificity", "multilabel_specificity", "specificity"]

SPECIFICITY = Ratio(lambda tp, fp, tn, fn: (tn, tn + fp), zero_division=0.0)

binary_specificity: counting.BinaryFunction = counting.binary(
    "binary_specificity",
    SPECIFICITY,
    "Specificity of binary inputs, ``tn / (tn + fp)``; 0 where there are no negatives.",
    shows="tensor(0.5000)",
)
multiclass_specificity: counting.MulticlassFunction = counting.multiclass(
    "multiclass_specificity",
    SPECIFICITY,
    "Specificity of each class, ``tn / (tn + fp)``, averaged; 0 where there are no negatives.",
    shows="tensor(0.8056)",
)
multilabel_specificity: counting.MultilabelFunction = counting.multilabel(
    "multilabel_specificity",
    SPECIFICITY,
    "Specificity of each label, ``tn / (tn + fp)``, averaged; 0 where there are no negatives.",
    shows="tensor(0.7500)",
)
specificity: counting.TaskFunction = counting.by_task(
    "specificity",
    "Specificity of ``task``: how many negatives are found, ``tn / (tn + fp)``.",
    binary_specificity,
    multiclass_specificity,
    multilabel_specificity,
    shows="tensor(0.8000)",
)
