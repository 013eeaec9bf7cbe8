"""Per-class counts of true and false positives and negatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, frozen
from fastmetrics.ops.confusion import Confusion
from fastmetrics.ops.counted import COUNTS, IN_ORDER, Counts, CountStatistic
from fastmetrics.ops.define import define
from fastmetrics.ops.inputs import check_class_inputs, contributions, read_classes
from fastmetrics.utilities.checks import check_ignore_index, check_int, check_top_k

__all__ = ["stat_scores_"]

TP, FP, TN, FN = 0, 1, 2, 3


def check_stat_scores(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    num_classes: int, top_k: int, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `stat_scores_`, and its fake."""
    check_class_inputs("stat_scores_", state, preds, target, weight, num_classes, top_k)
    if not num_classes and state.ndim == 3:
        raise ValueError("stat_scores_: counts per sample need `num_classes`, got 0.")


def true_negatives(tp: Tensor, fp: Tensor, fn: Tensor, num_classes: int) -> Tensor:
    """Return what is left of all samples, for counts ``[rows, C]`` or sums of them ``[rows, 1]``.

    Weighted sums are rounded, so the difference is taken where it is exactly 0 when every
    prediction, or every target, is the class itself; formulas ask for zero denominators.
    """
    if tp.shape[1] == 1:
        return (num_classes - 1) * (tp + fp) - fn
    predicted, targets = tp + fp, tp + fn
    unpredicted = predicted.sum(1, keepdim=True) - predicted
    untargeted = targets.sum(1, keepdim=True) - targets
    return torch.where(fn == 0, unpredicted, untargeted - fp)


def stat_scores_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    num_classes: int, top_k: int, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    if not target.numel():
        return
    pred, labels, counted, _ = read_classes(
        "stat_scores_", events, preds, target, num_classes, top_k, ignore_index, validate
    )
    num_rows, row_classes = (
        (state.shape[0], state.shape[1]) if state.ndim == 3 else (1, state.shape[0])
    )
    contribution = contributions(events, counted, weight)
    sample = torch.arange(labels.shape[0], device=labels.device).unsqueeze(1).expand_as(labels)
    row = sample if state.ndim == 3 else torch.zeros_like(sample)

    def per_class(classes: Tensor, mask: Tensor) -> Tensor:
        column = classes.where(counted, 0) if row_classes > 1 else torch.zeros_like(classes)
        sums = contribution.new_zeros(num_rows * row_classes)
        sums.index_add_(0, (row * row_classes + column).flatten(), (contribution * mask).flatten())
        return sums.view(num_rows, row_classes)

    hit = pred == labels
    tp = per_class(labels, hit)
    fp = per_class(pred, ~hit)
    fn = per_class(labels, ~hit)
    tn = true_negatives(tp, fp, fn, num_classes) if num_classes else torch.zeros_like(tp)
    state += torch.stack((tp, fp, tn, fn), dim=-1).view(state.shape)


_stat_scores = define(
    "stat_scores_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " int num_classes, int top_k, int? ignore_index, bool validate)",
    stat_scores_reference,
    check_stat_scores,
    fusible_axes=2,
)


