"""Copies of what metrics hold, faster than ``deepcopy`` makes them, and when one is needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from copy import deepcopy
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

# Kinds of values that copies share, and of containers that are often empty.
_SHARED = frozenset({bool, int, str, type(None), FunctionType, torch.device, torch.dtype})
_CONTAINERS = frozenset({dict, OrderedDict, set, list})
# So many tensors of a list are looked at in less time than a value is copied.
_FEW = 64
# Whether two tensors share memory.
_is_alias_of = torch._C._is_alias_of  # type: ignore[attr-defined]  # not in the stubs


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


def may_be_part_of(states: Mapping[str, Any], value: Tensor) -> bool:
    """Whether a value may share memory with a state; a long list is not searched."""
    for state in states.values():
        if isinstance(state, list):
            if len(state) > _FEW:
                return True
            for part in state:
                if part.dtype is value.dtype and _is_alias_of(part, value):
                    return True
        elif state.dtype is value.dtype and _is_alias_of(state, value):
            return True
    return False
