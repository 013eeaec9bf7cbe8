"""`aggregate_` and `aggregate_value_`: calls, and oracles in Python numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastmetrics.ops.aggregate import DROP, FILL, KEEP, MAX, MIN, REFUSE, SUM
from tests.ops import oracles
from tests.ops.inputs import (
    ALL_DTYPES,
    INF,
    NAN,
    SCORE_DTYPES,
    Draw,
    some_events,
    with_special_values,
)
from tests.ops.laws import Answer, Call, Tested, same_bits
from tests.ops.refusals import META, table, zeros

KINDS = ((SUM, (2,)), (SUM, ()), (MAX, ()), (MIN, (1,)))
NAN_RULES = (KEEP, DROP, REFUSE, FILL)
SHAPES = ((), (1,), (5,), (33,), (3, 4), (2, 3, 4), (200,))
START = 0.75


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    if not dtype.is_floating_point:
        low, high = (0, 2) if dtype == torch.bool else (torch.iinfo(dtype).min, 100)
        return torch.from_numpy(np.asarray(rng.integers(max(low, -(2**40)), high, shape))).to(dtype)
    return torch.from_numpy(np.asarray(rng.normal(size=shape) * 10)).to(dtype)


def make(seed: int, **options: Any) -> Call:
    """The weights have the shape of the values or one that is spread to it."""
    draw = Draw(seed, options)
    shape, dtype = draw("shape", *SHAPES), draw("dtype", *ALL_DTYPES)
    (reduction, state_shape), special = draw("kind", *KINDS), draw("special", 0.0, 0.0, 0.1, 0.5)
    value = numbers(draw.rng, shape, dtype)
    if special and dtype.is_floating_point:
        value = with_special_values(value, draw.rng, special)
    weight = draw("weight", None, *ALL_DTYPES)
    spread = draw("spread", shape, shape, shape[1:] if len(shape) > 1 else (), ())
    weight = None if weight is None or reduction != SUM else numbers(draw.rng, spread, weight)
    rest = {
        "reduction": reduction,
        "nans": draw("nans", *NAN_RULES),
        "fill": draw("fill", 0.0, -3.0, NAN),
    }
    draw.done()
    state = torch.full(state_shape, draw("start", START, 0.0) or START, dtype=torch.float64)
    return Call(
        "aggregate_",
        {"state": state, "events": some_events(), "value": value, "weight": weight, **rest},
    )


def oracle(call: Call) -> Answer:
    """Exactly rounded sums."""
    value, weight, reduction, nans = (call[n] for n in ("value", "weight", "reduction", "nans"))
    state, start = call["state"].clone(), call["state"].flatten()[0].item()
    spread = torch.ones(()) if weight is None else weight
    pairs = [*zip(
        map(float, value.flatten().tolist()),
        map(float, spread.expand(value.shape).flatten().tolist()),
        strict=True,
    )]  # fmt: skip
    odd = sum(w < 0 or math.isinf(w) for _, w in pairs)
    bad = [math.isnan(x) or math.isnan(w) for x, w in pairs]
    left_out = sum(bad) if nans in (DROP, REFUSE) else 0
    if nans == FILL:
        pairs = [(call["fill"], 1.0) if b else pair for pair, b in zip(pairs, bad, strict=True)]
    elif nans != KEEP:
        pairs = [pair for pair, b in zip(pairs, bad, strict=True) if not b]
    numbers = [x for x, _ in pairs]
    if not value.numel():
        pass
    elif reduction == SUM:
        found = [oracles.added([x * w for x, w in pairs]), oracles.added([w for _, w in pairs])]
        state += torch.tensor(found[: state.numel()], dtype=torch.float64).view_as(state)
    elif any(map(math.isnan, numbers)):
        state.fill_(NAN)
    else:
        state.fill_((max if reduction == MAX else min)([start, *numbers]))
    events = call["events"] + torch.tensor([0, left_out, 0, odd])
    words = f"`value` and `weight` must not hold NaN, got {left_out} of them."
    refused = nans == REFUSE and left_out
    return Answer({"state": state, "events": events}, words if refused else None)


def compare(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Sums within the rounding of the sizes that are added."""
    sizes = call["value"].double().abs()
    if call["weight"] is not None:
        sizes = sizes * call["weight"].double().abs()
    fill = 0.0 if math.isnan(call["fill"]) or call["nans"] != FILL else abs(call["fill"])
    scale = float(sizes[sizes.isfinite()].sum()) + fill * call["value"].numel()
    one, other = found["state"].flatten(), expected["state"].flatten()
    scale += float(call["state"].abs().max())
    torch.testing.assert_close(
        one[:1], other[:1], rtol=0, atol=1e-14 * scale if call["reduction"] == SUM else 0,
        equal_nan=True,
    )  # fmt: skip
    torch.testing.assert_close(one[1:], other[1:], rtol=1e-14, atol=1e-12, equal_nan=True)
    same_bits("events", found["events"], expected["events"])


