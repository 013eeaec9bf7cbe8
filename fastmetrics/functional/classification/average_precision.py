"""Average precision: the precision at each threshold, weighted by the recall gained there.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``average`` here: ``"macro"``, ``"weighted"`` (by the positives of each class), ``"none"`` or None,
for multilabel also ``"micro"``. A class without positives is ``undefined``; for
multiclass and thresholds of the data (None, "auto") it is NaN and left out of averages.

Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, Cambridge University
Press 2008, section 8.4.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.classification._curve import (
    CLASS_AVERAGES,
    LABEL_AVERAGES,
    Curve,
    Thresholds,
    average_classes,
    check_curve_arguments,
    each_class,
    enclose,
    positives_of,
)
from fastmetrics.functional.classification._scores import (
    KeptScores,
    RankedScores,
    Scores,
    count_scores,
)
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.precision_recall_curve import (
    precision_and_recall,
)
from fastmetrics.utilities.checks import check_choice, check_int

__all__ = [
    "average_precision",
    "binary_average_precision",
    "multiclass_average_precision",
    "multilabel_average_precision",
]


def precision_by_recall(curve: Curve, undefined: str | None) -> Tensor:
    """Return the sum of precision times gain in recall, float64 ``[...]``."""
    precision, recall = (x.nan_to_num(0.0) for x in precision_and_recall(curve))
    gain = recall.diff(prepend=torch.zeros_like(recall[..., :1]))
    value = (gain * precision).sum(-1)
    if undefined is not None:
        value = value.where(curve.positives > 0, torch.nan)
    return value


def _absent(scores: Scores, undefined: str | None) -> str | None:
    """Return what a class without positives has: at thresholds of the data multiclass has NaN."""
    own = isinstance(scores, (KeptScores, RankedScores)) and scores.multiclass
    return "nan" if own else undefined


def average_precision_formula(
    scores: Scores, pool: bool, average: str | None = "none", undefined: str | None = None
) -> Tensor:
    """Return the float32 value of one curve, or the average over classes."""
    absent = _absent(scores, undefined)
    areas = scores.areas(pool)
    if areas is None:
        curves = scores.curves(pool, repeats=True)
        values = each_class(curves, partial(precision_by_recall, undefined=absent))
        positives = positives_of(curves)
    else:
        positives = areas.positives
        values = areas.precision / positives
        values = values.nan_to_num(0.0) if absent is None else values
        values, positives = (values[0], positives[0]) if pool else (values, positives)
    return average_classes(values, average, positives, undefined)


def average_precision_bounds(
    scores: Scores, pool: bool, average: str | None = "none", undefined: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return float32 values that enclose the average precision of all scores.

    With n negatives and p positives in a bin, below F and T of them, a positive has at most the
    precision (T + p) / (T + p + F). If it is the i-th one it has at least
    (T + i) / (T + i + F + n): concave in i, so the mean of the first and last is a bound for the
    mean.
    """
    table = scores.table(pool)
    if table is None:
        value = average_precision_formula(scores, pool, average, undefined)
        return enclose(value, value)
    counts = table.flip(-1).double()
    negatives, positives = counts.unbind(-2)
    fps, tps = counts.cumsum(-1).unbind(-2)
    # A weight can be split, so there the first positive may be a small one.
    before = tps - positives
    first = before + (0.0 if table.is_floating_point() else 1.0)
    least = (first / (first + fps)).nan_to_num(0.0) + (tps / (tps + fps)).nan_to_num(0.0)
    most = (tps / (tps + fps - negatives)).nan_to_num(0.0)
    total = positives.sum(-1)
    low, high = ((positives * value).sum(-1) / total for value in (least / 2, most))
    if _absent(scores, undefined) is None:
        low, high = low.nan_to_num(0.0), high.nan_to_num(0.0)
    if pool:
        low, high, total = low[0], high[0], total[0]
    return enclose(
        average_classes(low, average, total, undefined),
        average_classes(high, average, total, undefined),
    )


def binary_average_precision(
    preds: Tensor,
    target: Tensor,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Sum precision times gain in recall over the thresholds, from the highest down.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    Arguments as in the module docstring. Returns a float32 scalar.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_average_precision
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> binary_average_precision(preds, target, thresholds=11)
    tensor(0.8333)
    """
    if validate_args:
        check_curve_arguments(thresholds, ignore_index, input, undefined)
    scores = count_scores(
        "binary_average_precision",
        preds,
        target,
        1,
        False,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return average_precision_formula(scores, True, None, undefined)


def multiclass_average_precision(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Average the value of each class against all others; arguments as in the module docstring.

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    Returns a float32 scalar, ``[C]`` without an average.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_average_precision
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> multiclass_average_precision(preds, target, num_classes=2, thresholds=11)
    tensor(1.)
    """
    if validate_args:
        check_int("num_classes", num_classes, 2)
        check_curve_arguments(thresholds, ignore_index, input, undefined)
        check_choice("average", average, CLASS_AVERAGES)
    scores = count_scores(
        "multiclass_average_precision",
        preds,
        target,
        num_classes,
        True,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return average_precision_formula(scores, False, average, undefined)


def multilabel_average_precision(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    average: str | None = "macro",
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Average the value of each label; arguments as in the module docstring.

    ``average="micro"`` takes the value of one curve over all labels. Returns a float32 scalar,
    ``[L]`` without an average.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_average_precision
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> multilabel_average_precision(preds, target, num_labels=2, thresholds=11, average=None)
    tensor([1., 1.])
    """
    if validate_args:
        check_int("num_labels", num_labels, 2)
        check_curve_arguments(thresholds, ignore_index, input, undefined)
        check_choice("average", average, LABEL_AVERAGES)
    scores = count_scores(
        "multilabel_average_precision",
        preds,
        target,
        num_labels,
        False,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return average_precision_formula(scores, average == "micro", average, undefined)


def average_precision(
    preds: Tensor,
    target: Tensor,
    task: str,
    thresholds: Thresholds = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "macro",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Compute the average precision of ``task``, which is "binary", "multiclass" or "multilabel".

    ``sum over t of (recall_t - recall_(t+1)) * precision_t``, the thresholds t ascending.

    Passes the arguments that the task has to the function above that is named after it.

    >>> import torch
    >>> from fastmetrics.functional import average_precision
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> average_precision(preds, target, task="binary", thresholds=11)
    tensor(0.8333)
    """
    own: Any = {"input": input, "undefined": undefined}
    return call_for_task(
        task,
        {
            "binary": partial(binary_average_precision, **own),
            "multiclass": partial(multiclass_average_precision, **own),
            "multilabel": partial(multilabel_average_precision, **own),
        },
        preds,
        target,
        thresholds=thresholds,
        num_classes=num_classes,
        num_labels=num_labels,
        average=average,
        ignore_index=ignore_index,
        validate_args=validate_args,
        weight=weight,
    )
