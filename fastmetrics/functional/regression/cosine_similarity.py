"""Cosine similarity of the rows of two matrices.

Source: Salton and McGill, Introduction to Modern Information Retrieval, McGraw-Hill 1983.
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.core.statistic import count_with_gradients
from fastmetrics.functional._public import public
from fastmetrics.ops.row_similarity import COSINE, RowSimilarity
from fastmetrics.utilities.dtypes import result_dtype

__all__ = ["cosine_similarity"]


@public
def cosine_similarity(
    preds: Tensor,
    target: Tensor,
    reduction: str | None = "sum",
    *,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Return the cosine similarity :math:`p \cdot q / (|p| |q|)` of each pair of rows, reduced.

    Worked out in float64; a row of zeros has none, which makes it NaN.

    Args:
        preds: ``[N, D]``, any real dtype.
        target: ``[N, D]``, any real dtype.
        reduction: ``"sum"`` or ``"mean"`` over the rows, ``"none"`` or None for a value per row.
        weight: how much each row counts in a mean or sum, ``[N]``.

    Returns:
        A scalar, or ``[N]``; float64 if an input is, else float32. Differentiable in both inputs.

    Raises:
        RuntimeError: the shapes differ.
        ValueError: an unknown ``reduction``, inputs of another shape, or complex ones.

    Example:
        >>> import torch
        >>> from fastmetrics.functional.regression import cosine_similarity
        >>> preds = torch.tensor([[1.0, 2.0, 3.0], [1.0, 0.0, 0.0]])
        >>> cosine_similarity(preds, torch.tensor([[2.0, 4.0, 6.0], [0.0, 1.0, 0.0]]), "none")
        tensor([1., 0.])
    """
    statistic = RowSimilarity.of(COSINE, reduction)
    states = count_with_gradients(statistic, "cosine_similarity", preds, target, weight)
    return statistic.read(states, reduction, result_dtype(preds, target))
