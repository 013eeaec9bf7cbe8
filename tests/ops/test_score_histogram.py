"""What only score histograms must keep."""

from __future__ import annotations

import pytest
import torch

from tests.ops.inputs import INF, SCORE_DTYPES, neighbours, small_floats
from tests.ops.laws import implementations, native_op, results, states
from tests.ops.score_histogram import READINGS, edges_of, image_of, make

PLAIN = {"weight": None, "ignore_index": None, "start": 0, "bad": 0.0, "float_state": False}


@pytest.mark.smoke
@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 11, 100, 200, 1001, 4096])
def test_scores_on_and_next_to_uniform_thresholds(count):
    """Each reading, alone and together, decides `score >= threshold` exactly."""
    thresholds = torch.linspace(0, 1, count)
    scores = neighbours(thresholds).clamp(0, 1)
    logits = neighbours(edges_of(thresholds, "binary", 1, True)[0].float())
    edges = edges_of(thresholds, "binary", 2)
    for values in (scores, torch.cat([scores, logits])):
        bins = [torch.searchsorted(row, values.double(), right=True) for row in edges]
        # Both ways to accumulate: a batch larger, and one smaller than the state.
        for repeats in (1, 3):
            preds, labels = values.repeat(repeats), (torch.arange(len(values)) % 2).repeat(repeats)
            for readings, as_logits in READINGS:
                call = make(
                    0, task="binary", shape=preds.shape, thresholds=count,
                    readings=(readings, as_logits), **PLAIN,
                ).but(preds=preds, target=labels)  # fmt: skip
                expected = torch.zeros_like(call["state"])
                for index in range(readings):
                    found = bins[index if readings == 2 else int(as_logits)].repeat(repeats)
                    cells = labels * (count + 1) + found
                    expected[index, 0].view(-1).index_add_(0, cells, torch.ones_like(cells))
                for name, state in states(call).items():
                    assert torch.equal(state, expected), (name, repeats, readings)


@pytest.mark.smoke
def test_a_threshold_that_no_logit_reaches():
    """`sigmoid(score) >= 1.5` never holds, not even at infinity; `>= -0.5` always does."""
    thresholds = torch.tensor([-0.5, 0.5, 1.0, 1.5])
    preds = torch.tensor([-INF, -3.0, 0.0, 200.0, INF])
    call = make(0, task="binary", shape=(5,), thresholds=thresholds, readings=(1, True), **PLAIN)
    call = call.but(preds=preds, target=torch.ones(5, dtype=torch.int64))
    for state in states(call).values():
        assert state[0, 0, 1].tolist() == [0, 2, 2, 1, 0]


@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_softmax_of_random_logits(dtype):
    """Kernel and reference agree in every bin, over many magnitudes."""
    for scale in (0.1, 1.0, 10.0, 300.0):
        preds = (torch.randn(3000, 11, dtype=torch.float64) * scale).to(dtype)
        call = make(0, task="multiclass", classes=11, shape=(3000,), thresholds=200,
                    readings=(2, False), **PLAIN).but(preds=preds)  # fmt: skip
        found = results(call, native_op(call.op))
        wanted = results(call, implementations(call.op)["reference"])
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_images_tell_all_numbers_of_their_type_apart(dtype):
    preds = small_floats(dtype)
    numbers = preds[~preds.isnan()].double()
    images = torch.tensor([image_of(score, dtype == torch.float16) for score in numbers.tolist()])
    order = images[numbers.argsort()]
    assert len(order.unique()) == len(numbers) - 1  # both zeros are one
    assert torch.equal(order, order.sort().values) and order[0] > 0
