"""GPU kernels of `aggregate_`: weighted sums, the largest and the smallest of some numbers.

Numbers and weights are read where they lie, in whatever layout. A grid that depends on the shapes
alone takes turns at their blocks; each program folds its share in registers and writes one row of a
buffer, and a second kernel folds the rows in a fixed order, so the bits are the same every time. A
small update is one program, which adds to the state at once.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import struct

import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops import aggregate as rules
from fastmetrics.ops.triton.inputs import (
    BAD_WEIGHT,
    NAN,
    add_event,
    fold_partials,
    is_wide,
    locate,
    merge_axes,
    nan_max,
    numbers,
    ordered_programs,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable

BLOCK = 1024
BLOCKS_EACH = 4  # at least, so that a small update is one launch

SUM = tl.constexpr(rules.SUM)
MIN = tl.constexpr(rules.MIN)
KEEP = tl.constexpr(rules.KEEP)
FILL = tl.constexpr(rules.FILL)


@triton.jit(do_not_specialize=["fill"])
def reduce_numbers(
    cells, events, value, weight, sizes, value_strides, weight_strides, positions, fill,
    REDUCTION: tl.constexpr, NANS: tl.constexpr, CELLS: tl.constexpr,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, ALONE: tl.constexpr,
):  # fmt: skip
    """Totals of each program's share of the numbers.

    ``cells`` is the state for a program that is ``ALONE``, else a buffer ``[programs, CELLS]``.
    ``fill`` is the bits of a float64, because kernel arguments of type float are float32. The
    smallest number is minus the largest of the negated ones.

    Bytes to move for N numbers of s bytes and weights of t bytes: ``N * (s + t)``, read once.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    filler = fill.to(tl.int64).to(tl.float64, bitcast=True)
    nans = tl.zeros([BLOCK], tl.int32)
    odd_weights = tl.zeros([BLOCK], tl.int32)
    totals = tl.zeros([BLOCK], tl.float64)
    amounts = tl.zeros([BLOCK], tl.float64)
    if REDUCTION != SUM:
        totals = tl.full([BLOCK], float("-inf"), tl.float64)
    for block in range(program, tl.cdiv(positions, BLOCK), programs):
        position = numbers(block, BLOCK, WIDE)
        inside = position < positions
        x = tl.load(value + locate(position, sizes, value_strides), mask=inside, other=0)
        x = x.to(tl.float64)
        amount = inside.to(tl.float64)
        if weight is not None:
            offset = locate(position, sizes, weight_strides)
            amount = tl.load(weight + offset, mask=inside, other=0).to(tl.float64)
            odd_weights += ((amount < 0) | (amount == float("inf"))).to(tl.int32)
        used = inside
        if NANS != KEEP:
            bad = inside & ((x != x) | (amount != amount))
            if NANS == FILL:
                x = tl.where(bad, filler, x)
                amount = tl.where(bad, 1.0, amount)
            else:
                nans += bad.to(tl.int32)
                used = inside & ~bad
        if REDUCTION == SUM:
            totals += tl.where(used, x * amount, 0.0)
            amounts += tl.where(used, amount, 0.0)
        else:
            if REDUCTION == MIN:
                x = -x
            totals = nan_max(totals, tl.where(used, x, float("-inf")))
    if NANS != KEEP and NANS != FILL:
        add_event(events, NAN, nans)
    if weight is not None:
        add_event(events, BAD_WEIGHT, odd_weights)
    own = cells
    if not ALONE:
        own = cells + program * CELLS
    if REDUCTION == SUM:
        total = tl.sum(totals)
        amount = tl.sum(amounts)
        if ALONE:
            total += tl.load(own)
        tl.store(own, total)
        if CELLS == 2:
            if ALONE:
                amount += tl.load(own + 1)
            tl.store(own + 1, amount)
    else:
        best = tl.reduce(totals, 0, nan_max)
        if ALONE:
            best = nan_max(best, oriented(tl.load(own), REDUCTION))
            best = oriented(best, REDUCTION)
        tl.store(own, best)


@triton.jit
def oriented(x, REDUCTION: tl.constexpr):
    """A number in the direction in which the largest is sought, and back."""
    if REDUCTION == MIN:
        x = -x
    return x


@triton.jit
def fold_largest(state, partial, programs, REDUCTION: tl.constexpr, PROGRAMS: tl.constexpr):
    """Fold the largest numbers of all programs into the state.

    Bytes to move: 8 per program of the first launch, and 16.
    """
    row = tl.arange(0, PROGRAMS)
    values = tl.load(partial + row, mask=row < programs, other=float("-inf"))
    best = nan_max(tl.reduce(values, 0, nan_max), oriented(tl.load(state), REDUCTION))
    tl.store(state, oriented(best, REDUCTION))


def float_bits(number: float) -> int:
    """The bits of a float64, as an integer."""
    bits: int = struct.unpack("<q", struct.pack("<d", number))[0]
    return bits


@replayable
def aggregate_(
    state: Tensor, events: Tensor, value: Tensor, weight: Tensor | None, reduction: int, nans: int,
    fill: float,
) -> None:  # fmt: skip
    """Launch the kernels of :func:`fastmetrics.ops.aggregate.aggregate_`."""
    positions = value.numel()
    if not positions:
        return
    spread = (0,) * value.ndim if weight is None else weight.expand(value.shape).stride()
    sizes, (value_strides, weight_strides) = merge_axes(tuple(value.shape), value.stride(), spread)
    programs = ordered_programs(triton.cdiv(positions, BLOCK * BLOCKS_EACH), 1)
    cells = state
    if programs > 1:
        cells = buffer(state, programs, state.numel())
    launch(
        reduce_numbers, (programs,), cells, events, value, weight, sizes, value_strides,
        weight_strides, positions, float_bits(fill), REDUCTION=reduction, NANS=nans,
        CELLS=state.numel(), BLOCK=BLOCK, WIDE=is_wide(positions),
        ALONE=programs == 1,
    )  # fmt: skip
    if programs == 1:
        return
    if reduction == rules.SUM:
        fold_partials(state, cells)
        return
    launch(
        fold_largest, (1,), state, cells, programs, REDUCTION=reduction,
        PROGRAMS=triton.next_power_of_2(programs),
    )  # fmt: skip
