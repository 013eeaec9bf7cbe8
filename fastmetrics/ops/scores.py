"""What all statistics of scores have in common, and the curves that are read from them.

A score at or above a threshold counts as positive. Scores are kept in one of three ways:

======== ================== ========================================================================
name     ``thresholds``     what is kept
======== ================== ========================================================================
binned   int, list, tensor  how many scores lie between the thresholds
exact    None               every score
ranked   ``"auto"``         every score; once they are many, how many lie in narrow intervals
======== ================== ========================================================================

Shapes use C classes (or L labels, 1 for binary scores), T thresholds and K points of a curve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from typing_extensions import Self, override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import View, frozen
from fastmetrics.ops.cells import Cells, order_image
from fastmetrics.ops.counted import FEW, CountStatistic, choose_interpretation, is_few
from fastmetrics.ops.define import DIRECT
from fastmetrics.ops.faults import NAN_RANKS_LAST, OUTSIDE
from fastmetrics.ops.score_histogram import (
    histogram_areas_,
    histogram_points_,
    score_histogram_,
)
from fastmetrics.ops.thresholds import Grid
from fastmetrics.utilities.data import normal_tensor
from fastmetrics.utilities.recording import is_recorded


class Curve(NamedTuple):
    """How many scores reach each threshold, thresholds descending.

    Attributes:
        fps: float64 ``[..., K]``, negatives at or above each threshold.
        tps: float64 ``[..., K]``, positives at or above each threshold.
        negatives: float64 ``[...]``, all of them.
        positives: float64 ``[...]``, all of them.
        thresholds: ``[K]``: those of the data, or in the order in which they were given.
        grid: whether they were given.
        order: where each threshold that was given stands among the descending ones; None when they
            were given ascending.
    """

    fps: Tensor
    tps: Tensor
    negatives: Tensor
    positives: Tensor
    thresholds: Tensor
    grid: bool
    order: Tensor | None = None

    def as_given(self, values: Tensor) -> Tensor:
        """Return ``values`` ``[..., K]`` of descending thresholds in ascending or given order."""
        return values.flip(-1) if self.order is None else values[..., self.order]

    def descending(self) -> Tensor:
        """Return the thresholds ``[K]`` in the order of ``fps`` and ``tps``."""
        if self.order is not None:
            return self.thresholds.sort(descending=True).values
        return self.thresholds.flip(0) if self.grid else self.thresholds


Curves = Curve | list[Curve]
"""All classes at the same thresholds, or each class at its own."""


class Areas(NamedTuple):
    """What the whole of a curve comes to: float64 ``[C]``, scalars of one curve.

    Lists of numbers where classes are few and the host can look at them for free.

    Attributes:
        total: how many pairs of a positive and a negative are in order, ties counting half; or the
            precision at each positive, added up.
        negatives: their number.
        positives: their number.
    """

    total: Any
    negatives: Any
    positives: Any


@frozen(kw_only=True)
class Scores(CountStatistic):
    """Scores with their labels, from which a curve can be read for each class.

    Attributes:
        num_classes: how many classes, or labels, have scores; 1 for binary scores.
        multiclass: whether a target is a class; otherwise it is 0 or 1 for each label.
        input: whether scores are "probs", "logits", or as many lie in [0, 1] ("auto").
        ignore_index: targets that are left out.
        validate_args: whether labels out of range are reported.
    """

    num_classes: int
    multiclass: bool
    input: str
    ignore_index: int | None
    validate_args: bool

    nan_treatment: ClassVar[str] = NAN_RANKS_LAST

    @property
    def thresholds(self) -> Tensor | str | None:
        """The thresholds as they were given."""
        raise NotImplementedError

    @property
    def logits(self) -> bool:
        """Whether scores are said to be logits."""
        return self.input == "logits"

    def curves(self, states: States, *, micro: bool, static_shape: bool = False) -> Curves:
        """Return the curve of each class, or one curve.

        With ``static_shape`` points may occur more than once, which changes no value: in compiled
        regions the number of points then does not depend on the data.
        """
        raise NotImplementedError

    def areas(self, states: States, *, micro: bool, precision: bool) -> Areas | None:
        """Return the areas of each class, or of one curve; None when the curves cost no more.

        ``precision`` adds up precisions instead of pairs.
        """
        return None

    def cells(self, states: States, *, micro: bool) -> list[Cells] | None:
        """Return what is known of the scores of each class; None if that is every score."""
        return None

    def with_every_score(self) -> Scores:
        """Return the statistic that also tells which scores belong to one sample, if it can."""
        return self

    def if_logits(
        self, states: States, scores: Tensor, convert: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return ``convert(scores)`` if the scores are logits, else the scores."""
        if self.input != "auto":
            return convert(scores) if self.logits else scores
        events = states.values["events"]
        if is_recorded():
            return torch.where(events[OUTSIDE] > 0, convert(scores), scores)
        return convert(scores) if events.tolist()[OUTSIDE] > 0 else scores

    def with_probabilities(self, states: States, curve: Curve) -> Curve:
        """Return a curve through scores at probabilities; multiclass ones are such already."""
        if self.multiclass:
            return curve
        return curve._replace(thresholds=self.if_logits(states, curve.thresholds, sigmoid))


