"""Every score: growing lists of tensors, the curves through them, and counts of 16-bit scores."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import Batch, States
from fastmetrics.core.statistic import Lists, batches_of, check_form, frozen
from fastmetrics.ops.checks import LABEL_DTYPES
from fastmetrics.ops.counted import is_few
from fastmetrics.ops.curve import curve_areas_, curve_points_
from fastmetrics.ops.faults import OUTSIDE, new_events
from fastmetrics.ops.keep_scores import SpareRows, keep_scores_, label_dtype
from fastmetrics.ops.score_histogram import MOST_IMAGE_BITS, score_image_histogram_, softmax_rows
from fastmetrics.ops.scores import (
    Areas,
    Curve,
    Curves,
    Scores,
    TiedScores,
    filled_up,
    image_values,
    occupied,
    order_image,
    points_curve,
    points_of,
    sigmoid,
)
from fastmetrics.utilities.data import end_alike, normal_tensor
from fastmetrics.utilities.recording import is_recorded

# A label that does not count, where labels take a byte.
LEFT_OUT_BYTE = 255

# 16-bit scores become counts once so many rows are kept, if there are not too many classes.
FOLDED_ROWS = 2**16
MAX_FOLDED_CLASSES = 64


@frozen(kw_only=True)
class Kept(Scores):
    """Every score and its label, in lists of tensors; counts of 16-bit scores once there are many.

    The states are

    - ``preds``: ``[M]`` for binary scores, ``[M, C]`` for others, in float types;
    - ``target``: uint8 0, 1 and 255 (left out) in the shape of ``preds``; for multiclass the
      classes ``[M]``, uint8 with 255 or int32 with -1 for those left out;
    - ``weighted_preds``, ``weighted_target``, ``weights``: the same for samples with a weight;
    - ``float16_counts``, ``bfloat16_counts``: ``[1, C, 2, 65536]`` by the order of all such
      numbers, or a scalar 0;
    - ``events``.

    Attributes:
        folds: whether 16-bit scores become counts, which forget the other scores of a sample.
    """

    folds: bool

    op = staticmethod(keep_scores_)
    exact = ("weights",)
    PLAIN: ClassVar = ("preds", "target")
    WEIGHTED: ClassVar = ("weighted_preds", "weighted_target", "weights")
    COUNTED: ClassVar = {torch.float16: "float16_counts", torch.bfloat16: "bfloat16_counts"}
    REDUCTIONS: ClassVar = {
        **dict.fromkeys((*PLAIN, *WEIGHTED), "cat"),
        **dict.fromkeys((*COUNTED.values(), "events"), "sum"),
    }

    @classmethod
    def may_fold(cls, num_classes: int, multiclass: bool, input: str) -> bool:
        """Whether counts of 16-bit scores take little memory and tell as much as the scores.

        Whether multiclass scores are ranked as they are shows only at the end, unless they are
        said to be probabilities.
        """
        return num_classes <= MAX_FOLDED_CLASSES and (not multiclass or input == "probs")

    @property
    @override
    def thresholds(self) -> None:
        return None

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return self.REDUCTIONS

    @property
    @override
    def rows(self) -> None:
        return None

    @property
    @override
    def batches(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]  # a constant
        return self.PLAIN, self.WEIGHTED

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        nothing = torch.zeros((), dtype=torch.int64, device=device)
        return {
            "preds": [],
            "target": [],
            "weighted_preds": [],
            "weighted_target": [],
            "weights": [],
            **dict.fromkeys(self.COUNTED.values(), nothing),
            "events": new_events(device),
        }

    @override
    def empty_batch(self, device: torch.device) -> dict[str, Any]:
        # One batch is never turned into counts.
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
        if isinstance(states, Batch):
            memory = self._allocate(count, weight is not None, preds.dtype, target.device)
            self._write(memory, 0, values["events"], preds, target, weight)
            for name, written in zip(names, memory, strict=True):
                values[name].append(written)
            return
        rows = self._open_rows(states, names, count, preds.dtype, values["events"].device)
        self._write(rows.memory, rows.used, values["events"], preds, target, weight)
        self._show_rows(states, names, rows, count)
        if self.folds and preds.dtype in self.COUNTED:
            self._fold(states)

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
            for chunks in zip(*(batch.values[name] for name in names), strict=True):
                count, first = chunks[0].shape[0], chunks[0]
                rows = self._open_rows(total, names, count, first.dtype, first.device)
                for shown, chunk in zip(rows.shown, chunks, strict=True):
                    shown[rows.used : rows.used + count] = chunk
                self._show_rows(total, names, rows, count)
        if self.folds and any(x.dtype in self.COUNTED for x in batch.values["preds"]):
            self._fold(total)
        # One batch is never turned into counts.
        return (*self.PLAIN, *self.WEIGHTED, *self.COUNTED.values())

    def _open_rows(
        self,
        states: States,
        names: tuple[str, ...],
        count: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> SpareRows:
        """Return memory with ``count`` free rows.

        New memory has twice the rows of the last tensors, so that what is left early wastes
        little; the first batch gets no more than it needs.
        """
        chunks = states.values[names[0]]
        if not chunks or states.batch or not states.grows:
            return self._new_memory(count, len(names) > 2, dtype, device)
        rows: SpareRows | None = states.spare.get(names[0])
        if rows is not None and rows.has_room(chunks[-1], count, dtype):
            return rows
        return self._new_memory(max(count, 2 * len(chunks[-1])), len(names) > 2, dtype, device)

    def _new_memory(
        self, size: int, weighted: bool, dtype: torch.dtype, device: torch.device
    ) -> SpareRows:
        memory = normal_tensor(lambda: self._allocate(size, weighted, dtype, device))
        if self.num_classes > 1:
            return SpareRows(memory, memory)
        return SpareRows(memory, (*[column.squeeze(1) for column in memory[:2]], *memory[2:]))

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
        chunks = [states.values[name] for name in names]
        end_alike(chunks, views, instead=rows.used > 0)
        rows.used = used
        if states.batch:
            return
        rows.view = views[0]
        if not full:
            states.spare[names[0]] = rows
        elif states.spare:
            states.spare.pop(names[0], None)

    def _fold(self, states: States) -> None:
        """Turn the 16-bit scores among many into counts, which are just as exact."""
        values = states.values
        preds = values["preds"]
        if states.batch or sum(map(len, preds)) < FOLDED_ROWS:
            return
        device = values["events"].device
        for place in reversed(range(len(preds))):
            name = self.COUNTED.get(preds[place].dtype)
            if name is None or self._are_settled(values["target"][place]):
                continue
            if not values[name].ndim:
                size = (1, self.num_classes, 2, 2**MOST_IMAGE_BITS)
                zeros = functools.partial(torch.zeros, size, dtype=torch.int64, device=device)
                values[name] = normal_tensor(zeros)
            counts, before = values[name], values[name].sum()
            rest = {n: [*values[n][:place], *values[n][place + 1 :]] for n in self.PLAIN}
            try:
                # They may wait on the CPU.
                self._count(counts, values["preds"][place].to(device), values["target"][place])
                values.update(rest)
            except BaseException:
                if counts.sum() != before:  # an interrupt behind the op: counted once, not twice
                    values.update(rest)
                raise

    def _count(self, counts: Tensor, scores: Tensor, labels: Tensor) -> None:
        """Count a chunk of 16-bit scores."""
        labels = self._own_labels(labels).to(scores.device)
        if self.num_classes == 1:
            scores, labels = scores.flatten(), labels.flatten()
        score_image_histogram_(
            counts,
            new_events(scores.device),  # unread: they were counted when the scores came
            scores,
            labels,
            None,
            half=scores.dtype is torch.float16,
            multiclass=self.multiclass,
            ignore_index=LEFT_OUT_BYTE,
            validate=False,
        )

    @override
    def check_state(self, name: str, value: Tensor, default: Tensor) -> None:
        shape = (1, self.num_classes, 2, 2**MOST_IMAGE_BITS)
        counted = name in self.COUNTED.values() and value.ndim
        check_form(name, value, shape if counted else tuple(default.shape), torch.int64)

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        columns = (self.num_classes,) if self.num_classes > 1 else ()
        preds, target, *weights = tensors
        check_form(names[0], preds, ("M", *columns))
        shape = (len(preds), *(() if self.multiclass else columns))
        check_form(names[1], target, shape, *LABEL_DTYPES)
        for name, weight in zip(names[2:], weights, strict=True):
            check_form(name, weight, (len(preds),), torch.float64)

    # Other programs keep scores as probabilities, and labels in other dtypes, which tells them
    # apart from ours: those are probabilities whatever the scores of other batches turn out to be.

    def lists(self, flat: bool = False) -> Lists:
        """Return torchmetrics' lists of scores and labels.

        ``flat`` is for multiclass scores whose classes count together, kept as ``[M * C]``.
        """
        return Lists(
            self.PLAIN,
            functools.partial(self._take_batch, flat=flat),
            functools.partial(self._give_batches, flat=flat),
        )

    def _take_batch(self, states: States, batch: tuple[Tensor, ...], *, flat: bool) -> None:
        """Keep probabilities, the labels of what counts, and nothing else."""
        preds, target = batch
        if flat:
            size = self.num_classes
            check_form("preds", preds, ("M",))
            check_form("target", target, (len(preds),), *LABEL_DTYPES)
            preds, target = preds.view(-1, size), target.view(-1, size).long().argmax(-1)
        self.check_batch_states(self.PLAIN, (preds, target))
        if self.logits:
            preds = self._as_logits(preds)
        states.values["preds"].append(preds)
        labels = target.long()
        states.values["target"].append(labels if self.input == "auto" else self._own_labels(labels))

    def _as_logits(self, probabilities: Tensor) -> Tensor:
        """Return logits with these probabilities."""
        return probabilities.log() if self.multiclass else probabilities.logit()

    def _are_settled(self, labels: Tensor) -> bool:
        """Whether the scores with these labels are probabilities, whatever others are."""
        own = label_dtype(self.num_classes, self.multiclass)
        return self.input == "auto" and labels.dtype is not own

    @override
    def settle(self, states: States) -> None:
        """Make probabilities logits where others turned out to be such."""
        preds, target = states.values["preds"], states.values["target"]
        if is_recorded() or isinstance(target, Tensor):
            return
        places = [place for place, labels in enumerate(target) if self._are_settled(labels)]
        if places and int(states.values["events"][OUTSIDE]) > 0:
            for place in places:
                preds[place] = self._as_logits(preds[place])
                target[place] = self._own_labels(target[place])

    def _give_batches(self, states: States, *, flat: bool) -> list[tuple[Tensor, ...]]:
        """Return probabilities and labels; a label that does not count is left out, or ignored."""
        values = states.values
        if _chunks(values["weights"]):
            raise ValueError("torchmetrics keeps no weights, and these scores have some.")
        if any(values[name].ndim for name in self.COUNTED.values()):
            raise ValueError("torchmetrics keeps every score, and 16-bit ones were counted here.")
        self.settle(states)
        convert = softmax_rows if self.multiclass else sigmoid
        given = []
        for preds, target in batches_of({name: values[name] for name in self.PLAIN}):
            if not self._are_settled(target):
                preds = self.if_logits(states, preds, convert)
            given.append(self._upstream_batch(preds, self._own_labels(target), flat=flat))
        return given

    def _upstream_batch(self, preds: Tensor, labels: Tensor, *, flat: bool) -> tuple[Tensor, ...]:
        left_out = labels == (LEFT_OUT_BYTE if labels.dtype is torch.uint8 else -1)
        target = labels.long()
        if self.multiclass or self.num_classes == 1:
            preds, target = preds[~left_out], target[~left_out]
        elif self.ignore_index is not None:
            target = target.masked_fill(left_out, self.ignore_index)
        elif bool(left_out.any()):
            raise ValueError("torchmetrics needs `ignore_index` for labels that are left out.")
        if flat:
            target = torch.nn.functional.one_hot(target, self.num_classes).flatten()
            preds = preds.flatten()
        return preds, target

    @override
    def report(self, owner: str, states: States) -> None:
        super().report(owner, states)
        self.settle(states)

    @override
    def with_every_score(self) -> Kept:
        return replace(self, folds=False)

    def _preds(self, states: States, name: str) -> list[Tensor]:
        """Return chunks ``[M, C]`` of one dtype that can be ranked."""
        chunks = _chunks(states.values[name])
        if self.num_classes == 1:
            chunks = [_as_column(chunk) for chunk in chunks]
        if self.multiclass:
            chunks = [self.if_logits(states, chunk, softmax_rows) for chunk in chunks]
        if len(chunks) > 1 and len({chunk.dtype for chunk in chunks}) > 1:
            dtype = functools.reduce(torch.promote_types, (chunk.dtype for chunk in chunks))
            chunks = [chunk.to(dtype) for chunk in chunks]
        return chunks

    def _target(self, states: States, name: str) -> list[Tensor]:
        """Return chunks of labels as `keep_scores_` leaves them."""
        chunks = [self._own_labels(chunk) for chunk in _chunks(states.values[name])]
        return [_as_column(chunk) for chunk in chunks] if self.num_classes == 1 else chunks

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
        chunks = _chunks(values["preds"]) or _chunks(values["weighted_preds"])
        device: torch.device = (chunks[0] if chunks else values["events"]).device
        return device

    def _folded(self, states: States) -> list[tuple[torch.dtype, Tensor]]:
        """Return the counts of 16-bit scores, where there are any."""
        found = [(dtype, states.values.get(name)) for dtype, name in self.COUNTED.items()]
        return [(dtype, counts) for dtype, counts in found if counts is not None and counts.ndim]

    @override
    def table(self, states: States, *, micro: bool) -> None:
        return None

    @override
    def areas(self, states: States, *, micro: bool, precision: bool) -> Areas | None:
        """Return the areas by sorting; None where points of several kinds must be joined."""
        if _chunks(states.values["weights"]) or self._folded(states):
            return None
        preds = self._preds(states, "preds")
        size = 1 if micro else self.num_classes
        device = (preds[0] if preds else states.values["events"]).device
        areas = torch.zeros(size, 4, dtype=torch.float64, device=device)
        if preds:
            target = self._target(states, "target")
            curve_areas_(areas, preds, target, self.multiclass, micro)
        few, whole = is_few(areas), areas[0] if micro else areas
        columns: Any = [*zip(*areas.tolist(), strict=True)] if few else whole.unbind(-1)
        return Areas(columns[int(precision)], columns[2], columns[3])

    @override
    def curves(self, states: States, *, micro: bool, static_shape: bool = False) -> Curves:
        static_shape = static_shape and is_recorded()
        samples = self._preds(states, "preds"), self._target(states, "target")
        weighted, folded = self._weighted(states), self._folded(states)
        curves = []
        for column in [None] if micro else range(self.num_classes):
            curve = self._sorted_curve(states, *samples, column=column, static_shape=static_shape)
            if weighted or folded:
                parts = [self._points_of_weights(*rows, column, static_shape) for rows in weighted]
                parts += [
                    _points_of_counts(dtype, counts.to(curve.fps.device)[0], column, static_shape)
                    for dtype, counts in folded
                ]
                parts += points_of(curve) if samples[0] else []
                curve = points_curve(parts, static_shape)
            curves.append(self.with_probabilities(states, curve))
        return curves[0] if micro else curves

    def class_pairs(self, states: States) -> tuple[Tensor, Tensor]:
        """Return, float64, how classes rank against one another by their own score.

        ``pairs[i, j]`` counts the samples of class i that score higher in column i than one of
        class j, ties counting half ``[C, C]``; with it come the samples of each class ``[C]``.
        """
        size = self.num_classes
        pairs = torch.zeros((size, size), dtype=torch.float64, device=self._device(states))
        preds, weighted_preds = (self._preds(states, n) for n in ("preds", "weighted_preds"))
        target, weighted = (self._target(states, n) for n in ("target", "weighted_target"))
        if not preds and not weighted_preds:
            return pairs, pairs.new_zeros(size)
        labels = torch.cat([chunk.long() for chunk in (*target, *weighted)])
        ones = [pairs.new_ones(len(chunk)) for chunk in target]
        weights = torch.cat([*ones, *_chunks(states.values["weights"])])
        weights = weights.where((labels >= 0) & (labels < size), 0.0)
        labels = labels.clamp(0, size - 1)
        for column in range(size):
            scores = torch.cat([chunk[:, column].double() for chunk in (*preds, *weighted_preds)])
            image, order = order_image(scores).sort(descending=True)
            own = weights[order].where(labels[order] == column, 0.0)
            groups = torch.unique_consecutive(image, return_inverse=True)[1]
            tied = own.new_zeros(int(groups[-1]) + 1).index_add_(0, groups, own)
            above = (tied.cumsum(0) - tied / 2)[groups]
            pairs[column].index_add_(0, labels[order], above * weights[order])
        totals = pairs.new_zeros(size).index_add_(0, labels, weights)
        return pairs, totals

    def _sorted_curve(
        self,
        states: States,
        preds: list[Tensor],
        target: list[Tensor],
        *,
        column: int | None,
        static_shape: bool,
    ) -> Curve:
        """Return the curve of one column, or of all of them, through the distinct scores."""
        device = self._device(states)
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
        if static_shape and preds:
            return filled_up(fps, tps, thresholds, count)
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

    def _weighted(self, states: States) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return scores, labels and weights of the samples that have weights."""
        weights = _chunks(states.values["weights"])
        if not weights:
            return []
        preds = self._preds(states, "weighted_preds")
        target = self._target(states, "weighted_target")
        return list(zip(preds, target, weights, strict=True))

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


def _points_of_counts(
    dtype: torch.dtype, counts: Tensor, column: int | None, static_shape: bool
) -> TiedScores:
    """Return the points of counted scores ``[C, 2, 65536]`` of one class, or of all of them."""
    table = counts.sum(0) if column is None else counts[column]
    values = image_values(MOST_IMAGE_BITS, dtype, counts.device)
    return occupied(table, values, static_shape)


def _chunks(rows: list[Tensor] | Tensor) -> list[Tensor]:
    """Return the tensors that hold anything."""
    chunks = [rows] if isinstance(rows, Tensor) else rows
    return [chunk for chunk in chunks if chunk.numel()]


def _as_column(chunk: Tensor) -> Tensor:
    """Return ``[M, 1]`` for ``[M]``."""
    return chunk.unsqueeze(1) if chunk.ndim == 1 else chunk
