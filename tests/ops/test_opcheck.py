"""`torch.library.opcheck` on every row of every op, and what it does not look at."""

from __future__ import annotations

import pytest
import torch

from tests.ops.cases import CLASS_OPS, ROWS, class_call, class_inputs, native_op, rows

TESTS = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
)
# Tracing costs a tenth of a second; the schema is checked on every row.
TRACED_EVERY = 6


@pytest.mark.smoke
@pytest.mark.parametrize("op", ROWS)
def test_schema_of_every_row(op):
    for call in rows(op):
        torch.library.opcheck(native_op(op), call.arguments(), test_utils="test_schema")


@pytest.mark.parametrize("op", ROWS)
def test_opcheck(op):
    for call in rows(op)[::TRACED_EVERY]:
        torch.library.opcheck(native_op(op), call.arguments(), test_utils=TESTS)


@pytest.mark.exhaustive
@pytest.mark.parametrize("op", ROWS)
def test_opcheck_of_every_row(op):
    for call in rows(op):
        torch.library.opcheck(native_op(op), call.arguments(), test_utils=TESTS)


@pytest.mark.parametrize("op", ROWS)
def test_opcheck_of_scores_that_require_grad(op):
    for call in rows(op)[:2]:
        call.preds = call.preds.detach().float().requires_grad_()
        torch.library.opcheck(native_op(op), call.arguments(), test_utils=TESTS)


@pytest.mark.smoke
@pytest.mark.parametrize("op", ROWS)
def test_no_graph_is_kept(op):
    """Scores that require grad are read like others, and nothing remembers them."""
    call = next(call for call in rows(op) if call.preds.is_floating_point() and call.weight is None)
    expected = call.arguments()
    native_op(op)(*expected)
    call.preds = (call.preds.detach().requires_grad_() * 1.0).requires_grad_()
    arguments = call.arguments()
    native_op(op)(*arguments)
    state = arguments[0]
    assert torch.equal(state, expected[0])
    assert not state.requires_grad
    assert state.grad_fn is None


@pytest.mark.smoke
@pytest.mark.parametrize("op", CLASS_OPS)
def test_inference_mode(op):
    """Inputs made in inference mode count into a state made outside, and the other way round."""
    preds, target = class_inputs((20,), 4, torch.float32, seed=0)
    call = class_call(op, preds, target, 4)
    expected = call.arguments()
    native_op(op)(*expected)
    outside = call.arguments()
    with torch.inference_mode():
        inside = call.arguments()
        native_op(op)(*inside[:2], preds.clone(), target.clone(), *inside[4:])
        native_op(op)(*outside[:2], preds.clone(), target.clone(), *outside[4:])
    assert torch.equal(inside[0], expected[0])
    assert torch.equal(outside[0], expected[0])
