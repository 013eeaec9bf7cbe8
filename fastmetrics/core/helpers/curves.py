"""The steps of torchmetrics' precision-recall curves.

``_format`` makes of a batch what ``_update`` counts (a table for each threshold, or with none the
samples themselves), and ``_compute`` makes the curve: precision, recall and thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fastmetrics.core.helpers.counts import _columns, _kept
from fastmetrics.utilities.compute import _safe_divide, normalize_logits_if_needed
from fastmetrics.utilities.prints import rank_zero_warn

Curve = tuple[Any, Any, Any]
Thresholds = int | list[float] | Tensor | None


def _binary_clf_curve(
    preds: Tensor,
    target: Tensor,
    sample_weights: Sequence[float] | Tensor | None = None,
    pos_label: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    if preds.ndim > target.ndim:
        preds = preds[:, 0]
    order = preds.detach().argsort(descending=True)
    preds, positive = preds.detach()[order], target[order] == pos_label
    last = torch.cat([torch.where(preds.diff())[0], order.new_tensor([len(order) - 1])])
    if sample_weights is None:
        tps = positive.cumsum(0)[last]
        return (1 + last - tps).float(), tps.float(), preds[last]
    weight = torch.as_tensor(sample_weights, device=preds.device, dtype=torch.float)[order]
    tps, fps = ((weight * each).cumsum(0)[last] for each in (positive, ~positive))
    return fps, tps, preds[last]


def _adjust_threshold_arg(
    thresholds: Thresholds = None, device: torch.device | None = None
) -> Tensor | None:
    if isinstance(thresholds, int):
        return torch.linspace(0, 1, thresholds, device=device)
    return torch.tensor(thresholds, device=device) if isinstance(thresholds, list) else thresholds


def _binary_precision_recall_curve_format(
    preds: Tensor,
    target: Tensor,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    normalization: str | None = "sigmoid",
) -> Curve:
    preds, target = _kept(preds.flatten(), target.flatten(), ignore_index)
    preds = normalize_logits_if_needed(preds, normalization)
    return preds, target, _adjust_threshold_arg(thresholds, preds.device)


def _multiclass_precision_recall_curve_format(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
    average: str | None = None,
) -> Curve:
    preds, target = _kept(_columns(preds), target.flatten(), ignore_index)
    preds = normalize_logits_if_needed(preds, "softmax")
    if average == "micro":
        preds, target = preds.flatten(), one_hot(target.long(), num_classes).flatten()
    return preds, target, _adjust_threshold_arg(thresholds, preds.device)


def _multilabel_precision_recall_curve_format(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    thresholds: Thresholds = None,
    ignore_index: int | None = None,
) -> Curve:
    preds, target = normalize_logits_if_needed(_columns(preds), "sigmoid"), _columns(target)
    levels = _adjust_threshold_arg(thresholds, preds.device)
    if ignore_index is not None and levels is not None:
        ignored, hidden = target == ignore_index, -4 * num_labels * len(levels)
        preds, target = preds.masked_fill(ignored, hidden), target.masked_fill(ignored, hidden)
    return preds, target, levels


def _tables(preds: Tensor, target: Tensor, thresholds: Tensor) -> Tensor:
    """``[[tn, fp], [fn, tp]]`` at each threshold; targets other than 0 and 1 are left out."""
    positive, negative = target == 1, target == 0
    rows = []
    for threshold in thresholds:
        called = preds >= threshold
        tp, fp = (positive & called).sum(0), (negative & called).sum(0)
        rows.append(torch.stack([negative.sum(0) - fp, fp, positive.sum(0) - tp, tp], -1))
    tables: Tensor = torch.stack(rows).unflatten(-1, (2, 2))
    return tables


_binary_precision_recall_curve_update_loop = _tables
_binary_precision_recall_curve_update_vectorized = _tables


def _binary_precision_recall_curve_update(
    preds: Tensor, target: Tensor, thresholds: Tensor | None
) -> Tensor | tuple[Tensor, Tensor]:
    return (preds, target) if thresholds is None else _tables(preds, target, thresholds)


def _multiclass_precision_recall_curve_update(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    thresholds: Tensor | None,
    average: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    if thresholds is not None and average != "micro":
        target = one_hot(target.long(), num_classes)
    return _binary_precision_recall_curve_update(preds, target, thresholds)


_multiclass_precision_recall_curve_update_loop = _multiclass_precision_recall_curve_update
_multiclass_precision_recall_curve_update_vectorized = _multiclass_precision_recall_curve_update


def _multilabel_precision_recall_curve_update(
    preds: Tensor, target: Tensor, num_labels: int, thresholds: Tensor | None
) -> Tensor | tuple[Tensor, Tensor]:
    return _binary_precision_recall_curve_update(preds, target, thresholds)


def _ended(precision: Tensor, recall: Tensor) -> tuple[Tensor, Tensor]:
    """Add the point at which nothing is called positive."""
    ends = precision.new_ones(1, *precision.shape[1:]), recall.new_zeros(1, *recall.shape[1:])
    return torch.cat([precision, ends[0]]), torch.cat([recall, ends[1]])


def _binary_precision_recall_curve_compute(
    state: Tensor | tuple[Tensor, Tensor], thresholds: Tensor | None, pos_label: int = 1
) -> Curve:
    if isinstance(state, Tensor) and thresholds is not None:
        fp, fn, tp = state[..., 0, 1], state[..., 1, 0], state[..., 1, 1]
        precision = _safe_divide(tp, tp + fp, zero_division="nan")
        recall = _safe_divide(tp, tp + fn, zero_division="nan")
        return *_ended(precision, recall), thresholds
    fps, tps, levels = _binary_clf_curve(state[0], state[1], pos_label=pos_label)
    recall = tps / tps[-1]
    if (state[1] == 0).all():
        rank_zero_warn("No positive samples: recall is 1 at all thresholds.")
        recall = torch.ones_like(recall)
    return *_ended((tps / (tps + fps)).flip(0), recall.flip(0)), levels.flip(0)


def _multiclass_precision_recall_curve_compute(
    state: Tensor | tuple[Tensor, Tensor],
    num_classes: int,
    thresholds: Tensor | None,
    average: str | None = None,
) -> Curve:
    if average == "micro":
        return _binary_precision_recall_curve_compute(state, thresholds)
    if isinstance(state, Tensor) and thresholds is not None:
        precision, recall, _ = _binary_precision_recall_curve_compute(state, thresholds)
        curves: Curve = precision.T, recall.T, thresholds
        levels = [thresholds] * num_classes
    else:
        parts = [((state[0][:, i], state[1]), i) for i in range(num_classes)]
        curves = _lists(_binary_precision_recall_curve_compute(s, None, i) for s, i in parts)
        levels = curves[2]
    if average != "macro":
        return curves
    at = torch.cat([*curves[0]]).sort().values
    lines = [_on_line(at, p, r) for p, r in zip(*curves[:2], strict=True)]
    return at, torch.stack(lines).mean(0), torch.cat(levels).sort().values


def _on_line(x: Tensor, known_x: Tensor, known_y: Tensor) -> Tensor:
    """The lines between points at ``x``; how many lie below chooses one, even if they fall."""
    rising = known_x.nan_to_num(torch.inf).sort().values
    below = torch.searchsorted(rising, x.nan_to_num(-torch.inf), right=True) - 1
    left = below.clamp(0, len(known_x) - 2)
    slopes = _safe_divide(known_y.diff(), known_x.diff())
    return known_y[left] + slopes[left] * (x - known_x[left])


def _lists(curves: Iterable[Curve]) -> Curve:
    precision, recall, levels = map(list, zip(*curves, strict=True))
    return precision, recall, levels


def _multilabel_precision_recall_curve_compute(
    state: Tensor | tuple[Tensor, Tensor],
    num_labels: int,
    thresholds: Tensor | None,
    ignore_index: int | None = None,
) -> Curve:
    if isinstance(state, Tensor) and thresholds is not None:
        return _multiclass_precision_recall_curve_compute(state, num_labels, thresholds)
    columns = zip(state[0].unbind(1), state[1].unbind(1), strict=True)
    kept = (_kept(preds, target, ignore_index) for preds, target in columns)
    return _lists(_binary_precision_recall_curve_compute(part, None) for part in kept)
