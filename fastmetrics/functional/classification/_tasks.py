"""The choice between binary, multiclass and multilabel that every task wrapper makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, update_wrapper
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from torch import Tensor

from fastmetrics.functional._declare import Value, planned

if TYPE_CHECKING:
    from fastmetrics.metric import Metric

F = TypeVar("F", bound=Callable[..., Tensor])

TASKS = ("binary", "multiclass", "multilabel")

_INTEGERS = ("num_classes", "top_k", "num_labels")


def check_task(task: str, allowed: tuple[str, ...] = TASKS) -> str:
    """Return the lower-case name of ``task``, or raise ``ValueError`` unless it is allowed."""
    name = task.lower() if isinstance(task, str) else task
    if name not in allowed:
        raise ValueError(f"`task` must be one of {allowed}, got {task!r}.")
    return name


@overload
def call_for_task(
    task: str, implementations: Mapping[str, Callable[..., Metric]], *args: Any, **options: Any
) -> Metric: ...
@overload
def call_for_task(
    task: str, implementations: Mapping[str, Callable[..., Tensor]], *args: Any, **options: Any
) -> Tensor: ...
def call_for_task(
    task: str, implementations: Mapping[str, Callable[..., Any]], *args: Any, **options: Any
) -> Any:
    """Call the implementation of ``task`` without the ``options`` that only other tasks have.

    Raises:
        ValueError: the task is not among ``implementations``, or an integer argument that it needs
            (``num_classes``, ``top_k``, ``num_labels``) is not an integer.
    """
    name, own = arguments_of_task(implementations, task, **options)
    return implementations[name](*args, **own)


def arguments_of_task(
    implementations: Mapping[str, Callable[..., Any]], task: str, **options: Any
) -> tuple[str, dict[str, Any]]:
    """Return the name of ``task``, and the ``options`` but for those that only other tasks have.

    Errors as above.
    """
    name = check_task(task, tuple(implementations))
    known = _names_of(implementations[name])
    others: frozenset[str] = frozenset().union(*map(_names_of, implementations.values())) - known
    own = {key: value for key, value in options.items() if key not in others}
    check_sizes(name, own)
    return name, own


@cache
def _names_of(implementation: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(implementation).parameters)


def function_of_task(
    signature: inspect.Signature, name: str, functions: Mapping[str, Callable[..., Any]]
) -> Callable[..., Any]:
    """Return the function ``name`` that calls the one of its task with what that takes."""

    def plan(arguments: dict[str, Any]) -> Value:
        task, own = arguments_of_task(functions, **arguments)
        return lambda preds, target, weight: functions[task](preds, target, weight=weight, **own)

    return planned(signature, name, plan)


def calls_its_task(**functions: Callable[..., Tensor]) -> Callable[[F], F]:
    """Give a function its body: call the function of the task. Its own body is its purpose."""

    def decorate(declaration: F) -> F:
        signature = inspect.signature(declaration)
        function = function_of_task(signature, declaration.__name__, functions)
        return cast(F, update_wrapper(function, declaration))

    return decorate


def check_sizes(task: str, arguments: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless those arguments that must be integers for ``task`` are."""
    for key in _INTEGERS:
        if not isinstance(arguments.get(key, 0), int):
            raise ValueError(
                f"`{key}` must be an integer for task={task!r}, got {arguments[key]!r}."
            )
