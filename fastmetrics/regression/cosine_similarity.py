"""Cosine similarity."""

from __future__ import annotations

from typing import Any

from fastmetrics.ops.row_similarity import COSINE
from fastmetrics.regression._bases import RowMetric

__all__ = ["CosineSimilarity"]


class CosineSimilarity(RowMetric):
    r"""Cosine similarity :math:`p \cdot q / (|p| |q|)` of rows; NaN for a row of zeros.

    ``update(preds, target)`` takes ``[N, D]`` of any real dtype. A mean or a sum keeps three
    numbers, ``"none"`` a value per row. The value is float64 once an input was.

    Args:
        reduction: ``"sum"`` or ``"mean"`` over all rows, ``"none"`` or None for a value per row.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: an unknown ``reduction``.

    Example:
        >>> import torch
        >>> from fastmetrics.regression import CosineSimilarity
        >>> metric = CosineSimilarity(reduction="mean")
        >>> metric(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor(0.5000)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, reduction: str | None = "sum", **kwargs: Any) -> None:
        super().__init__(COSINE, reduction, **kwargs)
