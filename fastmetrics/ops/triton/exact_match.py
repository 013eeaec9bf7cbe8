"""GPU kernels of `exact_match_` and `label_exact_match_`.

A sample (or a position) is right only as a whole, so one program reads all of it and nothing has to
be kept between programs. The price: ``exact_match_`` of few samples with very many positions each
occupies few multiprocessors.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.checks import MAX_LABELS
from fastmetrics.ops.triton.cuts import score_cuts
from fastmetrics.ops.triton.inputs import (
    LABEL_BLOCK,
    ClassBlocks,
    ClassRules,
    LabelRules,
    Tile,
    add_class_events,
    add_label_events,
    add_to,
    class_blocks,
    fold_partials,
    is_wide,
    locate,
    numbers,
    ordered_programs,
    programs_for,
    read_classes,
    read_label_tile,
    row_layout,
    settle,
    usable_weights,
    walk_classes,
    walk_labels,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable
from fastmetrics.ops.triton.weights import count_bad_weights

LABEL_TILE = 1024
MOST_COLUMNS = 64

# What a kernel adds its sums to.
STATE = tl.constexpr(0)  # the state, shared by all programs, by integer atomics
ROW = tl.constexpr(1)  # a row of a zeroed float64 buffer, one per program
SAMPLE = tl.constexpr(2)  # the row of a sample in the state, owned by one program


@triton.jit
def put_sum(cell, values, TO: tl.constexpr):
    """Add the sum of one program's values to one cell."""
    total = tl.sum(values).to(cell.dtype.element_ty)
    if TO == STATE:
        tl.atomic_add(cell, total, sem="relaxed")
    else:
        tl.store(cell, tl.load(cell) + total)


