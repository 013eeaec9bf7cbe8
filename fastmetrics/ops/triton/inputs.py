"""What every kernel shares: walking strided inputs, the decision per position, and adding it up.

**Walking.** A kernel numbers positions ``0 .. N*D - 1`` and turns a number into offsets by the
sizes and strides of its axes, innermost first (`Walk`). The host merges neighbouring axes that one
stride can express (`merge_axes`), so contiguous inputs have one axis; any strided input is read in
place. Offsets are int64. Position numbers are int32, which divide faster, unless there are 2**31 of
them.

**Arguments.** What belongs together travels as one NamedTuple. A `Walk` is numbers, which the
compiler specialises one by one: multiples of 16, and ones. Rules and a `Tile`, whose fields are
upper case, are constants, and each value of them is a kernel of its own. (A field of a constant is
a bare number, which Triton does not take in a list before it has a name: ``BLOCK = tile.BLOCK``.)
Integers that vary from update to update must not be specialised and stay arguments of their own,
because ``do_not_specialize`` does not reach into tuples; so do tensors, which a replay exchanges
(:mod:`fastmetrics.ops.triton.replay`). Missing weights are a constant, None, as well.

**Adding up.** Counts are int64 in the state and added by relaxed integer atomics, whose order does
not show in the result. Weighted float64 sums never use atomics: each program of a grid that depends
on the shapes alone sums its own share into its own row of a buffer (`add_ordered`), and a second
kernel adds the rows in a fixed tree (`add_partials`). The buffer has at most 1024 rows, and
fewer for large states (`ordered_programs`); nothing here grows with N.

**Grids.** A fixed number of programs per multiprocessor loops over blocks of positions, so private
counts are flushed a bounded number of times. No autotuning: it would wait for the device, and its
choice could change between two captures of a CUDA graph. Block sizes follow from `class_blocks`.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton compiles the kernels, and gives their parameters types of its own.)

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops import faults
from fastmetrics.ops.triton.replay import launch

MAX_ORDERED_PROGRAMS = 1024
FEW_CELLS = 32
PROGRAMS_PER_MULTIPROCESSOR = 4
LABEL_BLOCK = 1024
ORDERED_BLOCK = 64
ORDERED_WARPS = 8

# Classes of contiguous rows, and of images, that a thread goes through on its own, and classes of
# rows that some threads of a program share.
MOST_NARROW, MOST_PLANES, MOST_SHARED = 32, 512, 4096

# Cells of a histogram that a program counts in registers. Each value is compared with all of them,
# which takes longer than an atomic from some number on.
MOST_PRIVATE_BINS = 512

# Columns of `events`.
INVALID = tl.constexpr(faults.INVALID)
NAN = tl.constexpr(faults.NAN)
OUTSIDE = tl.constexpr(faults.OUTSIDE)
BAD_WEIGHT = tl.constexpr(faults.BAD_WEIGHT)

# How a kernel adds to its cells.
PRIVATE = tl.constexpr(0)  # histogram in registers, flushed once per program
SCATTER = tl.constexpr(1)  # one integer atomic per position
ORDERED = tl.constexpr(2)  # plain read and write in memory that one program owns


def merge_axes(
    shape: tuple[int, ...], *strides: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Merge neighbouring axes of ``shape`` that one stride per tensor can express.

    Returns the sizes of all axes but the outermost, and per tensor the strides of all axes, both
    innermost first.
    """
    if len(shape) == 1:
        return (), strides
    sizes: list[int] = []
    steps: list[tuple[int, ...]] = []
    for axis in reversed(range(len(shape))):
        if shape[axis] == 1:
            continue
        step = tuple(tensor[axis] for tensor in strides)
        if sizes and step == tuple(sizes[-1] * inner for inner in steps[-1]):
            sizes[-1] *= shape[axis]
        else:
            sizes.append(shape[axis])
            steps.append(step)
    if not steps:
        steps.append((0,) * len(strides))
    return tuple(sizes[:-1]), tuple(zip(*steps, strict=True))


