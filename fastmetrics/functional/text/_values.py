"""Values of what is counted in texts: of all samples together, and of each."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.ops.strings import TextSums, count_texts
from fastmetrics.utilities.data import scalar
from fastmetrics.utilities.recording import is_recorded

# Takes the columns of sums, or of the rows of samples, as tensors.
Formula = Callable[..., Any]


def value_of(
    statistic: TextSums, states: States, formula: Formula, dtype: torch.dtype = torch.float32
) -> Any:
    """Return the value of all samples; where rows are kept, beside it those of each, ``[N]``."""
    value: Tensor = formula(*statistic.sums(states).unbind()).to(dtype)
    if not statistic.keeps_rows:
        return value
    return value, formula(*statistic.rows_in(states).unbind(1)).to(dtype)


def quick_value_of(
    statistic: TextSums, states: States, formula: Formula, dtype: torch.dtype = torch.float32
) -> Any:
    """Do as :func:`value_of` for a formula of tensors and of numbers, which take half the time."""
    if not statistic.keeps_rows and states.values["sums"].is_cpu and not is_recorded():
        # Some of them raise where tensors do not.
        with contextlib.suppress(ArithmeticError):
            return scalar(formula(*states.values["sums"].tolist()), dtype)
    return value_of(statistic, states, formula, dtype)


def text_value(
    owner: str,
    statistic: TextSums,
    formula: Formula,
    preds: Any,
    target: Any,
    *,
    each: bool,
    weight: Tensor | None,
    read: Callable[..., Any] = value_of,
) -> Any:
    """Return the value of one batch for the function ``owner``; ``each`` asks for samples, too."""
    if each:
        statistic = dataclasses.replace(statistic, keeps_rows=True)
    return read(statistic, count_texts(statistic, owner, preds, target, weight), formula)


def sums_of(
    statistic: TextSums, owner: str, preds: Any, target: Any, weight: Tensor | None
) -> Tensor:
    """Return the sums of one batch, float64 ``[K]``, for the function ``owner``."""
    if weight is None:
        rows = statistic.rows_of(preds, target)
        return rows[0] if len(rows) == 1 else rows.sum(0)  # of one pair the sum takes a tenth
    return statistic.sums(count_texts(statistic, owner, preds, target, weight))
