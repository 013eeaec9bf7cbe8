"""How a function of a regular family is declared: its arguments once per family, its name here.

A family writes one ``Protocol`` for each list of arguments, and one maker that closes over the
formula, for example ``binary(name, formula, ...) -> BinaryFunction``. A function whose arguments no
other has is a signature with its purpose, and a decorator gives it the rest. Both make a plain
function: editors, ``help``, ``inspect.signature``, type checkers and pickle see it as such.

All look at their arguments by :func:`planned`, once for each list of arguments.
"""

from __future__ import annotations

import functools
import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, count
from fastmetrics.functional._public import public
from fastmetrics.utilities.data import makes_plain_tensors

F = TypeVar("F", bound=Callable[..., Any])

# What values a batch: of preds, target and weight.
Value = Callable[[Tensor, Tensor, Tensor | None], Any]
# Reads a value off the states that a statistic has filled.
Read = Callable[[Any, States], Any]
# Values preds and target in less time than by their states; None where it cannot.
Shortcut = Callable[[Tensor, Tensor], Any]

_BATCH = ("preds", "target", "weight")

# How many lists of arguments each function remembers.
_REMEMBERED = 128


class _NotToBeKept(TypeError):
    """Of a plan that another call must not get."""


def planned(
    signature: inspect.Signature, name: str, plan: Callable[[dict[str, Any]], Value]
) -> Callable[..., Any]:
    """Return a function of a batch that looks at its other arguments once, when they are new.

    Tensors among them are looked at in each call, since their values may have changed.

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
    @functools.lru_cache(_REMEMBERED, typed=True)
    def remembered(*args: Any, **options: Any) -> Value:
        tensors = any(isinstance(x, Tensor) for x in (*args, *options.values()))
        if tensors or not makes_plain_tensors():
            raise _NotToBeKept
        with torch.inference_mode(False):  # what is kept serves outside of it, too
            return look_at(*args, **options)

    def function(
        preds: Tensor, target: Tensor, *args: Any, weight: Tensor | None = None, **options: Any
    ) -> Any:
        # Others than plain tensors, of fake modes for example, do not go with what was kept.
        if is_dynamo_compiling() or type(preds) is not Tensor:
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


def counted(
    owner: str, statistic: Statistic, read: Read, shortcut: Shortcut | None = None
) -> Value:
    """Return what counts a batch and reads the value off its states; for the function ``owner``."""
    if type(statistic).to is Statistic.to:  # without tensors, which are on one device

        def value(preds: Tensor, target: Tensor, weight: Tensor | None) -> Any:
            if shortcut is not None and weight is None and not is_dynamo_compiling():
                found = shortcut(preds, target)
                if found is not None:
                    return found
            return read(statistic, count(statistic, owner, preds, target, weight))

        return value

    moved: dict[torch.device, Statistic] = {}

    def value_on_its_device(preds: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        device = target.device
        here = moved.get(device)
        if here is None:
            here = statistic.to(device)
            if not is_dynamo_compiling():
                moved[device] = here
        return read(here, count(here, owner, preds, target, weight))

    return value_on_its_device


def valued_by(plan: Callable[[dict[str, Any]], Value]) -> Callable[[F], F]:
    """Give a function its body: the value of one batch. Its own body is its purpose.

    Args:
        plan: checks the arguments other than the batch, and returns what values a batch.
    """

    def decorate(declaration: F) -> F:
        function = planned(inspect.signature(declaration), declaration.__name__, plan)
        return cast(F, public(functools.update_wrapper(function, declaration)))

    return decorate


def planned_by(plan: Callable[..., tuple[Any, ...]]) -> Callable[[F], F]:
    """Give a function its body, as :func:`valued_by`.

    Args:
        plan: checks the arguments other than the batch, given by name, and returns what
            :func:`counted` takes: what is counted, what reads the value, and a shortcut if any.
    """

    def decorate(declaration: F) -> F:
        name = declaration.__name__
        return valued_by(lambda given: counted(name, *plan(**given)))(declaration)

    return decorate


def without_self(method: Callable[..., Any]) -> inspect.Signature:
    """Return the arguments of a method of a ``Protocol``, which are those of its functions."""
    signature = inspect.signature(method)
    return signature.replace(parameters=[*signature.parameters.values()][1:])


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
    return public(function)
