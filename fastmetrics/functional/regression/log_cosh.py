"""Logarithm of the hyperbolic cosine of the error.

Source: Chen and others, Log hyperbolic cosine loss improves variational auto-encoder (2018).
"""

from __future__ import annotations

from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.regression._error_values import column_errors, error_value, mean
from fastmetrics.ops.error_sums import LOG_COSH, ErrorSums, check_columns

__all__ = ["log_cosh_error"]

_LOG_COSH = ErrorSums(LOG_COSH)


@public
def log_cosh_error(preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean of the log-cosh of the error, ``mean(log(cosh(preds - target)))``.

    Args:
        preds: predictions of any real type, ``[N]`` or ``[N, D]``.
        target: true values in the shape of ``preds``.
        weight: optional ``[N]``.

    Returns:
        A scalar, or ``[D]`` with several outputs; float64 if an input is and float32 otherwise. It
        carries gradients.

    Raises:
        RuntimeError: the shapes differ.
        ValueError: the inputs are not real or have other axes, or ``weight`` does not fit.

    >>> import torch
    >>> from fastmetrics.functional.regression import log_cosh_error
    >>> preds, target = torch.tensor([3.0, 5.0, 2.5, 7.0]), torch.tensor([2.0, 5.0, 4.0, 8.0])
    >>> log_cosh_error(preds, target)
    tensor(0.4308)
    """
    num_outputs = preds.shape[-1] if preds.ndim == 2 else 1
    check_columns("log_cosh_error", preds, num_outputs)
    if num_outputs == 1:
        return error_value("log_cosh_error", _LOG_COSH, mean, preds, target, weight)
    return column_errors("log_cosh_error", LOG_COSH, mean, preds, target, weight)
