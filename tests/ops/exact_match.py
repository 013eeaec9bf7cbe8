"""`exact_match_` and `label_exact_match_`: calls and oracles."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.ops import oracles, refusals
from tests.ops.confusion import label_draws, many_labels, near_thresholds
from tests.ops.inputs import draw_state
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import ints
from tests.ops.stat_scores import DTYPES, class_draws, largest_labels, unknown_classes


def make(seed: int, **options: Any) -> Call:
    draw, classes, taken = class_draws(seed, options)
    each = (len(taken["target"]),) if draw("each", False, True) else ()
    state = draw_state(draw, (*each, 2), taken["weight"])
    draw("total", True)  # one of the ways of `stat_scores_`
    draw.done()
    head = {name: taken.pop(name) for name in ("events", "preds", "target", "weight")}
    return Call("exact_match_", {"state": state, **head, "num_classes": classes, **taken})


def oracle(call: Call) -> Answer:
    each = call["state"].ndim == 2
    tally = oracles.Tally(np.zeros(tuple(call["state"].shape)))
    amount = oracles.amounts(call["weight"], call["target"].shape[0])
    found: dict[int, set[str]] = {}
    for sample, kind, pred, label in oracles.classes(call, call["num_classes"], 1, tally):
        wrong = kind == "ok" and pred != label
        found.setdefault(sample, set()).add("wrong" if wrong else kind)
    for sample, kinds in found.items():
        if "bad" in kinds:
            continue
        row = tally.delta[sample] if each else tally.delta
        row[0] += 0 if "wrong" in kinds else amount[sample]
        row[1] += amount[sample]
    return tally.answer(call, oracles.class_limit(call, call["num_classes"]))


def good() -> Call:
    call = make(0, classes=4, shape=(6,), dtype=torch.float32, bad=0.0, weight=None, start=0,
                ignore_index=None, float_state=False, each=False, validate=True)  # fmt: skip
    return call.but(preds=torch.zeros(6, 4), target=ints(6))


EXACT_MATCH = Tested(
    "exact_match_",
    make,
    oracle,
    variants=({"each": False}, {"each": True}),
    empty=((0,), (0, 3), (3, 0), (3, 2, 0), (0, 0)),
    dtypes=DTYPES,
    labels=("target", "preds"),
    starts=(2**24, 2**31, 2**32, 2**53, 2**62),
    repeats=True,
    odd=lambda: (*unknown_classes(make), *largest_labels(make)),
    good=good,
    refusals=lambda: refusals.of_classes(refusals.zeros(2)),
    guards=(
        {"state": ints(3)},
        {"state": ints(5, 2)},
    ),
)


def make_labels(seed: int, **options: Any) -> Call:
    draw, labels, readings, taken = label_draws(seed, options | {"plain": False})
    draw("groups", None)  # one of the ways of `label_confusion_`
    each = (len(taken["target"]),) if draw("each", False, True) else ()
    state = draw_state(draw, (*each, readings, 2), taken["weight"])
    draw.done()
    head = {name: taken.pop(name) for name in ("events", "preds", "target", "weight")}
    return Call("label_exact_match_", {"state": state, **head, "num_labels": labels, **taken})


def label_oracle(call: Call) -> Answer:
    shape = tuple(call["state"].shape)
    tally = oracles.Tally(np.zeros(shape))
    amount = oracles.amounts(call["weight"], call["target"].shape[0])
    rules = oracles.readings(call["preds"], call["threshold"], shape[-2], call["logits"])
    items: dict[tuple[int, tuple[int, ...]], list[tuple[str, float, int]]] = {}
    for sample, where, kind, score, mark in oracles.labels(call, tally):
        items.setdefault((sample, where[1:]), []).append((kind, score, mark))
    for (sample, _), elements in items.items():
        if any(kind == "bad" for kind, _, _ in elements):
            continue
        delta = tally.delta[sample] if len(shape) == 3 else tally.delta
        for reading, rule in enumerate(rules):
            correct = all(
                kind == "ignored" or rule(score) == mark for kind, score, mark in elements
            )
            delta[reading, 0] += amount[sample] if correct else 0
            delta[reading, 1] += amount[sample]
    tally.outside = tally.outside if shape[-2] == 2 else 0
    return tally.answer(call, 2)


def label_good() -> Call:
    call = make_labels(0, labels=3, shape=(6,), dtype=torch.float32, bad=0.0, weight=None, start=0,
                       ignore_index=None, float_state=False, each=False, readings=(2, False),
                       validate=True, threshold=0.5)  # fmt: skip
    return call.but(preds=torch.zeros(6, 3), target=ints(6, 3))


LABEL_EXACT_MATCH = Tested(
    "label_exact_match_",
    make_labels,
    label_oracle,
    variants=({"labels": 2, "each": False}, {"labels": 3, "each": True}),
    dtypes=DTYPES,
    labels=("target", "preds"),
    starts=(2**24, 2**31, 2**32, 2**53, 2**62),
    repeats=True,
    odd=lambda: (*near_thresholds(make_labels), *many_labels(make_labels)),
    good=label_good,
    refusals=lambda: refusals.of_labels(refusals.zeros(2, 2)),
    guards=(
        {"num_labels": 4},
        {"num_labels": 0},
        {"state": ints(3, 2)},
        {"state": ints(5, 2, 2)},
    ),
)
