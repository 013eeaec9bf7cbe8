"""Regression metrics."""

from fastmetrics.regression.concordance import ConcordanceCorrCoef
from fastmetrics.regression.explained_variance import ExplainedVariance
from fastmetrics.regression.nrmse import NormalizedRootMeanSquaredError
from fastmetrics.regression.pearson import PearsonCorrCoef
from fastmetrics.regression.r2 import R2Score
from fastmetrics.regression.rse import RelativeSquaredError

__all__ = [
    "ConcordanceCorrCoef",
    "ExplainedVariance",
    "NormalizedRootMeanSquaredError",
    "PearsonCorrCoef",
    "R2Score",
    "RelativeSquaredError",
]
