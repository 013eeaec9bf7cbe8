"""Fixtures that several test folders share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from fastmetrics.ops import backend

REQUIRE_NATIVE = os.environ.get("FASTMETRICS_REQUIRE_NATIVE") == "1"


@pytest.fixture
def native() -> None:
    """Ask for the compiled kernels: skip, or fail under FASTMETRICS_REQUIRE_NATIVE=1."""
    if backend.native is None:
        reason = f"no compiled kernels: {backend.native_reason}"
        if REQUIRE_NATIVE:
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def _keep_global_state() -> Iterator[None]:
    """Start from one seed; undo what a test does to torch's threads and default dtype.

    A test that leaves gradients off fails, rather than the one that misses them.
    """
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.manual_seed(0)
    yield
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    left_off = not torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    assert not left_off


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to the exhaustive tests what ``thinned(n)`` tests leave out: all but each nth case.

    Which ones depends on the place of the test, so that of many tests of one case some stay.
    """
    cases: dict[str, list[tuple[pytest.Item, int]]] = {}
    for item in items:
        mark = item.get_closest_marker("thinned")
        if mark is not None:
            cases.setdefault(item.nodeid.partition("[")[0], []).append((item, mark.args[0]))
    for place, group in enumerate(cases.values()):
        for number, (item, step) in enumerate(group):
            if len(group) > 1 and (number + place) % step:
                item.add_marker(pytest.mark.exhaustive)
