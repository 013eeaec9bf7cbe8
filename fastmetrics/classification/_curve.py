"""What all curve metrics share: a statistic of scores, read as one curve or one for each class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from typing_extensions import TypedDict

from fastmetrics.classification._counts import CountMetric
from fastmetrics.classification._tasks import new_of_task
from fastmetrics.core.statistic import Lists
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.classification._scores import AreaFormula, Formula, scores_of
from fastmetrics.functional.classification._tasks import TASKS, check_sizes, check_task
from fastmetrics.metric import Metric
from fastmetrics.ops.exact_scores import Exact
from fastmetrics.ops.scores import Scores
from fastmetrics.ops.thresholds import Thresholds

F = TypeVar("F", bound=Callable[..., Any])

NORMALIZATIONS = ("sigmoid", None)


class CurveOptions(TypedDict, total=False):
    """What all constructors of curve metrics take by keyword."""

    input: str
    undefined: str | None
    compute_on_cpu: bool
    compute_with_cache: bool
    dist_sync_fn: Callable[..., Any] | None
    dist_sync_on_step: bool
    distributed_available_fn: Callable[..., bool] | None
    process_group: Any
    sync_on_compute: bool


class CurveMetric(CountMetric):
    """Scores with their labels, kept as ``thresholds`` says, and a formula over their curves.

    See :mod:`fastmetrics.ops.scores` for the three ways to keep them.
    """

    statistic: Scores
    formula: ClassVar[Formula]
    average: str | None = None
    undefined: str | None
    input = StatisticField[str]()

    def __init__(
        self,
        task: str,
        num_classes: int,
        thresholds: Thresholds,
        ignore_index: int | None,
        validate_args: bool,
        *,
        input: str = "auto",
        undefined: str | None = None,
        **settings: Any,
    ) -> None:
        scores = scores_of(
            task,
            num_classes,
            thresholds,
            ignore_index=ignore_index,
            validate_args=validate_args,
            input=input,
            device=torch.get_default_device(),
        )
        super().__init__(scores, **settings)
        self._arguments: tuple[str, ...] = ()
        self._configure(undefined=undefined)

    def _configure(self, **arguments: Any) -> None:
        """Set arguments of the formula, once they are checked."""
        self.formula.check(self.statistic, **arguments)
        self._arguments = tuple(dict.fromkeys((*self._arguments, *arguments)))
        for name, value in arguments.items():
            setattr(self, name, value)

    @property
    def thresholds(self) -> Tensor | str | None:
        """The thresholds as they were given, ``[T]`` if there are any."""
        return self.statistic.thresholds

    def _lists(self) -> Lists | None:
        if isinstance(self.statistic, Exact):
            return self.statistic.lists(flat=self.statistic.multiclass and self.average == "micro")
        return super()._lists()

    def _formula_arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._arguments}

    def compute(self) -> Any:
        """Return what the function of the same name returns."""
        return self.formula(self.statistic, self._states, **self._formula_arguments())


class CurveValue(CurveMetric):
    """A value in [0, 1] of a curve, drawn as values are."""

    higher_is_better: bool | None = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def plot(self, *args: Any, **kwargs: Any) -> Any:
        """Draw ``val``, a value or a list of values, by default what ``compute`` returns."""
        return self._plot(*args, **kwargs)


class CurveArea(CurveValue):
    """A value that can be enclosed where scores are counted."""

    formula: ClassVar[AreaFormula]

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return two values like that of ``compute``, between which that of all scores lies."""
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            should_sync=self._to_sync and not self._is_synced,
            should_unsync=not self._is_synced,
            distributed_available=self._is_distributed,
        ):
            self._report()
            return self.formula.bounds(self.statistic, self._states, **self._formula_arguments())


class CurvePoint(CurveValue):
    """A value in [0, 1] and the threshold where it is reached; the value is drawn."""

    higher_is_better = None

    def _plot(self, val: Any | None = None, ax: Any | None = None) -> Any:
        return super()._plot(self.compute()[0] if val is None else val, ax)


def metric_of_task(
    binary: type[Metric], multiclass: type[Metric], multilabel: type[Metric]
) -> Callable[[F], F]:
    """Give ``__new__`` of a task wrapper its body: make a metric of the class of the task.

    The class gets those arguments that it has, and all ``kwargs``.
    """
    classes = dict(zip(TASKS, (binary, multiclass, multilabel), strict=True))

    def make(_: Any, task: str, arguments: dict[str, Any], others: dict[str, Any]) -> Metric:
        task = check_task(task)
        known = inspect.signature(classes[task]).parameters
        own = {name: value for name, value in arguments.items() if name in known}
        check_sizes(task, own)
        return classes[task](**own, **others)

    return lambda declaration: new_of_task(declaration, make)
