"""Metrics around metrics."""

from typing import TYPE_CHECKING

from fastmetrics.utilities.lazy import exported
from fastmetrics.wrappers.running import *

if not TYPE_CHECKING:
    __all__ = exported(__name__)
