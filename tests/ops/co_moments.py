"""`co_moments_` and `merge_co_moments_`: calls, and oracles by two passes in extended precision."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastmetrics.ops.co_moments import (
    C_XY,
    COUNT,
    M2_D,
    M2_X,
    M2_Y,
    MAX_Y,
    MEAN_D,
    MEAN_X,
    MEAN_Y,
    MIN_Y,
    NUM_COLUMNS,
    REST_D,
    REST_X,
    REST_Y,
    WEIGHT,
    WIDE,
    plain_moments,
)
from tests.ops import oracles
from tests.ops.error_sums import extended
from tests.ops.inputs import ALL_DTYPES, Draw
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import table, zeros


def inputs(seed: int, *shape: int, dtype: torch.dtype = torch.float32, offset: float = 20.0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    preds = torch.randn(shape, dtype=torch.float64, generator=generator) * 9 + offset
    target = torch.randn(shape, dtype=torch.float64, generator=generator) * 3 + preds
    return preds.to(dtype), target.to(dtype)


def make(seed: int, **options: Any) -> Call:
    """Moments of one batch; `outputs` of 0 have no axis."""
    draw = Draw(seed, options)
    (rows, *_), outputs = draw("shape", (1,), (2,), (64,), (300,)), draw("outputs", 0, 1, 3, 33)
    shape = (rows, outputs) if outputs else (rows,)
    offset = draw("offset", 20.0)
    pair = inputs(seed, *shape, dtype=torch.float64, offset=offset)
    preds, target = (
        side.to(draw(name, *ALL_DTYPES))
        for side, name in zip(pair, ("dtype", "target_dtype"), strict=True)
    )
    weight = draw("weight", None, *ALL_DTYPES)
    if weight is not None:
        generator = torch.Generator().manual_seed(seed)
        numbers = torch.rand(rows, generator=generator) * 2
        weight = (numbers * (torch.rand(rows, generator=generator) < 0.7)).to(weight)
    draw.done()
    state = zeros(max(1, outputs), NUM_COLUMNS)
    return Call("co_moments_", {"state": state, "preds": preds, "target": target, "weight": weight})


def moments_of(preds: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Two passes per output in 80-bit floats."""
    x, y = (extended(t).reshape(len(t), math.prod(t.shape[1:])) for t in (preds, target))
    w = np.ones(len(x)) if weight is None else np.asarray(oracles.amounts_or_nan(weight))
    kept = w != 0
    x, y, w = x[kept], y[kept], w[kept].astype(np.longdouble)[:, None]
    state = np.zeros((x.shape[1], NUM_COLUMNS), dtype=np.longdouble)
    if len(x):
        means = [(w * values).sum(0) / w.sum() for values in (x, y, y - x)]
        dx, dy, dd = (v - mean for v, mean in zip((x, y, y - x), means, strict=True))
        state[:, COUNT], state[:, WEIGHT] = len(x), w.sum()
        state[:, MEAN_X], state[:, MEAN_Y], state[:, MEAN_D] = means
        for column, product in ((M2_X, dx * dx), (M2_Y, dy * dy), (M2_D, dd * dd), (C_XY, dx * dy)):
            state[:, column] = (w * product).sum(0)
        state[:, MIN_Y], state[:, MAX_Y] = y.min(0), y.max(0)
    if len(preds):
        dtypes = (preds.dtype, target.dtype)
        whole = any(not dtype.is_floating_point for dtype in dtypes)
        state[:, WIDE] = 1.0 if torch.float64 in dtypes else 0.5 if whole else 0.0
    return torch.from_numpy(state.astype(np.float64))


def oracle(call: Call) -> Answer:
    if not call["target"].numel():
        return Answer({"state": call["state"]})
    return Answer({"state": moments_of(call["preds"], call["target"], call["weight"])})


