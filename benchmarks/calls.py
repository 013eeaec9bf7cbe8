"""How each library is called: a call takes the inputs and gives what to time and what came out."""

import importlib
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from fastmetrics.ops.define import REFERENCES

# Tensors, or strings in lists.
Inputs = tuple[Any, ...]


class Started(NamedTuple):
    """One library, ready with a fresh state."""

    run: Callable[[], Any]
    value: Callable[[], Any]


Call = Callable[[Inputs], Started]


def find(name: str) -> ModuleType | None:
    """Import a library that may be missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def device_of(inputs: Inputs) -> torch.device:
    """Return the device of tensors; texts are on the CPU."""
    return inputs[0].device if isinstance(inputs[0], Tensor) else torch.device("cpu")


def update(make: Callable[[], Any]) -> Call:
    """Time one ``update`` of the metric that ``make`` builds."""

    def start(inputs: Inputs) -> Started:
        metric = make().to(device_of(inputs))
        return Started(partial(metric.update, *inputs), metric.compute)

    return start


def update_number(make: Callable[[], Any]) -> Call:
    """Time one ``update`` with a Python number; of the inputs only the device counts."""

    def start(inputs: Inputs) -> Started:
        metric = make().to(device_of(inputs))
        return Started(partial(metric.update, 1.5), metric.compute)

    return start


def forward(make: Callable[[], Any]) -> Call:
    """Time one call of the metric: the batch is added, and its value comes back."""

    def start(inputs: Inputs) -> Started:
        run = partial(make().to(device_of(inputs)), *inputs)
        return Started(run, run)

    return start


def update_and_compute(make: Callable[[], Any]) -> Call:
    """Time all it takes from tensors to a value, starting from the empty state each time."""

    def start(inputs: Inputs) -> Started:
        metric = make().to(device_of(inputs))

        def run() -> Any:
            metric.reset()
            metric.update(*inputs)
            return metric.compute()

        return Started(run, run)

    return start


def update_in_batches(make: Callable[[], Any], size: int) -> Call:
    """Time the updates with consecutive parts of ``size`` samples."""

    def start(inputs: Inputs) -> Started:
        metric = make().to(device_of(inputs))
        batches = list(zip(*(tensor.split(size) for tensor in inputs), strict=True))

        def run() -> None:
            for batch in batches:
                metric.update(*batch)

        return Started(run, metric.compute)

    return start


def function(compute: Callable[..., Any]) -> Call:
    """Time the stateless call from tensors to a value."""

    def start(inputs: Inputs) -> Started:
        run = partial(compute, *inputs)
        return Started(run, run)

    return start


def arrays(compute: Callable[..., Any]) -> Call:
    """Time a call on NumPy arrays, in the order ``(target, preds)`` of scikit-learn."""

    def start(inputs: Inputs) -> Started:
        preds, target = (tensor.numpy() for tensor in inputs)
        run = partial(compute, target, preds)
        return Started(run, run)

    return start


def bare(make: Callable[[], Any], name: str, *tail: Any) -> Call:
    """Time the op that a metric calls, on the states of that metric."""
    return _on_states(make, lambda: getattr(torch.ops.fastmetrics, name).default, tail)


def reference(make: Callable[[], Any], name: str, *tail: Any) -> Call:
    """Time the plain torch twin of the op."""
    return _on_states(make, lambda: REFERENCES[name], tail)


def _on_states(
    make: Callable[[], Any], find_op: Callable[[], Callable[..., None]], tail: tuple[Any, ...]
) -> Call:
    def start(inputs: Inputs) -> Started:
        metric = make().to(device_of(inputs))
        own = [x.to(device_of(inputs)) if isinstance(x, Tensor) else x for x in tail]
        return Started(
            partial(find_op(), metric.counts, metric.events, *inputs, *own), metric.compute
        )

    return start


def floor(inputs: Inputs) -> Started:
    """Time reading the same inputs once: the sums of tensors, a search through strings."""
    parts = [part for part in tree_leaves(inputs) if isinstance(part, (Tensor, str))]

    def read() -> None:
        for part in parts:
            part.sum() if isinstance(part, Tensor) else part.find("\0")

    return Started(read, lambda: 0.0)
