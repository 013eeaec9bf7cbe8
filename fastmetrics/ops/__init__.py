"""The update ops: one module per statistic family."""

from fastmetrics.ops import backend
from fastmetrics.ops.aggregate import aggregate_, aggregate_value_
from fastmetrics.ops.confusion import confusion_, label_confusion_
from fastmetrics.ops.exact_match import exact_match_, label_exact_match_
from fastmetrics.ops.row_similarity import row_similarity_
from fastmetrics.ops.score_histogram import score_histogram_
from fastmetrics.ops.stat_scores import stat_scores_

backend.load()

__all__ = [
    "aggregate_",
    "aggregate_value_",
    "confusion_",
    "exact_match_",
    "label_confusion_",
    "label_exact_match_",
    "row_similarity_",
    "score_histogram_",
    "stat_scores_",
]
