"""How the states of two batches or processes become one."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Merger(ABC):
    """A ``dist_reduce_fx`` for states that do not add up, but still merge batch by batch.

    A state of zeros must stand for no data.
    """

    @abstractmethod
    def __call__(self, parts: Tensor) -> Tensor:
        """Return the state of all data, given those of its parts along the first axis."""

    @abstractmethod
    def absorb(self, total: Tensor, batch: Tensor) -> Tensor:
        """Merge ``batch`` into ``total``, in place where their shapes allow it, and return it."""
