"""Differences of 64-bit whole numbers: float64 holds those, though not the numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def words(whole: Tensor) -> tuple[Tensor, Tensor]:
    """Return the high and the low word of int64 as float64, which holds each exactly."""
    return (whole >> 32).double() * 2.0**32, (whole & 0xFFFFFFFF).double()


def difference(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a - b`` in float64; that of integers is rounded once, and never overflows."""
    if torch.int64 in (a.dtype, b.dtype) and not (a.is_floating_point() or b.is_floating_point()):
        (a_high, a_low), (b_high, b_low) = words(a.long()), words(b.long())
        return (a_high - b_high) + (a_low - b_low)
    return a.double() - b.double()
