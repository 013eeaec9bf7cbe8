"""`panoptic_`: calls, and an oracle over sets of pixels."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.ops.inputs import LABEL_DTYPES, LAYOUTS
from tests.ops.laws import Answer, Call, Tested
from tests.ops.refusals import META, plain, zeros

THINGS, STUFFS = [5, 1, 9], [2, 7]
VOID = 30


def maps(shape: tuple[int, ...], seed: int, agree: float, instances: int) -> tuple[Tensor, Tensor]:
    """Two maps of noise that agree in so many pixels."""
    rng = np.random.default_rng(seed)

    def one(unknown: int) -> np.ndarray:
        category = rng.choice([*THINGS, *STUFFS, unknown], shape)
        return np.stack([category, rng.integers(instances, size=shape)], -1)

    preds, target = one(VOID), one(VOID + 1)
    preds = np.where(rng.random((*shape, 1)) < agree, target, preds)
    return torch.from_numpy(preds), torch.from_numpy(target)


def call_of(preds: Tensor, target: Tensor, modified: bool = False, allow: bool = True) -> Call:
    state = torch.full((5, 4), 0.5, dtype=torch.float64)
    events = torch.zeros(4, dtype=torch.int64)
    arguments: dict[str, Any] = {"state": state, "events": events, "preds": preds}
    arguments |= {"target": target, "things": THINGS, "stuffs": STUFFS}
    return Call("panoptic_", arguments | {"modified": modified, "allow_unknown": allow})


def make(seed: int, **options: Any) -> Call:
    preds, target = maps((3, 6, 7), seed, (0.3, 0.6, 0.9)[seed % 3], 1 + seed % 4)
    return call_of(preds, target, bool(seed % 2))


def segment(category: int, instance: int) -> tuple[int, int] | None:
    if category in THINGS:
        return category, instance
    return (category, 0) if category in STUFFS else None


def oracle(call: Call) -> Answer:
    state = call["state"].clone()
    ids, stuffs = [*call["things"], *call["stuffs"]], call["stuffs"] if call["modified"] else []
    for images in zip(call["preds"], call["target"], strict=True):
        pairs = Counter(
            tuple(segment(*pixel) for pixel in pixels)
            for pixels in zip(*(image.reshape(-1, 2).tolist() for image in images), strict=True)
        )
        areas = [Counter[Any](), Counter[Any]()]
        void = [Counter[Any](), Counter[Any]()]
        for pair, common in pairs.items():
            for side in (0, 1):
                areas[side][pair[side]] += common
                void[side][pair[side]] += common * (pair[1 - side] is None)
        matched: list[set[Any]] = [set(), set()]
        for (p, t), common in pairs.items():
            if p is None or t is None or p[0] != t[0]:
                continue
            union = areas[0][p] - void[0][p] + areas[1][t] - void[1][t] - common
            hit = t[0] not in stuffs and 2 * common > union
            state[ids.index(t[0]), 0] += common / union * (hit or t[0] in stuffs)
            state[ids.index(t[0]), 1] += hit
            if hit:
                matched[0].add(p)
                matched[1].add(t)
        for side in (0, 1):
            for each in areas[side]:
                if each is None:
                    continue
                if each[0] in stuffs:
                    state[ids.index(each[0]), 1] += side == 1
                elif each not in matched[side] and 2 * void[side][each] <= areas[side][each]:
                    state[ids.index(each[0]), 2 + side] += 1
    return Answer({"state": state, "events": call["events"]})


def odd() -> Iterator[Call]:
    for seed in range(12):
        yield make(seed)
    for modified, dtype in itertools.product((False, True), LABEL_DTYPES[:-1]):
        preds, target = (x.to(dtype) for x in maps((2, 40), 1, 0.7, 3))
        yield call_of(preds, target, modified)
    preds, target = maps((2, 5, 9), 2, 0.7, 3)
    for one, other in itertools.product(LAYOUTS.values(), repeat=2):
        yield call_of(one(preds), other(target))
    for shape in ((1, 1), (1, 3000), (2, 1024), (40, 3), (2, 2, 3, 4)):
        yield call_of(*maps(shape, 3, 0.5, 2))
    yield call_of(*maps((2, 2000), 4, 0.5, 1000))  # more segments than the table begins with
    half = torch.tensor([[[1, 0]] * 2 + [[VOID, 0]] * 2])
    whole = torch.tensor([[[1, 0]] * 4])
    for one, other in itertools.product((half, whole, whole * 9, half.roll(1, 1)), repeat=2):
        yield call_of(one, other)  # void by half counts as missed, and 1/2 is no match
    large = torch.tensor([[[5, 2**62], [5, -(2**63)], [5, 2**62]]])
    yield call_of(large, large.flip(1))
    for shape in ((0, 3, 2), (2, 0, 2)):
        nothing = torch.zeros(shape, dtype=torch.int64)
        yield call_of(nothing, nothing)


def good() -> Call:
    preds = torch.tensor([[[5, 1], [2, 0], [7, 0]]])
    return call_of(preds, preds, allow=False)


SMALL = good()["preds"]

PANOPTIC = Tested(
    "panoptic_",
    make,
    oracle,
    shapes=(),
    empty=(),
    layouts=(),
    many=0,
    batch=(),
    rtol=1e-14,
    odd=odd,
    good=good,
    refusals=lambda: plain(
        ({"preds": SMALL[:, :2]}, "`preds` and `target` must have the same shape, got"),
        ({"preds": SMALL[0], "target": SMALL[0]}, "must have shape (N, ..., 2), pairs"),
        ({"preds": SMALL[..., :1], "target": SMALL[..., :1]}, "must have shape (N, ..., 2)"),
        ({"preds": SMALL.float()}, "`preds` must be"),
        ({"target": SMALL + 0.5}, "`target` must be"),
        ({"target": SMALL.to(META)}, "must be on one device"),
        ({"state": zeros(4, 4)}, "`state` must be float64 (5, 4), got"),
        ({"state": torch.zeros(5, 4)}, "`state` must be float64 (5, 4), got torch.float32"),
    ),
)
