"""What a package shows of its modules: each name stands in one list, `__all__` of its module."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from fastmetrics.utilities.fallback import (
    Package,
    found_before,
    names_of_others,
    upstream_exports,
    upstream_names,
)


def exported(package: str) -> list[str]:
    """Return ``__all__`` for a package that begins with ``from package.module import *``.

    Static tools find the names without it: they follow the imports.
    """
    here = vars(sys.modules[package])
    exports = [vars(module).get("__all__", ()) for module in _loaded_modules(package).values()]
    return sorted({name for names in exports for name in names if name in here})


def _loaded_modules(package: str) -> dict[str, ModuleType]:
    prefix = f"{package}."
    start = len(prefix)
    return {
        name: module
        for name, module in sys.modules.items()  # thousands, so no call for each
        if name[:start] == prefix and name[start] != "_" and "." not in name[start:]
    }


def names_beside(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package whose modules are loaded with it.

    They add what torchmetrics shows there and is not native, also to the modules of the package.
    """
    sys.modules[package].__class__ = Package
    for name, module in _loaded_modules(package).items():
        vars(module).setdefault("__getattr__", names_of_others(name))
    find = names_of_others(package)

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            return sorted({*exported(package), *upstream_exports(package)})
        return find(name)

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), "__all__", *upstream_names(package)})

    return __getattr__, __dir__


def lazy_names(
    package: str,
    modules: Iterable[str],
    own: Iterable[str] = (),
    shows: Callable[[str], bool] = lambda name: True,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package whose modules load at their first use.

    All submodules are attributes of the package, and so is what some of them export. These are
    searched in the order of ``modules``, except that those that are loaded come first. What is not
    native comes last.

    Args:
        package: ``__name__`` of the package.
        modules: those whose names the package shows.
        own: what ``__all__`` of the package names besides.
        shows: whether the package shows a name that one of the modules exports.
    """
    modules = [f"{package}.{module}" for module in modules]

    def names_of(module: str) -> list[str]:
        return [name for name in importlib.import_module(module).__all__ if shows(name)]

    def native_names() -> set[str]:
        return {*own, *(name for module in modules for name in names_of(module))}

    find = names_of_others(package)

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            return sorted(native_names() | upstream_exports(package))
        value = found_before(package, name)
        if value is not None:
            return value
        if not name.startswith("_"):
            if find_spec(f"{package}.{name}"):
                return importlib.import_module(f"{package}.{name}")
            for module in sorted(modules, key=lambda module: module not in sys.modules):
                if name in names_of(module):
                    value = getattr(sys.modules[module], name)
                    setattr(sys.modules[package], name, value)
                    return value
        return find(name)

    def __dir__() -> list[str]:
        here = sys.modules[package]
        submodules = (found.name for found in pkgutil.iter_modules(here.__path__))
        shown = native_names() | upstream_names(package)
        return sorted({*vars(here), "__all__", *shown, *submodules})

    return __getattr__, __dir__
