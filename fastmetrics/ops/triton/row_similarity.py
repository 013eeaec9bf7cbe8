"""GPU kernels of `row_similarity_`: cosine, and divergences of distributions.

A program holds some rows of both matrices, a tile of columns at a time, and keeps sums for each
place of the tile in registers. What divides by the sum of a row reads the row twice, the second
time from the cache if it is wider than a tile. A grid that depends on the shapes alone sums the
values of its rows into a buffer, which `fold_partials` adds up; a small update is one program, and
values that stay apart need no sum.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops import row_similarity as rules
from fastmetrics.ops.triton.inputs import (
    fold_partials,
    is_wide,
    numbers,
    ordered_programs,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable
from fastmetrics.utilities import dtypes

# Places of a tile. Of rows that are read twice and do not fit a cache, a program takes one.
TILE = 256
MOST_COLUMNS = 16
MOST_CACHED = 1024
BLOCKS_EACH = 4  # at least, so that a small update is one launch

COSINE = tl.constexpr(rules.COSINE)
KL = tl.constexpr(rules.KL)
KL_LOG = tl.constexpr(rules.KL_LOG)
JS = tl.constexpr(rules.JS)
JS_LOG = tl.constexpr(rules.JS_LOG)

# Where the value of a row goes.
SUMMED = tl.constexpr(0)  # added up, to the state
PARTIAL = tl.constexpr(1)  # added up, to the program's own row of a buffer
APART = tl.constexpr(2)


@triton.jit
def x_log_y(x, y):
    """``x * log(y)``, 0 where x is 0."""
    zero = x == 0.0
    return tl.where(zero, 0.0, x * tl.log(tl.where(zero, 1.0, y)))


@triton.jit
def scale_of(largest):
    """What to multiply a row with so that its squares stay in the range of float64."""
    high = largest > 1e120
    low = (largest < 1e-120) & (largest > 0.0)
    return tl.where(high, 2.0**-600, tl.where(low, 2.0**600, 1.0)).to(tl.float64)


@triton.jit
def load_tile(data, rows, columns, row_step, step, mask, other):
    """A tile of a matrix as float64."""
    pointers = data + rows.to(tl.int64)[:, None] * row_step
    pointers += columns.to(tl.int64)[None, :] * step
    return tl.load(pointers, mask=mask, other=other).to(tl.float64)


@triton.jit
def compare_rows(
    cells, preds, target, preds_row, preds_step, target_row, target_step, num_rows, columns,
    KIND: tl.constexpr, NORMALISE: tl.constexpr, PLACE: tl.constexpr, BLOCK: tl.constexpr,
    BLOCK_C: tl.constexpr, WIDE: tl.constexpr, WIDE_INPUT: tl.constexpr,
):  # fmt: skip
    """Similarity of each row, added to ``cells``: ``[3]``, ``[programs, 3]`` or ``[N, 1]``.

    Bytes to move for N rows of D numbers of s bytes: ``2 * N * D * s``; a divergence of
    probabilities, or the cosine of float64, reads them a second time, from the cache up to 1024
    columns.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    total = tl.zeros([BLOCK], tl.float64)
    for block in range(program, tl.cdiv(num_rows, BLOCK), programs):
        row = numbers(block, BLOCK, WIDE)
        inside = row < num_rows
        # Each place of the tile has sums of its own, which are added up when the row is through.
        zero = tl.zeros([BLOCK, BLOCK_C], tl.float64)
        p_sums, q_sums, values = zero, zero, zero
        p_sum, q_sum = tl.sum(zero, axis=1), tl.sum(zero, axis=1)
        if NORMALISE:
            for start in range(0, columns, BLOCK_C):
                column = start + tl.arange(0, BLOCK_C)
                mask = inside[:, None] & (column < columns)[None, :]
                p_sums += load_tile(preds, row, column, preds_row, preds_step, mask, 0)
                q_sums += load_tile(target, row, column, target_row, target_step, mask, 0)
            p_sum, q_sum = tl.sum(p_sums, axis=1), tl.sum(q_sums, axis=1)
        p_scale = tl.full([BLOCK], 1.0, tl.float64)
        q_scale = tl.full([BLOCK], 1.0, tl.float64)
        if KIND == COSINE and WIDE_INPUT:
            # Rows whose squares may leave the range of float64 are brought back into it.
            for start in range(0, columns, BLOCK_C):
                column = start + tl.arange(0, BLOCK_C)
                mask = inside[:, None] & (column < columns)[None, :]
                p = load_tile(preds, row, column, preds_row, preds_step, mask, 0)
                q = load_tile(target, row, column, target_row, target_step, mask, 0)
                p_sums = tl.maximum(p_sums, tl.abs(p))
                q_sums = tl.maximum(q_sums, tl.abs(q))
            p_scale, q_scale = scale_of(tl.max(p_sums, axis=1)), scale_of(tl.max(q_sums, axis=1))
            p_sums, q_sums = zero, zero
        for start in range(0, columns, BLOCK_C):
            column = start + tl.arange(0, BLOCK_C)
            mask = inside[:, None] & (column < columns)[None, :]
            p = load_tile(preds, row, column, preds_row, preds_step, mask, 0)
            q = load_tile(target, row, column, target_row, target_step, mask, 0)
            if KIND == COSINE:
                if WIDE_INPUT:
                    p, q = p * p_scale[:, None], q * q_scale[:, None]
                values += p * q
                p_sums += p * p
                q_sums += q * q
            else:
                if KIND == KL_LOG:
                    term = tl.where(p == float("-inf"), 0.0, tl.exp(p) * (p - q))
                elif KIND == KL:
                    p = p / p_sum[:, None]
                    term = x_log_y(p, p / (q / q_sum[:, None]))
                else:
                    if KIND == JS_LOG:
                        p = tl.exp(p)
                        q = tl.exp(q)
                    else:
                        p = p / p_sum[:, None]
                        q = q / q_sum[:, None]
                    middle = (p + q) * 0.5
                    term = (x_log_y(p, p / middle) + x_log_y(q, q / middle)) * 0.5
                values += tl.where(mask, term, 0.0)
        value = tl.sum(values, axis=1)
        if KIND == COSINE:
            value = value / (tl.sqrt(tl.sum(p_sums, axis=1)) * tl.sqrt(tl.sum(q_sums, axis=1)))
        if PLACE == APART:
            pointers = cells + row
            held = tl.load(pointers, mask=inside, other=0.0)
            tl.store(pointers, held + value, mask=inside)
        else:
            total += tl.where(inside, value, 0.0)
    if PLACE == SUMMED:
        tl.store(cells, tl.load(cells) + tl.sum(total))
        tl.store(cells + 1, tl.load(cells + 1) + tl.cast(num_rows, tl.float64))
        if WIDE_INPUT:
            tl.store(cells + 2, tl.load(cells + 2) + tl.cast(num_rows, tl.float64))
    if PLACE == PARTIAL:
        tl.store(cells + 3 * program, tl.sum(total))
        counted = tl.where(program == 0, num_rows, 0).to(tl.float64)
        tl.store(cells + 3 * program + 1, counted)
        if WIDE_INPUT:
            tl.store(cells + 3 * program + 2, counted)
        else:
            tl.store(cells + 3 * program + 2, 0.0 * counted)


@replayable
def row_similarity_(state: Tensor, preds: Tensor, target: Tensor, kind: int) -> None:
    """Launch the kernels of :func:`fastmetrics.ops.row_similarity.row_similarity_`."""
    rows, columns = preds.shape
    if not rows:
        return
    most = MOST_COLUMNS if columns <= MOST_CACHED else TILE
    block_columns = min(triton.next_power_of_2(max(columns, 1)), most)
    block = TILE // block_columns
    programs = ordered_programs(triton.cdiv(rows, block * BLOCKS_EACH), 1)
    cells, place = state, APART if state.ndim == 2 else SUMMED
    if place == SUMMED and programs > 1:
        cells, place = buffer(state, programs, 3), PARTIAL
    launch(
        compare_rows, (programs,), cells, preds, target, *preds.stride(), *target.stride(), rows,
        columns, KIND=kind, NORMALISE=kind in (rules.KL, rules.JS), PLACE=place.value,
        BLOCK=block, BLOCK_C=block_columns, WIDE=is_wide(rows),
        WIDE_INPUT=dtypes.is_wide(preds, target),
    )  # fmt: skip
    if place == PARTIAL:
        fold_partials(state, cells)
