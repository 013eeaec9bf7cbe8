"""Sum, mean, largest, smallest and list of the numbers of a stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from fastmetrics.metric import Metric
from fastmetrics.ops.aggregate import (
    DROP,
    FILL,
    KEEP,
    MAX,
    MIN,
    REFUSE,
    SUM,
    aggregate_,
    aggregate_value_,
)
from fastmetrics.ops.faults import NAN, NUM_EVENTS
from fastmetrics.utilities.data import dim_zero_cat
from fastmetrics.utilities.prints import rank_zero_warn
from fastmetrics.wrappers.running import Running

__all__ = [
    "BaseAggregator",
    "CatMetric",
    "MaxMetric",
    "MeanMetric",
    "MinMetric",
    "RunningMean",
    "RunningSum",
    "SumMetric",
]

_STRATEGIES: dict[object, int] = {"error": REFUSE, "warn": DROP, "ignore": DROP, "disable": KEEP}
_REFUSED = "must not hold NaN with nan_strategy='error'"


class BaseAggregator(Metric):
    """The base of aggregates: one state, and a rule for NaN. For metrics of your own.

    Args:
        fn: how the states of two batches or processes become one, as in
            :meth:`fastmetrics.metric.Metric.add_state`.
        default_value: the state of no data, a tensor or an empty list.
        nan_strategy: what becomes of NaN: ``"error"``, ``"warn"`` and ``"ignore"`` (leave them
            out), ``"disable"`` (values like others) or a float that replaces them.
        state_name: the name of the state.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: an unknown ``nan_strategy``.

    >>> import torch
    >>> from fastmetrics.aggregation import BaseAggregator
    >>> class Product(BaseAggregator):
    ...     def __init__(self):
    ...         super().__init__(torch.prod, torch.tensor(1.0))
    ...
    ...     def update(self, value):
    ...         self.value = self.value * self._cast_and_nan_check_input(value)[0]
    ...
    ...     def compute(self):
    ...         return self.value
    >>> metric = Product()
    >>> metric.update(2.0)
    >>> metric.update(3.0)
    >>> metric.compute()
    tensor(6.)
    """

    is_differentiable = None
    higher_is_better = None
    full_state_update = False

    def __init__(
        self,
        fn: Callable[..., Any] | str,
        default_value: Tensor | list[Any],
        nan_strategy: str | float = "error",
        state_name: str = "value",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if nan_strategy not in _STRATEGIES and not isinstance(nan_strategy, float):
            raise ValueError(
                f"`nan_strategy` must be a float or one of {(*_STRATEGIES,)}, got {nan_strategy!r}."
            )
        self.nan_strategy = nan_strategy
        self.add_state(state_name, default_value, dist_reduce_fx=fn)
        self.state_name = state_name

    def _cast_and_nan_check_input(
        self, x: float | Tensor, weight: float | Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return ``x`` and its weights (ones if None) in the dtype of the metric, NaN dealt with.

        Waits for the device unless NaN are kept or replaced.

        Raises:
            RuntimeError: there are NaN, and ``nan_strategy`` is ``"error"``.
        """
        device = x.device if isinstance(x, Tensor) else self.device
        values = torch.as_tensor(x, dtype=self.dtype, device=device)
        if weight is None:
            amounts = torch.ones_like(values)
        else:
            amounts = torch.as_tensor(weight, dtype=self.dtype, device=device).expand(values.shape)
        if self.nan_strategy == "disable":
            return values, amounts
        bad = values.isnan() | amounts.isnan()
        if isinstance(self.nan_strategy, float):
            return torch.where(bad, self.nan_strategy, values), torch.where(bad, 1.0, amounts)
        if bad.any():
            if self.nan_strategy == "error":
                raise RuntimeError(
                    f"{type(self).__name__}: `value` {_REFUSED}, got {int(bad.sum())} of them."
                )
            if self.nan_strategy == "warn":
                rank_zero_warn(
                    f"{type(self).__name__}: {int(bad.sum())} values were NaN and left out.",
                    UserWarning,
                )
            values, amounts = values[~bad], amounts[~bad]
        return values, amounts

    def update(self, value: float | Tensor) -> None:
        """Add numbers; subclasses say how."""

    def compute(self) -> Any:
        """Return the state."""
        return getattr(self, self.state_name)


