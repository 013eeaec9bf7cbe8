"""Every way of every kernel is called so that its programs take several blocks each."""

from __future__ import annotations

import importlib.util
import os

import pytest

if importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("needs triton, and its compiler", allow_module_level=True)

from tests.gpu.loops import SINGLE, axis_of, turns_of_calls
from tools import aot


def test_every_way_of_every_kernel_takes_several_blocks():
    found = turns_of_calls()
    single = [way for way, calls in found.items() if max(calls.values()) < 2]
    assert all(any((name, True) in way for name in SINGLE) for way in single), single
    assert len(found) > 60


def test_all_kernels_with_turns_are_looked_at():
    looping = {
        kernel.fn.__name__ for kernel in aot.distinct_launches() if axis_of(kernel) is not None
    }
    assert {way[0] for way in turns_of_calls()} == looping
    assert len(looping) > 15
