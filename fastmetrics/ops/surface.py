"""Surfaces of masks, and how far apart they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, frozen
from fastmetrics.ops.checks import check_devices, shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import new_events, raise_events
from fastmetrics.ops.overlap import as_masks, check_shapes
from fastmetrics.utilities.checks import check_choice

__all__ = ["distance_transform_", "surface_distances_"]

METRICS = ("euclidean", "chessboard", "taxicab")
EUCLIDEAN, CHESSBOARD, TAXICAB = range(3)

# Columns of what is found of the distances from one surface to the other.
MAX, SUM, COUNT, WITHIN, PERCENTILE = range(5)
NUM_COLUMNS = 5


def _check_masks(op: str, masks: dict[str, Tensor], spacing: Sequence[float], metric: int) -> None:
    """Raise ``ValueError`` unless masks are bool ``[M, ...]``, with a spacing for each axis."""
    first = next(iter(masks.values()))
    for name, mask in masks.items():
        if mask.dtype != torch.bool:
            raise ValueError(f"{op}: `{name}` must be bool, got {mask.dtype}.")
        if mask.ndim < 2 or mask.shape != first.shape:
            raise ValueError(
                f"{op}: {' and '.join(f'`{each}`' for each in masks)} must have one shape (M, ...),"
                f" got {' and '.join(shape_text(each) for each in masks.values())}."
            )
    if len(spacing) != first.ndim - 1 or not all(each > 0 for each in spacing):
        raise ValueError(
            f"{op}: `spacing` must have {first.ndim - 1} positive numbers, got {[*spacing]}."
        )
    if metric not in range(len(METRICS)):
        raise ValueError(f"{op}: `metric` must be in [0, 2], got {metric}.")


def check_surface_distances(
    state: Tensor, preds: Tensor, target: Tensor, spacing: Sequence[float], metric: int,
    tolerance: float, percentile: float, both: bool,
) -> None:  # fmt: skip
    """Metadata check of `surface_distances_`, and its fake."""
    _check_masks("surface_distances_", {"preds": preds, "target": target}, spacing, metric)
    check_devices("surface_distances_", state, preds, target)
    if not 0 <= percentile <= 100:
        raise ValueError(f"surface_distances_: `percentile` must be in [0, 100], got {percentile}.")
    wanted = (preds.shape[0], 2, NUM_COLUMNS)
    if state.dtype != torch.float64 or state.shape != wanted:
        raise ValueError(
            f"surface_distances_: `state` must be float64 {wanted}, got {state.dtype}"
            f" {shape_text(state)}."
        )


def check_distance_transform(
    state: Tensor, masks: Tensor, spacing: Sequence[float], metric: int
) -> None:
    """Metadata check of `distance_transform_`, and its fake."""
    _check_masks("distance_transform_", {"masks": masks}, spacing, metric)
    if state.dtype != torch.float64 or state.shape != masks.shape:
        raise ValueError(
            f"distance_transform_: `state` must be float64 {shape_text(masks)}, got {state.dtype}"
            f" {shape_text(state)}."
        )


def surface_of(masks: Tensor) -> Tensor:
    """Return which pixels of masks ``[M, ...]`` have a neighbour along an axis that is not in."""
    core = masks.clone()
    for axis in range(1, masks.ndim):
        length = masks.shape[axis]
        for ahead in (1, -1):
            inner = masks.roll(ahead, axis)
            inner.select(axis, 0 if ahead == 1 else length - 1).fill_(False)
            core &= inner
    return masks & ~core


def _distances(to: Tensor, spacing: Sequence[float], metric: int) -> Tensor:
    """Return how far the nearest pixel that is set is from each ``[M, ...]``; inf without one."""
    heights = torch.where(to, 0.0, torch.inf).double()
    for axis, step in enumerate(spacing, start=1):
        length = heights.shape[axis]
        place = torch.arange(length, device=to.device, dtype=torch.float64)
        place = place.view(-1, *[1] * (to.ndim - 1 - axis))
        lowest = torch.full_like(heights, torch.inf)
        for y in range(length):
            height = heights.narrow(axis, y, 1)
            away = (place - y).abs() * step
            if metric == EUCLIDEAN:
                found = height + away.square()
            else:
                found = height + away if metric == TAXICAB else torch.maximum(height, away)
            torch.minimum(lowest, found, out=lowest)
        heights = lowest
    return heights.sqrt() if metric == EUCLIDEAN else heights


def surface_distances_reference(
    state: Tensor, preds: Tensor, target: Tensor, spacing: Sequence[float], metric: int,
    tolerance: float, percentile: float, both: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernel: each line tries all pairs of its pixels."""
    state.zero_()
    if not preds.numel():
        return
    surfaces = surface_of(preds), surface_of(target)
    for side, surface in enumerate(surfaces):
        row = state[:, side]
        row[:, COUNT] = surface.flatten(1).sum(1)
        if side == 1 and not both:
            continue
        distances = _distances(surfaces[1 - side], spacing, metric).flatten(1)
        on = surface.flatten(1)
        row[:, MAX] = distances.where(on, 0.0).amax(1)
        row[:, SUM] = distances.where(on, 0.0).sum(1)
        row[:, WITHIN] = ((distances <= tolerance) & on).sum(1)
        row[:, PERCENTILE] = _percentiles(distances.where(on, torch.inf), row[:, COUNT], percentile)


