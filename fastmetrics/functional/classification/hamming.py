"""Hamming distance: the share of predictions that are wrong.

Arguments are explained in :mod:`fastmetrics.functional.classification.stat_scores`.

Source: Schapire and Singer, BoosTexter: a boosting-based system for text categorization, Machine
Learning 39 (2000).
"""

from __future__ import annotations

from fastmetrics.functional.classification import _count_functions as counting
from fastmetrics.functional.classification._ratio import Ratio

__all__ = [
    "binary_hamming_distance",
    "hamming_distance",
    "multiclass_hamming_distance",
    "multilabel_hamming_distance",
]

# One minus an accuracy that is 0 where nothing was counted.
HAMMING_DISTANCE = Ratio(lambda tp, fp, tn, fn: (fp + fn, tp + tn + fp + fn), zero_division=1.0)
MULTICLASS_HAMMING_DISTANCE = Ratio(lambda tp, fp, tn, fn: (fn, tp + fn), zero_division=1.0)

binary_hamming_distance: counting.BinaryFunction = counting.binary(
    "binary_hamming_distance",
    HAMMING_DISTANCE,
    "Hamming distance of binary inputs, ``(fp + fn) / (tp + fp + tn + fn)``; 1 where"
    " nothing was counted.",
    shows="tensor(0.5000)",
)
multiclass_hamming_distance: counting.MulticlassFunction = counting.multiclass(
    "multiclass_hamming_distance",
    MULTICLASS_HAMMING_DISTANCE,
    "Hamming distance of each class, ``fn / (tp + fn)``, averaged; 1 where nothing was counted.",
    shows="tensor(0.3333)",
)
multilabel_hamming_distance: counting.MultilabelFunction = counting.multilabel(
    "multilabel_hamming_distance",
    HAMMING_DISTANCE,
    "Hamming distance of each label, ``(fp + fn) / (tp + fp + tn + fn)``, averaged; 1"
    " where nothing was counted.",
    shows="tensor(0.3333)",
)
hamming_distance: counting.TaskFunction = counting.by_task(
    "hamming_distance",
    "Hamming distance of ``task``: the share of what is wrong, ``(fp + fn) / (tp + fp + tn"
    " + fn)``.",
    binary_hamming_distance,
    multiclass_hamming_distance,
    multilabel_hamming_distance,
    shows="tensor(0.4000)",
)
