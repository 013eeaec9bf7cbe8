"""GPU kernels of `stat_scores_`.

Every position marks its target's class (tp or fn) and, where wrong, its prediction's class (fp).
True negatives follow from the number of counted positions, which no program knows alone:

* Up to 256 classes, or one sum over classes: each program counts in registers and at its end adds
  ``counted - tp - fp - fn`` of its own positions to every class. That is exact, because the sum
  over programs is linear. One launch.
* More classes: private counts no longer fit, and positions mark by atomics. Of labels those would
  be what takes longest, so they mark a buffer, beside which the programs leave their totals, and a
  second launch adds both to the state. So it is with ``ignore_index``.
* Rows of scores of so many classes, none of them ignored, have time for more atomics, and take one
  launch: program ``i`` adds the number of all positions to the true negatives of its share of the
  classes, and each position takes itself back from the classes that it marks. Only bad labels
  remain; a program that met any takes them back from every class itself.
* Weighted: see `count_ordered`.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.checks import MAX_LABELS
from fastmetrics.ops.triton.confusion import (
    MOST_FREQUENT,
    narrow,
    one_per_thread,
    scatter_cells,
)
from fastmetrics.ops.triton.inputs import (
    LABEL_BLOCK,
    ORDERED_BLOCK,
    ORDERED_WARPS,
    PRIVATE,
    SCATTER,
    ClassBlocks,
    ClassRules,
    Tile,
    add_class_events,
    add_ordered,
    add_to,
    class_blocks,
    fold_partials,
    is_wide,
    numbers,
    ones_or_weights,
    ordered_programs,
    programs_for,
    read_classes,
    row_layout,
    settle,
    usable_weights,
    walk_classes,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable
from fastmetrics.ops.triton.weights import count_bad_weights

TP = tl.constexpr(0)
FP = tl.constexpr(1)
TN = tl.constexpr(2)
FN = tl.constexpr(3)

ROW_BLOCK = tl.constexpr(256)
# Rows that a program counts in registers, three counts each.
MOST_PRIVATE_ROWS = 256


@triton.jit
def add_to_negatives(state, amount, first, step, ROWS: tl.constexpr):
    """Add ``amount`` to the true negatives of the row blocks ``first, first + step, ...``."""
    for start in range(first * ROW_BLOCK, ROWS, step * ROW_BLOCK):
        row = start + tl.arange(0, ROW_BLOCK)
        tl.atomic_add(state + row.to(tl.int64) * 4 + TN, amount, mask=row < ROWS, sem="relaxed")


@triton.jit
def flush_private(
    state, own, wrong, total, ROWS: tl.constexpr, BINS: tl.constexpr, NEGATIVES: tl.constexpr
):
    """Add one program's counts to the state, and its true negatives.

    ``own`` holds tp and fn of each row, and ``wrong`` its fp.
    """
    bins = tl.arange(0, 2 * BINS)
    cell = bins // 2 * 4 + tl.where(bins % 2 == 0, TP, FN)
    tl.atomic_add(state + cell, own.to(tl.int64), mask=own > 0, sem="relaxed")
    row = tl.arange(0, BINS)
    tl.atomic_add(state + row * 4 + FP, wrong.to(tl.int64), mask=wrong > 0, sem="relaxed")
    if NEGATIVES > 0:
        marked = tl.sum(tl.reshape(own, (BINS, 2)), axis=1).to(tl.int64) + wrong
        rest = NEGATIVES * total - marked
        tl.atomic_add(state + row * 4 + TN, rest, mask=row < ROWS, sem="relaxed")


@triton.jit
def scatter(state, pred, label, counted, miss):
    """Mark cells one position at a time, and take each mark back from the true negatives."""
    tl.atomic_add(state + label * 4 + tl.where(miss, FN, TP), 1, mask=counted, sem="relaxed")
    tl.atomic_add(state + label * 4 + TN, -1, mask=counted, sem="relaxed")
    tl.atomic_add(state + pred * 4 + FP, 1, mask=miss, sem="relaxed")
    tl.atomic_add(state + pred * 4 + TN, -1, mask=miss, sem="relaxed")


@triton.jit
def mark(
    state, marks, totals, pred, label, counted, miss,
    ROWS: tl.constexpr, MODE: tl.constexpr, REDUCED: tl.constexpr,
):  # fmt: skip
    """Mark the classes of one block of positions, in the state or in private counts."""
    own, wrong = marks
    if MODE == SCATTER and totals is not None:
        own_cell = label * 4 + tl.where(miss, FN, TP)
        scatter_cells(state, narrow(own_cell, 4 * ROWS), counted, MOST_FREQUENT)
        scatter_cells(state, narrow(pred * 4 + FP, 4 * ROWS), miss, MOST_FREQUENT)
    elif MODE == SCATTER:
        scatter(state, pred, label, counted, miss)
    elif ROWS > 1:
        BINS: tl.constexpr = wrong.shape[0]
        own_bin = tl.where(counted, label.to(tl.int32) * 2 + miss.to(tl.int32), 2 * BINS)
        wrong_bin = tl.where(miss, pred.to(tl.int32), BINS)
        both = one_per_thread(own_bin | (wrong_bin << 16), REDUCED)
        own += tl.histogram(both & 0xFFFF, 2 * BINS, mask=(both & 0xFFFF) < 2 * BINS)
        wrong += tl.histogram(both >> 16, BINS, mask=(both >> 16) < BINS)
    return own, wrong


@triton.jit
def put_marks(
    state, marks, totals, seen, hits, left_out, positions,
    ROWS: tl.constexpr, NEGATIVES: tl.constexpr, MODE: tl.constexpr,
):  # fmt: skip
    """Put what one program has counted where it belongs, and the true negatives that follow."""
    own, wrong = marks
    BINS: tl.constexpr = wrong.shape[0]
    total = tl.sum(seen.to(tl.int64))
    if MODE == PRIVATE:
        if ROWS == 1:
            hit = tl.sum(hits.to(tl.int64))
            tp_and_fn = tl.where(tl.arange(0, 2) == 0, hit, total - hit)
            fp = tl.zeros([BINS], tl.int64) + (total - hit)
            flush_private(state, tp_and_fn, fp, total, ROWS, BINS, NEGATIVES)
        else:
            flush_private(state, own, wrong, total, ROWS, BINS, NEGATIVES)
    elif totals is not None:
        tl.store(totals + tl.program_id(0), total)
    else:
        add_to_negatives(
            state, tl.cast(positions, tl.int64), tl.program_id(0), tl.num_programs(0), ROWS
        )
        rest = tl.sum(left_out.to(tl.int64))
        if rest > 0:
            add_to_negatives(state, -rest, 0, 1, ROWS)


@triton.jit(do_not_specialize=["samples", "ignore_index", "top_k"])
def count(
    state, events, totals, preds, target, walk, samples, ignore_index, top_k,
    rules: tl.constexpr, ROWS: tl.constexpr, NEGATIVES: tl.constexpr, MODE: tl.constexpr,
    BINS: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Unweighted counts, of the whole batch or of each sample.

    Programs along the first axis of the grid share out positions, those along the second samples.
    The whole batch is one sample.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``,
    read once; for labels ``N * 2t``. Private: ``32 * ROWS`` bytes of atomics per program and
    sample. Scattered: one or two atomics per position, twice as many in one launch, in the L2
    cache. Private counts are int32: one program would need 2**31 positions of its own to overflow
    them, a full grid 2**40.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    for turn in range(tl.program_id(1), samples, tl.num_programs(1)):
        sample = tl.cast(turn, tl.int64)
        cells = state + sample * (4 * ROWS)
        seen = tl.zeros([BLOCK], tl.int32)
        hits = tl.zeros([BLOCK], tl.int32)
        left_out = tl.zeros([BLOCK], tl.int32)
        marks = (tl.zeros([2 * BINS], tl.int32), tl.zeros([BINS], tl.int32))
        for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
            position = numbers(block, BLOCK, tile.WIDE)
            inside = position < walk.positions
            pred, label, counted, invalid, nan = read_classes(
                preds + sample * walk.preds.sample, target + sample * walk.target.sample,
                position, inside, walk, ignore_index, top_k, rules, tile,
            )  # fmt: skip
            miss = counted & (pred != label)
            seen += counted.to(tl.int32)
            hits += (counted & (pred == label)).to(tl.int32)
            left_out += (inside & ~counted).to(tl.int32)
            bad += invalid.to(tl.int32)
            nans += nan.to(tl.int32)
            marks = mark(cells, marks, totals, pred, label, counted, miss, ROWS, MODE, rules.SCORES)
        put_marks(cells, marks, totals, seen, hits, left_out, walk.positions, ROWS, NEGATIVES, MODE)
    add_class_events(events, bad, nans, rules)


@triton.jit
def add_totals(state, counts, totals, programs, ROWS: tl.constexpr, PROGRAMS: tl.constexpr):
    """Second launch of a scattered count: add the marks, and all positions without one to tn.

    Bytes to move: 8 per program of the first launch, and 88 per row of the state.
    """
    program = tl.arange(0, PROGRAMS)
    total = tl.sum(tl.load(totals + program, mask=program < programs, other=0))
    row = tl.program_id(0) * ROW_BLOCK + tl.arange(0, ROW_BLOCK)
    inside = row < ROWS
    cell = row.to(tl.int64) * 4
    tp = tl.load(counts + cell + TP, mask=inside, other=0)
    fp = tl.load(counts + cell + FP, mask=inside, other=0)
    fn = tl.load(counts + cell + FN, mask=inside, other=0)
    add_to(state + cell + TP, tp, inside)
    add_to(state + cell + FP, fp, inside)
    add_to(state + cell + FN, fn, inside)
    add_to(state + cell + TN, total - tp - fp - fn, inside)


@triton.jit(do_not_specialize=["ignore_index", "top_k"])
def count_ordered(
    cells, events, preds, target, weight, walk, ignore_index, top_k,
    rules: tl.constexpr, ROWS: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Float64 sums of the whole batch, in memory that one program owns.

    ``cells`` is a zeroed buffer ``[programs, 4 * ROWS]``; `add_weighted` does the true negatives.

    Bytes to move: the inputs once (see `count`), the buffer once, and 32 bytes per mark that stay
    in the caches.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    own = cells + program.to(tl.int64) * (4 * ROWS)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        pred, label, counted, invalid, nan = read_classes(
            preds, target, position, position < walk.positions, walk, ignore_index, top_k,
            rules, tile,
        )  # fmt: skip
        bad += invalid.to(tl.int32)
        nans += nan.to(tl.int32)
        value = ones_or_weights(cells, weight, position, counted, walk)
        miss = counted & (pred != label)
        if ROWS == 1:
            pred = tl.zeros_like(pred)
            label = tl.zeros_like(label)
        add_ordered(own, label * 4 + tl.where(miss, FN, TP), value, counted, BLOCK)
        add_ordered(own, pred * 4 + FP, value, miss, BLOCK)
    add_class_events(events, bad, nans, rules)


@triton.jit
def add_weighted(state, counts, ROWS: tl.constexpr, NEGATIVES: tl.constexpr):
    """Add weighted counts to the state, and the true negatives that follow from them.

    As `true_negatives` of the reference has it, 0 where no weight is left exactly.

    Bytes to move: 96 per row of the state; more than 256 rows are read once for each 256 of them.
    """
    lane = tl.arange(0, ROW_BLOCK)
    predicted = tl.zeros([ROW_BLOCK], tl.float64)
    targets = tl.zeros([ROW_BLOCK], tl.float64)
    for start in range(0, ROWS, ROW_BLOCK):
        cell = counts + (start + lane).to(tl.int64) * 4
        tp = tl.load(cell + TP, mask=start + lane < ROWS, other=0.0)
        predicted += tp + tl.load(cell + FP, mask=start + lane < ROWS, other=0.0)
        targets += tp + tl.load(cell + FN, mask=start + lane < ROWS, other=0.0)
    row = tl.program_id(0) * ROW_BLOCK + lane
    inside = row < ROWS
    cell = row.to(tl.int64) * 4
    tp = tl.load(counts + cell + TP, mask=inside, other=0.0)
    fp = tl.load(counts + cell + FP, mask=inside, other=0.0)
    fn = tl.load(counts + cell + FN, mask=inside, other=0.0)
    tn = tl.zeros([ROW_BLOCK], tl.float64)
    if NEGATIVES > 0:
        if ROWS == 1:
            tn = (NEGATIVES - 1) * (tp + fp) - fn
        else:
            unpredicted = tl.sum(predicted) - (tp + fp)
            tn = tl.where(fn == 0, unpredicted, tl.sum(targets) - (tp + fn) - fp)
    add_to(state + cell + TP, tp, inside)
    add_to(state + cell + FP, fp, inside)
    add_to(state + cell + TN, tn, inside)
    add_to(state + cell + FN, fn, inside)


@triton.jit
def add_samples(state, counts, weight, samples, stride, CELLS: tl.constexpr, BLOCK: tl.constexpr):
    """Add the counts ``[N, CELLS]`` of samples to a float64 state, each times its weight.

    Bytes to move: 24 per cell of the state, and the weights.
    """
    cell = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = cell < tl.cast(samples, tl.int64) * CELLS
    value = tl.load(counts + cell, mask=inside, other=0).to(tl.float64)
    if weight is not None:
        given = tl.load(weight + cell // CELLS * stride, mask=inside, other=0)
        value = value * usable_weights(given)
    add_to(state + cell, value, inside)


@replayable
def stat_scores_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    num_classes: int, top_k: int, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Launch the kernels of :func:`fastmetrics.ops.stat_scores.stat_scores_`."""
    if not target.numel():
        return
    count_bad_weights(events, weight)
    scores, rows = preds.ndim > target.ndim, state.shape[-2]
    classes = preds.shape[1] if scores else num_classes or MAX_LABELS
    rules = ClassRules(classes, scores, validate, TOP_K=top_k > 1)
    options: dict[str, Any] = {
        "ignore_index": ignore_index,
        "top_k": top_k,
        "ROWS": rows,
        "NEGATIVES": negatives_of(rows, num_classes),
    }
    if state.dtype != torch.float64:
        _count(state, events, preds, target, rules, options)
    elif state.ndim == 3:
        counts = buffer(state, *state.shape, dtype=torch.int64, zeroed=True)
        _count(counts, events, preds, target, rules, options)
        launch(
            add_samples, (triton.cdiv(state.numel(), LABEL_BLOCK),), state, counts, weight,
            len(state), 0 if weight is None else weight.stride(0), CELLS=4 * rows,
            BLOCK=LABEL_BLOCK,
        )  # fmt: skip
    else:
        _count_weighted(state, events, preds, target, weight, rules, options)


