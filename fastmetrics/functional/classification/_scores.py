"""The scores seen so far, in one of three statistics, and the curves that follow from each.

======== ================== ========================================================================
name     ``thresholds``     what is kept
======== ================== ========================================================================
binned   int, list, tensor  how many scores lie between the thresholds
exact    None               every score
ranked   ``"auto"``         how many scores share the leading bits of their floating-point format
======== ================== ========================================================================
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fastmetrics.functional.classification._curve import (
    Curve,
    Curves,
    Grid,
    Thresholds,
    make_grid,
    table_curve,
)
from fastmetrics.functional.classification._statistic import choose_reading
from fastmetrics.ops import (
    curve_areas_,
    curve_points_,
    keep_scores_,
    score_histogram_,
    score_image_histogram_,
)
from fastmetrics.ops.faults import NAN_RANKS_LAST, OUTSIDE, new_events, raise_events
from fastmetrics.ops.keep_scores import label_dtype
from fastmetrics.ops.score_histogram import softmax

# Counts of ranked scores take at most this many bytes, as long as bins stay fine enough.
MAX_COUNT_BYTES = 64 * 2**20
MAX_BITS, MIN_BITS = 16, 10

# A label that does not count.
LEFT_OUT_BYTE = 255

# Rows of which the softmax is taken at a time.
_SOFTMAX_SCORES = 2**16


class Areas(NamedTuple):
    """What the whole of a curve comes to, for each of C classes; float64 ``[C]``.

    Attributes:
        pairs: how many pairs of a positive and a negative are in order, ties counting half.
        precision: the precision at each positive, added up.
        negatives: their number.
        positives: their number.
    """

    pairs: Tensor
    precision: Tensor
    negatives: Tensor
    positives: Tensor


class Scores(Protocol):
    """A statistic of scores from which curves can be read."""

    def curves(self, pool: bool, repeats: bool = False) -> Curves:
        """Return the curve of each class, or one curve when pooled.

        With ``repeats`` points may occur more than once, which changes no value: in compiled
        regions the number of points then does not depend on the data.
        """

    def areas(self, pool: bool) -> Areas | None:
        """Return the areas, or None when they are as cheap from the curves."""

    def table(self, pool: bool) -> Tensor | None:
        """Return counts ``[C, 2, B]`` by ascending score, or None when every score is known."""


def _read_table(counts: Tensor, events: Tensor, pool: bool) -> Tensor:
    """Return ``[C, 2, B]`` of ``[H, C, 2, B]``: the chosen reading, or the sum of its classes."""
    table = choose_reading(counts, events)
    return table.sum(0, keepdim=True) if pool and len(table) > 1 else table


class BinnedScores(NamedTuple):
    """Histograms ``[H, C, 2, T + 1]`` between given thresholds."""

    counts: Tensor
    events: Tensor
    grid: Grid

    def table(self, pool: bool) -> Tensor:
        """Return the histograms of the chosen reading."""
        return _read_table(self.counts, self.events, pool)

    def curves(self, pool: bool, repeats: bool = False) -> Curve:
        """Return all curves at the same thresholds."""
        table = self.table(pool)
        return table_curve(table[0] if pool else table, self.grid)

    def areas(self, pool: bool) -> None:
        """Return None."""


@functools.lru_cache(maxsize=16)
def _image_values(bits: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the lowest score of ``dtype`` in each bin of `score_image_histogram_`; NaN first."""
    width = 8 * dtype.itemsize
    image = torch.arange(2**bits, device=device) << (width - bits)
    sign = 1 << (width - 1)
    pattern = torch.where(image >= sign, image - sign, (2 * sign - 1 - image) - 2 * sign)
    values = pattern.to(torch.int16 if width == 16 else torch.int32).view(dtype)
    values = values.nan_to_num(-torch.inf, torch.inf, -torch.inf)
    values[0] = torch.nan
    return values


def image_bits(num_classes: int, readings: int) -> int:
    """Return how many leading bits tell scores apart, so that the counts stay affordable."""
    bits = MAX_BITS
    while bits > MIN_BITS and readings * num_classes * 2 * 8 * 2**bits > MAX_COUNT_BYTES:
        bits -= 1
    return bits


