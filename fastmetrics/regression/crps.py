"""Continuous ranked probability score."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.keywords import adds
from fastmetrics.core.statistic import check_declared
from fastmetrics.functional.regression.crps import sample_scores, score_sums
from fastmetrics.metric import Metric
from fastmetrics.ops.faults import report_weight_sums

__all__ = ["ContinuousRankedProbabilityScore"]


class ContinuousRankedProbabilityScore(Metric):
    """Mean continuous ranked probability score of ensembles.

    ``mean(E|X - target| - E|X - X'| / 2)``, with X and X' drawn from the members of a sample.
    ``update(preds, target)`` takes M >= 2 members for each sample, ``[N, M]``, and true values
    ``[N]``, of any real type. The value has the dtype of ``set_dtype``, float32 by default.

    Args:
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        RuntimeError: ``preds`` and ``target`` of an update differ in N.
        ValueError: ``preds`` is not ``[N, M]`` with M >= 2, or the inputs are not real.

    >>> import torch
    >>> from fastmetrics.regression import ContinuousRankedProbabilityScore
    >>> metric = ContinuousRankedProbabilityScore()
    >>> metric(torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.5, 3.0]]), torch.tensor([2.0, 1.0]))
    tensor(0.4167)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    fused_update = True
    _exact_states = ("score", "total")
    plot_lower_bound = 0.0
    score: Tensor
    total: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("score", "total"):  # the sum of the scores, and their number
            self.add_state(
                name,
                torch.zeros(1, dtype=torch.float64, device=self._default_device),
                dist_reduce_fx="sum",
            )

    _check_states = check_declared

    @adds("weight")
    def update(self, preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> None:
        """Add one batch; ``weight`` is ``[N]``."""
        scores = sample_scores(type(self).__name__, preds.detach(), target.detach())
        score, total = score_sums(scores, weight)
        torch._foreach_add_([self.score, self.total], [score, total])  # or an interrupt parts them

    def _report(self) -> None:
        report_weight_sums(type(self).__name__, self.total.view(1, 1), 0)

    def compute(self) -> Tensor:
        """Return the mean score."""
        return (self.score / self.total).to(self.dtype)
