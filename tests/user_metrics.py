"""Metrics as users write them, made from any base class: ours, or torchmetrics' as the oracle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torchmetrics
from torch import Tensor

from fastmetrics.metric import Metric


def product(stacked: Tensor) -> Tensor:
    return stacked.prod(dim=0)


def build(base: Any, namespace: str) -> SimpleNamespace:
    """Return the classes below with ``base`` as their base, picklable as ``namespace.<name>``."""

    class Ratio(base):
        full_state_update = False

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
            self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

        def update(self, x: Tensor) -> None:
            self.total += x.sum()
            self.count += x.numel()

        def compute(self) -> Tensor:
            return self.total / self.count

    class Replacing(Ratio):
        def update(self, x: Tensor) -> None:
            self.total = self.total + x.sum()
            self.count = self.count + x.numel()

    class Doubled(Ratio):
        """Calls both methods of its base, which must not count twice."""

        def update(self, x: Tensor) -> None:
            super().update(2 * x)

        def compute(self) -> Tensor:
            return super().compute() + 1

    class Growing(base):
        """A state whose shape the first batch decides."""

        full_state_update = False

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

        def update(self, x: Tensor) -> None:
            self.total = self.total + torch.stack([x.sum(), x.max()])

        def compute(self) -> Tensor:
            return self.total

    class Extremes(base):
        full_state_update = False

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.add_state("low", torch.tensor(float("inf")), dist_reduce_fx="min")
            self.add_state("high", torch.tensor(-float("inf")), dist_reduce_fx="max")

        def update(self, x: Tensor) -> None:
            self.low = torch.minimum(self.low, x.min())
            self.high = torch.maximum(self.high, x.max())

        def compute(self) -> dict[str, Tensor]:
            return {"low": self.low, "high": self.high.reshape(1)}

    class Averaged(base):
        full_state_update = False

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.add_state("level", torch.tensor(0.0), dist_reduce_fx="mean")

        def update(self, x: Tensor) -> None:
            self.level = self.level + x.mean()

        def compute(self) -> Tensor:
            return self.level

    class Samples(base):
        full_state_update = False

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.add_state("kept", [], dist_reduce_fx="cat")

        def update(self, x: Tensor) -> None:
            self.kept.append(x)

        def compute(self) -> Tensor:
            kept = self.kept if isinstance(self.kept, Tensor) else torch.cat(self.kept)
            return kept.sort().values

    class TensorSamples(base):
        full_state_update = False

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.add_state("kept", torch.zeros(0), dist_reduce_fx="cat")

        def update(self, x: Tensor) -> None:
            self.kept = torch.cat([self.kept, x])

        def compute(self) -> Tensor:
            return self.kept.sort().values

    class Batches(base):
        """A list that no reduction touches."""

        full_state_update = False

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.add_state("kept", [], dist_reduce_fx=None)

        def update(self, x: Tensor) -> None:
            self.kept.append(x)

        def compute(self) -> Tensor:
            return torch.stack([batch.sum() for batch in self.kept]).sort().values

    class Product(base):
        full_state_update = False

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.add_state("factor", torch.tensor(1.0), dist_reduce_fx=product)

        def update(self, x: Tensor) -> None:
            self.factor = self.factor * x.abs().mean()

        def compute(self) -> tuple[Tensor, float]:
            return self.factor, 1.0

    class Ranked(base):
        """Needs all it has seen to update."""

        full_state_update = True

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.add_state("best", torch.tensor(-1.0), dist_reduce_fx="max")
            self.add_state("improved", torch.tensor(0), dist_reduce_fx="sum")

        def update(self, x: Tensor) -> None:
            if x.max() > self.best:
                self.best = x.max()
                self.improved += 1

        def compute(self) -> Tensor:
            return self.improved

    class Undecided(Ratio):
        full_state_update = None

    class Differentiable(base):
        is_differentiable = True
        full_state_update = False

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
            self.add_state("kept", [], dist_reduce_fx="cat")

        def update(self, x: Tensor) -> None:
            self.total = self.total + (x * x).sum()
            self.kept.append(x * 2)

        def compute(self) -> Tensor:
            kept = self.kept if isinstance(self.kept, Tensor) else torch.cat(self.kept)
            return self.total + kept.sum()

    class Mixin:
        def update(self, x: Tensor) -> None:
            self.total += x.max()
            self.count += 1

    class Mixed(Mixin, Ratio):
        """Its ``update`` stands in a class that is no metric."""

    class Keywords(Ratio):
        def update(self, x: Tensor, scale: float = 1.0) -> None:
            super().update(x * scale)

    classes = {name: c for name, c in locals().items() if isinstance(c, type) and c is not base}
    for name, cls in classes.items():
        cls.__module__ = __name__
        cls.__qualname__ = f"{namespace}.{name}"
    return SimpleNamespace(**classes)


OURS = build(Metric, "OURS")
THEIRS = build(torchmetrics.Metric, "THEIRS")

NAMES = [name for name in vars(OURS) if name != "Mixin"]
MERGEABLE = [
    name
    for name in NAMES
    if getattr(OURS, name).full_state_update is False and name not in ("Averaged", "Differentiable")
]
