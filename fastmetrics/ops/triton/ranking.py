"""GPU kernel of `ranking_sums_`.

A program holds a few rows and compares tiles of their labels with each other, O(L^2) comparisons in
registers; tiles without positive labels are skipped. Float64 sums in two stages: a grid that
depends on the shapes alone sums its shares into rows of a buffer, and `fold_partials` adds them.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.ranking import COVERAGE, LOSS, PRECISION
from fastmetrics.ops.triton.inputs import (
    INVALID,
    NAN,
    add_event,
    as_score,
    fold_partials,
    is_wide,
    load_columns,
    locate,
    numbers,
    ones_or_weights,
    ordered_programs,
    settle,
    walk_labels,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable
from fastmetrics.ops.triton.weights import count_bad_weights

# Pairs of labels that a program compares at a time.
PAIRS = 2048


class Rules(NamedTuple):
    """What a kernel makes of rows of labels."""

    LABELS: int
    COVERED: bool
    RANKED: bool
    LOST: bool
    VALIDATE: bool


class Tile(NamedTuple):
    """Rows of one program, labels that it holds, and labels that it compares them with."""

    rows: int
    own: int
    others: int


def row_tile(labels: int) -> Tile:
    """Tile for rows of labels.

    ====== ====== ====== ======
    labels rows   own    others
    ====== ====== ====== ======
    2      256    2      2
    10     8      16     16
    100    4      4      128
    10 000 4      4      128
    ====== ====== ====== ======

    Of many labels a program holds few: with 16 of them, registers spill on some GPUs.
    """
    others = min(128, triton.next_power_of_2(labels))
    own = 4 if others == 128 else min(16, others)
    return Tile(min(256, PAIRS // (own * others)), own, others)


@triton.jit
def read_tile(
    scores, marks, start, scores_step, marks_step, inside, ignore_index,
    rules: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Read some labels of each row: scores, positive, usable, bad."""
    column = start + tl.arange(0, BLOCK)
    here = inside[:, None] & (column < rules.LABELS)[None, :]
    x = as_score(load_columns(scores, column, scores_step, here, 0.0))
    mark = load_columns(marks, column, marks_step, here, 0).to(tl.int64)
    kept = here
    if ignore_index is not None:
        kept = here & (mark != ignore_index)
    usable = kept & ((mark == 0) | (mark == 1))
    return x, usable & (mark == 1), usable, kept & ~usable


@triton.jit
def survey(
    scores, marks, scores_step, marks_step, inside, ignore_index,
    rules: tl.constexpr, OTHERS: tl.constexpr,
):  # fmt: skip
    """What each row holds: a bad label, a NaN, numbers of usable and of positive labels.

    Where only the coverage is asked for, also the lowest positive score, and a NaN among them.
    """
    bad = tl.zeros(inside.shape, tl.int32)
    nan = tl.zeros(inside.shape, tl.int32)
    usables = tl.zeros(inside.shape, tl.int32)
    positives = tl.zeros(inside.shape, tl.int32)
    nan_positive = tl.zeros(inside.shape, tl.int32)
    lowest = tl.full(inside.shape, float("inf"), tl.float64)
    for start in range(0, rules.LABELS, OTHERS):
        x, positive, usable, wrong = read_tile(
            scores, marks, start, scores_step, marks_step, inside, ignore_index, rules, OTHERS
        )
        bad = tl.maximum(bad, tl.max(wrong.to(tl.int32), axis=1))
        nan = tl.maximum(nan, tl.max((usable & (x != x)).to(tl.int32), axis=1))
        usables += tl.sum(usable.to(tl.int32), axis=1)
        positives += tl.sum(positive.to(tl.int32), axis=1)
        if not (rules.RANKED or rules.LOST):
            is_nan = (positive & (x != x)).to(tl.int32)
            nan_positive = tl.maximum(nan_positive, tl.max(is_nan, axis=1))
            ranked = tl.where(positive & (x == x), x.to(tl.float64), float("inf"))
            lowest = tl.minimum(lowest, tl.min(ranked, axis=1))
    return bad, nan, usables, positives, nan_positive, lowest


@triton.jit
def count_reaching(
    scores, marks, scores_step, marks_step, inside, ignore_index, lowest,
    rules: tl.constexpr, OTHERS: tl.constexpr,
):  # fmt: skip
    """How many usable labels of each row score at least as high as its lowest positive one."""
    coverage = tl.zeros(inside.shape, tl.int32)
    for start in range(0, rules.LABELS, OTHERS):
        x, _positive, usable, _wrong = read_tile(
            scores, marks, start, scores_step, marks_step, inside, ignore_index, rules, OTHERS
        )
        reaches = usable & (x.to(tl.float64) >= lowest[:, None])
        coverage += tl.sum(reaches.to(tl.int32), axis=1)
    return coverage


