"""Detection metrics: boxes, masks and panoptic maps against their ground truth."""

from typing import TYPE_CHECKING

from fastmetrics.detection.ciou import *
from fastmetrics.detection.diou import *
from fastmetrics.detection.giou import *
from fastmetrics.detection.iou import *
from fastmetrics.detection.mean_ap import *
from fastmetrics.detection.panoptic_qualities import *
from fastmetrics.utilities.lazy import exported, names_beside

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
