"""Helpers shared by the metrics, under the import paths that user code knows."""

from typing import TYPE_CHECKING

from fastmetrics.utilities.lazy import lazy_names

if TYPE_CHECKING:
    from fastmetrics.utilities.checks import *
    from fastmetrics.utilities.data import *
    from fastmetrics.utilities.distributed import *
    from fastmetrics.utilities.prints import *
else:
    __getattr__, __dir__ = lazy_names(__name__, modules=("checks", "data", "distributed", "prints"))
