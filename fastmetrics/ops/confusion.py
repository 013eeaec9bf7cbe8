"""Confusion matrices: multiclass, and one two-by-two table per label for thresholded scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import View, frozen
from fastmetrics.ops.checks import check_label_dtype, raise_first_invalid, shape_text
from fastmetrics.ops.counted import (
    COUNTS,
    TABLE_ORDER,
    Counts,
    CountStatistic,
    choose_interpretation,
)
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import INVALID, OUTSIDE
from fastmetrics.ops.inputs import (
    check_class_inputs,
    check_label_inputs,
    contributions,
    int_sum,
    interpretations_of,
    read_classes,
    read_labels,
)
from fastmetrics.utilities.checks import check_ignore_index, check_int, check_thresholding

__all__ = ["confusion_", "label_confusion_"]


def check_confusion(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `confusion_`, and its fake."""
    check_class_inputs("confusion_", state, preds, target, weight, state.shape[0])


def check_label_confusion(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    groups: Tensor | None, threshold: float, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `label_confusion_`, and its fake."""
    num_labels = 1 if groups is not None else state.shape[-3]
    check_label_inputs("label_confusion_", state, preds, target, weight, num_labels)
    if groups is not None and groups.shape != preds.shape[:1]:
        raise ValueError(
            "label_confusion_: `groups` must have one entry per sample, shape"
            f" ({preds.shape[0]},), got {shape_text(groups)}."
        )
    if groups is not None:
        _check_group_labels(preds, groups)


def check_groups(preds: Tensor, groups: Tensor) -> None:
    """Raise unless ``groups`` holds one integer per sample, or per element."""
    samples = preds.shape[:1]
    if groups.shape not in (samples, (*samples, 1), preds.shape):
        raise ValueError(
            "label_confusion_: `groups` must have one entry per sample, shape"
            f" {tuple(samples)}, or the shape of `preds`, got {shape_text(groups)}."
        )
    if groups.numel() and not preds.numel():
        raise ValueError(
            "label_confusion_: `preds` must have elements for `groups` of shape"
            f" {shape_text(groups)}, got {shape_text(preds)}."
        )
    _check_group_labels(preds, groups)


def _check_group_labels(preds: Tensor, groups: Tensor) -> None:
    check_label_dtype("label_confusion_", "groups", groups)
    if groups.device != preds.device:
        raise ValueError(
            "label_confusion_: `groups` must be on the device of `preds`,"
            f" {preds.device}, got {groups.device}."
        )


def confusion_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    if not target.numel():
        return
    num_classes = state.shape[0]
    pred, labels, counted, _ = read_classes(
        "confusion_", events, preds, target, num_classes, 1, ignore_index, validate
    )
    cell = torch.where(counted, labels * num_classes + pred, 0)
    contribution = contributions(events, counted, weight)
    delta = contribution.new_zeros(num_classes * num_classes)
    delta.index_add_(0, cell.flatten(), contribution.flatten())
    state += delta.view(state.shape)


def label_confusion_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    groups: Tensor | None, threshold: float, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    if not target.numel():
        return
    num_rows = state.shape[-3]
    num_samples = target.shape[0]
    position = torch.arange(num_samples, device=target.device).view(-1, *[1] * (target.ndim - 1))
    invalid_groups = None
    if groups is not None:
        invalid_groups = (groups < 0) | (groups >= num_rows)
        if validate and target.device.type == "cpu" and invalid_groups.any():
            raise_first_invalid(
                "label_confusion_", "groups", groups, invalid_groups, num_rows, None
            )
        row = groups.long().where(~invalid_groups, 0).view(position.shape)
    elif num_rows > 1:
        row = torch.arange(num_rows, device=target.device).view(-1, *[1] * (target.ndim - 2))
    else:
        row = torch.zeros_like(position)
    if state.ndim == 5:
        row = position * num_rows + row
    predicted, labels, counted, _ = read_labels(
        "label_confusion_",
        events,
        preds,
        target,
        threshold,
        interpretations_of(state.shape[-4], logits),
        ignore_index,
        validate,
    )
    if invalid_groups is not None:
        outside = invalid_groups.view(position.shape)
        if validate and target.device.type != "cpu":
            events[INVALID] += int_sum(counted & outside)
        counted = counted & ~outside
    depth = target[0].numel() if num_samples else 0
    contribution = contributions(events, counted.reshape(num_samples, depth), weight).flatten()
    samples = state.shape[0] if state.ndim == 5 else 1
    for index, pred in enumerate(predicted):
        cell = torch.where(counted, row * 4 + labels * 2 + pred, 0)
        delta = contribution.new_zeros(samples * num_rows * 4)
        delta.index_add_(0, cell.flatten(), contribution)
        state.select(-4, index).add_(delta.view(state.select(-4, index).shape))


_confusion = define(
    "confusion_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " int? ignore_index, bool validate)",
    confusion_reference,
    check_confusion,
    fusible_axes=2,
)


_label_confusion = define(
    "label_confusion_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " Tensor? groups, float threshold, bool logits, int? ignore_index, bool validate)",
    label_confusion_reference,
    check_label_confusion,
    fusible_axes=4,
)


def confusion_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add one batch to the confusion matrix: rows are targets, columns predictions.

    Args:
        state: ``[C, C]``, int64, or float64 once weights are used. Changed in place.
        events: int64 ``[4]``. Changed in place.
        preds: scores ``[N, C, ...]`` or labels ``[N, ...]``.
        target: labels ``[N, ...]`` in ``[0, C)``, any integer type or bool.
        weight: optional ``[N]``.
        ignore_index: samples with this target are left out.
        validate: as in :func:`fastmetrics.ops.stat_scores.stat_scores_`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is out of range (CPU); the state is unchanged.

    Cost: reads ``preds`` and ``target`` once; temporaries are bounded by the state's size.

    >>> import torch
    >>> from fastmetrics.ops import confusion_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(2, 2, dtype=torch.int64)
    >>> confusion_(state, new_events(), torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    >>> state
    tensor([[1, 1],
            [0, 1]])
    """
    _confusion(state, events, preds, target, weight, ignore_index, validate)


def label_confusion_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    groups: Tensor | None = None,
    threshold: float = 0.5,
    logits: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add one batch to the two-by-two tables ``[[tn, fp], [fn, tp]]`` of each label.

    A score counts as positive above ``threshold``. With two interpretations (H = 2) the batch is
    counted both as probabilities (``score > threshold``) and as logits
    (``sigmoid(score) > threshold``), and ``events`` counts the scores outside ``[0, 1]``, so that
    whoever reads the state decides for all of the data at once. With one interpretation,
    ``logits`` names it.

    Args:
        state: ``[H, L, 2, 2]`` with H in {1, 2}; L is 1 for binary inputs, or the number of groups.
            With a leading ``[N]`` axis each sample is counted on its own. int64, or float64 once
            weights are used. Changed in place.
        events: int64 ``[4]``. Changed in place.
        preds: scores in a float type or labels 0 and 1, ``[N, ...]``; ``[N, L, ...]`` when L > 1
            and there are no groups.
        target: labels 0 and 1, any integer type or bool, same shape as ``preds``.
        weight: optional ``[N]``.
        groups: optional ``[N]`` integers in ``[0, L)``: the table to which a sample belongs.
        threshold: in ``[0, 1]``.
        logits: which interpretation a state with H = 1 holds.
        ignore_index: elements with this target are left out.
        validate: as in :func:`fastmetrics.ops.stat_scores.stat_scores_`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is not 0 or 1, or a group is out of range (CPU); the state is
            unchanged.

    Cost: reads each input once; temporaries do not grow with N.

    >>> import torch
    >>> from fastmetrics.ops import label_confusion_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(1, 1, 2, 2, dtype=torch.int64)
    >>> scores, target = torch.tensor([0.1, 0.8, 0.7]), torch.tensor([0, 0, 1])
    >>> label_confusion_(state, new_events(), scores, target)
    >>> state[0, 0]
    tensor([[1, 1],
            [0, 1]])
    """
    _label_confusion(
        state, events, preds, target, weight, groups, threshold, logits, ignore_index, validate
    )


@frozen()
class Confusion(CountStatistic):
    """The confusion matrix, ``[C, C]``: rows are targets, columns predictions.

    Attributes:
        num_classes: C.
        ignore_index: samples with this target are left out.
        validate_args: whether labels out of range are reported.
    """

    num_classes: int
    ignore_index: int | None = None
    validate_args: bool = True

    op = staticmethod(_confusion)

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self.num_classes, self.num_classes

    @property
    @override
    def rows(self) -> str:
        return "classes"

    def check(self) -> None:
        """Raise ``ValueError`` unless the arguments are in range."""
        check_int("num_classes", self.num_classes, 2)
        check_ignore_index(self.ignore_index)

    @override
    def arguments(self) -> tuple[int | None, bool]:
        return self.ignore_index, self.validate_args

    def matrix(self, states: States) -> Tensor:
        """Return the matrix ``[C, C]``."""
        counts: Tensor = states.values["counts"]
        return counts

    @override
    def views(self) -> Mapping[str, View]:
        return {"confmat": View(self.matrix, self.write_all)}


@frozen()
class LabelTables(CountStatistic):
    """One table ``[[tn, fp], [fn, tp]]`` per label, from scores and a threshold.

    The state is ``[H, L, 2, 2]``: with ``input="auto"`` scores are counted in both
    interpretations, as probabilities and as logits, and whoever reads chooses.

    Attributes:
        num_labels: L.
        threshold: in [0, 1]; a probability above it is a positive.
        samplewise: whether each sample is counted on its own.
        ignore_index: elements with this target are left out.
        validate_args: whether labels out of range are reported.
        input: what scores are: "probs", "logits", or "auto".
    """

    num_labels: int
    threshold: float = 0.5
    samplewise: bool = False
    ignore_index: int | None = None
    validate_args: bool = True
    input: str = "auto"

    op = staticmethod(_label_confusion)
    top_k: ClassVar[None] = None  # each label is predicted or not

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return (2 if self.input == "auto" else 1), self.num_labels, 2, 2

    @property
    @override
    def label_axes(self) -> int:
        return int(self.num_labels > 1)

    @property
    @override
    def rows(self) -> str | None:
        return None if self.samplewise else "labels"

    def check(self) -> None:
        """Raise ``ValueError`` unless the arguments are in range."""
        check_int("num_labels", self.num_labels, 2)
        check_thresholding(self.threshold, self.ignore_index, self.input)

    @override
    def arguments(self) -> tuple[None, float, bool, int | None, bool]:
        logits = self.input == "logits"
        return None, self.threshold, logits, self.ignore_index, self.validate_args

    def matrix(self, states: States) -> Tensor:
        """Return the tables ``[L, 2, 2]`` in the interpretation that fits all scores.

        Samplewise ``[N, L, 2, 2]``.
        """
        return choose_interpretation(self.counts_of(states), states.values["events"])

    def chosen(self, counts: list[int], events: list[int]) -> list[int]:
        """Return the tables that fit all scores, of what :meth:`numbers` gave."""
        half = len(counts) // 2
        if self.input != "auto":
            return counts
        return counts[half:] if events[OUTSIDE] else counts[:half]

    def read(self, states: States) -> Counts:
        """Return the counts of each label, samplewise with a leading ``[N]``."""
        return Counts(self.counts_of(states), TABLE_ORDER, events=states.values["events"])

    @override
    def views(self) -> Mapping[str, View]:
        return {"confmat": View(self.matrix, self.write_all)}

    def write_column(self, states: States, name: str, value: Any) -> None:
        """Set what is ``name`` of :data:`~fastmetrics.ops.counted.COUNTS`, for each label."""
        self.write(states, (..., *divmod(TABLE_ORDER[COUNTS.index(name)], 2)), value)


@frozen()
class BinaryTable(LabelTables):
    """The table of binary inputs: one label, which has no axis in the inputs."""

    num_labels: int = field(default=1, init=False)

    @override
    def check(self) -> None:
        check_thresholding(self.threshold, self.ignore_index, self.input)

    @override
    def matrix(self, states: States) -> Tensor:
        """Return the table ``[2, 2]``, samplewise ``[N, 2, 2]``."""
        return super().matrix(states).select(-3, 0)


def _one_axis(
    preds: Tensor, target: Tensor, groups: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return groups ``[N]`` for ``[N, 1]``; where each element has one, make it a sample."""
    if groups.shape != preds.shape:
        return preds, target, groups.flatten(), weight
    if target.shape != preds.shape or (weight is not None and weight.shape != preds.shape[:1]):
        return preds, target, groups, weight  # which the op refuses
    if weight is not None:
        weight = weight.repeat_interleave(preds.numel() // max(1, preds.shape[0]))
    return preds.flatten(), target.flatten(), groups.flatten(), weight


@frozen()
class GroupTables(CountStatistic):
    """A table ``[[tn, fp], [fn, tp]]`` for each group of binary samples, ``[H, G, 2, 2]``.

    Attributes:
        num_groups: G.
        reads_target: whether ``target`` counts; otherwise all are taken as 0.
    """

    num_groups: int
    threshold: float = 0.5
    ignore_index: int | None = None
    validate_args: bool = True
    input: str = "auto"
    reads_target: bool = True

    op = staticmethod(_label_confusion)

    @override
    def check(self) -> None:
        check_int("num_groups", self.num_groups, 2)
        check_thresholding(self.threshold, self.ignore_index, self.input)

    @property
    @override
    def shape(self) -> tuple[int, int, int, int]:
        return (2 if self.input == "auto" else 1), self.num_groups, 2, 2

    @override
    def add(  # type: ignore[override]  # groups are an input of their own
        self,
        states: States,
        preds: Tensor,
        target: Tensor | None,
        groups: Tensor,
        weight: Tensor | None = None,
    ) -> None:
        if not self.reads_target:
            target = torch.zeros((), dtype=torch.uint8, device=preds.device).expand(preds.shape)
        elif target is None:
            raise ValueError("`target` must be a tensor, got None.")
        if groups.shape != preds.shape[:1] or not preds.numel():
            check_groups(preds, groups)
            preds, target, groups, weight = _one_axis(preds, target, groups, weight)
        counts = self.open(states, preds, target, weight)
        label_confusion_(
            counts,
            states.values["events"],
            preds,
            target,
            weight,
            groups,
            self.threshold,
            self.input == "logits",
            self.ignore_index,
            self.validate_args,
        )
        self.keep(states, counts)

    def read(self, states: States) -> Counts:
        """Return the counts of each group, ``[G]``."""
        values = states.values
        return Counts(values["counts"], TABLE_ORDER, events=values["events"])

    @override
    def views(self) -> Mapping[str, View]:
        return {
            "tp": self.part(lambda states: self.read(states).tp, ..., 1, 1),
            "fp": self.part(lambda states: self.read(states).fp, ..., 0, 1),
            "tn": self.part(lambda states: self.read(states).tn, ..., 0, 0),
            "fn": self.part(lambda states: self.read(states).fn, ..., 1, 0),
        }
