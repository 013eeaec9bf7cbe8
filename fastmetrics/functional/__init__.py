"""The stateless API: one call from predictions and targets to a value."""

from typing import TYPE_CHECKING

from fastmetrics.functional.classification import *
from fastmetrics.functional.regression import *
from fastmetrics.utilities.lazy import exported

if not TYPE_CHECKING:
    __all__ = exported(__name__)
