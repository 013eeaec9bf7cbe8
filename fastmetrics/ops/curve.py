"""Exact curves from all scores that a metric has kept: sorted once, in ``compute``.

__all__ = ["curve_areas_", "curve_points_"]

A kept row has C scores ``[M, C]``, one column per class or label. Its labels are, for binary and
multilabel inputs, uint8 ``[M, C]``: 0, 1, or 255 for what is left out; for multiclass inputs the
class ``[M]``, uint8 with 255 or int32 with -1 for what is left out, and column c has the samples of
class c as its positives. Rows lie in chunks, as they came in.

Equal scores form one point of a curve. -0 equals +0, infinities are ordinary scores, and every NaN
ranks below all numbers, equal to each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fastmetrics.ops.checks import SCORE_DTYPES, shape_text
from fastmetrics.ops.define import define

_AREAS = "curve_areas_"
_POINTS = "curve_points_"

# Columns that the reference sorts together have about this many scores.
_BATCH = 2**22


def _check_rows(
    op: str, out: Tensor, preds: list[Tensor], target: list[Tensor], multi: bool
) -> int:
    """Raise unless the chunks are kept rows that fit together; return their number of columns."""
    if len(preds) != len(target):
        raise ValueError(
            f"{op}: `preds` and `target` must have as many chunks, got {len(preds)} and"
            f" {len(target)}."
        )
    wanted = "(M,)" if multi else "(M, C)"
    labels = (torch.uint8, torch.int32) if multi else (torch.uint8,)
    for scores, marks in zip(preds, target, strict=True):
        rows = scores.shape[:1] if multi else scores.shape
        if scores.ndim != 2 or marks.shape != rows or scores.shape[1] != preds[0].shape[1]:
            raise ValueError(
                f"{op}: chunks of `preds` must have shape (M, C), and those of `target` {wanted},"
                f" got {shape_text(scores)} and {shape_text(marks)}."
            )
        if scores.dtype not in SCORE_DTYPES or scores.dtype != preds[0].dtype:
            raise ValueError(
                f"{op}: all chunks of `preds` must have one float dtype, got {scores.dtype}."
            )
        if marks.dtype not in labels or marks.dtype != target[0].dtype:
            raise ValueError(
                f"{op}: all chunks of `target` must have one dtype of"
                f" {', '.join(map(str, labels))}, got {marks.dtype}."
            )
        if scores.device != out.device or marks.device != out.device:
            raise ValueError(
                f"{op}: `preds`, `target` and the result must be on one device, got"
                f" {scores.device}, {marks.device} and {out.device}."
            )
    return preds[0].shape[1] if preds else 0


def check_curve_areas(
    areas: Tensor, preds: list[Tensor], target: list[Tensor], multiclass: bool, pool: bool
) -> None:
    """Metadata check of `curve_areas_`, and its fake."""
    columns = _check_rows(_AREAS, areas, preds, target, multiclass)
    curves = 1 if pool else columns
    fits = areas.ndim == 2 and areas.shape[1] == 4 and (not preds or areas.shape[0] == curves)
    if not fits or areas.dtype != torch.float64:
        raise ValueError(
            f"{_AREAS}: `areas` must be float64 with shape ({curves}, 4), got {areas.dtype} with"
            f" {shape_text(areas)}."
        )


def check_curve_points(
    fps: Tensor, tps: Tensor, thresholds: Tensor, count: Tensor, preds: list[Tensor],
    target: list[Tensor], multiclass: bool, pool: bool,
) -> None:  # fmt: skip
    """Metadata check of `curve_points_`, and its fake."""
    columns = _check_rows(_POINTS, fps, preds, target, multiclass)
    curves = 1 if pool else columns
    if preds and (count.shape != (curves,) or count.dtype != torch.int64):
        raise ValueError(
            f"{_POINTS}: `count` must be int64 with shape ({curves},), got {count.dtype} with"
            f" {shape_text(count)}."
        )
    rows = sum(chunk.shape[0] for chunk in preds) * (columns if pool else 1)
    for name, out, dtype in (
        ("fps", fps, torch.float64),
        ("tps", tps, torch.float64),
        ("thresholds", thresholds, preds[0].dtype if preds else thresholds.dtype),
    ):
        fits = out.ndim == 2 and out.shape == fps.shape and out.device == count.device
        if not fits or out.dtype != dtype or out.shape[0] != len(count) or out.shape[1] < rows:
            raise ValueError(
                f"{_POINTS}: `{name}` must be {dtype} with shape ({len(count)}, R), R at least"
                f" {rows} and that of `fps`, on {count.device}, got {out.dtype} with"
                f" {shape_text(out)} on {out.device}."
            )


def gather_columns(
    preds: list[Tensor], target: list[Tensor], first: int, last: int, multiclass: bool
) -> tuple[Tensor, Tensor]:
    """Return the columns [first, last) as rows of scores and of uint8 labels."""
    scores = torch.cat([chunk[:, first:last] for chunk in preds]).t()
    if not multiclass:
        return scores, torch.cat([chunk[:, first:last] for chunk in target]).t()
    classes = torch.cat(target)
    left_out = 255 if classes.dtype == torch.uint8 else -1
    columns = torch.arange(first, last, device=classes.device).unsqueeze(1)
    return scores, torch.where(classes == left_out, 255, (classes == columns).to(torch.uint8))


def sort_scores(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sort each row by descending score, NaN last; return the negated scores and the labels."""
    # Negated and without -0, an ascending sort has them in this order.
    keys, order = (-scores + 0.0).contiguous().sort(dim=-1)
    return keys, labels.gather(-1, order)


