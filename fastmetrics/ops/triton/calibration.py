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
    MOST_NARROW,
    MOST_SHARED,
    ClassBlocks,
    Tile,
    add_score_events,
    add_to,
    as_score,
    fold_partials,
    is_wide,
    load_columns,
    locate,
    nan_max,
    numbers,
    ones_or_weights,
    ordered_programs,
    programs_for,
    read_targets,
    row_layout,
    settle,
    walk_classes,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable
from fastmetrics.ops.triton.weights import count_bad_weights

# With more bins a guess in float32 could miss the nearest edge.
MOST_GUESSED = 2**14

# Bins that a program keeps in registers, and pairs of positions and bins that it looks at together.
MOST_BINS = 512
PAIRS = 4096

# Bins of all readings that a thread keeps in registers; the fewest blocks for which that pays, as
# adding up over threads takes as long as some; and the most, before sums need more than 64 bits.
MOST_OWN_BINS, LEAST_OWN_BLOCKS, MOST_OWN_BLOCKS = 32, 4, 2**11 - 1

# Scores that a program holds at a time.
ROW_TILE = 1024
WARPS, OWN_WARPS = 8, 4

# Confidences are whole numbers in two parts.
LOW_BITS, LOW = tl.constexpr(26), tl.constexpr(2**26 - 1)


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
def whole_number(confidence):
    """A confidence in units of ``2**-52``, to the nearest: the mantissa of what lies above one."""
    one = tl.full(confidence.shape, 1.0, tl.float64)
    return (one + confidence).to(tl.int64, bitcast=True) - one.to(tl.int64, bitcast=True)


@triton.jit
def add_tile(
    sums, tile_start, edges, value, counted, score, right, rules: tl.constexpr, BINS: tl.constexpr
):
    """Add positions to the counts, right ones and confidences of one tile of bins."""
    confidence = tl.where(counted, score, 0.0)
    bins = tl.where(counted, find_bin(confidence, edges, rules.TOTAL - 1, rules.GUESS), -1)
    hit = bins[:, None] == (tile_start + tl.arange(0, BINS))[None, :]
    rights = tl.where(right, value, 0)
    if value.dtype == tl.float64:
        terms = (value, value * confidence.to(tl.float64), rights)
    else:
        whole = whole_number(confidence)
        terms = (value, whole >> LOW_BITS, rights, whole & LOW)  # type: ignore[assignment]
    added = ()
    for part in tl.static_range(len(terms)):
        term = tl.where(hit, terms[part][:, None], 0)
        # Triton knows no star in a tuple, and the type of this one grows.
        added = added + (sums[part] + tl.sum(term, axis=0),)  # type: ignore[assignment]  # noqa: RUF005
    return added


@triton.jit
def add_lanes(lanes, edges, counted, score, right, rules: tl.constexpr):
    """Add the positions of each thread to its own bins.

    Positions and the right ones of them are the halves of one number.
    """
    mark = counted.to(tl.int32) + ((counted & right).to(tl.int32) << 16)
    confidence = tl.where(counted, score, 0.0)
    bins = find_bin(confidence, edges, rules.TOTAL - 1, rules.GUESS)
    whole = whole_number(confidence)
    added = ()
    TOTAL: tl.constexpr = rules.TOTAL
    for bin in tl.static_range(TOTAL):
        hit = bins == bin
        marks = lanes[2 * bin] + tl.where(hit, mark, 0)
        wholes = lanes[2 * bin + 1] + tl.where(hit, whole, 0)
        added = added + (marks, wholes)  # type: ignore[assignment]  # noqa: RUF005
    return added


@triton.jit
def write_bins(cells, column, sums, TOTAL: tl.constexpr):
    """Put the sums of some bins into cells of this program; whole numbers are added to all."""
    cells += column * len(sums)
    for part in tl.static_range(len(sums)):
        if sums[part].dtype == tl.float64:
            tl.store(cells + part, sums[part], mask=column < TOTAL)
        else:
            whole = sums[part].to(tl.int64)
            tl.atomic_add(cells + part, whole, mask=sums[0] > 0, sem="relaxed")


