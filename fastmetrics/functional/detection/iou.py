"""Intersection over union of boxes.

Source: P. Jaccard, The distribution of the flora in the alpine zone, New Phytologist 1912.
"""

from __future__ import annotations

from fastmetrics.functional.detection._overlaps import OverlapFunction, overlap
from fastmetrics.ops.box_overlaps import IOU

__all__ = ["intersection_over_union"]

intersection_over_union: OverlapFunction = overlap(
    "intersection_over_union",
    IOU,
    """Intersection over union of pairs of boxes.

    ``IoU = |A & B| / |A | B|``, in [0, 1].

    ``|A & B|`` is the area that both boxes cover, ``|A | B|`` that which either does.""",
    shows="tensor(0.5992)",
)
