"""Mean average precision, beside torchmetrics and packages that evaluate files of COCO's form."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import fastmetrics.detection as fast
from benchmarks.calls import Call, Inputs, Started, find, update
from benchmarks.inputs import scenes, silhouettes
from benchmarks.workload import (
    NEVER_SLOWER,
    OURS,
    Workload,
    faster_coco_eval,
    hotcoco,
    pycocotools,
    tm,
    ultrafast_pycocotools,
)

NAMES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10")
NAMES += ("mar_100", "mar_small", "mar_medium", "mar_large")
# Those of torchmetrics and ours; the packages' own are other float64 numbers.
THRESHOLDS = np.array(fast.MeanAveragePrecision().iou_thresholds)
RECALLS = np.array(fast.MeanAveragePrecision().rec_thresholds)
# Torchmetrics takes 15 s and more for the images of COCO's validation set.
MOST_IMAGES = 1_000


def mean_average_precisions() -> list[Workload]:
    """An update that torchmetrics only keeps, and all from the tensors of images to the value."""
    has_torchvision = find("torchvision") is not None
    note = "" if has_torchvision else "torchmetrics needs torchvision"
    few = {OURS: update(fast.MeanAveragePrecision)}
    if has_torchvision:
        few["torchmetrics"] = update(lambda: tm.detection.MeanAveragePrecision())
    rows = [Workload("update/MeanAveragePrecision/16 images", scenes(16, 4, 10), few, note=note)]
    for images, boxes, classes in ((100, 7, 10), (5_000, 7, 80)):
        calls = {OURS: _whole(fast.MeanAveragePrecision)}
        if has_torchvision and images <= MOST_IMAGES:
            calls["torchmetrics"] = _whole(lambda: tm.detection.MeanAveragePrecision())
        calls |= {
            "pycocotools": _tool(lambda: (find("pycocotools.coco").COCO, pycocotools.COCOeval)),
            "faster-coco-eval": _tool(
                lambda: (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)
            ),
            "hotcoco": _arrays,
            "ultrafast-pycocotools": _tool(
                lambda: (ultrafast_pycocotools.COCO, ultrafast_pycocotools.COCOeval)
            ),
        }
        rows.append(
            Workload(
                f"whole/MeanAveragePrecision/{images} images, {classes} classes",
                scenes(images, boxes, classes),
                calls,
                NEVER_SLOWER,
                note=note if images <= MOST_IMAGES else "torchmetrics works in Python",
            )
        )
    masks = {OURS: _whole(lambda: fast.MeanAveragePrecision(iou_type="segm"))}
    if has_torchvision and pycocotools is not None:
        masks["torchmetrics"] = _whole(lambda: tm.detection.MeanAveragePrecision(iou_type="segm"))
    inputs = silhouettes(100, 7, 10, 160)
    limits = {**NEVER_SLOWER, "torchmetrics": 1 / 20}
    name = "whole/MeanAveragePrecision/100 images, masks 160x160"
    rows.append(Workload(name, inputs, masks, limits, note=note))
    return rows


def _whole(make: Any) -> Call:
    """Time an update in batches of 16 images, and the twelve means."""

    def start(inputs: Inputs) -> Started:
        metric, (preds, target) = make(), inputs

        def run() -> list[float]:
            metric.reset()
            for i in range(0, len(preds), 16):
                metric.update(preds[i : i + 16], target[i : i + 16])
            values = metric.compute()
            return [float(values[name]) for name in NAMES]

        return Started(run, run)

    return start


def _tool(classes: Callable[[], tuple[Any, Any]]) -> Call:
    """Time a package on lists of dictionaries that are there, as it reads them from files."""

    def start(inputs: Inputs) -> Started:
        coco, evaluation = classes()
        preds, target = inputs
        dataset = {**_tables(target), "annotations": _annotations(target)}
        found = _annotations(preds)

        def load() -> Any:
            truth = coco()
            truth.dataset = dataset
            truth.createIndex()
            return evaluation(truth, truth.loadRes([{**each} for each in found]), "bbox")

        return _evaluated(load)

    return start


def _arrays(inputs: Inputs) -> Started:
    """Time hotcoco on arrays, which it reads faster than dictionaries."""
    preds, target = inputs
    tables, (numbers, labels, boxes, _) = _tables(target), _columns(target)
    found_numbers, found_labels, found, scores = _columns(preds)
    rows = np.column_stack((found_numbers, found, scores, found_labels))

    def load() -> Any:
        truth = hotcoco.COCO.from_arrays(
            tables["images"], tables["categories"], numbers, labels, boxes
        )
        return hotcoco.COCOeval(truth, truth.loadRes(rows), "bbox")

    return _evaluated(load)


def _evaluated(load: Callable[[], Any]) -> Started:
    def run() -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            tool = load()
            tool.params.iouThrs, tool.params.recThrs = THRESHOLDS, RECALLS
            tool.evaluate()
            tool.accumulate()
            tool.summarize()
        return [*tool.stats]

    return Started(run, run)


def _tables(target: list[dict[str, torch.Tensor]]) -> dict[str, Any]:
    labels = {int(label) for image in target for label in image["labels"]}
    return {
        "images": [{"id": i, "height": 1, "width": 1} for i in range(len(target))],
        "categories": [{"id": label, "name": str(label)} for label in sorted(labels)],
    }


def _columns(images: list[dict[str, torch.Tensor]]) -> tuple[Any, Any, Any, Any]:
    """Return arrays of image, class, box (x, y, width, height) and score of each object."""
    numbers = torch.arange(len(images)).repeat_interleave(
        torch.tensor([len(image["labels"]) for image in images])
    )
    corners = torch.cat([image["boxes"] for image in images])
    boxes = torch.cat((corners[:, :2], corners[:, 2:] - corners[:, :2]), 1).double()
    labels = torch.cat([image["labels"] for image in images])
    scores = torch.cat([image.get("scores", torch.zeros(0)) for image in images]).double()
    return numbers.numpy(), labels.numpy(), boxes.numpy(), scores.numpy()


def _annotations(images: list[dict[str, torch.Tensor]]) -> list[dict[str, Any]]:
    numbers, labels, boxes, scores = (column.tolist() for column in _columns(images))
    found: list[dict[str, Any]] = []
    for i, (number, label, box) in enumerate(zip(numbers, labels, boxes, strict=True)):
        each = {"id": i + 1, "image_id": number, "category_id": label, "bbox": box, "iscrowd": 0}
        score = {"score": scores[i]} if scores else {}
        found.append({**each, **score, "area": box[2] * box[3]})
    return found
