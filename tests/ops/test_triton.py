"""Triton kernels against the references, in a process of their own.

Triton decides at its import whether kernels are interpreted, for the whole process.
"""

import ast
import contextlib
import functools
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastmetrics.ops.backend import launcher_of
from fastmetrics.ops.define import REFERENCES, WITHOUT_TRITON
from tests.ops import laws

PARITY = Path(__file__).with_name("triton_parity.py")
REQUIRE_CUDA = os.environ.get("FASTMETRICS_REQUIRE_CUDA") == "1"


# The interpreter is slow: its tests are dealt out to so many processes.
SHARDS = 5

# The longest: calls large enough for a second block in every program, or for many tiles.
LONG = ("test_programs_that_take_several_blocks", "test_softmax_in_several_tiles")
# The law whose calls are of all kinds, if only a few of each.
MIXED = "some_calls"


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


def is_long(name: str) -> bool:
    return name in LONG or (name.startswith("test_laws") and not name.endswith(f"-{MIXED}]"))


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
    names = [name for name in parity_tests() if not is_long(name)]
    assert len(names) > 45
    run_parity(names[shard::SHARDS], TRITON_INTERPRET="1")


@pytest.mark.exhaustive
@pytest.mark.parametrize("shard", range(SHARDS))
def test_kernels_match_the_references_in_all_when_interpreted(shard):
    pytest.importorskip("triton")
    names = [name for name in parity_tests() if is_long(name)]
    assert len(names) > 180
    run_parity(names[shard::SHARDS], TRITON_INTERPRET="1")


class FakeKernel:
    """Stands for a Triton kernel: notes what it, or its compiled self, is launched with."""

    arg_names = ("preds", "state", "scale", "BLOCK")

    def __init__(self):
        self.looked_up, self.replayed = [], []
        self.compiles = True

    def warmup(self, *args, grid, **config):
        if not self.compiles:
            raise OSError("first line\nno compiler")
        return Compiled(self)

    def __getitem__(self, grid):
        return lambda *args, **config: self.looked_up.append((grid, args, config))


class Compiled:
    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        return lambda *args: self.kernel.replayed.append((grid, args))


@pytest.fixture
def replays(monkeypatch):
    """The host side, which takes tensors on the CPU for those on a GPU."""
    pytest.importorskip("triton")
    module = importlib.import_module("fastmetrics.ops.triton.replay")
    monkeypatch.setattr(module, "GPUS", ("cpu",))
    monkeypatch.setattr(torch.cpu, "current_device", lambda: None)
    monkeypatch.setattr(torch.cpu, "device", contextlib.nullcontext, raising=False)
    return module


@pytest.fixture
def replay(replays):
    """An op of ``scale`` launches, the last on a buffer, behind the fast path of the host side."""
    kernel = FakeKernel()

    @replays.replayable
    def op(state, events, preds, scale):
        for _ in range(scale):
            replays.launch(kernel, (2,), preds, state, scale, BLOCK=8, num_warps=4)
        if scale > 1:
            own = replays.buffer(state, 3, zeroed=True)
            replays.launch(kernel, (2,), own, state, scale, BLOCK=8, num_warps=4)

    return op, kernel


def on_gpu(*shape, offset=0):
    return torch.zeros(64).as_strided(shape, (1,), offset)


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


def test_several_launches_are_repeated_together_on_new_buffers(replay):
    op, kernel = replay
    op(on_gpu(4), on_gpu(3), on_gpu(5), 2)
    state, preds = on_gpu(4), on_gpu(5)
    op(state, on_gpu(3), preds, 2)
    assert len(kernel.looked_up) == len(kernel.replayed) == 3
    firsts = [values[0] for _, values in kernel.replayed]
    assert firsts[0] is firsts[1] is preds
    assert firsts[2].tolist() == [0, 0, 0] and firsts[2] is not kernel.looked_up[2][1][0]
    assert all(values[1] is state for _, values in kernel.replayed)


def test_a_repeated_update_may_vary_in_named_integers(replays):
    """Another `scale` is passed on; only one that needs more bits is planned anew."""
    kernel = FakeKernel()

    @functools.partial(replays.replayable, varying=("scale",))
    def op(state, events, preds, scale):
        replays.launch(kernel, (2,), preds, state, scale, BLOCK=8, num_warps=4)

    for scale in (5, 6, 2**31 - 1, 2**31, 2**40):
        op(on_gpu(4), on_gpu(3), on_gpu(5), scale)
    assert [args[2] for _, args, _ in kernel.looked_up] == [5, 2**31]
    assert [values[2:] for _, values in kernel.replayed] == [(6, 8), (2**31 - 1, 8), (2**40, 8)]


@pytest.mark.parametrize(
    "other",
    [
        lambda: (on_gpu(4), on_gpu(3), on_gpu(6), 1),
        lambda: (on_gpu(4), on_gpu(3), on_gpu(5, offset=1), 1),
        lambda: (on_gpu(4), on_gpu(3), on_gpu(5).to(torch.float16), 1),
        lambda: (on_gpu(4), on_gpu(3), on_gpu(5), 0),
        lambda: (same := on_gpu(4), on_gpu(3), same, 1),
    ],
    ids=["shape", "alignment", "dtype", "value", "shared"],
)
def test_an_update_that_differs_is_planned_anew(replay, other):
    op, kernel = replay
    op(on_gpu(4), on_gpu(3), on_gpu(5), 1)
    op(on_gpu(4), on_gpu(3), on_gpu(4), 1)
    op(*other())
    assert not kernel.replayed


