"""How the functions over counts are declared: their argument lists, and a maker for each.

What the arguments mean stands in :mod:`fastmetrics.functional.classification.stat_scores`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.functional._declare import (
    Shortcut,
    Value,
    counted,
    declared,
    planned,
    without_self,
)
from fastmetrics.functional.classification._arguments import explained
from fastmetrics.functional.classification._ratio import Formula, Ratio
from fastmetrics.functional.classification._tasks import TASKS, function_of_task
from fastmetrics.ops.confusion import BinaryTable, LabelTables
from fastmetrics.ops.ratio import ratio_of_numbers
from fastmetrics.ops.stat_scores import ClassCounts
from fastmetrics.utilities.checks import (
    AVERAGES,
    MULTIDIM_AVERAGES,
    check_choice,
    check_zero_division,
)

F = TypeVar("F", bound=Callable[..., Tensor])


def check_averaging(
    average: str | None,
    multidim_average: str = "global",
    zero_division: float = 0.0,
    num_classes: int | None = 2,
) -> None:
    """Raise ``ValueError`` unless counts can be averaged like that.

    Args:
        average: over classes.
        multidim_average: over the axes behind the first.
        zero_division: the value of 0/0.
        num_classes: None where it is unknown.
    """
    check_choice("average", average, AVERAGES)
    if num_classes is None and average != "micro":
        raise ValueError(f"`num_classes` may be None only for average='micro', got {average!r}.")
    check_choice("multidim_average", multidim_average, MULTIDIM_AVERAGES)
    check_zero_division(zero_division)


class BinaryFunction(Protocol):
    """A value of binary counts."""

    def __call__(
        self, preds: Tensor, target: Tensor, threshold: float = 0.5,
        multidim_average: str = "global", ignore_index: int | None = None,
        validate_args: bool = True, *, weight: Tensor | None = None, input: str = "auto",
    ) -> Tensor:  # fmt: skip
        """Return the value of one batch."""


class BinaryZeroDivisionFunction(Protocol):
    """A ratio of binary counts that can be 0/0."""

    def __call__(
        self, preds: Tensor, target: Tensor, threshold: float = 0.5,
        multidim_average: str = "global", ignore_index: int | None = None,
        validate_args: bool = True, zero_division: float = 0.0,
        *, weight: Tensor | None = None, input: str = "auto",
    ) -> Tensor:  # fmt: skip
        """Return the value of one batch."""


class MulticlassFunction(Protocol):
    """A value of the counts of each class."""

    def __call__(
        self, preds: Tensor, target: Tensor, num_classes: int | None,
        average: str | None = "macro", top_k: int = 1, multidim_average: str = "global",
        ignore_index: int | None = None, validate_args: bool = True,
        *, weight: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Return the value of one batch."""


