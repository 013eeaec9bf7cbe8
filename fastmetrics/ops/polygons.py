"""Polygons as masks, pixel for pixel as the COCO tools fill them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

# The outline is walked on a grid finer than that of the pixels by this.
_FINER = 5

Point = tuple[int, int]


def _edge(start: Point, end: Point) -> Iterator[Point]:
    """Give the fine grid points of an edge, both ends included."""
    across = abs(end[0] - start[0]) >= abs(end[1] - start[1])
    long = 0 if across else 1
    backwards = start[long] > end[long]
    low, high = (end, start) if backwards else (start, end)
    length = high[long] - low[long]
    slope = (high[1 - long] - low[1 - long]) / length if length else 0.0
    for step in reversed(range(length + 1)) if backwards else range(length + 1):
        main = low[long] + step
        # The edge of one point has no slope, and its other coordinate is a whole number.
        other = int(low[1 - long] + slope * step + 0.5)
        yield (main, other) if across else (other, main)


def _turns(polygon: Sequence[float], height: int, width: int) -> Iterator[int]:
    """Give the pixels, column by column, from which on a column is inside, or outside again."""
    corners = [
        (int(_FINER * x + 0.5), int(_FINER * y + 0.5))
        for x, y in zip(polygon[::2], polygon[1::2], strict=True)
    ]
    points = [p for edge in pairwise([*corners, corners[0]]) for p in _edge(*edge)]
    for (u0, v0), (u1, v1) in pairwise(points):
        if u0 == u1:
            continue
        column = ((u1 if u1 < u0 else u1 - 1) + 0.5) / _FINER - 0.5
        if column != math.floor(column) or not 0 <= column <= width - 1:
            continue
        row = (min(v0, v1) + 0.5) / _FINER - 0.5
        yield int(column) * height + math.ceil(min(max(row, 0.0), height))


def filled(polygons: Sequence[Sequence[float]], height: int, width: int) -> Tensor:
    """Return the mask ``[H, W]`` of what lies in any of some polygons ``(x, y, x, y, ...)``."""
    mask = torch.zeros(width * height, dtype=torch.bool)
    for polygon in polygons:
        turns = torch.tensor([*_turns(polygon, height, width)], dtype=torch.int64)
        counts = turns.bincount(minlength=width * height + 1)[: width * height]
        mask |= counts.cumsum(0) % 2 == 1
    return mask.view(width, height).t()
