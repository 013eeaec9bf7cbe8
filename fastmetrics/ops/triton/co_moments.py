"""GPU kernels of `co_moments_`.

A grid that depends on the shapes alone takes ``PROGRAMS`` shares of the rows for each tile of
outputs. Every program holds one block of pairs at a time in registers, sums it around its own means
and merges it by Chan's rule into moments that it alone owns; a second kernel merges the shares in
order into the state, so the result has the same bits every time. That second kernel is also
`merge_co_moments_`. A single share is merged into the state at once: small updates are one launch.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.co_moments import NUM_COLUMNS
from fastmetrics.ops.triton.inputs import (
    Tile,
    is_wide,
    load_columns,
    locate,
    numbers,
    settle,
    walk_labels,
    weights_or,
)
from fastmetrics.ops.triton.replay import launch, on_device_of_state

COLUMNS = tl.constexpr(NUM_COLUMNS)

PAIRS = 1024
MOST_OUTPUTS = 32
MOST_PROGRAMS = 256
MERGED_OUTPUTS = 32


@triton.jit
def read_moments(row, mask):
    """The columns of one row of moments per output; zeros where there is no output."""
    count = tl.load(row, mask=mask, other=0.0)
    weight = tl.load(row + 1, mask=mask, other=0.0)
    mean_x = tl.load(row + 2, mask=mask, other=0.0)
    mean_y = tl.load(row + 3, mask=mask, other=0.0)
    mean_d = tl.load(row + 4, mask=mask, other=0.0)
    xx = tl.load(row + 5, mask=mask, other=0.0)
    yy = tl.load(row + 6, mask=mask, other=0.0)
    dd = tl.load(row + 7, mask=mask, other=0.0)
    xy = tl.load(row + 8, mask=mask, other=0.0)
    low = tl.load(row + 9, mask=mask, other=0.0)
    high = tl.load(row + 10, mask=mask, other=0.0)
    return count, weight, mean_x, mean_y, mean_d, xx, yy, dd, xy, low, high


@triton.jit
def write_moments(row, mask, moments):
    """Store what `read_moments` returns."""
    for column in tl.static_range(len(moments)):
        tl.store(row + column, moments[column], mask=mask)


@triton.jit
def merge_moments(a, b):
    """Merge two parts of the data by Chan's rule; a part without weight changes nothing."""
    count, weight, mean_x, mean_y, mean_d, xx, yy, dd, xy, low, high = a
    n, w, x, y, d, xx_b, yy_b, dd_b, xy_b, low_b, high_b = b
    empty = w == 0
    first = weight == 0
    total = weight + w
    share = w / tl.where(total == 0, 1.0, total)
    both = weight * share
    step_x, step_y, step_d = x - mean_x, y - mean_y, d - mean_d
    return (
        tl.where(empty, count, tl.where(first, n, count + n)),
        tl.where(empty, weight, total),
        tl.where(empty, mean_x, tl.where(first, x, mean_x + step_x * share)),
        tl.where(empty, mean_y, tl.where(first, y, mean_y + step_y * share)),
        tl.where(empty, mean_d, tl.where(first, d, mean_d + step_d * share)),
        tl.where(empty, xx, tl.where(first, xx_b, xx + xx_b + step_x * step_x * both)),
        tl.where(empty, yy, tl.where(first, yy_b, yy + yy_b + step_y * step_y * both)),
        tl.where(empty, dd, tl.where(first, dd_b, dd + dd_b + step_d * step_d * both)),
        tl.where(empty, xy, tl.where(first, xy_b, xy + xy_b + step_x * step_y * both)),
        tl.where(empty, low, tl.where(first, low_b, tl.minimum(low, low_b))),
        tl.where(empty, high, tl.where(first, high_b, tl.maximum(high, high_b))),
    )


@triton.jit
def centre(values, kept, weight, total):
    """Mean of each column, and the distances from it; of equal values these are exactly zero."""
    low = tl.min(tl.where(kept, values, float("inf")), axis=0)
    shift = tl.where(low == float("inf"), 0.0, low)
    shifted = tl.where(kept, values - shift[None, :], 0.0)
    step = tl.sum(weight * shifted, axis=0) / total
    return shift + step, tl.where(kept, shifted - step[None, :], 0.0)


