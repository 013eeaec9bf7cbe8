"""One thread at a time changes the states of a metric."""

from __future__ import annotations

import functools
from _thread import RLock
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, Concatenate, ParamSpec, TypeVar

from torch.compiler import is_dynamo_compiling

P = ParamSpec("P")
R = TypeVar("R")


class Lock(RLock):  # type: ignore[misc]  # final for type checkers only
    """Lets in one thread at a time, as often as it likes; a copy of it is free."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Return what a copy is made by."""
        return Lock, ()


def exclusive(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Let a method of a metric run while no other thread is inside of one that changes its states.

    ``with`` takes the lock in one step of the interpreter, so that no interrupt leaves it taken. A
    compiled region has one thread.
    """

    @functools.wraps(method)
    def wrapper(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if is_dynamo_compiling():
            return method(self, *args, **kwargs)
        own = self.__dict__
        while True:
            lock = own["_states"].lock
            with lock:
                if own["_states"].lock is lock:  # else another thread has put others in place
                    return method(self, *args, **kwargs)

    return wrapper


def hold(stack: ExitStack, metrics: Iterable[Any]) -> None:
    """Keep other threads from changing the states of metrics until ``stack`` is closed.

    Not for compiled regions, which have one thread.
    """
    for metric in metrics:
        lock = None
        while lock is not metric._states.lock:  # another thread may put others in place
            lock = metric._states.lock
            stack.enter_context(lock)


def serial(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Let a method of a collection run while no other thread is inside of one of these."""

    @functools.wraps(method)
    def wrapper(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if is_dynamo_compiling():
            return method(self, *args, **kwargs)
        with self.__dict__["_lock"]:
            return method(self, *args, **kwargs)

    return wrapper
