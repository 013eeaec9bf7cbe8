"""Predict, without a GPU, which share of copy bandwidth the kernels reach on an H100.

``python -m tools.traffic`` compiles the launches of some large updates for sm_90, takes the loop
over blocks off the machine code, and asks what bounds it: issued instructions, bytes in flight,
atomics, or memory itself. The figures of the model are rough; trust their order, and that a kernel
far from its bound is far from it.
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from triton import knobs

from fastmetrics.ops import error_sums, faults, row_similarity
from fastmetrics.ops.aggregate import DROP, SUM
from fastmetrics.ops.co_moments import NUM_COLUMNS
from fastmetrics.ops.triton import inputs
from tests.gpu import loops
from tools import aot

MULTIPROCESSORS, CLOCK, COPY = 132, 1.75e9, 4.2e12
LATENCY = 0.55e-6  # seconds until a load is there
BARRIER = 30  # clocks
LAUNCH = 2e-6  # seconds of a second launch
SCATTERED = 1.5e11  # atomics a second
# Issue slots of a scheduler that a warp takes, one where nothing is said.
SLOTS = {
    "POPC": 8, "MUFU": 8, "F2F": 8, "I2F": 8, "F2I": 8, "SHFL": 4, "LDS": 4, "STS": 4, "ATOMS": 4,
    "LDG": 4, "DADD": 2, "DMUL": 2, "DFMA": 2, "DSETP": 2, "IMAD.WIDE": 2,
}  # fmt: skip
LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_.]+)([^;]*);")


class Loop(NamedTuple):
    """What one warp does for one block."""

    slots: float
    barriers: float
    atomics: float
    loads: float
    """Bytes."""
    rounds: float
    """How often it waits for them."""


class Workload(NamedTuple):
    """A large update."""

    op: str
    args: tuple[Any, ...]


def instructions(cubin: bytes) -> list[tuple[int, str, str]]:
    """Address, name and operands of each instruction."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [knobs.nvidia.cuobjdump.path, "-sass", str(path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [(int(place, 16), name, rest) for place, name, rest in LINE.findall(text)]


def loops_in(code: list[tuple[int, str, str]]) -> list[tuple[int, int, Loop]]:
    """Where loops that load begin and end, and what is in them."""
    loops_found = []
    for place, name, rest in code:
        target = re.search(r"0x([0-9a-f]+)", rest)
        if name.startswith("BRA") and target and int(target[1], 16) < place:
            body = [x for x in code if int(target[1], 16) <= x[0] <= place]
            if any(x[1].startswith("LDG") for x in body):
                loops_found.append((int(target[1], 16), place, _count(body)))
    return loops_found


def around_loops(code: list[tuple[int, str, str]]) -> Loop:
    """What a warp does before and after the loop over blocks."""
    everything = _count(code)
    spans = [(end - begin, inside) for begin, end, inside in loops_in(code)]
    inside = max(spans, key=lambda x: x[0])[1] if spans else everything
    return Loop(*(a - b for a, b in zip(everything, inside, strict=True)))


def loop_of(code: list[tuple[int, str, str]], bytes_per_warp: float) -> Loop:
    """The loop over blocks, with an inner one as often as the bytes to load ask for."""
    loops_found = loops_in(code)
    if not loops_found:
        return _count(code)
    begin, end, outer = max(loops_found, key=lambda x: x[1] - x[0])
    inner = [x for x in loops_found if begin < x[0] and x[1] < end]
    if not inner:
        return outer
    within, until, most = max(inner, key=lambda x: x[2].loads)
    if most.loads == outer.loads:  # of samples, each of which is a loop over blocks
        return loop_of([x for x in code if within <= x[0] <= until], bytes_per_warp)
    times = max(0.0, (bytes_per_warp - outer.loads) / most.loads)
    return Loop(*(a + times * b for a, b in zip(outer, most, strict=True)))


