"""`curve_areas_` and `curve_points_`: calls, and oracles that count all pairs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.ops.inputs import INF, NAN, SCORE_DTYPES, Draw, random_scores, with_special_values
from tests.ops.laws import Answer, Call, Tested, same_bits
from tests.ops.refusals import ints, table, zeros

LEFT_OUT = 255
# Kept labels `[M, C]`, or classes `[M]` in either type.
KINDS = ("labels", "uint8", "int32")


def cut(tensor: Tensor, borders: tuple[int, ...]) -> list[Tensor]:
    """Chunks that end at these rows."""
    edges = [0, *borders, len(tensor)]
    return [tensor[a:b] for a, b in itertools.pairwise(edges)]


def rows(draw: Draw) -> dict[str, Any]:
    """Kept scores and labels, in chunks, with what is left out."""
    (size, *_), columns = draw("shape", (0,), (1,), (2,), (17,), (60,)), draw("columns", 1, 3, 4)
    dtype, kind = draw("dtype", *SCORE_DTYPES), draw("kind", *KINDS)
    special, left_out = draw("special", 0.0, 0.2), draw("left_out", 0.0, 0.2)
    scores = torch.from_numpy(draw.rng.standard_normal((size, columns)) * 4).to(dtype)
    if draw("ties", True, True, False):
        scores = random_scores((size, columns), dtype, draw.rng)
    scores = with_special_values(scores, draw.rng, special) if special else scores
    shape = (size, columns) if kind == "labels" else (size,)
    labels = torch.from_numpy(draw.rng.integers(0, 2 if kind == "labels" else columns, size=shape))
    ignored = -1 if kind == "int32" else LEFT_OUT
    labels[torch.from_numpy(draw.rng.random(shape) < left_out)] = ignored
    labels = labels.to(torch.int32 if kind == "int32" else torch.uint8)
    borders = draw("borders", (), (size // 2,), (size // 3, size // 2))
    return {
        "preds": cut(scores, borders),
        "target": cut(labels, borders),
        "multiclass": kind != "labels",
        "pool": draw("pool", False, True),
    }


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    taken = rows(draw)
    columns = taken["preds"][0].shape[1]
    draw.done()
    areas = torch.full((1 if taken["pool"] else columns, 4), -7.0, dtype=torch.float64)
    return Call("curve_areas_", {"areas": areas, **taken})


def counted(call: Call, column: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Counted scores of one column, or of all, and which of them are positive."""
    if not call["preds"]:
        return np.zeros(0), np.zeros(0, dtype=bool)
    scores, labels = torch.cat(call["preds"]), torch.cat(call["target"])
    if call["multiclass"]:
        left_out = LEFT_OUT if labels.dtype == torch.uint8 else -1
        marks = (labels[:, None] == torch.arange(scores.shape[1])).to(torch.uint8)
        labels = torch.where(labels[:, None] == left_out, LEFT_OUT, marks)
    numbers, codes = scores.double().numpy(), labels.numpy()
    if column is not None:
        numbers, codes = numbers[:, column], codes[:, column]
    kept = codes != LEFT_OUT
    return numbers[kept], codes[kept] == 1


def at_least(a: np.ndarray, b: Any) -> np.ndarray:
    return (a >= b) | np.isnan(b)


def pair_areas(scores: np.ndarray, positive: np.ndarray) -> list[float]:
    """The row of `areas`, by comparing everything with everything."""
    pos, neg = scores[positive], scores[~positive]
    above = at_least(pos[:, None], neg)
    below = at_least(neg, pos[:, None])
    area = (above.sum() + (above & ~below).sum()) / 2
    precision = [
        at_least(pos, one).sum() / at_least(scores, one).sum() if len(pos) else 0.0 for one in pos
    ]
    return [float(area), math.fsum(precision), len(neg), len(pos)]


