"""Several statistics of one batch: the launchers of their ops, one after the other.

There is no kernel of its own: launches wait for nothing, and no kernel here raises for what a batch
holds, so that after the checks every state changes.
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.ops.backend import launcher_of
from fastmetrics.ops.fused import jobs_of
from fastmetrics.ops.triton.replay import replayable


@replayable
def fused_(
    states: list[Tensor], events: list[Tensor], edges: list[Tensor], preds: Tensor, target: Tensor,
    weight: Tensor | None, program: list[int], numbers: list[float],
) -> None:  # fmt: skip
    """GPU side of `fused_`."""
    for family, written, arguments in jobs_of(states, events, edges, program, numbers):
        launcher_of(family.op)(*written, preds, target, weight, *arguments)
