"""Training and evaluation steps that hold metrics, compiled into one graph."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from fastmetrics import MeanMetric, Metric, MetricCollection
from fastmetrics.classification import (
    BinaryAccuracy,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)
from fastmetrics.functional.classification import binary_auroc, multiclass_accuracy
from fastmetrics.regression import MeanSquaredError, PearsonCorrCoef, R2Score

C = 3


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def batch(count: int) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 4), torch.randint(C, (count,))


def collection() -> MetricCollection:
    return MetricCollection(
        MulticlassAccuracy(C),
        MulticlassF1Score(C),
        MulticlassConfusionMatrix(C),
        MulticlassAUROC(C, thresholds=10),
    )


def same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


class Trainer:
    """A model that learns while it is measured."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, C))
        self.metrics = collection()
        self.accuracy = MulticlassAccuracy(C)
        self.loss = MeanMetric()

    def step(self, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.model(inputs)
        loss = nn.functional.cross_entropy(logits, target)
        self.loss.update(loss)
        self.metrics.update(logits, target)
        return loss, self.accuracy(logits, target), multiclass_accuracy(logits, target, C)

    def learn(self, loss: Tensor) -> None:
        loss.backward()
        with torch.no_grad():
            for weight in self.model.parameters():
                weight -= 0.1 * weight.grad
                weight.grad = None

    def values(self) -> Any:
        return self.metrics.compute(), self.accuracy.compute(), self.loss.compute()


def test_a_hundred_training_steps_are_one_graph_and_one_with_dynamic_sizes():
    counter = CompileCounterWithBackend("aot_eager")
    compiled, eager = Trainer(), Trainer()
    step = torch.compile(compiled.step, backend=counter, fullgraph=True)
    sizes = torch.randint(2, 40, (100,)).tolist()
    for size in sizes:
        inputs, target = batch(size)
        results, expected = step(inputs, target), eager.step(inputs, target)
        same(results, expected)
        compiled.learn(results[0])
        eager.learn(expected[0])
    assert counter.frame_count <= 2
    same(compiled.values(), eager.values())


def test_training_and_evaluation_in_turn():
    """Reset, compute and eager updates between compiled steps change nothing about the graphs."""
    counter = CompileCounterWithBackend("eager")
    compiled, eager = collection(), collection()
    step = torch.compile(compiled.update, backend=counter, fullgraph=True)
    for epoch in range(3):
        for _ in range(4):
            scores, target = torch.rand(16, C).softmax(1), torch.randint(C, (16,))
            step(scores, target)
            eager.update(scores, target)
        same(compiled.compute(), eager.compute())
        if epoch == 1:
            same(compiled(scores, target), eager(scores, target))
        compiled.reset()
        eager.reset()
    assert counter.frame_count == 1


def test_states_stay_where_they_are():
    metric = MulticlassAccuracy(C)
    where = {name: state.data_ptr() for name, state in metric.metric_state.items()}
    step = torch.compile(metric, backend="aot_eager", fullgraph=True)
    update = torch.compile(metric.update, backend="aot_eager", fullgraph=True)
    for size in (8, 8, 12):
        step(torch.rand(size, C), torch.randint(C, (size,)))
        update(torch.rand(size, C), torch.randint(C, (size,)))
        assert {name: x.data_ptr() for name, x in metric.metric_state.items()} == where
    metric.reset()
    assert {name: x.data_ptr() for name, x in metric.metric_state.items()} == where


def test_forward_hands_gradients_through():
    metric, expected = MeanSquaredError(), MeanSquaredError()
    step = torch.compile(metric, backend="aot_eager", fullgraph=True)
    preds, target = torch.randn(8, requires_grad=True), torch.randn(8)
    (grad,) = torch.autograd.grad(step(preds, target), preds)
    (other,) = torch.autograd.grad(expected(preds, target), preds)
    same(grad, other)
    assert not metric.sums.requires_grad
    same(metric.compute(), expected.compute())


def test_metrics_of_one_statistic_share_a_pass_with_gradients():
    def make() -> MetricCollection:
        return MetricCollection({"r2": R2Score(), "pearson": PearsonCorrCoef()})

    counter = CompileCounterWithBackend("aot_eager")
    compiled, eager = make(), make()
    step = torch.compile(compiled, backend=counter, fullgraph=True)
    for _ in range(3):
        preds, target = torch.randn(8, requires_grad=True), torch.randn(8)
        values, expected = step(preds, target), eager(preds, target)
        same(values, expected)
        grads = [torch.autograd.grad(v["r2"] + v["pearson"], preds) for v in (values, expected)]
        same(*grads)
    assert counter.frame_count == 1
    same(compiled.compute(), eager.compute())
    assert len(compiled.compute_groups) == 1


def test_a_refused_batch_leaves_no_trace():
    metric = MulticlassAccuracy(C)
    step = torch.compile(metric, backend="aot_eager", fullgraph=True)
    scores, target = torch.rand(8, C), torch.randint(C, (8,))
    step(scores, target)
    before = metric.counts.clone()
    target[3] = 7
    with pytest.raises(RuntimeError, match="target"):
        step(scores, target)
    assert torch.equal(metric.counts, before)
    target[3] = 0
    step(scores, target)
    assert metric.counts.sum() == 2 * before.sum()


def test_events_are_reported_by_a_later_compute():
    metric = BinaryAccuracy()

    @torch.compile(backend="eager", fullgraph=True)
    def step(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return metric(scores, target), metric.compute()

    scores = torch.tensor([0.1, float("nan"), 0.8])
    step(scores, torch.tensor([0, 1, 1]))
    with pytest.warns(UserWarning, match="1 samples had NaN scores"):
        metric.compute()


def test_values_that_were_cached_before_are_not_those_of_a_compiled_step():
    metric = BinaryAccuracy()
    metric.update(torch.tensor([0.9]), torch.tensor([1]))
    assert metric.compute() == 1

    @torch.compile(backend="eager", fullgraph=True)
    def step(scores: Tensor, target: Tensor) -> Tensor:
        metric.update(scores, target)
        return metric.compute()

    assert step(torch.tensor([0.9]), torch.tensor([0])) == 0.5
    assert metric.compute() == 0.5
    assert metric.update_called


def test_functions_keep_their_dtype():
    call = torch.compile(binary_auroc, backend="aot_eager", fullgraph=True)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        scores, target = torch.rand(20).to(dtype), torch.randint(2, (20,))
        same(call(scores, target), binary_auroc(scores, target))


class Total(Metric):
    """As users write them."""

    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("largest", torch.tensor(-torch.inf), dist_reduce_fx="max")

    def update(self, values: Tensor) -> None:
        self.total += values.sum()
        self.largest = torch.maximum(self.largest, values.max())

    def compute(self) -> Tensor:
        return torch.stack([self.total, self.largest])


class WholeState(Total):
    full_state_update = True


@pytest.mark.parametrize("cls", [Total, WholeState])
def test_metrics_of_users(cls):
    counter = CompileCounterWithBackend("aot_eager")
    metric, eager = cls(), cls()
    step = torch.compile(metric, backend=counter, fullgraph=True)
    for size in (4, 4, 9, 7):
        values = torch.randn(size, requires_grad=True)
        same(step(values), eager(values))
    same(metric.compute(), eager.compute())
    assert not metric.total.requires_grad
    assert counter.frame_count <= 2


class Average(Metric):
    """Needs the number of updates, which a compiled region does not know."""

    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("average", torch.tensor(0.0), dist_reduce_fx="mean")

    def update(self, values: Tensor) -> None:
        self.average = values.mean()

    def compute(self) -> Tensor:
        return self.average


def test_metrics_that_need_the_number_of_updates_are_right():
    metric, eager = Average(), Average()
    step = torch.compile(metric, backend="eager")
    for _ in range(4):
        values = torch.randn(6)
        same(step(values), eager(values))
    same(metric.compute(), eager.compute())


def test_an_update_that_was_replaced_is_the_one_that_runs():
    metric = BinaryAccuracy()
    seen = []
    original = metric.update
    metric.update = lambda *inputs: (seen.append(len(inputs[0])), original(*inputs))
    torch.compile(metric, backend="eager")(torch.tensor([0.9, 0.2]), torch.tensor([1, 1]))
    assert seen == [2]
    assert metric.compute() == 0.5


FIRST_CALL = """
import torch
from fastmetrics import MetricCollection
from fastmetrics.classification import MulticlassAccuracy, MulticlassAUROC
from fastmetrics.functional.classification import binary_f1_score

def make():
    return MetricCollection(MulticlassAccuracy(3), MulticlassAUROC(3, thresholds=20))

metrics, eager = make(), make()

@torch.compile(fullgraph=True)
def step(scores, target):
    value = binary_f1_score(scores[:, 0], target > 0)
    return (scores * 2).sum(), value, metrics(scores, target)

torch.manual_seed(0)
for size in (32, 32, 17):
    scores, target = torch.rand(size, 3).softmax(1), torch.randint(3, (size,))
    total, value, batch = step(scores, target)
    torch.testing.assert_close(batch, eager(scores, target))
    torch.testing.assert_close(value, binary_f1_score(scores[:, 0], target > 0))
torch.testing.assert_close(metrics.compute(), eager.compute())
print("same", torch._dynamo.utils.counters["stats"]["unique_graphs"])
"""


@pytest.mark.exhaustive
def test_inductor_as_the_first_call_of_a_process():
    done = subprocess.run([sys.executable, "-c", FIRST_CALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["same", "2"]