def stat_scores_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    num_classes: int = 0,
    top_k: int = 1,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add one batch to the per-class counts ``(tp, fp, tn, fn)``.

    The prediction is the argmax over classes (first of equals, NaN largest, as ``torch.argmax``).
    With ``top_k > 1`` a sample counts as its target when fewer than ``top_k`` classes outrank it.

    Args:
        state: ``[C, 4]``, or ``[1, 4]`` for the sums over classes; with a leading ``[N]`` axis each
            sample is counted on its own. int64, or float64 once weights are used. Changed in place.
        events: int64 ``[4]``, see :mod:`fastmetrics.ops.faults`. Changed in place.
        preds: scores ``[N, C, ...]`` (float16, bfloat16, float32, float64) or labels ``[N, ...]``.
        target: labels ``[N, ...]`` in ``[0, C)``, any integer type or bool.
        weight: optional ``[N]``.
        num_classes: C; 0 when unknown (then ``tn`` stays 0, and only ``[1, 4]`` states fit).
        top_k: how many of the highest scores may hold the target, at least 1.
        ignore_index: samples with this target are left out.
        validate: raise for labels out of range (CPU) or count them in ``events`` (GPU);
            otherwise such samples are left out in silence.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is out of range (CPU); the state is unchanged.

    Cost: reads ``preds`` and ``target`` once; temporaries do not grow with N.

    >>> import torch
    >>> from fastmetrics.ops import stat_scores_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(2, 4, dtype=torch.int64)
    >>> preds, target = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    >>> stat_scores_(state, new_events(), preds, target, num_classes=2)
    >>> state
    tensor([[1, 0, 1, 1],
            [1, 1, 1, 0]])
    """
    _stat_scores(state, events, preds, target, weight, num_classes, top_k, ignore_index, validate)


def counts_of_matrix(matrix: Tensor) -> Tensor:
    """Return the counts ``tp, fp, tn, fn`` of each class ``[C, 4]`` in a confusion matrix."""
    tp = matrix.diagonal()
    if not matrix.is_floating_point():
        predicted, targets = matrix.sum(0), matrix.sum(1)
        fn = targets - tp
        return torch.stack((tp, predicted - tp, targets.sum() - predicted - fn, fn), -1)
    # Weighted sums are rounded: what is not wrong must add up to exactly 0.
    wrong = matrix - tp.diag()
    tp, fp, fn = tp.unsqueeze(0), wrong.sum(0, keepdim=True), wrong.sum(1).unsqueeze(0)
    return torch.stack((tp, fp, true_negatives(tp, fp, fn, len(matrix)), fn), -1)[0]


def sum_of_classes(counts: Tensor) -> Tensor:
    """Return ``[1, 4]``: the counts of all classes together, without the true negatives."""
    return counts.sum(0, keepdim=True) * counts.new_tensor([1, 1, 0, 1])


@frozen()
class ClassCounts(CountStatistic):
    """True and false positives and negatives of each class, ``[C, 4]``.

    Attributes:
        num_classes: C; None where it is unknown, and all classes are counted together.
        top_k: how many of the highest scores may hold the target.
        samplewise: whether each sample is counted on its own.
        ignore_index: samples with this target are left out.
        validate_args: whether labels out of range are reported.
    """

    num_classes: int | None
    top_k: int = 1
    samplewise: bool = False
    ignore_index: int | None = None
    validate_args: bool = True

    op = staticmethod(_stat_scores)

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self.num_classes or 1, 4

    @property
    @override
    def rows(self) -> str | None:
        return None if self.samplewise else "classes"

    def check(self) -> None:
        """Raise ``ValueError`` unless the arguments are in range."""
        if self.num_classes is not None:
            check_int("num_classes", self.num_classes, 2)
        check_top_k(self.top_k, self.num_classes)
        check_ignore_index(self.ignore_index)

    @override
    def arguments(self) -> tuple[int, int, int | None, bool]:
        return self.num_classes or 0, self.top_k, self.ignore_index, self.validate_args

    def read(self, states: States) -> Counts:
        """Return the counts of each class, samplewise with a leading ``[N]``."""
        return Counts(self.counts_of(states), IN_ORDER, self.top_k)

    def write_column(self, states: States, name: str, value: Any) -> None:
        """Set what is ``name`` of :data:`~fastmetrics.ops.counted.COUNTS`, for each class."""
        self.write(states, (..., COUNTS.index(name)), value)

    @override
    def read_from(self, other: Statistic, states: States) -> dict[str, Any] | None:
        """Read them off a confusion matrix, or those of all classes together off each."""
        if not isinstance(other, (Confusion, ClassCounts)):
            return None
        rules = (self.ignore_index, self.validate_args)
        if self.samplewise or (other.ignore_index, other.validate_args) != rules:
            return None
        # Unchecked labels of any size count where the number of classes is unknown.
        summed = self.num_classes is None and other.num_classes and self.validate_args
        if not summed and self.num_classes != other.num_classes:
            return None
        counts: Tensor
        if isinstance(other, Confusion):
            if self.top_k != 1:
                return None
            counts = counts_of_matrix(states.values["counts"])
        elif summed and not other.samplewise and other.top_k == self.top_k:
            counts = states.values["counts"]
        else:
            return None
        return {
            "counts": sum_of_classes(counts) if summed else counts,
            "events": states.values["events"],
        }
