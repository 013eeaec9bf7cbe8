"""Jensen-Shannon divergence of the rows of two matrices.

Source: Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on Information
Theory 37 (1991).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional.regression._rows import (
    REDUCTIONS,
    batch_rows,
    divergence_dtype,
    keeps_rows,
    reduce_rows,
)
from fastmetrics.ops.row_similarity import JS, JS_LOG
from fastmetrics.utilities.checks import check_choice

__all__ = ["jensen_shannon_divergence"]


def jensen_shannon_divergence(
    p: Tensor,
    q: Tensor,
    log_prob: bool = False,
    reduction: str | None = "mean",
    *,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Return the Jensen-Shannon divergence of each pair of rows, reduced.

    .. math:: JS(p, q) = (KL(p, m) + KL(q, m)) / 2, \quad m = (p + q) / 2

    Worked out in float64, with natural logarithms. Terms of probability 0 are 0.

    Args:
        p: distributions ``[N, D]``, any real dtype; divided by their sums unless ``log_prob``.
        q: the distributions to compare them with, likewise.
        log_prob: whether the inputs are logarithms of probabilities, which are taken as
            normalised.
        reduction: ``"mean"`` or ``"sum"`` over the rows, ``"none"`` or None for a value per row.
        weight: how much each row counts in a mean or sum, ``[N]``.

    Returns:
        A scalar, or ``[N]``; float64 if an input is, else float32. Differentiable in both inputs.

    Raises:
        RuntimeError: the shapes differ.
        ValueError: an unknown ``reduction``, inputs of another shape, or complex ones.

    Example:
        >>> import torch
        >>> from fastmetrics.functional.regression import jensen_shannon_divergence
        >>> jensen_shannon_divergence(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]]))
        tensor(0.0338)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    state = batch_rows(p, q, JS_LOG if log_prob else JS, keeps_rows(reduction), weight)
    return reduce_rows(state, reduction).to(divergence_dtype(p, q))
