"""What is written for TensorBoard is what an event file gives back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import compute_curve

from fastmetrics import GradientStats, MeanMetric, MetricCollection, TopSamples
from fastmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    BinaryPrecisionAtFixedRecall,
    BinaryPrecisionRecallCurve,
    BinaryROC,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MultilabelConfusionMatrix,
)
from fastmetrics.integrations.tensorboard import log

EVERYTHING = dict.fromkeys(("scalars", "images", "histograms", "tensors"), 0)


def written(folder: Path, metrics, step: int = 3, **options) -> EventAccumulator:
    with SummaryWriter(folder) as writer:
        log(writer, metrics, step, **options)
    return EventAccumulator(str(folder), EVERYTHING).Reload()


def array(events: EventAccumulator, tag: str) -> np.ndarray:
    (event,) = events.Tensors(tag)
    return make_ndarray(event.tensor_proto)


def picture(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)))


def scores(count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    preds = torch.rand(count, generator=generator)
    return preds, (torch.rand(count, generator=generator) < preds).long()


def test_numbers(tmp_path):
    metrics = MetricCollection(
        {
            "accuracy": MulticlassAccuracy(3),
            "of_classes": MulticlassAccuracy(3, average=None),
            "theirs": torchmetrics.classification.MulticlassPrecision(3),
        },
        prefix="val/",
    )
    metrics.update(torch.eye(3)[[0, 1, 1, 2]], torch.tensor([0, 1, 2, 2]))
    events = written(tmp_path, metrics)
    found = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    values = metrics.compute()
    assert found == {
        "val/accuracy": pytest.approx(values["val/accuracy"].item()),
        **{f"val/of_classes/{i}": v for i, v in enumerate(values["val/of_classes"].tolist())},
        "val/theirs": pytest.approx(values["val/theirs"].item()),
    }
    assert all(events.Scalars(tag)[0].step == 3 for tag in found)


def test_a_pair_of_numbers_is_two_and_points_are_none(tmp_path):
    metrics = MetricCollection([BinaryPrecisionAtFixedRecall(0.5), BinaryROC(thresholds=5)])
    metrics.update(*scores())
    events = written(tmp_path, metrics)
    names = {f"BinaryPrecisionAtFixedRecall/{i}" for i in (0, 1)}
    assert {*events.Tags()["scalars"]} == names


@pytest.mark.parametrize("make", [MulticlassConfusionMatrix, MultilabelConfusionMatrix])
def test_confusion_matrices_are_pictures(tmp_path, make):
    metric = make(3)
    preds = torch.eye(3)[[0, 1, 1, 2]]
    target = torch.tensor([0, 1, 2, 2])
    metric.update(preds, target if make is MulticlassConfusionMatrix else preds.long())
    events = written(tmp_path, metric)
    (event,) = events.Images(make.__name__)
    pixels = picture(event.encoded_image_string)
    assert pixels.shape[:2] == (event.height, event.width)
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 10


@pytest.mark.parametrize("thresholds", [None, 127, 50])
def test_curves_are_those_of_all_scores(tmp_path, thresholds):
    preds, target = scores()
    metrics = MetricCollection(
        [BinaryAveragePrecision(thresholds), BinaryAUROC(thresholds=thresholds)]
    )
    metrics.update(preds[:150], target[:150])
    metrics.update(preds[150:], target[150:])
    events = written(tmp_path, metrics)
    tags = [tag for tag in events.Tags()["tensors"] if "pr_curve" in tag]
    assert tags == ["BinaryAveragePrecision/pr_curve"]  # one state, one curve
    count = thresholds or 127
    found = array(events, tags[0])
    grid = np.linspace(0, 1, count, dtype=np.float32)
    reached = preds.numpy() >= grid[:, None]
    tp, fp = (reached & (target.numpy() == 1)).sum(1), (reached & (target.numpy() == 0)).sum(1)
    total = target.sum().item()
    np.testing.assert_array_equal(found[:4], [tp, fp, 400 - total - fp, total - tp])
    wanted = compute_curve(target.numpy(), preds.numpy(), count)
    np.testing.assert_allclose(found, wanted, atol=1e-6)  # TensorBoard's own, from the data


@pytest.mark.parametrize("thresholds", [None, 127, "auto", 1000])
def test_distributions_are_those_of_all_scores(tmp_path, thresholds):
    preds, target = scores()
    preds[:3] = torch.tensor([1.0, 0.0, 1.0])
    metric = BinaryPrecisionRecallCurve(thresholds)
    metric.update(preds, target)
    (event,) = written(tmp_path, metric).Histograms("BinaryPrecisionRecallCurve/scores")
    found = event.histogram_value
    exact = thresholds in (None, 127)
    # How many scores reach the lower end of each bin, and how many the next score that is kept.
    lower, upper = np.asarray([0.0, *found.bucket_limit[:-1]]), 0 if exact else 1 / 256
    reached = np.cumsum(found.bucket[::-1])[::-1]
    assert found.num == 400
    assert (reached <= (preds.numpy() >= lower[:, None]).sum(1)).all()
    assert (reached >= (preds.numpy() >= lower[:, None] + upper).sum(1)).all()
    assert (found.min, found.max) == (0, 1)
    close = 1e-6 if thresholds is None else 5e-3
    assert found.sum == pytest.approx(preds.sum().item(), rel=close if exact else 5e-3, abs=2)
    assert found.sum_squares == pytest.approx((preds**2).sum().item(), rel=close, abs=2)


@pytest.mark.parametrize("thresholds", [None, 30])
def test_each_class_has_its_curve(tmp_path, thresholds):
    generator = torch.Generator().manual_seed(1)
    preds = torch.randn(90, 3, generator=generator)
    target = torch.randint(3, (90,), generator=generator)
    metric = MulticlassAUROC(3, thresholds=thresholds)
    metric.update(preds, target)
    events = written(tmp_path, metric)
    count = thresholds or 127
    grid = torch.linspace(0, 1, count)
    for place in range(3):
        chosen = preds.softmax(1)[:, place]
        found = array(events, f"MulticlassAUROC/pr_curve/{place}")
        reached = (chosen >= grid[:, None])[:, target == place]
        assert found[0].tolist() == reached.sum(1).tolist()
        (event,) = events.Histograms(f"MulticlassAUROC/scores/{place}")
        assert event.histogram_value.num == 90


def test_states_without_data(tmp_path):
    with pytest.warns(UserWarning, match="before any update"):
        events = written(tmp_path, BinaryAUROC(thresholds=10))
    assert array(events, "BinaryAUROC/pr_curve")[4:].max() == 0
    assert events.Tags()["histograms"] == []


def test_gradients(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    model(torch.ones(4, 2)).sum().backward()
    metric = GradientStats()
    metric.update(model)
    events = written(tmp_path, {"gradients": metric})
    for column, values in metric.compute().items():
        for layer, value in zip(metric.names, values.tolist(), strict=True):
            (event,) = events.Scalars(f"gradients/{layer}/{column}")
            assert event.value == pytest.approx(value)


def test_best_and_worst_samples(tmp_path):
    pixels = torch.rand(10, 1, 4, 5)
    metric = TopSamples(k=2)
    metric.update(torch.tensor([0.5, 0.9, 0.1, 0.4, 0.8]))
    events = written(tmp_path, {"samples": metric}, images=lambda ids: pixels[ids])
    for side, ids in (("best", [1, 4]), ("worst", [2, 3])):
        (event,) = events.Images(f"samples/{side}")
        found = picture(event.encoded_image_string)[..., 0]
        wanted = np.concatenate([*pixels[ids, 0].numpy()], 1)
        np.testing.assert_allclose(found / 255, wanted, atol=1 / 255)
        text = array(events, f"samples/{side}/text_summary")[0].decode()
        assert [int(row.split("|")[1]) for row in text.splitlines()[2:]] == ids
    without = written(tmp_path / "without", {"samples": metric})
    assert without.Tags()["images"] == []


def test_metrics_are_as_before(tmp_path):
    metrics = MetricCollection([BinaryAUROC(thresholds=20), BinaryAveragePrecision(20)])
    metrics.update(*scores())
    value = metrics.compute()
    log(None, metrics)  # a process that does not write
    written(tmp_path, metrics)
    states = {id(metric._states) for metric in metrics.values(copy_state=False)}
    assert len(states) == 1
    assert metrics.compute() == value
    with metrics.sync_context(distributed_available=lambda: False):
        log(None, metrics)


def test_what_is_no_writer():
    with pytest.raises(TypeError, match="must be a SummaryWriter or None, got str"):
        log("runs", MeanMetric())
    with pytest.raises(ValueError, match="must be a metric"):
        log(None, 3)
