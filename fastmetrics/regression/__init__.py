"""Regression metrics."""

from fastmetrics.regression.concordance import (
    ConcordanceCorrCoef,
)
from fastmetrics.regression.cosine_similarity import (
    CosineSimilarity,
)
from fastmetrics.regression.crps import (
    ContinuousRankedProbabilityScore,
)
from fastmetrics.regression.csi import (
    CriticalSuccessIndex,
)
from fastmetrics.regression.explained_variance import (
    ExplainedVariance,
)
from fastmetrics.regression.js_divergence import (
    JensenShannonDivergence,
)
from fastmetrics.regression.kendall import (
    KendallRankCorrCoef,
)
from fastmetrics.regression.kl_divergence import (
    KLDivergence,
)
from fastmetrics.regression.log_cosh import (
    LogCoshError,
)
from fastmetrics.regression.log_mse import (
    MeanSquaredLogError,
)
from fastmetrics.regression.mae import (
    MeanAbsoluteError,
)
from fastmetrics.regression.mape import (
    MeanAbsolutePercentageError,
)
from fastmetrics.regression.minkowski import (
    MinkowskiDistance,
)
from fastmetrics.regression.mse import (
    MeanSquaredError,
)
from fastmetrics.regression.nrmse import (
    NormalizedRootMeanSquaredError,
)
from fastmetrics.regression.pearson import (
    PearsonCorrCoef,
)
from fastmetrics.regression.r2 import (
    R2Score,
)
from fastmetrics.regression.rse import (
    RelativeSquaredError,
)
from fastmetrics.regression.spearman import (
    SpearmanCorrCoef,
)
from fastmetrics.regression.symmetric_mape import (
    SymmetricMeanAbsolutePercentageError,
)
from fastmetrics.regression.tweedie_deviance import (
    TweedieDevianceScore,
)
from fastmetrics.regression.wmape import (
    WeightedMeanAbsolutePercentageError,
)

__all__ = [
    "ConcordanceCorrCoef",
    "ContinuousRankedProbabilityScore",
    "CosineSimilarity",
    "CriticalSuccessIndex",
    "ExplainedVariance",
    "JensenShannonDivergence",
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
]
