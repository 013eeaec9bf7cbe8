"""The kernels of each instruction set agree with the oracle; one process per set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
LEVELS = ("default", "avx2", "avx512")


def best_level() -> int:
    machine = torch.backends.cpu.get_cpu_capability()
    return {"AVX2": 1, "AVX512": 2}.get(machine, 0)


# What this machine takes by itself is what all other tests run.
@pytest.mark.parametrize(
    "level", ["default", *(pytest.param(x, marks=pytest.mark.exhaustive) for x in LEVELS[1:])]
)
def test_level(native, level):
    done = subprocess.run(
        [sys.executable, "-m", "tests.ops.run_simd"],
        cwd=ROOT,
        env=os.environ | {"FASTMETRICS_SIMD": level},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    served = min(LEVELS.index(level), best_level())
    assert done.stdout.split() == [LEVELS[served]]
