"""No op allocates what grows with the number of samples."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.run_memory import POSITIONS

ROOT = Path(__file__).parents[2]
CLEAR_REFS = Path("/proc/self/clear_refs")


@pytest.mark.skipif(not os.access(CLEAR_REFS, os.W_OK), reason="needs Linux's resettable peak")
def test_peak_memory(native):
    """Less than one bit per position on top of the inputs, contiguous or not."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.ops.run_memory"],
        cwd=ROOT,
        # What is freed goes back at once, so that no call hides in what another one left.
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    growth = {}
    for line in done.stdout.splitlines():
        grown, name = line.split("\t")
        growth[name] = int(grown)
    assert len(growth) > 20
    too_much = {name: grown for name, grown in growth.items() if grown > POSITIONS // 8}
    assert not too_much