class _Aggregate(BaseAggregator):
    """An aggregate in a float64 state of one or two elements, filled by one op.

    The state has an axis: torch takes float64 tensors without one for numbers that a compiled step
    may depend on, and traces such a step twice.
    """

    fused_update = True
    events: Tensor
    _reduction: int

    def __init__(
        self, fn: str, default: Tensor, nan_strategy: str | float, state_name: str, **kwargs: Any
    ) -> None:
        super().__init__(fn, default, nan_strategy, state_name, **kwargs)
        self._exact_states = (state_name,)
        self.add_state("events", torch.zeros(NUM_EVENTS, dtype=torch.int64), dist_reduce_fx="sum")

    def _add(self, value: Any, weight: Any = None) -> None:
        """Add a number or a tensor to the state; what else there is becomes a tensor."""
        state: Tensor = self.__dict__[self.state_name]
        if isinstance(value, (int, float)) and (weight is None or isinstance(weight, (int, float))):
            amount = 1.0 if weight is None else weight
            if (value == value and amount == amount) or self.nan_strategy == "disable":
                aggregate_value_(state, value, amount, self._reduction)
            else:
                self._add_nan(state)
            return
        device = state.device
        rule = _STRATEGIES.get(self.nan_strategy, FILL)
        aggregate_(
            state,
            self.events,
            _as_tensor(value, device),
            None if weight is None else _as_tensor(weight, device),
            self._reduction,
            rule,
            self.nan_strategy if rule == FILL else 0.0,  # type: ignore[arg-type]  # FILL: a float
        )

    def _add_nan(self, state: Tensor) -> None:
        """Do with a number that is NaN what the op does with those in tensors."""
        if self.nan_strategy == "error":
            raise RuntimeError(f"{type(self).__name__}: `value` {_REFUSED}, got NaN.")
        if isinstance(self.nan_strategy, float):
            aggregate_value_(state, self.nan_strategy, 1.0, self._reduction)
        else:
            self.events[NAN] += 1

    def _report(self) -> None:
        """Raise for NaN that an update on the GPU left out, or warn of those left out."""
        if self.nan_strategy not in ("error", "warn"):
            return
        count = self.events.tolist()[NAN]
        if not count:
            return
        name = type(self).__name__
        if self.nan_strategy == "error":
            raise RuntimeError(f"{name}: `value` {_REFUSED}, got {count} of them.")
        rank_zero_warn(f"{name}: {count} values were NaN and left out.", UserWarning)

    def compute(self) -> Tensor:
        """Return the aggregate, a scalar in the dtype of the metric."""
        state: Tensor = getattr(self, self.state_name)
        return state[0].to(self.dtype)

    def _statistic(self) -> Hashable:
        return (type(self).__name__, self.nan_strategy)


def _as_tensor(value: Any, device: torch.device) -> Tensor:
    """Return ``value`` as a tensor; numbers keep the precision they have in Python."""
    if isinstance(value, Tensor):
        # A GPU metric takes numbers from the CPU, not the other way round.
        return value.to(device) if value.device != device and value.is_cpu else value
    if isinstance(value, (int, float)):
        return torch.full((), value, dtype=torch.float64, device=device)
    return torch.as_tensor(value, dtype=torch.float64, device=device)


