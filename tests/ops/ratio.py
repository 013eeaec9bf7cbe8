"""Ratios of counts and their averages: calls, and an oracle that goes class by class."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops import ratio
from tests.ops.inputs import NAN, Draw
from tests.ops.laws import Answer, Call, tested_whole
from tests.ops.refusals import ints, table, zeros

# Numerator and denominator: accuracy, precision, F2, and one of all counts with odd factors.
TERMS = (
    [1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0],
    [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0],
    [5.0, 0.0, 0.0, 0.0, 5.0, 1.0, 0.0, 4.0],
    [0.5, 2.0, 3.0, -1.0, 2.0, 0.25, 1.0, 1.0],
)


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    classes, tables = draw("classes", 0, 1, 2, 3, 40, 200), draw("tables", False, True)
    sets = draw("sets", (), (), (1,), (7,), (0,), (2, 3), (5000,))
    form = (*sets, draw("H", 1, 2), classes, 2, 2) if tables else (*sets, classes, 4)
    if math.prod(form) > 40_000:
        form = (9, *form[1:])
    counts = torch.from_numpy(draw.rng.integers(0, draw("most", 2, 50, 10**9), form))
    if draw("weighted", False, True):
        counts = counts.double() / 4
    mean = draw("mean", *ratio.MEANS)
    shape = form[:-4] if tables else form[:-2]
    value = torch.full(
        (*shape, classes) if mean == ratio.APART else shape,
        -7.0,
        dtype=draw("dtype", torch.float32, torch.float64),
    )
    events = torch.tensor([0, 0, draw("outside", 0, 3), 0]) if tables else None
    call = {
        "value": value,
        "counts": counts,
        "events": events,
        "terms": draw("terms", *TERMS),
        "mean": mean,
        "undefined": draw("undefined", 0.0, 1.0, NAN),
        "nothing": draw("nothing", 0.0, NAN),
    }
    draw.done()
    return Call("ratio_", call)


def classes_of(call: Call) -> Tensor:
    """tp, fp, tn and fn of each class, ``[sets, C, 4]``."""
    counts = call["counts"]
    if call["events"] is not None:
        counts = counts[..., -1 if call["events"][2] else 0, :, :, :]
        (tn, fp), (fn, tp) = ([counts[..., i, k] for k in (0, 1)] for i in (0, 1))
        counts = torch.stack([tp, fp, tn, fn], -1)
    return counts.reshape(math.prod(counts.shape[:-2]), *counts.shape[-2:])


def oracle(call: Call) -> Answer:
    terms, undefined, mean = call["terms"], call["undefined"], call["mean"]

    def quotient(counts: list[float]) -> float:
        above, below = (
            math.fsum(t * x for t, x in zip(part, counts, strict=True))
            for part in (terms[:4], terms[4:])
        )
        return above / below if below else undefined

    def weight(counts: list[float]) -> float:
        tp, fp, _, fn = counts
        if mean == ratio.BY_TARGETS:
            return tp + fn
        seen = {ratio.OF_SEEN: tp + fp + fn, ratio.OF_TARGETED: tp + fn}.get(mean, 1)
        return float(seen > 0)

    values: list[float] = []
    for classes in classes_of(call).tolist():
        if mean == ratio.APART:
            values += map(quotient, classes)
            continue
        if mean == ratio.TOGETHER:
            values.append(quotient([*map(math.fsum, zip([0.0] * 4, *classes, strict=True))]))
            continue
        used = [(weight(c), quotient(c)) for c in classes]
        used = [(w, q) for w, q in used if w and q == q]
        total = math.fsum(w for w, _ in used)
        values.append(math.fsum(w * q for w, q in used) / total if used else call["nothing"])
    after = torch.tensor(values, dtype=torch.float64)
    return Answer({"value": after.to(call["value"].dtype).view_as(call["value"])})


RATIO = tested_whole(
    "ratio_",
    make,
    oracle,
    compare=lambda call, found, expected: torch.testing.assert_close(
        found,
        expected,
        rtol=1e-12 if found["value"].dtype == torch.float64 else 1e-7,
        atol=1e-12,
        equal_nan=True,
    ),
    odd=lambda: (make(seed) for seed in range(250)),
    good=lambda: make(0, classes=3, tables=False, sets=(), mean=ratio.OF_ALL),
    refusals=lambda: table(
        ({"counts": ints(3, 3)}, r"`counts` must be \[..., C, 4\], got \(3, 3\)"),
        ({"counts": ints(4)}, r"`counts` must be \[..., C, 4\], got \(4,\)"),
        ({"counts": ints(3, 4).int()}, "int64 or float64, got torch.int32"),
        ({"counts": ints(4, 3).t()}, r"contiguous int64 or float64, got torch.int64 with strides"),
        ({"events": ints(4)}, r"`counts` must be \[..., H, C, 2, 2\] with H of 1 or 2"),
        ({"counts": ints(3, 3, 2, 2), "events": ints(4)}, "with H of 1 or 2"),
        ({"counts": ints(1, 3, 2, 2), "events": ints(3)}, r"`events` must be int64 \[4\]"),
        ({"counts": ints(1, 3, 2, 2), "events": zeros(4)}, r"`events` must be int64 \[4\]"),
        ({"terms": [1.0] * 7}, "eight `terms`"),
        ({"mean": 6}, r"`mean` one of \[0, 1, 2, 3, 4, 5\], got 8 terms and 6"),
        ({"value": torch.zeros(3)}, r"`value` must be contiguous .* with shape \(\)"),
        ({"value": ints()}, "`value` must be contiguous float32 or float64"),
    ),
)
