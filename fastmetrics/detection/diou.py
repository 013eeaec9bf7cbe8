"""Distance intersection over union of the boxes of images."""

from __future__ import annotations

from fastmetrics.detection._overlaps import OverlapMetric
from fastmetrics.ops.box_overlaps import DIOU

__all__ = ["DistanceIntersectionOverUnion"]


class DistanceIntersectionOverUnion(OverlapMetric):
    """Mean distance intersection over union of the boxes of images.

    ``DIoU = IoU - d^2 / c^2``, in (-1, 1].

    The mean goes over pairs of one class in one image; see
    :func:`~fastmetrics.functional.detection.diou.distance_intersection_over_union`.
    An image in which one side has no boxes counts 0 for each box of the other one.

    ``update`` takes ``preds`` and ``target``, a dictionary for each image: ``boxes`` ``[N, 4]`` in
    any real dtype, and integer ``labels`` ``[N]``. ``compute`` returns ``{"diou": value}``,
    float32, and with ``class_metrics`` also ``"diou/cl_<label>"`` for each class.

    Args:
        box_format: "xyxy", "xywh" or "cxcywh".
        iou_threshold: pairs below it do not count, if it is given.
        class_metrics: whether each class has a value of its own.
        respect_labels: whether only pairs of one class count.

    Raises:
        ValueError: an argument is not allowed, or the dictionary of an image lacks a key, or holds
            what has another shape, dtype or length than it must have.

    >>> import torch
    >>> from fastmetrics.detection import DistanceIntersectionOverUnion
    >>> boxes = torch.tensor([[296.55, 93.96, 314.97, 152.79], [298.55, 98.96, 314.97, 151.79]])
    >>> preds = [{"boxes": boxes, "labels": torch.tensor([4, 5])}]
    >>> boxes = torch.tensor([[300.0, 100.0, 315.0, 150.0]])
    >>> target = [{"boxes": boxes, "labels": torch.tensor([5])}]
    >>> metric = DistanceIntersectionOverUnion()
    >>> metric(preds, target)
    {'diou': tensor(0.8611)}
    """

    kind = DIOU
    prefix = "diou"
