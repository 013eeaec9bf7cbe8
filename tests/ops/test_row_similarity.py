"""row_similarity_: every implementation against Python numbers."""

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
from fastmetrics.ops.row_similarity import COSINE, JS, JS_LOG, KINDS, KL, KL_LOG
from tests.ops.cases import LABEL_DTYPES, LAYOUTS, SCORE_DTYPES, implementations, native_op

OP = "row_similarity_"
START = 0.5
DTYPES = SCORE_DTYPES + LABEL_DTYPES


def divided(x: float, y: float) -> float:
    if y == 0 or math.isnan(x) or math.isnan(y):
        return math.nan if x == 0 or math.isnan(x) or math.isnan(y) else math.copysign(math.inf, x)
    return math.nan if math.isinf(x) and math.isinf(y) else x / y


def log_of(x: float) -> float:
    if x == 0:
        return -math.inf
    return math.nan if x < 0 or math.isnan(x) else math.log(x)


def x_log_ratio(x: float, y: float) -> float:
    return 0.0 if x == 0 else x * log_of(divided(x, y))


def added(numbers: list[float]) -> float:
    return math.fsum(numbers) if all(map(math.isfinite, numbers)) else sum(numbers)


def value_of(p: list[float], q: list[float], kind: int) -> float:
    """The similarity of two rows, from exactly rounded sums."""
    if kind == COSINE:
        dot = added([x * y for x, y in zip(p, q, strict=True)])
        norms = [math.sqrt(added([x * x for x in row])) for row in (p, q)]
        return divided(dot, norms[0] * norms[1])
    if kind == KL_LOG:
        pairs = zip(p, q, strict=True)
        return added([0.0 if x == -math.inf else math.exp(x) * (x - y) for x, y in pairs])
    if kind == JS_LOG:
        p, q = [math.exp(x) for x in p], [math.exp(x) for x in q]
    else:
        sums = added(p), added(q)
        p, q = ([divided(x, total) for x in row] for row, total in zip((p, q), sums, strict=True))
    if kind == KL:
        return added([x_log_ratio(x, y) for x, y in zip(p, q, strict=True)])
    middle = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
    terms = [x_log_ratio(x, m) for row in (p, q) for x, m in zip(row, middle, strict=True)]
    return added(terms) / 2


def check(preds: Tensor, target: Tensor, kind: int, rel: float = 1e-12) -> None:
    rows = [
        value_of(p, q, kind)
        for p, q in zip(preds.double().tolist(), target.double().tolist(), strict=True)
    ]
    for name, implementation in implementations(OP).items():
        apart = torch.full((len(rows), 1), START, dtype=torch.float64)
        sums = torch.full((2,), START, dtype=torch.float64)
        implementation(apart, preds, target, kind)
        implementation(sums, preds, target, kind)
        found = (apart[:, 0] - START).tolist()
        assert found == pytest.approx(rows, rel=rel, abs=1e-13, nan_ok=True), (name, kind)
        total, count = sums.tolist()
        assert count == START + len(rows)
        exact = added([START, *rows])
        size = sum(abs(x) for x in rows if math.isfinite(x)) + 1
        assert total == pytest.approx(exact, rel=0, abs=1e-13 * size, nan_ok=True), (name, kind)


def distributions(shape, dtype=torch.float32, seed=0, zeros=0.1) -> Tensor:
    rng = np.random.default_rng(seed)
    values = rng.gamma(0.5, size=shape)
    values[rng.random(shape) < zeros] = 0
    values[..., :1] += 0.1
    return torch.from_numpy(np.asarray(values)).to(dtype)


def check_all(p: Tensor, q: Tensor) -> None:
    """Every kind, with p covered by q: no infinite divergence."""
    for kind in (COSINE, JS):
        check(p, q, kind)
    q = torch.where(q == 0, q.new_tensor(1), q)
    check(p, q, KL)
    if p.is_floating_point() and q.is_floating_point():
        check(p.log(), q.log(), KL_LOG)
        check(p.log(), q.log(), JS_LOG)


