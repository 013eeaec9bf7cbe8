"""Metrics of this package among those of torchmetrics: wrapped, collected and added up."""

from __future__ import annotations

import copy
import itertools
import operator
import pickle
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchmetrics
import torchmetrics.classification
import torchmetrics.wrappers as wrappers
from torch import Tensor

import fastmetrics
import fastmetrics.classification
from fastmetrics.collections import is_native_collection
from fastmetrics.metric import CompositionalMetric, is_native
from fastmetrics.utilities.exceptions import TorchMetricsUserError

OURS = SimpleNamespace(root=fastmetrics, task=fastmetrics.classification)
THEIRS = SimpleNamespace(root=torchmetrics, task=torchmetrics.classification)
C = {"num_classes": 3}
Batches = list[tuple[Any, Any]]

pytestmark = pytest.mark.filterwarnings("ignore:.*before.*update:UserWarning")


def classes() -> Batches:
    return [(torch.rand(20, 3).softmax(1), torch.randint(3, (20,))) for _ in range(4)]


def binary() -> Batches:
    return [(torch.rand(20), torch.randint(2, (20,))) for _ in range(4)]


def outputs() -> Batches:
    return [(torch.randn(20, 2), torch.randn(20, 2)) for _ in range(4)]


def tasks() -> Batches:
    return [
        ({"class": p, "number": x}, {"class": t, "number": y})
        for (p, t), (x, y) in zip(classes(), outputs(), strict=True)
    ]


def assert_same(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True)


WRAPPED: dict[str, tuple[Callable[[Any], Any], Callable[[], Batches]]] = {
    "bootstrap": (
        lambda n: wrappers.BootStrapper(n.task.MulticlassAccuracy(**C), num_bootstraps=4),
        classes,
    ),
    "bootstrap of exact curves": (
        lambda n: wrappers.BootStrapper(
            n.task.BinaryAUROC(),
            num_bootstraps=4,
            quantile=torch.tensor([0.1, 0.9]),
            raw=True,
            sampling_strategy="multinomial",
        ),
        binary,
    ),
    "extremes": (lambda n: wrappers.MinMaxMetric(n.task.MulticlassAccuracy(**C)), classes),
    "each class": (
        lambda n: wrappers.ClasswiseWrapper(
            n.task.MulticlassRecall(**C, average=None), ["a", "b", "c"]
        ),
        classes,
    ),
    "each class, collected": (
        lambda n: n.root.MetricCollection(
            {
                "accuracy": wrappers.ClasswiseWrapper(n.task.MulticlassAccuracy(**C, average=None)),
                "recall": wrappers.ClasswiseWrapper(n.task.MulticlassRecall(**C, average=None)),
            },
            prefix="val/",
        ),
        classes,
    ),
    "each output": (lambda n: wrappers.MultioutputWrapper(n.root.R2Score(), 2), outputs),
    "several tasks": (
        lambda n: wrappers.MultitaskWrapper(
            {
                "class": n.root.MetricCollection([n.task.MulticlassAccuracy(**C)]),
                "number": n.root.MeanSquaredError(),
            }
        ),
        tasks,
    ),
    "transformed": (
        lambda n: wrappers.BinaryTargetTransformer(n.task.BinaryAccuracy(), threshold=0),
        binary,
    ),
    "collected": (
        lambda n: torchmetrics.MetricCollection(
            [n.task.MulticlassAccuracy(**C), n.task.MulticlassConfusionMatrix(**C)], prefix="val/"
        ),
        classes,
    ),
    "collected with theirs": (
        lambda n: torchmetrics.MetricCollection(
            [n.task.MulticlassAccuracy(**C), THEIRS.task.MulticlassRecall(**C)]
        ),
        classes,
    ),
}


def pair(root: Any, namespace: Any, **affixes: str) -> Any:
    """A collection of the library of `root`, of metrics that share a state."""
    task = namespace.task
    return root.MetricCollection(
        [task.MulticlassAccuracy(**C), task.MulticlassRecall(**C)], **affixes
    )


WRAPPED |= {
    "collection in theirs": (
        lambda n: torchmetrics.MetricCollection(
            [pair(n.root, n, prefix="in_", postfix="_x"), n.task.MulticlassF1Score(**C)],
            prefix="out_",
        ),
        classes,
    ),
    "their collection in ours": (
        lambda n: n.root.MetricCollection(
            {"in": pair(torchmetrics, n, prefix="in_"), "f1": n.task.MulticlassF1Score(**C)},
            postfix="_out",
        ),
        classes,
    ),
    "their collection taken over": (
        lambda n: n.root.MetricCollection(pair(torchmetrics, n), prefix="out_"),
        classes,
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("method", ["forward", "update"])
def test_their_wrappers(name: str, method: str) -> None:
    make, inputs = WRAPPED[name]
    batches, seen = inputs(), []
    for namespace in (OURS, THEIRS):
        torch.manual_seed(1)
        metric = make(namespace)
        values = [getattr(metric, method)(*batch) for batch in batches]
        values.append(metric.compute())
        for copied in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.to("cpu")):
            values.append(copied.compute())
        metric.reset()
        metric.update(*batches[0])
        values.append(metric.compute())
        seen.append((values, dict(metric.state_dict())))
    assert_same(*seen)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.task.MulticlassAccuracy(**C),
        lambda n: n.root.MetricCollection(
            [n.task.MulticlassAccuracy(**C), n.task.MulticlassRecall(**C)]
        ),
        lambda n: torchmetrics.MetricCollection([n.task.MulticlassAccuracy(**C)]),
    ],
    ids=["metric", "collection", "their collection"],
)
def test_their_tracker(make: Callable[[Any], Any]) -> None:
    batches, seen = classes(), []
    for namespace in (OURS, THEIRS):
        tracker = wrappers.MetricTracker(make(namespace), maximize=None)
        for batch in batches:
            tracker.increment()
            tracker.update(*batch)
            tracker(*batch)
        seen.append((tracker.compute_all(), tracker.best_metric(return_step=True)))
    assert_same(*seen)


