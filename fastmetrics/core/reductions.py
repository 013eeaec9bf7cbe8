"""How states of two batches, or of several processes, become one.

Each state has one reduction. ``merge`` brings two parts together and makes a new state, ``join``
adds one batch to a total in its own memory where that is possible, and ``gather`` brings together
what processes hold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from fastmetrics.core.states import State
from fastmetrics.utilities.data import (
    dim_zero_cat,
    dim_zero_max,
    dim_zero_mean,
    dim_zero_min,
    dim_zero_sum,
    map_tensors,
    normal_tensor,
)


class Reduction:
    """Base of all reductions.

    Attributes:
        function: the function of stacked or concatenated parts that torchmetrics knows it by; None
            where parts are kept apart.
        wire: how an all-reduce brings the parts of processes together ("sum", "max", "min"); None
            where they travel whole.
        weighs_updates: whether parts count by how many updates they stand for.
        adds: whether a part of the form of the total is simply added to it.
        concatenates: whether processes may hold any number of rows, which are put in one tensor.
    """

    function: Callable[..., Any] | None
    wire: ClassVar[str | None] = None
    adds: ClassVar[bool] = False
    concatenates: ClassVar[bool] = False
    weighs_updates: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """A name that is the same in all processes."""
        return type(self).__name__

    def merge(self, first: Any, second: Any, counts: tuple[int, int]) -> Any:
        """Return the state of both parts, which stand for so many updates each."""
        raise NotImplementedError

    def join(self, total: State, part: Any, updates: Callable[[], int]) -> Any:
        """Return ``total`` with one batch behind it, in place if possible.

        ``total``, of as many updates as ``updates`` tells, must be memory that nobody else holds.
        """
        if isinstance(total, list):
            total.extend(map_tensors(Tensor.detach, part))
            return total
        merged = self._merge_batch(total, part.detach(), updates)
        same = merged.shape == total.shape and merged.dtype == total.dtype
        return total.copy_(merged) if same else merged

    def _merge_batch(self, total: Tensor, part: Tensor, updates: Callable[[], int]) -> Any:
        return self.merge(total, part, (1, 1))  # asks for no counter: a compiled step may run this

    def gather(self, parts: Sequence[Tensor], updated: Sequence[bool]) -> Any:
        """Return the state of all processes, given that of each and who has seen data."""
        stacked = torch.stack(list(parts))
        return stacked if self.function is None else self.function(stacked)

    def gather_lists(self, elements: list[Tensor]) -> Any:
        """Return the state of all processes, given the elements of their lists."""
        return elements if self.function is None or not elements else self.function(elements)


class Sum(Reduction):
    """Parts add up."""

    function = staticmethod(dim_zero_sum)
    wire = "sum"
    adds = True

    def merge(self, first: Any, second: Any, counts: tuple[int, int]) -> Any:
        """Return the sum."""
        return first + second

    def join(self, total: Any, part: Any, updates: Callable[[], int]) -> Any:
        """Add the batch in place; what becomes wider, as counts with weights do, is made anew."""
        if isinstance(total, list):
            return super().join(total, part, updates)
        part = part.detach()
        if part.dtype is not total.dtype or part.shape != total.shape:
            return normal_tensor(lambda: total + part)
        return total.add_(part)


class Max(Reduction):
    """The largest of the parts, element by element."""

    function = staticmethod(dim_zero_max)
    wire = "max"

    def merge(self, first: Any, second: Any, counts: tuple[int, int]) -> Any:
        """Return the larger ones."""
        return torch.maximum(first, second)


class Min(Reduction):
    """The smallest of the parts, element by element."""

    function = staticmethod(dim_zero_min)
    wire = "min"

    def merge(self, first: Any, second: Any, counts: tuple[int, int]) -> Any:
        """Return the smaller ones."""
        return torch.minimum(first, second)


class Mean(Reduction):
    """The mean of the parts, weighted by their updates; over processes unweighted."""

    function = staticmethod(dim_zero_mean)
    weighs_updates = True

    def merge(self, first: Any, second: Any, counts: tuple[int, int]) -> Any:
        """Return the weighted mean; a part without updates does not count."""
        one, two = counts
        if not one or not two:
            return first if one else second
        mean = (one * first + two * second) / (one + two)
        return mean.to(first.dtype) if first.is_floating_point() else mean

    def _merge_batch(self, total: Tensor, part: Tensor, updates: Callable[[], int]) -> Any:
        return self.merge(total, part, (updates(), 1))

    def gather(self, parts: Sequence[Tensor], updated: Sequence[bool]) -> Any:
        """Return the mean over those processes that have seen data."""
        seen = [part for part, has_data in zip(parts, updated, strict=True) if has_data]
        return super().gather(seen or parts, updated)


class _Apart(Reduction):
    """What keeps the parts: as one list, or as one tensor."""

    _connect: ClassVar[Callable[..., Tensor]]

    def merge(self, first: Any, second: Any, counts: tuple[int, int]) -> Any:
        """Return the parts one after the other."""
        if isinstance(first, list) or isinstance(second, list):
            lists = [part if isinstance(part, list) else [part] for part in (first, second)]
            return map_tensors(Tensor.detach, [*lists[0], *lists[1]])
        return type(self)._connect([first, second])


class Cat(_Apart):
    """Parts one after the other along the first axis."""

    function = staticmethod(dim_zero_cat)
    concatenates = True
    _connect = staticmethod(torch.cat)

    def gather(self, parts: Sequence[Tensor], updated: Sequence[bool]) -> Any:
        """Return the rows of all processes."""
        return dim_zero_cat(list(parts))


class Stack(_Apart):
    """Parts side by side along a new first axis."""

    function = None
    _connect = staticmethod(torch.stack)


class Custom(Reduction):
    """A function of the parts, stacked along a new first axis."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @property
    def name(self) -> str:
        """The place of the function, or that of its class."""
        named: Any = (
            self.function if hasattr(self.function, "__qualname__") else type(self.function)
        )
        return f"{named.__module__}.{named.__qualname__}"

    def merge(self, first: Any, second: Any, counts: tuple[int, int]) -> Any:
        """Return what the function makes of both."""
        if first.shape != second.shape:
            first, second = torch.broadcast_tensors(first, second)
        assert self.function is not None
        return self.function(torch.stack([first, second]))


