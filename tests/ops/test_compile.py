"""The ops inside `torch.compile(fullgraph=True)`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fastmetrics import ops
from tests.ops.cases import (
    CLASS_OPS,
    LABEL_OPS,
    class_call,
    class_inputs,
    label_call,
    label_inputs,
    random_weights,
)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def make_call(op, seed, size=12, scores=torch.float32, weighted=False, **options):
    weight = random_weights(size, torch.float32, np.random.default_rng(seed)) if weighted else None
    if op in CLASS_OPS:
        preds, target = class_inputs((size,), 4, scores, seed)
        return class_call(op, preds, target, 4, weight=weight, **options)
    preds, target = label_inputs((size, 3), scores, seed)
    return label_call(op, preds, target, 3, weight=weight, **options)


def step_of(op, call):
    """A step with tensor work around the update, as in a training loop."""
    public = getattr(ops, op)
    options = call.options

    def step(state, events, preds, target, weight):
        public(state, events, preds * 1, target, weight, **options)
        return (state * 2).sum()

    return step


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("op", CLASS_OPS + LABEL_OPS)
def test_one_graph_for_changing_data(op, weighted, backend):
    counter = CompileCounterWithBackend(backend)
    first = make_call(op, 0, weighted=weighted)
    compiled = torch.compile(step_of(op, first), backend=counter, fullgraph=True)
    state, events = first.state.clone(), first.events.clone()
    expected, expected_events = first.state.clone(), first.events.clone()
    for seed in range(3):
        call = make_call(op, seed, weighted=weighted)
        value = compiled(state, events, call.preds, call.target, call.weight)
        step_of(op, call)(expected, expected_events, call.preds, call.target, call.weight)
        assert torch.equal(state, expected)
        assert torch.equal(events, expected_events)
        assert torch.equal(value, (expected * 2).sum())
    assert counter.frame_count == 1


@pytest.mark.parametrize("op", CLASS_OPS + LABEL_OPS)
def test_changing_sizes_compile_at_most_twice(op):
    """Dynamic shapes: the checks must not pin the number of samples."""
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(step_of(op, make_call(op, 0)), backend=counter, fullgraph=True)
    for seed, size in enumerate((12, 17, 5, 33)):
        call = make_call(op, seed, size)
        arguments = call.arguments()
        compiled(*arguments[:4], None)
        expected = call.arguments()
        step_of(op, call)(*expected[:4], None)
        assert torch.equal(arguments[0], expected[0])
    assert counter.frame_count <= 2


@pytest.mark.parametrize("op", CLASS_OPS + LABEL_OPS)
def test_values_are_still_checked(op):
    call = make_call(op, 0, scores=torch.int64)
    compiled = torch.compile(step_of(op, call), backend="aot_eager", fullgraph=True)
    state, events = call.state.clone(), call.events.clone()
    target = call.target.clone()
    target.view(-1)[7] = 9
    with pytest.raises(RuntimeError, match=f"{op}: `target` must lie in .* got 9 at flat index 7"):
        compiled(state, events, call.preds, target, None)
    assert torch.equal(state, call.state)
    assert torch.equal(events, call.events)
