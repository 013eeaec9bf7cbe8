"""What all curve metrics share: a statistic of scores, read as one curve or one for each class."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from typing_extensions import Self

from fastmetrics.classification._statistic import CountMetric
from fastmetrics.distributed import State
from fastmetrics.functional.classification._curve import (
    RANKED,
    Curves,
    Thresholds,
    make_grid,
)
from fastmetrics.functional.classification._scores import (
    LEFT_OUT_BYTE,
    MAX_BITS,
    BinnedScores,
    KeptScores,
    RankedScores,
    Scores,
    image_bits,
    new_kept,
)
from fastmetrics.ops import keep_scores_, score_histogram_, score_image_histogram_
from fastmetrics.ops.faults import NAN_RANKS_LAST, new_events
from fastmetrics.ops.fused import Update
from fastmetrics.utilities.checks import check_choice
from fastmetrics.utilities.data import normal_tensor

NORMALIZATIONS = ("sigmoid", None)

# 16-bit scores become counts once so many rows are kept, if there are not too many classes.
FOLDED_ROWS = 2**16
MAX_FOLDED_CLASSES = 64


def check_normalization(normalization: Any) -> None:
    """Raise ``ValueError`` unless ``normalization`` says what is done to binary logits."""
    check_choice("normalization", normalization, NORMALIZATIONS)


class _Mode(Protocol):
    """How a metric keeps scores; chosen by ``thresholds``.

    Attributes:
        op: the name of the op that adds a batch.
    """

    op: str

    def update(
        self, metric: CurveMetric, preds: Tensor, target: Tensor, weight: Tensor | None
    ) -> None:
        """Add one batch."""

    def scores(self, metric: CurveMetric) -> Scores:
        """Return what the states say."""

    def key(self) -> Hashable:
        """Return what tells two modes apart that keep different states."""


class _Binned:
    """Counts between thresholds that were given: ``counts`` ``[H, C, 2, T + 1]``."""

    op = "score_histogram_"

    def __init__(self, metric: CurveMetric, thresholds: int | list[float] | Tensor) -> None:
        self.grid = make_grid(thresholds, metric.input, metric._multiclass, metric.device)
        self._key: Hashable = None
        readings, count = self.grid.edges.shape
        metric._add_counts((readings, metric._num_classes, 2, count + 1))

    def update(
        self, metric: CurveMetric, preds: Tensor, target: Tensor, weight: Tensor | None
    ) -> None:
        counts = metric._open_counts(target, weight)
        score_histogram_(counts, metric.events, preds, target, weight, *self.arguments(metric))
        metric._keep_counts(counts)

    def arguments(self, metric: CurveMetric) -> tuple[Tensor, bool, bool, bool, int | None, bool]:
        return (
            self.grid.edges,
            self.grid.uniform,
            metric._multiclass,
            metric._logits,
            metric.ignore_index,
            metric.validate_args,
        )

    def scores(self, metric: CurveMetric) -> BinnedScores:
        return BinnedScores(metric.counts, metric.events, self.grid)

    def key(self) -> Hashable:
        # Asked for again at every reset of a collection, when the edges may be on a GPU.
        if self._key is None:
            self._key = tuple(self.grid.edges.flatten().tolist())
        return self._key


class _Ranked:
    """Counts by the leading bits of the scores: ``counts`` ``[H, C, 2, 2 ** bits]``."""

    op = "score_image_histogram_"

    def __init__(self, metric: CurveMetric) -> None:
        readings = 2 if metric._multiclass and metric.input == "auto" else 1
        bits = image_bits(metric._num_classes, readings)
        metric._add_counts((readings, metric._num_classes, 2, 2**bits))

    def update(
        self, metric: CurveMetric, preds: Tensor, target: Tensor, weight: Tensor | None
    ) -> None:
        counts = metric._open_counts(target, weight)
        score_image_histogram_(
            counts,
            metric.events,
            preds,
            target,
            weight,
            False,
            metric._multiclass,
            metric._logits,
            metric.ignore_index,
            metric.validate_args,
        )
        metric._keep_counts(counts)

    def scores(self, metric: CurveMetric) -> RankedScores:
        return RankedScores(metric.counts, metric.events, metric._multiclass, metric.input)

    def key(self) -> Hashable:
        return RANKED


class _Room:
    """Memory behind the last tensors of some list states, and how much of it is in use.

    The tensors in the states are views of it. Only rows that no view shows are written, so whoever
    shares or copied the lists keeps what it saw. A copy or a file of such a tensor has no room.
    """

    __slots__ = ("memory", "used")

    def __init__(self, memory: tuple[Tensor, ...]) -> None:
        self.memory = memory
        self.used = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, ()  # which files of weights may hold, and which is false


def _rows_like(chunks: tuple[Tensor, ...], size: int) -> tuple[Tensor, ...]:
    """Return memory for ``size`` rows like those of each chunk."""
    return tuple(chunk.new_empty((size, *chunk.shape[1:])) for chunk in chunks)


class _Rows:
    """List states of one length, to which rows are added without a tensor for each batch."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def open(
        self,
        metric: CurveMetric,
        count: int,
        dtype: torch.dtype,
        new: Callable[[int], tuple[Tensor, ...]],
    ) -> _Room:
        """Return a room with ``count`` free rows.

        What ``new`` makes has twice the rows of the last tensors, so that a room which is left
        early wastes little; the first batch gets no more than it needs.
        """
        chunks = metric.__dict__[self.names[0]]
        if chunks:
            last = chunks[-1]
            room: _Room | None = getattr(last, "room", None)
            if (
                room
                and room.used == len(last)
                and room.used + count <= len(room.memory[0])
                and last.dtype is dtype
            ):
                return room
        spare = 2 * len(chunks[-1]) if chunks and not metric.compute_on_cpu else 0
        return _Room(normal_tensor(lambda: new(max(count, spare))))

    def close(self, metric: CurveMetric, room: _Room, count: int) -> None:
        """Make the next ``count`` rows of the room part of the states."""
        if not count:
            return
        grows = room.used > 0
        room.used += count
        views = [tensor[: room.used] for tensor in room.memory]
        if room.used < len(room.memory[0]):
            views[0].room = room  # type: ignore[attr-defined]  # ours; it dies with the view
        for name, view in zip(self.names, views, strict=True):
            chunks = metric.__dict__[name]
            if grows:
                chunks[-1] = view
            else:
                chunks.append(view)

    def extend(self, metric: CurveMetric, batch: dict[str, State]) -> None:
        """Add the rows of the states of a batch."""
        for chunks in zip(*(batch[name] for name in self.names), strict=True):
            room = self.open(
                metric,
                len(chunks[0]),
                chunks[0].dtype,
                partial(_rows_like, chunks),
            )
            start, end = room.used, room.used + len(chunks[0])
            for memory, chunk in zip(room.memory, chunks, strict=True):
                memory[start:end] = chunk
            self.close(metric, room, len(chunks[0]))


