"""The shape that the metrics over error sums share: one float64 state and one fused op."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import State
from fastmetrics.functional.regression._errors import batch_sums, mean_of, needs_grad
from fastmetrics.metric import Metric, as_scalar
from fastmetrics.ops import error_sums_
from fastmetrics.ops.error_sums import DEVIANCE, POWER, columns_of, num_columns
from fastmetrics.ops.fused import Update
from fastmetrics.utilities.checks import check_int


class ErrorSumMetric(Metric):
    """A formula over ``sums`` ``[D, K]``, see :func:`fastmetrics.ops.error_sums.error_sums_`.

    The value has the dtype of ``set_dtype``, float32 by default; the sums stay float64.

    Args:
        terms: the error terms.
        num_outputs: D.
        p: the exponent of a power.
        power: that of a deviance.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.
    """

    is_differentiable = True
    higher_is_better: bool | None = False
    full_state_update = False
    fused_update = True
    _exact_states = ("sums",)
    plot_lower_bound = 0.0
    sums: Tensor

    def __init__(
        self, terms: int, num_outputs: int = 1, p: float = 1.0, power: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_int("num_outputs", num_outputs, 1)
        self._terms = terms
        self._outputs = num_outputs
        self._exponents = (float(p), float(power))
        shape = (num_outputs, num_columns(terms))
        self.add_state("sums", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> None:
        """Add one batch; arguments as in :func:`fastmetrics.ops.error_sums.error_sums_`."""
        error_sums_(self.sums, preds, target, weight, self._terms, *self._exponents)

    def _value(self, sums: Tensor) -> Tensor:
        """Return the value of sums, float64 ``[D]``."""
        return mean_of(sums)

    def compute(self) -> Tensor:
        """Return the value, a scalar or ``[D]``."""
        return self._value(self.sums).to(self.dtype)

    def _follow(self, value: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Return the value of a batch, with gradients if an input wants any.

        The op has none, so the value is then worked out a second time by torch operations.
        """
        if not needs_grad(*args, *kwargs.values()):
            return value
        sums = self._with_grad(*args, **self._filter_kwargs(**kwargs))
        return as_scalar(self._value(sums).to(self.dtype))

    def _with_grad(self, preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Return the sums of one batch, which autograd can follow."""
        p, power = self._exponents
        return batch_sums(preds, target, weight, self._terms, self._outputs, p, power)

    def _statistic(self) -> Hashable:
        return ("error_sums", self._terms, self._outputs, self._exponents)

    def _op(self) -> Update:
        return Update("error_sums_", (self._terms, *self._exponents))

    def _open_state(self, preds: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        return self.sums

    def _derive(self, source: Metric) -> dict[str, State] | None:
        """Take the columns of another choice of terms that has all of these and more."""
        if not isinstance(source, ErrorSumMetric) or source._outputs != self._outputs:
            return None
        own, others = self._terms, source._terms
        same = self._exponents == source._exponents or not others & (POWER | DEVIANCE)
        if own == others or own & ~others or not same:
            return None
        return {"sums": source.sums[:, columns_of(own, others)]}
