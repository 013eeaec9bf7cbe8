"""Root mean squared error in units of the target."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from torch import Tensor

from fastmetrics.functional.regression.nrmse import check_nrmse, flattened, nrmse_formula
from fastmetrics.regression._moments import MomentsMetric

__all__ = ["NormalizedRootMeanSquaredError"]


class NormalizedRootMeanSquaredError(MomentsMetric):
    """Root mean squared error ``sqrt(mean((y - f)^2))``, divided by a scale of the target.

    ``preds`` f and ``target`` y have any shape for one output, ``[N, D]`` for D. The value is
    infinite or NaN where the scale is zero.

    Args:
        normalization: the scale: ``"mean"``, ``"range"`` (largest less smallest), ``"std"`` (of the
            population) or ``"l2"`` (the root of the sum of squares) of the target.
        num_outputs: D.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: other values of the arguments.

    >>> import torch
    >>> from fastmetrics.regression import NormalizedRootMeanSquaredError
    >>> metric = NormalizedRootMeanSquaredError(normalization="range")
    >>> metric(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0, 2.0, 2.0]))
    tensor(0.2500)
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(self, normalization: str = "mean", num_outputs: int = 1, **kwargs: Any) -> None:
        check_nrmse(normalization, num_outputs)
        super().__init__(num_outputs, **kwargs)
        self.normalization = normalization
        self.num_outputs = num_outputs

    def update(self, preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            preds: predictions, any shape for one output, ``[N, D]`` for D; any real dtype.
            target: the truth, in the same shape.
            weight: how much each sample counts, ``[N]``, for ``preds`` ``[N]`` or ``[N, D]``.

        Raises:
            ValueError: the shape is not that of the outputs, or a dtype is not real.
            RuntimeError: ``preds`` and ``target`` have different shapes.
        """
        if self.num_outputs == 1:
            preds, target = flattened(preds, target)
        super().update(preds, target, weight=weight)

    def compute(self) -> Tensor:
        """Return the error, a scalar, or ``[D]``."""
        return nrmse_formula(self._final(), self.normalization, self._wide)

    def _statistic(self) -> Hashable:
        return "flat co_moments" if self.num_outputs == 1 else super()._statistic()
