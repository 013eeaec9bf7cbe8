"""What no metric and no function takes for a tensor or flag, and what it is called in the error."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.masked import masked_tensor

NO_BOOLS = ("yes", 1, None)


def flags_of(made: Callable[..., Any]) -> list[str]:
    """The arguments of a function or constructor that are bools by default."""
    parameters = inspect.signature(made).parameters.values()
    return [each.name for each in parameters if isinstance(each.default, bool)]


def no_tensors(good: Tensor) -> Iterator[tuple[Any, str]]:
    """Values in place of ``good``, and what the message says that came."""
    yield "text", "got str"
    yield object(), "got object"
    yield torch.nested.nested_tensor([good[:3], good[3:]]), "got a nested tensor"
    yield good.to_sparse(), "got a tensor of layout torch.sparse_coo"
    yield good.to("meta"), "got a tensor on the meta device"
    yield FakeTensorMode().from_tensor(good), "got a FakeTensor"
    yield masked_tensor(good, torch.ones_like(good, dtype=torch.bool)), "got a MaskedTensor"


def no_numbers(good: Tensor) -> Iterator[tuple[Any, str]]:
    """The same, for arguments that must be tensors."""
    yield None, "got None"
    yield good.tolist(), "got list"
    yield good.numpy(), "got numpy.ndarray"
    yield 2.5, "got float"
