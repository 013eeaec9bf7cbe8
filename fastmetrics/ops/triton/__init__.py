"""The GPU kernels of the update ops, written in Triton; imported at the first call on a GPU.

Module names are those of :mod:`fastmetrics.ops`, whose references define what each kernel computes.
"""

from fastmetrics.ops.triton.aggregate import aggregate_
from fastmetrics.ops.triton.confusion import confusion_, label_confusion_
from fastmetrics.ops.triton.exact_match import exact_match_, label_exact_match_
from fastmetrics.ops.triton.row_similarity import row_similarity_
from fastmetrics.ops.triton.score_histogram import score_histogram_
from fastmetrics.ops.triton.stat_scores import stat_scores_

__all__ = [
    "aggregate_",
    "confusion_",
    "exact_match_",
    "label_confusion_",
    "label_exact_match_",
    "row_similarity_",
    "score_histogram_",
    "stat_scores_",
]
