"""How the functions of curves are declared: by a signature, which is all that differs.

The body of such a function is its purpose; :func:`of_batch` and :func:`by_task` give it the rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import torch

from fastmetrics.functional._declare import Value, counted, declared, planned
from fastmetrics.functional.classification._scores import Formula, scores_of
from fastmetrics.functional.classification._tasks import TASKS, function_of_task

F = TypeVar("F", bound=Callable[..., Any])

_ARGUMENTS = """
Arguments, shapes and errors as in
:mod:`fastmetrics.functional.classification.precision_recall_curve`.
"""
_BY_TASK = """
Calls the function that is named after ``task``, which is binary, multiclass or multilabel, with
those arguments that it has; multiclass needs ``num_classes``, multilabel ``num_labels``.
"""
_BATCHES = {
    "binary": ("torch.tensor([0.1, 0.6, 0.7, 0.8])", "torch.tensor([0, 1, 0, 1])", ""),
    "multiclass": (
        "torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]])",
        "torch.tensor([0, 0, 1])",
        ", num_classes=2",
    ),
    "multilabel": (
        "torch.tensor([[0.7, 0.3], [0.4, 0.6]])",
        "torch.tensor([[1, 0], [0, 1]])",
        ", num_labels=2",
    ),
}


# The example of each function: its arguments behind those of the batch, and its value.
_EXAMPLES: dict[Callable[..., Any], tuple[str, str]] = {}


def of_batch(formula: Formula, call: str, shows: str) -> Callable[[F], F]:
    """Give a function its body: count one batch, and return the value of the formula.

    Args:
        formula: the value.
        call: the arguments of the example, behind those of the batch.
        shows: the value of the example.
    """

    def decorate(function: F) -> F:
        name = function.__name__
        task = name.partition("_")[0]

        def plan(arguments: dict[str, Any]) -> Value:
            own = dict(arguments)
            scores = scores_of(
                task,
                own.pop("num_classes" if task == "multiclass" else "num_labels", 1),
                own.pop("thresholds"),
                ignore_index=own.pop("ignore_index"),
                validate_args=own.pop("validate_args"),
                input=own.pop("input"),
                device=torch.device("cpu"),
            )
            formula.check(scores, **own)
            return counted(name, scores, partial(formula, **own))

        preds, target, size = _BATCHES[task]
        example = f">>> preds, target = {preds}, {target}\n>>> {name}(preds, target{size}, {call})"
        made = declared(
            cast(F, planned(inspect.signature(function), name, plan)),
            name,
            inspect.getdoc(function) or "",
            arguments=_ARGUMENTS,
            example=f"{example}\n{shows}",
        )
        _EXAMPLES[made] = call, shows
        return made

    return decorate


def by_task(*functions: Callable[..., Any]) -> Callable[[F], F]:
    """Give a function its body: call the one of its task with those arguments that it has.

    Its example is that of the first, the binary one.
    """

    def decorate(function: F) -> F:
        name = function.__name__
        preds, target, _ = _BATCHES["binary"]
        call, shows = _EXAMPLES[functions[0]]
        example = (
            f'>>> preds, target = {preds}, {target}\n>>> {name}(preds, target, "binary", {call})'
        )
        made = function_of_task(
            inspect.signature(function), name, dict(zip(TASKS, functions, strict=True))
        )
        return declared(
            cast(F, made),
            name,
            inspect.getdoc(function) or "",
            arguments=_BY_TASK,
            example=f"{example}\n{shows}",
        )

    return decorate
