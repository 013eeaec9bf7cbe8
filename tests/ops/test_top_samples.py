"""top_samples_ and merge_top_samples_: every implementation against sorted Python pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from fastmetrics import ops
from fastmetrics.ops import faults
from fastmetrics.ops.define import REFERENCES
from fastmetrics.ops.top_samples import BITS, IDS, PRESENT
from tests.ops.cases import LABEL_DTYPES, SCORE_DTYPES, implementations, native_op

OP, MERGE = "top_samples_", "merge_top_samples_"
Pairs = list[tuple[float, int]]


def oracle(pairs: Pairs, k: int) -> tuple[Pairs, Pairs]:
    """The first k by highest and by lowest score, ties by lower id."""
    kept = [(score, i) for score, i in pairs if not math.isnan(score)]
    best = sorted(kept, key=lambda pair: (-pair[0], pair[1]))[:k]
    return best, sorted(kept)[:k]


def contents(state: Tensor) -> tuple[Pairs, Pairs]:
    """What a state holds; beyond it there are zeros only."""
    sides = []
    for side in range(2):
        count = int(state[PRESENT, side].sum())
        assert state[PRESENT, side, :count].all()
        assert not state[:, side, count:].any()
        scores = state[BITS, side, :count].clone().view(torch.float64).tolist()
        sides.append(list(zip(scores, state[IDS, side, :count].tolist(), strict=True)))
    return sides[0], sides[1]


def empty(k: int) -> Tensor:
    return torch.zeros(3, 2, k, dtype=torch.int64)


def fill(implementation, k: int, *batches: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor]:
    state, events, next_id = empty(k), faults.new_events(), torch.zeros(1, dtype=torch.int64)
    for scores, ids in batches:
        implementation(state, events, next_id, scores, ids)
    assert next_id.tolist() == [sum(len(scores) for scores, _ in batches)]
    return state, events


def check(k: int, *batches: tuple[Tensor, Tensor | None]) -> None:
    pairs: Pairs = []
    for scores, ids in batches:
        start = len(pairs)
        numbers = range(start, start + len(scores)) if ids is None else ids.tolist()
        pairs += zip([float(x) for x in scores.tolist()], numbers, strict=True)
    expected = oracle(pairs, k)
    for name, implementation in implementations(OP).items():
        state, events = fill(implementation, k, *batches)
        assert contents(state) == expected, name
        assert events.tolist() == [0, sum(math.isnan(score) for score, _ in pairs), 0], name


def few(size: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Scores with many ties."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 2 if dtype == torch.bool else 9, size)).to(dtype)


def shuffled(size: int, seed: int = 0) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed)) * 3 - size


@pytest.mark.smoke
@pytest.mark.parametrize("k", [1, 2, 5, 63, 200])
def test_sizes(k):
    for size in (0, 1, 2, 5, 63, 64, 65, 511, 512, 513, 1300):
        scores = torch.randn(size, generator=torch.Generator().manual_seed(size))
        for x in (scores, few(size), torch.arange(size).float(), -torch.arange(size).float()):
            check(k, (x, None))
            check(k, (x, shuffled(size)))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES + LABEL_DTYPES, ids=str)
def test_dtypes(dtype):
    check(7, (few(300, dtype), shuffled(300)), (few(40, dtype, 1), None))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
def test_nan_infinities_and_zeros(dtype):
    values = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0]
    scores = torch.tensor(values * 30, dtype=dtype)
    for k in (1, 4, 70, 300):
        check(k, (scores, shuffled(len(scores))), (scores[:20], None))
    check(3, (torch.full((9,), math.nan, dtype=dtype), None))


def test_signs_of_zero_do_not_show():
    for implementation in implementations(OP).values():
        state, _ = fill(implementation, 2, (torch.tensor([-0.0, 0.0]), None))
        assert state[BITS].tolist() == [[0, 0], [0, 0]]


@pytest.mark.smoke
def test_layouts_and_extreme_ids():
    scores = few(600).view(200, 3)
    ids = torch.stack([shuffled(200), torch.arange(200)], dim=1)
    check(9, (scores[:, 1], ids[:, 0]), (scores[::7, 2], ids[::7, 1]))
    check(9, (scores[:1, 0].expand(50), ids[:50, 0]))
    ends = torch.tensor([2**63 - 1, -(2**63), 2**53, 2**53 + 1, 0])
    for k in (1, 3, 8):
        check(k, (torch.zeros(5), ends), (torch.ones(5), ends))


def test_scores_that_differ_in_float64_only():
    scores = torch.tensor([1.0, 1.0 + 2**-50, 1.0 - 2**-52], dtype=torch.float64)
    check(2, (scores, None), (torch.ones(3), torch.tensor([9, 8, 7])))


def test_same_result_for_any_number_of_threads(native):
    for scores in (torch.randn(100_000), few(100_000, torch.float16)):
        ids = torch.randperm(len(scores))
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(fill(native_op(OP), 20, (scores, ids), (scores + 0.25, ids + 10**9))[0])
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])
        check(20, (scores, ids))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_order_split_and_merge(data):
    score = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0]) | st.floats(-4, 4, width=16)
    scores = data.draw(st.lists(score, max_size=40))
    ids = data.draw(st.lists(st.integers(-5, 5), min_size=len(scores), max_size=len(scores)))
    k = data.draw(st.integers(1, 12))
    cut = data.draw(st.integers(0, len(scores)))
    parts = [
        (torch.tensor(scores[part]), torch.tensor(ids[part], dtype=torch.int64))
        for part in (slice(cut), slice(cut, None))
    ]
    check(k, *parts)
    check(k, *parts[::-1])
    expected = oracle(list(zip(scores, ids, strict=True)), k)
    for name, merge in implementations(MERGE).items():
        first, second = (fill(REFERENCES[OP], k, part)[0] for part in parts)
        total = empty(k)
        merge(total, torch.stack([empty(k), first, second, empty(k)]))
        assert contents(total) == expected, name
        merge(second, first[None])
        assert torch.equal(second, total), name
        merge(second, torch.zeros(0, *second.shape, dtype=torch.int64))
        assert torch.equal(second, total), name


STATE, NEXT = empty(2), torch.zeros(1, dtype=torch.int64)
ONES = torch.ones(3)
BAD = [
    ((STATE.int(), NEXT, ONES, None), r"must be int64 of shape \(3, 2, k\), got torch.int32"),
    ((STATE[:2], NEXT, ONES, None), r"must be int64 of shape \(3, 2, k\)"),
    ((STATE, NEXT.int(), ONES, None), "`next_id` must be int64 with one element"),
    ((STATE, NEXT, ONES[None], None), r"`scores` must be a real tensor of shape \(N,\)"),
    ((STATE, NEXT, ONES[0], None), r"`scores` must be a real tensor of shape \(N,\)"),
    ((STATE, NEXT, ONES.cfloat(), None), "`scores` must be a real tensor"),
    ((STATE, NEXT, ONES, torch.arange(2)), r"one per score, shape \(3,\), got torch.int64 \(2,\)"),
    ((STATE, NEXT, ONES, torch.arange(3).int()), "`ids` must be int64"),
    ((STATE, NEXT, ONES.to("meta"), None), "`scores` must be on the device of the metric state"),
]


@pytest.mark.smoke
@pytest.mark.parametrize(("arguments", "text"), BAD, ids=lambda x: str(x)[-20:])
def test_refusals(arguments, text):
    state, next_id, scores, ids = arguments
    events = faults.new_events()
    with pytest.raises(ValueError, match=text):
        ops.top_samples_(state, events, next_id, scores, ids)
    assert not state.any() and not next_id.any() and not events.any()


@pytest.mark.smoke
def test_refusals_of_merges():
    for others in (empty(2), empty(3)[None], empty(2)[None].int()):
        with pytest.raises(ValueError, match=r"`others` must be int64 of shape \(R, 3, 2, 2\)"):
            ops.merge_top_samples_(empty(2), others)


def test_opcheck():
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    for ids in (None, torch.arange(5)):
        arguments = (empty(3), faults.new_events(), NEXT.clone(), torch.randn(5), ids)
        torch.library.opcheck(native_op(OP), arguments, test_utils=tests)
    others = fill(native_op(OP), 3, (torch.randn(5), None))[0][None]
    torch.library.opcheck(native_op(MERGE), (empty(3), others), test_utils=tests)


def test_one_graph_for_changing_data_and_sizes():
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(backend=counter, fullgraph=True)
    def step(state, events, next_id, scores):
        ops.top_samples_(state, events, next_id, scores * 2)

    state, events, next_id = empty(3), faults.new_events(), NEXT.clone()
    batches = []
    for size in (5, 9, 17, 3):
        scores = torch.randn(size)
        step(state, events, next_id, scores)
        batches.append((scores * 2, None))
    assert torch.equal(state, fill(native_op(OP), 3, *batches)[0])
    assert counter.frame_count <= 2


def test_no_graph_is_kept():
    for implementation in implementations(OP).values():
        state, _ = fill(implementation, 2, (torch.randn(4, requires_grad=True) * 2, None))
        assert not state.requires_grad
