"""One batch on the side: its value, and the batch behind the states."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.compiler import is_compiling, is_dynamo_compiling

from fastmetrics.core.locking import hold
from fastmetrics.core.states import Derived, States
from fastmetrics.core.wrapping import add_to_twin
from fastmetrics.utilities.data import map_tensors

if TYPE_CHECKING:
    from fastmetrics.metric import Metric


def forward(
    groups: Sequence[Sequence[Metric]],
    update: Callable[[tuple[Any, ...], dict[str, Any]], None],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[Any]:
    """Add a batch to the states, and return the value of the batch alone for each metric.

    The metrics point to states of one batch meanwhile. If all have ``full_state_update=False`` the
    batch is counted once, and those states are joined to the others; nothing has changed when
    something raises. Otherwise the batch is counted twice.

    Args:
        groups: metrics that point to the same states, group by group; those that read the states
            of others stand behind them and have no ``reset`` of their own. The caller holds the
            lock that they share.
        update: adds the batch to the states that the metrics point to.
        args: the batch.
        kwargs: the batch.
    """
    compiling = is_compiling()
    # In a compiled region a kept twin would be another graph.
    twice, reuse = False, not compiling
    members: list[tuple[Metric, Any]] = []
    own: list[tuple[Sequence[Metric], States]] = []
    read: list[tuple[Sequence[Metric], Derived]] = []
    for group in groups:
        head = group[0]._states
        if head.batch and not compiling:
            raise RuntimeError("`forward` runs already, around this call or in another thread.")
        if isinstance(head, States):
            own.append((group, head))
        else:
            read.append((group, head))
        for metric in group:
            members.append((metric, metric._states))
            twice |= metric.full_state_update is not False or metric.dist_sync_on_step
            reuse &= metric.fused_update
    if twice:
        with torch.no_grad(), unshared([total for _, total in own]):
            update(args, kwargs)
    twins = [total.twin(reuse) for _, total in own]
    try:
        try:
            for (group, _), twin in zip(own, twins, strict=True):
                for metric in group:
                    object.__setattr__(metric, "_states", twin)
                    metric._begin_batch()
            update(args, kwargs)
            for group, head in read:
                twin = next(
                    t for (_, total), t in zip(own, twins, strict=True) if total is head.source
                )
                batch = States(head.read_off(twin), batch=True)
                batch.lock = twin.lock
                batch.changed()  # no value that was cached belongs to it
                for metric in group:
                    object.__setattr__(metric, "_states", batch)
            values = [_value_of_batch(metric, args, kwargs) for metric, _ in members]
        finally:
            _put_back(members)
    except BaseException:  # an interrupt may have kept it from putting back what was there
        _put_back(members)
        raise
    for (group, total), twin in zip(own, twins, strict=True):
        if not twice:
            if not compiling:
                total.changed()  # before: an interrupt behind it must not leave an old value
            group[0]._join(total, twin)
            total.note()
        if group[0].compute_on_cpu and not compiling:
            total.lists_to_cpu()
    if not compiling or is_dynamo_compiling():  # an export has only stand-ins for values
        for (metric, _), value in zip(members, values, strict=True):
            object.__setattr__(metric, "_forward_cache", value)
    return values


def forward_together(metrics: Sequence[Metric], update: Callable[[], None]) -> list[Any]:
    """Return the values of a batch that ``update`` gives to all of these metrics.

    They count it, all of them or none if something raises, as in :func:`forward`.
    """
    with ExitStack() as stack:
        if not is_dynamo_compiling():
            hold(stack, metrics)
        for metric in metrics:
            metric._check_own_states()
            metric._private()
        return forward([[metric] for metric in metrics], lambda args, kwargs: update(), (), {})


def forward_alone(
    metric: Metric, total: States, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Do as :func:`forward` for one metric that counts a batch once, which most calls are."""
    own = metric.__dict__
    twin = total.twin(reuse=True)
    try:
        try:
            own["_states"] = twin
            add_to_twin(metric, args, kwargs)
            value = _value_of_batch(metric, args, kwargs)
        finally:
            own["_states"] = total
    except BaseException:  # an interrupt may have kept it from putting back what was there
        own["_states"] = total
        raise
    total.changed()  # before: an interrupt behind it must not leave an old value
    metric._join(total, twin)
    total.count += 1
    own["_forward_cache"] = value
    return value


def _put_back(members: Sequence[tuple[Metric, Any]]) -> None:
    for metric, head in members:
        object.__setattr__(metric, "_states", head)


@contextmanager
def unshared(totals: Sequence[States]) -> Generator[None, None, None]:
    """Let the collection that shares states update them through one of their metrics."""
    shared = [total.shared for total in totals]
    for total in totals:
        total.shared = False
    try:
        yield
    finally:
        for total, was_shared in zip(totals, shared, strict=True):
            total.shared = was_shared


def _value_of_batch(metric: Metric, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the value of the batch that the metric points to, with gradients where asked for."""
    if metric.dist_sync_on_step or "compute" in metric.__dict__:
        value = _computed_value(metric)
        return value if metric.dist_sync_on_step else metric._follow(value, args, kwargs)
    if is_compiling():
        value = map_tensors(metric._traced_tensor, metric._raw_compute())
    else:
        value = metric._own_value(metric._raw_compute())
    return metric._follow(value, args, kwargs)


def _computed_value(metric: Metric) -> Any:
    pointers = metric._pointers()
    try:
        try:
            metric._to_sync = metric.dist_sync_on_step
            return metric.compute()
        finally:
            metric.__dict__.update(pointers)
    except BaseException:  # an interrupt may have kept it from putting back what was there
        metric.__dict__.update(pointers)
        raise
