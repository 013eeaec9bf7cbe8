"""What only `error_sums_` must keep."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch

from fastmetrics import ops
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
from tests.ops.error_sums import POWERS, TERMS, deviance, inputs, make, sums_of
from tests.ops.inputs import INF, NAN
from tests.ops.laws import implementations, states


def sums(implementation, preds, target, terms=ALL_TERMS, p=2.5, power=1.3):
    state = torch.zeros(1, num_columns(terms), dtype=torch.float64)
    implementation(state, preds, target, None, terms, p, power)
    return state


@pytest.mark.parametrize("rows", [64, 1100, 40_000])
def test_columns_that_lie_apart(rows):
    preds, target = (x.T.contiguous().T for x in inputs((rows, 5)))
    weight = torch.rand(2 * rows)[::2]
    for (x, y, w), weighted in itertools.product(
        (
            (preds, target, weight),
            (preds[:, 1:4], target[:, 1:4], weight),
            (preds[::2], target[::2], weight[::2]),
            (preds, target.contiguous(), weight),
        ),
        (False, True),
    ):
        call = make(0, shape=(2,), outputs=x.shape[1], terms=SQUARED | LOG_COSH)
        call = call.but(preds=x, target=y, weight=w if weighted else None)
        expected = call["state"] + torch.from_numpy(sums_of(call).astype(np.float64))
        for who, state in states(call).items():
            torch.testing.assert_close(state, expected, rtol=1e-12, atol=0, msg=who)


def test_terms_do_not_depend_on_each_other():
    preds, target = inputs((1500,))
    for implementation in implementations("error_sums_").values():
        every = sums(implementation, preds, target)
        for column, term in enumerate(TERMS):
            alone = sums(implementation, preds, target, terms=term)
            assert alone[0, 0] == every[0, column]
            assert alone[0, -1] == every[0, -1] == 1500


def test_counts_continue_beyond_what_float32_holds():
    preds, target = torch.ones(7), torch.zeros(7)
    for start in (2.0**24, 2.0**31, 2.0**52):
        for implementation in implementations("error_sums_").values():
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
            for name, implementation in implementations("error_sums_").items():
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
        for name, implementation in implementations("error_sums_").items():
            actual = sums(implementation, preds, target, terms=DEVIANCE, power=power)
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
                for name, implementation in implementations("error_sums_").items():
                    preds, target = (torch.tensor([v], dtype=torch.float64) for v in (x, y))
                    state = torch.zeros(1, num_columns(term), dtype=torch.float64)
                    implementation(state, preds, target, None, term, p, power)
                    actual = float(state[0, 0])
                    if name == "reference" and term == SQUARED_LOG:
                        tolerance = 2e-14 / closeness
                    assert actual == pytest.approx(expected, rel=tolerance, abs=1e-50), (
                        f"{name}: {x}, {y}, p={p}, power={power}"
                    )


@pytest.mark.parametrize("power", [-1.5, 1.3, 1.5, 2.7, 3.0])
def test_deviances_of_distant_pairs(power, native):
    """The way to a value may leave the range of double where the value does not."""
    ends = (1e-300, 1e-200, 1e-30, 0.3, 7.0, 1e30, 1e200, 1e300)
    for x, y in itertools.permutations(ends, 2):
        if not 1e-300 < x / y < 1e300:
            continue
        expected = exact_term(DEVIANCE, x, y, 0.0, power)
        for name, implementation in implementations("error_sums_").items():
            preds, target = (torch.tensor([v], dtype=torch.float64) for v in (x, y))
            actual = float(sums(implementation, preds, target, terms=DEVIANCE, power=power)[0, 0])
            assert actual == pytest.approx(expected, rel=1e-12), f"{name}: {x}, {y}"


def test_gradients_of_the_reference():
    preds, target = (x.double()[:12] for x in inputs((40,)))
    target[:2] = preds[:2] * 1.0000001
    weight = torch.rand(12, dtype=torch.float64)
    for power in POWERS:

        def of_batch(p, t, power=power):
            return sum_errors(p, t, weight, 1, ALL_TERMS, 2.5, power)[0, :-2]

        apart = (preds + 0.3).requires_grad_(), target.clone().requires_grad_()
        assert torch.autograd.gradcheck(of_batch, apart, eps=1e-7, atol=1e-4, rtol=1e-4)
        # Where both are equal all terms have a gradient, and that of a deviance is zero.
        equal = preds.clone().requires_grad_()
        loss = sum_errors(equal, preds, None, 1, DEVIANCE, 1.0, power)[0, 0]
        (gradient,) = torch.autograd.grad(loss, equal)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)


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
    for implementation in (ops.error_sums_, *implementations("error_sums_").values()):
        state = torch.ones(1, num_columns(DEVIANCE | SQUARED), dtype=torch.float64)
        with pytest.raises((ValueError, RuntimeError), match=r"outside the domain|flat index 700"):
            implementation(state, x, y, None, DEVIANCE | SQUARED, 1.0, power)
        assert torch.equal(state, torch.ones_like(state))
    for weight in (None, torch.zeros(1000), -torch.ones(1000)):
        with pytest.raises(ValueError, match=text):
            ops.error_sums_(state, x, y, weight, DEVIANCE | SQUARED, 1.0, power)
    assert torch.equal(state, torch.ones_like(state))
