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

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.triton.inputs import (
    Tile,
    add_score_events,
    as_score,
    fold_partials,
    is_wide,
    keep_best,
    load_columns,
    locate,
    numbers,
    ones_or_weights,
    ordered_programs,
    read_targets,
    row_layout,
    settle,
    walk_classes,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable
from fastmetrics.ops.triton.score_histogram import absorb
from fastmetrics.ops.triton.weights import count_bad_weights

# With more bins a guess in float32 could miss the nearest edge.
MOST_GUESSED = 2**14

# Bins that a program keeps in registers, and pairs of positions and bins that it looks at together.
MOST_BINS = 512
PAIRS = 4096

# Scores that a program holds at a time.
ROW_TILE = 1024
WARPS = 8


class Rules(NamedTuple):
    """What a kernel makes of scores and targets."""

    READINGS: int
    TOTAL: int
    """Bins."""
    CLASSES: int
    """0 for binary inputs."""
    LOGITS: bool
    """Whether some reading needs a sigmoid or softmax."""
    GUESS: bool
    """Whether a guess in float32 names the nearest edge."""
    VALIDATE: bool
    WIDE: bool
    """Whether confidences are float64."""


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
def add_bins(
    sums, tile_start, edges, value, counted, score, right, rules: tl.constexpr, BINS: tl.constexpr
):
    """Add positions to the counts, confidences and right ones of one tile of bins."""
    counts, confidences, rights = sums
    confidence = tl.where(counted, score, 0.0)
    bins = tl.where(counted, find_bin(confidence, edges, rules.TOTAL - 1, rules.GUESS), -1)
    hit = bins[:, None] == (tile_start + tl.arange(0, BINS))[None, :]
    weighted = value * confidence.to(tl.float64)
    counts += tl.sum(tl.where(hit, value[:, None], 0.0), axis=0)
    confidences += tl.sum(tl.where(hit, weighted[:, None], 0.0), axis=0)
    rights += tl.sum(tl.where(hit & right[:, None], value[:, None], 0.0), axis=0)
    return counts, confidences, rights


@triton.jit
def write_bins(row, tile_start, sums, TOTAL: tl.constexpr, BINS: tl.constexpr):
    """Write the sums of one tile of bins to a row of the buffer."""
    column = tile_start + tl.arange(0, BINS)
    for part in tl.static_range(3):
        tl.store(row + column * 3 + part, sums[part], mask=column < TOTAL)


@triton.jit
def add_readings(
    sums_0, sums_1, tile_start, edges, value, counted, prob, share, right,
    rules: tl.constexpr, BINS: tl.constexpr,
):  # fmt: skip
    """Add positions to the sums of each reading: as probabilities, and as logits."""
    if rules.READINGS == 2 or not rules.LOGITS:
        sums_0 = add_bins(sums_0, tile_start, edges, value, counted, prob, right, rules, BINS)
    if rules.LOGITS:
        sums_1 = add_bins(sums_1, tile_start, edges, value, counted, share, right, rules, BINS)
    return sums_0, sums_1


@triton.jit
def write_readings(sums, tile_start, sums_0, sums_1, rules: tl.constexpr, BINS: tl.constexpr):
    """Write the sums of one program to its row of the buffer."""
    own = sums + tl.program_id(0).to(tl.int64) * (rules.READINGS * rules.TOTAL * 3)
    if rules.READINGS == 2 or not rules.LOGITS:
        write_bins(own, tile_start, sums_0, rules.TOTAL, BINS)
    if rules.LOGITS:
        own += (rules.READINGS - 1) * rules.TOTAL * 3
        write_bins(own, tile_start, sums_1, rules.TOTAL, BINS)


@triton.jit
def read_row(scores, read, class_stride, rules: tl.constexpr, BLOCK_C: tl.constexpr):
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
    for start in range(0, rules.CLASSES, BLOCK_C):
        column = start + tl.arange(0, BLOCK_C)
        active = read[:, None] & (column < rules.CLASSES)[None, :]
        x = as_score(load_columns(scores, column, class_stride, active, float("-inf")))
        best, winner = keep_best(x, column, best, winner, rules.CLASSES)
        outside += tl.sum((active & ((x < 0) | (x > 1))).to(tl.int32), axis=1)
        if rules.LOGITS:
            largest, below, ties = absorb(x.to(tl.float64), active, largest, below, ties)
    share = 1.0 / (below + ties)
    return best, winner, best != best, outside, share


@triton.jit
def read_binary(scores, read):
    """Binary scores: each, whether it is NaN, whether it lies outside [0, 1], and its sigmoid."""
    x = as_score(tl.load(scores, mask=read, other=0.0))
    power = tl.exp(-tl.abs(x.to(tl.float64)))
    share = (tl.where(x < 0, power, 1.0) / (1.0 + power)).to(x.dtype)
    return x, x != x, ((x < 0) | (x > 1)).to(tl.int32), share


@triton.jit(do_not_specialize=["ignore_index"])
def count_confidences(
    sums, events, preds, target, weight, edges, walk, ignore_index,
    rules: tl.constexpr, BINS: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Sums of positions, confidences and right ones, in one row of ``sums`` for each program.

    ``sums`` is ``[programs, READINGS, TOTAL, 3]``, float64.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``
    for each tile of bins, of which there is one up to 512 bins.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    tile_start = tl.program_id(1) * BINS
    if rules.WIDE:
        edges += rules.TOTAL
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    zero = tl.zeros([BINS], tl.float64)
    sums_0 = (zero, zero, zero)
    sums_1 = (zero, zero, zero)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        inside = position < walk.positions
        label, kept, counted = read_targets(
            target, position, inside, walk, ignore_index, rules.CLASSES or 2
        )
        offset = locate(position, walk.sizes, walk.preds.strides)
        if rules.CLASSES:
            best, winner, nan, outside, share = read_row(
                preds + offset // tile.ALIGN * tile.ALIGN, counted, walk.preds.column, rules,
                tile.BLOCK_C,
            )  # fmt: skip
            right = winner.to(tl.int64) == label
            prob = clamp(best).to(tl.float32)
            share = share.to(tl.float32)
        else:
            best, nan, outside, share = read_binary(preds + offset, counted)
            right = label == 1
            prob = clamp(best)
        bad += (kept & ~counted).to(tl.int32)
        nans += (counted & nan).to(tl.int32)
        outsides += tl.where(counted, outside, 0)
        counted = counted & ~nan
        value = ones_or_weights(sums, weight, position, counted, walk)
        sums_0, sums_1 = add_readings(
            sums_0, sums_1, tile_start, edges, value, counted, prob, share, right, rules, BINS
        )
    write_readings(sums, tile_start, sums_0, sums_1, rules, BINS)
    # Every tile of bins sees all positions; one of them reports.
    first = tile_start == 0
    add_score_events(
        events, tl.where(first, bad, 0), tl.where(first, nans, 0), tl.where(first, outsides, 0),
        rules.VALIDATE, rules.READINGS == 2,
    )  # fmt: skip


def rules_of(state: Tensor, preds: Tensor, num_classes: int, logits: bool, validate: bool) -> Rules:
    """What the arguments of the op mean to the kernel."""
    readings, total, _ = state.shape
    return Rules(
        READINGS=readings,
        TOTAL=total,
        CLASSES=num_classes,
        LOGITS=logits or readings == 2,
        GUESS=total <= MOST_GUESSED,
        VALIDATE=validate,
        WIDE=preds.dtype == torch.float64 and not num_classes,
    )


def blocks_of(rules: Rules) -> tuple[int, int, int]:
    """Bins, positions and classes that a program holds at a time."""
    bins = min(triton.next_power_of_2(rules.TOTAL), MOST_BINS)
    block, block_classes = min(512, PAIRS // bins), 1
    if rules.CLASSES:
        block_classes = min(triton.next_power_of_2(rules.CLASSES), ROW_TILE)
        block = min(block, ROW_TILE // block_classes)
    return bins, block, block_classes


@replayable
def calibration_bins_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    edges: Tensor, num_classes: int, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Launch the kernels of :func:`fastmetrics.ops.calibration.calibration_bins_`."""
    if not target.numel():
        return
    count_bad_weights(events, weight)
    rules = rules_of(state, preds, num_classes, logits, validate)
    total = rules.TOTAL
    walk = walk_classes(preds, target, weight)
    bins, block, block_classes = blocks_of(rules)
    programs = ordered_programs(triton.cdiv(walk.positions, block), state.numel())
    sums = buffer(state, programs, state.numel())
    align, _ = row_layout(preds, walk)
    launch(
        count_confidences, (programs, triton.cdiv(total, bins)), sums, events, preds, target,
        weight, edges.contiguous(), walk, ignore_index, rules=rules, BINS=bins,
        tile=Tile(block, is_wide(walk.positions), block_classes, align),
        num_warps=WARPS, registers=128 if block_classes == ROW_TILE else None,
    )  # fmt: skip
    fold_partials(state, sums)
