"""What stands around every public function, and costs nothing until the function raises.

What the function says of its arguments is said in their names there.

The ops have no batching rules: the states that they write are made inside the function, without the
axis that ``torch.vmap`` adds. A function that is mapped is called for each entry of that axis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch._C import _functorch
from torch.compiler import is_dynamo_compiling
from torch.utils._pytree import tree_flatten, tree_unflatten

from fastmetrics.utilities.refusals import reword

F = TypeVar("F", bound=Callable[..., Any])


def public(function: F) -> F:
    """Return ``function`` for everybody, ``torch.vmap`` included."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if is_dynamo_compiling():
            return function(*args, **kwargs)
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not any(map(_level, (*args, *kwargs.values()))):
                reword(error, function, args, kwargs)
                raise
        return _call_for_each(call, args, kwargs)

    return cast(F, call)


def _level(value: object) -> int:
    """Return which of nested maps gave a tensor its axis, 1 for the outermost; 0 if none did."""
    if isinstance(value, Tensor) and _functorch.is_batchedtensor(value):
        return _functorch.maybe_get_level(value)
    return 0


def _call_for_each(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return the values for all entries of the axis that the innermost map gave the arguments."""
    leaves, structure = tree_flatten((args, kwargs))
    level = max(map(_level, leaves))
    entries = {}
    for i, leaf in enumerate(leaves):
        if _level(leaf) == level:
            whole, axis = _functorch._unwrap_batched(leaf, level)
            entries[i] = whole.unbind(axis or 0)
    flat, structures = [], []
    for k in range(len(next(iter(entries.values())))):
        own = [entries[i][k] if i in entries else leaf for i, leaf in enumerate(leaves)]
        own_args, own_kwargs = tree_unflatten(own, structure)
        values, result = tree_flatten(function(*own_args, **own_kwargs))
        flat.append(values)
        structures.append((result, [value.shape for value in values]))
    if not flat or any(each != structures[0] for each in structures):
        raise RuntimeError(
            f"{function.__name__}: torch.vmap needs values of one shape, but those of the"
            f" {len(flat)} entries have names or shapes that depend on the data."
        )
    stacked = [
        _functorch._add_batch_dim(torch.stack(column), 0, level)
        for column in zip(*flat, strict=True)
    ]
    return tree_unflatten(stacked, structures[0][0])
