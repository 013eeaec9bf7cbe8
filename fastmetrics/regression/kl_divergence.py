"""Kullback-Leibler divergence."""

from __future__ import annotations

from typing import Any

from fastmetrics.ops.row_similarity import KL, KL_LOG
from fastmetrics.regression._bases import DivergenceMetric

__all__ = ["KLDivergence"]


class KLDivergence(DivergenceMetric):
    r"""Kullback-Leibler divergence of rows, with natural logarithms.

    .. math:: KL(p, q) = \sum_i p_i \log (p_i / q_i)

    ``update(p, q)`` takes ``[N, D]`` of any real dtype; terms of probability 0 are 0. A mean or a
    sum keeps two numbers, ``"none"`` a value per row. The value is float64 once an input was.

    Args:
        log_prob: whether the inputs are logarithms of probabilities, taken as normalised; otherwise
            rows are divided by their sums.
        reduction: ``"mean"`` or ``"sum"`` over all rows, ``"none"`` or None for a value per row.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        TypeError: ``log_prob`` is no bool.
        ValueError: an unknown ``reduction``.

    Example:
        >>> import torch
        >>> from fastmetrics.regression import KLDivergence
        >>> metric = KLDivergence()
        >>> metric(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]]))
        tensor(0.1438)
    """

    def __init__(
        self, log_prob: bool = False, reduction: str | None = "mean", **kwargs: Any
    ) -> None:
        super().__init__((KL, KL_LOG), log_prob, reduction, **kwargs)