class MulticlassZeroDivisionFunction(Protocol):
    """A ratio of the counts of each class that can be 0/0."""

    def __call__(
        self, preds: Tensor, target: Tensor, num_classes: int | None,
        average: str | None = "macro", top_k: int = 1, multidim_average: str = "global",
        ignore_index: int | None = None, validate_args: bool = True, zero_division: float = 0.0,
        *, weight: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Return the value of one batch."""


class MultilabelFunction(Protocol):
    """A value of the counts of each label."""

    def __call__(
        self, preds: Tensor, target: Tensor, num_labels: int, threshold: float = 0.5,
        average: str | None = "macro", multidim_average: str = "global",
        ignore_index: int | None = None, validate_args: bool = True,
        *, weight: Tensor | None = None, input: str = "auto",
    ) -> Tensor:  # fmt: skip
        """Return the value of one batch."""


class MultilabelZeroDivisionFunction(Protocol):
    """A ratio of the counts of each label that can be 0/0."""

    def __call__(
        self, preds: Tensor, target: Tensor, num_labels: int, threshold: float = 0.5,
        average: str | None = "macro", multidim_average: str = "global",
        ignore_index: int | None = None, validate_args: bool = True, zero_division: float = 0.0,
        *, weight: Tensor | None = None, input: str = "auto",
    ) -> Tensor:  # fmt: skip
        """Return the value of one batch."""


class TaskFunction(Protocol):
    """The function of the task that ``task`` names, with those arguments that it has."""

    def __call__(
        self, preds: Tensor, target: Tensor, task: str, threshold: float = 0.5,
        num_classes: int | None = None, num_labels: int | None = None,
        average: str | None = "micro", multidim_average: str = "global", top_k: int = 1,
        ignore_index: int | None = None, validate_args: bool = True,
        *, weight: Tensor | None = None, input: str = "auto",
    ) -> Tensor:  # fmt: skip
        """Return the value of one batch."""


class TaskZeroDivisionFunction(Protocol):
    """The same for ratios that can be 0/0."""

    def __call__(
        self, preds: Tensor, target: Tensor, task: str, threshold: float = 0.5,
        num_classes: int | None = None, num_labels: int | None = None,
        average: str | None = "micro", multidim_average: str = "global", top_k: int = 1,
        ignore_index: int | None = None, validate_args: bool = True, zero_division: float = 0.0,
        *, weight: Tensor | None = None, input: str = "auto",
    ) -> Tensor:  # fmt: skip
        """Return the value of one batch."""


# For each task the batch of the example, and what else its functions take.
_EXAMPLES = {
    "binary": (
        ">>> preds, target = torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([0, 1, 0, 1])",
        "",
    ),
    "multiclass": (
        ">>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])",
        ", num_classes=3",
    ),
    "multilabel": (
        ">>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])\n"
        ">>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])",
        ", num_labels=2",
    ),
    "any": (
        ">>> preds, target = torch.tensor([0, 2, 1, 2, 0]), torch.tensor([0, 1, 1, 2, 2])",
        ', task="multiclass", num_classes=3',
    ),
}


def binary(name: str, formula: Formula, summary: str, *, shows: str) -> BinaryFunction:
    """Declare the function ``name`` over binary counts.

    Args:
        name: under which it is public.
        formula: the value.
        summary: what it computes.
        shows: the value of the example.
    """
    return _of_counts(BinaryFunction.__call__, name, formula, summary, shows)


def binary_zero_division(
    name: str, formula: Formula, summary: str, *, shows: str
) -> BinaryZeroDivisionFunction:
    """Declare a function with ``zero_division``; arguments as for :func:`binary`."""
    return _of_counts(BinaryZeroDivisionFunction.__call__, name, formula, summary, shows)


def multiclass(name: str, formula: Formula, summary: str, *, shows: str) -> MulticlassFunction:
    """Declare the function ``name`` over the counts of each class; see :func:`binary`."""
    return _of_counts(MulticlassFunction.__call__, name, formula, summary, shows)


def multiclass_zero_division(
    name: str, formula: Formula, summary: str, *, shows: str
) -> MulticlassZeroDivisionFunction:
    """Declare a function with ``zero_division``; arguments as for :func:`binary`."""
    return _of_counts(MulticlassZeroDivisionFunction.__call__, name, formula, summary, shows)


def multilabel(name: str, formula: Formula, summary: str, *, shows: str) -> MultilabelFunction:
    """Declare the function ``name`` over the counts of each label; see :func:`binary`."""
    return _of_counts(MultilabelFunction.__call__, name, formula, summary, shows)


def multilabel_zero_division(
    name: str, formula: Formula, summary: str, *, shows: str
) -> MultilabelZeroDivisionFunction:
    """Declare a function with ``zero_division``; arguments as for :func:`binary`."""
    return _of_counts(MultilabelZeroDivisionFunction.__call__, name, formula, summary, shows)


def by_task(
    name: str,
    summary: str,
    binary: BinaryFunction,
    multiclass: MulticlassFunction,
    multilabel: MultilabelFunction,
    *,
    shows: str,
) -> TaskFunction:
    """Declare the function ``name`` that calls the one of its task; ``shows`` the example."""
    signature = without_self(TaskFunction.__call__)
    return _of_task(signature, name, (binary, multiclass, multilabel), summary, "", shows)


def by_task_zero_division(
    name: str,
    summary: str,
    binary: BinaryZeroDivisionFunction,
    multiclass: MulticlassZeroDivisionFunction,
    multilabel: MultilabelZeroDivisionFunction,
    *,
    shows: str,
) -> TaskZeroDivisionFunction:
    """Declare a function with ``zero_division``; arguments as for :func:`by_task`."""
    signature = without_self(TaskZeroDivisionFunction.__call__)
    return _of_task(signature, name, (binary, multiclass, multilabel), summary, "", shows)


def of_batch(
    formula_of: Callable[..., Formula], *, needs: str = "", shows: str
) -> Callable[[F], F]:
    """Give a function its body: the value of one batch. Its own body is its purpose.

    Args:
        formula_of: returns the formula for the arguments of the function, by name.
        needs: what the call of the example begins with.
        shows: the value of the example.
    """

    def decorate(function: F) -> F:
        name, summary = function.__name__, inspect.getdoc(function) or ""
        signature = inspect.signature(function)
        return cast(F, _of_batch(signature, name, formula_of, summary, needs, shows))

    return decorate


def of_task(*functions: Callable[..., Tensor], needs: str, shows: str) -> Callable[[F], F]:
    """Give a function its body: the call of the one of its task; arguments as above."""

    def decorate(function: F) -> F:
        name, summary = function.__name__, inspect.getdoc(function) or ""
        signature = inspect.signature(function)
        return cast(F, _of_task(signature, name, functions, summary, needs, shows))

    return decorate


def statistic_of(
    task: str, arguments: Mapping[str, Any]
) -> BinaryTable | LabelTables | ClassCounts:
    """Return what a function with these arguments counts."""
    rules = {key: arguments[key] for key in ("ignore_index", "validate_args")}
    rules["samplewise"] = arguments["multidim_average"] == "samplewise"
    if task == "multiclass":
        return ClassCounts(arguments["num_classes"], arguments["top_k"], **rules)
    scores = {key: arguments[key] for key in ("threshold", "input")}
    if task == "binary":
        return BinaryTable(**scores, **rules)
    return LabelTables(arguments["num_labels"], **scores, **rules)


def _of_counts(
    declaration: Callable[..., Tensor], name: str, formula: Formula, summary: str, shows: str
) -> Callable[..., Tensor]:
    signature = without_self(declaration)
    return _of_batch(signature, name, lambda **_: formula, summary, "", shows, depth=4)


def _of_batch(
    signature: inspect.Signature,
    name: str,
    formula_of: Callable[..., Formula],
    summary: str,
    needs: str,
    shows: str,
    depth: int = 3,
) -> Callable[..., Tensor]:
    task = name.partition("_")[0]

    def plan(arguments: dict[str, Any]) -> Value:
        formula, statistic = formula_of(**arguments), statistic_of(task, arguments)
        average = arguments.get("average", "micro")
        zero_division = arguments.get("zero_division", 0.0)
        if statistic.validate_args:
            classes = arguments.get("num_classes", 2)
            check_averaging(average, arguments["multidim_average"], zero_division, classes)
            statistic.check()

        def read(statistic: ClassCounts | LabelTables, states: States) -> Tensor:
            return formula(statistic.read(states), average, zero_division)

        shortcut = None
        if isinstance(formula, Ratio) and not statistic.samplewise:
            shortcut = by_numbers(formula, statistic, average, zero_division)
        return counted(name, statistic, read, shortcut)

    return _shown(planned(signature, name, plan), task, name, summary, needs, shows, depth)


def by_numbers(
    formula: Ratio,
    statistic: ClassCounts | LabelTables,
    average: str | None,
    zero_division: float,
) -> Shortcut:
    """Return what values a batch of plain tensors without making any for its counts."""
    count = statistic.numbers()
    rule = formula.rule(average, statistic.top_k, zero_division)
    read = ratio_of_numbers(statistic.shape, isinstance(statistic, LabelTables), rule)

    def value(preds: Tensor, target: Tensor) -> Tensor | None:
        found = count(preds, target)
        return None if found is None else read(*found)

    return value


def _of_task(
    signature: inspect.Signature,
    name: str,
    functions: tuple[Callable[..., Tensor], ...],
    summary: str,
    needs: str,
    shows: str,
) -> Callable[..., Tensor]:
    function = function_of_task(signature, name, dict(zip(TASKS, functions, strict=True)))
    return _shown(function, "any", name, summary, needs, shows, depth=3)


def _shown(
    function: Callable[..., Tensor],
    task: str,
    name: str,
    summary: str,
    needs: str,
    shows: str,
    depth: int,
) -> Callable[..., Tensor]:
    batch, size = _EXAMPLES[task]
    return declared(
        function,
        name,
        summary,
        arguments=explained(function, task),
        example=f"{batch}\n>>> {name}(preds, target{needs}{size})\n{shows}",
        depth=depth,
    )