def negatives_of(rows: int, num_classes: int) -> int:
    """How many marks a counted position makes in each row, true negatives too; 0 without these."""
    return num_classes if rows == 1 else int(num_classes > 0)


def mode_of(rows: int) -> tuple[tl.constexpr, int]:
    """How to add unweighted counts to so many rows, and the registers for them."""
    return (PRIVATE, triton.next_power_of_2(rows)) if rows <= MOST_PRIVATE_ROWS else (SCATTER, 1)


def _count(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    rules: ClassRules,
    options: dict[str, Any],
) -> None:
    samplewise = state.ndim == 3
    walk = walk_classes(preds, target, samplewise=samplewise)
    samples = len(state) if samplewise else 1
    block, block_classes, warps = ClassBlocks(LABEL_BLOCK, 1)
    if rules.SCORES:
        block, block_classes, warps = class_blocks(preds, walk, options["top_k"])
    if samplewise:
        block = min(block, max(32, triton.next_power_of_2(walk.positions)))
        warps = min(warps, block // 32)
    rows = options["ROWS"]
    mode, bins = mode_of(rows)
    scattered = mode == SCATTER
    blocks = triton.cdiv(walk.positions, block)
    turns = programs_for(samples, state.device)
    programs = min(blocks, max(1, programs_for(blocks * samples, state.device) // turns))
    cells, totals = state, None
    # Rows of scores and samples have time for more atomics.
    if scattered and not samplewise and (options["ignore_index"] is not None or not rules.SCORES):
        cells = buffer(state, *state.shape, dtype=torch.int64, zeroed=True)
        totals = buffer(state, programs, dtype=torch.int64)
    launch(
        count, (programs, turns), cells, events, totals, preds, target, walk, samples,
        rules=rules, **options,
        MODE=mode.value, BINS=bins,
        tile=Tile(block, is_wide(walk.positions), block_classes, *row_layout(preds, walk)),
        num_warps=warps, registers=128,
    )  # fmt: skip
    if totals is not None:
        launch(
            add_totals, (triton.cdiv(rows, ROW_BLOCK.value),), state, cells, totals, programs,
            ROWS=rows, PROGRAMS=triton.next_power_of_2(programs),
        )  # fmt: skip


def _count_weighted(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    rules: ClassRules, options: dict[str, Any],
) -> None:  # fmt: skip
    walk = walk_classes(preds, target, weight)
    classes = min(triton.next_power_of_2(rules.CLASSES), 64) if rules.SCORES else 1
    programs = ordered_programs(triton.cdiv(walk.positions, ORDERED_BLOCK), state.numel())
    partial = buffer(state, programs, state.numel(), zeroed=True)
    launch(
        count_ordered, (programs,), partial, events, preds, target, weight, walk,
        options["ignore_index"], options["top_k"], rules=rules, ROWS=options["ROWS"],
        tile=Tile(ORDERED_BLOCK, is_wide(walk.positions), classes, *row_layout(preds, walk)),
        num_warps=ORDERED_WARPS, registers=168,
    )  # fmt: skip
    counts = buffer(state, *state.shape, zeroed=True)
    fold_partials(counts, partial)
    launch(
        add_weighted, (triton.cdiv(len(state), ROW_BLOCK.value),), state, counts,
        ROWS=options["ROWS"], NEGATIVES=options["NEGATIVES"],
    )  # fmt: skip
