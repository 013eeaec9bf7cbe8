"""Metrics for PyTorch: one compiled pass over the data, no host syncs, fixed-size states."""

from typing import TYPE_CHECKING

from fastmetrics import ops as ops
from fastmetrics.collections import MetricCollection as MetricCollection
from fastmetrics.config import __version__ as __version__
from fastmetrics.config import show_config as show_config
from fastmetrics.metric import Metric as Metric
from fastmetrics.utilities.fallback import FallbackWarning as FallbackWarning
from fastmetrics.utilities.fallback import strict as strict
from fastmetrics.utilities.lazy import lazy_names

if TYPE_CHECKING:
    from fastmetrics import acceleration as acceleration
    from fastmetrics import aggregation as aggregation
    from fastmetrics import classification as classification
    from fastmetrics import diagnostics as diagnostics
    from fastmetrics import functional as functional
    from fastmetrics import regression as regression
    from fastmetrics import utilities as utilities
    from fastmetrics import wrappers as wrappers
    from fastmetrics.acceleration import *
    from fastmetrics.aggregation import *
    from fastmetrics.classification import *
    from fastmetrics.diagnostics import *
    from fastmetrics.regression import *

# Found in their domain only, as the metrics of one task are.
_IN_THEIR_DOMAIN = {
    "BaseAggregator",
    "ContinuousRankedProbabilityScore",
    "EER",
    "JensenShannonDivergence",
}


def _shows(name: str) -> bool:
    one_task = name.startswith(("Binary", "Multiclass", "Multilabel"))
    return not one_task and name not in _IN_THEIR_DOMAIN


if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        modules=("aggregation", "diagnostics", "regression", "classification", "acceleration"),
        own=(
            "FallbackWarning",
            "Metric",
            "MetricCollection",
            "functional",
            "show_config",
            "strict",
        ),
        shows=_shows,
    )
