"""The shapes that metrics of texts share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from fastmetrics.core.keywords import adds
from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists, View, batches_of, counts_only, element_view
from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.functional.text._values import Formula, value_of
from fastmetrics.ops.edits import EDITS, LONGER, PREDS, TARGET, Edits
from fastmetrics.ops.strings import TextSums
from fastmetrics.utilities.checks import check_bool


def sum_view(column: int, dtype: torch.dtype = torch.float32) -> View:
    """Return a view of one of the sums."""
    return element_view("sums", column, dtype)


def information_views() -> dict[str, View]:
    """Return the states of word information, whose ``errors`` are less the longer texts."""

    def write(states: States, value: Any) -> None:
        states.values["sums"][EDITS] = value
        states.values["sums"][LONGER] = 0

    def read(states: States) -> Tensor:
        sums: Tensor = states.values["sums"]
        return (sums[EDITS] - sums[LONGER]).float()

    return {
        "errors": View(read, write),
        "target_total": sum_view(TARGET),
        "preds_total": sum_view(PREDS),
    }


def rows_of_column(
    name: str, rows: Callable[[Tensor], Tensor], column: Callable[[Tensor], Tensor]
) -> Lists:
    """Return a list of torchmetrics that has a number for each sample.

    Args:
        name: of the list.
        rows: makes rows of such numbers.
        column: makes such numbers of rows.
    """

    def take(states: States, batch: tuple[Tensor, ...]) -> None:
        found = rows(batch[0])
        if "rows" in states.values:
            states.values["rows"].append(found)
        else:
            states.values["sums"] += found.sum(0)

    def give(states: States) -> list[tuple[Tensor, ...]]:
        if "rows" not in states.values:
            raise ValueError(
                f"torchmetrics keeps every sample in `{name}`, and only sums are here."
            )
        return [(column(batch),) for (batch,) in batches_of({"rows": states.values["rows"]})]

    return Lists((name,), take, give)


class TextMetric(StatisticMetric):
    """A formula over sums of what is counted in each pair of texts.

    Args:
        statistic: what is counted.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.
    """

    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound: float | None = 1.0
    statistic: TextSums
    sums: Tensor
    rows: list[Tensor]
    formula: ClassVar[Formula]
    # The states that torchmetrics has for this metric.
    _upstream: ClassVar[Mapping[str, View]] = {}

    @counts_only
    @adds("weight")
    def update(  # type: ignore[override]  # strings
        self,
        preds: str | Sequence[str],
        target: str | Sequence[str],
        *,
        weight: Tensor | None = None,
    ) -> None:
        """Add one string or several, N, and as many targets; ``weight`` is ``[N]``.

        Raises:
            ValueError: the arguments are no strings, differ in number, or ``weight`` does not fit.
        """
        self.statistic.add(self._states, preds, target, weight)

    def _views(self) -> Mapping[str, View]:
        return {} if self.statistic.keeps_rows else self._upstream

    def compute(self) -> Any:
        """Return the value; where each sample has one, too, a pair of it and those ``[N]``."""
        return value_of(self.statistic, self._states, type(self).formula, self.dtype)


class ReferenceMetric(TextMetric):
    """A metric of texts and the references of each.

    Args:
        statistic: what is counted.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.
    """

    @counts_only
    @adds("weight")
    def update(  # type: ignore[override]  # several references
        self,
        preds: str | Sequence[str],
        target: Sequence[str | Sequence[str]],
        *,
        weight: Tensor | None = None,
    ) -> None:
        """Add one string or several, N, and for each its references; ``weight`` is ``[N]``.

        A flat ``target`` is the references of a single string, or one for each of several.

        Raises:
            ValueError: the arguments are no strings, differ in number, a reference is missing, or
                ``weight`` does not fit.
        """
        self.statistic.add(self._states, preds, target, weight)


class EditRate(TextMetric):
    """A formula of edits.

    Args:
        return_sentence_level_score: whether the value is a pair of that of all samples and those of
            each, ``[N]``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.
    """

    higher_is_better: bool | None = False
    return_sentence_level_score = StatisticField[bool]("keeps_rows")
    _counts: ClassVar[Edits]

    def __init__(self, *, return_sentence_level_score: bool = False, **kwargs: Any) -> None:
        check_bool("return_sentence_level_score", return_sentence_level_score)
        statistic = dataclasses.replace(self._counts, keeps_rows=return_sentence_level_score)
        super().__init__(statistic, **kwargs)
