"""What the metrics over error sums share: the sums of one batch, and the mean of a term.

``sums`` is the state of :func:`fastmetrics.ops.error_sums.error_sums_`, float64 ``[D, K]``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.ops import error_sums_
from fastmetrics.ops.error_sums import (
    DEVIANCE,
    check_error_sums,
    domain_text,
    num_columns,
    raise_outside_domain,
    sum_errors,
)


def result_dtype(preds: Tensor, target: Tensor) -> torch.dtype:
    """Return float64 if either input is, else float32."""
    inputs = torch.promote_types(preds.dtype, target.dtype)
    return torch.float64 if inputs == torch.float64 else torch.float32


def needs_grad(*values: object) -> bool:
    """Whether autograd is to follow what is worked out of these values."""
    return torch.is_grad_enabled() and any(
        isinstance(value, Tensor) and value.requires_grad for value in values
    )


def batch_sums(
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    terms: int,
    outputs: int = 1,
    p: float = 1.0,
    power: float = 0.0,
) -> Tensor:
    """Return the sums of one batch; by torch operations if autograd is to follow them.

    Raises as :func:`fastmetrics.ops.error_sums.error_sums_`.
    """
    state = torch.zeros((outputs, num_columns(terms)), dtype=torch.float64, device=preds.device)
    if not needs_grad(preds, target, weight):
        error_sums_(state, preds, target, weight, terms, p, power)
        return state
    check_error_sums(state, preds, target, weight, terms, p, power)
    if terms & DEVIANCE and preds.device.type == "cpu":
        raise_outside_domain("error_sums_", preds, target, power)
    return sum_errors(preds, target, weight, outputs, terms, p, power)


def mean_of(sums: Tensor) -> Tensor:
    """Return the mean of the first term: its sum over that of the weights; NaN without any."""
    columns = sums.unbind(-1)  # a third of the time of two indices
    return columns[0] / columns[-1]


def is_readable(sums: Tensor) -> bool:
    """Whether the host can look at sums for free, and no gradients must pass."""
    return sums.is_cpu and not sums.requires_grad and not torch.compiler.is_compiling()


def mean_as(sums: Tensor, dtype: torch.dtype, root: bool = False, factor: float = 1.0) -> Tensor:
    """Return ``factor`` times the mean of the first term of ``sums`` ``[1, K]``, or its root."""
    if is_readable(sums):  # numbers take half the time of tensors
        total, *_, count = sums.tolist()[0]
        mean = total / count if count else total * math.inf
        if root:
            mean = math.sqrt(mean) if mean >= 0 else math.nan
        return torch.full((), factor * mean, dtype=dtype)
    mean = mean_of(sums[0])
    return (factor * (mean.sqrt() if root else mean)).to(dtype)


def mean_error(
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    terms: int,
    num_outputs: int = 1,
    root: bool = False,
) -> Tensor:
    """Return the mean of a term over one batch, or its root.

    A scalar with ``num_outputs=1``, for which all positions are one output; else a value for each
    column of the inputs, in their trailing shape.
    """
    dtype = result_dtype(preds, target)
    if num_outputs == 1:
        return mean_as(batch_sums(preds, target, weight, terms), dtype, root)
    columns = preds.shape[1:]
    if preds.ndim > 2:
        preds, target = preds.flatten(1), target.flatten(1)
    means = mean_of(batch_sums(preds, target, weight, terms, math.prod(columns))).view(columns)
    return (means.sqrt() if root else means).to(dtype)


def check_domain(owner: str, sums: Tensor, power: float) -> None:
    """Raise ``ValueError`` for positions without a deviance that an update on a GPU left out.

    Waits for the device.
    """
    if sums.is_cpu or torch.compiler.is_compiling():  # on a CPU the op itself has raised
        return
    outside = int(sums[..., 1].sum().item())
    if outside:
        raise ValueError(
            f"{owner}: {domain_text(power)} for power={power}; {outside} positions were not."
        )
