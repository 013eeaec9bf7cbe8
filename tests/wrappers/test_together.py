"""What all wrappers keep: processes, compiled steps, devices, and each other inside."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

import fastmetrics as fm
from fastmetrics import classification
from fastmetrics.core import syncing
from fastmetrics.wrappers import (
    BinaryTargetTransformer,
    BootStrapper,
    ClasswiseWrapper,
    MetricTracker,
    MinMaxMetric,
    MultioutputWrapper,
    MultitaskWrapper,
)
from tests.distributed.processes import run_checks
from tests.wrappers.samples import CLASSES, class_batches, same


def accuracy(**options: Any):
    return classification.MulticlassAccuracy(CLASSES, **options)


def wrappers() -> dict[str, Any]:
    """Wrappers that all take scores and targets of classes."""
    return {
        "bootstrap": BootStrapper(accuracy(), 5, seed=1, raw=True),
        "bootstrap_weighted": BootStrapper(
            classification.MulticlassConfusionMatrix(CLASSES), 3, seed=1, raw=True
        ),
        "classwise": ClasswiseWrapper(accuracy(average=None)),
        "minmax": MinMaxMetric(accuracy()),
        "transformed": BinaryTargetTransformer(
            fm.MetricCollection({"a": accuracy(), "b": classification.MulticlassRecall(CLASSES)}),
            threshold=1,
        ),
        "nested": MinMaxMetric(BinaryTargetTransformer(accuracy(), threshold=1)),
        "of_classes": ClasswiseWrapper(
            MultioutputWrapper(fm.SumMetric(), 2), prefix="sum_"
        ),
    }  # fmt: skip


def call(name: str, batch: Any) -> Any:
    return (batch[0][:, :2],) if name == "of_classes" else batch


@pytest.mark.parametrize("name", wrappers())
def test_values_do_not_depend_on_copies_or_forward(name):
    one, other = wrappers()[name], wrappers()[name]
    for batch in class_batches():
        one.update(*call(name, batch))
        other(*call(name, batch))
    for each in (other.clone(), other.from_state_bytes(other.state_bytes())):
        value = each.compute()
        if "nested" not in name and "minmax" not in name:  # whose extremes are those of batches
            same(value, one.compute())
    assert one.update_count == other.update_count == 3
    one.reset()
    assert one.update_count == 0
    one.to("cpu").set_dtype(torch.float64)
    one.update(*call(name, class_batches()[0]))
    one.compute()


@pytest.mark.parametrize("name", wrappers())
def test_a_new_one_loads_a_checkpoint_and_goes_on(name):
    saved, loaded = wrappers()[name], wrappers()[name]
    saved.persistent(True)
    for batch in class_batches():
        saved.update(*call(name, batch))
    loaded.load_state_dict(saved.state_dict())
    for batch in class_batches():
        same(loaded.compute(), saved.compute())
        for each in (loaded, saved):
            each.update(*call(name, batch))
    same(loaded.compute(), saved.compute())


@pytest.mark.parametrize("name", wrappers())
def test_one_made_on_the_meta_device_counts_from_zero(name):
    with torch.device("meta"):
        module = torch.nn.Module()
        module.metric = wrappers()[name]
    module.to_empty(device="cpu")
    expected = wrappers()[name]
    for batch in class_batches():
        module.metric.update(*call(name, batch))
        expected.update(*call(name, batch))
    same(module.metric.compute(), expected.compute())


class Model(torch.nn.Module):
    def __init__(self, metric: Any) -> None:
        super().__init__()
        self.metric = metric

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


@pytest.mark.parametrize("name", [*wrappers(), "tracker"])
def test_torchscript_takes_it_along(name):
    metric = MetricTracker(accuracy()) if name == "tracker" else wrappers()[name]
    scripted = torch.jit.script(Model(metric))
    assert scripted(torch.ones(())) == 2


@pytest.mark.parametrize("name", wrappers())
def test_a_compiled_update_is_one_graph(name):
    torch._dynamo.reset()
    compiled, eager = wrappers()[name], wrappers()[name]
    if name == "of_classes":
        compiled, eager = (
            ClasswiseWrapper(MultioutputWrapper(fm.SumMetric(), 2, remove_nans=False))
            for _ in range(2)
        )
    counter = CompileCounter()
    step = torch.compile(lambda *batch: compiled.update(*batch), backend=counter, fullgraph=True)
    for batch in class_batches(4):
        step(*call(name, batch)), eager.update(*call(name, batch))
    same(compiled.compute(), eager.compute())
    assert counter.frame_count == 1


def check_two_processes(rank: int, world: int) -> None:
    """The values are those of one process, whichever way states travel; a collection sends once."""
    batches = class_batches(4, 20)
    whole = wrappers()
    numbers = torch.arange(80).view(4, 20)
    for i, batch in enumerate(batches):
        for name, wrapper in whole.items():
            known = {"sample_numbers": numbers[i]} if "bootstrap" in name else {}
            wrapper.sync_on_compute = False
            wrapper.update(*call(name, batch), **known)
    for module in whole.values():
        for each in module.modules():
            if isinstance(each, fm.Metric):
                each._to_sync = False
    expected = {name: wrapper.compute() for name, wrapper in whole.items()}

    alone = wrappers()
    for name, wrapper in alone.items():
        for i, batch in list(enumerate(batches))[rank::world]:
            known = {"sample_numbers": numbers[i]} if "bootstrap" in name else {}
            wrapper.update(*call(name, batch), **known)
        same(wrapper.compute(), expected[name])
        wrapper.update(*call(name, batches[0]))  # the own states are back

    together = fm.MetricCollection({"plain": accuracy(), **wrappers()})
    del together["of_classes"]
    for i, batch in list(enumerate(batches))[rank::world]:
        for name, metric in together.items():
            known = {"sample_numbers": numbers[i]} if "bootstrap" in name else {}
            metric.update(*batch, **known)
    with pytest.MonkeyPatch.context() as patch:
        exchanges = []

        def counted(*packet):
            exchanges.append(packet)
            return exchange(*packet)

        exchange = syncing.exchange
        patch.setattr(syncing, "exchange", counted)
        value = together.compute()
    assert len(exchanges) == 1
    same(value["classwise_multiclassaccuracy_0"], expected["classwise"]["multiclassaccuracy_0"])
    same(value["bootstrap_raw"], expected["bootstrap"]["raw"])
    same(value["transformed_a"], expected["transformed"]["a"])

    counted_alike = BootStrapper(accuracy(), 5, seed=1, raw=True)
    preds, target = batches[0]
    counted_alike.update(preds[rank::world], target[rank::world])  # as a sampler deals them
    single = BootStrapper(accuracy(), 5, seed=1, raw=True, distributed_available_fn=lambda: False)
    single.replicas.distributed_available_fn = lambda: False
    single.update(preds, target)
    same(counted_alike.compute(), single.compute())

    tasks = MultitaskWrapper({"a": accuracy(), "b": fm.MetricCollection([accuracy()])})
    tracker = MetricTracker(accuracy())
    outputs = MultioutputWrapper(fm.SumMetric(), 2)
    tracker.increment()
    for batch in batches[rank::world]:
        tasks.update(*({"a": part, "b": part} for part in batch))
        tracker.update(*batch)
        outputs.update(batch[0][:, :2])
    reference = accuracy()
    for batch in batches:
        reference.update(*batch)
    reference._to_sync = False
    wanted = reference.compute()
    same(tasks.compute(), {"a": wanted, "b": {"MulticlassAccuracy": wanted}})
    same(tracker.compute_all(), wanted.view(1))
    same(outputs.compute(), torch.cat([batch[0] for batch in batches])[:, :2].sum(0))


def test_two_processes(tmp_path):
    run_checks(2, tmp_path, check_two_processes)
