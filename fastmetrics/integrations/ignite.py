"""pytorch-ignite: metrics that follow an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastmetrics.collections import MetricCollection
from fastmetrics.integrations._metrics import Metrics, as_collection

if TYPE_CHECKING:
    from ignite.engine import Engine
    from ignite.engine.events import RemovableEventHandle

__all__ = ["attach"]


def attach(
    engine: Engine,
    metrics: Metrics,
    output_transform: Callable[[Any], Any] | None = None,
) -> list[RemovableEventHandle]:
    """Let metrics follow an engine: reset with each epoch, updated with each iteration.

    At the end of an epoch ``engine.state.metrics`` has their values under the names that
    ``compute`` of a collection gives them, as ignite's own metrics have theirs: Python numbers, or
    tensors on the CPU. Processes of ``torch.distributed`` share one exchange for all of them.

    Args:
        engine: an ``ignite.engine.Engine``.
        metrics: a collection, a metric (its name is that of its class) or a dict of metrics.
        output_transform: makes of the output of an iteration what ``update`` takes: a tuple of
            arguments, a mapping of keywords, or, for a collection with
            :meth:`~fastmetrics.MetricCollection.from_outputs`, a mapping that is read by its keys.
            By default the output is one of these.

    Returns:
        Handles of the three handlers; ``handle.remove()`` of each takes the metrics off again.

    Raises:
        ModuleNotFoundError: ignite is not installed.
        TypeError: ``engine`` is none, or, while it runs, the output is neither tuple nor mapping.
        ValueError: ``metrics`` are none.

    Example:
        >>> import torch
        >>> from ignite.engine import Engine
        >>> from fastmetrics.classification import BinaryAccuracy
        >>> from fastmetrics.integrations.ignite import attach
        >>> evaluator = Engine(lambda engine, batch: batch)
        >>> handles = attach(evaluator, {"accuracy": BinaryAccuracy()})
        >>> batch = torch.tensor([0.2, 0.7, 0.9, 0.4]), torch.tensor([0, 1, 1, 1])
        >>> evaluator.run([batch]).metrics
        {'accuracy': 0.75}
    """
    from ignite.engine import Engine, Events

    if not isinstance(engine, Engine):
        raise TypeError(f"`engine` must be an ignite Engine, got {type(engine).__name__}.")
    collection = as_collection(metrics)

    @torch.no_grad()
    def update(engine: Engine) -> None:
        output = engine.state.output
        _update(collection, output_transform(output) if output_transform else output)

    def compute(engine: Engine) -> None:
        engine.state.metrics.update(
            {name: _as_theirs(value) for name, value in collection.compute().items()}
        )

    return [
        engine.add_event_handler(Events.EPOCH_STARTED, collection.reset),
        engine.add_event_handler(Events.ITERATION_COMPLETED, update),
        engine.add_event_handler(Events.EPOCH_COMPLETED, compute),
    ]


def _update(collection: MetricCollection, output: Any) -> None:
    if isinstance(output, Mapping):
        if collection.reads_outputs:
            collection.update(output)
        else:
            collection.update(**output)
    elif isinstance(output, Sequence):
        collection.update(*output)
    else:
        raise TypeError(
            "The output of an iteration must be a tuple of arguments of `update` or a mapping, got"
            f" {type(output).__name__}; `output_transform` makes one of it."
        )


def _as_theirs(value: Any) -> Any:
    """Return a number for a scalar, and other tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.item() if value.ndim == 0 else value.cpu()
    if isinstance(value, (list, tuple)):
        return type(value)([_as_theirs(each) for each in value])
    return value
