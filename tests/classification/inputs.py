"""Classification inputs, and their counts by the plainest possible route.

Scores keep their distance from thresholds and from each other in every dtype, so that oracles that
round differently still decide alike; ties and borders have tests of their own.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

SCORE_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LABEL_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


def ignore_some(target: Tensor, ignore_index: int | None) -> Tensor:
    """Give about a quarter of the targets the value ``ignore_index``."""
    if ignore_index is None:
        return target
    return target.where(torch.rand(target.shape) > 0.25, ignore_index)


def threshold_inputs(
    kind: str,
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    ignore_index: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Binary or multilabel ``preds`` and ``target``; kind is ``labels``, ``probs`` or ``logits``.

    Every logit lies outside [0, 1], every probability at least 0.05 from 0.5.
    """
    target = ignore_some(torch.randint(0, 2, shape), ignore_index)
    positive = torch.rand(shape) > 0.4
    if kind == "labels":
        return positive.long(), target
    size = torch.rand(shape)
    if kind == "probs":
        preds = torch.where(positive, 0.55 + 0.4 * size, 0.05 + 0.4 * size)
    else:
        preds = torch.where(positive, 1.2 + size, -0.2 - size)
    return preds.to(dtype), target


def class_inputs(
    kind: str,
    shape: tuple[int, ...],
    num_classes: int,
    dtype: torch.dtype = torch.float32,
    ignore_index: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Multiclass ``preds`` and ``target`` for positions of ``shape`` ``(N, ...)``; no ties."""
    target = ignore_some(torch.randint(0, num_classes, shape), ignore_index)
    if kind == "labels":
        return torch.randint(0, num_classes, shape), target
    ranks = torch.rand(shape[0], num_classes, *shape[1:]).argsort(1)
    scores = ranks - num_classes / 2 if kind == "logits" else (ranks / 2).softmax(1)
    return scores.to(dtype), target


def inputs_for(
    task: str,
    kind: str,
    shape: tuple[int, ...],
    size: int,
    dtype: torch.dtype = torch.float32,
    ignore_index: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Inputs of ``task`` with ``size`` classes or labels; ``shape`` is ``(N, ...)``."""
    if task == "multiclass":
        return class_inputs(kind, shape, size, dtype, ignore_index)
    if task == "multilabel":
        shape = (shape[0], size, *shape[1:])
    return threshold_inputs(kind, shape, dtype, ignore_index)


def _is_positive(score: float, threshold: float, logits: bool) -> bool:
    if logits and not math.isnan(score):
        score = 0.0 if score < -700 else 1 / (1 + math.exp(-score))
    return score > threshold


def _predicted_class(scores: list[float], target: int, top_k: int) -> int:
    """Rank by score, NaN first, the lower class first among equals."""

    def rank(c: int) -> tuple[int, float, int]:
        return (0, 0.0, c) if math.isnan(scores[c]) else (1, -scores[c], c)

    ranked = sorted(range(len(scores)), key=rank)
    return target if target in ranked[:top_k] else ranked[0]


def count_by_hand(
    task: str,
    preds: Tensor,
    target: Tensor,
    size: int,
    threshold: float = 0.5,
    top_k: int = 1,
    ignore_index: int | None = None,
    logits: bool = False,
) -> np.ndarray:
    """Counts ``(tp, fp, tn, fn)`` of each sample and class, int64 ``[N, C, 4]``, by plain loops."""
    num_samples = target.shape[0]
    counts = np.zeros((num_samples, size, 4), dtype=np.int64)
    scores, labels = preds.detach().double().numpy(), target.long().numpy()
    is_float = preds.is_floating_point()
    if is_float and not logits:  # torch compares in the dtype of the scores
        threshold = torch.tensor(threshold, dtype=preds.dtype).item()
    for index in np.ndindex(*labels.shape):
        n, truth = index[0], int(labels[index])
        if truth == ignore_index:
            continue
        if task == "multiclass":
            if is_float:
                column = (n, slice(None), *index[1:])
                guess = _predicted_class(scores[column].tolist(), truth, top_k)
            else:
                guess = int(scores[index])
            cells = [(c, c == truth, c == guess) for c in range(size)]
        else:
            score = float(scores[index])
            positive = _is_positive(score, threshold, logits) if is_float else score == 1
            cells = [(index[1] if task == "multilabel" else 0, truth == 1, positive)]
        for c, true, positive in cells:
            kind = (0 if true else 1) if positive else (3 if true else 2)
            counts[n, c, kind] += 1
    return counts
