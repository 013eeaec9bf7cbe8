"""aggregate_ and aggregate_value_: every implementation against Python numbers."""

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
from fastmetrics.ops import faults
from fastmetrics.ops.aggregate import DROP, FILL, KEEP, MAX, MIN, REFUSE, SUM
from tests.ops.cases import (
    LABEL_DTYPES,
    LAYOUTS,
    SCORE_DTYPES,
    SIZES,
    implementations,
    native_op,
    with_special_values,
)

OP = "aggregate_"
KINDS = ((SUM, (2,)), (SUM, ()), (MAX, ()), (MIN, (1,)))
DTYPES = SCORE_DTYPES + LABEL_DTYPES
START = 0.75


def oracle(
    value: Tensor, weight: Tensor | None, reduction: int, nans: int, fill: float
) -> tuple[float, float, int]:
    """Total, weight and number of NaN left out, from exactly rounded sums."""
    values = [float(x) for x in value.flatten().tolist()]
    spread = torch.ones(()) if weight is None else weight
    weights = [float(w) for w in spread.expand(value.shape).flatten().tolist()]
    pairs = list(zip(values, weights, strict=True))
    bad = [math.isnan(x) or math.isnan(w) for x, w in pairs]
    left_out = 0
    if nans == FILL:
        pairs = [(fill, 1.0) if b else pair for pair, b in zip(pairs, bad, strict=True)]
    elif nans != KEEP:
        pairs = [pair for pair, b in zip(pairs, bad, strict=True) if not b]
        left_out = sum(bad)
    values = [x for x, _ in pairs]
    amount = total_of([w for _, w in pairs])
    if reduction == SUM:
        return total_of([x * w for x, w in pairs]), amount, left_out
    if any(math.isnan(x) for x in values):
        return math.nan, amount, left_out
    best = max if reduction == MAX else min
    return best(values, default=-math.inf if reduction == MAX else math.inf), amount, left_out


def total_of(numbers: list[float]) -> float:
    if all(math.isfinite(x) for x in numbers):
        return math.fsum(numbers)
    return sum(numbers)


def check(
    value: Tensor,
    weight: Tensor | None = None,
    reduction: int = SUM,
    shape: tuple[int, ...] = (2,),
    nans: int = DROP,
    fill: float = 0.0,
) -> None:
    total, amount, left_out = oracle(value, weight, reduction, nans, fill)
    sizes = value.double().abs() * (1.0 if weight is None else weight.double().abs())
    scale = float(sizes[sizes.isfinite()].sum()) + START
    scale += abs(fill) * value.numel() if nans == FILL and fill == fill else 0.0
    for name, implementation in implementations(OP).items():
        state = torch.full(shape, START, dtype=torch.float64)
        events = torch.tensor([3, 5, 7])
        arguments = (state, events, value, weight, reduction, nans, fill)
        if nans == REFUSE and left_out:
            with pytest.raises(RuntimeError, match=f"must not hold NaN, got {left_out} of them"):
                implementation(*arguments)
            assert torch.equal(state, torch.full(shape, START, dtype=torch.float64)), name
            assert events.tolist() == [3, 5, 7], name
            continue
        implementation(*arguments)
        found = state.flatten().tolist()
        if not value.numel():
            assert found == [START] * len(found)
            continue
        if reduction == SUM:
            assert found[0] == pytest.approx(START + total, abs=1e-14 * scale, nan_ok=True), name
            if len(found) == 2:
                assert found[1] == pytest.approx(START + amount, rel=1e-14, nan_ok=True), name
        elif math.isnan(total):
            assert math.isnan(found[0]), name
        else:
            assert found[0] == (max if reduction == MAX else min)(START, total), name
        assert events.tolist() == [3, 5 + left_out, 7], name


def numbers(shape, dtype, seed=0, special=0.0) -> Tensor:
    rng = np.random.default_rng(seed)
    if not dtype.is_floating_point:
        low, high = (0, 2) if dtype == torch.bool else (torch.iinfo(dtype).min, 100)
        return torch.from_numpy(np.asarray(rng.integers(max(low, -(2**40)), high, shape))).to(dtype)
    values = torch.from_numpy(np.asarray(rng.normal(size=shape) * 10)).to(dtype)
    return with_special_values(values, rng, special) if special else values


@pytest.mark.smoke
@pytest.mark.parametrize("size", SIZES)
def test_sizes(size):
    for (reduction, shape), nans in itertools.product(KINDS, (KEEP, DROP)):
        value = numbers((size,), torch.float32, size)
        check(value, None, reduction, shape, nans)
        if reduction == SUM:
            check(value, value.abs(), reduction, shape, nans)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(dtype):
    for reduction, shape in KINDS:
        value = numbers((70,), dtype)
        check(value, None, reduction, shape)
        if reduction == SUM:
            for weight_dtype in DTYPES:
                check(value, numbers((70,), weight_dtype, 1), reduction, shape)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_small_float(dtype):
    value = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    finite = value[value.isfinite()]
    for chunk in finite.split(97):
        check(chunk, None, SUM, (2,))
    for reduction, shape in KINDS[2:]:
        check(value, None, reduction, shape)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
