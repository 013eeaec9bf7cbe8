"""What this process runs on: versions, compiled module, and the implementation behind each op."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import TextIO

import torch

from fastmetrics.ops import backend
from fastmetrics.ops.define import REFERENCES


def version(distribution: str) -> str:
    """Return the version of an installed distribution, or say that there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


__version__ = version("torch-fastmetrics")


def show_config(file: TextIO | None = None) -> None:
    """Print versions, compiler, instruction set, threads, and which implementation serves each op.

    Args:
        file: where to print; standard output by default.

    Example:
        >>> import fastmetrics
        >>> fastmetrics.show_config()  # doctest: +ELLIPSIS
        fastmetrics   ...
    """
    print("\n".join([*_system_lines(), "", *_op_lines()]), file=file)


def _system_lines() -> list[str]:
    native = backend.native
    if native is None:
        compiler = simd = f"none: {backend.native_reason}"
    else:
        compiler = native.compiler() + (" with sanitizers" if native.sanitized() else "")
        simd = native.simd_level()
    rows = {
        "fastmetrics": __version__,
        "python": f"{platform.python_version()} ({sys.platform}, {platform.machine()})",
        "torch": torch.__version__,
        "triton": version("triton"),
        "compiler": compiler,
        "simd": simd,
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()}",
        "backend": f"{backend.choice} (FASTMETRICS_BACKEND)",
    }
    return [f"{name:<13} {text}" for name, text in rows.items()]


def _op_lines() -> list[str]:
    rows = [("op", "device", "implementation", "why")]
    for name in REFERENCES:
        rows += [(name, *row) for row in backend.describe(name)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
