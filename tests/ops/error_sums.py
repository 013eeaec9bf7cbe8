"""`error_sums_`: calls, and an oracle in extended precision."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
)
from tests.ops import oracles
from tests.ops.inputs import ALL_DTYPES, Draw, with_special_values
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import table, zeros

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
POWERS = (-1.5, 0.0, 1.0, 1.3, 1.5, 2.0, 2.7, 3.0)
OUTPUTS = (1, 2, 3, 4, 8, 16, 63, 64, 65, 300)
SHAPES = ((1,), (37,), (70,), (20, 6), (8, 3, 4, 2))


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """Positive numbers, some of them equal, and whole for the types that hold no others."""
    generator = torch.Generator().manual_seed(seed)
    preds, target = (torch.rand(shape, generator=generator) * 5 + 0.05 for _ in range(2))
    target = torch.where(torch.rand(shape, generator=generator) < 0.1, preds, target)
    if not dtype.is_floating_point:
        preds, target = preds + 1, target + 1
    return preds.to(dtype), target.to(dtype)


def make(seed: int, **options: Any) -> Call:
    """With several `outputs`, the shape is that of the samples: `[N]` becomes `[N, D]`."""
    draw = Draw(seed, options)
    shape, outputs = draw("shape", *SHAPES), draw("outputs", 1, 1, 1, 3, 65)
    if outputs > 1:
        shape = (shape[0], outputs) if draw("wide", True) else shape[:1]
    preds, target = (
        inputs(shape, draw(name, *ALL_DTYPES), seed)[i]
        for i, name in enumerate(("dtype", "target_dtype"))
    )
    weight = draw("weight", None, *ALL_DTYPES)
    if weight is not None:
        numbers = torch.rand(shape[0], generator=torch.Generator().manual_seed(seed)) * 3
        weight = numbers.to(weight)
    terms = draw("terms", ALL_TERMS, *TERMS, SQUARED | LOG_COSH)
    special = draw("special", 0.0, 0.0, 0.1)
    if special and not terms & DEVIANCE and preds.is_floating_point():
        preds = with_special_values(preds, draw.rng, special)
    state = torch.full((outputs, num_columns(terms)), 0.5, dtype=torch.float64)
    state += draw("start", 0) or 0
    rest = {"terms": terms, "p": draw("p", *EXPONENTS[:4]), "power": draw("power", *POWERS)}
    draw.done()
    return Call(
        "error_sums_", {"state": state, "preds": preds, "target": target, "weight": weight, **rest}
    )


def deviance(p: Any, t: Any, power: float) -> Any:
    if power == 0:
        return (t - p) ** 2
    if power == 1:
        return 2 * (np.where(t == 0, 0, t * np.log(np.where(t == 0, 1, t) / p)) + p - t)
    if power == 2:
        return 2 * (np.log(p / t) + t / p - 1)
    a, b = np.longdouble(2) - power, np.longdouble(1) - power
    return 2 * (np.maximum(t, 0) ** a / (a * b) - t * p**b / b + p**a / a)


def extended(tensor: Tensor) -> np.ndarray:
    """Numbers in extended precision, which holds 64-bit integers."""
    kept = tensor if tensor.dtype == torch.int64 else tensor.double()
    return kept.numpy().astype(np.longdouble)


@np.errstate(all="ignore")
def sums_of(call: Call) -> np.ndarray:
    """The sums ``[D, K]`` of one batch in extended precision."""
    preds, target, weight, terms = (call[n] for n in ("preds", "target", "weight", "terms"))
    x, y = (extended(tensor) for tensor in (preds, target))
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
        POWER: lambda: e ** np.longdouble(call["p"]),
        DEVIANCE: lambda: deviance(x, y, call["power"]),
    }
    columns = [of_term[term]() for term in TERMS if terms & term]
    columns.append(np.ones_like(x))
    if weight is not None:
        weights = np.array(oracles.amounts_or_nan(weight)).reshape(-1, *[1] * (x.ndim - 1))
        columns = [column * weights for column in columns]
    if terms & DEVIANCE:
        columns.insert(-1, np.zeros_like(x))  # outside the domain there is nothing
    outputs = len(call["state"])
    if outputs == 1:
        return np.array([[column.sum() for column in columns]])
    width = math.prod(x.shape[1:])
    sums = [column.reshape(x.shape[0], width).sum(0) for column in columns]
    return np.stack([np.broadcast_to(column, (outputs,)) for column in sums], -1)


def oracle(call: Call) -> Answer:
    return Answer({"state": call["state"] + torch.from_numpy(sums_of(call).astype(np.float64))})


def compare(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """The batch's own sums, to the last digits that their terms leave."""
    loose = call["terms"] & POWER and call["p"] not in (1.0, 2.0, 3.0, 2.5)
    rtol = 1e-13 if loose else 3e-14
    start = call["state"]
    torch.testing.assert_close(
        found["state"] - start, expected["state"] - start, rtol=rtol,
        atol=1e-14 * max(1, call["preds"].numel()) * max(1.0, float(start.max())), equal_nan=True,
    )  # fmt: skip


