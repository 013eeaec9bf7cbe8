"""Compile the GPU kernels without a GPU, and report what they cost.

``python -m tools.aot`` compiles the launches of the calls in `tests/gpu/cases.py`, for each target,
and prints registers, spills and shared memory; with ``--table`` it prints the page
``docs/kernels.md`` instead, and ``--refresh`` brings the rows of some kernels on it up to date. A
spilled register is a round trip to memory in the inner loop, so none is the rule.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import pkgutil
import re
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import triton
from torch import Tensor
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource, make_backend

from fastmetrics.ops import triton as kernels
from fastmetrics.ops.backend import launcher_of
from fastmetrics.ops.define import WITHOUT_TRITON
from fastmetrics.ops.triton.replay import Launch
from tests.gpu.cases import CASES, arithmetic_of, left_to_reference

# Whatever module launches kernels.
KERNEL_MODULES = [
    module
    for found in pkgutil.iter_modules(kernels.__path__, f"{kernels.__name__}.")
    if hasattr(module := importlib.import_module(found.name), "launch")
]

PAGE = Path(__file__).parents[1] / "docs" / "kernels.md"

TARGETS = {
    "cuda:80": GPUTarget("cuda", 80, 32),
    "cuda:90": GPUTarget("cuda", 90, 32),
    "cuda:100": GPUTarget("cuda", 100, 32),
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
        launches.append(Launch(kernel, grid, values, config))

    with contextlib.ExitStack() as stack:
        for module in KERNEL_MODULES:
            stack.enter_context(mock.patch.object(module, "launch", launch))
        launcher_of(op)(*args)
    return launches


def record_case(name: str, op: str, args: Any) -> list[Launch]:
    """Return the launches of a call of `tests/gpu/cases.py`, in the arithmetic of its name."""
    with arithmetic_of(name):
        return record(op, *args)


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
    options = backend.parse_options(_options(launch, target))
    functions = backend.get_codegen_implementation(options)
    return source.make_ir(target, options, functions, backend.get_module_map(), context)


def compile_launch(launch: Launch, target: GPUTarget) -> Any:
    """Compile one launch as the just-in-time compiler would for the same arguments."""
    return triton.compile(_source(launch), target=target, options=_options(launch, target))


def _options(launch: Launch, target: GPUTarget) -> dict[str, Any]:
    names = {"num_warps": "num_warps"}
    if target.backend == "cuda":
        names["registers"] = "maxnreg"
    return {names[key]: value for key, value in launch.config.items() if key in names}


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
    assembler = get_ptxas(int(re.sub(r"\D", "", found[1]))).path
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command = [assembler, "-v", f"--gpu-name={found[1]}", str(source), "-o", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    spills = _number(r"(\d+) bytes spill stores", done.stderr)
    spills += _number(r"(\d+) bytes spill loads", done.stderr)
    return _number(r"Used (\d+) registers", done.stderr), spills


def updates() -> dict[str, tuple[str, list[Any]]]:
    """Return, by name, the op and the arguments of each call in `tests/gpu/cases.py`, on ``meta``.

    Those are made by what `tests/ops` knows of each op, so that a new one needs nothing here.
    """
    return {
        name: (op, [on_meta(value) for value in args])
        for name, (op, args) in CASES.items()
        if op not in WITHOUT_TRITON and not left_to_reference(op, args)
    }


def on_meta(value: Any) -> Any:
    """Return a value with its tensors without memory, in the same layout."""
    if isinstance(value, list):
        return [on_meta(item) for item in value]
    if isinstance(value, Tensor):
        layout = {"dtype": value.dtype, "device": "meta"}
        return torch.empty_strided(value.shape, value.stride(), **layout)
    return value


def main() -> None:
    """Print a line for each launch and target, or the page about the kernels."""
    parser = argparse.ArgumentParser("python -m tools.aot")
    parser.add_argument("ops", nargs="*", help="only these; all by default")
    parser.add_argument("--table", action="store_true", help="print docs/kernels.md")
    parser.add_argument(
        "--refresh", nargs="+", help="write docs/kernels.md, only these kernels anew"
    )
    given = parser.parse_args()
    if given.table:
        print(page(), end="")
        return
    if given.refresh:
        PAGE.write_text(page(given.refresh), encoding="utf-8")
        return
    print(f"{'update':44} {'kernel':16} {'target':11} {'registers':>9} {'spills':>6} {'shared':>6}")
    for name, (op, args) in updates().items():
        for launch in record_case(name, op, args) if op in given.ops or not given.ops else ():
            for label, target in TARGETS.items():
                registers, spills, shared = report(compile_launch(launch, target))
                kernel = launch.kernel.__name__
                print(f"{name:44} {kernel:16} {label:11} {registers:9} {spills:6} {shared:6}")


def distinct_launches() -> dict[Any, list[Launch]]:
    """Return the launches of all updates that compile apart, by kernel."""
    launches = {
        signature(launch): launch
        for name, (op, args) in updates().items()
        for launch in record_case(name, op, args)
    }
    kernels_of: dict[Any, list[Launch]] = {}
    for launch in launches.values():
        kernels_of.setdefault(launch.kernel, []).append(launch)
    return kernels_of


def page(anew: Collection[str] | None = None) -> str:
    """Return ``docs/kernels.md``: what the kernels take of a GPU, and what they must move.

    Rows of kernels that are not among those to look at ``anew`` stay as they are on the page.
    """
    kept = [] if anew is None else PAGE.read_text(encoding="utf-8").splitlines()
    found = sorted(distinct_launches().items(), key=lambda item: names_of(item[0]))
    lines = [_INTRODUCTION.format(version=triton.__version__)]
    lines.append("| module | kernel | variants | " + " | ".join(TARGETS) + " |")
    lines.append("|---|---|---|" + "---|" * len(TARGETS))
    for kernel, launches in found:
        begin = "| {} | {} |".format(*(f"`{name}`" for name in names_of(kernel)))
        old = [line for line in kept if line.startswith(begin)]
        if anew is not None and names_of(kernel)[1] not in anew and old:
            lines += old
            continue
        cells = [range_of(launches, target) for target in TARGETS.values()]
        lines.append(" | ".join((begin[:-2], str(len(launches)), *cells)) + " |")
    lines.append(_ARITHMETIC)
    # Which uses this module.
    lines += importlib.import_module("tools.traffic").table().splitlines()[1:]
    lines.append("\n## Bytes to move\n")
    lines += [f"* `{names_of(kernel)[1]}`: {bytes_to_move(kernel)}" for kernel, _ in found]
    return "\n".join(lines) + "\n"


_INTRODUCTION = """# GPU kernels

Written by `python -m tools.aot --table` with triton {version}; no GPU is needed.
For each kernel: how many variants the calls in `tests/gpu/cases.py` make of it, and for each target
what they take, from the least to the most: registers per thread, bytes spilled, bytes of shared
memory per program.
"""

_ARITHMETIC = """
## Arithmetic

Sums, and what leads to them, are float64, and added up in an order that follows from the shapes:
the same batch has the same bits every time, and those of the CPU but for the last ones. Counts
and histograms are integers, the same everywhere.

Devices with few units for float64 (compute capabilities 7.5, 8.6, 8.9, 10.3, 12.0 and the like,
RDNA) sum squared and absolute errors and magnitudes of unweighted float32, float16 and bfloat16
numbers by `sum_errors_in_float32`: as pairs of float32 numbers, in which errors and squares are
exact, and which are added up in float64 after 64 blocks. The sums are within 1e-12 of those in
float64, and the same every time. Blocks with an error below 2**-73 or above 2**40, or with NaN,
are worked out in float64. `FASTMETRICS_GPU_ARITHMETIC`, `float64` or `float32`, chooses for all
devices. Other terms, moments, softmax and sigmoid are float64 everywhere.
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