def _percentiles(distances: Tensor, counts: Tensor, percent: float) -> Tensor:
    """Return that of the first so many of each row, in order; 0 of none."""
    ordered = distances.sort(1).values
    place = (counts - 1).clamp(min=0) * percent / 100
    below = place.long()
    above = torch.minimum(below + 1, (counts - 1).clamp(min=0).long())
    low = ordered.gather(1, below.unsqueeze(1)).squeeze(1)
    high = ordered.gather(1, above.unsqueeze(1)).squeeze(1)
    found = torch.where(high == low, low, low + (high - low) * (place - below))
    return found.where(counts > 0, 0.0)


def distance_transform_reference(
    state: Tensor, masks: Tensor, spacing: Sequence[float], metric: int
) -> None:
    """Plain torch twin of the compiled kernel."""
    if masks.numel():
        state.copy_(_distances(~masks, spacing, metric))


_surface_distances = define(
    "surface_distances_",
    "(Tensor(a!) state, Tensor preds, Tensor target, float[] spacing, int metric, float tolerance,"
    " float percentile, bool both)",
    surface_distances_reference,
    check_surface_distances,
    triton=False,
)
_distance_transform = define(
    "distance_transform_",
    "(Tensor(a!) state, Tensor masks, float[] spacing, int metric)",
    distance_transform_reference,
    check_distance_transform,
    in_compute=True,
    triton=False,
)


def surface_distances_(
    state: Tensor,
    preds: Tensor,
    target: Tensor,
    spacing: Sequence[float],
    metric: int = EUCLIDEAN,
    tolerance: float = 0.0,
    percentile: float = 100.0,
    both: bool = True,
) -> None:
    """Write what there is to say about the distances between the surfaces of pairs of masks.

    Pixels of a mask are on its surface where a neighbour along an axis is not in the mask, or not
    in the image. The distance of a pixel of one surface is that to the nearest pixel of the other.

    Args:
        state: float64 ``[M, 2, 5]``, overwritten. Of the distances from ``preds`` to ``target``,
            and of those back: the largest, their sum, their number, how many are at most
            ``tolerance``, and the percentile, between two of them if need be. Distances to no
            surface are infinite; of no distances all is 0.
        preds: bool ``[M, ...]``.
        target: the same.
        spacing: how far pixels lie apart, for each axis behind the first.
        metric: 0 euclidean, 1 chessboard, 2 taxicab.
        tolerance: in the units of ``spacing``.
        percentile: in [0, 100].
        both: whether distances back are found, too; otherwise only their number is.

    Raises:
        ValueError: shapes, dtypes, devices or options do not fit; the state is unchanged.

    Cost: linear in the pixels of the box around each pair; temporaries of 9 bytes for each.

    >>> import torch
    >>> from fastmetrics.ops import surface_distances_
    >>> state = torch.zeros(1, 2, 5, dtype=torch.float64)
    >>> preds = torch.tensor([[[True, True, False, False]]])
    >>> target = torch.tensor([[[True, False, False, True]]])
    >>> surface_distances_(state, preds, target, [1.0, 1.0])
    >>> state
    tensor([[[1., 1., 2., 1., 1.],
             [2., 2., 2., 1., 2.]]], dtype=torch.float64)
    """
    preds, target = preds.contiguous(), target.contiguous()
    numbers = [float(each) for each in spacing]
    _surface_distances(state, preds, target, numbers, metric, tolerance, percentile, both)


def distance_transform_(
    state: Tensor, masks: Tensor, spacing: Sequence[float], metric: int = EUCLIDEAN
) -> None:
    """Write the distance of each pixel to the nearest one of its image that is not in the mask.

    Args:
        state: float64 ``[M, ...]``, overwritten; infinite where all of an image is in the mask.
        masks: bool ``[M, ...]``.
        spacing: how far pixels lie apart, for each axis behind the first.
        metric: 0 euclidean, 1 chessboard, 2 taxicab.

    Raises:
        ValueError: shapes, dtypes or options do not fit; the state is unchanged.

    Cost: linear in the pixels.

    >>> import torch
    >>> from fastmetrics.ops import distance_transform_
    >>> state = torch.zeros(1, 4, dtype=torch.float64)
    >>> distance_transform_(state, torch.tensor([[False, True, True, True]]), [1.0])
    >>> state
    tensor([[0., 1., 2., 3.]], dtype=torch.float64)
    """
    _distance_transform(state, masks.contiguous(), [float(each) for each in spacing], metric)