class Merger(Reduction, ABC):
    """A reduction for states that do not add up, but still merge batch by batch.

    A state of zeros must stand for no data.
    """

    @abstractmethod
    def __call__(self, parts: Tensor) -> Tensor:
        """Return the state of all data, given those of its parts along the first axis."""

    @abstractmethod
    def absorb(self, total: Tensor, batch: Tensor) -> Tensor:
        """Merge ``batch`` into ``total``, in place where their shapes allow it, and return it."""

    @property
    def function(self) -> Callable[..., Any]:  # type: ignore[override]  # itself
        """The reduction itself."""
        return self

    @property
    def name(self) -> str:
        """The place of the class."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    def merge(self, first: Any, second: Any, counts: tuple[int, int]) -> Any:
        """Return the state of both."""
        if first.shape != second.shape:
            first, second = torch.broadcast_tensors(first, second)
        return self(torch.stack([first, second]))

    def join(self, total: Any, part: Any, updates: Callable[[], int]) -> Any:
        """Absorb the batch."""
        return self.absorb(total, part)


_NAMED: dict[str, Reduction] = {
    "sum": Sum(),
    "mean": Mean(),
    "max": Max(),
    "min": Min(),
    "cat": Cat(),
}
_STACK = Stack()
_BY_FUNCTION = {reduction.function: reduction for reduction in _NAMED.values()}


def reduction_of(value: Any) -> Reduction:
    """Return the reduction that ``dist_reduce_fx`` of ``add_state`` asks for.

    Raises:
        ValueError: ``value`` is no name of one, no function and not None.
    """
    if value is None:
        return _STACK
    if isinstance(value, Reduction):
        return value
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    if not callable(value):
        raise ValueError(
            f"`dist_reduce_fx` must be callable, None or one of {[*_NAMED]}, got {value!r}."
        )
    found = _BY_FUNCTION.get(value) if hasattr(value, "__hash__") else None
    return found or Custom(value)
