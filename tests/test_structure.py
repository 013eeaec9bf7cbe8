"""Every op has all of its parts; whoever adds an op is told what is missing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import fastmetrics
from fastmetrics import ops
from fastmetrics.ops import library
from tests.ops import cases, oracles, test_opcheck

PACKAGE = Path(fastmetrics.__file__).parent
SOURCES = PACKAGE.parent / "csrc"
OPS = sorted(library.REFERENCES)


def functions_of(path: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def is_kernel(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(mark).startswith("triton.jit") for mark in function.decorator_list)


def reached_from(name: str, functions: dict[str, ast.FunctionDef]) -> set[str]:
    """The functions of one module that `name` mentions, directly or through others."""
    found, waiting = set(), [name]
    while waiting:
        function = functions[waiting.pop()]
        if function.name not in found:
            found.add(function.name)
            names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
            waiting.extend(names & functions.keys())
    return found


def has_kernel(op: str, key: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"fastmetrics::{op}", key)


@pytest.mark.smoke
def test_every_op_of_the_namespace_is_declared_once_in_python():
    found = {
        name.removeprefix("fastmetrics::").split(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("fastmetrics::")
    }
    assert found == set(OPS)
    assert set(ops.__all__) == set(OPS)


@pytest.mark.smoke
@pytest.mark.parametrize("op", OPS)
def test_schema(op):
    """The name ends in `_`; state and events come first and are all that changes."""
    schema = getattr(torch.ops.fastmetrics, op).default._schema
    assert op.endswith("_")
    names = [argument.name for argument in schema.arguments]
    assert names[:5] == ["state", "events", "preds", "target", "weight"]
    written = [a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write]
    assert written == ["state", "events"]
    assert not schema.returns


@pytest.mark.smoke
@pytest.mark.parametrize("op", OPS)
def test_reference(op):
    assert has_kernel(op, "CompositeExplicitAutograd")
    reference = library.REFERENCES[op]
    assert reference.__name__ == f"{op}reference"
    assert reference.__module__.startswith("fastmetrics.ops.")


@pytest.mark.smoke
@pytest.mark.parametrize("op", OPS)
def test_fake(op):
    """A fake of our own is registered: it refuses what the check refuses."""
    assert torch._library.simple_registry.singleton.find(f"fastmetrics::{op}").fake_impl.kernel


@pytest.mark.parametrize("op", OPS)
def test_cpu_kernel(op, native):
    assert has_kernel(op, "CPU")
    family = library.REFERENCES[op].__module__.rsplit(".", 1)[-1]
    if SOURCES.is_dir():  # an installed package comes without sources
        assert f'"{op}"' in (SOURCES / f"{family}.cpp").read_text(encoding="utf-8")


@pytest.mark.smoke
@pytest.mark.parametrize("op", OPS)
def test_triton_kernel(op):
    """A launcher with the arguments of the op that leads to a kernel; read, not imported."""
    folder = PACKAGE / "ops" / "triton"
    family = library.REFERENCES[op].__module__.rsplit(".", 1)[-1]
    functions = functions_of(folder / f"{family}.py")
    assert op in functions, f"no launcher for {op} in {family}.py"
    names = [argument.arg for argument in functions[op].args.args]
    schema = getattr(torch.ops.fastmetrics, op).default._schema
    assert names == [argument.name for argument in schema.arguments]
    assert any(is_kernel(functions[name]) for name in reached_from(op, functions))
    exports = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    assert op in {
        alias.name
        for node in exports.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.smoke
@pytest.mark.parametrize("op", OPS)
def test_rows_of_the_tests(op):
    """An oracle, and inputs with and without weights for opcheck and the parity tests."""
    assert callable(getattr(oracles, op.rstrip("_"), None)), f"no oracle for {op}"
    assert op in cases.ROWS, f"no rows for {op} in tests/ops/cases.py"
    rows = cases.rows(op)
    assert any(call.weight is not None for call in rows)
    assert any(call.weight is None for call in rows)
    if "groups" in rows[0].options:
        assert any(call.options["groups"] is not None for call in rows)
    traced = rows[:: test_opcheck.TRACED_EVERY]
    assert {call.op for call in traced} == {op}


@pytest.mark.smoke
@pytest.mark.parametrize("op", cases.ROWS)
def test_parity_of_every_row(op):
    for call in cases.rows(op):
        cases.check(call)