def odd() -> Iterator[Call]:
    plain = {"dtype": torch.float32, "target_dtype": torch.float32}
    for outputs in OUTPUTS:
        for rows in (1, 17, 70):
            yield make(rows, shape=(rows,), outputs=outputs, terms=ALL_TERMS, **plain)
        if outputs > 1:
            for wide in (False, True):
                call = make(0, shape=(9,), outputs=outputs, wide=False, terms=ALL_TERMS)
                yield call.changed(["preds", "target"], lambda x: x[:, None]) if wide else call
    yield make(0, shape=(3, 0), outputs=1, terms=ALL_TERMS, **plain)
    for p in EXPONENTS:
        yield make(0, shape=(513,), outputs=1, terms=POWER, p=p, **plain)
    for power in POWERS:
        call = make(0, shape=(513,), outputs=1, terms=DEVIANCE, power=power, **plain)
        yield call
        target = call["target"].clone()
        if power < 2:
            target[::3] = 0
            yield call.but(target=target.clone())
        if power < 1:
            target[::2] *= -1
            yield call.but(target=target)
    call = make(0, shape=(1,), outputs=1, terms=ALL_TERMS, **plain, weight=None)
    number = call.but(preds=torch.tensor(3.0), target=torch.tensor(5))
    yield number
    yield number.but(weight=torch.tensor([2.5]))
    for first, second, dtype in (  # integers are widened first
        (16, 0, torch.uint8),
        (0, 3, torch.uint8),
        (-128, 127, torch.int8),
        (2**31 - 1, -(2**31), torch.int32),
        (300.0, 0.0, torch.float16),
        (True, False, torch.bool),
    ):
        pair = (torch.tensor([x]).to(dtype) for x in (first, second))
        some = make(0, shape=(1,), outputs=1, terms=SQUARED, weight=None)
        yield some.but(**dict(zip(("preds", "target"), pair, strict=True)))


def small(values: Tensor) -> Iterator[Call]:
    values = values[values.isfinite()]
    call = make(0, shape=(1,), outputs=1, terms=ABSOLUTE, weight=None)
    for preds in (values, values.abs()):
        yield call.but(preds=preds, target=torch.zeros_like(preds))


def good() -> Call:
    call = make(0, shape=(4, 3), outputs=1, terms=SQUARED, p=1.0, power=0.0, weight=None)
    return call.but(preds=torch.ones(4, 3), target=torch.zeros(4, 3), state=zeros(1, 2))


ONES = torch.ones(4, 3)
OTHER = torch.ones(4, 2)
CUBE = torch.ones(4, 3, 3)

ERROR_SUMS = Tested(
    "error_sums_",
    make,
    oracle,
    variants=(
        {"outputs": 1, "terms": ALL_TERMS},
        {"outputs": 1, "terms": SQUARED | ABSOLUTE},
        {"outputs": 1, "terms": LOG_COSH},
        {"outputs": 3, "terms": ALL_TERMS},
        {"outputs": 6, "terms": SQUARED | LOG_COSH},
        {"outputs": 3, "terms": SQUARED, "wide": False},
    ),
    shapes=((40,), (40, 6), (8, 3, 4, 2)),
    empty=((0,), (0, 3)),
    dtypes={"dtype": ALL_DTYPES, "target_dtype": ALL_DTYPES, "weight": ALL_DTYPES},
    starts=(2**24, 2**31, 2**40),
    compare=compare,
    odd=odd,
    small_floats=small,
    good=good,
    refusals=lambda: table(
        ({"target": OTHER}, r"same shape, got \(4, 3\) and \(4, 2\)", RuntimeError),
        ({"target": ONES[..., None]}, "same shape", RuntimeError),
        ({"state": zeros(2, 2)}, r"must have shape \(N, 2\) for 2 outputs, got \(4, 3\)"),
        ({"state": zeros(3, 2), "preds": CUBE, "target": CUBE}, r"must have shape \(N, 3\)"),
        (
            {"state": zeros(3, 2), "preds": torch.ones(()), "target": torch.ones(())},
            r"must have shape \(N, 3\)",
        ),
        ({"preds": ONES.cfloat()}, "`preds` must be a real tensor"),
        ({"weight": torch.ones(3)}, r"`weight` must have one entry per sample"),
        ({"weight": torch.ones(4).cfloat()}, "`weight` must be a real tensor"),
        ({"terms": 512}, r"`terms` must lie in \[1, 511\], got 512"),
        (
            {"terms": DEVIANCE, "power": 0.5, "state": zeros(1, 3)},
            "`power` must not lie between 0 and 1",
        ),
        ({"state": torch.zeros(1, 2)}, r"float64 \[D, 2\], got torch.float32"),
        ({"state": zeros(1, 3)}, r"float64 \[D, 2\], got torch.float64 \(1, 3\)"),
        ({"state": zeros(2)}, r"float64 \[D, 2\], got torch.float64 \(2,\)"),
    ),
)