@triton.jit
def compare_labels(
    scores, marks, scores_step, marks_step, inside, ignore_index,
    rules: tl.constexpr, OWN: tl.constexpr, OTHERS: tl.constexpr,
):  # fmt: skip
    """Compare the positive labels of each row with all of them: coverage, precision, pairs.

    The precision is the sum over the positive labels; pairs are those in the wrong order.
    """
    coverage = tl.zeros(inside.shape, tl.int32)
    precision = tl.zeros(inside.shape, tl.float64)
    pairs = tl.zeros(inside.shape, tl.int64)
    for begin in range(0, rules.LABELS, OWN):
        own, chosen, _usable, _wrong = read_tile(
            scores, marks, begin, scores_step, marks_step, inside, ignore_index, rules, OWN
        )
        some = tl.max(tl.max(chosen.to(tl.int32), axis=1), axis=0)
        if some > 0:
            reaching = tl.zeros(own.shape, tl.int32)
            alike = tl.zeros(own.shape, tl.int32)
            for start in range(0, rules.LABELS, OTHERS):
                x, positive, usable, _other = read_tile(
                    scores, marks, start, scores_step, marks_step, inside, ignore_index, rules,
                    OTHERS,
                )  # fmt: skip
                bound = own[:, :, None]
                # NaN lies below every number, and is as high as another NaN.
                above = (x[:, None, :] >= bound) | (bound != bound)
                reaching += tl.sum((above & usable[:, None, :]).to(tl.int32), axis=2)
                alike += tl.sum((above & positive[:, None, :]).to(tl.int32), axis=2)
            reaching = tl.where(chosen, reaching, 0)
            alike = tl.where(chosen, alike, 0)
            share = alike.to(tl.float64) / tl.maximum(reaching, 1).to(tl.float64)
            precision += tl.sum(share, axis=1)
            pairs += tl.sum((reaching - alike).to(tl.int64), axis=1)
            coverage = tl.maximum(coverage, tl.max(reaching, axis=1))
    return coverage, precision, pairs


@triton.jit(do_not_specialize=["ignore_index"])
def rank_rows(
    partial, events, preds, target, weight, walk, ignore_index,
    rules: tl.constexpr, tile: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Coverage, precision and loss of rows; ``partial`` is float64 ``[programs, 4]``.

    Bytes to move for N rows of L scores of s bytes and targets of t bytes: ``N * L * (s + t)``; all
    further reads of a row are answered by the cache.
    """
    walk = settle(walk)
    ROWS: tl.constexpr = tile.rows
    program, programs = tl.program_id(0), tl.num_programs(0)
    bads = tl.zeros([ROWS], tl.int32)
    nans = tl.zeros([ROWS], tl.int32)
    coverages = tl.zeros([ROWS], tl.float64)
    precisions = tl.zeros([ROWS], tl.float64)
    losses = tl.zeros([ROWS], tl.float64)
    amounts = tl.zeros([ROWS], tl.float64)
    for block in range(program, tl.cdiv(walk.positions, ROWS), programs):
        row = numbers(block, ROWS, WIDE)
        inside = row < walk.positions
        scores = preds + locate(row, walk.sizes, walk.preds.strides)
        marks = target + locate(row, walk.sizes, walk.target.strides)
        bad, nan, usables, positives, nan_positive, lowest = survey(
            scores, marks, walk.preds.column, walk.target.column, inside, ignore_index,
            rules, tile.others,
        )  # fmt: skip
        counted = inside & (bad == 0) & (usables > 0)
        value = ones_or_weights(partial, weight, row, counted, walk)
        amounts += value
        bads += bad
        nans += tl.where(counted, nan, 0)
        if rules.RANKED or rules.LOST:
            coverage, precision, pairs = compare_labels(
                scores, marks, walk.preds.column, walk.target.column, inside, ignore_index,
                rules, tile.own, tile.others,
            )  # fmt: skip
            negatives = usables - positives
            both = (positives > 0) & (negatives > 0)
            precision = tl.where(both, precision / tl.maximum(positives, 1).to(tl.float64), 1.0)
            possible = tl.maximum(positives.to(tl.int64) * negatives.to(tl.int64), 1)
            precisions += value * precision
            losses += value * (pairs.to(tl.float64) / possible.to(tl.float64))
        else:
            coverage = count_reaching(
                scores, marks, walk.preds.column, walk.target.column, inside, ignore_index,
                lowest, rules, tile.others,
            )  # fmt: skip
            coverage = tl.where(nan_positive > 0, usables, coverage)
            coverage = tl.where(positives > 0, coverage, 0)
        coverages += value * coverage.to(tl.float64)
    sums = partial + program.to(tl.int64) * 4
    if rules.COVERED:
        tl.store(sums, tl.sum(coverages))
    if rules.RANKED:
        tl.store(sums + 1, tl.sum(precisions))
    if rules.LOST:
        tl.store(sums + 2, tl.sum(losses))
    tl.store(sums + 3, tl.sum(amounts))
    if rules.VALIDATE:
        add_event(events, INVALID, bads)
    add_event(events, NAN, nans)


@replayable
def ranking_sums_(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, measures: int,
    weight: Tensor | None, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Launch the kernel of :func:`fastmetrics.ops.ranking.ranking_sums_`."""
    if not target.numel():
        return
    count_bad_weights(events, weight)
    rules = Rules(
        LABELS=target.shape[1],
        COVERED=bool(measures & COVERAGE),
        RANKED=bool(measures & PRECISION),
        LOST=bool(measures & LOSS),
        VALIDATE=validate,
    )
    walk, tile = walk_labels(preds, target, weight), row_tile(target.shape[1])
    programs = ordered_programs(triton.cdiv(walk.positions, tile.rows), state.numel())
    partial = buffer(state, programs, state.numel(), zeroed=True)
    launch(
        rank_rows, (programs,), partial, events, preds, target, weight, walk, ignore_index,
        rules=rules, tile=tile, WIDE=is_wide(walk.positions), registers=168,
    )  # fmt: skip
    fold_partials(state, partial)
