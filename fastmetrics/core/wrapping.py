"""The bookkeeping around ``update`` and ``compute`` of every metric class.

Whatever way a method comes into a class (a class statement, a mixin, an assignment), it is wrapped
when the class is made, and when a metric of it is made or unpickled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.compiler import is_compiling, is_dynamo_compiling

from fastmetrics.core import upstream
from fastmetrics.core.locking import exclusive
from fastmetrics.core.states import next_version
from fastmetrics.utilities.data import map_tensors
from fastmetrics.utilities.prints import rank_zero_warn
from fastmetrics.utilities.refusals import reword

if TYPE_CHECKING:
    from fastmetrics.core.stateful import Stateful
    from fastmetrics.metric import Metric

_PACKAGE = f"{__name__.partition('.')[0]}."


def is_ours(method: Callable[..., Any]) -> bool:
    """Whether a method was written in this package."""
    return str(method.__module__).startswith(_PACKAGE)  # that of a mock is None


def ensure_wrapped(cls: type[Metric]) -> None:
    """Wrap ``update`` and ``compute`` of a class, and of those above, unless they are already."""
    if cls.update is cls._wrapped_update and cls.compute is cls._wrapped_compute:
        return
    for base in cls.__bases__:  # whose methods may be called by what is put on this one later
        if hasattr(base, "_wrapped_update"):
            ensure_wrapped(base)
    update: Any = cls.update
    if update is not cls._wrapped_update and not getattr(update, "__isabstractmethod__", False):
        # The promise of `fused_update` holds for the update it was made for.
        if "fused_update" not in cls.__dict__ and not is_ours(update):
            cls.fused_update = False
        cls._raw_update = update
        wrap = _wrap_fused_update if cls.fused_update else _wrap_user_update
        cls.update = cls._wrapped_update = wrap(update)  # type: ignore[method-assign]
    compute: Any = cls.compute
    if compute is not cls._wrapped_compute and not getattr(compute, "__isabstractmethod__", False):
        cls._raw_compute = compute
        wrapped = _wrap_compute(compute) if cls._wraps_compute else compute
        cls.compute = cls._wrapped_compute = wrapped  # type: ignore[method-assign]


def _is_inner(self: Metric, outer: Any, known: Any) -> bool:
    """Whether the method that runs was called by another one with bookkeeping, through super().

    If not, the class was given an ``outer`` method that is not wrapped yet.
    """
    return outer is known or self.__dict__["_inside"]


def _reword(
    error: Exception, update: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Let an error say which argument of ``update`` is no tensor that it could take, if one is."""
    metric: Metric = args[0]
    if metric.__dict__["_device"].type != "meta":
        reword(error, update, args, kwargs)


