"""Collections that read what models return by key."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, UserDict

import pytest
import torch
import torchmetrics

from fastmetrics import MeanMetric, MeanSquaredError, MetricCollection
from fastmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
)

COMMON = {"preds": "logits", "target": "labels"}


def outputs(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "logits": torch.randn(20, 4, generator=generator),
        "other": torch.randn(20, 4, generator=generator),
        "labels": torch.randint(4, (20,), generator=generator),
        "loss": torch.rand((), generator=generator),
    }


def members() -> dict[str, object]:
    return {
        "accuracy": MulticlassAccuracy(4),
        "matrix": MulticlassConfusionMatrix(4),
        "auroc": MulticlassAUROC(4, thresholds=20),
        "f1": MulticlassF1Score(4),
        "other_f1": MulticlassF1Score(4),
        "other_precision": MulticlassPrecision(4),
        "loss": MeanMetric(),
        "upstream": torchmetrics.classification.MulticlassPrecision(4),
    }


def routed(**options) -> MetricCollection:
    own = {
        "other_f1": {"preds": "other"},
        "other_precision": {"preds": "other"},
        "loss": {"value": "loss"},
    }
    return MetricCollection(members(), **options).from_outputs(own, **COMMON)


def feed(metrics: dict, seed: int) -> None:
    batch = outputs(seed)
    for name, metric in metrics.items():
        if name == "loss":
            metric.update(batch["loss"])
        else:
            key = "other" if name.startswith("other") else "logits"
            metric.update(batch[key], batch["labels"])


def assert_alone(collection: MetricCollection, seeds) -> None:
    alone = members()
    for seed in seeds:
        feed(alone, seed)
    wanted = {name: metric.compute() for name, metric in sorted(alone.items())}
    torch.testing.assert_close(collection.compute(), wanted)


@pytest.mark.parametrize("groups", [True, False, [["f1", "other_f1", "accuracy"], ["matrix"]]])
def test_each_metric_sees_what_it_is_told(groups):
    collection = routed(compute_groups=groups)
    for seed in range(3):
        collection.update(outputs(seed))
    assert_alone(collection, range(3))
    collection.reset()
    value = collection(outputs(5))
    assert_alone(collection, [5])
    torch.testing.assert_close(value, collection.compute())


def test_states_are_shared_by_those_of_the_same_keys():
    collection = routed()
    collection.update(outputs())
    groups = {frozenset(group) for group in collection.compute_groups.values()}
    assert {frozenset({"accuracy", "f1"}), frozenset({"other_f1", "other_precision"})} <= groups
    members = {name: m for name, m in collection.items(copy_state=False)}
    assert members["f1"]._states is not members["other_f1"]._states
    passes = collection._live_plan().passes
    assert [len(found.groups) for found in passes] == [2]  # confusion matrix and AUROC


def test_what_shared_a_state_before_goes_its_own_way():
    collection = MetricCollection({"a": MulticlassF1Score(4), "b": MulticlassF1Score(4)})
    batch = outputs()
    collection.update(batch["logits"], batch["labels"])
    assert collection.from_outputs({"b": {"preds": "other"}}, **COMMON) is collection
    collection.update(outputs(1))
    a, b = MulticlassF1Score(4), MulticlassF1Score(4)
    for metric, key in ((a, "logits"), (b, "other")):
        metric.update(batch["logits"], batch["labels"])
        metric.update(outputs(1)[key], outputs(1)["labels"])
    assert collection.compute() == {"a": a.compute(), "b": b.compute()}
    collection.from_outputs(**COMMON).reset()
    collection.update(outputs())
    assert len(collection.compute_groups) == 1


def test_several_mappings_of_any_kind():
    collection = MetricCollection([MulticlassAccuracy(4)]).from_outputs(**COMMON)
    batch = outputs()
    labels = UserDict(labels=batch["labels"], logits=None)
    collection.update(OrderedDict(logits=batch["logits"]), labels)
    wanted = MulticlassAccuracy(4)
    wanted.update(batch["logits"], batch["labels"])
    assert collection.compute() == {"MulticlassAccuracy": wanted.compute()}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_keep_the_keys(copied):
    collection = copied(routed())
    collection.update(outputs())
    copied(collection).update(outputs(1))
    collection.clone().update(outputs(1))
    assert_alone(collection, [0])


def test_keywords_that_torchmetrics_lacks_have_keys_too():
    weight = torch.rand(20)
    metrics = {"error": MeanSquaredError(), "accuracy": MulticlassAccuracy(4)}
    keys = {"target": "labels", "weight": "weight"}
    own = {"error": {"preds": "other", "target": "logits"}, "accuracy": {"preds": "logits"}}
    collection = MetricCollection(metrics).from_outputs(own, **keys)
    batch = {**outputs(), "weight": weight}
    collection.update(batch)
    error, accuracy = MeanSquaredError(), MulticlassAccuracy(4)
    error.update(batch["other"], batch["logits"], weight=weight)
    accuracy.update(batch["logits"], batch["labels"], weight=weight)
    assert collection.compute() == {"error": error.compute(), "accuracy": accuracy.compute()}


def test_new_metrics_follow():
    collection = MetricCollection([MulticlassF1Score(4)]).from_outputs(**COMMON)
    collection.add_metrics(MulticlassPrecision(4))
    collection.update(outputs())
    assert len(collection.compute_groups) == 1


@pytest.mark.parametrize("update", ["update", "forward"])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (({"logits": 1, "loss": 2},), r"`target` is read from the key 'labels', .* lack; .*'loss'"),
        (({"logits": 1}, {"labels": 1, "other": 3}), "'loss', which the outputs lack"),
        ((torch.zeros(3), torch.zeros(3)), "takes mappings by position, got Tensor, Tensor"),
        ((), "takes mappings by position, got nothing"),
    ],
)
def test_outputs_that_do_not_fit_change_nothing(args, message, update):
    collection = routed()
    collection.update(outputs())
    with pytest.raises(ValueError, match=message):
        getattr(collection, update)(*args)
    assert_alone(collection, [0])


def test_keywords_are_refused():
    with pytest.raises(ValueError, match="got preds=, target="):
        routed().update(preds=1, target=2)


@pytest.mark.parametrize(
    ("routes", "keys", "message"),
    [
        ({"nobody": {"preds": "x"}}, COMMON, r"some of \['error', 'loss'\], got \['nobody'\]"),
        ({"loss": {"values": "x"}}, COMMON, "`update` of loss takes no argument values"),
        ({"loss": {"value": "x"}}, {"pred": "x"}, "`update` of no metric takes an argument pred"),
        ({}, COMMON, "loss: no argument of `update` has a key"),
        (None, {}, "error, loss: no argument"),
        ({"loss": {"value": "x"}}, {"preds": "x"}, "`update` of error needs a key for target"),
    ],
)
def test_keys_that_lead_nowhere(routes, keys, message):
    collection = MetricCollection({"error": MeanSquaredError(), "loss": MeanMetric()})
    with pytest.raises(ValueError, match=message):
        collection.from_outputs(routes, **keys)
    collection = MetricCollection([MeanSquaredError()])
    collection.update(torch.ones(2), torch.zeros(2))  # as before


def test_one_graph():
    collection = MetricCollection(
        {"a": MulticlassF1Score(4), "b": MulticlassAccuracy(4), "c": MulticlassF1Score(4)}
    ).from_outputs({"c": {"preds": "other"}}, **COMMON)

    @torch.compile(fullgraph=True, backend="eager")
    def step(batch):
        collection.update(batch)

    for seed in range(2):
        step(outputs(seed))
    wanted = copy.deepcopy(collection)
    wanted.reset()
    for seed in range(2):
        wanted.update(outputs(seed))
    assert collection.compute() == wanted.compute()