@triton.jit
def add_each(a_0, a_1, a_2, b_0, b_1, b_2):
    """Sums of three numbers at once."""
    return a_0 + b_0, a_1 + b_1, a_2 + b_2


@triton.jit
def write_lanes(cells, lanes, TOTAL: tl.constexpr):
    """Add the sums over all threads to the cells."""
    for bin in tl.static_range(TOTAL):
        marks, wholes = lanes[2 * bin].to(tl.int64), lanes[2 * bin + 1]
        apart = (marks & 0xFFFF) | (marks >> 16 << 32)
        both, high, low = tl.reduce((apart, wholes >> LOW_BITS, wholes & LOW), 0, add_each)
        write_bins(cells, bin, (both & 0xFFFFFFFF, high, both >> 32, low), TOTAL)


@triton.jit
def no_sums(BINS: tl.constexpr, TOTAL: tl.constexpr, BLOCK: tl.constexpr, WEIGHTED: tl.constexpr):
    """Sums of one reading to begin with: of each thread and bin, or of a tile of ``BINS``."""
    if BINS == 0:
        sums = ()
        for _ in tl.static_range(TOTAL):
            empty = (tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.int64))
            sums = sums + empty  # type: ignore[assignment]
    else:
        none = tl.zeros([BINS], tl.int32)
        zero = none.to(tl.float64 if WEIGHTED else tl.int64)
        sums = (zero, zero, zero) if WEIGHTED else (none, zero, none, zero)  # type: ignore[assignment]
    return sums


@triton.jit
def add_reading(
    sums, tile_start, edges, value, counted, score, right,
    rules: tl.constexpr, BINS: tl.constexpr,
):  # fmt: skip
    """Add positions to the sums of one reading."""
    if BINS == 0:
        sums = add_lanes(sums, edges, counted, score, right, rules)
    else:
        sums = add_tile(sums, tile_start, edges, value, counted, score, right, rules, BINS)
    return sums


@triton.jit
def add_readings(
    sums_0, sums_1, tile_start, edges, value, counted, prob, share, right,
    rules: tl.constexpr, BINS: tl.constexpr,
):  # fmt: skip
    """Add positions to the sums of each reading: as probabilities, and as logits."""
    if rules.READINGS == 2 or not rules.LOGITS:
        sums_0 = add_reading(sums_0, tile_start, edges, value, counted, prob, right, rules, BINS)
    if rules.LOGITS:
        sums_1 = add_reading(sums_1, tile_start, edges, value, counted, share, right, rules, BINS)
    return sums_0, sums_1


@triton.jit
def write_reading(cells, tile_start, sums, rules: tl.constexpr, BINS: tl.constexpr):
    """Write the sums of one reading."""
    TOTAL: tl.constexpr = rules.TOTAL
    if BINS == 0:
        write_lanes(cells, sums, TOTAL)
    else:
        write_bins(cells, tile_start + tl.arange(0, BINS), sums, TOTAL)


@triton.jit
def write_readings(cells, tile_start, sums_0, sums_1, rules: tl.constexpr, BINS: tl.constexpr):
    """Write the sums of one program: weighted ones to a row of its own."""
    if cells.dtype.element_ty == tl.float64:
        cells += tl.program_id(0).to(tl.int64) * (rules.READINGS * rules.TOTAL * 3)
        second = cells + (rules.READINGS - 1) * rules.TOTAL * 3
    else:
        second = cells + (rules.READINGS - 1) * rules.TOTAL * 4
    if rules.READINGS == 2 or not rules.LOGITS:
        write_reading(cells, tile_start, sums_0, rules, BINS)
    if rules.LOGITS:
        write_reading(second, tile_start, sums_1, rules, BINS)


