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
from fastmetrics.ops.triton.reading import (
    INVALID,
    NAN,
    add_event,
    as_score,
    fold_partials,
    is_wide,
    label_plan,
    launch,
    locate,
    numbers,
    ones_or_weights,
    ordered_programs,
    replayable,
)

# Pairs of labels that a program compares at a time.
PAIRS = 2048


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
    100    1      16     128
    10 000 1      16     128
    ====== ====== ====== ======
    """
    others = min(128, triton.next_power_of_2(labels))
    own = min(16, others)
    return Tile(min(256, PAIRS // (own * others)), own, others)


@triton.jit
def read_tile(
    scores, marks, start, scores_step, marks_step, inside, ignore_index,
    LABELS: tl.constexpr, HAS_IGNORE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Read some labels of each row: scores, positive, usable, bad."""
    column = start + tl.arange(0, BLOCK)
    here = inside[:, None] & (column < LABELS)[None, :]
    column = column.to(tl.int64)[None, :]
    x = as_score(tl.load(scores[:, None] + column * scores_step, mask=here, other=0.0))
    mark = tl.load(marks[:, None] + column * marks_step, mask=here, other=0).to(tl.int64)
    kept = here
    if HAS_IGNORE:
        kept = here & (mark != ignore_index)
    usable = kept & ((mark == 0) | (mark == 1))
    return x, usable & (mark == 1), usable, kept & ~usable


