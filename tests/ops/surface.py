"""`surface_distances_` and `distance_transform_`: calls, and oracles over pairs of pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastmetrics.ops.surface import CHESSBOARD, EUCLIDEAN, NUM_COLUMNS, TAXICAB
from tests.ops.inputs import LAYOUTS
from tests.ops.laws import Answer, Call, tested_whole
from tests.ops.refusals import META, plain, zeros

METRICS = (EUCLIDEAN, CHESSBOARD, TAXICAB)


def masks(shape: tuple[int, ...], seed: int, share: float) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape) < share)


def call_of(preds: Tensor, target: Tensor, spacing: list[float], **options: Any) -> Call:
    chosen: dict[str, Any] = {"metric": EUCLIDEAN, "tolerance": 1.0, "percentile": 95.0}
    state = torch.full((len(preds), 2, NUM_COLUMNS), 7.0, dtype=torch.float64)
    arguments = {"state": state, "preds": preds, "target": target, "spacing": spacing}
    return Call("surface_distances_", arguments | chosen | {"both": True} | options)


def make(seed: int, **options: Any) -> Call:
    rng = np.random.default_rng(seed)
    shape = ((2, 9), (2, 5, 7), (3, 4, 3, 5), (1, 2, 3, 2, 3))[seed % 4]
    shares = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], 2)
    both = (masks(shape, 2 * seed + i, share) for i, share in enumerate(shares))
    spacing = [1.0] * (len(shape) - 1) if seed % 3 else rng.uniform(0.2, 3, len(shape) - 1).tolist()
    return call_of(
        *both,
        spacing,
        metric=METRICS[seed % 5 % 3],
        tolerance=float(rng.choice([0.0, 1.0, 1.5])),
        percentile=float(rng.choice([0.0, 37.0, 95.0, 100.0])),
        both=bool(seed % 7),
    )


def lengths(offsets: np.ndarray, spacing: list[float], metric: int) -> np.ndarray:
    away = np.abs(offsets) * np.array(spacing)
    if metric == EUCLIDEAN:
        return np.sqrt((away**2).sum(-1))
    return away.max(-1) if metric == CHESSBOARD else away.sum(-1)


def surface(mask: np.ndarray) -> np.ndarray:
    """The places of pixels with a neighbour that is not in."""
    framed = np.pad(mask, 1)
    found = []
    for place in np.argwhere(mask):
        steps = [s * e for e in np.eye(mask.ndim, dtype=int) for s in (1, -1)]
        if not all(framed[tuple(place + 1 + step)] for step in steps):
            found.append(place)
    return np.array(found).reshape(-1, mask.ndim)


def nearest(one: np.ndarray, other: np.ndarray, spacing: list[float], metric: int) -> np.ndarray:
    if not len(other):
        return np.full(len(one), np.inf)
    return lengths(one[:, None] - other[None], spacing, metric).min(1)


def oracle(call: Call) -> Answer:
    state = torch.zeros_like(call["state"])
    for row, *pair in zip(state, call["preds"].numpy(), call["target"].numpy(), strict=True):
        places = [surface(mask) for mask in pair]
        for side in (0, 1):
            row[side, 2] = len(places[side])
            if not len(places[side]) or (side == 1 and not call["both"]):
                continue
            found = nearest(places[side], places[1 - side], call["spacing"], call["metric"])
            with np.errstate(invalid="ignore"):
                middle = np.percentile(found, call["percentile"])
            numbers = found.max(), found.sum(), len(found), (found <= call["tolerance"]).sum()
            row[side] = torch.tensor([*numbers, found.max() if np.isinf(found[0]) else middle])
    return Answer({"state": state})


def odd() -> Iterator[Call]:
    for seed in range(60):
        yield make(seed)
    one, other = masks((2, 6, 40), 1, 0.5), masks((2, 6, 40), 2, 0.3)
    for metric, first, second in itertools.product(METRICS, LAYOUTS.values(), LAYOUTS.values()):
        yield call_of(
            first(one).contiguous(), second(other).contiguous(), [1.0, 2.0], metric=metric
        )
    corner = torch.zeros(1, 20, 20, dtype=torch.bool)
    corner[0, 0, 0] = True
    for metric in METRICS:  # a box that fills the image, and one that does not
        yield call_of(corner, corner.flip(1, 2), [1.0, 0.5], metric=metric)
        yield call_of(corner, corner.roll(1, 1), [1.0, 0.5], metric=metric)
    for shape in ((0, 3, 3), (2, 0, 3)):
        nothing = torch.zeros(shape, dtype=torch.bool)
        yield call_of(nothing, nothing, [1.0, 1.0])


def good() -> Call:
    return call_of(masks((1, 4, 4), 1, 0.5), masks((1, 4, 4), 2, 0.5), [1.0, 1.0])


MASK = good()["preds"]

SURFACE_DISTANCES = tested_whole(
    "surface_distances_",
    make,
    oracle,
    rtol=1e-12,
    odd=odd,
    good=good,
    refusals=lambda: plain(
        ({"preds": MASK.long()}, "`preds` must be bool, got torch.int64"),
        ({"target": MASK.long()}, "`target` must be bool, got torch.int64"),
        ({"target": MASK[:, :3]}, "must have one shape (M, ...), got (1, 4, 4) and (1, 3, 4)"),
        ({"target": MASK.to(META)}, "must be on one device"),
        ({"spacing": [1.0]}, "`spacing` must have 2 positive numbers, got [1.0]"),
        ({"spacing": [1.0, 0.0]}, "`spacing` must have 2 positive numbers, got [1.0, 0.0]"),
        ({"metric": 3}, "`metric` must be in [0, 2], got 3"),
        ({"percentile": 101.0}, "`percentile` must be in [0, 100], got 101.0"),
        ({"state": zeros(1, 2, 4)}, "`state` must be float64 (1, 2, 5), got"),
    ),
)


def transform_of(mask: Tensor, spacing: list[float], metric: int) -> Call:
    state = torch.full(mask.shape, 7.0, dtype=torch.float64)
    arguments = {"state": state, "masks": mask, "spacing": spacing, "metric": metric}
    return Call("distance_transform_", arguments)


def make_transform(seed: int, **options: Any) -> Call:
    call = make(seed)
    return transform_of(call["preds"], call["spacing"], call["metric"])


def transform_oracle(call: Call) -> Answer:
    state = torch.zeros_like(call["state"])
    for found, mask in zip(state, call["masks"].numpy(), strict=True):
        inside, outside = np.argwhere(mask), np.argwhere(~mask)
        distances = nearest(inside, outside, call["spacing"], call["metric"])
        found[tuple(inside.T)] = torch.from_numpy(distances)
    return Answer({"state": state})


def odd_transforms() -> Iterator[Call]:
    for seed in range(40):
        yield make_transform(seed)
    yield transform_of(torch.zeros(0, 3, dtype=torch.bool), [1.0], EUCLIDEAN)


DISTANCE_TRANSFORM = tested_whole(
    "distance_transform_",
    make_transform,
    transform_oracle,
    rtol=1e-12,
    odd=odd_transforms,
    good=lambda: transform_of(MASK, [1.0, 1.0], EUCLIDEAN),
    refusals=lambda: plain(
        ({"masks": MASK.long()}, "`masks` must be bool, got torch.int64"),
        ({"spacing": [1.0]}, "`spacing` must have 2 positive numbers, got [1.0]"),
        ({"metric": -1}, "`metric` must be in [0, 2], got -1"),
        ({"state": zeros(1, 4)}, "`state` must be float64 (1, 4, 4), got"),
    ),
)