def add_to_twin(metric: Metric, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Add a batch to the states that a metric points to, which are of one batch and keep no books.

    Only for metrics with ``fused_update``.
    """
    update = type(metric)._raw_update
    try:
        update(metric, *args, **kwargs)
    except Exception as error:
        _reword(error, update, (metric, *args), kwargs)
        raise


def _wrap_fused_update(update: Callable[..., Any]) -> Callable[..., None]:
    """Return ``update`` with its bookkeeping, for one that leaves the states alone when it raises.

    In a region that torch compiles the bookkeeping writes constants and reads no counter, which
    would be a guard that fails on every step.
    """

    @functools.wraps(update)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        # `self` stays in `args`: taking it out and putting it back costs a tenth of a microsecond.
        self: Metric = args[0]
        cls = type(self)
        if cls.update is not wrapper and _is_inner(self, cls.update, cls._wrapped_update):
            update(*args, **kwargs)
            return
        own = self.__dict__
        if is_dynamo_compiling():
            states = self._leave() if own["_states"].shared else own["_states"]
            states.note()
            update(*args, **kwargs)
            return
        while True:
            lock = own["_states"].lock
            with lock:
                states = own["_states"]
                if states.lock is not lock:  # another thread has put others in place
                    continue
                if states.shared:
                    states = self._leave()
                version = states.version
                # Before: an interrupt behind the op must not leave an old value.
                states.version = next_version()
                states.count += 1
                try:
                    update(*args, **kwargs)
                except Exception as error:
                    states.count, states.version = states.count - 1, version
                    _reword(error, update, args, kwargs)
                    raise
                if own["compute_on_cpu"] and not states.batch:
                    states.lists_to_cpu()
                return

    return wrapper


def _wrap_user_update(update: Callable[..., Any]) -> Callable[..., None]:
    """Return ``update`` with its bookkeeping, and without gradients except in forward."""

    @functools.wraps(update)
    def wrapper(self: Metric, *args: Any, **kwargs: Any) -> None:
        cls = type(self)
        outer: Any = cls.update
        if outer is not wrapper and _is_inner(self, outer, cls._wrapped_update):
            update(self, *args, **kwargs)
            return
        if is_dynamo_compiling():
            own = self.__dict__
            states = self._leave() if own["_states"].shared else own["_states"]
            states.note()
            with torch.set_grad_enabled(states.batch):
                update(self, *args, **kwargs)
            return
        _run_user_update(self, update, outer is not wrapper, args, kwargs)

    return wrapper


@exclusive
def _run_user_update(
    self: Metric,
    update: Callable[..., Any],
    inside: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    own = self.__dict__
    states = own["_states"]
    if states.shared:
        states = self._leave()
    states.note()  # before, as in torchmetrics: the update may read it
    own["_inside"] = inside
    try:
        try:
            with torch.set_grad_enabled(states.batch):
                update(self, *args, **kwargs)
        finally:
            own["_inside"] = False
    except BaseException as error:
        own["_inside"] = False  # an interrupt may have kept it from that
        if isinstance(error, RuntimeError) and "Expected all tensors to be on" in str(error):
            raise RuntimeError(
                f"{type(self).__name__}.update: the inputs and the metric are on different"
                f" devices; the metric is on {self.device}. Move it with `.to(device)`."
            ) from error
        raise
    if own["compute_on_cpu"] and not states.batch:
        states.lists_to_cpu()


class _Assigned(functools.partial[None]):
    """An ``update`` that was put on one metric alone; what is asked of it, that one answers.

    No closure, so that the one of a copy is of the copy.
    """

    @property
    def __wrapped__(self) -> Any:
        return self.args[1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.args[1], name)


def counted_update(metric: Stateful, update: Any) -> Any:
    """Return an ``update`` that is put on one metric alone, with its bookkeeping."""
    return _Assigned(_run_assigned, metric, update)


def _run_assigned(self: Stateful, update: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    states = self._private()
    states.changed()
    before = states.count
    update(*args, **kwargs)
    if self._states.count == before:  # else it has called that of the class
        self._states.note()


def _wrap_compute(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``compute`` with cache and synchronisation around it."""

    @functools.wraps(compute)
    def wrapper(self: Metric, *args: Any, **kwargs: Any) -> Any:
        cls = type(self)
        if cls.compute is not wrapper and _is_inner(self, cls.compute, cls._wrapped_compute):
            return compute(self, *args, **kwargs)
        own = self.__dict__
        if is_dynamo_compiling() and not own["_states"].batch and self._lists_grow_unseen():
            torch._dynamo.graph_break("the states are lists that grow")
        if is_compiling() and not (own["_to_sync"] and self._is_distributed()):
            # The cache and the counts change, and whatever a compiled step depends on is a guard.
            return map_tensors(self._traced_tensor, compute(self, *args, **kwargs))
        upstream.register()
        states = own["_states"]
        if not states.updates():
            rank_zero_warn(
                f"{cls.__name__}.compute was called before any update: the value is that of the"
                " empty state.",
                UserWarning,
            )
        version = states.stamp()
        if own["_cached_at"] == version and own["_cached"] is not None:
            return own["_cached"]
        return _compute_anew(self, compute, args, kwargs)

    return wrapper


@exclusive
def _compute_anew(
    self: Metric, compute: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    own = self.__dict__
    states = own["_states"]
    distributed = own["_to_sync"] and self._is_distributed()
    if distributed or own["_kept"] is not None:
        value = _value_of_all(self, distributed, compute, args, kwargs)
    else:
        value = self._final_value(compute, args, kwargs)
    if own["compute_with_cache"]:
        own.update(_cached=value, _cached_at=states.stamp())
    return value


def _value_of_all(
    self: Metric,
    distributed: bool,
    compute: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    own = self.__dict__
    held = self._pointers()
    try:
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            should_sync=own["_to_sync"],
            should_unsync=own["_should_unsync"],
            distributed_available=lambda: distributed,  # asked once
        ):
            return self._final_value(compute, args, kwargs)
    except BaseException:
        own.update(held)  # an interrupt may have kept the context from it
        raise
