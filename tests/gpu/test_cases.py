"""The calls that are made on a GPU, looked at without one."""

from __future__ import annotations

import os

import pytest
import torch

from fastmetrics import ops
from fastmetrics.ops.define import COMPUTE_OPS, REFERENCES, WITHOUT_TRITON
from tests.gpu.cases import CASES, left_to_reference
from tests.pretend_gpu import DEVICE, pretend_gpu


def moved(value):
    if isinstance(value, list):
        return [*map(moved, value)]
    return value.to(DEVICE) if isinstance(value, torch.Tensor) else value


def test_every_op_has_calls():
    assert {op for op, _ in CASES.values()} == REFERENCES.keys()


# They go from one detection of an image to the next, so a batch is brought to the host.
ON_THE_HOST = {"box_matches_", "mask_matches_"}


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="needs triton's compiler")
@pytest.mark.parametrize("references", [False, True], ids=["kernels", "references"])
@pytest.mark.parametrize("op", sorted(REFERENCES.keys() - COMPUTE_OPS - ON_THE_HOST))
def test_no_update_waits(op, references):
    pytest.importorskip("triton")
    for args in (args for name, args in CASES.values() if name == op):
        inputs = [*map(moved, args)]
        with pretend_gpu(references) as (waits, launches):
            getattr(ops, op)(*inputs)
        assert not waits
        by_kernels = op not in WITHOUT_TRITON and not references
        assert bool(launches) == (by_kernels and not left_to_reference(op, args))
