"""BootStrapper: torchmetrics' replicas where it draws them, and its own for any split."""

from __future__ import annotations

import pickle
from operator import itemgetter

import pytest
import torch
import torchmetrics as tm
from torch.utils._pytree import tree_map

import fastmetrics as fm
from fastmetrics import classification, ops, text
from fastmetrics.utilities.exceptions import TorchMetricsUserError
from fastmetrics.wrappers import BootStrapper, bootstrapping
from fastmetrics.wrappers._replicas import can_replicate
from tests import every
from tests.wrappers.samples import CLASSES, binary_batches, class_batches, same

REPLICAS = 4


def weights_of(samples: int, seed: int, replicas: int = REPLICAS, start: int = 0):
    weights = torch.zeros(samples, replicas, dtype=torch.uint8)
    ops.bootstrap_weights_(weights, torch.tensor([start]), seed=seed)
    return weights.long()


def chosen(batch, times):
    index = torch.arange(len(times)).repeat_interleave(times)
    return [
        part[index] if isinstance(part, torch.Tensor) else [part[i] for i in index]
        for part in batch
    ]


TOGETHER = [case for case in every.metrics() if can_replicate(case.make())]


def has_values(case) -> bool:
    """Curves cannot be stacked, here as in torchmetrics."""
    return isinstance(case.make()(*case.inputs(9)), (torch.Tensor, dict))


def test_most_metrics_keep_their_replicas_together():
    names = {case.name.partition("-")[0] for case in TOGETHER}
    assert {
        "BinaryF1Score",
        "MulticlassAccuracy",
        "MultilabelRecall",
        "MulticlassConfusionMatrix",
        "BinaryAUROC",
        "MulticlassCalibrationError",
        "MeanSquaredError",
        "MeanAbsoluteError",
        "SumMetric",
        "MeanMetric",
    } <= names


@pytest.mark.parametrize("case", [case for case in TOGETHER if has_values(case)], ids=repr)
def test_each_replica_is_the_metric_over_its_samples(case):
    torch.manual_seed(0)
    one, other = case.inputs(19), case.inputs(14)
    weights = weights_of(33, seed=5)
    wrapper = BootStrapper(case.make(), REPLICAS, mean=False, std=False, raw=True, seed=5)
    wrapper.update(*one)
    batch_values = wrapper(*other)["raw"]
    values = wrapper.compute()["raw"]
    for replica in range(REPLICAS):
        metric = case.make()
        metric.update(*chosen(one, weights[:19, replica]))
        value = metric(*chosen(other, weights[19:, replica]))
        for raw, expected in ((batch_values, value), (values, metric.compute())):
            torch.testing.assert_close(
                tree_map(itemgetter(replica), raw),
                expected,
                rtol=1e-5,
                atol=1e-6,
                equal_nan=True,
                check_dtype=False,
            )


@pytest.mark.parametrize("strategy", ["poisson", "multinomial"])
@pytest.mark.parametrize("quantile", [None, 0.5, torch.tensor([0.05, 0.95])])
def test_others_draw_as_torchmetrics_does(strategy, quantile):
    options = {"quantile": quantile, "raw": True, "sampling_strategy": strategy}
    ours = BootStrapper(classification.MulticlassAUROC(CLASSES), 7, **options)
    theirs = tm.BootStrapper(tm.classification.MulticlassAUROC(CLASSES), 7, **options)
    for batch in class_batches():
        for each in (ours, theirs):
            torch.manual_seed(3)
            each.update(*batch)
    same(ours.compute(), theirs.compute())


def test_multinomial_replicas_of_counts():
    options = {"raw": True, "sampling_strategy": "multinomial"}
    ours = BootStrapper(classification.MulticlassF1Score(CLASSES), 5, **options)
    theirs = tm.BootStrapper(tm.classification.MulticlassF1Score(CLASSES), 5, **options)
    preds, target = class_batches()[0]
    for each in (ours, theirs):
        torch.manual_seed(3)
        each.update(preds, target=target)
    same(ours.compute(), theirs.compute())


