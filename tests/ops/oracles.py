"""What oracles share: what each position counts for, decided with Python numbers.

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

from tests.ops.laws import Answer, Call

# Labels lie below this where the number of classes is unknown.
UNKNOWN_CLASSES = 2**31 - 1


@dataclass
class Tally:
    """What one update adds, and the labels that are out of range (argument, value, index)."""

    delta: np.ndarray
    nan: int = 0
    outside: int = 0
    bad: list[tuple[str, int, int]] = field(default_factory=list)
    groups: int | None = None
    """How many there are, if samples have any."""
    invalid: int | None = None
    """What is left out, if that is not each bad position."""

    def answer(self, call: Call, limit: int) -> Answer:
        """State and events afterwards, or the words about the first bad label."""
        dtype, shape = call["state"].dtype, call["state"].shape
        delta = torch.from_numpy(np.asarray(self.delta)).reshape(shape)
        after = {
            "state": call["state"] + delta.to(dtype),
            "events": call["events"] + torch.tensor([0, self.nan, self.outside, bad_weights(call)]),
        }
        invalid = len({index for _, _, index in self.bad}) if self.invalid is None else self.invalid
        return Answer(after, self.refusal(call, limit), invalid)

    def refusal(self, call: Call, limit: int) -> str | None:
        if not self.bad or not call["validate"]:
            return None
        name, value, index = self.bad[0]
        limit = self.groups if name == "groups" else limit or UNKNOWN_CLASSES
        allowed = f"lie in [0, {limit})"
        if call["ignore_index"] is not None and name == "target":
            allowed += f" or equal ignore_index={call['ignore_index']}"
        return f"`{name}` must {allowed}, got {value} at flat index {index}."


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
    if weight is None:
        return [1] * num_samples
    return [0.0 if is_bad_weight(w) else w for w in weight.to(torch.float64).tolist()]


def is_bad_weight(weight: float) -> bool:
    return math.isnan(weight) or weight > 1e100 or weight < 0


def amounts_or_nan(weight: Tensor) -> list[float]:
    return [math.nan if is_bad_weight(w) else w for w in weight.to(torch.float64).tolist()]


def bad_weights(call: Call) -> int:
    """How many samples have a weight that is none; a batch without positions is not read."""
    if call.arguments.get("weight") is None or call["target"].numel() == 0:
        return 0
    return sum(map(is_bad_weight, call["weight"].to(torch.float64).tolist()))


def classes(
    call: Call, num_classes: int, top_k: int, tally: Tally
) -> Iterator[tuple[int, str, int, int]]:
    """Each position as `(sample, "ok" | "ignored" | "bad", predicted class, target class)`."""
    preds, target, ignore_index = call["preds"], call["target"], call["ignore_index"]
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
                tally.nan += any(math.isnan(score) for score in pred)
                winner = argmax(pred)
                pred = label if top_k > 1 and label in top_classes(pred, top_k) else winner
            yield sample, "ok", pred, label
    tally.bad = bad_target + bad_preds


def labels(call: Call, tally: Tally) -> Iterator[tuple[int, tuple[int, ...], str, float, int]]:
    """Each element as `(sample, position in the other axes, kind, score, target)`."""
    preds, target, ignore_index = call["preds"], call["target"], call["ignore_index"]
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
            tally.nan += math.isnan(score)
            tally.outside += score < 0 or score > 1
        yield where[0], where[1:], "ok", score, mark
    tally.bad = bad_target + bad_preds


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


def class_limit(call: Call, classes: int) -> int:
    """How many classes there are: as many as scores, or as many as the op was told."""
    return call["preds"].shape[1] if call["preds"].ndim > call["target"].ndim else classes


def softmax(row: list[float], narrow: bool) -> list[float]:
    """In Python numbers, rounded to float32 when `narrow`; equal infinities share the row."""
    if any(math.isnan(score) for score in row):
        return [math.nan] * len(row)
    top = max(row)
    powers = [1.0 if score == top else math.exp(score - top) for score in row]
    total = math.fsum(powers)
    shares = [power / total for power in powers]
    return [float(np.float32(share)) for share in shares] if narrow else shares


def added(numbers: Sequence[float]) -> float:
    """The exactly rounded sum; infinities and NaN lead where addition does."""
    return math.fsum(numbers) if all(map(math.isfinite, numbers)) else sum(numbers)


def sigmoid(score: float) -> float:
    """Without overflow."""
    if math.isnan(score):
        return score
    power = math.exp(-abs(score))
    return (1.0 if score >= 0 else power) / (1.0 + power)


def scored(
    call: Call, multiclass: bool, limit: int, tally: Tally
) -> Iterator[tuple[int, list[float], Sequence[int], list[int]]]:
    """Each position that counts: `(sample, its scores, its classes, the target per score)`."""
    preds, target, ignore_index = call["preds"], call["target"], call["ignore_index"]
    bad: list[tuple[str, int, int]] = []
    tally.bad = bad
    marks = target.to(torch.int64)
    numbers = preds.to(torch.float64)
    for index, where in enumerate(np.ndindex(*target.shape)):
        mark = int(marks[where])
        if is_ignored(mark, ignore_index):
            continue
        if not 0 <= mark < limit:
            bad.append(("target", mark, index))
            continue
        if multiclass:
            row = numbers[(where[0], slice(None), *where[1:])].tolist()
            yield where[0], row, range(limit), [int(c == mark) for c in range(limit)]
        else:
            yield where[0], [float(numbers[where])], [where[1] if len(where) > 1 else 0], [mark]
