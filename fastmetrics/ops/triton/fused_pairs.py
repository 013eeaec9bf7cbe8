"""GPU kernels of several sums and moments of the same pairs.

Error sums of any terms and the moments of the same pairs walk them alike. `add_once` reads each
pair once, adds the terms that any of the jobs wants, and leaves each job the columns of its state,
one row of a buffer for each program; `fold_once` adds them to all states. Terms that want the same
power are worked out once for all jobs; another power is another launch.

The order of additions follows from the shapes and the choice of jobs, so the same updates have the
same bits every time. A job on its own may use other blocks, and then differs in the last bits.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import functools
import operator

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.co_moments import precision_of
from fastmetrics.ops.error_sums import DEVIANCE, POWER
from fastmetrics.ops.fused import Job
from fastmetrics.ops.triton import co_moments, error_sums
from fastmetrics.ops.triton.inputs import (
    Tile,
    add_rows,
    difference,
    fold_tile,
    is_wide,
    load_columns,
    locate,
    numbers,
    ordered_programs,
    settle,
    walk_labels,
    weights_or,
)
from fastmetrics.ops.triton.replay import buffer, launch

# Error sums of one launch: its states are arguments of their own.
MOST_JOBS = 8
DEAR_WARPS = 4


@triton.jit
def add_once(
    partial, parts, preds, target, weight, walk,
    JOBS: tl.constexpr, COUNTS: tl.constexpr, TERMS: tl.constexpr, P: tl.constexpr,
    DEVIANCE_POWER: tl.constexpr, PRECISION: tl.constexpr, WIDE_INPUT: tl.constexpr,
    tile: tl.constexpr,
):  # fmt: skip
    """Sums of the terms of each job, and the moments if ``parts`` is not None.

    ``partial`` holds one table after the other, for each of the ``JOBS``, which are terms:
    ``[programs, COUNTS[job]]``. ``TERMS`` are those of any job. ``parts`` is ``[programs, 1, 18]``.

    Bytes to move for N pairs of s and t bytes: ``N * (s + t)``, read once, and for each program 8
    for each column of the jobs and 144 for moments.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    program, programs = tl.program_id(0), tl.num_programs(0)
    column = tl.arange(0, 1)
    count = tl.zeros([BLOCK, 1], tl.float64)
    sums = (count, count, count, count, count, count, count, count, count, count)
    zero = tl.zeros([1], tl.float64)
    moments = (
        zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
        zero, zero, zero, zero, zero, zero,
    )  # fmt: skip
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        p, t, inside = error_sums.read_pairs(preds, target, position, column, 1, walk)
        w = inside.to(tl.float64)
        if weight is not None:
            offset = locate(position, walk.sizes, walk.weight.strides)
            w = weights_or(load_columns(weight + offset, column, 0, inside, 0), float("nan"))
        count += w
        sums = error_sums.add_terms(
            sums, p.to(tl.float64), t.to(tl.float64), difference(p, t), w, inside,
            TERMS, P, DEVIANCE_POWER,
        )  # fmt: skip
        if parts is not None:
            found = co_moments.moments_of(p, t, tl.sum(w, axis=1), w != 0, WIDE_INPUT)
            moments = co_moments.merge_moments(moments, found, WIDE_INPUT)
    error_sums.write_jobs(partial, sums, count, column, 1, program, programs, JOBS, COUNTS, False)
    if parts is not None:
        co_moments.put_moments(parts, moments, program, column, 1, PRECISION, False)


