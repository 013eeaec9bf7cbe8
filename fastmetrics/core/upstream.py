"""What exists for torchmetrics' sake; nothing here imports it."""

from __future__ import annotations

import sys
from typing import Any

_registered: type | None = None

# While ours stand in for torchmetrics' classes: what each of ours stands in for.
peers: dict[type, type] = {}


def _upstream(module: str, name: str) -> Any:
    """Return a class of torchmetrics, or None unless somebody has imported it."""
    found: Any = getattr(sys.modules.get(module), name, None)
    return peers.get(found, found)


def register() -> None:
    """Make metrics pass ``isinstance(metric, torchmetrics.Metric)`` once someone imported that."""
    global _registered
    module = sys.modules.get("torchmetrics.metric")
    if module is None:
        return
    upstream = _upstream("torchmetrics.metric", "Metric")  # None while it is being imported
    if upstream is not None and upstream is not _registered:
        _registered = upstream
        upstream.register(sys.modules["fastmetrics.metric"].Metric)


# What the constructor of torchmetrics' Metric assigns, and what follows from the states here.
_FOLLOWING = ("_defaults", "_reductions", "_persistent", "_enable_grad", "_is_synced", "_cache")


def _ignore(metric: object, value: object) -> None:
    """Assign nothing."""


def put_ours_first(cls: type, ours: tuple[type, ...]) -> None:
    """Make a class that stems from torchmetrics' Metric, too, a metric of ours in whatever order.

    What both bases define would else be a mixture, in which each asks the other one. The wrapping
    around ``update`` and ``compute`` that torchmetrics gives to each instance is left out.
    """
    theirs = _upstream("torchmetrics.metric", "Metric")
    if theirs is None or theirs not in cls.__mro__ or "_ours_first" in vars(cls):
        return
    cls._ours_first = True  # type: ignore[attr-defined]
    for base in ours:
        for name, value in vars(base).items():
            first = next(each for each in cls.__mro__ if name in vars(each))
            if first is theirs and name != "__init__":
                setattr(cls, name, value)
    for name in _FOLLOWING:
        setattr(cls, name, property(getattr(cls, name).fget, _ignore))
    for name in ("_wrap_update", "_wrap_compute"):
        setattr(cls, name, staticmethod(lambda method: method))


def next_constructor(cls: type, base: type) -> Any:
    """Return the constructor that follows that of ``base`` in the bases of ``cls``.

    That of one of torchmetrics' metrics is none: ours in front of it has taken the arguments, and
    states what is counted.
    """
    rest = cls.__mro__[cls.__mro__.index(base) + 1 :]
    theirs = _upstream("torchmetrics.metric", "Metric")
    for each in rest:
        named = each.__module__.partition(".")[0] == "torchmetrics" and each is not theirs
        if "__init__" in vars(each) and not (named and theirs in each.__mro__):
            return vars(each)["__init__"]
    return object.__init__


def became_theirs(value: Any, state: dict[str, Any], ours: str) -> bool:
    """Make ``value`` one of torchmetrics' class if ``state`` was pickled by that.

    Pickle finds the class by its name, which means ours as long as ours stands in for it.
    ``ours`` is an attribute that only our class has.
    """
    theirs: Any = peers.get(type(value))
    if theirs is None or ours in state:
        return False
    object.__dict__["__class__"].__set__(value, theirs)
    theirs.__setstate__(value, state)
    return True


def is_upstream_class(cls: type) -> bool:
    """Whether instances of ``cls`` are metrics of torchmetrics by descent.

    Not so of its base class itself: it counts our base among its own subclasses.
    """
    upstream = _upstream("torchmetrics.metric", "Metric")
    return upstream is not None and cls is not upstream and upstream in cls.__mro__


def is_upstream_collection(cls: type) -> bool:
    """Whether instances of ``cls`` are collections of torchmetrics by descent."""
    return _upstream("torchmetrics.collections", "MetricCollection") in cls.__mro__


# A subclass of a collection class and of torchmetrics' one, for each pair of them.
_lookalikes: dict[tuple[type, type], type] = {}


class CollectionLookalike:
    """Makes ``isinstance(collection, torchmetrics.MetricCollection)`` true without importing it.

    That class has no ABC to register with; ``isinstance`` also believes ``__class__``, which
    names a subclass of both once torchmetrics is loaded.
    """

    @property  # type: ignore[misc]  # read-only is enough here
    def __class__(self) -> type:
        own = type(self)
        upstream = _upstream("torchmetrics.collections", "MetricCollection")
        if upstream is None:
            return own
        if (own, upstream) not in _lookalikes:
            _lookalikes[own, upstream] = type(own.__name__, (own, upstream), {})
        return _lookalikes[own, upstream]
