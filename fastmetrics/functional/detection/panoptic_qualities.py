"""Panoptic quality: how well segments are found, and how well they fit.

Source: Kirillov et al., Panoptic Segmentation, CVPR (2019); modified: Porzi et al., Seamless Scene
Segmentation, CVPR (2019).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection

import torch
from torch import Tensor

from fastmetrics.core.statistic import count
from fastmetrics.functional._public import public
from fastmetrics.ops.panoptic import FN, FP, IOU, TP, Matches
from fastmetrics.utilities.checks import check_bool

__all__ = ["modified_panoptic_quality", "panoptic_quality"]


def _categories(name: str, given: Collection[int]) -> tuple[int, ...]:
    """Return distinct categories in order; raise ``TypeError`` unless they are integers."""
    if not isinstance(given, Collection) or not all(isinstance(each, int) for each in given):
        raise TypeError(f"`{name}` must hold integers, got {given!r}.")
    found = tuple(sorted({*given}))
    if len(found) < len(given):
        warnings.warn(f"`{name}` holds duplicates, which count once.", UserWarning, stacklevel=4)
    return found


def matches_of(
    things: Collection[int], stuffs: Collection[int], allow_unknown: bool, modified: bool
) -> Matches:
    """Return what is counted for these categories.

    Raises:
        TypeError: one is no integer.
        ValueError: both have one in common, or there is none.
    """
    of_things, of_stuffs = _categories("things", things), _categories("stuffs", stuffs)
    common = {*of_things} & {*of_stuffs}
    if common:
        raise ValueError(f"`things` and `stuffs` must have no category in common, got {common}.")
    if not (of_things or of_stuffs):
        raise ValueError("`things` and `stuffs` must have a category, got none.")
    check_bool("allow_unknown_preds_category", allow_unknown)
    return Matches(of_things, of_stuffs, modified, allow_unknown)


def quality_formula(
    matches: Tensor, *, return_sq_and_rq: bool = False, return_per_class: bool = False
) -> Tensor:
    """Return the quality in matches ``[K, 4]``: the mean of categories that occur, or of each."""
    found = matches[:, TP] + (matches[:, FP] + matches[:, FN]) / 2
    occurs, has_match = found > 0, matches[:, TP] > 0
    sq = torch.where(has_match, matches[:, IOU] / matches[:, TP], 0.0)
    rq = torch.where(occurs, matches[:, TP] / found, 0.0)
    values = torch.stack([sq * rq, sq, rq], -1)
    if return_per_class:
        return values if return_sq_and_rq else values[:, 0].unsqueeze(0)
    means = values.sum(0) / occurs.sum()
    return means if return_sq_and_rq else means[0]


@public
def panoptic_quality(
    preds: Tensor,
    target: Tensor,
    things: Collection[int],
    stuffs: Collection[int],
    allow_unknown_preds_category: bool = False,
    return_sq_and_rq: bool = False,
    return_per_class: bool = False,
) -> Tensor:
    r"""Panoptic quality, in [0, 1].

    Segments of a category match where their intersection over union is above 1/2. With TP matches,
    and FP and FN segments of ``preds`` and ``target`` without one, of each category:

    .. math::
        \frac{\sum_{matches} IoU}{TP + FP / 2 + FN / 2}

    Pixels of ``target`` with other categories are void: they count in no union, and segments that
    are void by more than half are no false ones.

    Args:
        preds: category and instance of each pixel, integers ``[N, ..., 2]``.
        target: the same.
        things: categories whose instances are told apart.
        stuffs: those whose are not.
        allow_unknown_preds_category: whether ``preds`` may have other categories, which are void.
        return_sq_and_rq: whether to return the mean intersection over union of matches, and the
            share of matches, too.
        return_per_class: whether to return the quality of each category, ``things`` first, each in
            order; otherwise the mean of those that occur.

    Returns:
        A scalar, ``[3]``, ``[1, K]`` or ``[K, 3]``, float64; NaN if no category occurs.

    Raises:
        TypeError: a category is no integer.
        ValueError: ``things`` and ``stuffs`` have a category in common; an input is no tensor,
            shapes or dtypes do not fit; ``preds`` has an unknown category.

    >>> import torch
    >>> from fastmetrics.functional.detection import panoptic_quality
    >>> preds = torch.tensor([[[0, 1], [0, 1], [0, 1], [6, 0], [6, 0]]])
    >>> target = torch.tensor([[[0, 1], [0, 1], [6, 0], [6, 0], [6, 0]]])
    >>> panoptic_quality(preds, target, things={0}, stuffs={6})
    tensor(0.6667, dtype=torch.float64)
    """
    check_bool("return_sq_and_rq", return_sq_and_rq)
    check_bool("return_per_class", return_per_class)
    statistic = matches_of(things, stuffs, allow_unknown_preds_category, modified=False)
    matches = count(statistic, "panoptic_quality", preds, target).values["matches"]
    return quality_formula(
        matches, return_sq_and_rq=return_sq_and_rq, return_per_class=return_per_class
    )


@public
def modified_panoptic_quality(
    preds: Tensor,
    target: Tensor,
    things: Collection[int],
    stuffs: Collection[int],
    allow_unknown_preds_category: bool = False,
) -> Tensor:
    r"""Panoptic quality, in [0, 1], in which segments of ``stuffs`` need not match.

    Of a category of ``stuffs`` it is the sum of the intersections over union of its segments, over
    the number of images whose ``target`` has it, ``sum(iou) / images``. Other categories, arguments
    and errors as for :func:`panoptic_quality`.

    Args:
        preds: category and instance of each pixel, integers ``[N, ..., 2]``.
        target: the same.
        things: categories whose instances are told apart.
        stuffs: those whose are not.
        allow_unknown_preds_category: whether ``preds`` may have other categories, which are void.

    Returns:
        A scalar, float64: the mean of categories that occur; NaN if none does.

    >>> import torch
    >>> from fastmetrics.functional.detection import modified_panoptic_quality
    >>> preds = torch.tensor([[[0, 1], [0, 1], [0, 1], [6, 0], [6, 0]]])
    >>> target = torch.tensor([[[0, 1], [0, 1], [6, 0], [6, 0], [6, 0]]])
    >>> modified_panoptic_quality(preds, target, things={0}, stuffs={6})
    tensor(0.6667, dtype=torch.float64)
    """
    statistic = matches_of(things, stuffs, allow_unknown_preds_category, modified=True)
    states = count(statistic, "modified_panoptic_quality", preds, target)
    return quality_formula(states.values["matches"])