def oracle(call: Call) -> Answer:
    columns = [None] if call["pool"] else range(len(call["areas"]))
    found = [pair_areas(*counted(call, column)) for column in columns]
    return Answer({"areas": torch.tensor(found, dtype=torch.float64)})


def compare(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    one, other = found["areas"], expected["areas"]
    assert torch.equal(one[:, [0, 2, 3]], other[:, [0, 2, 3]])
    torch.testing.assert_close(one[:, 1], other[:, 1], rtol=1e-13, atol=0)


def extremes(dtype: torch.dtype) -> Tensor:
    info = torch.finfo(dtype)
    tiny = info.smallest_normal * info.eps
    scores = [NAN, -INF, info.min, -1.0, -info.smallest_normal, -tiny, -0.0, 0.0]
    scores += [tiny, 2 * tiny, info.smallest_normal, 1 - info.eps / 2, 1.0, info.max, INF]
    return torch.tensor(scores, dtype=dtype).repeat(4).unsqueeze(1)


def odd_of(make: Any) -> Iterator[Call]:
    for seed, (dtype, pool) in enumerate(itertools.product(SCORE_DTYPES, (False, True))):
        grid = extremes(dtype)
        how = {"columns": 1, "kind": "labels", "dtype": dtype, "pool": pool, "borders": ()}
        for some in range(3):
            yield make(seed + some, shape=(len(grid),), **how).but(preds=[grid])
        for label in (0, 1, LEFT_OUT):
            call = make(seed, shape=(40,), **how)
            yield call.changed(["target"], lambda t, label=label: torch.full_like(t, label))
        wide = {"columns": 60, "kind": KINDS[1 + seed % 2], "pool": pool, "dtype": dtype}
        yield make(seed, shape=(20,), **wide)
        call = make(seed, shape=(9,), columns=1, kind="labels", pool=pool)
        yield call.but(preds=[], target=[])


def small(values: Tensor) -> Iterator[Call]:
    """In blocks small enough for all pairs."""
    call = make(0, columns=1, shape=(512,), kind="labels", pool=False, borders=(), left_out=0.0)
    call = call.changed(["preds"], lambda scores: scores.to(values.dtype))
    for chunk in values.view(-1, 128).T.reshape(-1, 512)[::8]:
        yield call.but(preds=[chunk.unsqueeze(1)])


def good() -> Call:
    call = make(0, columns=2, shape=(5,), kind="labels", pool=False, borders=(), left_out=0.0)
    return call.but(preds=[SCORES], target=[LABELS])


SCORES, LABELS = torch.arange(10.0).view(5, 2), torch.arange(10).view(5, 2).remainder(2).byte()
VARIANTS = tuple(
    {"kind": kind, "pool": pool, "columns": 3} for kind in KINDS for pool in (False, True)
)

AREAS = Tested(
    "curve_areas_",
    make,
    oracle,
    variants=VARIANTS,
    shapes=((30,), (60,), (17,)),
    empty=(),
    dtypes={"dtype": SCORE_DTYPES},
    batch=("preds", "target"),
    many=70_001,
    adds_up=False,
    ordered=True,  # the chunks are
    compare=compare,
    odd=lambda: odd_of(make),
    small_floats=small,
    good=good,
    refusals=lambda: table(
        ({"target": []}, "as many chunks, got 1 and 0"),
        ({"target": [LABELS[:4]]}, r"got \(5, 2\) and \(4, 2\)"),
        ({"preds": [SCORES[:, 0]]}, r"must have shape \(M, C\)"),
        ({"preds": [SCORES, SCORES.double()], "target": [LABELS] * 2}, "one float dtype"),
        ({"preds": [SCORES.long()]}, "one float dtype, got torch.int64"),
        ({"target": [LABELS.int()]}, "torch.uint8, got torch.int32"),
        ({"target": [LABELS[:, 0].long()], "multiclass": True}, "torch.int32, got torch.int64"),
        ({"pool": True}, r"float64 with shape \(1, 4\)"),
        ({"preds": [SCORES[:, :1]], "target": [LABELS[:, :1]]}, r"float64 with shape \(1, 4\)"),
    ),
)

# Points


def make_points(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    taken = rows(draw)
    scores, pool = taken["preds"][0], taken.pop("pool")
    columns = scores.shape[1]
    draw.done()
    size = sum(map(len, taken["preds"])) * (columns if pool else 1)
    curves = 1 if pool else columns
    fps = torch.full((curves, size + 3), -7.0, dtype=torch.float64)
    thresholds = torch.zeros(curves, size + 3, dtype=scores.dtype)
    out = {"fps": fps, "tps": fps.clone(), "thresholds": thresholds}
    count = torch.full((curves,), -7)
    return Call("curve_points_", out | {"count": count, **taken, "pool": pool})


def points_oracle(call: Call) -> Answer:
    """False and true positives at each distinct score, from the largest down."""
    after = call.fresh()
    for curve in range(len(call["count"])):
        scores, positive = counted(call, None if call["pool"] else curve)
        thresholds = sorted({float(s) for s in scores if not math.isnan(s)}, reverse=True)
        thresholds += [math.nan] if np.isnan(scores).any() else []
        for place, threshold in enumerate(thresholds):
            after["fps"][curve, place] = int(at_least(scores[~positive], threshold).sum())
            after["tps"][curve, place] = int(at_least(scores[positive], threshold).sum())
            after["thresholds"][curve, place] = threshold
        after["count"][curve] = len(thresholds)
    return Answer({name: after[name] for name in ("fps", "tps", "thresholds", "count")})


def specified(points: Sequence[Tensor]) -> list[Tensor]:
    """`fps`, `tps`, `thresholds` and `count` without what follows the last point of each curve."""
    *out, count = points
    ends = [*enumerate(count.tolist())]
    return [torch.cat([x[curve, :last] for curve, last in ends]) for x in out] + [count]


def compare_points(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """What follows the last point is unspecified, up to the number of scores."""
    same_bits("count", found["count"], expected["count"])
    end = call["fps"].shape[1] - 3
    for name in ("fps", "tps", "thresholds"):
        for curve, last in enumerate(expected["count"].tolist()):
            one, other = (x[name][curve, :last].double() for x in (found, expected))
            np.testing.assert_array_equal(one, other, name)
        if call["preds"]:
            assert torch.equal(found[name][:, end:], call[name][:, end:]), name


def points_good() -> Call:
    call = make_points(0, columns=2, shape=(5,), kind="labels", pool=False, borders=())
    out = {name: zeros(2, 5) for name in ("fps", "tps")} | {"thresholds": torch.zeros(2, 5)}
    return call.but(preds=[SCORES], target=[LABELS], **out)


POINTS = Tested(
    "curve_points_",
    make_points,
    points_oracle,
    variants=VARIANTS,
    shapes=((30,), (60,), (17,)),
    empty=(),
    dtypes={"dtype": SCORE_DTYPES},
    batch=("preds", "target"),
    many=70_001,
    adds_up=False,
    ordered=True,  # the chunks are
    compare=compare_points,
    odd=lambda: odd_of(make_points),
    good=points_good,
    refusals=lambda: table(
        ({"fps": zeros(2, 4)}, r"`fps` must be torch.float64 with shape \(2, R\), R at least 5"),
        ({"tps": zeros(2, 6)}, "`tps` must be torch.float64 .* and that of `fps`"),
        ({"thresholds": zeros(2, 5)}, "`thresholds` must be torch.float32"),
        ({"count": zeros(2)}, r"`count` must be int64 with shape \(2,\)"),
        ({"count": ints(1)}, r"`count` must be int64 with shape \(2,\)"),
        ({"pool": True}, r"`count` must be int64 with shape \(1,\)"),
    ),
)
