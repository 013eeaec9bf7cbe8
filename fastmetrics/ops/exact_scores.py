"""Every score, kept; counts of 16-bit scores once there are many."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists, batches_of, check_form, frozen
from fastmetrics.ops.cells import order_image
from fastmetrics.ops.checks import LABEL_DTYPES
from fastmetrics.ops.faults import OUTSIDE, new_events
from fastmetrics.ops.keep_scores import label_dtype
from fastmetrics.ops.kept_scores import LEFT_OUT_BYTE, Kept, chunks_of
from fastmetrics.ops.score_histogram import MOST_IMAGE_BITS, score_image_histogram_, softmax_rows
from fastmetrics.ops.scores import TiedScores, sigmoid
from fastmetrics.utilities.data import normal_tensor
from fastmetrics.utilities.recording import is_recorded, is_traced, unrecorded

# 16-bit scores become counts once so many rows are kept, if there are not too many classes.
FOLDED_ROWS = 2**16
MAX_FOLDED_CLASSES = 64


@frozen(kw_only=True)
class Exact(Kept):
    """Every score and its label; counts of 16-bit scores once there are many.

    The states are those of kept scores, and ``float16_counts``, ``bfloat16_counts``:
    ``[1, C, 2, 65536]`` by the order of all such numbers, or a scalar 0.

    Attributes:
        folds: whether 16-bit scores become counts, which forget the other scores of a sample.
    """

    folds: bool

    COUNTED: ClassVar = {torch.float16: "float16_counts", torch.bfloat16: "bfloat16_counts"}
    MADE = tuple(COUNTED.values())

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
        return {**super().reductions, **dict.fromkeys(self.MADE, "sum")}

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        nothing = torch.zeros((), dtype=torch.int64, device=device)
        return {**super().empty(device), **dict.fromkeys(self.MADE, nothing)}

    @override
    def shrink(self, states: States, dtype: torch.dtype) -> None:
        """Turn the 16-bit scores among many into counts, which are just as exact."""
        if not self.folds or dtype not in self.COUNTED:
            return
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
        counted = name in self.MADE and value.ndim
        check_form(name, value, shape if counted else tuple(default.shape), torch.int64)

    @override
    def made(self, states: States) -> list[tuple[torch.dtype, Tensor]]:
        found = [(dtype, states.values.get(name)) for dtype, name in self.COUNTED.items()]
        return [(dtype, counts) for dtype, counts in found if counts is not None and counts.ndim]

    @override
    def counted(self, states: States, column: int | None, static_shape: bool) -> list[TiedScores]:
        return [
            _points_of_counts(dtype, counts[0], column, static_shape)
            for dtype, counts in self.made(states)
        ]

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
        if chunks_of(values["weights"]):
            raise ValueError("torchmetrics keeps no weights, and these scores have some.")
        if any(values[name].ndim for name in self.MADE):
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
    def with_every_score(self) -> Exact:
        return replace(self, folds=False)

    def class_pairs(self, states: States) -> tuple[Tensor, Tensor]:
        """Return, float64, how classes rank against one another by their own score.

        ``pairs[i, j]`` counts the samples of class i that score higher in column i than one of
        class j, ties counting half ``[C, C]``; with it come the samples of each class ``[C]``.
        """
        size = self.num_classes
        pairs = torch.zeros((size, size), dtype=torch.float64, device=self._device(states))
        preds, target, weighted = self.samples(states)
        ones = [pairs.new_ones(len(chunk)) for chunk in target]
        rows = [*zip(preds, target, ones, strict=True), *weighted]
        if not rows:
            return pairs, pairs.new_zeros(size)
        labels = torch.cat([chunk.long() for _, chunk, _ in rows])
        weights = torch.cat([chunk for _, _, chunk in rows])
        weights = weights.where((labels >= 0) & (labels < size), 0.0)
        labels = labels.clamp(0, size - 1)
        for column in range(size):
            scores = torch.cat([chunk[:, column].double() for chunk, _, _ in rows])
            image, order = order_image(scores).sort(descending=True)
            own = weights[order].where(labels[order] == column, 0.0)
            groups = torch.unique_consecutive(image, return_inverse=True)[1]
            tied = own.new_zeros(int(groups[-1]) + 1).index_add_(0, groups, own)
            above = (tied.cumsum(0) - tied / 2)[groups]
            pairs[column].index_add_(0, labels[order], above * weights[order])
        totals = pairs.new_zeros(size).index_add_(0, labels, weights)
        return pairs, totals


def image_values(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the 16-bit score in each bin of `score_image_histogram_`; NaN first."""
    if torch.compiler.is_compiling():  # which does not trace into a cache
        return _work_out_values(dtype, device)
    if is_traced():
        return unrecorded(lambda: _kept_values(dtype, device))
    return _kept_values(dtype, device)


def _work_out_values(dtype: torch.dtype, device: torch.device) -> Tensor:
    image, sign = torch.arange(2**MOST_IMAGE_BITS, device=device), 2 ** (MOST_IMAGE_BITS - 1)
    pattern = torch.where(image >= sign, image - sign, -1 - image)
    values = pattern.to(torch.int16).view(dtype).nan_to_num(-torch.inf, torch.inf, -torch.inf)
    values[0] = torch.nan
    return values


_kept_values = functools.lru_cache(maxsize=16)(_work_out_values)


def occupied(table: Tensor, values: Tensor, static_shape: bool) -> TiedScores:
    """Return the bins ``[2, B]`` that hold anything, or all of them where points may repeat."""
    if static_shape:
        return TiedScores(values, *table.double().unbind(0))
    used = (table[0] + table[1]).nonzero().squeeze(1)
    negatives, positives = table.index_select(1, used).double().unbind(0)
    return TiedScores(values[used], negatives, positives)


def _points_of_counts(
    dtype: torch.dtype, counts: Tensor, column: int | None, static_shape: bool
) -> TiedScores:
    """Return the points of counted scores ``[C, 2, 65536]`` of one class, or of all of them."""
    table = counts.sum(0) if column is None else counts[column]
    values = image_values(dtype, counts.device)
    return occupied(table, values, static_shape)
