"""GPU kernels of `confusion_` and `label_confusion_`.

Both name one cell (per reading) for each position and add to it in one of three ways, see
`add_cells`; programs take turns at blocks of positions. `label_confusion_` without groups needs no
histogram, because the label axis tells each thread beforehand which tables it adds to
(`count_columns`): programs share out tiles of labels, too.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.confusion import label_confusion_reference
from fastmetrics.ops.triton.cuts import score_cuts
from fastmetrics.ops.triton.inputs import (
    LABEL_BLOCK,
    MOST_PRIVATE_BINS,
    ORDERED,
    ORDERED_BLOCK,
    ORDERED_WARPS,
    PRIVATE,
    SCATTER,
    ClassBlocks,
    ClassRules,
    LabelRules,
    Tile,
    add_class_events,
    add_label_events,
    add_ordered,
    add_to,
    class_blocks,
    fold_partials,
    is_wide,
    locate,
    numbers,
    ones_or_weights,
    ordered_programs,
    programs_for,
    read_classes,
    read_label_tile,
    read_labels,
    row_layout,
    settle,
    usable_weights,
    walk_classes,
    walk_labels,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable
from fastmetrics.ops.triton.weights import count_bad_weights

# Cells of a block of labels or scores that are counted before the others are scattered.
MOST_FREQUENT = tl.constexpr(2)

COLUMN_TILE = 1024
MOST_COLUMNS = 64


# Triton 3.9 warns of reshapes that may reorder, and 3.10 has none.
REORDERS = tl.constexpr(tuple(map(int, triton.__version__.split(".")[:2])) < (3, 9))


@triton.jit
def flat(values):
    """Return a tile ``[R, C]`` as one axis, in any order where the compiler still takes that."""
    SIZE: tl.constexpr = values.shape[0] * values.shape[1]
    if REORDERS:
        values = tl.reshape(values, (SIZE,), can_reorder=True)
    else:
        values = tl.reshape(values, (SIZE,))
    return values


@triton.jit
def one_per_thread(values, REDUCED: tl.constexpr):
    """Give each thread its own values, in any order, after a reduction left copies in all lanes.

    A histogram works through every copy. Triton keeps the layout of the reduction until something
    asks for another; a reshape that may reorder does.
    """
    if REDUCED:
        values = flat(values[:, None])
    return values


@triton.jit
def narrow(cell, CELLS: tl.constexpr):
    """Cells as int32 where that can hold them: a warp reduces these in one instruction."""
    if CELLS < 2**31:
        cell = cell.to(tl.int32)
    return cell


@triton.jit
def scatter_cells(cells, cell, active, FREQUENT: tl.constexpr):
    """Add one to the cell of each active position, by atomics.

    Atomics on one address take turns, and a background class, or sure scores, would wait for all of
    theirs. So the cell of the first position is counted for the whole block, and added once; then
    that of the first position that is left, ``FREQUENT`` times.
    """
    BLOCK: tl.constexpr = cell.shape[0]
    lane = tl.arange(0, BLOCK)
    rest = active
    for _ in tl.static_range(FREQUENT):
        first = tl.min(tl.where(rest, lane, BLOCK), axis=0)
        chosen = tl.max(tl.where(lane == first, cell, 0), axis=0)
        same = rest & (cell == chosen)
        count = tl.sum(same.to(tl.int32), axis=0)
        tl.atomic_add(cells + chosen, count, mask=count > 0, sem="relaxed")
        rest = rest & ~same
    tl.atomic_add(cells + cell, 1, mask=rest, sem="relaxed")


@triton.jit
def add_cells(
    counts, cells, cell, value, active,
    REDUCED: tl.constexpr, FREQUENT: tl.constexpr, MODE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count one block's cells: in registers, by atomics, or in order in memory of its own."""
    if MODE == PRIVATE:
        BINS: tl.constexpr = counts.shape[0]
        key = one_per_thread(tl.where(active, cell.to(tl.int32), BINS), REDUCED)
        counts += tl.histogram(key, BINS, mask=key < BINS)
    elif MODE == SCATTER:
        scatter_cells(cells, cell, active, FREQUENT)
    else:
        add_ordered(cells, cell, value, active, BLOCK)
    return counts


@triton.jit
def flush_cells(state, counts, MODE: tl.constexpr):
    """Add the private counts of one program to the state."""
    if MODE == PRIVATE:
        bins = tl.arange(0, counts.shape[0])
        tl.atomic_add(state + bins, counts.to(tl.int64), mask=counts > 0, sem="relaxed")


