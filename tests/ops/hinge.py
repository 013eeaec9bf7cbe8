"""`hinge_sums_`: calls and oracle."""

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
from tests.ops.score_histogram import DTYPES, MULTICLASS, READINGS, scores_refused, task_batch

TASKS = ("binary", "crammer-singer", "one-vs-all")


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options | {"float_state": True})
    kind = draw("kind", *TASKS)
    draw.options |= {"task": "binary" if kind == "binary" else "multiclass"}
    task, classes, taken = task_batch(draw)
    readings, logits = draw("readings", *READINGS)
    losses = classes if kind == "one-vs-all" else 1
    state = draw_state(draw, (readings, losses + 1), taken["weight"]).double()
    weight = taken.pop("weight")
    rest = {
        "multiclass": task == "multiclass",
        "squared": draw("squared", False, True),
        "logits": logits,
        "weight": weight,
        "ignore_index": spoil(draw, taken["target"], classes if task == "multiclass" else 2),
        "validate": draw("validate", True, True, False),
    }
    draw.done()
    return Call("hinge_sums_", {"state": state, **taken, **rest})


def difference(own: float, rival: float) -> float:
    return 0.0 if own == rival else own - rival


def margins(kind: str, row: list[float], mark: int) -> list[float]:
    if kind == "binary":
        return [row[0] if mark else -row[0]]
    if kind == "one-vs-all":
        return [score if c == mark else -score for c, score in enumerate(row)]
    others = row[:mark] + row[mark + 1 :]
    nan = any(math.isnan(score) for score in others)
    return [difference(row[mark], math.nan if nan else max(others))]


def loss(margin: float, squared: bool) -> float:
    short = 1.0 - margin
    value = short if not short <= 0.0 else 0.0
    return value * value if squared else value


def oracle(call: Call) -> Answer:
    count, columns = call["state"].shape
    losses, multiclass = columns - 1, call["multiclass"]
    kind = "binary" if not multiclass else "one-vs-all" if losses > 1 else "crammer-singer"
    limit = call["preds"].shape[1] if multiclass else 2
    amounts = oracles.amounts(call["weight"], call["target"].shape[0])
    terms: list[list[list[float]]] = [[[] for _ in range(columns)] for _ in range(count)]
    tally = oracles.Tally(np.zeros((count, columns)))
    if call["target"].numel() == 0:
        return tally.answer(call, limit)
    for sample, row, _, marks in oracles.scored(call, multiclass, limit, tally):
        mark = marks.index(1) if multiclass else marks[0]
        tally.nan += any(math.isnan(score) for score in row)
        tally.outside += sum(score < 0 or score > 1 for score in row) if count == 2 else 0
        amount = amounts[sample]
        for reading in range(count):
            values = row
            if reading == 1 if count == 2 else call["logits"]:
                values = oracles.softmax(row, False) if multiclass else [oracles.sigmoid(row[0])]
            for column, margin in enumerate(margins(kind, values, mark)):
                value = loss(margin, call["squared"])
                terms[reading][column].append(amount * value if amount else 0.0)
            terms[reading][losses].append(amount)
    tally.delta = np.array([[oracles.added(column) for column in row] for row in terms])
    return tally.answer(call, limit)


ROWS = [[INF, 1, INF], [-INF] * 3, [INF, -INF, 0], [9e4, 0, -9e4], [NAN, INF, 0], [0, 2, NAN]]
ROWS += [[800.0, 0.0, -800.0], [0.0, 800.0, 800.0], [40.0, -40.0, -0.0], [NAN] * 3]


def odd() -> Iterator[Call]:
    """Samples alone, because one NaN spoils a sum; wide rows; weights of zero."""
    rows = [(row, mark) for row in ROWS for mark in range(3)]
    for seed, ((row, mark), dtype) in enumerate(itertools.product(rows, SCORE_DTYPES)):
        how = {"shape": (1,), "dtype": dtype, "ignore_index": None, "bad": 0.0, "classes": 3}
        preds = torch.tensor([row]).to(dtype)
        for kind in TASKS[1:]:
            yield make(seed, kind=kind, **how).but(preds=preds, target=torch.tensor([mark]))
        call = make(seed, kind="binary", **how)
        yield call.but(preds=preds[:, mark], target=torch.tensor([seed // 4 % 2]))
    for classes, kind in itertools.product((2, 5, 8, 9, 16, 17, 33, 1030), TASKS[1:]):
        call = make(classes, kind=kind, classes=classes, shape=(7,), bad=0.0, ignore_index=None)
        yield call
        ends = torch.tensor([0, classes - 1, classes // 2, 1, classes - 2, 0, 1])
        yield call.but(target=ends)
    for kind in TASKS:
        call = make(3, kind=kind, shape=(3,), bad=0.0, weight=torch.float32, ignore_index=None)
        call["preds"][1] = NAN
        yield call.but(weight=torch.tensor([1.0, 0.0, 2.0]))
        yield call.but(target=torch.full((3,), 7), ignore_index=7)


def good() -> Call:
    call = make(0, kind="binary", shape=(3,), readings=(1, False), bad=0.0, weight=None, start=0,
                ignore_index=None, validate=True)  # fmt: skip
    return call.but(preds=torch.zeros(3), target=ints(3))


ROW_CALL = {"preds": torch.rand(3, 4), "multiclass": True}

HINGE = Tested(
    "hinge_sums_",
    make,
    oracle,
    variants=tuple(
        {"kind": kind, "squared": squared, "readings": readings}
        for kind, (squared, readings) in itertools.product(
            TASKS, ((False, (2, False)), (True, (1, False)), (False, (1, True)))
        )
    ),
    dtypes=DTYPES,
    labels=("target",),
    starts=(2**24, 2**31),
    repeats=True,
    rtol=1e-13,
    atol=1e-12,
    odd=odd,
    good=good,
    refusals=lambda: scores_refused() | table(
        MULTICLASS,
        ({"multiclass": True, "preds": torch.zeros(3, 1)}, "two classes or more"),
        ({"multiclass": True, "preds": torch.zeros(3, 4), "state": zeros(1, 6)}, "with C=5"),
        ({"state": torch.zeros(1, 2)}, "must be float64"),
    ),
    guards=(
        *(
            ROW_CALL | {"state": zeros(*shape)}
            for shape in ((2,), (3, 2), (1, 1), (1, 4), (1, 6), (0, 2))
        ),
        *({"state": zeros(*shape)} for shape in ((2,), (3, 2), (1, 1), (1, 3))),
    ),
)  # fmt: skip
