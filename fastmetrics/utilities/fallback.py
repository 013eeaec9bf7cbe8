"""Names of torchmetrics that are not native here: which there are, and where they lead.

``torchmetrics_names.txt`` lists the modules of torchmetrics and the names that each defines; for
packages, those that they show. No other name leads to torchmetrics, and nothing of it is imported
before one is asked for. A module that is not native is a stand-in for theirs. A name that is not
native is looked up at each use, so that :func:`strict` takes effect at once.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import FrameType, ModuleType
from typing import Any

# Whose names these are.
TORCHMETRICS_VERSION = "1.9.0"

_OURS = __name__.partition(".")[0]
_THEIRS = "torchmetrics"
# What private names of theirs do, on plain tensors; it is loaded when one is asked for.
_HELPERS = f"{_OURS}.core.helpers"

_strict: bool | None = None
_told: set[str] = set()
_found: dict[tuple[str, str], Any] = {}


class FallbackWarning(UserWarning):
    """A name is torchmetrics' own: it works as it does there, and is not compiled.

    >>> import warnings, fastmetrics
    >>> warnings.filterwarnings("ignore", category=fastmetrics.FallbackWarning)
    """


def strict(on: bool = True) -> None:
    """Refuse names that are not native with an ``ImportError``, or allow them again.

    Until it is called, the environment variable ``FASTMETRICS_STRICT=1`` decides.

    >>> import fastmetrics
    >>> fastmetrics.strict()
    >>> fastmetrics.image.TotalVariation  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ImportError: `fastmetrics.image...` is not native...
    >>> fastmetrics.strict(False)
    """
    global _strict
    _strict = on


def is_strict() -> bool:
    """Whether names that are not native are refused."""
    if _strict is None:
        return os.environ.get("FASTMETRICS_STRICT", "0") not in ("", "0")
    return _strict


def is_available() -> bool:
    """Whether names that are not native can be used."""
    try:
        spec = None if is_strict() else find_spec(_THEIRS)
        return spec is not None and spec.origin is not None  # what has none stands for us
    except ImportError:  # somebody hides it
        return False


@functools.cache
def names() -> dict[str, frozenset[str]]:
    """Return the names in each module of torchmetrics, by its path there; the root is ``""``."""
    text = (pkgutil.get_data(_OURS, "torchmetrics_names.txt") or b"").decode()
    lines = [line.partition(":") for line in text.splitlines()]
    return {module: frozenset(listed.split()) for module, _, listed in lines}


@functools.cache
def packages() -> frozenset[str]:
    """Return the modules of torchmetrics that hold others."""
    return frozenset(map(_parent, names()))


@functools.cache
def homes() -> dict[str, list[str]]:
    """Return the modules of torchmetrics that define each name."""
    found: dict[str, list[str]] = {}
    for module in sorted(names().keys() - packages()):
        for name in names()[module]:
            found.setdefault(name, []).append(module)
    return found


def upstream_names(package: str) -> set[str]:
    """Return the public names and modules that torchmetrics has in one of our packages.

    Empty where those that are not native cannot be used.
    """
    if not is_available():
        return set()
    path = _path(package)
    modules = {
        module.rpartition(".")[2] for module in names() if module and _parent(module) == path
    }
    return {name for name in modules | names().get(path, set()) if not name.startswith("_")}


def upstream_exports(package: str) -> set[str]:
    """Return what ``from torchmetrics... import *`` brings, which torchmetrics itself must say.

    Empty where names that are not native cannot be used.
    """
    path = _path(package)
    return set(_theirs(path).__all__) if is_available() and path in names() else set()


@functools.cache
def public_names() -> dict[str, list[str]]:
    """Return each public name of torchmetrics where users find it, with the modules defining it.

    That is the package around the module, if it shows the name; the root shows what others do.
    """
    found: dict[str, list[str]] = {}
    for name, modules in homes().items():
        for home in modules:
            if not any(part.startswith("_") for part in (*home.split("."), name)):
                shown = _parent(home) and name in names()[_parent(home)]
                found.setdefault(_join(_parent(home) if shown else home, name), []).append(home)
    return found


def hides_module(path: str, name: str) -> bool:
    """Whether a package of torchmetrics shows a function or class under the name of its module."""
    shown = name in names().get(path, ()) and name in homes()
    return shown and _join(path, name) in names()


class Package(ModuleType):
    """A package in which no import puts a module in the place of a function of its name."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign; the import of a module does so, too, in the package around it."""
        if not (isinstance(value, ModuleType) and hides_module(_path(self.__name__), name)):
            super().__setattr__(name, value)


def native(path: str) -> ModuleType | None:
    """Return our module of a path, or None if it is none of ours."""
    module = sys.modules[_OURS]
    for part in path.split("."):
        name = f"{module.__name__}.{part}"
        if PathFinder.find_spec(name, getattr(module, "__path__", [])) is None:
            return None
        module = importlib.import_module(name)
    return module


