"""Gathering and reducing, under the import paths that user code knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastmetrics.distributed import gather_all_tensors as gather_all_tensors
from fastmetrics.utilities.checks import check_choice
from fastmetrics.utilities.fallback import names_of_others

__all__ = ["class_reduce", "reduce"]


def reduce(x: Tensor, reduction: str | None) -> Tensor:
    """Return the mean (``"elementwise_mean"``), the ``"sum"``, or ``x`` itself (``"none"``, None).

    Raises:
        ValueError: ``reduction`` is none of these.

    >>> import torch
    >>> from fastmetrics.utilities import reduce
    >>> reduce(torch.tensor([1.0, 2.0, 6.0]), "elementwise_mean")
    tensor(3.)
    """
    check_choice("reduction", reduction, ("elementwise_mean", "sum", "none", None))
    if reduction == "elementwise_mean":
        return torch.mean(x)
    return torch.sum(x) if reduction == "sum" else x


def class_reduce(
    num: Tensor, denom: Tensor, weights: Tensor, class_reduction: str | None = "none"
) -> Tensor:
    """Return ``num / denom`` of each class, or one value for all; 0 / 0 is 0.

    Args:
        num: ``[C]``.
        denom: ``[C]``.
        weights: ``[C]``, for ``"weighted"``.
        class_reduction: ``"micro"`` (the sums are divided), ``"macro"``, ``"weighted"``, ``"none"``
            or None.

    Raises:
        ValueError: ``class_reduction`` is none of these.

    Example:
        >>> import torch
        >>> hits, count = torch.tensor([1, 3]), torch.tensor([2, 4])
        >>> class_reduce(hits, count, count, "weighted")
        tensor(0.6667)
    """
    check_choice("class_reduction", class_reduction, ("micro", "macro", "weighted", "none", None))
    dtype = torch.result_type(num, denom)
    num, denom, weights = num.double(), denom.double(), weights.double()
    if class_reduction == "micro":
        num, denom = num.sum(), denom.sum()
    fraction = num / denom
    fraction = torch.where(fraction.isnan(), 0.0, fraction)
    if class_reduction == "macro":
        fraction = fraction.mean()
    if class_reduction == "weighted":
        fraction = (fraction * (weights / weights.sum())).sum()
    return fraction.to(dtype if dtype.is_floating_point else torch.get_default_dtype())


if not TYPE_CHECKING:
    __getattr__ = names_of_others(__name__)
