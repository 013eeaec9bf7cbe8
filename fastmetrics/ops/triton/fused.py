"""Several statistics of one batch: the launchers of their ops, one after the other.

There is no kernel of its own: launches wait for nothing, and no kernel here raises for what a batch
holds, so that after the checks every state changes.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fastmetrics.ops.fused import jobs_of
from fastmetrics.ops.triton.calibration import calibration_bins_
from fastmetrics.ops.triton.co_moments import co_moments_
from fastmetrics.ops.triton.confusion import confusion_, label_confusion_
from fastmetrics.ops.triton.error_sums import error_sums_
from fastmetrics.ops.triton.score_histogram import score_histogram_
from fastmetrics.ops.triton.stat_scores import stat_scores_

LAUNCHERS: dict[str, Callable[..., None]] = {
    "stat_scores_": stat_scores_,
    "confusion_": confusion_,
    "label_confusion_": label_confusion_,
    "score_histogram_": score_histogram_,
    "calibration_bins_": calibration_bins_,
    "error_sums_": error_sums_,
    "co_moments_": co_moments_,
}


def fused_(
    states: list[Tensor],
    events: list[Tensor],
    edges: list[Tensor],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    program: list[int],
    numbers: list[float],
) -> None:
    """GPU side of `fused_`."""
    for family, written, arguments in jobs_of(states, events, edges, program, numbers):
        LAUNCHERS[family.op](*written, preds, target, weight, *arguments)
