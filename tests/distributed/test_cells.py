"""Scores of several processes that became cells: bounds over all of them hold, and are narrow."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from fastmetrics.classification import BinaryAUROC, BinaryAveragePrecision
from tests.distributed.processes import run_checks

SIZES = 300_000, 280_000, 290_000, 130_000  # the last one keeps its scores as they are
STARTS = 0.0, 1.5, 30.0, -1e6
BATCH = 65_000


def scores_of(rank: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rank)
    target = torch.randint(2, (SIZES[rank],), generator=generator)
    return torch.randn(SIZES[rank], generator=generator) + target + STARTS[rank], target


def ranges_of_their_own(rank: int, world: int) -> None:
    preds, target = scores_of(rank)
    everything = [torch.cat(x) for x in zip(*map(scores_of, range(world)), strict=True)]
    for cls in (BinaryAUROC, BinaryAveragePrecision):
        metric = cls(thresholds="auto")
        for part in zip(preds.split(BATCH), target.split(BATCH), strict=True):
            metric.update(*part)
        assert len(metric.cells) == (SIZES[rank] > metric.statistic.most_rows)
        low, high = metric.bounds()
        value = metric.compute()
        exact = cls(sync_on_compute=False)
        exact.update(*everything)
        assert low <= exact.compute() <= high
        assert low <= value <= high
        assert high - low < 1e-3
        mine = torch.stack([low, high, value])
        first = mine.clone()
        dist.broadcast(first, 0)
        assert torch.equal(first, mine)
        # Back among its own, and further batches join them.
        assert not metric._is_synced
        metric.update(preds[:BATCH], target[:BATCH])
        again = cls(sync_on_compute=False)
        for other in range(world):
            batch = scores_of(other)
            again.update(*batch)
            again.update(*(x[:BATCH] for x in batch))
        low, high = metric.bounds()
        assert low <= again.compute() <= high
        assert high - low < 1e-3


def test_four_processes(tmp_path: Path):
    assert sum(SIZES) == 10**6
    run_checks(4, tmp_path, ranges_of_their_own)