def hausdorff_of(found: Tensor, directed: bool) -> Tensor:
    """Return the percentile of the distances, the larger one of both directions, ``[M]``."""
    farthest = found[:, :, PERCENTILE]
    return _defined(found, farthest[:, 0] if directed else farthest.amax(1))


def average_distance_of(found: Tensor, directed: bool) -> Tensor:
    """Return the mean of the distances, those of both directions together, ``[M]``."""
    sums, counts = found[:, :, SUM], found[:, :, COUNT]
    if directed:
        return _defined(found, sums[:, 0] / counts[:, 0])
    return _defined(found, sums.sum(1) / counts.sum(1))


def surface_dice_of(found: Tensor) -> Tensor:
    """Return which share of both surfaces is within the tolerance of the other, ``[M]``."""
    return found[:, :, WITHIN].sum(1) / found[:, :, COUNT].sum(1)


def _defined(found: Tensor, distance: Tensor) -> Tensor:
    """Return distances; infinite where one surface is empty, NaN where both are."""
    empty = (found[:, :, COUNT] == 0).sum(1)
    return torch.where(empty == 0, distance, torch.where(empty == 1, torch.inf, torch.nan))


@frozen()
class Surfaces(Statistic):
    """Sums of distances between surfaces over all images and classes, ``sums`` ``[3]``.

    The Hausdorff distances, average distances and surface Dice scores, each of the ``pairs`` of
    which at least one surface is not empty.

    Attributes:
        num_classes: C.
        include_background: whether class 0 counts.
        input_format: as for :class:`~fastmetrics.ops.overlap.Overlap`.
        distance_metric: one of :data:`METRICS`.
        spacing: how far pixels lie apart along each axis; None for 1.
        directed: whether only distances from ``preds`` to ``target`` count.
        percentile: of the distances; None where nobody asks for one but the largest.
        tolerance: for the surface Dice score; None where nobody asks for that.
    """

    num_classes: int
    include_background: bool = False
    input_format: str = "one-hot"
    distance_metric: str = "euclidean"
    spacing: tuple[float, ...] | None = None
    directed: bool = False
    percentile: float | None = None
    tolerance: float | None = None

    op = staticmethod(surface_distances_)
    exact = ("sums", "pairs", "events")

    def check(self) -> None:
        """Raise ``ValueError`` unless the arguments are in range."""
        check_choice("distance_metric", self.distance_metric, METRICS)
        for name, most in (("percentile", 100), ("tolerance", torch.inf)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and 0 <= value <= most):
                raise ValueError(f"`{name}` must be in [0, {most}], got {value!r}.")

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {"sums": "sum", "pairs": "sum", "events": "sum"}

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        return {
            "sums": torch.zeros(3, dtype=torch.float64, device=device),
            "pairs": torch.zeros((), dtype=torch.int64, device=device),
            "events": new_events(device),
        }

    def found(self, preds: Tensor, target: Tensor, events: Tensor) -> Tensor:
        """Return what `surface_distances_` finds, a row for each image and class of it."""
        check_shapes(preds, target, self.input_format)
        masks = as_masks(preds, target, self.num_classes, self.input_format, events)
        first = 0 if self.include_background or self.num_classes == 1 else 1
        one, other = (mask[:, first:].flatten(0, 1).bool() for mask in masks)
        spacing = self.spacing or (1.0,) * (one.ndim - 1)
        found = torch.zeros(len(one), 2, NUM_COLUMNS, dtype=torch.float64, device=preds.device)
        surface_distances_(
            found,
            one,
            other,
            spacing,
            METRICS.index(self.distance_metric),
            0.0 if self.tolerance is None else self.tolerance,
            100.0 if self.percentile is None else self.percentile,
            not self.directed,
        )
        return found

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        if weight is not None:
            raise ValueError("`weight` must be None: surfaces all count the same.")
        values = states.values
        found = self.found(preds, target, values["events"])
        rows = torch.stack(
            [
                hausdorff_of(found, self.directed),
                average_distance_of(found, self.directed),
                surface_dice_of(found),
            ],
            -1,
        )
        exists = (found[:, :, COUNT] > 0).any(1, keepdim=True)
        values["sums"] += rows.where(exists, 0.0).sum(0)
        values["pairs"] += exists.sum()

    @override
    def report(self, owner: str, states: States) -> None:
        raise_events(owner, states.values["events"])

    @override
    def read_from(self, other: Statistic, states: States) -> dict[str, Any] | None:
        """Read them off those with a percentile or tolerance that nobody asks for here."""
        if not isinstance(other, Surfaces):
            return None
        free = {
            name: getattr(other, name)
            for name in ("percentile", "tolerance")
            if getattr(self, name) is None
        }
        return dict(states.values) if replace(self, **free) == other else None
