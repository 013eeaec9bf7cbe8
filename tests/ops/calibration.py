"""`calibration_bins_`: calls and oracle."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from fastmetrics.ops.calibration import bin_edges
from tests.ops import oracles
from tests.ops.inputs import INF, NAN, SCORE_DTYPES, Draw, draw_state, neighbours, spoil
from tests.ops.laws import Answer, Call, Tested, same_bits
from tests.ops.refusals import ints, table, zeros
from tests.ops.score_histogram import DTYPES, READINGS, infinite_rows, scores_refused, task_batch

TASKS = ("binary", "multiclass")


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options | {"float_state": True})
    task, classes, taken = task_batch(draw, TASKS)
    n_bins = draw("n_bins", 1, 2, 3, 10, 15, 100, 400)
    readings, logits = draw("readings", *READINGS)
    state = draw_state(draw, (readings, n_bins + 1, 3), taken["weight"]).double()
    rest = {
        "edges": bin_edges(n_bins),
        "num_classes": classes if task == "multiclass" else 0,
        "logits": logits,
        "ignore_index": spoil(draw, taken["target"], classes if task == "multiclass" else 2),
        "validate": draw("validate", True, True, False),
    }
    draw.done()
    return Call("calibration_bins_", {"state": state, **taken, **rest})


def confidence_of(row: list[float], multiclass: bool, logits: bool) -> float:
    if logits:
        return max(oracles.softmax(row, False)) if multiclass else oracles.sigmoid(row[0])
    return min(max(max(row), 0.0), 1.0)


def oracle(call: Call) -> Answer:
    """Position by position, in Python numbers; sums are exact until they are rounded once."""
    shape, preds = tuple(call["state"].shape), call["preds"]
    multiclass = call["num_classes"] > 0
    limit = call["num_classes"] or 2
    terms = np.empty(shape, dtype=object)
    for where in np.ndindex(*shape):
        terms[where] = []
    tally = oracles.Tally(np.zeros(shape))
    if call["target"].numel() == 0:
        return tally.answer(call, limit)
    narrow = multiclass or preds.dtype != torch.float64
    thresholds = call["edges"][int(not narrow)].tolist()
    amount = oracles.amounts(call["weight"], call["target"].shape[0])
    for sample, row, _, marks in oracles.scored(call, multiclass, limit, tally):
        tally.outside += sum(score < 0 or score > 1 for score in row)
        if any(math.isnan(score) for score in row):
            tally.nan += 1
            continue
        right = marks[row.index(max(row))] if multiclass else marks[0]
        for index in range(shape[0]):
            as_logits = index == 1 if shape[0] == 2 else call["logits"]
            confidence = confidence_of(row, multiclass, as_logits)
            if narrow:
                confidence = float(np.float32(confidence))
            place = bisect.bisect_right(thresholds, confidence) - 1
            number = float(amount[sample])
            for column, term in enumerate((number, number * confidence, number * right)):
                terms[index, place, column].append(term)
    for where in np.ndindex(*shape):
        tally.delta[where] = math.fsum(terms[where])
    tally.outside = tally.outside if shape[0] == 2 else 0
    return tally.answer(call, limit)


def compare(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Positions and right ones are exact, as are all sums of numbers with few digits."""
    same_bits("counts", found["state"][..., ::2], expected["state"][..., ::2])
    torch.testing.assert_close(found["state"], expected["state"], rtol=1e-13, atol=1e-14)
    same_bits("events", found["events"], expected["events"])


def edge_call(n_bins: int, dtype: torch.dtype, **options: Any) -> Call:
    """Confidences on and next to the edges, which are compared in their own precision."""
    preds = neighbours(torch.linspace(0, 1, n_bins + 1, dtype=dtype)).clamp(0, 1)
    call = make(n_bins, task="binary", shape=preds.shape, dtype=dtype, n_bins=n_bins, bad=0.0,
                weight=None, ignore_index=None, readings=(1, False), **options)  # fmt: skip
    return call.but(preds=preds, target=torch.arange(len(preds)) % 2)


def odd() -> Iterator[Call]:
    for columns in (1, 3):
        yield from infinite_rows(make, columns, n_bins=15, readings=(1, True))
    for classes, shape in itertools.product((1, 2, 16, 31, 33, 100, 1030), ((7,), (2, 70))):
        if classes < 1000 or shape == (7,):
            dtype = SCORE_DTYPES[classes % 4]
            call = make(1, task="multiclass", classes=classes, shape=shape, dtype=dtype, bad=0.0)
            call["preds"].view(-1)[:: 5 * classes + 1] = NAN
            yield call
    for n_bins, dtype in itertools.product(
        (1, 2, 3, 7, 10, 15, 100, 700), (torch.float32, torch.float64)
    ):
        yield edge_call(n_bins, dtype)
    for task, n_bins in itertools.product(TASKS, (1, 64, 1000)):
        yield make(n_bins, task=task, n_bins=n_bins, shape=(300,), inside=True, bad=0.0)
    ends = torch.tensor([-INF, -0.5, 1.5, INF, 1.0, 0.99, 0.0])
    for readings in READINGS:
        yield make(
            0, task="binary", shape=(7,), n_bins=2, dtype=torch.float32, readings=readings, bad=0.0
        ).but(preds=ends)  # fmt: skip
    for width in (3, 40):  # the first of equal scores is predicted
        preds = torch.zeros(4, width)
        preds[1, 1:], preds[2, -1], preds[3] = 0.5, 0.5, -INF
        for target in ([0, 1, width - 1, 0], [1, 2, 0, 1]):
            call = make(1, task="multiclass", classes=width, shape=(4,), dtype=torch.float32)
            yield call.but(preds=preds, target=torch.tensor(target))


def good() -> Call:
    call = make(0, task="binary", shape=(3,), n_bins=3, readings=(1, False), bad=0.0, start=0,
                weight=None, ignore_index=None, validate=True)  # fmt: skip
    return call.but(preds=torch.zeros(3), target=ints(3))


CALIBRATION = Tested(
    "calibration_bins_",
    make,
    oracle,
    variants=tuple(
        {"task": task, "n_bins": n_bins, "readings": readings}
        for (task, n_bins), readings in zip(
            itertools.product(TASKS, (5, 40, 1)), READINGS * 2, strict=True
        )
    ),
    dtypes=DTYPES,
    labels=("target",),
    starts=(2**24, 2**31, 2**45),
    repeats=True,
    compare=compare,
    odd=odd,
    good=good,
    refusals=lambda: scores_refused() | table(
        ({"num_classes": 4}, r"must have shape \(N, C, ...\) with `target` \(N, ...\)"),
        ({"num_classes": 5, "preds": torch.zeros(3, 4)}, "with C=5"),
        ({"state": ints(1, 4, 3)}, "state must be float64"),
    ),
    guards=(
        {"edges": bin_edges(3)[:, :3]},
        {"edges": bin_edges(3).float()},
        {"edges": bin_edges(3)[0]},
        {"edges": bin_edges(3)[:1]},
        {"edges": bin_edges(3).repeat(2, 1)},
        {"state": zeros(1, 4, 2)},
        {"state": zeros(4, 3)},
        {"state": zeros(3, 4, 3)},
        {"state": zeros(1, 4, 3).float()},
        {"state": zeros(1, 2, 3)},
        {"num_classes": 3},
    ),
)  # fmt: skip
