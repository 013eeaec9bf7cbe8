"""Every op has all of its parts; whoever adds an op is told what is missing."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
import torch

import fastmetrics
from fastmetrics import ops
from fastmetrics.ops.define import COMPUTE_OPS, REFERENCES, WITHOUT_TRITON
from tests.ops import laws


def arguments_of(op: str) -> list[str]:
    schema = getattr(torch.ops.fastmetrics, op).default._schema
    return [argument.name for argument in schema.arguments]


PACKAGE = Path(fastmetrics.__file__).parent
SOURCES = PACKAGE.parent / "csrc"
OPS = sorted(REFERENCES)
UPDATE_OPS = sorted(REFERENCES.keys() - COMPUTE_OPS)
TRITON_OPS = sorted(REFERENCES.keys() - WITHOUT_TRITON)
# Runs the kernels of other families.
WITHOUT_OWN_KERNEL = {"fused_"}


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
    importlib.import_module("fastmetrics.ops.kept_scores")  # its hook of compiled regions
    found = {
        name.removeprefix("fastmetrics::").split(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("fastmetrics::")
    }
    assert found == {*OPS, "append_", "append_rows_"}  # which count nothing
    assert {name for name in vars(ops) if name.endswith("_") and name[0] != "_"} == set(OPS)


@pytest.mark.smoke
@pytest.mark.parametrize("op", OPS)
def test_schema(op):
    """The name ends in `_`, the first argument changes in place, and nothing is returned."""
    schema = getattr(torch.ops.fastmetrics, op).default._schema
    assert op.endswith("_")
    written = [a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write]
    assert written[0] == schema.arguments[0].name
    assert not schema.returns


@pytest.mark.smoke
@pytest.mark.parametrize("op", UPDATE_OPS)
def test_schema_of_updates(op):
    """State, then events if the op keeps any, then the data."""
    names = arguments_of(op)
    assert names[0] in ("state", "states")
    assert [name for name in names if name in ("state", "events", "preds", "target")] == [
        name for name in ("state", "events", "preds", "target") if name in names
    ]


@pytest.mark.smoke
@pytest.mark.parametrize("op", OPS)
def test_reference(op):
    assert has_kernel(op, "CompositeExplicitAutograd")
    reference = REFERENCES[op]
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
    family = REFERENCES[op].__module__.rsplit(".", 1)[-1]
    if SOURCES.is_dir():  # an installed package comes without sources
        assert f'"{op}"' in (SOURCES / f"{family}.cpp").read_text(encoding="utf-8")


@pytest.mark.smoke
@pytest.mark.parametrize("op", TRITON_OPS)
def test_triton_kernel(op):
    """A launcher with the arguments of the op that leads to a kernel; read, not imported."""
    folder = PACKAGE / "ops" / "triton"
    family = REFERENCES[op].__module__.rsplit(".", 1)[-1]
    functions = functions_of(folder / f"{family}.py")
    assert op in functions, f"no launcher for {op} in {family}.py"
    names = [argument.arg for argument in functions[op].args.args]
    assert names == arguments_of(op)
    reached = reached_from(op, functions)
    assert op in WITHOUT_OWN_KERNEL or any(is_kernel(functions[name]) for name in reached)


@pytest.mark.smoke
@pytest.mark.parametrize("op", OPS)
def test_laws_of_the_tests(op):
    """A family tells calls and an oracle of its ops, so that no law forgets them."""
    tested = laws.every_op()[op]
    samples = [*laws.samples(tested)]
    assert {call.op for call in samples} == {op}
    written = set(laws.written_by(op))
    for call in samples[:3]:
        assert tested.oracle(call).after.keys() == written, f"an oracle of {op} for all it writes"
    names = [name for name in arguments_of(op) if not isinstance(samples[0][name], float)]
    if "weight" in names:
        assert "weight" in tested.dtypes, f"`dtypes` of {op} for its weights"
        assert {call["weight"] is None for call in samples} == {True, False}
    if "groups" in names:
        assert any(call["groups"] is not None for call in samples)
    # Where whole calls are made, its `odd` gives all kinds of inputs.
    inputs = {"preds", "target", "value", "scores", "tensors"} & set(names if tested.shapes else ())
    assert inputs <= set(tested.batch) and inputs <= {*tested.layouts, "target"}
    assert not inputs or (tested.dtypes and tested.many)
    if "validate" in names:
        assert "target" in tested.labels, f"`labels` of {op}, which checks values"
    assert tested.good is not None
    assert op == "fused_" or tested.refusals(), f"what {op} refuses"


def test_families_of_the_tests():
    """The tests of a family stand under its name, and say nothing of others."""
    for op, tested in laws.every_op().items():
        family = REFERENCES[op].__module__.rsplit(".", 1)[-1]
        assert tested.make.__module__ == f"tests.ops.{family}"


def test_no_constant_is_defined_twice():
    """Of two inline variables of one name the linker keeps one, whatever their values."""
    constant = re.compile(r"^inline constexpr .*?\b(k\w+)(?= =|\[|\{)", re.MULTILINE)
    names = [
        name
        for path in sorted(SOURCES.iterdir())
        for name in constant.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(names) > 20
    assert sorted(names) == sorted({*names})