class SumMetric(_Aggregate):
    r"""Sum :math:`\sum_i x_i` of a stream, accumulated in float64; 0 without data.

    Args:
        nan_strategy: ``"warn"`` (leave NaN out, ``compute`` warns with their number), ``"ignore"``,
            ``"error"``, ``"disable"`` (the sum becomes NaN) or a float that replaces them.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: an unknown ``nan_strategy``.

    Example:
        >>> import torch
        >>> from fastmetrics.aggregation import SumMetric
        >>> metric = SumMetric()
        >>> metric.update(1)
        >>> metric.update(torch.tensor([2, 3]))
        >>> metric.compute()
        tensor(6.)
    """

    sum_value: Tensor
    _reduction = SUM

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        zero = torch.zeros(1, dtype=torch.float64)
        super().__init__("sum", zero, nan_strategy, "sum_value", **kwargs)

    def update(self, value: float | Tensor) -> None:
        """Add ``value``: a number, or numbers of any real dtype and shape.

        Raises:
            ValueError: a complex tensor.
            RuntimeError: NaN with ``nan_strategy="error"`` (GPU tensors: raised by ``compute``).
        """
        self._add(value)


class MeanMetric(_Aggregate):
    r"""Weighted mean :math:`\sum_i w_i x_i / \sum_i w_i` of a stream; NaN without data.

    Both sums are float64: ``mean_value``, that of the weighted values, and ``weight``.

    Args:
        nan_strategy: what becomes of a NaN in a value or its weight: ``"warn"`` (leave both out,
            ``compute`` warns with their number), ``"ignore"``, ``"error"``, ``"disable"`` (the
            mean becomes NaN) or a float that replaces the value, with weight 1.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: an unknown ``nan_strategy``.

    Example:
        >>> import torch
        >>> from fastmetrics.aggregation import MeanMetric
        >>> metric = MeanMetric()
        >>> metric.update(1)
        >>> metric.update(torch.tensor([2, 3]), weight=torch.tensor([1.0, 2.0]))
        >>> metric.compute()
        tensor(2.2500)
    """

    sums: Tensor
    _reduction = SUM

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        zeros = torch.zeros(2, dtype=torch.float64)
        super().__init__("sum", zeros, nan_strategy, "sums", **kwargs)

    @property
    def mean_value(self) -> Tensor:
        """The sum of the weighted values, float64."""
        return self.sums[0]

    @property
    def weight(self) -> Tensor:
        """The sum of the weights, float64."""
        return self.sums[1]

    def update(self, value: float | Tensor, weight: float | Tensor | None = None) -> None:
        """Add ``value`` with ``weight``, which is broadcast to the shape of ``value``; 1 if None.

        Raises:
            ValueError: a complex tensor.
            RuntimeError: the weight cannot be broadcast, or there are NaN with
                ``nan_strategy="error"`` (GPU tensors: raised by ``compute``).
        """
        self._add(value, weight)

    def compute(self) -> Tensor:
        """Return the mean, a scalar in the dtype of the metric."""
        total, weight = self.sums.unbind()
        return (total / weight).to(self.dtype)


class MaxMetric(_Aggregate):
    r"""Largest number :math:`\max_i x_i` of a stream; minus infinity without data.

    Args:
        nan_strategy: as for :class:`SumMetric`.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: an unknown ``nan_strategy``.

    Example:
        >>> import torch
        >>> from fastmetrics.aggregation import MaxMetric
        >>> metric = MaxMetric()
        >>> metric.update(1)
        >>> metric.update(torch.tensor([2, 3]))
        >>> metric.compute()
        tensor(3.)
    """

    max_value: Tensor
    _reduction = MAX

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        lowest = torch.full((1,), -math.inf, dtype=torch.float64)
        super().__init__("max", lowest, nan_strategy, "max_value", **kwargs)

    def update(self, value: float | Tensor) -> None:
        """Take note of ``value``; arguments and errors as for :meth:`SumMetric.update`."""
        self._add(value)


