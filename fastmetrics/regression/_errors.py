"""The shape that the metrics over error sums share: one float64 state and one fused op."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.regression._errors import batch_sums, mean_of, needs_grad
from fastmetrics.metric import Metric, as_scalar
from fastmetrics.ops import error_sums_
from fastmetrics.ops.error_sums import num_columns
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
    _has_gradients = True
    _exact_states = ("sums",)
    plot_lower_bound = 0.0
    sums: Tensor

    def __init__(
        self, terms: int, num_outputs: int = 1, p: float = 1.0, power: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_int("num_outputs", num_outputs, 1)
        self._terms = terms
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

    def _with_gradients(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        # The op has none, so the value is worked out a second time by torch operations.
        if needs_grad(*args, *kwargs.values()):
            value = as_scalar(self._value(self._with_grad(*args, **kwargs)).to(self.dtype))
            object.__setattr__(self, "_forward_cache", value)
        return value

    def _with_grad(self, preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Return the sums of one batch, which autograd can follow."""
        p, power = self._exponents
        return batch_sums(preds, target, weight, self._terms, self.sums.shape[0], p, power)

    def _statistic(self) -> Hashable:
        return ("error_sums", self._terms, self.sums.shape, self._exponents)
