"""Gradient statistics and top samples of several processes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fastmetrics import GradientStats, TopSamples
from tests.distributed.processes import run_checks


def gradients(rank: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(rank)
    sizes = {"a": 5, "b": 300}
    return [
        {name: torch.randn(size, generator=generator) - rank for name, size in sizes.items()}
        for _ in range(1 + rank)
    ]


def statistics(rank: int, world: int) -> None:
    """Of all processes as of one that sees everything; some may see nothing."""
    for silent in (None, 0, world - 1):
        for names in (None, ["b", "a"]):
            metric, single = GradientStats(names), GradientStats(names, sync_on_compute=False)
            for r in range(world):
                for batch in gradients(r) if r != silent else []:
                    single.update(batch)
                    if r == rank:
                        metric(batch)
            before = metric.stats.clone()
            value = metric.compute()
            torch.testing.assert_close(value, single.compute(), rtol=1e-6, atol=1e-6)
            assert metric.names == single.names
            assert len(metric.table().splitlines()) == 3
            assert torch.equal(metric.stats, before)
            metric.update(gradients(rank)[0])  # also where the names came from the others
            assert metric.stats.shape == (2, 8)


def equal_gradients(rank: int, world: int) -> None:
    """Averaged gradients, as data-parallel training has them, keep their norm."""
    metric = GradientStats()
    metric.update({"a": torch.tensor([3.0, 4.0])})
    assert metric.compute()["norm"].tolist() == [5.0]


def different_layers(rank: int, world: int) -> None:
    metric = GradientStats()
    metric.update({"a" if rank else "b": torch.ones(2)})
    try:
        metric.compute()
    except ValueError as error:
        assert "the layers must be the same" in str(error)
    else:
        raise AssertionError("rows of different layers were added up")
    assert metric.stats.shape == (1, 8)


def top_samples(rank: int, world: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 20, (world * 50,), generator=generator) / 8
    ids = torch.randperm(world * 50, generator=generator)
    for size in (0, 2, 50):
        metric, single = TopSamples(8), TopSamples(8, sync_on_compute=False)
        for r in range(world):
            count = size if r == 0 else 50
            batch = scores[r * 50 : r * 50 + count], ids[r * 50 : r * 50 + count]
            single.update(*batch)
            if r == rank:
                metric(*batch)
        for key, value in metric.compute().items():
            assert torch.equal(value, single.compute()[key])


def test_two_processes(tmp_path: Path) -> None:
    run_checks(2, tmp_path, statistics, equal_gradients, different_layers, top_samples)
