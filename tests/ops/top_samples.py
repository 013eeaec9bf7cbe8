"""`top_samples_` and `merge_top_samples_`: calls, and oracles by sorted Python pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastmetrics.ops.top_samples import BITS, IDS, PRESENT
from tests.ops.inputs import (
    ALL_DTYPES,
    INF,
    NAN,
    SCORE_DTYPES,
    Draw,
    some_events,
    with_special_values,
)
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import META, table

Pairs = list[tuple[float, int]]


def empty(k: int) -> Tensor:
    return torch.zeros(3, 2, k, dtype=torch.int64)


def pack(best: Pairs, worst: Pairs, k: int) -> Tensor:
    """A state that holds these pairs; beyond them there are zeros only."""
    state = empty(k)
    for side, pairs in enumerate((best, worst)):
        scores = torch.tensor([score + 0.0 for score, _ in pairs], dtype=torch.float64)
        state[BITS, side, : len(pairs)] = scores.view(torch.int64)
        state[IDS, side, : len(pairs)] = torch.tensor([i for _, i in pairs], dtype=torch.int64)
        state[PRESENT, side, : len(pairs)] = 1
    return state


def contents(state: Tensor) -> tuple[Pairs, Pairs]:
    """What a state holds."""
    sides = []
    for side in range(2):
        count = int(state[PRESENT, side].sum())
        scores = state[BITS, side, :count].clone().view(torch.float64).tolist()
        sides.append(list(zip(scores, state[IDS, side, :count].tolist(), strict=True)))
    return sides[0], sides[1]


def first(best: Iterable[Any], worst: Iterable[Any], k: int) -> Tensor:
    """The first k by highest and by lowest score, ties by lower id."""
    return pack(sorted(best, key=lambda pair: (-pair[0], pair[1]))[:k], sorted(worst)[:k], k)


def make(seed: int, **options: Any) -> Call:
    """Scores with many ties; without ids the samples are numbered on."""
    draw = Draw(seed, options)
    (size, *_), dtype = draw("shape", (0,), (1,), (5,), (64,), (300,)), draw("dtype", *ALL_DTYPES)
    k, special = draw("k", 1, 2, 5, 63, 200), draw("special", 0.0, 0.0, 0.2)
    scores = torch.from_numpy(draw.rng.integers(0, 2 if dtype == torch.bool else 9, size)).to(dtype)
    if dtype.is_floating_point:
        if draw("spread", False, True):
            scores = torch.from_numpy(draw.rng.normal(size=size)).to(dtype)
        scores = with_special_values(scores, draw.rng, special) if special else scores
    ids = None
    if draw("ids", False, True):
        ids = torch.from_numpy(draw.rng.permutation(size)) * 3 - size
    state, start = empty(k), 0
    if draw("before", False, True):
        start = int(draw.rng.integers(2 * k))
        pairs = [(float(draw.rng.integers(0, 9)), number) for number in range(start)]
        state = first(pairs, pairs, k)
    draw.done()
    taken = {"events": some_events(), "next_id": torch.tensor([start])}
    return Call("top_samples_", {"state": state, **taken, "scores": scores, "ids": ids})


def oracle(call: Call) -> Answer:
    start, k = int(call["next_id"]), call["state"].shape[2]
    numbers = range(start, start + len(call["scores"]))
    ids = numbers if call["ids"] is None else call["ids"].tolist()
    pairs = [*zip(map(float, call["scores"].tolist()), ids, strict=True)]
    kept = [(score, i) for score, i in pairs if not math.isnan(score)]
    best, worst = contents(call["state"])
    nan = len(pairs) - len(kept)
    return Answer({
        "state": first([*best, *kept], [*worst, *kept], k),
        "events": call["events"] + torch.tensor([0, nan, 0, 0]),
        "next_id": call["next_id"] + len(pairs),
    })  # fmt: skip


def odd() -> Iterator[Call]:
    for k in (1, 2, 5, 63, 200):
        for size in (0, 1, 2, 5, 63, 64, 65, 511, 512, 513, 1300):
            yield make(size, k=k, shape=(size,))
            for scores in (torch.arange(size).float(), -torch.arange(size).float()):
                yield make(size, k=k, shape=(size,)).but(scores=scores)
    for dtype in SCORE_DTYPES:
        values = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0] * 30, dtype=dtype)
        for k in (1, 4, 70, 300):
            yield make(k, k=k, shape=(len(values),)).but(scores=values)
        yield make(0, k=3, shape=(9,)).but(scores=torch.full((9,), NAN, dtype=dtype))
    yield make(1, k=2, shape=(2,), ids=False).but(scores=torch.tensor([-0.0, 0.0]))
    ends = torch.tensor([2**63 - 1, -(2**63), 2**53, 2**53 + 1, 0])
    for k in (1, 3, 8):
        yield make(k, k=k, shape=(5,)).but(scores=torch.zeros(5), ids=ends)
    close = torch.tensor([1.0, 1.0 + 2**-50, 1.0 - 2**-52], dtype=torch.float64)
    yield make(0, k=2, shape=(3,)).but(scores=close, ids=torch.tensor([9, 8, 7]))


def small(values: Tensor) -> Iterator[Call]:
    yield make(0, k=200, shape=values.shape).but(scores=values, ids=torch.arange(len(values)))


def good() -> Call:
    call = make(0, k=2, shape=(3,), ids=False, before=False)
    return call.but(scores=torch.ones(3))


STATE, NEXT, ONES = empty(2), torch.zeros(1, dtype=torch.int64), torch.ones(3)

TOP_SAMPLES = Tested(
    "top_samples_",
    make,
    oracle,
    variants=({"k": 7, "ids": True}, {"k": 7, "ids": False}, {"k": 1, "ids": True}),
    shapes=((300,), (40,), (5,)),
    empty=((0,),),
    dtypes={"dtype": ALL_DTYPES},
    batch=("scores", "ids"),
    layouts=("scores", "ids"),
    many=100_000,
    ordered=True,
    odd=odd,
    small_floats=small,
    good=good,
    refusals=lambda: table(
        ({"state": STATE.int()}, r"must be int64 of shape \(3, 2, k\), got torch.int32"),
        ({"state": STATE[:2]}, r"must be int64 of shape \(3, 2, k\)"),
        ({"next_id": NEXT.int()}, "`next_id` must be int64 with one element"),
        ({"scores": ONES[None]}, r"`scores` must be a real tensor of shape \(N,\)"),
        ({"scores": ONES[0]}, r"`scores` must be a real tensor of shape \(N,\)"),
        ({"scores": ONES.cfloat()}, "`scores` must be a real tensor"),
        ({"ids": torch.arange(2)}, r"one per score, shape \(3,\), got torch.int64 \(2,\)"),
        ({"ids": torch.arange(3).int()}, "`ids` must be int64"),
        ({"scores": ONES.to(META)}, "`scores` must be on the device of the metric state"),
    ),
)


def make_merge(seed: int, **options: Any) -> Call:
    """States of several parts, some of them empty."""
    draw = Draw(seed, options)
    k, parts = draw("k", 1, 3, 12), draw("parts", 0, 1, 4)
    draw.done()
    states = []
    for part in range(parts + 1):
        rng = np.random.default_rng(100 * seed + part)
        scores = rng.choice([0.0, 1.0, -INF, INF, 2.5, -4.0], rng.integers(0, 2 * k))
        ids = rng.integers(-5, 5, len(scores)).tolist()
        pairs = [*zip(scores.tolist(), ids, strict=True)]
        states.append(first(pairs, pairs, k))
    others = torch.stack(states[1:]) if parts else empty(k).new_zeros(0, 3, 2, k)
    return Call("merge_top_samples_", {"state": states[0], "others": others})


def merge_oracle(call: Call) -> Answer:
    sides = [contents(state) for state in (call["state"], *call["others"])]
    best, worst = ([pair for side in sides for pair in side[i]] for i in range(2))
    return Answer({"state": first(best, worst, call["state"].shape[2])})


MERGE = Tested(
    "merge_top_samples_",
    make_merge,
    merge_oracle,
    variants=tuple({"k": k, "parts": parts} for k in (1, 3) for parts in (0, 1, 4)),
    shapes=(),
    empty=(),
    batch=("others",),
    layouts=(),
    many=0,
    odd=lambda: (make_merge(seed) for seed in range(60)),
    good=lambda: make_merge(6, k=2, parts=4),
    refusals=lambda: table(
        *(
            ({"others": others}, r"`others` must be int64 of shape \(R, 3, 2, 2\)")
            for others in (empty(2), empty(3)[None], empty(2)[None].int())
        )
    ),
)
