"""`keep_scores_`: calls and oracle."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastmetrics.ops.keep_scores import label_dtype
from tests.ops import oracles
from tests.ops.inputs import Draw, spoil
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import ints, table, zeros
from tests.ops.score_histogram import DTYPES, MULTICLASS, TASKS, scores_refused, task_batch

FILLER = 7  # what the buffers hold before


def make(seed: int, **options: Any) -> Call:
    """`room` rows are left after the batch."""
    draw = Draw(seed, options)
    task, columns, taken = task_batch(draw)
    multiclass = task == "multiclass"
    ignore_index = spoil(draw, taken["target"], columns if multiclass else 2)
    rows = taken["target"].numel() // (1 if multiclass else columns)
    start, room = draw("first", 0, 1, 3, 64), draw("room", 0, 2)
    size = start + rows + room
    keeps_weights = draw("keeps_weights", False, True) or taken["weight"] is not None
    labels = (size,) if multiclass else (size, columns)
    rest = {
        "labels": torch.full(labels, FILLER, dtype=label_dtype(columns, multiclass)),
        "weights": torch.full((size,), FILLER, dtype=torch.float64) if keeps_weights else None,
        "start": start,
        "multiclass": multiclass,
        "ignore_index": ignore_index,
        "validate": draw("validate", True, True, False),
    }
    draw.done()
    state = torch.full((size, columns), FILLER, dtype=taken["preds"].dtype)
    return Call("keep_scores_", {"state": state, **taken, **rest})


def code_of(mark: int, limit: int, ignore_index: int | None) -> int | None:
    """The label that is kept; None where it is out of range."""
    if mark == ignore_index:
        return -1
    return mark if 0 <= mark < limit else None


def oracle(call: Call) -> Answer:
    """The buffers and events after the call, written position by position, and the bad labels."""
    after = call.fresh()
    state, events, labels, weights = (after[n] for n in ("state", "events", "labels", "weights"))
    preds, target, multiclass, start = (
        call[n] for n in ("preds", "target", "multiclass", "start")
    )  # fmt: skip
    columns = state.shape[1]
    limit = columns if multiclass else 2
    left_out = 255 if labels.dtype == torch.uint8 else -1
    has_axis = not multiclass and preds.ndim > 1 and columns > 1
    scores, marks = preds.double().flatten().tolist(), target.flatten().tolist()
    preds_places = np.arange(len(scores)).reshape(preds.shape)
    target_places = np.arange(len(marks)).reshape(target.shape)
    positions = target.shape[:1] + target.shape[2:] if has_axis else target.shape
    bad, sources, codes, samples = [], [], [], []
    for where in np.ndindex(*positions):
        outside = nan = 0
        for column in range(columns):
            at = (where[0], column, *where[1:])
            source = preds_places[at if multiclass or has_axis else where]
            place = target_places[at if has_axis else where]
            code = code_of(int(marks[place]), limit, call["ignore_index"])
            if code is None:
                bad.append((int(place), int(marks[place])))
            elif code >= 0:
                nan += math.isnan(scores[source])
                outside += scores[source] < 0 or scores[source] > 1
            sources.append(source)
            if column == 0 or not multiclass:
                codes.append(left_out if code is None or code < 0 else code)
        events[1] += min(nan, 1) if multiclass else nan
        events[2] += int(outside)
        samples.append(where[0])
    end = start + len(samples)
    state[start:end] = preds.flatten()[sources].view(-1, columns)
    kept = torch.tensor(codes, dtype=labels.dtype).view_as(labels[start:end])
    labels[start:end] = kept
    if weights is not None:
        given = torch.tensor(oracles.amounts(call["weight"], len(target)), dtype=torch.float64)
        weights[start:end] = given[samples]
        events[3] += oracles.bad_weights(call)
    found = sorted(set(bad))
    tally = oracles.Tally(np.zeros(0), bad=[("target", mark, place) for place, mark in found])
    written = {"state": state, "events": events, "labels": labels, "weights": weights}
    return Answer(written, tally.refusal(call, limit), len(found))


def untouched(call: Call, after: dict[str, Any]) -> None:
    """Rows before the batch; those from `start` on are nobody's yet."""
    assert torch.equal(after["events"], call["events"])
    for name in ("state", "labels"):
        assert (after[name][: call["start"]] == FILLER).all(), name


