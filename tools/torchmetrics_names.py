"""Write what follows from the names of torchmetrics: the list of them, the stubs, and the page.

``python -m tools.torchmetrics_names`` reads the sources of the installed torchmetrics and writes
``fastmetrics/torchmetrics_names.txt``. With ``--pages`` it writes ``docs/coverage.md`` and
the stubs of the packages that show names of torchmetrics beside their own.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "fastmetrics" / "torchmetrics_names.txt"


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


def is_theirs(statement: ast.ImportFrom) -> bool:
    return f"{statement.module}.".startswith("torchmetrics.")


def names_in(source: str, shows: bool) -> set[str]:
    """The names that a module defines, and those that it imports from its package if it `shows`."""
    found: set[str] = set()
    for statement in statements(ast.parse(source).body):
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found.add(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = (
                [statement.target] if isinstance(statement, ast.AnnAssign) else statement.targets
            )
            found.update(target.id for target in targets if isinstance(target, ast.Name))
        elif shows and isinstance(statement, ast.ImportFrom) and is_theirs(statement):
            found.update(alias.asname or alias.name for alias in statement.names)
    return {name for name in found if not name.startswith("__") and name != "*"}


def listed() -> str:
    """The text of the list: a line for each module, ``module: name name``."""
    lines = []
    folder = upstream_sources()
    for path in sorted(folder.rglob("*.py")):
        parts = [
            part for part in path.relative_to(folder).with_suffix("").parts if part != "__init__"
        ]
        if any(part.startswith("__") for part in parts):
            continue
        names = names_in(path.read_text(encoding="utf-8"), shows=path.stem == "__init__")
        lines.append(f"{'.'.join(parts)}: {' '.join(sorted(names))}".rstrip())
    return "\n".join(sorted(lines)) + "\n"


if __name__ == "__main__":
    LIST.write_text(listed(), encoding="utf-8")
    print(f"wrote {LIST.relative_to(ROOT)}", file=sys.stderr)
