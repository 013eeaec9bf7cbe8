"""Mean average precision: the COCO tools to the last bit, and the laws of states and inputs."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_tools
from torch._dynamo.testing import CompileCounterWithBackend

from fastmetrics.detection import MeanAveragePrecision
from fastmetrics.functional.detection import mean_average_precision
from fastmetrics.ops import kept_matches
from tests.detection.coco import evaluated, made_up

CURVES = ("precision", "recall", "scores")
KINDS: dict[str, dict[str, Any]] = {
    "boxes": {},
    "equal scores": {"tied": True},
    "many": {"most": 30},
    "half": {"dtype": torch.float16},
    "double": {"dtype": torch.float64},
    "huge": {"spread": 1e6},
    "masks": {"masks": 16},
    "one class": {"classes": 1},
}
NAMES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")
NAMES += ("mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large")


def metric_of(preds, target, step: int = 3, **options: Any) -> MeanAveragePrecision:
    metric = MeanAveragePrecision(**options)
    for i in range(0, len(preds), step):
        metric.update(preds[i : i + step], target[i : i + step])
    return metric


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]) if torch.is_tensor(value) else value == other[key], (
            key
        )


def check_against_the_tools(preds, target, *, together: bool = False, **options: Any) -> None:
    iou_type = options.get("iou_type", "bbox")
    average = "micro" if together else "macro"
    found = metric_of(preds, target, extended_summary=True, average=average, **options).compute()
    limits = options.get("max_detection_thresholds") or (1, 10, 100)
    wanted = evaluated(preds, target, iou_type=iou_type, limits=limits, together=together)
    for name in CURVES:
        assert torch.equal(found[name].reshape(wanted[name].shape), wanted[name]), name
    assert found["ious"].keys() == wanted["ious"].keys()
    for key, matrix in wanted["ious"].items():
        expected = torch.tensor(np.asarray(matrix), dtype=torch.float32)
        own = found["ious"][key]
        assert torch.equal(torch.as_tensor(own).reshape(expected.shape), expected)
    if limits[-1] == 100:
        means = torch.stack([found[name] for name in NAMES])
        expected = torch.tensor(wanted["stats"], dtype=torch.float32)
        torch.testing.assert_close(means, expected, rtol=2e-7, atol=0)


@pytest.mark.smoke
@pytest.mark.parametrize("kind", KINDS)
def test_curves_are_those_of_the_tools(kind):
    options = {"iou_type": "segm"} if "masks" in KINDS[kind] else {}
    check_against_the_tools(*made_up(1, **KINDS[kind]), **options)
    few = {"max_detection_thresholds": [5, 2, 3]}
    preds, target = made_up(2, **KINDS[kind])
    wanted = sorted(few["max_detection_thresholds"])
    check_against_the_tools(
        preds, target, together=True, max_detection_thresholds=wanted, **options
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**31), images=st.integers(1, 9), together=st.booleans())
@settings(max_examples=60, deadline=None, database=None)
def test_curves_of_anything(kind, seed, images, together):
    options = {"iou_type": "segm"} if "masks" in KINDS[kind] else {}
    data = made_up(seed, images, **KINDS[kind])
    check_against_the_tools(*data, together=together, **options)


@pytest.mark.smoke
def test_any_split_and_any_order_give_the_same_bits():
    """The order of images shows with equal scores alone, unless they have numbers."""
    preds, target = made_up(5, images=12, classes=2, tied=True)
    for number, image in enumerate(target):
        image["image_id"] = number if number % 2 else torch.tensor(number)
    whole = metric_of(preds, target, 12, class_metrics=True).compute()
    same(whole, mean_average_precision(preds, target, class_metrics=True))
    for step in (1, 5):
        same(whole, metric_of(preds, target, step, class_metrics=True).compute())
    order = np.random.default_rng(0).permutation(12)
    mixed = metric_of([preds[i] for i in order], [target[i] for i in order], class_metrics=True)
    same(whole, mixed.compute())
    first, second = (metric_of(preds[i::2], target[i::2], class_metrics=True) for i in (1, 0))
    first.merge_state(second)
    same(whole, first.compute())


def test_forward_copies_pickles_and_checkpoints():
    preds, target = made_up(6)
    metric = metric_of(preds[:3], target[:3])
    same(metric(preds[3:], target[3:]), mean_average_precision(preds[3:], target[3:]))
    whole = metric.compute()
    same(whole, mean_average_precision(preds, target))
    same(whole, pickle.loads(pickle.dumps(metric)).compute())
    metric.persistent(True)
    loaded = MeanAveragePrecision()
    loaded.load_state_dict(metric.state_dict())
    same(whole, loaded.compute())
    metric.reset()
    assert metric.compute()["map"] == -1


def test_classes():
    """A class on one side alone has no value; micro averages have values of classes, too."""
    preds, target = made_up(7, classes=3)
    values = mean_average_precision(preds, target, class_metrics=True)
    labels = {int(x) for image in (*preds, *target) for x in image["labels"]}
    assert values["classes"].tolist() == sorted(labels) and values["classes"].dtype == torch.int32
    known = values["map_per_class"][values["map_per_class"] > -1]
    torch.testing.assert_close(known.double().mean().float(), values["map"], rtol=1e-6, atol=0)
    micro = mean_average_precision(preds, target, class_metrics=True, average="micro")
    assert torch.equal(micro["map_per_class"], values["map_per_class"])
    assert not torch.equal(micro["map"], values["map"])


def test_two_types_of_iou():
    """Masks say how large a ground truth is, for boxes, too; an area of 0 would not be given."""
    preds, target = made_up(8, masks=16, extras=False)
    both = mean_average_precision(preds, target, iou_type=("bbox", "segm"))
    masks = mean_average_precision(preds, target, iou_type="segm")
    for name in NAMES:
        assert both[f"segm_{name}"] == masks[name]
    boxes = [image | {"area": image["masks"].flatten(1).sum(1).clamp(1)} for image in target]
    for name, value in mean_average_precision(preds, boxes).items():
        if name in NAMES:
            assert both[f"bbox_{name}"] == value


def test_a_mask_without_pixels_is_small_whatever_its_box():
    preds, target = made_up(8, images=1, masks=16, extras=False)
    target[0]["masks"][:] = False
    target[0]["boxes"][:, 2:] = target[0]["boxes"][:, :2] + 200
    values = mean_average_precision(preds, target, iou_type=("bbox", "segm"))
    assert len(target[0]["labels"]) and values["bbox_mar_small"] >= 0
    assert values["bbox_mar_large"] == values["segm_mar_large"] == -1


def test_run_lengths():
    """Compressed or not, as the tools write them."""
    preds, target = made_up(9, masks=16)

    def encoded(images, compressed: bool):
        found = []
        for image in images:
            codes = [
                mask_tools.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
                for mask in image["masks"]
            ]
            if not compressed:
                codes = [
                    {"size": code["size"], "counts": _runs(mask)}
                    for code, mask in zip(codes, image["masks"], strict=True)
                ]
            found.append(image | {"masks": codes})
        return found

    whole = mean_average_precision(preds, target, iou_type="segm")
    for compressed in (True, False):
        ours, theirs = encoded(preds, compressed), encoded(target, compressed)
        same(whole, mean_average_precision(ours, theirs, iou_type="segm"))
        same(whole, mean_average_precision(preds, theirs, iou_type="segm"))


def _runs(mask: torch.Tensor) -> list[int]:
    """Clear and set pixels in turn, column by column."""
    runs, last = [0], False
    for pixel in mask.t().flatten().tolist():
        if pixel != last:
            runs.append(0)
            last = pixel
        runs[-1] += 1
    return runs


@pytest.mark.parametrize("box_format", ["xywh", "cxcywh"])
def test_box_formats(box_format):
    """Boxes of whole numbers are the same in every form."""
    preds, target = made_up(10)
    for images in (preds, target):
        for image in images:
            image["boxes"] = image["boxes"].round()
    whole = mean_average_precision(preds, target)

    def changed(images):
        found = []
        for image in images:
            corner, size = image["boxes"][:, :2], image["boxes"][:, 2:] - image["boxes"][:, :2]
            place = corner if box_format == "xywh" else corner + size / 2
            found.append(image | {"boxes": torch.cat((place, size), 1)})
        return found

    same(whole, mean_average_precision(changed(preds), changed(target), box_format=box_format))


def test_empty_lists_of_any_dtype():
    """An image without detections says so in whatever form it likes."""
    preds, target = made_up(11, most=4)
    whole = mean_average_precision(preds, target)
    empty = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0).long()}
    odd = {"boxes": torch.tensor([]), "scores": torch.tensor([]), "labels": torch.tensor([])}
    for images in (preds, target):
        for i, image in enumerate(images):
            if not len(image["labels"]):
                images[i] = odd if i % 2 else empty
    same(whole, mean_average_precision(preds, target))


@pytest.mark.parametrize("images", [2, 9])
def test_a_batch_elsewhere_comes_by_one_copy_of_each_column(monkeypatch, images):
    preds, target = made_up(13, images=images, classes=5)
    target[0]["iscrowd"] = torch.zeros(len(target[0]["labels"]), dtype=torch.int64)
    metric, whole = MeanAveragePrecision(), mean_average_precision(preds, target)
    copies, copy = [], torch.Tensor.cpu
    with monkeypatch.context() as patch:
        patch.setattr(kept_matches, "CPU", torch.device("meta"))  # where these images are not
        patch.setattr(torch.Tensor, "cpu", lambda tensor: copies.append(tensor) or copy(tensor))
        metric.update(preds, target)
    assert len(copies) == 6 + any("area" in image for image in target)
    same(whole, {key: value.squeeze() for key, value in metric.compute().items()})


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_images_as_they_lie_in_memory(iou_type):
    """Columns of wider tensors, labels and scores of any width, with gradients."""
    preds, target = made_up(14, masks=16)
    whole = mean_average_precision(preds, target, iou_type=iou_type)
    for images in (preds, target):
        for image in images:
            count = len(image["labels"])
            wide = torch.cat((image["boxes"], torch.ones(count, 3)), 1).requires_grad_()
            image["boxes"], image["labels"] = wide[:, :4], image["labels"].to(torch.int16)
            image["masks"] = image["masks"].repeat(1, 1, 2)[:, :, : image["masks"].shape[2]]
    for image in preds:
        image["scores"] = torch.stack((image["scores"].double(),) * 2, 1)[:, 1]
    same(whole, mean_average_precision(preds, target, iou_type=iou_type))


BOX = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
GOOD = {"boxes": BOX, "scores": torch.tensor([0.5]), "labels": torch.tensor([1])}
NOT_A_NUMBER = torch.tensor([[0.0, 0.0, float("nan"), 4.0]])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"boxes": None}, ValueError, "image 1: `boxes` must be a tensor, got NoneType"),
        ({"boxes": BOX[:, :3]}, ValueError, r"image 1: `boxes` must hold real numbers \(N, 4\)"),
        ({"boxes": BOX[:0]}, ValueError, "image 1: `boxes` and `labels` must be of one length"),
        ({"boxes": BOX > 0}, ValueError, "image 1: `boxes` must hold real numbers"),
        ({"boxes": NOT_A_NUMBER}, RuntimeError, "image 1: `boxes` must be finite"),
        ({"boxes": -BOX}, RuntimeError, "image 1: `boxes` must be finite, with no negative side"),
        ({"scores": torch.tensor([1])}, ValueError, "image 1: `scores` must hold floats"),
        ({"scores": torch.tensor([float("nan")])}, RuntimeError, "image 1: `scores` must not be"),
        ({"labels": torch.tensor([1.0])}, ValueError, "image 1: `labels` must hold integers"),
        ({"labels": torch.tensor(1)}, ValueError, "image 1: `labels` must have an axis"),
    ],
)
def test_bad_images_are_named_and_leave_no_trace(changes, error, words):
    metric = MeanAveragePrecision()
    metric.update([GOOD], [GOOD])
    before = metric.compute()
    for key in (*changes,):
        with pytest.raises(ValueError, match=f"image 1: needs `{key}`"):
            metric.update([GOOD, {k: v for k, v in GOOD.items() if k != key}], [GOOD, GOOD])
    with pytest.raises(error, match=words):
        metric.update([GOOD, GOOD | changes], [GOOD, GOOD])
    if "scores" not in changes:
        with pytest.raises(error, match=words):
            metric.update([GOOD, GOOD], [GOOD, GOOD | changes])
    assert metric.update_count == 1
    same(before, metric.compute())


def test_bad_batches():
    metric = MeanAveragePrecision()
    for preds, target in ((GOOD, GOOD), ([GOOD], [GOOD, GOOD]), ([3], [GOOD]), ("a", "b")):
        with pytest.raises(ValueError, match="`preds`"):
            metric.update(preds, target)
    with pytest.raises(ValueError, match="image 0: `iscrowd` and `labels` must be of one length"):
        metric.update([GOOD], [GOOD | {"iscrowd": torch.tensor([1, 0])}])
    masks = [
        GOOD | {"masks": torch.zeros(1, *shape, dtype=torch.bool)} for shape in ((4, 4), (4, 5))
    ]
    with pytest.raises(ValueError, match="image 0: `masks` of `preds` and `target`"):
        MeanAveragePrecision(iou_type="segm").update(masks[:1], masks[1:])
    with pytest.raises(ValueError, match="image 0: `masks` must be bool or uint8"):
        MeanAveragePrecision(iou_type="segm").update(
            [masks[0] | {"masks": torch.zeros(1, 4, 4)}], masks[:1]
        )


@pytest.mark.parametrize(
    "options",
    [
        {"box_format": "yxyx"},
        {"iou_type": "keypoints"},
        {"iou_type": ("bbox", "x")},
        {"iou_thresholds": 0.5},
        {"rec_thresholds": (0.5,)},
        {"max_detection_thresholds": [1, 2]},
        {"max_detection_thresholds": 5},
        {"class_metrics": 1},
        {"extended_summary": "yes"},
        {"average": "weighted"},
        {"backend": "numpy"},
    ],
)
def test_arguments_that_are_refused(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        MeanAveragePrecision(**options)


def test_warning_of_many_detections():
    preds, target = made_up(12, most=30)
    metric = MeanAveragePrecision(max_detection_thresholds=[1, 2, 3])
    with pytest.warns(UserWarning, match="more than 3 detections"):
        metric.update(preds, target)
    metric.warn_on_many_detections = False
    metric.update(preds, target)


@pytest.mark.parametrize("iou_type", ["bbox", ("bbox", "segm")])
def test_compiled_updates_are_one_graph_with_iou_too(iou_type):
    """Lists of batches grow unseen."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    preds, target = made_up(15, images=4, masks=16)
    options = {"iou_type": iou_type, "extended_summary": True, "class_metrics": True}
    metric, eager = (MeanAveragePrecision(**options) for _ in range(2))
    step = torch.compile(metric.update, backend=counter, fullgraph=True)
    for _ in range(4):
        step(preds, target)
        eager.update(preds, target)
    assert counter.frame_count == 1
    found = metric.compute()
    for name, value in eager.compute().items():
        own, wanted = found[name], value
        if not name.endswith("ious"):
            own, wanted = {0: own}, {0: wanted}
        same(own, wanted)
    torch._dynamo.reset()
