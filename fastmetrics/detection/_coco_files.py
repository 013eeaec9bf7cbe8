"""Files of COCO's format: ground truths with their images, and lists of detections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops.detections import to_xywh
from fastmetrics.ops.polygons import filled
from fastmetrics.ops.run_lengths import decoded, runs_of, text_of

Image = dict[str, Any]


def _mask_of(annotation: dict[str, Any], sizes: dict[Any, tuple[int, int]]) -> Tensor:
    """Return the mask ``[H, W]`` of an annotation: run lengths, or polygons in its image."""
    shape = annotation["segmentation"]
    if isinstance(shape, dict):
        return decoded("`segmentation`", [shape])[0]
    height, width = sizes[annotation["image_id"]]
    return filled(shape, height, width)


def _images(
    annotations: list[dict[str, Any]], numbers: list[Any], sizes: dict[Any, tuple[int, int]],
    iou_types: Sequence[str], extra: dict[str, torch.dtype],
) -> list[Image]:  # fmt: skip
    """Return one dictionary for each image; ``extra`` are the keys of one side, with dtypes."""
    found: dict[Any, list[dict[str, Any]]] = {number: [] for number in numbers}
    for annotation in annotations:
        if annotation["image_id"] in found:
            found[annotation["image_id"]].append(annotation)
    return [_image(own, sizes, iou_types, extra) for own in found.values()]


def _image(
    own: list[dict[str, Any]], sizes: dict[Any, tuple[int, int]], iou_types: Sequence[str],
    extra: dict[str, torch.dtype],
) -> Image:  # fmt: skip
    labels = [each["category_id"] for each in own]
    image: Image = {"labels": torch.tensor(labels, dtype=torch.int32)}
    for key, dtype in extra.items():
        name = "score" if key == "scores" else key
        image[key] = torch.tensor([each.get(name, 0) for each in own], dtype=dtype)
    if "bbox" in iou_types:
        boxes = [each["bbox"] for each in own]
        image["boxes"] = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    if "segm" in iou_types:
        masks = [_mask_of(each, sizes).to(torch.uint8) for each in own]
        image["masks"] = torch.stack(masks) if masks else torch.zeros(0, 0, 0, dtype=torch.uint8)
    return image


def read(preds: str, target: str, iou_types: Sequence[str]) -> tuple[list[Image], list[Image]]:
    """Return detections and ground truths of two files, of images that have ground truths."""
    truths = json.loads(Path(target).read_text(encoding="utf-8"))
    found = json.loads(Path(preds).read_text(encoding="utf-8"))
    sizes = {
        image["id"]: (image.get("height", 0), image.get("width", 0)) for image in truths["images"]
    }
    numbers = [*dict.fromkeys(each["image_id"] for each in truths["annotations"])]
    ours = {"scores": torch.float32}
    theirs = {"iscrowd": torch.int32, "area": torch.float32}
    return (
        _images(found, numbers, sizes, iou_types, ours),
        _images(truths["annotations"], numbers, sizes, iou_types, theirs),
    )


def _annotations(images: Sequence[Image], box_format: str, iou_types: Sequence[str]) -> list[Any]:
    """Return the annotations of all images."""
    found: list[dict[str, Any]] = []
    for number, image in enumerate(images):
        boxes = to_xywh(image["boxes"].reshape(-1, 4), box_format) if "bbox" in iou_types else None
        masks = image["masks"] if "segm" in iou_types else None
        if masks is not None and not isinstance(masks, Tensor):
            masks = decoded("`masks`", masks)
        for i, label in enumerate(image["labels"].tolist()):
            each: dict[str, Any] = {"id": len(found) + 1, "image_id": number, "category_id": label}
            each["iscrowd"] = int(image["iscrowd"][i]) if "iscrowd" in image else 0
            if boxes is not None:
                each["bbox"] = boxes[i].tolist()
                each["area"] = each["bbox"][2] * each["bbox"][3]
            if masks is not None:
                each["segmentation"] = {
                    "size": [*masks.shape[1:]],
                    "counts": text_of(runs_of(masks[i])),
                }
                each["area"] = int((masks[i] != 0).sum())
            if "area" in image and float(image["area"][i]) > 0:
                each["area"] = float(image["area"][i])
            if "scores" in image:
                each["score"] = float(image["scores"][i])
            found.append(each)
    return found


def write(
    name: str, preds: Sequence[Image], target: Sequence[Image], box_format: str,
    iou_types: Sequence[str],
) -> None:  # fmt: skip
    """Write ``NAME_preds.json`` and ``NAME_target.json``."""
    labels = sorted({int(x) for image in (*preds, *target) for x in image["labels"]})
    images: list[dict[str, Any]] = []
    for number, image in enumerate(target):
        images.append({"id": number})
        masks = image.get("masks", ())
        if "segm" in iou_types and len(masks):
            size = masks.shape[1:] if isinstance(masks, Tensor) else masks[0]["size"]
            images[-1] |= {"height": int(size[0]), "width": int(size[1])}
    dataset = {
        "images": images,
        "annotations": _annotations(target, box_format, iou_types),
        "categories": [{"id": label, "name": str(label)} for label in labels],
        "info": {"description": "written by fastmetrics"},
    }
    found = _annotations(preds, box_format, iou_types)
    for side, content in (("preds", found), ("target", dataset)):
        text = json.dumps(content, indent=4)
        Path(f"{name}_{side}.json").write_text(text, encoding="utf-8")
