"""The COCO tools as an oracle, and made-up batches of images."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as mask_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

Images = list[dict[str, Any]]
THRESHOLDS = torch.linspace(0.5, 0.95, 10).tolist()
RECALLS = torch.linspace(0, 1, 101).tolist()


def _annotations(images: Images, iou_type: str, together: bool) -> list[dict[str, Any]]:
    """What the tools read; boxes as torchvision converts them, in their own dtype."""
    found: list[dict[str, Any]] = []
    for number, image in enumerate(images):
        labels = image["labels"].tolist()
        extra: dict[str, list[Any]] = {
            key: image[key].tolist() for key in ("scores", "iscrowd", "area") if key in image
        }
        for i, label in enumerate(labels):
            each = {"id": len(found) + 1, "image_id": number, "iscrowd": 0}
            each["category_id"] = 0 if together else label
            if iou_type == "bbox":
                corners = image["boxes"][i]
                each["bbox"] = [*corners[:2].tolist(), *(corners[2:] - corners[:2]).tolist()]
                each["area"] = each["bbox"][2] * each["bbox"][3]
            else:
                mask = np.asfortranarray(image["masks"][i].numpy().astype(np.uint8))
                each["segmentation"] = mask_tools.encode(mask)
                each["area"] = int(mask.sum())
            if "scores" in extra:
                each["score"] = extra["scores"][i]
            if "iscrowd" in extra:
                each["iscrowd"] = int(extra["iscrowd"][i])
            if "area" in extra and extra["area"][i] > 0:
                each["area"] = extra["area"][i]
            found.append(each)
    return found


def evaluated(
    preds: Images,
    target: Images,
    *,
    iou_type: str = "bbox",
    thresholds: Sequence[float] = THRESHOLDS,
    recalls: Sequence[float] = RECALLS,
    limits: Sequence[int] = (1, 10, 100),
    together: bool = False,
) -> dict[str, Any]:
    """Precision, recall and scores of the tools, and their IoU."""
    labels = [int(x) for image in (*preds, *target) for x in image["labels"]]
    categories = [0] if together else sorted({*labels})
    sides = []
    for images in (target, preds):
        side = COCO()
        side.dataset = {
            "images": [{"id": i, "height": 1, "width": 1} for i in range(len(images))],
            "annotations": _annotations(images, iou_type, together),
            "categories": [{"id": k, "name": str(k)} for k in categories],
        }
        with contextlib.redirect_stdout(io.StringIO()):
            side.createIndex()
        sides.append(side)
    tool = COCOeval(*sides, iouType=iou_type)
    tool.params.iouThrs = np.array(thresholds, dtype=np.float64)
    tool.params.recThrs = np.array(recalls, dtype=np.float64)
    tool.params.maxDets = list(limits)
    with contextlib.redirect_stdout(io.StringIO()):
        tool.evaluate()
        tool.accumulate()
        tool.summarize()
    curves = {key: torch.tensor(tool.eval[key]) for key in ("precision", "recall", "scores")}
    return {**curves, "ious": tool.ious, "stats": tool.stats}


def _some_boxes(rng: np.random.Generator, count: int, spread: float, dtype: torch.dtype) -> Tensor:
    corner = rng.uniform(0, spread, (count, 2))
    # Sides around the limits of the ranges of areas, and some of no length.
    size = rng.choice([0, 8, 16, 31, 32, 33, 64, 96, 97, 200], (count, 2)).astype(float)
    size += rng.choice([0, 0.5], (count, 2))
    return torch.from_numpy(np.concatenate([corner, corner + size], 1)).to(dtype)


def _jittered(rng: np.random.Generator, boxes: Tensor, count: int) -> Tensor:
    """Detections near the ground truths."""
    chosen = boxes[torch.from_numpy(rng.integers(0, len(boxes), count))].double()
    sides = (chosen[:, 2:] - chosen[:, :2]).repeat(1, 2)
    moved = chosen + sides * torch.from_numpy(rng.choice([0, 0.02, 0.1, 0.3], (count, 4)))
    moved[:, 2:] = moved[:, 2:].maximum(moved[:, :2])
    return moved.to(boxes.dtype)


def made_up(
    seed: int,
    images: int = 6,
    classes: int = 3,
    *,
    most: int = 8,
    masks: int = 0,
    dtype: torch.dtype = torch.float32,
    spread: float = 200.0,
    tied: bool = False,
    extras: bool = True,
) -> tuple[Images, Images]:
    """Images with crowds, given areas, equal scores, and none on one side or on both.

    Args:
        seed: of all that is random.
        images: how many.
        classes: how many; class 0 is one of them, and one side may lack some.
        most: detections and ground truths of an image.
        masks: the side of masks, if there are any.
        dtype: of the boxes.
        spread: how far the boxes lie apart.
        tied: whether many scores are equal.
        extras: whether targets may hold `iscrowd` and `area`.
    """
    rng = np.random.default_rng(seed)
    preds, target = [], []
    for _ in range(images):
        truths, found = (int(rng.integers(0, most + 1)) * (rng.random() > 0.15) for _ in range(2))
        boxes = _some_boxes(rng, truths, spread, dtype)
        near = truths and rng.random() < 0.8
        ours = _jittered(rng, boxes, found) if near else _some_boxes(rng, found, spread, dtype)
        scores = rng.choice([0.25, 0.5, 0.75], found) if tied else rng.random(found)
        pred = {
            "boxes": ours,
            "scores": torch.from_numpy(scores).float(),
            "labels": torch.from_numpy(rng.integers(0, classes, found)),
        }
        truth = {"boxes": boxes, "labels": torch.from_numpy(rng.integers(0, classes + 1, truths))}
        if extras and rng.random() < 0.7:
            truth["iscrowd"] = torch.from_numpy((rng.random(truths) < 0.2).astype(np.int64))
        if extras and rng.random() < 0.5:
            areas = rng.choice([0, 1, 1023.5, 1024, 1025, 9216, 9217, 2e10], truths)
            truth["area"] = torch.from_numpy(areas)
        if masks:
            shape = (masks, int(rng.integers(masks // 2, masks + 1)))
            for side, count in ((pred, found), (truth, truths)):
                side["masks"] = _blobs(rng, count, shape)
            for i in range(min(found, truths)):
                if rng.random() < 0.7:  # a part of the ground truth is found
                    noise = torch.from_numpy(rng.random(shape) < 0.8)
                    pred["masks"][i] = truth["masks"][i] & noise
        preds.append(pred)
        target.append(truth)
    return preds, target


def _blobs(rng: np.random.Generator, count: int, shape: tuple[int, int]) -> Tensor:
    masks = torch.zeros((count, *shape), dtype=torch.bool)
    for mask in masks:
        top, left = (int(rng.integers(0, size)) for size in shape)
        height, width = (int(rng.integers(0, size + 1)) for size in shape)
        mask[top : top + height, left : left + width] = True
    return masks
