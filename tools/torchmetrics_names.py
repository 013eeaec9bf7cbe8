"""Write what follows from the names of torchmetrics; run it when a name becomes native.

``python -m tools.torchmetrics_names`` writes ``docs/coverage.md`` and the stubs, which tell type
checkers what packages show beside their own names. ``--list`` writes
``fastmetrics/torchmetrics_names.txt`` before, from the sources of the installed torchmetrics.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from types import ModuleType

import fastmetrics
from fastmetrics.config import Covered
from fastmetrics.utilities.fallback import TORCHMETRICS_VERSION, homes, names, upstream_names

ROOT = Path(__file__).parents[1]
LIST = ROOT / "fastmetrics" / "torchmetrics_names.txt"
PAGE = ROOT / "docs" / "coverage.md"
# Whose functions packages use.
LAZY = "fastmetrics.utilities.lazy"
# Packages that show names of torchmetrics beside their own.
MIXED = ("fastmetrics", "fastmetrics.functional", "fastmetrics.wrappers")


def upstream_sources() -> Path:
    spec = find_spec("torchmetrics")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a module, under whatever condition: optional packages decide about some names."""
    for statement in body:
        if isinstance(statement, ast.If):
            if ast.unparse(statement.test) != "TYPE_CHECKING":
                yield from statements(statement.body)
            yield from statements(statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from statements(statement.body)
        else:
            yield statement


def names_in(source: str, is_package: bool) -> set[str]:
    """The names that a module defines or gives; of a package, also those that it shows."""
    found: set[str] = set()
    for statement in statements(ast.parse(source).body):
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found.add(statement.name)
        elif isinstance(statement, ast.Assign):
            found.update(target.id for target in statement.targets if isinstance(target, ast.Name))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found.add(statement.target.id)
        elif isinstance(statement, ast.ImportFrom) and is_theirs(statement):
            shown = [alias for alias in statement.names if is_package or alias.asname]
            found.update(alias.asname or alias.name for alias in shown)
    return {name for name in found if not name.startswith("__") and name != "*"}


def is_theirs(statement: ast.ImportFrom) -> bool:
    return f"{statement.module}.".startswith("torchmetrics.")


def listed() -> str:
    """The text of the list, a line for each module: ``module: name name``."""
    lines = []
    folder = upstream_sources()
    for path in folder.rglob("*.py"):
        is_package = path.stem == "__init__"
        parts = path.relative_to(folder).with_suffix("").parts[: -1 if is_package else None]
        if not any(part.startswith("__") for part in parts):
            found = names_in(path.read_text(encoding="utf-8"), is_package)
            lines.append(f"{'.'.join(parts)}: {' '.join(sorted(found))}".rstrip())
    return "\n".join(sorted(lines)) + "\n"


def page() -> str:
    """The text of docs/coverage.md."""
    table = fastmetrics.coverage()
    native = sum(row.native for row in table)
    lines = [HEAD.format(native=native, total=len(table), version=TORCHMETRICS_VERSION)]
    for package, rows in groupby(sorted(table, key=package_of), package_of):
        lines += rows_of(package, [*rows])
    return "\n".join(lines) + "\n"


HEAD = """\
# What of torchmetrics is native

{native} of the {total} public names of torchmetrics {version} are native. The others are found in
the installed torchmetrics, at the same path, with one `FallbackWarning` each;
`FASTMETRICS_STRICT=1` or `fastmetrics.strict()` makes them errors. `fastmetrics.coverage()` returns
this table, and `python -m tools.torchmetrics_names` writes it here.

| Package | Native | Not native yet | Why |
|---|---|---|---|"""


def package_of(row: Covered) -> str:
    parts = row.name.split(".")[:-1]
    return ".".join(parts[: 2 if parts[:1] == ["functional"] else 1])


def rows_of(package: str, rows: list[Covered]) -> Iterator[str]:
    title = f"`{package}`"
    native = f"{sum(row.native for row in rows)} of {len(rows)}"
    missing = [row for row in rows if not row.native]
    if not missing:
        yield f"| {title} | {native} | | |"
    for why, others in groupby(sorted(missing, key=lambda row: row.why), lambda row: row.why):
        names = ", ".join(f"`{row.name.removeprefix(f'{package}.')}`" for row in others)
        yield f"| {title} | {native} | {names} | {why} |"
        title = native = ""


def stub(package: str) -> str:
    """The stub of a package: each name that it shows at run time, and where it comes from."""
    module = importlib.import_module(package)
    found = native_names(module)
    lines = [f'"""{inspect.getdoc(module)}"""', "", "# Written by tools/torchmetrics_names.py.", ""]
    lines += [
        f"from {found.get(name) or upstream_home(package, name)} import {name} as {name}"
        for name in sorted({*found, *upstream_names(package)})
    ]
    return "\n".join(lines) + "\n"


def upstream_home(package: str, name: str) -> str:
    """The module from which type checkers see a name of torchmetrics."""
    path = package.partition(".")[2]
    if not path or f"{path}.{name}" in names():
        return package.replace("fastmetrics", "torchmetrics", 1)
    return f"torchmetrics.{homes()[name][0]}"


def native_names(package: ModuleType) -> dict[str, str]:
    """The native names of a package, each with the module that it comes from."""
    found = {}
    for name in dir(package):
        value = getattr(package, name, None)
        home = "" if inspect.ismodule(value) else getattr(value, "__module__", None) or ""
        if not name.startswith("_") and home.startswith("fastmetrics.") and home != LAZY:
            found[name] = home
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            found.setdefault(module.name, package.__name__)
    return found | ({"__version__": "fastmetrics.config"} if package is fastmetrics else {})


def files() -> dict[Path, str]:
    """What is written, and the text."""
    warnings.simplefilter("ignore", fastmetrics.FallbackWarning)
    stubs = {}
    for package in MIXED:
        module = importlib.import_module(package)
        assert module.__file__ is not None
        stubs[Path(module.__file__).with_suffix(".pyi")] = stub(package)
    return {PAGE: page(), **stubs}


if __name__ == "__main__":
    if "--list" in sys.argv:
        LIST.write_text(listed(), encoding="utf-8")
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
