"""GPU kernels of `stat_scores_`.

Every position marks its target's class (tp or fn) and, where wrong, its prediction's class (fp).
True negatives follow from the number of counted positions, which no program knows alone:

* Up to 256 classes, or one sum over classes: each program counts in registers and at its end adds
  ``counted - tp - fp - fn`` of its own positions to every class. That is exact, because the sum
  over programs is linear. One launch.
* More classes: private counts no longer fit, and atomics hardly collide. Program ``i`` adds the
  number of all positions to the true negatives of its share of the classes, and each position takes
  itself back from the classes that it marks. Only left-out positions remain, and their number is
  known to one program each. Without ``ignore_index`` they are bad labels, so a program that met any
  takes them back from every class itself: one launch. With ``ignore_index`` they are the rule, and
  C atomics per program would cost more than the reading (6.6 million for 132 programs and 50 000
  classes), so the programs leave their totals in a small buffer and a second launch adds them once.
* Weighted or samplewise: see `count_ordered`.
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
from fastmetrics.ops.triton.confusion import one_per_thread
from fastmetrics.ops.triton.inputs import (
    LABEL_BLOCK,
    MOST_PRIVATE_BINS,
    ORDERED_BLOCK,
    ORDERED_WARPS,
    PRIVATE,
    SCATTER,
    ClassBlocks,
    ClassRules,
    Tile,
    Walk,
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


@triton.jit
def add_to_negatives(state, amount, first, step, ROWS: tl.constexpr):
    """Add ``amount`` to the true negatives of the row blocks ``first, first + step, ...``."""
    for start in range(first * ROW_BLOCK, ROWS, step * ROW_BLOCK):
        row = start + tl.arange(0, ROW_BLOCK)
        tl.atomic_add(state + row.to(tl.int64) * 4 + TN, amount, mask=row < ROWS, sem="relaxed")


@triton.jit
def flush_private(
    state, counts, total, ROWS: tl.constexpr, BINS: tl.constexpr, NEGATIVES: tl.constexpr
):
    """Add one program's counts ``[BINS]``, laid out as the state, and its true negatives."""
    bins = tl.arange(0, BINS)
    tl.atomic_add(state + bins, counts.to(tl.int64), mask=counts > 0, sem="relaxed")
    if NEGATIVES > 0:
        row = tl.arange(0, BINS // 4)
        marked = tl.sum(tl.reshape(counts, (BINS // 4, 4)), axis=1).to(tl.int64)
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
    state, counts, pred, label, counted, miss,
    ROWS: tl.constexpr, MODE: tl.constexpr, REDUCED: tl.constexpr,
):  # fmt: skip
    """Mark the classes of one block of positions, in the state or in private counts."""
    if MODE == SCATTER:
        scatter(state, pred, label, counted, miss)
    elif ROWS > 1:
        BINS: tl.constexpr = counts.shape[0]
        own = tl.where(counted, label.to(tl.int32) * 4 + tl.where(miss, FN, TP), BINS)
        other = tl.where(miss, pred.to(tl.int32) * 4 + FP, BINS)
        both = one_per_thread(own | (other << 16), REDUCED)
        counts += tl.histogram(both & 0xFFFF, BINS, mask=(both & 0xFFFF) < BINS)
        counts += tl.histogram(both >> 16, BINS, mask=(both >> 16) < BINS)
    return counts


@triton.jit
def put_marks(
    state, counts, totals, seen, hits, bad, positions,
    ROWS: tl.constexpr, NEGATIVES: tl.constexpr, MODE: tl.constexpr,
):  # fmt: skip
    """Put what one program has counted where it belongs, and the true negatives that follow."""
    total = tl.sum(seen.to(tl.int64))
    if MODE == PRIVATE:
        if ROWS == 1:
            bins = tl.arange(0, counts.shape[0])
            hit = tl.sum(hits.to(tl.int64))
            counts = tl.where(bins == TP, hit, tl.where(bins == TN, 0, total - hit))
        flush_private(state, counts, total, ROWS, counts.shape[0], NEGATIVES)
    elif totals is not None:
        tl.store(totals + tl.program_id(0), total)
    else:
        add_to_negatives(
            state, tl.cast(positions, tl.int64), tl.program_id(0), tl.num_programs(0), ROWS
        )
        left_out = tl.sum(bad.to(tl.int64))
        if left_out > 0:
            add_to_negatives(state, -left_out, 0, 1, ROWS)


@triton.jit(do_not_specialize=["ignore_index", "top_k"])
def count(
    state, events, totals, preds, target, walk, ignore_index, top_k,
    rules: tl.constexpr, ROWS: tl.constexpr, NEGATIVES: tl.constexpr, MODE: tl.constexpr,
    BINS: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Unweighted counts of the whole batch.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``,
    read once; for labels ``N * 2t``. Private: ``32 * ROWS`` bytes of atomics per program.
    Scattered: two or four atomics per position, in the L2 cache. Private counts are int32: one
    program would need 2**31 positions of its own to overflow them, a full grid 2**40.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    seen = tl.zeros([BLOCK], tl.int32)
    hits = tl.zeros([BLOCK], tl.int32)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    counts = tl.zeros([BINS], tl.int32)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        pred, label, counted, invalid, nan = read_classes(
            preds, target, position, position < walk.positions, walk, ignore_index, top_k,
            rules, tile,
        )  # fmt: skip
        miss = counted & (pred != label)
        seen += counted.to(tl.int32)
        hits += (counted & (pred == label)).to(tl.int32)
        bad += invalid.to(tl.int32)
        nans += nan.to(tl.int32)
        counts = mark(state, counts, pred, label, counted, miss, ROWS, MODE, rules.SCORES)
    put_marks(state, counts, totals, seen, hits, bad, walk.positions, ROWS, NEGATIVES, MODE)
    add_class_events(events, bad, nans, rules)


@triton.jit
def add_totals(state, totals, programs, ROWS: tl.constexpr, PROGRAMS: tl.constexpr):
    """Second launch of a scattered count: add all counted positions to every true negative.

    Bytes to move: 8 per program of the first launch, and 16 per row of the state.
    """
    program = tl.arange(0, PROGRAMS)
    total = tl.sum(tl.load(totals + program, mask=program < programs, other=0))
    row = tl.program_id(0) * ROW_BLOCK + tl.arange(0, ROW_BLOCK)
    add_to(state + row.to(tl.int64) * 4 + TN, total, row < ROWS)


@triton.jit(do_not_specialize=["samples", "ignore_index", "top_k"])
def count_ordered(
    cells, events, preds, target, weight, walk, samples, ignore_index, top_k,
    rules: tl.constexpr, ROWS: tl.constexpr, NEGATIVES: tl.constexpr, SAMPLEWISE: tl.constexpr,
    tile: tl.constexpr,
):  # fmt: skip
    """Counts in memory that one program owns: float64 sums, and one table per sample.

    Whole batch: ``cells`` is a zeroed float64 buffer ``[programs, 4 * ROWS]``, and a program takes
    every ``programs``-th block of positions; true negatives are left to the host side. Samplewise:
    ``cells`` is an int64 state, a program takes every ``programs``-th sample, and each mark is
    taken back from the true negatives as in `scatter`.

    Bytes to move: the inputs once (see `count`), the state or the buffer once, and 32 bytes per
    mark that stay in the caches.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    for turn in range(program if SAMPLEWISE else 0, samples, programs if SAMPLEWISE else 1):
        sample = tl.cast(turn, tl.int64)
        own = cells + (sample if SAMPLEWISE else program.to(tl.int64)) * (4 * ROWS)
        total = tl.zeros([BLOCK], tl.int64)
        for block in range(
            0 if SAMPLEWISE else program,
            tl.cdiv(walk.positions, BLOCK),
            1 if SAMPLEWISE else programs,
        ):
            position = numbers(block, BLOCK, tile.WIDE)
            pred, label, counted, invalid, nan = read_classes(
                preds + sample * walk.preds.sample, target + sample * walk.target.sample,
                position, position < walk.positions, walk, ignore_index, top_k, rules, tile,
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
            if SAMPLEWISE:
                add_ordered(own, label * 4 + TN, -value, counted, BLOCK)
                add_ordered(own, pred * 4 + TN, -value, miss, BLOCK)
                total += value
        if SAMPLEWISE:
            everything = tl.sum(total) * NEGATIVES
            for start in range(0, ROWS, ROW_BLOCK):
                row = start + tl.arange(0, ROW_BLOCK)
                add_to(own + row.to(tl.int64) * 4 + TN, everything, row < ROWS)
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
        count_integers = _count_samples if state.ndim == 3 else _count
        count_integers(state, events, preds, target, rules, options)
    elif state.ndim == 3:
        counts = buffer(state, *state.shape, dtype=torch.int64, zeroed=True)
        _count_samples(counts, events, preds, target, rules, options)
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
    bins = 4 * triton.next_power_of_2(rows)
    return (PRIVATE, bins) if bins <= MOST_PRIVATE_BINS else (SCATTER, 1)


def _count(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    rules: ClassRules,
    options: dict[str, Any],
) -> None:
    walk = walk_classes(preds, target)
    block, block_classes, warps = ClassBlocks(LABEL_BLOCK, 1)
    if rules.SCORES:
        block, block_classes, warps = class_blocks(
            rules.CLASSES, preds.element_size(), options["top_k"]
        )
    rows = options["ROWS"]
    mode, bins = mode_of(rows)
    scattered = mode == SCATTER
    programs = programs_for(triton.cdiv(walk.positions, block), state.device)
    totals = None
    if scattered and options["ignore_index"] is not None:
        totals = buffer(state, programs, dtype=torch.int64)
    launch(
        count, (programs,), state, events, totals, preds, target, walk, rules=rules, **options,
        MODE=mode.value, BINS=bins,
        tile=Tile(block, is_wide(walk.positions), block_classes, *row_layout(preds, walk)),
        num_warps=warps,
    )  # fmt: skip
    if totals is not None:
        launch(
            add_totals, (triton.cdiv(rows, ROW_BLOCK.value),), state, totals, programs,
            ROWS=rows, PROGRAMS=triton.next_power_of_2(programs),
        )  # fmt: skip


def _count_weighted(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    rules: ClassRules, options: dict[str, Any],
) -> None:  # fmt: skip
    walk = walk_classes(preds, target, weight)
    programs = ordered_programs(triton.cdiv(walk.positions, ORDERED_BLOCK), state.numel())
    partial = buffer(state, programs, state.numel(), zeroed=True)
    launch(
        count_ordered, (programs,), partial, events, preds, target, weight, walk, samples=1,
        rules=rules, **options, SAMPLEWISE=False,
        tile=_ordered_tile(ORDERED_BLOCK, preds, walk, rules), num_warps=ORDERED_WARPS,
    )  # fmt: skip
    counts = buffer(state, *state.shape, zeroed=True)
    fold_partials(counts, partial)
    launch(
        add_weighted, (triton.cdiv(len(state), ROW_BLOCK.value),), state, counts,
        ROWS=options["ROWS"], NEGATIVES=options["NEGATIVES"],
    )  # fmt: skip


def _count_samples(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    rules: ClassRules,
    options: dict[str, Any],
) -> None:
    walk, samples = walk_classes(preds, target, samplewise=True), target.shape[0]
    block = min(ORDERED_BLOCK, max(16, triton.next_power_of_2(walk.positions)))
    launch(
        count_ordered, (programs_for(samples, state.device),), state, events, preds, target, None,
        walk, samples=samples, rules=rules, **options, SAMPLEWISE=True,
        tile=_ordered_tile(block, preds, walk, rules), num_warps=ORDERED_WARPS,
    )  # fmt: skip


def _ordered_tile(block: int, preds: Tensor, walk: Walk, rules: ClassRules) -> Tile:
    block_classes = min(triton.next_power_of_2(rules.CLASSES), 64) if rules.SCORES else 1
    return Tile(block, is_wide(walk.positions), block_classes, *row_layout(preds, walk))
