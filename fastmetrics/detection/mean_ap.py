"""Mean average precision of detections.

Arguments are explained in :func:`fastmetrics.functional.detection.map.mean_average_precision`.

Source: T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.core.statistic import counts_only
from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.detection._coco_files import read, write
from fastmetrics.functional.detection._confusions import confusions
from fastmetrics.functional.detection.map import (
    BACKENDS,
    checked,
    evaluate,
    precision_over_recall,
    warn_of_many,
)
from fastmetrics.ops.detections import KEYS
from fastmetrics.ops.kept_matches import Matches
from fastmetrics.utilities._figures import new_axis
from fastmetrics.utilities.checks import check_bool, check_choice

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

    Args:
        box_format: "xyxy", "xywh" or "cxcywh".
        iou_type: "bbox", "segm" or both.
        iou_thresholds: of a hit; 0.5, 0.55, ..., 0.95 by default.
        rec_thresholds: at which precision is read; 0, 0.01, ..., 1 by default.
        max_detection_thresholds: three limits of detections of a class and image; 1, 10, 100.
        class_metrics: whether each class has values of its own.
        extended_summary: whether IoU, precision, recall and scores are part of the value.
        average: "macro", or "micro": all classes as one.
        backend: "pycocotools" or "faster_coco_eval"; both name the same kernels.
        keep_inputs: whether references to all images are kept, of which ``tm_to_coco`` makes files
            and ``confusion_matrix`` a table.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

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
        *,
        keep_inputs: bool = False,
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
        check_bool("keep_inputs", keep_inputs)
        super().__init__(statistic, **kwargs)
        self.average = average
        self.backend = backend
        self._images: tuple[list[dict[str, Any]], ...] | None = ([], []) if keep_inputs else None

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
        if self._images is not None:
            self._images[0].extend(preds)
            self._images[1].extend(target)
        if self.warn_on_many_detections:
            warn_of_many(preds, self.statistic.max_dets)

    def compute(self) -> dict[str, Any]:
        """Return all values."""
        return evaluate(self.statistic, self._states, self._settings)

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        if self._images is not None:
            self._images = [], []

    def tm_to_coco(self, name: str = "tm_map_input") -> None:
        """Write the images that came as files of COCO's format.

        They are ``NAME_preds.json``, a list of detections, and ``NAME_target.json``, ground truths
        with images and categories; masks are run lengths. Images are those of this process.

        Raises:
            RuntimeError: the metric was made without ``keep_inputs=True``.
        """
        preds, target = self._inputs("tm_to_coco")
        write(name, preds, target, self.box_format, self.iou_type)

    @staticmethod
    def coco_to_tm(
        coco_preds: str,
        coco_target: str,
        iou_type: str | tuple[str, ...] = ("bbox",),
        backend: str = "pycocotools",
    ) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
        """Read files of COCO's format as ``preds`` and ``target`` of an update.

        Boxes are (x, y, width, height): the metric needs ``box_format="xywh"``.

        Args:
            coco_preds: path of a list of detections.
            coco_target: path of ground truths with their images.
            iou_type: "bbox", "segm" or both: what is read.
            backend: "pycocotools" or "faster_coco_eval", which read alike.

        Returns:
            Both sides of each image that has ground truths, in the order of the file.

        Raises:
            ValueError: an argument is not allowed.
        """
        types = (iou_type,) if isinstance(iou_type, str) else tuple(iou_type)
        for each in types:
            check_choice("iou_type", each, KEYS)
        check_choice("backend", backend, BACKENDS)
        return read(coco_preds, coco_target, types)

    def confusion_matrix(self, iou: float = 0.5, score: float = 0.25) -> Tensor:
        """Return how often a class was taken for another one.

        Of detections with a higher score than ``score``, and pairs with a higher IoU than ``iou``,
        those match that overlap most, whatever their classes, each detection and ground truth
        once; boxes are compared. Images are those of this process.

        Returns:
            int64 ``[K + 1, K + 1]``, detected class by true class, in the order of ``classes``;
            the last row counts what was missed, the last column what is not there.

        Raises:
            RuntimeError: the metric was made without ``keep_inputs=True``.
            ValueError: it compares masks alone.

        >>> import torch
        >>> from fastmetrics.detection import MeanAveragePrecision
        >>> metric = MeanAveragePrecision(keep_inputs=True)
        >>> boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [50.0, 0.0, 59.0, 9.0]])
        >>> truth = {"boxes": boxes, "labels": torch.tensor([3, 5])}
        >>> metric.update([truth | {"scores": torch.tensor([0.9, 0.1])}], [truth])
        >>> metric.confusion_matrix()
        tensor([[1, 0, 0],
                [0, 0, 0],
                [0, 1, 0]])
        """
        preds, target = self._inputs("confusion_matrix")
        if "bbox" not in self.iou_type:
            raise ValueError('`confusion_matrix` compares boxes, but `iou_type` is "segm".')
        classes = self.statistic.classes(self._states)
        return confusions(preds, target, classes, self.box_format, iou=iou, score=score)

    def plot_precision_recall(
        self, label: int | None = None, iou: float = 0.5, ax: Any = None
    ) -> tuple[Any, Any]:
        """Draw precision over recall at one IoU threshold, of one class or of their mean.

        Args:
            label: of the class; None for the mean over all classes with ground truths.
            iou: the threshold, the nearest of ``iou_thresholds``.
            ax: axes to draw on.

        Returns:
            Figure and axes.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
            ValueError: no class of this label came.
        """
        recalls, precision = precision_over_recall(
            self.statistic, self._states, self._settings, label, iou
        )
        figure, ax = new_axis(ax)
        name = "mean of classes" if label is None else f"class {label}"
        ax.plot(recalls, precision.tolist(), label=f"{name}, IoU {iou:g}")
        ax.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.02))
        ax.legend()
        return figure, ax

    def _inputs(self, asking: str) -> tuple[list[dict[str, Any]], ...]:
        if self._images is None:
            raise RuntimeError(
                f"`{asking}` needs the images themselves: make the metric with `keep_inputs=True`."
            )
        return self._images
