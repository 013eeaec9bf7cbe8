"""Processes that end, hang or do something else: the others raise, and keep what they have."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from fastmetrics import MetricCollection, SumMetric
from fastmetrics.aggregation import CatMetric
from fastmetrics.distributed import merge_states

SECONDS = 10
# The first two processes survive; in the group of each case a third one fails.
CASES = ("killed", "hanging", "straying", "background")
SURVIVORS = (0, 1)


def metrics(group: Any = None) -> MetricCollection:
    return MetricCollection(
        {"sum": SumMetric(process_group=group), "cat": CatMetric(process_group=group)}
    )


def members(case: str) -> list[int]:
    return [*SURVIVORS, len(SURVIVORS) + CASES.index(case)]


def fail(case: str, group: Any) -> None:
    if case in ("killed", "background"):
        os.kill(os.getpid(), signal.SIGKILL)
    if case == "straying":  # in another collective than the others
        with suppress(RuntimeError):
            dist.all_reduce(torch.zeros(3), group=group)
    time.sleep(1000)  # until the test ends it


def survive(rank: int, case: str, collection: MetricCollection, folder: Path) -> None:
    """See the error, within the timeout; nothing is lost, and nothing left half done."""
    own = {name: dict(metric._states.values) for name, metric in collection.items()}
    start = time.perf_counter()
    try:
        collection.compute_async().wait() if case == "background" else collection.compute()
    except RuntimeError as error:
        message = str(error)
    else:
        raise AssertionError(f"rank {rank} missed nobody in {case}")
    assert time.perf_counter() - start < 4 * SECONDS
    assert f"by rank {rank}" in message, message
    assert "does not answer within the timeout" in message
    for name, metric in collection.items():
        assert not metric._is_synced
        assert (metric._to_sync, metric._should_unsync) == (True, True)
        assert all(metric._states.values[key] is state for key, state in own[name].items())
    assert collection.state_bytes() == (folder / f"{case}-{rank}").read_bytes()


def run(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=len(SURVIVORS) + len(CASES),
    )
    collections, groups = {}, {}
    for case in CASES:
        groups[case] = group = dist.new_group(members(case), timeout=timedelta(seconds=SECONDS))
        if rank not in members(case):
            continue
        dist.barrier(group)
        collections[case] = collection = metrics(group)
        collection.update(members(case).index(rank) + 1.0)
        if case == "background":
            assert collection.compute_async().wait()["sum"] == 6
        assert collection.compute()["sum"] == 6
        collection.update(10.0)
        (folder / f"{case}-{rank}").write_bytes(collection.state_bytes())
    dist.barrier()
    if rank not in SURVIVORS:
        case = CASES[rank - len(SURVIVORS)]
        fail(case, groups[case])
    for case, collection in collections.items():
        survive(rank, case, collection, folder)
    (folder / f"survived-{rank}").touch()
    os._exit(0)  # the groups cannot be taken down in order any more


def test_one_process_is_lost(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    world = len(SURVIVORS) + len(CASES)
    processes = [context.Process(target=run, args=(rank, tmp_path)) for rank in range(world)]
    for process in processes:
        process.start()
    for rank in SURVIVORS:
        processes[rank].join(timeout=250)
    for process in processes:
        process.kill()
    assert {path.name for path in tmp_path.glob("survived-*")} == {"survived-0", "survived-1"}
    for case in CASES:
        saved = [(tmp_path / f"{case}-{rank}").read_bytes() for rank in members(case)]
        merged = merge_states(saved, like=metrics()).compute()
        assert merged["sum"] == 6 + 30
        assert merged["cat"].tolist() == [1, 10, 2, 10, 3, 10]
