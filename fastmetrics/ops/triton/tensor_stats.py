"""GPU kernels of `tensor_stats_`: one launch for each tensor, and a second for large ones.

A grid that depends on the shapes alone takes turns at the blocks of one tensor, whatever its
layout. Each program keeps its statistics in registers and writes them to its row of a buffer, which
a second kernel adds to the tensor's row of the state; a small tensor is one program, which adds to
that row at once.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops import tensor_stats as rules
from fastmetrics.ops.triton.inputs import (
    is_wide,
    locate,
    merge_axes,
    numbers,
    ordered_programs,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable

BLOCK = 1024
BLOCKS_EACH = 4  # at least, so that a small tensor is one launch

COLUMNS = tl.constexpr(rules.NUM_COLUMNS)


@triton.jit
def write_stats(row, count, total, squares, low, high, nans, infinities, ADD: tl.constexpr):
    """Store statistics in a row, or ``ADD`` them to those of earlier updates."""
    updates = 1.0
    if ADD:
        before = tl.load(row + 1)
        updates += tl.load(row)
        total += tl.load(row + 2)
        squares += tl.load(row + 3)
        low = tl.minimum(low, tl.where(before > 0, tl.load(row + 4), float("inf")))
        high = tl.maximum(high, tl.where(before > 0, tl.load(row + 5), float("-inf")))
        nans += tl.load(row + 6)
        infinities += tl.load(row + 7)
        count += before
        low = tl.where(count > 0, low, 0.0)
        high = tl.where(count > 0, high, 0.0)
    tl.store(row, updates)
    tl.store(row + 1, count)
    tl.store(row + 2, total)
    tl.store(row + 3, squares)
    tl.store(row + 4, low)
    tl.store(row + 5, high)
    tl.store(row + 6, nans)
    tl.store(row + 7, infinities)


@triton.jit(do_not_specialize=["place"])
def read_tensor(
    cells, tensor, sizes, strides, positions, place,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, ALONE: tl.constexpr,
):  # fmt: skip
    """Statistics of each program's share of one tensor.

    ``cells`` is the state for a program that is ``ALONE``, and ``place`` the row of the tensor;
    otherwise it is a buffer ``[programs, 8]``.

    Bytes to move for N elements of s bytes: ``N * s``, read once.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    # Each thread meets less than 2**31 numbers.
    counts = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    odds = tl.zeros([BLOCK], tl.int32)
    totals = tl.zeros([BLOCK], tl.float64)
    squares = tl.zeros([BLOCK], tl.float64)
    lows = tl.full([BLOCK], float("inf"), tl.float32)
    highs = tl.full([BLOCK], float("-inf"), tl.float32)
    # float32 can compare all types of floats but float64; integers it cannot hold.
    if not tensor.dtype.element_ty.is_floating() or tensor.dtype.element_ty == tl.float64:
        lows, highs = lows.to(tl.float64), highs.to(tl.float64)
    for block in range(program, tl.cdiv(positions, BLOCK), programs):
        position = numbers(block, BLOCK, WIDE)
        inside = position < positions
        x = tl.load(tensor + locate(position, sizes, strides), mask=inside, other=0)
        x = x.to(lows.dtype)
        is_nan = x != x
        odd = is_nan | (tl.abs(x) == float("inf"))
        used = inside & (odd == 0)
        kept = tl.where(used, x, 0.0).to(tl.float64)
        counts += used.to(tl.int32)
        nans += is_nan.to(tl.int32)
        odds += odd.to(tl.int32)
        totals += kept
        squares += kept * kept
        lows = tl.minimum(lows, tl.where(used, x, float("inf")))
        highs = tl.maximum(highs, tl.where(used, x, float("-inf")))
    row = cells + program * COLUMNS
    if ALONE:
        row = cells + tl.cast(place, tl.int64) * COLUMNS
    count, bad = tl.sum(counts.to(tl.int64)), tl.sum(nans.to(tl.int64))
    infinities = tl.sum(odds.to(tl.int64)) - bad
    write_stats(
        row, count.to(tl.float64), tl.sum(totals), tl.sum(squares), tl.min(lows).to(tl.float64),
        tl.max(highs).to(tl.float64), bad.to(tl.float64), infinities.to(tl.float64), ADD=ALONE,
    )  # fmt: skip


@triton.jit(do_not_specialize=["place"])
def fold_stats(state, partial, programs, place, PROGRAMS: tl.constexpr):
    """Add the statistics of all programs to one row of the state.

    Bytes to move: 56 per program of the first launch, and 128.
    """
    row = tl.arange(0, PROGRAMS)
    inside = row < programs
    cell = partial + row * COLUMNS
    write_stats(
        state + tl.cast(place, tl.int64) * COLUMNS,
        tl.sum(tl.load(cell + 1, mask=inside, other=0.0)),
        tl.sum(tl.load(cell + 2, mask=inside, other=0.0)),
        tl.sum(tl.load(cell + 3, mask=inside, other=0.0)),
        tl.min(tl.load(cell + 4, mask=inside, other=float("inf"))),
        tl.max(tl.load(cell + 5, mask=inside, other=float("-inf"))),
        tl.sum(tl.load(cell + 6, mask=inside, other=0.0)),
        tl.sum(tl.load(cell + 7, mask=inside, other=0.0)),
        ADD=True,
    )


@replayable
def tensor_stats_(state: Tensor, tensors: list[Tensor]) -> None:
    """Launch the kernels of :func:`fastmetrics.ops.tensor_stats.tensor_stats_`."""
    for place, tensor in enumerate(tensors):
        positions = tensor.numel()
        if not positions:
            continue
        sizes, (strides,) = merge_axes(tuple(tensor.shape), tensor.stride())
        programs = ordered_programs(triton.cdiv(positions, BLOCK * BLOCKS_EACH), 1)
        cells = state if programs == 1 else buffer(state, programs, rules.NUM_COLUMNS)
        launch(
            read_tensor, (programs,), cells, tensor, sizes, strides, positions, place,
            BLOCK=BLOCK, WIDE=is_wide(positions), ALONE=programs == 1,
        )  # fmt: skip
        if programs > 1:
            launch(
                fold_stats, (1,), state, cells, programs, place,
                PROGRAMS=triton.next_power_of_2(programs),
            )  # fmt: skip