@triton.jit
def absorb_scores(row, given, columns, rules: tl.constexpr, AGAIN: tl.constexpr):
    """Carry on what is known of rows by some tiles of scores, which begin at ``columns``.

    The softmax of the largest score follows from the powers ``below`` it, and from how often it
    occurs, its ``ties``: apart from it small powers do not vanish one by one, and equal infinities
    share the row. Unless it is the first time, ``AGAIN``, both are brought to the new largest one.
    """
    before, best, winner, outside, below, ties = row
    for place in tl.static_range(len(given)):
        x = given[place]
        better = ~(x <= best) & (best == best)
        winner = tl.where(better, columns[place], winner)
        best = tl.where(better, x, best)
        if rules.READINGS == 2:
            outside += ((x < 0) | (x > 1)).to(tl.int32)
    largest = tl.reduce(best, 1, nan_max)
    if rules.LOGITS:
        exact = largest.to(tl.float64)
        if AGAIN:
            stays = (before == largest)[:, None]
            power = tl.exp(before.to(tl.float64) - exact)[:, None]
            below = tl.where(stays, below, (below + ties) * power)
            ties = tl.where(stays, ties, 0)
        for place in tl.static_range(len(given)):
            x = given[place]
            top = x == largest[:, None]
            below += tl.where(top, 0.0, tl.exp(x.to(tl.float64) - exact[:, None]))
            ties += top.to(tl.int32)
    return largest, best, winner, outside, below, ties


