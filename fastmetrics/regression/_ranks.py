"""The state that correlations of ranks share: all samples, as they came."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.functional.regression._ranks import of_one_dtype
from fastmetrics.metric import Metric
from fastmetrics.utilities.checks import check_int
from fastmetrics.utilities.data import dim_zero_cat


class KeptSamples(Metric):
    """Keeps copies of all predictions and targets, ``[N]`` for one output, else ``[N, D]``.

    Args:
        num_outputs: D.
        kwargs: as for :class:`fastmetrics.metric.Metric`.
    """

    is_differentiable = False
    full_state_update = False
    fused_update = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0
    preds: list[Tensor]
    target: list[Tensor]

    def __init__(self, num_outputs: int, **kwargs: Any) -> None:
        check_int("num_outputs", num_outputs, 1)
        super().__init__(**kwargs)
        self.num_outputs = num_outputs
        self.add_state("preds", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def _keep(self, preds: Tensor, target: Tensor) -> None:
        """Append copies, which later changes of the inputs do not reach."""
        if self.num_outputs == 1 and preds.ndim == 2:
            preds, target = preds[:, 0], target[:, 0]
        copies = [x.detach().clone() if x.requires_grad else x.clone() for x in (preds, target)]
        self.preds.append(copies[0])
        self.target.append(copies[1])

    def _kept(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the chunks of predictions and of targets, each of one dtype; at least one."""
        kept = []
        for state in (self.preds, self.target):
            # A synchronised state is one tensor; of no samples, this says so.
            whole = isinstance(state, Tensor) or not state
            kept.append([dim_zero_cat(state)] if whole else of_one_dtype(state))
        return kept[0], kept[1]
