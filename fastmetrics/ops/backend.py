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

from fastmetrics.ops import library

CHOICES = ("auto", "reference", "native", "triton")
GPU_KEYS = ("CUDA", "XPU")

choice = "auto"
native: ModuleType | None = None
native_reason = "not loaded"
triton_reason = "not loaded"

_gpu_kernels: dict[str, Callable[..., None]] = {}


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
        for name in library.REFERENCES.keys() - library.WITHOUT_TRITON:
            for key in GPU_KEYS:
                library.LIBRARY.impl(name, _gpu_entry(name), key)


def _gpu_entry(name: str) -> Callable[..., None]:
    check = library.CHECKS[name]

    def entry(*args: Any) -> None:
        kernel = _gpu_kernels.get(name)
        if kernel is None:
            kernel = _gpu_kernels[name] = _find_gpu_kernel(name)
        check(*args)
        kernel(*args)

    return entry


def _find_gpu_kernel(name: str) -> Callable[..., None]:
    kernels = importlib.import_module("fastmetrics.ops.triton")
    return getattr(kernels, name)  # type: ignore[no-any-return]  # modules are untyped


def describe(name: str) -> list[tuple[str, str, str]]:
    """Rows ``(device, implementation, reason)`` for one op."""
    has_native = torch._C._dispatch_has_kernel_for_dispatch_key(f"fastmetrics::{name}", "CPU")
    cpu = ("C++", native_reason) if has_native else ("torch reference", native_reason)
    if name in library.WITHOUT_TRITON:
        gpu = ("torch reference", "torch's device kernels do the work")
    elif triton_reason == "triton is installed":
        gpu = ("Triton", triton_reason)
    else:
        gpu = ("torch reference", triton_reason)
    return [("cpu", *cpu), ("cuda/xpu", *gpu), ("other", "torch reference", "runs on every device")]
