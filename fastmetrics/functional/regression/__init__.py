"""The stateless API of the regression metrics, and their formulas."""

from fastmetrics.functional.regression.concordance import concordance_corrcoef
from fastmetrics.functional.regression.explained_variance import explained_variance
from fastmetrics.functional.regression.nrmse import normalized_root_mean_squared_error
from fastmetrics.functional.regression.pearson import pearson_corrcoef
from fastmetrics.functional.regression.r2 import r2_score
from fastmetrics.functional.regression.rse import relative_squared_error

__all__ = [
    "concordance_corrcoef",
    "explained_variance",
    "normalized_root_mean_squared_error",
    "pearson_corrcoef",
    "r2_score",
    "relative_squared_error",
]
