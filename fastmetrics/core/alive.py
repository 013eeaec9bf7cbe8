"""States by number: what a compiled region holds of them, and how it adds to their lists.

A region that saw its lists grow would be compiled anew for every length, so it hands its tensors
to an op that torch does not look into.
"""

from __future__ import annotations

import itertools
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.library import Library, fallthrough_kernel

from fastmetrics.utilities.data import normal_tensor

# All states but those of one batch.
ALIVE: WeakValueDictionary[int, Any] = WeakValueDictionary()
next_number = itertools.count(1).__next__

_LIBRARY = Library("fastmetrics", "FRAGMENT")
# What a CUDA graph would write again is of one batch.
_LIBRARY.define(
    "append_(Tensor(a!) anchor, Tensor[] tensors, int states, str[] names) -> ()",
    tags=tuple(tag for name, tag in torch.Tag.__members__.items() if name == "cudagraph_unsafe"),
)


# Without something that changes, and is there outside of the region, the op would be left out.
_ANCHOR = torch.zeros(1, device="cpu")


def _append(anchor: Tensor, tensors: list[Tensor], states: int, names: list[str]) -> None:
    kept = ALIVE.get(states)
    if kept is None:
        raise RuntimeError("A compiled step adds to the states of a metric that no longer exists.")
    # The region may use their memory again.
    copies = [normal_tensor(tensor.detach().clone) for tensor in tensors]
    kept.append(dict(zip(names, copies, strict=True)))


_LIBRARY.impl("append_", _append, "CompositeExplicitAutograd")
_LIBRARY.impl("append_", fallthrough_kernel, "Autograd")
_LIBRARY.impl("append_", lambda *_: None, "Meta")


def append_later(states: int, tensors: dict[str, Tensor]) -> None:
    """Put a tensor at the end of each of some lists when the compiled region runs."""
    torch.ops.fastmetrics.append_.default(_ANCHOR, [*tensors.values()], states, [*tensors])