@pytest.mark.parametrize("nans", [KEEP, DROP, REFUSE, FILL])
def test_nan_and_infinities(nans, dtype):
    rows = [
        numbers((200,), dtype, 2, special=0.3),
        numbers((3000,), dtype, 3, special=0.01),
        torch.tensor([math.nan] * 40, dtype=dtype),
        torch.tensor([math.inf, math.nan, -1.0], dtype=dtype),
        torch.tensor([math.inf, -math.inf, math.nan], dtype=dtype),
        torch.tensor(math.nan, dtype=dtype),
    ]
    for value, (reduction, shape), fill in itertools.product(rows, KINDS, (-3.0, math.nan)):
        check(value, None, reduction, shape, nans, fill)
        if reduction == SUM:
            check(value, value.flip(0) if value.ndim else value, reduction, shape, nans, fill)


def test_a_nan_anywhere_is_found():
    """At every place of a block, also where two blocks meet."""
    for place in (*range(40), 1008, 1023, 1024, 1025, 2047, 2048, 2099):
        value = torch.ones(2100)
        value[place] = math.nan
        for reduction, shape in KINDS:
            check(value, None, reduction, shape)
        check(value.double(), torch.ones(2100), SUM, (2,))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(layout):
    for shape in ((7, 9), (4, 5, 6), (1, 3, 1, 2)):
        for dtype in (torch.float32, torch.float16, torch.int16):
            value = layout(numbers(shape, dtype, 4))
            for reduction, state in KINDS:
                check(value, None, reduction, state)
            check(value, layout(numbers(shape, torch.float64, 5).abs()))
            check(value, numbers(shape[-1:], torch.float32, 6))
            check(value, numbers((shape[-2], 1), torch.uint8, 7))
            check(value, torch.tensor(2.5))


@pytest.mark.smoke
def test_shapes_without_numbers_or_axes():
    for shape in ((0,), (3, 0), (0, 4)):
        for reduction, state in KINDS:
            check(torch.zeros(shape), None, reduction, state)
        check(torch.zeros(shape), torch.ones(shape[-1]))
    check(torch.tensor(2.5), torch.tensor(3))


@pytest.mark.smoke
@pytest.mark.parametrize("start", [2.0**24, 2.0**31, 2.0**52])
def test_counting_goes_on(start):
    for implementation in implementations(OP).values():
        state = torch.full((2,), start, dtype=torch.float64)
        implementation(state, faults.new_events(), torch.ones(1001), None, SUM, DROP, 0.0)
        assert state.tolist() == [start + 1001] * 2
    for implementation in implementations("aggregate_value_").values():
        state = torch.full((2,), start, dtype=torch.float64)
        for _ in range(5):
            implementation(state, 1.0, 1.0, SUM)
        assert state.tolist() == [start + 5] * 2


def test_sums_are_close_to_exact_ones(native):
    """1e6 numbers of mixed sizes, in any split: float64 rounding and no more."""
    value = torch.randn(1_000_003).exp() * torch.where(torch.rand(1_000_003) < 0.5, -1.0, 1.0)
    exact = math.fsum(value.tolist())
    scale = float(value.double().abs().sum())
    rng = np.random.default_rng(0)
    for parts in (1, 3, 50):
        state, events = torch.zeros(2, dtype=torch.float64), faults.new_events()
        cuts = sorted(rng.integers(0, len(value), parts - 1).tolist())
        for part in np.split(value.numpy(), cuts):
            native_op(OP)(state, events, torch.from_numpy(part), None, SUM, DROP, 0.0)
        assert abs(state[0].item() - exact) < 1e-15 * scale
        assert state[1].item() == len(value)


def test_same_bits_for_any_number_of_threads(native):
    inputs = (torch.randn(700_001), torch.randn(1000, 700).mT, torch.randn(400_000).half())
    for value in inputs:
        for weight in (None, torch.rand(value.shape)):
            found = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                state = torch.zeros(2, dtype=torch.float64)
                native_op(OP)(state, faults.new_events(), value, weight, SUM, DROP, 0.0)
                found.append(state)
            assert torch.equal(found[0], found[1])
            assert torch.equal(found[0], found[2])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_values(data):
    shape = data.draw(st.sampled_from([(), (1,), (5,), (33,), (3, 4), (2, 3, 4)]))
    count = math.prod(shape)
    element = st.just(math.nan) | st.floats(-(2.0**90), 2.0**90, width=32)
    values = data.draw(st.lists(element, min_size=count, max_size=count))
    value = torch.tensor(values).view(shape)
    reduction, state = data.draw(st.sampled_from(KINDS))
    weight = None
    if reduction == SUM and data.draw(st.booleans()):
        weight = torch.rand(data.draw(st.sampled_from([shape, shape[1:], ()])))
    nans = data.draw(st.sampled_from([KEEP, DROP, REFUSE, FILL]))
    check(value, weight, reduction, state, nans, data.draw(element))