@pytest.mark.smoke
@pytest.mark.parametrize("columns", [1, 2, 3, 7, 8, 9, 16, 63, 100, 1023, 1024, 1025, 2500])
@pytest.mark.parametrize("rows", [1, 5])
def test_shapes(rows, columns):
    check_all(distributions((rows, columns)), distributions((rows, columns), seed=1))


def test_many_rows(native):
    for columns in (1, 2, 5):
        check_all(distributions((1500, columns)), distributions((1500, columns), seed=1))


@pytest.mark.smoke
def test_empty():
    for kind in KINDS:
        check(torch.zeros(0, 3), torch.zeros(0, 3), kind)
        check(torch.zeros(3, 0), torch.zeros(3, 0), kind)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(dtype):
    p, q = (torch.arange(40).add(seed).remainder(7).view(4, 10) for seed in (1, 3))
    for other in DTYPES:
        check_all(p.to(dtype), q.to(other))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(layout):
    for shape in ((6, 5), (3, 40), (2, 1500)):
        for dtype in (torch.float32, torch.bfloat16):
            p, q = distributions(shape, dtype), distributions(shape, dtype, 1)
            check_all(layout(p), q)
            check_all(p, layout(q))


ODD = [
    [0.0, 0.0],
    [-0.0, 0.0],
    [0.0, 1.0],
    [1.0, 0.0],
    [0.5, 0.5],
    [-1.0, 3.0],
    [-1.0, -3.0],
    [math.nan, 1.0],
    [math.inf, 1.0],
    [1e38, 1e-38],
    [1e-45, 1e-45],
    [1e-30, 2e-30],
]


@pytest.mark.smoke
@pytest.mark.parametrize("width", [2, 19])
def test_odd_values(width):
    """Zeros, infinities, NaN and sizes at which float32 arithmetic ends, against each other."""
    pairs = [(a, b) for a in ODD for b in ODD]
    p, q = (torch.tensor(rows).repeat(1, 10)[:, :width] for rows in zip(*pairs, strict=True))
    for dtype in (torch.float32, torch.float64):
        for kind in (COSINE, KL, JS):
            check(p.to(dtype), q.to(dtype), kind)


def test_odd_logarithms():
    values = [-math.inf, -1e30, -800.0, -745.2, -700.0, -1.5, -1e-20, 0.0]
    grid = torch.tensor(values, dtype=torch.float64)
    p, q = torch.cartesian_prod(grid, grid).T
    p, q = (torch.stack((x, x.flip(0)), -1) for x in (p, q))
    for kind in (KL_LOG, JS_LOG):
        check(p, q, kind)


def test_the_logarithm_is_right_over_its_range(native):
    """KL of two numbers is a logarithm: from the smallest to the largest ratio, and around 1."""
    ratio = torch.cat(
        [torch.logspace(-300, 300, 5001, dtype=torch.float64), torch.arange(-50, 51) * 1e-12 + 1]
    )
    p, q = torch.stack((torch.ones_like(ratio), torch.zeros_like(ratio)), -1), ratio
    rows = torch.stack((q, (1 - q).abs() + 1e-3), -1)
    state = torch.zeros(len(q), 1, dtype=torch.float64)
    native_op(OP)(state, p, rows, KL)
    exact = [math.log((a + b) / a) if a < b * 1e15 else math.log1p(b / a) for a, b in rows.tolist()]
    torch.testing.assert_close(
        state[:, 0], torch.tensor(exact, dtype=torch.float64), rtol=1e-13, atol=1e-15
    )


