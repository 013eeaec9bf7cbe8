"""A metric whose value for a batch has gradients."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from fastmetrics.core.keywords import adds, known_to
from fastmetrics.core.states import States
from fastmetrics.core.statistic import counts_only, wants_gradients
from fastmetrics.core.statistic_metric import StatisticMetric
from fastmetrics.metric import as_scalar


class DifferentiableMetric(StatisticMetric):
    """A metric whose value for a batch has gradients, if an input wants any.

    The ops have none, so the value is then worked out a second time by torch operations.
    """

    is_differentiable = True
    # What `update` calls predictions and targets.
    _inputs: ClassVar[tuple[str, str]] = ("preds", "target")

    @counts_only
    @adds("weight")
    def update(  # type: ignore[override]  # upstream has no weights
        self, preds: Tensor, target: Tensor, *, weight: Tensor | None = None
    ) -> None:
        """Add one batch; arguments as for the op of the statistic."""
        self.statistic.add(self._states, preds, target, weight)

    def _value(self, states: States) -> Tensor:
        """Return the value of these states."""
        raise NotImplementedError

    def compute(self) -> Tensor:
        """Return the value: a scalar, or one for each output or row."""
        return self._value(self._states)

    def _follow(self, value: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if not wants_gradients(*args, *kwargs.values()):
            return value
        batch = dict(zip(self._inputs, args, strict=False))
        if kwargs:
            batch |= known_to(self, kwargs)
        first, second = self._inputs
        values = self.statistic.with_gradients(batch[first], batch[second], batch.get("weight"))
        return as_scalar(self._value(States(values)).to(value.dtype))
