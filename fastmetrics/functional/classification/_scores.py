"""How metrics and functions of curves choose what they keep, and the formulas over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.functional.classification._curve import (
    CLASS_AVERAGES,
    LABEL_AVERAGES,
    average_classes,
    average_numbers,
    each_class,
    enclose,
    negatives_of,
    positives_of,
)
from fastmetrics.ops.counted import is_readable
from fastmetrics.ops.exact_scores import Exact
from fastmetrics.ops.ranked_scores import Ranked
from fastmetrics.ops.scores import Binned, Curve, Scores
from fastmetrics.ops.thresholds import Thresholds, check_thresholds, make_grid
from fastmetrics.utilities.checks import (
    INPUTS,
    check_bool,
    check_choice,
    check_ignore_index,
    check_int,
)
from fastmetrics.utilities.data import scalar
from fastmetrics.utilities.prints import rank_zero_warn

UNDEFINED = (None, "nan")

# What a class must have for a value to be defined: recall divides by the positives, the rates of
# ROC curves by the negatives as well.
RECALL = ("positives",)
RATES = ("positives", "negatives")


def scores_of(
    task: str,
    num_classes: int,
    thresholds: Thresholds,
    *,
    ignore_index: int | None,
    validate_args: bool,
    input: str,
    device: torch.device,
) -> Scores:
    """Return what is kept of scores, see :mod:`fastmetrics.ops.scores`.

    Raises:
        ValueError: unless ``validate_args`` is False, an argument is out of range.
    """
    multiclass = task == "multiclass"
    check_bool("validate_args", validate_args)
    if validate_args and task != "binary":
        check_int("num_classes" if multiclass else "num_labels", num_classes, 2)
    # They say what is kept, so that nothing else would find a wrong one.
    check_thresholds(thresholds)
    check_ignore_index(ignore_index)
    check_choice("input", input, INPUTS)
    arguments: dict[str, Any] = {
        "num_classes": num_classes,
        "multiclass": multiclass,
        "input": input,
        "ignore_index": ignore_index,
        "validate_args": validate_args,
    }
    if thresholds is None:
        return Exact(**arguments, folds=Exact.may_fold(num_classes, multiclass, input))
    if isinstance(thresholds, str):
        return Ranked(**arguments)
    return Binned(**arguments, grid=make_grid(thresholds, input, multiclass, device))


def _numbers(counts: Tensor | Sequence[float]) -> Sequence[float]:
    """Return the counts of all classes as numbers."""
    return counts.view(-1).tolist() if isinstance(counts, Tensor) else counts


def _as_given(scores: Scores, undefined: str | None) -> str | None:
    return undefined


@dataclass(frozen=True, kw_only=True)
class Formula:
    """A value that is read from scores.

    Attributes:
        class_averages: what ``average`` may be for multiclass scores.
        label_averages: what it may be for others.
        check_own: raises ``ValueError`` for the arguments that only this formula has, given the
            scores and the average.
        absent: what is ``undefined`` for one class, given the scores and the argument.
        divides_by: what a class must not lack.
        leaves_out: whether averages leave out multiclass classes without positives.
    """

    class_averages: tuple[str | None, ...] = (None,)
    label_averages: tuple[str | None, ...] = (None,)
    check_own: Callable[..., None] | None = None
    absent: Callable[[Scores, str | None], str | None] = _as_given
    divides_by: tuple[str, ...] = RATES
    leaves_out: bool = False

    @staticmethod
    def warns(scores: Scores, undefined: str | None) -> bool:
        """Whether torchmetrics warns of what is not defined: for exact curves alone."""
        return isinstance(scores, Exact) and undefined is None

    def warn_of_absent(
        self,
        scores: Scores,
        positives: Tensor | Sequence[float],
        negatives: Tensor | Sequence[float],
        average: str | None,
    ) -> None:
        """Warn of classes whose value is not defined, where torchmetrics does.

        On a GPU looking would wait, so nothing is said.
        """
        if isinstance(positives, Tensor) and not is_readable(positives):
            return
        counts = {"positives": _numbers(positives), "negatives": _numbers(negatives)}
        if not any(map(any, counts.values())):
            return
        for kind, numbers in counts.items():
            if kind not in self.divides_by or all(numbers):
                continue
            absent = [number == 0 for number in numbers]
            if scores.multiclass and self.divides_by == RECALL and len(absent) > 1:
                averaged = self.leaves_out and average in ("macro", "weighted")
                if not averaged and not all(absent[1:]):  # upstream looks at the targets
                    continue
            where = f" in {sum(absent)} of {len(absent)} classes" if len(absent) > 1 else ""
            rank_zero_warn(
                f"`target` has no {kind}{where}: what is divided by their number is not defined.",
                UserWarning,
            )

    def averages(self, scores: Scores) -> tuple[str | None, ...]:
        """Return what ``average`` may be."""
        return self.class_averages if scores.multiclass else self.label_averages

    def is_micro(self, scores: Scores, average: str | None) -> bool:
        """Whether there is one curve: of binary scores, or of all classes together."""
        return scores.num_classes == 1 or (average == "micro" and average in self.averages(scores))

    def check(
        self,
        scores: Scores,
        *,
        average: str | None = None,
        undefined: str | None = None,
        **own: Any,
    ) -> None:
        """Raise ``ValueError`` unless the arguments of the formula are in range."""
        check_choice("undefined", undefined, UNDEFINED)
        check_choice("average", average, self.averages(scores))
        if self.check_own is not None and own:
            self.check_own(scores, average, **own)

    def __call__(
        self,
        scores: Scores,
        states: States,
        *,
        average: str | None = None,
        undefined: str | None = None,
        **own: Any,
    ) -> Any:
        """Return the value of the scores in ``states``."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class CurveFormula(Formula):
    """A value of all points of the curves.

    Attributes:
        of_curves: the value of curves, ``average``, ``undefined`` and what else there is.
        static_shape: whether points that are repeated leave the value as it is.
    """

    of_curves: Callable[..., Any]
    static_shape: bool = True

    def __call__(
        self,
        scores: Scores,
        states: States,
        *,
        average: str | None = None,
        undefined: str | None = None,
        **own: Any,
    ) -> Any:
        """Return the value of the scores in ``states``."""
        curves = scores.curves(
            states, micro=self.is_micro(scores, average), static_shape=self.static_shape
        )
        absent = self.absent(scores, undefined)
        if self.warns(scores, undefined):
            self.warn_of_absent(scores, positives_of(curves), negatives_of(curves), average)
        return self.of_curves(curves, average=average, undefined=absent, **own)


