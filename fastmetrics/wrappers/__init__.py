"""Metrics around metrics."""

from typing import TYPE_CHECKING

from fastmetrics.utilities.lazy import names_beside
from fastmetrics.wrappers.running import *

if not TYPE_CHECKING:
    __getattr__, __dir__ = names_beside(__name__)
