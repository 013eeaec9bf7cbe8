"""Complete intersection over union of boxes.

Source: Z. Zheng et al., Distance-IoU Loss, AAAI 2020.
"""

from __future__ import annotations

from fastmetrics.functional.detection._overlaps import OverlapFunction, overlap
from fastmetrics.ops.box_overlaps import CIOU

__all__ = ["complete_intersection_over_union"]

complete_intersection_over_union: OverlapFunction = overlap(
    "complete_intersection_over_union",
    CIOU,
    """Complete intersection over union of pairs of boxes.

    ``CIoU = DIoU - v^2 / (1 - IoU + v)``, in (-2, 1].

    ``v = 4 / pi^2 * (atan(w1 / h1) - atan(w2 / h2))^2`` compares the aspects.""",
    shows="tensor(0.5882)",
)
