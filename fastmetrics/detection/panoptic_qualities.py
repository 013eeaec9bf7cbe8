"""Panoptic quality: how well segments are found, and how well they fit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor

from fastmetrics.core.statistic import counts_only
from fastmetrics.core.statistic_metric import StatisticMetric
from fastmetrics.functional.detection.panoptic_qualities import (
    matches_of,
    quality_formula,
)
from fastmetrics.ops.panoptic import Matches
from fastmetrics.utilities.checks import check_bool

__all__ = ["ModifiedPanopticQuality", "PanopticQuality"]


class _Quality(StatisticMetric):
    """What both have in common: the matches of segments, and their categories."""

    is_differentiable = False
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    statistic: Matches

    @counts_only
    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]  # no weights
        """Match the segments of one batch."""
        self.statistic.add(self._states, preds, target)

    def compute(self) -> Tensor:
        """Return the value, a float64 scalar."""
        return quality_formula(self._states.values["matches"])

    @property
    def things(self) -> set[int]:
        """Categories whose instances are told apart."""
        return {*self.statistic.things}

    @property
    def stuffs(self) -> set[int]:
        """Categories whose instances are not told apart."""
        return {*self.statistic.stuffs}

    @property
    def allow_unknown_preds_category(self) -> bool:
        """Whether predictions may have other categories."""
        return self.statistic.allow_unknown

    @property
    def void_color(self) -> tuple[int, int]:
        """A category and instance that no segment has."""
        return max(0, *self.things, *self.stuffs) + 1, 0

    @property
    def cat_id_to_continuous_id(self) -> dict[int, int]:
        """The place of each category in values and states."""
        ids = (*self.statistic.things, *self.statistic.stuffs)
        return {category: place for place, category in enumerate(ids)}


class PanopticQuality(_Quality):
    r"""Panoptic quality, in [0, 1].

    Segments of a category match where their intersection over union is above 1/2. With TP matches,
    and FP and FN segments of ``preds`` and ``target`` without one, of each category:

    .. math::
        \frac{\sum_{matches} IoU}{TP + FP / 2 + FN / 2}

    ``update(preds, target)`` takes the category and instance of each pixel, integers
    ``[N, ..., 2]``. Pixels of ``target`` with other categories are void: they count in no union,
    and segments that are void by more than half are no false ones.

    Args:
        things: categories whose instances are told apart.
        stuffs: those whose are not.
        allow_unknown_preds_category: whether ``preds`` may have other categories, which are void.
        return_sq_and_rq: whether the value is the quality with the mean intersection over union of
            matches and the share of matches, ``[3]``.
        return_per_class: whether the value is that of each category, ``[1, K]`` or ``[K, 3]``:
            ``things`` first, each in order; otherwise the mean of those that occur.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        TypeError: a category is no integer.
        ValueError: ``things`` and ``stuffs`` have a category in common; an update whose shapes or
            dtypes do not fit, or with an unknown category.

    >>> import torch
    >>> from fastmetrics.detection import PanopticQuality
    >>> preds = torch.tensor([[[0, 1], [0, 1], [0, 1], [6, 0], [6, 0]]])
    >>> target = torch.tensor([[[0, 1], [0, 1], [6, 0], [6, 0], [6, 0]]])
    >>> PanopticQuality(things={0}, stuffs={6})(preds, target)
    tensor(0.6667, dtype=torch.float64)
    """

    def __init__(
        self,
        things: Collection[int],
        stuffs: Collection[int],
        allow_unknown_preds_category: bool = False,
        return_sq_and_rq: bool = False,
        return_per_class: bool = False,
        **kwargs: Any,
    ) -> None:
        statistic = matches_of(things, stuffs, allow_unknown_preds_category, modified=False)
        super().__init__(statistic, **kwargs)
        check_bool("return_sq_and_rq", return_sq_and_rq)
        check_bool("return_per_class", return_per_class)
        self.return_sq_and_rq, self.return_per_class = return_sq_and_rq, return_per_class

    def compute(self) -> Tensor:
        """Return the value, float64."""
        return quality_formula(
            self._states.values["matches"],
            return_sq_and_rq=self.return_sq_and_rq,
            return_per_class=self.return_per_class,
        )


class ModifiedPanopticQuality(_Quality):
    """Panoptic quality, in [0, 1], in which segments of ``stuffs`` need not match.

    Of a category of ``stuffs`` it is the sum of the intersections over union of its segments, over
    the number of images whose ``target`` has it, ``sum(iou) / images``; of others as in
    :class:`PanopticQuality`, whose inputs and errors it has.

    Args:
        things: categories whose instances are told apart.
        stuffs: those whose are not.
        allow_unknown_preds_category: whether ``preds`` may have other categories, which are void.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    >>> import torch
    >>> from fastmetrics.detection import ModifiedPanopticQuality
    >>> preds = torch.tensor([[[0, 1], [0, 1], [0, 1], [6, 0], [6, 0]]])
    >>> target = torch.tensor([[[0, 1], [0, 1], [6, 0], [6, 0], [6, 0]]])
    >>> ModifiedPanopticQuality(things={0}, stuffs={6})(preds, target)
    tensor(0.6667, dtype=torch.float64)
    """

    def __init__(
        self,
        things: Collection[int],
        stuffs: Collection[int],
        allow_unknown_preds_category: bool = False,
        **kwargs: Any,
    ) -> None:
        statistic = matches_of(things, stuffs, allow_unknown_preds_category, modified=True)
        super().__init__(statistic, **kwargs)
