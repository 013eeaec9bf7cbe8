"""Names that make the metric of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from fastmetrics.functional.classification._tasks import TASKS
from fastmetrics.metric import Metric


class TaskWrapper(Metric):
    """A name that makes the metric of a task; the metric made is not an instance of it.

    Attributes:
        tasks: what makes the metric of each task.
    """

    tasks: ClassVar[Mapping[str, Callable[..., Metric]]]

    def update(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no `update`; use the task's metric.")

    def compute(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no `compute`; use the task's metric.")


def by_task(*metrics: type[Metric]) -> Mapping[str, Callable[..., Metric]]:
    """Return the metrics of the tasks binary, multiclass and, if there are three, multilabel."""
    return MappingProxyType(dict(zip(TASKS, metrics, strict=False)))
