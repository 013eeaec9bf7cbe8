"""Counts of true and false positives and negatives, and what every metric that reads them shares.

Shared arguments, for this module and for ``accuracy``, ``precision_recall``, ``f_beta``,
``specificity``, ``negative_predictive_value`` and ``hamming`` (N samples, C classes, L labels;
``...`` are trailing axes):

- ``preds``: binary scores or labels ``[N, ...]``; multiclass scores ``[N, C, ...]`` (float16,
  bfloat16, float32, float64; the class is the argmax) or labels ``[N, ...]``; multilabel scores
  or labels ``[N, L, ...]``.
- ``target``: labels in any integer type or bool, ``[N, ...]``, for multilabel ``[N, L, ...]``; 0
  or 1 for binary and multilabel, in ``[0, C)`` for multiclass.
- ``threshold``: float in ``[0, 1]``; a probability above it counts as positive.
- ``num_classes``, ``num_labels``: integers of at least 2; ``num_classes`` may be None (unknown)
  with ``average="micro"``, where ``tn`` stays 0.
- ``average``: ``"micro"`` adds up the counts of all classes first; ``"macro"`` is the mean over
  classes, where multiclass metrics leave out classes that occur neither in ``preds`` nor in
  ``target``; ``"weighted"`` weighs classes by their targets, ``tp + fn``; ``"none"`` and None
  keep them apart.
- ``top_k``: integer in ``[1, C]``; a sample counts as its target if that is among the ``top_k``
  highest scores, the lower class first among equals. Needs scores if above 1.
- ``multidim_average``: ``"global"`` joins the trailing axes to the samples; ``"samplewise"``
  gives each sample a value of its own, with a leading ``[N]``.
- ``ignore_index``: integer or None; elements with this target are left out.
- ``validate_args``: check the arguments and the labels; False skips both.
- ``zero_division``: 0, 1 or NaN, the value of 0/0; with NaN the averages leave such classes out.
- ``weight``: optional ``[N]`` of non-negative numbers, how much each sample counts; not
  samplewise.
- ``input``: ``"probs"`` or ``"logits"`` say what float scores are; ``"auto"`` takes all of them
  as logits as soon as one score lies outside ``[0, 1]``.

The metrics return float32: a scalar, ``[C]`` or ``[L]`` without average, with a leading ``[N]``
if samplewise. Formulas run in float64. All raise ``ValueError`` for arguments, shapes, dtypes and
devices that do not fit and ``RuntimeError`` for labels out of range; NaN scores are counted
(argmax and thresholds treat them as torch does) and give a warning.

Source: Sokolova and Lapalme, A systematic analysis of performance measures for classification
tasks, Information Processing & Management 45 (2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul

import torch
from torch import Tensor

from fastmetrics.functional.classification import _count_functions as counting
from fastmetrics.ops.counted import Counts
from fastmetrics.utilities.data import quotient, vector

__all__ = ["binary_stat_scores", "multiclass_stat_scores", "multilabel_stat_scores", "stat_scores"]


def stat_scores_formula(counts: Counts, average: str | None, zero_division: float = 0.0) -> Tensor:
    """Return ``tp, fp, tn, fn, tp + fn`` along a new last axis; nothing is divided.

    Sums keep the dtype of the counts, means are float32; ``"weighted"`` is NaN where there are no
    targets.
    """
    rows = counts.rows()
    if rows is not None:
        return _of_rows(rows, average, counts.state.dtype)
    if average == "micro":
        counts = counts.micro()
    tp, fp, tn, fn = counts.columns()
    scores = torch.stack((tp, fp, tn, fn, tp + fn), dim=-1)
    if average in ("micro", "none", None):
        return scores
    scores = scores.double()
    if average == "macro":
        return scores.mean(-2).float()
    support = scores[..., 4:]
    return ((scores * support).sum(-2) / support.sum(-2)).float()


def _of_rows(rows: Sequence[Sequence[float]], average: str | None, dtype: torch.dtype) -> Tensor:
    """Return the same of numbers, which are the counts of each class."""
    if average == "micro" and len(rows) > 1:
        rows = [[*map(sum, zip(*rows, strict=True))]]
    scores = [(tp, fp, tn, fn, tp + fn) for tp, fp, tn, fn in rows]
    if average == "micro":
        return torch.tensor(scores[0], dtype=dtype)
    if average in ("none", None):
        return torch.tensor(scores, dtype=dtype)
    weights = [1 if average == "macro" else row[-1] for row in scores]
    total = sum(weights)
    sums = [sum(map(mul, column, weights)) for column in zip(*scores, strict=True)]
    return vector([quotient(x, total) for x in sums])


binary_stat_scores: counting.BinaryFunction = counting.binary(
    "binary_stat_scores",
    stat_scores_formula,
    "Count ``[tp, fp, tn, fn, tp + fn]`` of binary inputs, ``[5]`` or samplewise ``[N, 5]``.",
    shows="tensor([1, 1, 1, 1, 2])",
)
multiclass_stat_scores: counting.MulticlassFunction = counting.multiclass(
    "multiclass_stat_scores",
    stat_scores_formula,
    "Count ``[tp, fp, tn, fn, tp + fn]`` of each class, averaged as ``average`` says.\n\n"
    "``[..., 5]`` or without average ``[..., C, 5]``;\n"
    "int64, or float64 if weighted, means float32.",
    shows="tensor([1.0000, 0.6667, 2.6667, 0.6667, 1.6667])",
)
multilabel_stat_scores: counting.MultilabelFunction = counting.multilabel(
    "multilabel_stat_scores",
    stat_scores_formula,
    "Count ``[tp, fp, tn, fn, tp + fn]`` of each label, averaged as ``average`` says.\n\n"
    "``[..., 5]`` or without average ``[..., L, 5]``;\n"
    "int64, or float64 if weighted, means float32.",
    shows="tensor([1.0000, 0.5000, 1.0000, 0.5000, 1.5000])",
)
stat_scores: counting.TaskFunction = counting.by_task(
    "stat_scores",
    "Counts ``[tp, fp, tn, fn, tp + fn]`` of ``task``.",
    binary_stat_scores,
    multiclass_stat_scores,
    multilabel_stat_scores,
    shows="tensor([3, 2, 8, 2, 5])",
)
