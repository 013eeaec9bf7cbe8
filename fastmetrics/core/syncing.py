"""Metrics hold the states of all processes: which travel together, and who gets what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

from torch.compiler import is_dynamo_compiling
from torch.nn import Module

from fastmetrics.core.locking import hold
from fastmetrics.core.stateful import Stateful
from fastmetrics.core.states import State, States
from fastmetrics.distributed import (
    Parcel,
    SyncHandle,
    distributed_available,
    exchange,
    exchange_later,
)
from fastmetrics.utilities.exceptions import TorchMetricsUserError

if TYPE_CHECKING:
    from fastmetrics.metric import Metric

Value = TypeVar("Value")


def named_metrics(module: Module) -> dict[str, Metric]:
    """Return the metrics that ``module`` is made of, itself first if it is one, each once."""
    found: list[tuple[str, Any]] = [
        (name, m) for name, m in module.named_modules() if isinstance(m, Stateful)
    ]
    return {name or type(metric).__name__: metric for name, metric in found}


def independent_copy(module: Any) -> Any:
    """Return a deep copy of metrics that shares the networks in them."""
    shared: list[Any] = []
    for metric in named_metrics(module).values():
        shared += [child for child in metric.children() if not _holds_metrics(child)]
    return deepcopy(module, {id(each): each for each in shared})


def _holds_metrics(module: Module) -> bool:
    return any(hasattr(part, "_defaults") for part in module.modules())


# What `compute` finds once its caller has synchronised.
_SYNCED = {"_to_sync": False, "_should_unsync": False}


def sync_for_compute(metrics: dict[str, Metric], async_op: bool = False) -> SyncHandle:
    """Synchronise metrics as their ``compute`` would, and keep it from doing so.

    The caller restores ``_to_sync`` and ``_should_unsync``. What cannot travel in the background
    is synchronised at once.
    """
    waiting = {name: metric for name, metric in metrics.items() if metric._syncs_in_compute()}
    packed = {name: metric for name, metric in waiting.items() if metric._packs()}
    handle = sync_metrics(packed, async_op=async_op)
    for name, metric in waiting.items():
        if name not in packed:
            metric.sync(distributed_available=lambda: True)
    put_back((metric, _SYNCED) for metric in metrics.values())
    return handle or SyncHandle()


def with_all_states(metrics: dict[str, Metric], read: Callable[[], Value]) -> Value:
    """Return what ``read`` makes of the states of all processes, where metrics synchronise."""
    if not any(map(_may_sync, metrics.values())):
        return read()
    if is_dynamo_compiling():
        return _synced(metrics, read)
    with ExitStack() as stack:
        hold(stack, metrics.values())
        return _synced(metrics, read)


def _may_sync(metric: Metric) -> bool:
    """Whether other processes, or a function of the user that tells of them, must be asked."""
    if metric._is_synced or not metric._to_sync:
        return metric._is_synced
    available = metric.distributed_available_fn
    return available is not distributed_available or distributed_available()


def _synced(metrics: dict[str, Metric], read: Callable[[], Value]) -> Value:
    held = [(metric, metric._pointers()) for metric in metrics.values()]
    try:
        try:
            sync_for_compute(metrics)
            return read()
        finally:
            put_back(held)
    except BaseException:  # an interrupt may have come in between
        put_back(held)
        raise


def put_back(held: Iterable[tuple[Metric, dict[str, Any]]]) -> None:
    """Let metrics point to what they pointed to; one by one, as torch 2.10 compiles no more."""
    for metric, pointers in held:
        for name, value in pointers.items():
            object.__setattr__(metric, name, value)


def sync_metrics(
    metrics: dict[str, Metric], process_group: Any = None, async_op: bool = False
) -> SyncHandle | None:
    """Synchronise metrics, by the names that errors call them, in one exchange for each group.

    Metrics that share their states send them once.
    """
    groups: dict[int, Any] = {}
    members: dict[int, list[Metric]] = {}
    parcels: dict[int, list[Parcel]] = {}
    sources: dict[tuple[int, int], str] = {}
    for name, metric in metrics.items():
        group = process_group or metric.process_group
        key = id(group)
        groups[key] = group
        source = sources.setdefault((key, id(metric._states)), name)
        members.setdefault(key, []).append(metric)
        parcels.setdefault(key, []).append(metric._parcel(name, source))

    def install(exchanged: list[list[dict[str, State]]]) -> None:
        _check_own(metrics.values())
        # Those that have parted in some process got states of their own in all of them.
        synced: dict[int, States] = {}
        for each, found in zip(members.values(), exchanged, strict=True):
            for metric, values in zip(each, found, strict=True):
                if id(values) not in synced:
                    synced[id(values)] = synced_states(metric, values)
                metric._hold(synced[id(values)])

    packets = [(parcels[key], group) for key, group in groups.items()]
    if async_op:
        return SyncHandle([exchange_later(*packet) for packet in packets], install)
    install([exchange(*packet) for packet in packets])
    return None


def _check_own(metrics: Iterable[Metric]) -> None:
    for metric in metrics:
        if metric._is_synced:
            raise TorchMetricsUserError(f"{type(metric).__name__} is synchronised already.")


def synced_states(metric: Metric, values: dict[str, State]) -> States:
    """Return states of all processes; values that were computed from them outlive ``unsync``."""
    own = metric._states
    synced = States(values)
    synced.defaults, synced.reductions = own.defaults, own.reductions
    synced.count, synced.touched, synced.version = own.count, own.touched, own.stamp()
    synced.shared, synced.lock = own.shared, own.lock
    return synced
