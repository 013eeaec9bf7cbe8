"""What the similarities of rows share: the values of one batch, and their reduction."""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.ops import row_similarity_
from fastmetrics.ops.checks import check_weight
from fastmetrics.ops.row_similarity import check_row_similarity, row_values

REDUCTIONS = ("mean", "sum", "none", None)


def needs_grad(*values: object) -> bool:
    """Whether autograd is to follow what is worked out of these values."""
    return torch.is_grad_enabled() and any(
        isinstance(value, Tensor) and value.requires_grad for value in values
    )


def keeps_rows(reduction: str | None) -> bool:
    """Whether the value is that of each row."""
    return reduction in ("none", None)


def divergence_dtype(p: Tensor, q: Tensor) -> torch.dtype:
    """Return float64 if either input is, else float32."""
    return torch.float64 if torch.float64 in (p.dtype, q.dtype) else torch.float32


def batch_rows(
    preds: Tensor, target: Tensor, kind: int, apart: bool, weight: Tensor | None = None
) -> Tensor:
    """Return the values of the rows ``[N, 1]``, or their sum and number ``[2]``, float64.

    With ``weight`` ``[N]`` these are the weighted sum and the sum of the weights.

    Raises as :func:`fastmetrics.ops.row_similarity.row_similarity_`; ``ValueError`` also for a
    weight that does not fit, or where rows stay apart.
    """
    if weight is not None:
        if apart:
            raise ValueError("`weight` needs `reduction` to be 'mean' or 'sum', got neither.")
        rows = batch_rows(preds, target, kind, apart=True)[:, 0]
        check_weight("row_similarity_", rows, weight, len(rows))
        amounts = weight.double()
        return torch.stack(((rows * amounts).sum(), amounts.sum()))
    shape = (preds.shape[0] if preds.ndim else 0, 1) if apart else (2,)
    state = torch.zeros(shape, dtype=torch.float64, device=preds.device)
    if not needs_grad(preds, target):
        row_similarity_(state, preds, target, kind)
        return state
    check_row_similarity(state, preds, target, kind)
    values = row_values(preds, target, kind)
    if apart:
        return values.unsqueeze(-1)
    return torch.stack((values.sum(), torch.full_like(values, 1.0).sum()))


def reduce_rows(state: Tensor, reduction: str | None) -> Tensor:
    """Return the value of what :func:`batch_rows` or a metric has found, float64."""
    if keeps_rows(reduction):
        return state[:, 0]
    return state[0] / state[1] if reduction == "mean" else state[0]
