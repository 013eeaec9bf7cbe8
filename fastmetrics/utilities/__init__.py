"""Helpers shared by the metrics, under the import paths that user code knows."""

from typing import TYPE_CHECKING

from fastmetrics.utilities.data import (
    dim_zero_cat,
    dim_zero_max,
    dim_zero_mean,
    dim_zero_min,
    dim_zero_sum,
)
from fastmetrics.utilities.lazy import lazy_names
from fastmetrics.utilities.prints import rank_zero_debug, rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from fastmetrics.utilities.checks import (
        check_forward_full_state_property as check_forward_full_state_property,
    )
    from fastmetrics.utilities.distributed import class_reduce as class_reduce
    from fastmetrics.utilities.distributed import reduce as reduce

__all__ = [
    "check_forward_full_state_property",
    "class_reduce",
    "dim_zero_cat",
    "dim_zero_max",
    "dim_zero_mean",
    "dim_zero_min",
    "dim_zero_sum",
    "rank_zero_debug",
    "rank_zero_info",
    "rank_zero_warn",
    "reduce",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "check_forward_full_state_property": "fastmetrics.utilities.checks",
        "class_reduce": "fastmetrics.utilities.distributed",
        "reduce": "fastmetrics.utilities.distributed",
    },
    submodules=(
        "checks",
        "compute",
        "distributed",
        "enums",
        "exceptions",
        "imports",
        "plot",
    ),
)
