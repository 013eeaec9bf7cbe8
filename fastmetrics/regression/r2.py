"""R2, the share of the variance of the target that predictions account for."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastmetrics.functional.regression.r2 import check_r2, r2_formula
from fastmetrics.ops.co_moments import Moments
from fastmetrics.regression._bases import MomentsMetric
from fastmetrics.regression._upstream_states import R2

__all__ = ["R2Score"]


class R2Score(MomentsMetric):
    """R2, ``1 - sum((y - f)^2) / sum((y - mean(y))^2)``, at most 1.

    ``preds`` f and ``target`` y are ``[N]`` or ``[N, D]``; the first batch decides about D. The
    value needs two samples, else ``compute`` raises ``ValueError`` and ``forward`` returns NaN. A
    constant target gives 1 for perfect predictions, else 0.

    Args:
        adjusted: number of regressors k in ``1 - (1 - R2) (N - 1) / (N - k - 1)``; 0 for none.
        multioutput: ``"uniform_average"`` over the outputs, ``"variance_weighted"``, or
            ``"raw_values"`` ``[D]``.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: other values of the arguments.

    >>> import torch
    >>> from fastmetrics.regression import R2Score
    >>> metric = R2Score()
    >>> metric(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
    tensor(0.9486)
    """

    _upstream = R2
    higher_is_better = True
    plot_upper_bound = 1.0

    def __init__(
        self, adjusted: int = 0, multioutput: str = "uniform_average", **kwargs: Any
    ) -> None:
        check_r2(adjusted, multioutput)
        super().__init__(Moments(adapts=True), **kwargs)
        self.adjusted = adjusted
        self.multioutput = multioutput

    def _formula(self, moments: Tensor, wide: bool | None) -> Tensor:
        needs_two = not self._states.batch  # the last batch of an epoch may hold one sample
        return r2_formula(moments, self.adjusted, self.multioutput, wide, needs_two=needs_two)
