"""Inputs of the counting ops: the metadata checks and the label decisions that they share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastmetrics.ops.checks import (
    MAX_LABELS,
    SCORE_DTYPES,
    check_devices,
    check_label_dtype,
    check_score_dtype,
    check_weight,
    raise_first_invalid,
    shape_text,
)
from fastmetrics.ops.faults import BAD_WEIGHT, INVALID, NAN, OUTSIDE, is_usable

PROBS, LOGITS = 0, 1


def check_class_inputs(
    op: str, state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None, num_classes: int,
    top_k: int = 1,
) -> None:  # fmt: skip
    """Check multiclass inputs by their metadata alone; shared by every op that takes an argmax."""
    preds_shape, target_shape = preds.shape, target.shape
    check_label_dtype(op, "target", target)
    if not target_shape:
        raise ValueError(
            f"{op}: `preds` and `target` need at least one axis, got a scalar `target`."
        )
    if preds_shape == target_shape:
        check_label_dtype(op, "preds", preds)
        if top_k > 1:
            raise ValueError(
                f"{op}: `top_k`={top_k} needs scores of shape (N, C, ...), got labels."
            )
    elif (
        len(preds_shape) == len(target_shape) + 1
        and preds_shape[0] == target_shape[0]
        and preds_shape[2:] == target_shape[1:]
    ):
        if preds.dtype not in SCORE_DTYPES:
            raise ValueError(
                f"{op}: `preds` with one axis more than `target` must be a float tensor,"
                f" got dtype {preds.dtype}."
            )
        if preds_shape[1] != num_classes and num_classes:
            raise ValueError(
                f"{op}: `preds` must have shape (N, C, ...) with C={num_classes},"
                f" got {shape_text(preds)}."
            )
        if not preds_shape[1]:
            raise ValueError(
                f"{op}: `preds` must have at least one class, got {shape_text(preds)}."
            )
    else:
        raise ValueError(
            f"{op}: `preds` must have the shape of `target` or (N, C, ...) with `target` (N, ...),"
            f" got {shape_text(preds)} and {shape_text(target)}."
        )
    check_devices(op, state, preds, target)
    if weight is not None:
        check_weight(op, state, weight, target_shape[0])


def check_class_scores(
    op: str, state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None, num_classes: int
) -> None:
    """Check multiclass inputs that must have a score for each class."""
    if preds.ndim != target.ndim + 1:
        raise ValueError(
            f"{op}: `preds` must have shape (N, C, ...) with `target` (N, ...),"
            f" got {shape_text(preds)} and {shape_text(target)}."
        )
    check_class_inputs(op, state, preds, target, weight, num_classes)


def check_label_inputs(
    op: str, state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None, num_labels: int
) -> None:
    """Check binary and multilabel inputs by their metadata alone."""
    shape = preds.shape
    if target.shape != shape:
        raise ValueError(
            f"{op}: `preds` and `target` must have the same shape,"
            f" got {shape_text(preds)} and {shape_text(target)}."
        )
    if not shape:
        raise ValueError(f"{op}: `preds` and `target` need at least one axis, got scalars.")
    if num_labels > 1 and (len(shape) < 2 or shape[1] != num_labels):
        raise ValueError(
            f"{op}: `preds` and `target` must have shape (N, L, ...) with L={num_labels},"
            f" got {shape_text(preds)}."
        )
    check_label_dtype(op, "target", target)
    if preds.dtype not in SCORE_DTYPES:
        check_label_dtype(op, "preds", preds)
    check_devices(op, state, preds, target)
    if weight is not None:
        check_weight(op, state, weight, shape[0])


def check_score_inputs(
    op: str, state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None, num_classes: int,
    multiclass: bool,
) -> None:  # fmt: skip
    """Check scores of any task by their metadata alone; shared by the ops behind curves.

    A float target is refused whatever it holds, as torchmetrics does for curves alone.
    """
    if target.dtype in SCORE_DTYPES:
        raise ValueError(
            f"{op}: `target` must be an integer or bool tensor, got dtype {target.dtype}."
        )
    check_score_dtype(op, preds)
    if multiclass:
        check_class_scores(op, state, preds, target, weight, num_classes)
    else:
        check_label_inputs(op, state, preds, target, weight, num_classes)


def int_sum(mask: Tensor) -> Tensor:
    """Count the true entries as an int64 scalar."""
    return mask.sum(dtype=torch.int64)


def usable_weights(events: Tensor, weight: Tensor | None) -> Tensor | None:
    """Return the weights ``[N]`` with 0 for those that are none, which are counted."""
    if weight is None:
        return None
    usable = is_usable(weight)
    events[BAD_WEIGHT] += int_sum(~usable)
    return weight.double().where(usable, 0.0)


def sample_weights(mask: Tensor, weight: Tensor | None) -> Tensor:
    """``[N, D]`` contributions: 0 where masked out, else 1 (int64) or the usable weight."""
    if weight is None:
        return mask.long()
    return torch.where(mask, weight.unsqueeze(1), 0.0)


def contributions(events: Tensor, mask: Tensor, weight: Tensor | None) -> Tensor:
    """Return :func:`sample_weights` of weights as they came; those that are none are counted."""
    return sample_weights(mask, usable_weights(events, weight))


def interpretations_of(count: int, logits: bool) -> tuple[int, ...]:
    """Return what scores are taken for, in the order of a state of so many interpretations."""
    return (PROBS, LOGITS) if count > 1 else (int(logits),)


def _kept(labels: Tensor, ignore_index: int | None) -> Tensor:
    """Which labels are not to be left out."""
    if ignore_index is None:
        return torch.ones_like(labels, dtype=torch.bool)
    return labels != ignore_index


def _is_valid(labels: Tensor, num_classes: int) -> Tensor:
    return (labels >= 0) & (labels < (num_classes or MAX_LABELS))


def _target_in_top_k(scores: Tensor, target: Tensor, top_k: int) -> Tensor:
    """Whether fewer than ``top_k`` scores outrank the target's; ties go to the lower class."""
    own = scores.gather(-1, target.unsqueeze(-1))
    nan, own_nan = scores.isnan(), own.isnan()
    larger = (scores > own) | (nan & ~own_nan)
    equal = (scores == own) | (nan & own_nan)
    lower_class = torch.arange(scores.shape[-1], device=scores.device) < target.unsqueeze(-1)
    return (larger | (equal & lower_class)).sum(-1) < top_k


