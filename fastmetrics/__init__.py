"""Metrics for PyTorch: one compiled pass over the data, no host syncs, fixed-size states."""

from typing import TYPE_CHECKING

from fastmetrics import ops as ops
from fastmetrics.collections import MetricCollection
from fastmetrics.metric import Metric
from fastmetrics.utilities.lazy import lazy_names

if TYPE_CHECKING:
    from fastmetrics import aggregation as aggregation
    from fastmetrics import classification as classification
    from fastmetrics import functional as functional
    from fastmetrics import regression as regression
    from fastmetrics import utilities as utilities
    from fastmetrics import wrappers as wrappers
    from fastmetrics.aggregation import CatMetric as CatMetric
    from fastmetrics.aggregation import MaxMetric as MaxMetric
    from fastmetrics.aggregation import MeanMetric as MeanMetric
    from fastmetrics.aggregation import MinMetric as MinMetric
    from fastmetrics.aggregation import RunningMean as RunningMean
    from fastmetrics.aggregation import RunningSum as RunningSum
    from fastmetrics.aggregation import SumMetric as SumMetric
    from fastmetrics.classification import Accuracy as Accuracy
    from fastmetrics.classification import CohenKappa as CohenKappa
    from fastmetrics.classification import ConfusionMatrix as ConfusionMatrix
    from fastmetrics.classification import ExactMatch as ExactMatch
    from fastmetrics.classification import F1Score as F1Score
    from fastmetrics.classification import FBetaScore as FBetaScore
    from fastmetrics.classification import HammingDistance as HammingDistance
    from fastmetrics.classification import JaccardIndex as JaccardIndex
    from fastmetrics.classification import MatthewsCorrCoef as MatthewsCorrCoef
    from fastmetrics.classification import NegativePredictiveValue as NegativePredictiveValue
    from fastmetrics.classification import Precision as Precision
    from fastmetrics.classification import Recall as Recall
    from fastmetrics.classification import Specificity as Specificity
    from fastmetrics.classification import StatScores as StatScores
    from fastmetrics.config import __version__ as __version__
    from fastmetrics.config import show_config as show_config
    from fastmetrics.regression import CosineSimilarity as CosineSimilarity
    from fastmetrics.regression import KLDivergence as KLDivergence

_AGGREGATION = (
    "CatMetric",
    "MaxMetric",
    "MeanMetric",
    "MinMetric",
    "RunningMean",
    "RunningSum",
    "SumMetric",
)
_CLASSIFICATION = (
    "Accuracy",
    "CohenKappa",
    "ConfusionMatrix",
    "ExactMatch",
    "F1Score",
    "FBetaScore",
    "HammingDistance",
    "JaccardIndex",
    "MatthewsCorrCoef",
    "NegativePredictiveValue",
    "Precision",
    "Recall",
    "Specificity",
    "StatScores",
)
_REGRESSION = (
    "CosineSimilarity",
    "KLDivergence",
)

__all__ = [
    "Metric",
    "MetricCollection",
    "functional",
    "show_config",
    *_AGGREGATION,
    *_CLASSIFICATION,
    *_REGRESSION,
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "__version__": "fastmetrics.config",
        "show_config": "fastmetrics.config",
        **dict.fromkeys(_AGGREGATION, "fastmetrics.aggregation"),
        **dict.fromkeys(_CLASSIFICATION, "fastmetrics.classification"),
        **dict.fromkeys(_REGRESSION, "fastmetrics.regression"),
    },
    submodules=("aggregation", "classification", "functional", "regression", "wrappers"),
)
