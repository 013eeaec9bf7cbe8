"""`confusion_` and `label_confusion_`: calls and oracles."""

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
    NAN,
    SCORE_DTYPES,
    Draw,
    cropped,
    draw_state,
    draw_weight,
    label_batch,
    neighbours,
    random_labels,
    some_events,
    spoil,
)
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import META, ints, table
from tests.ops.stat_scores import DTYPES, class_draws, largest_labels, telling_scores


def make(seed: int, **options: Any) -> Call:
    draw, classes, taken = class_draws(seed, options)
    state = draw_state(draw, (classes, classes), taken["weight"])
    draw.done()
    return Call("confusion_", {"state": state, **taken})


def oracle(call: Call) -> Answer:
    classes = call["state"].shape[0]
    tally = oracles.Tally(np.zeros((classes, classes)))
    amount = oracles.amounts(call["weight"], call["target"].shape[0])
    for sample, kind, pred, label in oracles.classes(call, classes, 1, tally):
        if kind == "ok":
            tally.delta[label, pred] += amount[sample]
    return tally.answer(call, oracles.class_limit(call, classes))


def odd() -> Iterator[Call]:
    """Widths around the vectors, decided many rows at a time; rows of equal scores."""
    yield from largest_labels(make)
    for width, dtype in itertools.product((*range(1, 21), 33, 100, 1000), SCORE_DTYPES):
        for size, special in ((1, 0.0), (31, 0.02), (70, 0.05)) if width < 100 else ((9, 0.02),):
            for shape in ((size,), (2, size)):
                options = {"classes": width, "shape": shape, "dtype": dtype, "bad": 0.0}
                call = make(width + size, **options, special=special)
                yield call.changed(["preds"], cropped) if size == 70 else call
        if width in (3, 8, 16, 19, 33):
            preds = telling_scores(width, dtype)
            yield make(width, **options | {"shape": (len(preds),)}).but(preds=preds)


def good() -> Call:
    call = make(0, classes=4, shape=(6,), dtype=torch.float32, bad=0.0, weight=None, start=0,
                ignore_index=None, float_state=False, validate=True)  # fmt: skip
    return call.but(preds=torch.zeros(6, 4), target=ints(6))


CONFUSION = Tested(
    "confusion_",
    make,
    oracle,
    empty=((0,), (0, 3), (3, 0), (3, 2, 0), (0, 0)),
    dtypes=DTYPES,
    labels=("target", "preds"),
    starts=(2**24, 2**31, 2**32, 2**53, 2**62),
    repeats=True,
    odd=odd,
    good=good,
    refusals=lambda: refusals.of_classes(refusals.zeros(4, 4)),
    guards=(
        {"state": ints(4, 3)},
        {"state": ints(4, 4, 4)},
    ),
)

# Labels

THRESHOLDS = (0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0)
READINGS = ((2, False), (1, False), (1, True))
LABEL_SHAPES = ((1,), (5,), (33,), (70,), (5, 33), (70, 2), (4, 2, 3))


def label_draws(seed: int, options: dict[str, Any]) -> tuple[Draw, int, tuple[int, bool], dict]:
    """The draw, the number of labels, readings and logits, and what all ops of labels take."""
    draw = Draw(seed, options)
    labels, shape = draw("labels", 1, 2, 3, 17), draw("shape", *LABEL_SHAPES)
    preds, target = label_batch(draw, (shape[0], labels, *shape[1:]))
    if draw("plain", False, False, True) and labels == 1:  # without an axis for the labels
        preds, target = preds.squeeze(1), target.squeeze(1)
    ignore_index = spoil(draw, target, 2)
    taken = {
        "events": some_events(),
        "preds": preds,
        "target": target,
        "weight": draw_weight(draw, shape[0]),
        "threshold": draw("threshold", *THRESHOLDS),
        "logits": False,
        "ignore_index": ignore_index,
        "validate": draw("validate", True, True, False),
    }
    readings, taken["logits"] = draw("readings", *READINGS)
    return draw, labels, readings, taken


def make_labels(seed: int, **options: Any) -> Call:
    draw, labels, readings, taken = label_draws(seed, options)
    groups, samples = draw("groups", None, None, 1, 2, 5), len(taken["target"])
    each = (samples,) if draw("each", False, True) else ()
    tables, among = labels, None
    if groups is not None:
        tables = groups
        dtype = draw.pick([dtype for dtype in LABEL_DTYPES if dtype != torch.bool])
        wrong = groups if draw.rng.random() < 0.3 and draw("bad", 0.0, 0.02) else 0
        among = random_labels((samples,), tables + bool(wrong), dtype, draw.rng)
    state = draw_state(draw, (*each, readings, tables, 2, 2), taken["weight"])
    draw.done()
    head = {name: taken.pop(name) for name in ("events", "preds", "target", "weight")}
    return Call("label_confusion_", {"state": state, **head, "groups": among, **taken})


def label_oracle(call: Call) -> Answer:
    shape, target = tuple(call["state"].shape), call["target"]
    each, tables = len(shape) == 5, shape[-3]
    tally = oracles.Tally(np.zeros(shape), groups=tables, invalid=0)
    amount = oracles.amounts(call["weight"], target.shape[0])
    rules = oracles.readings(call["preds"], call["threshold"], shape[-4], call["logits"])
    group = None if call["groups"] is None else call["groups"].to(torch.int64).tolist()
    for sample, where, kind, score, mark in oracles.labels(call, tally):
        table = where[0] if tables > 1 and group is None else 0
        if group is not None:
            table = group[sample]
        if kind == "ignored":
            continue
        if kind == "bad" or not 0 <= table < tables:
            tally.invalid += 1
            continue
        delta = tally.delta[sample] if each else tally.delta
        for reading, rule in enumerate(rules):
            delta[reading, table, mark, int(rule(score))] += amount[sample]
    if group is not None and target.numel():
        bad = [("groups", g, i) for i, g in enumerate(group) if not 0 <= g < tables]
        tally.bad = bad + tally.bad
    tally.outside = tally.outside if shape[-4] == 2 else 0
    return tally.answer(call, 2)


