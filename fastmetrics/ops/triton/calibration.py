"""GPU kernels of `calibration_bins_`.

Each program keeps three float64 sums for every bin of a tile of bins in registers, adds its own
share of the positions in their order, and writes the sums to its own row of a buffer;
`add_partials` adds the rows in a fixed tree. So the bits depend on shapes alone. States of more
than ``MOST_BINS`` bins are covered by several rows of programs, each of which reads the inputs.

A softmax needs the whole row: up to 1024 classes stay in registers, wider rows go through in tiles
with running totals. Sigmoid and softmax are worked out in float64 and rounded as the reference
does.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.triton.reading import (
    INVALID,
    NAN,
    OUTSIDE,
    add_event,
    as_score,
    fold_partials,
    is_wide,
    launch,
    locate,
    nan_max,
    numbers,
    ones_or_weights,
    ordered_programs,
    plan,
    replayable,
)
from fastmetrics.ops.triton.score_histogram import absorb

# With more bins a guess in float32 could miss the nearest edge.
MOST_GUESSED = 2**14

# Bins that a program keeps in registers, and pairs of positions and bins that it looks at together.
MOST_BINS = 512
PAIRS = 4096

# Scores that a program holds at a time.
ROW_TILE = 1024


@triton.jit
def find_bin(confidence, edges, LAST: tl.constexpr, GUESS: tl.constexpr):
    """Bin of each confidence in [0, 1]: the edges that it reaches, but the first."""
    reached = tl.zeros(confidence.shape, tl.int32)
    exact = confidence.to(tl.float64)
    if GUESS:
        place = confidence.to(tl.float32) * LAST
        place = tl.where(place < LAST, place, LAST * 1.0)
        reached = (place + 0.5).to(tl.int32)
    else:
        for level in tl.static_range(31):
            if 2**level < LAST + 1:
                # ceil(B / 2**level) edges from `reached` on are in doubt: ask their middle.
                half = (LAST + 2**level) // 2 ** (level + 1)
                reached += tl.where(exact >= tl.load(edges + reached + (half - 1)), half, 0)
    reached += (exact >= tl.load(edges + reached)).to(tl.int32)
    return reached - 1


@triton.jit
def clamp(score):
    """Probability that a score stands for."""
    score = tl.where(score > 0, score, 0.0)
    return tl.where(score < 1, score, 1.0)


@triton.jit
def add_bins(counts, confidences, rights, tile, bins, value, confidence, right, BINS: tl.constexpr):
    """Add positions to the sums of the bins ``tile .. tile + BINS - 1``."""
    hit = bins[:, None] == (tile + tl.arange(0, BINS))[None, :]
    counts += tl.sum(tl.where(hit, value[:, None], 0.0), axis=0)
    confidences += tl.sum(tl.where(hit, (value * confidence)[:, None], 0.0), axis=0)
    rights += tl.sum(tl.where(hit & right[:, None], value[:, None], 0.0), axis=0)
    return counts, confidences, rights


@triton.jit
def write_bins(sums, tile, counts, confidences, rights, TOTAL: tl.constexpr, BINS: tl.constexpr):
    """Write the sums of one tile of bins to a row of the buffer."""
    column = tile + tl.arange(0, BINS)
    tl.store(sums + column * 3, counts, mask=column < TOTAL)
    tl.store(sums + column * 3 + 1, confidences, mask=column < TOTAL)
    tl.store(sums + column * 3 + 2, rights, mask=column < TOTAL)


@triton.jit
def read_row(
    scores, read, class_stride,
    CLASSES: tl.constexpr, BLOCK_C: tl.constexpr, LOGITS: tl.constexpr,
):  # fmt: skip
    """One pass over rows of scores.

    Returns the largest score, the first class that has it, whether a score is NaN, how many lie
    outside [0, 1], and the largest softmax probability if ``LOGITS``.
    """
    best = tl.full(read.shape, float("-inf"), tl.float32)
    if scores.dtype.element_ty == tl.float64:
        best = best.to(tl.float64)
    winner = tl.zeros(read.shape, tl.int32)
    outside = tl.zeros(read.shape, tl.int32)
    largest = tl.full(read.shape, float("-inf"), tl.float64)
    below = tl.zeros(read.shape, tl.float64)
    ties = tl.zeros(read.shape, tl.int32)
    for start in range(0, CLASSES, BLOCK_C):
        column = start + tl.arange(0, BLOCK_C)
        active = read[:, None] & (column < CLASSES)[None, :]
        pointers = scores[:, None] + column.to(tl.int64)[None, :] * class_stride
        x = as_score(tl.load(pointers, mask=active, other=float("-inf")))
        top = tl.reduce(x, 1, nan_max)
        first = tl.where((x == top[:, None]) | (x != x), column[None, :], CLASSES)
        better = (top > best) | ((top != top) & (best == best))
        winner = tl.where(better, tl.min(first, axis=1), winner)
        best = tl.where(better, top, best)
        outside += tl.sum((active & ((x < 0) | (x > 1))).to(tl.int32), axis=1)
        if LOGITS:
            largest, below, ties = absorb(x.to(tl.float64), active, largest, below, ties)
    share = 1.0 / (below + ties)
    return best, winner, best != best, outside, share


@triton.jit(do_not_specialize=["ignore_index"])
def count_confidences(
    sums, events, preds, target, weight, edges, sizes, preds_strides, target_strides,
    weight_strides, class_stride, positions, ignore_index,
    READINGS: tl.constexpr, TOTAL: tl.constexpr, CLASSES: tl.constexpr, LOGITS: tl.constexpr,
    HAS_IGNORE: tl.constexpr, VALIDATE: tl.constexpr, WEIGHTED: tl.constexpr,
    GUESS: tl.constexpr, BINS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_C: tl.constexpr,
    WIDE: tl.constexpr, ALIGN: tl.constexpr,
):  # fmt: skip
    """Sums of positions, confidences and right ones, in one row of ``sums`` for each program.

    ``sums`` is ``[programs, READINGS, TOTAL, 3]``, float64; ``LOGITS``: some reading needs a
    sigmoid or softmax. ``CLASSES`` is 0 for binary inputs.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``
    for each tile of bins, of which there is one up to 512 bins.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    tile = tl.program_id(1) * BINS
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    counts_0 = tl.zeros([BINS], tl.float64)
    confidences_0 = tl.zeros([BINS], tl.float64)
    rights_0 = tl.zeros([BINS], tl.float64)
    counts_1 = tl.zeros([BINS], tl.float64)
    confidences_1 = tl.zeros([BINS], tl.float64)
    rights_1 = tl.zeros([BINS], tl.float64)
    for block in range(program, tl.cdiv(positions, BLOCK), programs):
        position = numbers(block, BLOCK, WIDE)
        inside = position < positions
        label = tl.load(target + locate(position, sizes, target_strides), mask=inside, other=0)
        label = label.to(tl.int64)
        kept = inside
        if HAS_IGNORE:
            kept = inside & (label != ignore_index)
        offset = locate(position, sizes, preds_strides)
        if CLASSES:
            valid = (label >= 0) & (label < CLASSES)
            counted = kept & valid
            best, winner, nan, outside, share = read_row(
                preds + offset // ALIGN * ALIGN, counted, class_stride, CLASSES, BLOCK_C,
                LOGITS,
            )  # fmt: skip
            right = winner.to(tl.int64) == label
            prob = clamp(best).to(tl.float32)
            share = share.to(tl.float32)
        else:
            valid = (label == 0) | (label == 1)
            counted = kept & valid
            best = as_score(tl.load(preds + offset, mask=counted, other=0.0))
            nan = best != best
            outside = ((best < 0) | (best > 1)).to(tl.int32)
            right = label == 1
            prob = clamp(best)
            power = tl.exp(-tl.abs(best.to(tl.float64)))
            share = (tl.where(best < 0, power, 1.0) / (1.0 + power)).to(best.dtype)
        bad += (kept & ~valid).to(tl.int32)
        nans += (counted & nan).to(tl.int32)
        outsides += tl.where(counted, outside, 0)
        counted = counted & ~nan
        value = ones_or_weights(sums, weight, position, counted, sizes, weight_strides, WEIGHTED)
        if READINGS == 2 or not LOGITS:
            confidence = tl.where(counted, prob, 0.0)
            bins = tl.where(counted, find_bin(confidence, edges, TOTAL - 1, GUESS), -1)
            counts_0, confidences_0, rights_0 = add_bins(
                counts_0, confidences_0, rights_0, tile, bins, value, confidence.to(tl.float64),
                right, BINS,
            )  # fmt: skip
        if LOGITS:
            confidence = tl.where(counted, share, 0.0)
            bins = tl.where(counted, find_bin(confidence, edges, TOTAL - 1, GUESS), -1)
            counts_1, confidences_1, rights_1 = add_bins(
                counts_1, confidences_1, rights_1, tile, bins, value, confidence.to(tl.float64),
                right, BINS,
            )  # fmt: skip
    own = sums + program.to(tl.int64) * (READINGS * TOTAL * 3)
    if READINGS == 2 or not LOGITS:
        write_bins(own, tile, counts_0, confidences_0, rights_0, TOTAL, BINS)
    if LOGITS:
        write_bins(
            own + (READINGS - 1) * TOTAL * 3, tile, counts_1, confidences_1, rights_1, TOTAL, BINS
        )
    # Every tile of bins sees all positions; one of them reports.
    first = tile == 0
    if READINGS == 2:
        add_event(events, OUTSIDE, tl.where(first, outsides, 0))
    if VALIDATE:
        add_event(events, INVALID, tl.where(first, bad, 0))
    add_event(events, NAN, tl.where(first, nans, 0))


