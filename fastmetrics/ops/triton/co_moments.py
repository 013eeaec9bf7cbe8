"""GPU kernels of `co_moments_`.

A grid that depends on the shapes alone takes some shares of the rows for each tile of outputs.
Without weights each thread sums the distances of its pairs from the first of them, and their
products (`add_lane`); around their mean these lose no more digits than the pairs of a thread have,
because the first is one of them. Weighted pairs, whose first may weigh next to nothing, and float64
numbers, whose squares may be none, are summed block by block around the mean of each
(`moments_of`). The threads of a program, its blocks, and in a second kernel the programs are merged
by Chan's rule in a fixed order, so the result has the same bits every time. That second kernel is
also `merge_co_moments_`. A single share is merged into the state at once: small updates are one
launch.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.co_moments import NUM_COLUMNS, precision_of
from fastmetrics.ops.co_moments import WIDE as WIDE_COLUMN
from fastmetrics.ops.triton.inputs import (
    Tile,
    as_score,
    difference,
    is_wide,
    load_columns,
    locate,
    numbers,
    ordered_programs,
    settle,
    walk_labels,
    weights_or,
)
from fastmetrics.ops.triton.replay import buffer, launch, replayable

COLUMNS = tl.constexpr(NUM_COLUMNS)
# Every column but this one is merged by `merge_moments`.
WIDE = tl.constexpr(WIDE_COLUMN)

PAIRS = 1024
MOST_OUTPUTS = 32
# Parts that a program merges at a time, and outputs of them at most.
MERGED, MERGED_OUTPUTS = 256, 8


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
    rest_x = tl.load(row + 12, mask=mask, other=0.0)
    rest_y = tl.load(row + 13, mask=mask, other=0.0)
    rest_d = tl.load(row + 14, mask=mask, other=0.0)
    by_x = tl.load(row + 15, mask=mask, other=0.0)
    by_y = tl.load(row + 16, mask=mask, other=0.0)
    by_d = tl.load(row + 17, mask=mask, other=0.0)
    return (
        count, weight, mean_x, mean_y, mean_d, xx, yy, dd, xy, low, high,
        rest_x, rest_y, rest_d, by_x, by_y, by_d,
    )  # fmt: skip


@triton.jit
def write_moments(row, mask, moments):
    """Store what `read_moments` returns."""
    for column in tl.static_range(len(moments)):
        tl.store(row + column + (column >= WIDE), moments[column], mask=mask)


@triton.jit
def exact_sum(a, b):
    """The sum, and what is lost by rounding it."""
    total = a + b
    of_b = total - a
    lost = (a - (total - of_b)) + (b - of_b)
    return total, tl.where(tl.abs(total) < float("inf"), lost, 0.0)


@triton.jit
def times_power(values, exponent):
    """``values * 2**exponent``, in two steps, because the power alone may be no number."""
    bounded = tl.minimum(tl.maximum(exponent, -2000.0), 2000.0)
    half = tl.floor(bounded * 0.5)
    first = ((half.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)
    second = (((bounded - half).to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)
    return values * first * second


@triton.jit
def in_terms_of(moments, to_x, to_y, to_d):
    """The same moments, divided by these powers of two."""
    (
        count, weight, mean_x, mean_y, mean_d, xx, yy, dd, xy, low, high,
        rest_x, rest_y, rest_d, by_x, by_y, by_d,
    ) = moments  # fmt: skip
    by_x, by_y, by_d = by_x - to_x, by_y - to_y, by_d - to_d
    return (
        count,
        weight,
        times_power(mean_x, by_x),
        times_power(mean_y, by_y),
        times_power(mean_d, by_d),
        times_power(xx, 2.0 * by_x),
        times_power(yy, 2.0 * by_y),
        times_power(dd, 2.0 * by_d),
        times_power(xy, by_x + by_y),
        low,
        high,
        times_power(rest_x, by_x),
        times_power(rest_y, by_y),
        times_power(rest_d, by_d),
        to_x,
        to_y,
        to_d,
    )


@triton.jit
def common_exponent(mean_a, square_a, a, mean_b, square_b, b):
    """The larger exponent, unless that part is all zeros."""
    larger = tl.maximum(a, b)
    larger = tl.where((mean_b == 0.0) & (square_b == 0.0), a, larger)
    return tl.where((mean_a == 0.0) & (square_a == 0.0), b, larger)


@triton.jit
def merge_moments(first_part, second_part, EXPONENTS: tl.constexpr):
    """Merge two parts of the data by Chan's rule; a part without weight changes nothing.

    Without ``EXPONENTS`` those of both parts are zero.
    """
    empty = second_part[1] == 0
    first = first_part[1] == 0
    a, b = first_part, second_part
    if EXPONENTS:
        to_x = common_exponent(a[2], a[5], a[14], b[2], b[5], b[14])
        to_y = common_exponent(a[3], a[6], a[15], b[3], b[6], b[15])
        to_d = common_exponent(a[4], a[7], a[16], b[4], b[7], b[16])
        a, b = in_terms_of(a, to_x, to_y, to_d), in_terms_of(b, to_x, to_y, to_d)
    (
        count, weight, mean_x, mean_y, mean_d, xx, yy, dd, xy, low, high,
        rest_x, rest_y, rest_d, to_x, to_y, to_d,
    ) = a  # fmt: skip
    total = weight + b[1]
    share = b[1] / tl.where(total == 0, 1.0, total)
    both = weight * share
    step_x = (b[2] - mean_x) + (b[11] - rest_x)
    step_y = (b[3] - mean_y) + (b[12] - rest_y)
    step_d = (b[4] - mean_d) + (b[13] - rest_d)
    mean_x, rest_x = exact_sum(mean_x, rest_x + step_x * share)
    mean_y, rest_y = exact_sum(mean_y, rest_y + step_y * share)
    mean_d, rest_d = exact_sum(mean_d, rest_d + step_d * share)
    both_parts = (
        count + b[0],
        total,
        mean_x,
        mean_y,
        mean_d,
        xx + b[5] + step_x * step_x * both,
        yy + b[6] + step_y * step_y * both,
        dd + b[7] + step_d * step_d * both,
        xy + b[8] + step_x * step_y * both,
        tl.minimum(low, b[9]),
        tl.maximum(high, b[10]),
        rest_x,
        rest_y,
        rest_d,
        to_x,
        to_y,
        to_d,
    )
    merged = ()
    for column in tl.static_range(len(both_parts)):
        value = tl.where(first, second_part[column], both_parts[column])
        value = tl.where(empty, first_part[column], value)
        merged = merged + (value,)  # type: ignore[assignment]  # noqa: RUF005  (as Triton has it)
    return merged


@triton.jit
def lowest_kept(values, kept):
    """The smallest number of each column that counts, 0 where there is none."""
    if values.dtype == tl.int64:
        low = tl.min(tl.where(kept, values, 0x7FFFFFFFFFFFFFFF), axis=0)
        found = tl.max(kept.to(tl.int32), axis=0) > 0
    else:
        low = tl.min(tl.where(kept, values, float("inf")), axis=0)
        found = low < float("inf")
    return tl.where(found, low, 0)


@triton.jit
def exact(value):
    """A number as float64, and what that lacks."""
    if value.dtype == tl.int64:
        high, low = exact_sum(
            (value >> 32).to(tl.float64) * 4294967296.0, (value & 0xFFFFFFFF).to(tl.float64)
        )
    else:
        high, low = value.to(tl.float64), value.to(tl.float64) * 0.0
    return high, low


@triton.jit
def exponent_of(values, kept):
    """The power of two to divide by; none for numbers whose squares can be summed as they are."""
    largest = tl.max(tl.where(kept, tl.abs(values), 0.0), axis=0)
    bits = largest.to(tl.int64, bitcast=True) >> 52
    ordinary = (bits >= 1023 - 400) & (bits <= 1023 + 400) | (bits > 2046) | (largest == 0.0)
    return tl.where(ordinary, 0.0, tl.maximum(bits - 1022, -1022).to(tl.float64))


@triton.jit
def centre(high, low, shifted, kept, weight, total):
    """Mean of each column with its rest, and the distances from it.

    The numbers are a base, ``high + low``, and the distance of each from it; of equal numbers the
    distances are exactly zero.
    """
    shifted = tl.where(kept, shifted, 0.0)
    step = tl.sum(weight * shifted, axis=0) / total
    mean, rest = exact_sum(high, low + step)
    return mean, rest, tl.where(kept, shifted - step[None, :], 0.0)


@triton.jit
def moments_of(x, y, w, kept, WIDE_INPUT: tl.constexpr):
    """Moments of one block of pairs ``[rows, outputs]``, around their own means.

    ``kept``: the pairs that count, those of weight ``w`` other than zero.
    """
    zero = tl.zeros([x.shape[1]], tl.float64)
    total = tl.sum(w, axis=0)
    count = tl.sum((w != 0).to(tl.float64), axis=0)
    divisor = tl.where(total == 0, 1.0, total)
    wide_w = w[:, None]
    by_x, by_y, by_d = zero, zero, zero
    whole_y = y.to(tl.float64)
    if x.dtype == tl.int64 or y.dtype == tl.int64:
        if x.dtype != tl.int64:
            x = x.to(tl.float64)
        if y.dtype != tl.int64:
            y = whole_y
        low_x, low_y = lowest_kept(x, kept), lowest_kept(y, kept)
        from_x, from_y = difference(x, low_x[None, :]), difference(y, low_y[None, :])
        from_d = from_y - from_x
        high_x, rest_x = exact(low_x)
        high_y, rest_y = exact(low_y)
        high_d, rest_d = exact_sum(high_y, -high_x)
        rest_d += rest_y - rest_x
    else:
        x, y = x.to(tl.float64), whole_y
        d = y - x
        if WIDE_INPUT:
            half = 0.5 * y - 0.5 * x
            by_x, by_y = exponent_of(x, kept), exponent_of(y, kept)
            by_half = exponent_of(half, kept)
            by_d = tl.where(by_half == 0.0, 0.0, by_half + 1.0)
            scaled = times_power(half, -by_half[None, :])
            d = tl.where(by_half[None, :] == 0.0, d, scaled)
            x, y = times_power(x, -by_x[None, :]), times_power(y, -by_y[None, :])
        high_x, high_y = lowest_kept(x, kept), lowest_kept(y, kept)
        high_d = lowest_kept(d, kept)
        from_x, from_y, from_d = x - high_x[None, :], y - high_y[None, :], d - high_d[None, :]
        rest_x, rest_y, rest_d = zero, zero, zero
    mean_x, rest_x, dx = centre(high_x, rest_x, from_x, kept, wide_w, divisor)
    mean_y, rest_y, dy = centre(high_y, rest_y, from_y, kept, wide_w, divisor)
    mean_d, rest_d, dd = centre(high_d, rest_d, from_d, kept, wide_w, divisor)
    return (
        zero + count,
        zero + total,
        mean_x,
        mean_y,
        mean_d,
        tl.sum(wide_w * dx * dx, axis=0),
        tl.sum(wide_w * dy * dy, axis=0),
        tl.sum(wide_w * dd * dd, axis=0),
        tl.sum(wide_w * dx * dy, axis=0),
        tl.min(tl.where(kept, whole_y, float("inf")), axis=0),
        tl.max(tl.where(kept, whole_y, float("-inf")), axis=0),
        rest_x,
        rest_y,
        rest_d,
        by_x,
        by_y,
        by_d,
    )


@triton.jit
def put_moments(
    partial, moments, program, output, outputs, PRECISION: tl.constexpr, DIRECT: tl.constexpr
):
    """Write what one program has found to its part, or merge it into the state."""
    inside = output < outputs
    place = partial + (tl.cast(program, tl.int64) * outputs + output) * COLUMNS
    precision = tl.full(output.shape, PRECISION, tl.float64)
    if DIRECT:
        moments = merge_moments(read_moments(place, inside), moments, True)
        precision = tl.maximum(precision, tl.load(place + WIDE, mask=inside, other=0.0))
    write_moments(place, inside, moments)
    tl.store(place + WIDE, precision, mask=inside)


@triton.jit
def common_exponent_of(mean, square, rest, exponent, kept):
    """The largest exponent of each column, but for parts that are all zeros."""
    counts = kept & ((mean != 0.0) | (square != 0.0) | (rest != 0.0))
    largest = tl.max(tl.where(counts, exponent, float("-inf")), axis=0)
    return tl.where(largest == float("-inf"), 0.0, largest)


@triton.jit
def centre_parts(mean, rest, kept, weight, total):
    """Mean of each column of parts with its rest, and the distances from it."""
    high = lowest_kept(mean, kept)
    low = lowest_kept(rest, kept & (mean == high[None, :]))
    return centre(high, low, (mean - high[None, :]) + (rest - low[None, :]), kept, weight, total)


@triton.jit
def sum_parts(within, kept, between):
    """Second moments within the parts, and between them."""
    return tl.sum(tl.where(kept, within + between, 0.0), axis=0)


@triton.jit
def moments_of_parts(parts, EXPONENTS: tl.constexpr):
    """Merge a tile of parts ``[parts, outputs]`` at once; those without weight change nothing.

    Without ``EXPONENTS`` those of all parts are zero.
    """
    kept = parts[1] != 0
    to_x = tl.zeros([parts[1].shape[1]], tl.float64)
    to_y, to_d = to_x, to_x
    if EXPONENTS:
        to_x = common_exponent_of(parts[2], parts[5], parts[11], parts[14], kept)
        to_y = common_exponent_of(parts[3], parts[6], parts[12], parts[15], kept)
        to_d = common_exponent_of(parts[4], parts[7], parts[13], parts[16], kept)
        parts = in_terms_of(parts, to_x[None, :], to_y[None, :], to_d[None, :])
    (
        count, w, mean_x, mean_y, mean_d, xx, yy, dd, xy, low, high,
        rest_x, rest_y, rest_d, _x, _y, _d,
    ) = parts  # fmt: skip
    total = tl.sum(w, axis=0)
    divisor = tl.where(total == 0, 1.0, total)
    mean_x, rest_x, dx = centre_parts(mean_x, rest_x, kept, w, divisor)
    mean_y, rest_y, dy = centre_parts(mean_y, rest_y, kept, w, divisor)
    mean_d, rest_d, dd_between = centre_parts(mean_d, rest_d, kept, w, divisor)
    return (
        tl.sum(count, axis=0), total, mean_x, mean_y, mean_d,
        sum_parts(xx, kept, w * dx * dx), sum_parts(yy, kept, w * dy * dy),
        sum_parts(dd, kept, w * dd_between * dd_between), sum_parts(xy, kept, w * dx * dy),
        tl.min(tl.where(kept, low, float("inf")), axis=0),
        tl.max(tl.where(kept, high, float("-inf")), axis=0),
        rest_x, rest_y, rest_d, to_x, to_y, to_d,
    )  # fmt: skip


@triton.jit
def number_of(values):
    """Numbers as they are compared and subtracted: int64, or float64."""
    if values.dtype != tl.int64:
        values = values.to(tl.float64)
    return values


@triton.jit
def as_shown(values):
    """Numbers in a type that has a smallest and a largest one."""
    if values.dtype.is_floating():
        values = as_score(values)
    return values


@triton.jit
def add_lane(sums, x, y, first_x, first_y, present):
    """Add a pair to the sums of each thread; one that is not ``present`` equals the first."""
    count, sum_x, sum_y, sum_d, xx, yy, dd, xy, low, high = sums
    shown = as_shown(y)
    x, y = number_of(x), number_of(y)
    from_x, from_y = difference(x, first_x), difference(y, first_y)
    from_d = from_y - from_x
    if x.dtype != tl.int64 and y.dtype != tl.int64:
        from_d = (y - x) - (first_y - first_x)
    return (
        count + present.to(tl.int32),
        sum_x + from_x,
        sum_y + from_y,
        sum_d + from_d,
        xx + from_x * from_x,
        yy + from_y * from_y,
        dd + from_d * from_d,
        xy + from_x * from_y,
        tl.minimum(low, shown),
        tl.maximum(high, shown),
    )


@triton.jit
def around_mean(square, total, step):
    """A sum of squares around the mean, from one around a number that is ``step`` below it."""
    moment = square - total * step
    return tl.where(moment < 0.0, 0.0, moment)


@triton.jit
def moments_of_lanes(sums, first_x, first_y):
    """Moments of the pairs of each thread around their means."""
    number, sum_x, sum_y, sum_d, xx, yy, dd, xy, low, high = sums
    count = number.to(tl.float64)
    zero = tl.zeros_like(count)
    divisor = tl.where(number == 0, 1.0, count)
    step_x, step_y, step_d = sum_x / divisor, sum_y / divisor, sum_d / divisor
    high_x, rest_x = exact(first_x)
    high_y, rest_y = exact(first_y)
    high_d, rest_d = exact_sum(high_y, -high_x)
    rest_d += rest_y - rest_x
    if first_x.dtype != tl.int64 and first_y.dtype != tl.int64:
        rest_d = zero
    mean_x, rest_x = exact_sum(high_x, rest_x + step_x)
    mean_y, rest_y = exact_sum(high_y, rest_y + step_y)
    mean_d, rest_d = exact_sum(high_d, rest_d + step_d)
    return (
        count, count, mean_x, mean_y, mean_d,
        around_mean(xx, sum_x, step_x), around_mean(yy, sum_y, step_y),
        around_mean(dd, sum_d, step_d), xy - sum_x * step_y,
        low.to(tl.float64), high.to(tl.float64),
        rest_x, rest_y, rest_d, zero, zero, zero,
    )  # fmt: skip


@triton.jit
def finite(values):
    """The same numbers, but for infinities and NaN, which are no origin of distances."""
    if values.dtype.is_floating():
        values = tl.where(
            tl.abs(values.to(tl.float32)) < float("inf"), values, tl.zeros_like(values)
        )
    return values


@triton.jit
def read_columns(data, axes, row, output, sizes, mask, other):
    """Numbers of some rows and outputs."""
    offset = locate(row, sizes, axes.strides)
    return load_columns(data + offset, output, axes.column, mask, other)


@triton.jit
def add_pairs(
    partial, preds, target, weight, walk, outputs,
    PRECISION: tl.constexpr, WIDE_INPUT: tl.constexpr, LANES: tl.constexpr, DIRECT: tl.constexpr,
    tile: tl.constexpr,
):  # fmt: skip
    """Moments of one share of the rows: ``partial`` is ``[programs, outputs, 18]``.

    ``DIRECT``: there is one program, and ``partial`` is the state. ``LANES``: each thread sums
    pairs of its own.

    Bytes to move for N rows of D pairs of s bytes: ``N * D * s``, read once, and 144 for each
    output and program.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    BLOCK_C: tl.constexpr = tile.BLOCK_C
    program, programs = tl.program_id(1), tl.num_programs(1)
    output = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = output < outputs
    blocks = tl.cdiv(walk.positions, BLOCK)
    if LANES:
        LANE: tl.constexpr = BLOCK // 2
        row = numbers(2 * program, LANE, tile.WIDE)
        present = (row < walk.positions)[:, None] & inside[None, :]
        origin_x = finite(read_columns(preds, walk.preds, row, output, walk.sizes, present, 0))
        origin_y = finite(read_columns(target, walk.target, row, output, walk.sizes, present, 0))
        first_x, first_y = number_of(origin_x), number_of(origin_y)
        zero = tl.zeros([LANE, BLOCK_C], tl.float64)
        low = as_shown(origin_y)
        sums = (zero.to(tl.int32), zero, zero, zero, zero, zero, zero, zero, low, low)
        for block in range(program, blocks, programs):
            # Two pairs of each thread are asked for before the first is looked at.
            pairs = ()
            for half in tl.static_range(2):
                row = numbers(2 * block + half, LANE, tile.WIDE)
                mask = (row < walk.positions)[:, None] & inside[None, :]
                x = read_columns(preds, walk.preds, row, output, walk.sizes, mask, origin_x)
                y = read_columns(target, walk.target, row, output, walk.sizes, mask, origin_y)
                pairs = pairs + ((x, y, mask),)  # type: ignore[assignment]  # noqa: RUF005
            for half in tl.static_range(2):
                x, y, mask = pairs[half]
                sums = add_lane(sums, x, y, first_x, first_y, mask)
        moments = moments_of_parts(moments_of_lanes(sums, first_x, first_y), False)
    else:
        zero = tl.zeros([BLOCK_C], tl.float64)
        moments = (
            zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
            zero, zero, zero, zero, zero, zero,
        )  # fmt: skip
        for block in range(program, blocks, programs):
            row = numbers(block, BLOCK, tile.WIDE)
            present = row < walk.positions
            w = present.to(tl.float64)
            if weight is not None:
                offset = locate(row, walk.sizes, walk.weight.strides)
                w = weights_or(tl.load(weight + offset, mask=present, other=0), float("nan"))
            kept = (w != 0)[:, None] & inside[None, :]
            x = read_columns(preds, walk.preds, row, output, walk.sizes, kept, 0)
            y = read_columns(target, walk.target, row, output, walk.sizes, kept, 0)
            found = moments_of(x, y, w, kept, WIDE_INPUT)
            moments = merge_moments(moments, found, WIDE_INPUT)
    put_moments(partial, moments, program, output, outputs, PRECISION, DIRECT)


