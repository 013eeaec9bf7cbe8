"""Better words for what was refused: which argument is of the wrong kind, under its own name.

Looked at once something has raised, so that a good call pays nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

REAL_DTYPES = frozenset(
    {
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    }
)
REAL_TENSOR = (
    "a real tensor (bool, uint8, int8, int16, int32, int64, float16, bfloat16, float32 or float64)"
)
_PLAIN: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "None": (type(None),),
}


def reword(
    error: Exception, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Raise for what ``function`` was called with, if there are better words than ``error`` has.

    Raises:
        ValueError: an argument that is annotated as a tensor is no dense one of real numbers, or
            one that is annotated as a number, bool or string is none.
        TypeError: an argument that may be a number or a tensor is neither.
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
        found = what_else(value)
        if found is not None:
            raise kind(f"`{name}` must be {wanted}, got {found}.") from error
    text = str(error)
    if "`" not in text:
        for name in kinds:
            value = given.get(name)
            if isinstance(value, Tensor) and value.dtype not in REAL_DTYPES:
                message = f"`{name}` must be {REAL_TENSOR}, got dtype {value.dtype}."
                raise ValueError(message) from error
        _check_plain(signature, given, error)
        _check_images(given, error)
    inputs = [name for name in kinds if name != "weight"]  # texts are no tensors, but weights are
    for usual, name in zip(("preds", "target"), inputs, strict=False):
        text = text.replace(f"`{usual}`", f"`{name}`")
    if text != str(error):
        raise type(error)(text) from error


def _check_plain(signature: inspect.Signature, given: Mapping[str, Any], error: Exception) -> None:
    """Raise ``ValueError`` for the first number, bool or string that is none."""
    for name, value in given.items():
        annotation = str(signature.parameters[name].annotation)
        allowed = annotation.split(" | ")
        if not all(kind in _PLAIN for kind in allowed):
            continue
        fits = isinstance(value, tuple(each for kind in allowed for each in _PLAIN[kind]))
        if not fits or (isinstance(value, int) and not -(2**63) <= value < 2**63):
            raise ValueError(f"`{name}` must be {annotation}, got {value!r:.80}.") from error


def _check_images(given: Mapping[str, Any], error: Exception) -> None:
    """Raise ``ValueError`` for the first tensor of an image that is no dense one."""
    for name, images in given.items():
        for i, image in enumerate(images if isinstance(images, (list, tuple)) else ()):
            for key, value in image.items() if isinstance(image, Mapping) else ():
                found = what_else(value) if isinstance(value, Tensor) else None
                if found is not None:
                    raise ValueError(
                        f"`{name}`: image {i}: `{key}` must be a dense tensor, got {found}."
                    ) from error


def what_else(value: object) -> str | None:
    """Say what a value is that is no dense tensor with data; None of one that is."""
    if not isinstance(value, Tensor):
        kind = type(value)
        home = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        return "None" if value is None else f"{home}{kind.__qualname__}"
    if value.is_nested:
        return "a nested tensor"
    kind = type(value)
    if kind.__torch_dispatch__ is not Tensor.__torch_dispatch__ and not isinstance(
        torch.empty(()),
        kind,  # what torch makes now, as in a trace
    ):
        return f"a {kind.__name__}"
    if value.layout is not torch.strided:
        return f"a tensor of layout {value.layout}"
    if value.is_quantized:
        return f"a quantized tensor of dtype {value.dtype}"
    return "a tensor on the meta device" if value.is_meta else None
