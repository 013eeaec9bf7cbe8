"""Co-moments of several processes merge by Chan's rule, not by sums."""

from __future__ import annotations

from pathlib import Path

import torch

from fastmetrics import regression
from tests.distributed.processes import run_checks


def batches(rank: int, outputs: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(rank)
    found = []
    for size in (3 + rank, 40):
        target = torch.randn(size, outputs, generator=generator, dtype=torch.float64) + 10 * rank
        noise = torch.randn(size, outputs, generator=generator, dtype=torch.float64)
        found.append((target + noise, target))
    return found


def whole_stream(rank: int, world: int) -> None:
    """The value over all processes is that of one that sees everything; some may see nothing."""
    for silent in (None, 0, world - 1):
        for outputs in (1, 3):
            for metric, single in (
                (regression.R2Score(), regression.R2Score(sync_on_compute=False)),
                (
                    regression.PearsonCorrCoef(outputs),
                    regression.PearsonCorrCoef(outputs, sync_on_compute=False),
                ),
                (
                    regression.NormalizedRootMeanSquaredError("range", outputs),
                    regression.NormalizedRootMeanSquaredError(
                        "range", outputs, sync_on_compute=False
                    ),
                ),
            ):
                for r in range(world):
                    for batch in batches(r, outputs) if r != silent else []:
                        single.update(*batch)
                        if r == rank:
                            metric(*batch)
                before = metric.moments.clone()
                value = metric.compute()
                torch.testing.assert_close(value, single.compute(), rtol=1e-12, atol=1e-12)
                assert torch.equal(metric.moments, before)


def test_two_processes(tmp_path: Path) -> None:
    run_checks(2, tmp_path, whole_stream)
