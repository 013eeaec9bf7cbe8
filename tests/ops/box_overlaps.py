"""`box_overlaps_`: calls, and an oracle in Python numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from fastmetrics.ops.box_overlaps import CIOU, DIOU, EPS, GIOU, IOU, KINDS
from tests.ops.inputs import ALL_DTYPES, LAYOUTS, Draw
from tests.ops.laws import Answer, Call, tested_whole
from tests.ops.refusals import META, ints, plain, zeros

REAL = tuple(dtype for dtype in ALL_DTYPES if dtype is not torch.bool)


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    kind, named = draw("kind", *KINDS), draw("named", False, True)
    count, others = draw("count", 7, 1, 0, 40), draw("others", 5, 1, 0, 33)
    dtypes = draw("dtype", *REAL), draw("other_dtype", *REAL)
    layout = draw("layout", *LAYOUTS)
    draw.done()
    rng = np.random.default_rng(seed)
    boxes = []
    for size, dtype in zip((count, others), dtypes, strict=True):
        corner = rng.integers(0, 40, (size, 2)) + rng.choice([0, 0.5], (size, 2))
        sides = rng.integers(0, 20, (size, 2)) + rng.choice([0, 0.25], (size, 2))
        both = np.concatenate([corner, corner + sides], 1)
        boxes.append(torch.from_numpy(both).to(dtype))
    pairs = count * others
    rows = columns = None
    if named:
        pairs = 50 if pairs else 0
        rows, columns = (
            torch.from_numpy(rng.integers(0, max(size, 1), pairs)) for size in (count, others)
        )
    return Call(
        "box_overlaps_",
        {
            "state": torch.full((pairs,), 9.0, dtype=torch.float64),
            "boxes": LAYOUTS[layout](boxes[0]),
            "others": boxes[1],
            "rows": rows,
            "columns": columns,
            "kind": kind,
        },
    )


def divided(x: float, y: float) -> float:
    if y == 0:
        return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x)
    return x / y


def value_of(a: list[float], b: list[float], kind: int) -> float:
    def length(i: int, inner: bool) -> float:
        low, high = (max, min) if inner else (min, max)
        return max(high(a[i + 2], b[i + 2]) - low(a[i], b[i]), 0.0)

    def area(box: list[float]) -> float:
        return (box[2] - box[0]) * (box[3] - box[1])

    both = length(0, True) * length(1, True)
    union = area(a) + area(b) - both
    iou = divided(both, union)
    if kind == IOU:
        return iou
    width, height = length(0, False), length(1, False)
    if kind == GIOU:
        return iou - divided(width * height - union, width * height)
    centers = [[(box[i] + box[i + 2]) / 2 for i in (0, 1)] for box in (a, b)]
    apart = sum((x - y) ** 2 for x, y in zip(*centers, strict=True))
    value = iou - apart / (width**2 + height**2 + EPS)
    if kind == DIOU:
        return value
    angles = [math.atan(divided(box[2] - box[0], box[3] - box[1])) for box in (a, b)]
    aspect = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    return value - aspect**2 / (1 - iou + aspect + EPS)


def oracle(call: Call) -> Answer:
    boxes, others = (call[name].double().tolist() for name in ("boxes", "others"))
    if call["rows"] is None:
        pairs = [(a, b) for a in boxes for b in others]
    else:
        places = zip(call["rows"].tolist(), call["columns"].tolist(), strict=True)
        pairs = [(boxes[i], others[j]) for i, j in places]
    values = [value_of(a, b, call["kind"]) for a, b in pairs]
    return Answer({"state": torch.tensor(values, dtype=torch.float64)})


def good() -> Call:
    options = {"kind": CIOU, "named": False, "count": 7, "others": 5, "layout": "contiguous"}
    return make(0, dtype=torch.float32, other_dtype=torch.float32, **options)


BOX_OVERLAPS = tested_whole(
    "box_overlaps_",
    make,
    oracle,
    variants=tuple({"kind": kind} for kind in KINDS),
    rtol=1e-13,
    atol=1e-14,
    odd=lambda: (make(seed, kind=KINDS[seed % 4]) for seed in range(24)),
    good=good,
    refusals=lambda: plain(
        ({"boxes": torch.ones(7)}, "`boxes` must have shape (N, 4), got (7,)"),
        ({"others": torch.ones(5, 3)}, "`others` must have shape (N, 4), got (5, 3)"),
        ({"boxes": torch.ones(7, 4) * 1j}, "`boxes` must be a real tensor"),
        ({"kind": 4}, "`kind` must be one of"),
        ({"rows": ints(35)}, "`rows` and `columns` must both be given"),
        ({"rows": ints(35), "columns": ints(34)}, "`columns` must be contiguous int64 (35,)"),
        ({"state": zeros(34)}, "`state` must be contiguous float64 (35,)"),
        ({"others": torch.ones(5, 4).to(META)}, "all tensors must be on one device"),
    ),
    guards=({"rows": ints(35) + 7, "columns": ints(35)}, {"state": zeros(3)}, {"kind": 9}),
)
