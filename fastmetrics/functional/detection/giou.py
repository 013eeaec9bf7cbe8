"""Generalized intersection over union of boxes.

Source: H. Rezatofighi et al., Generalized Intersection over Union, CVPR 2019.
"""

from __future__ import annotations

from fastmetrics.functional.detection._overlaps import OverlapFunction, overlap
from fastmetrics.ops.box_overlaps import GIOU

__all__ = ["generalized_intersection_over_union"]

generalized_intersection_over_union: OverlapFunction = overlap(
    "generalized_intersection_over_union",
    GIOU,
    """Generalized intersection over union of pairs of boxes.

    ``GIoU = IoU - (|C| - |A | B|) / |C|``, in (-1, 1].

    ``C`` is the smallest box around both.""",
    shows="tensor(0.5784)",
)
