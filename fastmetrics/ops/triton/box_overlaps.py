"""GPU kernels of `box_overlaps_`.

A program writes a block of pairs that lie side by side in the state, and loads their boxes, which
neighbours share, from the cache. Angles are approximated in float64: triton has no arctangent.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops import box_overlaps as rules
from fastmetrics.ops.triton.inputs import is_wide, numbers
from fastmetrics.ops.triton.replay import launch, replayable

BLOCK = 256
IOU = tl.constexpr(rules.IOU)
GIOU = tl.constexpr(rules.GIOU)
DIOU = tl.constexpr(rules.DIOU)
EPS = tl.constexpr(rules.EPS)


@triton.jit
def arctangent(x):
    """``atan(x)`` of float64, to a few units in the last place.

    ``atan(x) = pi / 2 - atan(1 / x)`` brings x to [0, 1], halving the angle three times to
    [0, 0.1], where few terms of the series are left.
    """
    size = tl.abs(x)
    large = size > 1.0
    reduced = tl.where(large, 1.0 / size, size)
    for _ in tl.static_range(3):
        reduced = reduced / (1.0 + tl.sqrt(1.0 + reduced * reduced))
    square = reduced * reduced
    series = tl.zeros_like(x)
    for k in tl.static_range(8, -1, -1):
        series = series * square + (1 - 2 * (k % 2)) / (2 * k + 1)
    angle = 8.0 * reduced * series
    angle = tl.where(large, 1.5707963267948966 - angle, angle)
    return tl.where(x < 0.0, -angle, angle)


@triton.jit
def corner(boxes, place, row_step, step, inside):
    """One coordinate of some boxes."""
    return tl.load(boxes + place * row_step + step, mask=inside, other=0).to(tl.float64)


@triton.jit
def length_of(low, high):
    """How far it is from one to the other, 0 if that is backwards."""
    size = high - low
    return tl.where(size < 0.0, 0.0, size)


@triton.jit
def overlap_pairs(
    state, boxes, others, rows, columns, pairs, width, box_row, box_step, other_row, other_step,
    KIND: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Overlap of each pair.

    Bytes to move for P pairs of N and M boxes of s bytes each coordinate: ``8 * P + 4s * (N + M)``;
    for pairs that are named ``16 * P`` more.
    """
    pair = numbers(tl.program_id(0), BLOCK, WIDE)
    inside = pair < pairs
    if rows is not None:
        i = tl.load(rows + pair, mask=inside, other=0)
        j = tl.load(columns + pair, mask=inside, other=0)
    else:
        i = (pair // width).to(tl.int64)
        j = (pair % width).to(tl.int64)
    x1 = corner(boxes, i, box_row, 0, inside)
    y1 = corner(boxes, i, box_row, box_step, inside)
    x2 = corner(boxes, i, box_row, 2 * box_step, inside)
    y2 = corner(boxes, i, box_row, 3 * box_step, inside)
    u1 = corner(others, j, other_row, 0, inside)
    v1 = corner(others, j, other_row, other_step, inside)
    u2 = corner(others, j, other_row, 2 * other_step, inside)
    v2 = corner(others, j, other_row, 3 * other_step, inside)
    both = length_of(tl.maximum(x1, u1), tl.minimum(x2, u2))
    both *= length_of(tl.maximum(y1, v1), tl.minimum(y2, v2))
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - both
    value = both / union
    iou = value
    around_x = length_of(tl.minimum(x1, u1), tl.maximum(x2, u2))
    around_y = length_of(tl.minimum(y1, v1), tl.maximum(y2, v2))
    if KIND == GIOU:
        around = around_x * around_y
        value -= (around - union) / around
    elif KIND != IOU:
        dx = (x1 + x2 - u1 - u2) / 2
        dy = (y1 + y2 - v1 - v2) / 2
        value -= (dx * dx + dy * dy) / (around_x * around_x + around_y * around_y + EPS)
        if KIND != DIOU:
            bend = arctangent((x2 - x1) / (y2 - y1)) - arctangent((u2 - u1) / (v2 - v1))
            aspect = 0.4052847345693511 * (bend * bend)  # 4 / pi^2
            value -= aspect / (1 - iou + aspect + EPS) * aspect
    tl.store(state + pair, value, mask=inside)


@replayable
def box_overlaps_(
    state: Tensor, boxes: Tensor, others: Tensor, rows: Tensor | None, columns: Tensor | None,
    kind: int,
) -> None:  # fmt: skip
    """Launch the kernel of :func:`fastmetrics.ops.box_overlaps.box_overlaps_`."""
    pairs = state.numel()
    if not pairs:
        return
    launch(
        overlap_pairs, (triton.cdiv(pairs, BLOCK),), state, boxes, others, rows, columns, pairs,
        others.shape[0], *boxes.stride(), *others.stride(), KIND=kind, BLOCK=BLOCK,
        WIDE=is_wide(pairs),
    )  # fmt: skip
