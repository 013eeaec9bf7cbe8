"""The GPU kernels of the update ops, written in Triton; imported at the first call on a GPU.

Module names are those of :mod:`fastmetrics.ops`, whose references define what each kernel computes.
"""

from fastmetrics.ops.triton.aggregate import aggregate_
from fastmetrics.ops.triton.calibration import calibration_bins_
from fastmetrics.ops.triton.co_moments import co_moments_, merge_co_moments_
from fastmetrics.ops.triton.confusion import confusion_, label_confusion_
from fastmetrics.ops.triton.curve import curve_areas_
from fastmetrics.ops.triton.error_sums import error_sums_
from fastmetrics.ops.triton.exact_match import exact_match_, label_exact_match_
from fastmetrics.ops.triton.fused import fused_
from fastmetrics.ops.triton.hinge import hinge_sums_
from fastmetrics.ops.triton.keep_scores import keep_scores_
from fastmetrics.ops.triton.ranking import ranking_sums_
from fastmetrics.ops.triton.row_similarity import row_similarity_
from fastmetrics.ops.triton.score_histogram import score_histogram_, score_image_histogram_
from fastmetrics.ops.triton.stat_scores import stat_scores_
from fastmetrics.ops.triton.tensor_stats import tensor_stats_

__all__ = [
    "aggregate_",
    "calibration_bins_",
    "co_moments_",
    "confusion_",
    "curve_areas_",
    "error_sums_",
    "exact_match_",
    "fused_",
    "hinge_sums_",
    "keep_scores_",
    "label_confusion_",
    "label_exact_match_",
    "merge_co_moments_",
    "ranking_sums_",
    "row_similarity_",
    "score_histogram_",
    "score_image_histogram_",
    "stat_scores_",
    "tensor_stats_",
]
