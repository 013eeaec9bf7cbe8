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

import torch
from torch import Tensor

from fastmetrics.functional.classification._statistic import (
    Formula,
    count_classes,
    count_labels,
    split_counts,
)
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.utilities.checks import (
    AVERAGES,
    INPUTS,
    MULTIDIM_AVERAGES,
    check_choice,
    check_ignore_index,
    check_int,
    check_top_k,
    check_unit_interval,
    check_zero_division,
)

__all__ = [
    "binary_stat_scores",
    "multiclass_stat_scores",
    "multilabel_stat_scores",
    "stat_scores",
]


def check_binary_arguments(
    threshold: float,
    multidim_average: str,
    ignore_index: int | None,
    zero_division: float,
    input: str,
) -> None:
    """Raise ``ValueError`` unless the arguments of a binary stat score are in range."""
    check_unit_interval("threshold", threshold)
    check_choice("multidim_average", multidim_average, MULTIDIM_AVERAGES)
    check_ignore_index(ignore_index)
    check_zero_division(zero_division)
    check_choice("input", input, INPUTS)


def check_multiclass_arguments(
    num_classes: int | None,
    top_k: int,
    average: str | None,
    multidim_average: str,
    ignore_index: int | None,
    zero_division: float,
) -> None:
    """Raise ``ValueError`` unless the arguments of a multiclass stat score are in range."""
    check_choice("average", average, AVERAGES)
    if num_classes is not None:
        check_int("num_classes", num_classes, 2)
    elif average != "micro":
        raise ValueError(f"`num_classes` may be None only for average='micro', got {average!r}.")
    check_top_k(top_k, num_classes)
    check_choice("multidim_average", multidim_average, MULTIDIM_AVERAGES)
    check_ignore_index(ignore_index)
    check_zero_division(zero_division)


def check_multilabel_arguments(
    num_labels: int,
    threshold: float,
    average: str | None,
    multidim_average: str,
    ignore_index: int | None,
    zero_division: float,
    input: str,
) -> None:
    """Raise ``ValueError`` unless the arguments of a multilabel stat score are in range."""
    check_int("num_labels", num_labels, 2)
    check_choice("average", average, AVERAGES)
    check_binary_arguments(threshold, multidim_average, ignore_index, zero_division, input)


def binary_value(
    owner: str,
    formula: Formula,
    preds: Tensor,
    target: Tensor,
    threshold: float,
    multidim_average: str,
    ignore_index: int | None,
    validate_args: bool,
    zero_division: float,
    weight: Tensor | None,
    input: str,
) -> Tensor:
    """Check the arguments, count one batch and apply ``formula``; for the function ``owner``."""
    if validate_args:
        check_binary_arguments(threshold, multidim_average, ignore_index, zero_division, input)
    counts = count_labels(
        owner,
        preds,
        target,
        1,
        threshold,
        multidim_average == "samplewise",
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return formula(counts, True, "micro", zero_division=zero_division)


def multiclass_value(
    owner: str,
    formula: Formula,
    preds: Tensor,
    target: Tensor,
    num_classes: int | None,
    average: str | None,
    top_k: int,
    multidim_average: str,
    ignore_index: int | None,
    validate_args: bool,
    zero_division: float,
    weight: Tensor | None,
) -> Tensor:
    """Check the arguments, count one batch and apply ``formula``; for the function ``owner``."""
    if validate_args:
        check_multiclass_arguments(
            num_classes, top_k, average, multidim_average, ignore_index, zero_division
        )
    counts = count_classes(
        owner,
        preds,
        target,
        num_classes,
        top_k,
        multidim_average == "samplewise",
        ignore_index,
        validate_args,
        weight,
    )
    return formula(counts, False, average, top_k, zero_division)


def multilabel_value(
    owner: str,
    formula: Formula,
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float,
    average: str | None,
    multidim_average: str,
    ignore_index: int | None,
    validate_args: bool,
    zero_division: float,
    weight: Tensor | None,
    input: str,
) -> Tensor:
    """Check the arguments, count one batch and apply ``formula``; for the function ``owner``."""
    if validate_args:
        check_multilabel_arguments(
            num_labels, threshold, average, multidim_average, ignore_index, zero_division, input
        )
    counts = count_labels(
        owner,
        preds,
        target,
        num_labels,
        threshold,
        multidim_average == "samplewise",
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return formula(counts, True, average, zero_division=zero_division)


def stat_scores_formula(
    counts: Tensor,
    thresholded: bool,
    average: str | None,
    top_k: int = 1,
    zero_division: float = 0.0,
) -> Tensor:
    """Return ``tp, fp, tn, fn, tp + fn`` along a new last axis.

    Sums keep the dtype of ``counts`` ``[..., C, 4]``, means are float32; ``"weighted"`` is NaN
    where there are no targets.
    """
    if average == "micro":
        counts = counts.sum(-2)
    tp, fp, tn, fn = split_counts(counts, thresholded)
    scores = torch.stack((tp, fp, tn, fn, tp + fn), dim=-1)
    if average in ("micro", "none", None):
        return scores
    scores = scores.double()
    if average == "macro":
        return scores.mean(-2).float()
    support = scores[..., 4:]
    return ((scores * support).sum(-2) / support.sum(-2)).float()


def binary_stat_scores(
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
    """Count ``[tp, fp, tn, fn, tp + fn]`` of binary inputs, ``[5]`` or samplewise ``[N, 5]``.

    int64, or float64 if weighted. Arguments and errors as in the module docstring.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_stat_scores
    >>> preds, target = torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1])
    >>> binary_stat_scores(preds, target)
    tensor([1, 1, 1, 1, 2])
    """
    return binary_value(
        "binary_stat_scores",
        stat_scores_formula,
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


def multiclass_stat_scores(
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
    """Count ``[tp, fp, tn, fn, tp + fn]`` of each class, averaged as ``average`` says.

    ``[..., 5]`` or without average ``[..., C, 5]``; int64, or float64 if weighted, means float32.
    Arguments and errors as in the module docstring.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_stat_scores
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> multiclass_stat_scores(preds, target, num_classes=3)
    tensor([1.0000, 0.6667, 2.6667, 0.6667, 1.6667])
    """
    return multiclass_value(
        "multiclass_stat_scores",
        stat_scores_formula,
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


def multilabel_stat_scores(
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
    """Count ``[tp, fp, tn, fn, tp + fn]`` of each label, averaged as ``average`` says.

    ``[..., 5]`` or without average ``[..., L, 5]``; int64, or float64 if weighted, means float32.
    Arguments and errors as in the module docstring.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_stat_scores
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])
    >>> multilabel_stat_scores(preds, target, num_labels=2)
    tensor([1.0000, 0.5000, 1.0000, 0.5000, 1.5000])
    """
    return multilabel_value(
        "multilabel_stat_scores",
        stat_scores_formula,
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


def stat_scores(
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
    """Counts ``[tp, fp, tn, fn, tp + fn]`` of ``task``, which is binary, multiclass or multilabel.

    Calls the function above that is named after ``task`` with those arguments that it has;
    multiclass needs ``num_classes``, multilabel ``num_labels``.

    >>> import torch
    >>> from fastmetrics.functional import stat_scores
    >>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])
    >>> stat_scores(preds, target, task="multiclass", num_classes=3)
    tensor([3, 2, 8, 2, 5])
    """
    return call_for_task(
        task,
        {
            "binary": binary_stat_scores,
            "multiclass": multiclass_stat_scores,
            "multilabel": multilabel_stat_scores,
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
