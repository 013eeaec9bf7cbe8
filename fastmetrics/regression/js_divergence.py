"""Jensen-Shannon divergence."""

from __future__ import annotations

import math
from typing import Any

from fastmetrics.ops.row_similarity import JS, JS_LOG
from fastmetrics.regression._bases import DivergenceMetric

__all__ = ["JensenShannonDivergence"]


class JensenShannonDivergence(DivergenceMetric):
    r"""Jensen-Shannon divergence of rows, with natural logarithms.

    .. math:: JS(p, q) = (KL(p, m) + KL(q, m)) / 2, \quad m = (p + q) / 2

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
        >>> from fastmetrics.regression import JensenShannonDivergence
        >>> metric = JensenShannonDivergence()
        >>> metric(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]]))
        tensor(0.0338)
    """

    plot_upper_bound = math.log(2)

    def __init__(
        self, log_prob: bool = False, reduction: str | None = "mean", **kwargs: Any
    ) -> None:
        super().__init__((JS, JS_LOG), log_prob, reduction, **kwargs)
