"""Metrics that share one network, which sees each batch once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import Module

from fastmetrics.collections import MetricCollection
from fastmetrics.metric import Metric
from fastmetrics.utilities.prints import rank_zero_warn

__all__ = ["FeatureShare"]


def _key_of(value: Any) -> Any:
    """Return what is equal for the same tensor as long as nobody has changed it in place."""
    if isinstance(value, Tensor):
        return id(value), None if value.is_inference() else value._version
    return value


class NetworkCache(Module):
    """A network that remembers what it returned for the last inputs.

    Inputs are told apart by identity and by changes in place, not by content.

    Args:
        network: a module.
        max_size: how many results are kept; the one used longest ago goes first.

    Example:
        >>> import torch
        >>> from fastmetrics.wrappers.feature_share import NetworkCache
        >>> network, image = NetworkCache(torch.nn.Linear(4, 2)), torch.rand(1, 4)
        >>> network(image) is network(image)
        True
    """

    def __init__(self, network: Module, max_size: int = 100) -> None:
        super().__init__()
        self.max_size = max_size
        self.network = network
        # The inputs are kept as well: their ids must not be given to others meanwhile.
        self._results: OrderedDict[Any, tuple[Any, Any]] = OrderedDict()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the network returns, or has returned, for these inputs."""
        key = (
            *map(_key_of, args),
            *((name, _key_of(value)) for name, value in sorted(kwargs.items())),
        )
        if key in self._results:
            self._results.move_to_end(key)
            return self._results[key][1]
        value = self.network(*args, **kwargs)
        self._results[key] = (args, kwargs), value
        while len(self._results) > max(self.max_size, 0):
            self._results.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget all results."""
        self._results.clear()

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the results: ids of a copy would be others."""
        return {**self.__dict__, "_results": OrderedDict()}


class FeatureShare(MetricCollection):
    """A collection whose metrics share the network of the first, which sees each batch once.

    Every metric names the attribute that holds its network in ``feature_network``. ``reset``
    forgets the features.

    Args:
        metrics: as for :class:`~fastmetrics.collections.MetricCollection`.
        max_cache_size: the features of how many inputs are kept; the number of metrics by default.

    Raises:
        TypeError: ``max_cache_size`` is no integer, or a ``feature_network`` no string.
        AttributeError: a metric has no ``feature_network``.

    Example:
        >>> import torch
        >>> from fastmetrics import Metric
        >>> from fastmetrics.wrappers import FeatureShare
        >>> class MeanFeature(Metric):
        ...     feature_network = "network"
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.network = torch.nn.Identity()
        ...         self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        ...     def update(self, images):
        ...         self.total += self.network(images).mean()
        ...     def compute(self):
        ...         return self.total
        >>> metrics = FeatureShare({"a": MeanFeature(), "b": MeanFeature()})
        >>> metrics.update(torch.tensor([1.0, 3.0]))
        >>> metrics.compute()
        {'a': tensor(2.), 'b': tensor(2.)}
    """

    def __init__(
        self,
        metrics: Metric | Sequence[Metric] | dict[str, Metric],
        max_cache_size: int | None = None,
    ) -> None:
        super().__init__(metrics, compute_groups=False)
        size = len(self) if max_cache_size is None else max_cache_size
        if not isinstance(size, int):
            raise TypeError(f"`max_cache_size` must be an integer, got {max_cache_size!r}.")
        networks = [_network_of(name, metric) for name, metric in self.items()]
        shared = networks[0]
        for name, network in zip(self.keys(), networks, strict=True):
            if str(network) != str(shared):
                rank_zero_warn(
                    f"{name} has another network than the first metric, and uses that from now on.",
                    UserWarning,
                )
        self._shared_network = (NetworkCache(shared, max_size=size),)  # no module of its own
        for metric in self.values():
            setattr(metric, metric.feature_network, self._shared_network[0])

    def reset(self) -> None:
        """Reset all metrics, and forget the features."""
        super().reset()
        self._shared_network[0].clear()


def _network_of(name: str, metric: Any) -> Module:
    if not hasattr(metric, "feature_network"):
        raise AttributeError(
            f"{name} must have an attribute `feature_network`, the name of the attribute that holds"
            " the network to share."
        )
    where = metric.feature_network
    if not isinstance(where, str):
        raise TypeError(f"`feature_network` of {name} must be a string, got {where!r}.")
    network: Module = getattr(metric, where)
    return network
