"""Mean average precision of detections.

Arguments are explained in :func:`fastmetrics.functional.detection.map.mean_average_precision`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.core.statistic import counts_only
from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.functional.detection.map import checked, evaluate, warn_of_many
from fastmetrics.ops.kept_matches import Matches

__all__ = ["MeanAveragePrecision"]


class MeanAveragePrecision(StatisticMetric):
    """Mean average precision and recall over classes and IoU thresholds, as COCO defines them.

    ``map = mean over thresholds and classes of AP``, ``AP = mean over recalls of precision``.

    Detections are matched while they come: what is kept of one is its score, its class and which
    thresholds it passes, so ``compute`` sorts once and ranks exchange a few bytes for each.
    Detections with equal scores count in the order of their images: by ``image_id`` where targets
    have one, else as they came. With it the images may come in any order, on any rank.

    ``update`` takes ``preds`` and ``target``, a dictionary for each image:

    - ``boxes`` ``[N, 4]`` in ``box_format``, any real dtype, where ``iou_type`` has "bbox";
    - ``masks`` ``[N, H, W]``, bool or uint8, or a list of N run lengths as COCO has them
      (``{"size": [H, W], "counts": ...}``), where ``iou_type`` has "segm";
    - ``labels`` ``[N]``, integers; of ``preds`` also ``scores`` ``[N]``, floats;
    - of ``target`` optionally ``iscrowd`` ``[N]``, ``area`` ``[N]`` and ``image_id``.

    ``compute`` returns float32 scalars, -1 where nothing is known: ``map``, ``map_50``, ``map_75``,
    ``map_small``, ``map_medium``, ``map_large``, ``mar_1``, ``mar_10``, ``mar_100`` (by
    ``max_detection_thresholds``), ``mar_small``, ``mar_medium``, ``mar_large``; the int32
    ``classes`` that came, and for each ``map_per_class`` and ``mar_100_per_class``, -1 unless
    ``class_metrics``. ``extended_summary`` adds ``ious``, by image and class, and float64
    ``precision`` and ``scores`` ``[T, R, K, A, M]`` and ``recall`` ``[T, K, A, M]`` for thresholds,
    recalls, classes, areas and limits. With two types of IoU, keys begin with ``bbox_`` or
    ``segm_``.

    Raises:
        ValueError: an argument is not allowed, or the dictionary of an image lacks a key, or holds
            what has another shape, dtype or length than it must have.
        RuntimeError: a box is not finite or has a negative side, or a score is NaN.

    >>> import torch
    >>> from fastmetrics.detection import MeanAveragePrecision
    >>> metric = MeanAveragePrecision()
    >>> box, label = torch.tensor([[258.0, 41.0, 606.0, 285.0]]), torch.tensor([0])
    >>> preds = [{"boxes": box, "scores": torch.tensor([0.536]), "labels": label}]
    >>> target = [{"boxes": torch.tensor([[214.0, 41.0, 562.0, 285.0]]), "labels": label}]
    >>> metric.update(preds, target)
    >>> values = metric.compute()
    >>> values["map"], values["map_50"], values["map_small"]
    (tensor(0.6000), tensor(1.), tensor(-1.))
    """

    is_differentiable = False
    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    warn_on_many_detections: bool = True
    statistic: Matches
    box_format = StatisticField[str]()
    iou_type = StatisticField[tuple[str, ...]]("iou_types")

    def __init__(
        self,
        box_format: str = "xyxy",
        iou_type: str | tuple[str, ...] = "bbox",
        iou_thresholds: list[float] | None = None,
        rec_thresholds: list[float] | None = None,
        max_detection_thresholds: list[int] | None = None,
        class_metrics: bool = False,
        extended_summary: bool = False,
        average: str = "macro",
        backend: str = "pycocotools",
        **kwargs: Any,
    ) -> None:
        statistic, self._settings = checked(
            box_format=box_format,
            iou_type=iou_type,
            iou_thresholds=iou_thresholds,
            rec_thresholds=rec_thresholds,
            max_detection_thresholds=max_detection_thresholds,
            class_metrics=class_metrics,
            extended_summary=extended_summary,
            average=average,
            backend=backend,
        )
        super().__init__(statistic, **kwargs)
        self.average = average
        self.backend = backend

    @property
    def iou_thresholds(self) -> list[float]:
        """The IoU of a hit."""
        return [*self.statistic.thresholds]

    @property
    def rec_thresholds(self) -> list[float]:
        """The recalls at which precision is read."""
        return self._settings.recalls

    @property
    def max_detection_thresholds(self) -> list[int]:
        """How many detections of a class and image count."""
        return self._settings.limits

    @property
    def class_metrics(self) -> bool:
        """Whether each class has values of its own."""
        return self._settings.class_metrics

    @property
    def extended_summary(self) -> bool:
        """Whether curves and IoU are part of the value."""
        return self._settings.extended

    @counts_only
    def update(  # type: ignore[override]  # images are no tensors
        self, preds: list[dict[str, Any]], target: list[dict[str, Any]]
    ) -> None:
        """Match one batch of images.

        Args:
            preds: one dictionary for each image.
            target: one dictionary for each image.

        Raises:
            ValueError: a dictionary lacks a key or holds what has another shape, dtype or length
                than it must have; the image is named.
            RuntimeError: a box is not finite or has a negative side, or a score is NaN.
        """
        self.statistic.add(self._states, preds, target)
        if self.warn_on_many_detections:
            warn_of_many(preds, self.statistic.max_dets)

    def compute(self) -> dict[str, Tensor]:
        """Return all values."""
        return evaluate(self.statistic, self._states, self._settings)
