"""Segmentation metrics: how far predicted and true segments overlap, and how far they lie apart."""

from typing import TYPE_CHECKING

from fastmetrics.segmentation.dice import *
from fastmetrics.segmentation.generalized_dice import *
from fastmetrics.segmentation.hausdorff_distance import *
from fastmetrics.segmentation.mean_iou import *
from fastmetrics.utilities.lazy import exported, names_beside

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
