"""Continuous ranked probability score.

Source: Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, Journal of
the American Statistical Association 102 (2007), section 4.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.ops.checks import check_weight
from fastmetrics.ops.differences import difference
from fastmetrics.ops.faults import report_weight_sums, weight_or_nan
from fastmetrics.utilities.dtypes import result_dtype

__all__ = ["continuous_ranked_probability_score"]


def sample_scores(owner: str, preds: Tensor, target: Tensor) -> Tensor:
    """Return the score of each sample, float64 ``[N]``.

    With M members x sorted, the sum of ``|x_i - x_j|`` over all pairs is that of
    ``2 (2k - M - 1) x_k`` over k = 1 .. M, which needs no pairs.

    Raises:
        RuntimeError: ``preds`` and ``target`` differ in N.
        ValueError: ``preds`` is not ``[N, M]`` with M >= 2, or the inputs are not real.
    """
    if preds.ndim != 2 or preds.shape[1] < 2:
        raise ValueError(
            f"{owner}: `preds` must have shape (N, M) with at least 2 ensemble members, got"
            f" {tuple(preds.shape)}."
        )
    if target.shape != preds.shape[:1]:
        raise RuntimeError(
            f"{owner}: `target` must have shape ({preds.shape[0]},), got {tuple(target.shape)}."
        )
    if preds.is_complex() or target.is_complex():
        raise ValueError(
            f"{owner}: `preds` and `target` must be real tensors, got {preds.dtype} and"
            f" {target.dtype}."
        )
    members = preds.shape[1]
    # Around the target the numbers are small, and nothing else depends on where zero lies.
    errors = difference(preds, target.unsqueeze(1)).sort(dim=1).values
    ranks = torch.arange(1 - members, members, 2, dtype=torch.float64, device=preds.device)
    return (errors.abs() * members - errors * ranks).sum(1) / members**2


def score_sums(scores: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the sum of the scores ``[N]`` and their number, weighted if there are weights.

    Raises:
        ValueError: ``weight`` is not real, or not ``[N]``.
    """
    if weight is None:
        return scores.sum(), scores.new_full((), len(scores))
    check_weight("continuous_ranked_probability_score", scores, weight, len(scores))
    amounts = weight_or_nan(weight)
    return (scores * amounts).sum(), amounts.sum()


@public
def continuous_ranked_probability_score(
    preds: Tensor, target: Tensor, *, weight: Tensor | None = None
) -> Tensor:
    """Mean continuous ranked probability score of ensembles.

    ``mean(E|X - target| - E|X - X'| / 2)``, with X and X' drawn from the members of a sample.

    Args:
        preds: M >= 2 members for each sample, any real type, ``[N, M]``.
        target: true values ``[N]``.
        weight: how much each sample counts, ``[N]``.

    Returns:
        A scalar, float64 if an input is and float32 otherwise; it carries gradients.

    Raises:
        RuntimeError: ``preds`` and ``target`` differ in N.
        ValueError: ``preds`` is not ``[N, M]`` with M >= 2, or the inputs are not real.

    >>> import torch
    >>> from fastmetrics.functional.regression import continuous_ranked_probability_score
    >>> preds = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.5, 3.0]])
    >>> continuous_ranked_probability_score(preds, torch.tensor([2.0, 1.0]))
    tensor(0.4167)
    """
    scores = sample_scores("continuous_ranked_probability_score", preds, target)
    if weight is None:
        return scores.mean().to(result_dtype(preds, target))
    score, total = score_sums(scores, weight)
    report_weight_sums("continuous_ranked_probability_score", total.view(1, 1), 0)
    return (score / total).to(result_dtype(preds, target))
