"""Every score while they are few, then how many lie in each of some narrow intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import check_form, frozen
from fastmetrics.ops.cells import (
    Cells,
    merge_cells_,
    merge_points_,
    order_image,
    score_of_image,
)
from fastmetrics.ops.counted import choose_interpretation, is_readable
from fastmetrics.ops.kept_scores import Kept, Samples, chunks_of
from fastmetrics.ops.scores import Curve, Curves, TiedScores
from fastmetrics.ops.thresholds import RANKED
from fastmetrics.utilities.data import map_tensors, normal_tensor

# Of rows, and of cells: as many as fit into so many bytes, within these limits.
MEMORY = 2**25
MOST_ROWS, LEAST_ROWS = 2**18, 2**12
MOST_CELLS, LEAST_CELLS = 2**15, 2**8
_BYTES_OF_SCORE, _BYTES_OF_CELL = 5, 32


def _fitting(size: int, least: int, most: int) -> int:
    """Return the greatest power of two of things of so many bytes that fit."""
    fitting = max(MEMORY // size, 1).bit_length() - 1
    return min(max(1 << fitting, least), most)


@frozen(kw_only=True)
class Ranked(Kept):
    """Every score, and cells instead of them each time they are too many rows.

    A cell counts the scores in an interval, which is narrow where scores are dense; see
    :mod:`fastmetrics.ops.cells`. The states are those of kept scores and

    - ``cells``: int64 ``[K, H, C, 2]``, the first and last image of each cell, for each of the H
      interpretations of the scores, as they are and after a softmax;
    - ``cell_counts``: float64 ``[K, H, C, 2]``, negatives and positives in it.
    """

    MADE = CELLS = ("cells", "cell_counts")
    batches = (*Kept.batches, CELLS)

    @property
    @override
    def thresholds(self) -> str:
        return RANKED

    @property
    def interpretations(self) -> tuple[bool, ...]:
        """Whether scores become probabilities: what must be counted before that is known."""
        return (False, True) if self.multiclass and self.input == "auto" else (self.logits,)

    @property
    def most_rows(self) -> int:
        """Rows that are kept."""
        return _fitting(_BYTES_OF_SCORE * self.num_classes, LEAST_ROWS, MOST_ROWS)

    @property
    def most_cells(self) -> int:
        """Cells of each class."""
        columns = len(self.interpretations) * self.num_classes
        return _fitting(_BYTES_OF_CELL * columns, LEAST_CELLS, MOST_CELLS)

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {**super().reductions, **dict.fromkeys(self.CELLS, "cat")}

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        return {**super().empty(device), "cells": [], "cell_counts": []}

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        if names != self.CELLS:
            super().check_batch_states(names, tensors)
            return
        shape = ("K", len(self.interpretations), self.num_classes, 2)
        for name, tensor, dtype in zip(names, tensors, (torch.int64, torch.float64), strict=True):
            check_form(name, tensor, shape, dtype)

    @override
    def room(self, chunks: list[Tensor]) -> int:
        return min(super().room(chunks), self.most_rows - sum(map(len, chunks)))

    @override
    def shrink(self, states: States, dtype: torch.dtype) -> None:
        """Turn all rows into cells."""
        values = states.values
        rows = sum(map(len, values["preds"])) + sum(map(len, values["weights"]))
        if states.batch or rows < self.most_rows:
            return
        device = values["events"].device
        # Lists may wait on the CPU.
        here = States(map_tensors(lambda tensor: tensor.to(device), values), batch=True)
        columns = [
            merged
            for place, logits in enumerate(self.interpretations)
            for merged in self._merged(here, self.samples(here, logits), place)
        ]
        form = (len(self.interpretations), self.num_classes)
        merged = [torch.stack(x, 1).unflatten(1, form) for x in zip(*columns, strict=True)]
        rest: dict[str, Any] = {name: [] for name in (*self.PLAIN, *self.WEIGHTED)}
        cells = {name: [tensor] for name, tensor in zip(self.CELLS, merged, strict=True)}
        values.update(rest | cells)  # at once: an interrupt comes before it or after it

    def _merged(self, states: States, samples: Samples, place: int) -> Iterator[Cells]:
        """Yield the cells of each column, and its rows in them."""
        events = states.values["events"]
        held = [*zip(*(states.values[name] for name in self.CELLS), strict=True)]
        static_shape = not is_readable(events)
        curves = self.sorted_curves(states, samples, False, static_shape)
        for column, curve in enumerate(curves):
            parts = [Cells(*(x[:, place, column] for x in cells)) for cells in held]
            parts += map(known_cells, self.weighted_points(samples, column, static_shape))
            if parts and len(parts[0].images) == self.most_cells:  # what the last merge has left
                merged = self._copied(parts.pop(0))
            else:
                nothing = torch.zeros((), dtype=torch.int64, device=events.device)
                merged = self._copied(Cells(nothing, nothing.double()))
            for images, counts in parts:
                merge_cells_(*merged, images.contiguous(), counts.contiguous())
            if samples.preds:
                merge_points_(*merged, curve.fps, curve.tps, curve.thresholds.double())
            yield merged

    def _copied(self, cells: Cells) -> Cells:
        """Return cells in memory of their own, which a merge may change; one stands for all."""
        copies = (x.expand(self.most_cells, 2).clone for x in cells)
        form = {"memory_format": torch.contiguous_format}
        return Cells(*(normal_tensor(partial(copy, **form)) for copy in copies))

    @override
    def counted(self, states: States, column: int | None, static_shape: bool) -> list[TiedScores]:
        found = []
        for images, counts in self.made(states):
            if column is None:
                images, counts = images.flatten(0, 1), counts.flatten(0, 1)
            else:
                images, counts = images[:, column], counts[:, column]
            if not static_shape:
                used = (counts > 0).any(1)
                images, counts = images[used], counts[used]
            found.append(TiedScores(score_of_image(images[:, 0]), *counts.unbind(1)))
        return found

    @override
    def made(self, states: States) -> list[Cells]:
        """Return the cells ``[K, C, 2]`` of the interpretation that holds."""
        held = (chunks_of(states.values.get(name, [])) for name in self.CELLS)
        events = states.values["events"]
        return [
            Cells(*(choose_interpretation(x, events, dim=1) for x in cells))
            for cells in zip(*held, strict=True)
        ]

    @override
    def curves(self, states: States, *, micro: bool, static_shape: bool = False) -> Curves:
        curves = super().curves(states, micro=micro, static_shape=static_shape)
        if not self.made(states):
            return curves
        # Cells have scores in float64, whatever those of the rows.
        return _narrow(curves) if isinstance(curves, Curve) else [_narrow(x) for x in curves]

    @override
    def cells(self, states: States, *, micro: bool) -> list[Cells] | None:
        held = self.made(states)
        if not held:
            return None
        samples = self.samples(states)
        found = []
        for column, known in self.points(states, samples, micro, False):
            parts = [known_cells(part) for part in known]
            for cells in held:
                own = cells if column is None else (x[:, column] for x in cells)
                parts.append(Cells(*(x.reshape(-1, 2) for x in own)))
            found.append(Cells(*map(torch.cat, zip(*parts, strict=True))))
        return found


def known_cells(points: TiedScores) -> Cells:
    """Return a cell of one image for each point."""
    images = order_image(points.scores)
    counts = torch.stack([points.negatives, points.positives], 1)
    return Cells(torch.stack([images, images], 1), counts)


def _narrow(curve: Curve) -> Curve:
    return curve._replace(thresholds=curve.thresholds.float())
