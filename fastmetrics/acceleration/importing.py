"""Notices that torchmetrics is imported; stands in for it where it is not installed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from typing_extensions import override

from fastmetrics.acceleration.replacing import OURS, THEIRS, belongs_to
from fastmetrics.utilities.fallback import TORCHMETRICS_VERSION as VERSION
from fastmetrics.utilities.fallback import Package


class ImportHook(MetaPathFinder):
    """Calls back around every import of a module of torchmetrics.

    Attributes:
        around: gives the context in which a module is run; what it yields to is told the module.
    """

    def __init__(self, around: Callable[[ModuleType], contextlib.AbstractContextManager[None]]):
        self.around = around

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not belongs_to(THEIRS, fullname):
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Around(spec.loader, self.around)
                return spec
        spec = _stand_in(fullname)
        if spec is not None:
            spec.loader = _Around(spec.loader, self.around)
        return spec

    @staticmethod
    def stands_in(module: ModuleType) -> bool:
        """Whether a module is ours under torchmetrics' name."""
        return isinstance(module, _StandIn)

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterator[Distribution]:
        """Find a distribution of torchmetrics where this package stands in for it."""
        asked = context is not None and context.name == THEIRS
        if asked and isinstance(sys.modules.get(THEIRS), _StandIn):
            yield _StandInDistribution()


class _Around(Loader):
    """Loads as another loader does, which the module names as its own."""

    def __init__(self, loader: Any, around: Callable[..., Any]) -> None:
        self.loader, self.around = loader, around

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None  # the import system has set it
        spec.loader = module.__loader__ = self.loader
        with self.around(module):
            self.loader.exec_module(module)


class _StandIn(Package):
    """A module under torchmetrics' name that shows what ours of the same path does."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(OURS + self.__name__[len(THEIRS) :]), name)

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(OURS + self.__name__[len(THEIRS) :]))


class _StandInLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        ours = importlib.import_module(OURS + module.__name__[len(THEIRS) :])
        if hasattr(ours, "__path__"):
            module.__path__ = []
        if module.__name__ == THEIRS:
            module.__version__ = VERSION  # type: ignore[attr-defined]  # modules take any


class _StandInDistribution(Distribution):
    def read_text(self, filename: str) -> str | None:
        return f"Name: {THEIRS}\nVersion: {VERSION}\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        return Path(__file__).parent / path


def _stand_in(fullname: str) -> ModuleSpec | None:
    try:
        found = importlib.util.find_spec(OURS + fullname[len(THEIRS) :])
    except ImportError:
        return None
    return None if found is None else ModuleSpec(fullname, _StandInLoader(), is_package=True)
