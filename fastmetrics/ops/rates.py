"""Coordinates of curves: rates, precision and recall from what lies at or above each threshold.

Counts have K points by descending threshold. Where the result has K + 1 points, there is one more
in front of them, which no score reaches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.ops.checks import shape_text
from fastmetrics.ops.define import define

__all__ = ["precision_recall_", "roc_rates_"]

_PRECISION, _RATES = "precision_recall_", "roc_rates_"


def _check(op: str, out: dict[str, Tensor], counts: dict[str, Tensor], **totals: Tensor) -> None:
    """Raise unless the results fit the counts."""
    fps = counts["fps"]
    if fps.ndim not in (1, 2):
        raise ValueError(f"{op}: `fps` must have shape (K,) or (C, K), got {shape_text(fps)}.")
    for name, tensor in (counts | totals).items():
        shape = fps.shape if name in counts else fps.shape[:-1]
        if tensor.shape != shape or tensor.dtype != torch.float64 or tensor.device != fps.device:
            raise ValueError(
                f"{op}: `{name}` must be float64 with shape {tuple(shape)} on {fps.device}, got"
                f" {tensor.dtype} with {shape_text(tensor)} on {tensor.device}."
            )
    points = fps.shape[-1]
    first, *_ = out.values()
    for name, tensor in out.items():
        fits = tensor.shape[:-1] == fps.shape[:-1] and tensor.shape == first.shape
        fits = fits and tensor.ndim > 0 and tensor.shape[-1] in (points, points + 1)
        if not fits or tensor.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"{op}: `{name}` must be float32 or float64 with {points} or {points + 1} points"
                f" for `fps` {shape_text(fps)}, and that of all results, got {tensor.dtype} with"
                f" {shape_text(tensor)}."
            )
        if tensor.dtype != first.dtype or tensor.device != fps.device:
            raise ValueError(
                f"{op}: all results must have one dtype and be on {fps.device}, got"
                f" {tensor.dtype} on {tensor.device}."
            )


def check_roc_rates(
    fpr: Tensor, tpr: Tensor, fps: Tensor, tps: Tensor, negatives: Tensor, positives: Tensor,
    undefined: float,
) -> None:  # fmt: skip
    """Metadata check of `roc_rates_`, and its fake."""
    counts = {"fps": fps, "tps": tps}
    _check(_RATES, {"fpr": fpr, "tpr": tpr}, counts, negatives=negatives, positives=positives)


def check_precision_recall(
    precision: Tensor, recall: Tensor, fps: Tensor, tps: Tensor, positives: Tensor,
    ascending: bool, undefined: float,
) -> None:  # fmt: skip
    """Metadata check of `precision_recall_`, and its fake."""
    out = {"precision": precision, "recall": recall}
    _check(_PRECISION, out, {"fps": fps, "tps": tps}, positives=positives)


def _shares(counts: Tensor, total: Tensor, points: int, undefined: float) -> Tensor:
    """Divide, behind a point without counts if there are to be more points than counts."""
    total = total.unsqueeze(-1)
    if points > counts.shape[-1]:
        counts = torch.cat([torch.zeros_like(total), counts], -1)
    return torch.where(total == 0, undefined, counts / total)


def roc_rates_reference(
    fpr: Tensor, tpr: Tensor, fps: Tensor, tps: Tensor, negatives: Tensor, positives: Tensor,
    undefined: float,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernel."""
    fpr.copy_(_shares(fps, negatives, fpr.shape[-1], undefined))
    tpr.copy_(_shares(tps, positives, tpr.shape[-1], undefined))


def precision_recall_reference(
    precision: Tensor, recall: Tensor, fps: Tensor, tps: Tensor, positives: Tensor,
    ascending: bool, undefined: float,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernel."""
    precisions, recalls = tps / (tps + fps), _shares(tps, positives, fps.shape[-1], undefined)
    if precision.shape[-1] > fps.shape[-1]:
        one = positives.new_ones((*positives.shape, 1))
        precisions, recalls = torch.cat([one, precisions], -1), torch.cat([0 * one, recalls], -1)
    precision.copy_(precisions.flip(-1) if ascending else precisions)
    recall.copy_(recalls.flip(-1) if ascending else recalls)


_roc_rates = define(
    _RATES,
    "(Tensor(a!) fpr, Tensor(b!) tpr, Tensor fps, Tensor tps, Tensor negatives, Tensor positives,"
    " float undefined)",
    roc_rates_reference,
    check_roc_rates,
    in_compute=True,
    triton=False,
)
_precision_recall = define(
    _PRECISION,
    "(Tensor(a!) precision, Tensor(b!) recall, Tensor fps, Tensor tps, Tensor positives,"
    " bool ascending, float undefined)",
    precision_recall_reference,
    check_precision_recall,
    in_compute=True,
    triton=False,
)


def roc_rates_(
    fpr: Tensor,
    tpr: Tensor,
    fps: Tensor,
    tps: Tensor,
    negatives: Tensor,
    positives: Tensor,
    undefined: float,
) -> None:
    """Write ``fps / negatives`` and ``tps / positives``, the coordinates of a ROC curve.

    Args:
        fpr: float32 or float64, ``[C, K]`` or ``[C, K + 1]``, or the same without C. Overwritten.
        tpr: the same.
        fps: float64 ``[C, K]`` or ``[K]``: negatives at or above each threshold.
        tps: the same: positives at or above.
        negatives: float64 ``[C]`` or ``[]``: all of them.
        positives: the same.
        undefined: what takes the place of a rate of none.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    >>> import torch
    >>> from fastmetrics.ops import roc_rates_
    >>> fps, tps = torch.tensor([[0.0, 0.0, 1.0], [1.0, 2.0, 2.0]], dtype=torch.float64)
    >>> fpr, tpr = torch.empty(4), torch.empty(4)
    >>> roc_rates_(fpr, tpr, fps, tps, fps[-1], tps[-1], 0.0)
    >>> fpr.tolist(), tpr.tolist()
    ([0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    _roc_rates(fpr, tpr, fps, tps, negatives, positives, undefined)


def precision_recall_(
    precision: Tensor,
    recall: Tensor,
    fps: Tensor,
    tps: Tensor,
    positives: Tensor,
    ascending: bool,
    undefined: float,
) -> None:
    """Write ``tps / (tps + fps)`` and ``tps / positives``; in front of all scores 1 and 0.

    Precision of nothing is NaN.

    Args:
        precision: float32 or float64, ``[C, K]`` or ``[C, K + 1]``, or the same without C.
            Overwritten.
        recall: the same.
        fps: float64 ``[C, K]`` or ``[K]``: negatives at or above each threshold.
        tps: the same: positives at or above.
        positives: float64 ``[C]`` or ``[]``: all of them.
        ascending: whether the points are written the other way round.
        undefined: what takes the place of a recall of none.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    >>> import torch
    >>> from fastmetrics.ops import precision_recall_
    >>> fps, tps = torch.tensor([[0.0, 0.0, 1.0], [1.0, 2.0, 2.0]], dtype=torch.float64)
    >>> precision, recall = torch.empty(4), torch.empty(4)
    >>> precision_recall_(precision, recall, fps, tps, tps[-1], True, 1.0)
    >>> precision, recall
    (tensor([0.6667, 1.0000, 1.0000, 1.0000]), tensor([1.0000, 1.0000, 0.5000, 0.0000]))
    """
    _precision_recall(precision, recall, fps, tps, positives, ascending, undefined)
