"""What only `top_samples_` and `merge_top_samples_` must keep."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmetrics.ops.top_samples import BITS
from tests.ops.inputs import some_events
from tests.ops.laws import Call, check, implementations, results, states
from tests.ops.top_samples import empty, make


def test_signs_of_zero_do_not_show():
    call = make(0, k=2, shape=(2,), ids=False, before=False, dtype=torch.float32)
    for state in states(call.but(scores=torch.tensor([-0.0, 0.0]))).values():
        assert state[BITS].tolist() == [[0, 0], [0, 0]]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_order_split_and_merge(data):
    score = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0]) | st.floats(-4, 4, width=16)
    scores = data.draw(st.lists(score, max_size=40))
    ids = data.draw(st.lists(st.integers(-5, 5), min_size=len(scores), max_size=len(scores)))
    k = data.draw(st.integers(1, 12))
    cut = data.draw(st.integers(0, len(scores)))

    def filled(*parts):
        """The state after these parts of the samples, and what each makes alone."""
        whole, alone = empty(k), []
        for part in parts:
            taken = {
                "events": some_events(),
                "next_id": torch.zeros(1, dtype=torch.int64),
                "scores": torch.tensor(scores[part]),
                "ids": torch.tensor(ids[part], dtype=torch.int64),
            }
            states = []
            for state in (whole, empty(k)):
                call = Call("top_samples_", {"state": state, **taken})
                check(call)
                states.append(results(call, implementations(call.op)["reference"])["state"])
            whole = states[0]
            alone.append(states[1])
        return whole, alone

    parts = slice(cut), slice(cut, None)
    whole, (first, second) = filled(*parts)
    assert torch.equal(whole, filled(*parts[::-1])[0])
    others = torch.stack([empty(k), first, second, empty(k)])
    for start, merged in (
        (empty(k), others),
        (second, first[None]),
        (whole, whole.new_zeros(0, *whole.shape)),
    ):
        call = Call("merge_top_samples_", {"state": start, "others": merged})
        check(call)
        for state in states(call).values():
            assert torch.equal(state, whole)
