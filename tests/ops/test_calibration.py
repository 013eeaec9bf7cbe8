"""What only `calibration_bins_` must keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.ops.calibration import TASKS, edge_call, make, oracle
from tests.ops.inputs import SCORE_DTYPES, small_floats
from tests.ops.laws import implementations, native_op, results, states

PLAIN = {"weight": None, "ignore_index": None, "start": 0, "bad": 0.0}


@pytest.mark.parametrize("n_bins", [1, 2, 3, 10, 15, 64, 300, 1000, 2**14 + 3])
def test_numbers_of_bins(n_bins):
    for task in TASKS:
        call = make(2, task=task, classes=3, shape=(3000,), inside=True, n_bins=n_bins,
                    dtype=torch.float32, special=0.0, **PLAIN)  # fmt: skip
        preds = call["preds"]
        preds += torch.rand(preds.shape) / 64 * (preds < 0.9)
        found = states(call)
        for state in found.values():
            assert torch.equal(state[..., ::2], found["reference"][..., ::2])
            torch.testing.assert_close(state, found["reference"], rtol=1e-12, atol=1e-12)


@pytest.mark.smoke
@pytest.mark.parametrize("n_bins", [1, 2, 3, 7, 10, 15, 100, 1001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_confidences_on_and_next_to_the_edges(dtype, n_bins):
    """Binary scores are compared in their own precision."""
    call = edge_call(n_bins, dtype, start=0)
    bins = (call["preds"][:, None] >= torch.linspace(0, 1, n_bins + 1, dtype=dtype)).sum(1) - 1
    counts = torch.bincount(bins, minlength=n_bins + 1).double()
    for state in states(call).values():
        assert torch.equal(state[0, :, 0], counts)


@pytest.mark.smoke
def test_a_confidence_of_one_has_its_own_bin_and_others_are_clamped():
    inf = torch.inf
    for preds, target, expected in (
        ([1.0, 0.99, 0.0], [1, 1, 0], [[1, 0, 0], [1, float(torch.tensor(0.99)), 1], [1, 1, 1]]),
        ([-inf, -0.5, 1.5, inf], [0, 1, 1, 0], [[2, 0, 1], [0, 0, 0], [2, 2, 1]]),
    ):
        call = make(0, task="binary", shape=(len(preds),), n_bins=2, readings=(1, False), **PLAIN)
        call = call.but(preds=torch.tensor(preds), target=torch.tensor(target))
        for state in states(call).values():
            assert state[0].tolist() == expected


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 300.0])
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_random_logits(dtype, scale):
    """Sigmoid and softmax over many magnitudes, also where they saturate."""
    generator = torch.Generator().manual_seed(5)
    for task, classes in (("binary", 1), ("multiclass", 11), ("multiclass", 57)):
        shape = (400,) if task == "binary" else (400, classes)
        preds = (torch.randn(shape, dtype=torch.float64, generator=generator) * scale).to(dtype)
        call = make(5, task=task, classes=classes, shape=(400,), dtype=dtype, n_bins=15,
                    readings=(2, False), **PLAIN).but(preds=preds)  # fmt: skip
        answer = oracle(call).after["state"].numpy()
        for state in states(call).values():
            assert np.array_equal(state[..., ::2], answer[..., ::2])
            np.testing.assert_allclose(state, answer, rtol=1e-9, atol=1e-30)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_small_float(dtype):
    """Sigmoids of subnormal scores lie halfway between two float32 numbers: either may do."""
    preds = small_floats(dtype)
    call = make(0, task="binary", shape=preds.shape, dtype=dtype, n_bins=15, readings=(2, False),
                **PLAIN).but(preds=preds)  # fmt: skip
    found = results(call, native_op(call.op))
    expected = results(call, implementations(call.op)["reference"])
    assert torch.equal(found["state"][..., ::2], expected["state"][..., ::2])
    assert torch.equal(found["events"], expected["events"])
    torch.testing.assert_close(found["state"], expected["state"], rtol=1e-9, atol=1e-12)
