"""Negative predictive value: how many predicted negatives are right.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: Altman and Bland, Diagnostic tests 2: predictive values, BMJ 309 (1994).
"""

from __future__ import annotations

from fastmetrics.functional.classification import _count_functions as counting
from fastmetrics.functional.classification._ratio import Ratio

__all__ = [
    "binary_negative_predictive_value",
    "multiclass_negative_predictive_value",
    "multilabel_negative_predictive_value",
    "negative_predictive_value",
]

NEGATIVE_PREDICTIVE_VALUE = Ratio(lambda tp, fp, tn, fn: (tn, tn + fn), top_k_aware=True)

binary_negative_predictive_value: counting.BinaryZeroDivisionFunction = (
    counting.binary_zero_division(
        "binary_negative_predictive_value",
        NEGATIVE_PREDICTIVE_VALUE,
        "Negative predictive value of binary inputs, ``tn / (tn + fn)``.",
        shows="tensor(0.5000)",
    )
)
multiclass_negative_predictive_value: counting.MulticlassZeroDivisionFunction = (
    counting.multiclass_zero_division(
        "multiclass_negative_predictive_value",
        NEGATIVE_PREDICTIVE_VALUE,
        "Negative predictive value of each class, ``tn / (tn + fn)``, averaged.",
        shows="tensor(0.8056)",
    )
)
multilabel_negative_predictive_value: counting.MultilabelZeroDivisionFunction = (
    counting.multilabel_zero_division(
        "multilabel_negative_predictive_value",
        NEGATIVE_PREDICTIVE_VALUE,
        "Negative predictive value of each label, ``tn / (tn + fn)``, averaged.",
        shows="tensor(0.7500)",
    )
)
negative_predictive_value: counting.TaskZeroDivisionFunction = counting.by_task_zero_division(
    "negative_predictive_value",
    "Negative predictive value of ``task``, ``tn / (tn + fn)``.",
    binary_negative_predictive_value,
    multiclass_negative_predictive_value,
    multilabel_negative_predictive_value,
    shows="tensor(0.8000)",
)
