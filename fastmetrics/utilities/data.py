"""Small tensor helpers: reductions over the first axis, labels and scores, nested results."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from fastmetrics.utilities import compute
from fastmetrics.utilities.fallback import names_of_others
from fastmetrics.utilities.recording import is_recorded

__all__ = ["dim_zero_cat", "dim_zero_max", "dim_zero_mean", "dim_zero_min", "dim_zero_sum"]

METRIC_EPS = 1e-6

_CPU = torch.device("cpu")
_FLOATS = (torch.float32, torch.float64)

Made = TypeVar("Made")


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


def to_onehot(label_tensor: Tensor, num_classes: int | None = None) -> Tensor:
    """Return labels ``[N, ...]`` as zeros and ones ``[N, C, ...]`` of the same dtype.

    Args:
        label_tensor: labels in [0, C).
        num_classes: C; one more than the largest label by default.

    Example:
        >>> import torch
        >>> to_onehot(torch.tensor([0, 2]))
        tensor([[1, 0, 0],
                [0, 0, 1]])
    """
    index = label_tensor.long().unsqueeze(1)
    count = int(index.max()) + 1 if num_classes is None else num_classes
    shape = (len(index), count, *index.shape[2:])
    return label_tensor.new_zeros(shape).scatter_(1, index, 1)


def select_topk(prob_tensor: Tensor, topk: int = 1, dim: int = 1) -> Tensor:
    """Return int32 ones where the ``topk`` highest scores along ``dim`` are, zeros elsewhere.

    Of equal scores the first ones are taken.

    Example:
        >>> import torch
        >>> select_topk(torch.tensor([[0.2, 0.5, 0.3]]), topk=2)
        tensor([[0, 1, 1]], dtype=torch.int32)
    """
    order = prob_tensor.argsort(dim=dim, descending=True, stable=True)
    chosen = torch.zeros_like(prob_tensor, dtype=torch.int32)
    return chosen.scatter_(dim, order.narrow(dim, 0, topk), 1)


def to_categorical(x: Tensor, argmax_dim: int = 1) -> Tensor:
    """Return the class with the highest score along ``argmax_dim``."""
    return torch.argmax(x, dim=argmax_dim)


def allclose(tensor1: Tensor, tensor2: Tensor) -> bool:
    """Whether two tensors agree within torch's tolerances, in the dtype of the first."""
    return torch.allclose(tensor1, tensor2.to(tensor1.dtype))


def interp(x: Tensor, xp: Tensor, fp: Tensor) -> Tensor:
    """Return what :func:`fastmetrics.utilities.compute.interp` does, for points in any order."""
    order = torch.argsort(xp)
    return compute.interp(x, xp[order], fp[order])


def _bincount(x: Tensor, minlength: int | None = None) -> Tensor:
    """Count how often each of 0, 1, ... occurs, up to ``minlength`` or the largest that does."""
    return torch.bincount(x, minlength=minlength or 0)


def _flexible_bincount(x: Tensor) -> Tensor:
    """Count how often each number occurs, in rising order of those that do."""
    counts: Tensor = torch.unique(x, return_counts=True)[1]
    return counts


def end_alike(lists: Sequence[list[Made]], ends: Sequence[Made], instead: bool = False) -> None:
    """Put each end behind its list, or with ``instead`` in the place of the last element."""
    if torch.compiler.is_dynamo_compiling():
        for each, end in zip(lists, ends, strict=True):
            each[len(each) - instead :] = [end]
    elif instead:
        in_one_step(list.__setitem__, lists, repeat(-1), ends)
    else:
        in_one_step(list.append, lists, ends)


def in_one_step(method: Callable[..., Any], *arguments: Iterable[Any]) -> None:
    """Call a method that is written in C for each set of arguments.

    An interrupt, which comes between the steps of the interpreter, finds all of it or nothing.
    """
    [*map(method, *arguments)]


def bytes_of(tensor: Tensor) -> bytes:
    """Return the elements of a tensor, one after the other."""
    data = tensor.detach().cpu().contiguous()
    return ctypes.string_at(data.data_ptr(), data.nbytes) if data.nbytes else b""


def tensor_of(data: bytes, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    """Return the tensor on the CPU that has these elements."""
    if not data:
        return torch.empty(shape, dtype=dtype, device=_CPU)
    flat = torch.frombuffer(bytearray(data), dtype=dtype)
    return flat.view(shape).clone()  # in memory that is aligned as that of other tensors


class Packed:
    """A tensor that a pickle holds as bytes: torch takes 100 µs to write it and 150 to read it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __reduce__(self) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
        """Return what makes the tensor."""
        tensor = self.tensor
        return tensor_of, (bytes_of(tensor), tensor.dtype, tuple(tensor.shape))


def packed(tensor: Tensor) -> Any:
    """Return what a pickle is to hold for a tensor: no memory behind it that is not in use."""
    plain = type(tensor) is Tensor and tensor.layout is torch.strided and not tensor.is_quantized
    if plain and tensor.device == _CPU and not (tensor.requires_grad or tensor.is_complex()):
        return Packed(tensor)
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def packed_attributes(value: Any) -> dict[str, Any]:
    """Return the attributes of an object as a pickle is to hold them."""
    return {n: packed(v) if isinstance(v, Tensor) else v for n, v in value.__dict__.items()}


def normal_tensor(make: Callable[[], Made]) -> Made:
    """Call ``make`` so that its tensors can be changed in place outside of inference mode too."""
    if not torch.compiler.is_dynamo_compiling() and torch.is_inference_mode_enabled():
        with torch.inference_mode(False):
            return make()
    return make()


def makes_plain_tensors() -> bool:
    """Whether a tensor made now may be kept: not while compiling, nor under a fake mode."""
    return not is_recorded() and type(torch.empty(0, device="cpu")) is Tensor


# Makes the tensor of a float, or of a list of them, in half of torch's time or less, where that is
# known; None where torch has to, as under a mode.
tensor: Callable[[float | list[float], bool], Tensor | None] | None = None


def quotient(a: float, b: float) -> float:
    """Divide as tensors do, also by zero."""
    if b:
        return a / b
    return math.nan if not a or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def scalar(value: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a number as a tensor without axes; it is rounded as tensors are, to infinity too."""
    made = _quick_tensor(value, dtype)
    if made is not None:
        return made
    try:
        return torch.scalar_tensor(value, dtype=dtype, device=_CPU)  # a third of tensor()'s time
    except RuntimeError:  # beyond the largest number
        return torch.tensor(value, dtype=dtype, device=_CPU)


def vector(values: list[float], dtype: torch.dtype = torch.float32) -> Tensor:
    """Return numbers as a tensor with one axis."""
    made = _quick_tensor(values, dtype)
    return torch.tensor(values, dtype=dtype, device=_CPU) if made is None else made


def _quick_tensor(numbers: float | list[float], dtype: torch.dtype) -> Tensor | None:
    if tensor is None or is_dynamo_compiling() or dtype not in _FLOATS:
        return None
    return tensor(numbers, dtype is torch.float64)


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


if not TYPE_CHECKING:
    __getattr__ = names_of_others(__name__)
