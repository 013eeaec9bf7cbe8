"""Metrics that are made of others by operators."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from torch import Tensor

from fastmetrics.core import operators
from fastmetrics.core.keywords import claimed_by, known_to
from fastmetrics.metric import Metric, is_native


class CompositionalMetric(Metric):
    """An operator applied to the values of metrics: what ``metric_a + metric_b`` returns.

    A metric that occurs more than once in an expression, as in ``2 * p * r / (p + r)``, is updated
    once.

    Args:
        operator: a function of one value (``metric_b=None``) or two.
        metric_a: a metric (one of torchmetrics will do), number or tensor.
        metric_b: the same, or None.
    """

    fused_update = True
    _wraps_compute = False

    def __init__(self, operator: Callable[..., Any], metric_a: Any, metric_b: Any) -> None:
        super().__init__()
        self.op = operator
        for name, operand in (("metric_a", metric_a), ("metric_b", metric_b)):
            if isinstance(operand, Tensor):
                self.register_buffer(name, operand, persistent=False)
            else:
                setattr(self, name, operand)

    def _leaves(self) -> dict[int, Any]:
        """Return the metrics that the expression is made of, each once."""
        leaves: dict[int, Any] = {}
        for operand in (self.metric_a, self.metric_b):
            if isinstance(operand, CompositionalMetric):
                leaves.update(operand._leaves())
            elif isinstance(operand, Metric):
                leaves[id(operand)] = operand
        return leaves

    def _sources(self, name: str) -> dict[str, Metric]:
        found: dict[str, Metric] = {}
        for i, leaf in enumerate(self._leaves().values()):
            if is_native(leaf):
                found.update(leaf._sources(f"{name}[{i}]"))
        return found

    def _evaluate(self, value_of: Callable[[Any], Any]) -> Any:
        """Return the value of the expression; None when a metric has none."""
        values = []
        for operand in (self.metric_a, self.metric_b):
            if isinstance(operand, CompositionalMetric):
                values.append(operand._evaluate(value_of))
            elif isinstance(operand, Metric):
                values.append(value_of(operand))
            else:
                values.append(operand)
                continue
            if values[-1] is None:
                return None
        return self.op(values[0]) if self.metric_b is None else self.op(*values)

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] | None = None, process_group: Any | None = None
    ) -> None:
        """Do nothing: the metrics synchronise themselves."""

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Update each metric once; keywords that its ``update`` does not take are left out."""
        leaves = self._leaves().values()
        claimed = claimed_by(leaves, kwargs)
        for leaf in leaves:
            leaf.update(*args, **known_to(leaf, kwargs, claimed))

    def compute(self) -> Any:
        """Return the operator applied to the values of the metrics."""
        return self._evaluate(lambda leaf: leaf.compute())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Update each metric once and return the operator applied to their values of the batch."""
        leaves = self._leaves()
        claimed = claimed_by(leaves.values(), kwargs)
        values = {
            key: leaf(*args, **known_to(leaf, kwargs, claimed)) for key, leaf in leaves.items()
        }
        self._forward_cache = self._evaluate(lambda leaf: values[id(leaf)])
        return self._forward_cache

    def reset(self) -> None:
        """Reset the metrics."""
        super().reset()
        for leaf in self._leaves().values():
            leaf.reset()

    def persistent(self, mode: bool | str = False) -> None:
        """Choose whether the states of the metrics are part of ``state_dict``."""
        for leaf in self._leaves().values():
            leaf.persistent(mode=mode)

    def __repr__(self) -> str:
        """Return the operator and its operands."""
        name = getattr(self.op, "__name__", repr(self.op))
        operands = f"    {self.metric_a!r},\n    {self.metric_b!r}"
        return f"{type(self).__name__}(\n  {name}(\n{operands}\n  )\n)"


operators.result = CompositionalMetric
# Where torchmetrics has it, in a module that this one needs.
vars(sys.modules[Metric.__module__])[CompositionalMetric.__name__] = CompositionalMetric
