"""What all statistics of counts share: counts, event counters beside them, and weighted updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic
from fastmetrics.ops.library import NAN_AS_TORCH, OUTSIDE, new_events, raise_events
from fastmetrics.utilities.data import normal_tensor


def is_readable(tensor: Tensor) -> bool:
    """Whether the host can look at values for free: on the CPU, outside of compiled regions."""
    return tensor.is_cpu and not torch.compiler.is_compiling()


def choose_interpretation(state: Tensor, events: Tensor, dim: int = -4) -> Tensor:
    """Keep one of the interpretations of scores along ``dim``, as probabilities or as logits.

    The logits if any score lay outside [0, 1]. The axis goes. On a GPU the choice is made there,
    without waiting for it.
    """
    if state.shape[dim] == 1:
        return state.select(dim, 0)
    if is_readable(events):
        return state.select(dim, int(events.tolist()[OUTSIDE] > 0))
    return state.index_select(dim, events.narrow(0, OUTSIDE, 1).clamp(max=1)).squeeze(dim)


class CountStatistic(Statistic):
    """The states ``counts``, int64 of ``shape`` or float64 once weighted, and ``events``.

    Samplewise, ``counts`` is a list with a tensor ``[N, *shape]`` for each batch.

    Attributes:
        validate_args: whether labels out of range are reported.
        samplewise: whether each sample is counted on its own.
        nan_treatment: what becomes of NaN scores, for the warning about them.
    """

    exact = ("counts",)
    validate_args: bool
    samplewise: bool = False
    nan_treatment: ClassVar[str] = NAN_AS_TORCH

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of ``counts``."""
        raise NotImplementedError

    @property
    def label_axes(self) -> int:
        """How many axes of ``target`` behind the first are neither samples nor counted over."""
        return 0

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {"counts": "cat" if self.samplewise else "sum", "events": "sum"}

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        counts: Any = []
        if not self.samplewise:
            counts = torch.zeros(self.shape, dtype=torch.int64, device=device)
        return {"counts": counts, "events": new_events(device)}

    @override
    def open(self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        if self.samplewise:
            return self._new_rows(target, weight, states.values["events"].device)
        counts: Tensor = states.values["counts"]
        return counts if weight is None else normal_tensor(counts.double)

    @override
    def keep(self, states: States, state: Tensor) -> None:
        values = states.values
        if self.samplewise:
            values["counts"].append(state)
        elif state is not values["counts"]:
            values["counts"] = state

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        counts = self.open(states, preds, target, weight)
        events = states.values["events"]
        self.op(counts, events, preds, target, weight, *self.arguments())
        self.keep(states, counts)

    @override
    def report(self, owner: str, states: States) -> None:
        if self.validate_args:
            raise_events(owner, states.values["events"], self.nan_treatment)

    def counts_of(self, states: States) -> Tensor:
        """Return the counts of all batches as one tensor."""
        counts: Any = states.values["counts"]
        if not isinstance(counts, list):
            return cast(Tensor, counts)
        if counts:
            return torch.cat(counts)
        device = states.values["events"].device
        return torch.zeros((0, *self.shape), dtype=torch.int64, device=device)

    def _new_rows(self, target: Tensor, weight: Tensor | None, device: torch.device) -> Tensor:
        if weight is not None:
            raise ValueError("`weight` needs multidim_average='global', got 'samplewise'.")
        axes = 2 + self.label_axes
        if target.ndim < axes:
            raise ValueError(
                f"multidim_average='samplewise' needs `target` with at least {axes} axes,"
                f" got shape {tuple(target.shape)}."
            )
        return torch.zeros((target.shape[0], *self.shape), dtype=torch.int64, device=device)
