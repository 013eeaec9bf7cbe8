"""Distances between the surfaces of segments: Hausdorff's, the average, and what is near."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.core.statistic import View, counts_only
from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.functional.segmentation.hausdorff_distance import surfaces
from fastmetrics.ops.surface import Surfaces

__all__ = ["AverageSurfaceDistance", "HausdorffDistance", "NormalizedSurfaceDice"]


class _SurfaceMetric(StatisticMetric):
    """The mean of one of the sums over images and classes."""

    is_differentiable = False
    higher_is_better = False
    plot_lower_bound = 0.0
    _place: ClassVar[int]
    statistic: Surfaces
    num_classes = StatisticField[int]()
    include_background = StatisticField[bool]()
    distance_metric = StatisticField[str]()
    directed = StatisticField[bool]()
    input_format = StatisticField[str]()

    @counts_only
    def update(self, preds: Tensor, target: Tensor) -> None:  # type: ignore[override]  # no weights
        """Measure one batch."""
        self.statistic.add(self._states, preds, target)

    def compute(self) -> Tensor:
        """Return the mean, a float32 scalar."""
        values = self._states.values
        mean: Tensor = values["sums"][self._place] / values["pairs"]
        return mean.float()


class HausdorffDistance(_SurfaceMetric):
    r"""Hausdorff distance, the mean over images and classes, in the units of ``spacing``.

    With :math:`P` and :math:`T` the surfaces of a class, pixels of it with a neighbour along an
    axis that is not:

    .. math::
        \max\left(\max_{p \in P} d(p, T), \max_{t \in T} d(t, P)\right)

    Infinite where one surface is empty; where both are, the class of that image is left out.
    ``update(preds, target)`` takes what that of :class:`~fastmetrics.segmentation.DiceScore` does.

    Args:
        num_classes: C.
        include_background: whether class 0 counts; alone it always does.
        distance_metric: ``"euclidean"``, ``"chessboard"`` or ``"taxicab"``.
        spacing: how far pixels lie apart, for each axis; None for 1.
        directed: whether only distances from ``preds`` to ``target`` count.
        input_format: as for :class:`~fastmetrics.segmentation.DiceScore`.
        percentile: of the distances, in place of the largest: 95 for a robust value.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument other than these; an update with another number of classes.
        RuntimeError: an update whose shapes do not fit, or with a label out of range.

    >>> import torch
    >>> from fastmetrics.segmentation import HausdorffDistance
    >>> metric = HausdorffDistance(num_classes=2, input_format="index")
    >>> preds = torch.tensor([[[1, 1, 1, 0], [0, 0, 0, 0]]])
    >>> metric(preds, torch.tensor([[[1, 0, 0, 0], [0, 0, 0, 0]]]))
    tensor(2.)
    """

    _place = 0
    percentile = StatisticField[float | None]()

    def __init__(
        self,
        num_classes: int,
        include_background: bool = False,
        distance_metric: str = "euclidean",
        spacing: Tensor | list[float] | None = None,
        directed: bool = False,
        input_format: str = "one-hot",
        *,
        percentile: float | None = None,
        **kwargs: Any,
    ) -> None:
        statistic = surfaces(
            num_classes,
            include_background,
            distance_metric,
            spacing,
            directed,
            input_format,
            percentile=percentile,
        )
        super().__init__(statistic, **kwargs)
        self.spacing = spacing

    def _views(self) -> Mapping[str, View]:
        def take_score(states: States, value: Any) -> None:
            states.values["sums"][self._place] = torch.as_tensor(value)

        def take_total(states: States, value: Any) -> None:
            states.values["pairs"].fill_(int(torch.as_tensor(value)))

        return {
            "score": View(lambda states: states.values["sums"][self._place].float(), take_score),
            "total": View(lambda states: states.values["pairs"].clone(), take_total),
        }


class AverageSurfaceDistance(_SurfaceMetric):
    """Mean distance between surfaces, the mean over images and classes, in units of ``spacing``.

    That of the pixels of both surfaces to the nearest one of the other, as in
    :class:`HausdorffDistance`, with which it shares one pass in a collection.

    Args:
        num_classes: C.
        include_background: whether class 0 counts; alone it always does.
        distance_metric: ``"euclidean"``, ``"chessboard"`` or ``"taxicab"``.
        spacing: how far pixels lie apart, for each axis; None for 1.
        directed: whether only distances from ``preds`` to ``target`` count.
        input_format: as for :class:`~fastmetrics.segmentation.DiceScore`.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    >>> import torch
    >>> from fastmetrics.segmentation import AverageSurfaceDistance
    >>> metric = AverageSurfaceDistance(num_classes=2, input_format="index")
    >>> preds = torch.tensor([[[1, 1, 1, 0], [0, 0, 0, 0]]])
    >>> metric(preds, torch.tensor([[[1, 0, 0, 0], [0, 0, 0, 0]]]))
    tensor(0.7500)
    """

    _place = 1

    def __init__(
        self,
        num_classes: int,
        include_background: bool = False,
        distance_metric: str = "euclidean",
        spacing: Tensor | list[float] | None = None,
        directed: bool = False,
        input_format: str = "one-hot",
        **kwargs: Any,
    ) -> None:
        statistic = surfaces(
            num_classes, include_background, distance_metric, spacing, directed, input_format
        )
        super().__init__(statistic, **kwargs)
        self.spacing = spacing


class NormalizedSurfaceDice(_SurfaceMetric):
    """Share of surfaces that lies near the other one, the mean over images and classes, in [0, 1].

    Args:
        num_classes: C.
        tolerance: the largest distance that is near, in the units of ``spacing``.
        include_background: whether class 0 counts; alone it always does.
        distance_metric: ``"euclidean"``, ``"chessboard"`` or ``"taxicab"``.
        spacing: how far pixels lie apart, for each axis; None for 1.
        input_format: as for :class:`~fastmetrics.segmentation.DiceScore`.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    >>> import torch
    >>> from fastmetrics.segmentation import NormalizedSurfaceDice
    >>> metric = NormalizedSurfaceDice(num_classes=2, tolerance=1, input_format="index")
    >>> preds = torch.tensor([[[1, 1, 1, 0], [0, 0, 0, 0]]])
    >>> metric(preds, torch.tensor([[[1, 0, 0, 0], [0, 0, 0, 0]]]))
    tensor(0.7500)
    """

    higher_is_better = True
    plot_upper_bound = 1.0
    _place = 2
    tolerance = StatisticField[float]()

    def __init__(
        self,
        num_classes: int,
        tolerance: float,
        include_background: bool = False,
        distance_metric: str = "euclidean",
        spacing: Tensor | list[float] | None = None,
        input_format: str = "one-hot",
        **kwargs: Any,
    ) -> None:
        statistic = surfaces(
            num_classes,
            include_background,
            distance_metric,
            spacing,
            False,
            input_format,
            tolerance=tolerance,
        )
        super().__init__(statistic, **kwargs)
        self.spacing = spacing
