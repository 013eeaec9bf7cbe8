"""Metrics of several processes; each test starts them once and runs its checks in them."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from fastmetrics.collections import MetricCollection
from fastmetrics.core.statistic import counts_only
from fastmetrics.distributed import gather_all_tensors
from fastmetrics.metric import Metric
from tests.distributed.processes import run_checks
from tests.user_metrics import NAMES, OURS, THEIRS


def data(rank: int, size: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(size, generator=generator) for _ in range(3)]


def assert_same(ours: Any, theirs: Any, rtol: float = 0, atol: float = 0) -> None:
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol, equal_nan=True)


class Big(Metric):
    """Counts beyond what floating-point numbers hold."""

    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    @counts_only
    def update(self, value: int) -> None:
        self.counts += value

    def compute(self) -> Tensor:
        return self.counts

    @property
    def statistic(self) -> Hashable:
        return "big"


class Bigger(Big):
    def compute(self) -> Tensor:
        return self.counts + 1


def parity_with_torchmetrics(rank: int, world: int) -> None:
    """Every kind of reduction, after updates and forwards, synchronised or not on each step."""
    for name in NAMES:
        if name == "TensorSamples":  # stacked by torchmetrics instead of concatenated
            continue
        for on_step in (False, True):
            ours, theirs = (getattr(n, name)(dist_sync_on_step=on_step) for n in (OURS, THEIRS))
            for x in data(rank):
                assert_same(ours(x), theirs(x))
            for metric in (ours, theirs):
                metric.update(data(rank)[0])
            assert_same(ours.compute(), theirs.compute())
            assert_same(ours.metric_state, theirs.metric_state)
            assert ours._is_synced is False
            assert ours._cache is None


def whole_stream(rank: int, world: int) -> None:
    """The value over all processes is that of one process which sees everything."""
    for name in ("Ratio", "Replacing", "Growing", "Extremes", "Samples", "TensorSamples"):
        metric, single = getattr(OURS, name)(), getattr(OURS, name)(sync_on_compute=False)
        for r in range(world):
            for x in data(r, size=4 + r):
                single.update(x)
                if r == rank:
                    metric.update(x)
        assert_same(metric.compute(), single.compute(), rtol=1e-6, atol=1e-6)


def silent_processes(rank: int, world: int) -> None:
    """Processes without data add nothing, whatever the shape or dtype the others made."""
    for name in ("Ratio", "Growing", "Extremes", "Averaged", "Samples", "TensorSamples", "Batches"):
        metric, single = getattr(OURS, name)(), getattr(OURS, name)(sync_on_compute=False)
        for x in data(0):
            single.update(x)
            if rank == world - 1:
                metric.update(x)
        assert_same(metric.compute(), single.compute())
        assert metric.update_called is (rank == world - 1)
    labels = OURS.Samples()
    if rank == 0:
        labels.update(torch.tensor([3, 1]))
    assert_same(labels.compute(), torch.tensor([1, 3]))
    nobody = OURS.Samples()
    with nobody.sync_context():
        assert nobody.kept.shape == (0,)
    assert nobody.kept == []
    unreduced = OURS.Batches()
    with unreduced.sync_context():
        assert unreduced.kept == []


def uneven_lists(rank: int, world: int) -> None:
    """Lists of different lengths, of tensors of different shapes."""
    metric = OURS.Batches()
    for i in range(rank + 1):
        metric.update(torch.full((rank + 1, i + 1), float(rank)))
    metric.sync()
    shapes = sorted(tuple(element.shape) for element in metric.kept)
    expected = sorted((r + 1, i + 1) for r in range(world) for i in range(r + 1))
    assert shapes == expected
    metric.unsync()
    assert len(metric.kept) == rank + 1


def exact_counts(rank: int, world: int) -> None:
    metric = Big()
    metric.update(2**53 + rank)
    total = world * 2**53 + sum(range(world))
    assert metric.compute().tolist() == [total, total]
    promoted = Big()
    if rank == 0:
        object.__setattr__(promoted, "counts", promoted.counts.double() + 0.5)
    else:
        promoted.update(1)
    assert promoted.compute().tolist() == [world - 0.5] * 2


def gathering(rank: int, world: int) -> None:
    cases = {
        torch.float32: torch.arange(6.0).view(2, 3)[:, : rank + 1],
        torch.bool: torch.ones(rank, dtype=torch.bool),
        torch.bfloat16: torch.full((1 + rank, 2), rank, dtype=torch.bfloat16),
        torch.int64: torch.tensor(2**60 + rank),
        torch.complex64: torch.full((2,), complex(rank, 1), dtype=torch.complex64),
    }
    for dtype, tensor in cases.items():
        gathered = gather_all_tensors(tensor)
        assert len(gathered) == world
        assert gathered[rank] is tensor
        assert all(part.dtype == dtype for part in gathered)
    shapes = [tuple(p.shape) for p in gather_all_tensors(cases[torch.float32])]
    assert shapes == [(2, r + 1) for r in range(world)]
    parts = gather_all_tensors(torch.full((rank,) * rank, rank, dtype=torch.int32))
    assert [part.ndim for part in parts] == list(range(world))
    x = torch.ones(2, requires_grad=True)
    sum(part.sum() for part in gather_all_tensors(x * 3)).backward()
    assert x.grad.tolist() == [3, 3]
    try:
        gather_all_tensors(torch.zeros(1, dtype=torch.float8_e5m2))
    except ValueError as error:
        assert "float8" in str(error)
    else:
        raise AssertionError("a dtype that cannot be sent was accepted")


def groups_and_collections(rank: int, world: int) -> None:
    pairs = [dist.new_group([0, 1]), dist.new_group([0])]
    metric = OURS.Ratio(process_group=pairs[0])
    if rank < 2:
        metric.update(torch.full((2,), float(rank)))
        assert metric.compute() == 0.5
    if rank == 0:
        metric.sync(process_group=pairs[1])
        assert metric.total == 0
        metric.unsync()
    collection = MetricCollection([Big(), Bigger(), OURS.Samples()])
    for _ in range(2):
        collection.update(torch.tensor([rank + 1]))
    total = world * (world + 1)
    value = collection.compute()
    assert value["Big"].tolist() == [total] * 2
    assert value["Bigger"].tolist() == [total + 1] * 2
    assert value["Samples"].shape == (2 * world,)
    collection.update(torch.tensor([1]))
    assert collection["Big"].counts.tolist() == [2 * rank + 3] * 2
    assert collection.compute_groups == {0: ["Big", "Bigger"], 1: ["Samples"]}
    assert_same((OURS.Ratio() + 1)(torch.ones(1)), torch.tensor(2.0))


def synced_by_hand(rank: int, world: int) -> None:
    metric = OURS.Ratio()
    metric.update(torch.ones(2))
    address = metric.total.data_ptr()
    metric.sync()
    assert metric.total == 2 * world
    metric.reset()  # of the own state
    assert (metric.total.item(), metric.total.data_ptr() == address) == (0, True)
    metric.update(torch.zeros(1))
    metric.sync(should_sync=False)
    assert not metric._is_synced
    metric.sync(distributed_available=lambda: False)
    assert not metric._is_synced


@pytest.mark.exhaustive
def test_two_processes_agree_with_torchmetrics(tmp_path: Path) -> None:
    run_checks(2, tmp_path, parity_with_torchmetrics)


def test_two_processes(tmp_path: Path) -> None:
    run_checks(
        2, tmp_path, whole_stream, silent_processes, uneven_lists, exact_counts, synced_by_hand
    )


@pytest.mark.exhaustive
def test_three_processes(tmp_path: Path) -> None:
    run_checks(
        3,
        tmp_path,
        whole_stream,
        silent_processes,
        uneven_lists,
        gathering,
        groups_and_collections,
    )
