"""`ranking_sums_`: calls and oracle."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.ops import oracles
from tests.ops.inputs import INF, NAN, SCORE_DTYPES, Draw, draw_state, spoil
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import ints, table, zeros
from tests.ops.score_histogram import DTYPES, task_batch

MEASURES = range(1, 8)


def make(seed: int, **options: Any) -> Call:
    """`share` of the labels are positive."""
    draw = Draw(seed, {"classes": draw_labels(seed), **options, "float_state": True})
    _, _, taken = task_batch(draw, ("multilabel",))
    share = draw("share", None)
    if share is not None:
        taken["target"].copy_(
            torch.from_numpy(draw.rng.random(tuple(taken["target"].shape)) < share)
        )
    weight = taken.pop("weight")
    rest = {
        "measures": draw("measures", *MEASURES),
        "weight": weight,
        "ignore_index": spoil(draw, taken["target"], 2),
        "validate": draw("validate", True, True, False),
    }
    state = draw_state(draw, (4,), weight).double()
    draw.done()
    return Call("ranking_sums_", {"state": state, **taken, **rest})


def draw_labels(seed: int) -> int:
    return (1, 2, 9, 40)[seed % 4]


def reaches(score: float, bound: float) -> bool:
    return math.isnan(bound) or score >= bound


def measures_of(row: list[tuple[float, int]]) -> tuple[Fraction, Fraction, Fraction]:
    """Coverage, precision and loss of one row of scores and marks, as exact numbers."""
    positives = [score for score, mark in row if mark == 1]
    negatives = [score for score, mark in row if mark == 0]
    if not positives or not negatives:
        return Fraction(len(positives)), Fraction(1), Fraction(0)
    ranks = [sum(reaches(score, own) for score, _ in row) for own in positives]
    alike = [sum(reaches(score, own) for score in positives) for own in positives]
    precision = sum(Fraction(a, r) for a, r in zip(alike, ranks, strict=True)) / len(positives)
    wrong = sum(ranks) - sum(alike)
    return Fraction(max(ranks)), precision, Fraction(wrong, len(positives) * len(negatives))


def oracle(call: Call) -> Answer:
    preds, target, ignore_index = call["preds"], call["target"], call["ignore_index"]
    width = target.shape[1]
    marks = target.to(torch.int64)
    tally = oracles.Tally(np.zeros(4), invalid=0)
    tally.bad = [
        ("target", mark, index)
        for index, mark in enumerate(marks.flatten().tolist())
        if not oracles.is_ignored(mark, ignore_index) and mark not in (0, 1)
    ]
    amounts = oracles.amounts(call["weight"], target.shape[0])
    positions = target.numel() // width
    scores = preds.to(torch.float64).movedim(1, -1).reshape(positions, width).tolist()
    rows = marks.movedim(1, -1).reshape(positions, width).tolist()
    depth = positions // max(1, len(amounts))
    for index, (score_row, mark_row) in enumerate(zip(scores, rows, strict=True)):
        row = [
            (score, mark)
            for score, mark in zip(score_row, mark_row, strict=True)
            if not oracles.is_ignored(mark, ignore_index)
        ]
        wrong = any(mark not in (0, 1) for _, mark in row)
        tally.invalid += wrong
        if not row or wrong:
            continue
        tally.nan += any(math.isnan(score) for score, _ in row)
        amount = amounts[index // depth]
        for column, value in enumerate((*measures_of(row), Fraction(1))):
            if column == 3 or call["measures"] >> column & 1:
                tally.delta[column] += amount * float(value)
    return tally.answer(call, 2)


def odd() -> Iterator[Call]:
    plain = {"ignore_index": None, "bad": 0.0, "validate": True}
    for labels, share in itertools.product((1, 3, 15, 16, 17, 31, 33, 64, 100), (0.05, 0.5, 0.95)):
        for measures in (1, 7):
            yield make(labels, classes=labels, share=share, shape=(7,), measures=measures)
    # Enough positives for the sort, by comparisons and by bytes; few values and all different.
    for labels, dtype, share in itertools.product((250, 700), SCORE_DTYPES, (0.3, 0.92)):
        how = {"classes": labels, "dtype": dtype, "share": share, "shape": (1,), "measures": 7}
        call = make(labels, special=0.05, **how, **plain)
        yield call
        order = np.random.default_rng(labels).permutation(labels) - labels // 2
        yield call.but(preds=torch.from_numpy(order[None] * 37.0).to(dtype))
    # NaN ranks below minus infinity, and equals NaN; -0 equals +0; the last digits count.
    rows = torch.tensor([[NAN, -INF, 0.0], [-0.0, 0.0, -INF], [INF, INF, NAN], [NAN] * 3])
    close = torch.tensor([[1.0, 1.0 + 2**-52, 1.0 - 2**-53]] * 4, dtype=torch.float64)
    some = [rows.to(dtype) for dtype in SCORE_DTYPES]
    for marks, preds, measures in itertools.product(np.ndindex(2, 2, 2), [*some, close], (1, 7)):
        call = make(1, classes=3, shape=(4,), dtype=preds.dtype, measures=measures, **plain)
        yield call.but(preds=preds, target=torch.tensor([marks] * 4))
    call = make(2, classes=5, shape=(40,), measures=7, target_dtype=torch.int64, bad=0.0)
    call["target"][4] = 1
    yield call.but(ignore_index=1)


def small(values: Tensor) -> Iterator[Call]:
    """Neighbours rank as they should."""
    pairs = torch.stack([values, values.roll(1)], 1)
    target = torch.tensor([[1, 0]]).expand(len(values), 2)
    how = {"classes": 2, "shape": (4,), "dtype": values.dtype, "ignore_index": None, "bad": 0.0}
    for part in range(0, len(values), 16384):
        rows = slice(part, part + 16384)
        yield make(2, **how, weight=None, measures=7).but(preds=pairs[rows], target=target[rows])


def good() -> Call:
    call = make(0, classes=2, shape=(3,), bad=0.0, weight=None, start=0, measures=7,
                ignore_index=None, validate=True)  # fmt: skip
    return call.but(preds=torch.zeros(3, 2), target=ints(3, 2))


RANKING = Tested(
    "ranking_sums_",
    make,
    oracle,
    variants=(
        {"classes": 4, "measures": 7},
        {"classes": 20, "measures": 7},
        {"classes": 3, "measures": 1},
        *({"classes": 4, "measures": measures} for measures in range(2, 7)),
    ),
    empty=((0,), (0, 2), (3, 0)),
    dtypes=DTYPES,
    labels=("target",),
    starts=(2**24, 2**31),
    many=20_003,
    repeats=True,
    rtol=1e-14,
    odd=odd,
    small_floats=small,
    good=good,
    refusals=lambda: table(
        ({"preds": ints(3, 2)}, "`preds` must be a float tensor"),
        ({"preds": torch.zeros(3, 3)}, "the same shape"),
        ({"target": torch.full((3, 2), 0.5)}, "`target` must be an integer or bool tensor"),
        ({"preds": torch.zeros(3), "target": ints(3)}, r"must have shape \(N, L, ...\)"),
        ({"measures": 0}, "`measures` must be a sum of 1, 2 and 4, got 0"),
        ({"measures": 8}, "`measures` must be a sum of 1, 2 and 4, got 8"),
        ({"weight": torch.ones(2)}, "`weight` must have one entry per sample"),
        ({"state": torch.zeros(4)}, "must be float64"),
    ),
    guards=(
        {"state": zeros(3)},
        {"state": zeros(5)},
        {"state": zeros(1, 4)},
        {"state": zeros()},
        {"preds": torch.rand(3, 1)},
        {"preds": torch.rand(2, 2)},
        {"preds": torch.rand(2)},
    ),
)
