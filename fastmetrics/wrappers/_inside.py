"""What all wrappers share: metrics inside, which count the data in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.nn import Module, ModuleDict, ModuleList

from fastmetrics.collections import is_native_collection
from fastmetrics.core.forward import forward_together
from fastmetrics.core.locking import exclusive
from fastmetrics.core.syncing import with_all_states
from fastmetrics.metric import Metric, is_native
from fastmetrics.utilities.data import map_tensors
from fastmetrics.wrappers.abstract import WrapperMetric


def _inside(module: Module, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, child in module.named_children():
        if is_native(child) or is_native_collection(child):
            yield f"{prefix}.{name}", child
        elif isinstance(child, (ModuleList, ModuleDict)):
            yield from _inside(child, f"{prefix}.{name}")


def handed_on(inner: Any) -> Any:
    """Return the metric, behind all wrappers, that says which keywords ``inner`` takes."""
    return getattr(inner, "_hands_on", inner)


def tensors_in(batch: Any) -> list[Tensor]:
    """Return the tensors that the arguments of a call hold."""
    found: list[Tensor] = []

    def find(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(find, batch)
    return found


class MetricsInside(WrapperMetric):
    """A wrapper whose value is worked out from those of the metrics inside; ``_value`` says how.

    They are synchronised in one exchange, with whatever else a collection around holds.
    """

    def compute(self) -> Any:
        """Return the value over all data, and all processes."""
        return self._with_all_states(self._value)

    @exclusive  # before the metrics inside, as in updates
    def _with_all_states(self, read: Callable[[], Any]) -> Any:
        """Return what ``read`` makes of the states of all processes."""
        return with_all_states(self._sources(type(self).__name__), read)

    def _value(self) -> Any:
        """Return what the values of the metrics inside make together."""
        raise NotImplementedError

    def _sources(self, name: str) -> dict[str, Metric]:
        found: dict[str, Metric] = {}
        for path, inner in _inside(self, name):
            prefix = f"{path}." if is_native_collection(inner) else path
            found.update(inner._sources(prefix))
        return found

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the metrics inside synchronise themselves."""

    def _forwarded(self, value: Any) -> Any:
        """Count a batch that the metrics inside have got, and return its value."""
        self._private().note()
        object.__setattr__(self, "_forward_cache", value)
        return value

    def _has_own_steps(self, wrapper: type[MetricsInside]) -> bool:
        """Whether a class derived from the wrapper has an ``update`` or ``compute`` of its own."""
        own = type(self)
        return own.update is not wrapper.update or own.compute is not wrapper.compute

    def _forward_by_steps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Add a batch by ``update``, and return what ``compute`` makes of the batch alone."""
        self.update(*args, **kwargs)
        inside: list[Any] = [each for each in self.modules() if isinstance(each, Metric)]
        ours = [metric for metric in inside if is_native(metric)]
        states = [metric._private().copy() for metric in ours]
        # Such as the place in a window, which a reset forgets; ours may stay, extremes outlive it.
        kept = [(metric, dict(metric.__dict__)) for metric in inside if metric is not self]
        theirs = [(metric, metric._copy_state_dict()) for metric in inside if not is_native(metric)]
        try:
            for metric, _ in kept:
                metric.reset()
            self.update(*args, **kwargs)
            value = self.compute()
        finally:
            for metric, attributes in (*kept, *theirs):
                metric.__dict__.update(attributes)
            for metric, before in zip(ours, states, strict=True):
                metric._point(before)
        object.__setattr__(self, "_forward_cache", value)
        return value

    def _forward_each(self, metrics: list[Any], update: Callable[[], None]) -> list[Any] | None:
        """Return the values of a batch that ``update`` gives to the metrics; all take it, or none.

        None, and nothing done, if one of them has a ``forward`` of its own.
        """
        plain = all(is_native(m) and type(m).forward is Metric.forward for m in metrics)
        if not plain or len({id(m) for m in metrics}) < len(metrics):
            return None
        return forward_together(metrics, update)

    def reset(self) -> None:
        """Reset the metrics inside."""
        super().reset()
        for _, inner in _inside(self, ""):
            inner.reset()

    def persistent(self, mode: bool | str = False) -> None:
        """Choose whether the states of the metrics inside are part of ``state_dict``."""
        super().persistent(mode)
        for _, inner in _inside(self, ""):
            inner.persistent(mode)
