"""Every metric on a GPU: the values of the CPU, and updates that never wait for the device."""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.every import Case, metrics, of_tensors

REQUIRED = os.environ.get("FASTMETRICS_REQUIRE_CUDA") == "1"

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() and not REQUIRED, reason="needs a CUDA or ROCm GPU"
)


def same(actual: Any, expected: Any) -> None:
    if isinstance(expected, Tensor):
        assert actual.device.type == "cuda"
        torch.testing.assert_close(actual.cpu(), expected, rtol=1e-5, atol=1e-6, equal_nan=True)
    elif isinstance(expected, dict):
        for key, value in expected.items():
            same(actual[key], value)
    else:
        for one, other in zip(actual, expected, strict=True):
            same(one, other)


@pytest.mark.parametrize("case", of_tensors(metrics()), ids=repr)
def test_values_are_those_of_the_cpu(case: Case):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batches = [case.inputs(size) for size in (300, 1, 77)]
        metric, expected = case.make().to("cuda"), case.make()
        on_device = [tuple(x.cuda() for x in inputs) for inputs in batches]
        case.make().to("cuda").update(*on_device[0])  # compiles, which may wait
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for inputs in on_device:
                metric.update(*inputs)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        for inputs in batches:
            expected.update(*inputs)
        same(metric.compute(), expected.compute())
        same(metric(*on_device[0]), expected(*batches[0]))
        same(metric.compute(), expected.compute())
