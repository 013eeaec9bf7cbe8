"""Cohen's kappa; shared arguments are explained in ``confusion_matrix``.

Source: Cohen, A coefficient of agreement for nominal scales, Educational and Psychological
Measurement 20 (1960); ``weights``: Cohen, Weighted kappa, Psychological Bulletin 70 (1968).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.functional.classification._tasks import calls_its_task
from fastmetrics.functional.classification.confusion_matrix import of_matrix
from fastmetrics.utilities.checks import KAPPA_WEIGHTS, check_choice

__all__ = ["binary_cohen_kappa", "cohen_kappa", "multiclass_cohen_kappa"]


def check_weights(weights: str | None) -> None:
    """Raise ``ValueError`` unless ``weights`` names a weighting of disagreements."""
    check_choice("weights", weights, KAPPA_WEIGHTS)


def cohen_kappa_formula(matrix: Tensor, weights: str | None) -> Tensor:
    """Agreement beyond chance: ``1 - observed / expected`` disagreement.

    Disagreement sums ``w[i, j]`` over the elements, where w is 1 off the diagonal (``weights`` None
    or ``"none"``), ``|i - j|`` (``"linear"``) or ``(i - j)**2`` (``"quadratic"``). What is expected
    is the same sum over the product of the margins. NaN when chance alone cannot disagree: no data,
    or one class only.

    Args:
        matrix: ``[C, C]`` counts.
        weights: the weighting.
    """
    counts = matrix.double()
    support, predicted = counts.sum(1), counts.sum(0)
    total = predicted.sum()
    if weights in (None, "none"):
        observed = total - counts.trace()
        # No term cancels, so one class gives exactly 0 however large its count.
        expected = support.dot(total - predicted)
    else:
        rank = torch.arange(counts.shape[0], dtype=torch.float64, device=counts.device)
        distance = (rank.unsqueeze(1) - rank).abs()
        if weights == "quadratic":
            distance = distance.square()
        observed = (distance * counts).sum()
        expected = support.dot(distance.mv(predicted))
    return (1 - total * observed / expected).float()


@of_matrix(cohen_kappa_formula, check_weights)
def binary_cohen_kappa(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    weights: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Agreement of thresholded predictions with targets beyond chance, float32 in ``[-1, 1]``.

    ``weights`` is None, ``"none"``, ``"linear"`` or ``"quadratic"``; with two classes they all give
    the same value. See :func:`cohen_kappa_formula`.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_cohen_kappa
    >>> binary_cohen_kappa(torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 0]))
    tensor(0.5000)
    """


@of_matrix(cohen_kappa_formula, check_weights)
def multiclass_cohen_kappa(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    weights: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Agreement of predicted classes with targets beyond chance, float32, at most 1.

    ``1 - sum(w * observed) / sum(w * expected)``, where w is 1 off the diagonal by default.

    ``weights`` is None, ``"none"``, ``"linear"`` or ``"quadratic"``: how much a disagreement grows
    with the distance of the classes. See :func:`cohen_kappa_formula`.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_cohen_kappa
    >>> preds, target = torch.tensor([2, 1, 0, 1]), torch.tensor([2, 1, 0, 0])
    >>> multiclass_cohen_kappa(preds, target, num_classes=3)
    tensor(0.6364)
    """


@calls_its_task(
    binary=binary_cohen_kappa,
    multiclass=multiclass_cohen_kappa,
)
def cohen_kappa(
    preds: Tensor, target: Tensor, task: str, threshold: float = 0.5,
    num_classes: int | None = None, weights: str | None = None, ignore_index: int | None = None,
    validate_args: bool = True, *, weight: Tensor | None = None, input: str = "auto",
) -> Tensor:  # fmt: skip
    """Cohen's kappa of ``task``: ``"binary"`` or ``"multiclass"`` (needs ``num_classes``).

    >>> import torch
    >>> from fastmetrics.functional import cohen_kappa
    >>> cohen_kappa(torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 0]), task="binary")
    tensor(0.5000)
    """
