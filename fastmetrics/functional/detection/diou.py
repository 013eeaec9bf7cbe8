"""Distance intersection over union of boxes.

Source: Z. Zheng et al., Distance-IoU Loss, AAAI 2020.
"""

from __future__ import annotations

from fastmetrics.functional.detection._overlaps import OverlapFunction, overlap
from fastmetrics.ops.box_overlaps import DIOU

__all__ = ["distance_intersection_over_union"]

distance_intersection_over_union: OverlapFunction = overlap(
    "distance_intersection_over_union",
    DIOU,
    """Distance intersection over union of pairs of boxes.

    ``DIoU = IoU - d^2 / c^2``, in (-1, 1].

    ``d`` is the distance of the centers, ``c`` the diagonal of the smallest box around both.""",
    shows="tensor(0.5884)",
)
