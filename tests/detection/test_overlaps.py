"""IoU and its relatives: plain numbers as an oracle, and the pairs that count."""

from __future__ import annotations

import math

import pytest
import torch

import fastmetrics.detection as metrics
import fastmetrics.functional.detection as functions
from fastmetrics.ops.box_overlaps import CIOU, DIOU, GIOU, IOU
from tests.detection.coco import made_up
from tests.ops.box_overlaps import value_of

FUNCTIONS = {
    IOU: functions.intersection_over_union,
    GIOU: functions.generalized_intersection_over_union,
    DIOU: functions.distance_intersection_over_union,
    CIOU: functions.complete_intersection_over_union,
}
CLASSES = {
    IOU: metrics.IntersectionOverUnion,
    GIOU: metrics.GeneralizedIntersectionOverUnion,
    DIOU: metrics.DistanceIntersectionOverUnion,
    CIOU: metrics.CompleteIntersectionOverUnion,
}
# What torchmetrics' documentation shows for its boxes.
DOCUMENTED = {IOU: 0.5879, GIOU: 0.5638, DIOU: 0.5793, CIOU: 0.5790}
PREDS = [
    [296.55, 93.96, 314.97, 152.79],
    [328.94, 97.05, 342.49, 122.98],
    [356.62, 95.47, 372.33, 147.55],
]
TARGET = [[300.0, 100.0, 315.0, 150.0], [330.0, 100.0, 350.0, 125.0], [350.0, 100.0, 375.0, 150.0]]


def images(seed: int):
    """Boxes with sides, so that all values are defined."""
    preds, target = made_up(seed, extras=False)
    for image in (*preds, *target):
        image["boxes"][:, 2:] += 1
    return preds, target


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_documented_values(kind):
    preds, target = torch.tensor(PREDS), torch.tensor(TARGET)
    assert abs(FUNCTIONS[kind](preds, target).item() - DOCUMENTED[kind]) < 6e-5
    values = FUNCTIONS[kind](preds, target, aggregate=False)
    wanted = torch.tensor(
        [[value_of(a, b, kind) for b in target.double().tolist()] for a in preds.double().tolist()]
    )
    torch.testing.assert_close(values, wanted)
    cut = FUNCTIONS[kind](preds, target, 0.55, -3.0, aggregate=False)
    assert torch.equal(cut, torch.where(values < 0.55, -3.0, values))


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_gradients(kind):
    torch.manual_seed(0)
    corner, size = torch.rand(2, 4, 2, dtype=torch.float64)
    boxes = torch.cat((corner, corner + size), 1).requires_grad_()
    others = boxes.detach().flip(0) + 0.1
    if kind == CIOU:  # a part of it is taken for a constant
        FUNCTIONS[kind](boxes, others).backward()
        assert boxes.grad is not None and boxes.grad.isfinite().all()
    else:
        torch.autograd.gradcheck(lambda x: FUNCTIONS[kind](x, others, aggregate=False), boxes)


def test_shapes_and_empty_sides():
    for function in FUNCTIONS.values():
        with pytest.raises(ValueError, match=r"`preds` must have shape \(N, 4\), got \(4,\)"):
            function(torch.ones(4), torch.ones(1, 4))
        assert function(torch.ones(0, 4), torch.ones(3, 4), aggregate=False).shape == (3, 3)
        assert function(torch.ones(2, 4), torch.ones(0, 4)) == 0
        assert function(torch.ones(0, 4), torch.ones(0, 4)) == 0


def mean_of(kind: int, preds, target, threshold=None, respect=True, label=None) -> float:
    """Over the pairs that count, in plain numbers."""
    values: list[float] = []
    for ours, theirs in zip(preds, target, strict=True):
        n, m = len(ours["labels"]), len(theirs["labels"])
        if not n or not m:
            if label is None:
                values += [0.0] * ((n + m) if respect else (n + m) ** 2)
            else:
                wanted = int((theirs["labels"] == label).sum())
                values += [0.0] * (wanted if respect else wanted * m)
            continue
        for a, k in zip(ours["boxes"].double().tolist(), ours["labels"].tolist(), strict=True):
            for b, g in zip(
                theirs["boxes"].double().tolist(), theirs["labels"].tolist(), strict=True
            ):
                value = torch.tensor(value_of(a, b, kind)).item()
                low = threshold is not None and value < threshold
                if not low and (k == g or not respect) and label in (None, g):
                    values.append(value)
    return math.fsum(values) / len(values) if values else 0.0


@pytest.mark.smoke
@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("respect", [True, False])
@pytest.mark.parametrize("threshold", [None, 0.3])
def test_means(kind, respect, threshold):
    preds, target = images(3)
    options = {"iou_threshold": threshold, "respect_labels": respect, "class_metrics": True}
    metric = CLASSES[kind](**options)
    for i in range(0, len(preds), 2):
        metric.update(preds[i : i + 2], target[i : i + 2])
    values = metric.compute()
    prefix = metric.prefix
    assert values.pop(prefix).item() == pytest.approx(
        mean_of(kind, preds, target, threshold, respect), abs=1e-6
    )
    labels = {int(x) for image in (*preds, *target) for x in image["labels"]}
    assert [*values] == [f"{prefix}/cl_{label}" for label in sorted(labels)]
    for label in labels:
        wanted = mean_of(kind, preds, target, threshold, respect, label)
        assert values[f"{prefix}/cl_{label}"].item() == pytest.approx(wanted, abs=1e-6)


def test_no_images():
    metric = metrics.IntersectionOverUnion(class_metrics=True)
    assert metric.compute() == {"iou": torch.tensor(0.0)}
    metric.update([], [])
    assert metric.compute() == {"iou": torch.tensor(0.0)}
    with pytest.raises(ValueError, match="image 0: needs `labels`"):
        metric.update([{"boxes": torch.ones(1, 4)}], [{"boxes": torch.ones(1, 4)}])
