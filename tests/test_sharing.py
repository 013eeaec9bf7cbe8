"""Collections that share, derive and fuse statistics, held against each metric on its own."""

from __future__ import annotations

import copy
import pickle
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import fastmetrics.classification as fc
import fastmetrics.regression as fr
from fastmetrics import MetricCollection
from fastmetrics.metric import Metric
from fastmetrics.ops import fused

C = 4

CLASSES: dict[str, Callable[[], Metric]] = {
    "accuracy": lambda: fc.MulticlassAccuracy(C),
    "accuracy none": lambda: fc.MulticlassAccuracy(C, average=None),
    "accuracy micro": lambda: fc.MulticlassAccuracy(average="micro"),
    "accuracy ignore": lambda: fc.MulticlassAccuracy(C, ignore_index=1),
    "accuracy top 2": lambda: fc.MulticlassAccuracy(C, top_k=2),
    "recall": lambda: fc.MulticlassRecall(C),
    "specificity": lambda: fc.MulticlassSpecificity(C),
    "stat scores": lambda: fc.MulticlassStatScores(C, average=None),
    "f1 unchecked": lambda: fc.MulticlassF1Score(C, validate_args=False),
    "confusion": lambda: fc.MulticlassConfusionMatrix(C),
    "confusion ignore": lambda: fc.MulticlassConfusionMatrix(C, ignore_index=1),
    "kappa": lambda: fc.MulticlassCohenKappa(C),
    "jaccard": lambda: fc.MulticlassJaccardIndex(C),
    "auroc": lambda: fc.MulticlassAUROC(C, thresholds=20),
    "average precision": lambda: fc.MulticlassAveragePrecision(C, thresholds=20),
    "auroc other grid": lambda: fc.MulticlassAUROC(C, thresholds=[0.1, 0.5, 0.9]),
    "auroc exact": lambda: fc.MulticlassAUROC(C),
    "calibration": lambda: fc.MulticlassCalibrationError(C),
    "calibration 7": lambda: fc.MulticlassCalibrationError(C, n_bins=7, norm="max"),
    "exact match": lambda: fc.MulticlassExactMatch(C),
}
LABELS: dict[str, Callable[[], Metric]] = {
    "accuracy": fc.BinaryAccuracy,
    "f1": fc.BinaryF1Score,
    "f1 low": lambda: fc.BinaryF1Score(threshold=0.3),
    "confusion": fc.BinaryConfusionMatrix,
    "auroc": lambda: fc.BinaryAUROC(thresholds=20),
    "auroc exact": fc.BinaryAUROC,
    "auroc ranked": lambda: fc.BinaryAUROC(thresholds="auto"),
    "calibration": fc.BinaryCalibrationError,
    "ignore": lambda: fc.BinaryStatScores(ignore_index=0),
}
NUMBERS: dict[str, Callable[[], Metric]] = {
    "squared": fr.MeanSquaredError,
    "root": lambda: fr.MeanSquaredError(squared=False),
    "absolute": fr.MeanAbsoluteError,
    "weighted": fr.WeightedMeanAbsolutePercentageError,
    "percentage": fr.MeanAbsolutePercentageError,
    "r2": fr.R2Score,
    "pearson": fr.PearsonCorrCoef,
    "explained": fr.ExplainedVariance,
    "spearman": fr.SpearmanCorrCoef,
    "log cosh": fr.LogCoshError,
}
POOLS = {"classes": CLASSES, "labels": LABELS, "numbers": NUMBERS}


