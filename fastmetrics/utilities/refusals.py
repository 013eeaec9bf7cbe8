"""Better words for what was refused: which argument is no dense tensor, under its own name.

Looked at once something has raised, so that a good call pays nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def reword(
    error: Exception, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Raise for what ``function`` was called with, if there are better words than ``error`` has.

    Raises:
        ValueError: an argument that is annotated as a tensor is no dense one.
        TypeError: an argument that may be a number, too, is neither.
        Exception: ``error``, with `preds` and `target` under the names they have in ``function``.
    """
    signature = inspect.signature(function)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return
    kinds = {
        name: str(parameter.annotation).split(" | ")
        for name, parameter in signature.parameters.items()
        if "Tensor" in str(parameter.annotation).split(" | ")
    }
    for name, allowed in kinds.items():
        value = given.get(name)
        if value is None and (name not in given or "None" in allowed):
            continue
        wanted = "a dense tensor"
        kind: type[Exception] = ValueError
        if "float" in allowed and not isinstance(value, Tensor):
            if not isinstance(error, TypeError):  # numbers, and lists of them, are taken
                continue
            wanted, kind = "a dense tensor or a number", TypeError
        found = _what_else(value)
        if found is not None:
            raise kind(f"`{name}` must be {wanted}, got {found}.") from error
        if isinstance(value, Tensor) and value.is_complex() and "`" not in str(error):
            raise ValueError(f"`{name}` must be real, got dtype {value.dtype}.") from error
    text = str(error)
    inputs = [name for name in kinds if name != "weight"]  # texts are no tensors, but weights are
    for usual, name in zip(("preds", "target"), inputs, strict=False):
        text = text.replace(f"`{usual}`", f"`{name}`")
    if text != str(error):
        raise type(error)(text) from error


def _what_else(value: object) -> str | None:
    """Say what a value is that is no dense tensor with data; None of one that is."""
    if not isinstance(value, Tensor):
        kind = type(value)
        home = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        return "None" if value is None else f"{home}{kind.__qualname__}"
    if value.is_nested:
        return "a nested tensor"
    if value.layout is not torch.strided:
        return f"a tensor of layout {value.layout}"
    if value.is_quantized:
        return f"a quantized tensor of dtype {value.dtype}"
    return "a tensor on the meta device" if value.is_meta else None
