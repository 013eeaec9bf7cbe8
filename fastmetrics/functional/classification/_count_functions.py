"""How the functions over counts are declared: their argument lists, and a maker for each.

What the arguments mean stands in :mod:`fastmetrics.functional.classification.stat_scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from fastmetrics.core.statistic import count
from fastmetrics.functional._declare import declared
from fastmetrics.functional.classification._arguments import explained
from fastmetrics.functional.classification._ratio import Formula
from fastmetrics.functional.classification._tasks import TASKS, call_for_task
from fastmetrics.ops.confusion import BinaryTable, LabelTables
from fastmetrics.ops.counted import Counts
from fastmetrics.ops.stat_scores import ClassCounts
from fastmetrics.utilities.checks import (
    AVERAGES,
    MULTIDIM_AVERAGES,
    check_choice,
    check_zero_division,
)


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


def counts_of(
    statistic: ClassCounts | LabelTables,
    owner: str,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
) -> Counts:
    """Check the arguments and count one batch; for the function ``owner``."""
    if statistic.validate_args:
        statistic.check()
    return statistic.read(count(statistic, owner, preds, target, weight))


class BinaryFunction(Protocol):
    """A value of binary counts."""

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        threshold: float = 0.5,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        """Return the value of one batch."""


class BinaryZeroDivisionFunction(Protocol):
    """A ratio of binary counts that can be 0/0."""

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        threshold: float = 0.5,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        """Return the value of one batch."""


class MulticlassFunction(Protocol):
    """A value of the counts of each class."""

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        num_classes: int | None,
        average: str | None = "macro",
        top_k: int = 1,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Return the value of one batch."""