@triton.jit(do_not_specialize=["ignore_index"])
def count_pairs(
    cells, events, preds, target, weight, walk, ignore_index,
    rules: tl.constexpr, ROWS: tl.constexpr, MODE: tl.constexpr, BINS: tl.constexpr,
    tile: tl.constexpr,
):  # fmt: skip
    """Confusion matrix: one cell (target, prediction) per position.

    ``cells`` is the state, or when ordered a zeroed float64 buffer ``[programs, ROWS * ROWS]``.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``,
    read once; for labels ``N * 2t``. Private: ``8 * ROWS**2`` bytes of atomics per program.
    Scattered: one atomic per position, in the L2 cache.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    counts = tl.zeros([BINS], tl.int32)
    own = cells
    if MODE == ORDERED:
        own = cells + program.to(tl.int64) * (ROWS * ROWS)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        pred, label, counted, invalid, nan = read_classes(
            preds, target, position, position < walk.positions, walk, ignore_index, 1, rules, tile
        )
        bad += invalid.to(tl.int32)
        nans += nan.to(tl.int32)
        value = ones_or_weights(cells, weight, position, counted, walk)
        cell = label * ROWS + pred
        if MODE == SCATTER:  # Triton 3.6 cannot lay out such cells of weighted positions
            cell = narrow(cell, ROWS * ROWS)
        counts = add_cells(
            counts, own, cell, value, counted, rules.SCORES, MOST_FREQUENT, MODE, BLOCK
        )
    flush_cells(cells, counts, MODE)
    add_class_events(events, bad, nans, rules)


@triton.jit(do_not_specialize=["ignore_index", "cut_0", "cut_1"])
def count_groups(
    cells, events, preds, target, groups, weight, walk, ignore_index, cut_0, cut_1,
    rules: tl.constexpr, GROUPS: tl.constexpr, MODE: tl.constexpr, BINS: tl.constexpr,
    tile: tl.constexpr,
):  # fmt: skip
    """Two-by-two tables per group: cell (reading, group, target, prediction).

    ``cells`` is the state, or a zeroed float64 buffer when ordered:
    ``[programs, READINGS, GROUPS, 2, 2]``.

    Bytes to move for N positions with scores of s, targets of t and groups of g bytes:
    ``N * (s + t + g)``, read once.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    counts = tl.zeros([BINS], tl.int32)
    own = cells
    if MODE == ORDERED:
        own = cells + program.to(tl.int64) * (4 * rules.READINGS * GROUPS)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        inside = position < walk.positions
        label, first, second, counted, invalid, nan, outside = read_labels(
            preds, target, locate(position, walk.sizes, walk.preds.strides),
            locate(position, walk.sizes, walk.target.strides), inside, cut_0, cut_1, ignore_index,
            rules,
        )  # fmt: skip
        nans += nan.to(tl.int32)
        outsides += outside.to(tl.int32)
        offset = locate(position, walk.sizes, walk.groups.strides)
        group = tl.load(groups + offset, mask=inside, other=0).to(tl.int64)
        known = (group >= 0) & (group < GROUPS)
        bad += (invalid | (counted & ~known)).to(tl.int32)
        counted = counted & known
        # A load under `counted` is beyond triton 3.6: its layouts come apart.
        value = ones_or_weights(cells, weight, position, inside, walk)
        table = group * 4 + label.to(tl.int64) * 2
        if MODE == SCATTER:
            table = narrow(table, 8 * GROUPS)
        cell = table + first.to(table.dtype)
        counts = add_cells(counts, own, cell, value, counted, False, MOST_FREQUENT, MODE, BLOCK)
        if rules.READINGS == 2:
            cell = table + 4 * GROUPS + second.to(table.dtype)
            counts = add_cells(counts, own, cell, value, counted, False, MOST_FREQUENT, MODE, BLOCK)
    flush_cells(cells, counts, MODE)
    add_label_events(events, bad, nans, outsides, rules)


@triton.jit
def add_tables(tables, label, decision, value):
    """Add values to the thread's own tn, fp, fn, tp."""
    tn, fp, fn, tp = tables
    zero = tl.zeros_like(value)
    tn += tl.where(~label & ~decision, value, zero)
    fp += tl.where(~label & decision, value, zero)
    fn += tl.where(label & ~decision, value, zero)
    tp += tl.where(label & decision, value, zero)
    return tn, fp, fn, tp


@triton.jit
def put_tables(cells, column, tables, inside, SHARED: tl.constexpr):
    """Add one program's sums over positions ``[positions, columns]`` to the table of each label."""
    for cell in tl.static_range(4):
        total = tl.sum(tables[cell], axis=0).to(cells.dtype.element_ty)
        pointers = cells + cell + column.to(tl.int64) * 4
        if SHARED:
            tl.atomic_add(pointers, total, mask=inside, sem="relaxed")
        else:
            add_to(pointers, total, inside)


