"""Metrics for PyTorch: one compiled pass over the data, no host syncs, fixed-size states.

What the root shows is found when it is asked for; type checkers read it in ``__init__.pyi``.
"""

from fastmetrics import ops as ops
from fastmetrics.collections import MetricCollection as MetricCollection
from fastmetrics.config import __version__ as __version__
from fastmetrics.config import coverage as coverage
from fastmetrics.config import show_config as show_config
from fastmetrics.metric import Metric as Metric
from fastmetrics.utilities.fallback import FallbackWarning as FallbackWarning
from fastmetrics.utilities.fallback import strict as strict
from fastmetrics.utilities.lazy import lazy_names

# Found in their domain only, as the metrics of one task are.
_IN_THEIR_DOMAIN = {
    "AverageSurfaceDistance",
    "BaseAggregator",
    "CompleteIntersectionOverUnion",
    "ContinuousRankedProbabilityScore",
    "DiceScore",
    "DistanceIntersectionOverUnion",
    "EER",
    "EditDistance",
    "FeatureShare",
    "GeneralizedDiceScore",
    "GeneralizedIntersectionOverUnion",
    "HausdorffDistance",
    "IntersectionOverUnion",
    "JensenShannonDivergence",
    "LambdaInputTransformer",
    "MeanAveragePrecision",
    "MeanIoU",
    "MetricInputTransformer",
    "NormalizedSurfaceDice",
    "ROUGEScore",
    "Running",
}


def _shows(name: str) -> bool:
    one_task = name.startswith(("Binary", "Multiclass", "Multilabel"))
    return not one_task and name not in _IN_THEIR_DOMAIN


__getattr__, __dir__ = lazy_names(
    __name__,
    modules=(
        "aggregation",
        "wrappers",
        "diagnostics",
        "regression",
        "classification",
        "detection",
        "segmentation",
        "text",
        "acceleration",
    ),
    own=(
        "FallbackWarning",
        "Metric",
        "MetricCollection",
        "coverage",
        "functional",
        "show_config",
        "strict",
    ),
    shows=_shows,
)