def test_nan_shared_tensors_and_strided_states_are_repeated_too(replays):
    kernel = FakeKernel()

    @replays.replayable
    def op(state, events, preds, fill):
        replays.launch(kernel, (2,), preds, state, 3, BLOCK=8)

    for _ in range(2):
        same = torch.zeros(4)
        op(same, on_gpu(3), same, float("nan"))
        op(torch.zeros(8)[::2], on_gpu(3), on_gpu(5), 0.0)
    assert len(kernel.looked_up) == len(kernel.replayed) == 2
    assert kernel.replayed[0][1][0] is kernel.replayed[0][1][1]
    op(on_gpu(4), on_gpu(3), on_gpu(5), -0.0)
    assert len(kernel.looked_up) == 3


def test_a_tensor_that_no_argument_is_keeps_an_update_from_being_repeated(replays):
    kernel = FakeKernel()

    @replays.replayable
    def op(state, events, preds):
        replays.launch(kernel, (2,), preds + 1, state, 3, BLOCK=8)

    for _ in range(2):
        op(on_gpu(4), on_gpu(3), on_gpu(5))
    assert len(kernel.looked_up) == 2 and not kernel.replayed


def test_nothing_is_launched_where_a_kernel_cannot_be_compiled(replays):
    good, bad = FakeKernel(), FakeKernel()
    bad.compiles = False

    @replays.replayable
    def op(state, events, preds):
        for kernel in (good, bad):
            replays.launch(kernel, (2,), preds, state, 3, BLOCK=8)

    for _ in range(2):
        with pytest.raises(replays.CannotLaunch, match="OSError: no compiler"):
            op(on_gpu(4), on_gpu(3), on_gpu(5))
    assert not good.looked_up


@pytest.mark.parametrize("cuda", [None, "13.0"])
def test_most_registers_are_told_to_nvidia_alone(replays, monkeypatch, cuda):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    kernel = FakeKernel()
    replays.launch(kernel, (2,), on_gpu(5), on_gpu(4), 3, BLOCK=8, registers=168)
    [(_, _, config)] = kernel.looked_up
    assert config == {"BLOCK": 8} | ({"maxnreg": 168} if cuda else {})


@pytest.fixture
def backend(replays, monkeypatch):
    """The backend before the first call on a GPU."""
    module = importlib.import_module("fastmetrics.ops.backend")
    monkeypatch.setattr(module, "triton_reason", module.INSTALLED)
    monkeypatch.setattr(module, "choice", "auto")
    monkeypatch.setattr(module, "_without_kernels", {})
    return module


def counted(entry):
    labels, state = torch.tensor([0, 1, 1]), torch.zeros(2, 4, dtype=torch.int64)
    entry(state, torch.zeros(4, dtype=torch.int64), labels, labels, None, 2, 1, None, True)
    return state.tolist()


RIGHT = [[1, 0, 2, 0], [2, 0, 1, 0]]


def refuse(*args, **options):
    raise importlib.import_module("fastmetrics.ops.triton.replay").CannotLaunch("no compiler")


def test_references_serve_where_nothing_can_be_launched(backend, replays, monkeypatch):
    monkeypatch.setattr(replays, "_compiled", refuse)
    entry = backend._gpu_entry("stat_scores_")
    with pytest.warns(RuntimeWarning, match="triton cannot launch kernels here") as told:
        assert [counted(entry) for _ in range(2)] == [RIGHT] * 2
    assert len(told) == 1
    for name in ("stat_scores_", "confusion_"):
        _, (_, implementation, reason), _ = backend.describe(name)
        assert implementation == "torch reference" and "(no compiler)" in reason


def test_the_reference_serves_an_op_whose_kernels_cannot_be_built(backend, monkeypatch):
    monkeypatch.setattr(backend, "triton_reason", backend.LAUNCHES)
    monkeypatch.setitem(backend._launchers, "stat_scores_", refuse)
    entry = backend._gpu_entry("stat_scores_")
    with pytest.warns(RuntimeWarning, match="the kernels of stat_scores_ here") as told:
        assert [counted(entry) for _ in range(2)] == [RIGHT] * 2
    assert len(told) == 1
    assert backend.describe("stat_scores_")[1][1] == "torch reference"
    assert backend.describe("confusion_")[1][1] == "Triton"


def test_triton_raises_where_it_was_asked_for(backend, replays, monkeypatch):
    monkeypatch.setattr(replays, "_compiled", refuse)
    monkeypatch.setattr(backend, "choice", "triton")
    with pytest.raises(replays.CannotLaunch, match="no compiler"):
        counted(backend._gpu_entry("stat_scores_"))


@pytest.mark.skipif(not torch.cuda.is_available() and not REQUIRE_CUDA, reason="needs a GPU")
def test_kernels_match_the_references_on_the_gpu():
    run_parity(parity_tests(), FASTMETRICS_TRITON_DEVICE="cuda")
