"""Rates, precision and recall from what lies at or above each threshold, and the best of them.

Counts have K points by descending threshold. Where the result has K + 1 points, there is one more
in front of them, which no score reaches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.ops.checks import shape_text
from fastmetrics.ops.define import define

__all__ = ["best_rates_", "precision_recall_", "roc_rates_"]

# What `best_rates_` looks for, and of what a minimum is asked.
KINDS = range(4)
PRECISION_AT_RECALL, RECALL_AT_PRECISION = KINDS[:2]
SENSITIVITY_AT_SPECIFICITY, SPECIFICITY_AT_SENSITIVITY = KINDS[2:]
# Those of which nothing is not enough, and of equal ones the one with more of the other counts.
OF_PRECISION = (PRECISION_AT_RECALL, RECALL_AT_PRECISION)

_BEST, _PRECISION, _RATES = "best_rates_", "precision_recall_", "roc_rates_"


def _check_counts(op: str, counts: dict[str, Tensor], totals: dict[str, Tensor]) -> None:
    """Raise unless these are counts of the same points, and their totals."""
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


def _check_coordinates(op: str, out: dict[str, Tensor], fps: Tensor) -> None:
    """Raise unless the results have as many points as the counts, or one more."""
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
    totals = {"negatives": negatives, "positives": positives}
    _check_counts(_RATES, {"fps": fps, "tps": tps}, totals)
    _check_coordinates(_RATES, {"fpr": fpr, "tpr": tpr}, fps)


def check_precision_recall(
    precision: Tensor, recall: Tensor, fps: Tensor, tps: Tensor, positives: Tensor,
    ascending: bool, undefined: float,
) -> None:  # fmt: skip
    """Metadata check of `precision_recall_`, and its fake."""
    _check_counts(_PRECISION, {"fps": fps, "tps": tps}, {"positives": positives})
    _check_coordinates(_PRECISION, {"precision": precision, "recall": recall}, fps)


def check_best_rates(
    best: Tensor, place: Tensor, fps: Tensor, tps: Tensor, negatives: Tensor, positives: Tensor,
    kind: int, minimum: float, leads: bool, undefined: float,
) -> None:  # fmt: skip
    """Metadata check of `best_rates_`, and its fake."""
    totals = {"negatives": negatives, "positives": positives}
    _check_counts(_BEST, {"fps": fps, "tps": tps}, totals)
    shape, device = negatives.shape, fps.device
    for name, tensor, dtypes in (
        ("best", best, (torch.float32, torch.float64)),
        ("place", place, (torch.int64,)),
    ):
        if tensor.shape != shape or tensor.dtype not in dtypes or tensor.device != device:
            raise ValueError(
                f"{_BEST}: `{name}` must be {' or '.join(map(str, dtypes))} with shape"
                f" {tuple(shape)} on {device}, got {tensor.dtype} with {shape_text(tensor)} on"
                f" {tensor.device}."
            )
    if kind not in KINDS:
        raise ValueError(f"{_BEST}: `kind` must be one of {[*KINDS]}, got {kind}.")


def _led(counts: Tensor) -> Tensor:
    """Put a point without counts in front."""
    return torch.cat([counts.new_zeros(*counts.shape[:-1], 1), counts], -1)


def _shares(counts: Tensor, total: Tensor, undefined: float) -> Tensor:
    total = total.unsqueeze(-1)
    return torch.where(total == 0, undefined, counts / total)


def roc_rates_reference(
    fpr: Tensor, tpr: Tensor, fps: Tensor, tps: Tensor, negatives: Tensor, positives: Tensor,
    undefined: float,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernel."""
    if fpr.shape[-1] > fps.shape[-1]:
        fps, tps = _led(fps), _led(tps)
    fpr.copy_(_shares(fps, negatives, undefined))
    tpr.copy_(_shares(tps, positives, undefined))


