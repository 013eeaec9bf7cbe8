"""Which classes detections are taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.detection._overlaps import matrix
from fastmetrics.ops.box_overlaps import IOU
from fastmetrics.ops.detections import to_xyxy


def confusions(
    preds: Sequence[Mapping[str, Any]],
    target: Sequence[Mapping[str, Any]],
    classes: Tensor,
    box_format: str,
    *,
    iou: float,
    score: float,
) -> Tensor:
    """Return how often each class was detected where another one is.

    Args:
        preds: one dictionary for each image.
        target: one dictionary for each image.
        classes: K labels, rising.
        box_format: of the boxes.
        iou: what the IoU of a match must exceed.
        score: what the score of a detection must exceed.

    Returns:
        int64 ``[K + 1, K + 1]``, detected by true class; the last one is none.
    """
    none = len(classes)
    table = torch.zeros(none + 1, none + 1, dtype=torch.int64)
    for found, truth in zip(preds, target, strict=True):
        kept = found["scores"] > score
        ours = torch.searchsorted(classes, found["labels"].long().cpu()[kept.cpu()]).tolist()
        theirs = torch.searchsorted(classes, truth["labels"].long().cpu()).tolist()
        boxes = [to_xyxy(image["boxes"].reshape(-1, 4), box_format) for image in (found, truth)]
        matches = _greedy(matrix(boxes[0][kept], boxes[1], IOU).cpu(), iou)
        for d, label in enumerate(ours):
            table[label, theirs[matches[d]] if d in matches else none] += 1
        for g in {*range(len(theirs))} - {*matches.values()}:
            table[none, theirs[g]] += 1
    return table


def _greedy(ious: Tensor, least: float) -> dict[int, int]:
    """Return which column each row takes: pairs by falling value, each row and column once."""
    rows, columns = (ious > least).nonzero().unbind(1)
    order = ious[rows, columns].argsort(descending=True, stable=True)
    matches: dict[int, int] = {}
    taken: set[int] = set()
    for d, g in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if d not in matches and g not in taken:
            matches[d] = g
            taken.add(g)
    return matches