@pytest.mark.smoke
def test_numbers():
    values = (1.5, -2, True, 1e300, math.inf, -math.inf, math.nan, 2**60)
    for (reduction, shape), value in itertools.product(KINDS, values):
        for name, implementation in implementations("aggregate_value_").items():
            state = torch.full(shape, START, dtype=torch.float64)
            implementation(state, value, 0.5, reduction)
            found = state.flatten().tolist()
            if reduction == SUM:
                expected = [START + value * 0.5, START + 0.5][: len(found)]
            else:
                best = max if reduction == MAX else min
                expected = [value if math.isnan(value) else best(START, float(value))]
            assert found == pytest.approx(expected, nan_ok=True), name


BAD = [
    ((torch.zeros(3, dtype=torch.float64),), ValueError, "float64 with 1 or 2 elements"),
    ((torch.zeros(2),), ValueError, "float64 with 1 or 2 elements, got torch.float32"),
    ((None, torch.zeros(3, dtype=torch.complex64)), ValueError, "`value` must be a real tensor"),
    ((None, None, torch.zeros(3, dtype=torch.complex64)), ValueError, "`weight` must be a real"),
    ((None, None, torch.zeros(2, 3)), RuntimeError, r"to that of `value`, \(3,\), got \(2, 3\)"),
    ((None, None, torch.zeros(2)), RuntimeError, r"to that of `value`, \(3,\), got \(2,\)"),
    ((None, None, torch.zeros(3), MAX), ValueError, "only sums take a `weight`"),
    ((None, None, None, 3), ValueError, "`reduction` must be one of"),
    ((None, None, None, SUM, 4), ValueError, "`nans` must be one of"),
    ((None, torch.zeros(3, device="meta")), ValueError, "on the device of the metric state"),
]


@pytest.mark.smoke
@pytest.mark.parametrize(("arguments", "error", "text"), BAD, ids=lambda x: str(x)[:20])
def test_refusals(arguments, error, text):
    state, value, weight, reduction, nans = (*arguments, *(None,) * (5 - len(arguments)))
    reduction = SUM if reduction is None else reduction
    if state is None:
        state = torch.ones(2 if reduction == SUM else 1, dtype=torch.float64)
    before, events = state.clone(), faults.new_events()
    value = torch.ones(3) if value is None else value
    with pytest.raises(error, match=text):
        ops.aggregate_(state, events, value, weight, reduction, nans or KEEP)
    assert torch.equal(state, before)
    assert not events.any()


def test_refusals_of_numbers():
    with pytest.raises(ValueError, match="must be float64 with 1 elements"):
        ops.aggregate_value_(torch.zeros(2, dtype=torch.float64), 1.0, 1.0, MAX)
    with pytest.raises(ValueError, match="`reduction` must be one of"):
        ops.aggregate_value_(torch.zeros(2, dtype=torch.float64), 1.0, 1.0, 7)


def test_opcheck():
    tests = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    for reduction, shape in KINDS:
        state = torch.ones(shape, dtype=torch.float64)
        value = torch.randn(5, 3)
        weights = (None, torch.rand(3)) if reduction == SUM else (None,)
        for weight in weights:
            arguments = (state, faults.new_events(), value, weight, reduction, DROP, 0.0)
            torch.library.opcheck(native_op(OP), arguments, test_utils=tests)
        torch.library.opcheck(
            native_op("aggregate_value_"), (state, 1.5, 2.0, reduction), test_utils=tests
        )


def test_one_graph_for_changing_data_and_sizes():
    counter = CompileCounterWithBackend("aot_eager")

    @torch.compile(backend=counter, fullgraph=True)
    def step(state, events, value, weight):
        ops.aggregate_(state, events, value * 2, weight, SUM, DROP)
        return state * 2

    state, events = torch.zeros(2, dtype=torch.float64), faults.new_events()
    expected, total = state.clone(), faults.new_events()
    for size in (5, 9, 17, 3):
        value, weight = torch.randn(size, 4), torch.rand(4)
        step(state, events, value, weight)
        ops.aggregate_(expected, total, value * 2, weight, SUM, DROP)
    assert torch.equal(state, expected)
    assert counter.frame_count <= 2


def test_no_graph_is_kept():
    value = torch.randn(4, requires_grad=True) * 2
    state = torch.zeros(2, dtype=torch.float64)
    ops.aggregate_(state, faults.new_events(), value, value, SUM, DROP)
    assert not state.requires_grad
