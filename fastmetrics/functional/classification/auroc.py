"""Area under the receiver operating characteristic.

Arguments are explained in :mod:`fastmetrics.functional.classification.precision_recall_curve`, and
``max_fpr``, ``average`` here: ``max_fpr`` is None or a float in ``(0, 1]``, up to which the area is
taken and standardised: 0.5 is chance and 1 the best. ``average`` is ``"macro"``, ``"weighted"`` (by
the positives of each class), ``"none"`` or None, for multilabel also ``"micro"``. A class with only
positives or only negatives is ``undefined``.

``multi_class``, for multiclass: ``"ovr"`` compares each class with all others, ``"ovo"`` each with
each other class (the mean over pairs; ``average="weighted"`` weighs a pair by its samples), which
needs every score: ``thresholds=None``.

Source: Hanley and McNeil, The meaning and use of the area under a receiver operating characteristic
(ROC) curve, Radiology 143 (1982); ``max_fpr``: McClish, Analyzing a portion of the ROC curve,
Medical Decision Making 9 (1989); "ovo": Hand and Till, A simple generalisation of the area under
the ROC curve for multiple class classification problems, Machine Learning 45 (2001).
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
    staircase,
)
from fastmetrics.functional.classification._scores import KeptScores, Scores, count_scores
from fastmetrics.functional.classification._tasks import call_for_task
from fastmetrics.functional.classification.roc import rates
from fastmetrics.utilities.checks import check_choice, check_int

__all__ = ["auroc", "binary_auroc", "multiclass_auroc", "multilabel_auroc"]


def check_max_fpr(max_fpr: Any) -> None:
    """Raise ``ValueError`` unless ``max_fpr`` is None or a float in (0, 1]."""
    if max_fpr is not None and not (isinstance(max_fpr, float) and 0 < max_fpr <= 1):
        raise ValueError(f"`max_fpr` must be None or a float in (0, 1], got {max_fpr!r}.")


def check_multi_class(multi_class: Any, average: Any, max_fpr: Any, thresholds: Any) -> None:
    """Raise ``ValueError`` unless classes can be compared as ``multi_class`` says."""
    check_choice("multi_class", multi_class, ("ovr", "ovo"))
    if multi_class == "ovo":
        check_choice("average", average, ("macro", "weighted"))
        if max_fpr is not None or thresholds is not None:
            raise ValueError(
                "multi_class='ovo' needs `thresholds` and `max_fpr` to be None,"
                f" got {thresholds!r} and {max_fpr!r}."
            )


def _partial_area(fpr: Tensor, tpr: Tensor, max_fpr: float) -> Tensor:
    """Return the standardised area left of ``max_fpr``; every curve ends in (1, 1)."""
    # A curve whose first point lies further right comes from the origin.
    near = fpr[..., :1] <= max_fpr
    end = torch.ones_like(fpr[..., :1])
    fpr = torch.cat([torch.where(near, fpr[..., :1], 0.0), fpr, end], -1)
    tpr = torch.cat([torch.where(near, tpr[..., :1], 0.0), tpr, end], -1)
    width, rise = fpr.diff(), tpr.diff()
    inside = (max_fpr - fpr[..., :-1]).clamp(min=0.0).minimum(width)
    height = tpr[..., :-1] + 0.5 * rise * torch.where(width > 0, inside / width, 0.0)
    area = (inside * height).sum(-1)
    least = 0.5 * max_fpr**2
    return 0.5 * (1.0 + (area - least) / (max_fpr - least))


def _undefined_as(values: Tensor, undefined: str | None) -> Tensor:
    """Return ``values`` with 0 or NaN where they are undefined."""
    return values.nan_to_num(0.0) if undefined is None else values


def area_under_roc(curve: Curve, max_fpr: float | None, undefined: str | None) -> Tensor:
    """Return the area by trapezoids, float64 ``[...]``."""
    fpr, tpr = (rate.nan_to_num(0.0) for rate in rates(curve))
    if max_fpr is None or max_fpr == 1:
        area = torch.trapezoid(tpr, fpr)
    else:
        area = _partial_area(fpr, tpr, max_fpr)
    defined = (curve.negatives > 0) & (curve.positives > 0)
    return _undefined_as(area.where(defined, torch.nan), undefined)


def auroc_formula(
    scores: Scores,
    pool: bool,
    average: str | None = "none",
    max_fpr: float | None = None,
    undefined: str | None = None,
) -> Tensor:
    """Return the float32 area of one curve, or the average over classes."""
    areas = scores.areas(pool) if max_fpr in (None, 1) else None
    if areas is None:
        curves = scores.curves(pool, repeats=True)
        values = each_class(curves, partial(area_under_roc, max_fpr=max_fpr, undefined=undefined))
        positives = positives_of(curves)
    else:
        positives = areas.positives
        values = _undefined_as(areas.pairs / (areas.negatives * positives), undefined)
        values, positives = (values[0], positives[0]) if pool else (values, positives)
    return average_classes(values, average, positives, undefined)


def auroc_bounds(
    scores: Scores,
    pool: bool,
    average: str | None = "none",
    max_fpr: float | None = None,
    undefined: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Return float32 values that enclose the area for all scores that are counted as they are.

    Within a bin all positives may lie below all negatives, or above.
    """
    table = scores.table(pool)
    if table is None:
        value = auroc_formula(scores, pool, average, max_fpr, undefined)
        return enclose(value, value)
    positives = table[..., 1, :].sum(-1).double()
    values = (
        area_under_roc(staircase(table, upper), max_fpr, undefined) for upper in (False, True)
    )
    low, high = (
        average_classes(value[0], average, positives[0], undefined)
        if pool
        else average_classes(value, average, positives, undefined)
        for value in values
    )
    return enclose(low, high)