def compare(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """The co-moment in units of what bounds it; that of constants is as rounded as all columns."""
    state, wanted = plain_moments(found["state"]), plain_moments(expected["state"])
    rests = found["state"][:, REST_X : REST_D + 1].abs()
    means = state[:, MEAN_X : MEAN_D + 1].abs()
    assert ((rests <= 2.0**-53 * means) | means.isnan()).all()
    bound = (wanted[:, M2_X] * wanted[:, M2_Y]).sqrt()
    close = (state[:, C_XY] - wanted[:, C_XY]).abs() <= 1e-12 * bound + 1e-13
    assert (close | (state[:, C_XY].isnan() & wanted[:, C_XY].isnan())).all()
    state[:, C_XY] = wanted[:, C_XY]
    torch.testing.assert_close(state, wanted, rtol=1e-12, atol=1e-13, equal_nan=True)


def odd() -> Iterator[Call]:
    for shape in ((1,), (2,), (5000,), (300, 3), (9, 8), (70, 33), (3, 700), (70_001,)):
        how = {"shape": shape[:1], "outputs": shape[1] if shape[1:] else 0, "offset": 20.0}
        for weight in (None, torch.float32):
            yield make(1, dtype=torch.float32, target_dtype=torch.float32, weight=weight, **how)
    for dtype in ALL_DTYPES:  # integers are widened before they are subtracted
        largest = torch.finfo if dtype.is_floating_point else torch.iinfo
        if dtype != torch.bool and dtype.itemsize < 8:
            top = torch.tensor([0, largest(dtype).max, 16], dtype=torch.float64).to(dtype)
            call = make(0, shape=(3,), outputs=0, weight=None)
            yield call.but(preds=top, target=top.flip(0))
    # Residuals of 1e-9 beside values of 1e6 have exact moments of their own.
    _, target = inputs(6, 5000, dtype=torch.float64, offset=1e6)
    noise, _ = inputs(7, 5000, dtype=torch.float64)
    call = make(0, shape=(3,), outputs=0, weight=None)
    yield call.but(preds=target + 1e-9 * noise, target=target)
    # Samples of weight zero are left out whatever they hold.
    preds, target = inputs(11, 5000, 3)
    weight = torch.rand(5000, generator=torch.Generator().manual_seed(1))
    weight[::4] = 0
    preds[::4], target[::8] = torch.nan, torch.inf
    call = make(0, shape=(3,), outputs=3).but(preds=preds, target=target, weight=weight)
    yield call
    yield call.but(preds=preds[:, 0], target=target[:, 0], state=call["state"][:1])


def small(values: Tensor) -> Iterator[Call]:
    """One row per output: means are the values."""
    values = values[values.isfinite()]
    columns = torch.stack((values, values.flip(0)))
    call = make(0, shape=(1,), outputs=1, weight=None)
    state = zeros(len(values), NUM_COLUMNS)
    yield call.but(state=state, preds=columns[:1], target=columns[1:])


def good() -> Call:
    call = make(0, shape=(5,), outputs=0, weight=None)
    return call.but(preds=torch.arange(5.0), target=torch.ones(5))


FIVE = torch.ones(5)
PAIRS, CUBE, SCALAR = torch.ones(5, 2), torch.ones(5, 1, 1), torch.ones(())

CO_MOMENTS = Tested(
    "co_moments_",
    make,
    oracle,
    variants=({"outputs": 0}, {"outputs": 1}, {"outputs": 6}, {"outputs": 70}),
    shapes=((67,), (300,), (9,)),
    empty=((0,),),
    dtypes={"dtype": ALL_DTYPES, "target_dtype": ALL_DTYPES, "weight": ALL_DTYPES},
    special=False,
    compare=compare,
    odd=odd,
    small_floats=small,
    good=good,
    refusals=lambda: table(
        ({"target": torch.ones(6)}, r"same shape, got \(5,\) and \(6,\)", RuntimeError),
        ({"preds": PAIRS, "target": PAIRS}, r"shape \(N,\) or \(N, 1\), got \(5, 2\)"),
        ({"preds": SCALAR, "target": SCALAR}, "must have shape"),
        ({"preds": CUBE, "target": CUBE}, "must have shape"),
        ({"weight": torch.ones(4)}, "`weight` must have one entry per sample"),
        ({"preds": FIVE.cfloat()}, "`preds` must be a real tensor"),
        ({"target": FIVE.cfloat()}, "`target` must be a real tensor"),
        ({"weight": FIVE.cfloat()}, "`weight` must be a real"),
        ({"state": zeros(1, NUM_COLUMNS).float()}, "the metric state must be float64 of shape"),
        ({"state": zeros(1, 6)}, "the metric state must be float64 of shape"),
        ({"state": zeros(12)}, "metric state must be float64 of shape"),
    ),
)


def make_merge(seed: int, **options: Any) -> Call:
    """States of several parts, some of them empty, joined to one."""
    draw = Draw(seed, options)
    outputs = draw("outputs", 1, 2, 35)
    sizes = draw("sizes", (5, 0, 900), (0, 5), (7, 7), (), (1, 30, 2, 0), (0, 0))
    draw.done()
    sizes = (40, *sizes)
    parts = [moments_of(*inputs(seed + i, size, outputs)) for i, size in enumerate(sizes)]
    state = parts[0] if seed % 3 else torch.zeros_like(parts[0])
    others = torch.stack(parts[1:]) if sizes[1:] else zeros(0, outputs, NUM_COLUMNS)
    return Call("merge_co_moments_", {"state": state, "others": others})


def merge_oracle(call: Call) -> Answer:
    """One part after the other, by the formula for two."""

    def extended(moments: Tensor) -> np.ndarray:
        numbers = moments.double().numpy().astype(np.longdouble)
        for mean, rest in ((MEAN_X, REST_X), (MEAN_Y, REST_Y), (MEAN_D, REST_D)):
            numbers[:, mean] += numbers[:, rest]
        return numbers

    total = extended(call["state"])
    for other in call["others"]:
        for a, b in zip(total, extended(other), strict=True):
            a[WIDE] = max(a[WIDE], b[WIDE])
            if b[COUNT] == 0:
                continue
            if a[COUNT] == 0:
                a[:WIDE] = b[:WIDE]
                continue
            weight = a[WEIGHT] + b[WEIGHT]
            share = a[WEIGHT] * b[WEIGHT] / weight
            moved = [b[mean] - a[mean] for mean in (MEAN_X, MEAN_Y, MEAN_D)]
            x, y, d = moved
            for column, product in ((M2_X, x * x), (M2_Y, y * y), (M2_D, d * d), (C_XY, x * y)):
                a[column] += b[column] + share * product
            for mean, step in zip((MEAN_X, MEAN_Y, MEAN_D), moved, strict=True):
                a[mean] += step * (b[WEIGHT] / weight)
            a[COUNT], a[WEIGHT] = a[COUNT] + b[COUNT], weight
            a[MIN_Y], a[MAX_Y] = min(a[MIN_Y], b[MIN_Y]), max(a[MAX_Y], b[MAX_Y])
    return Answer({"state": torch.from_numpy(total.astype(np.float64))})


STATE = zeros(1, NUM_COLUMNS)

MERGE = Tested(
    "merge_co_moments_",
    make_merge,
    merge_oracle,
    variants=tuple({"outputs": outputs} for outputs in (1, 2, 35)),
    shapes=(),
    empty=(),
    batch=("others",),
    layouts=(),
    many=0,
    compare=compare,
    odd=lambda: (make_merge(seed) for seed in range(30)),
    good=lambda: make_merge(1, outputs=1, sizes=(7, 7)),
    refusals=lambda: table(
        ({"others": STATE}, "`others` must be float64 of shape"),
        ({"others": zeros(1, 2, NUM_COLUMNS)}, "`others` must be float64 of shape"),
        ({"others": zeros(1, 1, NUM_COLUMNS).float()}, "others` must be float64 of shape"),
    ),
)
