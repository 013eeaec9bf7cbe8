"""`row_similarity_`: calls, and an oracle in Python numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastmetrics.ops.row_similarity import COSINE, JS, JS_LOG, KINDS, KL, KL_LOG
from tests.ops.inputs import ALL_DTYPES, INF, NAN, Draw
from tests.ops.laws import Answer, Call, Tested
from tests.ops.oracles import added
from tests.ops.refusals import META, table, zeros

START = 0.5
LOGS = (KL_LOG, JS_LOG)


def distributions(
    shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0, zeros: float = 0.1
) -> Tensor:
    rng = np.random.default_rng(seed)
    values = rng.gamma(0.5, size=shape)
    values[rng.random(shape) < zeros] = 0
    values[..., :1] += 0.1
    return torch.from_numpy(np.asarray(values)).to(dtype)


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    rows, *_ = draw("shape", (1,), (5,), (40,))
    wide = (16, 63, 100) if rows < 100 else ()
    columns, kind = draw("columns", 1, 2, 3, *wide), draw("kind", *KINDS)
    dtypes = [draw(name, *ALL_DTYPES) for name in ("dtype", "target_dtype")]
    preds, target = (
        distributions((rows, columns), torch.float64, 2 * seed + i).add(
            0 if dtype.is_floating_point else 0.5
        ).mul(1 if dtype.is_floating_point else 5).to(dtype)
        for i, dtype in enumerate(dtypes)
    )  # fmt: skip
    if kind == KL:  # p is covered by q: no infinite divergence
        target = torch.where(target == 0, target.new_tensor(1), target)
    if kind in LOGS:
        preds, target = (
            x.log() if x.is_floating_point() else x.float().log() for x in (preds, target)
        )
        target = target.nan_to_num(neginf=-9.0) if kind == KL_LOG else target
    shape = (rows, 1) if draw("each", False, True) else (3,)
    draw.done()
    state = torch.full(shape, START, dtype=torch.float64)
    return Call("row_similarity_", {"state": state, "preds": preds, "target": target, "kind": kind})


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


_last: list[Any] = []


def values_of(call: Call) -> list[float]:
    """The similarity of each pair of rows; those of the last call are remembered."""
    if not _last or _last[0] is not call:
        pairs = zip(*(call[name].double().tolist() for name in ("preds", "target")), strict=True)
        _last[:] = call, [value_of(p, q, call["kind"]) for p, q in pairs]
    return _last[1]


def oracle(call: Call) -> Answer:
    rows = values_of(call)
    state = call["state"].clone()
    if state.ndim == 2:
        state += torch.tensor(rows, dtype=torch.float64).view_as(state)
    else:
        wide = torch.float64 in (call["preds"].dtype, call["target"].dtype)
        state += torch.tensor([added(rows), len(rows), len(rows) * wide], dtype=torch.float64)
    return Answer({"state": state})


def compare(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Row by row, or the sum within the rounding of the sizes that are added."""
    one, other = (x["state"] - call["state"] for x in (found, expected))
    if one.ndim == 2:
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13, equal_nan=True)
        return
    assert torch.equal(one[1:], other[1:])
    rows = values_of(call)
    size = sum(abs(x) for x in rows if math.isfinite(x)) + 1
    torch.testing.assert_close(one[:1], other[:1], rtol=0, atol=1e-13 * size, equal_nan=True)


ODD = [
    [0.0, 0.0],
    [-0.0, 0.0],
    [0.0, 1.0],
    [1.0, 0.0],
    [0.5, 0.5],
    [-1.0, 3.0],
    [-1.0, -3.0],
    [NAN, 1.0],
    [INF, 1.0],
    [1e38, 1e-38],
    [1e-45, 1e-45],
    [1e-30, 2e-30],
]


def odd() -> Iterator[Call]:
    """Widths around the blocks; zeros, infinities, NaN and sizes at which float32 ends."""
    for columns, each in itertools.product((1, 7, 8, 9, 63, 1023, 1024, 1025, 2500), (False, True)):
        rows = 5 if each else 2
        for kind in KINDS:
            options = {"kind": kind, "each": each, "shape": (rows,), "dtype": torch.float32}
            yield make(columns, columns=columns, target_dtype=torch.float32, **options)
    pairs = [(a, b) for a in ODD for b in ODD]
    for width, dtype, kind in itertools.product(
        (2, 19), (torch.float32, torch.float64), (COSINE, KL, JS)
    ):
        p, q = (torch.tensor(rows).repeat(1, 10)[:, :width] for rows in zip(*pairs, strict=True))
        call = make(width, kind=kind, each=True, shape=(len(p),), columns=width)
        yield call.but(preds=p.to(dtype), target=q.to(dtype))
    values = [-INF, -1e30, -800.0, -745.2, -700.0, -1.5, -1e-20, 0.0]
    grid = torch.tensor(values, dtype=torch.float64)
    p, q = torch.cartesian_prod(grid, grid).T
    p, q = (torch.stack((x, x.flip(0)), -1) for x in (p, q))
    for kind in LOGS:
        yield make(0, kind=kind, each=True, shape=(len(p),), columns=2).but(preds=p, target=q)
    for columns, kind in itertools.product((1, 2, 5), (COSINE, KL, JS)):
        yield make(columns, kind=kind, each=False, shape=(1500,), columns=columns)
    for kind, each in itertools.product(KINDS, (False, True)):
        nothing = torch.zeros(3, 0)
        call = make(0, kind=kind, each=each, shape=(3,), columns=2)
        yield call.but(preds=nothing, target=nothing)


def good() -> Call:
    call = make(0, kind=COSINE, each=False, shape=(4,), columns=3)
    return call.but(preds=torch.ones(4, 3), target=torch.ones(4, 3))


ONES = torch.ones(4, 3)

ROW_SIMILARITY = Tested(
    "row_similarity_",
    make,
    oracle,
    variants=(
        *({"kind": kind, "each": True} for kind in KINDS),
        *({"kind": kind, "each": False} for kind in (COSINE, JS)),
    ),
    shapes=((6,), (33,), (2,)),
    empty=((0,),),
    dtypes={"dtype": ALL_DTYPES, "target_dtype": ALL_DTYPES},
    batch=("preds", "target"),
    compare=compare,
    odd=odd,
    good=good,
    refusals=lambda: table(
        *(
            row
            for kind in (COSINE, KL)
            for row in (
                (
                    {"kind": kind, "target": torch.ones(4, 4)},
                    r"(`preds`|`p`).* same shape, got \(4, 3\) and \(4, 4\)",
                    RuntimeError,
                ),
                ({"kind": kind, "preds": ONES[0], "target": ONES[0]}, r"\(N, D\), got \(3,\)"),
                ({"kind": kind, "preds": ONES * 1j}, "(`preds`|`p`) must be a real tensor"),
                ({"kind": kind, "target": ONES.to(META)}, "(`preds`|`p`).* must be on one device"),
            )
        ),
        ({"state": torch.zeros(2)}, r"float64 \(3,\) or \(4, 1\), got torch.float32"),
        ({"state": zeros(2)}, r"`state` must be float64 \(3,\) or \(4, 1\)"),
        ({"state": zeros(2, 1)}, r"`state` must be float64 \(3,\) or \(4, 1\)"),
        ({"kind": 5}, "`kind` must be one of"),
    ),
)  # fmt: skip
