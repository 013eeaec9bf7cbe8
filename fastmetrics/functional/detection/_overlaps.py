"""How functions of pairs of boxes are declared."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from fastmetrics.core.statistic import wants_gradients
from fastmetrics.functional._declare import declared
from fastmetrics.ops.box_overlaps import box_overlaps_, overlaps
from fastmetrics.ops.checks import check_real
from fastmetrics.utilities.checks import check_bool
from fastmetrics.utilities.dtypes import result_dtype

_ARGUMENTS = """
    Args:
        preds: boxes (x1, y1, x2, y2) in any real dtype, ``[N, 4]``.
        target: boxes ``[M, 4]``.
        iou_threshold: pairs below it get ``replacement_val``, if it is given.
        replacement_val: what they get.
        aggregate: whether the mean of box i of both is returned, instead of all pairs.

    Returns:
        A scalar, or ``[N, M]``; float64 if boxes are, else float32. Where one side has no boxes,
        each box of the other one counts 0.

    Raises:
        ValueError: boxes have another shape than ``(N, 4)``.
"""
_EXAMPLE = """
    >>> preds = torch.tensor([[296.55, 93.96, 314.97, 152.79], [328.94, 97.05, 342.49, 122.98]])
    >>> target = torch.tensor([[300.0, 100.0, 315.0, 150.0], [330.0, 100.0, 350.0, 125.0]])
    >>> {name}(preds, target)
    {shows}
"""


def matrix(preds: Tensor, target: Tensor, kind: int) -> Tensor:
    """Return the value of each pair ``[N, M]``, float32, or float64 where boxes are.

    Raises:
        ValueError: boxes have another shape than ``(N, 4)``.
    """
    for name, boxes in (("preds", preds), ("target", target)):
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"`{name}` must have shape (N, 4), got {tuple(boxes.shape)}.")
        check_real("box_overlaps_", name, boxes)
    dtype = result_dtype(preds, target)
    if wants_gradients(preds, target):
        return overlaps(preds.double()[:, None], target.double()[None], kind).to(dtype)
    shape = preds.shape[0], target.shape[0]
    state = torch.zeros(shape[0] * shape[1], dtype=torch.float64, device=preds.device)
    box_overlaps_(state, preds, target, None, None, kind)
    return state.view(shape).to(dtype)


class OverlapFunction(Protocol):
    """A function of pairs of boxes."""

    def __call__(
        self,
        preds: Tensor,
        target: Tensor,
        iou_threshold: float | None = None,
        replacement_val: float = 0,
        aggregate: bool = True,
    ) -> Tensor: ...


def overlap(name: str, kind: int, summary: str, *, shows: str) -> OverlapFunction:
    """Declare a function of pairs of boxes; ``shows`` is its value for those of the example."""

    def function(
        preds: Tensor,
        target: Tensor,
        iou_threshold: float | None = None,
        replacement_val: float = 0,
        aggregate: bool = True,
    ) -> Tensor:
        check_bool("aggregate", aggregate)
        values = matrix(preds, target, kind)
        if not values.numel():  # one side alone: none of its boxes overlaps any
            size = max(values.shape)
            values = values.new_zeros(size, size, dtype=torch.float32)
        elif iou_threshold is not None:
            values = torch.where(values < iou_threshold, replacement_val, values)
        if not aggregate:
            return values
        return values.diag().mean() if values.numel() else values.new_zeros(())

    example = _EXAMPLE.format(name=name, shows=shows)
    return declared(function, name, summary, arguments=_ARGUMENTS, example=example)