class MinMetric(_Aggregate):
    r"""Smallest number :math:`\min_i x_i` of a stream; infinity without data.

    Args:
        nan_strategy: as for :class:`SumMetric`.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: an unknown ``nan_strategy``.

    Example:
        >>> import torch
        >>> from fastmetrics.aggregation import MinMetric
        >>> metric = MinMetric()
        >>> metric.update(1)
        >>> metric.update(torch.tensor([2, 3]))
        >>> metric.compute()
        tensor(1.)
    """

    min_value: Tensor
    _reduction = MIN

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        highest = torch.full((1,), math.inf, dtype=torch.float64)
        super().__init__("min", highest, nan_strategy, "min_value", **kwargs)

    def update(self, value: float | Tensor) -> None:
        """Take note of ``value``; arguments and errors as for :meth:`SumMetric.update`."""
        self._add(value)


class CatMetric(BaseAggregator):
    """All numbers of a stream, concatenated along the first axis.

    The numbers are copied: what the caller does to a tensor afterwards does not show.

    Args:
        nan_strategy: as for :class:`SumMetric`; a batch that loses NaN becomes flat. Batches on a
            GPU lose them in ``compute``, so that ``update`` need not wait.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: an unknown ``nan_strategy``.

    Example:
        >>> import torch
        >>> from fastmetrics.aggregation import CatMetric
        >>> metric = CatMetric()
        >>> metric.update(1)
        >>> metric.update(torch.tensor([2, 3]))
        >>> metric.compute()
        tensor([1., 2., 3.])
    """

    fused_update = True
    value: list[Tensor]

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__("cat", [], nan_strategy, **kwargs)

    def update(self, value: float | Tensor) -> None:
        """Append ``value``: a number, or numbers of any real dtype and shape.

        Raises:
            RuntimeError: NaN with ``nan_strategy="error"`` (GPU tensors: raised by ``compute``).
        """
        if not isinstance(value, Tensor):
            value = torch.as_tensor(value, dtype=self.dtype, device=self.device)
        numbers = value.detach()
        # A sum shows a NaN in a fraction of the time of a look at each number.
        if isinstance(self.nan_strategy, float) or (numbers.is_cpu and numbers.sum().isnan()):
            numbers, _ = self._cast_and_nan_check_input(numbers)
        if numbers.numel():
            fresh = numbers.untyped_storage().data_ptr() != value.untyped_storage().data_ptr()
            self.value.append(numbers.to(self.dtype, copy=not fresh))

    def compute(self) -> Tensor | list[Tensor]:
        """Return the numbers in the dtype of the metric; an empty list without data."""
        parts = [self.value] if isinstance(self.value, Tensor) else self.value
        kept = [part if part.is_cpu else self._cast_and_nan_check_input(part)[0] for part in parts]
        return dim_zero_cat(kept) if kept else []


class RunningMean(Running):
    """Mean of the last ``window`` batches, each as :class:`MeanMetric` takes it.

    ``forward`` returns the mean of the batch alone.

    Args:
        window: how many batches count.
        nan_strategy: as for :class:`MeanMetric`.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: an unknown ``nan_strategy``, or ``window`` is no positive integer.

    Example:
        >>> from fastmetrics.aggregation import RunningMean
        >>> metric = RunningMean(window=2)
        >>> for value in (1.0, 2.0, 4.0):
        ...     metric.update(value)
        >>> metric.compute()
        tensor(3.)
    """

    def __init__(self, window: int = 5, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(MeanMetric(nan_strategy, **kwargs), window)


class RunningSum(Running):
    """Sum of the last ``window`` batches, each as :class:`SumMetric` takes it.

    ``forward`` returns the sum of the batch alone.

    Args:
        window: how many batches count.
        nan_strategy: as for :class:`SumMetric`.
        kwargs: as for :class:`fastmetrics.metric.Metric`.

    Raises:
        ValueError: an unknown ``nan_strategy``, or ``window`` is no positive integer.

    Example:
        >>> from fastmetrics.aggregation import RunningSum
        >>> metric = RunningSum(window=2)
        >>> for value in (1.0, 2.0, 4.0):
        ...     metric.update(value)
        >>> metric.compute()
        tensor(6.)
    """

    def __init__(self, window: int = 5, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(SumMetric(nan_strategy, **kwargs), window)