class _Exact:
    """Every score: list states, and counts of 16-bit scores once there are many."""

    op = "keep_scores_"
    PLAIN = _Rows("preds", "target")
    WEIGHTED = _Rows("weighted_preds", "weighted_target", "weights")
    COUNTED: ClassVar = {torch.float16: "float16_counts", torch.bfloat16: "bfloat16_counts"}

    def __init__(self, metric: CurveMetric) -> None:
        for name in (*self.PLAIN.names, *self.WEIGHTED.names):
            metric.add_state(name, [], dist_reduce_fx="cat")
        for name in self.COUNTED.values():
            metric.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        metric._add_events()
        # Whether multiclass scores are ranked as they are shows only at the end, unless they are
        # said to be probabilities.
        self.folds = metric._num_classes <= MAX_FOLDED_CLASSES and (
            not metric._multiclass or metric.input == "probs"
        )

    def update(
        self, metric: CurveMetric, preds: Tensor, target: Tensor, weight: Tensor | None
    ) -> None:
        multiclass, num_classes = metric._multiclass, metric._num_classes
        weighted = weight is not None
        count = target.numel() if multiclass else target.numel() // num_classes
        rows = self.WEIGHTED if weighted else self.PLAIN
        room = rows.open(
            metric,
            count,
            preds.dtype,
            lambda size: new_kept(
                size, preds, num_classes, multiclass, weighted, metric.events.device
            ),
        )
        keep_scores_(
            room.memory[0],
            metric.events,
            preds,
            target,
            weight,
            room.memory[1],
            room.memory[2] if weighted else None,
            room.used,
            multiclass,
            metric.ignore_index,
            metric.validate_args,
        )
        rows.close(metric, room, count)
        if self.folds and preds.dtype in self.COUNTED:
            self._fold(metric)

    def absorb(self, metric: CurveMetric, batch: dict[str, State]) -> dict[str, State]:
        """Add the rows of a batch to the states and return those of its states that remain."""
        self.PLAIN.extend(metric, batch)
        self.WEIGHTED.extend(metric, batch)
        if self.folds:
            self._fold(metric)
        # One batch is never turned into counts.
        done = (*self.PLAIN.names, *self.WEIGHTED.names, *self.COUNTED.values())
        return {name: state for name, state in batch.items() if name not in done}

    def _fold(self, metric: CurveMetric) -> None:
        """Turn the 16-bit scores among many into counts, which are just as exact."""
        own = metric.__dict__
        preds, target = own["preds"], own["target"]
        if metric._partial or sum(map(len, preds)) < FOLDED_ROWS:
            return
        device = metric.events.device
        scratch = new_events(device)
        kept: list[tuple[Tensor, Tensor]] = []
        for scores, labels in zip(preds, target, strict=True):
            name = self.COUNTED.get(scores.dtype)
            if name is None:
                kept.append((scores, labels))
                continue
            if not own[name].ndim:
                shape = (1, metric._num_classes, 2, 2**MAX_BITS)
                zeros = partial(torch.zeros, shape, dtype=torch.int64, device=device)
                object.__setattr__(metric, name, normal_tensor(zeros))
            half = scores.dtype is torch.float16
            # They may wait on the CPU.
            scores, labels = scores.to(device), labels.to(device)
            score_image_histogram_(
                own[name],
                scratch,
                scores if metric._num_classes > 1 else scores[:, 0],
                labels if metric._num_classes > 1 else labels[:, 0],
                None,
                half,
                metric._multiclass,
                False,
                LEFT_OUT_BYTE,
                False,
            )
        preds[:], target[:] = [scores for scores, _ in kept], [labels for _, labels in kept]

    def scores(self, metric: CurveMetric) -> KeptScores:
        own = metric.__dict__
        return KeptScores(
            own["preds"],
            own["target"],
            own["weighted_preds"],
            own["weighted_target"],
            own["weights"],
            own["float16_counts"],
            own["bfloat16_counts"],
            metric.events,
            metric._num_classes,
            metric._multiclass,
            metric.input,
        )

    def key(self) -> Hashable:
        return self.folds


