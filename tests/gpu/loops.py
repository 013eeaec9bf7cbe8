"""Calls whose programs take several blocks each, with grids of few programs.

On a GPU the grids are so large that most programs of a test take one block, and what is carried
from one to the next is not tried: sums, shared memory, the barrier between.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torch import Tensor
from torch.utils import _pytree as pytree

from fastmetrics.ops.triton import inputs, replay
from tests.gpu.cases import CASES
from tools import aot

# What tells the ways of a kernel apart that loop differently.
WAYS = ("MODE", "SAMPLEWISE", "SHARED", "TO", "PLACE", "ALONE", "DIRECT", "PER_CLASS", "MULTICLASS")
# Statistics that a kernel counts or not.
ONE_OF = ("counts", "matrix", "cells", "sums", "parts")
# Ways with one program and one block by their nature.
SINGLE = ("DIRECT",)


@contextmanager
def few_programs() -> Iterator[None]:
    """Grids of two programs, and no plan from before."""
    with (
        mock.patch.object(inputs, "MAX_ORDERED_PROGRAMS", 2),
        mock.patch.object(inputs, "PROGRAMS_PER_MULTIPROCESSOR", 1),
        mock.patch.object(inputs, "multiprocessors", lambda *_: 2),
        mock.patch.object(replay, "_key", lambda *_: object()),
    ):
        yield


@functools.cache
def axis_of(kernel: Any) -> int | None:
    """The axis of the grid along which the programs of a kernel take turns, if they do."""
    found = re.search(r"num_programs\((\d)\)", inspect.getsource(kernel.fn))
    return None if found is None else int(found[1])


def way_of(launch: aot.Launch) -> tuple[Any, ...]:
    """The kernel, and the way that it takes."""
    values = named(launch)
    ways = [(name, values[name]) for name in WAYS if name in values]
    ways += [(name, x.MODE) for name, x in values.items() if hasattr(x, "MODE")]
    ways += [(name, values[name] is not None) for name in ONE_OF if name in values]
    scores = getattr(values.get("rules"), "SCORES", None)
    weighted = values.get("weight") is not None
    several = values.get("samples", 1) > 1
    ways += [("scores", scores), ("weighted", weighted), ("samples", several)]
    ways += [("own bins", values.get("BINS") == 0), ("lanes", values.get("LANES"))]
    return (launch.kernel.fn.__name__, *ways)


def turns(launch: aot.Launch) -> int:
    """The most blocks, or samples, that one program of a launch takes; of both the fewer."""
    values = named(launch)
    tile, walk, samples = values.get("tile"), values.get("walk"), values.get("samples", 1)
    block = values.get("BLOCK") or getattr(tile, "BLOCK", None) or tile.rows
    if "DEPTH" in values:
        count = _blocks(samples, block // values["DEPTH"])
    elif walk is not None:
        count = samples if samples > 1 else _blocks(walk.positions, block)
    else:
        sizes = [values[name] for name in ("positions", "num_rows", "samples") if name in values]
        count = _blocks(sizes[0], block)
    if launch.kernel.fn.__name__ == "count" and samples > 1:
        blocks = _blocks(_blocks(walk.positions, block), launch.grid[0])
        return min(blocks, _blocks(samples, launch.grid[1]))
    return _blocks(count, launch.grid[axis_of(launch.kernel)])


def _blocks(size: int, block: int) -> int:
    return -(-size // block)


def named(launch: aot.Launch) -> dict[str, Any]:
    return dict(zip(launch.kernel.arg_names, launch.args, strict=False)) | launch.config


@functools.cache
def turns_of_calls() -> dict[tuple[Any, ...], dict[str, int]]:
    """For each way of each kernel, the most turns of a program in each call that takes it."""
    found: dict[tuple[Any, ...], dict[str, int]] = {}
    with few_programs():
        for name, (op, args) in aot.updates().items():
            for launch in aot.record_case(name, op, args):
                if axis_of(launch.kernel) is not None:
                    calls = found.setdefault(way_of(launch), {})
                    calls[name] = max(calls.get(name, 0), turns(launch))
    return found


def looping_calls() -> list[str]:
    """Calls that take every way of every kernel in turns, the smallest that do."""
    sizes = {
        name: sum(x.numel() for x in pytree.tree_leaves(args) if isinstance(x, Tensor))
        for name, (_, args) in CASES.items()
    }
    chosen = set()
    for way, calls in turns_of_calls().items():
        if not any((name, True) in way for name in SINGLE):
            chosen.add(min(calls, key=lambda name: (calls[name] < 2, sizes[name])))
    return sorted(chosen)