@triton.jit(do_not_specialize=["samples", "ignore_index", "cut_0", "cut_1"])
def count_columns(
    cells, events, preds, target, weight, walk, samples, ignore_index, cut_0, cut_1,
    rules: tl.constexpr, LABELS: tl.constexpr, SAMPLEWISE: tl.constexpr, SHARED: tl.constexpr,
    tile: tl.constexpr,
):  # fmt: skip
    """Two-by-two tables per label, binary inputs being one label.

    A program takes ``BLOCK_C`` labels and walks down the positions; each thread counts its own
    tn, fp, fn, tp per reading in registers, and the program adds up its threads once at the end.
    ``cells`` is the state, to which all programs add by atomics; samplewise the state with every
    sample owned by one program; in float64 a zeroed buffer ``[programs, READINGS, LABELS, 2, 2]``.

    Bytes to move for N positions of L labels with scores of s and targets of t bytes:
    ``N * L * (s + t)``, read once, and ``32 * READINGS * L`` per program. Thread counts are int32:
    a thread would need 2**31 rounds to overflow.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    BLOCK_C: tl.constexpr = tile.BLOCK_C
    program, programs = tl.program_id(1), tl.num_programs(1)
    column = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    in_columns = (column < LABELS)[None, :]
    bad = tl.zeros([BLOCK, BLOCK_C], tl.int32)
    nans = tl.zeros([BLOCK, BLOCK_C], tl.int32)
    outsides = tl.zeros([BLOCK, BLOCK_C], tl.int32)
    kind = tl.int32
    if cells.dtype.element_ty == tl.float64:
        kind = tl.float64
    for turn in range(program if SAMPLEWISE else 0, samples, programs if SAMPLEWISE else 1):
        sample = tl.cast(turn, tl.int64)
        zero = tl.zeros([BLOCK, BLOCK_C], kind)
        tables_0 = (zero, zero, zero, zero)
        tables_1 = (zero, zero, zero, zero)
        for block in range(
            0 if SAMPLEWISE else program,
            tl.cdiv(walk.positions, BLOCK),
            1 if SAMPLEWISE else programs,
        ):
            position = numbers(block, BLOCK, tile.WIDE)
            inside = position < walk.positions
            label, first, second, counted, invalid, nan, outside = read_label_tile(
                preds, target, sample, position, column, inside[:, None] & in_columns, walk,
                cut_0, cut_1, ignore_index, rules,
            )  # fmt: skip
            bad += invalid.to(tl.int32)
            nans += nan.to(tl.int32)
            outsides += outside.to(tl.int32)
            value = counted.to(kind)
            if weight is not None:
                offset = sample * walk.weight.sample
                offset += locate(position, walk.sizes, walk.weight.strides)
                each = tl.load(weight + offset, mask=inside, other=0)
                each = usable_weights(each).to(kind)
                value = tl.where(counted, each[:, None], value)
            tables_0 = add_tables(tables_0, label, first, value)
            if rules.READINGS == 2:
                tables_1 = add_tables(tables_1, label, second, value)
        own = cells
        if not SHARED:
            row = sample if SAMPLEWISE else program.to(tl.int64)
            own = cells + row * (4 * rules.READINGS * LABELS)
        put_tables(own, column, tables_0, column < LABELS, SHARED)
        if rules.READINGS == 2:
            put_tables(own + 4 * LABELS, column, tables_1, column < LABELS, SHARED)
    add_label_events(events, bad, nans, outsides, rules)


@replayable
def confusion_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Launch the kernels of :func:`fastmetrics.ops.confusion.confusion_`."""
    if not target.numel():
        return
    count_bad_weights(events, weight)
    walk = walk_classes(preds, target, weight)
    scores, rows = preds.ndim > target.ndim, state.shape[0]
    rules = ClassRules(preds.shape[1] if scores else rows, scores, validate)
    mode = mode_of(state)
    block, block_classes, warps = ClassBlocks(LABEL_BLOCK, 1)
    if mode == ORDERED:
        block, warps = ORDERED_BLOCK, ORDERED_WARPS
        block_classes = min(triton.next_power_of_2(rules.CLASSES), 64) if scores else 1
    elif scores:
        block, block_classes, warps = class_blocks(preds, walk)
    cells, programs = _cells(state, mode, triton.cdiv(walk.positions, block))
    launch(
        count_pairs, (programs,), cells, events, preds, target, weight, walk, ignore_index,
        rules=rules, ROWS=rows, MODE=mode.value,
        BINS=triton.next_power_of_2(rows * rows) if mode == PRIVATE else 1,
        tile=Tile(block, is_wide(walk.positions), block_classes, *row_layout(preds, walk)),
        num_warps=warps,
    )  # fmt: skip
    if mode == ORDERED:
        fold_partials(state, cells)


