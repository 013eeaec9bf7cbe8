"""Which keys of what a model returns feed which metric of a collection."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from typing_extensions import Self

from fastmetrics.core.keywords import known_to, needed_by
from fastmetrics.core.locking import serial
from fastmetrics.core.sharing import CollectionPlan, Route, forward_step
from fastmetrics.metric import is_native

Outputs = tuple[Mapping[Hashable, Any], ...]


class Routes:
    """Arguments of ``update``, and the keys they are read from.

    Args:
        common: what holds for every metric that takes the argument.
        own: by the name of a metric, what holds for that one instead or besides.
    """

    def __init__(
        self, common: Mapping[str, Hashable], own: Mapping[str, Mapping[str, Hashable]]
    ) -> None:
        self.common = dict(common)
        self.own = {name: dict(keys) for name, keys in own.items()}

    def of(self, name: str, metric: Any) -> Route:
        """Return the pairs of argument and key of one metric."""
        common = known_to(metric, self.common)
        keys = {**common, **self.own.get(name, {})}
        return tuple((argument, keys[argument]) for argument in sorted(keys))

    def check(self, metrics: Mapping[str, Any]) -> None:
        """Raise ``ValueError`` unless every key has a metric, and every metric what it needs."""
        unknown = sorted(self.own.keys() - metrics.keys())
        if unknown:
            raise ValueError(f"`routes` must name some of {[*metrics]}, got {unknown}.")
        for name, keys in self.own.items():
            stray = sorted(keys.keys() - known_to(metrics[name], keys).keys())
            if stray:
                raise ValueError(f"`update` of {name} takes no argument {', '.join(stray)}.")
        for argument in self.common:
            if not any(known_to(metric, {argument: None}) for metric in metrics.values()):
                raise ValueError(f"`update` of no metric takes an argument {argument}.")
        lost = [name for name, metric in metrics.items() if not self.of(name, metric)]
        if lost:
            raise ValueError(f"{', '.join(lost)}: no argument of `update` has a key.")
        for name, metric in metrics.items():
            missing = sorted({*needed_by(metric)} - dict(self.of(name, metric)).keys())
            if missing:
                raise ValueError(f"`update` of {name} needs a key for {', '.join(missing)}.")


def _read(route: Route, outputs: Outputs) -> dict[str, Any]:
    """Return the arguments that a route names, each from the first output that has its key."""
    found = {}
    for argument, key in route:
        for output in outputs:
            if key in output:
                found[argument] = output[key]
                break
        else:
            keys = [name for output in outputs for name in output]
            raise ValueError(
                f"`{argument}` is read from the key {key!r}, which the outputs lack; they have"
                f" {keys}."
            )
    return found


class RoutedPlan(CollectionPlan):
    """A plan whose batches are mappings; groups of different routes share nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._distinct = tuple({step.route: None for step in self._steps})

    def _read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[Route, dict[str, Any]]:
        """Return the batch of each route, before any state has changed."""
        if not args or kwargs or not all(isinstance(output, Mapping) for output in args):
            given = [*(type(arg).__name__ for arg in args), *(f"{name}=" for name in kwargs)]
            raise ValueError(
                "A collection with `from_outputs` takes mappings by position, got"
                f" {', '.join(given) or 'nothing'}."
            )
        return {route: _read(route, args) for route in self._distinct}

    def update(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Add a batch to each state once."""
        batches = self._read(args, kwargs)
        try:
            for step in self._steps:
                step.update((), batches[step.route])
        except BaseException:
            self._mend()
            raise

    def forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int, Any]:
        """Add a batch, and return the value of each metric for it, by the metric's id."""
        self._refuse_synced()
        batches = self._read(args, kwargs)
        values: dict[int, Any] = {}
        try:
            for each in self._forwards:
                values.update(forward_step(*each, (), batches[each[0].route]))
        except BaseException:
            self._mend()
            raise
        return values


class Routed:
    """What a collection has to say which keys feed its metrics."""

    _routes: Routes | None = None
    _modules: dict[str, Any]
    _make_plan: Callable[[], Any]

    @serial
    def from_outputs(
        self, routes: Mapping[str, Mapping[str, Hashable]] | None = None, /, **keys: Hashable
    ) -> Self:
        """Let ``update`` and ``forward`` take what models return: mappings instead of tensors.

        Afterwards ``update(outputs)`` reads each argument from its key, and ``update(outputs,
        batch)`` from the first of several mappings that has it. Metrics share states and passes
        over a batch as before if they read the same keys.

        Args:
            routes: by the name of a metric, the keys of its arguments where they are its own.
            keys: for each argument of ``update`` the key it is read from; metrics that do not take
                the argument do without it.

        Returns:
            The collection itself.

        Raises:
            ValueError: a metric or argument that is not there, or a metric that needs an argument
                which has no key. Later, from ``update`` and ``forward``, before any state has
                changed: a key that no output has, or outputs that are no mappings.

        Example:
            >>> import torch
            >>> from fastmetrics import MeanMetric, MetricCollection
            >>> from fastmetrics.classification import MulticlassAccuracy
            >>> metrics = MetricCollection(
            ...     {"accuracy": MulticlassAccuracy(2), "loss": MeanMetric()}
            ... ).from_outputs({"loss": {"value": "loss"}}, preds="logits", target="y")
            >>> outputs = {"logits": torch.eye(2), "loss": torch.tensor(0.5)}
            >>> metrics.update(outputs, {"y": torch.tensor([0, 1])})
            >>> metrics.compute()
            {'accuracy': tensor(1.), 'loss': tensor(0.5000)}
        """
        chosen = Routes(keys, routes or {})
        chosen.check(self._modules)
        for metric in self._modules.values():
            if is_native(metric):
                metric._private()  # those of different routes must not go on with one state
        self._routes = chosen
        self._make_plan()
        return self

    @property
    def reads_outputs(self) -> bool:
        """Whether ``update`` takes mappings, as :meth:`from_outputs` makes it."""
        return self._routes is not None

    def _route_of_each(self) -> dict[str, Route]:
        """Return the route of each metric by name, or none where batches come as they are."""
        routes = self._routes
        return {n: routes.of(n, metric) for n, metric in self._modules.items()} if routes else {}