class MulticlassZeroDivisionFunction(Protocol):
    """A ratio of the counts of each class that can be 0/0."""

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        num_classes: int | None,
        average: str | None = "macro",
        top_k: int = 1,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Return the value of one batch."""


class MultilabelFunction(Protocol):
    """A value of the counts of each label."""

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        """Return the value of one batch."""


class MultilabelZeroDivisionFunction(Protocol):
    """A ratio of the counts of each label that can be 0/0."""

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        """Return the value of one batch."""


class TaskFunction(Protocol):
    """The function of the task that ``task`` names, with those arguments that it has."""

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        task: str,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "micro",
        multidim_average: str = "global",
        top_k: int = 1,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        """Return the value of one batch."""


class TaskZeroDivisionFunction(Protocol):
    """The same for ratios that can be 0/0."""

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        task: str,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "micro",
        multidim_average: str = "global",
        top_k: int = 1,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        """Return the value of one batch."""


def binary(name: str, formula: Formula, summary: str, *, shows: str) -> BinaryFunction:
    """Declare the function ``name`` over binary counts.

    Args:
        name: under which it is public.
        formula: the value.
        summary: what it computes.
        shows: the value of the example.
    """

    def call(
        preds: Tensor,
        target: Tensor,
        threshold: float = 0.5,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        table = BinaryTable(
            threshold,
            samplewise=multidim_average == "samplewise",
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        if validate_args:
            check_averaging("micro", multidim_average)
        return formula(counts_of(table, name, preds, target, weight), "micro")

    return declared(
        call,
        name,
        summary,
        arguments=explained(call, "binary"),
        example=_example("binary", name, shows),
    )


def binary_zero_division(
    name: str, formula: Formula, summary: str, *, shows: str
) -> BinaryZeroDivisionFunction:
    """Declare a function with ``zero_division``; arguments as for :func:`binary`."""

    def call(
        preds: Tensor,
        target: Tensor,
        threshold: float = 0.5,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        table = BinaryTable(
            threshold,
            samplewise=multidim_average == "samplewise",
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        if validate_args:
            check_averaging("micro", multidim_average, zero_division)
        return formula(counts_of(table, name, preds, target, weight), "micro", zero_division)

    return declared(
        call,
        name,
        summary,
        arguments=explained(call, "binary"),
        example=_example("binary", name, shows),
    )


def multiclass(name: str, formula: Formula, summary: str, *, shows: str) -> MulticlassFunction:
    """Declare the function ``name`` over the counts of each class; see :func:`binary`."""

    def call(
        preds: Tensor,
        target: Tensor,
        num_classes: int | None,
        average: str | None = "macro",
        top_k: int = 1,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        counted = ClassCounts(
            num_classes,
            top_k,
            samplewise=multidim_average == "samplewise",
            ignore_index=ignore_index,
            validate_args=validate_args,
        )
        if validate_args:
            check_averaging(average, multidim_average, num_classes=num_classes)
        return formula(counts_of(counted, name, preds, target, weight), average)

    return declared(
        call,
        name,
        summary,
        arguments=explained(call, "multiclass"),
        example=_example("multiclass", name, shows),
    )


def multiclass_zero_division(
    name: str, formula: Formula, summary: str, *, shows: str
) -> MulticlassZeroDivisionFunction:
    """Declare a function with ``zero_division``; arguments as for :func:`binary`."""

    def call(
        preds: Tensor,
        target: Tensor,
        num_classes: int | None,
        average: str | None = "macro",
        top_k: int = 1,
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        counted = ClassCounts(
            num_classes,
            top_k,
            samplewise=multidim_average == "samplewise",
            ignore_index=ignore_index,
            validate_args=validate_args,
        )
        if validate_args:
            check_averaging(
                average, multidim_average, zero_division=zero_division, num_classes=num_classes
            )
        return formula(counts_of(counted, name, preds, target, weight), average, zero_division)

    return declared(
        call,
        name,
        summary,
        arguments=explained(call, "multiclass"),
        example=_example("multiclass", name, shows),
    )


def multilabel(name: str, formula: Formula, summary: str, *, shows: str) -> MultilabelFunction:
    """Declare the function ``name`` over the counts of each label; see :func:`binary`."""

    def call(
        preds: Tensor,
        target: Tensor,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        tables = LabelTables(
            num_labels,
            threshold,
            samplewise=multidim_average == "samplewise",
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        if validate_args:
            check_averaging(average, multidim_average)
        return formula(counts_of(tables, name, preds, target, weight), average)

    return declared(
        call,
        name,
        summary,
        arguments=explained(call, "multilabel"),
        example=_example("multilabel", name, shows),
    )


def multilabel_zero_division(
    name: str, formula: Formula, summary: str, *, shows: str
) -> MultilabelZeroDivisionFunction:
    """Declare a function with ``zero_division``; arguments as for :func:`binary`."""

    def call(
        preds: Tensor,
        target: Tensor,
        num_labels: int,
        threshold: float = 0.5,
        average: str | None = "macro",
        multidim_average: str = "global",
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        tables = LabelTables(
            num_labels,
            threshold,
            samplewise=multidim_average == "samplewise",
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
        )
        if validate_args:
            check_averaging(average, multidim_average, zero_division)
        return formula(counts_of(tables, name, preds, target, weight), average, zero_division)

    return declared(
        call,
        name,
        summary,
        arguments=explained(call, "multilabel"),
        example=_example("multilabel", name, shows),
    )


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
    functions = _by_name(binary, multiclass, multilabel)

    def call(
        preds: Tensor,
        target: Tensor,
        task: str,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "micro",
        multidim_average: str = "global",
        top_k: int = 1,
        ignore_index: int | None = None,
        validate_args: bool = True,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        return call_for_task(
            task,
            functions,
            preds,
            target,
            threshold=threshold,
            num_classes=num_classes,
            num_labels=num_labels,
            average=average,
            multidim_average=multidim_average,
            top_k=top_k,
            ignore_index=ignore_index,
            validate_args=validate_args,
            weight=weight,
            input=input,
        )

    return declared(
        call, name, summary, arguments=explained(call, "any"), example=_example("any", name, shows)
    )


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
    functions = _by_name(binary, multiclass, multilabel)

    def call(
        preds: Tensor,
        target: Tensor,
        task: str,
        threshold: float = 0.5,
        num_classes: int | None = None,
        num_labels: int | None = None,
        average: str | None = "micro",
        multidim_average: str = "global",
        top_k: int = 1,
        ignore_index: int | None = None,
        validate_args: bool = True,
        zero_division: float = 0.0,
        *,
        weight: Tensor | None = None,
        input: str = "auto",
    ) -> Tensor:
        return call_for_task(
            task,
            functions,
            preds,
            target,
            threshold=threshold,
            num_classes=num_classes,
            num_labels=num_labels,
            average=average,
            multidim_average=multidim_average,
            top_k=top_k,
            ignore_index=ignore_index,
            validate_args=validate_args,
            zero_division=zero_division,
            weight=weight,
            input=input,
        )

    return declared(
        call, name, summary, arguments=explained(call, "any"), example=_example("any", name, shows)
    )


def _by_name(*functions: Callable[..., Tensor]) -> Mapping[str, Callable[..., Tensor]]:
    return dict(zip(TASKS, functions, strict=True))


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


def _example(task: str, name: str, shows: str) -> str:
    batch, needed = _EXAMPLES[task]
    return f"{batch}\n>>> {name}(preds, target{needed})\n{shows}"
