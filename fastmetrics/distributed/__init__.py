"""Metric states of several processes: synchronised while they run, or saved and merged later."""

from typing import TYPE_CHECKING

from fastmetrics.distributed.gathering import *
from fastmetrics.distributed.packets import *
from fastmetrics.distributed.pending import *
from fastmetrics.distributed.saved import *
from fastmetrics.utilities.lazy import exported

if not TYPE_CHECKING:
    __all__ = exported(__name__)
