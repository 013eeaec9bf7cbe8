"""`cross_entropy_sums_`: calls and oracle."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tests.ops import oracles
from tests.ops.inputs import INF, NAN, SCORE_DTYPES, Draw, draw_state, spoil
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import ints, table, zeros
from tests.ops.score_histogram import DTYPES, INFINITE_ROWS, task_batch

ODD_ROWS = [*INFINITE_ROWS, [40.0, 0.0, -40.0], [-0.0, 0.0, -90.0], [3e38, -3e38, 0.0]]


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options | {"float_state": True})
    _, classes, taken = task_batch(draw, ("multiclass",))
    rest = {
        "ignore_index": spoil(draw, taken["target"], classes),
        "validate": draw("validate", True, True, False),
    }
    state = draw_state(draw, (2,), taken["weight"]).double()
    draw.done()
    return Call("cross_entropy_sums_", {"state": state, **taken, **rest})


def loss(row: list[float], mark: int) -> float:
    """The logarithm of how often the power of the target goes into all of them."""
    if any(map(math.isnan, row)):
        return NAN
    top = max(row)
    gaps = [0.0 if score == top else score - top for score in row]
    # One of the largest counts apart, next to which small powers would vanish.
    first = row.index(top)
    rest = math.fsum(math.exp(gap) for c, gap in enumerate(gaps) if c != first)
    return math.log1p(rest) - gaps[mark]


def oracle(call: Call) -> Answer:
    limit = call["preds"].shape[1]
    tally = oracles.Tally(np.zeros(2))
    if call["target"].numel() == 0:
        return tally.answer(call, limit)
    amounts = oracles.amounts(call["weight"], call["target"].shape[0])
    terms: list[tuple[float, float]] = []
    for sample, row, _, marks in oracles.scored(call, True, limit, tally):
        tally.nan += any(map(math.isnan, row))
        amount = amounts[sample]
        terms.append((amount * loss(row, marks.index(1)) if amount else 0.0, amount))
    tally.delta = np.array([oracles.added(column) for column in zip(*terms, strict=True)] or [0, 0])
    return tally.answer(call, limit)


def odd() -> Iterator[Call]:
    """Samples alone, because one NaN spoils a sum; rows of many blocks; weights of zero."""
    how = {"ignore_index": None, "bad": 0.0, "special": 0.0}
    for seed, (row, mark, dtype) in enumerate(itertools.product(ODD_ROWS, range(3), SCORE_DTYPES)):
        for repeats in (1, 50):
            preds = torch.tensor([row]).repeat(1, repeats).to(dtype)
            call = make(seed, classes=preds.shape[1], shape=(1,), dtype=dtype, **how)
            yield call.but(preds=preds, target=torch.tensor([mark + 3 * (repeats - 1)]))
    for classes in (1, 2, 5, 8, 31, 32, 33, 65, 1030, 2048, 2081, 5000):
        for dtype in SCORE_DTYPES:
            call = make(classes, classes=classes, shape=(5,), dtype=dtype, weight=None, **how)
            yield call
            # Larger and larger, so that each block begins anew; equal ones in several of them.
            rising = torch.linspace(-9, 9, classes).repeat(5, 1)
            rising[1] = rising[1].flip(0)
            rising[2, :: max(1, classes // 7)] = 11
            rising[3, classes // 2 :] = -INF
            ends = torch.tensor([0, classes - 1, classes // 2, 0, classes - 1])
            yield call.but(preds=rising.to(dtype), target=ends)
            spoilt = rising.to(dtype)
            spoilt[4, classes - 1] = NAN
            yield call.but(preds=spoilt, target=torch.zeros(5, dtype=torch.int64))
    for count in (15, 16, 17):  # positions that lie side by side
        call = make(count, classes=300, shape=(2, count), weight=torch.float32, **how)
        yield call.changed(
            ["preds"], lambda scores: scores.movedim(1, -1).contiguous().movedim(-1, 1)
        )
        yield call
    call = make(3, shape=(3,), weight=torch.float32, **how)
    call["preds"][1] = NAN
    yield call.but(weight=torch.tensor([1.0, 0.0, 2.0]))
    yield call.but(target=torch.full((3,), 7), ignore_index=7)


def good() -> Call:
    call = make(0, classes=4, shape=(3,), bad=0.0, weight=None, start=0, ignore_index=None,
                validate=True)  # fmt: skip
    return call.but(preds=torch.zeros(3, 4), target=ints(3))


CROSS_ENTROPY = Tested(
    "cross_entropy_sums_",
    make,
    oracle,
    dtypes=DTYPES,
    labels=("target",),
    starts=(2**24, 2**31),
    many=30_003,
    repeats=True,
    rtol=1e-6,
    atol=1e-12,
    exact={"dtype": torch.float64},
    odd=odd,
    good=good,
    refusals=lambda: table(
        ({"preds": ints(3, 4)}, "`preds` must be a float tensor"),
        ({"preds": torch.zeros(3)}, r"must have shape \(N, C, ...\) with `target` \(N, ...\)"),
        ({"preds": torch.zeros(4, 4)}, r"\(N, C, ...\) with `target` \(N, ...\)"),
        ({"preds": torch.zeros(3, 0)}, "at least one class"),
        ({"target": torch.full((3,), 0.5)}, "`target` must be an integer or bool tensor"),
        ({"preds": torch.zeros(3), "target": torch.tensor(1)}, "at least one axis"),
        ({"weight": torch.ones(2)}, "`weight` must have one entry per sample"),
        ({"state": torch.zeros(2)}, "must be float64"),
    ),
    guards=tuple({"state": zeros(*shape)} for shape in ((1,), (3,), (1, 2), ())),
)  # fmt: skip
