"""GPU kernels of `score_histogram_` and `score_image_histogram_`.

Each score names one cell (reading, class, target, bin) and adds to it in one of three ways: in a
histogram in registers, by atomics, or in order for float64 sums. Scores are compared with the
float64 thresholds as they are; where those lie at equal distances a guess names the nearest one and
one comparison decides (`find_bin`), elsewhere a search takes ``log2(T)`` of them, in the L1 cache.

Binary and multilabel scores are independent, so `count_scores` walks them in the order of memory.
A softmax needs the whole row: `count_rows` keeps up to 1024 classes in registers, and reads wider
rows twice, the second time from the cache. It works in float64 as the reference does, so that both
find the same bins: a float32 softmax would move scores that lie next to a threshold.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.triton.confusion import (
    MOST_FREQUENT,
    _cells,
    add_cells,
    flat,
    flush_cells,
    narrow,
)
from fastmetrics.ops.triton.inputs import (
    LABEL_BLOCK,
    MOST_PRIVATE_BINS,
    ORDERED,
    ORDERED_BLOCK,
    ORDERED_WARPS,
    PRIVATE,
    SCATTER,
    ClassBlocks,
    Tile,
    add_score_events,
    add_to,
    as_score,
    fold_partials,
    is_wide,
    load_columns,
    locate,
    numbers,
    ones_or_weights,
    read_targets,
    row_layout,
    settle,
    walk_classes,
)
from fastmetrics.ops.triton.replay import launch, replayable
from fastmetrics.ops.triton.weights import count_bad_weights

# How thresholds lie: anywhere, at equal distances in [0, 1], or at the logits of such; or where the
# leading bits of the images of float32 or float16 scores change.
ANYWHERE = tl.constexpr(0)
UNIFORM = tl.constexpr(1)
LOGIT = tl.constexpr(2)
IMAGE = tl.constexpr(3)
HALF_IMAGE = tl.constexpr(4)

# With more thresholds a guess in float32 could miss the nearest one.
MOST_GUESSED = 2**14

# Scores that a program holds at a time, and pairs of them that it compares to add in order.
ROW_TILE = 1024
ORDERED_PAIRS = 4096


class Rules(NamedTuple):
    """What a kernel makes of scores and targets."""

    READINGS: int
    THRESHOLDS: int
    SPACING_0: int
    """How the thresholds of the first reading lie."""
    SPACING_1: int
    LOGITS: bool
    """Whether some reading needs a softmax."""
    VALIDATE: bool
    TOLD_APART: bool
    """Whether scores outside [0, 1] are reported."""


@triton.jit
def image_bin(values, BINS: tl.constexpr, HALF: tl.constexpr):
    """Leading bits of the order-preserving image of each score, as many as tell ``BINS`` apart."""
    WIDTH: tl.constexpr = 16 if HALF else 32
    kept = values.to(tl.float32)
    if HALF:
        kept = kept.to(tl.float16)
        pattern = kept.to(tl.uint16, bitcast=True).to(tl.int64)
    else:
        pattern = kept.to(tl.uint32, bitcast=True).to(tl.int64)
    pattern = tl.where(kept == 0, 0, pattern)
    SIGN: tl.constexpr = 2 ** (WIDTH - 1)
    image = tl.where(pattern >= SIGN, 2 * SIGN - 1 - pattern, pattern + SIGN)
    image = tl.where(kept == kept, image, 0)
    return (image // (2**WIDTH // BINS)).to(tl.int32)


@triton.jit
def nearest_below(values, edges, THRESHOLDS: tl.constexpr, SPACING: tl.constexpr):
    """Which threshold is the only one in doubt: all before it are reached, and none after it.

    The guess errs by far less than half of the distance between thresholds, so it names that one.
    """
    reached = tl.zeros(values.shape, tl.int32)
    if SPACING == ANYWHERE:
        exact = values.to(tl.float64)
        for level in tl.static_range(31):
            if 2**level < THRESHOLDS:
                # ceil(T / 2**level) thresholds from `reached` on are in doubt: ask their middle.
                half = (THRESHOLDS + 2**level - 1) // 2 ** (level + 1)
                reached += tl.where(exact >= tl.load(edges + reached + (half - 1)), half, 0)
    else:
        place = values.to(tl.float32)
        if SPACING == LOGIT:
            place = 1.0 / (1.0 + tl.exp(-place))
        place = place * (THRESHOLDS - 1.0)
        place = tl.where(place > 0.0, place, 0.0)  # NaN as well
        place = tl.where(place < THRESHOLDS - 1.0, place, THRESHOLDS - 1.0)
        reached = (place + 0.5).to(tl.int32)
    return reached


@triton.jit
def find_bin(values, edges, READING: tl.constexpr, rules: tl.constexpr):
    """How many of the ascending thresholds each score reaches; NaN reaches none, nor is reached."""
    THRESHOLDS: tl.constexpr = rules.THRESHOLDS
    SPACING: tl.constexpr = rules.SPACING_1 if READING == 1 else rules.SPACING_0
    if SPACING >= IMAGE:
        reached = image_bin(values, THRESHOLDS + 1, SPACING == HALF_IMAGE)
    else:
        edges += READING * THRESHOLDS
        reached = nearest_below(values, edges, THRESHOLDS, SPACING)
        reached += (values.to(tl.float64) >= tl.load(edges + reached)).to(tl.int32)
    return reached


@triton.jit
def count_ends(ends, positive, bin, active, ROWS: tl.constexpr):
    """Count the first and the last bin for each thread, and return what is left to be scattered.

    Sure scores are there, and would queue on these addresses: those of negative targets in the
    first bin and of positive ones in the last, and, where there are four ``ends``, the wrong ones.
    """
    counted = ()
    rest = active
    for end in tl.static_range(len(ends)):
        here = active & (bin == (ROWS - 1 if end == 1 or end == 2 else 0))
        here = here & (positive if end % 2 == 1 else ~positive)
        rest = rest & ~here
        # Triton knows no star in a tuple, and the type of this one grows.
        counted = counted + (ends[end] + here.to(tl.int32),)  # type: ignore[assignment]  # noqa: RUF005
    return counted, rest


@triton.jit
def flush_ends(cells, ends, ROWS: tl.constexpr):
    """Add what `count_ends` counted to the cells, those of columns if there are some."""
    for end in tl.static_range(len(ends)):
        count = tl.sum(ends[end].to(tl.int64), axis=0)
        place = (end % 2) * ROWS + (ROWS - 1 if end == 1 or end == 2 else 0)
        tl.atomic_add(cells + place, count, mask=count > 0, sem="relaxed")


@triton.jit(do_not_specialize=["ignore_index"])
def count_scores(
    cells, events, preds, target, weight, edges, walk, ignore_index, depth,
    rules: tl.constexpr, LABELS: tl.constexpr, MODE: tl.constexpr, BINS: tl.constexpr,
    tile: tl.constexpr,
):  # fmt: skip
    """Histograms of binary and multilabel scores, ``depth`` of them from one label to the next.

    ``cells`` is the state, or a zeroed float64 buffer when ordered:
    ``[programs, READINGS, LABELS, 2, THRESHOLDS + 1]``.

    Bytes to move for N scores of s bytes and targets of t bytes: ``N * (s + t)``, read once.
    Private: 8 bytes of atomics per cell and program. Scattered: one atomic per score and reading,
    in the L2 cache. Private counts are int32: one program would need 2**31 scores to overflow.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    counts_0 = tl.zeros([BINS], tl.int32)
    counts_1 = tl.zeros([BINS], tl.int32)
    ROWS: tl.constexpr = rules.THRESHOLDS + 1
    first = cells
    if MODE == ORDERED:
        first = cells + program.to(tl.int64) * (rules.READINGS * LABELS * 2 * ROWS)
    second = first + LABELS * 2 * ROWS
    APART: tl.constexpr = MODE == SCATTER and LABELS == 1
    FREQUENT: tl.constexpr = 0 if APART else MOST_FREQUENT
    zero = tl.zeros([BLOCK], tl.int32)
    ends_0 = (zero, zero, zero, zero)
    ends_1 = (zero, zero, zero, zero)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        inside = position < walk.positions
        mark, kept, counted = read_targets(target, position, inside, walk, ignore_index, 2)
        offset = locate(position, walk.sizes, walk.preds.strides)
        x = as_score(tl.load(preds + offset, mask=inside, other=0.0))
        bad += (kept & ~counted).to(tl.int32)
        nans += (counted & (x != x)).to(tl.int32)
        outsides += (counted & ((x < 0) | (x > 1))).to(tl.int32)
        value = ones_or_weights(cells, weight, position, counted, walk)
        cell = tl.where(mark == 1, ROWS, 0).to(tl.int64)
        if LABELS > 1:
            cell += (position // depth % LABELS).to(tl.int64) * (2 * ROWS)
        cell = narrow(cell, 2 * LABELS * ROWS)
        bin = find_bin(x, edges, 0, rules)
        rest = counted
        if APART:
            ends_0, rest = count_ends(ends_0, mark == 1, bin, counted, ROWS)
        counts_0 = add_cells(counts_0, first, cell + bin, value, rest, False, FREQUENT, MODE, BLOCK)
        if rules.READINGS == 2:
            bin = find_bin(x, edges, 1, rules)
            if APART:
                ends_1, rest = count_ends(ends_1, mark == 1, bin, counted, ROWS)
            counts_1 = add_cells(
                counts_1, second, cell + bin, value, rest, False, FREQUENT, MODE, BLOCK
            )
    if APART:
        flush_ends(first, ends_0, ROWS)
        if rules.READINGS == 2:
            flush_ends(second, ends_1, ROWS)
    flush_cells(first, counts_0, MODE)
    if rules.READINGS == 2:
        flush_cells(second, counts_1, MODE)
    add_score_events(events, bad, nans, outsides, rules.VALIDATE, rules.TOLD_APART)


@triton.jit
def absorb(x, active, largest, below, ties):
    """Extend the totals of a softmax per row by one tile of scores ``[rows, classes]``.

    ``below`` sums the powers of what lies below the ``largest`` score, which occurs ``ties`` times:
    apart from it small powers do not vanish one by one, and equal infinities share the row.
    """
    top = tl.maximum(largest, tl.max(tl.where(active, x, float("-inf")), axis=1))
    is_top = active & (x == top[:, None])
    powers = tl.where(active & ~is_top, tl.exp(x - top[:, None]), 0.0)
    stays = largest == top
    below = tl.where(stays, below, (below + ties) * tl.exp(largest - top))
    ties = tl.where(stays, ties, 0)
    return top, below + tl.sum(powers, axis=1), ties + tl.sum(is_top.to(tl.int32), axis=1)


@triton.jit
def softmax_totals(scores, read, class_stride, CLASSES: tl.constexpr, BLOCK_C: tl.constexpr):
    """Totals of a softmax per row, as `absorb` extends them, over all tiles of classes."""
    largest = tl.full(read.shape, float("-inf"), tl.float64)
    below = tl.zeros(read.shape, tl.float64)
    ties = tl.zeros(read.shape, tl.int32)
    for start in range(0, CLASSES, BLOCK_C):
        column = start + tl.arange(0, BLOCK_C)
        active = read[:, None] & (column < CLASSES)[None, :]
        x = load_columns(scores, column, class_stride, active, 0.0).to(tl.float64)
        largest, below, ties = absorb(x, active, largest, below, ties)
    return largest, below, ties


@triton.jit
def share_of(x, largest, total):
    """Softmax of scores in rows with this largest score and total."""
    return tl.where(x == largest, 1.0, tl.exp(x - largest)) / total


@triton.jit
def add_tile(counts, cells, cell, value, active, MODE: tl.constexpr):
    """Count the cells of one tile ``[rows, classes]``, whose columns have no cell in common."""
    if MODE == PRIVATE:
        BINS: tl.constexpr = counts.shape[0]
        key = tl.where(active, cell.to(tl.int32), BINS)
        key = flat(key)
        counts += tl.histogram(key, BINS, mask=key < BINS)
    elif MODE == SCATTER:
        tl.atomic_add(cells + cell, 1, mask=active, sem="relaxed")
    else:
        ROWS: tl.constexpr = cell.shape[0]
        total = tl.zeros(cell.shape, tl.float64) + value[:, None]
        leader = active
        if ROWS > 1:
            # As `add_ordered`, for each column.
            row = tl.arange(0, ROWS)
            same = (cell[:, None, :] == cell[None, :, :]) & active[:, None, :] & active[None, :, :]
            total = tl.sum(tl.where(same, value[None, :, None], 0.0), axis=1)
            leader = tl.min(tl.where(same, row[None, :, None], ROWS), axis=1) == row[:, None]
        add_to(cells + cell, total, leader)
        tl.debug_barrier()
    return counts


@triton.jit
def add_readings(
    counts_0, counts_1, ends_0, ends_1, first, second, edges, x, share, column, label, value,
    active, rules: tl.constexpr, APART: tl.constexpr, MODE: tl.constexpr,
):  # fmt: skip
    """Count a tile ``[rows, classes]`` of scores and their softmax in the cells of each reading.

    ``APART``: the first and the last bins are counted in ``ends``, see `count_ends`.
    """
    ROWS: tl.constexpr = rules.THRESHOLDS + 1
    is_label = column.to(tl.int64)[None, :] == label[:, None]
    cell = column.to(tl.int64)[None, :] * (2 * ROWS) + tl.where(is_label, ROWS, 0)
    bin = find_bin(x if rules.READINGS == 2 else share, edges, 0, rules)
    rest = active
    if APART:
        ends_0, rest = count_ends(ends_0, is_label, bin, active, ROWS)
    counts_0 = add_tile(counts_0, first, cell + bin, value, rest, MODE)
    if rules.READINGS == 2:
        bin = find_bin(share, edges, 1, rules)
        if APART:
            ends_1, rest = count_ends(ends_1, is_label, bin, active, ROWS)
        counts_1 = add_tile(counts_1, second, cell + bin, value, rest, MODE)
    return counts_0, counts_1, ends_0, ends_1


@triton.jit(do_not_specialize=["ignore_index"])
def count_rows(
    cells, events, preds, target, weight, edges, walk, ignore_index,
    rules: tl.constexpr, CLASSES: tl.constexpr, MODE: tl.constexpr, BINS: tl.constexpr,
    tile: tl.constexpr,
):  # fmt: skip
    """Histograms of multiclass scores, each class against the rest.

    ``cells`` is the state, or a zeroed float64 buffer when ordered:
    ``[programs, READINGS, CLASSES, 2, THRESHOLDS + 1]``. ``LOGITS``: some reading needs a softmax.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``,
    read once; with a softmax of more than ``BLOCK_C`` classes each row is read again while the
    cache holds it. Atomics as in `count_scores`, one per score and reading when scattered.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    counts_0 = tl.zeros([BINS], tl.int32)
    counts_1 = tl.zeros([BINS], tl.int32)
    ROWS: tl.constexpr = rules.THRESHOLDS + 1
    first = cells
    if MODE == ORDERED:
        first = cells + program.to(tl.int64) * (rules.READINGS * CLASSES * 2 * ROWS)
    second = first + CLASSES * 2 * ROWS
    BLOCK_C: tl.constexpr = tile.BLOCK_C
    APART: tl.constexpr = MODE == SCATTER and CLASSES <= BLOCK_C
    zero = tl.zeros([BLOCK, BLOCK_C], tl.int32)
    ends_0 = (zero, zero)
    ends_1 = (zero, zero)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        inside = position < walk.positions
        label, kept, counted = read_targets(target, position, inside, walk, ignore_index, CLASSES)
        bad += (kept & ~counted).to(tl.int32)
        value = ones_or_weights(cells, weight, position, counted, walk)
        offset = locate(position, walk.sizes, walk.preds.strides)
        scores = preds + offset // tile.ALIGN * tile.ALIGN
        # Gaps between rows of their own save reading; elsewhere they only break the wide loads.
        read = counted if tile.ROW_MAJOR else inside
        largest = tl.full([BLOCK], float("-inf"), tl.float64)
        below = tl.zeros([BLOCK], tl.float64)
        ties = tl.zeros([BLOCK], tl.int32)
        if rules.LOGITS and CLASSES > tile.BLOCK_C:
            largest, below, ties = softmax_totals(
                scores, read, walk.preds.column, CLASSES, tile.BLOCK_C
            )
        nan = tl.zeros([BLOCK], tl.int32)
        for start in range(0, CLASSES, tile.BLOCK_C):
            column = start + tl.arange(0, tile.BLOCK_C)
            known = (column < CLASSES)[None, :]
            mask = read[:, None] & known
            x = as_score(load_columns(scores, column, walk.preds.column, mask, 0.0))
            active = counted[:, None] & known
            nan = tl.maximum(nan, tl.max((active & (x != x)).to(tl.int32), axis=1))
            if rules.TOLD_APART:
                outside = active & ((x < 0) | (x > 1))
                outsides += tl.sum(outside.to(tl.int32), axis=1)
            share = x
            if rules.LOGITS:
                exact = x.to(tl.float64)
                if CLASSES <= tile.BLOCK_C:
                    largest, below, ties = absorb(exact, mask, largest, below, ties)
                share = share_of(exact, largest[:, None], (below + ties)[:, None]).to(x.dtype)
            counts_0, counts_1, ends_0, ends_1 = add_readings(
                counts_0, counts_1, ends_0, ends_1, first, second, edges, x, share, column, label,
                value, active, rules, APART, MODE,
            )  # fmt: skip
        nans += nan
    if APART:
        column = tl.arange(0, BLOCK_C) * (2 * ROWS)
        flush_ends(first + column, ends_0, ROWS)
        if rules.READINGS == 2:
            flush_ends(second + column, ends_1, ROWS)
    flush_cells(first, counts_0, MODE)
    if rules.READINGS == 2:
        flush_cells(second, counts_1, MODE)
    add_score_events(events, bad, nans, outsides, rules.VALIDATE, rules.TOLD_APART)


@replayable
def score_histogram_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    edges: Tensor, uniform: bool, multiclass: bool, logits: bool, ignore_index: int | None,
    validate: bool,
) -> None:  # fmt: skip
    """Launch the kernels of :func:`fastmetrics.ops.score_histogram.score_histogram_`."""
    tensors = (events, preds, target, weight, edges)
    rules = rules_of(state, uniform, multiclass, logits, validate)
    _count(state, tensors, rules, multiclass, ignore_index)


@replayable
def score_image_histogram_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None, half: bool,
    multiclass: bool, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Launch the kernels of :func:`fastmetrics.ops.score_histogram.score_image_histogram_`."""
    spacing = HALF_IMAGE if half else IMAGE
    tensors = (events, preds, target, weight, None)
    spacings = (spacing, spacing)
    rules = _rules(state, spacings, multiclass, logits, validate)
    told_apart = not multiclass or len(state) == 2
    _count(state, tensors, rules._replace(TOLD_APART=told_apart), multiclass, ignore_index)


def rules_of(state: Tensor, uniform: bool, multiclass: bool, logits: bool, validate: bool) -> Rules:
    """What the arguments of `score_histogram_` mean to the kernels."""
    guessed = uniform and state.shape[3] - 1 <= MOST_GUESSED
    first = spacing = UNIFORM if guessed else ANYWHERE
    as_logits = LOGIT if guessed else ANYWHERE
    if logits and len(state) == 1:
        first = as_logits
    spacings = (spacing, spacing) if multiclass else (first, as_logits)
    return _rules(state, spacings, multiclass, logits, validate)


def _rules(
    state: Tensor,
    spacings: tuple[tl.constexpr, tl.constexpr],
    multiclass: bool,
    logits: bool,
    validate: bool,
) -> Rules:
    readings, _, _, bins = state.shape
    return Rules(
        READINGS=readings,
        THRESHOLDS=bins - 1,
        SPACING_0=spacings[0].value,
        SPACING_1=spacings[1].value,
        LOGITS=multiclass and (logits or readings == 2),
        VALIDATE=validate,
        TOLD_APART=readings == 2,
    )


def mode_of(state: Tensor) -> tuple[tl.constexpr, int]:
    """How to add, and the registers for each reading's cells."""
    if state.dtype == torch.float64:
        return ORDERED, 1
    bins = triton.next_power_of_2(state[0].numel())
    return (PRIVATE, bins) if len(state) * bins <= MOST_PRIVATE_BINS else (SCATTER, 1)


def row_blocks(classes: int, ordered: bool) -> ClassBlocks:
    """Tile for rows of scores.

    ========= ========= =========== =====
    classes   counted   ordered     tiles
    ========= ========= =========== =====
    2         512 x 2   32 x 2      1
    10        64 x 16   16 x 16     1
    100       8 x 128   4 x 128     1
    1000      1 x 1024  2 x 1024    1
    100 000   1 x 1024  2 x 1024    98
    ========= ========= =========== =====
    """
    block = min(triton.next_power_of_2(classes), ROW_TILE)
    if not ordered:
        return ClassBlocks(min(512, ROW_TILE // block), block)
    rows = 2 ** (int(math.log2(ORDERED_PAIRS // block)) // 2)
    return ClassBlocks(rows, block, ORDERED_WARPS)


def _count(
    state: Tensor,
    tensors: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None],
    rules: Rules,
    multiclass: bool,
    ignore_index: int | None,
) -> None:
    events, preds, target, weight, _ = tensors
    if not target.numel():
        return
    count_bad_weights(events, weight)
    walk = walk_classes(preds, target, weight)
    wide = is_wide(walk.positions)
    mode, bins = mode_of(state)
    if multiclass:
        block, block_classes, warps = row_blocks(state.shape[1], mode == ORDERED)
        cells, programs = _cells(state, mode, triton.cdiv(walk.positions, block))
        launch(
            count_rows, (programs,), cells, *tensors, walk, ignore_index, rules=rules,
            CLASSES=state.shape[1], MODE=mode.value, BINS=bins,
            tile=Tile(block, wide, block_classes, *row_layout(preds, walk)), num_warps=warps,
            registers=255,
        )  # fmt: skip
    else:
        block, warps = (ORDERED_BLOCK, ORDERED_WARPS) if mode == ORDERED else (LABEL_BLOCK, 4)
        cells, programs = _cells(state, mode, triton.cdiv(walk.positions, block))
        launch(
            count_scores, (programs,), cells, *tensors, walk, ignore_index,
            depth=math.prod(target.shape[2:]), rules=rules, LABELS=state.shape[1],
            MODE=mode.value, BINS=bins, tile=Tile(block, wide), num_warps=warps,
            registers=255 if mode == ORDERED else 168,
        )  # fmt: skip
    if mode == ORDERED:
        fold_partials(state, cells)
