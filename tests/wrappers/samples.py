"""Batches that the tests of wrappers share, and the same wrapper of torchmetrics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CLASSES = 4


def class_batches(count: int = 3, size: int = 30) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.rand(size, CLASSES, generator=generator).softmax(1),
            torch.randint(CLASSES, (size,), generator=generator),
        )
        for _ in range(count)
    ]


def binary_batches(count: int = 3, size: int = 20) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.rand(size, generator=generator), torch.randint(2, (size,), generator=generator))
        for _ in range(count)
    ]


def number_batches(count: int = 3, *shape: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [
        (torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))
        for _ in range(count)
    ]


def same(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True)


def agree(ours: Any, theirs: Any, batches: list[Any], forward: bool = True) -> None:
    """Both return the same for updates, forward, compute, after a reset, and in copies."""
    for _ in range(2):
        for i, batch in enumerate(batches):
            if forward and i % 2:
                same(ours(*batch), theirs(*batch))
            else:
                ours.update(*batch), theirs.update(*batch)
            same(ours.compute(), theirs.compute())
        copy = ours.clone()
        same(copy.compute(), ours.compute())
        copy.update(*batches[0])
        same(ours.compute(), theirs.compute())
        ours.reset(), theirs.reset()
