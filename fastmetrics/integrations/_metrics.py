"""What all integrations do with metrics and their values."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from fastmetrics.collections import MetricCollection, is_native_collection
from fastmetrics.core.locking import hold
from fastmetrics.core.syncing import put_back, sync_for_compute
from fastmetrics.metric import Metric

Metrics = Metric | MetricCollection | Mapping[str, Metric]


def as_collection(metrics: Metrics) -> MetricCollection:
    """Return a collection of what was given; a collection is itself.

    Raises:
        ValueError: it is no metric, no collection and no dict of metrics.
    """
    if is_native_collection(metrics):
        return metrics
    return MetricCollection(dict(metrics) if isinstance(metrics, Mapping) else metrics)


@contextmanager
def states_of_all(collection: MetricCollection) -> Generator[None, None, None]:
    """Hold the states of all processes, after one exchange, for ``compute`` of each metric."""
    sources = collection._sources()
    with ExitStack() as stack:
        hold(stack, sources.values())
        held = [(metric, metric._pointers()) for metric in sources.values()]
        try:
            sync_for_compute(sources)
            yield
        finally:
            put_back(held)


def as_number(value: Any) -> Any:
    """Return Python numbers instead of tensors, in lists where there are several."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [as_number(each) for each in value]
    return value
