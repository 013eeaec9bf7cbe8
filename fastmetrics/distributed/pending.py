"""Exchanges that go on in the background while the next step runs."""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from fastmetrics.core.states import State
from fastmetrics.distributed._wire import explaining
from fastmetrics.distributed.packets import Parcel, exchange

__all__ = ["PendingValue", "SyncHandle", "exchange_later"]

_Exchanged = list[dict[str, State]]


class SyncHandle:
    """A synchronisation under way, as ``sync(async_op=True)`` returns it."""

    def __init__(
        self,
        futures: Sequence[Future[_Exchanged]] = (),
        install: Callable[[list[_Exchanged]], None] | None = None,
    ) -> None:
        self._futures = futures
        self._install = install

    def done(self) -> bool:
        """Whether ``wait`` would return at once."""
        return all(future.done() for future in self._futures)

    def wait(self) -> None:
        """Put the states of all processes in place, once; ``unsync`` brings the own ones back.

        Those are the states of this moment, with the updates made since the call of ``sync``.

        Raises:
            RuntimeError: the exchange failed; the states are untouched.
            TorchMetricsUserError: somebody else has synchronised the metric meanwhile.
        """
        exchanged = [future.result() for future in self._futures]
        install, self._install = self._install, None
        if install is not None:
            install(exchanged)


class PendingValue:
    """A value under way, as ``compute_async`` returns it."""

    def __init__(self, handle: SyncHandle, compute: Callable[[], Any]) -> None:
        self._handle = handle
        self._compute: Callable[[], Any] | None = compute
        self._value: Any = None

    def done(self) -> bool:
        """Whether the states of all processes have arrived."""
        return self._handle.done()

    def wait(self) -> Any:
        """Return the value of the states at the time of the call.

        Raises:
            RuntimeError: the exchange failed.
        """
        if self._compute is not None:
            self._handle.wait()
            self._value = self._compute()
            self._compute = None
        return self._value


class _Channel:
    """A thread with connections of its own, so that nothing it does mixes with other collectives.

    Its exchanges run in the order of the calls, in all processes. Packets travel between the hosts:
    they neither compete with the collectives of training on an accelerator, nor wait for the work
    that is queued there.
    """

    def __init__(self, group: Any) -> None:
        from torch.distributed import distributed_c10d  # not in every build of torch

        # Not `new_group`, which all processes of the world must call, or those that have made
        # equally many groups before.
        base = distributed_c10d._get_process_group_store(group)
        store = distributed_c10d.PrefixStore("fastmetrics", base)
        place, size = dist.get_rank(group), dist.get_world_size(group)
        with explaining(group):
            self._backend = dist.ProcessGroupGloo(store, place, size, timeout=_timeout(group))
        self._group = weakref.ref(group)
        self._courier = _Courier()
        self._courier.start()
        weakref.finalize(self, self._courier.dismiss)

    def submit(self, parcels: Sequence[Parcel]) -> Future[_Exchanged]:
        future: Future[_Exchanged] = Future()
        devices = {parcel.device for parcel in parcels if parcel.device.type != "cpu"}
        # The copies of the states must be complete before the thread reads them.
        copied = [torch.accelerator.current_stream(device).record_event() for device in devices]
        group, backend = self._group(), self._backend

        def job() -> None:
            try:
                for event in copied:
                    event.synchronize()
                exchanged = exchange(parcels, group, backend)
                for device in devices:
                    torch.accelerator.current_stream(device).synchronize()
                future.set_result(exchanged)
            except BaseException as error:
                future.set_exception(error)

        self._courier.send(job, future)
        return future


class _Courier(threading.Thread):
    """Runs the exchanges of a channel, one after the other, until it is dismissed."""

    def __init__(self) -> None:
        # A daemon: a process that gives up does not wait for the others.
        super().__init__(name="fastmetrics", daemon=True)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._last: Future[_Exchanged] | None = None

    def send(self, job: Callable[[], None], future: Future[_Exchanged]) -> None:
        self._last = future
        self._jobs.put(job)

    def run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # with the process group, which may have no other owner by now

    def dismiss(self) -> None:
        self._jobs.put(None)

    def leave(self) -> None:
        """Let go of all connections, which Python must not do any more once it ends.

        What is under way gets a second: the other processes may never come.
        """
        self.dismiss()
        self.join(timeout=None if self._last is None or self._last.done() else 1)


@atexit.register
def _leave() -> None:
    for thread in threading.enumerate():
        if isinstance(thread, _Courier):
            thread.leave()


def _timeout(group: Any) -> timedelta:
    """Return how long the collectives of ``group`` wait."""
    for device in group._device_types:
        options = getattr(group._get_backend(device), "options", None)
        found = getattr(options, "_timeout", None)
        if isinstance(found, timedelta):
            return found
    return timedelta(minutes=30)  # the default of torch


_channels: weakref.WeakKeyDictionary[Any, _Channel] = weakref.WeakKeyDictionary()


def exchange_later(parcels: Sequence[Parcel], group: Any = None) -> Future[_Exchanged]:
    """Copy the states and exchange them in the background; each process must call this.

    Where torch was built without gloo, the exchange takes place at once.
    """
    group = dist.group.WORLD if group is None else group
    if not dist.is_gloo_available():
        done: Future[_Exchanged] = Future()
        done.set_result(exchange(parcels, group))
        return done
    if group not in _channels:
        _channels[group] = _Channel(group)
    return _channels[group].submit([parcel.snapshot() for parcel in parcels])