def test_their_running_refuses() -> None:
    """It would keep tensors that `reset` fills with zeros."""
    running = wrappers.Running(OURS.root.MeanSquaredError(), window=2)
    running.update(torch.ones(3), torch.zeros(3))
    with pytest.raises(TorchMetricsUserError, match=r"fastmetrics\.wrappers\.Running"):
        running.compute()


def several(namespace: Any) -> list[Any]:
    return [
        namespace.task.BinaryAccuracy(),
        namespace.task.BinaryF1Score(),
        namespace.task.BinaryConfusionMatrix(),
        namespace.task.BinaryAUROC(),
        namespace.task.BinaryAveragePrecision(),
    ]


@pytest.mark.parametrize("steps", [*itertools.product("ufrs", repeat=3)])
def test_states_that_their_collection_shares(steps: tuple[str, ...]) -> None:
    """It points metrics with equal states at one tensor, which each then may change."""
    batches, seen = binary(), []
    for namespace in (OURS, THEIRS):
        collection, values = torchmetrics.MetricCollection(several(namespace)), []
        collection.update(*batches[3])
        for step, batch in zip(steps, batches, strict=False):
            if step == "u":
                collection.update(*batch)
            elif step == "f":
                values.append(collection(*batch))
            elif step == "r":
                collection.reset()
            else:
                collection["BinaryF1Score"].update(*batch)
        collection.update(*batches[3])
        seen.append([*values, collection.compute()])
    assert_same(*seen)


ADDITIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "ours and theirs": lambda n, a, b: a + THEIRS.task.MulticlassRecall(**C),
    "theirs and ours": lambda n, a, b: THEIRS.task.MulticlassRecall(**C) / a,
    "ours and (theirs and ours)": lambda n, a, b: a - THEIRS.task.MulticlassRecall(**C) * b,
    "(ours and theirs) and ours": lambda n, a, b: (a * THEIRS.task.MulticlassRecall(**C)) + 2 * b,
    "theirs and (ours and ours)": lambda n, a, b: THEIRS.task.MulticlassRecall(**C) + (a - b),
}


@pytest.mark.parametrize("name", ADDITIONS)
@pytest.mark.parametrize("by_name", [False, True])
def test_arithmetic(name: str, by_name: bool) -> None:
    batches, seen = classes(), []
    for namespace in (OURS, THEIRS):
        a, b = namespace.task.MulticlassAccuracy(**C), namespace.task.MulticlassF1Score(**C)
        composed = ADDITIONS[name](namespace, a, b)
        values = []
        for preds, target in batches[:3]:
            keywords = {"preds": preds, "target": target, "other": 1}
            values.append(composed(**keywords) if by_name else composed(preds, target))
        composed.update(*batches[3])
        values += [composed.compute(), pickle.loads(pickle.dumps(composed)).compute()]
        assert a.update_count == 4
        composed.reset()
        assert a.update_count == 0
        assert isinstance(composed, torchmetrics.Metric)
        seen.append(values)
    assert_same(*seen)


@pytest.mark.parametrize(
    "apply", [operator.add, operator.pow, operator.mod, operator.lt, operator.eq, operator.matmul]
)
def test_every_operator_takes_their_metric(apply: Callable[[Any, Any], Any]) -> None:
    def values(metric: Any) -> Tensor:
        metric.update(torch.tensor([1.0, 4.0, 2.5]))
        result: Tensor = metric.compute()
        return result

    ours, theirs = fastmetrics.CatMetric, torchmetrics.CatMetric
    expected = values(apply(theirs(), theirs()))
    for pair in ((ours(), theirs()), (theirs(), ours())):
        composed = apply(*pair)
        assert isinstance(composed, CompositionalMetric | torchmetrics.metric.CompositionalMetric)
        assert_same(values(composed), expected)


def test_a_metric_that_comes_from_a_file() -> None:
    """Its process may have made no metric yet, so that torchmetrics was not told of ours."""
    code = """
import pickle, sys
import torchmetrics
metric = pickle.loads(bytes.fromhex(sys.argv[1]))
assert isinstance(metric, torchmetrics.Metric)
"""
    dump = pickle.dumps(fastmetrics.MeanSquaredError()).hex()
    subprocess.run([sys.executable, "-c", code, dump], check=True, timeout=120)


