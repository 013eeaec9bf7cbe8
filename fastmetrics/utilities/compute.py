"""Arithmetic that metrics share, under the import paths that user code knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastmetrics.utilities.fallback import names_of_others
from fastmetrics.utilities.prints import rank_zero_warn

__all__ = ["auc", "interp", "normalize_logits_if_needed"]


def _as_floating(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.float()


def _safe_matmul(x: Tensor, y: Tensor) -> Tensor:
    """Return ``x @ y.T``; float16 is multiplied in float32."""
    if torch.float16 in (x.dtype, y.dtype):
        return (x.float() @ y.T.float()).half()
    return x @ y.T


def _safe_xlogy(x: Tensor, y: Tensor) -> Tensor:
    """Return ``x * log(y)``, and 0 where ``x`` is 0, whatever ``y`` is."""
    product = x * torch.log(y)
    return torch.where(x == 0, torch.zeros_like(product), product)


def _safe_divide(num: Tensor, denom: Tensor, zero_division: float | str = 0.0) -> Tensor:
    """Return ``num / denom`` as floats, and ``zero_division`` where ``denom`` is 0.

    Args:
        num: the numerator.
        denom: the denominator.
        zero_division: a number; ``"warn"``, which is 0 with a warning; ``"nan"``, which leaves
            what the division gives.
    """
    num, denom = _as_floating(num), _as_floating(denom)
    quotient = num / denom
    if zero_division == "nan":
        return quotient
    zero = denom == 0
    if zero_division == "warn":
        if zero.any():
            rank_zero_warn("A denominator is zero; the quotient is set to 0.")
        zero_division = 0.0
    return torch.where(zero, torch.full_like(quotient, float(zero_division)), quotient)


def auc(x: Tensor, y: Tensor, reorder: bool = False) -> Tensor:
    """Return the area under the line through points, by trapezoids.

    Args:
        x: ``[N]``, rising or falling.
        y: ``[N]``.
        reorder: sort the points by ``x`` first.

    Raises:
        ValueError: ``x`` and ``y`` are no vectors of one length, or ``x`` neither rises nor falls.

    Example:
        >>> import torch
        >>> auc(torch.tensor([0, 1, 3]), torch.tensor([0, 1, 1]))
        tensor(2.5000)
    """
    x, y = x.squeeze(), y.squeeze()
    if x.ndim > 1 or y.ndim > 1 or x.numel() != y.numel():
        raise ValueError(
            f"`x` and `y` must be vectors of one length, got shapes {tuple(x.shape)} and"
            f" {tuple(y.shape)}."
        )
    dtype = torch.promote_types(_as_floating(x).dtype, _as_floating(y).dtype)
    x, y = x.detach().flatten().double(), y.detach().flatten().double()
    x, y, direction = along(x, y, reorder)
    return (torch.trapezoid(y, x) * direction).to(dtype)


def along(x: Tensor, y: Tensor, reorder: bool) -> tuple[Tensor, Tensor, float]:
    """Return points in the order of ``x`` if asked for, and 1 if ``x`` rises, -1 if it falls.

    Raises:
        ValueError: it does neither throughout.
    """
    if reorder:
        x, order = torch.sort(x, stable=True)
        y = y[order]
    steps = x.diff()
    falls = bool((steps < 0).any())
    if falls and bool((steps > 0).any()):
        raise ValueError("`x` must rise or fall throughout, or `reorder` be True.")
    return x, y, -1.0 if falls else 1.0


def interp(x: Tensor, xp: Tensor, fp: Tensor) -> Tensor:
    """Return at ``x`` the value of the line through points; it goes on straight beyond both ends.

    Args:
        x: ``[M]``, where to look.
        xp: ``[N]``, positions of the points, rising.
        fp: ``[N]``, values of the points.

    Example:
        >>> import torch
        >>> interp(torch.tensor([0.5, 1.5]), torch.tensor([0, 1, 2]), torch.tensor([0, 10, 30]))
        tensor([ 5., 20.])
    """
    slopes = _safe_divide(fp.diff(), xp.diff())
    xp, fp = _as_floating(xp), _as_floating(fp)
    left = torch.searchsorted(xp.contiguous(), x.to(xp.dtype), right=True) - 1
    left = left.clamp(0, len(slopes) - 1)
    return fp[left] + slopes[left] * (x - xp[left])


def normalize_logits_if_needed(tensor: Tensor, normalization: str | None) -> Tensor:
    """Return scores as they are when all lie in [0, 1], and normalised otherwise.

    Args:
        tensor: scores, ``[N, C, ...]`` for ``"softmax"``; NaN take no part in the choice.
        normalization: ``"sigmoid"``, ``"softmax"`` (over axis 1) or None, which does nothing.

    Example:
        >>> import torch
        >>> normalize_logits_if_needed(torch.tensor([-1.0, 0.0, 1.0]), "sigmoid")
        tensor([0.2689, 0.5000, 0.7311])
        >>> normalize_logits_if_needed(torch.tensor([0.0, 0.5, 1.0]), "sigmoid")
        tensor([0.0000, 0.5000, 1.0000])
    """
    if not normalization:
        return tensor
    logits = ((tensor < 0) | (tensor > 1)).any()
    normalized = tensor.sigmoid() if normalization == "sigmoid" else tensor.softmax(1)
    return torch.where(logits, normalized, tensor)


if not TYPE_CHECKING:
    __getattr__ = names_of_others(__name__)
