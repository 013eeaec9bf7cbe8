"""What needs a driver of CUDA but no device, over a stub of it, in processes of their own."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

if importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("needs triton, and its compiler", allow_module_level=True)

CHECKS = Path(__file__).with_name("on_stub.py")

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="where there is a driver the stub would take its place"
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FASTMETRICS_BACKEND": "auto"}
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=root, capture_output=True, text=True
    )


def test_launches_replays_and_variants():
    done = run("-m", "pytest", "-s", "-p", "no:cacheprovider", str(CHECKS))
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 20


WITHOUT = """
import os, sys, warnings
from pathlib import Path
import torch
import fastmetrics
from fastmetrics import ops
from fastmetrics.ops import backend
from tests.stub_gpu import stub_gpu

folder, tool = Path(sys.argv[1]), sys.argv[2]
labels, state, events = torch.tensor([0, 1, 1]), torch.zeros(2, 4).long(), torch.zeros(4).long()
with stub_gpu(folder) as gpu, warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    os.environ["TRITON_CACHE_DIR"] = str(folder / "empty")
    if tool == "compiler":
        os.environ["PATH"] = "/nowhere"
        os.environ.pop("CC", None)
    else:
        (folder / "file").touch()
        os.environ["TRITON_CACHE_DIR"] = str(folder / "file" / "below")
    for _ in range(2):
        entry = backend._gpu_entry("stat_scores_")
        entry(state, events, labels, labels, None, 2, 1, None, True)
    print(gpu.launches(), len(told), state.tolist(), backend.describe("stat_scores_")[1][1])
    print(*(one.message for one in told))
    fastmetrics.show_config()
"""


@pytest.mark.parametrize("tool", ["compiler", "cache"])
def test_updates_do_not_fail_where_no_kernel_can_be_launched(tmp_path, tool):
    """Nothing is launched, one warning says why, and the references count."""
    done = run("-c", WITHOUT, str(tmp_path), tool)
    assert done.returncode == 0, done.stderr
    first, reason, *config = done.stdout.splitlines()
    assert first == "0 1 [[2, 0, 4, 0], [4, 0, 2, 0]] torch reference"
    assert "triton cannot launch kernels here" in reason
    assert any("triton cannot launch kernels here" in line for line in config)