class Points(NamedTuple):
    """Scores ``[K]`` in any order, and the negatives and positives (float64) that have each."""

    scores: Tensor
    negatives: Tensor
    positives: Tensor


def _order_image(scores: Tensor) -> Tensor:
    """Return int64 numbers that order like the scores; -0 equals +0, NaN is the lowest."""
    bits = (scores.double() + 0.0).view(torch.int64)
    image = bits ^ ((bits >> 63) & torch.iinfo(torch.int64).max)
    return torch.where(scores.isnan(), torch.iinfo(torch.int64).min, image)


def points_curve(parts: list[Points], repeats: bool) -> Curve:
    """Return the curve through all points, at the distinct scores, or at each one's last point."""
    scores = torch.cat([part.scores for part in parts])
    image, order = _order_image(scores).sort(descending=True)
    last = torch.ones_like(image, dtype=torch.bool)
    last[:-1] = image[1:] != image[:-1]
    fps = torch.cat([part.negatives for part in parts])[order].cumsum(0)
    tps = torch.cat([part.positives for part in parts])[order].cumsum(0)
    zero = fps.new_zeros(())
    if repeats:
        place = torch.arange(len(last), device=last.device)
        last = place.where(last, len(last)).flip(0).cummin(0).values.flip(0)
    return Curve(
        fps[last],
        tps[last],
        fps[-1] if len(fps) else zero,
        tps[-1] if len(tps) else zero,
        scores[order][last],
        False,
    )


def _filled_up(fps: Tensor, tps: Tensor, thresholds: Tensor, count: Tensor) -> Curve:
    """Return the curve through the first ``count`` points, the last of which is repeated."""
    place = torch.arange(len(fps), device=fps.device).minimum(count - 1).clamp(min=0)
    fps, tps = (x[place].where(count > 0, 0.0) for x in (fps, tps))
    return Curve(fps, tps, fps[-1], tps[-1], thresholds[place], False)


def _occupied(table: Tensor, values: Tensor, repeats: bool) -> Points:
    """Return the bins ``[2, B]`` that hold anything, or all of them where points may repeat."""
    if repeats:
        return Points(values, *table.double().unbind(0))
    used = (table[0] + table[1]).nonzero().squeeze(1)
    negatives, positives = table.index_select(1, used).double().unbind(0)
    return Points(values[used], negatives, positives)


