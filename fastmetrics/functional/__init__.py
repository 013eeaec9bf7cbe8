"""The stateless API: one call from predictions and targets to a value."""

from typing import TYPE_CHECKING

from fastmetrics.functional.classification import *
from fastmetrics.functional.regression import *
from fastmetrics.utilities.lazy import exported

if TYPE_CHECKING:
    from fastmetrics.functional import classification as classification
    from fastmetrics.functional import regression as regression
else:
    __all__ = exported(__name__)
