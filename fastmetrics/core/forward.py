"""One batch on the side: its value, and the batch behind the states."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.compiler import is_compiling, is_dynamo_compiling

from fastmetrics.core.states import States
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
        groups: metrics that point to the same states, group by group.
        update: adds the batch to the states that the metrics point to.
        args: the batch.
        kwargs: the batch.
    """
    compiling = is_compiling()
    members, leaders, totals = [], [], []
    # In a compiled region a kept twin would be another graph.
    twice, reuse = False, not compiling
    for group in groups:
        head = group[0]._states  # read once: another thread may put others in place
        if isinstance(head, States):
            leaders.append(group[0])
            totals.append(head)
            if head.batch and not compiling:
                raise RuntimeError("`forward` runs already, around this call or in another thread.")
        for metric in group:
            members.append((metric, metric._states))
            twice |= metric.full_state_update is not False or metric.dist_sync_on_step
            reuse &= metric.fused_update
    if twice:
        with torch.no_grad(), unshared(totals):
            update(args, kwargs)
    twins = [total.twin(reuse) for total in totals]
    try:
        for group in groups:
            batch = _in_place_of(group[0]._states, totals, twins)
            for metric in group:
                object.__setattr__(metric, "_states", batch)
                metric._begin_batch()
        update(args, kwargs)
        values = [_value_of_batch(metric, args, kwargs) for metric, _ in members]
    finally:
        for metric, head in members:
            object.__setattr__(metric, "_states", head)
    for leader, total, twin in zip(leaders, totals, twins, strict=True):
        if not twice:
            leader._join(total, twin)
            total.note()
        if leader.compute_on_cpu and not compiling:
            total.lists_to_cpu()
    if not compiling or is_dynamo_compiling():  # an export has only stand-ins for values
        for (metric, _), value in zip(members, values, strict=True):
            object.__setattr__(metric, "_forward_cache", value)
    return values


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


def _in_place_of(head: Any, totals: Sequence[States], twins: Sequence[States]) -> Any:
    """Return the states of the batch for those of all data."""
    for total, twin in zip(totals, twins, strict=True):
        if total is head:
            return twin
    return head.read_off(_in_place_of(head.source, totals, twins))


def _value_of_batch(metric: Metric, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the value of the batch that the metric points to, with gradients where asked for."""
    if metric.dist_sync_on_step or "compute" in metric.__dict__:
        to_sync = metric._to_sync
        metric._to_sync = metric.dist_sync_on_step
        try:
            value = metric.compute()
        finally:
            metric._to_sync = to_sync
        return value if metric.dist_sync_on_step else metric._follow(value, args, kwargs)
    if is_compiling():
        value = map_tensors(metric._traced_tensor, metric._raw_compute())
    else:
        value = metric._own_value(metric._raw_compute())
    return metric._follow(value, args, kwargs)
