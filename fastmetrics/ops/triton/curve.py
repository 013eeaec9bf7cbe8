"""GPU kernels of `curve_areas_`.

torch sorts the scores on the device; two passes over the sorted scores and labels do the rest. A
tie group may begin in one block and end many blocks later, so the first pass notes for each block
how many positives and negatives it has, and how many it had seen when its last group ended. From
these few numbers torch finds what every block begins with, and the second pass adds up.

Each program writes sums of its own, int64 or float64, which torch adds: no atomics, so the same
input gives the same bits.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.curve import batches
from fastmetrics.ops.triton.inputs import (
    as_score,
)
from fastmetrics.ops.triton.replay import device_of, launch

# Counts within a block share an int32.
BLOCK = 512
WARPS = 8


@triton.jit
def larger(left, right):
    """Larger of two integers."""
    return tl.maximum(left, right)


@triton.jit
def differ(left, right):
    """Whether two scores belong to different groups; NaN equals NaN."""
    return (left != right) & ((left == left) | (right == right))


@triton.jit
def count_blocks(keys, labels, counts, length, blocks, BLOCK: tl.constexpr):
    """Positives and negatives of a block: all of them, and up to its last end of a group.

    ``counts`` is int64 ``[rows, blocks, 4]``, with -1 where no group ends.

    Bytes to move for N scores of s bytes: ``N * (s + 1)``, read once, and 32 for each block.
    """
    # One axis, because others hold 65535 programs at most and there may be more curves.
    block, row = tl.program_id(0) % blocks, (tl.program_id(0) // blocks).to(tl.int64)
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < length
    key = as_score(tl.load(keys + row * length + place, mask=inside, other=0.0))
    follows = place + 1 < length
    after = as_score(tl.load(keys + row * length + place + 1, mask=follows, other=0.0))
    label = tl.load(labels + row * length + place, mask=inside, other=255)
    pos = tl.cumsum((label == 1).to(tl.int32), 0)
    neg = tl.cumsum((label == 0).to(tl.int32), 0)
    ends = inside & (~follows | differ(key, after))
    out = counts + (row * blocks + block) * 4
    tl.store(out, tl.max(pos, 0).to(tl.int64))
    tl.store(out + 1, tl.max(neg, 0).to(tl.int64))
    tl.store(out + 2, tl.max(tl.where(ends, pos, -1), 0).to(tl.int64))
    tl.store(out + 3, tl.max(tl.where(ends, neg, -1), 0).to(tl.int64))


@triton.jit
def add_groups(keys, labels, carries, pairs, precisions, length, blocks, BLOCK: tl.constexpr):
    """Twice the area and the sum of precisions over the groups that end in a block.

    ``carries`` is int64 ``[rows, blocks, 4]``: positives and negatives before the block, and before
    the group in which it begins.

    Bytes to move for N scores of s bytes: ``N * (s + 1)``, read once, and 48 for each block.
    """
    block, row = tl.program_id(0) % blocks, (tl.program_id(0) // blocks).to(tl.int64)
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < length
    scores = keys + row * length + place
    key = as_score(tl.load(scores, mask=inside, other=0.0))
    follows = place + 1 < length
    after = as_score(tl.load(scores + 1, mask=follows, other=0.0))
    precedes = inside & (place > 0)
    before = as_score(tl.load(scores - 1, mask=precedes, other=0.0))
    label = tl.load(labels + row * length + place, mask=inside, other=255)
    is_pos, is_neg = (label == 1).to(tl.int32), (label == 0).to(tl.int32)
    pos, neg = tl.cumsum(is_pos, 0), tl.cumsum(is_neg, 0)
    # Both counts at the begin of a group grow along the block, and so does the pair of them.
    begins = inside & (~precedes | differ(before, key))
    known = tl.where(begins, (pos - is_pos) * (2 * BLOCK) + (neg - is_neg), -1)
    known = tl.associative_scan(known, 0, larger)
    carry = carries + (row * blocks + block) * 4
    first_pos, first_neg = tl.load(carry), tl.load(carry + 1)
    inherits = known < 0
    pos_before = tl.where(inherits, tl.load(carry + 2), first_pos + known // (2 * BLOCK))
    neg_before = tl.where(inherits, tl.load(carry + 3), first_neg + known % (2 * BLOCK))
    tps, fps = first_pos + pos, first_neg + neg
    ends = inside & (~follows | differ(key, after))
    twice = tl.where(ends, (fps - neg_before) * (tps + pos_before), 0)
    share = (tps - pos_before).to(tl.float64) * tps.to(tl.float64)
    share = share / tl.maximum(tps + fps, 1).to(tl.float64)
    tl.store(pairs + row * blocks + block, tl.sum(twice, 0))
    tl.store(precisions + row * blocks + block, tl.sum(tl.where(ends, share, 0.0), 0))


def curve_areas_(
    areas: Tensor, preds: list[Tensor], target: list[Tensor], multiclass: bool, pool: bool
) -> None:
    """Launch the kernels of :func:`fastmetrics.ops.curve.curve_areas_`."""
    areas.zero_()
    with device_of(areas):
        for curves, keys, labels in batches(preds, target, multiclass, pool):
            _add_rows(areas[curves], keys, labels)


def _add_rows(areas: Tensor, keys: Tensor, labels: Tensor) -> None:
    """Fill the rows of ``areas`` from rows of sorted keys."""
    rows, length = keys.shape
    blocks = triton.cdiv(length, BLOCK)
    counts = torch.empty(rows, blocks, 4, dtype=torch.int64, device=areas.device)
    pairs = torch.empty(rows, blocks, dtype=torch.int64, device=areas.device)
    precisions = torch.empty(rows, blocks, dtype=torch.float64, device=areas.device)
    grid = (blocks * rows,)
    sizes = (length, blocks)
    launch(count_blocks, grid, keys, labels, counts, *sizes, BLOCK=BLOCK, num_warps=WARPS)
    totals, seen = counts.split(2, dim=-1)
    sums = totals.cumsum(1)
    first = sums - totals
    ended = torch.where(seen < 0, 0, first + seen).cummax(1).values
    carries = torch.cat([first, torch.cat([torch.zeros_like(ended[:, :1]), ended[:, :-1]], 1)], -1)
    launch(
        add_groups, grid, keys, labels, carries, pairs, precisions, *sizes,
        BLOCK=BLOCK, num_warps=WARPS,
    )  # fmt: skip
    areas[:, 0] = pairs.sum(-1).double() / 2
    areas[:, 1] = precisions.sum(-1)
    areas[:, 2] = sums[:, -1, 1].double()
    areas[:, 3] = sums[:, -1, 0].double()
