"""Which implementation serves an op on which device, and why.

``FASTMETRICS_BACKEND`` chooses at import: ``auto`` (default) takes the best that is there,
``reference`` keeps plain torch everywhere, ``native`` and ``triton`` raise where they are missing
instead of falling back.

``FASTMETRICS_GPU_ARITHMETIC`` chooses how GPU kernels work out sums of float32 and smaller numbers
that can be exact in either: in ``float64``, in ``float32``, or ``auto`` (default), which takes
float32 where the device has few units for float64.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops.define import CHECKS, DIRECT, LIBRARY, REFERENCES, WITHOUT_TRITON
from fastmetrics.utilities import data

CHOICES = ("auto", "reference", "native", "triton")
ARITHMETICS = ("auto", "float64", "float32")
GPU_KEYS = ("CUDA", "XPU")

# What is known of triton before and after the first call on a GPU.
INSTALLED = "triton is installed"
LAUNCHES = "triton launches kernels here"


class CannotLaunch(RuntimeError):
    """A kernel cannot be compiled or loaded here; nothing was launched."""


choice = "auto"
arithmetic = "auto"
native: ModuleType | None = None
native_reason = "not loaded"
triton_reason = "not loaded"

_launchers: dict[str, Callable[..., None]] = {}
# Why the kernels of an op that cannot be built here are not asked again.
_without_kernels: dict[str, str] = {}


def load() -> None:
    """Register the kernels that this process can use; called once at import."""
    global choice, arithmetic
    choice = _chosen("FASTMETRICS_BACKEND", CHOICES)
    arithmetic = _chosen("FASTMETRICS_GPU_ARITHMETIC", ARITHMETICS)
    _load_native()
    _load_triton()


def _chosen(variable: str, choices: tuple[str, ...]) -> str:
    value = os.environ.get(variable, "auto")
    if value not in choices:
        raise ValueError(f"{variable} must be one of {choices}, got {value!r}.")
    return value


def _load_native() -> None:
    global native, native_reason
    if choice == "reference":
        native_reason = "FASTMETRICS_BACKEND=reference"
        return
    try:
        native = importlib.import_module("fastmetrics._C")
        native_reason = "compiled module loaded"
        _load_direct(native)
    except ImportError as error:
        if choice == "native":
            raise
        native_reason = f"no compiled module ({error})"


def _load_direct(module: ModuleType) -> None:
    """Let small work on plain tensors go round the dispatcher, unless somebody watches it."""
    try:
        dlpack = Tensor.__dlpack_c_exchange_api__
        watchers = [
            torch._C._len_torch_dispatch_stack,
            torch._C._len_torch_function_stack,
            torch._C._get_tracing_state,
            torch._C._autograd._profiler_enabled,
        ]
    except AttributeError:  # of a torch that does not have them yet, or no longer
        return
    plain, bytes_ = [Tensor, torch.nn.Parameter], [torch.int8, torch.uint8]
    ops, data.tensor = module.direct(dlpack, plain, bytes_, watchers)
    DIRECT.update(ops)


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
        triton_reason = INSTALLED
        for name in REFERENCES.keys() - WITHOUT_TRITON:
            for key in GPU_KEYS:
                LIBRARY.impl(name, _gpu_entry(name), key)


def _gpu_entry(name: str) -> Callable[..., None]:
    """Run the kernels of an op, or its reference where this machine cannot launch them."""
    check = CHECKS[name]

    def entry(*args: Any) -> None:
        check(*args)
        if may_launch(args[0]) and name not in _without_kernels:
            try:
                launcher_of(name)(*args)
                return
            except CannotLaunch as error:  # before anything has changed
                _without_kernels[name] = _give_up(f"the kernels of {name}", error)
        with torch.no_grad():
            REFERENCES[name](*args)

    return entry


def may_launch(state: Tensor | list[Tensor]) -> bool:
    """Whether kernels can be launched at all; tried once in a process, with a small one.

    The first launch compiles for the host, too: it needs a C compiler and room for a cache.
    """
    global triton_reason
    if triton_reason == INSTALLED:
        like = state if isinstance(state, Tensor) else state[0]
        try:
            weights = importlib.import_module("fastmetrics.ops.triton.weights")
            replay = importlib.import_module("fastmetrics.ops.triton.replay")
            with replay.device_of(like):
                events = like.new_zeros(4, dtype=torch.int64)
                weights.count_bad_weights(events, like.new_zeros(1, dtype=torch.float32))
            triton_reason = LAUNCHES
        except (CannotLaunch, ImportError) as error:
            triton_reason = _give_up("kernels", error)
    return triton_reason == LAUNCHES


def _give_up(what: str, error: Exception) -> str:
    """Warn that references serve instead, and return why; raise where that was not asked for."""
    if choice == "triton":
        raise error
    reason = f"triton cannot launch {what} here ({error})"
    warnings.warn(
        f"fastmetrics: {reason}. Plain torch does the work on this device, more slowly.",
        RuntimeWarning,
        stacklevel=2,
    )
    return reason


# Compute capabilities, and families of AMD's, with a unit for float64 to at most four for float32.
FAST_FLOAT64 = ((6, 0), (7, 0), (8, 0), (9, 0), (10, 0))
FAST_FLOAT64_AMD = ("gfx906", "gfx908", "gfx90a", "gfx94", "gfx950")


@functools.cache
def has_fast_float64(kind: str, index: int | None) -> bool:
    """Whether a device is made for float64; those of which nothing is known count as such."""
    if kind != "cuda":
        return True
    if torch.version.hip is None:
        return torch.cuda.get_device_capability(index) in FAST_FLOAT64
    name: str = torch.cuda.get_device_properties(index).gcnArchName
    return name.startswith(FAST_FLOAT64_AMD)


def in_float32(device: torch.device) -> bool:
    """Whether kernels on a device are to do in float32 what is exact there, too."""
    if arithmetic == "auto":
        return not has_fast_float64(device.type, device.index)
    return arithmetic == "float32"


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
    elif triton_reason not in (INSTALLED, LAUNCHES):
        gpu = ("torch reference", triton_reason)
    elif name in _without_kernels:
        gpu = ("torch reference", _without_kernels[name])
    else:
        gpu = ("Triton", triton_reason)
    return [("cpu", *cpu), ("cuda/xpu", *gpu), ("other", "torch reference", "runs on every device")]
