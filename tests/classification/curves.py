"""Curves by the plainest possible route: integer counts at each threshold, float64 in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastmetrics.ops.scores import Curve


@dataclass(frozen=True)
class Counts:
    """Of one class: negatives and positives at or above each threshold, thresholds descending."""

    fps: list[int]
    tps: list[int]
    negatives: int
    positives: int
    thresholds: list[float]

    def from_origin(self) -> Counts:
        """With a first point that no score reaches, as curves of the scores themselves have."""
        return Counts(
            [0, *self.fps], [0, *self.tps], self.negatives, self.positives, [1.0, *self.thresholds]
        )

    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates, 0 where there is nothing to count."""
        return (
            np.array(self.fps, dtype=float) / max(self.negatives, 1),
            np.array(self.tps, dtype=float) / max(self.positives, 1),
        )

    def precision_and_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """Both by ascending threshold and then (1, 0); NaN where there is nothing to divide."""
        fps, tps = np.array(self.fps[::-1], dtype=float), np.array(self.tps[::-1], dtype=float)
        with np.errstate(invalid="ignore"):
            return np.r_[tps / (tps + fps), 1.0], np.r_[tps / np.float64(self.positives), 0.0]


def probabilities(task: str, preds: Tensor) -> Tensor:
    """Scores as they are compared with thresholds: logits through sigmoid or softmax."""
    if ((preds >= 0) & (preds <= 1)).all():
        return preds
    return preds.softmax(1) if task == "multiclass" else preds.sigmoid()


def columns(
    task: str, preds: Tensor, target: Tensor, ignore_index: int | None, pool: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """Scores and bool labels of each class that are not ignored, or of all classes together."""
    preds = probabilities(task, preds)
    if task == "binary":
        preds, labels, kept = (
            preds.reshape(-1, 1),
            target.reshape(-1, 1) == 1,
            target.reshape(-1, 1),
        )
    elif task == "multiclass":
        classes = torch.arange(preds.shape[1])
        labels = target.unsqueeze(1) == classes
        kept = target.unsqueeze(1).expand_as(labels)
    else:
        labels, kept = target == 1, target
    mask = torch.ones_like(labels) if ignore_index is None else kept != ignore_index
    if pool:
        return [(preds[mask], labels[mask])]
    return [(preds[m, c], labels[m, c]) for c, m in enumerate(mask.unbind(1))]


def count(scores: Tensor, labels: Tensor, thresholds: Tensor | None = None) -> Counts:
    """Count one class at ``thresholds``, by default at each distinct score."""
    at = scores.unique() if thresholds is None else thresholds
    at = at.sort(descending=True).values
    reached = scores.unsqueeze(0) >= at.unsqueeze(1)
    return Counts(
        (reached & ~labels).sum(1).tolist(),
        (reached & labels).sum(1).tolist(),
        int((~labels).sum()),
        int(labels.sum()),
        at.tolist(),
    )


def exact_curve(scores: Tensor, labels: Tensor, weight: Tensor | None = None) -> Curve:
    """The curve at each distinct score, as a sorted statistic gives it."""
    weight = torch.ones(len(scores)) if weight is None else weight
    at = scores.unique().flip(0)
    reached = (scores.unsqueeze(0) >= at.unsqueeze(1)) * weight.double()
    # The lowest score is reached by all: the last sums are the totals, bit for bit.
    fps, tps = (reached * ~labels).sum(1), (reached * labels).sum(1)
    zero = fps.new_zeros(1)
    return Curve(fps, tps, torch.cat([zero, fps])[-1], torch.cat([zero, tps])[-1], at, grid=False)


def interpolate(x: np.ndarray, known_x: np.ndarray, known_y: np.ndarray) -> np.ndarray:
    """Lines between points whose x do not descend; at a jump the value after it.

    Beyond the last point the line before it goes on, level if that one is vertical.
    """
    if len(known_x) == 1:
        return np.full_like(x, known_y[0])
    values = np.empty_like(x)
    for i, at in enumerate(x):
        left = min(max(int((known_x <= at).sum()) - 1, 0), len(known_x) - 2)
        step = known_x[left + 1] - known_x[left]
        slope = (known_y[left + 1] - known_y[left]) / step if step else 0.0
        values[i] = known_y[left] + slope * (at - known_x[left])
    return values


def without_gaps(points: list[tuple[Any, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The mean curve over points that have a precision; the last one of a class fills its gaps."""
    kept = [(x[~np.isnan(x)], y[~np.isnan(x)]) for x, y in points]
    gaps = [np.full(len(x) - len(k), k[-1]) for (x, _), (k, _) in zip(points, kept, strict=True)]
    at = np.sort(np.concatenate([*(k for k, _ in kept), *gaps]))
    mean = np.mean([interpolate(at, *known) for known in kept], axis=0)
    return at, mean.clip(0, 1) if any(map(len, gaps)) else mean


def mean_curve(points: list[tuple[Any, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """All x, sorted, and there the mean of the interpolated curves."""
    x = np.sort(np.concatenate([known_x for known_x, _ in points]))
    return x, np.mean([interpolate(x, *known) for known in points], axis=0)
