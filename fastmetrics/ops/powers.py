"""Powers of two that keep squares in the range of float64."""

from __future__ import annotations

import torch
from torch import Tensor


def times_power(values: Tensor, exponents: Tensor) -> Tensor:
    """Return ``values * 2**exponents``, for whole exponents of up to three times those of float64.

    In steps, because the power alone may be no number.
    """
    step = (exponents / 3).floor()
    return values * step.exp2() * step.exp2() * (exponents - 2 * step).exp2()


def exponent_of(largest: Tensor) -> Tensor:
    """Return the power of two to divide by; none for numbers whose squares can be summed."""
    ordinary = (largest >= 2.0**-400) & (largest <= 2.0**400) | (largest == 0)
    exponent = torch.frexp(largest).exponent.double()
    return torch.where(ordinary | ~largest.isfinite(), 0.0, exponent)