def raise_invalid(
    op: str,
    target: tuple[Tensor, Tensor],
    preds: tuple[Tensor, Tensor],
    limit: int,
    ignore_index: int | None,
) -> None:
    """Raise for the first bad label, given ``(labels, bad)`` of each argument."""
    for name, (labels, bad), ignore in (("target", target, ignore_index), ("preds", preds, None)):
        if bad.any():
            raise_first_invalid(op, name, labels, bad, limit, ignore)


def read_classes(
    op: str,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    top_k: int,
    ignore_index: int | None,
    validate: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Turn multiclass inputs into labels: ``(pred, target, counted, invalid)``, each ``[N, D]``.

    ``counted`` is false where the target is ignored or a label is invalid.
    """
    has_scores = preds.ndim == target.ndim + 1
    num_samples = target.shape[0]
    depth = target[0].numel() if num_samples else 0
    labels = target.reshape(num_samples, depth).long()
    kept = _kept(labels, ignore_index)
    bad_target = kept & ~_is_valid(labels, preds.shape[1] if has_scores else num_classes)
    if has_scores:
        scores = preds.reshape(num_samples, preds.shape[1], depth).movedim(1, -1)
        pred = scores.argmax(-1)
        counted = kept & ~bad_target
        if top_k > 1:
            safe = labels.where(counted, 0)
            pred = torch.where(_target_in_top_k(scores, safe, top_k), safe, pred)
        nan = int_sum(scores.isnan().any(-1) & counted)
        bad_pred = torch.zeros_like(kept)
    else:
        pred = preds.reshape(num_samples, depth).long()
        bad_pred = kept & ~_is_valid(pred, num_classes)
        counted = kept & ~bad_target & ~bad_pred
        nan = None
    invalid = bad_target | bad_pred
    if validate:
        if target.device.type == "cpu":
            limit = preds.shape[1] if has_scores else num_classes
            raise_invalid(op, (labels, bad_target), (pred, bad_pred), limit, ignore_index)
        else:
            events[INVALID] += int_sum(invalid)
    if nan is not None:
        events[NAN] += nan
    return pred, labels, counted, invalid


def count_targets(
    op: str, events: Tensor, target: Tensor, limit: int, ignore_index: int | None, validate: bool
) -> Tensor:
    """Return which targets count: neither ignored nor outside ``[0, limit)``."""
    labels = target.long()
    counted = (labels >= 0) & (labels < limit)
    if ignore_index is not None:
        ignored = labels == ignore_index
        invalid, counted = ~counted & ~ignored, counted & ~ignored
    else:
        invalid = ~counted
    if validate:
        if target.device.type != "cpu":
            events[INVALID] += int_sum(invalid)
        elif invalid.any():
            raise_first_invalid(op, "target", labels, invalid, limit, ignore_index)
    return counted


def logit(threshold: float) -> float:
    """Return the logit above which ``sigmoid(logit) > threshold``."""
    if threshold <= 0.0:
        return -math.inf
    return math.inf if threshold >= 1.0 else math.log(threshold) - math.log1p(-threshold)


def read_labels(
    op: str,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    threshold: float,
    interpretations: tuple[int, ...],
    ignore_index: int | None,
    validate: bool,
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Threshold the scores under each interpretation: ``(preds, target, counted, invalid)``."""
    labels = target.long()
    kept = _kept(labels, ignore_index)
    bad_target = kept & (labels != 0) & (labels != 1)
    if preds.is_floating_point():
        bad_pred = torch.zeros_like(kept)
    else:
        bad_pred = kept & (preds.long() != 0) & (preds.long() != 1)
    invalid = bad_target | bad_pred
    counted = kept & ~invalid
    if validate:
        if target.device.type == "cpu":
            raise_invalid(op, (target, bad_target), (preds, bad_pred), 2, ignore_index)
        else:
            events[INVALID] += int_sum(invalid)
    if not preds.is_floating_point():
        return [preds == 1] * len(interpretations), labels, counted, invalid
    events[NAN] += int_sum(preds.isnan() & counted)
    if len(interpretations) > 1:
        events[OUTSIDE] += int_sum(((preds < 0) | (preds > 1)) & counted)
    positive = {
        PROBS: lambda: preds > threshold,
        LOGITS: lambda: preds.double() > logit(threshold),
    }
    return [positive[each]() for each in interpretations], labels, counted, invalid
