"""Which implementation serves an op on which device, and why.

``FASTMETRICS_BACKEND`` chooses at import: ``auto`` (default) takes the best that is there,
``reference`` keeps plain torch everywhere, ``native`` and ``triton`` raise where they are missing
instead of falling back.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from fastmetrics.ops.define import CHECKS, LIBRARY, REFERENCES, WITHOUT_TRITON

CHOICES = ("auto", "reference", "native", "triton")
GPU_KEYS = ("CUDA", "XPU")

choice = "auto"
native: ModuleType | None = None
native_reason = "not loaded"
triton_reason = "not loaded"

_launchers: dict[str, Callable[..., None]] = {}


def load() -> None:
    """Register the kernels that this process can use; called once at import."""
    global choice
    choice = os.environ.get("FASTMETRICS_BACKEND", "auto")
    if choice not in CHOICES:
        raise ValueError(f"FASTMETRICS_BACKEND must be one of {CHOICES}, got {choice!r}.")
    _load_native()
    _load_triton()


def _load_native() -> None:
    global native, native_reason
    if choice == "reference":
        native_reason = "FASTMETRICS_BACKEND=reference"
        return
    try:
        native = importlib.import_module("fastmetrics._C")
        native_reason = "compiled module loaded"
    except ImportError as error:
        if choice == "native":
            raise
        native_reason = f"no compiled module ({error})"


def _load_triton() -> None:
    """Register stubs for GPU keys that import triton at the first call, not before."""
    global triton_reason
    if choice == "reference":
        triton_reason = "FASTMETRICS_BACKEND=reference"
    elif importlib.util.find_spec("triton") is None:
        if choice == "triton":
            raise ImportError("FASTMETRICS_BACKEND=triton, but triton is not installed.")
        triton_reason = "triton is not installed"
    else:
        triton_reason = "triton is installed"
        for name in REFERENCES.keys() - WITHOUT_TRITON:
            for key in GPU_KEYS:
                LIBRARY.impl(name, _gpu_entry(name), key)


def _gpu_entry(name: str) -> Callable[..., None]:
    check = CHECKS[name]

    def entry(*args: Any) -> None:
        check(*args)
        launcher_of(name)(*args)

    return entry


def launcher_of(name: str) -> Callable[..., None]:
    """Return what launches the Triton kernels of an op: a function of its name.

    It stands in the module under ``triton`` that is called as the one with the reference.
    """
    if name not in _launchers:
        family = REFERENCES[name].__module__.rpartition(".")[2]
        module = importlib.import_module(f"fastmetrics.ops.triton.{family}")
        _launchers[name] = getattr(module, name)
    return _launchers[name]


def describe(name: str) -> list[tuple[str, str, str]]:
    """Rows ``(device, implementation, reason)`` for one op, or a kernel over strings."""
    if name not in REFERENCES:
        return [("host", "C++" if hasattr(native, name) else "Python", native_reason)]
    has_native = torch._C._dispatch_has_kernel_for_dispatch_key(f"fastmetrics::{name}", "CPU")
    cpu = ("C++", native_reason) if has_native else ("torch reference", native_reason)
    if name in WITHOUT_TRITON:
        gpu = ("torch reference", "torch's device kernels do the work")
    elif triton_reason == "triton is installed":
        gpu = ("Triton", triton_reason)
    else:
        gpu = ("torch reference", triton_reason)
    return [("cpu", *cpu), ("cuda/xpu", *gpu), ("other", "torch reference", "runs on every device")]