def batches(
    preds: list[Tensor], target: list[Tensor], multiclass: bool, pool: bool
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield which curves, their sorted keys and labels, a few curves at a time; none if empty."""
    rows = sum(chunk.shape[0] for chunk in preds)
    if rows == 0:
        return
    columns = preds[0].shape[1]
    step = columns if pool else max(1, _BATCH // rows)
    for first in range(0, columns, step):
        last = min(first + step, columns)
        scores, labels = gather_columns(preds, target, first, last, multiclass)
        if pool:
            scores, labels = scores.reshape(1, -1), labels.reshape(1, -1)
        yield slice(0, 1) if pool else slice(first, last), *sort_scores(scores, labels)


class Groups(NamedTuple):
    """Cumulative counts along sorted scores, and where groups of equal scores end."""

    ends: Tensor
    tps: Tensor
    fps: Tensor

    @classmethod
    def of(cls, keys: Tensor, labels: Tensor) -> Groups:
        """Compare neighbours of each row; NaN equals NaN."""
        same = (keys[..., 1:] == keys[..., :-1]) | (keys[..., 1:].isnan() & keys[..., :-1].isnan())
        ends = torch.cat([~same, torch.ones_like(labels[..., :1], dtype=torch.bool)], -1)
        return cls(ends, (labels == 1).cumsum(-1), (labels == 0).cumsum(-1))

    def before(self, counts: Tensor) -> Tensor:
        """Return, for each end of a group, the counts at the end of the group before it."""
        known = torch.where(self.ends, counts, 0).cummax(-1).values
        return torch.cat([torch.zeros_like(known[..., :1]), known[..., :-1]], -1)


def curve_areas_reference(
    areas: Tensor, preds: list[Tensor], target: list[Tensor], multiclass: bool, pool: bool
) -> None:
    """Plain torch twin of the compiled kernels."""
    areas.zero_()
    for curves, keys, labels in batches(preds, target, multiclass, pool):
        groups = Groups.of(keys, labels)
        tps, fps = groups.tps, groups.fps
        tps_before, fps_before = groups.before(tps), groups.before(fps)
        twice = torch.where(groups.ends, (fps - fps_before) * (tps + tps_before), 0)
        shares = (tps - tps_before).double() * tps / (tps + fps).clamp(min=1)
        areas[curves, 0] = twice.sum(-1).double() / 2
        areas[curves, 1] = torch.where(groups.ends, shares, 0.0).sum(-1)
        areas[curves, 2] = fps[..., -1].double()
        areas[curves, 3] = tps[..., -1].double()


def curve_points_reference(
    fps: Tensor, tps: Tensor, thresholds: Tensor, count: Tensor, preds: list[Tensor],
    target: list[Tensor], multiclass: bool, pool: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernel."""
    count.zero_()
    for curves, keys, labels in batches(preds, target, multiclass, pool):
        groups = Groups.of(keys, labels)
        counted = groups.tps + groups.fps
        # Groups of nothing but left-out scores are no points; what is not kept goes one place
        # beyond the last point.
        kept = groups.ends & (counted > groups.before(counted))
        number = kept.cumsum(-1)
        count[curves] = number[:, -1]
        rows = kept.shape[1]
        place = torch.where(kept, number - 1, rows)
        for out, values in ((fps, groups.fps), (tps, groups.tps), (thresholds, 0.0 - keys)):
            found = out.new_zeros(len(kept), rows + 1)
            found.scatter_(1, place, values.to(out.dtype))
            out[curves, :rows] = found[:, :-1]


_curve_areas = define(
    _AREAS,
    "(Tensor(a!) areas, Tensor[] preds, Tensor[] target, bool multiclass, bool pool)",
    curve_areas_reference,
    check_curve_areas,
    in_compute=True,
)
_curve_points = define(
    _POINTS,
    "(Tensor(a!) fps, Tensor(b!) tps, Tensor(c!) thresholds, Tensor(d!) count, Tensor[] preds,"
    " Tensor[] target, bool multiclass, bool pool)",
    curve_points_reference,
    check_curve_points,
    in_compute=True,
    triton=False,
)


def curve_areas_(
    areas: Tensor,
    preds: list[Tensor],
    target: list[Tensor],
    multiclass: bool = False,
    pool: bool = False,
) -> None:
    """Write what the areas under the ROC and the precision-recall curve follow from.

    Columns of ``areas``: the number of pairs of a positive and a negative in the right order, ties
    one half; the sum over positives of the precision among all scores at or above; the number of
    negatives; the number of positives. So the area under the ROC curve is column 0 by the product
    of columns 2 and 3, and the average precision column 1 by column 3.

    Args:
        areas: float64 ``[C, 4]``, or ``[1, 4]`` with ``pool``. Overwritten.
        preds: chunks ``[M_i, C]`` of one float dtype; none at all gives zeros.
        target: their labels, as the module describes them.
        multiclass: whether labels are classes ``[M_i]``.
        pool: count all columns as one curve.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or (CPU) a curve has 2**32 scores.

    Cost: three passes over the scores; memory for one image per score of the curves in work, of the
    size of a score, or for 65 536 counters with 16-bit scores.

    >>> import torch
    >>> from fastmetrics.ops import curve_areas_
    >>> areas = torch.empty(1, 4, dtype=torch.float64)
    >>> scores, labels = torch.tensor([[0.1], [0.7], [0.4]]), torch.tensor([[0], [1], [1]])
    >>> curve_areas_(areas, [scores], [labels.byte()])
    >>> areas
    tensor([[2., 2., 1., 2.]], dtype=torch.float64)
    """
    _curve_areas(areas, preds, target, multiclass, pool)


def curve_points_(
    fps: Tensor,
    tps: Tensor,
    thresholds: Tensor,
    count: Tensor,
    preds: list[Tensor],
    target: list[Tensor],
    multiclass: bool = False,
    pool: bool = False,
) -> None:
    """Write the points of each curve: distinct scores, and what lies at or above each.

    Args:
        fps: float64 ``[C, R]``, or ``[1, R]`` with ``pool``; R at least the number of scores of a
            curve. Negatives at or above each distinct score. What follows the last point is
            unspecified, here and below.
        tps: float64 ``[C, R]``: positives at or above.
        thresholds: ``[C, R]`` in the dtype of the scores: the distinct scores, descending, NaN
            last.
        count: int64 ``[C]``: the number of distinct scores.
        preds: chunks ``[M_i, C]`` of one float dtype; none at all gives no points.
        target: their labels, as the module describes them.
        multiclass: whether labels are classes ``[M_i]``.
        pool: take all columns as one curve.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or (CPU) a curve has 2**32 scores.

    >>> import torch
    >>> from fastmetrics.ops import curve_points_
    >>> fps, tps = torch.zeros(2, 1, 3, dtype=torch.float64)
    >>> thresholds, count = torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64)
    >>> scores, labels = torch.tensor([[0.1], [0.7], [0.4]]), torch.tensor([[0], [1], [1]])
    >>> curve_points_(fps, tps, thresholds, count, [scores], [labels.byte()])
    >>> fps.tolist(), tps.tolist()
    ([[0.0, 0.0, 1.0]], [[1.0, 2.0, 2.0]])
    """
    _curve_points(fps, tps, thresholds, count, preds, target, multiclass, pool)
