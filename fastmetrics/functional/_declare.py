"""How a function of a regular family is declared: its arguments once per family, its name here.

A family writes one ``Protocol`` for each list of arguments, and one maker that closes over the
formula, for example ``binary(name, formula, ...) -> BinaryFunction``. What the maker returns is a
plain function: editors, ``help``, ``inspect.signature``, type checkers and pickle see it as such.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def declared(function: F, name: str, summary: str, *, arguments: str = "", example: str) -> F:
    """Return ``function`` with its public name and docstring.

    To be called by the maker itself: the function belongs to the module that calls the maker and
    assigns the result to ``name``.

    Args:
        function: a function that nobody else holds.
        name: under which it is public.
        summary: what it computes; the formula and what it is where that is undefined.
        arguments: shapes, ranges and errors, which the family has in common.
        example: lines of a session, the name imported.
    """
    home = sys._getframe(2).f_globals["__name__"]
    function.__name__ = function.__qualname__ = name
    function.__module__ = home
    package = home.rpartition(".")[0]
    session = (
        f">>> import torch\n>>> from {package} import {name}\n{textwrap.dedent(example).strip()}"
    )
    parts = (inspect.cleandoc(summary), textwrap.dedent(arguments).strip(), session)
    function.__doc__ = "\n\n".join(part for part in parts if part)
    return function
