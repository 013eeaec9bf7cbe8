"""`stat_scores_`: calls and oracle."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tests.ops import oracles, refusals
from tests.ops.inputs import (
    INF,
    LABEL_DTYPES,
    LAYOUTS,
    NAN,
    SCORE_DTYPES,
    SHAPES,
    Draw,
    class_batch,
    draw_state,
    draw_weight,
    some_events,
    spoil,
)
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import ints, table

CLASSES = (2, 3, 5, 10, 16, 17, 40)
WEIGHTS = SCORE_DTYPES + LABEL_DTYPES
DTYPES = {"dtype": WEIGHTS, "target_dtype": LABEL_DTYPES, "weight": WEIGHTS}


def class_draws(seed: int, options: dict[str, Any]) -> tuple[Draw, int, dict[str, Any]]:
    """The draw, the number of classes, and the arguments that all ops of classes take."""
    draw = Draw(seed, options)
    classes, shape = draw("classes", *CLASSES), draw("shape", *SHAPES)
    preds, target = class_batch(draw, classes, shape)
    ignore_index = spoil(draw, target, classes)
    taken = {
        "events": some_events(),
        "preds": preds,
        "target": target,
        "weight": draw_weight(draw, shape[0]),
        "ignore_index": ignore_index,
        "validate": draw("validate", True, True, False),
    }
    return draw, classes, taken


def make(seed: int, **options: Any) -> Call:
    draw, classes, taken = class_draws(seed, options)
    columns = 1 if draw("total", False, True) else classes
    each = (len(taken["target"]),) if draw("each", False, True) else ()
    top_k = draw("top_k", 1, 1, 2, classes)
    state = draw_state(draw, (*each, columns, 4), taken["weight"])
    draw.done()
    scored = taken["preds"].ndim > taken["target"].ndim
    ignored = {name: taken.pop(name) for name in ("ignore_index", "validate")}
    own = {"num_classes": classes, "top_k": min(top_k, classes) if scored else 1}
    return Call("stat_scores_", {"state": state, **taken, **own, **ignored})


def oracle(call: Call) -> Answer:
    shape, classes = tuple(call["state"].shape), call["num_classes"]
    each, columns = len(shape) == 3, shape[-2]
    tally = oracles.Tally(np.zeros((shape[0] if each else 1, columns, 4)))
    amount = oracles.amounts(call["weight"], call["target"].shape[0])
    everyone = np.arange(columns)
    for sample, kind, pred, label in oracles.classes(call, classes, call["top_k"], tally):
        if kind != "ok":
            continue
        row = tally.delta[sample if each else 0]
        w = amount[sample]
        rejecting = classes - (1 if pred == label else 2)  # classes for which it is a tn
        if columns == 1:
            row[0] += (w, 0, 0, 0) if pred == label else (0, w, 0, w)
            row[0, 2] += w * rejecting if classes else 0
            continue
        if pred == label:
            row[label, 0] += w
        else:
            row[pred, 1] += w
            row[label, 3] += w
        row[(everyone != pred) & (everyone != label), 2] += w
    return tally.answer(call, oracles.class_limit(call, classes))


TELLING_ROWS = [
    [-0.0, 0.0, -1.0],
    [0.0, -0.0, -1.0],
    [-INF] * 3,
    [INF] * 3,
    [-INF, -1.0, -INF],
    [1.0, NAN, INF],
    [NAN] * 3,
    [2.0, 2.0, 2.0],
]


def telling_scores(width: int, dtype: torch.dtype) -> torch.Tensor:
    """Each row says what it asks; padded with low scores, at either end."""
    rows = torch.tensor(TELLING_ROWS)
    scores = torch.full((2, len(rows), width), -INF)
    scores[0, :, :3], scores[1, :, -3:] = rows, rows.flip(1)
    return scores.view(-1, width).repeat(3, 1).to(dtype)


# Labels that count while nobody says how many classes there are.
UNKNOWN = torch.tensor([0, 1, 5, 2**24 + 1, 2**31 - 3, 2**31 - 2])


def unknown_classes(make: Any) -> Iterator[Call]:
    """Labels below 2^31 - 1 count, and others do not."""
    how = {"bad": 0.0, "total": True, "each": False, "dtype": torch.int64, "classes": 7}
    rng = np.random.default_rng(23)
    for seed, (shape, ignore_index) in enumerate(
        itertools.product(((50,), (20, 3)), (None, 0, -100, 2**40))
    ):
        call = make(seed, **how, target_dtype=torch.int64, shape=shape, weight=None)
        preds, target = (UNKNOWN[torch.from_numpy(rng.integers(0, 6, shape))] for _ in range(2))
        yield call.but(num_classes=0, preds=preds, target=target, ignore_index=ignore_index)
    for value in (-1, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1):
        labels = torch.tensor([3, 0, value, 5])
        call = make(value & 7, **how, target_dtype=torch.int64, shape=(4,), weight=None)
        for preds, target in ((labels, labels.clamp(1, 9)), (labels.clamp(1, 9), labels)):
            for ignore_index in (None, 0):
                yield call.but(num_classes=0, preds=preds, target=target, ignore_index=ignore_index)
    scored = how | {"dtype": torch.float32}
    yield make(1, **scored, shape=(50,)).but(num_classes=0)


def largest_labels(make: Any) -> Iterator[Call]:
    """The largest label of each type that holds few."""
    for dtype, classes in ((torch.uint8, 256), (torch.int8, 128), (torch.int16, 300)):
        labels = torch.tensor([classes - 1, 0, classes - 1]).to(dtype)
        call = make(0, classes=classes, shape=(3,), dtype=dtype, target_dtype=dtype, bad=0.0)
        yield call.but(preds=labels, target=labels.flip(0))


def odd() -> Iterator[Call]:
    yield from unknown_classes(make)
    yield from largest_labels(make)
    ways = [LAYOUTS[name] for name in ("contiguous", "transposed", "strided", "channels_last")]
    for seed, (classes, shape, total, each) in enumerate(
        itertools.product((2, 3, 5, 17, 40), ((67,), (3, 65)), (False, True), (False, True))
    ):
        for top_k in {1, 2, 3, classes - 1, classes}:
            options = {"classes": classes, "shape": shape, "total": total, "each": each}
            options |= {"dtype": SCORE_DTYPES[seed % 4], "special": 0.1, "bad": 0.0}
            call = make(seed, top_k=top_k, **options)
            yield call.changed(["preds"], ways[(seed + top_k) % 4])
    for width, dtype in itertools.product((3, 8, 16, 19, 65), SCORE_DTYPES):
        preds = telling_scores(width, dtype)
        for top_k in (1, 2, 3, width):
            options = {"classes": width, "shape": (len(preds),), "dtype": dtype, "top_k": top_k}
            yield make(width, bad=0.0, total=False, each=False, **options).but(preds=preds)


def good() -> Call:
    call = make(0, classes=4, shape=(6,), dtype=torch.float32, target_dtype=torch.int64,
                weight=None, ignore_index=None, total=False, each=False, top_k=1, bad=0.0,
                float_state=False, start=0, validate=True)  # fmt: skip
    return call.but(preds=torch.zeros(6, 4), target=ints(6))


STAT_SCORES = Tested(
    "stat_scores_",
    make,
    oracle,
    variants=(
        *({"total": total, "each": each} for total in (False, True) for each in (False, True)),
        {"top_k": 2, "total": False, "each": False},
        {"top_k": 3, "total": True, "each": True},
    ),
    empty=((0,), (0, 3), (3, 0), (3, 2, 0), (0, 0)),
    dtypes=DTYPES,
    labels=("target", "preds"),
    starts=(2**24, 2**31, 2**32, 2**53, 2**62),
    repeats=True,
    odd=odd,
    good=good,
    refusals=lambda: refusals.of_classes(refusals.zeros(4, 4)) | table(
        (
            {"preds": ints(6), "top_k": 2},
            "`top_k`=2 needs scores of shape (N, C, ...), got labels.",
        ),
        (
            {"preds": torch.zeros(6, 0), "num_classes": 0, "state": ints(1, 4)},
            "`preds` must have at least one class, got (6, 0).",
        ),
    ),
    guards=(
        {"preds": torch.zeros(5, 4)},
        {"target": ints(7)},
        {"state": ints(3, 4)},
        {"state": ints(5, 4, 4)},
        {"state": ints(4, 3)},
        {"state": torch.zeros(4, 4)},
        {"state": ints(4, 8)[:, ::2]},
        {"events": ints(2)},
        {"events": torch.zeros(4)},
    ),
)  # fmt: skip
