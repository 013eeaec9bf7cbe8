"""One metric, or collection, for each task of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any

from torch.nn import Module, ModuleDict
from typing_extensions import Self

from fastmetrics.collections import MetricCollection
from fastmetrics.metric import Metric
from fastmetrics.wrappers._inside import MetricsInside

__all__ = ["MultitaskWrapper"]


class MultitaskWrapper(MetricsInside):
    """Metrics of several tasks, which take predictions and targets by task.

    ``forward`` gives the batch to all tasks or, if one refuses it, to none, as long as no task has
    a collection or a wrapper.

    Args:
        task_metrics: a metric or collection for each task.
        prefix: put before the name of every task in results.
        postfix: put behind it.

    Raises:
        TypeError: ``task_metrics`` is no dict of metrics and collections.
        ValueError: ``prefix`` or ``postfix`` is no string.

    Example:
        >>> import torch
        >>> from fastmetrics import MeanSquaredError
        >>> from fastmetrics.classification import BinaryAccuracy
        >>> from fastmetrics.wrappers import MultitaskWrapper
        >>> metric = MultitaskWrapper({"kind": BinaryAccuracy(), "size": MeanSquaredError()})
        >>> metric.update(
        ...     {"kind": torch.tensor([0, 1]), "size": torch.tensor([1.0, 2.0])},
        ...     {"kind": torch.tensor([1, 1]), "size": torch.tensor([1.0, 4.0])},
        ... )
        >>> metric.compute()
        {'kind': tensor(0.5000), 'size': tensor(2.)}
    """

    fused_update = True
    is_differentiable = False

    def __init__(
        self,
        task_metrics: dict[str, Metric | MetricCollection],
        prefix: str | None = None,
        postfix: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(task_metrics, dict):
            raise TypeError(f"`task_metrics` must be a dict, got {task_metrics!r}.")
        for task, metric in task_metrics.items():
            if not isinstance(metric, (Metric, MetricCollection)):
                raise TypeError(
                    f"`task_metrics[{task!r}]` must be a Metric or MetricCollection, got"
                    f" {metric!r}."
                )
        self.task_metrics = ModuleDict(task_metrics)
        self._prefix = self._check_arg(prefix, "prefix") or ""
        self._postfix = self._check_arg(postfix, "postfix") or ""

    @staticmethod
    def _check_arg(arg: str | None, name: str) -> str | None:
        if arg is None or isinstance(arg, str):
            return arg
        raise ValueError(f"`{name}` must be None or a string, got {arg!r}.")

    def _name(self, task: str) -> str:
        return f"{self._prefix}{task}{self._postfix}"

    def items(self, flatten: bool = True) -> Iterator[tuple[str, Module]]:
        """Iterate over names and metrics; ``flatten`` goes into collections."""
        for task, metric in self.task_metrics.items():
            if flatten and isinstance(metric, MetricCollection):
                for inner, each in metric.items():
                    yield self._name(f"{task}_{inner}"), each
            else:
                yield self._name(task), metric

    def keys(self, flatten: bool = True) -> Iterator[str]:
        """Iterate over names; ``flatten`` goes into collections."""
        return (name for name, _ in self.items(flatten))

    def values(self, flatten: bool = True) -> Iterator[Module]:
        """Iterate over metrics; ``flatten`` goes into collections."""
        return (metric for _, metric in self.items(flatten))

    def _check_tasks(self, task_preds: dict[str, Any], task_targets: dict[str, Any]) -> None:
        tasks = self.task_metrics.keys()
        if not tasks == task_preds.keys() == task_targets.keys():
            raise ValueError(
                f"`task_preds` and `task_targets` must have the keys {[*tasks]}, got"
                f" {[*task_preds]} and {[*task_targets]}."
            )

    def update(self, task_preds: dict[str, Any], task_targets: dict[str, Any]) -> None:
        """Add a batch of each task.

        Args:
            task_preds: predictions by task, as its metric takes them.
            task_targets: targets by task.

        Raises:
            ValueError: the keys are not the tasks; nothing has changed.
        """
        self._check_tasks(task_preds, task_targets)
        for task, metric in self.task_metrics.items():
            metric.update(task_preds[task], task_targets[task])  # type: ignore[operator]

    def forward(self, task_preds: dict[str, Any], task_targets: dict[str, Any]) -> dict[str, Any]:
        """Add a batch of each task and return its value by task; arguments as for ``update``."""
        self._check_tasks(task_preds, task_targets)
        metrics = [*self.task_metrics.values()]

        def update() -> None:
            for task, metric in self.task_metrics.items():
                metric.update(task_preds[task], task_targets[task])  # type: ignore[operator]

        values = self._forward_each(metrics, update)
        if values is None:
            pairs = self.task_metrics.items()
            values = [metric(task_preds[task], task_targets[task]) for task, metric in pairs]
        named: dict[str, Any] = self._forwarded(self._by_task(values))
        return named

    def _value(self) -> dict[str, Any]:
        metrics: Iterable[Any] = self.task_metrics.values()
        return self._by_task([metric.compute() for metric in metrics])

    def _by_task(self, values: list[Any]) -> dict[str, Any]:
        return self._convert_output(dict(zip(self.task_metrics, values, strict=True)))

    def _convert_output(self, output: dict[str, Any]) -> dict[str, Any]:
        return {self._name(task): value for task, value in output.items()}

    def clone(self, prefix: str | None = None, postfix: str | None = None) -> Self:
        """Return a deep copy with these affixes instead of its own.

        Raises:
            ValueError: ``prefix`` or ``postfix`` is no string.
        """
        copy = deepcopy(self)
        copy._prefix = self._check_arg(prefix, "prefix") or ""
        copy._postfix = self._check_arg(postfix, "postfix") or ""
        return copy

    def plot(
        self,
        val: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
        axes: Sequence[Any] | None = None,
    ) -> list[Any]:
        """Plot values, by default those of ``compute``, in one figure per task.

        Args:
            val: a result of ``compute`` or ``forward``, or a list of them.
            axes: one matplotlib axis per task to draw on.

        Returns:
            A list of (figure, axis) pairs.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
            TypeError: ``val`` is no result and no list of them, or ``axes`` no list of axes.
            ValueError: ``axes`` is not one per task.
        """
        from fastmetrics.utilities.plot import is_axis

        count = len(self.task_metrics)
        if axes is not None:
            if not isinstance(axes, Sequence) or not all(is_axis(axis) for axis in axes):
                raise TypeError(f"`axes` must be a list of matplotlib axes, got {axes!r}.")
            if len(axes) != count:
                raise ValueError(f"`axes` must be a list of {count} axes, got {len(axes)}.")
        val = self.compute() if val is None else val
        if not isinstance(val, (dict, Sequence)):
            raise TypeError(f"`val` must be None, a dict or a list of dicts, got {val!r}.")
        figures = []
        for i, (task, metric) in enumerate(self.items(flatten=False)):
            own = val[task] if isinstance(val, dict) else [step[task] for step in val]
            axis = None if axes is None else axes[i]
            figures.append(metric.plot(own, ax=axis))  # type: ignore[operator]
        return figures
