"""Metric states of several processes: synchronised while they run, or saved and merged later."""

from fastmetrics.distributed.gathering import (
    distributed_available,
    gather_all_tensors,
    gather_state,
)
from fastmetrics.distributed.packets import Parcel, canonical, exchange
from fastmetrics.distributed.pending import PendingValue, SyncHandle, exchange_later
from fastmetrics.distributed.saved import merge_states, read_states, write_states

__all__ = [
    "Parcel",
    "PendingValue",
    "SyncHandle",
    "canonical",
    "distributed_available",
    "exchange",
    "exchange_later",
    "gather_all_tensors",
    "gather_state",
    "merge_states",
    "read_states",
    "write_states",
]
