"""How functions of pairs of boxes are declared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor

from fastmetrics.core.statistic import wants_gradients
from fastmetrics.functional._public import public
from fastmetrics.ops.box_overlaps import box_overlaps_, overlaps
from fastmetrics.ops.checks import check_real
from fastmetrics.ops.kept_overlaps import value_dtype
from fastmetrics.utilities.checks import check_bool

F = TypeVar("F", bound=Callable[..., Tensor])


def matrix(preds: Tensor, target: Tensor, kind: int) -> Tensor:
    """Return the value of each pair ``[N, M]``, float32, or float64 where boxes are.

    Raises:
        ValueError: boxes have another shape than ``(N, 4)``.
    """
    for name, boxes in (("preds", preds), ("target", target)):
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"`{name}` must have shape (N, 4), got {tuple(boxes.shape)}.")
        check_real("box_overlaps_", name, boxes)
    dtype = value_dtype(preds, target)
    if wants_gradients(preds, target):
        return overlaps(preds.double()[:, None], target.double()[None], kind).to(dtype)
    shape = preds.shape[0], target.shape[0]
    state = torch.zeros(shape[0] * shape[1], dtype=torch.float64, device=preds.device)
    box_overlaps_(state, preds, target, None, None, kind)
    return state.view(shape).to(dtype)


def of_kind(kind: int) -> Callable[[F], F]:
    """Give a function of pairs of boxes its body. Its own body is its purpose."""

    def decorate(declaration: F) -> F:
        @functools.wraps(declaration)
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

        return cast(F, public(function))

    return decorate
