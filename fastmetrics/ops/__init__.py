"""The update ops: one module per statistic family."""

from fastmetrics.ops import backend
from fastmetrics.ops.co_moments import co_moments_, merge_co_moments_
from fastmetrics.ops.confusion import confusion_, label_confusion_
from fastmetrics.ops.exact_match import exact_match_, label_exact_match_
from fastmetrics.ops.score_histogram import score_histogram_
from fastmetrics.ops.stat_scores import stat_scores_

backend.load()

__all__ = [
    "co_moments_",
    "confusion_",
    "exact_match_",
    "label_confusion_",
    "label_exact_match_",
    "merge_co_moments_",
    "score_histogram_",
    "stat_scores_",
]
