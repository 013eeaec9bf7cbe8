"""Whether torch runs operations, or writes them down to run them on other values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch.compiler import is_compiling

T = TypeVar("T")

_tracing_state = torch._C._get_tracing_state


def is_recorded() -> bool:
    """Whether what is worked out now will be run again on other values.

    So it is under torch.compile, torch.export and torch.jit.trace. What the host reads off a tensor
    there is the value of an example, if there is any.
    """
    return is_compiling() or _tracing_state() is not None


def is_traced() -> bool:
    """Whether torch.jit.trace is at work."""
    return _tracing_state() is not None


def unrecorded(make: Callable[[], T]) -> T:
    """Return what ``make`` does, which torch.jit.trace takes as a constant."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]  # not in torch's stubs
    try:
        return make()
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]
