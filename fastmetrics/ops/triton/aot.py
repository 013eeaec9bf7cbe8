"""Compile the GPU kernels without a GPU, and report what they cost.

``python -m fastmetrics.ops.triton.aot`` compiles the launches that typical updates make, for each
target, and prints registers, spills and shared memory. A spilled register is a round trip to memory
in the inner loop, so none is the rule.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import fastmetrics.ops.triton as kernels
from fastmetrics.ops.aggregate import DROP, FILL, KEEP, MAX, MIN, SUM
from fastmetrics.ops.triton import (
    aggregate,
    confusion,
    exact_match,
    reading,
    row_similarity,
    score_histogram,
    stat_scores,
)

TARGETS = {
    "cuda:80": GPUTarget("cuda", 80, 32),
    "cuda:90": GPUTarget("cuda", 90, 32),
    "hip:gfx942": GPUTarget("hip", "gfx942", 64),
}

POINTERS = {
    torch.bool: "*i1",
    torch.uint8: "*u8",
    torch.int8: "*i8",
    torch.int16: "*i16",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
}


class Launch(NamedTuple):
    """One kernel launch as an op makes it."""

    kernel: Any
    args: tuple[Any, ...]
    config: dict[str, Any]


class Report(NamedTuple):
    """What the compiler says about one kernel on one target."""

    registers: int
    spills: int
    """Bytes of spill stores and loads, or of scratch per lane on AMD."""
    shared: int


def record(op: str, *args: Any) -> list[Launch]:
    """Return the launches of an op on ``meta`` tensors; nothing runs."""
    launches: list[Launch] = []

    def launch(kernel: Any, grid: tuple[int, ...], *values: Any, **config: Any) -> None:
        launches.append(Launch(kernel, values, config))

    with contextlib.ExitStack() as stack:
        for module in (
            aggregate,
            row_similarity,
            stat_scores,
            confusion,
            exact_match,
            score_histogram,
            reading,
        ):
            stack.enter_context(mock.patch.object(module, "launch", launch))
        getattr(kernels, op)(*args)
    return launches


def compile_launch(launch: Launch, target: GPUTarget) -> Any:
    """Compile one launch as the just-in-time compiler would for the same arguments."""
    kernel, names = launch.kernel, launch.kernel.arg_names
    values = dict(zip(names, launch.args, strict=False)) | launch.config
    unspecialised = set(kernel.do_not_specialize)
    signature: dict[str, Any] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for index, name in enumerate(names):
        fixed = kernel.params[index].is_constexpr
        special = name not in unspecialised
        signature[name] = _describe(values[name], (index,), fixed, special, constants, attributes)
    source = ASTSource(kernel, signature, constants, attributes)
    options = {"num_warps": launch.config["num_warps"]} if "num_warps" in launch.config else {}
    return triton.compile(source, target=target, options=options)


def _describe(
    value: Any,
    path: tuple[int, ...],
    fixed: bool,
    special: bool,
    constants: dict[tuple[int, ...], Any],
    attributes: dict[tuple[int, ...], Any],
) -> Any:
    """Type of one argument, noting constants and multiples of 16 as the launcher does."""
    if isinstance(value, tuple):
        return tuple(
            _describe(item, (*path, index), fixed, special, constants, attributes)
            for index, item in enumerate(value)
        )
    if isinstance(value, Tensor):
        attributes[path] = [["tt.divisibility", 16]]
        return POINTERS[value.dtype]
    if fixed or value is None or (special and value == 1):
        constants[path] = value
        return "constexpr"
    if special and value % 16 == 0:
        attributes[path] = [["tt.divisibility", 16]]
    return "i32" if -(2**31) <= value < 2**31 else "i64"


def report(compiled: Any) -> Report:
    """Read registers and spills off the generated assembly."""
    shared = compiled.metadata.shared
    if "ptx" in compiled.asm:
        return Report(*_assemble(compiled.asm["ptx"]), shared)
    text = compiled.asm["amdgcn"]
    registers, scratch = (
        _number(r"\.vgpr_count:\s+(\d+)", text),
        _number(r"ScratchSize: (\d+)", text),
    )
    return Report(registers, scratch, shared)


def _number(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    if not found:
        raise RuntimeError(f"The compiler's report has no {pattern!r}.")
    return sum(int(value) for value in found)


def _assemble(ptx: str) -> tuple[int, int]:
    """Registers and spilled bytes of PTX, from the assembler that Triton ships."""
    found = re.search(r"^\.target (\w+)", ptx, re.MULTILINE)
    if found is None:
        raise RuntimeError("The PTX names no target.")
    assembler = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command: list[str | Path] = [
            assembler,
            "-v",
            f"--gpu-name={found[1]}",
            source,
            "-o",
            output,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    spills = _number(r"(\d+) bytes spill stores", done.stderr)
    spills += _number(r"(\d+) bytes spill loads", done.stderr)
    return _number(r"Used (\d+) registers", done.stderr), spills


def updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates: name, op, arguments."""

    def meta(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    tail: tuple[Any, ...]
    events = meta(3)
    weight = meta(4096, dtype=torch.float32)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for classes in (2, 10, 100, 1000, 100_000):
            scores, target = meta(4096, classes, dtype=dtype), meta(4096)
            name = f"[N, {classes}] {str(dtype)[6:]}"
            tail = (scores, target, None, classes, 1, None, True)
            yield f"stat scores {name}", "stat_scores_", (meta(classes, 4), events, *tail)
    for classes in (10, 256, 1000):
        scores, target = meta(4096, classes, dtype=torch.float32), meta(4096)
        state, sums = meta(classes, 4), meta(classes, 4, dtype=torch.float64)
        name = f"[N, {classes}]"
        tail = (scores, target, None, classes, 5, None, True)
        yield f"stat scores top-5 {name}", "stat_scores_", (state, events, *tail)
        tail = (scores, target, None, classes, 1, -1, True)
        yield f"stat scores micro, ignore {name}", "stat_scores_", (meta(1, 4), events, *tail)
        yield f"stat scores ignore {name}", "stat_scores_", (state, events, *tail)
        tail = (scores, target, weight, classes, 1, None, True)
        yield f"stat scores weighted {name}", "stat_scores_", (sums, events, *tail)
        tail = (meta(4096), target, None, classes, 1, None, True)
        yield f"stat scores labels {name}", "stat_scores_", (state, events, *tail)
        tail = (scores, target, None, None, True)
        yield f"confusion {name}", "confusion_", (meta(classes, classes), events, *tail)
        tail = (meta(4096), target, None, None, True)
        yield f"confusion labels {name}", "confusion_", (meta(classes, classes), events, *tail)
    tail = (meta(1, 10, dtype=torch.float32), meta(1), None, 10, 1, None, True)
    yield "stat scores of one sample", "stat_scores_", (meta(10, 4), events, *tail)
    bits = meta(4096, dtype=torch.bool)
    tail = (bits, bits, None, None, 0.5, False, None, True)
    yield "label confusion of bools", "label_confusion_", (meta(1, 1, 2, 2), events, *tail)
    image, mask = meta(4, 21, 256, 256, dtype=torch.float32), meta(4, 256, 256)
    tail = (image, mask, None, 21, 1, 255, True)
    yield "stat scores [4, 21, 256, 256]", "stat_scores_", (meta(21, 4), events, *tail)
    yield "stat scores samplewise", "stat_scores_", (meta(4, 21, 4), events, *tail)
    tail = (image, mask, None, 255, True)
    yield "confusion [4, 21, 256, 256]", "confusion_", (meta(21, 21), events, *tail)
    sums = meta(21, 21, dtype=torch.float64)
    tail = (image, mask, meta(4, dtype=torch.float32), 255, True)
    yield "confusion weighted", "confusion_", (sums, events, *tail)
    tail = (image, mask, None, 21, 255, True)
    yield "exact match [4, 21, 256, 256]", "exact_match_", (meta(2), events, *tail)
    for labels in (1, 20, 1000):
        shape = (4096,) if labels == 1 else (4096, labels)
        scores, target = meta(*shape, dtype=torch.float32), meta(*shape)
        tail = (scores, target, None, None, 0.5, False, None, True)
        state = meta(2, labels, 2, 2)
        yield f"label confusion [N, {labels}]", "label_confusion_", (state, events, *tail)
        tail = (scores, target, weight, None, 0.5, False, -1, True)
        sums = meta(2, labels, 2, 2, dtype=torch.float64)
        yield f"label confusion weighted [N, {labels}]", "label_confusion_", (sums, events, *tail)
    scores, target, groups = meta(4096, dtype=torch.float32), meta(4096), meta(4096)
    for count in (4, 5000):
        tail = (scores, target, None, groups, 0.5, False, None, True)
        state = meta(2, count, 2, 2)
        yield f"label confusion {count} groups", "label_confusion_", (state, events, *tail)
    tail = (scores, target, weight, groups, 0.5, False, None, True)
    sums = meta(2, 4, 2, 2, dtype=torch.float64)
    yield "label confusion weighted groups", "label_confusion_", (sums, events, *tail)
    scores, target = meta(4096, 20, dtype=torch.float32), meta(4096, 20)
    tail = (scores, target, None, 20, 0.5, False, None, True)
    yield "label exact match [N, 20]", "label_exact_match_", (meta(2, 2), events, *tail)
    yield from histogram_updates()
    yield from aggregate_updates()
    yield from row_updates()


def histogram_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of score histograms."""

    def meta(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    op, events, rows = "score_histogram_", meta(3), 4096
    for task, classes, dtype in (
        ("binary", 1, torch.float32),
        ("binary", 1, torch.float64),
        ("multilabel", 20, torch.float32),
        ("multiclass", 2, torch.float32),
        ("multiclass", 10, torch.bfloat16),
        ("multiclass", 100, torch.float32),
        ("multiclass", 1000, torch.float64),
        ("multiclass", 100_000, torch.float32),
    ):
        shape = (rows,) if task == "binary" else (rows, classes)
        scores, target = meta(*shape, dtype=dtype), meta(*shape)
        if task == "multiclass":
            target = meta(rows)
        for thresholds in (50, 4096) if classes == 1 else (50,):
            edges = meta(2, thresholds, dtype=torch.float64)
            name = f"{task} histogram [N, {classes}] {str(dtype)[6:]} T={thresholds}"
            for kind, uniform in (("", True), (" any thresholds", False)):
                state = meta(2, classes, 2, thresholds + 1)
                tail = (edges, uniform, task == "multiclass", False, -1, True)
                yield name + kind, op, (state, events, scores, target, None, *tail)
            weight = meta(rows, dtype=torch.float32)
            sums = meta(2, classes, 2, thresholds + 1, dtype=torch.float64)
            yield f"{name} weighted", op, (sums, events, scores, target, weight, *tail)


def aggregate_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of running aggregates."""
    events = torch.empty(3, dtype=torch.int64, device="meta")
    for word, reduction, size in (
        ("sum", SUM, 1),
        ("mean", SUM, 2),
        ("max", MAX, 1),
        ("min", MIN, 1),
    ):
        state = torch.empty(size, dtype=torch.float64, device="meta")
        for nans in (KEEP, DROP, FILL):
            for count, parts in ((4096, ""), (1_000_000, " in parts")):
                value = torch.empty(count, device="meta")
                tail = (reduction, nans, 2.0)
                name = f"{word} nans={nans}{parts}"
                yield name, "aggregate_", (state, events, value, None, *tail)
                if word == "mean":
                    weights = value.view(-1, 8).mT, torch.empty(1, device="meta")
                    yield f"{name} strided", "aggregate_", (state, events, *weights, *tail)


def row_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of row similarities."""
    for kind, word in enumerate(("cosine", "KL", "KL of logarithms", "JS", "JS of logarithms")):
        for columns in (10, 128, 4000):
            for rows, parts in ((2, ""), (100_000, " in parts")):
                matrix = torch.empty(rows, columns, device="meta")
                name = f"{word} of rows [N, {columns}]"
                for suffix, shape in ((parts, (2,)), (f" apart {rows}", (rows, 1))):
                    state = torch.empty(shape, dtype=torch.float64, device="meta")
                    yield name + suffix, "row_similarity_", (state, matrix, matrix, kind)


def main() -> None:
    """Print the table of all updates on all targets."""
    print(f"{'update':44} {'kernel':16} {'target':11} {'registers':>9} {'spills':>6} {'shared':>6}")
    for name, op, args in updates():
        for launch in record(op, *args):
            for label, target in TARGETS.items():
                registers, spills, shared = report(compile_launch(launch, target))
                kernel = launch.kernel.__name__
                print(f"{name:44} {kernel:16} {label:11} {registers:9} {spills:6} {shared:6}")


if __name__ == "__main__":
    main()