def sigmoid(scores: Tensor) -> Tensor:
    """Sigmoid, worked out in float32 or wider."""
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return wide.sigmoid().to(scores.dtype)


class TiedScores(NamedTuple):
    """Scores ``[K]`` in any order, and the negatives and positives (float64) that have each."""

    scores: Tensor
    negatives: Tensor
    positives: Tensor


def points_curve(parts: list[TiedScores], static_shape: bool) -> Curve:
    """Return the curve through all points, at the distinct scores, or at each one's last point."""
    scores = torch.cat([part.scores for part in parts])
    negatives = torch.cat([part.negatives for part in parts])
    positives = torch.cat([part.positives for part in parts])
    curve = image_curve(order_image(scores), negatives, positives, static_shape)
    return curve._replace(thresholds=scores[curve.thresholds])


def image_curve(
    images: Tensor, negatives: Tensor, positives: Tensor, static_shape: bool = False
) -> Curve:
    """Return the curve through all points ``[K]``; its thresholds are the places of the points."""
    image, order = images.sort(descending=True)
    last = torch.ones_like(image, dtype=torch.bool)
    last[:-1] = image[1:] != image[:-1]
    fps, tps = negatives[order].cumsum(0), positives[order].cumsum(0)
    zero = fps.new_zeros(())
    if static_shape:
        place = torch.arange(len(last), device=last.device)
        last = place.where(last, len(last)).flip(0).cummin(0).values.flip(0)
    return Curve(
        fps[last],
        tps[last],
        fps[-1] if len(fps) else zero,
        tps[-1] if len(tps) else zero,
        order[last],
        False,
    )


def points_of(curve: Curve) -> list[TiedScores]:
    """Return the points of a sorted curve, apart."""
    zero = curve.fps.new_zeros(1)
    negatives, positives = curve.fps.diff(prepend=zero), curve.tps.diff(prepend=zero)
    return [TiedScores(curve.thresholds, negatives, positives)]


def whole_curve(fps: Tensor, tps: Tensor, thresholds: Tensor) -> Curve:
    """Return the curve through some points, of which the last reaches every score."""
    whole = (fps[-1], tps[-1]) if len(fps) else (fps.new_zeros(()),) * 2
    return Curve(fps, tps, *whole, thresholds, False)


def filled_up(fps: Tensor, tps: Tensor, thresholds: Tensor, count: Tensor) -> Curve:
    """Return the curve through the first ``count`` points, the last of which is repeated."""
    place = torch.arange(len(fps), device=fps.device).minimum(count - 1).clamp(min=0)
    fps, tps = (x[place].where(count > 0, 0.0) for x in (fps, tps))
    return Curve(fps, tps, fps[-1], tps[-1], thresholds[place], False)


def read_areas(
    op: Callable[..., None], size: int, *counted: Any, device: torch.device, one: bool, column: int
) -> Areas:
    """Return the areas that an op writes, of several curves or of ``one``.

    Args:
        op: what writes them.
        size: how many curves there are.
        counted: what it is given behind them.
        device: where that is.
        one: whether tensors are to have no axis of curves.
        column: which of the columns is the total.
    """
    if size <= FEW and not is_dynamo_compiling():
        found = DIRECT[op.__name__]((True, size, 4), *counted)
        if found:  # numbers
            columns: Any = [found[0][column::4] for column in range(4)]
            return Areas(columns[column], columns[2], columns[3])
    areas = torch.zeros(size, 4, dtype=torch.float64, device=device)
    op(areas, *counted)
    if is_few(areas):
        columns = [*zip(*areas.tolist(), strict=True)]
    else:
        columns = (areas[0] if one else areas).unbind(-1)
    return Areas(columns[column], columns[2], columns[3])


