"""States as attributes of a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmetrics.metric import Metric


class StateAttribute:
    """Shows a state of the metric under its name; ``add_state`` puts one on the class.

    No ``property``: TorchScript compiles those. It also reads every attribute of a class, so that
    an instance without such a state must look like one without such an attribute.
    """

    def __init__(self, name: str, default: Any) -> None:
        self.name = name
        self.default = default  # what the class had under this name, for instances without a state

    def __get__(self, metric: Metric | None, owner: type | None = None) -> Any:
        if metric is None:
            return self if self.default is None else self.default
        try:
            return metric.__dict__["_states"].values[self.name]
        except KeyError:
            found = metric.__dict__.get(self.name, self.default)
        if found is None:
            raise AttributeError(f"{type(metric).__name__} has no state {self.name!r}.")
        return found

    def __set__(self, metric: Metric, value: Any) -> None:
        metric.__setattr__(self.name, value)


def show_states(cls: type, names: list[str]) -> None:
    """Make states attributes of the metrics of a class, unless it shows them in its own way."""
    for name in names:
        if isinstance(getattr(cls, name, None), StateAttribute):
            continue
        found = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
        if not hasattr(type(found), "__set__"):
            setattr(cls, name, StateAttribute(name, found))
