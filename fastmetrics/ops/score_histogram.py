"""Score histograms: how many scores of each class and target lie between adjacent thresholds.

From the histogram follow the counts of true and false positives at every threshold, and with them
the whole family of curves. An update costs one pass, whatever the number of thresholds T.

The thresholds are given (`score_histogram_`), or those between scores whose order-preserving images
share their leading bits (`score_image_histogram_`). The image of a float is an unsigned integer of
as many bits: the bits of the float with the sign bit set, or, for a negative float, all of its bits
flipped. Images order like the scores; -0 has the image of +0, and NaN has 0, below every score.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastmetrics.ops.checks import shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import NAN, OUTSIDE
from fastmetrics.ops.inputs import (
    LOGITS,
    check_score_inputs,
    contributions,
    count_targets,
    int_sum,
    interpretations_of,
)
from fastmetrics.utilities.recording import is_recorded

__all__ = ["histogram_areas_", "histogram_points_", "score_histogram_", "score_image_histogram_"]

_NAME = "score_histogram_"
_IMAGE = "score_image_histogram_"
_AREAS = "histogram_areas_"
_POINTS = "histogram_points_"

MOST_IMAGE_BITS = 16
# Scores of which the softmax is taken at a time.
_SOFTMAX_SCORES = 2**16


def _check_state(op: str, state: Tensor) -> None:
    """Raise unless the state has the axes of histograms."""
    shape = state.shape
    if len(shape) != 4 or shape[0] not in (1, 2) or not shape[1] or shape[2] != 2 or shape[3] < 2:
        raise ValueError(
            f"{op}: the state must have shape [H, C, 2, B] with H in {{1, 2}}, at least one class"
            f" and two bins, got {shape_text(state)}."
        )


def check_score_histogram(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    edges: Tensor, uniform: bool, multiclass: bool, logits: bool, ignore_index: int | None,
    validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `score_histogram_`, and its fake."""
    _check_state(_NAME, state)
    check_score_inputs(_NAME, state, preds, target, weight, state.shape[1], multiclass)
    shape = (state.shape[0], state.shape[3] - 1)
    if edges.shape != shape or edges.dtype != torch.float64 or not edges.is_contiguous():
        raise ValueError(
            f"{_NAME}: `edges` must be contiguous float64 of shape {shape} to fit the state,"
            f" got {edges.dtype} of shape {shape_text(edges)} and strides {edges.stride()}."
        )
    if edges.device != state.device:
        raise ValueError(
            f"{_NAME}: `edges` must be on the device of the metric state, {state.device},"
            f" got {edges.device}."
        )


