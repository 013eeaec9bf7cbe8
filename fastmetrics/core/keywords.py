"""Which keywords of a call reach which of several metrics.

Many metrics take a ``weight`` that those of torchmetrics do not have. Code written for torchmetrics
may give a keyword of that name to one metric of a collection and count on the others not to notice.
So a keyword that another metric has upstream, or in a class of the user, does not reach those for
which it is an addition of this package.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

NONE: frozenset[str] = frozenset()
# All keywords that were added to any metric.
_ADDED: set[str] = set()


def adds(*names: str) -> Callable[[F], F]:
    """Say of an ``update`` which of its arguments torchmetrics' does not have."""
    _ADDED.update(names)

    def mark(update: F) -> F:
        update.added = frozenset(names)  # type: ignore[attr-defined]  # functions have attributes
        return update

    return mark


def update_of(metric: Any) -> Callable[..., Any]:
    """Return the ``update`` that says which keywords a metric takes: its own or that of its class.

    A wrapper that hands all on names the metric as ``_hands_on``.
    """
    metric = getattr(metric, "_hands_on", metric)
    update: Callable[..., Any] = metric.__dict__.get("update") or type(metric).update
    return update


@functools.lru_cache(maxsize=1024)
def keywords_of(update: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names of the arguments of ``update``, or None when it takes any keyword."""
    parameters = inspect.signature(update).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters if p.kind is not p.VAR_POSITIONAL)


def needed_by(metric: Any) -> list[str]:
    """Return the names of the arguments without which ``update`` of a metric cannot be called."""
    parameters = inspect.signature(metric.update).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]


def _parts(metrics: Iterable[Any]) -> Iterator[Any]:
    """Yield the metrics that get the keywords: of an expression those that it is made of."""
    for metric in metrics:
        if hasattr(type(metric), "_leaves"):
            yield from metric._leaves().values()
        else:
            yield metric


def added_by(metric: Any) -> frozenset[str]:
    """Return the keywords that only this package gives to a metric."""
    if hasattr(type(metric), "_leaves"):
        leaves = [*_parts([metric])]
        return NONE.union(*map(added_by, leaves)) - NONE.union(*map(_own, leaves))
    added: frozenset[str] = getattr(update_of(metric), "added", NONE)
    return added


def _own(metric: Any) -> frozenset[str]:
    """Return the keywords that a metric has by its own definition."""
    return (keywords_of(update_of(metric)) or NONE) - added_by(metric)


def claimed_by(metrics: Iterable[Any], kwargs: dict[str, Any]) -> frozenset[str]:
    """Return the keywords that one of the metrics has by its own definition.

    None of them matters unless a keyword was given that others have as an addition.
    """
    if not kwargs or _ADDED.isdisjoint(kwargs):
        return NONE
    return NONE.union(*map(_own, _parts(metrics)))


def known_to(metric: Any, kwargs: dict[str, Any], claimed: frozenset[str] = NONE) -> dict[str, Any]:
    """Return those of ``kwargs`` that ``update`` of a metric takes.

    ``claimed`` are those that others claim: a metric to which they were added goes without.
    """
    update = update_of(metric)
    names = keywords_of(update)
    others = claimed and claimed & added_by(metric)
    if names is None and not others:
        return kwargs
    return {k: v for k, v in kwargs.items() if (names is None or k in names) and k not in others}
