"""How much pairs of boxes overlap: IoU and its relatives, for all pairs or for those of images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.ops.checks import check_real, shape_text
from fastmetrics.ops.define import define

__all__ = ["box_overlaps_"]

IOU, GIOU, DIOU, CIOU = range(4)
KINDS = (IOU, GIOU, DIOU, CIOU)
# Keeps the penalties of boxes without size finite.
EPS = 1e-7

_NAME = "box_overlaps_"


def check_box_overlaps(
    state: Tensor, boxes: Tensor, others: Tensor, rows: Tensor | None, columns: Tensor | None,
    kind: int,
) -> None:  # fmt: skip
    """Metadata check of `box_overlaps_`, and its fake."""
    for name, tensor in (("boxes", boxes), ("others", others)):
        if tensor.ndim != 2 or tensor.shape[1] != 4:
            raise ValueError(f"{_NAME}: `{name}` must have shape (N, 4), got {shape_text(tensor)}.")
        check_real(_NAME, name, tensor)
    if kind not in KINDS:
        raise ValueError(f"{_NAME}: `kind` must be one of {KINDS}, got {kind}.")
    if (rows is None) != (columns is None):
        raise ValueError(f"{_NAME}: `rows` and `columns` must both be given, or none of them.")
    pairs = boxes.shape[0] * others.shape[0]
    for name, index in (("rows", rows), ("columns", columns)):
        if index is not None:
            pairs = state.numel()
            if index.shape != (pairs,) or index.dtype != torch.int64 or not index.is_contiguous():
                raise ValueError(
                    f"{_NAME}: `{name}` must be contiguous int64 ({pairs},), got {index.dtype}"
                    f" {shape_text(index)}."
                )
    if state.dtype != torch.float64 or state.shape != (pairs,) or not state.is_contiguous():
        raise ValueError(
            f"{_NAME}: `state` must be contiguous float64 ({pairs},), got {state.dtype}"
            f" {shape_text(state)}."
        )
    for each in (boxes, others, rows, columns):
        if each is not None and each.device != state.device:
            raise ValueError(f"{_NAME}: all tensors must be on one device.")


def overlaps(boxes: Tensor, others: Tensor, kind: int) -> Tensor:
    """Return the value of pairs of boxes ``[..., 4]`` that broadcast, by torch operations."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    u1, v1, u2, v2 = others.unbind(-1)
    width = (x2.minimum(u2) - x1.maximum(u1)).clamp(min=0)
    height = (y2.minimum(v2) - y1.maximum(v1)).clamp(min=0)
    both = width * height
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - both
    iou = both / union
    if kind == IOU:
        return iou
    around_x = (x2.maximum(u2) - x1.minimum(u1)).clamp(min=0)
    around_y = (y2.maximum(v2) - y1.minimum(v1)).clamp(min=0)
    if kind == GIOU:
        around = around_x * around_y
        return iou - (around - union) / around
    apart = ((x1 + x2 - u1 - u2) / 2) ** 2 + ((y1 + y2 - v1 - v2) / 2) ** 2
    diou = iou - apart / (around_x**2 + around_y**2 + EPS)
    if kind == DIOU:
        return diou
    bend = torch.atan((x2 - x1) / (y2 - y1)) - torch.atan((u2 - u1) / (v2 - v1))
    aspect = 4 / math.pi**2 * bend**2
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + EPS)
    return diou - weight * aspect


def box_overlaps_reference(
    state: Tensor, boxes: Tensor, others: Tensor, rows: Tensor | None, columns: Tensor | None,
    kind: int,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    first, second = boxes.double(), others.double()
    if rows is None or columns is None:
        first, second = first[:, None], second[None]
    else:
        first, second = first[rows], second[columns]
    state.copy_(overlaps(first, second, kind).flatten())


_box_overlaps = define(
    _NAME,
    "(Tensor(a!) state, Tensor boxes, Tensor others, Tensor? rows, Tensor? columns, int kind)",
    box_overlaps_reference,
    check_box_overlaps,
)


def box_overlaps_(
    state: Tensor,
    boxes: Tensor,
    others: Tensor,
    rows: Tensor | None,
    columns: Tensor | None,
    kind: int,
) -> None:
    """Write how much pairs of boxes overlap, all of them or those that are named.

    With A and B boxes, C the smallest box around both, c its diagonal, d the distance of the
    centers and v = (2 / pi * (atan(w / h) of A - atan(w / h) of B))^2: ``IOU`` is
    ``|A & B| / |A | B|``, ``GIOU`` is ``IoU - (|C| - |A | B|) / |C|``, ``DIOU`` is
    ``IoU - d^2 / (c^2 + 1e-7)`` and ``CIOU`` is ``DIoU - v^2 / (1 - IoU + v + 1e-7)``.

    Args:
        state: float64 ``[P]``, written: all pairs row by row, or those of ``rows``.
        boxes: any real dtype ``[N, 4]``: (x1, y1, x2, y2).
        others: any real dtype ``[M, 4]``.
        rows: optional int64 ``[P]``: which of ``boxes``.
        columns: optional int64 ``[P]``: which of ``others``; given with ``rows``.
        kind: ``IOU``, ``GIOU``, ``DIOU`` or ``CIOU``.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    Cost: reads each box once, and writes each pair once.

    >>> import torch
    >>> from fastmetrics.ops import box_overlaps_
    >>> state = torch.zeros(1, dtype=torch.float64)
    >>> box, other = torch.tensor([[0, 0, 2, 2]]), torch.tensor([[0, 0, 2, 1]])
    >>> box_overlaps_(state, box, other, None, None, 0)
    >>> state
    tensor([0.5000], dtype=torch.float64)
    """
    _box_overlaps(state, boxes, others, rows, columns, kind)
