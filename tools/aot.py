"""Compile the GPU kernels without a GPU, and report what they cost.

``python -m tools.aot`` compiles the launches that typical updates make, for each
target, and prints registers, spills and shared memory; with ``--table`` it prints the page
``docs/kernels.md`` instead. A spilled register is a round trip to memory in the inner loop, so none
is the rule.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import itertools
import pkgutil
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
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend

from fastmetrics.ops import error_sums as terms_of
from fastmetrics.ops import triton as kernels
from fastmetrics.ops.aggregate import DROP, FILL, KEEP, MAX, MIN, SUM
from fastmetrics.ops.backend import launcher_of

# Whatever module launches kernels.
KERNEL_MODULES = [
    module
    for found in pkgutil.iter_modules(kernels.__path__, f"{kernels.__name__}.")
    if hasattr(module := importlib.import_module(found.name), "launch")
]

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
        for module in KERNEL_MODULES:
            stack.enter_context(mock.patch.object(module, "launch", launch))
        launcher_of(op)(*args)
    return launches


def signature(launch: Launch) -> tuple[Any, ...]:
    """All that the compiler knows of a launch: equal ones share one compiled kernel."""
    source = _source(launch)
    known = (source.signature, source.constants, source.attrs, launch.config.get("num_warps"))
    return (launch.kernel, *map(repr, known))


def translate(launch: Launch, target: GPUTarget) -> Any:
    """Translate one launch into Triton's own language of instructions, the first step of many."""
    source = _source(launch)
    backend = make_backend(target)
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    options = backend.parse_options(_options(launch))
    functions = backend.get_codegen_implementation(options)
    return source.make_ir(target, options, functions, backend.get_module_map(), context)


def compile_launch(launch: Launch, target: GPUTarget) -> Any:
    """Compile one launch as the just-in-time compiler would for the same arguments."""
    return triton.compile(_source(launch), target=target, options=_options(launch))


def _options(launch: Launch) -> dict[str, Any]:
    return {"num_warps": launch.config["num_warps"]} if "num_warps" in launch.config else {}


def _source(launch: Launch) -> ASTSource:
    kernel, names = launch.kernel, launch.kernel.arg_names
    values = dict(zip(names, launch.args, strict=False)) | launch.config
    unspecialised = set(kernel.do_not_specialize)
    types: dict[str, Any] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for index, name in enumerate(names):
        fixed = kernel.params[index].is_constexpr
        special = name not in unspecialised
        types[name] = _describe(values[name], (index,), fixed, special, constants, attributes)
    return ASTSource(kernel, types, constants, attributes)


def _describe(
    value: Any,
    path: tuple[int, ...],
    fixed: bool,
    special: bool,
    constants: dict[tuple[int, ...], Any],
    attributes: dict[tuple[int, ...], Any],
) -> Any:
    """Type of one argument, noting constants and multiples of 16 as the launcher does."""
    if isinstance(value, tuple) and not fixed:
        items = [
            _describe(item, (*path, index), fixed, True, constants, attributes)
            for index, item in enumerate(value)
        ]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
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


