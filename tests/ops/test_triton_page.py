"""The page about the kernels lists all of them, as the compiler sees them."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from pathlib import Path

import pytest

if importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("needs triton, and its compiler", allow_module_level=True)

from fastmetrics.ops import triton
from tests.ops.test_triton_compile import MOST_SHARED, MOST_SPILLED
from tools import aot

FOLDER = Path(triton.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text(encoding="utf-8")
KERNELS = aot.distinct_launches()


def launched() -> set[tuple[str, str]]:
    """Module and name of whatever the host side launches."""
    found = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "launch":
                found.add((path.stem, ast.unparse(node.args[0])))
    return found


def rows() -> dict[tuple[str, str], list[str]]:
    cells = [line.strip("| \n").split(" | ") for line in PAGE.splitlines() if "| `" in line]
    return {(row[0].strip("`"), row[1].strip("`")): row[2:] for row in cells}


def test_every_kernel_is_listed():
    assert launched() == rows().keys()
    assert len(launched()) > 25


def test_the_table_is_that_of_the_updates():
    counted = {aot.names_of(kernel): len(launches) for kernel, launches in KERNELS.items()}
    assert {name: int(row[0]) for name, row in rows().items()} == counted


def test_every_kernel_says_what_it_must_move():
    for kernel in KERNELS:
        line = f"* `{aot.names_of(kernel)[1]}`: {aot.bytes_to_move(kernel)}"
        assert line in PAGE.splitlines()


def test_few_registers_are_spilled():
    for row in rows().values():
        for cell in row[1:]:
            registers, spills, shared = (re.findall(r"\d+", part) for part in cell.split(", "))
            assert int(registers[0]) > 0
            assert int(spills[-1]) <= MOST_SPILLED
            assert int(shared[-1]) <= MOST_SHARED


def check(kernel, target):
    place = [*aot.TARGETS].index(target)
    cell = aot.range_of(KERNELS[kernel], aot.TARGETS[target])
    assert rows()[aot.names_of(kernel)][1 + place] == cell


@pytest.mark.parametrize("target", aot.TARGETS)
def test_figures_are_those_of_the_compiler(target):
    check(next(kernel for kernel in KERNELS if kernel.fn.__name__ == "add_totals"), target)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: ".".join(aot.names_of(kernel)))
def test_all_figures_are_those_of_the_compiler(kernel):
    check(kernel, "cuda:90")
