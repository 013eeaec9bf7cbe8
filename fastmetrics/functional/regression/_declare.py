"""The functions of regression that differ in nothing but their formula, and how they are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from fastmetrics.core.statistic import count_with_gradients
from fastmetrics.functional._declare import declared
from fastmetrics.functional.regression._error_values import Formula, error_value
from fastmetrics.functional.regression._moment_values import count_moments
from fastmetrics.ops.error_sums import ErrorSums
from fastmetrics.ops.row_similarity import RowSimilarity
from fastmetrics.utilities.dtypes import is_wide, result_dtype

_ERRORS = """
Args:
    preds: predictions, any real type and shape.
    target: true values in the shape of ``preds``.
    weight: optional ``[N]``, a weight for each entry of the first axis.

Returns:
    A scalar, float64 if an input is and float32 otherwise; it carries gradients.

Raises:
    RuntimeError: the shapes differ.
    ValueError: the inputs are not real, or ``weight`` does not fit.
"""
_CORRELATIONS = """
NaN, with a warning, where predictions or targets are constant. The value is float32, or float64
when an input is; it carries gradients.

Args:
    preds: x, ``[N]`` or ``[N, D]``, any real dtype.
    target: y, in the same shape.
    weight: how much each sample counts, ``[N]``.

Returns:
    {returns}

Raises:
    ValueError: shapes other than these.
    RuntimeError: ``preds`` and ``target`` have different shapes.
"""
_DIVERGENCES = """
Worked out in float64, with natural logarithms. Terms of probability 0 are 0.

Args:
    p: distributions ``[N, D]``, any real dtype; divided by their sums unless ``log_prob``.
    q: the distributions to compare them with, likewise.
    log_prob: whether the inputs are logarithms of probabilities, which are taken as normalised.
    reduction: ``"mean"`` or ``"sum"`` over the rows, ``"none"`` or None for a value per row.
    weight: how much each row counts in a mean or sum, ``[N]``.

Returns:
    A scalar, or ``[N]``; float64 if an input is, else float32. Differentiable in both inputs.

Raises:
    RuntimeError: the shapes differ.
    ValueError: an unknown ``reduction``, inputs of another shape, or complex ones.
"""


class PairFunction(Protocol):
    """A function of predictions and true values."""

    def __call__(
        self, preds: Tensor, target: Tensor, *, weight: Tensor | None = None
    ) -> Tensor: ...


class DivergenceFunction(Protocol):
    """A function of the rows of two matrices, which are distributions or their logarithms."""

    def __call__(
        self,
        p: Tensor,
        q: Tensor,
        log_prob: bool = False,
        reduction: str | None = "mean",
        *,
        weight: Tensor | None = None,
    ) -> Tensor: ...


def error(name: str, terms: int, formula: Formula, summary: str, *, example: str) -> PairFunction:
    """Return a function of the sums of error terms over all positions."""
    statistic = ErrorSums(terms)

    def call(preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        return error_value(name, statistic, formula, preds, target, weight)

    return declared(call, name, summary, arguments=_ERRORS, example=example)


def correlation(
    name: str,
    formula: Callable[[Tensor, bool], Tensor],
    summary: str,
    *,
    returns: str,
    example: str,
) -> PairFunction:
    """Return a function of the moments of predictions and true values."""

    def call(preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        moments = count_moments(name, preds, target, weight)
        return formula(moments, is_wide(preds, target))

    arguments = _CORRELATIONS.format(returns=returns)
    return declared(call, name, summary, arguments=arguments, example=example)


def kind_of(kinds: tuple[int, int], log_prob: bool) -> int:
    """Return the one of distributions or the one of their logarithms.

    Raises:
        TypeError: ``log_prob`` is no bool.
    """
    if not isinstance(log_prob, bool):
        raise TypeError(f"`log_prob` must be a bool, got {log_prob!r}.")
    return kinds[log_prob]


def divergence(
    name: str, kinds: tuple[int, int], summary: str, *, example: str
) -> DivergenceFunction:
    """Return a function of rows; ``kinds`` are those of distributions and of their logarithms."""

    def call(
        p: Tensor,
        q: Tensor,
        log_prob: bool = False,
        reduction: str | None = "mean",
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        statistic = RowSimilarity.of(kind_of(kinds, log_prob), reduction)
        states = count_with_gradients(statistic, name, p, q, weight)
        return statistic.read(states, reduction, result_dtype(p, q))

    return declared(call, name, summary, arguments=_DIVERGENCES, example=example)