def native_value(path: str, name: str) -> Any:
    """Return what we have under a name of torchmetrics' module, or None."""
    for home in dict.fromkeys([path, *homes().get(name, ())]):
        module = native(home) if home else None
        if module is not None and name in vars(module):
            return vars(module)[name]
    return importlib.import_module(_HELPERS).find(path, name)


def lookup(module: str, name: str) -> Any:
    """Return what torchmetrics has under a name that a native module lacks, ours if there is one.

    Raises:
        AttributeError: torchmetrics has no such name there.
        ImportError: it is not native, and torchmetrics is not installed or `strict` refuses it.
    """
    path = _path(module)
    if _join(path, name) in names() and not hides_module(path, name):
        return importlib.import_module(f"{module}.{name}")
    if name in names().get(path, ()) or _is_handed_on(path, name):
        value = native_value(path, name)
        return _value_of(module, name, _theirs(path, name)) if value is None else value
    raise _missing(module, name)


def _is_handed_on(path: str, name: str) -> bool:
    """Whether their module shows what it imports from another one; only itself knows."""
    known = name in homes() and path in names() and path not in packages()
    return known and is_available() and hasattr(_theirs(path, name), name)


def names_of_others(module: str) -> Callable[[str], Any]:
    """Return ``__getattr__`` for a native module: it finds the names that are not native."""

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):
            raise _missing(module, name)
        value = found_before(module, name)
        return lookup(module, name) if value is None else value

    return __getattr__


def found_before(module: str, name: str) -> Any:
    """Return what torchmetrics gave for a name, unless nothing yet or no longer allowed."""
    value = _found.get((module, name))
    return None if value is None or is_strict() else value


def _missing(module: str, name: str) -> AttributeError:
    return AttributeError(f"module {module!r} has no attribute {name!r}")


def _value_of(module: str, name: str, theirs: ModuleType) -> Any:
    """Return a value of their module under a name of ours, and say whose it is."""
    try:
        value = getattr(theirs, name)
    except AttributeError:  # for example, because a package that it needs is not installed
        raise _missing(module, name) from None
    if isinstance(value, ModuleType) and _join(_path(module), name) in names():
        return importlib.import_module(f"{module}.{name}")
    if getattr(value, "__module__", _THEIRS).partition(".")[0] == _THEIRS:
        _tell(f"{module}.{name}")
        _found[module, name] = value
    return value


def _tell(name: str) -> None:
    if name in _told:
        return
    warnings.warn(
        f"`{name}` is not native yet: it is torchmetrics' own and runs uncompiled. To silence this:"
        " warnings.filterwarnings('ignore', category=fastmetrics.FallbackWarning).",
        FallbackWarning,
        stacklevel=_level_of_user(),
    )
    _told.add(name)


def _level_of_user() -> int:
    """How far up the first line outside of this package is; `warnings` skips importlib itself."""
    level = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        level += package != "importlib"
        if package not in (_OURS, "importlib"):
            break
        frame = frame.f_back
    return level


def _theirs(path: str, name: str = "") -> ModuleType:
    """Return a module of torchmetrics; ``name`` is what is wanted of it."""
    wanted = _join(_OURS, path, name)
    if is_strict():
        why = "fallbacks are refused, by FASTMETRICS_STRICT=1 or `fastmetrics.strict()`"
    else:
        why = "torchmetrics is not installed"
        try:
            found = importlib.import_module(_join(_THEIRS, path))
            if type(found).__module__.partition(".")[0] != _OURS:  # it may stand for us
                return found
        except ModuleNotFoundError as error:
            if error.name != _THEIRS:
                raise
    raise ImportError(
        f"`{wanted}` is not native, and {why}. It is found in torchmetrics: pip install"
        f" '{_THEIRS}=={TORCHMETRICS_VERSION}'.",
        name=wanted,
    )


def _parent(module: str) -> str:
    return module.rpartition(".")[0]


def _path(module: str) -> str:
    return module.partition(".")[2]


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


class _StandIn(Package):
    """A module that stands for one of torchmetrics."""

    def __getattr__(self, name: str) -> Any:
        value = found_before(self.__name__, name)
        if value is not None:
            return value
        path = _path(self.__name__)
        theirs = sys.modules.get(_join(_THEIRS, path))
        is_special = name.startswith("__") and name != "__all__"
        if is_special or theirs is None or not hasattr(theirs, name):
            raise _missing(self.__name__, name)
        if name == "__all__":
            return theirs.__all__
        found = None if isinstance(getattr(theirs, name), ModuleType) else native_value(path, name)
        return _value_of(self.__name__, name, _theirs(path, name)) if found is None else found

    def __dir__(self) -> list[str]:
        return dir(sys.modules[_join(_THEIRS, _path(self.__name__))])


class _Loader(Loader):
    """Makes stand-ins."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        theirs = _theirs(_path(module.__name__))
        module.__doc__ = theirs.__doc__
        module.__file__ = theirs.__file__


class _Finder(MetaPathFinder):
    """Finds what is a module of torchmetrics and none of ours; it is asked last."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, module = fullname.partition(".")
        if package != _OURS or not module or module not in names():
            return None
        return ModuleSpec(fullname, _Loader(), is_package=module in packages())


sys.meta_path.append(_Finder())
