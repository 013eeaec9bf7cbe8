"""Ahead-of-time compilation of the Triton kernels, which needs no GPU."""

import importlib.util
import os
from unittest import mock

import pytest

if importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("needs triton, and its compiler", allow_module_level=True)

import torch
import triton
import triton.language as tl
from triton.compiler import ASTSource

from fastmetrics.ops import backend
from tests.gpu import cases
from tools import aot

UPDATES = aot.updates()
# Of each op the first call, and the first one with weights.
MAIN_UPDATES = [name for name in UPDATES if name.endswith((" 0", " weighted0"))]
KERNELS = aot.distinct_launches()
# Bytes.
MOST_SPILLED = 0
MOST_SHARED = 48 * 1024


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: ".".join(aot.names_of(kernel)))
def test_all_launches_are_in_the_language(kernel):
    """The interpreter accepts more than the compiler."""
    for launch in KERNELS[kernel]:
        aot.translate(launch, aot.TARGETS["cuda:90"])


@pytest.mark.parametrize("name", MAIN_UPDATES)
def test_kernels_compile(name):
    op, args = UPDATES[name]
    launches = aot.record(op, *args)
    assert launches
    for launch in launches:
        report = aot.report(aot.compile_launch(launch, aot.TARGETS["cuda:90"]))
        assert report.spills <= MOST_SPILLED
        assert report.registers > 0
        assert report.shared <= MOST_SHARED


@pytest.mark.parametrize(
    ("op", "options", "loads"),
    [
        ("stat_scores_", {"classes": 1000, "dtype": torch.bfloat16}, "v4.b32"),
        ("stat_scores_", {"classes": 100}, "v4.b32"),
        ("stat_scores_", {"classes": 10}, "v2.b32"),
        ("stat_scores_", {"classes": 21, "shape": (4, 64, 64)}, "v4.b32"),
        ("label_confusion_", {"labels": 1, "groups": None}, "v4.b32"),
    ],
)
def test_scores_are_read_with_wide_loads(op, options, loads):
    plain = {"each": False, "shape": (64,), "ignore_index": None}
    plain |= {"total": False, "top_k": 1} if op == "stat_scores_" else {}
    call = cases.make(op, **plain | options)
    args = [aot.on_meta(value) for value in call.arguments.values()]
    ptx = aot.compile_launch(aot.record(op, *args)[0], aot.TARGETS["cuda:90"]).asm["ptx"]
    assert f"ld.global.{loads}" in ptx


def test_counts_take_one_launch_and_sums_two():
    for name, (op, args) in UPDATES.items():
        if isinstance(args[0], list) or (isinstance(args[1], list) and op == "tensor_stats_"):
            continue  # a launch for each state, or for each tensor
        launches = [launch.kernel.__name__ for launch in aot.record(op, *args)]
        # Where there are too many classes for all counts, the totals are counted in the next one.
        counts = not args[0].is_floating_point() and "add_totals" not in launches
        # One more where there are weights, and one for the true negatives of their sums.
        launches = [x for x in launches if x not in ("note_bad_weights", "add_weighted")]
        assert len(launches) == 1 if counts else len(launches) <= 2, name


def launched(name, changed=lambda args: args):
    op, args = UPDATES[name]
    return [launch.kernel.__name__ for launch in aot.record_case(name, op, changed(args))]


def test_statistics_of_the_same_rows_or_pairs_take_two_launches():
    """They are read once: what is launched does not grow with the statistics."""
    names = [name for name in UPDATES if name.startswith("fused_ rows")]
    assert len(names) > 10
    for name in names:
        sums = ["add_bins"] if any(x.shape[-1] == 3 for x in UPDATES[name][1][0]) else []
        assert launched(name) == ["count_once", *sums], name
    names = [name for name in UPDATES if name.startswith("fused_ pairs")]
    assert len(names) > 10
    for name in names:
        first = "sum_errors_in_float32" if name.endswith(cases.IN_FLOAT32) else "add_once"
        assert launched(name) == [first, "fold_once"], name


def test_what_cannot_be_done_together_is_launched_in_turn():
    """Other targets left out, weights, several outputs; another power is another pass."""
    program = UPDATES["fused_ rows 10 [0, 2, 3, 5] float32"][1][-2]
    ignored = [*program]
    ignored[3:5] = 1, 7  # of the class counts
    assert ignored != program
    in_turn = launched(
        "fused_ rows 10 [0, 2, 3, 5] float32", lambda args: [*args[:-2], ignored, args[-1]]
    )
    assert in_turn == ["count_once", "add_bins", "count"]
    assert "count_once" not in launched("fused_ weighted0")
    assert "add_once" not in launched("fused_ 5")
    with mock.patch.object(backend, "arithmetic", "float32"):
        apart = launched("fused_ pairs [3, 4, 2] float32")
    assert apart == ["sum_errors_in_float32", "fold_once", "add_pairs", "merge_parts"]
    assert launched("fused_ 4") == ["add_once", "fold_once"] * 2 + ["sum_errors"]


@triton.jit
def hold_too_much(x):
    lane = tl.arange(0, 16384)
    values = tl.load(x + lane)
    tl.store(x + lane, values / tl.sum(values) + tl.cumsum(values, 0))


def test_a_spill_would_be_seen():
    source = ASTSource(hold_too_much, {"x": "*fp64"})
    compiled = triton.compile(source, target=aot.TARGETS["cuda:90"], options={"num_warps": 4})
    assert aot.report(compiled).spills > 0