def meta(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    """Return a tensor without memory."""
    return torch.empty(shape, dtype=dtype, device="meta")


def updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates: name, op, arguments."""
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
    yield from image_updates()
    yield from kept_updates()
    yield from calibration_updates()
    yield from hinge_updates()
    yield from ranking_updates()
    yield from error_updates()
    yield from moment_updates()
    yield from aggregate_updates()
    yield from row_updates()
    yield from tensor_updates()


def histogram_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of score histograms."""
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


def image_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of histograms over the images of scores."""
    for task, classes, dtype, half in (
        ("binary", 1, torch.float32, False),
        ("binary", 1, torch.float64, False),
        ("binary", 1, torch.float16, True),
        ("multilabel", 20, torch.bfloat16, False),
        ("multiclass", 10, torch.float32, False),
        ("multiclass", 100, torch.float16, True),
    ):
        multiclass = task == "multiclass"
        shape = (4096,) if task == "binary" else (4096, classes)
        scores, target = meta(*shape, dtype=dtype), meta(*(4096,) if multiclass else shape)
        name = f"{task} images [N, {classes}] {str(dtype)[6:]}"
        cells, tail = (1 + multiclass, classes, 2, 65536), (half, multiclass, False, -1, True)
        inputs, weight = (meta(3), scores, target), meta(4096, dtype=torch.float32)
        yield name, "score_image_histogram_", (meta(*cells), *inputs, None, *tail)
        sums = meta(*cells, dtype=torch.float64)
        yield f"{name} weighted", "score_image_histogram_", (sums, *inputs, weight, *tail)


def kept_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of kept scores."""
    for name, shape, columns, dtype in (
        ("binary", (4096,), 1, torch.float32),
        ("binary", (4096,), 1, torch.bfloat16),
        ("multilabel", (4096, 20), 20, torch.float32),
        ("multiclass", (4096, 10), 10, torch.float32),
        ("multiclass", (4096, 1000), 1000, torch.float64),
        ("multiclass", (4, 21, 256, 256), 21, torch.float32),
    ):
        multiclass = name == "multiclass"
        scores = meta(*shape, dtype=dtype)
        target = meta(shape[0], *shape[2:]) if multiclass else meta(*shape)
        small = torch.int32 if multiclass and columns > 255 else torch.uint8
        labels = meta(2**20, dtype=small) if multiclass else meta(2**20, columns, dtype=small)
        state, weights = meta(2**20, columns, dtype=dtype), meta(2**20, dtype=torch.float64)
        weight = meta(shape[0], dtype=torch.float32)
        name = f"kept {name} {list(shape)} {str(dtype)[6:]}"
        inputs, tail = (state, meta(3), scores, target), (4096, multiclass, -1, True)
        yield name, "keep_scores_", (*inputs, None, labels, None, *tail)
        yield f"{name} weights", "keep_scores_", (*inputs, weight, labels, weights, *tail)


def calibration_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of calibration bins; all are sums of floats, so two launches each."""
    events, rows = meta(3, dtype=torch.int64), 4096
    for classes, dtype, bins in (
        (0, torch.float32, 16),
        (0, torch.float64, 16),
        (0, torch.float32, 1001),
        (10, torch.bfloat16, 16),
        (100, torch.float32, 16),
        (1000, torch.float64, 16),
        (100_000, torch.float32, 16),
    ):
        scores = meta(*((rows, classes) if classes else (rows,)), dtype=dtype)
        target, weight = meta(rows, dtype=torch.int64), meta(rows, dtype=torch.float32)
        name = f"calibration [N, {classes}] {str(dtype)[6:]} B={bins}"
        tail = (meta(2, bins, dtype=torch.float64), classes, False, -1, True)
        state = meta(2, bins, 3, dtype=torch.float64)
        op = "calibration_bins_"
        yield f"{name} folded", op, (state, events, scores, target, None, *tail)
        yield f"{name} weighted", op, (state, events, scores, target, weight, *tail)


def hinge_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of hinge losses."""
    op, events, rows = "hinge_sums_", meta(3), 4096
    weight = meta(rows, dtype=torch.float32)
    for dtype in (torch.float32, torch.float64):
        sums, target = meta(2, 2, dtype=torch.float64), meta(rows)
        name = f"hinge binary {str(dtype)[6:]}"
        tail = (meta(rows, dtype=dtype), target, False, False, False)
        yield name, op, (sums, events, *tail, None, None, True)
        for classes in (2, 10, 100, 1000, 100_000):
            tail = (meta(rows, classes, dtype=dtype), target, True, False, False)
            name = f"hinge [N, {classes}] {str(dtype)[6:]}"
            yield name, op, (sums, events, *tail, None, None, True)
            each = meta(2, classes + 1, dtype=torch.float64)
            yield f"{name} one-vs-all", op, (each, events, *tail, weight, -1, True)


def ranking_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of label ranks."""
    op, events, rows = "ranking_sums_", meta(3), 4096
    sums, weight = meta(4, dtype=torch.float64), meta(rows, dtype=torch.float32)
    for dtype in (torch.float32, torch.float64):
        for labels in (2, 10, 100, 1000, 10_000):
            scores, target = meta(rows, labels, dtype=dtype), meta(rows, labels)
            name = f"ranking [N, {labels}] {str(dtype)[6:]}"
            yield name, op, (sums, events, scores, target, 7, None, None, True)
            yield f"{name} coverage", op, (sums, events, scores, target, 1, weight, -1, True)


def computes() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Ops that run once in ``compute``: name, op, arguments."""
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        scores = torch.empty(4096, 3, dtype=dtype, device="meta")
        areas = torch.empty(3, 4, dtype=torch.float64, device="meta")
        labels = torch.empty(4096, 3, dtype=torch.uint8, device="meta")
        arguments = (areas, [scores], [labels], False, False)
        yield f"curve areas [N, 3] {str(dtype)[6:]}", "curve_areas_", arguments


def error_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of error sums."""
    op, rows = "error_sums_", 4096
    tail: tuple[Any, ...]
    for name, terms, power in (
        ("squared", 1, 0.0),
        ("absolute and magnitude", 34, 0.0),
        ("logarithmic", 4 + 64, 0.0),
        ("power", 128, 0.0),
        ("Poisson deviance", 256, 1.0),
        ("Tweedie deviance", 256, 1.5),
        ("all", terms_of.ALL_TERMS, 3.0),
    ):
        for outputs in (1, 10):
            shape = (rows,) if outputs == 1 else (rows, outputs)
            sums = meta(outputs, terms_of.num_columns(terms), dtype=torch.float64)
            tail = (
                meta(*shape, dtype=torch.float32),
                meta(*shape, dtype=torch.float32),
                None,
                terms,
                2.5,
                power,
            )
            yield f"{name} errors [N, {outputs}]", op, (sums, *tail)
    sums = meta(1, 2, dtype=torch.float64)
    tail = (
        meta(rows, dtype=torch.bfloat16),
        meta(rows, dtype=torch.int64),
        meta(rows, dtype=torch.float32),
        1,
        1.0,
        0.0,
    )
    yield "weighted errors", op, (sums, *tail)


def moment_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of co-moments."""
    weight = meta(4096, dtype=torch.float32)
    for outputs in (1, 10, 1000):
        shape = (4096,) if outputs == 1 else (4096, outputs)
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            pair = (meta(*shape, dtype=dtype), meta(*shape, dtype=dtype))
            name = f"co-moments [N, {outputs}] {str(dtype)[6:]}"
            yield name, "co_moments_", (meta(outputs, 12, dtype=torch.float64), *pair, None)
        yield (
            f"{name} weighted",
            "co_moments_",
            (meta(outputs, 12, dtype=torch.float64), *pair, weight),
        )
    yield (
        "merge co-moments",
        "merge_co_moments_",
        (meta(10, 12, dtype=torch.float64), meta(4, 10, 12, dtype=torch.float64)),
    )


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


def tensor_updates() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Typical updates of tensor statistics; one tensor each, since tensors are launched apart."""
    state = meta(1, 8, dtype=torch.float64)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for size, parts in ((64, ""), (1_000_000, " in parts")):
            tensor = meta(size, 8, dtype=dtype)
            for suffix, layout in (("", tensor), (" strided", tensor[:, ::2])):
                name = f"tensor statistics {str(dtype)[6:]}{parts}{suffix}"
                yield name, "tensor_stats_", (state, [layout])


def main() -> None:
    """Print a line for each launch and target, or the page about the kernels."""
    parser = argparse.ArgumentParser("python -m tools.aot")
    parser.add_argument("--table", action="store_true", help="print docs/kernels.md")
    if parser.parse_args().table:
        print(page(), end="")
        return
    print(f"{'update':44} {'kernel':16} {'target':11} {'registers':>9} {'spills':>6} {'shared':>6}")
    for name, op, args in itertools.chain(updates(), computes()):
        for launch in record(op, *args):
            for label, target in TARGETS.items():
                registers, spills, shared = report(compile_launch(launch, target))
                kernel = launch.kernel.__name__
                print(f"{name:44} {kernel:16} {label:11} {registers:9} {spills:6} {shared:6}")


def distinct_launches() -> dict[Any, list[Launch]]:
    """Return the launches of all updates and computations that compile apart, by kernel."""
    launches = {
        signature(launch): launch
        for _, op, args in itertools.chain(updates(), computes())
        for launch in record(op, *args)
    }
    kernels_of: dict[Any, list[Launch]] = {}
    for launch in launches.values():
        kernels_of.setdefault(launch.kernel, []).append(launch)
    return kernels_of


def page() -> str:
    """Return ``docs/kernels.md``: what the kernels take of a GPU, and what they must move."""
    found = sorted(distinct_launches().items(), key=lambda item: names_of(item[0]))
    lines = [_INTRODUCTION.format(version=triton.__version__)]
    lines.append("| module | kernel | variants | " + " | ".join(TARGETS) + " |")
    lines.append("|---|---|---|" + "---|" * len(TARGETS))
    for kernel, launches in found:
        cells = [range_of(launches, target) for target in TARGETS.values()]
        row = [*(f"`{name}`" for name in names_of(kernel)), str(len(launches)), *cells]
        lines.append("| " + " | ".join(row) + " |")
    lines.append("\n## Bytes to move\n")
    lines += [f"* `{names_of(kernel)[1]}`: {bytes_to_move(kernel)}" for kernel, _ in found]
    return "\n".join(lines) + "\n"


_INTRODUCTION = """# GPU kernels

Written by `python -m tools.aot --table` with triton {version}; no GPU is needed.
For each kernel: how many variants the updates in `tools/aot.py` make of it, and for each target
what they take, from the least to the most: registers per thread, bytes spilled, bytes of shared
memory per program.
"""


def names_of(kernel: Any) -> tuple[str, str]:
    """Return the names of the module and of the kernel."""
    return kernel.fn.__module__.rsplit(".", 1)[-1], kernel.fn.__name__


def range_of(launches: list[Launch], target: GPUTarget) -> str:
    """Return the least and the most registers, spilled bytes and shared bytes of some launches."""
    reports = [report(compile_launch(launch, target)) for launch in launches]
    return ", ".join(
        str(min(column)) if min(column) == max(column) else f"{min(column)} to {max(column)}"
        for column in zip(*reports, strict=True)
    )


def bytes_to_move(kernel: Any) -> str:
    """Return what a kernel's docstring says it must move."""
    text = inspect.getdoc(kernel.fn) or ""
    found = re.search(r"Bytes to move[^:]*:\s.*?(?=\n\n|\Z)", text, re.DOTALL)
    if found is None:
        raise RuntimeError(f"The docstring of {kernel.fn.__name__} does not say what it must move.")
    return " ".join(found[0].removeprefix("Bytes to move").replace("``", "`").split()).lstrip(": ")


if __name__ == "__main__":
    main()
