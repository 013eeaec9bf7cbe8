"""What counting metrics share: fresh states, the choice between readings, ratios of counts.

Shapes use N samples, C classes (or L labels). A ``counts`` tensor ends in four columns: ``tp, fp,
tn, fn`` for multiclass inputs, ``tn, fp, fn, tp`` (a flattened two-by-two table) for thresholded
ones, that is binary and multilabel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fastmetrics.ops import label_confusion_, stat_scores_
from fastmetrics.ops.faults import OUTSIDE, new_events, raise_events
from fastmetrics.ops.stat_scores import true_negatives

Counts = tuple[Tensor, Tensor, Tensor, Tensor]


class Formula(Protocol):
    """A value from ``counts`` ``[..., C, 4]``."""

    def __call__(
        self,
        counts: Tensor,
        thresholded: bool,
        average: str | None,
        top_k: int = 1,
        zero_division: float = 0.0,
    ) -> Tensor:
        """Return the value."""


# Below every count and every usable weight: a denominator of zero becomes this, and 0/0 becomes 0.
_TINY = 1e-300

# Up to here numbers are faster than tensors: for ten classes on a CPU 5 against 15 to 20 µs.
_FEW = 32


def new_counts(
    shape: tuple[int, ...],
    target: Tensor,
    weight: Tensor | None,
    samplewise: bool,
    device: torch.device,
    label_axes: int = 0,
) -> Tensor:
    """Return zeroed counts of ``shape``, or ``[N, *shape]`` when each sample keeps its own.

    Raises:
        ValueError: samplewise, and there is a weight or no axis left to count over.
    """
    if not samplewise:
        dtype = torch.int64 if weight is None else torch.float64
        return torch.zeros(shape, dtype=dtype, device=device)
    if weight is not None:
        raise ValueError("`weight` needs multidim_average='global', got 'samplewise'.")
    if target.ndim < 2 + label_axes:
        raise ValueError(
            f"multidim_average='samplewise' needs `target` with at least {2 + label_axes} axes,"
            f" got shape {tuple(target.shape)}."
        )
    return torch.zeros((target.shape[0], *shape), dtype=torch.int64, device=device)


def _readable(tensor: Tensor) -> bool:
    """Whether the host can look at values for free: on the CPU, outside of compiled regions."""
    return tensor.is_cpu and not torch.compiler.is_compiling()


def choose_reading(state: Tensor, events: Tensor, dim: int = -4) -> Tensor:
    """Keep one of the H readings along ``dim``: the logits if any score lay outside [0, 1].

    The axis goes. On a GPU the choice is made there, without waiting for it.
    """
    if state.shape[dim] == 1:
        return state.select(dim, 0)
    if _readable(events):
        return state.select(dim, int(events.tolist()[OUTSIDE] > 0))
    return state.index_select(dim, events.narrow(0, OUTSIDE, 1).clamp(max=1)).squeeze(dim)


def split_counts(counts: Tensor, thresholded: bool) -> Counts:
    """Return ``tp, fp, tn, fn``, each without the last axis of ``counts``."""
    if thresholded:
        tn, fp, fn, tp = counts.unbind(-1)
    else:
        tp, fp, tn, fn = counts.unbind(-1)
    return tp, fp, tn, fn


def tallies_of(matrix: Tensor) -> Tensor:
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


def divide(numerator: Tensor, denominator: Tensor, zero_division: float = 0.0) -> Tensor:
    """Divide float64 counts; ``zero_division`` stands where the denominator is zero."""
    if zero_division == 0:
        return numerator / denominator.clamp_min(_TINY)
    return torch.where(denominator == 0, zero_division, numerator / denominator)


class Ratio(NamedTuple):
    """A metric that is a ratio of counts for each class, averaged over classes.

    Attributes:
        terms: numerator and denominator from ``tp, fp, tn, fn``, for tensors and for numbers.
        zero_division: the value of 0/0; None leaves it to the caller.
        top_k_aware: with ``top_k > 1`` a class without targets is left out of the macro average
            even if it was predicted.
    """

    terms: Callable[[Any, Any, Any, Any], tuple[Any, Any]]
    zero_division: float | None = None
    top_k_aware: bool = False

    def __call__(
        self,
        counts: Tensor,
        thresholded: bool,
        average: str | None,
        top_k: int = 1,
        zero_division: float = 0.0,
    ) -> Tensor:
        """Return the float32 value of ``counts`` ``[..., C, 4]``.

        ``"micro"`` adds up the classes first; ``"macro"`` is the mean over classes, for multiclass
        counts over those that occur in predictions or targets; ``"weighted"`` the mean weighted by
        ``tp + fn``; None and ``"none"`` keep the classes apart. Where ``zero_division`` is NaN,
        undefined classes are left out of the mean.
        """
        if self.zero_division is not None:
            zero_division = self.zero_division
        labelled = self.top_k_aware and top_k != 1
        if counts.ndim == 2 and counts.shape[0] <= _FEW and _readable(counts):
            value = self._of_rows(counts.tolist(), thresholded, average, labelled, zero_division)
            if isinstance(value, list):
                return torch.tensor(value, dtype=torch.float32)
            return torch.full((), value, dtype=torch.float32)  # a third of the cost of tensor()
        if average == "micro":
            counts = counts.sum(-2)
        tp, fp, tn, fn = split_counts(counts.double(), thresholded)
        score = divide(*self.terms(tp, fp, tn, fn), zero_division)
        if average in ("micro", "none", None):
            return score.float()
        support = tp + fn
        if average == "weighted":
            weight = support
        elif thresholded:
            weight = torch.ones_like(score)
        else:
            weight = (support if labelled else support + fp).sign()
        if zero_division != zero_division:
            weight = weight * (score == score)
            score = score.nan_to_num(0.0)
            return divide((score * weight).sum(-1), weight.sum(-1), zero_division).float()
        return divide((score * weight).sum(-1), weight.sum(-1)).float()

    def _of_rows(
        self,
        rows: list[list[float]],
        thresholded: bool,
        average: str | None,
        labelled: bool,
        zero_division: float,
    ) -> float | list[float]:
        """Do the same with numbers."""
        if thresholded:
            rows = [[tp, fp, tn, fn] for tn, fp, fn, tp in rows]
        if average == "micro":
            rows = [[sum(column) for column in zip(*rows, strict=True)]]
        terms = self.terms
        if average == "macro" and zero_division == zero_division:  # by far the most common
            total = weight = 0.0
            for tp, fp, tn, fn in rows:
                if thresholded or tp + fn or (fp and not labelled):
                    numerator, denominator = terms(tp, fp, tn, fn)
                    total += numerator / denominator if denominator else zero_division
                    weight += 1.0
            return total / weight if weight else 0.0
        scores = [n / d if d else zero_division for n, d in [terms(*row) for row in rows]]
        if average in ("none", None):
            return scores
        if average == "micro":
            return scores[0]
        if average == "weighted":
            weights = [tp + fn for tp, _, _, fn in rows]
        else:
            weights = [
                thresholded or tp + fn + (0 if labelled else fp) > 0 for tp, fp, _, fn in rows
            ]
        if zero_division != zero_division:
            weights = [w if score == score else 0 for w, score in zip(weights, scores, strict=True)]
            scores = [score if score == score else 0.0 for score in scores]
        total = sum(weights)
        if not total:
            return zero_division if zero_division != zero_division else 0.0
        return sum(w * score for w, score in zip(weights, scores, strict=True)) / total


def count_classes(
    owner: str,
    preds: Tensor,
    target: Tensor,
    num_classes: int | None,
    top_k: int,
    samplewise: bool,
    ignore_index: int | None,
    validate_args: bool,
    weight: Tensor | None,
) -> Tensor:
    """Count one batch per class, ``[C, 4]`` or ``[N, C, 4]``."""
    counts = new_counts((num_classes or 1, 4), target, weight, samplewise, target.device)
    events = new_events(target.device)
    stat_scores_(
        counts,
        events,
        preds,
        target,
        weight,
        num_classes or 0,
        top_k,
        ignore_index,
        validate_args,
    )
    if validate_args:
        raise_events(owner, events)
    return counts


def count_labels(
    owner: str,
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float,
    samplewise: bool,
    ignore_index: int | None,
    validate_args: bool,
    weight: Tensor | None,
    input: str,
) -> Tensor:
    """Count one batch per label, ``[L, 4]`` or ``[N, L, 4]``."""
    shape = (2 if input == "auto" else 1, num_labels, 2, 2)
    label_axes = int(num_labels > 1)
    counts = new_counts(shape, target, weight, samplewise, target.device, label_axes)
    events = new_events(target.device)
    label_confusion_(
        counts,
        events,
        preds,
        target,
        weight,
        None,
        threshold,
        input == "logits",
        ignore_index,
        validate_args,
    )
    if validate_args:
        raise_events(owner, events)
    return choose_reading(counts, events).flatten(-2)
