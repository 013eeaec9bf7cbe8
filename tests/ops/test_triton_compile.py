"""Ahead-of-time compilation of the Triton kernels, which needs no GPU."""

import importlib.util
import os

import pytest

if importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("needs triton, and its compiler", allow_module_level=True)

import triton
import triton.language as tl
from triton.compiler import ASTSource

from tools import aot

UPDATES = {name: (op, args) for name, op, args in aot.updates()}
COMPUTES = {name: (op, args) for name, op, args in aot.computes()}
MAIN_UPDATES = [
    "stat scores [N, 10] float32",
    "stat scores [N, 1000] bfloat16",
    "stat scores [N, 100000] float32",
    "stat scores top-5 [N, 1000]",
    "stat scores weighted [N, 10]",
    "stat scores labels [N, 256]",
    "stat scores labels [N, 1000]",
    "stat scores samplewise",
    "confusion [4, 21, 256, 256]",
    "confusion weighted",
    "exact match [4, 21, 256, 256]",
    "label confusion [N, 1]",
    "label confusion weighted [N, 20]",
    "label confusion 4 groups",
    "label exact match [N, 20]",
    "binary images [N, 1] float16",
    "kept multilabel [4096, 20] float32",
    "kept multiclass [4, 21, 256, 256] float32 weights",
    "calibration [N, 0] float32 B=16 folded",
    "calibration [N, 100] float32 B=16 weighted",
    "hinge binary float32",
    "hinge [N, 10] float32",
    "hinge [N, 1000] float32 one-vs-all",
    "ranking [N, 100] float32",
    "ranking [N, 10000] float32 coverage",
    "co-moments [N, 1] float32",
    "co-moments [N, 1000] float64 weighted",
    "merge co-moments",
    "mean nans=1 in parts",
    "min nans=3",
    "cosine of rows [N, 128] in parts",
    "JS of rows [N, 4000]",
    "tensor statistics float32 in parts",
    "tensor statistics bfloat16 strided",
]


@pytest.mark.parametrize("target", aot.TARGETS)
@pytest.mark.parametrize("name", MAIN_UPDATES)
def test_kernels_compile_without_spilling(name, target):
    check(name, target)


@pytest.mark.exhaustive
@pytest.mark.parametrize("target", aot.TARGETS)
@pytest.mark.parametrize("name", [name for name in UPDATES if name not in MAIN_UPDATES])
def test_all_kernels_compile_without_spilling(name, target):
    check(name, target)


@pytest.mark.parametrize("target", aot.TARGETS)
@pytest.mark.parametrize("name", COMPUTES)
def test_kernels_of_compute_compile_without_spilling(name, target):
    check(name, target)


def check(name: str, target: str) -> None:
    op, args = (UPDATES | COMPUTES)[name]
    launches = aot.record(op, *args)
    assert launches
    for launch in launches:
        report = aot.report(aot.compile_launch(launch, aot.TARGETS[target]))
        assert report.spills == 0
        assert report.registers > 0
        assert report.shared <= 48 * 1024


@pytest.mark.parametrize(
    ("name", "loads"),
    [
        ("stat scores [N, 1000] bfloat16", "v4.b32"),
        ("stat scores [N, 100] float32", "v4.b32"),
        ("stat scores [N, 10] float32", "v2.b32"),
        ("stat scores [4, 21, 256, 256]", "v4.b32"),
        ("label confusion [N, 1]", "v4.b32"),
    ],
)
def test_scores_are_read_with_wide_loads(name, loads):
    op, args = UPDATES[name]
    ptx = aot.compile_launch(aot.record(op, *args)[0], aot.TARGETS["cuda:90"]).asm["ptx"]
    assert f"ld.global.{loads}" in ptx


def test_unweighted_updates_take_one_launch():
    for name, (op, args) in UPDATES.items():
        # Float sums take two stages.
        second = "weighted" in name or "folded" in name or name == "stat scores ignore [N, 1000]"
        second |= name.startswith(("hinge", "ranking", "co-moments")) or "errors [" in name
        second |= "in parts" in name
        assert len(aot.record(op, *args)) == 1 + second, name


@triton.jit
def hold_too_much(x):
    lane = tl.arange(0, 16384)
    values = tl.load(x + lane)
    tl.store(x + lane, values / tl.sum(values) + tl.cumsum(values, 0))


def test_a_spill_would_be_seen():
    source = ASTSource(hold_too_much, {"x": "*fp64"})
    compiled = triton.compile(source, target=aot.TARGETS["cuda:90"], options={"num_warps": 4})
    assert aot.report(compiled).spills > 0
