"""Score histograms: how many scores of each class and target lie between adjacent thresholds.

From the histogram follow the counts of true and false positives at every threshold, and with them
the whole family of curves. An update costs one pass, whatever the number of thresholds T.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.ops import library
from fastmetrics.ops.library import INVALID, NAN, OUTSIDE, SCORE_DTYPES, shape_text
from fastmetrics.ops.reading import (
    LOGITS,
    PROBS,
    check_class_inputs,
    check_label_inputs,
    int_sum,
    sample_weights,
)

_NAME = "score_histogram_"


def check_score_histogram(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    edges: Tensor,
    uniform: bool,
    multiclass: bool,
    logits: bool,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Metadata check of `score_histogram_`, and its fake."""
    if preds.dtype not in SCORE_DTYPES:
        raise ValueError(f"{_NAME}: `preds` must be a float tensor, got dtype {preds.dtype}.")
    if not multiclass:
        check_label_inputs(_NAME, state, preds, target, weight, state.shape[1])
        return
    if preds.ndim != target.ndim + 1:
        raise ValueError(
            f"{_NAME}: `preds` must have shape (N, C, ...) with `target` (N, ...),"
            f" got {shape_text(preds)} and {shape_text(target)}."
        )
    check_class_inputs(_NAME, state, preds, target, weight, state.shape[1])


def count_targets(
    op: str,
    events: Tensor,
    target: Tensor,
    limit: int,
    ignore_index: int | None,
    validate: bool,
) -> Tensor:
    """Return which targets count: neither ignored nor outside ``[0, limit)``."""
    labels = target.long()
    counted = (labels >= 0) & (labels < limit)
    if ignore_index is not None:
        ignored = labels == ignore_index
        invalid, counted = ~counted & ~ignored, counted & ~ignored
    else:
        invalid = ~counted
    if validate:
        if target.device.type != "cpu":
            events[INVALID] += int_sum(invalid)
        elif invalid.any():
            library.raise_first_invalid(op, "target", labels, invalid, limit, ignore_index)
    return counted


def softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis in float64, rounded to float32 or wider.

    Equal infinities share the row.
    """
    exact = scores.double()
    largest = exact.amax(-1, keepdim=True)
    is_largest = exact == largest
    powers = torch.where(is_largest, 0.0, exact - largest).exp()
    # The ones of the largest scores come last: what is far below them must not vanish one by one.
    total = torch.where(is_largest, 0.0, powers).sum(-1, keepdim=True) + is_largest.sum(-1, True)
    return (powers / total).to(torch.promote_types(scores.dtype, torch.float32))


def _find_bins(scores: Tensor, edges: Tensor) -> Tensor:
    """Count the edges that do not lie above each score; none do for NaN."""
    # A sorted search takes NaN for the largest number, but nothing reaches a NaN edge.
    reachable = (~edges.isnan()).sum()
    bins = torch.searchsorted(
        edges.nan_to_num(torch.inf, torch.inf, -torch.inf), scores, right=True
    )
    return torch.where(scores.isnan(), 0, torch.minimum(bins, reachable))


def score_histogram_reference(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    edges: Tensor,
    uniform: bool,
    multiclass: bool,
    logits: bool,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Plain torch twin of the compiled kernels."""
    num_readings, num_rows, _, num_bins = state.shape
    if target.numel() == 0:
        return
    limit = num_rows if multiclass else 2
    counted = count_targets(_NAME, events, target, limit, ignore_index, validate)
    classes = torch.arange(num_rows, device=target.device)
    labels = target.long()
    if multiclass:
        scores = preds.movedim(1, -1)
        labels, row = (labels.unsqueeze(-1) == classes).long(), classes
        events[NAN] += int_sum(scores.isnan().any(-1) & counted)
        counted = counted.unsqueeze(-1).expand(scores.shape)
    else:
        scores = preds
        row = classes.view(-1, *[1] * (target.ndim - 2)) if num_rows > 1 else classes
        events[NAN] += int_sum(scores.isnan() & counted)
    if num_readings > 1:
        events[OUTSIDE] += int_sum(((scores < 0) | (scores > 1)) & counted)
    num_samples = target.shape[0]
    contribution = sample_weights(counted.reshape(num_samples, -1), weight).flatten()
    readings = (PROBS, LOGITS) if num_readings > 1 else (int(logits),)
    for index, reading in enumerate(readings):
        values = softmax(scores) if multiclass and reading == LOGITS else scores
        bins = _find_bins(values.double().contiguous(), edges[index])
        cell = torch.where(counted, (row * 2 + labels) * num_bins + bins, 0)
        delta = contribution.new_zeros(num_rows * 2 * num_bins)
        delta.index_add_(0, cell.flatten(), contribution)
        state[index] += delta.view(state.shape[1:])


_score_histogram = library.define(
    _NAME,
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " Tensor edges, bool uniform, bool multiclass, bool logits, int? ignore_index, bool validate)",
    score_histogram_reference,
    check_score_histogram,
)


def score_histogram_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    edges: Tensor,
    uniform: bool = False,
    multiclass: bool = False,
    logits: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add one batch to the histograms of each class (or label) and target.

    The bin of a score is the number of thresholds that do not lie above it, so bin b holds the
    scores that reach exactly b thresholds; NaN reaches none. With two readings (H = 2) the batch is
    counted both as probabilities and as logits, and ``events`` counts the scores outside
    ``[0, 1]``, so that whoever reads the state decides for all of the data at once. Binary and
    multilabel logits are compared as they are, with the logits of the thresholds; multiclass ones
    go through a softmax.

    Args:
        state: ``[H, C, 2, B]`` with H in {1, 2}, C classes, C labels or 1 for binary inputs, the
            target (for multiclass inputs: whether it is this class) and B = T + 1 bins. int64, or
            float64 once weights are used. Changed in place.
        events: int64 ``[3]``. Changed in place.
        preds: scores in a float type: binary ``[N, ...]``, multilabel and multiclass
            ``[N, C, ...]``.
        target: any integer type or bool: 0 and 1 in the shape of ``preds``; for multiclass inputs
            classes ``[N, ...]``.
        weight: optional ``[N]``.
        edges: float64 ``[H, T]``, T >= 1: for each reading the thresholds, ascending and compared
            exactly; NaN, at the end, for one that no score reaches.
        uniform: promises that the thresholds are ``linspace(0, 1, T)`` (or the logits of that),
            which lets kernels find bins by arithmetic.
        multiclass: whether a score belongs to each class of a sample.
        logits: which reading a state with H = 1 holds.
        ignore_index: positions with this target are left out.
        validate: as in :func:`fastmetrics.ops.stat_scores.stat_scores_`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is out of range (CPU); the state is unchanged.

    Cost: reads each input once; temporaries are bounded by the state's size.
    """
    _score_histogram(
        state,
        events,
        preds,
        target,
        weight,
        edges,
        uniform,
        multiclass,
        logits,
        ignore_index,
        validate,
    )
