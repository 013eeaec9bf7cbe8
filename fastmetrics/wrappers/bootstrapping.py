"""How far a value would be off on other data of the same kind: the bootstrap."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import ModuleList

from fastmetrics.core.keywords import update_of
from fastmetrics.metric import Metric, is_native
from fastmetrics.ops.bootstrap import bootstrap_weights_
from fastmetrics.utilities.checks import check_bool, check_choice, check_int
from fastmetrics.utilities.data import map_tensors
from fastmetrics.wrappers._inside import MetricsInside, tensors_in
from fastmetrics.wrappers._replicas import (
    CountsSamples,
    Replicas,
    can_replicate,
    counts_texts,
    stacked,
)

__all__ = ["BootStrapper"]

SAMPLING_STRATEGIES = ("poisson", "multinomial")

Batch = tuple[tuple[Any, ...], dict[str, Any]]


@functools.lru_cache(maxsize=1024)
def _with_numbers(update: Callable[..., Any]) -> SimpleNamespace:
    """Return what has an ``update`` that takes the keywords of this one and sample numbers."""

    def taking(*args: Any, **kwargs: Any) -> None: ...

    signature = inspect.signature(update)
    kind = inspect.Parameter.KEYWORD_ONLY
    rest = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    last = [p for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    numbers = inspect.Parameter("sample_numbers", kind, default=None)
    told: Any = taking
    told.__signature__ = signature.replace(parameters=[*rest, numbers, *last])
    told.added = getattr(update, "added", frozenset())
    return SimpleNamespace(update=told)


def _bootstrap_sampler(size: int, sampling_strategy: str = "poisson") -> Tensor:
    """Draw which of ``size`` samples a replica gets; derived classes know it under this name."""
    check_choice("sampling_strategy", sampling_strategy, SAMPLING_STRATEGIES)
    same = torch.ones(size)
    if sampling_strategy == "poisson":
        return torch.arange(size).repeat_interleave(torch.poisson(same).long())
    return torch.multinomial(same, size, replacement=True)


class BootStrapper(CountsSamples, MetricsInside):
    """A metric over replicas of its data, in each of which chance says how often a sample counts.

    The value is a dict of statistics of the values of all replicas: ``mean``, ``std``, ``quantile``
    and ``raw``, the values themselves, ``[num_bootstraps, ...]``; each by name where the metric has
    several values.

    With ``"poisson"``, metrics that count or sum keep all replicas in one state. How often a sample
    counts follows from ``seed``, the number of the sample and that of the replica alone, so that
    the replicas are the same for any split into batches and processes; samples are counted in the
    order in which they come, those of several processes in turn, or get ``sample_numbers``. Metrics
    over classes and of texts then update all replicas in one pass over the batch. Other metrics,
    and classes that are derived from this one, have a copy for each replica, and without a ``seed``
    draw as torchmetrics does.

    Args:
        base_metric: a metric.
        num_bootstraps: how many replicas there are.
        mean: whether the value has the mean over replicas.
        std: whether the value has the standard deviation.
        quantile: which quantile, or quantiles, over all values of all replicas it has.
        raw: whether the value has those of the replicas.
        sampling_strategy: ``"poisson"``, weights of mean 1 that know nothing of each other, or
            ``"multinomial"``, as many samples as the batch has, drawn with replacement.
        seed: of the weights of ``"poisson"``; drawn from torch's generator by default.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``base_metric`` is no metric, ``sampling_strategy`` is unknown, a ``seed`` is
            given for ``"multinomial"``, ``num_bootstraps`` is not positive, or a flag no bool.
        TypeError: ``num_bootstraps`` or ``seed`` is no integer.

    Example:
        >>> import torch
        >>> from fastmetrics.classification import MulticlassAccuracy
        >>> from fastmetrics.wrappers import BootStrapper
        >>> metric = BootStrapper(MulticlassAccuracy(2), num_bootstraps=200, seed=0)
        >>> target = torch.tensor([0, 1]).repeat(500)
        >>> metric.update(target.where(torch.arange(1000) % 10 > 0, 0), target)
        >>> metric.compute()
        {'mean': tensor(1.), 'std': tensor(0.)}
        >>> metric.update(1 - target[:250], target[:250])
        >>> low, high = metric.confidence_interval(0.95)
        >>> bool(low < 0.8 < high)
        True
    """

    fused_update = True
    full_state_update = True

    def __init__(
        self,
        base_metric: Metric,
        num_bootstraps: int = 10,
        mean: bool = True,
        std: bool = True,
        quantile: float | Tensor | None = None,
        raw: bool = False,
        sampling_strategy: str = "poisson",
        *,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(base_metric, Metric):
            raise ValueError(f"`base_metric` must be a Metric, got {base_metric!r}.")
        for name, number in (
            ("num_bootstraps", num_bootstraps),
            ("seed", seed),
        ):
            if number is not None and not isinstance(number, int):
                raise TypeError(f"`{name}` must be an integer, got {number!r}.")
        check_int("num_bootstraps", num_bootstraps, 1)
        check_choice("sampling_strategy", sampling_strategy, SAMPLING_STRATEGIES)
        for name, flag in (("mean", mean), ("std", std), ("raw", raw)):
            check_bool(name, flag)
        poisson = sampling_strategy == "poisson"
        if seed is not None and not poisson:
            raise ValueError("`seed` needs sampling_strategy='poisson'.")
        self.num_bootstraps = num_bootstraps
        self.mean = mean
        self.std = std
        self.quantile = quantile
        self.raw = raw
        self.sampling_strategy = sampling_strategy
        self.seed = seed
        self._count_samples()
        # A class of a user may update `metrics` itself, as that of torchmetrics lets it.
        plain = type(self) is BootStrapper
        fits = plain and can_replicate(base_metric)
        self._together = fits and (poisson or counts_texts(base_metric))
        if self._together:
            if poisson and seed is None:
                seed = int(torch.empty((), dtype=torch.int64).random_())
            self.replicas = Replicas(base_metric, num_bootstraps, seed)
        else:
            self.metrics = ModuleList([deepcopy(base_metric) for _ in range(num_bootstraps)])

    def update(self, *args: Any, sample_numbers: Tensor | None = None, **kwargs: Any) -> None:
        """Add a batch.

        Args:
            args: as for the metric; samples lie along the first axis of all tensors.
            sample_numbers: int64 ``[N]``, which tell samples apart wherever they are counted. Only
                where weights follow from a seed.
            kwargs: as for the metric.

        Raises:
            ValueError: the batch has no tensor with an axis of samples.
        """
        if self._together:
            self.replicas.update(*args, numbers=sample_numbers, **kwargs)
            return
        batches, seen = self._resampled(args, kwargs, sample_numbers)
        copies: list[Any] = [m for m in self.metrics if is_native(m)]
        before = [metric._private().copy() for metric in copies]
        try:
            self._give(batches)
        except Exception:
            for copied, states in zip(copies, before, strict=True):
                copied._point(states)
            raise
        self.seen.copy_(seen)

    def forward(self, *args: Any, sample_numbers: Tensor | None = None, **kwargs: Any) -> Any:
        """Add a batch and return its value; arguments as for ``update``."""
        if self._together:
            raw = self.replicas(*args, numbers=sample_numbers, **kwargs)
            return self._forwarded(self._summary(raw))
        if self._has_own_steps(BootStrapper):
            if sample_numbers is not None:
                kwargs["sample_numbers"] = sample_numbers
            return self._forward_by_steps(args, kwargs)
        batches, seen = self._resampled(args, kwargs, sample_numbers)
        values = self._forward_each([*self.metrics], lambda: self._give(batches))
        if values is None:
            pairs = zip(self.metrics, batches, strict=True)
            values = [self._value_of(m, b) for m, b in pairs]
        self.seen.copy_(seen)
        return self._forwarded(self._summary(stacked(values)))

    @staticmethod
    def _value_of(metric: Any, batch: Batch | None) -> Any:
        return metric.compute() if batch is None else metric(*batch[0], **batch[1])

    def _give(self, batches: list[Batch | None]) -> None:
        for metric, batch in zip(self.metrics, batches, strict=True):
            if batch is not None:
                metric.update(*batch[0], **batch[1])  # type: ignore[operator]  # torch: any module

    def _resampled(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], numbers: Tensor | None
    ) -> tuple[list[Batch | None], Tensor]:
        """Return what each copy gets, None where it gets nothing, and how many were seen then."""
        tensors = tensors_in((args, kwargs))
        if not tensors:
            raise ValueError("`update` needs a tensor, whose first axis is that of the samples.")
        batches: list[Batch | None] = []
        seen = self.seen.clone()
        for chosen in self._choices(len(tensors[0]), numbers, seen):
            chosen = chosen.to(self.device)

            def select(tensor: Tensor, chosen: Tensor = chosen) -> Tensor:
                return tensor.index_select(0, chosen)

            batches.append(map_tensors(select, (args, kwargs)) if chosen.numel() else None)
        return batches, seen

    def _choices(self, size: int, numbers: Tensor | None, seen: Tensor) -> list[Tensor]:
        """Return which samples each copy gets."""
        everyone = range(self.num_bootstraps)
        if self.seed is not None:
            weights = torch.empty(size, self.num_bootstraps, dtype=torch.uint8, device=self.device)
            bootstrap_weights_(weights, seen, numbers, self.seed, *self._turn(numbers))
            every = torch.arange(size, device=self.device)
            return [every.repeat_interleave(weights[:, r].long()) for r in everyone]
        if numbers is not None:
            raise ValueError("`sample_numbers` need a `seed` with this metric.")
        return [_bootstrap_sampler(size, self.sampling_strategy) for _ in everyone]

    def _raw(self) -> Any:
        if self._together:
            return self.replicas.compute()
        return stacked([metric.compute() for metric in self.metrics])  # type: ignore[operator]

    def _value(self) -> dict[str, Any]:
        return self._summary(self._raw())

    def _summary(self, raw: Any) -> dict[str, Any]:
        value: dict[str, Any] = {}
        if self.mean:
            value["mean"] = map_tensors(lambda each: each.mean(dim=0), raw)
        if self.std:
            value["std"] = map_tensors(lambda each: each.std(dim=0), raw)
        share = self.quantile
        if share is not None:
            value["quantile"] = map_tensors(lambda each: torch.quantile(each, share), raw)
        if self.raw:
            value["raw"] = raw
        return value

    def confidence_interval(self, level: float = 0.95) -> tuple[Any, Any]:
        """Return the ends of the interval that holds a share of the values of the replicas.

        They are the quantiles ``(1 - level) / 2`` and ``(1 + level) / 2`` over replicas; by name
        where the metric has several values.

        Args:
            level: which share, in (0, 1).

        Raises:
            ValueError: ``level`` lies outside.
        """
        if not isinstance(level, float) or not 0.0 < level < 1.0:
            raise ValueError(f"`level` must be a float in (0, 1), got {level!r}.")
        raw = self._with_all_states(self._raw)

        def end(share: float) -> Any:
            return map_tensors(lambda each: torch.quantile(each, share, dim=0), raw)

        return end((1 - level) / 2), end((1 + level) / 2)

    @property
    def _hands_on(self) -> Any:
        inner = self.replicas.metric if self._together else self.metrics[0]
        return _with_numbers(update_of(inner))

    def __getattr__(self, name: str) -> Any:
        """Return copies of the metric with the states of the replicas, to read, as ``metrics``."""
        replicas = self.__dict__.get("_modules", {}).get("replicas")
        if name == "metrics" and replicas is not None:
            return ModuleList([replicas.of_replica(r) for r in range(self.num_bootstraps)])
        return super().__getattr__(name)
