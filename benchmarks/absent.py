"""What another commit lacks, while its package runs the workloads of this folder.

Workloads name modules and functions of today's package. Where the package is an older one, a name
that it does not know stands for an :class:`Absent`, of which anything can be asked while the
workloads are listed; a workload that calls it when it runs fails, and is reported as missing there.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

PACKAGE = "fastmetrics"


class Absent:
    """A module, class, function or value that this package does not have."""

    running = False

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> "Absent":
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{self._name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> "Absent":
        if Absent.running:
            raise LookupError(f"this commit has no {self._name}")
        return Absent(f"{self._name}()")


class _Loader(importlib.abc.Loader):
    """Loads a module as another loader does, or an empty one, that answers for what it lacks."""

    def __init__(self, loader: importlib.abc.Loader | None) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec) if self.loader else None

    def exec_module(self, module: ModuleType) -> None:
        if self.loader:
            self.loader.exec_module(module)
        else:
            module.__dict__["__all__"] = []
        _answer(module)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds all modules of the package, those that there are and others."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != PACKAGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None and not name.rpartition(".")[2].islower():  # a class, for which it is asked
            return None
        if spec is None:
            return importlib.machinery.ModuleSpec(name, _Loader(None), is_package=True)
        if name.rpartition(".")[2].startswith("_") or spec.loader is None:
            return spec
        spec.loader = _Loader(spec.loader)
        return spec


def allow() -> None:
    """Let modules of the package, which is imported, and names in them be absent from now on."""
    sys.meta_path.insert(0, _Finder())
    for name, module in [*sys.modules.items()]:
        if name.partition(".")[0] == PACKAGE:
            _answer(module)


def _answer(module: ModuleType) -> None:
    known = module.__dict__.get("__getattr__")

    def answer(name: str) -> Any:
        if known is not None:
            try:
                return known(name)
            except AttributeError:
                pass
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{module.__name__}.{name}")

    module.__dict__["__getattr__"] = answer