@triton.jit
def add_pairs(
    partial, preds, target, weight, walk, outputs,
    WIDE_INPUT: tl.constexpr, DIRECT: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Moments of one share of the rows: ``partial`` is ``[programs, outputs, 12]``.

    ``DIRECT``: there is one program, and ``partial`` is the state.

    Bytes to move for N rows of D pairs of s bytes: ``N * D * s``, read once, and 96 for each output
    and program.
    """
    walk = settle(walk)
    BLOCK_C: tl.constexpr = tile.BLOCK_C
    program, programs = tl.program_id(1), tl.num_programs(1)
    output = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = output < outputs
    zero = tl.zeros([BLOCK_C], tl.float64)
    moments = (zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero)
    for block in range(program, tl.cdiv(walk.positions, tile.BLOCK), programs):
        row = numbers(block, tile.BLOCK, tile.WIDE)
        present = row < walk.positions
        w = present.to(tl.float64)
        if weight is not None:
            offset = locate(row, walk.sizes, walk.weight.strides)
            w = weights_or(tl.load(weight + offset, mask=present, other=0), float("nan"))
        kept = (w != 0)[:, None] & inside[None, :]
        offset = locate(row, walk.sizes, walk.preds.strides)
        x = load_columns(preds + offset, output, walk.preds.column, kept, 0).to(tl.float64)
        offset = locate(row, walk.sizes, walk.target.strides)
        y = load_columns(target + offset, output, walk.target.column, kept, 0).to(tl.float64)
        total = tl.sum(w, axis=0)
        count = tl.sum((w != 0).to(tl.float64), axis=0)
        divisor = tl.where(total == 0, 1.0, total)
        wide_w = w[:, None]
        mean_x, dx = centre(x, kept, wide_w, divisor)
        mean_y, dy = centre(y, kept, wide_w, divisor)
        mean_d, dd = centre(y - x, kept, wide_w, divisor)
        found = (
            zero + count,
            zero + total,
            mean_x,
            mean_y,
            mean_d,
            tl.sum(wide_w * dx * dx, axis=0),
            tl.sum(wide_w * dy * dy, axis=0),
            tl.sum(wide_w * dd * dd, axis=0),
            tl.sum(wide_w * dx * dy, axis=0),
            tl.min(tl.where(kept, y, float("inf")), axis=0),
            tl.max(tl.where(kept, y, float("-inf")), axis=0),
        )
        moments = merge_moments(moments, found)
    place = partial + (program.to(tl.int64) * outputs + output) * COLUMNS
    if DIRECT:
        moments = merge_moments(read_moments(place, inside), moments)
    write_moments(place, inside, moments)
    if WIDE_INPUT:
        tl.store(place + (COLUMNS - 1), zero + 1.0, mask=inside)
    elif not DIRECT:
        tl.store(place + (COLUMNS - 1), zero, mask=inside)


@triton.jit
def merge_parts(state, parts, count, outputs, BLOCK_D: tl.constexpr):
    """Merge ``parts`` ``[count, outputs, 12]`` into the state, one after the other.

    Bytes to move: 96 for each output and part, and 192 for each output.
    """
    output = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = output < outputs
    place = state + output.to(tl.int64) * COLUMNS
    moments = read_moments(place, inside)
    wide = tl.load(place + (COLUMNS - 1), mask=inside, other=0.0)
    for part in range(count):
        other = parts + (tl.cast(part, tl.int64) * outputs + output) * COLUMNS
        moments = merge_moments(moments, read_moments(other, inside))
        wide = tl.maximum(wide, tl.load(other + (COLUMNS - 1), mask=inside, other=0.0))
    write_moments(place, inside, moments)
    tl.store(place + (COLUMNS - 1), wide, mask=inside)


@on_device_of_state
def co_moments_(state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Launch the kernels of :func:`fastmetrics.ops.co_moments.co_moments_`."""
    if not preds.numel():
        return
    outputs = state.shape[0]
    walk = walk_labels(preds, target, weight, has_axis=preds.ndim > 1)
    block_outputs = min(MOST_OUTPUTS, triton.next_power_of_2(outputs))
    block = PAIRS // block_outputs
    programs = min(triton.cdiv(walk.positions, block), MOST_PROGRAMS)
    partial = state
    if programs > 1:
        partial = torch.empty((programs, *state.shape), dtype=torch.float64, device=state.device)
    launch(
        add_pairs, (triton.cdiv(outputs, block_outputs), programs),
        partial, preds, target, weight, walk, outputs,
        WIDE_INPUT=torch.float64 in (preds.dtype, target.dtype), DIRECT=programs == 1,
        tile=Tile(block, is_wide(walk.positions), block_outputs),
    )  # fmt: skip
    if programs > 1:
        merge_parts_into(state, partial)


@on_device_of_state
def merge_co_moments_(state: Tensor, others: Tensor) -> None:
    """Launch the kernel of :func:`fastmetrics.ops.co_moments.merge_co_moments_`."""
    if others.numel():
        merge_parts_into(state, others.contiguous())


def merge_parts_into(state: Tensor, parts: Tensor) -> None:
    """Launch `merge_parts`."""
    outputs = state.shape[0]
    block = min(MERGED_OUTPUTS, triton.next_power_of_2(outputs))
    launch(
        merge_parts, (triton.cdiv(outputs, block),), state, parts, len(parts), outputs,
        BLOCK_D=block,
    )  # fmt: skip
