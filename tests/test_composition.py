"""Arithmetic with metrics, held against torchmetrics with the same operands."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor

from fastmetrics import MeanMetric, MetricCollection
from fastmetrics.classification import BinaryAccuracy
from fastmetrics.metric import CompositionalMetric, Metric
from tests.user_metrics import OURS, THEIRS

BINARY = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]
BITWISE = [operator.and_, operator.or_, operator.xor]
UNARY = [operator.abs, operator.neg, operator.pos]
DATA = [torch.tensor([1.5, -4.0, 2.0]), torch.tensor([2.5, 1.0])]


class IntSumOurs(OURS.Growing):
    full_state_update = False

    def update(self, x: Tensor) -> None:
        self.total = self.total.long() + x.long().sum()


class IntSumTheirs(THEIRS.Growing):
    full_state_update = False

    def update(self, x: Tensor) -> None:
        self.total = self.total.long() + x.long().sum()


def values(metric: Any) -> list[Any]:
    """Return what forward, update and compute make of the same stream."""
    batch = [metric(x) for x in DATA]
    metric.update(DATA[0])
    return [*batch, metric.compute()]


def assert_same(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("apply", BINARY)
@pytest.mark.parametrize("other", [2, 2.5, torch.tensor(3.0), torch.tensor([1.0, -2.0]), "metric"])
@pytest.mark.parametrize("reflected", [False, True])
def test_binary(apply: Callable[..., Any], other: Any, reflected: bool) -> None:
    results = []
    for namespace in (OURS, THEIRS):
        metric = namespace.Growing()
        operand = namespace.Replacing() if other == "metric" else other
        pair = (operand, metric) if reflected else (metric, operand)
        try:
            composed = apply(*pair)
            assert isinstance(composed, CompositionalMetric) or namespace is THEIRS
            results.append(values(composed))
        except (TypeError, RuntimeError) as error:  # the same operands must fail with torch
            results.append([type(error)])
    assert len(results[0]) == len(results[1])
    if isinstance(results[1][0], type):
        assert results[0] == results[1]
    else:
        assert_same(*results)


@pytest.mark.parametrize("apply", BITWISE)
@pytest.mark.parametrize("reflected", [False, True])
def test_bitwise(apply: Callable[..., Any], reflected: bool) -> None:
    results = []
    for cls in (IntSumOurs, IntSumTheirs):
        pair = (torch.tensor(6), cls()) if reflected else (cls(), torch.tensor(6))
        results.append(values(apply(*pair)))
    assert_same(*results)
    assert_same(values(~IntSumOurs()), values(~IntSumTheirs()))


@pytest.mark.parametrize("apply", UNARY)
def test_unary(apply: Callable[..., Any]) -> None:
    assert_same(values(apply(OURS.Growing())), values(apply(THEIRS.Growing())))


def test_matmul_and_getitem() -> None:
    vector = torch.tensor([2.0, 3.0])
    for make in (
        lambda a, b: a @ vector,
        lambda a, b: a @ b,
        lambda a, b: a[0],
        lambda a, b: a[1] - b[0],
        lambda a, b: a[..., 1],
    ):
        ours = make(OURS.Growing(), OURS.Growing())
        theirs = make(THEIRS.Growing(), THEIRS.Growing())
        assert_same(values(ours), values(theirs))


def test_each_metric_is_updated_once() -> None:
    p, r = OURS.Growing(), OURS.Replacing()
    f = 2 * p * r / (p + r)
    f.update(DATA[0])
    f(DATA[1])
    assert p.update_count == r.update_count == 2
    expected_p, expected_r = p.compute(), r.compute()
    assert_same(f.compute(), 2 * expected_p * expected_r / (expected_p + expected_r))
    f.reset()
    assert not p.update_called
    assert not r.update_called
    assert not f.update_called


def test_keywords_reach_the_metrics_that_take_them() -> None:
    composed = OURS.Keywords() + OURS.Ratio()
    composed.update(torch.ones(2), scale=3.0)
    assert composed.compute() == 4
    with pytest.raises(TypeError):
        composed.update(DATA[0], DATA[0])
    assert (OURS.Keywords() + OURS.Ratio())(torch.ones(2), scale=3.0) == 4


def test_copies_persistence_and_devices() -> None:
    composed = OURS.Growing()[0] * torch.tensor(2.0) + 1
    composed.update(DATA[0])
    for copied in (copy.deepcopy(composed), pickle.loads(pickle.dumps(composed))):
        copied.update(DATA[1])
        assert_same(copied.compute(), torch.tensor(-0.5 * 2 + 3.5 * 2 + 1))
    assert_same(composed.compute(), torch.tensor(-0.5 * 2 + 1))
    assert composed.state_dict() == {}
    composed.persistent(True)
    assert list(composed.state_dict()) == ["metric_a.metric_a.metric_a.total"]
    composed.to("meta")
    assert composed.metric_a.metric_b.device.type == "meta"
    assert composed.metric_a.metric_a.metric_a.total.device.type == "meta"


def test_a_metric_without_value_for_the_batch() -> None:
    class Silent(OURS.Ratio):
        def forward(self, x: Tensor) -> None:
            self.update(x)

    assert (Silent() + 1)(torch.ones(1)) is None
    assert (OURS.Ratio() + Silent())(torch.ones(1)) is None
    assert (-Silent())(torch.ones(1)) is None


def test_repr_and_type() -> None:
    composed = OURS.Ratio() + 2
    assert isinstance(composed, Metric)
    assert repr(composed) == "CompositionalMetric(\n  add(\n    Ratio(),\n    2\n  )\n)"
    assert "getitem" in repr(OURS.Ratio()[0])
    assert hash(composed) != hash(OURS.Ratio() + 2)


@pytest.mark.parametrize("collection", [MetricCollection, torchmetrics.MetricCollection])
def test_a_weight_that_another_metric_has_does_not_reach_an_expression(collection: Any) -> None:
    target = torch.tensor([1, 0, 1, 0])
    batch = {"preds": torch.tensor([0.9, 0.8, 0.1, 0.2]), "target": target}
    numbers = {"value": torch.tensor([1.0, 2.0, 3.0, 4.0]), "weight": target.float()}
    right, mean = BinaryAccuracy(), MeanMetric()
    values = collection({"a": 2 * right, "mean": mean})(**batch, **numbers)
    assert values == {"a": 1.0, "mean": 2.0}
    values = collection({"a": right, "twice": 2 * mean})(**batch, **numbers)
    assert values == {"a": 0.5, "twice": 4.0}
    values = collection({"both": right + mean})(**batch, **numbers)
    assert values == {"both": 2.5}
