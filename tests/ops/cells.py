"""`merge_cells_`: calls, and an oracle that goes down the tree image by image."""

from __future__ import annotations

import itertools
import math
import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.ops.inputs import Draw
from tests.ops.laws import Answer, Call, tested_whole
from tests.ops.refusals import META, ints, plain, zeros

SPREADS = {
    "dense": lambda rng, n: rng.integers(0, 50, n),
    "wide": lambda rng, n: rng.integers(-(2**63), 2**63 - 1, n),
    "low": lambda rng, n: -(2**63) + rng.integers(0, 5, n),
    "peaked": lambda rng, n: 2**40 + (rng.standard_cauchy(n) * 1000).astype(np.int64),
}


def draw_cells(draw: Draw, rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    images = SPREADS[draw("spread", *SPREADS)](rng, size)
    others = images if draw("known", True, False) else SPREADS["dense"](rng, size) + images
    cells = np.stack([np.minimum(images, others), np.maximum(images, others)], 1)
    if draw("sorted", True, False):
        cells = cells[np.argsort(cells[:, 0])]
    return torch.from_numpy(cells), torch.from_numpy(rng.integers(0, 3, (size, 2)).astype(float))


def make(seed: int, **options: Any) -> Call:
    draw, rng = Draw(seed, options), np.random.default_rng(seed)
    room = draw("room", 1, 2, 5, 64, 300)
    held = draw_cells(draw, rng, room)
    more = draw_cells(draw, rng, draw("size", 0, 1, 40, 700))
    draw.done()
    names = ("cells", "counts", "more", "more_counts")
    return Call("merge_cells_", dict(zip(names, (*held, *more), strict=True)))


def make_points(seed: int, **options: Any) -> Call:
    draw, rng = Draw(seed, options), np.random.default_rng(seed)
    room, size = draw("room", 1, 2, 5, 64, 300), draw("size", 0, 1, 40, 700)
    held = draw_cells(draw, rng, room)
    special = [math.inf, -math.inf, math.nan, 0.0] if draw("special", True, False) else []
    scores = np.concatenate([rng.normal(98, 1, size), special])
    thresholds = torch.from_numpy(np.unique(scores)).sort(descending=True).values
    if thresholds.isnan().any():
        thresholds = torch.cat([thresholds[1:], thresholds[:1]])
    more = torch.tensor([[0, 1], [1, 0], [2, 1]])[rng.integers(0, 3, len(thresholds))]
    points = (*more.cumsum(0).double().T, thresholds)
    if draw("repeats", False, True):  # the last point, as where shapes are fixed
        points = tuple(torch.cat([x, x[-1:], x[-1:]]) for x in points)
    draw.done()
    names = ("cells", "counts", "fps", "tps", "thresholds")
    values = (*held, *(x.contiguous() for x in points))
    return Call("merge_points_", dict(zip(names, values, strict=True)))


def image_of(score: float) -> int:
    """The signed image: zeros are equal, NaN is the lowest."""
    if math.isnan(score):
        return -(2**63)
    (bits,) = struct.unpack("<q", struct.pack("<d", abs(score)))
    return bits if score >= 0 else -bits - 1


def points_oracle(call: Call) -> Answer:
    images = [2 * [image_of(score)] for score in call["thresholds"].tolist()]
    reached = torch.stack([call["fps"], call["tps"]], 1)
    more = torch.tensor(images, dtype=torch.int64).view(-1, 2)
    held = {name: call[name] for name in ("cells", "counts")}
    counts = reached - torch.cat([reached.new_zeros(1, 2), reached[:-1]])
    return oracle(Call("merge_cells_", held | {"more": more, "more_counts": counts}))


def level_of(first: int, last: int) -> int:
    return 64 - (first ^ last).bit_length()


def merged(rows: list[list[int]], total: np.ndarray, k: float) -> list[list[int]]:
    """The cells for one k; images are unsigned."""

    def light(held: list[list[int]]) -> bool:
        sums = [sum(row[2] for row in held), sum(row[3] for row in held)]
        return all(not s or s * k <= t for s, t in zip(sums, total, strict=True))

    def joined(held: list[list[int]]) -> list[int]:
        firsts, lasts, lower, higher = zip(*held, strict=True)
        return [min(firsts), max(lasts), sum(lower), sum(higher)]

    found, nodes = [], [(0, rows)]
    while nodes:
        depth, held = nodes.pop()
        if not held:
            continue
        if light(held):
            found.append(joined(held))
            continue
        own = [row for row in held if level_of(row[0], row[1]) == depth]
        rest = [row for row in held if level_of(row[0], row[1]) > depth]
        found += [joined(own)] if own else []
        bit = 63 - depth
        nodes += [(depth + 1, [r for r in rest if r[0] >> bit & 1 == side]) for side in (1, 0)]
    return found


def oracle(call: Call) -> Answer:
    images = torch.cat([call["cells"], call["more"]]).tolist()
    counts = torch.cat([call["counts"], call["more_counts"]]).tolist()
    rows = [
        [first + 2**63, last + 2**63, int(lower), int(higher)]
        for (first, last), (lower, higher) in zip(images, counts, strict=True)
        if lower or higher
    ]
    total, room = np.array(counts).sum(0), len(call["cells"])
    for k in itertools.chain([math.inf], (0.75 * room / 2**i for i in itertools.count())):
        found = merged(rows, total, k)
        if len(found) <= room:
            break
    cells, numbers = torch.zeros(room, 2, dtype=torch.int64), torch.zeros(room, 2).double()
    for place, (first, last, lower, higher) in enumerate(found):
        cells[place] = torch.tensor([first - 2**63, last - 2**63])
        numbers[place] = torch.tensor([lower, higher]).double()
    return Answer({"cells": cells, "counts": numbers})


def good() -> Call:
    return make(1, room=5, size=40)


def refusals() -> Any:
    return plain(
        ({"cells": zeros(5, 2)}, "`cells` must be int64 (K, 2), got torch.float64 (5, 2)"),
        ({"more": ints(40)}, "`more` must be int64 (K, 2), got torch.int64 (40,)"),
        ({"counts": ints(5, 2)}, "the counts of `cells` must be float64 (5, 2)"),
        ({"more_counts": zeros(3, 2)}, "the counts of `more` must be float64 (40, 2)"),
        ({"more": ints(2, 40).mT}, "`more` and their counts must be contiguous"),
        ({"more": ints(40, 2).to(META)}, "all tensors must be on one device"),
        (
            {"cells": ints(0, 2), "counts": zeros(0, 2)},
            "`cells` must have room for one cell, got (0, 2)",
        ),
    )


MERGE_CELLS = tested_whole(
    "merge_cells_",
    make,
    oracle,
    odd=lambda: (make(seed) for seed in range(40)),
    good=good,
    refusals=refusals,
    guards=({"more": ints(40)}, {"counts": ints(5, 2)}, {"cells": ints(3, 2)}),
)

MERGE_POINTS = tested_whole(
    "merge_points_",
    make_points,
    points_oracle,
    odd=lambda: (make_points(seed) for seed in range(40)),
    good=lambda: make_points(1, room=5, size=40, special=False, repeats=False),
    refusals=lambda: plain(
        ({"fps": ints(40)}, "`fps` must be float64 (R,), of the shape of `thresholds`, (40,)"),
        ({"tps": zeros(3)}, "`tps` must be float64 (R,), of the shape of `thresholds`, (40,)"),
        ({"thresholds": zeros(40, 2)[:, 0]}, "`thresholds` must be contiguous"),
        ({"counts": ints(5, 2)}, "the counts of `cells` must be float64 (5, 2)"),
        ({"fps": zeros(40).to(META)}, "all tensors must be on one device"),
    ),
    guards=(
        {"tps": zeros(3)},
        {"thresholds": zeros(40).float()},
        {"thresholds": torch.arange(40).double()},
    ),
)
