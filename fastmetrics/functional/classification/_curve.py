"""Formulas over curves: averages over classes, interpolation, bounds.

Shapes use C classes (or L labels) and K points of a curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from fastmetrics.ops.cells import Cells
from fastmetrics.ops.scores import Curve, Curves, image_curve
from fastmetrics.utilities.data import scalar, vector

CLASS_AVERAGES = ("macro", "weighted", "none", None)
LABEL_AVERAGES = ("micro", *CLASS_AVERAGES)


def extreme_curve(cells: Cells, upper: bool) -> Curve:
    """Return the lowest (or highest) curve of scores that are known up to a cell.

    All positives lie at one end of their cells, all negatives at the other.
    """
    first, last = cells.images.unbind(1)
    negatives, positives = cells.counts.unbind(1)
    nothing = torch.zeros_like(negatives)
    ends = (first, last) if upper else (last, first)
    return image_curve(
        torch.cat(ends), torch.cat([negatives, nothing]), torch.cat([nothing, positives])
    )


def sum_from(images: Tensor, counts: Tensor, least: Tensor, above: bool = False) -> Tensor:
    """Return how many of the ``counts`` ``[K]`` have an image not below (or above) each least."""
    image, order = images.sort()
    below = torch.cat([counts.new_zeros(1), counts[order].cumsum(0)])
    return below[-1] - below[torch.searchsorted(image, least.contiguous(), right=above)]


def enclose(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Widen float32 bounds in [0, 1] by the last digit, which rounding may have moved."""
    infinity = torch.full_like(low, torch.inf)
    return low.nextafter(-infinity).clamp(min=0.0), high.nextafter(infinity).clamp(max=1.0)


def each_class(curves: Curves, value: Callable[[Curve], Tensor]) -> Tensor:
    """Return the value of every class."""
    return value(curves) if isinstance(curves, Curve) else torch.stack([value(c) for c in curves])


def positives_of(curves: Curves) -> Tensor:
    """Return the positives of every class."""
    return each_class(curves, lambda curve: curve.positives)


def negatives_of(curves: Curves) -> Tensor:
    """Return the negatives of every class."""
    return each_class(curves, lambda curve: curve.negatives)


def average_classes(
    values: Tensor, average: str | None, positives: Tensor, undefined: str | None
) -> Tensor:
    """Average float64 values ``[C]`` over the classes where they are defined; float32."""
    if average in (None, "none"):
        return values.float()
    defined = ~values.isnan()
    weight = (positives if average == "weighted" else torch.ones_like(values)) * defined
    mean = (values.nan_to_num(0.0) * weight).sum() / weight.sum()
    return (mean.nan_to_num(0.0) if undefined is None else mean).float()


def average_numbers(
    values: Sequence[float], average: str | None, positives: Sequence[float], undefined: str | None
) -> Tensor:
    """Do the same with numbers, for a few classes on the CPU."""
    if average in (None, "none"):
        return vector([*values])
    weights = positives if average == "weighted" else [1.0] * len(values)
    pairs = [(w, value) for w, value in zip(weights, values, strict=True) if value == value]
    total = sum(w for w, _ in pairs)
    if not total:
        return scalar(0.0 if undefined is None else math.nan)
    return scalar(sum(w * value for w, value in pairs) / total)


def interpolate(x: Tensor, known_x: Tensor, known_y: Tensor) -> Tensor:
    """Evaluate at ``x`` the lines between known points, each from its left point on.

    As many ``known_x`` as do not exceed an ``x`` choose its line, even where they do not ascend.
    Points whose ``known_x`` is NaN come last and are no part of the curve.
    """
    if len(known_x) == 1:
        return known_y.expand_as(x)
    step = known_x.diff()
    slope = torch.where(step != 0, known_y.diff() / step, 0.0)
    offset = known_y[:-1] - slope * known_x[:-1]
    finite = known_x.nan_to_num(torch.inf).sort().values
    index = torch.searchsorted(finite, x.nan_to_num(-torch.inf), right=True) - 1
    points = (~known_x.isnan()).sum()
    index = index.minimum(points - 2).clamp(min=0)
    return torch.where(points > 1, slope[index] * x + offset[index], known_y[0])


def _filled(x: Tensor) -> Tensor:
    """Put the last number before them in the place of NaN; the first is none."""
    place = torch.arange(len(x), device=x.device).where(~x.isnan(), 0).cummax(-1).values
    return x[place]


def rows_of(points: Iterable[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Return x and y of each class, given them for one, ``[K]``, or for several, ``[C, K]``."""
    return [
        row
        for x, y in points
        for row in zip(x.view(-1, x.shape[-1]), y.view(-1, y.shape[-1]), strict=True)
    ]


def mean_curve(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the x of all classes, sorted, and there the mean of the interpolated curves.

    For points without x, see :func:`interpolate`, there is that of the point before.
    """
    x = torch.cat([_filled(known) for known, _ in rows]).sort().values
    total = torch.zeros_like(x)
    for known_x, known_y in rows:
        total += interpolate(x, known_x, known_y)
    return x, total / len(rows)
