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

__all__ = ["merge_cells_"]

_NAME = "merge_cells_"

# Bits of an image, and how often k is halved at most: after that the nodes of all levels fit.
_BITS = 64
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


def check_merge_cells(cells: Tensor, counts: Tensor, more: Tensor, more_counts: Tensor) -> None:
    """Metadata check of `merge_cells_`, and its fake."""
    for name, images, numbers in (("cells", cells, counts), ("more", more, more_counts)):
        if images.ndim != 2 or images.shape[1] != 2 or images.dtype != torch.int64:
            raise ValueError(
                f"{_NAME}: `{name}` must be int64 (K, 2), got {images.dtype} {shape_text(images)}."
            )
        if numbers.shape != images.shape or numbers.dtype != torch.float64:
            raise ValueError(
                f"{_NAME}: the counts of `{name}` must be float64 {tuple(images.shape)}, got"
                f" {numbers.dtype} {shape_text(numbers)}."
            )
        if not images.is_contiguous() or not numbers.is_contiguous():
            raise ValueError(f"{_NAME}: `{name}` and their counts must be contiguous.")
        if images.device != cells.device or numbers.device != cells.device:
            raise ValueError(f"{_NAME}: all tensors must be on one device.")
    if not len(cells):
        raise ValueError(f"{_NAME}: `cells` must have room for one cell, got (0, 2).")


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
    halved = [room * 0.5**i for i in range(_HALVINGS + 1)]
    shares = torch.tensor([torch.inf, *halved], dtype=torch.float64, device=cells.device)
    # The heavy nodes above a cell, and perhaps its own: those of the first levels.
    heavy = torch.zeros(len(shares), len(level), dtype=torch.int64, device=cells.device)
    for depth in range(_BITS + 1):
        inside = (level >= depth) & ~empty
        node = _nodes(leaf, torch.full_like(level, depth))
        new = ~(inside & inside.roll(1)) | (node != node.roll(1))
        new[:1] = True
        place = new.cumsum(0) - 1
        held = numbers.new_zeros(numbers.shape).index_add_(0, place, numbers)[place]
        heavy += ((held * shares[:, None, None] > total).any(-1)) & inside
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


def merge_cells_(cells: Tensor, counts: Tensor, more: Tensor, more_counts: Tensor) -> None:
    """Add cells to K cells, and merge the lightest where there are more.

    As long as there are at most K different ones nothing is lost; after that k is the largest of
    K, K / 2, K / 4 ... that leaves at most K.

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
