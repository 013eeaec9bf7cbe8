"""GPU kernel of several statistics of the same rows of scores.

Class counts, a confusion matrix, histograms and calibration bins ask the same of a row: its largest
score, its softmax, its label. `count_once` holds the whole row in registers, so every score is read
once, and hands it to the functions of the statistics' own kernels. What is counted is the same to
the last bit; confidences are whole numbers, so their sums are, too.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.fused import Job
from fastmetrics.ops.triton import calibration, confusion, score_histogram, stat_scores
from fastmetrics.ops.triton.confusion import add_cells, flush_cells
from fastmetrics.ops.triton.inputs import (
    PRIVATE,
    SCATTER,
    Tile,
    add_score_events,
    as_score,
    is_wide,
    keep_best,
    load_columns,
    locate,
    numbers,
    programs_for,
    read_targets,
    row_layout,
    settle,
    walk_classes,
)
from fastmetrics.ops.triton.replay import launch
from fastmetrics.ops.triton.score_histogram import ROW_TILE, absorb, share_of

OPS = ("stat_scores_", "confusion_", "score_histogram_", "calibration_bins_")


# Of each op its state, or a buffer for it, and what else the kernel takes of it.
TENSORS = (
    "counts", "counts_events", "matrix", "matrix_events", "cells", "cells_events", "edges",
    "sums", "sums_events", "bin_edges",
)  # fmt: skip


class Adding(NamedTuple):
    """How a statistic adds to its state."""

    MODE: int = PRIVATE.value
    BINS: int = 1
    VALIDATE: bool = False


# Rules of a statistic that is not there.
NO_HISTOGRAM = score_histogram.Rules(1, 1, 0, 0, LOGITS=False, VALIDATE=False, TOLD_APART=False)
NO_BINS = calibration.Rules(1, 1, 1, LOGITS=False, GUESS=False, VALIDATE=False, WIDE=False)


@triton.jit(do_not_specialize=["ignore_index"])
def count_once(
    counts, counts_events, matrix, matrix_events, cells, cells_events, edges,
    sums, sums_events, bin_edges, preds, target, walk, ignore_index,
    of_counts: tl.constexpr, of_matrix: tl.constexpr, of_cells: tl.constexpr,
    histogram: tl.constexpr, bins: tl.constexpr, CLASSES: tl.constexpr, ROWS: tl.constexpr,
    NEGATIVES: tl.constexpr, SUMS: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """All statistics of the batch that are not None.

    ``counts`` ``[ROWS, 4]`` are class counts, ``matrix`` a confusion matrix, ``cells`` histograms
    by the rules ``histogram``; ``sums`` ``[READINGS, TOTAL, 4]``, of ``SUMS`` bins in registers,
    are those of calibration by the rules ``bins``.

    Bytes to move for N positions of C scores of s bytes and targets of t bytes: ``N * (C*s + t)``,
    read once, and what the statistics add to their states, as in their own kernels.
    """
    walk = settle(walk)
    BLOCK: tl.constexpr = tile.BLOCK
    MARKS: tl.constexpr = of_counts.BINS
    PAIRS: tl.constexpr = of_matrix.BINS
    CELLS: tl.constexpr = of_cells.BINS
    program, programs = tl.program_id(0), tl.num_programs(0)
    seen = tl.zeros([BLOCK], tl.int32)
    hits = tl.zeros([BLOCK], tl.int32)
    bad = tl.zeros([BLOCK], tl.int32)
    nans = tl.zeros([BLOCK], tl.int32)
    outsides = tl.zeros([BLOCK], tl.int32)
    marks = (tl.zeros([2 * MARKS], tl.int32), tl.zeros([MARKS], tl.int32))
    pairs = tl.zeros([PAIRS], tl.int32)
    cells_0 = tl.zeros([CELLS], tl.int32)
    cells_1 = tl.zeros([CELLS], tl.int32)
    second = cells
    if cells is not None:
        second = cells + CLASSES * 2 * (histogram.THRESHOLDS + 1)
    sums_0 = calibration.no_sums(SUMS, SUMS, BLOCK, False)
    sums_1 = sums_0
    column = tl.arange(0, tile.BLOCK_C)
    known = (column < CLASSES)[None, :]
    for block in range(program, tl.cdiv(walk.positions, BLOCK), programs):
        position = numbers(block, BLOCK, tile.WIDE)
        inside = position < walk.positions
        label, kept, counted = read_targets(target, position, inside, walk, ignore_index, CLASSES)
        offset = locate(position, walk.sizes, walk.preds.strides) // tile.ALIGN * tile.ALIGN
        # Gaps between rows of their own save reading; elsewhere they only break the wide loads.
        read = counted if tile.ROW_MAJOR else inside
        mask = read[:, None] & known
        x = as_score(load_columns(preds + offset, column, walk.preds.column, mask, float("-inf")))
        best = tl.full([BLOCK], float("-inf"), x.dtype)
        best, winner = keep_best(x, column, best, tl.zeros([BLOCK], tl.int32), CLASSES)
        active = counted[:, None] & known
        nan = counted & (best != best)
        bad += (kept & ~counted).to(tl.int32)
        nans += nan.to(tl.int32)
        if histogram.LOGITS or bins.LOGITS:
            largest = tl.full([BLOCK], float("-inf"), tl.float64)
            none = tl.zeros([BLOCK], tl.int32)
            exact = x.to(tl.float64)
            largest, below, ties = absorb(exact, mask, largest, none.to(tl.float64), none)
            total = below + ties
        if histogram.TOLD_APART or bins.READINGS == 2:
            outsides += tl.sum((active & ((x < 0) | (x > 1))).to(tl.int32), axis=1)
        if cells is not None:
            share = x
            if histogram.LOGITS:
                share = share_of(exact, largest[:, None], total[:, None]).to(x.dtype)
            cells_0, cells_1, _, _ = score_histogram.add_readings(
                cells_0, cells_1, (), (), cells, second, edges, x, share, column, label,
                counted, active, histogram, False, of_cells.MODE,
            )  # fmt: skip
        pred = winner.to(tl.int64)
        right = pred == label
        if counts is not None:
            miss = counted & ~right
            seen += counted.to(tl.int32)
            hits += (counted & right).to(tl.int32)
            marks = stat_scores.mark(
                counts, marks, None, pred, label, counted, miss, ROWS, of_counts.MODE, True
            )
        if matrix is not None:
            cell = label * CLASSES + pred
            pairs = add_cells(
                pairs, matrix, cell, counted, counted, True, confusion.MOST_FREQUENT,
                of_matrix.MODE, BLOCK,
            )  # fmt: skip
        if sums is not None:
            prob = calibration.clamp(best).to(tl.float32)
            top = prob
            if bins.LOGITS:
                top = (1.0 / total).to(tl.float32)
            good = counted & ~nan
            sums_0, sums_1 = calibration.add_readings(
                sums_0, sums_1, 0, bin_edges, good.to(tl.int32), good, prob, top, right, bins, SUMS
            )
    if counts is not None:
        stat_scores.put_marks(
            counts, marks, None, seen, hits, bad, walk.positions,
            ROWS, NEGATIVES, of_counts.MODE,
        )  # fmt: skip
        add_score_events(counts_events, bad, nans, outsides, of_counts.VALIDATE, False)
    if matrix is not None:
        flush_cells(matrix, pairs, of_matrix.MODE)
        add_score_events(matrix_events, bad, nans, outsides, of_matrix.VALIDATE, False)
    if cells is not None:
        flush_cells(cells, cells_0, of_cells.MODE)
        if histogram.READINGS == 2:
            flush_cells(second, cells_1, of_cells.MODE)
        add_score_events(
            cells_events, bad, nans, outsides, histogram.VALIDATE, histogram.TOLD_APART
        )
    if sums is not None:
        calibration.write_readings(sums, 0, sums_0, sums_1, bins, SUMS)
        add_score_events(sums_events, bad, nans, outsides, bins.VALIDATE, bins.READINGS == 2)


def together(jobs: list[Job], preds: Tensor, target: Tensor, weight: Tensor | None) -> list[int]:
    """Which of the jobs one launch of `count_once` does: of each op the first that it can do.

    It can count unweighted rows of scores, of as many classes as a tile has, for statistics that
    leave out the same targets.
    """
    if weight is not None or preds.ndim == target.ndim or preds.shape[1] > ROW_TILE:
        return []
    groups: dict[int | None, dict[str, int]] = {}
    for place, job in enumerate(jobs):
        if job.family.op in OPS and _can_count(job):
            groups.setdefault(_ignored(job), {}).setdefault(job.family.op, place)
    return list(max(groups.values(), key=len, default={}).values())


def _ignored(job: Job) -> int | None:
    ignore_index: int | None = job.arguments[-2]
    return ignore_index


def _can_count(job: Job) -> bool:
    op, state = job.family.op, job.written[0]
    if op == "calibration_bins_":
        return state.shape[1] <= calibration.MOST_BINS
    if state.dtype == torch.float64:
        return False
    if op == "stat_scores_":
        top_k, ignore_index = job.arguments[1:3]
        # Scattered counts need the number of left-out targets, and for it a launch of their own.
        scattered = stat_scores.mode_of(len(state))[0] == SCATTER
        return bool(top_k == 1 and not (scattered and ignore_index is not None))
    return True


def update(jobs: list[Job], preds: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Launch `count_once` for jobs that can be done together."""
    of = {job.family.op: job for job in jobs}
    walk, classes = walk_classes(preds, target), preds.shape[1]
    tensors: dict[str, Tensor | None] = dict.fromkeys(TENSORS)
    rules: dict[str, Any] = {"of_counts": Adding(), "of_matrix": Adding(), "of_cells": Adding()}
    rules |= {"histogram": NO_HISTOGRAM, "bins": NO_BINS, "ROWS": 1, "NEGATIVES": 0, "SUMS": 1}
    block, block_classes, warps = score_histogram.row_blocks(classes, ordered=False)
    if "calibration_bins_" in of:
        (state, events), (edges, _, logits, _, validate) = of["calibration_bins_"][1:]
        bins = calibration.rules_of(state, preds, classes, logits, validate)
        width, most = calibration.tile_of(bins.TOTAL)
        block, warps = min(block, most), calibration.WARPS
        sums = calibration.whole_sums(state)
        tensors |= {"sums": sums, "sums_events": events, "bin_edges": edges.contiguous()}
        rules |= {"bins": bins, "SUMS": width}
    if "stat_scores_" in of:
        (state, events), (num_classes, _, _, validate) = of["stat_scores_"][1:]
        rows = len(state)
        mode, width = stat_scores.mode_of(rows)
        tensors |= {"counts": state, "counts_events": events}
        rules |= {"of_counts": Adding(mode.value, width, validate), "ROWS": rows}
        rules |= {"NEGATIVES": stat_scores.negatives_of(rows, num_classes)}
    if "confusion_" in of:
        (state, events), (_, validate) = of["confusion_"][1:]
        mode = confusion.mode_of(state)
        width = triton.next_power_of_2(state.numel()) if mode == PRIVATE else 1
        tensors |= {"matrix": state, "matrix_events": events}
        rules |= {"of_matrix": Adding(mode.value, width, validate)}
    if "score_histogram_" in of:
        (state, events), arguments = of["score_histogram_"][1:]
        edges, uniform, multiclass, logits, _, validate = arguments
        mode, width = score_histogram.mode_of(state)
        tensors |= {"cells": state, "cells_events": events, "edges": edges}
        rules |= {
            "histogram": score_histogram.rules_of(state, uniform, multiclass, logits, validate)
        }
        rules |= {"of_cells": Adding(mode.value, width)}
    programs = programs_for(triton.cdiv(walk.positions, block), preds.device)
    launch(
        count_once, (programs,), *tensors.values(), preds, target, walk, _ignored(jobs[0]),
        CLASSES=classes,
        tile=Tile(block, is_wide(walk.positions), block_classes, *row_layout(preds, walk)),
        num_warps=warps, registers=255, **rules,
    )  # fmt: skip
    if "calibration_bins_" in of:
        calibration.fold_whole_sums(of["calibration_bins_"].written[0], sums)
