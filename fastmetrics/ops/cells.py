"""Cells: counts of negatives and positives whose scores are known up to an interval.

Scores are compared by their images, int64 numbers that order like them. A cell counts scores whose
images lie from a first one to a last one; a score that is known is a cell of one image. Cells that
have become too many are merged, where they hold least.

Images are paths in a binary tree, from the highest bit down, and a cell belongs to the deepest node
that holds all of it. A node is light if it has at most a k-th of all negatives and at most a k-th
of all positives. What lies below a light node becomes one cell; the cells of a heavy one itself
stay, beside those below. So any order of merging keeps what is not known of a score in place: the
cells around it hold few.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastmetrics.ops.checks import shape_text
from fastmetrics.ops.define import define
from fastmetrics.utilities.recording import is_traced

__all__ = ["merge_cells_", "merge_points_"]

_NAME = "merge_cells_"
_POINTS = "merge_points_"

# Bits of an image, the first k by the room there is, and how often it is halved at most: after that
# the nodes of all levels fit.
_BITS = 64
_FIRST = 0.75
_HALVINGS = 9
_HIGHEST = torch.iinfo(torch.int64).max


class Cells(NamedTuple):
    """Cells in any order, as `merge_cells_` takes them.

    Attributes:
        images: int64 ``[K, 2]``, the first and the last image.
        counts: float64 ``[K, 2]``, the negatives and positives.
    """

    images: Tensor
    counts: Tensor


def order_image(scores: Tensor) -> Tensor:
    """Return int64 numbers that order like the scores; -0 equals +0, NaN is the lowest."""
    if is_traced():  # torch.jit.trace cannot write down a view of another dtype
        known = torch.where(scores.isnan(), -torch.inf, scores.double())
        rank = torch.searchsorted(known.sort().values, known)
        return torch.where(scores.isnan(), -1, rank)
    bits = (scores.double() + 0.0).view(torch.int64)
    image = bits ^ ((bits >> 63) & torch.iinfo(torch.int64).max)
    return torch.where(scores.isnan(), torch.iinfo(torch.int64).min, image)


def score_of_image(image: Tensor) -> Tensor:
    """Return the float64 scores that have these images."""
    return (image ^ ((image >> 63) & torch.iinfo(torch.int64).max)).view(torch.float64)


def _check_cells(op: str, name: str, images: Tensor, numbers: Tensor) -> None:
    """Raise unless these are cells with their counts."""
    if images.ndim != 2 or images.shape[1] != 2 or images.dtype != torch.int64:
        raise ValueError(
            f"{op}: `{name}` must be int64 (K, 2), got {images.dtype} {shape_text(images)}."
        )
    if numbers.shape != images.shape or numbers.dtype != torch.float64:
        raise ValueError(
            f"{op}: the counts of `{name}` must be float64 {tuple(images.shape)}, got"
            f" {numbers.dtype} {shape_text(numbers)}."
        )
    if not images.is_contiguous() or not numbers.is_contiguous():
        raise ValueError(f"{op}: `{name}` and their counts must be contiguous.")


def _check_state(op: str, cells: Tensor, counts: Tensor, *others: Tensor) -> None:
    """Raise unless these are cells with their counts and room, all tensors on one device."""
    _check_cells(op, "cells", cells, counts)
    if not len(cells):
        raise ValueError(f"{op}: `cells` must have room for one cell, got (0, 2).")
    if any(tensor.device != cells.device for tensor in (counts, *others)):
        raise ValueError(f"{op}: all tensors must be on one device.")


def check_merge_cells(cells: Tensor, counts: Tensor, more: Tensor, more_counts: Tensor) -> None:
    """Metadata check of `merge_cells_`, and its fake."""
    _check_cells(_NAME, "more", more, more_counts)
    _check_state(_NAME, cells, counts, more, more_counts)


def check_merge_points(
    cells: Tensor, counts: Tensor, fps: Tensor, tps: Tensor, thresholds: Tensor
) -> None:
    """Metadata check of `merge_points_`, and its fake."""
    for name, points in (("fps", fps), ("tps", tps), ("thresholds", thresholds)):
        if points.shape != thresholds.shape or points.ndim != 1 or points.dtype != torch.float64:
            raise ValueError(
                f"{_POINTS}: `{name}` must be float64 (R,), of the shape of `thresholds`,"
                f" {tuple(thresholds.shape)}, got {points.dtype} {shape_text(points)}."
            )
        if not points.is_contiguous():
            raise ValueError(f"{_POINTS}: `{name}` must be contiguous.")
    _check_state(_POINTS, cells, counts, fps, tps, thresholds)


def _levels(images: Tensor) -> Tensor:
    """Return the level ``[R]`` of the deepest node that holds each cell."""
    differ = images[:, 0] ^ images[:, 1]
    level = torch.zeros_like(differ)
    for shift in range(_BITS):  # not below a level where they differ: the sign comes last
        level += (differ >> shift) == 0
    return level


def merge_cells_reference(cells: Tensor, counts: Tensor, more: Tensor, more_counts: Tensor) -> None:
    """Plain torch twin of the compiled kernel; nothing in it waits for a device."""
    room = len(cells)
    images, numbers = torch.cat([cells, more]), torch.cat([counts, more_counts])
    empty = (numbers == 0).all(1)
    level = _levels(images).where(~empty, _BITS)
    below = _HIGHEST >> (level - 1).clamp(min=0)
    leaf = (images[:, 0] & ~below).where(level > 0, torch.iinfo(torch.int64).min)
    order = level.sort(stable=True).indices
    order = order[leaf[order].sort(stable=True).indices]
    order = order[empty[order].long().sort(stable=True).indices]  # what counts nothing comes last
    images, numbers, level, leaf, empty = (x[order] for x in (images, numbers, level, leaf, empty))
    total = numbers.sum(0)
    halvings = torch.arange(-1, _HALVINGS + 1, dtype=torch.float64, device=cells.device)
    ks = torch.where(halvings < 0, torch.inf, _FIRST * room * 0.5**halvings)
    # The heavy nodes above a cell, and perhaps its own: those of the first levels.
    heavy = torch.zeros(len(ks), len(level), dtype=torch.int64, device=cells.device)
    for depth in range(_BITS + 1):
        inside = (level >= depth) & ~empty
        node = _nodes(leaf, torch.full_like(level, depth))
        new = ~(inside & inside.roll(1)) | (node != node.roll(1))
        new[:1] = True
        place = new.cumsum(0) - 1
        held = numbers.new_zeros(numbers.shape).index_add_(0, place, numbers)[place]
        heavy += ((held * ks[:, None, None] > total).any(-1)) & inside
    chosen = heavy.minimum(level)
    node = _nodes(leaf, chosen)
    new = (chosen != chosen.roll(1, -1)) | (node != node.roll(1, -1))
    new[:, :1] = True
    new &= ~empty
    best = (new.sum(1) <= room).long().argmax(keepdim=True)
    place = (new.index_select(0, best)[0].cumsum(0) - 1).where(~empty, room)
    counts.copy_(counts.new_zeros(room + 1, 2).index_add_(0, place, numbers)[:-1])
    first, last = images.unbind(1)
    ends = torch.stack(
        [
            first.new_full((room + 1,), _HIGHEST).scatter_reduce_(0, place, first, "amin"),
            last.new_full((room + 1,), -_HIGHEST - 1).scatter_reduce_(0, place, last, "amax"),
        ],
        1,
    )
    cells.copy_(ends[:-1].where((counts != 0).any(1, keepdim=True), 0))


def _nodes(leaf: Tensor, level: Tensor) -> Tensor:
    """Return what tells the nodes of one level apart, of the cells with these first leaves."""
    return (leaf >> (_BITS - level).clamp(max=_BITS - 1)).where(level > 0, 0)


_merge_cells = define(
    _NAME,
    "(Tensor(a!) cells, Tensor(b!) counts, Tensor more, Tensor more_counts)",
    merge_cells_reference,
    check_merge_cells,
    in_compute=True,
    triton=False,
)


def merge_points_reference(
    cells: Tensor, counts: Tensor, fps: Tensor, tps: Tensor, thresholds: Tensor
) -> None:
    """Plain torch twin of the compiled kernel."""
    images = order_image(thresholds)
    reached = torch.stack([fps, tps], 1)
    held = reached.diff(dim=0, prepend=reached.new_zeros(1, 2))
    merge_cells_reference(cells, counts, torch.stack([images, images], 1), held)


_merge_points = define(
    _POINTS,
    "(Tensor(a!) cells, Tensor(b!) counts, Tensor fps, Tensor tps, Tensor thresholds)",
    merge_points_reference,
    check_merge_points,
    in_compute=True,
    triton=False,
)


def merge_cells_(cells: Tensor, counts: Tensor, more: Tensor, more_counts: Tensor) -> None:
    """Add cells to K cells, and merge the lightest where there are more.

    As long as there are at most K different ones nothing is lost; after that k is the largest of
    3/4 K, 3/8 K, 3/16 K ... that leaves at most K.

    Args:
        cells: int64 ``[K, 2]``, the first and the last image of each cell. Changed in place: those
            that count something come first, by ascending nodes.
        counts: float64 ``[K, 2]``, the negatives and positives of each; a cell without any is free.
            Changed in place.
        more: int64 ``[R, 2]``, the cells to add.
        more_counts: float64 ``[R, 2]``, theirs.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    Cost: one merge of sorted runs if both are sorted, and reads each cell a few times.

    >>> import torch
    >>> from fastmetrics.ops import merge_cells_
    >>> cells, counts = torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2).double()
    >>> scores = torch.tensor([[8, 8], [9, 9], [12, 12]])
    >>> merge_cells_(cells, counts, scores, torch.tensor([[1, 0], [0, 1], [4, 5]]).double())
    >>> cells.tolist(), counts.tolist()
    ([[8, 9], [12, 12]], [[1.0, 1.0], [4.0, 5.0]])
    """
    _merge_cells(cells, counts, more, more_counts)


def merge_points_(
    cells: Tensor, counts: Tensor, fps: Tensor, tps: Tensor, thresholds: Tensor
) -> None:
    """Add the points of a curve to K cells, as cells of one image.

    Args:
        cells: as for :func:`merge_cells_`. Changed in place.
        counts: as for :func:`merge_cells_`. Changed in place.
        fps: float64 ``[R]``, the negatives at or above each threshold.
        tps: float64 ``[R]``, the positives.
        thresholds: float64 ``[R]``, scores, descending; NaN last. Each has some that those before
            have not, or is the last point again.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or (CPU) the thresholds do not descend.

    Cost: goes down the tree to each cell that results; reads each point once.

    >>> import torch
    >>> from fastmetrics.ops import merge_points_
    >>> cells, counts = torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, 2).double()
    >>> thresholds = torch.tensor([0.9, 0.75, -0.5, -0.75]).double()
    >>> reached = torch.tensor([[0, 1], [1, 1], [2, 1], [3, 1]]).double()
    >>> merge_points_(cells, counts, *reached.T.contiguous(), thresholds)
    >>> counts.tolist()
    [[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    _merge_points(cells, counts, fps, tps, thresholds)
