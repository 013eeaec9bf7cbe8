"""Arithmetic between metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from fastmetrics.core.composition import CompositionalMetric

# What they make; it is a metric itself, and its module puts it here.
result: type[CompositionalMetric]


def _compose(operator: Callable[..., Any], first: Any, second: Any) -> CompositionalMetric:
    return result(operator, first, second)  # noqa: F821  # another module assigns it


def _binary(
    operator: Callable[..., Tensor],
) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """Return the methods for ``metric <operator> other`` and ``other <operator> metric``."""

    def forwards(self: Any, other: Any) -> CompositionalMetric:
        return _compose(operator, self, other)

    def backwards(self: Any, other: Any) -> CompositionalMetric:
        return _compose(operator, other, self)

    return forwards, backwards


def _unary(operator: Callable[..., Tensor]) -> Callable[[Any], Any]:
    def method(self: Any) -> CompositionalMetric:
        return _compose(operator, self, None)

    return method


def _neg(x: Tensor) -> Tensor:
    return -torch.abs(x)


class _Item:
    """``x[index]`` as a function that can be pickled."""

    __name__ = "getitem"

    def __init__(self, index: Any) -> None:
        self.index = index

    def __call__(self, x: Any) -> Any:
        return x[self.index]


class Operators:
    """The operators of Python; each makes a :class:`~fastmetrics.metric.CompositionalMetric`."""

    __iter__ = None

    __add__, __radd__ = _binary(torch.add)
    __sub__, __rsub__ = _binary(torch.sub)
    __mul__, __rmul__ = _binary(torch.mul)
    __truediv__, __rtruediv__ = _binary(torch.true_divide)
    __floordiv__, __rfloordiv__ = _binary(torch.floor_divide)
    __mod__, __rmod__ = _binary(torch.fmod)
    __pow__, __rpow__ = _binary(torch.pow)
    __matmul__, __rmatmul__ = _binary(torch.matmul)
    __and__ = __rand__ = _binary(torch.bitwise_and)[0]  # its first operand must be a tensor
    __or__, __ror__ = _binary(torch.bitwise_or)
    __xor__, __rxor__ = _binary(torch.bitwise_xor)
    __eq__ = _binary(torch.eq)[0]  # elementwise, like the next
    __ne__ = _binary(torch.ne)[0]
    __lt__ = _binary(torch.lt)[0]
    __le__ = _binary(torch.le)[0]
    __gt__ = _binary(torch.gt)[0]
    __ge__ = _binary(torch.ge)[0]
    __abs__ = __pos__ = _unary(torch.abs)
    __neg__ = _unary(_neg)
    __inv__ = __invert__ = _unary(torch.bitwise_not)

    def __getitem__(self, idx: Any) -> CompositionalMetric:
        return _compose(_Item(idx), self, None)
