"""Workloads that take no time, for processes that the tests of the benchmarks start."""

from __future__ import annotations

import torch

from benchmarks.calls import Inputs, Started, function
from benchmarks.workload import OURS, Workload


def _fail(inputs: Inputs) -> Started:
    raise ValueError("no such thing")


def rows() -> list[Workload]:
    calls = {"add": function(torch.add), "sub": function(torch.sub), "fail": _fail}
    return [
        Workload(f"update/{name}/2", lambda device: (torch.ones(2), torch.ones(2)), {OURS: call})
        for name, call in calls.items()
    ]
