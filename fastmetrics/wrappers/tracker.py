"""The values of a metric over the steps of a training."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import ModuleList

from fastmetrics.collections import MetricCollection, is_native_collection
from fastmetrics.core.scripting import Unscripted
from fastmetrics.core.states import Forgotten, Reader
from fastmetrics.core.syncing import independent_copy, with_all_states
from fastmetrics.metric import Metric, is_native
from fastmetrics.utilities.prints import rank_zero_warn
from fastmetrics.wrappers.classwise import ClasswiseWrapper

__all__ = ["MetricTracker"]


class MetricTracker(ModuleList, Unscripted):
    """A metric, or collection, with one value for each step, such as an epoch.

    ``increment`` begins a step; ``update``, ``forward`` and ``compute`` are those of the metric of
    the last one. The first element of the list is the metric that was given, the element ``i`` that
    of step ``i``, counted from 1. Networks and process groups in a metric are not copied. A step
    before the last one keeps its value alone once that was computed: its states are dropped, and
    cannot be read or updated until a reset. They are kept by metrics with
    ``compute_with_cache=False`` or persistent states, by wrappers, and by torchmetrics' metrics.

    Args:
        metric: a metric or collection.
        maximize: whether the largest value is the best, or the smallest; for a collection also a
            list with an entry for each metric. None: what the metrics say.

    Raises:
        TypeError: ``metric`` is neither.
        AttributeError: ``maximize`` is None, and a metric does not say ``higher_is_better``.
        ValueError: ``maximize`` is no bool and no list of bools of the right length.

    Example:
        >>> from fastmetrics import SumMetric
        >>> from fastmetrics.wrappers import MetricTracker
        >>> tracker = MetricTracker(SumMetric(), maximize=True)
        >>> for epoch in ([1.0, 2.0], [4.0], [0.5]):
        ...     tracker.increment()
        ...     tracker.update(epoch)
        >>> tracker.compute_all()
        tensor([3.0000, 4.0000, 0.5000])
        >>> tracker.best_metric(return_step=True)
        (4.0, 1)
    """

    maximize: bool | list[bool]

    def __init__(
        self, metric: Metric | MetricCollection, maximize: bool | list[bool] | None = None
    ) -> None:
        super().__init__()
        if not isinstance(metric, (Metric, MetricCollection)):
            raise TypeError(f"`metric` must be a Metric or MetricCollection, got {metric!r}.")
        self._base_metric = metric
        if maximize is None:
            self.maximize = _better_of(metric)
        else:
            self.maximize = _check_maximize(maximize, metric)
        self._increment_called = False

    @property
    def n_steps(self) -> int:
        """The number of steps."""
        return len(self) - 1

    def increment(self) -> None:
        """Begin a step, with an empty metric.

        Of the one before it, the states are dropped if its value was computed and stays cached.
        """
        self._increment_called = True
        self._keep_values()
        self.append(independent_copy(self._base_metric))

    def _keep_values(self) -> None:
        """Drop the states of all steps whose values are known."""
        base: Any = self._base_metric
        for step in [*self][1:]:
            metrics: list[Any]
            if is_native(step):
                metrics, bases = [step], [base]
            elif is_native_collection(step):
                with step._lock:
                    step._live_plan()
                metrics, bases = [*step._modules.values()], [*base._modules.values()]
            else:
                continue
            if all(map(_value_is_enough, metrics)) and len(metrics) == len(bases):
                for metric, like in zip(metrics, bases, strict=True):
                    _forget(metric, like)

    def _check_for_increment(self, method: str) -> None:
        if not self._increment_called:
            raise ValueError(f"Call `increment` before `{method}`.")

    def _current(self, method: str) -> Any:
        self._check_for_increment(method)
        return self[-1]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch to the last step and return its value."""
        return self._current("forward")(*args, **kwargs)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch to the last step.

        Raises:
            ValueError: there is no step yet, as in the other methods.
        """
        self._current("update").update(*args, **kwargs)

    def compute(self) -> Any:
        """Return the value of the last step."""
        return self._current("compute").compute()

    def compute_all(self) -> Any:
        """Return the values of all steps, stacked along a new first axis.

        A dict where the metric returns one; a list where the values cannot be stacked.
        """
        self._check_for_increment("compute_all")
        steps = [cast(Any, step) for step in [*self][1:]]
        sources: dict[str, Metric] = {}
        for i, step in enumerate(steps, 1):
            if is_native(step) or is_native_collection(step):
                sources.update(step._sources(f"step {i} "))
        return with_all_states(sources, lambda: _stacked([step.compute() for step in steps]))

    def reset(self) -> None:
        """Reset the metric of the last step."""
        cast(Any, self[-1]).reset()

    def reset_all(self) -> None:
        """Reset the metrics of all steps."""
        for metric in self:
            cast(Any, metric).reset()

    def best_metric(self, return_step: bool = False) -> Any:
        """Return the best value over all steps, by name where the metric returns a dict.

        None, with a warning, where no value is the best: values that are no numbers.

        Args:
            return_step: return ``(value, step)``, with steps counted from 0.
        """
        values = self.compute_all()
        if isinstance(values, list):
            rank_zero_warn("The values of the steps cannot be stacked, so none is the best.")
            return (None, None) if return_step else None
        if not isinstance(values, dict):
            largest = cast(bool, self.maximize)
            found = _best("the metric", values, largest)
            return found if return_step else found[0]
        maximize = self.maximize
        if not isinstance(maximize, list):
            maximize = [maximize] * len(values)
        best = {
            name: _best(name, value, largest)
            for (name, value), largest in zip(values.items(), maximize, strict=True)
        }
        value = {name: each[0] for name, each in best.items()}
        return (value, {name: each[1] for name, each in best.items()}) if return_step else value

    def plot(self, val: Any | None = None, ax: Any | None = None) -> Any:
        """Plot values, by default those of all steps.

        Args:
            val: a result of ``compute_all``, or a list of values.
            ax: a matplotlib axis to draw on.

        Returns:
            The figure (None when ``ax`` was given) and the axis.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        from fastmetrics.utilities.plot import plot_single_or_multi_val

        val = self.compute_all() if val is None else val
        return plot_single_or_multi_val(val, ax=ax, name=type(self).__name__)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Begin the steps that the checkpoint has, for the metrics to load."""
        names = (key.removeprefix(prefix).partition(".")[0] for key in state_dict)
        last = max((int(name) for name in names if name.isdecimal()), default=0)
        while self.n_steps < last:
            self.increment()
        super()._load_from_state_dict(state_dict, prefix, *args)


def _value_is_enough(metric: Any) -> bool:
    """Whether a metric gives its value without its states, and no checkpoint asks for these."""
    return (
        is_native(metric)
        and metric._computed is not None
        and not metric._is_synced
        and not any(metric._persistent.values())
    )


def _forget(metric: Metric, like: Metric) -> None:
    states = metric._states
    own = states.own if isinstance(states, Reader) else states
    for name in states.defaults:
        metric.__dict__.pop(name, None)  # what tools are shown
    if not isinstance(own.values, Forgotten):
        own.forget(like._states.defaults)
    if isinstance(states, Reader):
        states.forget()


def _better_of(metric: Any) -> bool | list[bool]:
    if not isinstance(metric, MetricCollection):
        return _says_better(type(metric).__name__, metric)
    better: list[bool] = []
    for name, each in metric.items():
        times = 1
        if isinstance(each, ClasswiseWrapper):
            inside = each.metric
            classes = getattr(inside, "num_classes", None) or getattr(inside, "num_labels", None)
            times = classes if isinstance(classes, int) else 1
        better += [_says_better(name, each)] * times
    return better


def _says_better(name: str, metric: Any) -> bool:
    better: bool | None = getattr(metric, "higher_is_better", None)
    if better is None:
        raise AttributeError(f"{name} does not say `higher_is_better`; give `maximize`.")
    return better


def _check_maximize(maximize: Any, metric: Any) -> bool | list[bool]:
    several = isinstance(maximize, list)
    bools = maximize if several else [maximize]
    if not all(isinstance(each, bool) for each in bools):
        raise ValueError(f"`maximize` must be None, a bool or a list of bools, got {maximize!r}.")
    if several and not isinstance(metric, MetricCollection):
        raise ValueError(f"`maximize` must be one bool for one metric, got {maximize!r}.")
    if several and len(maximize) != len(metric):
        raise ValueError(
            f"`maximize` must have an entry for each of the {len(metric)} metrics, got {maximize!r}"
        )
    checked: bool | list[bool] = maximize
    return checked


def _stacked(values: list[Any]) -> Any:
    """Return the values of steps along a new first axis; as they are where that cannot be."""
    first = values[0]
    try:
        if isinstance(first, dict):
            return {name: torch.stack([value[name] for value in values]) for name in first}
        if isinstance(first, list):
            return torch.stack([torch.stack(value) for value in values])
        return torch.stack(values)
    except TypeError:
        return values


def _best(name: str, values: Tensor, largest: bool) -> tuple[Any, Any]:
    try:
        value, step = (torch.max if largest else torch.min)(values, 0)
        return value.item(), step.item()
    except (ValueError, RuntimeError) as error:
        rank_zero_warn(f"{name} has no best value: {error}.", UserWarning)
        return None, None