def precision_recall_reference(
    precision: Tensor, recall: Tensor, fps: Tensor, tps: Tensor, positives: Tensor,
    ascending: bool, undefined: float,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernel."""
    precisions, recalls = tps / (tps + fps), _shares(tps, positives, undefined)
    if precision.shape[-1] > fps.shape[-1]:
        one = positives.new_ones((*positives.shape, 1))
        precisions, recalls = torch.cat([one, precisions], -1), _led(recalls)
    precision.copy_(precisions.flip(-1) if ascending else precisions)
    recall.copy_(recalls.flip(-1) if ascending else recalls)


def best_rates_reference(
    best: Tensor, place: Tensor, fps: Tensor, tps: Tensor, negatives: Tensor, positives: Tensor,
    kind: int, minimum: float, leads: bool, undefined: float,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernel."""
    if leads:
        fps, tps = _led(fps), _led(tps)
    found = _shares(tps, positives, undefined)
    if kind in OF_PRECISION:
        other = tps / (tps + fps)
    else:  # not 1 - fpr, whose rounding would decide whether a minimum is reached
        other = _shares(negatives.unsqueeze(-1) - fps, negatives, 1.0)
    is_found = kind in (RECALL_AT_PRECISION, SENSITIVITY_AT_SPECIFICITY)
    rate, constrained = (found, other) if is_found else (other, found)
    least = 0.0 if kind in OF_PRECISION else -torch.inf
    allowed = rate.where((constrained >= minimum) & (rate > least), -torch.inf)
    # A last point stands for none: worse than those allowed, better than the others.
    none = allowed.new_full((*allowed.shape[:-1], 1), -1.0)
    ranks = torch.cat([allowed, none], -1)
    value, index = ranks.max(-1)
    if kind in OF_PRECISION:
        preferred = torch.cat([constrained, none], -1)
        index = preferred.where(ranks == value.unsqueeze(-1), -torch.inf).argmax(-1)
    best.copy_(value.clamp(min=0.0))
    place.copy_(index)


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


_best_rates = define(
    _BEST,
    "(Tensor(a!) best, Tensor(b!) place, Tensor fps, Tensor tps, Tensor negatives,"
    " Tensor positives, int kind, float minimum, bool leads, float undefined)",
    best_rates_reference,
    check_best_rates,
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


def best_rates_(
    best: Tensor,
    place: Tensor,
    fps: Tensor,
    tps: Tensor,
    negatives: Tensor,
    positives: Tensor,
    kind: int,
    minimum: float,
    leads: bool,
    undefined: float,
) -> None:
    """Write the best rate of each curve among the points where another reaches a minimum.

    Recall and sensitivity are ``tps / positives``, precision ``tps / (tps + fps)``, NaN of nothing,
    and specificity ``(negatives - fps) / negatives``, 1 without negatives. Of equally good points
    the first counts, but of precision or recall the one with more of the other; and of those a rate
    of 0 is none. NaN is no rate.

    Args:
        best: float32 or float64 ``[C]`` or ``[]``: the rate, 0 where there is no such point.
            Overwritten.
        place: int64, the same: which point that is; one beyond the last where there is none.
            Overwritten.
        fps: float64 ``[C, K]`` or ``[K]``: negatives at or above each threshold, descending.
        tps: the same: positives at or above.
        negatives: float64 ``[C]`` or ``[]``: all of them.
        positives: the same.
        kind: ``PRECISION_AT_RECALL``, ``RECALL_AT_PRECISION``, ``SENSITIVITY_AT_SPECIFICITY`` or
            ``SPECIFICITY_AT_SENSITIVITY`` of this module.
        minimum: what the other rate must reach.
        leads: whether there is one more point in front, which no score reaches.
        undefined: what takes the place of a recall of none.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or there is no such kind.

    >>> import torch
    >>> from fastmetrics.ops import best_rates_
    >>> from fastmetrics.ops.rates import RECALL_AT_PRECISION
    >>> fps, tps = torch.tensor([[0.0, 0.0, 1.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    >>> best, place = torch.empty(()), torch.empty((), dtype=torch.int64)
    >>> kind = RECALL_AT_PRECISION
    >>> best_rates_(best, place, fps, tps, fps[-1], tps[-1], kind, 0.9, False, 1.0)
    >>> best, place
    (tensor(0.6667), tensor(1))
    """
    _best_rates(
        best, place, fps, tps, negatives, positives, kind, minimum, leads, undefined
    )  # fmt: skip