def batches(kind: str, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Return batches, those that mislead first: none, one sample, one class, all right."""
    sizes = (0, 1, 5, 5, 33, 8)

    def random_batch(n: int) -> tuple[Tensor, Tensor]:
        if kind == "classes":
            preds = torch.randn(n, C, generator=generator)
            return preds, torch.randint(0, C, (n,), generator=generator)
        if kind == "labels":
            return torch.rand(n, generator=generator), torch.randint(
                0, 2, (n,), generator=generator
            )
        target = torch.randn(n, generator=generator)
        return target + 0.3 * torch.randn(n, generator=generator), target

    made = [random_batch(n) for n in sizes]
    if kind == "classes":
        made[2] = (made[2][0], torch.ones(5, dtype=torch.int64))
        made[3] = (made[3][0], made[3][0].argmax(1))
    if kind == "labels":
        made[2] = (made[2][0], torch.zeros(5, dtype=torch.int64))
        made[3] = (made[3][0], (made[3][0] > 0.5).long())
    if kind == "numbers":
        made[3] = (made[3][1].clone(), made[3][1])
    return made


def assert_same(ours: Any, alone: Any) -> None:
    if isinstance(alone, (list, tuple)):
        for a, b in zip(ours, alone, strict=True):
            assert_same(a, b)
        return
    exact = not alone.is_floating_point()
    tolerance = 0.0 if exact else 2e-7
    torch.testing.assert_close(ours, alone, rtol=tolerance, atol=tolerance, equal_nan=True)


class Pair:
    """A collection, and the same metrics each on its own."""

    def __init__(self, names: list[str], pool: dict[str, Callable[[], Metric]]) -> None:
        self.pool = pool
        self.collection = MetricCollection({name: pool[name]() for name in names})
        self.alone = {name: pool[name]() for name in names}

    def check(self) -> None:
        for name, metric in self.alone.items():
            assert self.collection[name].update_count == metric.update_count
        try:
            expected = {name: metric.compute() for name, metric in self.alone.items()}
        except ValueError as error:  # too few samples
            with pytest.raises(ValueError, match=re.escape(str(error))):
                self.collection.compute()
            return
        values = self.collection.compute()
        for name, value in expected.items():
            assert_same(values[name], value)

    def update(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        self.collection.update(*batch)
        for metric in self.alone.values():
            metric.update(*batch)

    def keywords(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        preds, target = batch
        self.collection.update(target=target, preds=preds)
        for metric in self.alone.values():
            metric.update(preds, target)

    def forward(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        values = self.collection(*batch)
        for name, metric in self.alone.items():
            assert_same(values[name], metric(*batch))

    def compute_twice(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        self.check()
        self.check()

    def reset(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        self.collection.reset()
        for metric in self.alone.values():
            metric.reset()

    def clone(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        self.collection = self.collection.clone()

    def pickle(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        self.collection = pickle.loads(pickle.dumps(self.collection))

    def copy(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        before = self.collection
        self.collection = copy.deepcopy(before)
        before.update(*batch)

    def alone_update(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        name = rng.choice(list(self.alone))
        self.collection[name].update(*batch)
        self.alone[name].update(*batch)

    def alone_forward(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        name = rng.choice(list(self.alone))
        assert_same(self.collection[name](*batch), self.alone[name](*batch))

    def alone_reset(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        name = rng.choice(list(self.alone))
        self.collection[name].reset()
        self.alone[name].reset()

    def add(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        name = rng.choice(list(self.pool))
        if name not in self.alone:
            self.collection.add_metrics({name: self.pool[name]()})
            self.alone[name] = self.pool[name]()

    def remove(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        if len(self.alone) > 1:
            name = rng.choice(list(self.alone))
            del self.collection[name], self.alone[name]

    def state_dict(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        self.collection.persistent(True)
        saved = self.collection.state_dict()
        before = {name: metric.update_count for name, metric in self.alone.items()}
        self.collection.load_state_dict(saved)
        after = {name: metric.update_count for name, metric in self.collection.items()}
        assert before == after
        self.collection.persistent(False)

    def move(self, rng: random.Random, batch: tuple[Tensor, Tensor]) -> None:
        self.collection.to("cpu").double()


STEPS = [name for name in vars(Pair) if not name.startswith("_") and name != "check"]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.filterwarnings("ignore")
def test_random_collections(kind: str, seed: int) -> None:
    rng = random.Random(f"{kind} {seed}")
    generator = torch.Generator().manual_seed(seed)
    pool = POOLS[kind]
    pair = Pair(rng.sample(list(pool), rng.randint(2, len(pool))), pool)
    data = batches(kind, generator)
    first = data[seed % 4]
    for i in range(24):
        step = rng.choice([*STEPS, "update", "update", "forward"])
        few = kind == "numbers" and "forward" in step  # some are not defined for one sample
        batch = rng.choice(data[2:] if few else data)
        if i == 0 and not few:
            batch = first
        getattr(pair, step)(rng, batch)
    pair.update(rng, data[4])
    pair.check()


def members() -> dict[str, Metric]:
    return {
        name: CLASSES[name]()
        for name in ("accuracy", "recall", "confusion", "auroc", "calibration")
    }


def batch(n: int = 50, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, C, generator=generator), torch.randint(0, C, (n,), generator=generator)


def test_one_op_updates_a_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = fused.FusedCall.run
    monkeypatch.setattr(
        fused.FusedCall, "run", lambda self, *args: (calls.append(len(args[0])), run(self, *args))
    )
    collection = MetricCollection(members())
    collection.update(*batch())
    collection(*batch())
    assert calls == [3, 3]  # confusion, histogram and calibration bins; the rest is read off
    assert collection.compute_groups == {
        0: ["accuracy", "recall"],
        1: ["auroc"],
        2: ["calibration"],
        3: ["confusion"],
    }


@pytest.mark.parametrize("method", ["update", "forward"])
def test_a_refused_batch_changes_no_state(method: str) -> None:
    collection = MetricCollection(members())
    collection.update(*batch())
    before = copy.deepcopy(collection.metric_state)
    preds, target = batch(seed=1)
    target[-1] = C
    with pytest.raises(RuntimeError, match="target"):
        getattr(collection, method)(preds, target)
    for name, states in collection.metric_state.items():
        for key, state in states.items():
            assert torch.equal(state, before[name][key])
    assert {m.update_count for m in collection.values()} == {1}


def test_derived_states_are_read_only_when_asked_for() -> None:
    metrics = members()
    collection = MetricCollection(metrics)
    collection.update(*batch())
    assert "counts" not in vars(metrics["accuracy"])
    alone = CLASSES["accuracy"]()
    alone.update(*batch())
    assert torch.equal(metrics["accuracy"].counts, alone.counts)
    assert torch.equal(metrics["accuracy"].metric_state["counts"], alone.counts)
    assert hash(metrics["accuracy"]) == hash(metrics["accuracy"])
    with pytest.raises(AttributeError):
        _ = metrics["accuracy"].nothing
    metrics["confusion"].update(*batch(seed=1))  # the source leaves; its reader keeps the old data
    assert torch.equal(metrics["accuracy"].counts, alone.counts)
    collection.update(*batch(seed=2))
    alone.update(*batch(seed=2))
    assert torch.equal(metrics["accuracy"].counts, alone.counts)
    assert metrics["confusion"].counts.sum() == 150


def test_weights_reach_derived_states() -> None:
    collection = MetricCollection(members())
    alone = members()
    for seed in range(3):
        preds, target = batch(seed=seed)
        weight = None if seed == 0 else torch.rand(50)
        collection.update(preds, target, weight=weight)
        for metric in alone.values():
            metric.update(preds, target, weight=weight)
    for name, value in collection.compute().items():
        assert_same(value, alone[name].compute())


def test_arguments_of_a_fused_metric_count_when_they_change() -> None:
    metrics = {name: LABELS[name]() for name in ("accuracy", "auroc", "calibration")}
    alone = copy.deepcopy(metrics)
    collection = MetricCollection(metrics)
    preds, target = torch.rand(40), torch.randint(0, 2, (40,))
    collection.update(preds, target)
    metrics["accuracy"].threshold = 0.9
    collection.update(preds, target)
    for i, metric in enumerate(alone.values()):
        metric.update(preds, target)
        if i == 0:
            metric.threshold = 0.9
        metric.update(preds, target)
    assert torch.equal(metrics["accuracy"].counts, alone["accuracy"].counts)


def test_given_groups_join_no_different_statistics() -> None:
    names = [["accuracy", "recall", "auroc"]]
    collection = MetricCollection(members(), compute_groups=names)
    assert ["accuracy", "recall"] in collection.compute_groups.values()
    alone = members()
    collection.update(*batch())
    for metric in alone.values():
        metric.update(*batch())
    for name, value in collection.compute().items():
        assert_same(value, alone[name].compute())


def test_gradients_pass_through_the_forward_of_a_collection() -> None:
    collection = MetricCollection([fr.MeanSquaredError(), fr.MeanAbsoluteError(), fr.R2Score()])
    target = torch.randn(20)
    preds = (target + 0.1).requires_grad_()
    values = collection(preds, target)
    for name, cls in (("MeanSquaredError", fr.MeanSquaredError), ("R2Score", fr.R2Score)):
        (found,) = torch.autograd.grad(values[name], preds, retain_graph=True)
        (expected,) = torch.autograd.grad(cls()(preds, target), preds)
        torch.testing.assert_close(found, expected)
    assert not any(
        m.metric_state[k].requires_grad for m in collection.values() for k in m._defaults
    )


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    collection = MetricCollection(members(), prefix="val/")
    collection.explain()
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "read from val/confusion" in lines["val/accuracy"]
    assert "pass 1" in lines["val/auroc"]
    assert "pass 1" not in lines["val/accuracy"]
    state = collection["auroc"]._states.values
    size = sum(t.numel() * t.element_size() for t in state.values())
    assert f"{size:,}" in lines["val/auroc"]
    assert "confusion" in lines["val/confusion"]


def test_compiled_update_of_a_fused_collection_is_one_graph() -> None:
    collection, alone = MetricCollection(members()), members()

    @torch.compile(fullgraph=True, backend="eager")
    def step(preds: Tensor, target: Tensor) -> Tensor:
        collection.update(preds, target)
        return preds * 2

    for seed in range(3):
        step(*batch(seed=seed))
        for metric in alone.values():
            metric.update(*batch(seed=seed))
    for name, value in collection.compute().items():
        assert_same(value, alone[name].compute())
    torch._dynamo.reset()


def test_forward_of_metrics_that_cannot_add_batches_keeps_the_plan() -> None:
    arguments: dict[str, Any] = {
        "dist_sync_on_step": True,
        "dist_sync_fn": lambda x, group: [x, x],
        "distributed_available_fn": lambda: True,
    }

    def make() -> dict[str, Metric]:
        return {
            "accuracy": fc.MulticlassAccuracy(C, **arguments),
            "recall": fc.MulticlassRecall(C, **arguments),
            "confusion": fc.MulticlassConfusionMatrix(C, **arguments),
            "calibration": fc.MulticlassCalibrationError(C),
        }

    collection, alone = MetricCollection(make()), make()
    plan = collection._live_plan()
    for seed in range(3):
        values = collection(*batch(seed=seed))
        for name, metric in alone.items():
            assert_same(values[name], metric(*batch(seed=seed)))
    assert collection._live_plan() is plan
    for name, value in collection.compute().items():
        assert_same(value, alone[name].compute())


def test_a_move_that_moves_nothing_keeps_the_plan() -> None:
    collection = MetricCollection(members())
    collection.update(*batch())
    plan, values = collection._live_plan(), collection.compute()
    collection.to("cpu")
    assert collection._live_plan() is plan
    assert collection["accuracy"]._computed is values["accuracy"]
    moved = collection.to("meta")
    assert moved._live_plan() is not plan
    assert {m.device.type for m in moved.values(copy_state=False)} == {"meta"}
    assert "counts" not in vars(moved._modules["accuracy"])
