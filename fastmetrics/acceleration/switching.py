"""The switch: torchmetrics is replaced, and comes back without a trace."""

from __future__ import annotations

import contextlib
import copyreg
import importlib
import os
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch.nn import Module

from fastmetrics.acceleration.importing import ImportHook
from fastmetrics.acceleration.replacing import (
    THEIRS,
    Replacement,
    belongs_to,
    is_accelerated,
)
from fastmetrics.core import upstream

__all__ = ["accelerate", "is_accelerated", "restore"]

SWITCH = "FASTMETRICS_ACCELERATE"
_STARTUP = str(Path(__file__).parent / "startup")
_active: Acceleration | None = None


class Acceleration:
    """What :func:`accelerate` changed; leaving it as a context takes all of it back."""

    def __init__(self) -> None:
        self.replacement: Replacement | None = None  # none before torchmetrics is imported
        # Called once torchmetrics is imported and replaced.
        self.then: list[Callable[[Replacement], None]] = []
        self._hook = ImportHook(self._around_import)
        self._environment = {name: os.environ.get(name) for name in (SWITCH, "PYTHONPATH")}
        self._reduce_class: Callable[..., Any] | None = copyreg.dispatch_table.get(ABCMeta)

    @property
    def not_covered(self) -> list[type]:
        """Classes derived from metrics of torchmetrics before: they stay what they are."""
        return [] if self.replacement is None else self.replacement.not_covered()

    def __enter__(self) -> Acceleration:
        return self

    def __exit__(self, *raised: object) -> None:
        if _active is self:
            restore()

    def _begin(self) -> None:
        sys.meta_path.insert(0, self._hook)
        copyreg.pickle(ABCMeta, self._class_for_pickle)
        os.environ[SWITCH] = "1"
        before = self._environment["PYTHONPATH"]
        os.environ["PYTHONPATH"] = os.pathsep.join([_STARTUP, *([before] if before else [])])
        if isinstance(sys.modules.get(THEIRS), ModuleType):
            self._replace()

    def _replace(self) -> None:
        self.replacement = Replacement()
        self.replacement.put()
        upstream.peers.update(self.replacement.peers())
        for theirs in upstream.peers.values():
            # `_class_for_pickle` is asked of ABCs alone.
            if type(theirs) is type and issubclass(theirs, Module):
                copyreg.pickle(theirs, _reduce)
        for each in self.then:
            each(self.replacement)

    @contextlib.contextmanager
    def _around_import(self, module: ModuleType) -> Iterator[None]:
        if self.replacement is not None:
            with self.replacement.left_aside():
                yield
            self.replacement.put_into(module)
        else:
            yield
            if module.__name__ == THEIRS:
                self._replace()

    def _class_for_pickle(self, cls: type) -> Any:
        """Name a class of torchmetrics that its module no longer shows."""
        if self.replacement is not None and id(cls) in self.replacement.ours:
            return original, (cls.__module__, cls.__qualname__)
        return cls.__qualname__

    def _end(self) -> None:
        if self.replacement is not None:
            self.replacement.take_back()
        for theirs in upstream.peers.values():
            copyreg.dispatch_table.pop(theirs, None)
        upstream.peers.clear()
        sys.meta_path.remove(self._hook)
        for name in [name for name in sys.modules if belongs_to(THEIRS, name)]:
            if self._hook.stands_in(sys.modules[name]):
                del sys.modules[name]
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        copyreg.dispatch_table.pop(ABCMeta, None)
        if self._reduce_class is not None:
            copyreg.dispatch_table[ABCMeta] = self._reduce_class


def accelerate() -> Acceleration:
    """Replace torchmetrics' classes and functions by those of this package, in this process.

    It does not matter whether torchmetrics was imported before, or names of it by any module:
    from now on they are ours, wherever this package has them. Metrics that exist, and classes that
    were derived before, stay torchmetrics'. Child processes do the same, however they are
    started. Where torchmetrics is not installed, ``import torchmetrics`` gives this package.

    Returns:
        What was changed, as a context: leaving it calls :func:`restore`.

    Example:
        >>> import fastmetrics
        >>> with fastmetrics.accelerate():
        ...     from torchmetrics.classification import BinaryAccuracy
        ...     fastmetrics.is_accelerated(BinaryAccuracy)
        True
    """
    global _active
    if _active is None:
        _active = Acceleration()
        _active._begin()
    return _active


def restore() -> None:
    """Take back what :func:`accelerate` changed; metrics that were made meanwhile stay ours.

    Raises:
        RuntimeError: nothing is accelerated.

    Example:
        >>> import fastmetrics
        >>> acceleration = fastmetrics.accelerate()
        >>> fastmetrics.restore()
    """
    global _active
    if _active is None:
        raise RuntimeError(
            "`restore` takes back what `fastmetrics.accelerate()` did, which was not called, or is"
            " taken back already."
        )
    _active._end()
    _active = None


def _reduce(value: Module) -> Any:
    """Reduce an object to the name of its class, which pickle would not find under that."""
    cls = type(value)
    return _new, (cls.__module__, cls.__qualname__), value.__reduce_ex__(2)[2]


def _new(module: str, name: str) -> Any:
    cls = original(module, name)
    return cls.__new__(cls)


def original(module: str, name: str) -> Any:
    """Return a class of torchmetrics, whether it is replaced or not."""
    found = getattr(importlib.import_module(module), name)
    if _active is not None and _active.replacement is not None:
        return _active.replacement.theirs.get(id(found), found)
    return found