@triton.jit
def read_row(scores, read, class_stride, rules: tl.constexpr, tile: tl.constexpr):
    """One pass over rows of scores.

    Returns the largest score, the first class that has it, whether a score is NaN, how many lie
    outside [0, 1], and the largest softmax probability if ``LOGITS``.
    """
    CLASSES: tl.constexpr = rules.CLASSES
    BLOCK_C: tl.constexpr = tile.BLOCK_C
    best = tl.full([tile.BLOCK, BLOCK_C], float("-inf"), tl.float32)
    if scores.dtype.element_ty == tl.float64:
        best = best.to(tl.float64)
    none = tl.zeros(best.shape, tl.int32)
    row = (tl.reduce(best, 1, nan_max), best, none, none, none.to(tl.float64), none)
    # Several scores are asked for before the first is looked at; of a narrow row all.
    MOST: tl.constexpr = CLASSES if BLOCK_C == 1 else min(4, (CLASSES + BLOCK_C - 1) // BLOCK_C)
    STEP: tl.constexpr = MOST * BLOCK_C
    for start in range(0, CLASSES, STEP):
        given, columns = (), ()
        for place in tl.static_range(MOST):
            column = start + place * BLOCK_C + tl.arange(0, BLOCK_C)
            mask = read[:, None] & (column < CLASSES)[None, :]
            x = load_columns(scores, column, class_stride, mask, float("-inf"))
            # Triton knows no star in a tuple, and the type of these grow.
            given = given + (as_score(x),)  # type: ignore[assignment]  # noqa: RUF005
            columns = columns + (column[None, :],)  # type: ignore[assignment]  # noqa: RUF005
        row = absorb_scores(row, given, columns, rules, CLASSES > STEP)
    largest, best, winner, outside, below, ties = row
    first = tl.where((best == largest[:, None]) | (best != best), winner, CLASSES)
    # Past the last class lies what is as small as can be.
    outside = tl.sum(outside, axis=1) - ((CLASSES + STEP - 1) // STEP * STEP - CLASSES)
    share = largest.to(tl.float64)
    if rules.LOGITS:
        ties = tl.where(largest == float("-inf"), CLASSES, tl.sum(ties, axis=1))
        share = 1.0 / (tl.sum(below, axis=1) + ties)
    return largest, tl.min(first, axis=1), largest != largest, outside, share


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
    """Sums of positions, confidences and right ones.

    ``sums`` is ``[programs, READINGS, TOTAL, 3]``, float64, if there are weights. Otherwise it is
    ``[READINGS, TOTAL, 4]``, int64 and zeroed, the last for the low digits of confidences.
    ``BINS`` is 0 where each thread keeps its own.

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
    TOTAL: tl.constexpr = rules.TOTAL
    sums_0 = no_sums(BINS, TOTAL, BLOCK, weight is not None)
    sums_1 = sums_0
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        inside = position < walk.positions
        label, kept, counted = read_targets(
            target, position, inside, walk, ignore_index, rules.CLASSES or 2
        )
        offset = locate(position, walk.sizes, walk.preds.strides)
        if rules.CLASSES:
            best, winner, nan, outside, share = read_row(
                preds + offset // tile.ALIGN * tile.ALIGN, counted, walk.preds.column, rules, tile
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
        value = counted.to(tl.int32)
        if weight is not None:
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


@triton.jit
def add_bins(state, sums, cells, BLOCK: tl.constexpr):
    """Add whole numbers ``[cells, 4]`` to the state ``[cells, 3]``: the second launch.

    Bytes to move: 80 for each cell.
    """
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = cell < cells
    own = sums + cell.to(tl.int64) * 4
    high = tl.load(own + 1, mask=inside, other=0)
    low = tl.load(own + 3, mask=inside, other=0)
    high += low >> LOW_BITS
    confidence = high.to(tl.float64) * 2.0**-26 + (low & LOW).to(tl.float64) * 2.0**-52
    place = state + cell.to(tl.int64) * 3
    add_to(place, tl.load(own, mask=inside, other=0).to(tl.float64), inside)
    add_to(place + 1, confidence, inside)
    add_to(place + 2, tl.load(own + 2, mask=inside, other=0).to(tl.float64), inside)


def whole_sums(state: Tensor) -> Tensor:
    """A buffer for sums that are whole numbers, zeroed."""
    return buffer(state, *state.shape[:2], 4, dtype=torch.int64, zeroed=True)


def fold_whole_sums(state: Tensor, sums: Tensor) -> None:
    """Launch `add_bins`."""
    cells = sums.numel() // 4
    launch(add_bins, (triton.cdiv(cells, 256),), state, sums, cells, BLOCK=256)


def tile_of(bins: int) -> tuple[int, int]:
    """Bins of a tile, and positions that are compared with all of them at a time."""
    width = min(triton.next_power_of_2(bins), MOST_BINS)
    return width, min(512, PAIRS // width)


def own_tile(classes: int) -> ClassBlocks:
    """Tile for threads that keep bins of their own.

    Up to 32 classes a thread goes through rows of its own, wider ones are shared by some.

    ========= =========
    classes   tile
    ========= =========
    binary    128 x 1
    10        128 x 1
    100       128 x 8
    1000      32 x 32
    100 000   1 x 1024
    ========= =========
    """
    if classes <= MOST_NARROW:
        return ClassBlocks(32 * OWN_WARPS, 1, OWN_WARPS)
    width = 8 if classes <= 128 else 32 if classes <= MOST_SHARED else ROW_TILE
    return ClassBlocks(ROW_TILE // width, width, WARPS)


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
    walk = walk_classes(preds, target, weight)
    bins, most = tile_of(rules.TOTAL)
    tiles = triton.cdiv(rules.TOTAL, bins)
    block, block_classes, warps = own_tile(num_classes)
    blocks = triton.cdiv(walk.positions, block)
    programs = max(programs_for(blocks, state.device), triton.cdiv(blocks, MOST_OWN_BLOCKS))
    few = weight is None and rules.READINGS * rules.TOTAL <= MOST_OWN_BINS
    if few and blocks >= programs * LEAST_OWN_BLOCKS:
        bins = 0
    else:
        block, warps = min(block, most), WARPS
        blocks = triton.cdiv(walk.positions, block)
        programs = programs_for(blocks, state.device)
    if weight is None:
        sums = whole_sums(state)
    else:
        programs = ordered_programs(blocks, state.numel())
        sums = buffer(state, programs, state.numel())
    align, _ = row_layout(preds, walk)
    launch(
        count_confidences, (programs, tiles), sums, events, preds, target, weight,
        edges.contiguous(), walk, ignore_index, rules=rules, BINS=bins,
        tile=Tile(block, is_wide(walk.positions), block_classes, align), num_warps=warps,
        registers=255 if warps == WARPS else 168,
    )  # fmt: skip
    if weight is None:
        fold_whole_sums(state, sums)
    else:
        fold_partials(state, sums)
