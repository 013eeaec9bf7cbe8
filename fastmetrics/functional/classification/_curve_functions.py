"""How the functions of curves are declared: by a signature, which is all that differs.

The body of such a function is its purpose; :func:`of_batch` and :func:`by_task` give it the rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from fastmetrics.core.statistic import count
from fastmetrics.functional._declare import declared
from fastmetrics.functional.classification._scores import Formula, scores_of
from fastmetrics.functional.classification._tasks import check_sizes, check_task

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

        def value(
            preds: Tensor,
            target: Tensor,
            *,
            thresholds: Any,
            ignore_index: int | None,
            validate_args: bool,
            weight: Tensor | None,
            input: str,
            num_classes: int = 1,
            num_labels: int = 1,
            **own: Any,
        ) -> Any:
            scores = scores_of(
                task,
                num_classes if task == "multiclass" else num_labels,
                thresholds,
                ignore_index=ignore_index,
                validate_args=validate_args,
                input=input,
                device=target.device,
            )
            if validate_args:
                formula.check(scores, **own)
            return formula(scores, count(scores, name, preds, target, weight), **own)

        preds, target, size = _BATCHES[task]
        example = f">>> preds, target = {preds}, {target}\n>>> {name}(preds, target{size}, {call})"
        made = declared(
            _with_signature(function, value),
            name,
            inspect.getdoc(function) or "",
            arguments=_ARGUMENTS,
            example=f"{example}\n{shows}",
        )
        _EXAMPLES[made] = call, shows
        return made

    return decorate


def by_task(
    binary: Callable[..., Any], multiclass: Callable[..., Any], multilabel: Callable[..., Any]
) -> Callable[[F], F]:
    """Give a function its body: call the function of the task with those arguments that it has.

    Its example is that of the binary one.
    """
    functions = {"binary": binary, "multiclass": multiclass, "multilabel": multilabel}
    known = {task: frozenset(inspect.signature(f).parameters) for task, f in functions.items()}

    def decorate(function: F) -> F:
        name = function.__name__

        def value(preds: Tensor, target: Tensor, *, task: str, **given: Any) -> Any:
            task = check_task(task)
            own = {key: each for key, each in given.items() if key in known[task]}
            check_sizes(task, own)
            return functions[task](preds, target, **own)

        preds, target, _ = _BATCHES["binary"]
        call, shows = _EXAMPLES[binary]
        example = (
            f'>>> preds, target = {preds}, {target}\n>>> {name}(preds, target, "binary", {call})'
        )
        return declared(
            _with_signature(function, value),
            name,
            inspect.getdoc(function) or "",
            arguments=_BY_TASK,
            example=f"{example}\n{shows}",
        )

    return decorate


def _with_signature(declaration: F, value: Callable[..., Any]) -> F:
    """Return a function with the arguments of ``declaration`` that calls ``value`` with them.

    The first two arguments go by position, all others by name.
    """
    signature = inspect.signature(declaration)
    parameters = [*signature.parameters.values()][2:]
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    names = frozenset(p.name for p in parameters)

    def function(preds: Tensor, target: Tensor, *args: Any, **options: Any) -> Any:
        own = {**defaults, **options}
        fits = True
        if args:
            placed = dict(zip(positional, args, strict=False))
            fits = len(placed) == len(args) and placed.keys().isdisjoint(options)
            own.update(placed)
        if not fits or own.keys() != names:
            try:
                signature.bind(preds, target, *args, **options)
            except TypeError as error:
                raise TypeError(f"{declaration.__name__}() {error}") from None
        return value(preds, target, **own)

    function.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect` shows
    function.__annotations__ = declaration.__annotations__
    return function  # type: ignore[return-value]  # it has that signature
