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


def new_of_task(
    declaration: F, make: Callable[[Any, str, dict[str, Any], dict[str, Any]], Metric]
) -> F:
    """Return ``__new__`` of a task wrapper, of which ``declaration`` has the arguments.

    ``make`` gets the wrapper, the task, the arguments by name, and what ``kwargs`` holds.
    """
    signature = inspect.signature(declaration)

    @wraps(declaration)
    def new(*args: Any, **kwargs: Any) -> Metric:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        arguments = given.arguments
        cls, task, others = (arguments.pop(name) for name in ("cls", "task", "kwargs"))
        return make(cls, task, arguments, others)

    return new  # type: ignore[return-value]  # it has that signature


def makes_its_task(declaration: F) -> F:
    """Give ``__new__`` of a task wrapper its body: make the metric of the task.

    It gets those arguments and ``kwargs`` that the task has.
    """
    return new_of_task(
        declaration,
        lambda cls, task, arguments, others: call_for_task(task, cls.tasks, **arguments, **others),
    )