class CurveMetric(CountMetric):
    """Scores with their labels, kept as ``thresholds`` says; subclasses apply a formula to curves.

    See :mod:`fastmetrics.functional.classification._scores` for the three ways to keep them.
    """

    counts: Tensor
    _nan_treatment = NAN_RANKS_LAST
    # Whether the value stays the same when points of a curve are repeated.
    _may_repeat = False

    def __init__(
        self,
        num_classes: int,
        multiclass: bool,
        thresholds: Thresholds,
        ignore_index: int | None,
        validate_args: bool,
        input: str,
        undefined: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(validate_args, **kwargs)
        self.ignore_index = ignore_index
        self.undefined = undefined
        self.input = input
        self._num_classes = num_classes
        self._multiclass = multiclass
        self._logits = input == "logits"
        self._mode: _Mode
        if thresholds is None:
            self._mode = _Exact(self)
        elif isinstance(thresholds, str):
            self._mode = _Ranked(self)
        else:
            self._mode = _Binned(self, thresholds)

    @property
    def thresholds(self) -> Tensor | str | None:
        """The thresholds as they were given, ``[T]`` if there are any."""
        if isinstance(self._mode, _Binned):
            return self._mode.grid.thresholds
        return RANKED if isinstance(self._mode, _Ranked) else None

    @property
    def confmat(self) -> Tensor:
        """Tables ``[[tn, fp], [fn, tp]]`` at each threshold, ``[T, 2, 2]`` or ``[T, C, 2, 2]``."""
        if not isinstance(self._mode, _Binned):
            raise AttributeError("`confmat` needs `thresholds` that were given.")
        curve = self._mode.scores(self).curves(False)
        reached = curve.as_given(torch.stack([curve.fps, curve.tps], -2))
        total = torch.stack([curve.negatives, curve.positives], -1)
        tables = torch.stack([total.unsqueeze(-1) - reached, reached], -1)
        tables = tables.movedim(-2, 0).to(self.counts.dtype)
        return tables if self._num_classes > 1 else tables[:, 0]

    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Add one batch; arguments as in `score_histogram_`."""
        self._mode.update(self, preds, target, weight)

    def _keep_every_score(self) -> None:
        """Never turn 16-bit scores into counts, which forget the other scores of a sample."""
        if isinstance(self._mode, _Exact):
            self._mode.folds = False

    def _scores(self) -> Scores:
        """Return the statistic that curves are read from."""
        return self._mode.scores(self)

    def _curves(self, pool: bool) -> Curves:
        """Return the curve of each class, or one curve when pooled."""
        return self._scores().curves(pool, self._may_repeat)

    def _statistic(self) -> Hashable:
        return (
            self._mode.op,
            self._mode.key(),
            self._num_classes,
            self._multiclass,
            self.input,
            self.ignore_index,
            self.validate_args,
        )

    def _op(self) -> Update | None:
        if not isinstance(self._mode, _Binned):
            return None
        return Update(self._mode.op, self._mode.arguments(self))

    def _absorb(self, batch: dict[str, State], count: int) -> None:
        if isinstance(self._mode, _Exact):
            batch = self._mode.absorb(self, batch)
        super()._absorb(batch, count)

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes, without memory that is not in use."""
        state = super().__getstate__()
        for name, value in self.metric_state.items():
            if isinstance(value, list):
                state[name] = [chunk.clone() for chunk in value]
        return state

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        super()._apply(fn, *args, **kwargs)
        if isinstance(self._mode, _Binned):
            self._mode.grid = self._mode.grid.to(self.device)
        return self


class CurveValue(CurveMetric):
    """A value in [0, 1] of a curve, drawn as values are."""

    _may_repeat = True
    higher_is_better: bool | None = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def plot(self, *args: Any, **kwargs: Any) -> Any:
        """Draw ``val``, a value or a list of values, by default what ``compute`` returns."""
        return self._plot(*args, **kwargs)

    def _enclosed(
        self, bounds: Callable[..., tuple[Tensor, Tensor]], *formula: Any
    ) -> tuple[Tensor, Tensor]:
        """Return the bounds from the scores of all processes."""
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            should_sync=self._to_sync and not self._is_synced,
            should_unsync=not self._is_synced,
            distributed_available=self._is_distributed,
        ):
            self._report()
            return bounds(self._scores(), *formula)


class CurvePoint(CurveValue):
    """A value in [0, 1] and the threshold where it is reached; the value is drawn."""

    higher_is_better = None

    def _plot(self, val: Any | None = None, ax: Any | None = None) -> Any:
        return super()._plot(self.compute()[0] if val is None else val, ax)
