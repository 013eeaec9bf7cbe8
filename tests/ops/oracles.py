"""What each op must add to its state, decided one position at a time with Python numbers.

Nothing here comes from the package, and nothing is clever: inputs become lists, every rule is one
`if`. Sums run over float64 (exact for counts and for the dyadic weights that the tests use).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

# Labels lie below this where the number of classes is unknown.
UNKNOWN_CLASSES = 2**31 - 1


@dataclass
class Answer:
    """What one update adds, and the first label that is out of range (argument, value, index)."""

    delta: np.ndarray
    nan: int = 0
    outside: int = 0
    bad: list[tuple[str, int, int]] = field(default_factory=list)


def is_ignored(label: int, ignore_index: int | None) -> bool:
    return ignore_index is not None and label == ignore_index


def argmax(scores: Sequence[float]) -> int:
    """The first NaN, else the first of the largest."""
    for c, score in enumerate(scores):
        if math.isnan(score):
            return c
    return list(scores).index(max(scores))


def top_classes(scores: Sequence[float], top_k: int) -> list[int]:
    """The first `top_k` classes by descending score; NaN first, ties in the order of classes."""
    return sorted(
        range(len(scores)),
        key=lambda c: (0, 0.0, c) if math.isnan(scores[c]) else (1, -scores[c], c),
    )[:top_k]


def decide(score: float, threshold: float, logits: bool) -> bool:
    """Whether a score is positive: `score > threshold`, or `sigmoid(score) > threshold`."""
    if math.isnan(score):
        return False
    if not logits:
        return score > threshold
    # Both sides through the monotone logit, so that nothing saturates.
    if threshold <= 0:
        return score > -math.inf
    if threshold >= 1:
        return False
    return score > math.log(threshold) - math.log1p(-threshold)


def as_lists(preds: Tensor, target: Tensor) -> tuple[list, list]:
    """`(N, D)` labels, or `(N, D, C)` scores, of any multiclass input."""
    num_samples = target.shape[0]
    depth = math.prod(target.shape[1:])
    labels = target.to(torch.int64).reshape(num_samples, depth).tolist()
    if preds.ndim == target.ndim:
        return preds.to(torch.int64).reshape(num_samples, depth).tolist(), labels
    scores = preds.to(torch.float64).movedim(1, -1)
    return scores.reshape(num_samples, depth, preds.shape[1]).tolist(), labels


def amounts(weight: Tensor | None, num_samples: int) -> list[float]:
    return [1] * num_samples if weight is None else weight.to(torch.float64).tolist()


def classes(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    top_k: int,
    ignore_index: int | None,
    answer: Answer,
) -> Iterator[tuple[int, str, int, int]]:
    """Each position as `(sample, "ok" | "ignored" | "bad", predicted class, target class)`."""
    pred_rows, target_rows = as_lists(preds, target)
    has_scores = preds.ndim == target.ndim + 1
    limit = preds.shape[1] if has_scores else num_classes or UNKNOWN_CLASSES
    bad_target, bad_preds = [], []
    index = -1
    for sample, (pred_row, target_row) in enumerate(zip(pred_rows, target_rows, strict=True)):
        for pred, label in zip(pred_row, target_row, strict=True):
            index += 1
            if is_ignored(label, ignore_index):
                yield sample, "ignored", 0, 0
                continue
            fits = 0 <= label < limit
            if not fits:
                bad_target.append(("target", label, index))
            if not has_scores and not 0 <= pred < limit:
                bad_preds.append(("preds", pred, index))
                fits = False
            if not fits:
                yield sample, "bad", 0, 0
                continue
            if has_scores:
                answer.nan += any(math.isnan(score) for score in pred)
                winner = argmax(pred)
                pred = label if top_k > 1 and label in top_classes(pred, top_k) else winner
            yield sample, "ok", pred, label
    answer.bad = bad_target + bad_preds


def stat_scores(
    state_shape: tuple[int, ...],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    num_classes: int,
    top_k: int,
    ignore_index: int | None,
) -> Answer:
    samplewise = len(state_shape) == 3
    num_columns = state_shape[-2]
    answer = Answer(np.zeros((state_shape[0] if samplewise else 1, num_columns, 4)))
    amount = amounts(weight, target.shape[0])
    everyone = np.arange(num_columns)
    for sample, kind, pred, label in classes(
        preds, target, num_classes, top_k, ignore_index, answer
    ):
        if kind != "ok":
            continue
        row = answer.delta[sample if samplewise else 0]
        w = amount[sample]
        rejecting = num_classes - (1 if pred == label else 2)  # classes for which it is a tn
        if num_columns == 1:
            row[0] += (w, 0, 0, 0) if pred == label else (0, w, 0, w)
            row[0, 2] += w * rejecting if num_classes else 0
            continue
        if pred == label:
            row[label, 0] += w
        else:
            row[pred, 1] += w
            row[label, 3] += w
        row[(everyone != pred) & (everyone != label), 2] += w
    answer.delta = answer.delta.reshape(state_shape)
    return answer


def confusion(
    state_shape: tuple[int, ...],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int | None,
) -> Answer:
    answer = Answer(np.zeros(state_shape))
    amount = amounts(weight, target.shape[0])
    for sample, kind, pred, label in classes(
        preds, target, state_shape[0], 1, ignore_index, answer
    ):
        if kind == "ok":
            answer.delta[label, pred] += amount[sample]
    return answer


def exact_match(
    state_shape: tuple[int, ...],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    num_classes: int,
    ignore_index: int | None,
) -> Answer:
    samplewise = len(state_shape) == 2
    answer = Answer(np.zeros(state_shape))
    amount = amounts(weight, target.shape[0])
    found: dict[int, set[str]] = {}
    for sample, kind, pred, label in classes(preds, target, num_classes, 1, ignore_index, answer):
        wrong = kind == "ok" and pred != label
        found.setdefault(sample, set()).add("wrong" if wrong else kind)
    for sample, kinds in found.items():
        if "bad" in kinds:
            continue
        row = answer.delta[sample] if samplewise else answer.delta
        row[0] += 0 if "wrong" in kinds else amount[sample]
        row[1] += amount[sample]
    return answer


def labels(
    preds: Tensor,
    target: Tensor,
    ignore_index: int | None,
    answer: Answer,
) -> Iterator[tuple[int, tuple[int, ...], str, float, int]]:
    """Each element as `(sample, position in the other axes, kind, score, target)`."""
    has_scores = preds.is_floating_point()
    if target.numel() == 0:
        return
    scores = preds.to(torch.float64 if has_scores else torch.int64).flatten().tolist()
    marks = target.to(torch.int64).flatten().tolist()
    bad_target, bad_preds = [], []
    positions = np.ndindex(*target.shape)
    for index, (where, score, mark) in enumerate(zip(positions, scores, marks, strict=True)):
        if is_ignored(mark, ignore_index):
            yield where[0], where[1:], "ignored", 0, 0
            continue
        if mark not in (0, 1):
            bad_target.append(("target", mark, index))
        if not has_scores and score not in (0, 1):
            bad_preds.append(("preds", score, index))
        if mark not in (0, 1) or (not has_scores and score not in (0, 1)):
            yield where[0], where[1:], "bad", 0, 0
            continue
        if has_scores:
            answer.nan += math.isnan(score)
            answer.outside += score < 0 or score > 1
        yield where[0], where[1:], "ok", score, mark
    answer.bad = bad_target + bad_preds


def cut_for(preds: Tensor, threshold: float) -> float:
    """`threshold` as torch compares it: rounded to the type of the scores."""
    if not preds.is_floating_point():
        return 0.0
    return float(torch.tensor(threshold, dtype=torch.float64).to(preds.dtype))


def readings(preds: Tensor, threshold: float, count: int, logits: bool):
    """One decision rule for each of the state's readings."""

    def rule(as_logits: bool):
        if not preds.is_floating_point():
            return lambda label: label == 1
        cut = threshold if as_logits else cut_for(preds, threshold)
        return lambda score: decide(score, cut, as_logits)

    return [rule(False), rule(True)] if count == 2 else [rule(logits)]