def test_multinomial_replicas_of_texts():
    preds, target = every.MAKERS["sentences"](12)
    options = {"raw": True, "sampling_strategy": "multinomial"}
    wrapper = BootStrapper(text.WordErrorRate(), REPLICAS, **options)
    torch.manual_seed(3)
    wrapper.update(preds, target)
    wrapper.update([], [])
    torch.manual_seed(3)
    drawn = torch.multinomial(torch.ones(REPLICAS, 12), 12, replacement=True)
    expected = []
    for replica in drawn:
        metric = text.WordErrorRate()
        metric.update([preds[i] for i in replica], [target[i] for i in replica])
        expected.append(metric.compute())
    torch.testing.assert_close(wrapper.compute()["raw"], torch.stack(expected))
    with pytest.raises(ValueError, match="`sample_numbers` need a `seed`"):
        wrapper.update(preds, target, sample_numbers=torch.arange(12))


def test_statistics_of_several_values_have_their_names():
    wrapper = BootStrapper(text.ROUGEScore(rouge_keys="rouge1"), 20, quantile=0.5, raw=True)
    wrapper.update(*every.MAKERS["references"](9))
    value = wrapper.compute()
    low, high = wrapper.confidence_interval()
    for key, raw in value["raw"].items():
        same(value["mean"][key], raw.mean())
        same(value["std"][key], raw.std())
        same(value["quantile"][key], raw.quantile(0.5))
        assert low[key] <= value["quantile"][key] <= high[key]


def test_whole_numbers_have_a_mean():
    wrapper = BootStrapper(text.EditDistance(reduction="sum"), REPLICAS, raw=True, seed=1)
    preds, target = every.MAKERS["sentences"](9)
    wrapper.update(preds, target)
    value = wrapper.compute()
    each = text.EditDistance(reduction="none")(preds, target)
    expected = weights_of(9, seed=1).double().t() @ each.double()
    same(value["raw"], expected)
    same(value["mean"], expected.mean())


def test_statistics_are_those_of_torchmetrics():
    """The distribution is the same: means and deviations within the error of 400 replicas."""
    torch.manual_seed(0)
    preds, target = torch.rand(500, CLASSES), torch.randint(CLASSES, (500,))
    preds[torch.arange(500), target] += 0.3
    ours = BootStrapper(classification.MulticlassF1Score(CLASSES), 400, seed=1)
    theirs = tm.BootStrapper(tm.classification.MulticlassF1Score(CLASSES), 400)
    ours.update(preds, target), theirs.update(preds, target)
    one, other = ours.compute(), theirs.compute()
    deviation = other["std"].item()
    assert abs(one["mean"] - other["mean"]).item() < 4 * deviation / 400**0.5 * 2**0.5
    assert abs(one["std"] - other["std"]).item() < 4 * deviation / 800**0.5 * 2**0.5


def test_weights_are_those_of_poisson_variables():
    weights = weights_of(20_000, seed=9, replicas=50).double()
    assert abs(weights.mean().item() - 1) < 0.005
    assert abs(weights.var().item() - 1) < 0.01
    expected = torch.exp(torch.distributions.Poisson(1.0).log_prob(torch.arange(6.0)))
    found = torch.bincount(weights.long().flatten()) / weights.numel()
    assert (found[:6] - expected).abs().max() < 0.002
    between = weights.T.corrcoef().fill_diagonal_(0)
    assert between.abs().max() < 5 / 20_000**0.5
    other = weights_of(20_000, seed=10, replicas=50).double()
    for one, lagged in ((weights[1:], weights[:-1]), (weights, other)):
        pair = torch.stack((one.flatten(), lagged.flatten())).corrcoef()[0, 1]
        assert abs(pair.item()) < 5 / 1_000_000**0.5


@pytest.mark.parametrize("make", [
    lambda: classification.MulticlassF1Score(CLASSES),
    lambda: fm.MeanMetric(),
    lambda: classification.BinaryAUROC(),
], ids=["classes", "sums", "copies"])  # fmt: skip
def test_replicas_do_not_depend_on_the_split(make):
    batches = class_batches(2, 45)
    whole = [torch.cat(parts) for parts in zip(*batches, strict=True)]
    if isinstance(make(), fm.MeanMetric):
        whole = [whole[0][:, 0]]
    elif isinstance(make(), classification.BinaryAUROC):
        whole = [whole[0][:, 0], whole[1] % 2]
    values = []
    for sizes in ([90], [1, 44, 45], [30, 30, 30]):
        wrapper = BootStrapper(make(), 9, raw=True, seed=2)
        for batch in zip(*(part.split(sizes) for part in whole), strict=True):
            wrapper.update(*batch)
        values.append(wrapper.compute()["raw"])
    mixed = BootStrapper(make(), 9, raw=True, seed=2)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(1))
    for part in order.split(37):
        mixed.update(*(each[part] for each in whole), sample_numbers=part)
    values.append(mixed.compute()["raw"])
    for value in values[1:]:
        same(value, values[0])
    assert values[0].std() > 0


