"""Real processes with a gloo group between them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _run(rank: int, world: int, file: str, checks: list[Callable[..., None]]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{file}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    try:
        for check in checks:
            check(rank, world)
    finally:
        dist.destroy_process_group()


def run_checks(world: int, folder: Path, *checks: Callable[[int, int], Any]) -> None:
    """Call ``check(rank, world)`` for all checks in each of ``world`` processes."""
    mp.spawn(_run, args=(world, str(folder / "store"), list(checks)), nprocs=world)
