"""Copies of what metrics hold, faster than ``deepcopy`` makes them."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from types import FunctionType
from typing import Any

import torch

# Kinds of values that copies share, and of containers that are often empty.
_SHARED = frozenset({bool, int, str, type(None), FunctionType, torch.device, torch.dtype})
_CONTAINERS = frozenset({dict, OrderedDict, set, list})


def copied(value: Any, memo: dict[int, Any]) -> Any:
    """Do as ``deepcopy``; most attributes of a module need little of what that does."""
    kind = type(value)
    if kind in _SHARED:
        return value
    if kind in _CONTAINERS and not value and id(value) not in memo:
        memo[id(value)] = new = kind()
        memo.setdefault(id(memo), []).append(value)  # kept alive, or another may get its id
        return new
    return deepcopy(value, memo)


def without_own_way(wrapper: Any, memo: dict[int, Any]) -> Any:
    """Copy an object that has no ``__deepcopy__`` of its own."""
    make, arguments, state, *_ = wrapper.__reduce_ex__(4)
    new = memo[id(wrapper)] = make(*arguments)
    new.__setstate__(deepcopy(state, memo))
    return new