def test_weights_of_the_user_count_too():
    preds, target = class_batches()[0]
    weight = torch.rand(len(target))
    wrapper = BootStrapper(classification.MulticlassRecall(CLASSES), REPLICAS, raw=True, seed=4)
    wrapper.update(preds, target, weight)
    wrapper.update(preds, target)
    times = weights_of(2 * len(target), seed=4)
    for replica in range(REPLICAS):
        metric = classification.MulticlassRecall(CLASSES)
        metric.update(preds, target, weight * times[: len(target), replica])
        metric.update(preds, target, times[len(target) :, replica])
        same(wrapper.compute()["raw"][replica], metric.compute())


def test_forward_keeps_the_data():
    """Theirs are those of the last batch."""
    for metric in (classification.BinaryF1Score(), classification.BinaryAUROC()):
        one, other = (BootStrapper(metric, 5, raw=True, seed=1) for _ in range(2))
        for batch in binary_batches():
            one(*batch), other.update(*batch)
        same(one.compute(), other.compute())
        assert one.update_count == other.update_count == 3


def test_confidence_interval():
    wrapper = BootStrapper(classification.BinaryAccuracy(), 200, raw=True, seed=0)
    for batch in binary_batches(5, 200):
        wrapper.update(*batch)
    raw = wrapper.compute()["raw"]
    for level in (0.5, 0.9):
        low, high = wrapper.confidence_interval(level)
        same((low, high), (raw.quantile(0.5 - level / 2), raw.quantile(0.5 + level / 2)))
    for level in (0.0, 1.0, 1, "0.9"):
        with pytest.raises(ValueError, match="`level` must be a float in"):
            wrapper.confidence_interval(level)


@pytest.mark.parametrize("make", [classification.BinaryF1Score, classification.BinaryAUROC])
def test_copies_reset_and_checkpoints_go_on_with_the_same_replicas(make):
    first, second, third = binary_batches()
    wrapper = BootStrapper(make(), 6, raw=True, seed=3)
    wrapper.persistent(True)
    wrapper.update(*first)
    loaded = BootStrapper(make(), 6, raw=True, seed=3)
    loaded.persistent(True)
    loaded.load_state_dict(wrapper.state_dict())
    twins = [wrapper.clone(), pickle.loads(pickle.dumps(wrapper)), loaded]
    twins.append(wrapper.from_state_bytes(wrapper.state_bytes()))
    wrapper.update(*second)
    for twin in twins:
        twin.update(*second)
        same(twin.compute(), wrapper.compute())
    assert len(wrapper.metrics) == 6
    for metric, value in zip(wrapper.metrics, wrapper.compute()["raw"], strict=True):
        same(metric.compute(), value)
    wrapper.reset()
    wrapper.update(*third)
    fresh = BootStrapper(make(), 6, raw=True, seed=3)
    fresh.update(*third)
    same(wrapper.compute(), fresh.compute())


def test_a_seed_of_torch_gives_the_same_replicas():
    values = []
    for _ in range(2):
        torch.manual_seed(5)
        wrapper = BootStrapper(classification.BinaryF1Score(), 6, raw=True)
        wrapper.update(*binary_batches()[0])
        values.append(wrapper.compute()["raw"])
    same(*values)


@pytest.mark.parametrize("make", [
    lambda: classification.MulticlassF1Score(CLASSES),
    lambda: classification.MulticlassConfusionMatrix(CLASSES),
    lambda: classification.MulticlassAUROC(CLASSES),
])  # fmt: skip
def test_a_refused_batch_leaves_no_trace(make):
    preds, target = class_batches()[0]
    wrapper = BootStrapper(make(), 6, raw=True, seed=3)
    wrapper.update(preds, target)
    before, other = wrapper.compute(), wrapper.clone()
    for call in (wrapper.update, wrapper):
        with pytest.raises(RuntimeError, match="`target` must lie"):
            call(preds, target + 3)
    same(wrapper.compute(), before)
    wrapper.update(preds, target), other.update(preds, target)
    same(wrapper.compute(), other.compute())