def _count(body: list[tuple[int, str, str]]) -> Loop:
    slots = barriers = atomics = loads = 0.0
    for _, name, _ in body:
        root = name.split(".")[0]
        slots += SLOTS.get(root, SLOTS.get(".".join(name.split(".")[:2]), 1))
        barriers += root == "BAR"
        atomics += 32 * (root in ("RED", "REDG", "ATOMG"))
        if root == "LDG":
            found = re.search(r"\.(U?8|S8|U?16|S16|64|128)", name[3:].replace(".E", ""))
            bits = int(re.sub(r"\D", "", found[1])) if found else 32
            loads += 32 * bits / 8
    return Loop(slots, barriers, atomics, loads, 1.0)


class Prediction(NamedTuple):
    """Seconds that each bound asks for."""

    memory: float
    issue: float
    flight: float
    atomics: float

    @property
    def share(self) -> float:
        """Share of copy bandwidth."""
        return self.memory / max(self)

    @property
    def bound(self) -> str:
        """What takes longest."""
        return self._fields[self.index(max(self))]


def predict(workload: Workload) -> Prediction:
    """What each bound asks for, over all launches."""
    tensors = [x for x in tree_leaves(workload.args[1:]) if isinstance(x, Tensor)]
    total = sum(x.numel() * x.element_size() for x in tensors)
    with mock.patch.object(inputs, "multiprocessors", lambda *_: MULTIPROCESSORS):
        launches = aot.record(workload.op, *workload.args)
    issue = flight = atomics = 0.0
    for launch in launches:
        if loops.axis_of(launch.kernel) is None:
            issue += LAUNCH
            flight += LAUNCH
            continue
        compiled = aot.compile_launch(launch, aot.TARGETS["cuda:90"])
        warps = compiled.metadata.num_warps
        programs = math.prod(launch.grid)
        named = loops.named(launch)
        tile, samples = named.get("tile"), named.get("samples", 1)
        blocks = loops.turns(launch) * programs
        if samples > 1 and launch.kernel.fn.__name__ == "count":
            blocks = samples * math.ceil(named["walk"].positions / tile.BLOCK)
        code = instructions(compiled.asm["cubin"])
        loop, once = loop_of(code, total / blocks / warps), around_loops(code)
        registers = max(aot.report(compiled).registers, 16)
        resident = min(2048 // (32 * warps), 65536 // (registers * 32 * warps), 32)
        resident = min(resident, math.ceil(programs / MULTIPROCESSORS))
        clocks = loop.slots * warps / 4
        issue += (blocks * clocks + programs * once.slots * warps / 4) / MULTIPROCESSORS / CLOCK
        alone = (
            LATENCY * loop.rounds + (max(clocks, 2 * loop.slots) + BARRIER * loop.barriers) / CLOCK
        )
        begun = (2 * once.slots + BARRIER * once.barriers) / CLOCK
        flight += (blocks * alone + programs * begun) / min(programs, resident * MULTIPROCESSORS)
        if loop.atomics and tile is not None:
            # What is left is added by one thread.
            each = max(32.0, tile.BLOCK * tile.BLOCK_C / warps)
            atomics += blocks * (loop.atomics // each * each) * warps / SCATTERED
    return Prediction(total / COPY, issue, flight, atomics)


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _labels(*shape: int) -> Tensor:
    return _meta(*shape, dtype=torch.int64)


def _sums(*shape: int) -> Tensor:
    return _meta(*shape, dtype=torch.float64)


def workloads() -> Iterator[tuple[str, Workload]]:
    """Large updates of each family, by name."""
    n, m, events = 1 << 24, (1 << 24) // 10, _labels(faults.NUM_EVENTS)

    def counts(
        classes: int, preds: Tensor, target: Tensor, weight: Tensor | None = None,
        state: Tensor | None = None,
    ) -> Workload:  # fmt: skip
        state = _labels(classes, 4) if state is None else state
        args = (state, events, preds, target, weight, classes, 1, None, True)
        return Workload("stat_scores_", args)

    for classes in (10, 128, 256, 1000):
        yield f"counts of labels, C={classes}", counts(classes, _labels(n), _labels(n))
    for classes in (2, 10, 21, 32, 100, 1000, 100_000):
        scores, labels = _meta(n // classes, classes), _labels(n // classes)
        yield f"counts of [N, {classes}] scores", counts(classes, scores, labels)
    for classes in (21, 150):
        images = _meta(16, classes, 256, 256)
        yield f"counts of images, C={classes}", counts(classes, images, _labels(16, 256, 256))
    weighted = counts(10, _meta(m, 10), _labels(m), _meta(m), _sums(10, 4))
    yield "weighted counts of [N, 10] scores", weighted
    four = counts(21, _meta(4, 21, 512, 512), _labels(4, 512, 512), None, _labels(4, 21, 4))
    yield "samplewise counts of 4 images, C=21", four

    for classes, dtype in ((10, torch.int64), (21, torch.uint8), (150, torch.int64)):
        pair = (_meta(n, dtype=dtype), _meta(n, dtype=dtype))
        args: tuple[Any, ...] = (_labels(classes, classes), events, *pair, None, None, True)
        yield f"confusion of {str(dtype)[6:]} labels, C={classes}", Workload("confusion_", args)

    def tables(state: Tensor, preds: Tensor, target: Tensor) -> Workload:
        args = (state, events, preds, target, None, None, 0.5, False, None, True)
        return Workload("label_confusion_", args)

    yield "tables of binary scores", tables(_labels(2, 1, 2, 2), _meta(n), _labels(n))
    bools = _meta(n, dtype=torch.bool)
    yield "tables of binary bools", tables(_labels(1, 1, 2, 2), bools, torch.empty_like(bools))
    labels = _labels(n // 40, 40)
    yield "tables of 40 labels", tables(_labels(2, 40, 2, 2), _meta(n // 40, 40), labels)

    def histogram(
        state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Workload:
        edges, rows = _sums(2, state.shape[-1] - 1), preds.ndim > target.ndim
        args = (state, events, preds, target, weight, edges, True, rows, rows, None, True)
        return Workload("score_histogram_", args)

    for bins in (51, 101, 201, 501):
        state = _labels(2, 1, 2, bins)
        yield f"histogram of binary scores, {bins} bins", histogram(state, _meta(n), _labels(n))
    weighted = histogram(_sums(2, 1, 2, 51), _meta(n), _labels(n), _meta(n))
    yield "weighted histogram, 51 bins", weighted
    state, scores = _labels(2, 10, 2, 51), _meta(m, 10)
    yield "histogram of 10 labels, 51 bins", histogram(state, scores, _labels(m, 10))
    yield "histogram of [N, 10] scores, 51 bins", histogram(state, scores, _labels(m))

    for classes in (0, 10, 100):
        rows = (n // classes, classes) if classes else (n,)
        edges = _sums(1 if classes else 2, 15)
        args = (_sums(2, 15, 3), events, _meta(*rows), _labels(rows[0]), None, edges, classes,
                False, None, True)  # fmt: skip
        kind = f"[N, {classes}]" if classes else "binary"
        yield f"calibration of {kind} scores", Workload("calibration_bins_", args)
    for name, terms in (("squared", error_sums.SQUARED), ("log-cosh", error_sums.LOG_COSH)):
        args = (_sums(1, 2), _meta(n), _meta(n), None, terms, 1.0, 0.0)
        yield f"{name} errors", Workload("error_sums_", args)
    yield "moments", Workload("co_moments_", (_sums(1, NUM_COLUMNS), _meta(n), _meta(n), None))
    yield "sum", Workload("aggregate_", (_sums(2), events, _meta(n), None, SUM, DROP, 0.0))
    yield "statistics of a tensor", Workload("tensor_stats_", (_sums(1, 8), [_meta(n)]))
    pair = (_meta(n // 128, 128), _meta(n // 128, 128))
    for name, similarity in (("cosine", row_similarity.COSINE), ("KL", row_similarity.KL)):
        yield f"{name} of [N, 128]", Workload("row_similarity_", (_sums(3), *pair, similarity))
    for kind, scores in (("binary", _meta(n)), ("[N, 10]", _meta(m, 10))):
        args = (_sums(1, 2), events, scores, _labels(len(scores)), scores.ndim > 1, False, False,
                None, None, True)  # fmt: skip
        yield f"hinge of {kind} scores", Workload("hinge_sums_", args)
    args = (_sums(4), events, _meta(n // 20, 20), _labels(n // 20, 20), 7, None, None, True)
    yield "ranking of 20 labels", Workload("ranking_sums_", args)
    args = (_labels(2), events, _meta(m, 10), _labels(m), None, 10, None, True)
    yield "exact match of [N, 10] scores", Workload("exact_match_", args)


# Per cent, before kernels were tuned by these predictions.
BEFORE = {
    "counts of labels, C=10": 73,
    "counts of labels, C=128": 25,
    "counts of labels, C=256": 14,
    "counts of labels, C=1000": 14,
    "counts of [N, 2] scores": 64,
    "counts of [N, 10] scores": 38,
    "counts of [N, 21] scores": 23,
    "counts of [N, 32] scores": 74,
    "counts of [N, 100] scores": 49,
    "counts of [N, 1000] scores": 100,
    "counts of [N, 100000] scores": 62,
    "counts of images, C=21": 45,
    "counts of images, C=150": 29,
    "weighted counts of [N, 10] scores": 7,
    "samplewise counts of images, C=21": 23,
    "confusion of int64 labels, C=10": 100,
    "confusion of uint8 labels, C=21": 5,
    "confusion of int64 labels, C=150": 55,
    "tables of binary scores": 95,
    "tables of binary bools": 38,
    "tables of 40 labels": 54,
    "histogram of binary scores, 51 bins": 33,
    "histogram of binary scores, 101 bins": 24,
    "histogram of binary scores, 201 bins": 16,
    "histogram of binary scores, 501 bins": 21,
    "weighted histogram, 51 bins": 1,
    "histogram of 10 labels, 51 bins": 21,
    "histogram of [N, 10] scores, 51 bins": 6,
    "calibration of binary scores": 3,
    "calibration of [N, 10] scores": 4,
    "calibration of [N, 100] scores": 7,
    "squared errors": 62,
    "log-cosh errors": 13,
    "moments": 11,
    "sum": 31,
    "statistics of a tensor": 24,
    "cosine of [N, 128]": 12,
    "KL of [N, 128]": 7,
    "hinge of binary scores": 70,
    "hinge of [N, 10] scores": 11,
    "ranking of 20 labels": 3,
    "samplewise counts of 4 images, C=21": 1,
    "exact match of [N, 10] scores": 26,
}

TEXT = """
## Shares of copy bandwidth, predicted

Written by `tools/traffic.py`: large updates on an H100, from machine code that never ran there.
The issued instructions, the bytes in flight and the atomics are counted, of each loop over blocks
and of what a program does around it, and what takes longest decides; "before" is the same of older
kernels, but for what is around their loops. Only a device can tell about those with a star: how
fast atomics are, which the data decide, and rows that each thread reads from the cache on its own.
Sure scores and frequent classes do not queue on one address: they are counted for each thread or
block first.

| update | before | now | bound by |
|---|---|---|---|
"""


def table() -> str:
    """Return the part of ``docs/kernels.md`` about bandwidth."""
    lines = []
    for name, workload in workloads():
        found = predict(workload)
        narrow = re.search(r"\[N, (2|10|21|32)\]", name) and workload.op == "stat_scores_"
        star = "*" if found.bound == "atomics" or narrow else ""
        share = f"{100 * found.share:.0f} %{star}"
        lines.append(f"| {name} | {BEFORE[name]} % | {share} | {found.bound} |\n")
    return TEXT + "".join(lines)


def main() -> None:
    """Print the prediction of each workload."""
    parser = argparse.ArgumentParser("python -m tools.traffic")
    parser.add_argument("names", nargs="*", help="only those whose names hold one of these")
    names = parser.parse_args().names
    for name, workload in workloads():
        if names and not any(x in name for x in names):
            continue
        found = predict(workload)
        times = zip(found._fields, found, strict=True)
        parts = ", ".join(f"{field} {1e6 * value:.0f}" for field, value in times)
        print(f"{name:42} {found.share:5.0%} {found.bound:8} {parts}", flush=True)


if __name__ == "__main__":
    main()
