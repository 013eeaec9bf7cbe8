"""The stateless API: one call from predictions and targets to a value."""

from fastmetrics.functional import classification
from fastmetrics.functional.classification import *  # noqa: F403  (the domain's __all__)

__all__ = list(classification.__all__)