def check_score_image_histogram(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None, half: bool,
    multiclass: bool, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `score_image_histogram_`, and its fake."""
    _check_state(_IMAGE, state)
    check_score_inputs(_IMAGE, state, preds, target, weight, state.shape[1], multiclass)
    bins = state.shape[3]
    if bins < 2 or bins > 2**MOST_IMAGE_BITS or bins & (bins - 1):
        raise ValueError(
            f"{_IMAGE}: the state must have a power of two from 2 to {2**MOST_IMAGE_BITS} bins,"
            f" got {bins}."
        )
    if state.shape[0] != 1 and not multiclass:
        raise ValueError(
            f"{_IMAGE}: binary and multilabel scores are ranked as they are, so the state must hold"
            f" one interpretation, got shape {shape_text(state)}."
        )
    if half and preds.dtype != torch.float16:
        raise ValueError(f"{_IMAGE}: `half` needs float16 `preds`, got dtype {preds.dtype}.")


def _check_reading(op: str, counts: Tensor, **out: tuple[Tensor, tuple[int, ...]]) -> None:
    """Raise unless these are counts, and the results float64 of the shapes beside them."""
    if counts.ndim != 3 or counts.shape[1] != 2 or counts.dtype not in (torch.int64, torch.float64):
        raise ValueError(
            f"{op}: `counts` must be int64 or float64 with shape (C, 2, B), got {counts.dtype}"
            f" with {shape_text(counts)}."
        )
    for name, (tensor, shape) in out.items():
        if tensor.shape != shape or tensor.dtype != torch.float64 or tensor.device != counts.device:
            raise ValueError(
                f"{op}: `{name}` must be float64 with shape {shape} on {counts.device}, got"
                f" {tensor.dtype} with {shape_text(tensor)} on {tensor.device}."
            )


def check_histogram_areas(areas: Tensor, counts: Tensor) -> None:
    """Metadata check of `histogram_areas_`, and its fake."""
    _check_reading(_AREAS, counts, areas=(areas, (len(counts), 4)))


def check_histogram_points(fps: Tensor, tps: Tensor, totals: Tensor, counts: Tensor) -> None:
    """Metadata check of `histogram_points_`, and its fake."""
    points = (len(counts), counts.shape[-1] - 1)
    totals_shape = (2, len(counts))
    _check_reading(
        _POINTS, counts, fps=(fps, points), tps=(tps, points), totals=(totals, totals_shape)
    )


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


def softmax_rows(rows: Tensor) -> Tensor:
    """Softmax over the last axis, some rows at a time; float32 or float64."""
    if is_recorded():  # a loop over samples would be unrolled
        return softmax(rows)
    result = torch.empty(
        rows.shape, dtype=torch.promote_types(rows.dtype, torch.float32), device=rows.device
    )
    step = max(1, _SOFTMAX_SCORES // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        result[start : start + step] = softmax(rows[start : start + step])
    return result


def _find_bins(scores: Tensor, edges: Tensor) -> Tensor:
    """Count the edges that do not lie above each score; none do for NaN."""
    # A sorted search takes NaN for the largest number, but nothing reaches a NaN edge.
    reachable = (~edges.isnan()).sum()
    bins = torch.searchsorted(
        edges.nan_to_num(torch.inf, torch.inf, -torch.inf), scores, right=True
    )
    return torch.where(scores.isnan(), 0, torch.minimum(bins, reachable))


def _image_bins(scores: Tensor, half: bool, bits: int) -> Tensor:
    """Leading bits of the image of each score."""
    kept = scores.half() if half else scores.float()
    width = 16 if half else 32
    sign, mask = 1 << (width - 1), (1 << width) - 1
    pattern = kept.view(torch.int16 if half else torch.int32).long() & mask
    pattern = torch.where(kept == 0, 0, pattern)
    image = torch.where(pattern >= sign, pattern ^ mask, pattern | sign)
    return torch.where(kept.isnan(), 0, image) >> (width - bits)


def _count_bins(
    op: str,
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    multiclass: bool,
    logits: bool,
    ignore_index: int | None,
    validate: bool,
    count_outside: bool,
    find_bins: Callable[[Tensor, int], Tensor],
) -> None:
    """Count the bins that ``find_bins(scores, interpretation)`` returns."""
    num_interpretations, num_rows, _, num_bins = state.shape
    if target.numel() == 0:
        return
    limit = num_rows if multiclass else 2
    counted = count_targets(op, events, target, limit, ignore_index, validate)
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
    if count_outside:
        events[OUTSIDE] += int_sum(((scores < 0) | (scores > 1)) & counted)
    contribution = contributions(events, counted.reshape(len(target), -1), weight).flatten()
    for index, interpretation in enumerate(interpretations_of(num_interpretations, logits)):
        values = softmax(scores) if multiclass and interpretation == LOGITS else scores
        bins = find_bins(values, index)
        cell = torch.where(counted, (row * 2 + labels) * num_bins + bins, 0)
        delta = contribution.new_zeros(num_rows * 2 * num_bins)
        delta.index_add_(0, cell.flatten(), contribution)
        state[index] += delta.view(state.shape[1:])


def score_histogram_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    edges: Tensor, uniform: bool, multiclass: bool, logits: bool, ignore_index: int | None,
    validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    _count_bins(
        _NAME,
        state,
        events,
        preds,
        target,
        weight,
        multiclass,
        logits,
        ignore_index,
        validate,
        len(state) > 1,
        lambda scores, interpretation: _find_bins(
            scores.double().contiguous(), edges[interpretation]
        ),
    )


def score_image_histogram_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None, half: bool,
    multiclass: bool, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    bits = state.shape[3].bit_length() - 1
    _count_bins(
        _IMAGE,
        state,
        events,
        preds,
        target,
        weight,
        multiclass,
        logits,
        ignore_index,
        validate,
        not multiclass or len(state) > 1,
        lambda scores, interpretation: _image_bins(scores, half, bits),
    )


def histogram_areas_reference(areas: Tensor, counts: Tensor) -> None:
    """Plain torch twin of the compiled kernel."""
    lower, higher = counts.double().unbind(1)
    areas[:, 0] = (higher * (lower.cumsum(-1) - 0.5 * lower)).sum(-1)
    gained = higher[:, 1:].flip(-1)
    tps, fps = gained.cumsum(-1), lower[:, 1:].flip(-1).cumsum(-1)
    shares = gained * tps / (tps + fps)
    areas[:, 1] = torch.where(gained != 0, shares, 0.0).sum(-1)
    areas[:, 2], areas[:, 3] = lower.sum(-1), higher.sum(-1)


def histogram_points_reference(fps: Tensor, tps: Tensor, totals: Tensor, counts: Tensor) -> None:
    """Plain torch twin of the compiled kernel."""
    reached = counts.double().flip(-1).cumsum(-1)
    fps[:], tps[:] = reached[..., :-1].unbind(1)
    totals[:] = reached[..., -1].T


_score_histogram = define(
    _NAME,
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " Tensor edges, bool uniform, bool multiclass, bool logits, int? ignore_index, bool validate)",
    score_histogram_reference,
    check_score_histogram,
    fusible_axes=4,
)

_score_image_histogram = define(
    _IMAGE,
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight, bool half,"
    " bool multiclass, bool logits, int? ignore_index, bool validate)",
    score_image_histogram_reference,
    check_score_image_histogram,
)


_histogram_areas = define(
    _AREAS,
    "(Tensor(a!) areas, Tensor counts)",
    histogram_areas_reference,
    check_histogram_areas,
    in_compute=True,
    triton=False,
)


_histogram_points = define(
    _POINTS,
    "(Tensor(a!) fps, Tensor(b!) tps, Tensor(c!) totals, Tensor counts)",
    histogram_points_reference,
    check_histogram_points,
    in_compute=True,
    triton=False,
)


def histogram_areas_(areas: Tensor, counts: Tensor) -> None:
    """Write what the areas under curves through the thresholds of a histogram follow from.

    The columns are those of :func:`~fastmetrics.ops.curve_areas_`; scores of one bin are ties. What
    lies in the first bin reaches no threshold, so it is no point of a precision-recall curve.

    Args:
        areas: float64 ``[C, 4]``. Overwritten.
        counts: int64 or float64 ``[C, 2, B]``: negatives and positives, bins by ascending score.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    >>> import torch
    >>> from fastmetrics.ops import histogram_areas_
    >>> areas = torch.empty(1, 4, dtype=torch.float64)
    >>> histogram_areas_(areas, torch.tensor([[[0, 1, 0], [0, 1, 1]]]))
    >>> areas
    tensor([[1.5000, 1.6667, 1.0000, 2.0000]], dtype=torch.float64)
    """
    _histogram_areas(areas, counts)


def histogram_points_(fps: Tensor, tps: Tensor, totals: Tensor, counts: Tensor) -> None:
    """Write what lies at or above the thresholds of a histogram, from the highest on.

    Args:
        fps: float64 ``[C, B - 1]``: negatives. Overwritten, as are all results.
        tps: float64 ``[C, B - 1]``: positives.
        totals: float64 ``[2, C]``: all negatives, all positives.
        counts: int64 or float64 ``[C, 2, B]``: negatives and positives, bins by ascending score.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    >>> import torch
    >>> from fastmetrics.ops import histogram_points_
    >>> fps, tps = torch.empty(2, 1, 2, dtype=torch.float64)
    >>> totals = torch.empty(2, 1, dtype=torch.float64)
    >>> histogram_points_(fps, tps, totals, torch.tensor([[[0, 1, 0], [0, 1, 1]]]))
    >>> fps.tolist(), tps.tolist(), totals.tolist()
    ([[0.0, 1.0]], [[1.0, 2.0]], [[1.0], [2.0]])
    """
    _histogram_points(fps, tps, totals, counts)


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
    scores that reach exactly b thresholds; NaN reaches none. With two interpretations (H = 2) the
    batch is counted both as probabilities and as logits, and ``events`` counts the scores outside
    ``[0, 1]``, so that whoever reads the state decides for all of the data at once. Binary and
    multilabel logits are compared as they are, with the logits of the thresholds; multiclass ones
    go through a softmax.

    Args:
        state: ``[H, C, 2, B]`` with H in {1, 2}, C classes, C labels or 1 for binary inputs, the
            target (for multiclass inputs: whether it is this class) and B = T + 1 bins. int64, or
            float64 once weights are used. Changed in place.
        events: int64 ``[4]``. Changed in place.
        preds: scores in a float type: binary ``[N, ...]``, multilabel and multiclass
            ``[N, C, ...]``.
        target: any integer type or bool: 0 and 1 in the shape of ``preds``; for multiclass inputs
            classes ``[N, ...]``.
        weight: optional ``[N]``.
        edges: float64 ``[H, T]``, T >= 1: for each interpretation the thresholds, ascending and
            compared exactly; NaN, at the end, for one that no score reaches.
        uniform: promises that the thresholds are ``linspace(0, 1, T)`` (or the logits of that),
            which lets kernels find bins by arithmetic.
        multiclass: whether a score belongs to each class of a sample.
        logits: which interpretation a state with H = 1 holds.
        ignore_index: positions with this target are left out.
        validate: as in :func:`fastmetrics.ops.stat_scores.stat_scores_`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is out of range (CPU); the state is unchanged.

    Cost: reads each input once; temporaries are bounded by the state's size.

    >>> import torch
    >>> from fastmetrics.ops import score_histogram_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(1, 1, 2, 3, dtype=torch.int64)
    >>> edges = torch.tensor([[0.0, 0.5]], dtype=torch.float64)
    >>> scores, target = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0, 1, 1])
    >>> score_histogram_(state, new_events(), scores, target, None, edges)
    >>> state[0, 0]
    tensor([[0, 1, 0],
            [0, 0, 2]])
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


def score_image_histogram_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    half: bool = False,
    multiclass: bool = False,
    logits: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add one batch to histograms over the leading bits of the order-preserving images.

    As `score_histogram_`, but with bins that need no thresholds: scores in one bin differ by less
    than a factor of ``1 + 2 ** (9 - bits)``, whatever their magnitude, and nothing but the order of
    the scores matters.

    Args:
        state: ``[H, C, 2, 2 ** bits]``, 1 <= bits <= 16; otherwise as for `score_histogram_`.
            Binary and multilabel scores are ranked as they are, so their H is 1; multiclass ones
            are with H = 2 counted as they are and after a softmax. Changed in place.
        events: int64 ``[4]``; counts the scores outside ``[0, 1]`` unless a multiclass state holds
            one interpretation. Changed in place.
        preds: as for `score_histogram_`.
        target: as for `score_histogram_`.
        weight: optional ``[N]``.
        half: takes the 16-bit image of float16 scores, which tells all of them apart with 16 bits.
            Otherwise the image of a score is that of the nearest float32.
        multiclass: whether a score belongs to each class of a sample.
        logits: which interpretation a multiclass state with H = 1 holds: with True, the softmax.
        ignore_index: positions with this target are left out.
        validate: as in :func:`fastmetrics.ops.stat_scores.stat_scores_`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is out of range (CPU); the state is unchanged.

    Cost: reads each input once; temporaries are bounded by the state's size.

    >>> import torch
    >>> from fastmetrics.ops import score_image_histogram_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(1, 1, 2, 2, dtype=torch.int64)
    >>> scores, target = torch.tensor([-3.0, 2.0, 5.0]), torch.tensor([0, 1, 1])
    >>> score_image_histogram_(state, new_events(), scores, target, None)
    >>> state[0, 0]
    tensor([[1, 0],
            [0, 2]])
    """
    _score_image_histogram(
        state,
        events,
        preds,
        target,
        weight,
        half,
        multiclass,
        logits,
        ignore_index,
        validate,
    )
