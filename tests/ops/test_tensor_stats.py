"""tensor_stats_: every implementation against Python numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from fastmetrics import ops
from fastmetrics.ops.tensor_stats import NUM_COLUMNS
from tests.ops.cases import LAYOUTS, SCORE_DTYPES, SIZES, implementations, native_op

OP = "tensor_stats_"


def oracle(updates: list[Tensor]) -> list[float]:
    """One row of the state, with exactly rounded sums, after these tensors one after the other."""
    values = [float(x) for tensor in updates for x in tensor.flatten().tolist()]
    finite = [x for x in values if math.isfinite(x)]
    return [
        float(sum(tensor.numel() > 0 for tensor in updates)),
        float(len(finite)),
        math.fsum(finite),
        math.fsum(x * x for x in finite),
        min(finite, default=0.0),
        max(finite, default=0.0),
        float(sum(map(math.isnan, values))),
        float(sum(map(math.isinf, values))),
    ]


def check(*updates: list[Tensor]) -> None:
    """Every update is a list of as many tensors as there are rows."""
    expected = [oracle(list(tensors)) for tensors in zip(*updates, strict=True)]
    for name, implementation in implementations(OP).items():
        state = torch.zeros(len(updates[0]), NUM_COLUMNS, dtype=torch.float64)
        for tensors in updates:
            implementation(state, tensors)
        streams = zip(*updates, strict=True)
        for found, row, tensors in zip(state.tolist(), expected, streams, strict=True):
            sizes = math.fsum(abs(x) for t in tensors for x in finite_of(t))
            assert found[2] == pytest.approx(row[2], abs=1e-14 * sizes), name
            assert found[3] == pytest.approx(row[3], rel=1e-13), name
            for column in (0, 1, 4, 5, 6, 7):
                assert found[column] == row[column], (name, column)


def finite_of(tensor: Tensor) -> list[float]:
    return tensor[tensor.isfinite()].double().tolist()


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * 10).to(dtype)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
def test_sizes(dtype):
    tensors = [normal(size, dtype=dtype, seed=size) for size in (*SIZES, 4095, 4096, 4097, 8200)]
    check(tensors)
    check(tensors, [x.flip(0) * 2 for x in tensors])


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
def test_nan_and_infinities(dtype):
    """A few of them, nothing else, and one alone at every place around the blocks."""
    tensors = [normal(size, dtype=dtype) for size in (3, 40, 5000)]
    for tensor in tensors:
        tensor[::3], tensor[1::7], tensor[2::5] = math.nan, math.inf, -math.inf
    tensors += [torch.full((size,), math.nan, dtype=dtype) for size in (1, 20, 4100)]
    tensors += [torch.tensor(x, dtype=dtype) for x in (math.inf, -math.inf, 2.5)]
    check(tensors)
    check(tensors, [normal(*x.shape, dtype=dtype) for x in tensors])
    singles = []
    for place, value in itertools.product((0, 15, 16, 17, 4095, 4096, 4111), (math.nan, math.inf)):
        singles.append(normal(4112, dtype=dtype))
        singles[-1][place] = value
    check(singles)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_small_float(dtype):
    values = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    check(list(values.split(1000)))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(layout):
    shapes = ((7, 9), (4, 5, 6), (1, 3, 1, 2), (3, 70, 100))
    for dtype in (torch.float32, torch.float16, torch.float64):
        check([layout(normal(*shape, dtype=dtype)) for shape in shapes])


@pytest.mark.smoke
def test_dtypes_may_differ_and_empty_tensors_change_nothing():
    check(
        [normal(9), torch.empty(0), normal(2, 3, dtype=torch.float64), torch.empty(3, 0)],
        [torch.empty(0), torch.empty(0), normal(4, dtype=torch.float16), normal(5)],
    )
    for implementation in implementations(OP).values():
        state = torch.zeros(0, NUM_COLUMNS, dtype=torch.float64)
        implementation(state, [])


@pytest.mark.smoke
@pytest.mark.parametrize("start", [2.0**24, 2.0**31, 2.0**52])
def test_counting_goes_on(start):
    for implementation in implementations(OP).values():
        state = torch.full((1, NUM_COLUMNS), start, dtype=torch.float64)
        implementation(state, [torch.tensor([1.0, math.nan, math.inf, 1.0])])
        added = [1, 2, 2, 2, 1 - start, 0, 1, 1]
        assert state[0].tolist() == [start + x for x in added]


def test_extreme_values():
    check([torch.tensor([3e38, -3e38, 1e-45]), torch.tensor([1e150, -1e150], dtype=torch.float64)])
    for implementation in implementations(OP).values():
        state = torch.zeros(1, NUM_COLUMNS, dtype=torch.float64)
        implementation(state, [torch.tensor([1e200, 2.0], dtype=torch.float64)])
        assert state[0].tolist() == [1, 2, 1e200, math.inf, 2, 1e200, 0, 0]


def test_a_constant_needs_no_luck(native):
    """1e7 times 0.1: float32 sums would be off in the third digit."""
    value = torch.full((10_000_000,), 0.1)
    state = torch.zeros(1, NUM_COLUMNS, dtype=torch.float64)
    native_op(OP)(state, [value])
    exact = float(value[0])
    assert state[0, 2].item() == pytest.approx(1e7 * exact, rel=1e-13)
    assert state[0, 3].item() == pytest.approx(1e7 * exact**2, rel=1e-13)


def test_same_bits_for_any_number_of_threads(native):
    tensors = [
        normal(300_001),
        normal(3),
        normal(500, 600).mT,
        normal(0),
        normal(400_000, dtype=torch.float16),
        normal(70_000, dtype=torch.float64),
    ]
    tensors[0][77] = math.nan
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        state = torch.zeros(len(tensors), NUM_COLUMNS, dtype=torch.float64)
        native_op(OP)(state, tensors)
        found.append(state)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    check(tensors)


def test_many_tensors_across_parts(native):
    """Parts begin and end inside of tensors, at their ends, and at empty ones."""
    rng = np.random.default_rng(0)
    for sizes in ([4096] * 40, [0, 65_536, 0, 65_536, 0, 0], rng.integers(0, 9000, 150).tolist()):
        check([normal(size, seed=i) for i, size in enumerate(sizes)])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_values_in_any_split(data):
    element = st.sampled_from([math.nan, math.inf, -math.inf]) | st.floats(
        -(2.0**90), 2.0**90, width=32
    )
    values = data.draw(st.lists(element, max_size=60))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    borders = [0, *cuts, len(values)]
    parts = [torch.tensor(values[a:b]) for a, b in itertools.pairwise(borders)]
    check(*([part] for part in parts))


STATE = torch.ones(2, NUM_COLUMNS, dtype=torch.float64)
BAD = [
    (STATE, [torch.ones(2)], "one per row of the state, 2, got 1"),
    (STATE.float(), [torch.ones(2)] * 2, "must be float64 of shape"),
    (STATE[:, 1:], [torch.ones(2)] * 2, "must be float64 of shape"),
    (STATE, [torch.ones(2), torch.ones(2).long()], "got dtype torch.int64 at place 1"),
    (STATE, [torch.ones(2).cfloat(), torch.ones(2)], "got dtype torch.complex64 at place 0"),
    (STATE, [torch.ones(2), torch.eye(2).to_sparse()], "got layout torch.sparse_coo at place 1"),
    (STATE, [torch.ones(2), torch.ones(2, device="meta")], "on the device of the metric state"),
]


@pytest.mark.smoke
@pytest.mark.parametrize(("state", "tensors", "text"), BAD, ids=lambda x: str(x)[:20])
def test_refusals(state, tensors, text):
    state = state.clone()
    with pytest.raises(ValueError, match=text):
        ops.tensor_stats_(state, tensors)
    assert (state == 1).all()


def test_opcheck():
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    state = torch.zeros(2, NUM_COLUMNS, dtype=torch.float64)
    arguments = (state, [normal(5, 3), normal(4, dtype=torch.float16)])
    torch.library.opcheck(native_op(OP), arguments, test_utils=tests)


def test_one_graph_for_changing_data_and_sizes():
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(backend=counter, fullgraph=True)
    def step(state, first, second):
        ops.tensor_stats_(state, [first * 2, second])
        return state * 2

    state = torch.zeros(2, NUM_COLUMNS, dtype=torch.float64)
    expected = state.clone()
    for size in (5, 9, 17, 3):
        tensors = normal(size, 4), normal(size)
        step(state, *tensors)
        ops.tensor_stats_(expected, [tensors[0] * 2, tensors[1]])
    assert torch.equal(state, expected)
    assert counter.frame_count <= 2


def test_no_graph_is_kept():
    state = torch.zeros(1, NUM_COLUMNS, dtype=torch.float64)
    ops.tensor_stats_(state, [torch.randn(4, requires_grad=True) * 2])
    assert not state.requires_grad