@triton.jit
def fold_once(
    moments, parts, partial, state_0, state_1, state_2, state_3, state_4, state_5, state_6, state_7,
    programs, COUNTS: tl.constexpr, PROGRAMS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add what `add_once` has left to the states, each in a program of its own.

    Bytes to move: 8 for each column of the jobs and 144 for moments, for each program of
    `add_once`, and twice that for the states.
    """
    states = (state_0, state_1, state_2, state_3, state_4, state_5, state_6, state_7)
    turn = tl.program_id(0)
    for job in tl.static_range(len(COUNTS)):
        if turn == job:
            for block in tl.static_range((COUNTS[job] + BLOCK - 1) // BLOCK):
                add_rows(states[job], partial, block, COUNTS[job], programs, PROGRAMS, BLOCK)
        partial += programs * COUNTS[job]
    if moments is not None:  # noqa: SIM102  (the compiler knows this, and not the other)
        if turn == len(COUNTS):
            co_moments.merge_rows(moments, parts, 0, programs, 1, 128, 1)


def together(jobs: list[Job], preds: Tensor, target: Tensor, weight: Tensor | None) -> list[int]:
    """Which of the jobs one launch does: those of one output, and of the same powers.

    Where float64 is slow, sums that do without it have a launch of their own.
    """
    sums = [place for place, job in enumerate(jobs) if _is(job, "error_sums_")]
    in_float32 = [
        place
        for place in sums
        if error_sums.serves_float32(preds, target, weight, jobs[place].arguments[0])
    ]
    if len(in_float32) > 1:
        return in_float32[:MOST_JOBS]
    chosen: list[int] = []
    powers: dict[int, float] = {}
    for place in sums:
        own = _powers(jobs[place])
        if place not in in_float32 and all(powers.get(k, v) == v for k, v in own.items()):
            powers |= own
            chosen.append(place)
    moments = [place for place, job in enumerate(jobs) if _is(job, "co_moments_")]
    return chosen[:MOST_JOBS] + moments[:1]


def _is(job: Job, op: str) -> bool:
    return job.family.op == op and len(job.written[0]) == 1


def _powers(job: Job) -> dict[int, float]:
    """The power of each term of a job that has one."""
    terms, p, power = job.arguments
    return {term: value for term, value in ((POWER, p), (DEVIANCE, power)) if terms & term}


def _tile(terms: int, moments: bool) -> tuple[int, int]:
    """Pairs that a program holds at a time, and warps, so that all sums fit the registers."""
    if not terms & ~error_sums.CHEAP:
        return error_sums.TILE, error_sums.WARPS
    return (error_sums.SMALL_TILE // 2 if moments else error_sums.SMALL_TILE), DEAR_WARPS


def update(jobs: list[Job], preds: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Launch the kernels for jobs that can be done together."""
    if not preds.ndim:
        preds, target = preds.reshape(1), target.reshape(1)
    errors = [job for job in jobs if job.family.op == "error_sums_"]
    moments = next((job.written[0] for job in jobs if job.family.op == "co_moments_"), None)
    powers = {k: v for job in errors for k, v in _powers(job).items()}
    states = [job.written[0] for job in errors]
    terms = tuple(job.arguments[0] for job in errors)
    counts = tuple(state.shape[1] for state in states)
    every = functools.reduce(operator.or_, terms)
    walk = walk_labels(preds, target, weight, has_axis=False)
    block, warps = _tile(every, moments is not None)
    programs = ordered_programs(triton.cdiv(walk.positions, block), max(counts))
    partial = buffer(states[0], programs * sum(counts))
    parts = None if moments is None else buffer(moments, programs, *moments.shape)
    tile = Tile(block, is_wide(walk.positions))
    if moments is None and error_sums.serves_float32(preds, target, weight, every):
        error_sums.launch_in_float32(
            (1, programs), partial, preds, target, walk, 1, terms, False, tile, warps
        )
    else:
        launch(
            add_once, (programs,), partial, parts, preds, target, weight, walk,
            JOBS=terms, COUNTS=counts, TERMS=every, P=float(powers.get(POWER, 1.0)),
            DEVIANCE_POWER=float(powers.get(DEVIANCE, 0.0)), PRECISION=precision_of(preds, target),
            WIDE_INPUT=torch.float64 in (preds.dtype, target.dtype), tile=tile, num_warps=warps,
        )  # fmt: skip
    rows, cells = fold_tile(programs)
    absent = [None] * (MOST_JOBS - len(states))
    launch(
        fold_once, (len(jobs),), moments, parts, partial, *states, *absent, programs,
        COUNTS=counts, PROGRAMS=rows, BLOCK=cells,
    )  # fmt: skip
