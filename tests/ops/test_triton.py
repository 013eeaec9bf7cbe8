"""Triton kernels against the references, in a process of their own.

Triton decides at its import whether kernels are interpreted, for the whole process.
"""

import ast
import functools
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fastmetrics.ops.backend import launcher_of
from fastmetrics.ops.define import REFERENCES, WITHOUT_TRITON
from tests.ops import laws

PARITY = Path(__file__).with_name("triton_parity.py")
REQUIRE_CUDA = os.environ.get("FASTMETRICS_REQUIRE_CUDA") == "1"


# The interpreter is slow: its tests are dealt out to so many processes.
SHARDS = 6


def parity_tests() -> list[str]:
    tree = ast.parse(PARITY.read_text(encoding="utf-8"))
    names = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    names.remove("test_laws")
    return names + [
        f"test_laws[{op}-{law}]"
        for op, tested in laws.every_op().items()
        if op not in WITHOUT_TRITON
        for law in laws.kept_by(tested, laws.is_small)
    ]


def run_parity(names: list[str], **variables: str) -> None:
    environment = os.environ | {"FASTMETRICS_BACKEND": "reference"} | variables
    tests = [f"{PARITY}::{name}" for name in names]
    command = [sys.executable, "-m", "pytest", *tests, "-p", "no:cacheprovider"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) >= len(names), done.stdout[-2000:]


def test_every_op_has_a_kernel_that_takes_the_same_arguments():
    pytest.importorskip("triton")
    for name in REFERENCES.keys() - WITHOUT_TRITON:
        wanted = inspect.signature(REFERENCES[name]).parameters
        assert list(inspect.signature(launcher_of(name)).parameters) == list(wanted)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_kernels_match_the_references_when_interpreted(shard):
    pytest.importorskip("triton")
    names = parity_tests()
    assert len(names) > 200
    run_parity(names[shard::SHARDS], TRITON_INTERPRET="1")


class OnGpu(torch.Tensor):
    """A CPU tensor that says that it lives on a GPU."""

    device = SimpleNamespace(type="cuda", index=0)


class FakeKernel:
    """Stands for a Triton kernel: notes what it, or its compiled self, is launched with."""

    arg_names = ("preds", "state", "scale", "BLOCK")

    def __init__(self):
        self.looked_up, self.replayed = [], []

    def __getitem__(self, grid):
        def launch(*args, **config):
            self.looked_up.append((grid, args, config))
            return Compiled(self)

        return launch


class Compiled:
    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        return lambda *args: self.kernel.replayed.append((grid, args))


@pytest.fixture
def replay(monkeypatch):
    """An op of one launch, or of ``scale`` launches, behind the fast path of the host side."""
    pytest.importorskip("triton")
    reading = importlib.import_module("fastmetrics.ops.triton.reading")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    kernel = FakeKernel()

    @reading.replayable
    def op(state, events, preds, scale):
        for _ in range(scale):
            reading.launch(kernel, (2,), preds, state, scale, BLOCK=8, num_warps=4)

    return op, kernel


def on_gpu(*shape, offset=0):
    return torch.zeros(64).as_strided(shape, (1,), offset).as_subclass(OnGpu)


def test_a_repeated_update_launches_the_compiled_kernel_on_its_own_tensors(replay):
    op, kernel = replay
    op(on_gpu(4), on_gpu(3), on_gpu(5), 1)
    assert len(kernel.looked_up) == 1
    state, preds = on_gpu(4), on_gpu(5)
    op(state, on_gpu(3), preds, 1)
    assert len(kernel.looked_up) == 1
    [(grid, values)] = kernel.replayed
    assert grid == (2, 1, 1)
    assert values[0] is preds and values[1] is state and values[2:] == (1, 8)


def test_a_repeated_update_may_vary_in_named_integers(monkeypatch):
    """Another `scale` is passed on; only one that needs more bits is planned anew."""
    pytest.importorskip("triton")
    reading = importlib.import_module("fastmetrics.ops.triton.reading")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    kernel = FakeKernel()

    @functools.partial(reading.replayable, varying=("scale",))
    def op(state, events, preds, scale):
        reading.launch(kernel, (2,), preds, state, scale, BLOCK=8, num_warps=4)

    for scale in (5, 6, 2**31 - 1, 2**31, 2**40):
        op(on_gpu(4), on_gpu(3), on_gpu(5), scale)
    assert [args[2] for _, args, _ in kernel.looked_up] == [5, 2**31]
    assert [values[2:] for _, values in kernel.replayed] == [(6, 8), (2**31 - 1, 8), (2**40, 8)]


@pytest.mark.parametrize(
    "other",
    [
        lambda: (on_gpu(4), on_gpu(3), on_gpu(6), 1),
        lambda: (on_gpu(4), on_gpu(3), on_gpu(5, offset=1), 1),
        lambda: (on_gpu(4), on_gpu(3), on_gpu(5).to(torch.float16).as_subclass(OnGpu), 1),
        lambda: (on_gpu(4), on_gpu(3), on_gpu(5), 0),
    ],
    ids=["shape", "alignment", "dtype", "value"],
)
def test_an_update_that_differs_is_planned_anew(replay, other):
    op, kernel = replay
    op(on_gpu(4), on_gpu(3), on_gpu(5), 1)
    op(*other())
    assert not kernel.replayed


def test_updates_of_several_launches_or_with_shared_tensors_are_not_repeated_blindly(replay):
    op, kernel = replay
    for _ in range(2):
        op(on_gpu(4), on_gpu(3), on_gpu(5), 2)
    same = on_gpu(4)
    op(same, on_gpu(3), same, 1)
    op(on_gpu(4), on_gpu(3), on_gpu(4), 1)
    assert len(kernel.looked_up) == 6 and not kernel.replayed


@pytest.mark.skipif(not torch.cuda.is_available() and not REQUIRE_CUDA, reason="needs a GPU")
def test_kernels_match_the_references_on_the_gpu():
    run_parity(parity_tests(), FASTMETRICS_TRITON_DEVICE="cuda")
