"""error_sums_: every implementation against sums in extended precision."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from fastmetrics import ops
from fastmetrics.ops import backend
from fastmetrics.ops.error_sums import (
    ABSOLUTE,
    ALL_TERMS,
    DEVIANCE,
    EPSILON,
    LOG_COSH,
    MAGNITUDE,
    PERCENTAGE,
    POWER,
    SQUARED,
    SQUARED_LOG,
    SYMMETRIC,
    num_columns,
    sum_errors,
)
from tests.ops.cases import LABEL_DTYPES, LAYOUTS, SCORE_DTYPES, SIZES, implementations

OP = "error_sums_"
ROOT = Path(__file__).parents[2]
TERMS = (
    SQUARED,
    ABSOLUTE,
    SQUARED_LOG,
    PERCENTAGE,
    SYMMETRIC,
    MAGNITUDE,
    LOG_COSH,
    POWER,
    DEVIANCE,
)
EXPONENTS = (1.0, 2.0, 3.0, 2.5, 1.2, 17.0)
POWERS = (-1.5, 0.0, 1.0, 1.3, 2.0, 2.7, 3.0)
OUTPUTS = (1, 2, 3, 4, 8, 16, 63, 64, 65, 300)
INF, NAN = math.inf, math.nan


def deviance(p, t, power):
    if power == 0:
        return (t - p) ** 2
    if power == 1:
        return 2 * (np.where(t == 0, 0, t * np.log(np.where(t == 0, 1, t) / p)) + p - t)
    if power == 2:
        return 2 * (np.log(p / t) + t / p - 1)
    a, b = np.longdouble(2) - power, np.longdouble(1) - power
    return 2 * (np.maximum(t, 0) ** a / (a * b) - t * p**b / b + p**a / a)


def oracle(preds, target, weight, outputs, terms, p, power) -> np.ndarray:
    """The sums ``[D, K]`` in extended precision."""
    x, y = (tensor.double().numpy().astype(np.longdouble) for tensor in (preds, target))
    e = np.abs(x - y)
    small = np.minimum(e, 1)
    of_term = {
        SQUARED: lambda: e * e,
        ABSOLUTE: lambda: e,
        SQUARED_LOG: lambda: (np.log1p(x) - np.log1p(y)) ** 2,
        PERCENTAGE: lambda: e / np.maximum(np.abs(y), np.longdouble(EPSILON)),
        SYMMETRIC: lambda: e / np.maximum(np.abs(x) + np.abs(y), np.longdouble(EPSILON)),
        MAGNITUDE: lambda: np.abs(y),
        LOG_COSH: lambda: np.where(
            e < 1,
            np.log1p(2 * np.sinh(small / 2) ** 2),
            e - np.log(np.longdouble(2)) + np.log1p(np.exp(-2 * e)),
        ),
        POWER: lambda: e ** np.longdouble(p),
        DEVIANCE: lambda: deviance(x, y, power),
    }
    columns = [of_term[term]() for term in TERMS if terms & term]
    if terms & DEVIANCE:
        columns.append(np.zeros_like(x))  # outside the domain there is nothing
    columns.append(np.ones_like(x))
    if weight is not None:
        weights = weight.double().numpy().reshape(-1, *[1] * (x.ndim - 1))
        columns = [column * weights for column in columns]
    if outputs == 1:
        return np.array([[column.sum() for column in columns]])
    sums = [column.reshape(x.shape[0], -1).sum(0) for column in columns]
    return np.stack([np.broadcast_to(column, (outputs,)) for column in sums], -1)


def inputs(shape, dtype=torch.float32, seed=0, low=0.05) -> tuple[Tensor, Tensor]:
    """Positive numbers, some of them equal, and whole for the types that hold no others."""
    generator = torch.Generator().manual_seed(seed)
    preds, target = (torch.rand(shape, generator=generator) * 5 + low for _ in range(2))
    target = torch.where(torch.rand(shape, generator=generator) < 0.1, preds, target)
    if not dtype.is_floating_point:
        preds, target = preds + 1, target + 1
    return preds.to(dtype), target.to(dtype)


def apply(implementation, preds, target, weight=None, terms=ALL_TERMS, p=2.5, power=1.3, outputs=1):
    state = torch.full((outputs, num_columns(terms)), 0.5, dtype=torch.float64)
    implementation(state, preds, target, weight, terms, p, power)
    return state - 0.5


def check(preds, target, weight=None, terms=ALL_TERMS, p=2.5, power=1.3, outputs=1, rtol=3e-14):
    expected = oracle(preds, target, weight, outputs, terms, p, power).astype(np.float64)
    for name, implementation in implementations(OP).items():
        actual = apply(implementation, preds, target, weight, terms, p, power, outputs)
        torch.testing.assert_close(
            actual,
            torch.from_numpy(expected),
            rtol=rtol,
            atol=1e-14 * max(1, preds.numel()),
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.smoke
@pytest.mark.parametrize("size", SIZES)
def test_sizes(size):
    preds, target = inputs((size,), seed=size)
    check(preds, target)
    check(preds, target, torch.rand(size))


@pytest.mark.smoke
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_outputs(outputs):
    for rows in (1, 17, 70):
        preds, target = inputs((rows, outputs), seed=rows)
        check(preds, target, outputs=outputs)
        check(preds, target, torch.rand(rows), outputs=outputs)
    if outputs > 1:
        for shape in ((9,), (9, 1)):
            check(*inputs(shape), outputs=outputs)
            check(*inputs(shape), torch.rand(9), outputs=outputs)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES + LABEL_DTYPES)
def test_dtypes(dtype):
    for other in SCORE_DTYPES + LABEL_DTYPES:
        preds, _ = inputs((37,), dtype)
        _, target = inputs((37,), other)
        check(preds, target)
    preds, target = inputs((20, 3), dtype)
    check(preds, target, torch.ones(20).to(dtype), outputs=3)


def test_every_small_float():
    """All bit patterns of the 16-bit types, subnormals included, are read as torch reads them."""
    for dtype in (torch.float16, torch.bfloat16):
        values = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
        values = values[values.isfinite()]
        for implementation in implementations(OP).values():
            for value in (values, values.abs()):
                sums = apply(implementation, value, torch.zeros_like(value), terms=ABSOLUTE)
                exact = math.fsum(value.double().abs().tolist())
                assert sums[0, 0] == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("p", EXPONENTS)
def test_exponents(p):
    check(*inputs((513,)), terms=POWER, p=p, rtol=1e-13)


@pytest.mark.parametrize("power", POWERS)
def test_powers(power):
    preds, target = inputs((513,))
    check(preds, target, terms=DEVIANCE, power=power)
    if power < 2:
        target[::3] = 0
        check(preds, target, terms=DEVIANCE, power=power)
    if power < 1:
        target[::2] *= -1
        check(preds, target, terms=DEVIANCE, power=power)


def test_terms_do_not_depend_on_each_other():
    preds, target = inputs((1500,))
    for implementation in implementations(OP).values():
        every = apply(implementation, preds, target)
        for column, term in enumerate(TERMS):
            alone = apply(implementation, preds, target, terms=term)
            assert alone[0, 0] == every[0, column]
            assert alone[0, -1] == every[0, -1] == 1500


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    change = LAYOUTS[layout]
    for shape in ((40,), (40, 6), (8, 3, 4, 2)):
        preds, target = inputs(shape)
        weight = torch.rand(2 * shape[0])[::2]
        for first, second in ((change(preds), target), (preds, change(target))):
            check(first, second)
            check(first, second, weight)
            if len(shape) == 2:
                check(first, second, weight, outputs=6)
        check(change(preds), change(target), weight)


@pytest.mark.parametrize("rows", [64, 1100, 40_000])
def test_columns_that_lie_apart(rows):
    preds, target = (x.T.contiguous().T for x in inputs((rows, 5)))
    weight = torch.rand(2 * rows)[::2]
    terms = SQUARED | LOG_COSH
    for w in (None, weight):
        check(preds, target, w, terms, outputs=5, rtol=1e-12)
        check(preds[:, 1:4], target[:, 1:4], w, terms, outputs=3, rtol=1e-12)
        check(preds[::2], target[::2], None if w is None else w[::2], terms, outputs=5, rtol=1e-12)
        check(preds, target.contiguous(), w, terms, outputs=5, rtol=1e-12)


def test_numbers_without_axes():
    preds, target = torch.tensor(3.0), torch.tensor(5)
    check(preds, target)
    check(preds, target, torch.tensor([2.5]))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)], ids=str)
def test_empty(shape):
    preds, target = inputs(shape)
    for implementation in implementations(OP).values():
        assert not apply(implementation, preds, target).any()
        if shape[1:] == (3,):
            assert not apply(implementation, preds, target, outputs=3).any()


def test_integers_are_widened_first():
    cases = (
        (torch.tensor([16], dtype=torch.uint8), torch.tensor([0], dtype=torch.uint8), 256),
        (torch.tensor([0], dtype=torch.uint8), torch.tensor([3], dtype=torch.uint8), 9),
        (torch.tensor([-128], dtype=torch.int8), torch.tensor([127], dtype=torch.int8), 255**2),
        (torch.tensor([2**31 - 1]).int(), torch.tensor([-(2**31)]).int(), (2**32 - 1) ** 2),
        (torch.tensor([300.0]).half(), torch.tensor([0.0]).half(), 90000),
        (torch.tensor([True]), torch.tensor([False]), 1),
    )
    for preds, target, expected in cases:
        for implementation in implementations(OP).values():
            assert apply(implementation, preds, target, terms=SQUARED)[0, 0] == expected


def test_counts_continue_beyond_what_float32_holds():
    preds, target = torch.ones(7), torch.zeros(7)
    for start in (2.0**24, 2.0**31, 2.0**52):
        for implementation in implementations(OP).values():
            state = torch.full((1, 2), start, dtype=torch.float64)
            implementation(state, preds, target, None, SQUARED, 1.0, 0.0)
            assert state.tolist() == [[start + 7, start + 7]]


SPECIAL = (0.0, -0.0, 1.0, -1.0, -2.0, 0.5, 1e-320, 1e-300, 1e300, INF, -INF, NAN)


@pytest.mark.parametrize("term", TERMS[:8])
def test_special_numbers(term, native):
    """One position at a time, as plain formulas in float64 lead."""
    for x, y in itertools.product(SPECIAL, repeat=2):
        preds, target = (torch.tensor([v], dtype=torch.float64) for v in (x, y))
        for p in (1.0, 2.5, INF) if term == POWER else (1.0,):
            e = (preds - target).abs()
            plain = {
                SQUARED: e * e,
                ABSOLUTE: e,
                SQUARED_LOG: (preds.log1p() - target.log1p()).square(),
                PERCENTAGE: e / target.abs().clamp_min(EPSILON),
                SYMMETRIC: e / (preds.abs() + target.abs()).clamp_min(EPSILON),
                MAGNITUDE: target.abs(),
                LOG_COSH: torch.where(e < 30, e.cosh().log(), e - math.log(2)),
                POWER: e.pow(p),
            }[term]
            for name, implementation in implementations(OP).items():
                state = torch.zeros(1, 2, dtype=torch.float64)
                implementation(state, preds, target, None, term, p, 0.0)
                torch.testing.assert_close(
                    state[0, :1],
                    plain,
                    rtol=1e-12,
                    atol=1e-300,
                    equal_nan=True,
                    msg=lambda text, who=(name, x, y, p): f"{who}: {text}",
                )


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize("power", [-1.5, 1.0, 1.3, 2.0, 3.0])
def test_special_numbers_of_deviances(power, native):
    for x, y in itertools.product((0.5, 1.0, INF, NAN), (0.25, 1.0, INF, NAN)):
        preds, target = (torch.tensor([v], dtype=torch.float64) for v in (x, y))
        plain = float(deviance(*(np.array([v], dtype=np.longdouble) for v in (x, y)), power)[0])
        for name, implementation in implementations(OP).items():
            actual = apply(implementation, preds, target, terms=DEVIANCE, power=power)
            assert float(actual[0, 0]) == pytest.approx(plain, rel=1e-12, abs=1e-15, nan_ok=True), (
                f"{name}: {x}, {y}"
            )


def exact_term(term, x, y, p, power):
    with mpmath.workdps(80):
        x, y = mpmath.mpf(x), mpmath.mpf(y)
        e = abs(x - y)
        if term == SQUARED_LOG:
            return float((mpmath.log(1 + x) - mpmath.log(1 + y)) ** 2)
        if term == LOG_COSH:
            return float(mpmath.log(mpmath.cosh(e)))
        if term == POWER:
            return float(e**p)
        if power == 1:
            return float(2 * (y * mpmath.log(y / x) + x - y))
        if power == 2:
            return float(2 * (mpmath.log(x / y) + y / x - 1))
        a, b = 2 - mpmath.mpf(power), 1 - mpmath.mpf(power)
        return float(2 * (y**a / (a * b) - y * x**b / b + x**a / a))


@pytest.mark.parametrize("term", [SQUARED_LOG, LOG_COSH, POWER, DEVIANCE])
def test_accuracy_of_single_terms(term, native):
    """Close, tiny and distant pairs: no digits cancel beyond those that the inputs lack."""
    for x in (1e-12, 1e-5, 0.3, 1.0, 700.0, 1e9):
        for ratio in (1.0, 1.0 + 1e-6, 1.001, 0.5, 3.0, 1e-9, 1e8):
            y = x * ratio
            for p, power in ((2.5, 1.0), (1.5, 2.0), (11.3, 1.5), (4.0, 3.0), (7.0, -0.5)):
                expected = exact_term(term, x, y, p, power)
                # Digits that a difference of logarithms loses, and that a large exponent does.
                closeness = max(min(abs(ratio - 1.0), 1.0), 1e-6)
                tolerance = {
                    SQUARED_LOG: 3e-14,
                    LOG_COSH: 3e-14,
                    POWER: 1e-14 + 4e-16 * abs(p * math.log(abs(x - y) or 1.0)),
                    DEVIANCE: 3e-14 / closeness,
                }[term]
                for name, implementation in implementations(OP).items():
                    preds, target = (torch.tensor([v], dtype=torch.float64) for v in (x, y))
                    state = torch.zeros(1, num_columns(term), dtype=torch.float64)
                    implementation(state, preds, target, None, term, p, power)
                    actual = float(state[0, 0])
                    if name == "reference" and term == SQUARED_LOG:
                        tolerance = 2e-14 / closeness
                    assert actual == pytest.approx(expected, rel=tolerance, abs=1e-50), (
                        f"{name}: {x}, {y}, p={p}, power={power}"
                    )


@pytest.mark.parametrize("outputs", [1, 3, 200])
def test_number_of_threads_does_not_show(outputs, native):
    preds, target = inputs((600_000 // outputs, outputs))
    weight = torch.rand(len(preds))
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(
            [
                apply(ops.error_sums_, preds, target, w, SQUARED | LOG_COSH, outputs=outputs)
                for w in (None, weight)
            ]
        )
    for result in results[1:]:
        assert torch.equal(result[0], results[0][0]) and torch.equal(result[1], results[0][1])
    exact = math.fsum(((preds.double() - target.double()) ** 2).flatten().tolist())
    assert float(results[0][0][:, 0].sum()) == pytest.approx(exact, rel=1e-13)


def test_gradients_of_the_reference():
    preds, target = (x.double()[:12] for x in inputs((40,)))
    target[:2] = preds[:2] * 1.0000001
    weight = torch.rand(12, dtype=torch.float64)
    for power in POWERS:

        def sums(p, t, power=power):
            return sum_errors(p, t, weight, 1, ALL_TERMS, 2.5, power)[0, :-2]

        apart = (preds + 0.3).requires_grad_(), target.clone().requires_grad_()
        assert torch.autograd.gradcheck(sums, apart, eps=1e-7, atol=1e-4, rtol=1e-4)
        # Where both are equal all terms have a gradient, and that of a deviance is zero.
        equal = preds.clone().requires_grad_()
        loss = sum_errors(equal, preds, None, 1, DEVIANCE, 1.0, power)[0, 0]
        (gradient,) = torch.autograd.grad(loss, equal)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)


def refused(error, match, **changes):
    given = {"shape": (4, 3), "target_shape": None, "terms": SQUARED, "outputs": 1, "power": 0.0}
    given |= {"state": None, "weight": None, "dtype": torch.float32} | changes
    preds = torch.ones(given["shape"]).to(given["dtype"])
    target = torch.ones(given["target_shape"] or given["shape"])
    state = given["state"]
    if state is None:
        state = torch.zeros(given["outputs"], num_columns(given["terms"]), dtype=torch.float64)
    before = state.clone()
    with pytest.raises(error, match=match):
        ops.error_sums_(state, preds, target, given["weight"], given["terms"], 1.0, given["power"])
    assert torch.equal(state, before)


@pytest.mark.smoke
def test_refusals():
    refused(RuntimeError, r"same shape, got \(4, 3\) and \(4, 2\)", target_shape=(4, 2))
    refused(RuntimeError, "same shape", target_shape=(4, 3, 1))
    refused(ValueError, r"must have shape \(N, 2\) for 2 outputs, got \(4, 3\)", outputs=2)
    refused(ValueError, r"must have shape \(N, 3\)", outputs=3, shape=(4, 3, 3))
    refused(ValueError, r"must have shape \(N, 3\)", outputs=3, shape=(), target_shape=())
    refused(ValueError, "`preds` must be a real tensor", dtype=torch.complex64)
    refused(ValueError, r"`weight` must have one entry per sample", weight=torch.ones(3))
    refused(ValueError, "`weight` must be a real tensor", weight=torch.ones(4).cfloat())
    refused(ValueError, r"`terms` must lie in \[1, 511\], got 512", terms=512)
    refused(ValueError, "`power` must not lie between 0 and 1", terms=DEVIANCE, power=0.5)
    refused(ValueError, r"float64 \[D, 2\]", state=torch.zeros(1, 2))
    refused(ValueError, r"float64 \[D, 2\]", state=torch.zeros(1, 3, dtype=torch.float64))
    refused(ValueError, r"float64 \[D, 2\]", state=torch.zeros(2, dtype=torch.float64))


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("power", "preds", "target", "text"),
    [
        (-1.0, -2.0, 1.0, "`preds` must be positive for power=-1.0, got -2.0 and 1.0"),
        (1.0, 0.0, 1.0, "`preds` must be positive and `target` must not be negative"),
        (1.0, 1.0, -1.0, "`preds` must be positive and `target` must not be negative"),
        (1.5, 1.0, -1.0, "`preds` must be positive and `target` must not be negative"),
        (2.0, 1.0, 0.0, "`preds` and `target` must be positive"),
        (3.0, 1.0, 0.0, "`preds` and `target` must be positive"),
    ],
)
def test_numbers_outside_the_domain(power, preds, target, text):
    x, y = inputs((1000,))
    x[700], y[700] = preds, target
    for implementation in (ops.error_sums_, *implementations(OP).values()):
        state = torch.ones(1, num_columns(DEVIANCE | SQUARED), dtype=torch.float64)
        with pytest.raises((ValueError, RuntimeError), match=r"outside the domain|flat index 700"):
            implementation(state, x, y, None, DEVIANCE | SQUARED, 1.0, power)
        assert torch.equal(state, torch.ones_like(state))
    for weight in (None, torch.zeros(1000), -torch.ones(1000)):
        with pytest.raises(ValueError, match=text):
            ops.error_sums_(state, x, y, weight, DEVIANCE | SQUARED, 1.0, power)
    assert torch.equal(state, torch.ones_like(state))


def test_opcheck():
    for shape, outputs, weighted in (((9,), 1, False), ((9, 3), 3, True), ((2, 3, 4), 1, True)):
        preds, target = inputs(shape)
        state = torch.zeros(outputs, num_columns(ALL_TERMS), dtype=torch.float64)
        weight = torch.rand(shape[0]) if weighted else None
        arguments = (state, preds, target, weight, ALL_TERMS, 2.5, 1.0)
        torch.library.opcheck(torch.ops.fastmetrics.error_sums_.default, arguments)


def test_one_graph():
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")

    def step(state, preds, target):
        ops.error_sums_(state, preds * 1, target, None, SQUARED | ABSOLUTE)
        return (state * 2).sum()

    compiled = torch.compile(step, backend=counter, fullgraph=True)
    state, expected = torch.zeros(2, 1, 3, dtype=torch.float64)
    for seed in range(3):
        preds, target = inputs((12,), seed=seed)
        compiled(state, preds, target)
        step(expected, preds, target)
        assert torch.equal(state, expected)
    assert counter.frame_count == 1


@pytest.mark.parametrize("level", ["default", "avx2"])
def test_instruction_sets(native, level):
    """`main` below, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.ops.test_error_sums"],
        cwd=ROOT,
        env=os.environ | {"FASTMETRICS_SIMD": level},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [level]


def main() -> None:
    """Run what depends on the instruction set."""
    torch.set_num_threads(1)
    for size in (0, 1, 15, 65, 1025):
        test_sizes(size)
    for outputs in (3, 8, 65):
        test_outputs(outputs)
    for p, power in itertools.zip_longest(EXPONENTS, POWERS, fillvalue=1.0):
        test_exponents(p)
        test_powers(power)
    for term in (SQUARED_LOG, LOG_COSH, POWER):
        test_special_numbers(term, None)
    print(backend.native.simd_level())


if __name__ == "__main__":
    main()
