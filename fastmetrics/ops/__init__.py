"""The update ops: one module per statistic family."""

from fastmetrics.ops import backend
from fastmetrics.ops.confusion import confusion_, label_confusion_
from fastmetrics.ops.error_sums import error_sums_
from fastmetrics.ops.exact_match import exact_match_, label_exact_match_
from fastmetrics.ops.score_histogram import score_histogram_
from fastmetrics.ops.stat_scores import stat_scores_

backend.load()

__all__ = [
    "confusion_",
    "error_sums_",
    "exact_match_",
    "label_confusion_",
    "label_exact_match_",
    "score_histogram_",
    "stat_scores_",
]
