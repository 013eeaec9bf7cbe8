"""Names that make the metric of a task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from fastmetrics.functional.classification._tasks import TASKS, call_for_task
from fastmetrics.metric import Metric

F = TypeVar("F", bound=Callable[..., Metric])


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


def makes_its_task(declaration: F) -> F:
    """Give ``__new__`` of a task wrapper its body: make the metric of the task.

    It gets those arguments and ``kwargs`` that the task has.
    """
    signature = inspect.signature(declaration)

    @wraps(declaration)
    def make(*args: Any, **kwargs: Any) -> Metric:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        options = given.arguments
        cls, task, others = (options.pop(name) for name in ("cls", "task", "kwargs"))
        metric: Metric = call_for_task(task, cls.tasks, **options, **others)
        return metric

    return make  # type: ignore[return-value]  # it has that signature
