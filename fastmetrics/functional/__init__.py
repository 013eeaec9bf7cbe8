"""The stateless API: one call from predictions and targets to a value."""

from fastmetrics.functional import classification, regression
from fastmetrics.functional.classification import *  # noqa: F403  (the domain's __all__)
from fastmetrics.functional.regression import *  # noqa: F403  (the domain's __all__)

__all__ = [*classification.__all__, *regression.__all__]
