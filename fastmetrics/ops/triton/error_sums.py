"""GPU kernel of `error_sums_`.

Each program of a grid that depends on the shapes alone keeps float64 sums of its own, one per
element of its tile and term, and writes their totals to its row of a buffer; a second kernel adds
the rows in a fixed tree. A small update is one program, which adds to the state at once. The
functions are those of the CPU kernels, without cancellation.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import functools
import math
import operator

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops import error_sums as terms_of
from fastmetrics.ops.backend import in_float32
from fastmetrics.ops.triton.exact import (
    MOST_ADDITIONS,
    SCALE,
    add_split,
    is_ordinary,
    joined,
    split_difference,
    split_square,
)
from fastmetrics.ops.triton.inputs import (
    Tile,
    Walk,
    add_to,
    difference,
    fold_partials,
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

SQUARED = tl.constexpr(terms_of.SQUARED)
ABSOLUTE = tl.constexpr(terms_of.ABSOLUTE)
SQUARED_LOG = tl.constexpr(terms_of.SQUARED_LOG)
PERCENTAGE = tl.constexpr(terms_of.PERCENTAGE)
SYMMETRIC = tl.constexpr(terms_of.SYMMETRIC)
MAGNITUDE = tl.constexpr(terms_of.MAGNITUDE)
LOG_COSH = tl.constexpr(terms_of.LOG_COSH)
POWER = tl.constexpr(terms_of.POWER)
DEVIANCE = tl.constexpr(terms_of.DEVIANCE)
EPSILON = tl.constexpr(terms_of.EPSILON)
LN_2 = tl.constexpr(math.log(2.0))

# Elements that a program holds at a time, fewer where a term needs many registers, and columns of
# them at most.
TILE, SMALL_TILE = 1024, 256
CHEAP = (
    terms_of.SQUARED
    | terms_of.ABSOLUTE
    | terms_of.PERCENTAGE
    | terms_of.SYMMETRIC
    | terms_of.MAGNITUDE
)
# What `sum_errors_in_float32` does, and the blocks after which it goes over to float64.
EXACT = terms_of.SQUARED | terms_of.ABSOLUTE | terms_of.MAGNITUDE
TURNS = tl.constexpr(MOST_ADDITIONS)
MOST_COLUMNS = 128
WARPS = 8
# A program on its own has a larger tile, and takes so many elements, fewer where terms are dear.
ALONE_TILE, ALONE_WARPS = 4096, 16
MOST_ALONE, MOST_DEAR_ALONE = 2**16, 2**13


@triton.jit
def log1p_of(x):
    """``log(1 + x)`` for x >= 0, or NaN."""
    u = x + 1.0
    return tl.where(u < float("inf"), tl.log(u) + (x - (u - 1.0)) / u, u)


@triton.jit
def expm1_of(x):
    """``exp(x) - 1``."""
    y = 1.0 + x * (1.0 / 14)
    for i in tl.static_range(12):
        y = 1.0 + y * x * (1.0 / (13 - i))
    return tl.where(tl.abs(x) < 0.4, x * y, tl.exp(x) - 1.0)


@triton.jit
def log_ratio(x, y, e):
    """``log(x / y)`` for x >= 0 and y > 0, where x - y is e or -e: accurate for close numbers."""
    size = log1p_of(tl.abs(e) / tl.where(x < y, x, y))
    return tl.where(x < y, -size, size)


@triton.jit
def squared_log(p, t, e):
    """Square of ``log((1 + p) / (1 + t))``; NaN below -1."""
    least = tl.where(p < t, p, t) + 1.0
    size = log1p_of(tl.abs(e) / tl.abs(least))
    return tl.where(least >= 0.0, size * size, float("nan"))


@triton.jit
def relative(p, t, e, size):
    """An error over twice the ``size``, or over a small number; finite where its half is."""
    half = tl.where(tl.abs(e) < float("inf"), 0.5 * tl.abs(e), tl.abs(0.5 * p - 0.5 * t))
    return half / tl.where(size < 0.5 * EPSILON, size * 0.0 + 0.5 * EPSILON, size)


@triton.jit
def log_cosh(e):
    """``log(cosh(e))`` for e >= 0."""
    small = e < 1.0
    square = e * e
    y = 1.0 + square * (1.0 / (17 * 18))
    for i in tl.static_range(7):
        y = 1.0 + y * square * (1.0 / ((15 - 2 * i) * (16 - 2 * i)))
    value = log1p_of(tl.where(small, 0.5 * square * y, tl.exp(-2.0 * e)))
    return tl.where(small, value, value + (e - LN_2))


@triton.jit
def power_of(e, P: tl.constexpr):
    """``e^P`` for e >= 0."""
    if P == 1.0:
        value = e
    elif P == 2.0:
        value = e * e
    elif P == 3.0:
        value = e * e * e
    elif P == float("inf"):  # noqa: SIM300  (it is the other that is constant)
        value = tl.where(e > 1.0, e * float("inf"), tl.where(e == 1.0, e, e * 0.0))
    else:
        value = tl.exp(tl.log(e) * P)
    return value


@triton.jit
def is_outside(p, t, POWER: tl.constexpr):
    """Which positions have no deviance."""
    outside = p <= 0.0
    if POWER == 0.0:
        outside = p < p
    elif POWER >= 2.0:
        outside = outside | (t <= 0.0)
    elif POWER >= 1.0:
        outside = outside | (t < 0.0)
    return outside


@triton.jit
def deviance(p, t, e, POWER: tl.constexpr):
    """Tweedie deviance of positions inside its domain."""
    if POWER == 0.0:
        value = e * e
    elif POWER == 1.0:
        value = 2.0 * tl.where(t == 0.0, p, t * log_ratio(t, p, e) + e)
    elif POWER == 2.0:
        rise = tl.where(p < float("inf"), -e / p, t / p - 1.0)
        value = 2.0 * (rise - log_ratio(t, p, e))
    else:
        A: tl.constexpr = 2.0 - POWER
        B: tl.constexpr = 1.0 - POWER
        positive = tl.where(t < 0.0, t * 0.0, t)
        ratio = expm1_of(log_ratio(positive, p, tl.where(t < 0.0, p, e)) * A)
        near = tl.exp(tl.log(p) * A) * (ratio * (1.0 / A) + e / p) * (2.0 / B)
        plain = tl.exp(tl.log(positive) * A) * (1.0 / (A * B))
        plain = plain - t * tl.exp(tl.log(p) * B) * (1.0 / B) + tl.exp(tl.log(p) * A) * (1.0 / A)
        finite = (tl.abs(p) < float("inf")) & (tl.abs(t) < float("inf"))
        value = tl.where(finite & (near == near), near, 2.0 * plain)
    return value


@triton.jit
def add_terms(
    sums, p, t, error, w, inside,
    TERMS: tl.constexpr, P: tl.constexpr, DEVIANCE_POWER: tl.constexpr,
):  # fmt: skip
    """Add the chosen terms of a tile to their sums, in the order of their bits.

    Last of all come the positions that have no deviance.
    """
    (
        squares, absolutes, logs, percentages, symmetrics, magnitudes, coshes, powers, deviances,
        outsides,
    ) = sums  # fmt: skip
    e = tl.abs(error)
    if SQUARED & TERMS:
        squares += tl.where(inside, e * e * w, 0.0)
    if ABSOLUTE & TERMS:
        absolutes += tl.where(inside, e * w, 0.0)
    if SQUARED_LOG & TERMS:
        logs += tl.where(inside, squared_log(p, t, e) * w, 0.0)
    if PERCENTAGE & TERMS:
        percentages += tl.where(inside, relative(p, t, e, 0.5 * tl.abs(t)) * w, 0.0)
    if SYMMETRIC & TERMS:
        size = 0.5 * tl.abs(p) + 0.5 * tl.abs(t)
        symmetrics += tl.where(inside, relative(p, t, e, size) * w, 0.0)
    if MAGNITUDE & TERMS:
        magnitudes += tl.where(inside, tl.abs(t) * w, 0.0)
    if LOG_COSH & TERMS:
        coshes += tl.where(inside, log_cosh(e) * w, 0.0)
    if POWER & TERMS:
        powers += tl.where(inside, power_of(e, P) * w, 0.0)
    if DEVIANCE & TERMS:
        outside = inside & is_outside(p, t, DEVIANCE_POWER)
        loss = deviance(p, t, error, DEVIANCE_POWER)
        deviances += tl.where(inside & ~outside, loss * w, 0.0)
        outsides += outside.to(tl.float64)
    return (
        squares, absolutes, logs, percentages, symmetrics, magnitudes, coshes, powers, deviances,
        outsides,
    )  # fmt: skip


@triton.jit
def write_column(row, sums, column, outputs, index, COUNT: tl.constexpr, ALONE: tl.constexpr):
    """Write the totals of one column of the state, for each output of the tile."""
    place = row + column.to(tl.int64) * COUNT + index
    if ALONE:
        add_to(place, tl.sum(sums, axis=0), column < outputs)
    else:
        tl.store(place, tl.sum(sums, axis=0), mask=column < outputs)


@triton.jit
def write_terms(
    row, sums, count, column, outputs,
    TERMS: tl.constexpr, COUNT: tl.constexpr, ALONE: tl.constexpr,
):  # fmt: skip
    """Write the totals of the chosen terms, and of the weights, to one row ``[outputs, COUNT]``."""
    index = 0
    for term in tl.static_range(9):
        if (1 << term) & TERMS:
            write_column(row, sums[term], column, outputs, index, COUNT, ALONE)
            index += 1
    if DEVIANCE & TERMS:
        write_column(row, sums[9], column, outputs, COUNT - 2, COUNT, ALONE)
    write_column(row, count, column, outputs, COUNT - 1, COUNT, ALONE)


@triton.jit
def read_pairs(preds, target, position, column, outputs, walk):
    """Read one tile of both inputs ``[positions, outputs]``, and what of it there is."""
    inside = (position < walk.positions)[:, None] & (column < outputs)[None, :]
    offset = locate(position, walk.sizes, walk.preds.strides)
    p = load_columns(preds + offset, column, walk.preds.column, inside, 0)
    offset = locate(position, walk.sizes, walk.target.strides)
    t = load_columns(target + offset, column, walk.target.column, inside, 0)
    return p, t, inside


@triton.jit
def write_jobs(
    partial, sums, count, column, outputs, program, programs,
    JOBS: tl.constexpr, COUNTS: tl.constexpr, ALONE: tl.constexpr,
):  # fmt: skip
    """Write the terms of each job to a table of its own ``[programs, outputs, COUNTS[job]]``."""
    for job in tl.static_range(len(JOBS)):
        row = partial + program.to(tl.int64) * outputs * COUNTS[job]
        write_terms(row, sums, count, column, outputs, JOBS[job], COUNTS[job], ALONE)
        partial += programs.to(tl.int64) * outputs * COUNTS[job]


@triton.jit
def sum_errors(
    partial, preds, target, weight, walk, outputs,
    TERMS: tl.constexpr, P: tl.constexpr, DEVIANCE_POWER: tl.constexpr, COUNT: tl.constexpr,
    ALONE: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Sums of the chosen terms, ``partial`` ``[programs, outputs, COUNT]``.

    Positions are rows of ``outputs`` columns. ``ALONE``: there is one program, and ``partial`` is
    the state.

    Bytes to move for N elements of s and t bytes: ``N * (s + t)``, read once, and 16 for each cell
    and program.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    BLOCK_C: tl.constexpr = tile.BLOCK_C
    program, programs = tl.program_id(1), tl.num_programs(1)
    column = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    count = tl.zeros([BLOCK, BLOCK_C], tl.float64)
    sums = (count, count, count, count, count, count, count, count, count, count)
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        p, t, inside = read_pairs(preds, target, position, column, outputs, walk)
        e = difference(p, t)
        p, t = p.to(tl.float64), t.to(tl.float64)
        w = inside.to(tl.float64)
        if weight is not None:
            offset = locate(position, walk.sizes, walk.weight.strides)
            w = weights_or(load_columns(weight + offset, column, 0, inside, 0), float("nan"))
        count += w
        sums = add_terms(sums, p, t, e, w, inside, TERMS, P, DEVIANCE_POWER)
    row = partial + program.to(tl.int64) * outputs * COUNT
    write_terms(row, sums, count, column, outputs, TERMS, COUNT, ALONE)


@triton.jit
def sum_errors_in_float32(
    partial, preds, target, walk, outputs,
    JOBS: tl.constexpr, COUNTS: tl.constexpr, TERMS: tl.constexpr, ALONE: tl.constexpr,
    tile: tl.constexpr,
):  # fmt: skip
    """As `sum_errors`, without weights, for terms of ``EXACT`` of numbers that fit float32.

    ``JOBS`` are the terms of each state, ``TERMS`` those of any; see `write_jobs`.

    Errors, squares and the sums of ``TURNS`` blocks are pairs of float32 numbers. Where one of them
    is too large or too small for that, those blocks are read again and worked out in float64.

    Bytes to move for N elements of s and t bytes: ``N * (s + t)``, read once, and 16 for each cell
    and program.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    BLOCK_C: tl.constexpr = tile.BLOCK_C
    program, programs = tl.program_id(1), tl.num_programs(1)
    column = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    blocks = tl.cdiv(walk.positions, BLOCK)
    none = tl.zeros([BLOCK, BLOCK_C], tl.float64)
    seen = tl.zeros([BLOCK, BLOCK_C], tl.int32)
    sums = (none, none, none, none, none, none, none, none, none, none)
    for first in range(program, blocks, programs * TURNS):
        last = tl.minimum(blocks, first + programs * TURNS)
        zero = tl.zeros([BLOCK, BLOCK_C], tl.float32)
        squares, squares_low = zero, zero
        absolutes, absolutes_low = zero, zero
        magnitudes, magnitudes_low = zero, zero
        odd = tl.zeros([BLOCK, BLOCK_C], tl.int32)
        for block in range(first, last, programs):
            position = numbers(block, BLOCK, tile.WIDE)
            p, t, inside = read_pairs(preds, target, position, column, outputs, walk)
            p, t = p.to(tl.float32), t.to(tl.float32)
            seen += inside.to(tl.int32)
            high, low = split_difference(p, t)
            odd = tl.where(is_ordinary(high) & is_ordinary(t), odd, 1)
            if SQUARED & TERMS:
                square, rest = split_square(high, low)
                squares, squares_low = add_split(squares, squares_low, square, rest)
            if ABSOLUTE & TERMS:
                low = tl.where(high < 0.0, -low, low)
                absolutes, absolutes_low = add_split(absolutes, absolutes_low, tl.abs(high), low)
            if MAGNITUDE & TERMS:
                magnitudes, magnitudes_low = add_split(magnitudes, magnitudes_low, tl.abs(t), zero)
        if tl.max(tl.max(odd, axis=1), axis=0) > 0:
            for block in range(first, last, programs):
                position = numbers(block, BLOCK, tile.WIDE)
                p, t, inside = read_pairs(preds, target, position, column, outputs, walk)
                sums = add_terms(
                    sums, p.to(tl.float64), t.to(tl.float64), difference(p, t),
                    inside.to(tl.float64), inside, TERMS, 1.0, 0.0,
                )  # fmt: skip
        else:
            sums = (
                sums[0] + joined(squares, squares_low) / (SCALE * SCALE),
                sums[1] + joined(absolutes, absolutes_low),
                none,
                none,
                none,
                sums[5] + joined(magnitudes, magnitudes_low),
                none,
                none,
                none,
                none,
            )
    count = seen.to(tl.float64)
    write_jobs(partial, sums, count, column, outputs, program, programs, JOBS, COUNTS, ALONE)


