"""Weighted sums that are not exact: error bounds, exact zeros, the same bits for any threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.ops.cases import (
    CLASS_OPS,
    LABEL_OPS,
    class_call,
    class_inputs,
    implementations,
    label_call,
    label_inputs,
    native_op,
    run,
)

OPS = CLASS_OPS + LABEL_OPS


def weighted_call(op, num_samples, depth, seed=0, scores=torch.float32, **options):
    """A call with weights like 0.1 whose sums depend on the order of the additions."""
    weight = torch.from_numpy(np.random.default_rng(seed).random(num_samples))
    if op in LABEL_OPS:
        preds, target = label_inputs((num_samples, 3, *depth), scores, seed)
        return label_call(op, preds, target, 3, weight=weight, start=0, **options)
    preds, target = class_inputs((num_samples, *depth), 4, scores, seed)
    return class_call(op, preds, target, 4, weight=weight, start=0, **options)


@pytest.mark.smoke
@pytest.mark.parametrize("depth", [(), (7,)])
@pytest.mark.parametrize("op", OPS)
def test_error_bound(op, depth):
    """Every implementation stays within the bound of summing N float64 numbers one by one."""
    call = weighted_call(op, 3001, depth)
    exact = torch.from_numpy(call.answer().delta)
    terms = call.target.numel() * 4
    bound = terms * torch.finfo(torch.float64).eps * float(call.weight.sum()) * 4
    for name, implementation in implementations(op).items():
        outcome = run(call, implementation)
        assert outcome.error is None
        assert (outcome.state - exact).abs().max() <= bound, name


@pytest.mark.smoke
@pytest.mark.parametrize("constant", ["preds", "target", "both"])
@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_true_negatives_are_exactly_zero(num_classes, constant):
    """A class that every sample has, or that every sample gets, has no true negatives at all.

    Otherwise rounding would turn 0/0 into 1 in what divides by `tn + fn` or `tn + fp`.
    """
    for seed in range(20):
        rng = np.random.default_rng(seed)
        size = int(rng.integers(2, 60))
        only = int(rng.integers(num_classes))
        preds, target = (torch.from_numpy(rng.integers(0, num_classes, size)) for _ in range(2))
        for name, labels in (("preds", preds), ("target", target)):
            if constant in (name, "both"):
                labels.fill_(only)
        weight = torch.from_numpy(rng.random(size))
        for kind in ("classes", "samples"):
            shapes = (
                (preds, target, weight)
                if kind == "classes"
                else (preds[None], target[None], weight[:1])
            )
            call = class_call("stat_scores_", *shapes[:2], num_classes, kind, shapes[2], start=0)
            for who, implementation in implementations("stat_scores_").items():
                counts = run(call, implementation).state.view(num_classes, 4)
                assert counts[only, 2] == 0.0, f"{who}: tn of class {only} is {counts[only, 2]}"


@pytest.mark.parametrize("depth", [(), (3,)])
@pytest.mark.parametrize("scores", [torch.float32, torch.int64])
@pytest.mark.parametrize("op", OPS)
def test_same_bits_for_any_number_of_threads(native, op, scores, depth):
    """Large enough to be split; the borders must not follow the number of threads."""
    size = 300_007 if not depth else 100_003
    call = weighted_call(op, size, depth, scores=scores)
    results = []
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        outcome = run(call, native_op(op))
        assert outcome.error is None
        results.append(outcome.state)
    for state in results[1:]:
        assert torch.equal(state.view(torch.int64), results[0].view(torch.int64))
    reference = run(call, implementations(op)["reference"]).state
    torch.testing.assert_close(results[0], reference, rtol=1e-10, atol=1e-7)


@pytest.mark.parametrize("kind", ["total", "samples"])
@pytest.mark.parametrize("op", OPS)
def test_same_counts_for_any_number_of_threads(native, op, kind):
    """Counts and events, with special values and ignored targets in every part."""
    size = 200_003
    if op in LABEL_OPS:
        preds, target = label_inputs((size, 3), torch.float32, 1, torch.int8, special=0.05)
        target.view(-1)[::5] = -1
        call = label_call(op, preds, target, 3, kind, ignore_index=-1)
    else:
        preds, target = class_inputs((size,), 5, torch.float32, 1, torch.int8, special=0.05)
        target[::5] = -1
        call = class_call(
            op, preds, target, 5, kind if op != "confusion_" else None, ignore_index=-1
        )
    expected = run(call, implementations(op)["reference"])
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        outcome = run(call, native_op(op))
        assert outcome.error is None
        assert torch.equal(outcome.state, expected.state), threads
        assert torch.equal(outcome.events, expected.events), threads


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("op", OPS)
def test_first_bad_label_of_a_large_input(native, op, threads):
    """Threads may meet bad labels in any order; the message names the first one."""
    size = 200_003
    if op in LABEL_OPS:
        preds, target = label_inputs((size, 2), torch.float32, 1)
        call = label_call(op, preds, target, 2)
    else:
        preds, target = class_inputs((size,), 4, torch.float32, 1)
        call = class_call(op, preds, target, 4)
    flat = target.view(-1)
    flat[len(flat) - 5], flat[len(flat) // 2], flat[90_001] = 77, 88, 99
    torch.set_num_threads(threads)
    outcome = run(call, native_op(op))
    assert str(outcome.error).endswith("got 99 at flat index 90001.")
    assert torch.equal(outcome.state, call.state)
    assert torch.equal(outcome.events, call.events)