def test_the_exponential_is_right_over_its_range(native):
    x = torch.cat([torch.linspace(-707, 0, 5001), torch.linspace(-1e-3, 1e-3, 101)]).double()[
        :, None
    ]
    state = torch.zeros(len(x), 1, dtype=torch.float64)
    native_op(OP)(state, x, x - 1, KL_LOG)  # exp(x) * 1
    expected = [math.exp(number) * (number - (number - 1)) for (number,) in x.tolist()]
    torch.testing.assert_close(
        state[:, 0], torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_rows(data):
    rows, columns = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 20)))
    number = st.just(0.0) | st.floats(2.0**-60, 2.0**60, width=32)
    values = st.lists(number, min_size=rows * columns, max_size=rows * columns)
    p, q = (torch.tensor(data.draw(values)).view(rows, columns) for _ in range(2))
    for kind in (COSINE, KL, JS):
        check(p, q, kind)


def test_any_split_and_number_of_threads(native):
    p, q = distributions((60_000, 7)), distributions((60_000, 7), seed=1, zeros=0)
    for kind in (COSINE, KL, JS):
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            state = torch.zeros(2, dtype=torch.float64)
            native_op(OP)(state, p, q, kind)
            found.append(state)
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])
        parts = torch.zeros(2, dtype=torch.float64)
        for first in range(0, 60_000, 7777):
            native_op(OP)(parts, p[first : first + 7777], q[first : first + 7777], kind)
        torch.testing.assert_close(parts, found[0], rtol=1e-13, atol=0)


BAD = [
    ((torch.ones(2, 3), torch.ones(2, 4)), RuntimeError, r"same shape, got \(2, 3\) and \(2, 4\)"),
    ((torch.ones(3), torch.ones(3)), ValueError, r"must have shape \(N, D\), got \(3,\)"),
    ((torch.ones(2, 3) * 1j, torch.ones(2, 3)), ValueError, "must be a real tensor"),
    ((torch.ones(2, 3), torch.ones(2, 3, device="meta")), ValueError, "must be on one device"),
]


@pytest.mark.smoke
@pytest.mark.parametrize(("inputs", "error", "text"), BAD, ids=lambda x: str(x)[:20])
def test_refusals(inputs, error, text):
    for kind, name in ((COSINE, "`preds`"), (KL, "`p`|`preds`")):
        state = torch.ones(2, dtype=torch.float64)
        with pytest.raises(error, match=text) as caught:
            ops.row_similarity_(state, *inputs, kind)
        assert any(part in str(caught.value) for part in name.split("|"))
        assert torch.equal(state, torch.ones(2, dtype=torch.float64))


@pytest.mark.smoke
def test_refusals_of_states_and_kinds():
    rows = torch.ones(4, 3)
    for state in (torch.zeros(2), torch.zeros(3).double(), torch.zeros(2, 1).double()):
        with pytest.raises(ValueError, match=r"`state` must be float64 \(2,\) or \(4, 1\)"):
            ops.row_similarity_(state, rows, rows)
    with pytest.raises(ValueError, match="`kind` must be one of"):
        ops.row_similarity_(torch.zeros(2).double(), rows, rows, 5)


def test_opcheck():
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    p, q = distributions((4, 3)), distributions((4, 3), seed=1)
    for kind in KINDS:
        for shape in ((2,), (4, 1)):
            state = torch.ones(shape, dtype=torch.float64)
            torch.library.opcheck(native_op(OP), (state, p, q, kind), test_utils=tests)


def test_one_graph_for_changing_data_and_sizes():
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(backend=counter, fullgraph=True)
    def step(state, p, q):
        ops.row_similarity_(state, p * 2, q, JS)
        return state * 2

    state = torch.zeros(2, dtype=torch.float64)
    expected = state.clone()
    for size in (5, 9, 17, 3):
        p, q = distributions((size, 4)), distributions((size, 4), seed=1)
        step(state, p, q)
        ops.row_similarity_(expected, p * 2, q, JS)
    assert torch.equal(state, expected)
    assert counter.frame_count <= 2