def serves_float32(preds: Tensor, target: Tensor, weight: Tensor | None, terms: int) -> bool:
    """Whether `sum_errors_in_float32` does what is asked, on a device where it is faster."""
    small = all(x.is_floating_point() and x.dtype != torch.float64 for x in (preds, target))
    return small and weight is None and not terms & ~EXACT and in_float32(preds.device)


def launch_in_float32(
    grid: tuple[int, int], partial: Tensor, preds: Tensor, target: Tensor, walk: Walk, outputs: int,
    jobs: tuple[int, ...], alone: bool, tile: Tile, warps: int,
) -> None:  # fmt: skip
    """Launch `sum_errors_in_float32` for the terms of some states."""
    launch(
        sum_errors_in_float32, grid, partial, preds, target, walk, outputs, JOBS=jobs,
        COUNTS=tuple(map(terms_of.num_columns, jobs)), TERMS=functools.reduce(operator.or_, jobs),
        ALONE=alone, tile=tile, num_warps=warps,
    )  # fmt: skip


@replayable
def error_sums_(
    state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None, terms: int, p: float,
    power: float,
) -> None:  # fmt: skip
    """Launch the kernels of :func:`fastmetrics.ops.error_sums.error_sums_`."""
    if not preds.numel():
        return
    outputs, count = state.shape
    if outputs > 1:
        # One column stands for all outputs.
        preds, target = (x.reshape(len(x), -1).expand(-1, outputs) for x in (preds, target))
    elif not preds.ndim:
        preds, target = preds.reshape(1), target.reshape(1)
    walk = walk_labels(preds, target, weight, has_axis=outputs > 1)
    columns = min(triton.next_power_of_2(outputs), MOST_COLUMNS)
    dear = bool(terms & ~CHEAP)
    alone = walk.positions * columns <= (MOST_DEAR_ALONE if dear else MOST_ALONE)
    size, warps = (SMALL_TILE if dear else TILE), WARPS
    float32 = serves_float32(preds, target, weight, terms)
    if alone and not dear:
        size, warps = ALONE_TILE // (2 if float32 else 1), ALONE_WARPS
    block, programs, partial = size // columns, 1, state
    if not alone:
        programs = ordered_programs(triton.cdiv(walk.positions, block), state.numel())
        partial = buffer(state, programs, state.numel())
    grid = (triton.cdiv(outputs, columns), programs)
    tile = Tile(block, is_wide(walk.positions), columns)
    if float32:
        launch_in_float32(grid, partial, preds, target, walk, outputs, (terms,), alone, tile, warps)
    else:
        launch(
            sum_errors, grid, partial, preds, target, weight, walk, outputs, TERMS=terms,
            P=float(p), DEVIANCE_POWER=float(power), COUNT=count, ALONE=alone, tile=tile,
            num_warps=warps,
        )  # fmt: skip
    if not alone:
        fold_partials(state, partial)