def odd() -> Iterator[Call]:
    rows = ([NAN] * 40, [INF, NAN, -1.0], [INF, -INF, NAN], [-0.0, 0.0], [NAN], [INF, 1.0])
    for seed, (row, kind, nans, fill, dtype) in enumerate(
        itertools.product(rows, KINDS, NAN_RULES, (-3.0, NAN), SCORE_DTYPES[::3])
    ):
        call = make(seed, kind=kind, nans=nans, fill=fill, weight=None, shape=(3,))
        value = torch.tensor(row, dtype=dtype)
        yield call.but(value=value)
        if kind[0] == SUM:
            yield call.but(value=value, weight=value.flip(0))
    # At every place of a block, also where two blocks meet.
    for place in (*range(0, 40, 3), 1008, 1023, 1024, 1025, 2047, 2048, 2099):
        value = torch.ones(2100)
        value[place] = NAN
        kind = KINDS[place % 4]
        yield make(place, kind=kind, nans=DROP, weight=None, shape=(3,)).but(value=value)
    how = {"kind": (SUM, (2,)), "weight": None, "shape": (3,), "nans": DROP}
    yield make(0, **how).but(value=torch.tensor(2.5), weight=torch.tensor(3))


def small(values: Tensor) -> Iterator[Call]:
    """Finite numbers added up, in parts; the largest of all."""
    call = make(0, kind=KINDS[0], nans=DROP, weight=None, shape=(3,))
    for chunk in values[values.isfinite()].split(4097):
        yield call.but(value=chunk)
    for kind in KINDS[2:]:
        yield make(0, kind=kind, nans=DROP, weight=None, shape=(3,)).but(value=values)


def good() -> Call:
    call = make(0, kind=(SUM, (2,)), nans=KEEP, weight=None, shape=(3,))
    return call.but(value=torch.ones(3))


MAXIMUM = {"reduction": MAX, "state": zeros(1)}

AGGREGATE = Tested(
    "aggregate_",
    make,
    oracle,
    variants=tuple(
        {"kind": kind, "nans": nans} for kind, nans in itertools.product(KINDS, (KEEP, DROP, FILL))
    ),
    shapes=((7, 9), (70,), (4, 5, 6), (1, 3, 1, 2)),
    empty=((0,), (3, 0), (0, 4)),
    dtypes={"dtype": ALL_DTYPES, "weight": ALL_DTYPES},
    batch=("value", "weight"),
    layouts=("value",),
    starts=(2**24, 2**31, 2**40),
    many=300_007,
    compare=compare,
    odd=odd,
    small_floats=small,
    good=good,
    refusals=lambda: table(
        ({"state": zeros(3)}, "float64 with 1 or 2 elements"),
        ({"state": torch.zeros(2)}, "float64 with 1 or 2 elements, got torch.float32"),
        ({"value": torch.zeros(3).cfloat()}, "`value` must be a real tensor"),
        ({"weight": torch.zeros(3).cfloat()}, "`weight` must be a real"),
        ({"weight": torch.zeros(2, 3)}, r"to that of `value`, \(3,\), got \(2, 3\)", RuntimeError),
        ({"weight": torch.zeros(2)}, r"to that of `value`, \(3,\), got \(2,\)", RuntimeError),
        (MAXIMUM | {"weight": torch.zeros(3)}, "only sums take a `weight`"),
        ({"reduction": 3}, "`reduction` must be one of"),
        ({"nans": 4}, "`nans` must be one of"),
        ({"value": torch.zeros(3, device=META)}, "on the device of the metric state"),
    ),
)

NUMBERS = (1.5, -2, True, 1e300, INF, -INF, NAN, 2**60)


def make_value(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    reduction, shape = draw("kind", *KINDS)
    start = draw("start", START)
    value, weight = draw("value", *NUMBERS), draw("amount", 0.5, 1.0, 2.0)
    draw.done()
    state = torch.full(shape, START if start is None else start, dtype=torch.float64)
    taken = {"state": state, "value": float(value), "weight": weight, "reduction": reduction}
    return Call("aggregate_value_", taken)


def value_oracle(call: Call) -> Answer:
    value, weight, reduction = (call[name] for name in ("value", "weight", "reduction"))
    start = call["state"].flatten()[0].item()
    if reduction == SUM:
        found = [start + value * weight, start + weight][: call["state"].numel()]
    else:
        best = max if reduction == MAX else min
        found = [value if math.isnan(value) else best(start, value)]
    return Answer({"state": torch.tensor(found, dtype=torch.float64).view_as(call["state"])})


VALUE = Tested(
    "aggregate_value_",
    make_value,
    value_oracle,
    variants=tuple({"kind": kind} for kind in KINDS),
    shapes=(),
    empty=(),
    batch=(),
    layouts=(),
    many=0,
    rtol=1e-15,
    odd=lambda: (
        make_value(0, kind=kind, value=value, start=start)
        for kind, value, start in itertools.product(KINDS, NUMBERS, (START, 2.0**24, 2.0**52))
    ),
    good=lambda: make_value(0, kind=(MAX, (1,)), value=1.5),
    refusals=lambda: table(
        ({"state": zeros(2)}, "must be float64 with 1 elements"),
        ({"reduction": 7, "state": zeros(2)}, "`reduction` must be one of"),
    ),
)
