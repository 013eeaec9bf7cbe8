"""Segmentation and panoptic quality on images of a usual size."""

from typing import Any

import torch

import fastmetrics.detection as fast_detection
import fastmetrics.segmentation as fast
from benchmarks.calls import update
from benchmarks.inputs import labels, masks, segments
from benchmarks.workload import FLOOR, NEVER_SLOWER, OURS, Workload, tm

IMAGES, CLASSES, SIDE = 8, 21, 512


def segmentations() -> list[Workload]:
    """Each metric beside torchmetrics; those over counts beside the read floor, too."""
    shape = f"{IMAGES}x{CLASSES}x{SIDE}x{SIDE}"
    kinds: dict[str, tuple[Any, float]] = {
        "index": (labels(IMAGES, SIDE, SIDE, num_classes=CLASSES), 2.0),
        "one-hot": (masks(IMAGES, CLASSES, SIDE, SIDE, dtype=torch.uint8), 3.0),
    }
    rows = [
        Workload(
            f"update/{name}/{kind}/{shape}",
            inputs,
            _calls("segmentation", fast, name, num_classes=CLASSES, input_format=kind),
            {**NEVER_SLOWER, FLOOR: floor},
        )
        for name in ("DiceScore", "GeneralizedDiceScore", "MeanIoU")
        for kind, (inputs, floor) in kinds.items()
    ]
    limits = {**NEVER_SLOWER, "torchmetrics": 1 / 20}
    rows.append(
        Workload(
            "update/HausdorffDistance/4x5x64x64",
            masks(4, 5, 64, 64),
            _calls("segmentation", fast, "HausdorffDistance", num_classes=5),
            limits,
        )
    )
    categories = {"things": {0, 1}, "stuffs": {2, 3}}
    rows += [
        Workload(
            f"update/{name}/{IMAGES}x{SIDE}x{SIDE}",
            segments(IMAGES, SIDE, SIDE),
            _calls("detection", fast_detection, name, **categories),
            limits,
        )
        for name in ("PanopticQuality", "ModifiedPanopticQuality")
    ]
    return rows


def _calls(domain: str, home: Any, name: str, **arguments: Any) -> dict[str, Any]:
    return {
        OURS: update(lambda: getattr(home, name)(**arguments)),
        "torchmetrics": update(lambda: getattr(getattr(tm, domain), name)(**arguments)),
    }
