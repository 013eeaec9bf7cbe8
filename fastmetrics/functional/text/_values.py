"""Values of what is counted in texts: of all samples together, and of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.ops.strings import TextSums, count_texts
from fastmetrics.utilities.data import scalar
from fastmetrics.utilities.recording import is_recorded

# Takes the columns of sums, or of the rows of samples, as tensors or numbers.
Formula = Callable[..., Any]


def number_of(formula: Formula, sums: Sequence[float]) -> float:
    """Return the value of sums; numbers take half the time of tensors, but some of them raise."""
    try:
        return float(formula(*sums))
    except ArithmeticError:
        return float(formula(*torch.tensor(sums, dtype=torch.float64, device="cpu")))


def value_of(
    statistic: TextSums, states: States, formula: Formula, dtype: torch.dtype = torch.float32
) -> Any:
    """Return the value of all samples; where rows are kept, beside it those of each, ``[N]``."""
    if not statistic.keeps_rows and states.values["sums"].is_cpu and not is_recorded():
        return scalar(number_of(formula, states.values["sums"].tolist()), dtype)
    value: Tensor = formula(*statistic.sums(states).unbind()).to(dtype)
    if not statistic.keeps_rows:
        return value
    return value, formula(*statistic.rows_in(states).unbind(1)).to(dtype)


def text_value(
    owner: str,
    statistic: TextSums,
    formula: Formula,
    preds: Any,
    target: Any,
    *,
    each: bool,
    weight: Tensor | None,
) -> Any:
    """Return the value of one batch for the function ``owner``; ``each`` asks for samples, too."""
    if each:
        statistic = dataclasses.replace(statistic, keeps_rows=True)
        return value_of(statistic, count_texts(statistic, owner, preds, target, weight), formula)
    sums = sums_of(statistic, owner, preds, target, weight)
    return scalar(number_of(formula, sums))


def sums_of(
    statistic: TextSums, owner: str, preds: Any, target: Any, weight: Tensor | None
) -> list[float]:
    """Return the sums of one batch for the function ``owner``."""
    if weight is None:
        return statistic.numbers_of(preds, target)
    found = statistic.sums(count_texts(statistic, owner, preds, target, weight)).tolist()
    return [*found]
