"""Kendall's rank correlation coefficient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists, batches_of
from fastmetrics.functional.regression.kendall import check_kendall, order_correlation
from fastmetrics.ops.ranks import Samples
from fastmetrics.regression._bases import SampleMetric

__all__ = ["KendallRankCorrCoef"]


class KendallRankCorrCoef(SampleMetric):
    r"""Kendall's correlation: how many pairs of samples are in the same order, in [-1, 1].

    With C concordant and D discordant pairs out of :math:`n_0 = N (N - 1) / 2`, of which
    :math:`T_x` have equal predictions and :math:`T_y` equal targets, and m the smaller number of
    distinct values:

    .. math::
        \tau_a = \frac{C - D}{C + D} \quad
        \tau_b = \frac{C - D}{\sqrt{(n_0 - T_x) (n_0 - T_y)}} \quad
        \tau_c = \frac{2 (C - D)}{N^2 (m - 1) / m}

    ``preds`` and ``target`` are ``[N]``, or ``[N, D]`` with D outputs, of any real dtype. All of
    them are kept as they came, so memory grows with their number. NaN where predictions or targets
    are constant or one of them is NaN.

    Args:
        variant: ``"a"``, ``"b"`` or ``"c"``.
        t_test: whether the value is the pair of tau and its p-value.
        alternative: what to test for: ``"two-sided"``, ``"less"`` or ``"greater"``.
        num_outputs: D.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument other than these; ``compute`` without any update.

    >>> import torch
    >>> from fastmetrics.regression import KendallRankCorrCoef
    >>> metric = KendallRankCorrCoef(t_test=True)
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 1.0]))
    (tensor(0.3333), tensor(0.4969))
    """

    higher_is_better: bool | None = None  # both -1 and 1 are best

    def __init__(
        self,
        variant: str = "b",
        t_test: bool = False,
        alternative: str | None = "two-sided",
        num_outputs: int = 1,
        **kwargs: Any,
    ) -> None:
        chosen = check_kendall(variant, t_test, alternative)
        super().__init__(Samples(num_outputs), **kwargs)
        self.variant, self.alternative = chosen

    def _lists(self) -> Lists:
        """Return lists of columns, which torchmetrics keeps of one output, too."""

        def give(states: States) -> list[tuple[Tensor, ...]]:
            batches = batches_of({name: states.values[name] for name in ("preds", "target")})
            return [tuple(x.view(len(x), -1) for x in batch) for batch in batches]

        return replace(self.statistic.lists(), give=give)

    def compute(self) -> Tensor | tuple[Tensor, Tensor]:
        """Return tau, a scalar or ``[D]``, or the pair of it and its p-value."""
        samples = self.statistic.read(self._states)
        return order_correlation(*samples, self.num_outputs, self.variant, self.alternative)