def mode_of(state: Tensor) -> tl.constexpr:
    """How to add to the cells of a state."""
    if state.dtype == torch.float64:
        return ORDERED
    return PRIVATE if state.numel() <= MOST_PRIVATE_BINS else SCATTER


def _cells(state: Tensor, mode: tl.constexpr, blocks: int) -> tuple[Tensor, int]:
    """Where the programs count, and how many there are."""
    if mode != ORDERED:
        return state, programs_for(blocks, state.device)
    programs = ordered_programs(blocks, state.numel())
    return buffer(state, programs, state.numel(), zeroed=True), programs


def label_confusion_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    groups: Tensor | None, threshold: float, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Launch the kernels of :func:`fastmetrics.ops.confusion.label_confusion_`."""
    # One table per sample and group has no metric; the reference needs no host either.
    apart = groups is not None and state.ndim == 5
    count_tables = label_confusion_reference if apart else _count_tables
    count_tables(
        state, events, preds, target, weight, groups, threshold, logits, ignore_index, validate
    )


@replayable
def _count_tables(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    groups: Tensor | None, threshold: float, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    if not target.numel():
        return
    count_bad_weights(events, weight)
    readings = state.shape[-4]
    cuts = score_cuts(threshold, readings, logits, preds.dtype)
    values = (ignore_index, *cuts)
    rules = LabelRules(readings, preds.is_floating_point(), validate)
    if groups is not None:
        _count_groups(state, events, preds, target, groups, weight, values, rules)
    else:
        _count_columns(state, events, preds, target, weight, values, rules)


def _count_groups(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, groups: Tensor,
    weight: Tensor | None, values: tuple[int | None, int, int], rules: LabelRules,
) -> None:  # fmt: skip
    walk = walk_classes(preds, target, weight, groups)
    mode = mode_of(state)
    block = ORDERED_BLOCK if mode == ORDERED else LABEL_BLOCK
    cells, programs = _cells(state, mode, triton.cdiv(walk.positions, block))
    launch(
        count_groups, (programs,), cells, events, preds, target, groups, weight, walk, *values,
        rules=rules, GROUPS=state.shape[-3], MODE=mode.value,
        BINS=triton.next_power_of_2(state.numel()) if mode == PRIVATE else 1,
        tile=Tile(block, is_wide(walk.positions)),
        num_warps=ORDERED_WARPS if mode == ORDERED else 4,
    )  # fmt: skip
    if mode == ORDERED:
        fold_partials(state, cells)


def _count_columns(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    values: tuple[int | None, int, int], rules: LabelRules,
) -> None:  # fmt: skip
    samplewise, labels = state.ndim == 5, state.shape[-3]
    walk = walk_labels(preds, target, weight, has_axis=labels > 1, samplewise=samplewise)
    samples = target.shape[0] if samplewise else 1
    columns = min(triton.next_power_of_2(labels), MOST_COLUMNS)
    size = COLUMN_TILE // 2 if state.dtype == torch.float64 else COLUMN_TILE
    block = size // columns
    grid_columns = triton.cdiv(labels, columns)
    ordered = state.dtype == torch.float64 and not samplewise
    shares = samples if samplewise else triton.cdiv(walk.positions, block)
    cells, programs = _column_cells(state, shares, grid_columns, ordered)
    launch(
        count_columns, (grid_columns, programs), cells, events, preds, target, weight, walk,
        samples, *values, rules=rules, LABELS=labels, SAMPLEWISE=samplewise,
        SHARED=not samplewise and not ordered, tile=Tile(block, is_wide(walk.positions), columns),
        num_warps=8, registers=128,
    )  # fmt: skip
    if ordered:
        fold_partials(state, cells)


def _column_cells(
    state: Tensor, shares: int, grid_columns: int, ordered: bool
) -> tuple[Tensor, int]:
    """Where the programs count, and how many share the blocks of positions, or the samples."""
    if ordered:
        programs = max(1, ordered_programs(shares * grid_columns, state.numel()) // grid_columns)
        return buffer(state, programs, state.numel(), zeroed=True), programs
    return state, max(1, programs_for(shares * grid_columns, state.device) // grid_columns)