@triton.jit(do_not_specialize=["ignore_index"])
def rank_rows(
    partial, events, preds, target, weight, sizes, preds_strides, target_strides, weight_strides,
    preds_step, target_step, rows, ignore_index,
    LABELS: tl.constexpr, COVERED: tl.constexpr, RANKED: tl.constexpr, LOST: tl.constexpr,
    HAS_IGNORE: tl.constexpr, VALIDATE: tl.constexpr, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr,
    OWN: tl.constexpr, OTHERS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Coverage, precision and loss of rows; ``partial`` is float64 ``[programs, 4]``.

    Bytes to move for N rows of L scores of s bytes and targets of t bytes: ``N * L * (s + t)``; all
    further reads of a row are answered by the cache.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    bads = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    coverages = tl.zeros([BLOCK], tl.float64)
    precisions = tl.zeros([BLOCK], tl.float64)
    losses = tl.zeros([BLOCK], tl.float64)
    amounts = tl.zeros([BLOCK], tl.float64)
    for block in range(program, tl.cdiv(rows, BLOCK), programs):
        row = numbers(block, BLOCK, WIDE)
        inside = row < rows
        scores = preds + locate(row, sizes, preds_strides)
        marks = target + locate(row, sizes, target_strides)
        bad = tl.zeros([BLOCK], tl.int32)
        nan = tl.zeros([BLOCK], tl.int32)
        usables = tl.zeros([BLOCK], tl.int32)
        positives = tl.zeros([BLOCK], tl.int32)
        nan_positive = tl.zeros([BLOCK], tl.int32)
        lowest = tl.full([BLOCK], float("inf"), tl.float64)
        for start in range(0, LABELS, OTHERS):
            x, positive, usable, wrong = read_tile(
                scores, marks, start, preds_step, target_step, inside, ignore_index,
                LABELS, HAS_IGNORE, OTHERS,
            )  # fmt: skip
            bad = tl.maximum(bad, tl.max(wrong.to(tl.int32), axis=1))
            nan = tl.maximum(nan, tl.max((usable & (x != x)).to(tl.int32), axis=1))
            usables += tl.sum(usable.to(tl.int32), axis=1)
            positives += tl.sum(positive.to(tl.int32), axis=1)
            if not (RANKED or LOST):
                is_nan = (positive & (x != x)).to(tl.int32)
                nan_positive = tl.maximum(nan_positive, tl.max(is_nan, axis=1))
                ranked = tl.where(positive & (x == x), x.to(tl.float64), float("inf"))
                lowest = tl.minimum(lowest, tl.min(ranked, axis=1))
        counted = inside & (bad == 0) & (usables > 0)
        value = ones_or_weights(partial, weight, row, counted, sizes, weight_strides, WEIGHTED)
        amounts += value
        bads += bad
        nans += tl.where(counted, nan, 0)
        coverage = tl.zeros([BLOCK], tl.int32)
        precision = tl.zeros([BLOCK], tl.float64)
        pairs = tl.zeros([BLOCK], tl.int64)
        if not (RANKED or LOST):
            for start in range(0, LABELS, OTHERS):
                x, positive, usable, wrong = read_tile(
                    scores, marks, start, preds_step, target_step, inside, ignore_index,
                    LABELS, HAS_IGNORE, OTHERS,
                )  # fmt: skip
                reaches = usable & (x.to(tl.float64) >= lowest[:, None])
                coverage += tl.sum(reaches.to(tl.int32), axis=1)
            coverage = tl.where(nan_positive > 0, usables, coverage)
            coverage = tl.where(positives > 0, coverage, 0)
        else:
            for begin in range(0, LABELS, OWN):
                own, chosen, _usable, _wrong = read_tile(
                    scores, marks, begin, preds_step, target_step, inside, ignore_index,
                    LABELS, HAS_IGNORE, OWN,
                )  # fmt: skip
                some = tl.max(tl.max(chosen.to(tl.int32), axis=1), axis=0)
                if some > 0:
                    reaching = tl.zeros([BLOCK, OWN], tl.int32)
                    alike = tl.zeros([BLOCK, OWN], tl.int32)
                    for start in range(0, LABELS, OTHERS):
                        x, positive, usable, wrong = read_tile(
                            scores, marks, start, preds_step, target_step, inside, ignore_index,
                            LABELS, HAS_IGNORE, OTHERS,
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
        negatives = usables - positives
        ranked_row = (positives > 0) & (negatives > 0)
        precision = tl.where(ranked_row, precision / tl.maximum(positives, 1).to(tl.float64), 1.0)
        possible = tl.maximum(positives.to(tl.int64) * negatives.to(tl.int64), 1)
        loss = pairs.to(tl.float64) / possible.to(tl.float64)
        coverages += value * coverage.to(tl.float64)
        precisions += value * precision
        losses += value * loss
    sums = partial + program.to(tl.int64) * 4
    if COVERED:
        tl.store(sums, tl.sum(coverages))
    if RANKED:
        tl.store(sums + 1, tl.sum(precisions))
    if LOST:
        tl.store(sums + 2, tl.sum(losses))
    tl.store(sums + 3, tl.sum(amounts))
    if VALIDATE:
        add_event(events, INVALID, bads)
    add_event(events, NAN, nans)


@replayable
def ranking_sums_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    measures: int,
    weight: Tensor | None,
    ignore_index: int | None,
    validate: bool,
) -> None:
    """Launch the kernel of :func:`fastmetrics.ops.ranking.ranking_sums_`."""
    if not target.numel():
        return
    inputs = label_plan(False, True, preds, target, weight)
    tile = row_tile(target.shape[1])
    programs = ordered_programs(triton.cdiv(inputs.positions, tile.rows), state.numel())
    partial = state.new_zeros(programs, state.numel())
    launch(
        rank_rows, (programs,), partial, events, preds, target, weight, inputs.sizes,
        *inputs.strides, *inputs.axis_strides, inputs.positions,
        0 if ignore_index is None else ignore_index, LABELS=target.shape[1],
        COVERED=bool(measures & COVERAGE), RANKED=bool(measures & PRECISION),
        LOST=bool(measures & LOSS),
        HAS_IGNORE=ignore_index is not None, VALIDATE=validate, WEIGHTED=weight is not None,
        BLOCK=tile.rows, OWN=tile.own, OTHERS=tile.others, WIDE=is_wide(inputs.positions),
    )  # fmt: skip
    fold_partials(state, partial)
