"""Helpers shared by the metrics, under the import paths that user code knows."""

from fastmetrics.utilities.data import (
    dim_zero_cat,
    dim_zero_max,
    dim_zero_mean,
    dim_zero_min,
    dim_zero_sum,
)
from fastmetrics.utilities.prints import rank_zero_debug, rank_zero_info, rank_zero_warn

__all__ = [
    "dim_zero_cat",
    "dim_zero_max",
    "dim_zero_mean",
    "dim_zero_min",
    "dim_zero_sum",
    "rank_zero_debug",
    "rank_zero_info",
    "rank_zero_warn",
]
