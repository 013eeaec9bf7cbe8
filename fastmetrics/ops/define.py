"""Declaring an op: its schema, reference and check, in the one call that lists it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling
from torch.library import Library

from fastmetrics.ops.checks import FloatTargetError, labels_in, refuse_mapped
from fastmetrics.ops.fusible import add_family

# Lives as long as the process, as the ops do.
LIBRARY = Library("fastmetrics", "DEF")

REFERENCES: dict[str, Callable[..., None]] = {}
CHECKS: dict[str, Callable[..., None]] = {}
# Of the few ops whose CPU kernel refuses a value without saying which: what says it.
EXPLANATIONS: dict[str, Callable[..., None]] = {}

# What runs an op on plain tensors of a CPU without torch's dispatcher, where that is known: True
# once it has, False if it cannot say or must not. In the place of a state may stand
# `(is_float, *shape)`; then the numbers of these states come back, a list for each. They may stand
# in the place of a tensor that is read, as `(numbers, *shape)`.
DIRECT: dict[str, Callable[..., Any]] = {}

# Ops that `compute` runs once over what a metric has kept, rather than `update` over every batch.
COMPUTE_OPS: set[str] = set()
# Ops that GPUs run by the reference: torch's own device kernels do the work there.
WITHOUT_TRITON: set[str] = set()


def _never(*args: Any) -> bool:
    return False


def _register_fake(name: str, check: Callable[..., None]) -> None:
    """Do as torch's function, which finds its caller's source each time: a sixth of an import."""
    try:
        entry = torch._library.simple_registry.singleton.find(name)
        entry.fake_impl.register(check, __name__, lib=LIBRARY)
    except (AttributeError, TypeError):  # of a torch to come
        torch.library.register_fake(name, check, lib=LIBRARY)


def define(
    name: str,
    schema: str,
    reference: Callable[..., None],
    check: Callable[..., None],
    explain: Callable[..., None] | None = None,
    in_compute: bool = False,
    triton: bool = True,
    fusible_axes: int | None = None,
) -> Callable[..., None]:
    """Declare one op with its reference and its metadata check, and return a function that runs it.

    ``explain`` looks for the value that a CPU kernel refused, and raises with it. ``in_compute``
    marks an op that ``compute`` calls instead of ``update``, and ``triton=False`` one that has no
    Triton kernel. ``fusible_axes`` says that `fused_` may run the op, and how many axes a state has
    then.

    The reference serves every device that has no kernel of its own. The check is the fake, and runs
    before the reference and before the GPU kernels. The CPU kernels guard their memory themselves,
    so the check runs only to word what they refuse: it takes as long as a small kernel. Labels that
    come as whole numbers in a float tensor are found there, too, and converted. The ops are not
    differentiable, so autograd passes them through and keeps no input alive.
    """

    def checked_reference(*args: Any) -> None:
        check(*args)
        with torch.no_grad():  # the operations inside would keep a graph
            reference(*args)

    LIBRARY.define(f"{name}{schema} -> ()")
    LIBRARY.impl(name, checked_reference, "CompositeExplicitAutograd")
    LIBRARY.impl(name, torch.library.fallthrough_kernel, "Autograd")
    _register_fake(f"fastmetrics::{name}", check)
    REFERENCES[name] = reference
    CHECKS[name] = check
    DIRECT[name] = _never
    if in_compute:
        COMPUTE_OPS.add(name)
    if not triton:
        WITHOUT_TRITON.add(name)
    if explain is not None:
        EXPLANATIONS[name] = explain
    handle = getattr(torch.ops.fastmetrics, name).default
    # What the handle calls. Regions that torch compiles know only the handle.
    dispatched = handle._op
    names = [argument.name for argument in handle._schema.arguments]
    if fusible_axes is not None:
        add_family(name, handle._schema, fusible_axes)

    def run(*args: Any) -> None:
        try:
            if is_dynamo_compiling():
                handle(*args)
            elif not DIRECT[name](*args):
                dispatched(*args)
        except (ValueError, RuntimeError):
            refuse_mapped(name, args)
            try:
                check(*args)
            except FloatTargetError as error:
                place = names.index("target")
                labels = labels_in(args[place])
                if labels is None:
                    raise ValueError(str(error)) from None
                run(*args[:place], labels, *args[place + 1 :])
                return
            if explain is not None:
                explain(*args)
            raise

    run.__name__ = name
    return run
