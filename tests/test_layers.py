"""Modules import what docs/architecture.md allows, and every module has its place there."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastmetrics

PACKAGE = Path(fastmetrics.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
# A path that user code knows for what lives elsewhere.
HANDED_ON = {("utilities.distributed", "distributed")}
# The root shows what the domains export.
ROOT = ""

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="an installed package has no docs")


def parts_in(text: str) -> list[str]:
    return re.findall(r"`([a-z_.]+)`", text)


def rules_of(page: str) -> dict[str, list[str]]:
    """What each part may import besides itself."""
    table = page.split("| May import |\n", 1)[1].split("\n\n", 1)[0]
    rules = {}
    for line in table.splitlines()[1:]:
        _, parts, _, allowed, _ = line.split("|")
        rules.update(dict.fromkeys(parts_in(parts), parts_in(allowed)))
    return rules


def imports_of(node: ast.AST) -> Iterator[str]:
    """The names that are imported when this runs, also in its functions."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for other in node.orelse:
            yield from imports_of(other)
    else:
        for child in ast.iter_child_nodes(node):
            yield from imports_of(child)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def module_of(imported: str) -> str:
    """The module that an import loads: ``a.b`` of ``from a.b import name``."""
    name = imported.removeprefix("fastmetrics").lstrip(".")
    while name not in SOURCES:
        name = name.rpartition(".")[0]
    return name


def own_imports(source: str) -> set[str]:
    found = imports_of(ast.parse(source))
    return {module_of(name) for name in found if name.split(".")[0] == "fastmetrics"}


def part_of(module: str, parts: list[str]) -> str | None:
    """The innermost part that holds a module."""
    holding = [part for part in parts if f"{module}.".startswith(f"{part}.")]
    return max(holding, key=len, default=None)


def is_allowed(importer: str, imported: str, rules: dict[str, list[str]]) -> bool:
    part = part_of(importer, [*rules])
    assert part is not None
    allowed = [part, *rules[part]]
    return part_of(imported, allowed) is not None or (importer, imported) in HANDED_ON


@pytest.fixture(scope="module")
def rules() -> dict[str, list[str]]:
    return rules_of(PAGE.read_text(encoding="utf-8"))


def test_the_table_is_read(rules):
    assert rules["functional"][0] == "ops"
    assert not rules["utilities"]
    assert {part for row in rules.values() for part in row} <= rules.keys()


def test_every_module_has_a_place(rules):
    modules = SOURCES.keys() - {ROOT}
    assert not [module for module in modules if part_of(module, [*rules]) is None]


def test_imports_keep_to_the_table(rules):
    wrong = [
        f"{module} imports {imported}"
        for module, path in SOURCES.items()
        if module != ROOT
        for imported in own_imports(path.read_text(encoding="utf-8"))
        if not is_allowed(module, imported, rules)
    ]
    assert not wrong


def test_imports_make_no_circle():
    """Not even those inside of functions; packages, which import their modules, are left out."""
    packages = {name for name, path in SOURCES.items() if path.stem == "__init__"}
    graph = {
        module: own_imports(path.read_text(encoding="utf-8")) - packages
        for module, path in SOURCES.items()
        if module not in packages
    }
    graphlib.TopologicalSorter(graph).prepare()
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({**graph, "core.operators": {"metric"}}).prepare()


@pytest.mark.parametrize(
    ("importer", "source", "fine"),
    [
        ("ops.hinge", "from fastmetrics.core.states import States", True),
        ("ops.hinge", "from fastmetrics.metric import Metric", False),
        ("ops.hinge", "from fastmetrics import metric", False),
        ("ops.hinge", "def late():\n    import fastmetrics.functional", False),
        ("functional.regression.mse", "from fastmetrics.core.statistic import count", True),
        ("functional.regression.mse", "from fastmetrics.core.statistic_metric import x", False),
        ("classification.hinge", "from fastmetrics.regression import mse", False),
        ("core.statistic_metric", "from fastmetrics.core.states import States", True),
        ("core.states", "from fastmetrics.core.statistic_metric import x", False),
        ("utilities.distributed", "from fastmetrics.distributed import x", True),
        ("utilities.data", "from fastmetrics.distributed import x", False),
    ],
)
def test_what_is_allowed(importer, source, fine, rules):
    (imported,) = own_imports(source)
    assert is_allowed(importer, imported, rules) is fine


def test_what_only_type_checkers_read_is_left_out():
    source = (
        "if TYPE_CHECKING:\n    import fastmetrics.metric\nelse:\n    import fastmetrics.config"
    )
    assert own_imports(source) == {"config"}


def test_kernels_are_loaded_by_name():
    """With an import statement triton would be needed where there is no GPU."""
    inside = "ops.triton"
    users = [
        module
        for module, path in SOURCES.items()
        if part_of(module, [inside]) is None
        and any(part_of(name, [inside]) for name in own_imports(path.read_text(encoding="utf-8")))
    ]
    assert not users


def test_only_torch_is_needed():
    """What is imported outside of functions, and not for type checkers alone."""
    allowed = {*sys.stdlib_module_names, "fastmetrics", "torch", "typing_extensions"}
    for module, path in SOURCES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]:
            function.body = [ast.Pass()]
        needed = {name.split(".")[0] for name in imports_of(tree)}
        extra = {"triton"} if part_of(module, ["ops.triton"]) else set()
        assert needed <= allowed | extra, module
