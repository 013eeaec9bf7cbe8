"""Metrics around metrics."""

from typing import TYPE_CHECKING

from fastmetrics.utilities.lazy import exported, names_beside
from fastmetrics.wrappers.bootstrapping import *
from fastmetrics.wrappers.classwise import *
from fastmetrics.wrappers.feature_share import *
from fastmetrics.wrappers.minmax import *
from fastmetrics.wrappers.multioutput import *
from fastmetrics.wrappers.multitask import *
from fastmetrics.wrappers.running import *
from fastmetrics.wrappers.tracker import *
from fastmetrics.wrappers.transformations import *

if not TYPE_CHECKING:
    __all__ = exported(__name__)
    __getattr__, __dir__ = names_beside(__name__)
