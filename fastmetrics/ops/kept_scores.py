"""Scores kept one by one, in growing lists of tensors, and the curves through them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from typing_extensions import override

from fastmetrics.core.alive import ALIVE
from fastmetrics.core.states import Batch, States
from fastmetrics.core.statistic import check_form, frozen
from fastmetrics.ops.checks import LABEL_DTYPES
from fastmetrics.ops.curve import curve_areas_, curve_points_
from fastmetrics.ops.define import LIBRARY
from fastmetrics.ops.faults import new_events
from fastmetrics.ops.keep_scores import SpareRows, keep_scores_, label_dtype
from fastmetrics.ops.score_histogram import softmax_rows
from fastmetrics.ops.scores import (
    Areas,
    Curve,
    Curves,
    Scores,
    TiedScores,
    filled_up,
    points_curve,
    points_of,
    read_areas,
    whole_curve,
)
from fastmetrics.utilities.data import end_alike, normal_tensor
from fastmetrics.utilities.recording import is_recorded

# A label that does not count, where labels take a byte.
LEFT_OUT_BYTE = 255

# Who keeps scores, by identity: what a compiled region holds of them.
_KEEPERS: WeakValueDictionary[int, Kept] = WeakValueDictionary()

# A compiled region sees neither the lists nor their growth, which would compile it anew. Memory
# that a CUDA graph would write again holds the rows of one batch.
LIBRARY.define(
    "append_rows_(Tensor(a!) events, int statistic, int states, Tensor[] rows) -> ()",
    tags=tuple(tag for name, tag in torch.Tag.__members__.items() if name == "cudagraph_unsafe"),
)


def _append_rows(events: Tensor, statistic: int, states: int, rows: list[Tensor]) -> None:
    keeper, kept = _KEEPERS.get(statistic), ALIVE.get(states)
    if keeper is None or kept is None:
        raise RuntimeError("A compiled step adds scores to a metric that no longer exists.")
    keeper.append(kept, tuple(rows))


LIBRARY.impl("append_rows_", _append_rows, "CompositeExplicitAutograd")
LIBRARY.impl("append_rows_", torch.library.fallthrough_kernel, "Autograd")
torch.library.register_fake("fastmetrics::append_rows_", lambda *_: None, lib=LIBRARY)


class Samples(NamedTuple):
    """Kept rows that can be ranked: chunks of scores ``[M, C]`` with their labels.

    Attributes:
        preds: those without weights, of one dtype.
        target: their labels.
        weighted: scores, labels and weights of the others, chunk by chunk.
    """

    preds: list[Tensor]
    target: list[Tensor]
    weighted: list[tuple[Tensor, Tensor, Tensor]]


@frozen(kw_only=True)
class Kept(Scores):
    """Scores and their labels, in lists of tensors, as long as a subclass leaves them there.

    The states are

    - ``preds``: ``[M]`` for binary scores, ``[M, C]`` for others, in float types;
    - ``target``: uint8 0, 1 and 255 (left out) in the shape of ``preds``; for multiclass the
      classes ``[M]``, uint8 with 255 or int32 with -1 for those left out;
    - ``weighted_preds``, ``weighted_target``, ``weights``: the same for samples with a weight;
    - ``events``;
    - what a subclass makes of many scores.
    """

    op = staticmethod(keep_scores_)
    exact = ("weights",)
    PLAIN: ClassVar = ("preds", "target")
    WEIGHTED: ClassVar = ("weighted_preds", "weighted_target", "weights")
    MADE: ClassVar[tuple[str, ...]] = ()  # of many rows, by a subclass
    batches: ClassVar[tuple[tuple[str, ...], ...]] = (PLAIN, WEIGHTED)

    def __post_init__(self) -> None:
        """Let compiled regions find the statistic."""
        super().__post_init__()
        if not is_dynamo_compiling():
            _KEEPERS[id(self)] = self

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {**dict.fromkeys((*self.PLAIN, *self.WEIGHTED), "cat"), "events": "sum"}

    @property
    @override
    def rows(self) -> None:
        return None

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        return self.empty_batch(device)

    @override
    def empty_batch(self, device: torch.device | None) -> dict[str, Any]:
        return {
            "preds": [],
            "target": [],
            "weighted_preds": [],
            "weighted_target": [],
            "weights": [],
            "events": new_events(device),
        }

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        count = target.numel() if self.multiclass else target.numel() // self.num_classes
        names = self.PLAIN if weight is None else self.WEIGHTED
        values = states.values
        if isinstance(states, Batch) or is_dynamo_compiling():
            memory = self._allocate(count, weight is not None, preds.dtype, target.device)
            self._write(memory, 0, values["events"], preds, target, weight)
            shown = memory if isinstance(states, Batch) else self._shown(memory)
            if not states.batch:
                self._append_later(states, shown)
                return
            for name, written in zip(names, shown, strict=True):
                values[name].append(written)
            return
        rows = self._open_rows(states, names, count, preds.dtype, values["events"].device)
        self._write(rows.memory, rows.used, values["events"], preds, target, weight)
        self._show_rows(states, names, rows, count)
        self.shrink(states, preds.dtype)

    def _write(
        self,
        memory: tuple[Tensor, ...],
        start: int,
        events: Tensor,
        preds: Tensor,
        target: Tensor,
        weight: Tensor | None,
    ) -> None:
        """Write a batch into memory, from row ``start`` on."""
        keep_scores_(
            memory[0],
            events,
            preds,
            target,
            weight,
            memory[1],
            None if weight is None else memory[2],
            start,
            self.multiclass,
            self.ignore_index,
            self.validate_args,
        )

    @override
    def join(self, total: States, batch: States) -> tuple[str, ...]:
        for names in (self.PLAIN, self.WEIGHTED):
            for chunks in zip(*map(batch.values.__getitem__, names), strict=True):
                if is_dynamo_compiling():
                    self._append_later(total, chunks)
                else:
                    self.append(total, chunks)
        # One batch is never turned into anything else.
        return (*self.PLAIN, *self.WEIGHTED, *self.MADE)

    def append(self, states: States, chunks: tuple[Tensor, ...]) -> None:
        """Add rows, as states hold them: scores, labels and perhaps weights."""
        names = self.PLAIN if len(chunks) == len(self.PLAIN) else self.WEIGHTED
        count, dtype, device = chunks[0].shape[0], chunks[0].dtype, chunks[0].device
        rows = self._open_rows(states, names, count, dtype, device)
        for shown, chunk in zip(rows.shown, chunks, strict=True):
            shown[rows.used : rows.used + count] = chunk
        self._show_rows(states, names, rows, count)
        self.shrink(states, dtype)

    def _append_later(self, states: States, rows: tuple[Tensor, ...]) -> None:
        """Add rows when the compiled region runs."""
        torch.ops.fastmetrics.append_rows_.default(
            states.values["events"], id(self), states.number, list(rows)
        )

    def shrink(self, states: States, dtype: torch.dtype) -> None:
        """Make less of the rows, to which one of this dtype was added, if they are too many."""

    def _open_rows(
        self,
        states: States,
        names: tuple[str, ...],
        count: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> SpareRows:
        """Return memory with ``count`` free rows; the first batch gets no more than it needs."""
        chunks = states.values[names[0]]
        if not chunks or states.batch or not states.grows:
            return self._new_memory(count, len(names) > 2, dtype, device)
        rows: SpareRows | None = states.spare.get(names[0])
        if rows is not None and rows.has_room(chunks[-1], count, dtype):
            return rows
        return self._new_memory(max(count, self.room(chunks)), len(names) > 2, dtype, device)

    def room(self, chunks: list[Tensor]) -> int:
        """Return how many rows to make room for behind these: what is left early wastes little."""
        return 2 * len(chunks[-1])

    def _new_memory(
        self, size: int, weighted: bool, dtype: torch.dtype, device: torch.device
    ) -> SpareRows:
        memory = normal_tensor(lambda: self._allocate(size, weighted, dtype, device))
        return SpareRows(memory, self._shown(memory))

    def _shown(self, memory: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return memory in the form of the states: binary scores have one axis."""
        if self.num_classes > 1:
            return memory
        preds, target, *weights = memory
        return preds.squeeze(1), target.squeeze(1), *weights

    def _allocate(
        self, size: int, weighted: bool, dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor, ...]:
        """Return memory for so many rows, as `keep_scores_` takes it."""
        columns = self.num_classes
        labels = label_dtype(columns, self.multiclass)
        preds = torch.empty(size, columns, dtype=dtype, device=device)
        if self.multiclass:
            target = torch.empty(size, dtype=labels, device=device)
        else:
            target = torch.empty(size, columns, dtype=labels, device=device)
        if not weighted:
            return preds, target
        return preds, target, torch.empty(size, dtype=torch.float64, device=device)

    def _show_rows(
        self, states: States, names: tuple[str, ...], rows: SpareRows, count: int
    ) -> None:
        """Make the next ``count`` rows part of the states."""
        if not count:
            return
        used, shown = rows.used + count, rows.shown
        full = used == shown[0].shape[0]
        views = shown if full else [tensor[:used] for tensor in shown]
        # In front of what the rows remember: the next batch takes other memory if that differs.
        chunks = [*map(states.values.__getitem__, names)]
        end_alike(chunks, views, instead=rows.used > 0)
        rows.used = used
        if states.batch:
            return
        rows.view = views[0]
        if not full:
            states.spare[names[0]] = rows
        elif states.spare:
            states.spare.pop(names[0], None)

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        columns = (self.num_classes,) if self.num_classes > 1 else ()
        preds, target, *weights = tensors
        check_form(names[0], preds, ("M", *columns))
        shape = (len(preds), *(() if self.multiclass else columns))
        check_form(names[1], target, shape, *LABEL_DTYPES)
        for name, weight in zip(names[2:], weights, strict=True):
            check_form(name, weight, (len(preds),), torch.float64)

    def samples(self, states: States, logits: bool | None = None) -> Samples:
        """Return all rows, as they are compared.

        Without ``logits``, which says whether multiclass scores are such, their values do.
        """
        if is_dynamo_compiling() and not states.batch:
            torch._dynamo.graph_break("the number of scores that are kept changes")
        preds, target = self._preds(states, "preds", logits), self._target(states, "target")
        weights = chunks_of(states.values["weights"])
        if not weights:
            return Samples(preds, target, [])
        scores = self._preds(states, "weighted_preds", logits)
        labels = self._target(states, "weighted_target")
        return Samples(preds, target, list(zip(scores, labels, weights, strict=True)))

    def _preds(self, states: States, name: str, logits: bool | None) -> list[Tensor]:
        """Return chunks ``[M, C]`` of one dtype that can be ranked."""
        chunks = chunks_of(states.values[name])
        if self.num_classes == 1:
            chunks = [chunk.unsqueeze(1) if chunk.ndim == 1 else chunk for chunk in chunks]
        if self.multiclass and logits is None:
            chunks = [self.if_logits(states, chunk, softmax_rows) for chunk in chunks]
        elif self.multiclass and logits:
            chunks = [softmax_rows(chunk) for chunk in chunks]
        if len(chunks) > 1 and len({chunk.dtype for chunk in chunks}) > 1:
            dtype = functools.reduce(torch.promote_types, (chunk.dtype for chunk in chunks))
            chunks = [chunk.to(dtype) for chunk in chunks]
        return chunks

    def _target(self, states: States, name: str) -> list[Tensor]:
        """Return chunks of labels as `keep_scores_` leaves them."""
        own = label_dtype(self.num_classes, self.multiclass)
        chunks = [
            chunk if chunk.dtype is own else self._own_labels(chunk)
            for chunk in chunks_of(states.values[name])
        ]
        if self.num_classes == 1:
            return [chunk.unsqueeze(1) if chunk.ndim == 1 else chunk for chunk in chunks]
        return chunks

    def _own_labels(self, labels: Tensor) -> Tensor:
        """Return labels in the dtype of `keep_scores_`, of those too that a user has appended."""
        dtype = label_dtype(self.num_classes, self.multiclass)
        if labels.dtype is dtype:
            return labels
        labels = labels.long()
        left_out = labels < 0
        if self.ignore_index is not None:
            left_out |= labels == self.ignore_index
        return labels.masked_fill(left_out, -1).to(dtype)  # -1 becomes 255 in a byte

    def _device(self, states: States) -> torch.device:
        """Where the scores are, if not with the counts: `compute_on_cpu` moves lists alone."""
        values = states.values
        chunks = chunks_of(values["preds"]) or chunks_of(values["weighted_preds"])
        device: torch.device = (chunks[0] if chunks else values["events"]).device
        return device

    @override
    def areas(self, states: States, *, micro: bool, precision: bool) -> Areas | None:
        """Return the areas by sorting; None where points of several kinds must be joined."""
        preds, target, weighted = self.samples(states)
        if weighted or self.made(states):
            return None
        return read_areas(
            curve_areas_,
            1 if micro else self.num_classes,
            preds,
            target,
            self.multiclass,
            micro,
            device=(preds[0] if preds else states.values["events"]).device,
            one=micro,
            column=int(precision),
        )

    @override
    def curves(self, states: States, *, micro: bool, static_shape: bool = False) -> Curves:
        static_shape = static_shape and is_recorded()
        samples = self.samples(states)
        if samples.weighted or self.made(states):
            device = self._device(states)
            curves = []
            for column, parts in self.points(states, samples, micro, static_shape):
                counted = self.counted(states, column, static_shape)
                parts += [TiedScores(*(x.to(device) for x in part)) for part in counted]
                curves.append(points_curve(parts, static_shape))
        else:
            curves = self.sorted_curves(states, samples, micro, static_shape)
        curves = [self.with_probabilities(states, curve) for curve in curves]
        return curves[0] if micro else curves

    def made(self, states: States) -> Sequence[Any]:
        """Return what stands for rows that are no longer there, if anything does."""
        return ()

    def counted(self, states: States, column: int | None, static_shape: bool) -> list[TiedScores]:
        """Return that as points, of one column or of all."""
        return []

    def points(
        self, states: States, samples: Samples, micro: bool, static_shape: bool
    ) -> Iterator[tuple[int | None, list[TiedScores]]]:
        """Yield each column, or None for all as one, and its rows as points."""
        curves = self.sorted_curves(states, samples, micro, static_shape)
        for place, curve in enumerate(curves):
            column = None if micro else place
            parts = self.weighted_points(samples, column, static_shape)
            yield column, parts + (points_of(curve) if samples.preds else [])

    def weighted_points(
        self, samples: Samples, column: int | None, static_shape: bool
    ) -> list[TiedScores]:
        """Return the rows that have weights as points, in any order."""
        return [self._points_of_weights(*x, column, static_shape) for x in samples.weighted]

    def sorted_curves(
        self, states: States, samples: Samples, micro: bool, static_shape: bool
    ) -> list[Curve]:
        """Return the curve of each column, or one of all, through the distinct scores."""
        device = self._device(states)
        preds, target, _ = samples
        curves = 1 if micro else self.num_classes
        rows = sum(len(chunk) for chunk in preds) * (self.num_classes if micro else 1)
        fps = torch.empty(curves, rows, dtype=torch.float64, device=device)
        tps = torch.empty(curves, rows, dtype=torch.float64, device=device)
        dtype = preds[0].dtype if preds else torch.float32
        thresholds = torch.empty(curves, rows, dtype=dtype, device=device)
        count = torch.zeros(curves, dtype=torch.int64, device=device)
        curve_points_(fps, tps, thresholds, count, preds, target, self.multiclass, micro)
        if static_shape and preds:
            return [*map(filled_up, fps, tps, thresholds, count)]
        return [
            whole_curve(fps[place, :last], tps[place, :last], thresholds[place, :last])
            for place, last in enumerate(count.tolist())
        ]

    def _points_of_weights(
        self,
        scores: Tensor,
        labels: Tensor,
        weight: Tensor,
        column: int | None,
        static_shape: bool,
    ) -> TiedScores:
        if self.multiclass:
            classes = torch.arange(self.num_classes, device=labels.device)
            counted = (labels >= 0) & (labels < self.num_classes)
            positive = labels.unsqueeze(1) == classes
            counted = counted.unsqueeze(1).expand_as(positive)
        else:
            positive, counted = labels == 1, labels != LEFT_OUT_BYTE
        amount = weight.unsqueeze(1) * counted
        every = (scores, amount * ~positive, amount * positive)
        points = TiedScores(*(x.flatten() if column is None else x[:, column] for x in every))
        if static_shape:
            return points
        used = points.negatives + points.positives > 0
        return TiedScores(*(x[used] for x in points))


def chunks_of(rows: list[Tensor] | Tensor) -> list[Tensor]:
    """Return the tensors that hold anything."""
    chunks = [rows] if isinstance(rows, Tensor) else rows
    return [chunk for chunk in chunks if chunk.numel()]
