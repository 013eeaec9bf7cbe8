"""torchmetrics' classes and functions replaced by ours, wherever a loaded module names them.

Only namespaces change: of torchmetrics itself, so that later imports find ours, and of all modules
that imported a name before. Each change is noted, so that all of them can be taken back.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Collection, Iterable, Iterator
from types import ModuleType
from typing import Any

from fastmetrics.collections import MetricCollection
from fastmetrics.metric import Metric

OURS = "fastmetrics"
THEIRS = "torchmetrics"
# Parts of the package whose public names stand in for those at the same path of torchmetrics.
PARTS = (
    "aggregation",
    "classification",
    "collections",
    "detection",
    "functional",
    "metric",
    "regression",
    "segmentation",
    "text",
    "wrappers",
    "utilities.exceptions",
)


def belongs_to(package: str, module: str) -> bool:
    """Whether a module is a package or in it."""
    return module == package or module.startswith(f"{package}.")


def is_accelerated(value: Any) -> bool:
    """Whether a metric, a metric class or a function is one of this package, or built on one.

    Args:
        value: a metric, a collection, a class of those, or a function.

    Example:
        >>> import fastmetrics
        >>> fastmetrics.is_accelerated(fastmetrics.MeanMetric())
        True
    """
    cls = value if isinstance(value, type) else type(value)
    if Metric in cls.__mro__ or MetricCollection in cls.__mro__:
        return True
    if inspect.isfunction(value):
        value = inspect.unwrap(value)  # it may be counted
    return belongs_to(OURS, getattr(value, "__module__", None) or "")


def _modules_of(part: str) -> Iterator[ModuleType]:
    module = importlib.import_module(f"{OURS}.{part}")
    if not hasattr(module, "__path__"):
        yield module
        return
    for found in pkgutil.iter_modules(module.__path__):
        if not found.name.startswith("_"):
            yield from _modules_of(f"{part}.{found.name}")


def _public(module: ModuleType) -> Collection[str]:
    """Return ``__all__``, or the classes of a module that has none."""
    defined = {
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    }
    return getattr(module, "__all__", defined)


def pairs() -> Iterator[tuple[Any, Any]]:
    """Yield each public class and function of torchmetrics for which there is one of ours, and it.

    torchmetrics must be imported, and its names be its own.
    """
    found: dict[str, Any] = {}
    for part in PARTS:
        for ours in _modules_of(part):
            twin = sys.modules.get(THEIRS + ours.__name__[len(OURS) :])
            if twin is None:
                continue
            for name in _public(ours):
                theirs = getattr(twin, name, None)
                if getattr(theirs, "__module__", None) == twin.__name__:
                    found[name] = getattr(ours, name)
                    yield theirs, found[name]
    # At its root, names of some domains are others of the same name, which warn.
    for root in map(sys.modules.get, (THEIRS, f"{THEIRS}.functional")):
        for name in found.keys() & {*getattr(root, "__all__", ())}:
            theirs = getattr(root, name)
            if theirs.__module__.endswith("._deprecated"):
                yield theirs, found[name]


def shown_functions() -> Iterator[tuple[str, Any]]:
    """Yield each function that torchmetrics shows for use, ours or theirs, and its name."""
    root = f"{THEIRS}.functional"
    for path, module in [*sys.modules.items()]:
        if belongs_to(root, path) and hasattr(module, "__path__"):
            for name in getattr(module, "__all__", ()):
                if inspect.isfunction(getattr(module, name, None)):
                    yield name, getattr(module, name)


class Replacement:
    """What stands in for what, and where it was put.

    Attributes:
        ours: by the ``id`` of what it stands in for.
        theirs: by the ``id`` of what stands in for it.
    """

    def __init__(self) -> None:
        found = [*pairs()]
        self.ours: dict[int, Any] = {id(theirs): ours for theirs, ours in found}
        # The class that names itself so, of several that one of ours stands in for.
        self.theirs: dict[int, Any] = {id(ours): theirs for theirs, ours in reversed(found)}
        self._found = found
        self._kept: list[Any] = []  # no other object gets their `id`
        self._changes: list[tuple[ModuleType, str, Any, Any]] = []
        self._loaded_before = {*sys.modules}

    def peers(self) -> dict[type, type]:
        """Return the class of torchmetrics for each of ours that stands in for one."""
        return {ours: self.theirs[id(ours)] for _, ours in self._found if isinstance(ours, type)}

    def put(self) -> None:
        """Replace in all modules that are loaded."""
        for name, module in [*sys.modules.items()]:
            if isinstance(module, ModuleType) and not belongs_to(OURS, name):
                self.put_into(module)

    def put_before(self, others: Iterable[tuple[Any, Any]]) -> None:
        """Put something else where these values stand: pairs of value and what takes its place."""
        for value, other in others:
            places = [key for key, ours in self.ours.items() if ours is value]
            self.ours.update(dict.fromkeys([*places, id(value)], other))
            self.theirs[id(other)] = self.theirs.get(id(value), value)
            self._kept.append(value)
        self.put()

    def put_into(self, module: ModuleType) -> None:
        """Replace in one module; what torchmetrics' derives from there stays what it is."""
        bases = self._bases_in(module) if belongs_to(THEIRS, module.__name__) else ()
        for name, value in [*vars(module).items()]:
            ours = self.ours.get(id(value))
            if ours is not None and id(value) not in bases:
                setattr(module, name, ours)
                self._changes.append((module, name, value, ours))

    def _bases_in(self, module: ModuleType) -> Collection[int]:
        """Return the classes that a module imports for its own: `super` may name them."""
        found = (self.theirs.get(id(value), value) for value in vars(module).values())
        own = [cls for cls in found if getattr(cls, "__module__", None) == module.__name__]
        bases = {base for cls in own if isinstance(cls, type) for base in cls.__mro__}
        return {id(base) for base in bases if base.__module__ != module.__name__}

    @contextlib.contextmanager
    def left_aside(self) -> Iterator[None]:
        """Let modules of torchmetrics that load now build on their own kind."""
        changes = [each for each in self._changes if belongs_to(THEIRS, each[0].__name__)]
        for module, name, theirs, _ in reversed(changes):
            setattr(module, name, theirs)
        try:
            yield
        finally:
            for module, name, _, ours in changes:
                setattr(module, name, ours)

    def take_back(self) -> None:
        """Give every module its own names again; what was assigned to them since stays."""
        for name in sys.modules.keys() - self._loaded_before:
            module = sys.modules.get(name)
            if isinstance(module, ModuleType) and not belongs_to(OURS, name):
                self._changes += self._imported_by(module)
        for module, name, theirs, ours in reversed(self._changes):
            if vars(module).get(name) is ours:
                setattr(module, name, theirs)
        self._changes.clear()

    def _imported_by(self, module: ModuleType) -> Iterator[tuple[ModuleType, str, Any, Any]]:
        """Yield what a module that was loaded meanwhile imported from torchmetrics by name."""
        here = vars(module)
        if not any(id(value) in self.theirs for value in here.values()):
            return
        try:
            tree = ast.parse(inspect.getsource(module))
        except (OSError, TypeError, SyntaxError):  # no source, so no import statement
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and belongs_to(THEIRS, node.module or ""):
                for alias in node.names:
                    name = alias.asname or alias.name
                    theirs = self.theirs.get(id(here.get(name)))
                    if theirs is not None:
                        yield module, name, theirs, here[name]

    def not_covered(self) -> list[type]:
        """Return classes that were derived from torchmetrics' before, outside of torchmetrics."""
        found: dict[type, None] = {}
        waiting: list[type] = [theirs for theirs, _ in self._found if isinstance(theirs, type)]
        while waiting:
            derived: list[type] = waiting.pop().__subclasses__()
            for cls in derived:
                waiting.append(cls)
                if not belongs_to(THEIRS, cls.__module__) and not belongs_to(OURS, cls.__module__):
                    found[cls] = None
        return [*found]
