"""Metrics for PyTorch: one compiled pass over the data, no host syncs, fixed-size states."""

from typing import TYPE_CHECKING

from fastmetrics import ops as ops
from fastmetrics.collections import MetricCollection
from fastmetrics.metric import Metric
from fastmetrics.utilities.lazy import lazy_names

if TYPE_CHECKING:
    from fastmetrics import aggregation as aggregation
    from fastmetrics import classification as classification
    from fastmetrics import diagnostics as diagnostics
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
    from fastmetrics.classification import AUROC as AUROC
    from fastmetrics.classification import ROC as ROC
    from fastmetrics.classification import Accuracy as Accuracy
    from fastmetrics.classification import AveragePrecision as AveragePrecision
    from fastmetrics.classification import CalibrationError as CalibrationError
    from fastmetrics.classification import CohenKappa as CohenKappa
    from fastmetrics.classification import ConfusionMatrix as ConfusionMatrix
    from fastmetrics.classification import ExactMatch as ExactMatch
    from fastmetrics.classification import F1Score as F1Score
    from fastmetrics.classification import FBetaScore as FBetaScore
    from fastmetrics.classification import HammingDistance as HammingDistance
    from fastmetrics.classification import HingeLoss as HingeLoss
    from fastmetrics.classification import JaccardIndex as JaccardIndex
    from fastmetrics.classification import LogAUC as LogAUC
    from fastmetrics.classification import MatthewsCorrCoef as MatthewsCorrCoef
    from fastmetrics.classification import NegativePredictiveValue as NegativePredictiveValue
    from fastmetrics.classification import Precision as Precision
    from fastmetrics.classification import PrecisionAtFixedRecall as PrecisionAtFixedRecall
    from fastmetrics.classification import PrecisionRecallCurve as PrecisionRecallCurve
    from fastmetrics.classification import Recall as Recall
    from fastmetrics.classification import RecallAtFixedPrecision as RecallAtFixedPrecision
    from fastmetrics.classification import SensitivityAtSpecificity as SensitivityAtSpecificity
    from fastmetrics.classification import Specificity as Specificity
    from fastmetrics.classification import SpecificityAtSensitivity as SpecificityAtSensitivity
    from fastmetrics.classification import StatScores as StatScores
    from fastmetrics.config import __version__ as __version__
    from fastmetrics.config import show_config as show_config
    from fastmetrics.diagnostics import GradientStats as GradientStats
    from fastmetrics.diagnostics import TopSamples as TopSamples
    from fastmetrics.regression import ConcordanceCorrCoef as ConcordanceCorrCoef
    from fastmetrics.regression import CosineSimilarity as CosineSimilarity
    from fastmetrics.regression import CriticalSuccessIndex as CriticalSuccessIndex
    from fastmetrics.regression import ExplainedVariance as ExplainedVariance
    from fastmetrics.regression import KLDivergence as KLDivergence
    from fastmetrics.regression import LogCoshError as LogCoshError
    from fastmetrics.regression import MeanAbsoluteError as MeanAbsoluteError
    from fastmetrics.regression import MeanAbsolutePercentageError as MeanAbsolutePercentageError
    from fastmetrics.regression import MeanSquaredError as MeanSquaredError
    from fastmetrics.regression import MeanSquaredLogError as MeanSquaredLogError
    from fastmetrics.regression import MinkowskiDistance as MinkowskiDistance
    from fastmetrics.regression import (
        NormalizedRootMeanSquaredError as NormalizedRootMeanSquaredError,
    )
    from fastmetrics.regression import PearsonCorrCoef as PearsonCorrCoef
    from fastmetrics.regression import R2Score as R2Score
    from fastmetrics.regression import RelativeSquaredError as RelativeSquaredError
    from fastmetrics.regression import (
        SymmetricMeanAbsolutePercentageError as SymmetricMeanAbsolutePercentageError,
    )
    from fastmetrics.regression import TweedieDevianceScore as TweedieDevianceScore
    from fastmetrics.regression import (
        WeightedMeanAbsolutePercentageError as WeightedMeanAbsolutePercentageError,
    )

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
    "AUROC",
    "Accuracy",
    "AveragePrecision",
    "CalibrationError",
    "CohenKappa",
    "ConfusionMatrix",
    "ExactMatch",
    "F1Score",
    "FBetaScore",
    "HammingDistance",
    "HingeLoss",
    "JaccardIndex",
    "LogAUC",
    "MatthewsCorrCoef",
    "NegativePredictiveValue",
    "Precision",
    "PrecisionAtFixedRecall",
    "PrecisionRecallCurve",
    "ROC",
    "Recall",
    "RecallAtFixedPrecision",
    "SensitivityAtSpecificity",
    "Specificity",
    "SpecificityAtSensitivity",
    "StatScores",
)
_DIAGNOSTICS = (
    "GradientStats",
    "TopSamples",
)
_REGRESSION = (
    "ConcordanceCorrCoef",
    "CosineSimilarity",
    "CriticalSuccessIndex",
    "ExplainedVariance",
    "KLDivergence",
    "KendallRankCorrCoef",
    "LogCoshError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogError",
    "MinkowskiDistance",
    "NormalizedRootMeanSquaredError",
    "PearsonCorrCoef",
    "R2Score",
    "RelativeSquaredError",
    "SpearmanCorrCoef",
    "SymmetricMeanAbsolutePercentageError",
    "TweedieDevianceScore",
    "WeightedMeanAbsolutePercentageError",
)

__all__ = [
    "Metric",
    "MetricCollection",
    "functional",
    "show_config",
    *_AGGREGATION,
    *_CLASSIFICATION,
    *_DIAGNOSTICS,
    *_REGRESSION,
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "__version__": "fastmetrics.config",
        "show_config": "fastmetrics.config",
        **dict.fromkeys(_AGGREGATION, "fastmetrics.aggregation"),
        **dict.fromkeys(_CLASSIFICATION, "fastmetrics.classification"),
        **dict.fromkeys(_DIAGNOSTICS, "fastmetrics.diagnostics"),
        **dict.fromkeys(_REGRESSION, "fastmetrics.regression"),
    },
    submodules=(
        "aggregation",
        "classification",
        "diagnostics",
        "functional",
        "regression",
        "wrappers",
    ),
)