def odd() -> Iterator[Call]:
    for classes, task in itertools.product((1, 2, 16, 33), TASKS[1:]):
        for shape in ((9,), (3, 2, 3)):
            yield make(classes, task=task, classes=classes, shape=shape, special=0.02, bad=0.0)
    for classes in (254, 255, 256, 257, 2100):  # labels take a byte while they fit
        call = make(0, task="multiclass", classes=classes, shape=(5,), target_dtype=torch.int64)
        ends = torch.tensor([0, classes - 1, -1, min(254, classes - 1), classes - 2])
        yield call.but(target=ends, ignore_index=-1)


def small(values: Tensor) -> Iterator[Call]:
    """All numbers are kept bit by bit, and told apart."""
    for task, columns in (("binary", 1), ("multilabel", 8)):
        preds = values if task == "binary" else values.view(-1, columns)
        how = {"task": task, "classes": columns, "shape": (len(preds),), "dtype": values.dtype}
        yield make(1, bad=0.0, ignore_index=None, **how).but(preds=preds)


def good() -> Call:
    call = make(0, task="binary", shape=(3,), first=6, room=0, dtype=torch.float32, bad=0.0,
                weight=None, keeps_weights=False, ignore_index=None, validate=True)  # fmt: skip
    return call.but(
        state=torch.zeros(9, 1), labels=torch.zeros(9, 1, dtype=torch.uint8),
        preds=torch.ones(3), target=ints(3),
    )  # fmt: skip


KEEP_SCORES = Tested(
    "keep_scores_",
    make,
    oracle,
    variants=tuple({"task": task} for task in TASKS),
    dtypes=DTYPES,
    labels=("target",),
    adds_up=False,  # `start` moves on
    ordered=True,
    untouched=untouched,
    odd=odd,
    small_floats=small,
    good=good,
    refusals=lambda: (
        {name: refusal for name, refusal in scores_refused().items() if "weight" not in name}
        | table(
            (
                {"preds": torch.zeros(3).double()},
                "the dtype of the scores kept before, torch.float32",
            ),
            ({"state": torch.zeros(9)}, r"must be contiguous \[R, C\], got \(9,\)"),
            ({"state": torch.zeros(9, 0)}, r"must be contiguous \[R, C\], got \(9, 0\)"),
            ({"state": torch.zeros(9, 2)[:, :1]}, r"must be contiguous \[R, C\]"),
            (
                {"state": torch.zeros(9, 2), "labels": torch.zeros(9, 2).byte()},
                r"\(N, L, ...\) with L=2",
            ),
            MULTICLASS,
            ({"multiclass": True, "preds": torch.zeros(3, 4)}, "with C=1"),
            (
                {"labels": torch.zeros(8, 1).byte()},
                r"`labels` must be contiguous, of shape \(9, 1\)",
            ),
            ({"labels": torch.zeros(9).byte()}, r"`labels` must be contiguous, of shape \(9, 1\)"),
            ({"labels": torch.zeros(9, 1).int()}, "`labels` must have dtype torch.uint8"),
            ({"weight": torch.ones(3)}, "`weight` needs the buffer `weights`"),
            ({"weights": torch.ones(9)}, "`weights` must be float64"),
            ({"weights": torch.ones(8).double()}, r"`weights` must be contiguous, of shape \(9,\)"),
            ({"weights": torch.ones(18).double()[::2]}, r"`weights` must be contiguous"),
            ({"weight": torch.ones(2), "weights": zeros(9)}, "one entry per sample"),
            ({"start": 7}, "3 rows from `start`=7 on do not fit 9 kept rows"),
            ({"start": -1}, "3 rows from `start`=-1 on do not fit 9 kept rows"),
            ({"start": 2**63 - 2}, "do not fit 9 kept rows"),
        )
    ),
)