class Axes(NamedTuple):
    """Elements from one place of a tensor to the next; 0 where the tensor has no such axis."""

    strides: tuple[int, ...]
    """Along the axes that positions number, innermost first."""
    sample: int
    """From one sample to the next, where a kernel takes samples one by one."""
    column: int
    """Along the class or label axis."""


class Walk(NamedTuple):
    """How a kernel walks its inputs: ``positions`` of them (in each sample), axis by axis."""

    positions: int
    sizes: tuple[int, ...]
    """Of all axes but the outermost, innermost first."""
    preds: Axes
    target: Axes
    weight: Axes | tuple[()]
    groups: Axes | tuple[()]


def walk_classes(
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    groups: Tensor | None = None,
    *,
    samplewise: bool = False,
) -> Walk:
    """Walk multiclass or binary inputs; ``weight`` and ``groups`` are ``[N]``.

    Samplewise a kernel takes samples one by one; otherwise N is one of the axes.
    """
    strides, class_stride = preds.stride(), 0
    if preds.ndim > target.ndim:
        class_stride = strides[1]
        strides = strides[:1] + strides[2:]
    axes = (strides, target.stride())
    return _walk(target.shape, axes, (class_stride, 0), (weight, groups), samplewise)


def walk_labels(
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    has_axis: bool = True,
    samplewise: bool = False,
) -> Walk:
    """Walk ``[N, L, ...]`` inputs, whose label axis a kernel takes on its own if they have one."""
    shape, strides, columns = target.shape, (preds.stride(), target.stride()), (0, 0)
    if has_axis:
        columns = (strides[0][1], strides[1][1])
        shape = shape[:1] + shape[2:]
        strides = (strides[0][:1] + strides[0][2:], strides[1][:1] + strides[1][2:])
    return _walk(shape, strides, columns, (weight, None), samplewise)


def _walk(
    shape: tuple[int, ...],
    strides: tuple[tuple[int, ...], ...],
    columns: tuple[int, ...],
    others: tuple[Tensor | None, ...],
    samplewise: bool,
) -> Walk:
    rest = (0,) * (len(shape) - 1)
    strides += tuple((other.stride(0), *rest) for other in others if other is not None)
    begin = int(samplewise)
    sizes, merged = merge_axes(tuple(shape[begin:]), *(x[begin:] for x in strides))
    samples = [x[0] if samplewise else 0 for x in strides]
    preds, target, *given = map(Axes, merged, samples, (*columns, 0, 0))
    weight, groups = (() if other is None else given.pop(0) for other in others)
    return Walk(math.prod(shape[begin:]), sizes, preds, target, weight, groups)


class ClassRules(NamedTuple):
    """What a kernel makes of multiclass inputs."""

    CLASSES: int
    """Labels lie below."""
    SCORES: bool
    """Whether predictions are scores of each class, not labels."""
    VALIDATE: bool
    TOP_K: bool = False
    """Whether more than the largest score counts."""


class LabelRules(NamedTuple):
    """What a kernel makes of thresholded inputs."""

    READINGS: int
    SCORES: bool
    """Whether predictions are scores, not decisions."""
    VALIDATE: bool


class Tile(NamedTuple):
    """What a program holds at a time: positions, and classes or labels of each."""

    BLOCK: int
    WIDE: bool
    """Whether position numbers need 64 bits."""
    BLOCK_C: int = 1
    ALIGN: int = 1
    """Elements by which every row of scores is aligned, up to one 16-byte load. Triton itself sees
    only strides that are multiples of 16; ten float32 classes still allow 8-byte loads."""
    ROW_MAJOR: bool = False
    """Whether the class axis of ``preds`` is contiguous."""