@dataclass(frozen=True, kw_only=True)
class AreaFormula(Formula):
    """An average of one number for each curve, which bounds enclose where scores are counted.

    Attributes:
        of_curve: the float64 values ``[...]`` of a curve, given ``undefined`` and what else there
            is.
        of_areas: the values ``[...]`` of whole areas, see :class:`fastmetrics.ops.scores.Areas`, of
            tensors or of numbers; 0/0 is NaN.
        of_cells: the least and the most that of one class may be, given the same.
        precision: whether precisions are added up in these areas, rather than pairs.
    """

    of_curve: Callable[..., Tensor]
    of_areas: Callable[[Any, Any, Any], Any]
    of_cells: Callable[..., tuple[Tensor, Tensor]]
    precision: bool = False
    class_averages: tuple[str | None, ...] = CLASS_AVERAGES
    label_averages: tuple[str | None, ...] = LABEL_AVERAGES

    def __call__(
        self,
        scores: Scores,
        states: States,
        *,
        average: str | None = None,
        undefined: str | None = None,
        **own: Any,
    ) -> Tensor:
        """Return the float32 value of the scores in ``states``."""
        micro = self.is_micro(scores, average)
        absent = self.absent(scores, undefined)
        whole = own.get("max_fpr") in (None, 1)
        areas = scores.areas(states, micro=micro, precision=self.precision) if whole else None
        if areas is None:
            curves = scores.curves(states, micro=micro, static_shape=True)
            values = each_class(curves, partial(self.of_curve, undefined=absent, **own))
            if self.warns(scores, undefined):
                self.warn_of_absent(scores, positives_of(curves), negatives_of(curves), average)
            return average_classes(values, average, positives_of(curves), undefined)
        if self.warns(scores, undefined):
            self.warn_of_absent(scores, areas.positives, areas.negatives, average)
        if isinstance(areas.positives, Tensor):
            values = self.of_areas(*areas)
            if absent is None:
                values = values.nan_to_num(0.0)
            return average_classes(values, average, areas.positives, undefined)
        numbers = [self._number(*each, absent) for each in zip(*areas, strict=True)]
        if micro:
            return scalar(numbers[0])
        return average_numbers(numbers, average, areas.positives, undefined)

    def _number(
        self, total: float, negatives: float, positives: float, undefined: str | None
    ) -> float:
        try:
            value: float = self.of_areas(total, negatives, positives)
        except ZeroDivisionError:
            value = math.nan
        return 0.0 if value != value and undefined is None else value

    def bounds(
        self,
        scores: Scores,
        states: States,
        *,
        average: str | None = None,
        undefined: str | None = None,
        **own: Any,
    ) -> tuple[Tensor, Tensor]:
        """Return float32 values that enclose the value of all scores that were counted."""
        micro = self.is_micro(scores, average)
        cells = scores.cells(states, micro=micro)
        if cells is None:
            value = self(scores, states, average=average, undefined=undefined, **own)
            return enclose(value, value)
        bounds = partial(self.of_cells, undefined=self.absent(scores, undefined), **own)
        low, high = map(torch.stack, zip(*map(bounds, cells), strict=True))
        positives = torch.stack([each.counts[:, 1].sum() for each in cells])
        if micro:
            low, high, positives = low[0], high[0], positives[0]
        return enclose(
            average_classes(low, average, positives, undefined),
            average_classes(high, average, positives, undefined),
        )


def has_both(curve: Curve) -> Tensor:
    """Return bool ``[...]``: whether a class has positives and negatives."""
    return (curve.negatives > 0) & (curve.positives > 0)
