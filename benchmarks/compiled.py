"""What an update of ``[64, 10]`` costs inside a compiled step: ``python -m benchmarks.compiled``.

The steps of a table run in one process, in turn; each row is the least time of a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastmetrics.classification import MulticlassAccuracy

BATCH, CLASSES = 64, 10
ROUNDS, CALLS = 200, 50

Step = Callable[[Tensor, Tensor], Any]


def least_seconds(steps: dict[str, Step], inputs: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Return the least time of a call of each step, taken in turn."""
    for step in steps.values():
        for _ in range(3):
            step(*inputs)
    least = dict.fromkeys(steps, float("inf"))
    for _ in range(ROUNDS):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                step(*inputs)
            least[name] = min(least[name], (time.perf_counter() - start) / CALLS)
    return least


def bare_steps() -> dict[str, Step]:
    """Return steps that do nothing but the update."""
    eager, inside = MulticlassAccuracy(CLASSES), MulticlassAccuracy(CLASSES)
    return {
        "eager update": eager.update,
        "compiled update": torch.compile(inside.update, fullgraph=True),
        "compiled no-op": torch.compile(lambda preds, target: preds + 1, fullgraph=True),
    }


def loss_steps() -> dict[str, Step]:
    """Return steps of a loss and an update, which is outside or inside of the compiled region."""
    outside, inside = MulticlassAccuracy(CLASSES), MulticlassAccuracy(CLASSES)
    loss_of = torch.nn.functional.cross_entropy
    compiled_loss = torch.compile(loss_of, fullgraph=True)

    def update_outside(logits: Tensor, target: Tensor) -> Tensor:
        loss = compiled_loss(logits, target)
        outside.update(logits, target)
        return loss

    @torch.compile(fullgraph=True)
    def update_inside(logits: Tensor, target: Tensor) -> Tensor:
        inside.update(logits, target)
        return loss_of(logits, target)

    return {
        "compiled loss": compiled_loss,
        "compiled loss, then update": update_outside,
        "compiled loss and update": update_inside,
    }


def main() -> None:
    """Print a table."""
    torch.manual_seed(0)
    inputs = torch.randn(BATCH, CLASSES), torch.randint(CLASSES, (BATCH,))
    for steps in (bare_steps(), loss_steps()):
        for name, seconds in least_seconds(steps, inputs).items():
            print(f"{name:28} {seconds * 1e6:8.2f} µs")


if __name__ == "__main__":
    main()
