"""TorchScript: what holds metrics can be compiled, and nothing of a metric is.

``torch.jit.script`` asks each module which of its properties and attributes to leave alone. For
metrics the answer is all of them: they ride along as Python objects, and what is saved of one is an
empty module.
"""

from __future__ import annotations

from typing import Any

from torch.jit import unused
from torch.nn import Module


class _AllProperties:
    """The names of the properties of a class."""

    def __get__(self, module: Module | None, owner: type[Module]) -> list[str]:
        members = (member for base in owner.__mro__ for member in vars(base).items())
        return [name for name, value in members if isinstance(value, property)]


class _AllAttributes:
    """The names of the attributes of a module, but those that every module has."""

    def __get__(self, module: Module | None, owner: type[Module]) -> list[str]:
        if module is None:
            return []
        usual = vars(Module())
        own = vars(module).items()
        return [
            name
            for name, value in own
            # A scripted module takes no Python module under a name of its own.
            if name not in usual and not isinstance(value, Module)
        ]


class Unscripted(Module):
    """A module that torch.jit.script takes along without compiling anything of it."""

    __jit_unused_properties__ = _AllProperties()
    __jit_ignored_attributes__ = _AllAttributes()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls) and not hasattr(cls.forward, "_torchscript_modifier"):
            unused(cls.forward)
