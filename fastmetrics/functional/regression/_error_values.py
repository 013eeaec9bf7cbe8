"""Values of error sums, for functions: those of one batch, as a number where that is faster."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from fastmetrics.core.statistic import count_with_gradients, wants_gradients
from fastmetrics.ops.counted import is_readable
from fastmetrics.ops.error_sums import ErrorSums
from fastmetrics.utilities.data import scalar
from fastmetrics.utilities.dtypes import result_dtype

# A formula takes the columns of the sums one by one, all as tensors or all as numbers.
N = TypeVar("N", Tensor, float)
Formula = Callable[..., Any]


def mean(error: N, weight: N) -> N:
    """Return the mean of a term: its sum over that of the weights; NaN without any."""
    return error / weight


def root_mean(error: N, weight: N) -> N:
    """Return the root of the mean of a term."""
    value = error / weight
    return value.sqrt() if isinstance(value, Tensor) else math.sqrt(value)


def _checked_sums(terms: int, p: float = 1.0, power: float = 0.0) -> ErrorSums:
    statistic = ErrorSums(terms, p=p, power=power)
    statistic.check()
    return statistic


# Typed: True is no exponent, though it equals 1.
_known_sums = functools.lru_cache(64, typed=True)(_checked_sums)


def checked_sums(terms: int, **exponents: float) -> ErrorSums:
    """Return the sums of terms with exponents, which are looked at when they are new."""
    if not is_dynamo_compiling():
        try:  # a context manager takes longer
            return _known_sums(terms, **exponents)
        except TypeError:  # of what has no hash
            pass
    return _checked_sums(terms, **exponents)


def error_value(
    owner: str,
    statistic: ErrorSums,
    formula: Formula,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
) -> Tensor:
    """Return the value of one batch, whose positions are all one output."""
    if weight is None and not is_dynamo_compiling() and not wants_gradients(preds, target):
        found = statistic.numbers(preds, target)
        if found:
            try:
                return scalar(formula(*found[0]), result_dtype(preds, target))
            except (ValueError, ArithmeticError):  # which tensors do not raise
                pass
    sums = count_with_gradients(statistic, owner, preds, target, weight).values["sums"]
    return value_of_sums(sums, formula, result_dtype(preds, target))


def value_of_sums(sums: Tensor, formula: Formula, dtype: torch.dtype) -> Tensor:
    """Return the value of the sums ``[1, K]`` of one output."""
    if is_readable(sums) and not sums.requires_grad:
        # Numbers take half the time of tensors, but some of them raise.
        try:
            return scalar(formula(*sums.tolist()[0]), dtype)
        except (ValueError, ArithmeticError):
            pass
    value: Tensor = formula(*sums[0].unbind())
    return value.to(dtype)


def column_errors(
    owner: str,
    terms: int,
    formula: Formula,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
) -> Tensor:
    """Return the value of each column of the inputs, in their trailing shape."""
    columns = preds.shape[1:]
    if preds.ndim > 2:
        preds, target = preds.flatten(1), target.flatten(1)
    statistic = ErrorSums(terms, math.prod(columns))
    sums = count_with_gradients(statistic, owner, preds, target, weight).values["sums"]
    value: Tensor = formula(*sums.unbind(-1))
    return value.view(columns).to(result_dtype(preds, target))
