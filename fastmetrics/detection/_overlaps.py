"""The base of the metrics of how much boxes overlap."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from fastmetrics.core.statistic import counts_only
from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.ops.detections import BOX_FORMATS
from fastmetrics.ops.kept_overlaps import Overlaps
from fastmetrics.utilities.checks import check_bool, check_choice, check_number


class OverlapMetric(StatisticMetric):
    """Mean overlap of the boxes of images; a subclass says of which kind.

    Attributes:
        kind: which value, as in :func:`~fastmetrics.ops.box_overlaps.box_overlaps_`.
        prefix: of the keys of the value.
    """

    is_differentiable = False
    higher_is_better = True
    kind: ClassVar[int]
    prefix: ClassVar[str]
    statistic: Overlaps
    box_format = StatisticField[str]()
    iou_threshold = StatisticField[float | None]("threshold")
    class_metrics = StatisticField[bool]("by_class")
    respect_labels = StatisticField[bool]()

    def __init__(
        self,
        box_format: str = "xyxy",
        iou_threshold: float | None = None,
        class_metrics: bool = False,
        respect_labels: bool = True,
        **kwargs: Any,
    ) -> None:
        check_choice("box_format", box_format, BOX_FORMATS)
        check_bool("class_metrics", class_metrics)
        check_bool("respect_labels", respect_labels)
        if iou_threshold is not None:
            check_number("iou_threshold", iou_threshold)
            iou_threshold = float(iou_threshold)
        statistic = Overlaps(
            kind=self.kind,
            threshold=iou_threshold,
            respect_labels=respect_labels,
            by_class=class_metrics,
            box_format=box_format,
        )
        super().__init__(statistic, **kwargs)

    @counts_only
    def update(  # type: ignore[override]  # images are no tensors
        self, preds: list[dict[str, Any]], target: list[dict[str, Any]]
    ) -> None:
        """Add one batch of images.

        Args:
            preds: one dictionary for each image.
            target: one dictionary for each image.

        Raises:
            ValueError: a dictionary lacks a key or holds what has another shape, dtype or length
                than it must have; the image is named.
        """
        self.statistic.add(self._states, preds, target)

    def compute(self) -> dict[str, Tensor]:
        """Return the mean, and that of each class if they are wanted."""
        values = {self.prefix: self.statistic.read(self._states)}
        if self.class_metrics:
            classes = self.statistic.read_classes(self._states)
            values |= {f"{self.prefix}/cl_{label}": mean for label, mean in classes.items()}
        return values
