"""How a function of a regular family is declared: its arguments once per family, its name here.

A family writes one ``Protocol`` for each list of arguments, and one maker that closes over the
formula, for example ``binary(name, formula, ...) -> BinaryFunction``. What the maker returns is a
plain function: editors, ``help``, ``inspect.signature``, type checkers and pickle see it as such.
"""

from __future__ import annotations

import functools
import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor
from torch.compiler import is_dynamo_compiling

F = TypeVar("F", bound=Callable[..., Any])

# The value of a batch: of preds, target and weight.
Value = Callable[[Tensor, Tensor, Tensor | None], Tensor]

_BATCH = ("preds", "target", "weight")

# How many lists of arguments each function remembers.
_REMEMBERED = 128


def planned(
    signature: inspect.Signature, name: str, plan: Callable[[dict[str, Any]], Value]
) -> Callable[..., Tensor]:
    """Return a function of a batch that looks at its other arguments once, when they are new.

    Args:
        signature: preds, target, other arguments, and weight.
        name: of the function, for errors.
        plan: checks the other arguments, given by name, and returns what values a batch.
    """
    others = [p for p in signature.parameters.values() if p.name not in _BATCH]
    positional = [p.name for p in others if p.kind is p.POSITIONAL_OR_KEYWORD]
    defaults = {p.name: p.default for p in others if p.default is not p.empty}
    names = frozenset(p.name for p in others)

    def look_at(*args: Any, **options: Any) -> Value:
        given = {**dict(zip(positional, args, strict=False)), **options}
        arguments = {**defaults, **given}
        if len(given) < len(args) + len(options) or arguments.keys() != names:
            try:
                signature.bind(None, None, *args, **options)
            except TypeError as error:
                raise TypeError(f"{name}() {error}") from None
        return plan(arguments)

    # Typed: True is no number of classes, though it equals 1.
    remembered = functools.lru_cache(_REMEMBERED, typed=True)(look_at)

    def function(
        preds: Tensor, target: Tensor, *args: Any, weight: Tensor | None = None, **options: Any
    ) -> Tensor:
        if is_dynamo_compiling():
            value = look_at(*args, **options)
        else:
            try:
                value = remembered(*args, **options)
            except TypeError:  # also of what has no hash
                value = look_at(*args, **options)
        return value(preds, target, weight)

    function.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect` shows
    function.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    function.__annotations__["return"] = signature.return_annotation
    return function


def declared(
    function: F, name: str, summary: str, *, arguments: str = "", example: str, depth: int = 1
) -> F:
    """Return ``function`` with its public name and docstring.

    The function belongs to the module that calls the maker and assigns the result to ``name``.

    Args:
        function: a function that nobody else holds.
        name: under which it is public.
        summary: what it computes; the formula and what it is where that is undefined.
        arguments: shapes, ranges and errors, which the family has in common.
        example: lines of a session, the name imported.
        depth: how many calls lead from that module to this one: 1 if the maker itself calls this.
    """
    home = sys._getframe(depth + 1).f_globals["__name__"]
    function.__name__ = function.__qualname__ = name
    function.__module__ = home
    package = home.rpartition(".")[0]
    session = (
        f">>> import torch\n>>> from {package} import {name}\n{textwrap.dedent(example).strip()}"
    )
    parts = (inspect.cleandoc(summary), textwrap.dedent(arguments).strip(), session)
    function.__doc__ = "\n\n".join(part for part in parts if part)
    return function
