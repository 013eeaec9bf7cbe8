"""The stateless API of the detection metrics, and their formulas."""

from typing import TYPE_CHECKING

from fastmetrics.functional.detection.ciou import *
from fastmetrics.functional.detection.diou import *
from fastmetrics.functional.detection.giou import *
from fastmetrics.functional.detection.iou import *
from fastmetrics.functional.detection.map import *
from fastmetrics.functional.detection.panoptic_qualities import *
from fastmetrics.utilities.lazy import exported, names_beside

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