def row_layout(preds: Tensor, walk: Walk) -> tuple[int, bool]:
    """Return the last two fields of a `Tile`; ``preds`` without a class axis have no rows."""
    if walk.preds.column != 1:
        return 1, False
    strides = preds.stride()
    return math.gcd(16 // preds.element_size(), *strides[:1], *strides[2:]), True


def is_wide(positions: int) -> bool:
    """Whether position numbers, rounded up to a block, need more than 31 bits."""
    return positions > 2**31 - 2**16


class ClassBlocks(NamedTuple):
    """Tile of one program: positions, classes, warps."""

    positions: int
    classes: int
    warps: int = 4


def class_blocks(preds: Tensor, walk: Walk, top_k: int = 1) -> ClassBlocks:
    """Tile for scores with a class axis, through which `best_class` goes step by step.

    Of narrow rows and of images each thread takes positions of its own, in one wide load after the
    other, and nothing is reduced across threads; what is left of a line of narrow rows comes from
    the cache. Wider rows are shared by 8 or 32 threads, and the widest by a program.

    =============== ============= ===============
    classes         float32       float64 or top-k
    =============== ============= ===============
    images          256 x 1       256 x 1
    2               512 x 2       512 x 2
    10              256 x 2       256 x 2
    100             64 x 32       32 x 32
    1000            16 x 128      8 x 128
    100 000         1 x 4096      1 x 1024
    =============== ============= ===============
    """
    align, row_major = row_layout(preds, walk)
    classes, size = preds.shape[1], preds.element_size()
    if classes > MOST_SHARED or (classes > MOST_PLANES and not row_major):
        elements = 1024 if size == 8 or top_k > 1 else 4096
        block = min(triton.next_power_of_2(classes), elements)
        return ClassBlocks(elements // block, block, 8 if size == 8 else 4)
    warps = 8 if size == 8 else 4
    if classes <= MOST_NARROW or not row_major:
        positions = 512 if classes <= 4 else 256
        return ClassBlocks(positions, min(align, triton.next_power_of_2(classes)), warps)
    block = 32 if classes <= 256 else 128
    return ClassBlocks((1024 if size == 8 or top_k > 1 else 2048) // block, block, warps)


@functools.cache
def multiprocessors(kind: str, index: int | None) -> int:
    """Multiprocessors of a device; Triton's interpreter on the CPU counts as two."""
    if kind == "cuda":
        return int(torch.cuda.get_device_properties(index).multi_processor_count)
    if kind == "xpu":
        return int(torch.xpu.get_device_properties(index).gpu_subslice_count)
    return 2


def programs_for(blocks: int, device: torch.device) -> int:
    """Grid size of an integer count."""
    most = PROGRAMS_PER_MULTIPROCESSOR * multiprocessors(device.type, device.index)
    return max(1, min(blocks, most))


def ordered_programs(blocks: int, cells: int) -> int:
    """Grid size of a weighted sum: the same on every device, with partials of at most 64 MiB.

    Few cells are worth many programs, which keep the memory busy. States of more than 2**21 cells
    get 4 partial copies all the same.
    """
    most = min(MAX_ORDERED_PROGRAMS, 1024 if cells <= FEW_CELLS else 256)
    return max(1, min(blocks, most, max(4, 2**23 // cells)))


@triton.jit
def nan_max(left, right):
    """Larger of two scores; NaN is the largest, as in ``torch.argmax``."""
    return tl.maximum(left, right, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def keep_best(x, column, best, index, CLASSES: tl.constexpr):
    """Carry the first of the largest scores per row, and its class, over one tile of classes."""
    largest = tl.reduce(x, 1, nan_max)
    first = tl.where((x == largest[:, None]) | (x != x), column[None, :], CLASSES)
    better = (largest > best) | ((largest != largest) & (best == best))
    index = tl.where(better, tl.min(first, axis=1), index)
    return tl.where(better, largest, best), index


@triton.jit
def numbers(block, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """Position numbers of one block."""
    if WIDE:
        block = tl.cast(block, tl.int64)
    return block * BLOCK + tl.arange(0, BLOCK)


@triton.jit
def settle(walk):
    """Return the same walk; every kernel that loops asks for it first.

    Triton 3.6 forgets where a loop begins that a number in a nested tuple is one, and a return
    makes it look again. A function that loops must not take what is nested.
    """
    return walk


@triton.jit
def locate(position, sizes, strides):
    """Offset of each position in a tensor with these strides, as int64."""
    offset = tl.zeros_like(position).to(tl.int64)
    rest = position
    for axis in tl.static_range(len(strides) - 1):
        offset += (rest % sizes[axis]).to(tl.int64) * strides[axis]
        rest = rest // sizes[axis]
    return offset + rest.to(tl.int64) * strides[len(strides) - 1]


@triton.jit
def as_score(values):
    """Scores in the type in which they are compared: float64 or float32."""
    if values.dtype != tl.float64:
        values = values.to(tl.float32)
    return values


@triton.jit
def load_columns(data, column, stride, mask, other):
    """Load some columns of the rows that begin at ``data``."""
    pointers = data[:, None] + column.to(tl.int64)[None, :] * stride
    return tl.load(pointers, mask=mask, other=other)


@triton.jit
def difference(a, b):
    """``a - b`` in float64; that of integers is rounded once, and never overflows."""
    if a.dtype.is_int() and b.dtype.is_int():
        whole_a, whole_b = a.to(tl.int64), b.to(tl.int64)
        high = ((whole_a >> 32) - (whole_b >> 32)).to(tl.float64) * 4294967296.0
        value = high + ((whole_a & 0xFFFFFFFF) - (whole_b & 0xFFFFFFFF)).to(tl.float64)
    else:
        value = a.to(tl.float64) - b.to(tl.float64)
    return value


@triton.jit
def best_class(
    scores, label, counted, read, class_stride, top_k, rules: tl.constexpr, tile: tl.constexpr
):
    """First of the largest scores per row, and whether a row holds NaN.

    One pass over the classes carries the best score and its class for each place of the tile. With
    ``TOP_K`` the score of the target is fetched first, and the pass counts the classes that outrank
    it; the row's target is returned when fewer than ``top_k`` do.
    """
    BLOCK: tl.constexpr = tile.BLOCK
    BLOCK_C: tl.constexpr = tile.BLOCK_C
    best = tl.full([BLOCK, BLOCK_C], float("-inf"), tl.float32)
    if scores.dtype.element_ty == tl.float64:
        best = best.to(tl.float64)
    index = tl.zeros([BLOCK, BLOCK_C], tl.int32)
    above = tl.zeros([BLOCK, BLOCK_C], tl.int32)
    if rules.TOP_K:
        own = as_score(tl.load(scores + label * class_stride, mask=counted, other=0.0))
    # So that a thread asks for several scores before it waits for the first.
    UNROLLED: tl.constexpr = 8 if BLOCK * BLOCK_C <= 512 else 4096 // (BLOCK * BLOCK_C)
    for start in tl.range(0, rules.CLASSES, BLOCK_C, loop_unroll_factor=UNROLLED):
        column = start + tl.arange(0, BLOCK_C)
        mask = read[:, None] & (column < rules.CLASSES)[None, :]
        x = as_score(load_columns(scores, column, class_stride, mask, float("-inf")))
        better = (x > best) | ((x != x) & (best == best))
        index = tl.where(better, column[None, :], index)
        best = tl.where(better, x, best)
        if rules.TOP_K:
            rival = own[:, None]
            larger = (x > rival) | ((x != x) & (rival == rival))
            equal = (x == rival) | ((x != x) & (rival != rival))
            outranks = larger | (equal & (column.to(tl.int64)[None, :] < label[:, None]))
            above += outranks.to(tl.int32)
    largest = tl.reduce(best, 1, nan_max)
    first = tl.where((best == largest[:, None]) | (best != best), index, rules.CLASSES)
    pred = tl.min(first, axis=1).to(tl.int64)
    if rules.TOP_K:
        pred = tl.where(tl.sum(above, axis=1) < top_k, label, pred)
    return pred, largest != largest


@triton.jit
def read_targets(target, position, inside, walk, ignore_index, CLASSES: tl.constexpr):
    """Read one block of targets: label, which of them are kept, and which of these are classes."""
    offset = locate(position, walk.sizes, walk.target.strides)
    label = tl.load(target + offset, mask=inside, other=0).to(tl.int64)
    kept = inside
    if ignore_index is not None:
        kept = inside & (label != ignore_index)
    valid = (label >= 0) & (label < CLASSES)
    return label, kept, kept & valid


@triton.jit
def read_classes(
    preds, target, position, inside, walk, ignore_index, top_k,
    rules: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Read one block of multiclass inputs: pred, label, counted, invalid, nan.

    Scores of ignored positions are not read where each has a row of its own; elsewhere such gaps
    would only break the wide loads across positions.
    """
    label, kept, counted = read_targets(target, position, inside, walk, ignore_index, rules.CLASSES)
    offset = locate(position, walk.sizes, walk.preds.strides) // tile.ALIGN * tile.ALIGN
    if rules.SCORES:
        read = kept if tile.ROW_MAJOR else inside
        pred, nan = best_class(
            preds + offset, label, counted, read, walk.preds.column, top_k, rules, tile
        )
    else:
        pred = tl.load(preds + offset, mask=kept, other=0).to(tl.int64)
        counted = counted & (pred >= 0) & (pred < rules.CLASSES)
        nan = tl.zeros_like(kept)
    return pred, label, counted, kept & ~counted, nan & counted


@triton.jit
def read_labels(
    preds, target, preds_offset, target_offset, inside, cut_0, cut_1, ignore_index,
    rules: tl.constexpr,
):  # fmt: skip
    """Read one block of thresholded inputs.

    Returns label, decision of the first and of the second reading, counted, invalid, nan, outside.
    """
    value = tl.load(target + target_offset, mask=inside, other=0).to(tl.int64)
    kept = inside
    if ignore_index is not None:
        kept = inside & (value != ignore_index)
    valid = (value == 0) | (value == 1)
    if rules.SCORES:
        x = as_score(tl.load(preds + preds_offset, mask=inside, other=0.0))
        first = x > cut_0.to(tl.int64).to(tl.float64, bitcast=True).to(x.dtype)
        second = x > cut_1.to(tl.int64).to(tl.float64, bitcast=True).to(x.dtype)
        nan = x != x
        outside = (x < 0) | (x > 1)
    else:
        decided = tl.load(preds + preds_offset, mask=inside, other=0).to(tl.int64)
        valid = valid & ((decided == 0) | (decided == 1))
        first = decided == 1
        second = first
        nan = tl.zeros_like(first)
        outside = nan
    counted = kept & valid
    return value == 1, first, second, counted, kept & ~valid, nan & counted, outside & counted


@triton.jit
def read_label_tile(
    preds, target, sample, position, column, inside, walk, cut_0, cut_1, ignore_index,
    rules: tl.constexpr,
):  # fmt: skip
    """`read_labels` of a tile ``[positions, labels]``; ``inside`` is a tile, too."""
    column = column.to(tl.int64)[None, :]
    preds_offset = sample * walk.preds.sample + locate(position, walk.sizes, walk.preds.strides)
    target_offset = sample * walk.target.sample + locate(position, walk.sizes, walk.target.strides)
    return read_labels(
        preds, target, preds_offset[:, None] + column * walk.preds.column,
        target_offset[:, None] + column * walk.target.column, inside, cut_0, cut_1, ignore_index,
        rules,
    )  # fmt: skip


@triton.jit
def add_event(events, column: tl.constexpr, marks):
    """Add the number of marks to one event counter; most programs have none and stay silent."""
    count = tl.sum(marks.to(tl.int64))
    tl.atomic_add(events + column, count, mask=count > 0, sem="relaxed")


@triton.jit
def add_class_events(events, bad, nans, rules: tl.constexpr):
    """Report what `read_classes` met."""
    if rules.VALIDATE:
        add_event(events, INVALID, bad)
    if rules.SCORES:
        add_event(events, NAN, nans)


@triton.jit
def add_label_events(events, bad, nans, outsides, rules: tl.constexpr):
    """Report what `read_labels` met."""
    add_class_events(events, bad, nans, rules)
    if rules.SCORES and rules.READINGS == 2:
        add_event(events, OUTSIDE, outsides)


@triton.jit
def add_score_events(events, bad, nans, outsides, VALIDATE: tl.constexpr, TOLD_APART: tl.constexpr):
    """Report what scores and targets were met, and whether they could be probabilities."""
    if TOLD_APART:
        add_event(events, OUTSIDE, outsides)
    if VALIDATE:
        add_event(events, INVALID, bad)
    add_event(events, NAN, nans)


@triton.jit
def add_ordered(cells, cell, value, active, BLOCK: tl.constexpr):
    """Add values to cells that this program alone owns, in an order fixed by the positions.

    Every position sums the values of its whole block that go to its cell, in the order of the
    block; the first of them writes. The barrier orders this block's writes before the next reads.
    """
    lane = tl.arange(0, BLOCK)
    same = (cell[:, None] == cell[None, :]) & active[:, None] & active[None, :]
    total = tl.sum(tl.where(same, value[None, :], tl.zeros_like(value)[None, :]), axis=1)
    leader = tl.min(tl.where(same, lane[None, :], BLOCK), axis=1) == lane
    add_to(cells + cell, total, leader)
    tl.debug_barrier()


@triton.jit
def ones_or_weights(cells, weight, position, counted, walk):
    """What each counted position adds, in the type of the cells: its weight, or one."""
    value = counted
    if weight is not None:
        offset = locate(position, walk.sizes, walk.weight.strides)
        value = usable_weights(tl.load(weight + offset, mask=counted, other=0))
    return value.to(cells.dtype.element_ty)


@triton.jit
def weights_or(weights, instead):
    """Weights as float64, with `instead` for those that are NaN, negative or above 1e100."""
    exact = weights.to(tl.float64)
    return tl.where((exact >= 0) & (exact <= 1e100), exact, instead)


@triton.jit
def usable_weights(weights):
    """Weights as float64; a bad one counts as 0, and `note_bad_weights` counts it."""
    return weights_or(weights, 0.0)


@triton.jit
def add_to(pointers, values, mask):
    """Add to memory that nobody else touches."""
    tl.store(pointers, tl.load(pointers, mask=mask, other=0) + values, mask=mask)


@triton.jit
def add_rows(state, partial, block, cells, programs, PROGRAMS: tl.constexpr, BLOCK: tl.constexpr):
    """Add one block of the columns of ``partial`` ``[programs, cells]`` to the state."""
    cell = tl.cast(block, tl.int64) * BLOCK + tl.arange(0, BLOCK)
    row = tl.arange(0, PROGRAMS)
    mask = (row < programs)[:, None] & (cell < cells)[None, :]
    pointers = partial + row.to(tl.int64)[:, None] * cells + cell[None, :]
    values = tl.load(pointers, mask=mask, other=0.0)
    add_to(state + cell, tl.sum(values, axis=0), cell < cells)


@triton.jit
def add_partials(state, partial, cells, programs, PROGRAMS: tl.constexpr, BLOCK: tl.constexpr):
    """Add the rows of ``partial`` ``[programs, cells]`` to the state, in a fixed tree.

    Bytes to move: ``8 * cells * (programs + 2)``.
    """
    add_rows(state, partial, tl.program_id(0), cells, programs, PROGRAMS, BLOCK)


def fold_tile(programs: int) -> tuple[int, int]:
    """Rows and cells that `add_rows` takes at a time: few sizes, so few variants."""
    rows = next(size for size in (16, 256, 1024) if programs <= size)
    return rows, 16 if rows < 1024 else 4


def fold_partials(state: Tensor, partial: Tensor) -> None:
    """Launch `add_partials` for a ``partial`` of shape ``[programs, cells]``."""
    programs, cells = partial.shape
    rows, block = fold_tile(programs)
    launch(
        add_partials, (triton.cdiv(cells, block),), state, partial, cells, programs,
        PROGRAMS=rows, BLOCK=block,
    )  # fmt: skip
