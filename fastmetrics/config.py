"""What this process runs on: versions, the compiled module, and what is behind ops and names."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import NamedTuple, TextIO

import torch

from fastmetrics.ops import backend
from fastmetrics.ops.define import REFERENCES
from fastmetrics.utilities.fallback import native_value, public_names

__version__ = "0.1.0"  # where the build reads it, too


def version(distribution: str) -> str:
    """Return the version of an installed distribution, or say that there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


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


class Covered(NamedTuple):
    """Where a public name of torchmetrics comes from.

    Attributes:
        name: its path within torchmetrics, and here.
        native: whether it is ours; a fallback to torchmetrics otherwise.
        why: what stands in the way of the others.
    """

    name: str
    native: bool
    why: str


class Coverage(list[Covered]):
    """All public names of torchmetrics; as text, a table."""

    def __str__(self) -> str:
        rows = [("name", "from", "why")]
        rows += [(c.name, "fastmetrics" if c.native else "torchmetrics", c.why) for c in self]
        return "\n".join(_aligned(rows))


# Modules of torchmetrics whose values another package computes, or a network.
_NETWORKS = (
    "arniqa bert clip_iqa clip_score dists dnsmos fid inception infolm kid lpip lpips mifid nisqa"
    " perceptual_path_length"
)
_PACKAGES = "pesq srmr stoi vmaf"


def coverage() -> Coverage:
    """Return which public names of torchmetrics are native, and why the others are not.

    Names that are not native are found in the installed torchmetrics, which this does not import.

    Example:
        >>> import fastmetrics
        >>> table = fastmetrics.coverage()
        >>> [row.native for row in table if row.name == "regression.PearsonCorrCoef"]
        [True]
        >>> print(table)  # doctest: +ELLIPSIS
        name  ...
    """
    rows = []
    for path, modules in sorted(public_names().items()):
        native = native_value(modules[0], path.rpartition(".")[2]) is not None
        rows.append(Covered(path, native, "" if native else _why_not(modules[0])))
    return Coverage(rows)


def _why_not(module: str) -> str:
    name = module.rpartition(".")[2]
    if name in _NETWORKS.split():
        return "the time is that of a neural network"
    return "another package does the work" if name in _PACKAGES.split() else "no kernel yet"


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
        "gpu sums": f"{_arithmetic()} (FASTMETRICS_GPU_ARITHMETIC)",
    }
    return [f"{name:<13} {text}" for name, text in rows.items()]


def _arithmetic() -> str:
    chosen = backend.arithmetic
    if chosen == "auto" and torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        chosen += f", {'float32' if backend.in_float32(device) else 'float64'} on {device}"
    return chosen


def _op_lines() -> list[str]:
    rows = [("op", "device", "implementation", "why")]
    from fastmetrics.ops.strings import every_kernel  # which an import does not load

    for name in (*REFERENCES, *every_kernel()):
        rows += [(name, *row) for row in backend.describe(name)]
    return _aligned(rows)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