def pairwise_formula(scores: Scores, average: str | None, undefined: str | None) -> Tensor:
    """Return the float32 mean over all pairs of classes of how well they are told apart.

    A pair is ranked once by the scores of each of its classes, among the samples of both.
    """
    if not isinstance(scores, KeptScores):
        raise TypeError("pairs of classes need every score.")
    pairs, totals = scores.class_pairs()
    ratio = _undefined_as(pairs / (totals.unsqueeze(1) * totals), undefined)
    first, second = torch.triu_indices(len(totals), len(totals), 1, device=totals.device)
    values = (ratio[first, second] + ratio[second, first]) / 2
    return average_classes(values, average, totals[first] + totals[second], undefined)


def binary_auroc(
    preds: Tensor,
    target: Tensor,
    max_fpr: float | None = None,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Compute the area: how often a positive scores higher than a negative, ties counting half.

    ``P(s+ > s-) + P(s+ = s-) / 2`` for a positive's and a negative's score, drawn at random.

    Arguments as in the module docstring. Returns a float32 scalar.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_auroc
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> binary_auroc(preds, target, thresholds=11)
    tensor(0.7500)
    """
    if validate_args:
        check_max_fpr(max_fpr)
        check_curve_arguments(thresholds, ignore_index, input, undefined)
    scores = count_scores(
        "binary_auroc",
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
    return auroc_formula(scores, True, None, max_fpr, undefined)


def multiclass_auroc(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    average: str | None = "macro",
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    max_fpr: float | None = None,
    multi_class: str = "ovr",
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Average the areas of each class against all others; arguments as in the module docstring.

    ``P(s+ > s-) + P(s+ = s-) / 2`` for a positive's and a negative's score, drawn at random.

    Returns a float32 scalar, ``[C]`` without an average.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_auroc
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    >>> multiclass_auroc(preds, target, num_classes=2, thresholds=11)
    tensor(1.)
    """
    if validate_args:
        check_int("num_classes", num_classes, 2)
        check_max_fpr(max_fpr)
        check_curve_arguments(thresholds, ignore_index, input, undefined)
        check_choice("average", average, CLASS_AVERAGES)
        check_multi_class(multi_class, average, max_fpr, thresholds)
    scores = count_scores(
        "multiclass_auroc",
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
    if multi_class == "ovo":
        return pairwise_formula(scores, average, undefined)
    return auroc_formula(scores, False, average, max_fpr, undefined)


def multilabel_auroc(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    average: str | None = "macro",
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    max_fpr: float | None = None,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Average the areas of each label; arguments as in the module docstring.

    ``average="micro"`` takes the area of one curve over all labels. Returns a float32 scalar,
    ``[L]`` without an average.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_auroc
    >>> preds, target = torch.tensor([[0.7, 0.3], [0.4, 0.6]]), torch.tensor([[1, 0], [0, 1]])
    >>> multilabel_auroc(preds, target, num_labels=2, thresholds=11, average=None)
    tensor([1., 1.])
    """
    if validate_args:
        check_int("num_labels", num_labels, 2)
        check_max_fpr(max_fpr)
        check_curve_arguments(thresholds, ignore_index, input, undefined)
        check_choice("average", average, LABEL_AVERAGES)
    scores = count_scores(
        "multilabel_auroc",
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
    return auroc_formula(scores, average == "micro", average, max_fpr, undefined)


def auroc(
    preds: Tensor,
    target: Tensor,
    task: str,
    thresholds: Thresholds = None,
    num_classes: int | None = None,
    num_labels: int | None = None,
    average: str | None = "macro",
    max_fpr: float | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
    undefined: str | None = None,
) -> Tensor:
    """Compute the area of ``task``, which is "binary", "multiclass" or "multilabel".

    ``P(s+ > s-) + P(s+ = s-) / 2`` for a positive's and a negative's score, drawn at random.

    Passes the arguments that the task has to the function above that is named after it.

    >>> import torch
    >>> from fastmetrics.functional import auroc
    >>> preds, target = torch.tensor([0.1, 0.6, 0.7, 0.8]), torch.tensor([0, 1, 0, 1])
    >>> auroc(preds, target, task="binary", thresholds=11)
    tensor(0.7500)
    """
    own: Any = {"max_fpr": max_fpr, "input": input, "undefined": undefined}
    return call_for_task(
        task,
        {
            "binary": partial(binary_auroc, **own),
            "multiclass": partial(multiclass_auroc, **own),
            "multilabel": partial(multilabel_auroc, **own),
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
