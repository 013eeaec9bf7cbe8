"""Several statistics of one batch: in one kernel where there is one, else one after the other.

The kernels of :mod:`fastmetrics.ops.triton.fused_rows` and
:mod:`fastmetrics.ops.triton.fused_pairs` read a batch once for the statistics that are asked for
together most. Other jobs take the launchers of their ops. Launches wait for nothing, and no kernel
here raises for what a batch holds, so that after the checks every state changes.
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.ops.backend import launcher_of
from fastmetrics.ops.fused import jobs_of
from fastmetrics.ops.triton import fused_pairs, fused_rows
from fastmetrics.ops.triton.replay import replayable


@replayable
def fused_(
    states: list[Tensor], events: list[Tensor], edges: list[Tensor], preds: Tensor, target: Tensor,
    weight: Tensor | None, program: list[int], numbers: list[float],
) -> None:  # fmt: skip
    """GPU side of `fused_`."""
    if not preds.numel():
        return
    jobs = jobs_of(states, events, edges, program, numbers)
    for kernel in (fused_rows, fused_pairs):
        while len(chosen := kernel.together(jobs, preds, target, weight)) > 1:
            kernel.update([jobs[place] for place in chosen], preds, target, weight)
            jobs = [job for place, job in enumerate(jobs) if place not in chosen]
    for family, written, arguments in jobs:
        launcher_of(family.op)(*written, preds, target, weight, *arguments)