@replayable
def calibration_bins_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    edges: Tensor,
    num_classes: int,
    logits: bool,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Launch the kernels of :func:`fastmetrics.ops.calibration.calibration_bins_`."""
    if not target.numel():
        return
    readings, total, _ = state.shape
    inputs = plan(False, preds, target, weight)
    bins = min(triton.next_power_of_2(total), MOST_BINS)
    block = max(1, PAIRS // bins)
    block_classes = 1
    if num_classes:
        block_classes = min(triton.next_power_of_2(num_classes), ROW_TILE)
        block = min(block, ROW_TILE // block_classes)
    wide = preds.dtype == torch.float64 and not num_classes
    programs = ordered_programs(triton.cdiv(inputs.positions, block), state.numel())
    sums = torch.empty((programs, state.numel()), dtype=torch.float64, device=state.device)
    options: dict[str, Any] = {
        "READINGS": readings,
        "TOTAL": total,
        "CLASSES": num_classes,
        "LOGITS": logits or readings == 2,
        "HAS_IGNORE": ignore_index is not None,
        "VALIDATE": validate,
        "WEIGHTED": weight is not None,
        "GUESS": total <= MOST_GUESSED,
        "BINS": bins,
        "BLOCK": block,
        "BLOCK_C": block_classes,
        "WIDE": is_wide(inputs.positions),
        "ALIGN": inputs.align,
        "num_warps": 8,
    }
    launch(
        count_confidences, (programs, triton.cdiv(total, bins)), sums, events, preds, target,
        weight, edges[int(wide)].contiguous(), inputs.sizes, *inputs.strides, *inputs.axis_strides,
        inputs.positions, 0 if ignore_index is None else ignore_index, **options,
    )  # fmt: skip
    fold_partials(state, sums)
