"""The stateless API of the segmentation metrics, and their formulas."""

from typing import TYPE_CHECKING

from fastmetrics.functional.segmentation.dice import *
from fastmetrics.functional.segmentation.generalized_dice import *
from fastmetrics.functional.segmentation.hausdorff_distance import *
from fastmetrics.functional.segmentation.mean_iou import *
from fastmetrics.utilities.lazy import exported, names_beside

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