def _softmax_rows(rows: Tensor) -> Tensor:
    """Softmax over the last axis, some rows at a time; float32 or float64."""
    if torch.compiler.is_compiling():  # a loop over samples would be unrolled
        return softmax(rows)
    result = torch.empty(
        rows.shape, dtype=torch.promote_types(rows.dtype, torch.float32), device=rows.device
    )
    step = max(1, _SOFTMAX_SCORES // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        result[start : start + step] = softmax(rows[start : start + step])
    return result


def _if_logits(
    input: str, events: Tensor, scores: Tensor, convert: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return ``convert(scores)`` if the scores are logits, else the scores."""
    if input == "auto" and torch.compiler.is_compiling():
        return torch.where(events[OUTSIDE] > 0, convert(scores), scores)
    logits = input == "logits" or (input == "auto" and int(events[OUTSIDE]) > 0)
    return convert(scores) if logits else scores


def _sigmoid(scores: Tensor) -> Tensor:
    """Sigmoid, worked out in float32 or wider."""
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return wide.sigmoid().to(scores.dtype)


def _with_probabilities(curve: Curve, multiclass: bool, input: str, events: Tensor) -> Curve:
    """Return the curve with thresholds that are probabilities; softmax has left such already."""
    if multiclass:
        return curve
    return curve._replace(thresholds=_if_logits(input, events, curve.thresholds, _sigmoid))


class RankedScores(NamedTuple):
    """Histograms ``[H, C, 2, 2 ** bits]`` over the leading bits of the scores."""

    counts: Tensor
    events: Tensor
    multiclass: bool
    input: str

    def table(self, pool: bool) -> Tensor:
        """Return the histograms of the chosen reading."""
        return _read_table(self.counts, self.events, pool)

    def curves(self, pool: bool, repeats: bool = False) -> Curves:
        """Return a curve through the bins that hold anything."""
        repeats = repeats and torch.compiler.is_compiling()
        table = self.table(pool)
        bits = table.shape[-1].bit_length() - 1
        values = _image_values(bits, torch.float32, table.device)
        curves = [
            _with_probabilities(
                points_curve([_occupied(rows, values, repeats)], repeats),
                self.multiclass,
                self.input,
                self.events,
            )
            for rows in table
        ]
        return curves[0] if pool else curves

    def areas(self, pool: bool) -> None:
        """Return None."""


Rows = list[Tensor] | Tensor


def _chunks(rows: Rows) -> list[Tensor]:
    """Return the tensors that hold anything."""
    chunks = [rows] if isinstance(rows, Tensor) else rows
    return [chunk for chunk in chunks if chunk.numel()]


class KeptScores(NamedTuple):
    """Every score with its label; C is 1 for binary scores.

    Attributes:
        preds: chunks ``[M, C]`` in float types.
        target: their labels: uint8 0, 1 and 255 (left out) ``[M, C]``, or for multiclass the
            classes ``[M]``, uint8 with 255 or int32 with -1 for those left out.
        weighted_preds: the same for samples with a weight.
        weighted_target: their labels.
        weights: float64 ``[M]``.
        float16_counts: ``[1, C, 2, 65536]`` by the order of all float16 numbers, or a scalar 0.
        bfloat16_counts: the same for bfloat16.
        events: int64 ``[3]``.
        num_classes: C.
        multiclass: whether a label is a class.
        input: what the scores are.
    """

    preds: Rows
    target: Rows
    weighted_preds: Rows
    weighted_target: Rows
    weights: Rows
    float16_counts: Tensor
    bfloat16_counts: Tensor
    events: Tensor
    num_classes: int
    multiclass: bool
    input: str

    @property
    def device(self) -> torch.device:
        """Where the scores are, if not with the counts: `compute_on_cpu` moves lists alone."""
        chunks = [*_chunks(self.preds), *_chunks(self.weighted_preds)]
        return chunks[0].device if chunks else self.events.device

    def table(self, pool: bool) -> None:
        """Return None."""

    def areas(self, pool: bool) -> Areas | None:
        """Return the areas by sorting; None where points of several kinds must be joined."""
        if _chunks(self.weights) or self.float16_counts.ndim or self.bfloat16_counts.ndim:
            return None
        preds, target = self._samples(self.preds, self.target)
        areas = torch.zeros(
            (1 if pool else self.num_classes, 4), dtype=torch.float64, device=self.device
        )
        if preds:
            curve_areas_(areas, preds, target, self.multiclass, pool)
        return Areas(*areas.unbind(-1))

    def curves(self, pool: bool, repeats: bool = False) -> Curves:
        """Return curves through all distinct scores."""
        repeats = repeats and torch.compiler.is_compiling()
        samples = self._samples(self.preds, self.target)
        weighted = self._samples(self.weighted_preds, self.weighted_target)
        columns = [None] if pool else list(range(self.num_classes))
        curves = []
        for column in columns:
            parts = [
                *self._weighted_points(*weighted, column, repeats),
                *self._counted_points(column, repeats),
            ]
            if parts:
                points = self._points_of(*samples, column, repeats)
                curve = points_curve([*parts, *points], repeats)
            else:
                curve = self._sorted_curve(*samples, column, repeats)
            curves.append(_with_probabilities(curve, self.multiclass, self.input, self.events))
        return curves[0] if pool else curves

    def class_pairs(self) -> tuple[Tensor, Tensor]:
        """Return, float64, how classes rank against one another by their own score.

        ``pairs[i, j]`` counts the samples of class i that score higher in column i than one of
        class j, ties counting half ``[C, C]``; with it come the samples of each class ``[C]``.
        """
        size = self.num_classes
        pairs = torch.zeros((size, size), dtype=torch.float64, device=self.device)
        preds, target = self._samples(self.preds, self.target)
        weighted_preds, weighted_target = self._samples(self.weighted_preds, self.weighted_target)
        if not preds and not weighted_preds:
            return pairs, pairs.new_zeros(size)
        labels = torch.cat([chunk.long() for chunk in (*target, *weighted_target)])
        weights = torch.cat(
            [*(pairs.new_ones(len(chunk)) for chunk in target), *_chunks(self.weights)]
        )
        weights = weights.where((labels >= 0) & (labels < size), 0.0)
        labels = labels.clamp(0, size - 1)
        for column in range(size):
            scores = torch.cat([chunk[:, column].double() for chunk in (*preds, *weighted_preds)])
            image, order = _order_image(scores).sort(descending=True)
            own = weights[order].where(labels[order] == column, 0.0)
            groups = torch.unique_consecutive(image, return_inverse=True)[1]
            tied = own.new_zeros(int(groups[-1]) + 1).index_add_(0, groups, own)
            above = (tied.cumsum(0) - tied / 2)[groups]
            pairs[column].index_add_(0, labels[order], above * weights[order])
        totals = pairs.new_zeros(size).index_add_(0, labels, weights)
        return pairs, totals

    def _samples(self, preds: Rows, target: Rows) -> tuple[list[Tensor], list[Tensor]]:
        """Return chunks of one dtype that can be ranked, with their labels."""
        chunks = _chunks(preds)
        if self.multiclass:
            chunks = [_if_logits(self.input, self.events, x, _softmax_rows) for x in chunks]
        if len({chunk.dtype for chunk in chunks}) > 1:
            dtype = functools.reduce(torch.promote_types, (chunk.dtype for chunk in chunks))
            chunks = [chunk.to(dtype) for chunk in chunks]
        return chunks, _chunks(target)

    def _points_of(
        self, preds: list[Tensor], target: list[Tensor], column: int | None, repeats: bool
    ) -> list[Points]:
        """Return the points of a sorted curve, apart."""
        if not preds:
            return []
        curve = self._sorted_curve(preds, target, column, repeats)
        zero = curve.fps.new_zeros(1)
        return [
            Points(curve.thresholds, curve.fps.diff(prepend=zero), curve.tps.diff(prepend=zero))
        ]

    def _sorted_curve(
        self, preds: list[Tensor], target: list[Tensor], column: int | None, repeats: bool
    ) -> Curve:
        """Return the curve of one column, or of all of them, through the distinct scores."""
        device = self.device
        size = sum(len(chunk) for chunk in preds) * (self.num_classes if column is None else 1)
        fps = torch.empty(size, dtype=torch.float64, device=device)
        tps = torch.empty_like(fps)
        dtype = preds[0].dtype if preds else torch.float32
        thresholds = torch.empty(size, dtype=dtype, device=device)
        count = torch.zeros(1, dtype=torch.int64, device=device)
        if preds:
            curve_points_(
                fps,
                tps,
                thresholds,
                count,
                preds,
                target,
                column or 0,
                self.multiclass,
                column is None,
            )
        if repeats and preds:
            return _filled_up(fps, tps, thresholds, count)
        last = int(count) if preds else 0
        zero = fps.new_zeros(())
        return Curve(
            fps[:last],
            tps[:last],
            fps[last - 1] if last else zero,
            tps[last - 1] if last else zero,
            thresholds[:last],
            False,
        )

    def _weighted_points(
        self, preds: list[Tensor], target: list[Tensor], column: int | None, repeats: bool
    ) -> list[Points]:
        points = []
        for scores, labels, weight in zip(preds, target, _chunks(self.weights), strict=True):
            if self.multiclass:
                classes = torch.arange(self.num_classes, device=labels.device)
                counted = (labels >= 0) & (labels < self.num_classes)
                positive = labels.unsqueeze(1) == classes
                counted = counted.unsqueeze(1).expand_as(positive)
            else:
                positive, counted = labels == 1, labels != LEFT_OUT_BYTE
            amount = weight.unsqueeze(1) * counted
            every = (scores, amount * ~positive, amount * positive)
            if column is None:
                points.append(Points(*(x.flatten() for x in every)))
            else:
                points.append(Points(*(x[:, column] for x in every)))
        if repeats:
            return points
        return [Points(*(x[part.negatives + part.positives > 0] for x in part)) for part in points]

    def _counted_points(self, column: int | None, repeats: bool) -> list[Points]:
        points = []
        for counts, dtype in (
            (self.float16_counts, torch.float16),
            (self.bfloat16_counts, torch.bfloat16),
        ):
            if counts.ndim:
                counts = counts[0].to(self.device)
                table = counts.sum(0) if column is None else counts[column]
                values = _image_values(MAX_BITS, dtype, counts.device)
                points.append(_occupied(table, values, repeats))
        return points


def new_kept(
    rows: int,
    like: Tensor,
    num_classes: int,
    multiclass: bool,
    weighted: bool,
    device: torch.device,
) -> tuple[Tensor, ...]:
    """Return memory for the scores, labels and, if ``weighted``, weights of so many rows."""
    preds = torch.empty((rows, num_classes), dtype=like.dtype, device=device)
    shape = (rows,) if multiclass else (rows, num_classes)
    labels = torch.empty(shape, dtype=label_dtype(num_classes, multiclass), device=device)
    if not weighted:
        return preds, labels
    return preds, labels, torch.empty(rows, dtype=torch.float64, device=device)


def count_scores(
    owner: str,
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    multiclass: bool,
    thresholds: Thresholds,
    ignore_index: int | None,
    validate_args: bool,
    weight: Tensor | None,
    input: str,
) -> Scores:
    """Return the statistic of one batch; ``num_classes`` is 1 for binary scores."""
    device = target.device
    events = new_events(device)
    scores: Any
    if thresholds is None:
        rows = target.numel() if multiclass else target.numel() // num_classes
        kept = new_kept(rows, preds, num_classes, multiclass, weight is not None, device)
        weights = kept[2] if weight is not None else None
        keep_scores_(
            kept[0],
            events,
            preds,
            target,
            weight,
            kept[1],
            weights,
            0,
            multiclass,
            ignore_index,
            validate_args,
        )
        zero = torch.zeros((), dtype=torch.int64, device=device)
        plain, weighted = ([], list(kept)) if weights is not None else (list(kept), [])
        scores = KeptScores(
            plain[:1],
            plain[1:],
            weighted[:1],
            weighted[1:2],
            weighted[2:],
            zero,
            zero,
            events,
            num_classes,
            multiclass,
            input,
        )
    else:
        dtype = torch.int64 if weight is None else torch.float64
        if isinstance(thresholds, str):
            readings = 2 if multiclass and input == "auto" else 1
            bits = image_bits(num_classes, readings)
            counts = torch.zeros((readings, num_classes, 2, 2**bits), dtype=dtype, device=device)
            score_image_histogram_(
                counts,
                events,
                preds,
                target,
                weight,
                False,
                multiclass,
                input == "logits",
                ignore_index,
                validate_args,
            )
            scores = RankedScores(counts, events, multiclass, input)
        else:
            grid = make_grid(thresholds, input, multiclass, device)
            shape = (grid.edges.shape[0], num_classes, 2, grid.edges.shape[1] + 1)
            counts = torch.zeros(shape, dtype=dtype, device=device)
            score_histogram_(
                counts,
                events,
                preds,
                target,
                weight,
                grid.edges,
                grid.uniform,
                multiclass,
                input == "logits",
                ignore_index,
                validate_args,
            )
            scores = BinnedScores(counts, events, grid)
    if validate_args:
        raise_events(owner, events, NAN_RANKS_LAST)
    return scores  # type: ignore[no-any-return]  # one of the three


def count_curves(
    owner: str,
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    multiclass: bool,
    pool: bool,
    thresholds: Thresholds,
    ignore_index: int | None,
    validate_args: bool,
    weight: Tensor | None,
    input: str,
    repeats: bool = False,
) -> Curves:
    """Count one batch into the curve of each class; one curve when pooled or binary."""
    scores = count_scores(
        owner,
        preds,
        target,
        num_classes,
        multiclass,
        thresholds,
        ignore_index,
        validate_args,
        weight,
        input,
    )
    return scores.curves(pool, repeats)
