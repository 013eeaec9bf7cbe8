"""Synchronisation in the background: what it returns, and that nobody waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist

from fastmetrics import GradientStats, MeanMetric, MetricCollection, SumMetric, classification
from fastmetrics.aggregation import CatMetric, RunningSum
from fastmetrics.utilities.exceptions import TorchMetricsUserError
from tests.distributed.processes import run_checks


def seconds_since(start: float) -> float:
    return time.perf_counter() - start


def updates_go_on(rank: int, world: int) -> None:
    """The states sent are those of the call; ``unsync`` brings back what has grown meanwhile."""
    metric, kept = SumMetric(), CatMetric()
    metric.update(rank + 1.0)
    kept.update(torch.full((rank + 1,), float(rank)))
    handles = [each.sync(async_op=True) for each in (metric, kept)]
    metric.update(100.0)
    kept.update(5.0)
    assert not metric._is_synced
    for handle in handles:
        handle.wait()
        handle.wait()  # does nothing any more
        assert handle.done()
    assert metric.sum_value == world * (world + 1) / 2
    assert torch.equal(
        kept.value, torch.tensor([float(r) for r in range(world) for _ in range(r + 1)])
    )
    metric.unsync()
    kept.unsync()
    assert metric.sum_value == rank + 101.0
    assert len(kept.value) == 2
    assert metric.compute() == world * (world + 1) / 2 + 100 * world


def nobody_waits(rank: int, world: int) -> None:
    """A call returns although another process comes much later."""
    metric = MetricCollection([classification.BinaryAccuracy(), classification.BinaryRecall()])
    metric.update(torch.tensor([1, 0]), torch.tensor([1, rank % 2]))
    metric.compute_async().wait()  # the first call makes the channel
    dist.barrier()
    start = time.perf_counter()
    if rank == 0:
        time.sleep(1)
    start = time.perf_counter()
    pending = metric.compute_async()
    assert seconds_since(start) < 0.5
    if rank:
        assert not pending.done()
    value = pending.wait()
    assert rank == 0 or seconds_since(start) > 0.5
    assert pending.done()
    assert value == metric.compute()


def values_of_the_call(rank: int, world: int) -> None:
    """Handles read in any order; collectives of the main thread between them do no harm."""
    metric = SumMetric()
    collection = MetricCollection(
        {
            "mean": MeanMetric(),
            "local": SumMetric(sync_on_compute=False),
            "running": RunningSum(window=2),
            "layers": GradientStats(["a"]),
            "formula": SumMetric() * 2,
        }
    )
    pending = []
    for step in range(5):
        metric.update(float(step))
        for name, each in collection.items():
            each.update({"a": torch.ones(1)} if name == "layers" else step + 1.0)
        before = {name: dict(each._states.values) for name, each in collection.items()}
        pending.append((metric.compute_async(), collection.compute_async()))
        for name, each in collection.items():
            assert not each._is_synced
            assert (each._to_sync, each._should_unsync) == (each.sync_on_compute, True)
            assert all(state is before[name][key] for key, state in each._states.values.items())
        dist.all_reduce(torch.ones(1000))
    for step, (total, values) in reversed([*enumerate(pending)]):
        assert total.wait() == world * sum(range(step + 1))
        found = values.wait()
        seen = range(1, step + 2)
        assert found["local"] == sum(seen)
        assert found["layers_mean" if "layers_mean" in found else "mean"] is not None
        assert found["formula"] == 2 * world * sum(seen)
        assert found["running"] == world * sum([*seen][-2:])
    value = metric.compute()
    assert metric.compute_async().wait() is value  # from the cache
    assert metric.compute_async().done()


def errors_arrive_in_wait(rank: int, world: int) -> None:
    """Also those that other processes cause; the channel goes on."""
    metric = SumMetric() if rank else MeanMetric()
    metric.update(1.0)
    handle = metric.sync(async_op=True)
    try:
        handle.wait()
    except RuntimeError as error:
        assert "rank 1 has SumMetric" in str(error)
    else:
        raise AssertionError("different metrics were added up")
    assert not metric._is_synced
    metric = SumMetric()
    metric.update(1.0)
    assert metric.compute_async().wait() == world
    handle = metric.sync(async_op=True)
    metric.sync()
    try:
        handle.wait()
    except TorchMetricsUserError as error:
        assert "already" in str(error)
    else:
        raise AssertionError("synchronised twice")
    metric.unsync()
    for unable in (GradientStats(["a"]), MetricCollection([GradientStats(["a"])])):
        try:
            unable.sync(async_op=True)
        except TorchMetricsUserError as error:
            assert "background" in str(error)
        else:
            raise AssertionError("names travelled in the background")


def the_thread_is_late(rank: int, world: int) -> None:
    """The last value is there, and the process ends, before the thread has let go of the group."""
    set_result = Future.set_result

    def and_dawdle(future: Future[Any], result: Any) -> None:
        set_result(future, result)
        time.sleep(0.1)

    metric = SumMetric()
    metric.update(1.0)
    with mock.patch.object(Future, "set_result", and_dawdle):
        assert metric.compute_async().wait() == world


def nobody_asks_for_the_value(rank: int, world: int) -> None:
    """The process ends while it arrives."""
    metric = SumMetric()
    metric.update(1.0)
    assert metric.compute_async().wait() == world
    if rank:
        time.sleep(0.2)
    else:
        metric.update(1.0)
        metric.compute_async()


def subgroups(rank: int, world: int) -> None:
    pair = dist.new_group([0, 1])
    if rank < 2:
        metric = SumMetric(process_group=pair)
        metric.update(rank + 1.0)
        assert metric.compute_async().wait() == 3
        handle = metric.sync(async_op=True)
        handle.wait()
        assert metric.sum_value == 3.0


def test_two_processes(tmp_path: Path) -> None:
    run_checks(2, tmp_path, updates_go_on, nobody_waits, values_of_the_call, errors_arrive_in_wait)


@pytest.mark.parametrize("check", [the_thread_is_late, nobody_asks_for_the_value])
def test_processes_end_in_order(check: Callable[[int, int], None], tmp_path: Path) -> None:
    run_checks(2, tmp_path, check)


@pytest.mark.exhaustive
def test_three_processes(tmp_path: Path) -> None:
    run_checks(3, tmp_path, updates_go_on, subgroups)


def test_one_process_without_a_group() -> None:
    collection = MetricCollection({"sum": SumMetric(), "formula": SumMetric() + 1})
    collection.update(2.0)
    pending, alone = collection.compute_async(), collection["sum"].compute_async()
    handles = [collection.sync(async_op=True), collection["sum"].sync(async_op=True)]
    collection.update(3.0)
    assert pending.done()
    assert {name: value.item() for name, value in pending.wait().items()} == {
        "sum": 2,
        "formula": 3,
    }
    assert (alone.wait(), pending.wait()["sum"]) == (2, 2)
    for handle in handles:
        handle.wait()
    assert collection.compute()["sum"] == 5