def mixed(namespace: Any) -> Any:
    """One of our collections, whose foreign members `namespace` makes, too."""
    task = namespace.task
    return fastmetrics.MetricCollection(
        {
            "accuracy": task.MulticlassAccuracy(**C),
            "foreign": THEIRS.task.MulticlassF1Score(**C),
            "recall": task.MulticlassRecall(**C),
            "sum": task.MulticlassAccuracy(**C) + THEIRS.task.MulticlassRecall(**C),
            "table": task.MulticlassConfusionMatrix(**C),
        },
        prefix="val/",
    )


@pytest.mark.parametrize("method", ["forward", "update"])
def test_their_metrics_in_our_collection(method: str) -> None:
    batches, seen = classes(), []
    for namespace in (OURS, THEIRS):
        collection = mixed(namespace)
        values = [getattr(collection, method)(*batch) for batch in batches[:2]]
        values += [collection.compute(), copy.deepcopy(collection).compute()]
        values += [pickle.loads(pickle.dumps(collection)).to("cpu").compute()]
        collection.reset()
        collection.update(preds=batches[2][0], target=batches[2][1])
        values.append(collection.compute())
        seen.append(values)
    assert_same(*seen)


def test_only_ours_share_in_a_mixed_collection() -> None:
    metrics = mixed(OURS)
    metrics.update(*classes()[0])
    groups = metrics.compute_groups.values()
    assert ["foreign"] in groups
    assert ["accuracy", "recall"] in groups


@pytest.mark.parametrize("name", ["BinaryAccuracy", "BinaryF1Score", "BinaryAUROC"])
def test_metrics_of_either_are_metrics_of_both(name: str) -> None:
    ours, theirs = (getattr(namespace.task, name)() for namespace in (OURS, THEIRS))
    for base in (fastmetrics.Metric, torchmetrics.Metric):
        assert isinstance(ours, base)
        assert isinstance(theirs, base)
        assert issubclass(type(theirs), base)
        assert not isinstance(torch.nn.Linear(1, 1), base)
    assert not isinstance(theirs, type(ours))
    assert not isinstance(ours, type(theirs))
    assert is_native(ours)
    assert not is_native(theirs)


def test_collections_of_either_are_collections_of_both() -> None:
    class Theirs(torchmetrics.MetricCollection):
        pass

    class Ours(fastmetrics.MetricCollection):
        pass

    for ours in (pair(fastmetrics, OURS), Ours(OURS.root.MeanMetric())):
        for theirs in (pair(torchmetrics, THEIRS), Theirs(THEIRS.root.MeanMetric())):
            for base in (fastmetrics.MetricCollection, torchmetrics.MetricCollection):
                assert isinstance(ours, base)
                assert isinstance(theirs, base)
            assert issubclass(type(theirs), fastmetrics.MetricCollection)
            assert not isinstance(theirs, Ours)
            assert not isinstance(ours, Theirs)
            assert is_native_collection(ours)
            assert not is_native_collection(theirs)
    for base in (fastmetrics.MetricCollection, torchmetrics.MetricCollection):
        assert not isinstance(torch.nn.ModuleDict(), base)
    assert not isinstance(pair(torchmetrics, THEIRS), fastmetrics.wrappers.FeatureShare)


def test_a_foreign_metric_is_a_metric_before_there_is_one_of_ours() -> None:
    code = """
import torchmetrics, fastmetrics
metric = torchmetrics.MeanMetric()
assert isinstance(metric, fastmetrics.Metric)
assert fastmetrics.MetricCollection([metric])
collection = torchmetrics.MetricCollection([metric])
assert isinstance(collection, fastmetrics.MetricCollection)
assert isinstance(fastmetrics.MetricCollection(collection), torchmetrics.MetricCollection)
assert isinstance(fastmetrics.MeanMetric(), torchmetrics.Metric)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("ours_first", [True, False])
def test_one_class_hierarchy(ours_first: bool) -> None:
    """Bases of both, and functions of one library inside a metric of the other."""
    bases = [OURS.task.BinaryAccuracy, THEIRS.root.SumMetric]

    class Both(*(bases if ours_first else bases[::-1])):  # type: ignore[misc]
        def update(self, preds: Tensor, target: Tensor) -> None:
            OURS.task.BinaryAccuracy.update(self, preds, target)

        def compute(self) -> Tensor:
            return OURS.task.BinaryAccuracy.compute(self)

        def __init__(self) -> None:
            OURS.task.BinaryAccuracy.__init__(self)

    metric, expected = Both(), THEIRS.task.BinaryAccuracy()
    for batch in binary():
        metric.update(*batch)
        expected.update(*batch)
    assert metric.update_count == 4
    assert isinstance(metric, fastmetrics.Metric)
    assert isinstance(metric, torchmetrics.Metric)
    assert_same(metric.compute(), expected.compute())
    assert_same(fastmetrics.MetricCollection([metric]).compute(), {"Both": expected.compute()})
