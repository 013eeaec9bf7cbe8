"""A GPU without data: the ``meta`` device, on which launches are noted instead of made.

What would make the host wait for the device is noted too: values that the host asks for, tensors
made on the device from numbers of the host, and copies from one device to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.fx.experimental import _config
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fastmetrics.ops.backend import launcher_of
from fastmetrics.ops.define import CHECKS, REFERENCES, WITHOUT_TRITON

DEVICE = "meta"

# What the host learns when it asks.
ANSWERS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: 0,
    "__int__": lambda x: 0,
    "__index__": lambda x: 0,
    "__float__": lambda x: 0.0,
    "__bool__": lambda x: False,
    "equal": lambda x: False,
    "tolist": lambda x: torch.zeros(x.shape, dtype=x.dtype).tolist(),
    "cpu": torch.zeros_like,
}
# Operations whose result has as many places as the data says; here, as many as there can be.
SIZED_BY_DATA = ("nonzero", "bincount", "masked_select", "_unique2", "unique_consecutive")
MADE_FROM_NUMBERS = ("tensor", "as_tensor", "new_tensor")


def is_on_gpu(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_meta


class _Functions(TorchFunctionMode):
    """Sees what Python calls."""

    def __init__(self, waits: list[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in ANSWERS and is_on_gpu(args[0]):
            self.waits.append(name)
            return ANSWERS[name](args[0])
        out = func(*args, **(kwargs or {}))
        if name in MADE_FROM_NUMBERS and is_on_gpu(out):
            data = args[name == "new_tensor"]
            if not isinstance(data, Tensor):
                self.waits.append(name)
        return out


class _Operations(TorchDispatchMode):
    """Sees what torch's own functions do, and runs the GPU side of the ops."""

    def __init__(self, waits: list[str], references: bool) -> None:
        super().__init__()
        self.waits = waits
        self.references = references

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        space, name = func._schema.name.split("::")
        if space == "fastmetrics":
            CHECKS[name](*args)
            with _Functions(self.waits):  # the one outside has called this, and sees no more
                return _gpu_side(name, self.references)(*args)
        out = func(*args, **kwargs)
        tensors = [x for x in pytree.tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
        by_mask = name == "index" and any(x.dtype == torch.bool for x in tensors[1:-1])
        if (name in SIZED_BY_DATA or by_mask) and is_on_gpu(tensors[0]):
            self.waits.append(name)
        if name in ("_to_copy", "copy_"):
            if len({x.device for x in tensors}) > 1 and not kwargs.get("non_blocking"):
                self.waits.append(name)
        elif len({x.device for x in tensors if x.ndim}) > 1:
            raise RuntimeError(f"{func} was called with tensors of two devices.")
        return out


def _gpu_side(name: str, reference: bool) -> Callable[..., None]:
    if reference or name in WITHOUT_TRITON:
        return REFERENCES[name]
    return launcher_of(name)


@contextmanager
def pretend_gpu(references: bool = False) -> Iterator[tuple[list[str], list[Any]]]:
    """Yield what waited, and the launches, ``aot.Launch``, both in order.

    With ``references`` no kernel is launched, as on a GPU without Triton.
    """
    from tools import aot

    waits: list[str] = []
    launches: list[aot.Launch] = []

    def launch(kernel: Any, grid: tuple[int, ...], *args: Any, **config: Any) -> None:
        assert all(programs > 0 for programs in grid)
        assert all(programs < 2**16 for programs in grid[1:]), "CUDA takes no more on these axes"
        launches.append(aot.Launch(kernel, grid, args, config))

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(_config, "meta_nonzero_assume_all_nonzero", True))
        for module in aot.KERNEL_MODULES:
            stack.enter_context(mock.patch.object(module, "launch", launch))
        stack.enter_context(_Functions(waits))
        stack.enter_context(_Operations(waits, references))
        yield waits, launches