def test_in_a_collection():
    metrics = fm.MetricCollection(
        {
            "boot": BootStrapper(classification.MulticlassF1Score(CLASSES), 5, seed=1),
            "plain": classification.MulticlassF1Score(CLASSES),
        }
    )
    for preds, target in class_batches():
        value = metrics(preds=preds, target=target, unknown=1)
    assert value.keys() == {"mean", "std", "plain"}
    assert abs(metrics.compute()["mean"] - metrics.compute()["plain"]) < 0.2


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"base_metric": sum}, ValueError, "`base_metric` must be a Metric"),
        ({"num_bootstraps": 0.5}, TypeError, "`num_bootstraps` must be an integer, got 0.5"),
        ({"num_bootstraps": 0}, ValueError, "`num_bootstraps` must be an integer of at least 1"),
        ({"sampling_strategy": "x"}, ValueError, "`sampling_strategy` must be one of"),
        ({"seed": 0.5}, TypeError, "`seed` must be an integer, got 0.5"),
        ({"seed": 1, "sampling_strategy": "multinomial"}, ValueError, "`seed` needs"),
        ({"unknown": 1}, ValueError, "Unexpected keyword"),
    ],
)
def test_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        BootStrapper(**{"base_metric": classification.BinaryAccuracy()} | arguments)


def test_batches():
    for metric in (classification.BinaryAccuracy(), classification.BinaryAUROC(), fm.SumMetric()):
        with pytest.raises(ValueError, match="`update` needs"):
            BootStrapper(metric).update(*([1.0] if isinstance(metric, fm.SumMetric) else [1, 0]))
    with pytest.raises(TypeError, match=r"`update` takes \['preds', 'target', 'weight'\]"):
        BootStrapper(classification.BinaryAccuracy()).update(torch.ones(2))
    with pytest.raises(ValueError, match="`sample_numbers` need a `seed`"):
        BootStrapper(classification.BinaryAUROC()).update(
            *binary_batches()[0], sample_numbers=torch.arange(20)
        )


def test_plot():
    pytest.importorskip("matplotlib")
    wrapper = BootStrapper(classification.BinaryAccuracy(), 5)
    wrapper.update(*binary_batches()[0])
    wrapper.plot()


def resampling(base, sampler):
    """A class that resamples by itself, as users of torchmetrics derive it, and remembers how."""

    class Resampling(base):
        def update(self, preds, target):
            self.drawn = getattr(self, "drawn", [[] for _ in range(self.num_bootstraps)])
            for metric, drawn in zip(self.metrics, self.drawn, strict=True):
                index = sampler(len(preds), sampling_strategy=self.sampling_strategy)
                metric.update(preds[index], target[index])
                drawn.append((preds[index], target[index]))

    return Resampling


@pytest.mark.parametrize("strategy", ["poisson", "multinomial"])
def test_a_derived_class_updates_its_metrics(strategy):
    sampler = bootstrapping._bootstrap_sampler
    metric = resampling(BootStrapper, sampler)(
        classification.MulticlassAccuracy(CLASSES), REPLICAS, raw=True, sampling_strategy=strategy
    )
    peer = resampling(tm.wrappers.BootStrapper, sampler)(
        tm.classification.MulticlassAccuracy(CLASSES),
        REPLICAS,
        raw=True,
        sampling_strategy=strategy,
    )
    for each in (metric, peer):
        torch.manual_seed(0)
        for batch in class_batches():
            each.update(*batch)
        for value, drawn in zip(each.compute()["raw"], each.drawn, strict=True):
            preds, target = (torch.cat(parts) for parts in zip(*drawn, strict=True))
            wanted = tm.functional.classification.multiclass_accuracy(preds, target, CLASSES)
            torch.testing.assert_close(value, wanted)


def test_a_batch_for_copies_of_the_metric_is_refused():
    """It would be in no value; torchmetrics has metrics there."""
    wrapper = BootStrapper(classification.BinaryF1Score(), 2)
    wrapper.update(*binary_batches()[0])
    for metric in wrapper.metrics:
        value = metric.compute()
        for add in (metric.update, metric):
            with pytest.raises(TorchMetricsUserError, match=r"`metrics` .* are copies"):
                add(*binary_batches()[1])
        assert metric.compute() == value