def label_confusion(
    state_shape: tuple[int, ...],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    groups: Tensor | None,
    threshold: float,
    logits: bool,
    ignore_index: int | None,
) -> Answer:
    samplewise = len(state_shape) == 5
    num_tables = state_shape[-3]
    answer = Answer(np.zeros(state_shape))
    amount = amounts(weight, target.shape[0])
    rules = readings(preds, threshold, state_shape[-4], logits)
    group = None if groups is None else groups.to(torch.int64).tolist()
    for sample, where, kind, score, mark in labels(preds, target, ignore_index, answer):
        if kind != "ok":
            continue
        if group is not None:
            table = group[sample]
            if not 0 <= table < num_tables:
                continue
        else:
            table = where[0] if num_tables > 1 else 0
        delta = answer.delta[sample] if samplewise else answer.delta
        for reading, rule in enumerate(rules):
            delta[reading, table, mark, int(rule(score))] += amount[sample]
    if group is not None and target.numel():
        bad = [("groups", g, i) for i, g in enumerate(group) if not 0 <= g < num_tables]
        answer.bad = bad + answer.bad
    answer.outside = answer.outside if state_shape[-4] == 2 else 0
    return answer


def label_exact_match(
    state_shape: tuple[int, ...],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    num_labels: int,
    threshold: float,
    logits: bool,
    ignore_index: int | None,
) -> Answer:
    samplewise = len(state_shape) == 3
    answer = Answer(np.zeros(state_shape))
    amount = amounts(weight, target.shape[0])
    rules = readings(preds, threshold, state_shape[-2], logits)
    items: dict[tuple[int, tuple[int, ...]], list[tuple[str, float, int]]] = {}
    for sample, where, kind, score, mark in labels(preds, target, ignore_index, answer):
        items.setdefault((sample, where[1:]), []).append((kind, score, mark))
    for (sample, _), elements in items.items():
        if any(kind == "bad" for kind, _, _ in elements):
            continue
        delta = answer.delta[sample] if samplewise else answer.delta
        for reading, rule in enumerate(rules):
            correct = all(
                kind == "ignored" or rule(score) == mark for kind, score, mark in elements
            )
            delta[reading, 0] += amount[sample] if correct else 0
            delta[reading, 1] += amount[sample]
    answer.outside = answer.outside if state_shape[-2] == 2 else 0
    return answer


def score_histogram(state_shape: tuple[int, ...], *arguments, **options) -> Answer:
    """Lies beside the inputs that it is made for."""
    from tests.ops import cases_histogram

    return cases_histogram.score_histogram(state_shape, *arguments, **options)


def score_image_histogram(state_shape: tuple[int, ...], *arguments, **options) -> Answer:
    """Lies beside `score_histogram`."""
    from tests.ops import cases_histogram

    return cases_histogram.score_image_histogram(state_shape, *arguments, **options)


def calibration_bins(state_shape: tuple[int, ...], *arguments, **options) -> Answer:
    """Lies beside the inputs that it is made for."""
    from tests.ops import cases_calibration

    return cases_calibration.calibration_bins(state_shape, *arguments, **options)
