"""The dtypes of values: those of functions follow their inputs."""

from __future__ import annotations

import torch
from torch import Tensor


def is_wide(preds: Tensor, target: Tensor) -> bool:
    """Whether an input is float64."""
    return torch.float64 in (preds.dtype, target.dtype)


def result_dtype(preds: Tensor, target: Tensor) -> torch.dtype:
    """Return float64 if either input is, else float32."""
    return torch.float64 if is_wide(preds, target) else torch.float32
