"""Small tensor helpers: reductions over the first axis, and mapping over nested results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made", Tensor, tuple[Tensor, ...])


def dim_zero_cat(x: Tensor | Sequence[Tensor]) -> Tensor:
    """Concatenate ``x`` along its first axis; scalars count as one element, a tensor is returned.

    Empty parts are left out where others are not, so that they decide neither dtype nor shape.

    Raises:
        ValueError: ``x`` is an empty list.

    >>> import torch
    >>> from fastmetrics.utilities import dim_zero_cat
    >>> dim_zero_cat([torch.tensor(1.0), torch.tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    if isinstance(x, Tensor):
        return x
    if not x:
        raise ValueError("No samples to concatenate: the list state is empty.")
    parts = [part.unsqueeze(0) if part.ndim == 0 else part for part in x]
    return torch.cat([part for part in parts if part.numel()] or parts, dim=0)


def dim_zero_sum(x: Tensor) -> Tensor:
    """Sum over the first axis.

    >>> import torch
    >>> from fastmetrics.utilities import dim_zero_sum
    >>> dim_zero_sum(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([4., 6.])
    """
    return torch.sum(x, dim=0)


def dim_zero_mean(x: Tensor) -> Tensor:
    """Mean over the first axis.

    >>> import torch
    >>> from fastmetrics.utilities import dim_zero_mean
    >>> dim_zero_mean(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([2., 3.])
    """
    return torch.mean(x, dim=0)


def dim_zero_max(x: Tensor) -> Tensor:
    """Maximum over the first axis.

    >>> import torch
    >>> from fastmetrics.utilities import dim_zero_max
    >>> dim_zero_max(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([3., 4.])
    """
    return torch.amax(x, dim=0)


def dim_zero_min(x: Tensor) -> Tensor:
    """Minimum over the first axis.

    >>> import torch
    >>> from fastmetrics.utilities import dim_zero_min
    >>> dim_zero_min(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 2.])
    """
    return torch.amin(x, dim=0)


def normal_tensor(make: Callable[[], Made]) -> Made:
    """Call ``make`` so that its tensors can be changed in place outside of inference mode too."""
    if not torch.compiler.is_dynamo_compiling() and torch.is_inference_mode_enabled():
        with torch.inference_mode(False):
            return make()
    return make()


def map_tensors(fn: Callable[[Tensor], Tensor], data: Any) -> Any:
    """Apply ``fn`` to every tensor in nested mappings, sequences and dataclasses; keep the rest."""
    if isinstance(data, Tensor):
        return fn(data)
    if isinstance(data, dict):
        mapped = {key: map_tensors(fn, value) for key, value in data.items()}
        return mapped if type(data) is dict else _rebuild_mapping(data, mapped)
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(map_tensors(fn, value) for value in data))
    if isinstance(data, (list, tuple)):
        return type(data)(map_tensors(fn, value) for value in data)
    if is_dataclass(data) and not isinstance(data, type):
        values = {f.name: map_tensors(fn, getattr(data, f.name)) for f in fields(data) if f.init}
        return replace(data, **values)
    return data


def _rebuild_mapping(original: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """Return ``values`` in the mapping class of ``original``."""
    default_factory = getattr(original, "default_factory", None)
    if default_factory is not None:
        return type(original)(default_factory, values)  # type: ignore[call-arg]  # a defaultdict
    return type(original)(values)  # type: ignore[call-arg]  # mappings take a dict by convention
