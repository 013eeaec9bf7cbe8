"""What a package shows of its modules: each name stands in one list, `__all__` of its module."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any


def exported(package: str) -> list[str]:
    """Return ``__all__`` for a package that begins with ``from package.module import *``.

    Static tools find the names without it: they follow the imports.
    """
    here = vars(sys.modules[package])
    modules = [
        module
        for name, module in sys.modules.items()
        if name.rpartition(".")[0] == package and not name.startswith(f"{package}._")
    ]
    return sorted({name for module in modules for name in module.__all__ if name in here})


def lazy_names(
    package: str,
    modules: Iterable[str],
    own: Iterable[str] = (),
    shows: Callable[[str], bool] = lambda name: True,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package whose modules load at their first use.

    All submodules are attributes of the package, and so is what some of them export. These are
    searched in the order of ``modules``, except that those that are loaded come first.

    Args:
        package: ``__name__`` of the package.
        modules: those whose names the package shows.
        own: what ``__all__`` of the package names besides.
        shows: whether the package shows a name that one of the modules exports.
    """
    modules = [f"{package}.{module}" for module in modules]

    def names_of(module: str) -> list[str]:
        return [name for name in importlib.import_module(module).__all__ if shows(name)]

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            return sorted({*own, *(each for module in modules for each in names_of(module))})
        if not name.startswith("_"):
            if find_spec(f"{package}.{name}"):
                return importlib.import_module(f"{package}.{name}")
            for module in sorted(modules, key=lambda module: module not in sys.modules):
                if name in names_of(module):
                    value = getattr(sys.modules[module], name)
                    setattr(sys.modules[package], name, value)
                    return value
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        here = sys.modules[package]
        submodules = (found.name for found in pkgutil.iter_modules(here.__path__))
        return sorted({*vars(here), "__all__", *here.__all__, *submodules})

    return __getattr__, __dir__
