"""Intersection over union of boxes.

Source: P. Jaccard, The distribution of the flora in the alpine zone, New Phytologist 1912.
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.detection._overlaps import of_kind
from fastmetrics.ops.box_overlaps import IOU

__all__ = ["intersection_over_union"]


@of_kind(IOU)
def intersection_over_union(  # type: ignore[empty-body]  # see `of_kind`
    preds: Tensor,
    target: Tensor,
    iou_threshold: float | None = None,
    replacement_val: float = 0,
    aggregate: bool = True,
) -> Tensor:
    """Intersection over union of pairs of boxes.

    ``IoU = |A & B| / |A | B|``, in [0, 1].

    ``|A & B|`` is the area that both boxes cover, ``|A | B|`` that which either does.

    Args:
        preds: boxes (x1, y1, x2, y2) in any real dtype, ``[N, 4]``.
        target: boxes ``[M, 4]``.
        iou_threshold: pairs below it get ``replacement_val``, if it is given.
        replacement_val: what they get.
        aggregate: whether the mean of box i of both is returned, instead of all pairs.

    Returns:
        A scalar, or ``[N, M]``; float64 if boxes are, else float32. Where one side has no boxes,
        each box of the other one counts 0.

    Raises:
        ValueError: boxes have another shape than ``(N, 4)``.

    >>> import torch
    >>> from fastmetrics.functional.detection import intersection_over_union
    >>> preds = torch.tensor([[296.55, 93.96, 314.97, 152.79], [328.94, 97.05, 342.49, 122.98]])
    >>> target = torch.tensor([[300.0, 100.0, 315.0, 150.0], [330.0, 100.0, 350.0, 125.0]])
    >>> intersection_over_union(preds, target)
    tensor(0.5992)
    """
