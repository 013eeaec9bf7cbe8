"""Segmentation and panoptic quality on images of a usual size."""

from functools import partial
from typing import Any

import torch

import fastmetrics.detection as fast_detection
import fastmetrics.segmentation as fast
from benchmarks.calls import find, function, update
from benchmarks.inputs import bodies, labels, masks, segments
from benchmarks.workload import FLOOR, NEVER_SLOWER, OURS, Workload, exacta, monai, tm
from fastmetrics.functional.segmentation import dice_score, hausdorff_distance, mean_iou

ndimage = find("scipy.ndimage")

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
    size = (256, 256, 64)
    rows.append(
        Workload(
            "function/HausdorffDistance/256x256x64",
            bodies(*size),
            {
                OURS: function(
                    lambda *masks: hausdorff_distance(*masks, 1, include_background=True)
                ),
                "SciPy": function(_scipy_distance),
                "MONAI": function(
                    lambda *masks: monai.compute_hausdorff_distance(*masks, include_background=True)
                ),
                "exacta": function(_exacta_distance),
            },
            note="torchmetrics takes images of two axes",
        )
    )
    small = {
        "index": labels(4, 16, 16, num_classes=5),
        "one-hot": masks(4, 5, 16, 16),
    }
    rows += [
        Workload(
            f"function/{name}/{kind}/4x5x16x16",
            inputs,
            {
                OURS: function(partial(ours, num_classes=5, input_format=kind)),
                "torchmetrics": function(partial(_their, ours.__name__, kind)),
            },
        )
        for name, ours in (("DiceScore", dice_score), ("MeanIoU", mean_iou))
        for kind, inputs in small.items()
    ]
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


def _their(name: str, kind: str, *batch: torch.Tensor) -> torch.Tensor:
    function_of = getattr(tm.functional.segmentation, name)
    return function_of(*batch, num_classes=5, input_format=kind)


def _scipy_distance(preds: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    edges = []
    for mask in (preds[0, 0].bool().numpy(), target[0, 0].bool().numpy()):
        edges.append(mask & ~ndimage.binary_erosion(mask))
    far = [ndimage.distance_transform_edt(~edge) for edge in edges]
    distance = max(far[1][edges[0]].max(), far[0][edges[1]].max())
    return torch.tensor([[distance]], dtype=torch.float32)


def _exacta_distance(preds: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    both = (mask[:, 0].long() for mask in (preds, target))
    options = {"num_classes": 2, "include_background": False, "spacing": (1.0, 1.0, 1.0)}
    return exacta.hausdorff_distance(*both, **options)


def _calls(domain: str, home: Any, name: str, **arguments: Any) -> dict[str, Any]:
    return {
        OURS: update(lambda: getattr(home, name)(**arguments)),
        "torchmetrics": update(lambda: getattr(getattr(tm, domain), name)(**arguments)),
    }