@frozen(kw_only=True)
class Binned(Scores):
    """How many scores lie between given thresholds, ``counts`` ``[H, C, 2, T + 1]``."""

    grid: Grid

    op = staticmethod(score_histogram_)

    @property
    @override
    def thresholds(self) -> Tensor:
        return self.grid.thresholds.clone()

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        interpretations, count = self.grid.edges.shape
        return interpretations, self.num_classes, 2, count + 1

    @property
    @override
    def rows(self) -> str:
        return "classes" if self.multiclass else "labels"

    @override
    def arguments(self) -> tuple[Tensor, bool, bool, bool, int | None, bool]:
        grid = self.grid
        return (
            grid.edges,
            grid.uniform,
            self.multiclass,
            self.logits,
            self.ignore_index,
            self.validate_args,
        )

    def table(self, states: States, *, micro: bool) -> Tensor:
        """Return counts ``[C, 2, T + 1]`` by ascending score."""
        table = choose_interpretation(states.values["counts"], states.values["events"])
        return table.sum(0, keepdim=True) if micro and len(table) > 1 else table

    @override
    def cells(self, states: States, *, micro: bool) -> list[Cells]:
        table = self.table(states, micro=micro)
        bins = 2 * torch.arange(table.shape[-1], device=table.device)
        images = torch.stack([bins, bins + 1], 1)
        return [Cells(images, counts.mT.double()) for counts in table]

    @override
    def curves(self, states: States, *, micro: bool, static_shape: bool = False) -> Curve:
        table = self.table(states, micro=micro)
        size, _, bins = table.shape
        fps = torch.empty(size, bins - 1, dtype=torch.float64, device=table.device)
        tps = torch.empty(size, bins - 1, dtype=torch.float64, device=table.device)
        totals = torch.empty(2, size, dtype=torch.float64, device=table.device)
        histogram_points_(fps, tps, totals, table)
        if micro:
            fps, tps, totals = fps[0], tps[0], totals[:, 0]
        grid = self.grid
        return Curve(fps, tps, totals[0], totals[1], grid.thresholds, True, grid.order)

    @override
    def areas(self, states: States, *, micro: bool, precision: bool) -> Areas:
        table = self.table(states, micro=micro)
        return read_areas(
            histogram_areas_,
            len(table),
            table,
            device=table.device,
            one=micro,
            column=int(precision),
        )

    @override
    def views(self) -> Mapping[str, View]:
        return {"confmat": View(self._tables, self._take_tables)}

    def _tables(self, states: States) -> Tensor:
        """Return ``[[tn, fp], [fn, tp]]`` at each threshold, ``[T, C, 2, 2]`` or ``[T, 2, 2]``."""
        curve = self.curves(states, micro=False)
        reached = curve.as_given(torch.stack([curve.fps, curve.tps], -2))
        total = torch.stack([curve.negatives, curve.positives], -1)
        tables = torch.stack([total.unsqueeze(-1) - reached, reached], -1)
        tables = tables.movedim(-2, 0).to(states.values["counts"].dtype)
        return tables if self.num_classes > 1 else tables[:, 0]

    def _take_tables(self, states: States, tables: Tensor) -> None:
        """Count what gives these tables, however the scores are interpreted."""
        counts = states.values["counts"]
        floats = tables.is_floating_point() or counts.is_floating_point()
        tables = tables.to(counts.device, torch.float64 if floats else torch.int64)
        tables = tables.reshape(-1, *self.shape[1:3], 2)
        total = tables[0].sum(-1, keepdim=True)
        reached = self.grid.ascending(tables[..., 1].movedim(0, -1))
        bins = -torch.cat([total, reached, torch.zeros_like(total)], -1).diff()
        states.values["counts"] = normal_tensor(lambda: bins.repeat(len(counts), 1, 1, 1))

    @override
    def to(self, device: torch.device) -> Self:
        grid = self.grid.to(device)
        return self if grid is self.grid else replace(self, grid=grid)
