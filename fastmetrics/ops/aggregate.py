"""Running aggregates: weighted sums, the largest and the smallest of a stream of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, View, element_view, frozen
from fastmetrics.ops.checks import check_real, shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import BAD_WEIGHT, NAN, new_events, warn_of_weights
from fastmetrics.utilities.prints import rank_zero_warn

__all__ = ["aggregate_", "aggregate_value_"]

# What a state holds.
SUM, MAX, MIN = 0, 1, 2
# What becomes of NaN: a value like others; left out; refused; replaced.
KEEP, DROP, REFUSE, FILL = 0, 1, 2, 3
# By the names that users choose them by; a float fills.
NAN_STRATEGIES: dict[object, int] = {"error": REFUSE, "warn": DROP, "ignore": DROP, "disable": KEEP}

_NEUTRAL = {SUM: 0.0, MAX: -math.inf, MIN: math.inf}


def _check_state(op: str, state: Tensor, reduction: int) -> None:
    if reduction not in _NEUTRAL:
        raise ValueError(f"{op}: `reduction` must be one of {[*_NEUTRAL]}, got {reduction}.")
    sizes = (1, 2) if reduction == SUM else (1,)
    if state.dtype != torch.float64 or state.numel() not in sizes:
        raise ValueError(
            f"{op}: `state` must be float64 with {' or '.join(map(str, sizes))} elements, got"
            f" {state.dtype} {shape_text(state)}."
        )


def _can_broadcast(weight: Tensor, value: Tensor) -> bool:
    if weight.ndim > value.ndim:
        return False
    sizes = zip(reversed(weight.shape), reversed(value.shape), strict=False)
    return all(size in (1, wanted) for size, wanted in sizes)


def check_aggregate(
    state: Tensor, events: Tensor, value: Tensor, weight: Tensor | None, reduction: int, nans: int,
    fill: float,
) -> None:  # fmt: skip
    """Metadata check of `aggregate_`, and its fake."""
    op = "aggregate_"
    _check_state(op, state, reduction)
    if nans not in (KEEP, DROP, REFUSE, FILL):
        raise ValueError(f"{op}: `nans` must be one of {[KEEP, DROP, REFUSE, FILL]}, got {nans}.")
    for name, tensor in (("value", value), ("weight", weight)):
        if tensor is None:
            continue
        check_real(op, name, tensor)
        if tensor.device != state.device:
            raise ValueError(
                f"{op}: `{name}` must be on the device of the metric state, {state.device}, got"
                f" {tensor.device}."
            )
    if weight is None:
        return
    if reduction != SUM:
        raise ValueError(f"{op}: only sums take a `weight`.")
    if not _can_broadcast(weight, value):
        raise RuntimeError(
            f"{op}: `weight` must have a shape that can be broadcast to that of `value`,"
            f" {shape_text(value)}, got {shape_text(weight)}."
        )


def check_aggregate_value(state: Tensor, value: float, weight: float, reduction: int) -> None:
    """Metadata check of `aggregate_value_`, and its fake."""
    _check_state("aggregate_value_", state, reduction)


def aggregate_reference(
    state: Tensor, events: Tensor, value: Tensor, weight: Tensor | None, reduction: int, nans: int,
    fill: float,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    if not value.numel():
        return
    numbers = value.double()
    amounts = (torch.ones_like(numbers) if weight is None else weight.double()).expand_as(numbers)
    odd = ((amounts < 0) | (amounts == torch.inf)).sum()
    if nans != KEEP:
        bad = numbers.isnan() | amounts.isnan()
        if nans != FILL:
            if nans == REFUSE and bad.device.type == "cpu" and bad.any():
                raise RuntimeError(
                    "aggregate_: `value` and `weight` must not hold NaN, got"
                    f" {int(bad.sum())} of them."
                )
            events[NAN] += bad.sum()
        numbers = torch.where(bad, fill if nans == FILL else _NEUTRAL[reduction], numbers)
        amounts = torch.where(bad, float(nans == FILL), amounts)
    events[BAD_WEIGHT] += odd
    flat = state.view(-1)
    if reduction == SUM:
        flat[0] += (numbers * amounts).sum()
        if len(flat) == 2:
            flat[1] += amounts.sum()
    elif reduction == MAX:
        flat.copy_(torch.maximum(flat, numbers.amax()))
    else:
        flat.copy_(torch.minimum(flat, numbers.amin()))


def aggregate_value_reference(state: Tensor, value: float, weight: float, reduction: int) -> None:
    """Plain torch twin of the compiled kernel; GPUs run it too."""
    flat = state.view(-1)
    if reduction == SUM:
        flat[0] += value * weight
        if len(flat) == 2:
            flat[1] += weight
        return
    number = torch.full_like(flat, value)
    flat.copy_((torch.maximum if reduction == MAX else torch.minimum)(flat, number))


_aggregate = define(
    "aggregate_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor value, Tensor? weight, int reduction, int nans,"
    " float fill)",
    aggregate_reference,
    check_aggregate,
)
_aggregate_value = define(
    "aggregate_value_",
    "(Tensor(a!) state, float value, float weight, int reduction)",
    aggregate_value_reference,
    check_aggregate_value,
    triton=False,
)


def aggregate_(
    state: Tensor,
    events: Tensor,
    value: Tensor,
    weight: Tensor | None = None,
    reduction: int = SUM,
    nans: int = KEEP,
    fill: float = 0.0,
) -> None:
    """Add one batch of numbers to a running sum, or find the largest or smallest so far.

    Args:
        state: float64, changed in place: one element (the sum, the largest, the smallest), or two
            for a sum and the weight it stands for.
        events: int64 ``[4]``, changed in place: counts NaN left out, and weights that are negative
            or infinite, though they are used.
        value: numbers of any real dtype and shape.
        weight: optional, for sums: a shape that can be broadcast to that of ``value``; 1 where
            there is none.
        reduction: ``SUM``, ``MAX`` or ``MIN``.
        nans: what to do where ``value`` or its weight is NaN: ``KEEP`` it, which makes the result
            NaN, ``DROP`` both, ``REFUSE`` the batch (on GPUs: drop both), or ``FILL``.
        fill: what replaces such a value, with weight 1.

    Raises:
        ValueError: dtypes, devices or the state do not fit.
        RuntimeError: the weight cannot be broadcast, or NaN are refused (CPU); the state is
            unchanged.

    Cost: reads each input once; sums are taken over fixed blocks, so they have the same bits
    whatever the number of threads.

    >>> import torch
    >>> from fastmetrics.ops import aggregate_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(2, dtype=torch.float64)
    >>> aggregate_(state, new_events(), torch.tensor([1.0, 2.0, 6.0]))
    >>> state
    tensor([9., 3.], dtype=torch.float64)
    """
    _aggregate(state, events, value, weight, reduction, nans, fill)


def aggregate_value_(
    state: Tensor, value: float, weight: float = 1.0, reduction: int = SUM
) -> None:
    """Add one Python number; arguments as in :func:`aggregate_`. NaN is a value like others.

    >>> import torch
    >>> from fastmetrics.ops import aggregate_value_
    >>> state = torch.zeros(2, dtype=torch.float64)
    >>> aggregate_value_(state, 4.0, weight=0.5)
    >>> state
    tensor([2.0000, 0.5000], dtype=torch.float64)
    """
    _aggregate_value(state, value, weight, reduction)


def check_nan_strategy(nan_strategy: Any) -> None:
    """Raise ``ValueError`` unless this is a name of ``NAN_STRATEGIES`` or a float."""
    known = isinstance(nan_strategy, str) and nan_strategy in NAN_STRATEGIES
    if not known and not isinstance(nan_strategy, float):
        raise ValueError(
            f"`nan_strategy` must be a float or one of {(*NAN_STRATEGIES,)}, got {nan_strategy!r}."
        )


def refused_text(count: int | str) -> str:
    """Say that NaN, so many of them, were refused."""
    return f"`value` must not hold NaN with nan_strategy='error', got {count}."


@frozen()
class Aggregate(Statistic):
    """A sum, the largest or the smallest of all numbers, ``aggregate`` ``[1]``, and ``events``.

    The state has an axis: torch takes float64 tensors without one for numbers that a compiled step
    may depend on, and traces such a step twice.

    Attributes:
        reduction: ``SUM``, ``MAX`` or ``MIN``.
        nan_strategy: what becomes of NaN: a name of ``NAN_STRATEGIES``, or what replaces them.
        weighted: whether the state has a second element, the sum of the weights.
    """

    reduction: int
    nan_strategy: str | float = "warn"
    weighted: bool = False

    op = staticmethod(aggregate_)
    exact = ("aggregate",)

    def check(self) -> None:
        """Raise ``ValueError`` for an unknown ``nan_strategy``."""
        check_nan_strategy(self.nan_strategy)

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        kind = {SUM: "sum", MAX: "max", MIN: "min"}[self.reduction]
        return {"aggregate": kind, "events": "sum"}

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        nothing = _NEUTRAL[self.reduction]
        size = 2 if self.weighted else 1
        return {
            "aggregate": torch.full((size,), nothing, dtype=torch.float64, device=device),
            "events": new_events(device),
        }

    @override
    def add(self, states: States, value: Any, weight: Any = None) -> None:  # type: ignore[override]  # numbers have no target
        """Add a number or a tensor with a weight; what else there is becomes a tensor.

        Raises:
            ValueError: a complex tensor.
            RuntimeError: the weight cannot be broadcast, or NaN are refused.
        """
        state = states.values["aggregate"]
        if isinstance(value, (int, float)) and (weight is None or isinstance(weight, (int, float))):
            amount = 1.0 if weight is None else weight
            if not 0 <= amount < math.inf and amount == amount:
                states.values["events"][BAD_WEIGHT] += 1
            if (value == value and amount == amount) or self.nan_strategy == "disable":
                aggregate_value_(state, value, amount, self.reduction)
            else:
                self._add_nan(states)
            return
        rule = NAN_STRATEGIES.get(self.nan_strategy, FILL)
        aggregate_(
            state,
            states.values["events"],
            _as_tensor(value, state.device),
            None if weight is None else _as_tensor(weight, state.device),
            self.reduction,
            rule,
            self.nan_strategy if rule == FILL else 0.0,  # type: ignore[arg-type]  # FILL: a float
        )

    @override
    def with_gradients(self, value: Any, weight: Any = None) -> dict[str, Any]:  # type: ignore[override]  # numbers have no target
        """Return the aggregate of one batch that has been added without an error."""
        device = next(x.device for x in (value, weight) if isinstance(x, Tensor))
        numbers = _as_tensor(value, device).double()
        amounts = torch.ones_like(numbers)
        if weight is not None:
            amounts = _as_tensor(weight, device).double().expand_as(numbers)
        if self.nan_strategy != "disable":
            bad = numbers.isnan() | amounts.isnan()
            fill = self.nan_strategy if isinstance(self.nan_strategy, float) else None
            neutral = _NEUTRAL[self.reduction] if fill is None else fill
            numbers = torch.where(bad, neutral, numbers)
            amounts = torch.where(bad, 0.0 if fill is None else 1.0, amounts)
        if not numbers.numel():
            return self.empty(device)
        if self.reduction == SUM:
            sums = [(numbers * amounts).sum(), *([amounts.sum()] if self.weighted else [])]
            return {"aggregate": torch.stack(sums)}
        found = numbers.amax() if self.reduction == MAX else numbers.amin()
        return {"aggregate": found.unsqueeze(0)}

    def _add_nan(self, states: States) -> None:
        """Do with a number that is NaN what the op does with those in tensors."""
        if self.nan_strategy == "error":
            raise RuntimeError(f"aggregate_: {refused_text('NaN')}")
        if isinstance(self.nan_strategy, float):
            state = states.values["aggregate"]
            aggregate_value_(state, self.nan_strategy, 1.0, self.reduction)
        else:
            states.values["events"][NAN] += 1

    @override
    def report(self, owner: str, states: States) -> None:
        """Raise for NaN that an update on the GPU left out, or warn of those left out.

        Warns of weights that are negative or infinite.
        """
        if not self.weighted and self.nan_strategy not in ("error", "warn"):
            return
        _, count, _, bad_weights = states.values["events"].tolist()
        if bad_weights:
            warn_of_weights(owner, bad_weights, "they are used as they are.")
        if not count or self.nan_strategy not in ("error", "warn"):
            return
        if self.nan_strategy == "error":
            raise RuntimeError(f"{owner}: {refused_text(f'{count} of them')}")
        rank_zero_warn(f"{owner}: {count} values were NaN and left out.", UserWarning)

    @override
    def views(self) -> Mapping[str, View]:
        return _UPSTREAM[self.reduction, self.weighted]


def _as_tensor(value: Any, device: torch.device) -> Tensor:
    """Return ``value`` as a tensor; numbers keep the precision they have in Python."""
    if isinstance(value, Tensor):
        # A GPU metric takes numbers from the CPU, not the other way round.
        return value.to(device) if value.device != device and value.is_cpu else value
    if isinstance(value, (int, float)):
        return torch.full((), value, dtype=torch.float64, device=device)
    return torch.as_tensor(value, dtype=torch.float64, device=device)


# The states of torchmetrics, by what is aggregated and whether with weights.
_UPSTREAM: dict[tuple[int, bool], dict[str, View]] = {
    (SUM, False): {"sum_value": element_view("aggregate", 0)},
    (SUM, True): {
        "mean_value": element_view("aggregate", 0),
        "weight": element_view("aggregate", 1),
    },
    (MAX, False): {"max_value": element_view("aggregate", 0)},
    (MIN, False): {"min_value": element_view("aggregate", 0)},
}
