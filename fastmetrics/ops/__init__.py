"""The ops: one module per statistic family."""

from fastmetrics.ops import backend
from fastmetrics.ops.aggregate import aggregate_, aggregate_value_
from fastmetrics.ops.calibration import calibration_bins_
from fastmetrics.ops.co_moments import co_moments_, merge_co_moments_
from fastmetrics.ops.confusion import confusion_, label_confusion_
from fastmetrics.ops.curve import curve_areas_, curve_points_
from fastmetrics.ops.error_sums import error_sums_
from fastmetrics.ops.exact_match import exact_match_, label_exact_match_
from fastmetrics.ops.fused import fused_
from fastmetrics.ops.hinge import hinge_sums_
from fastmetrics.ops.keep_scores import keep_scores_
from fastmetrics.ops.ranking import ranking_sums_
from fastmetrics.ops.ranks import rank_moments_, rank_orders_
from fastmetrics.ops.row_similarity import row_similarity_
from fastmetrics.ops.score_histogram import score_histogram_, score_image_histogram_
from fastmetrics.ops.stat_scores import stat_scores_
from fastmetrics.ops.tensor_stats import tensor_stats_
from fastmetrics.ops.top_samples import merge_top_samples_, top_samples_

backend.load()

__all__ = [
    "aggregate_",
    "aggregate_value_",
    "calibration_bins_",
    "co_moments_",
    "confusion_",
    "curve_areas_",
    "curve_points_",
    "error_sums_",
    "exact_match_",
    "fused_",
    "hinge_sums_",
    "keep_scores_",
    "label_confusion_",
    "label_exact_match_",
    "merge_co_moments_",
    "merge_top_samples_",
    "rank_moments_",
    "rank_orders_",
    "ranking_sums_",
    "row_similarity_",
    "score_histogram_",
    "score_image_histogram_",
    "stat_scores_",
    "tensor_stats_",
    "top_samples_",
]