@triton.jit
def merge_rows(state, parts, block, count, outputs, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    """Merge ``parts`` ``[count, outputs, 18]`` of one block of outputs into the state."""
    output = block * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = output < outputs
    place = state + output.to(tl.int64) * COLUMNS
    moments = read_moments(place, inside)
    wide = tl.load(place + WIDE, mask=inside, other=0.0)
    for start in range(0, count, BLOCK):
        part = start + tl.arange(0, BLOCK)
        mask = (part < count)[:, None] & inside[None, :]
        rows = parts + (part.to(tl.int64)[:, None] * outputs + output[None, :]) * COLUMNS
        moments = merge_moments(moments, moments_of_parts(read_moments(rows, mask), True), True)
        wide = tl.maximum(wide, tl.max(tl.load(rows + WIDE, mask=mask, other=0.0), axis=0))
    write_moments(place, inside, moments)
    tl.store(place + WIDE, wide, mask=inside)


@triton.jit
def merge_parts(state, parts, count, outputs, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    """Merge ``parts`` ``[count, outputs, 18]`` into the state, ``BLOCK`` of them at a time.

    Bytes to move: 144 for each output and part, and 288 for each output.
    """
    merge_rows(state, parts, tl.program_id(0), count, outputs, BLOCK, BLOCK_D)


@replayable
def co_moments_(state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Launch the kernels of :func:`fastmetrics.ops.co_moments.co_moments_`."""
    if not preds.numel():
        return
    outputs = state.shape[0]
    walk = walk_labels(preds, target, weight, has_axis=preds.ndim > 1)
    block_outputs = min(MOST_OUTPUTS, triton.next_power_of_2(outputs))
    wide_input = torch.float64 in (preds.dtype, target.dtype)
    lanes = weight is None and not wide_input
    # Each output has 18 columns: tiles of several hold half as many pairs, or registers spill.
    block = PAIRS // block_outputs
    if block_outputs > 1 and not lanes:
        block //= 2
    programs = ordered_programs(triton.cdiv(walk.positions, block), state.numel())
    partial = state
    if programs > 1:
        partial = buffer(state, programs, *state.shape)
    launch(
        add_pairs, (triton.cdiv(outputs, block_outputs), programs),
        partial, preds, target, weight, walk, outputs,
        PRECISION=precision_of(preds, target),
        WIDE_INPUT=wide_input, LANES=lanes, DIRECT=programs == 1,
        tile=Tile(block, is_wide(walk.positions), block_outputs),
    )  # fmt: skip
    if programs > 1:
        merge_parts_into(state, partial)


@replayable
def merge_co_moments_(state: Tensor, others: Tensor) -> None:
    """Launch the kernel of :func:`fastmetrics.ops.co_moments.merge_co_moments_`."""
    if others.numel():
        merge_parts_into(state, others.contiguous())


def merge_parts_into(state: Tensor, parts: Tensor) -> None:
    """Launch `merge_parts`."""
    outputs, count = state.shape[0], len(parts)
    block_outputs = min(MERGED_OUTPUTS, triton.next_power_of_2(outputs))
    launch(  # with few sizes, so few variants
        merge_parts, (triton.cdiv(outputs, block_outputs),), state, parts, count, outputs,
        BLOCK=16 if count <= 16 else MERGED // block_outputs, BLOCK_D=block_outputs, num_warps=8,
    )  # fmt: skip
