"""Metrics that follow an engine of pytorch-ignite have the values of ignite's own."""

from __future__ import annotations

from typing import Any

import ignite.metrics as theirs
import pytest
import torch
from ignite.engine import Engine

import fastmetrics.classification as ours
from fastmetrics import MeanAbsoluteError, MeanMetric, MeanSquaredError, MetricCollection
from fastmetrics.integrations.ignite import attach

BOTH = {
    "accuracy": (theirs.Accuracy, lambda: ours.MulticlassAccuracy(4, average="micro")),
    "precision": (
        lambda: theirs.Precision(average=True),
        lambda: ours.MulticlassPrecision(4, average="macro"),
    ),
    "recall": (
        lambda: theirs.Recall(average=False),
        lambda: ours.MulticlassRecall(4, average=None),
    ),
    "f1": (
        lambda: theirs.Fbeta(1.0, average=False),
        lambda: ours.MulticlassF1Score(4, average=None),
    ),
    "confusion": (
        lambda: theirs.ConfusionMatrix(4),
        lambda: ours.MulticlassConfusionMatrix(4),
    ),
    "kappa": (
        lambda: theirs.CohenKappa(lambda output: (output[0].argmax(1), output[1])),
        lambda: ours.MulticlassCohenKappa(4),
    ),
    "top2": (
        lambda: theirs.TopKCategoricalAccuracy(2),
        lambda: ours.MulticlassAccuracy(4, average="micro", top_k=2),
    ),
}


def batches(count: int = 5) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(30, 4, generator=generator), torch.randint(4, (30,), generator=generator))
        for _ in range(count)
    ]


def engine() -> Engine:
    return Engine(lambda engine, batch: batch)


def test_values_are_those_of_their_metrics():
    evaluator = engine()
    for name, (make, _) in BOTH.items():
        make().attach(evaluator, name)
    wanted = evaluator.run(batches()).metrics
    evaluator = engine()
    attach(evaluator, MetricCollection({name: make() for name, (_, make) in BOTH.items()}))
    found = evaluator.run(batches()).metrics
    assert found.keys() == wanted.keys()
    assert isinstance(found["accuracy"], float)
    for name, value in wanted.items():
        torch.testing.assert_close(
            torch.as_tensor(found[name]).double(), torch.as_tensor(value).double(), msg=name
        )


def test_regression_of_chosen_outputs():
    def choose(output: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return output["y_pred"], output["y"]

    data = [{"y_pred": a[:, 0], "y": a[:, 1]} for a, _ in batches()]
    evaluator = engine()
    theirs.MeanSquaredError(choose).attach(evaluator, "mse")
    theirs.MeanAbsoluteError(choose).attach(evaluator, "mae")
    wanted = evaluator.run(data).metrics
    evaluator = engine()
    metrics = {"mse": MeanSquaredError(), "mae": MeanAbsoluteError()}
    attach(evaluator, metrics, output_transform=choose)
    assert evaluator.run(data).metrics == pytest.approx(wanted)


def test_each_epoch_begins_anew():
    seen = []
    trainer = Engine(lambda engine, batch: (batch * engine.state.epoch,))
    attach(trainer, MeanMetric())
    from ignite.engine import Events

    trainer.on(Events.EPOCH_COMPLETED)(lambda engine: seen.append(dict(engine.state.metrics)))
    trainer.run([torch.tensor(1.0), torch.tensor(3.0)], max_epochs=3)
    assert seen == [{"MeanMetric": 2.0}, {"MeanMetric": 4.0}, {"MeanMetric": 6.0}]


def test_mappings_are_keywords_or_keys():
    preds, target = batches(1)[0]
    wanted = ours.MulticlassAccuracy(4)(preds, target).item()
    evaluator = engine()
    attach(evaluator, ours.MulticlassAccuracy(4))
    assert evaluator.run([{"preds": preds, "target": target}]).metrics == {
        "MulticlassAccuracy": wanted
    }
    evaluator = engine()
    collection = MetricCollection([ours.MulticlassAccuracy(4)])
    attach(evaluator, collection.from_outputs(preds="logits", target="labels"))
    assert evaluator.run([{"logits": preds, "labels": target}]).metrics == {
        "MulticlassAccuracy": wanted
    }


def test_metrics_come_off_again():
    evaluator = engine()
    metric = ours.MulticlassAccuracy(4)
    for handle in attach(evaluator, metric):
        handle.remove()
    assert evaluator.run(batches()).metrics == {}
    assert not metric.update_called


def test_bad_input():
    with pytest.raises(TypeError, match="must be an ignite Engine, got str"):
        attach("engine", MeanMetric())
    with pytest.raises(ValueError, match="must be a metric"):
        attach(engine(), 3)
    evaluator = engine()
    attach(evaluator, MeanMetric())
    with pytest.raises(TypeError, match=r"must be a tuple of arguments .* got float"):
        evaluator.run([1.0])