def near_thresholds(make: Any) -> Iterator[Call]:
    """Scores on, next to and between the thresholds, under each reading and both."""
    grid = torch.tensor([*THRESHOLDS, 0.299, 0.301, 1 / 3], dtype=torch.float64)
    odd = torch.tensor([-0.0, INF, -INF, NAN, 1e-7, -1e-7], dtype=torch.float64)
    for threshold, dtype in itertools.product((*THRESHOLDS, 1 / 3), SCORE_DTYPES):
        logits = neighbours(torch.logit(grid).to(dtype))
        scores = torch.cat([neighbours(grid.to(dtype)), logits, odd.to(dtype)])
        for readings in READINGS:
            yield make(
                7, threshold=threshold, readings=readings, dtype=dtype, shape=(len(scores) // 2,),
                labels=2, groups=None, bad=0.0,
            ).but(preds=scores.view(-1, 2))  # fmt: skip


def many_labels(make: Any) -> Iterator[Call]:
    """Numbers of labels around the vectors; some items match on all of them."""
    for labels in (1, 2, 3, 10, 15, 16, 17, 33, 100, 1000):
        for shape, each in itertools.product(((9,), (3, 33)), (False, True)):
            if labels < 1000 or shape == (9,):
                options = {"labels": labels, "shape": shape, "groups": None, "plain": False}
                options |= {"dtype": SCORE_DTYPES[labels % 4], "special": 0.02, "bad": 0.0}
                call = make(labels, each=each, **options)
                match = torch.where(call["target"][::2] == 1, 2.0, -2.0)
                call["preds"][::2] = match.to(call["preds"].dtype)
                yield call


def label_odd() -> Iterator[Call]:
    yield from near_thresholds(make_labels)
    yield from many_labels(make_labels)
    options = {"shape": (50,), "labels": 1, "each": False, "bad": 0.0}
    call = make_labels(29, groups=3, **options)
    yield call.but(groups=torch.tensor([2]).expand(50))
    yield make_labels(29, groups=2, **options).but(groups=torch.arange(50) % 2 == 0)
    # Groups that are wrong are named before labels that are.
    call = make_labels(29, groups=3, target_dtype=torch.int64, **options)
    for value, validate in itertools.product((-1, 3, 2**32, 2**32 + 1, -(2**63)), (True, False)):
        groups, target = torch.arange(50) % 3, call["target"].clone()
        groups[20] = value
        yield call.but(groups=groups, validate=validate)
        target[3] = 9
        yield call.but(groups=groups, target=target, validate=validate)


def label_floats(values: torch.Tensor) -> Iterator[Call]:
    for threshold in (0.0, 0.3, 0.5, 0.9, 1.0):
        yield make_labels(
            3, dtype=values.dtype, labels=1, plain=True, groups=None, shape=values.shape,
            threshold=threshold, bad=0.0, each=False, weight=None, readings=(2, False),
        ).but(preds=values)  # fmt: skip


def label_good() -> Call:
    call = make_labels(0, labels=3, shape=(6,), dtype=torch.float32, bad=0.0, weight=None, start=0,
                       ignore_index=None, float_state=False, groups=None, each=False, plain=False,
                       readings=(2, False), validate=True, threshold=0.5)  # fmt: skip
    return call.but(preds=torch.zeros(6, 3), target=ints(6, 3))


PER_SAMPLE = "`groups` must have one entry per sample, shape (6,), got"

LABEL_CONFUSION = Tested(
    "label_confusion_",
    make_labels,
    label_oracle,
    variants=(
        {"labels": 1, "plain": True, "groups": None, "each": False},
        {"labels": 1, "plain": True, "groups": None, "each": True},
        {"labels": 3, "groups": None, "each": False},
        {"labels": 3, "groups": None, "each": True},
        {"labels": 2, "groups": 5, "each": False},
        {"labels": 1, "plain": True, "groups": 5, "each": False},
        {"labels": 1, "plain": True, "groups": 5, "each": True},
    ),
    empty=((0,), (0, 2), (3, 0)),
    dtypes=DTYPES,
    batch=("preds", "target", "weight", "groups"),
    labels=("target", "preds"),
    starts=(2**24, 2**31, 2**32, 2**53, 2**62),
    repeats=True,
    odd=label_odd,
    small_floats=label_floats,
    good=label_good,
    refusals=lambda: refusals.of_labels(refusals.zeros(2, 3, 2, 2)) | table(
        ({"groups": ints(5)}, f"{PER_SAMPLE} (5,)."),
        ({"groups": ints(6, 3)}, f"{PER_SAMPLE} (6, 3)."),
        (
            {"groups": torch.zeros(6)},
            "`groups` must be an integer or bool tensor, got dtype torch.float32.",
        ),
        (
            {"groups": ints(6).to(META)},
            "`groups` must be on the device of `preds`, cpu, got meta.",
        ),
    ),
    guards=(
        {"target": ints(5, 3)},
        {"state": ints(2, 4, 2, 2)},
        {"state": ints(3, 3, 2, 2)},
        {"state": ints(5, 2, 3, 2, 2)},
    ),
)  # fmt: skip
