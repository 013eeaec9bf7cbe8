"""A GPU that counts launches: Triton's own binder, compiler, launcher and our replay, for real.

`libcuda.c` stands for the driver, so that kernels are compiled, loaded and launched, but not run.
Tensors stay on the CPU, which the host side is told to take for a GPU. For processes of their own:
Triton keeps its driver.
"""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("gpu") / "libcuda.c"
MULTIPROCESSORS = 132

_NOTED = ctypes.CFUNCTYPE(
    None, ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(ctypes.c_void_p)
)


class Noted(NamedTuple):
    """One launch as the driver sees it."""

    kernel: str
    function: int
    """Number of the loaded kernel: another one for each variant that was compiled."""
    grid: tuple[int, ...]
    parameters: tuple[Any, ...]
    """Bytes of each, or of a pointer which argument or buffer of the update it is."""


class StubGpu:
    """Notes what reaches the driver."""

    def __init__(self, folder: Path) -> None:
        path = folder / "libcuda.so.1"
        command = ["cc", "-shared", "-fPIC", "-w", "-Wl,-soname,libcuda.so.1", "-o", path, SOURCE]
        subprocess.run([str(part) for part in command], check=True)
        os.environ["TRITON_LIBCUDA_PATH"] = str(folder)
        self.library = ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
        self.library.stub_launches.restype = ctypes.c_uint64
        self.loaded: dict[int, tuple[str, list[int]]] = {}

    def launches(self) -> int:
        """How many there have been."""
        return int(self.library.stub_launches())

    def load(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def load_binary(name: str, image: bytes, *rest: Any) -> Any:
            found = original(name, image, *rest)
            self.loaded[found[1]] = (name, parameter_sizes(image, name))
            return found

        return load_binary

    @contextmanager
    def noting(self, tensors: list[Tensor]) -> Iterator[list[Noted]]:
        """Yield what is launched; pointers to these tensors are told as their places."""
        noted: list[Noted] = []
        places = {x.data_ptr(): f"argument {i}" for i, x in enumerate(tensors)}
        makers = {name: getattr(torch, name) for name in ("empty", "zeros")}
        kept = []

        def making(name: str) -> Callable[..., Tensor]:
            def make(*args: Any, **options: Any) -> Tensor:
                made: Tensor = makers[name](*args, **options)
                kept.append(made)
                places[made.data_ptr()] = f"buffer {len(kept)}, {name}"
                return made

            return make

        def note(function: int, grid: Any, parameters: Any) -> None:
            name, sizes = self.loaded[function]
            values = [ctypes.string_at(parameters[i], size) for i, size in enumerate(sizes)]
            told = tuple(
                places.get(int.from_bytes(v, "little"), v) if len(v) == 8 else v for v in values
            )
            noted.append(Noted(name, function, tuple(grid[i] for i in range(3)), told))

        callback = _NOTED(note)
        self.library.stub_note(callback)
        try:
            with mock.patch.multiple(torch, **{name: making(name) for name in makers}):
                yield noted
        finally:
            self.library.stub_note(ctypes.cast(None, _NOTED))


def parameter_sizes(image: bytes, kernel: str) -> list[int]:
    """Return the bytes of each parameter of a kernel, as its ELF file describes them."""
    (table,) = struct.unpack_from("<Q", image, 40)
    size, count, names = struct.unpack_from("<HHH", image, 58)
    sections = [struct.unpack_from("<IIQQQQ", image, table + i * size) for i in range(count)]
    texts = sections[names][4]
    sizes: dict[int, int] = {}
    for name, _, _, _, offset, length in sections:
        begin = texts + name
        if image[begin : image.index(b"\0", begin)].decode() != f".nv.info.{kernel}":
            continue
        place = offset
        while place < offset + length:
            form, attribute, value = struct.unpack_from("<BBH", image, place)
            place += 4
            if form == 4:
                if attribute == 0x17:  # a parameter: index, ordinal, offset, size
                    _, ordinal, _, packed = struct.unpack_from("<IHHI", image, place)
                    sizes[ordinal] = packed >> 18
                place += value
    return [sizes[ordinal] for ordinal in sorted(sizes)]


@contextmanager
def stub_gpu(folder: Path) -> Iterator[StubGpu]:
    """Give the host side of the kernels a GPU that counts; tensors on the CPU lie on it."""
    gpu = StubGpu(folder)
    from triton.backends.nvidia.driver import CudaDriver
    from triton.runtime import driver

    from fastmetrics.ops.triton import inputs, replay

    with (
        mock.patch.object(torch.cuda, "current_device", lambda: 0),
        mock.patch.object(torch.cuda, "get_device_capability", lambda *_: (9, 0)),
        mock.patch.object(torch._C, "_cuda_getCurrentRawStream", lambda _: 0, create=True),
        mock.patch.object(torch.cpu, "current_device", lambda: None),
        mock.patch.object(torch.cpu, "device", nullcontext, create=True),
        mock.patch.object(replay, "GPUS", ("cpu",)),
        mock.patch.object(inputs, "multiprocessors", lambda *_: MULTIPROCESSORS),
    ):
        active = CudaDriver()
        active.utils.load_binary = gpu.load(active.utils.load_binary)
        driver.set_active(active)
        yield gpu