@triton.jit(do_not_specialize=["samples", "ignore_index"])
def match_samples(
    cells, events, preds, target, weight, walk, samples, ignore_index,
    rules: tl.constexpr, TO: tl.constexpr, DEPTH: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Samples whose every position is right: ``SAMPLES`` at a time, ``DEPTH`` positions of each.

    Bytes to move for N samples of D positions with C scores of s bytes and targets of t bytes:
    ``N * D * (C*s + t)``, read once; for labels ``N * D * 2t``.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    SAMPLES: tl.constexpr = BLOCK // DEPTH
    program, programs = tl.program_id(0), tl.num_programs(0)
    lane = tl.arange(0, BLOCK)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    correct_sum = tl.zeros([SAMPLES], cells.dtype.element_ty)
    usable_sum = tl.zeros([SAMPLES], cells.dtype.element_ty)
    for turn in range(program, tl.cdiv(samples, SAMPLES), programs):
        first = tl.cast(turn, tl.int64) * SAMPLES
        sample = first + lane // DEPTH
        wrong = tl.zeros([SAMPLES], tl.int32)
        unusable = tl.zeros([SAMPLES], tl.int32)
        for block in range(tl.cdiv(walk.positions, DEPTH)):
            position = numbers(block, DEPTH, tile.WIDE)
            position = tl.broadcast_to(position[None, :], [SAMPLES, DEPTH])
            position = tl.reshape(position, [BLOCK])
            pred, label, counted, invalid, nan = read_classes(
                preds + sample * walk.preds.sample, target + sample * walk.target.sample,
                position, (sample < samples) & (position < walk.positions), walk, ignore_index, 1,
                rules, tile,
            )  # fmt: skip
            bad += invalid.to(tl.int32)
            nans += nan.to(tl.int32)
            miss = (counted & (pred != label)).to(tl.int32)
            wrong = tl.maximum(wrong, tl.max(tl.reshape(miss, [SAMPLES, DEPTH]), axis=1))
            left_out = tl.reshape(invalid.to(tl.int32), [SAMPLES, DEPTH])
            unusable = tl.maximum(unusable, tl.max(left_out, axis=1))
        own = first + tl.arange(0, SAMPLES)
        usable = (own < samples) & (unusable == 0)
        value = usable.to(cells.dtype.element_ty)
        if weight is not None:
            value = tl.load(weight + own * walk.weight.sample, mask=usable, other=0)
            value = usable_weights(value).to(cells.dtype.element_ty)
        correct = tl.where(wrong == 0, value, tl.zeros_like(value))
        if TO == SAMPLE:
            add_to(cells + own * 2, correct, own < samples)
            add_to(cells + own * 2 + 1, value, own < samples)
        else:
            correct_sum += correct
            usable_sum += value
    if TO != SAMPLE:
        row = cells
        if TO == ROW:
            row = cells + program * 2
        put_sum(row, correct_sum, TO)
        put_sum(row + 1, usable_sum, TO)
    add_class_events(events, bad, nans, rules)


@triton.jit(do_not_specialize=["samples", "ignore_index", "cut_0", "cut_1"])
def match_positions(
    cells, events, preds, target, weight, walk, samples, ignore_index, cut_0, cut_1,
    rules: tl.constexpr, LABELS: tl.constexpr, TO: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Positions whose every label is right, in one pass over the label axis.

    Bytes to move for N positions of L labels with scores of s and targets of t bytes:
    ``N * L * (s + t)``, read once.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    for turn in range(program if TO == SAMPLE else 0, samples, programs if TO == SAMPLE else 1):
        sample = tl.cast(turn, tl.int64)
        correct_0 = tl.zeros([BLOCK], cells.dtype.element_ty)
        correct_1 = tl.zeros([BLOCK], cells.dtype.element_ty)
        usable_sum = tl.zeros([BLOCK], cells.dtype.element_ty)
        for block in range(
            0 if TO == SAMPLE else program,
            tl.cdiv(walk.positions, BLOCK),
            1 if TO == SAMPLE else programs,
        ):
            position = numbers(block, BLOCK, tile.WIDE)
            inside = position < walk.positions
            wrong_0 = tl.zeros([BLOCK], tl.int32)
            wrong_1 = tl.zeros([BLOCK], tl.int32)
            unusable = tl.zeros([BLOCK], tl.int32)
            for start in range(0, LABELS, tile.BLOCK_C):
                column = start + tl.arange(0, tile.BLOCK_C)
                here = inside[:, None] & (column < LABELS)[None, :]
                label, first, second, counted, invalid, nan, outside = read_label_tile(
                    preds, target, sample, position, column, here, walk, cut_0, cut_1,
                    ignore_index, rules,
                )  # fmt: skip
                invalids = tl.sum(invalid.to(tl.int32), axis=1)
                bad += invalids
                unusable += invalids
                nans += tl.sum(nan.to(tl.int32), axis=1)
                outsides += tl.sum(outside.to(tl.int32), axis=1)
                wrong_0 += tl.sum((counted & (first != label)).to(tl.int32), axis=1)
                if rules.READINGS == 2:
                    wrong_1 += tl.sum((counted & (second != label)).to(tl.int32), axis=1)
            usable = inside & (unusable == 0)
            value = usable.to(cells.dtype.element_ty)
            if weight is not None:
                offset = sample * walk.weight.sample
                offset += locate(position, walk.sizes, walk.weight.strides)
                value = tl.load(weight + offset, mask=usable, other=0)
                value = usable_weights(value).to(cells.dtype.element_ty)
            zero = tl.zeros_like(value)
            usable_sum += value
            correct_0 += tl.where(wrong_0 == 0, value, zero)
            if rules.READINGS == 2:
                correct_1 += tl.where(wrong_1 == 0, value, zero)
        row = cells
        if TO == ROW:
            row = cells + program * (2 * rules.READINGS)
        if TO == SAMPLE:
            row = cells + sample * (2 * rules.READINGS)
        put_sum(row, correct_0, TO)
        put_sum(row + 1, usable_sum, TO)
        if rules.READINGS == 2:
            put_sum(row + 2, correct_1, TO)
            put_sum(row + 3, usable_sum, TO)
    add_label_events(events, bad, nans, outsides, rules)


@replayable
def exact_match_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    num_classes: int, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Launch the kernel of :func:`fastmetrics.ops.exact_match.exact_match_`."""
    if not target.numel():
        return
    count_bad_weights(events, weight)
    walk, samples = walk_classes(preds, target, weight, samplewise=True), target.shape[0]
    scores = preds.ndim > target.ndim
    classes = preds.shape[1] if scores else num_classes
    rules = ClassRules(classes or MAX_LABELS, scores, validate)
    block, block_classes, warps = ClassBlocks(LABEL_BLOCK, 1)
    if scores:
        block, block_classes, warps = class_blocks(preds, walk)
    depth = min(block, triton.next_power_of_2(walk.positions))
    cells, to, programs = _cells(state, state.ndim == 2, samples, block // depth)
    launch(
        match_samples, (programs,), cells, events, preds, target, weight, walk, samples,
        ignore_index, rules=rules, TO=to.value, DEPTH=depth,
        tile=Tile(block, is_wide(walk.positions), block_classes, *row_layout(preds, walk)),
        num_warps=warps,
    )  # fmt: skip
    if to == ROW:
        fold_partials(state, cells)


def _cells(
    state: Tensor, samplewise: bool, items: int, block: int
) -> tuple[Tensor, tl.constexpr, int]:
    """Where the programs add their sums, and how many there are."""
    blocks = triton.cdiv(items, block)
    if samplewise:
        return state, SAMPLE, programs_for(blocks, state.device)
    if state.dtype == torch.float64:
        programs = ordered_programs(blocks, state.numel())
        return buffer(state, programs, state.numel(), zeroed=True), ROW, programs
    return state, STATE, programs_for(blocks, state.device)


@replayable
def label_exact_match_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    num_labels: int, threshold: float, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Launch the kernel of :func:`fastmetrics.ops.exact_match.label_exact_match_`."""
    if not target.numel():
        return
    count_bad_weights(events, weight)
    samplewise, readings = state.ndim == 3, state.shape[-2]
    walk = walk_labels(preds, target, weight, samplewise=samplewise)
    samples = target.shape[0] if samplewise else 1
    rules = LabelRules(readings, preds.is_floating_point(), validate)
    columns = min(triton.next_power_of_2(num_labels), MOST_COLUMNS)
    block = LABEL_TILE // columns
    if samplewise:
        cells, to, programs = _cells(state, True, samples, 1)
    else:
        cells, to, programs = _cells(state, False, walk.positions, block)
    launch(
        match_positions, (programs,), cells, events, preds, target, weight, walk, samples,
        ignore_index, *score_cuts(threshold, readings, logits, preds.dtype), rules=rules,
        LABELS=num_labels, TO=to.value, tile=Tile(block, is_wide(walk.positions), columns),
        registers=168,
    )  # fmt: skip
    if to == ROW:
        fold_partials(state, cells)
