"""GPU kernels of `stat_scores_`.

Every position marks its target's class (tp or fn) and, where wrong, its prediction's class (fp).
True negatives follow from the number of counted positions, which no program knows alone:

* up to 256 classes for scores, 1024 for labels, and sums over classes: each program counts in
  registers and at its end adds ``counted - tp - fp - fn`` of its own positions to every class. That
  is exact, because the sum over programs is linear.
* more classes: private counts no longer fit, and no atomic is contended. Program ``i`` adds the
  number of all positions to the true negatives of its share of the classes; each position takes
  itself back from the classes that it marks. Only left-out positions remain, and their number is
  known to one program each: without ``ignore_index`` they are bad labels, so a program that met any
  takes them back from every class itself. With ``ignore_index`` they are the rule, and C atomics
  per program would cost more than the reading (6.6 million for 132 programs and 50 000 classes), so
  the programs leave their numbers in a small buffer and a second launch adds them once.
* weighted, or samplewise: see `count_ordered`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.library import INVALID as INVALID_COLUMN
from fastmetrics.ops.library import NAN as NAN_COLUMN
from fastmetrics.ops.triton.reading import (
    LABEL_BLOCK,
    ORDERED_BLOCK,
    PRIVATE,
    SCATTER,
    add_event,
    add_ordered,
    alignment,
    class_blocks,
    is_wide,
    launch,
    locate,
    numbers,
    ones_or_weights,
    ordered_programs,
    programs_for,
    read_classes,
    walk,
    with_dense_state,
)

INVALID = tl.constexpr(INVALID_COLUMN)
NAN = tl.constexpr(NAN_COLUMN)

# Columns of the state.
TP = tl.constexpr(0)
FP = tl.constexpr(1)
TN = tl.constexpr(2)
FN = tl.constexpr(3)

MOST_PRIVATE_CLASSES = {True: 256, False: 1024}
"""Scores, labels: beyond, histograms cost more than they save."""


@triton.jit
def add_to_negatives(state, amount, first, step, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Add ``amount`` to the true negatives of every class of the blocks ``first, first + step, ...``."""
    for start in range(first * BLOCK, ROWS, step * BLOCK):
        row = start + tl.arange(0, BLOCK)
        cell = row.to(tl.int64) * 4 + TN
        tl.atomic_add(state + cell, amount, mask=row < ROWS, sem="relaxed")


@triton.jit
def flush_private(state, counts, total, rows_per_total, ROWS: tl.constexpr, BINS: tl.constexpr):
    """Add one program's counts ``[BINS]``, laid out as the state, and its true negatives."""
    bins = tl.arange(0, BINS)
    marked = tl.sum(tl.reshape(counts, (BINS // 4, 4)), axis=1).to(tl.int64)
    negatives = rows_per_total * total - marked
    tl.atomic_add(
        state + bins, counts.to(tl.int64), mask=(counts > 0) & (bins < ROWS * 4), sem="relaxed"
    )
    row = tl.arange(0, BINS // 4)
    # Without a number of classes there are no true negatives to speak of.
    mask = (row < ROWS) & (rows_per_total > 0)
    tl.atomic_add(state + row * 4 + TN, negatives, mask=mask, sem="relaxed")


@triton.jit
def scatter(state, pred, label, counted):
    """One position at a time: mark the cells, and take the position back from the true negatives."""
    miss = counted & (pred != label)
    tl.atomic_add(state + label * 4 + tl.where(miss, FN, TP), 1, mask=counted, sem="relaxed")
    tl.atomic_add(state + label * 4 + TN, -1, mask=counted, sem="relaxed")
    tl.atomic_add(state + pred * 4 + FP, 1, mask=miss, sem="relaxed")
    tl.atomic_add(state + pred * 4 + TN, -1, mask=miss, sem="relaxed")


@triton.jit(do_not_specialize=["positions", "ignore_index", "top_k", "rows_per_total"])
def count(
    state, events, left_out, preds, target, sizes, preds_strides, target_strides, class_stride,
    positions, ignore_index, top_k, rows_per_total,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, SCORES: tl.constexpr, TOP_K: tl.constexpr,
    HAS_IGNORE: tl.constexpr, VALIDATE: tl.constexpr, MODE: tl.constexpr, BINS: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_C: tl.constexpr, WIDE: tl.constexpr, ALIGN: tl.constexpr,
):  # fmt: skip
    """Unweighted counts of the whole batch.

    Bytes to move for N positions of C scores of s bytes and t-byte targets: ``N * (C * s + t)`` read
    once; labels ``N * 2t``. ``32 * ROWS`` bytes of state per program when private, else about 32
    bytes of atomic traffic in the L2 cache per mark. Private counts are int32: a program would need
    2**31 positions of its own to overflow, 2**40 in a full grid.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    seen = tl.zeros([BLOCK], tl.int32)
    hits = tl.zeros([BLOCK], tl.int32)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    counts = tl.zeros([BINS], tl.int32)
    for block in range(program, tl.cdiv(positions, BLOCK), programs):
        position = numbers(block, BLOCK, WIDE)
        inside = position < positions
        pred, label, counted, invalid, nan = read_classes(
            preds, target, position, inside, sizes, preds_strides, target_strides, class_stride,
            ignore_index, top_k, CLASSES, SCORES, TOP_K, HAS_IGNORE, BLOCK_C, ALIGN,
        )  # fmt: skip
        seen += counted.to(tl.int32)
        hits += (counted & (pred == label)).to(tl.int32)
        bad += invalid.to(tl.int32)
        nans += nan.to(tl.int32)
        if MODE == SCATTER:
            scatter(state, pred, label, counted)
        elif ROWS > 1:
            miss = counted & (pred != label)
            marked = label.to(tl.int32) * 4 + tl.where(miss, FN, TP)
            counts += tl.histogram(marked, BINS, mask=counted)
            counts += tl.histogram(pred.to(tl.int32) * 4 + FP, BINS, mask=miss)
    total = tl.sum(seen.to(tl.int64))
    if MODE == PRIVATE:
        if ROWS == 1:
            hit = tl.sum(hits.to(tl.int64))
            bins = tl.arange(0, BINS)
            sums = tl.where(bins == TP, hit, tl.where(bins == TN, 0, total - hit))
            flush_private(state, sums, total, rows_per_total, ROWS, BINS)
        else:
            flush_private(state, counts, total, rows_per_total, ROWS, BINS)
    elif HAS_IGNORE:
        tl.store(left_out + program, total)
    else:
        add_to_negatives(state, tl.cast(positions, tl.int64), program, programs, ROWS, 256)
        last = tl.minimum(positions, numbers_seen(program, programs, positions, BLOCK))
        missing = last - total
        if missing > 0:
            add_to_negatives(state, -missing, 0, 1, ROWS, 256)
    if VALIDATE:
        add_event(events, INVALID, bad)
    if SCORES:
        add_event(events, NAN, nans)
