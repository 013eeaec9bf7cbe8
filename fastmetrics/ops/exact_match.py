"""Samples with every position right: multiclass, and multilabel by threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists, View, check_form, frozen
from fastmetrics.ops.checks import WEIGHT_DTYPES, shape_text
from fastmetrics.ops.counted import CountStatistic, choose_interpretation
from fastmetrics.ops.define import define
from fastmetrics.ops.inputs import (
    check_class_inputs,
    check_label_inputs,
    interpretations_of,
    read_classes,
    read_labels,
    sample_weights,
    usable_weights,
)
from fastmetrics.utilities.checks import check_ignore_index, check_int, check_thresholding

__all__ = ["exact_match_", "label_exact_match_"]


def check_exact_match(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    num_classes: int, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `exact_match_`, and its fake."""
    check_class_inputs("exact_match_", state, preds, target, weight, num_classes)


def check_label_exact_match(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    num_labels: int, threshold: float, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `label_exact_match_`, and its fake."""
    check_label_inputs("label_exact_match_", state, preds, target, weight, num_labels)
    if preds.ndim < 2:
        raise ValueError(
            "label_exact_match_: `preds` and `target` must have shape (N, L, ...),"
            f" got {shape_text(preds)}."
        )


def exact_match_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    num_classes: int, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    if not target.numel():  # samples without positions are no samples
        return
    pred, labels, counted, invalid = read_classes(
        "exact_match_", events, preds, target, num_classes, 1, ignore_index, validate
    )
    usable = ~invalid.any(1)
    correct = ((pred == labels) | ~counted).all(1) & usable
    weight = usable_weights(events, weight)
    delta = torch.stack(
        (
            sample_weights(correct.unsqueeze(1), weight).squeeze(1),
            sample_weights(usable.unsqueeze(1), weight).squeeze(1),
        ),
        dim=-1,
    )
    state += delta if state.ndim == 2 else delta.sum(0)


def label_exact_match_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    num_labels: int, threshold: float, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    if not target.numel():
        return
    predicted, labels, counted, invalid = read_labels(
        "label_exact_match_",
        events,
        preds,
        target,
        threshold,
        interpretations_of(state.shape[-2], logits),
        ignore_index,
        validate,
    )
    num_samples = target.shape[0]
    shape = (num_samples, num_labels, target[0, 0].numel() if num_samples else 0)
    usable = ~invalid.reshape(shape).any(1)
    weight = usable_weights(events, weight)
    total = sample_weights(usable, weight).sum(1)
    for index, pred in enumerate(predicted):
        correct = ((pred == labels) | ~counted).reshape(shape).all(1) & usable
        delta = torch.stack((sample_weights(correct, weight).sum(1), total), dim=-1)
        state.select(-2, index).add_(delta if state.ndim == 3 else delta.sum(0))


_exact_match = define(
    "exact_match_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " int num_classes, int? ignore_index, bool validate)",
    exact_match_reference,
    check_exact_match,
)
_label_exact_match = define(
    "label_exact_match_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " int num_labels, float threshold, bool logits, int? ignore_index, bool validate)",
    label_exact_match_reference,
    check_label_exact_match,
)


def exact_match_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    num_classes: int = 0,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add one batch to ``(samples with every position correct, samples)``.

    Ignored positions count as correct. Arguments as in :func:`stat_scores_`, with ``state``
    int64 or float64 ``[2]``, or ``[N, 2]`` to keep samples apart.

    >>> import torch
    >>> from fastmetrics.ops import exact_match_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(2, dtype=torch.int64)
    >>> preds, target = torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [1, 0]])
    >>> exact_match_(state, new_events(), preds, target, None, 2)
    >>> state
    tensor([1, 2])
    """
    _exact_match(state, events, preds, target, weight, num_classes, ignore_index, validate)


def label_exact_match_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    num_labels: int = 2,
    threshold: float = 0.5,
    logits: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add one batch to ``(positions with every label correct, positions)``.

    A position is one sample, or one element of the axes after the label axis. Ignored labels count
    as correct. Arguments as in :func:`label_confusion_`, with ``state`` ``[H, 2]``, or
    ``[N, H, 2]`` to keep samples apart.

    >>> import torch
    >>> from fastmetrics.ops import label_exact_match_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(1, 2, dtype=torch.int64)
    >>> preds, target = torch.tensor([[0.2, 0.9], [0.6, 0.7]]), torch.tensor([[0, 1], [1, 0]])
    >>> label_exact_match_(state, new_events(), preds, target, None, 2)
    >>> state
    tensor([[1, 2]])
    """
    _label_exact_match(
        state, events, preds, target, weight, num_labels, threshold, logits, ignore_index, validate
    )


class Matches(NamedTuple):
    """Samples with every position correct, and all samples; ``[N]`` each where kept apart."""

    table: Tensor
    """Both, along the last axis."""

    @property
    def correct(self) -> Tensor:
        """Samples with every position correct."""
        return self.table.select(-1, 0)

    @property
    def total(self) -> Tensor:
        """All samples."""
        return self.table.select(-1, 1)


class MatchCounts(CountStatistic):
    """What counts of samples with every position correct have in common."""

    def read(self, states: States) -> Matches:
        """Return the counts of all batches."""
        return Matches(self.counts_of(states))

    @override
    def lists(self) -> Lists | None:
        """Return the list of samples that are right, which says how many there are."""
        if not self.samplewise:
            return None
        return Lists(("correct",), self._add_rows, lambda states: [(self.read(states).correct,)])

    def _add_rows(self, states: States, batch: tuple[Tensor, ...]) -> None:
        """Add whether each sample is right ``[N]``, however scores are read."""
        correct = batch[0].to(states.values["events"].device)
        check_form("correct", correct, ("N",), *WEIGHT_DTYPES)
        pairs = torch.stack([correct.long(), torch.ones_like(correct, dtype=torch.int64)], -1)
        rows = pairs.view(-1, *[1] * (len(self.shape) - 1), 2)
        states.append({"counts": rows.expand(-1, *self.shape).contiguous()})

    @override
    def views(self) -> Mapping[str, View]:
        if self.samplewise:  # batches in a list, of two numbers each
            return {
                "correct": View(lambda states: self.read(states).correct),
                "total": View(lambda states: self.read(states).total),
            }
        return {
            "correct": self.part(lambda s: self.read(s).correct.view(1), ..., slice(0, 1)),
            "total": self.part(lambda s: self.read(s).total.view(1), ..., slice(1, 2)),
        }


@frozen()
class ClassMatches(MatchCounts):
    """Multiclass samples with every position correct, and all samples, ``[2]``."""

    num_classes: int
    samplewise: bool = False
    ignore_index: int | None = None
    validate_args: bool = True

    op = staticmethod(_exact_match)

    @override
    def check(self) -> None:
        check_int("num_classes", self.num_classes, 2)
        check_ignore_index(self.ignore_index)

    @property
    @override
    def shape(self) -> tuple[int]:
        return (2,)

    @override
    def arguments(self) -> tuple[int, int | None, bool]:
        return self.num_classes, self.ignore_index, self.validate_args


@frozen()
class LabelMatches(MatchCounts):
    """Multilabel samples with every label correct, and all samples, ``[H, 2]``."""

    num_labels: int
    threshold: float = 0.5
    samplewise: bool = False
    ignore_index: int | None = None
    validate_args: bool = True
    input: str = "auto"

    op = staticmethod(_label_exact_match)

    @override
    def check(self) -> None:
        check_int("num_labels", self.num_labels, 2)
        check_thresholding(self.threshold, self.ignore_index, self.input)

    @property
    @override
    def shape(self) -> tuple[int, int]:
        return (2 if self.input == "auto" else 1), 2

    @property
    @override
    def label_axes(self) -> int:
        return 1

    @override
    def arguments(self) -> tuple[int, float, bool, int | None, bool]:
        logits = self.input == "logits"
        return self.num_labels, self.threshold, logits, self.ignore_index, self.validate_args

    @override
    def counts_of(self, states: States) -> Tensor:
        return choose_interpretation(super().counts_of(states), states.values["events"], -2)
