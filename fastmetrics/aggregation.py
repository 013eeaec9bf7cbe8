"""Sum, mean, largest, smallest and list of the numbers of a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.core.statistic import check_declared, counts_only, wants_gradients
from fastmetrics.core.statistic_metric import StatisticField, StatisticMetric
from fastmetrics.metric import Metric, as_scalar
from fastmetrics.ops.aggregate import (
    MAX,
    MIN,
    SUM,
    Aggregate,
    check_nan_strategy,
    refused_text,
)
from fastmetrics.ops.counted import is_readable
from fastmetrics.utilities.data import dim_zero_cat, scalar
from fastmetrics.utilities.fallback import names_of_others
from fastmetrics.utilities.prints import rank_zero_warn
from fastmetrics.utilities.refusals import what_else
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
        check_nan_strategy(nan_strategy)
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
            instead = torch.tensor(self.nan_strategy, dtype=self.dtype, device=device)
            return torch.where(bad, instead, values), torch.where(bad, 1.0, amounts)
        if bad.any():
            if self.nan_strategy == "error":
                count = f"{int(bad.sum())} of them"
                raise RuntimeError(f"{type(self).__name__}: {refused_text(count)}")
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


class _Aggregate(StatisticMetric, BaseAggregator):
    """An aggregate in one float64 state, filled by one op.

    Args:
        statistic: which one, and what becomes of NaN.
        kwargs: as for :class:`fastmetrics.metric.Metric`.
    """

    is_differentiable = None
    aggregate: Tensor
    events: Tensor
    statistic: Aggregate
    nan_strategy: StatisticField[str | float] = StatisticField()

    def __init__(self, statistic: Aggregate, **kwargs: Any) -> None:
        statistic.check()
        super().__init__(statistic, **kwargs)
        self.state_name = next(iter(statistic.views()))

    @counts_only
    def update(self, value: float | Tensor) -> None:  # type: ignore[override]
        """Add ``value``: a number, or numbers of any real dtype and shape.

        Raises:
            ValueError: a complex tensor.
            RuntimeError: NaN with ``nan_strategy="error"`` (GPU tensors: raised by ``compute``).
        """
        self.statistic.add(self._states, value)

    def compute(self) -> Tensor:
        """Return the aggregate, a scalar in the dtype of the metric."""
        return self._value(self.aggregate)

    def _value(self, aggregate: Tensor) -> Tensor:
        if is_readable(aggregate) and not aggregate.requires_grad:
            return scalar(aggregate.tolist()[0], self.dtype)
        return aggregate[0].to(self.dtype)

    def _follow(self, value: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if not wants_gradients(*args, *kwargs.values()):
            return value
        states = self.statistic.with_gradients(*args, **self._filter_kwargs(**kwargs))
        return as_scalar(self._value(states["aggregate"]).to(value.dtype))


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

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(Aggregate(SUM, nan_strategy), **kwargs)


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

    mean_value: Tensor
    weight: Tensor

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(Aggregate(SUM, nan_strategy, weighted=True), **kwargs)

    @counts_only
    def update(  # type: ignore[override]  # upstream's
        self, value: float | Tensor, weight: float | Tensor | None = None
    ) -> None:
        """Add ``value`` with ``weight``, which is broadcast to the shape of ``value``; 1 if None.

        Raises:
            ValueError: a complex tensor.
            RuntimeError: the weight cannot be broadcast, or there are NaN with
                ``nan_strategy="error"`` (GPU tensors: raised by ``compute``).
        """
        self.statistic.add(self._states, value, weight)

    def compute(self) -> Tensor:
        """Return the mean, a scalar in the dtype of the metric."""
        return self._value(self.aggregate)

    def _value(self, aggregate: Tensor) -> Tensor:
        if is_readable(aggregate) and not aggregate.requires_grad:
            amount, weight = aggregate.tolist()
            if weight:
                return scalar(amount / weight, self.dtype)
        return aggregate[0].div(aggregate[1]).to(self.dtype)


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

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(Aggregate(MAX, nan_strategy), **kwargs)


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

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(Aggregate(MIN, nan_strategy), **kwargs)


def _may_hold_nan(numbers: Tensor) -> bool:
    """Whether the sum is NaN, which takes a fraction of the time of a look at each number."""
    total = numbers.sum().item()
    return total != total


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

    _check_states = check_declared

    def update(self, value: float | Tensor) -> None:
        """Append ``value``: a number, or numbers of any real dtype and shape.

        Raises:
            ValueError: a shape that does not fit behind the numbers kept before.
            RuntimeError: NaN with ``nan_strategy="error"`` (GPU tensors: raised by ``compute``).
        """
        if not isinstance(value, Tensor):
            value = torch.as_tensor(value, dtype=self.dtype, device=self.device)
        elif type(value) is not Tensor or value.layout is not torch.strided or value.is_meta:
            found = None if self.device.type == "meta" else what_else(value)
            if found is not None:
                raise ValueError(f"CatMetric: `value` must be a dense tensor, got {found}.")
        numbers = value.detach()
        if isinstance(self.nan_strategy, float) or (numbers.is_cpu and _may_hold_nan(numbers)):
            numbers, _ = self._cast_and_nan_check_input(numbers)
        if numbers.numel():
            self._check_shape(self.value, numbers)
            self.value.append(numbers.to(self.dtype, copy=True))

    def _check_shape(self, kept: Tensor | list[Tensor], numbers: Tensor) -> None:
        """Raise ``ValueError`` for numbers that cannot be concatenated to those kept before."""
        if not isinstance(kept, Tensor):
            if not kept:
                return
            kept = kept[0]
        if numbers.shape[1:] != kept.shape[1:]:  # a number stands for a row of one
            raise ValueError(
                f"{type(self).__name__}: `value` must have the shape of the numbers before but for"
                f" the first axis, {tuple(kept.shape)}, got {tuple(numbers.shape)}."
            )

    def _join(self, total: States, batch: States) -> None:
        for numbers in batch.values["value"]:
            self._check_shape(total.values["value"], numbers)
        super()._join(total, batch)

    def _follow(self, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not wants_gradients(*args, *kwargs.values()):
            return value
        (numbers,) = (*args, *kwargs.values())
        numbers = numbers.to(self.dtype)
        bad = numbers.isnan()
        if isinstance(self.nan_strategy, float):
            numbers = torch.where(bad, self.nan_strategy, numbers)
        elif self.nan_strategy != "disable" and bad.any():
            numbers = numbers[~bad]
        return as_scalar(numbers.reshape(value.shape))

    def compute(self) -> Tensor | list[Tensor]:
        """Return the numbers in the dtype of the metric; an empty list without data."""
        parts = [self.value] if isinstance(self.value, Tensor) else self.value
        kept = [part if part.is_cpu else self._cast_and_nan_check_input(part)[0] for part in parts]
        if len(kept) == 1 and kept[0].ndim:
            return kept[0]
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


if not TYPE_CHECKING:
    __getattr__ = names_of_others(__name__)
