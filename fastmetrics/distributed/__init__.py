"""Metric states of several processes: synchronised while they run, or saved and merged later."""

from fastmetrics.distributed.gathering import (
    Gather,
    Reduction,
    State,
    distributed_available,
    gather_all_tensors,
    sync_list_state,
    sync_tensor_state,
)
from fastmetrics.distributed.packets import Statistic, exchange
from fastmetrics.distributed.pending import PendingValue, SyncHandle, exchange_later
from fastmetrics.distributed.saved import merge_states, read_states, write_states

__all__ = [
    "Gather",
    "PendingValue",
    "Reduction",
    "State",
    "Statistic",
    "SyncHandle",
    "distributed_available",
    "exchange",
    "exchange_later",
    "gather_all_tensors",
    "merge_states",
    "read_states",
    "sync_list_state",
    "sync_tensor_state",
    "write_states",
]
