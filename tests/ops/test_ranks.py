"""rank_moments_ and rank_orders_: every implementation against comparing all pairs."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastmetrics import ops
from tests.ops.cases import (
    LAYOUTS,
    SCORE_DTYPES,
    WEIGHT_DTYPES,
    implementations,
    native_op,
    random_scores,
)

MOMENTS, ORDERS = "rank_moments_", "rank_orders_"
TRACED = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
)


def exact_numbers(column: Tensor) -> list:
    """Python numbers, which compare without rounding."""
    return column.double().tolist() if column.is_floating_point() else column.long().tolist()


def brute_moments(x: list, y: list) -> list[float]:
    """Ranks by counting what is smaller and what is equal; exact."""

    def centred(numbers: list) -> list[int]:
        twice = [2 * sum(b < a for b in numbers) + sum(b == a for b in numbers) for a in numbers]
        return [rank - len(numbers) for rank in twice]

    if any(math.isnan(v) for v in (*x, *y)):
        return [len(x), math.nan, math.nan, math.nan]
    a, b = centred(x), centred(y)
    sums = [sum(p * q for p, q in zip(*sides, strict=True)) for sides in ((a, a), (b, b), (a, b))]
    return [len(x), *sums]


def brute_orders(x: list, y: list) -> tuple[list[int], list[int]]:
    """The counts, by comparing every pair."""
    if any(math.isnan(v) for v in (*x, *y)):
        return [len(x), 0, 0, 0, 0, 0, 0, 1], [0, 0]
    pairs = list(itertools.combinations(zip(x, y, strict=True), 2))
    opposite = sum((a < c and b > d) or (a > c and b < d) for (a, b), (c, d) in pairs)
    tied_x = sum(a == c for (a, _), (c, _) in pairs)
    tied_y = sum(b == d for (_, b), (_, d) in pairs)
    both = sum(a == c and b == d for (a, b), (c, d) in pairs)
    triples = [
        sum(t * (t - 1) * (t - 2) for t in (numbers.count(v) for v in set(numbers)))
        for numbers in (x, y)
    ]
    return [len(x), opposite, tied_x, tied_y, both, len(set(x)), len(set(y)), 0], triples


def cut(numbers: Tensor, *borders: int) -> list[Tensor]:
    edges = [0, *borders, len(numbers)]
    return [numbers[a:b] for a, b in itertools.pairwise(edges)]


def run_moments(implementation, outputs: int, preds: list[Tensor], target: list[Tensor]) -> Tensor:
    moments = torch.full((outputs, 4), -7.0, dtype=torch.float64)
    implementation(moments, preds, target)
    return moments


def run_orders(implementation, outputs: int, preds: list[Tensor], target: list[Tensor]):
    orders = torch.full((outputs, 8), -7)
    triples = torch.full((outputs, 2), -7.0, dtype=torch.float64)
    implementation(orders, triples, preds, target)
    return orders, triples


def check(preds: Tensor, target: Tensor, *borders: int) -> None:
    """Compare every implementation with the oracles; the two sides are cut in different places."""
    sides = cut(preds, *borders), cut(target)
    columns = [
        tuple(exact_numbers(side.reshape(len(side), -1)[:, c]) for side in (preds, target))
        for c in range(preds.shape[1] if preds.ndim == 2 else 1)
    ]
    wanted = torch.tensor([brute_moments(*column) for column in columns], dtype=torch.float64)
    for name, implementation in implementations(MOMENTS).items():
        found = run_moments(implementation, len(columns), *sides)
        assert torch.equal(found.nan_to_num(-1.5), wanted.nan_to_num(-1.5)), name
    expected = [brute_orders(*column) for column in columns]
    for name, implementation in implementations(ORDERS).items():
        orders, triples = run_orders(implementation, len(columns), *sides)
        assert orders.tolist() == [row for row, _ in expected], name
        assert triples.tolist() == [row for _, row in expected], name


def numbers(dtype: torch.dtype, seed: int, *shape: int) -> Tensor:
    rng = np.random.default_rng(seed)
    if dtype.is_floating_point:
        return random_scores(shape, dtype, rng)
    low = 0 if dtype in (torch.uint8, torch.bool) else -3
    return torch.from_numpy(rng.integers(low, 2 if dtype == torch.bool else 6, shape)).to(dtype)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 24, 25, 60])
def test_ties(dtype, size):
    check(numbers(dtype, size, size), numbers(torch.float32, size + 1, size), size // 2)
    check(numbers(torch.int16, size, size, 3), numbers(dtype, size + 1, size, 3), size // 3)


@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_extremes(dtype):
    info = torch.finfo(dtype)
    tiny = info.smallest_normal * info.eps
    values = [-math.inf, info.min, -1.0, -info.smallest_normal, -tiny, -0.0, 0.0, tiny]
    values += [2 * tiny, info.smallest_normal, 1 - info.eps / 2, 1.0, info.max, math.inf]
    grid = torch.tensor(values * 2, dtype=dtype)
    for seed in range(3):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(grid)))
        check(grid[order], grid)
        check(grid, grid[order].double())


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_extreme_integers(dtype):
    info = torch.iinfo(dtype)
    values = [info.min, info.min + 1, -1, 0, 1, info.max - 1, info.max]
    grid = torch.tensor(values * 5, dtype=dtype)
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(grid)))
    check(grid[order], grid)


def test_integers_that_no_float_tells_apart():
    low = 2**53 + torch.arange(40)
    check(low[torch.from_numpy(np.random.default_rng(0).permutation(40))], low)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_nan_spoils_its_output_only(dtype):
    preds, target = numbers(dtype, 1, 30, 3), numbers(dtype, 2, 30, 3)
    preds[4, 0] = math.nan
    target[7, 2] = -math.nan
    check(preds, target)
    check(preds[:, :1], target[:, :1], 10)


@pytest.mark.smoke
def test_nothing_and_constants():
    empty = torch.zeros(0, 2)
    for implementation in implementations(MOMENTS).values():
        for chunks in ([], [empty], [empty, empty]):
            assert not run_moments(implementation, 2, chunks, chunks).any()
    for implementation in implementations(ORDERS).values():
        for chunks in ([], [empty]):
            orders, triples = run_orders(implementation, 2, chunks, chunks)
            assert not orders.any()
            assert not triples.any()
    check(torch.ones(40), numbers(torch.float32, 3, 40))
    check(numbers(torch.float32, 3, 40), torch.ones(40), 40)
    check(torch.ones(40), torch.ones(40))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    preds, target = numbers(torch.float32, 1, 20, 4), numbers(torch.float64, 2, 20, 4)
    wanted = run_moments(native_op(MOMENTS), 4, [preds], [target])
    preds, target = LAYOUTS[layout](preds), LAYOUTS[layout](target)
    if torch.equal(preds.double().sum(), numbers(torch.float32, 1, 20, 4).double().sum()):
        assert torch.equal(run_moments(native_op(MOMENTS), 4, [preds], [target]), wanted)
    check(preds, target)


def adversaries(size: int) -> dict[str, Tensor]:
    """Numbers that fill few bins, or all of them, or come in an order."""
    generator = torch.Generator().manual_seed(size)
    uniform = torch.rand(size, generator=generator, dtype=torch.float64)
    bits = torch.randint(-(2**31), 2**31, (size,), generator=generator)
    clusters = (uniform * 8).floor()
    return {
        "normal": torch.randn(size, generator=generator),
        "two": (uniform < 0.5).float(),
        "sorted": uniform.float().sort().values,
        "reversed": uniform.float().sort(descending=True).values,
        "half a bin": (0.5 + uniform * 2**-18).float(),
        "outliers": torch.cat([uniform[2:].float() + 1, torch.tensor([-1e30, 1e30])]),
        "int32": bits.to(torch.int32),
        "int64": bits * 2**31,
        "small int64": (uniform * 1000).long(),
        "hundredths": (uniform * 100).round().float() / 100,
        "double": uniform,
        "double low bits": 1 + (uniform * 2**40).round() * 2**-52,
        "double clusters": clusters + torch.rand(size, generator=generator).double() * 1e-9,
        "widened float": uniform.float().double(),
        "half": uniform.half(),
    }


@pytest.mark.parametrize(("size", "step"), [(17_000, 1), (66_000, 5)])
def test_large_sizes_agree_with_the_reference(size, step, native):
    """Beyond what pairs can be compared for: the buckets, with one thread and with two."""
    cases = adversaries(size)
    partners = [*cases.values()][4:] + [*cases.values()][:4]
    for (name, x), y in [*zip(cases.items(), partners, strict=True)][::step]:
        y = y.flip(0)
        torch.set_num_threads(1)
        wanted = run_moments(implementations(MOMENTS)["reference"], 1, [x], [y])
        orders, triples = run_orders(implementations(ORDERS)["reference"], 1, [x], [y])
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found = run_moments(native_op(MOMENTS), 1, cut(x, size // 3), cut(y, 7, size // 2))
            # The reference rounds in every addition.
            torch.testing.assert_close(found, wanted, rtol=1e-13, atol=size**2.5 * 1e-13, msg=name)
            counts = run_orders(native_op(ORDERS), 1, cut(x, size // 3), cut(y, 7, size // 2))
            assert torch.equal(counts[0], orders), name
            torch.testing.assert_close(counts[1], triples, rtol=1e-13, atol=0, msg=name)


def test_sums_beyond_64_bits(native):
    """All of a large sample tied or in one order has sums that follow from its size."""
    size = 3_000_000
    ramp = torch.arange(size, dtype=torch.float32)  # exact up to 2^24
    cube = float(Fraction(size**3 - size, 3))
    found = run_moments(native_op(MOMENTS), 1, [ramp], [ramp.flip(0)])
    assert found.tolist() == [[size, cube, cube, -cube]]
    orders, triples = run_orders(native_op(ORDERS), 1, [ramp], [torch.zeros(size)])
    pairs = size * (size - 1) // 2
    assert orders.tolist() == [[size, 0, 0, pairs, 0, size, 1, 0]]
    assert triples.tolist() == [[0.0, float(size * (size - 1) * (size - 2))]]


@pytest.mark.parametrize("outputs", [2, 3, 7])
def test_outputs_and_threads(outputs, native):
    size = 40_000
    generator = torch.Generator().manual_seed(outputs)
    x = torch.randn(size, outputs, generator=generator)
    y = (x + torch.randn(size, outputs, generator=generator)).double()
    alone = [run_moments(native_op(MOMENTS), 1, [x[:, c]], [y[:, c]]) for c in range(outputs)]
    alone_orders = [run_orders(native_op(ORDERS), 1, [x[:, c]], [y[:, c]]) for c in range(outputs)]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found = run_moments(native_op(MOMENTS), outputs, [x], [y.t().contiguous().t()])
        assert torch.equal(found, torch.cat(alone))
        orders, triples = run_orders(native_op(ORDERS), outputs, [x], [y])
        assert torch.equal(orders, torch.cat([o for o, _ in alone_orders]))
        assert torch.equal(triples, torch.cat([t for _, t in alone_orders]))


@given(
    pairs=st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=1, max_size=40),
    dtypes=st.tuples(st.sampled_from(SCORE_DTYPES), st.sampled_from(SCORE_DTYPES)),
    border=st.integers(0, 40),
)
@settings(max_examples=60, deadline=None)
def test_any_pairs(pairs, dtypes, border):
    preds, target = (
        torch.tensor([pair[side] for pair in pairs], dtype=dtypes[side]) for side in (0, 1)
    )
    check(preds, target, min(border, len(pairs)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int16])
def test_opcheck(dtype):
    preds, target = [numbers(dtype, 1, 9, 2)], [numbers(torch.float64, 2, 9, 2)]
    moments = torch.zeros(2, 4, dtype=torch.float64)
    torch.library.opcheck(native_op(MOMENTS), (moments, preds, target), test_utils=TRACED)
    results = torch.zeros(2, 8, dtype=torch.int64), torch.zeros(2, 2, dtype=torch.float64)
    torch.library.opcheck(native_op(ORDERS), (*results, preds, target), test_utils=TRACED)


@pytest.mark.smoke
def test_bad_arguments():
    moments = torch.full((1, 4), 3.0, dtype=torch.float64)
    orders, triples = torch.full((1, 8), 3), torch.full((1, 2), 3.0, dtype=torch.float64)
    x = torch.zeros(5)
    for chunks, text in (
        (([x], [x[:4]]), "as many samples, got 5 and 4"),
        (([x], []), "as many samples, got 5 and 0"),
        (([torch.zeros(5, 2)], [x]), r"`preds` must have shape \(M,\) or \(M, 1\), got \(5, 2\)"),
        (([x], [torch.zeros(())]), r"`target` must have shape"),
        (([x, x.double()], [x, x]), "one real dtype, got torch.float64"),
        (([x.to(torch.complex64)], [x]), "one real dtype, got torch.complex64"),
        (([x.to("meta")], [x]), "on one device, got meta and cpu"),
    ):
        with pytest.raises(ValueError, match=text):
            ops.rank_moments_(moments, *chunks)
        with pytest.raises(ValueError, match=text):
            ops.rank_orders_(orders, triples, *chunks)
    for results, text in (
        ((orders.double(), triples), r"`orders` must be contiguous torch.int64"),
        ((orders[:, :7], triples), r"with shape \(D, 8\)"),
        ((orders, triples[:, :1]), r"`triples` must be contiguous torch.float64"),
        ((orders, triples.repeat(2, 1)), r"`triples` must go with `orders`"),
    ):
        with pytest.raises(ValueError, match=text):
            ops.rank_orders_(*results, [x], [x])
    with pytest.raises(ValueError, match=r"`moments` must be .* shape \(D, 4\)"):
        ops.rank_moments_(moments[:, :3], [x], [x])
    assert (moments == 3).all()
    assert (orders == 3).all()
    assert (triples == 3).all()


@pytest.mark.smoke
def test_numbers_that_require_grad():
    preds, target = numbers(torch.float32, 1, 20), numbers(torch.float32, 2, 20)
    moments = torch.zeros(1, 4, dtype=torch.float64)
    ops.rank_moments_(moments, [preds.clone().requires_grad_()], [target])
    assert torch.equal(moments, run_moments(native_op(MOMENTS), 1, [preds], [target]))
    assert not moments.requires_grad
