"""Dice, generalized Dice and mean IoU: torchmetrics' values, states and checkpoints."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torchmetrics.functional.segmentation as their_functions
import torchmetrics.segmentation as theirs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fastmetrics.functional.segmentation as functions
import fastmetrics.segmentation as ours
from fastmetrics import MetricCollection
from fastmetrics.classification import MulticlassJaccardIndex

pytestmark = pytest.mark.filterwarnings("ignore:.*average=micro")

C, N = 4, 5
# What the inputs are, and the format that takes them.
FORMATS = {
    "masks": "one-hot",
    "labels": "index",
    "masks and labels": "mixed",
    "labels and scores": "mixed",
    "scores and labels": "mixed",
    "scores": "one-hot",
    "scores and masks": "one-hot",
}
AVERAGES = ("micro", "macro", "weighted", "none", None)
LEVELS = ("samplewise", "global")
WEIGHTS = ("square", "simple", "linear")


def batch(kind: str, seed: int = 0, images: int = N) -> tuple[Tensor, Tensor]:
    """Images of which some lack classes."""
    draw = torch.Generator().manual_seed(seed)

    def one(what: str) -> Tensor:
        if what == "labels":
            labels = torch.randint(C, (images, 6, 7), generator=draw)
            labels[0] = 1
            return labels
        if what == "scores":
            return torch.randn(images, C, 6, 7, generator=draw)
        masks = (torch.rand(images, C, 6, 7, generator=draw) < 0.4).long()
        masks[0, 1:3] = 0
        return masks

    first, _, second = kind.partition(" and ")
    return one(first), one(second or first)


def agree(ours: Tensor, theirs: Tensor) -> None:
    """The same value in the same shape; theirs is rounded at every step."""
    torch.testing.assert_close(ours, theirs.float(), rtol=2e-6, atol=1e-7, equal_nan=True)


def metrics() -> list[tuple[str, dict[str, Any]]]:
    dice = itertools.product(AVERAGES, LEVELS)
    return [
        *(("DiceScore", {"average": a, "aggregation_level": level}) for a, level in dice),
        *(("GeneralizedDiceScore", {"weight_type": weight}) for weight in WEIGHTS),
        ("GeneralizedDiceScore", {"per_class": True}),
        *(("MeanIoU", {"per_class": each}) for each in (False, True)),
    ]


METRICS = pytest.mark.parametrize(
    ("name", "options"), metrics(), ids=lambda x: str([*x.values()]) if isinstance(x, dict) else x
)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("kind", FORMATS)
@METRICS
def test_values_and_states_are_those_of_torchmetrics(name, options, kind, background):
    arguments = {"num_classes": C, "include_background": background, "input_format": FORMATS[kind]}
    own, other = (getattr(x, name)(**arguments, **options) for x in (ours, theirs))
    preds, target = batch(kind)
    for i in range(N):  # they weigh classes by what other images of the batch lack
        agree(own(preds[i : i + 1], target[i : i + 1]), other(preds[i : i + 1], target[i : i + 1]))
    agree(own.compute(), other.compute())
    for state in other.metric_state:
        found, wanted = getattr(own, state, None), getattr(other, state)
        if isinstance(wanted, Tensor):
            torch.testing.assert_close(found.double(), wanted.double(), rtol=2e-6, atol=1e-6)
    own.persistent("torchmetrics")
    other.persistent(True)
    loaded = getattr(theirs, name)(**arguments, **options)
    loaded.persistent(True)
    loaded.load_state_dict(own.state_dict())
    again = getattr(ours, name)(**arguments, **options)
    again.load_state_dict(other.state_dict())
    for metric in (loaded, again):
        metric._update_count = 1
        agree(own.compute(), metric.compute().float())


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("kind", FORMATS)
def test_functions_are_those_of_torchmetrics(kind, background):
    arguments = {"num_classes": C, "include_background": background, "input_format": FORMATS[kind]}
    preds, target = batch(kind)
    for average, level in itertools.product(AVERAGES, LEVELS):
        options = arguments | {"average": average, "aggregation_level": level}
        found = functions.dice_score(preds, target, **options)
        agree(found, their_functions.dice_score(preds, target, **options))
    for each, weight in itertools.product((False, True), WEIGHTS):
        options = arguments | {"per_class": each, "weight_type": weight}
        wanted = [
            their_functions.generalized_dice_score(preds[i : i + 1], target[i : i + 1], **options)
            for i in range(N)
        ]
        agree(functions.generalized_dice_score(preds, target, **options), torch.cat(wanted))
    for each in (False, True):
        options = arguments | {"per_class": each}
        found = functions.mean_iou(preds, target, **options)
        agree(found, their_functions.mean_iou(preds, target, **options))


def test_the_number_of_classes_follows_from_the_first_batch():
    for kind in ("masks", "masks and labels", "labels and scores"):
        arguments = {"input_format": FORMATS[kind], "per_class": True}
        own, other = ours.MeanIoU(**arguments), theirs.MeanIoU(**arguments)
        values = [own(*batch(kind, seed)) for seed in (1, 2)]
        agree(
            values[0],
            functions.mean_iou(*batch(kind, 1), **arguments)
            .where(functions.mean_iou(*batch(kind, 1), **arguments) >= 0, torch.nan)
            .nanmean(0),
        )
        for seed in (1, 2):
            other.update(*batch(kind, seed))
        agree(own.compute(), other.compute())
        own.reset()
        own.update(*batch(kind, 1))
        agree(own.compute(), values[0])


@given(st.integers(0, 10**6), st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_any_split_gives_the_same(seed, sizes):
    preds, target = batch("labels", seed, sum(sizes))
    for name, options in metrics():
        metric = getattr(ours, name)(num_classes=C, input_format="index", **options)
        parts = [getattr(ours, name)(num_classes=C, input_format="index", **options) for _ in sizes]
        metric.update(preds, target)
        for part, one, other in zip(parts, preds.split(sizes), target.split(sizes), strict=True):
            part.update(one, other)
        for part in parts[1:]:
            parts[0].merge_state(part)
        torch.testing.assert_close(parts[0].compute(), metric.compute(), equal_nan=True)


def test_one_image_counts_alike_in_every_format_and_dtype():
    preds, target = batch("labels")
    masks = [torch.nn.functional.one_hot(x, C).movedim(-1, 1) for x in (preds, target)]
    logits = masks[0] * 2.0 - 1
    for name in ("dice_score", "generalized_dice_score", "mean_iou"):
        function = getattr(functions, name)
        wanted = function(preds, target, num_classes=C, input_format="index")
        assert torch.equal(function(logits, target, num_classes=C, input_format="logits"), wanted)
        assert torch.equal(function(preds, masks[1], num_classes=C, input_format="mixed"), wanted)
        for dtype in (torch.bool, torch.uint8, torch.int32, torch.float64):
            assert torch.equal(function(*(x.to(dtype) for x in masks), num_classes=C), wanted)
        for dtype in (torch.uint8, torch.int16):
            found = function(preds.to(dtype), target.to(dtype), num_classes=C, input_format="index")
            assert torch.equal(found, wanted)


def test_no_images_have_no_values():
    preds, target = (x[:0] for x in batch("labels"))
    for average, shape in (("macro", (0,)), ("none", (0, C))):
        options = {"num_classes": C, "average": average, "input_format": "index"}
        assert functions.dice_score(preds, target, **options).shape == shape
    assert functions.mean_iou(preds, target, C, per_class=True, input_format="index").shape == (
        0,
        C,
    )


def test_a_collection_counts_images_once():
    arguments = {"num_classes": C, "input_format": "index"}
    members = {
        "dice": ours.DiceScore(**arguments),
        "iou": ours.MeanIoU(**arguments),
        "generalized": ours.GeneralizedDiceScore(**arguments),
        "pixels": ours.DiceScore(aggregation_level="global", **arguments),
        "jaccard": MulticlassJaccardIndex(C),
    }
    together = MetricCollection({name: metric.clone() for name, metric in members.items()})
    for seed in (1, 2):
        found = together(*batch("labels", seed))
        for name, metric in members.items():
            agree(found[name], metric(*batch("labels", seed)))
    for name, value in together.compute().items():
        agree(value, members[name].compute())
    kept = [type(m._states).__name__ for m in together.values(copy_state=False)]
    assert kept.count("Derived") == 3


LABELS, MASKS = batch("labels")[0], batch("masks")[0]


@pytest.mark.parametrize(
    ("input_format", "preds", "target", "error", "words"),
    [
        ("index", LABELS, LABELS[:2], RuntimeError, "the same shape, got"),
        ("mixed", MASKS, MASKS, RuntimeError, r"shapes \(N, C, ...\) and \(N, ...\), got"),
        ("one-hot", MASKS[:, :, 0, 0], MASKS[:, :, 0, 0], ValueError, "one axis of pixels"),
        ("one-hot", MASKS[:, 1:], MASKS[:, 1:], ValueError, "num_classes=4 entries along axis 1"),
        ("index", LABELS + 1, LABELS, RuntimeError, r"must lie in \[0, 4\), got 4"),
        ("mixed", MASKS, LABELS + 0.5, ValueError, "`target` must hold integers as labels"),
        ("mixed", MASKS, LABELS - 1, RuntimeError, r"must lie in \[0, 4\), got -1"),
        ("one-hot", MASKS * 2, MASKS, RuntimeError, r"must lie in \[0, 2\), got 2"),
        ("logits", MASKS, LABELS, ValueError, "floating point as logits"),
    ],
)  # fmt: skip
def test_bad_batches_are_refused_without_a_trace(input_format, preds, target, error, words):
    for metric in (
        ours.DiceScore(C, input_format=input_format),
        ours.DiceScore(C, input_format=input_format, aggregation_level="global"),
        ours.MeanIoU(C, input_format=input_format),
    ):
        before = {
            name: [*x] if isinstance(x, list) else x.clone()
            for name, x in metric._states.values.items()
        }
        with pytest.raises(error, match=words):
            metric.update(preds, target)
        for name, value in metric._states.values.items():
            assert value == before[name] if isinstance(value, list) else value.equal(before[name])


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("DiceScore", {"num_classes": 0}, "`num_classes` must be"),
        ("DiceScore", {"num_classes": None}, "`num_classes` must be"),
        ("DiceScore", {"num_classes": C, "average": "mean"}, "`average` must be"),
        ("DiceScore", {"num_classes": C, "aggregation_level": "all"}, "`aggregation_level` must"),
        ("DiceScore", {"num_classes": C, "input_format": "rgb"}, "`input_format` must be"),
        ("GeneralizedDiceScore", {"num_classes": C, "weight_type": "cube"}, "`weight_type` must"),
        ("GeneralizedDiceScore", {"num_classes": C, "per_class": 1}, "`per_class` must be a bool"),
        ("MeanIoU", {"include_background": 1}, "`include_background` must be a bool"),
        ("MeanIoU", {"input_format": "index"}, "`num_classes` must be given"),
    ],
)
def test_bad_arguments_are_refused(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(ours, name)(**arguments)
