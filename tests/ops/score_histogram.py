"""Histograms of scores, and what is read from them: calls and oracles."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.ops import oracles
from tests.ops.inputs import (
    ALL_DTYPES,
    INF,
    LABEL_DTYPES,
    NAN,
    SCORE_DTYPES,
    Draw,
    draw_scores,
    draw_state,
    draw_weight,
    neighbours,
    random_labels,
    some_events,
    spoil,
)
from tests.ops.laws import Answer, Call, Tested, tested_whole
from tests.ops.refusals import META, ints, table, zeros

TASKS = ("binary", "multilabel", "multiclass")
READINGS = ((2, False), (1, False), (1, True))
SHAPES = ((1,), (5,), (33,), (70,), (5, 1), (33, 20), (5, 2, 3))
DTYPES = {"dtype": SCORE_DTYPES, "target_dtype": LABEL_DTYPES, "weight": ALL_DTYPES}
# Unsorted gaps, repeated thresholds, the borders, and beyond them.
THRESHOLDS = torch.tensor([-0.5, 0.0, 0.0, 0.1, 0.25, 0.5, 0.5, 0.75, 1.0, 1.25, 2.0])


def find_bin(score: float, edges: np.ndarray) -> int:
    """How many thresholds the score reaches; some may be NaN, which nothing does."""
    return int((score >= edges).sum())


@functools.cache
def image_of(score: float, half: bool) -> int:
    """The order-preserving image, from the bytes of the number; NaN comes first."""
    with np.errstate(over="ignore"):
        number = np.float16(score) if half else np.float32(score)
    if np.isnan(number):
        return 0
    width = 16 if half else 32
    pattern = int.from_bytes(np.abs(number).tobytes(), "little")
    # Positive numbers follow the negative ones, whose magnitudes count down; both zeros are +0.
    return 2 ** (width - 1) + (pattern if number >= 0 else -1 - pattern)


def image_bin(score: float, bits: int, half: bool) -> int:
    """The leading bits of the image."""
    return image_of(score, half) >> ((16 if half else 32) - bits)


def count_bins(call: Call, told_apart: bool, find: Callable[[float, int], int]) -> Answer:
    """Histograms over the bins that `find(score, reading)` returns."""
    shape, preds, target = tuple(call["state"].shape), call["preds"], call["target"]
    readings, classes = shape[:2]
    multiclass = call["multiclass"]
    tally = oracles.Tally(np.zeros(shape))
    limit = classes if multiclass else 2
    if target.numel() == 0:
        return tally.answer(call, limit)
    amount = oracles.amounts(call["weight"], target.shape[0])
    narrow = preds.dtype != torch.float64
    for sample, row, columns, marks in oracles.scored(call, multiclass, limit, tally):
        tally.nan += any(math.isnan(score) for score in row)
        tally.outside += sum(score < 0 or score > 1 for score in row)
        for index in range(readings):
            as_logits = index == 1 if readings == 2 else call["logits"]
            values = oracles.softmax(row, narrow) if multiclass and as_logits else row
            for c, score, mark in zip(columns, values, marks, strict=True):
                label = c if classes > 1 else 0
                tally.delta[index, label, mark, find(score, index)] += amount[sample]
    tally.outside = tally.outside if told_apart else 0
    return tally.answer(call, limit)


def oracle(call: Call) -> Answer:
    thresholds = call["edges"].numpy()
    return count_bins(
        call, len(thresholds) == 2, lambda score, reading: find_bin(score, thresholds[reading])
    )


def image_oracle(call: Call) -> Answer:
    bits = int(math.log2(call["state"].shape[3]))
    told_apart = not call["multiclass"] or call["state"].shape[0] == 2
    return count_bins(call, told_apart, lambda score, reading: image_bin(score, bits, call["half"]))


def edges_of(thresholds: Tensor, task: str, readings: int, logits: bool = False) -> Tensor:
    """The thresholds under each reading, float64 `[H, T]`."""
    probs = thresholds.double()
    if task == "multiclass":
        rows = [probs, probs]
    else:
        clamped = probs.clamp(min=0.0)
        rows = [probs, clamped.log() - (-clamped).log1p()]
    return torch.stack(rows if readings == 2 else [rows[int(logits)]])


def task_batch(draw: Draw, tasks: tuple[str, ...] = TASKS) -> tuple[str, int, dict[str, Any]]:
    """The task, the number of classes or labels, and the arguments that such ops take first."""
    task, classes, shape = draw("task", *tasks), draw("classes", 2, 3, 17), draw("shape", *SHAPES)
    classes = 1 if task == "binary" else classes
    rows = shape if task == "binary" else (shape[0], classes, *shape[1:])
    limit = classes if task == "multiclass" else 2
    dtype, target_dtype = draw("dtype", *SCORE_DTYPES), draw("target_dtype", *LABEL_DTYPES)
    target = random_labels(shape if task == "multiclass" else rows, limit, target_dtype, draw.rng)
    taken = {
        "events": some_events(),
        "preds": draw_scores(draw, rows, dtype),
        "target": target,
        "weight": draw_weight(draw, shape[0]),
    }
    return task, classes, taken


def make(seed: int, **options: Any) -> Call:
    """`thresholds` are numbers, or how many uniform ones there are."""
    draw = Draw(seed, options)
    task, classes, taken = task_batch(draw)
    some = torch.from_numpy(np.sort(draw.rng.random(9)))
    thresholds = draw("thresholds", 2, 3, 5, 13, 60, 300, some, THRESHOLDS)
    uniform = isinstance(thresholds, int)
    thresholds = torch.linspace(0, 1, thresholds) if uniform else thresholds
    readings, logits = draw("readings", *READINGS)
    state = draw_state(draw, (readings, classes, 2, len(thresholds) + 1), taken["weight"])
    rest = {
        "edges": edges_of(thresholds, task, readings, logits),
        "uniform": uniform,
        "multiclass": task == "multiclass",
        "logits": logits,
        "ignore_index": spoil(draw, taken["target"], classes if task == "multiclass" else 2),
        "validate": draw("validate", True, True, False),
    }
    draw.done()
    return Call("score_histogram_", {"state": state, **taken, **rest})


def make_images(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    task, classes, taken = task_batch(draw)
    half = draw("half", False, True) and taken["preds"].dtype == torch.float16
    readings, logits = draw("readings", *READINGS)
    readings = readings if task == "multiclass" else 1
    bits = draw("bits", 1, 3, 6, 8, 11, 16 if task == "binary" else 12)
    state = draw_state(draw, (readings, classes, 2, 2**bits), taken["weight"])
    rest = {
        "half": half,
        "multiclass": task == "multiclass",
        "logits": logits,
        "ignore_index": spoil(draw, taken["target"], classes if task == "multiclass" else 2),
        "validate": draw("validate", True, True, False),
    }
    draw.done()
    return Call("score_image_histogram_", {"state": state, **taken, **rest})


INFINITE_ROWS = [
    [INF, 1.0, INF],
    [-INF] * 3,
    [-INF, 0.0, -INF],
    [INF, -INF, 0.0],
    [9e4, 0.0, -9e4],
    [-800.0, -1600.0, -800.0],
    [NAN, INF, 0.0],
    [NAN] * 3,
    [0.0, -INF, NAN],
    [2.0, 2.0, 2.0],
]


def infinite_rows(make: Callable[..., Call], columns: int, **options: Any) -> Iterator[Call]:
    """Rows in which equal infinities share the probability."""
    for dtype in SCORE_DTYPES:
        preds = torch.tensor(INFINITE_ROWS).repeat(1, columns).to(dtype)
        how = {"task": "multiclass", "classes": 3 * columns, "shape": (10,), "dtype": dtype}
        yield make(columns, bad=0.0, **how | options).but(preds=preds)


def odd() -> Iterator[Call]:
    for thresholds in (2, 3, 4, 11, torch.tensor([0.3, 1 / 3, 0.5, 1.0])):
        yield from infinite_rows(make, 1, thresholds=thresholds, readings=(1, True))
    for classes, task in itertools.product((2, 5, 16, 33, 1030), TASKS[1:]):
        yield make(classes, task=task, classes=classes, shape=(7,), special=0.02, bad=0.0)
    for seed, (task, count, mixed) in enumerate(itertools.product(TASKS, (3, 300), (None, 3.0))):
        # Fewer and more cells than scores; all scores within [0, 1], or a few beyond.
        call = make(seed, task=task, classes=3, shape=(90,), thresholds=count, inside=True, bad=0.0)
        if mixed is not None:
            call["preds"].view(-1)[:: call["preds"].numel() // 5] = mixed
        yield call
    for count, (readings, dtype) in itertools.product(
        (1, 2, 3, 4, 5, 10, 11, 100, 200, 1001),
        itertools.product(READINGS, (torch.float32, torch.float64)),
    ):
        yield on_thresholds(count, readings, dtype)
    how = {"task": "binary", "shape": (5,), "readings": (1, True), "weight": None, "bad": 0.0}
    call = make(0, thresholds=torch.tensor([-0.5, 0.5, 1.0, 1.5]), dtype=torch.float32, **how)
    yield call.but(preds=torch.tensor([-INF, -3.0, 0.0, 200.0, INF]))


def on_thresholds(count: int, readings: tuple[int, bool], dtype: torch.dtype) -> Call:
    """Scores on and next to uniform thresholds, under each reading."""
    edges = edges_of(torch.linspace(0, 1, count), "binary", 2).flatten().to(dtype)
    preds = neighbours(edges)
    return make(
        count, task="binary", shape=(len(preds),), thresholds=count, readings=readings,
        dtype=dtype, bad=0.0, weight=None,
    ).but(preds=preds)  # fmt: skip


def small(values: Tensor) -> Iterator[Call]:
    inside = values[(values >= 0) & (values <= 1)]
    for preds, thresholds in ((values, 9), (values, THRESHOLDS), (inside, 9)):
        yield make(
            1, task="binary", shape=preds.shape, dtype=preds.dtype, thresholds=thresholds,
            bad=0.0, weight=None, readings=(2, False),
        ).but(preds=preds)  # fmt: skip


EDGES = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64)


def good() -> Call:
    call = make(0, task="binary", shape=(3,), thresholds=EDGES[0], readings=(1, False), bad=0.0,
                weight=None, ignore_index=None, start=0, float_state=False,
                validate=True)  # fmt: skip
    return call.but(preds=torch.zeros(3), target=ints(3), edges=EDGES)


def refused() -> dict[str, Any]:
    to_fit = r"of shape \(1, 3\) to fit the state"
    state = r"\[H, C, 2, B\] .* got"
    return scores_refused() | table(
        ({"state": ints(1, 2, 2, 4)}, r"\(N, L, ...\) with L=2"),
        (
            {"multiclass": True, "preds": torch.zeros(3, 4), "state": ints(1, 5, 2, 4)},
            "with C=5",
        ),
        ({"weight": torch.ones(3)}, "needs a float64 state"),
        ({"edges": EDGES.float()}, rf"contiguous float64 {to_fit}"),
        ({"edges": EDGES[:, :2]}, rf"{to_fit}, .* shape \(1, 2\)"),
        ({"edges": EDGES[0]}, rf"{to_fit}, .* shape \(3,\)"),
        ({"edges": EDGES.repeat(2, 1)}, rf"{to_fit}, .* shape \(2, 3\)"),
        ({"edges": EDGES.repeat(1, 2)[:, ::2]}, r"must be contiguous .* strides \(6, 2\)"),
        ({"edges": EDGES.to(META)}, "`edges` must be on the device of the metric state, cpu"),
        ({"state": torch.zeros(1, 2, 4)}, rf"{state} \(1, 2, 4\)"),
        ({"state": torch.zeros(3, 1, 2, 4)}, rf"{state} \(3, 1, 2, 4\)"),
        ({"state": torch.zeros(1, 1, 3, 4)}, rf"{state} \(1, 1, 3, 4\)"),
        ({"state": torch.zeros(1, 1, 2, 1)}, rf"{state} \(1, 1, 2, 1\)"),
        ({"state": torch.zeros(1, 0, 2, 4)}, rf"{state} \(1, 0, 2, 4\)"),
    )


def scores_refused() -> dict[str, Any]:
    """What ops of float scores `[3]` and labels `[3]` refuse."""
    return table(
        ({"preds": ints(3)}, "`preds` must be a float tensor"),
        ({"preds": torch.zeros(4)}, "the same shape"),
        ({"target": torch.full((3,), 0.5)}, "`target` must be an integer or bool tensor"),
        ({"preds": torch.tensor(0.5), "target": torch.tensor(1)}, "at least one axis"),
        ({"weight": torch.ones(2)}, "`weight` must have one entry per sample"),
    )


MULTICLASS = ({"multiclass": True}, r"must have shape \(N, C, ...\) with `target` \(N, ...\)")

SCORE_HISTOGRAM = Tested(
    "score_histogram_",
    make,
    oracle,
    variants=tuple(
        {"task": task, "thresholds": thresholds}
        for task, thresholds in itertools.product(TASKS, (7, 100, THRESHOLDS))
    ),
    dtypes=DTYPES,
    labels=("target",),
    starts=(2**24, 2**31, 2**32, 2**53, 2**62),
    many=30_003,
    repeats=True,
    odd=odd,
    small_floats=small,
    good=good,
    refusals=lambda: refused() | table(MULTICLASS),
    guards=({"edges": EDGES[:, :0]},),
    traced_every=10,
)

# Images


def wide_scores(seed: int, count: int, dtype: torch.dtype) -> Tensor:
    """Numbers of every magnitude and sign, with ties, zeros, infinities and NaN."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**32, size=count, dtype=np.uint32)
    scores = torch.from_numpy(bits.view(np.float32).copy()).to(dtype)
    scores[:8] = torch.tensor([0.0, -0.0, INF, -INF, NAN, -NAN, 1.0, -1.0])
    scores[8:12] = torch.tensor([1e300, -1e300, 1e-300, -1e-300], dtype=torch.float64).to(dtype)
    return scores[torch.from_numpy(rng.permutation(count))]


def image_odd() -> Iterator[Call]:
    """Scores of every magnitude; halfway cases, overflow and what rounds to zero; softmax."""
    one, step = torch.tensor(1.0, dtype=torch.float64), 2.0**-24
    halfway = torch.stack([one, one + step, one + step * 1.01, one - step / 2, one * 1e39])
    halfway = torch.cat([halfway, -halfway, torch.tensor([-1e-60, 1e-60], dtype=torch.float64)])
    yield make_images(
        0, task="binary", shape=(12,), dtype=torch.float64, bits=16, bad=0.0
    ).but(preds=halfway)  # fmt: skip
    for dtype in SCORE_DTYPES:
        scores = wide_scores(3, 600, dtype)
        for half in (False, True) if dtype == torch.float16 else (False,):
            for bits, task in itertools.product((16, 12, 7, 2, 1), TASKS):
                preds = scores if task == "binary" else scores.view(-1, 3)
                how = {"task": task, "shape": (len(preds),), "dtype": dtype, "half": half}
                yield make_images(
                    bits, classes=3, bits=bits, bad=0.0, weight=None, **how
                ).but(preds=preds)  # fmt: skip
            how = {"task": "multiclass", "classes": 5, "shape": (60,), "half": half}
            for bits, readings in itertools.product((16, 5), READINGS[::2]):
                call = make_images(5, bits=bits, dtype=dtype, readings=readings, bad=0.0, **how)
                call["preds"][::3] *= 11  # shares below the normal range of float16
                yield call


def small_images(values: Tensor) -> Iterator[Call]:
    # As float32, a float16 leaves bits behind.
    for half in (True, False) if values.dtype == torch.float16 else (False,):
        for bits in (16, 5):
            yield make_images(
                1, task="binary", shape=values.shape, dtype=values.dtype, half=half, bits=bits,
                bad=0.0, weight=None,
            ).but(preds=values)  # fmt: skip


def image_good() -> Call:
    call = make_images(0, task="binary", shape=(3,), bits=4, bad=0.0, weight=None, start=0,
                       ignore_index=None, float_state=False, validate=True)  # fmt: skip
    return call.but(preds=torch.zeros(3), target=ints(3))


IMAGES = Tested(
    "score_image_histogram_",
    make_images,
    image_oracle,
    variants=tuple({"task": task, "bits": bits} for task in TASKS for bits in (3, 11)),
    dtypes=DTYPES,
    labels=("target",),
    starts=(2**24, 2**31, 2**32, 2**53, 2**62),
    many=30_003,
    repeats=True,
    odd=image_odd,
    small_floats=small_images,
    good=image_good,
    refusals=lambda: table(
        ({"state": ints(1, 1, 2, 12)}, "a power of two from 2 to 65536 bins, got 12"),
        ({"state": ints(1, 1, 2, 2**17)}, "a power of two from 2 to 65536 bins, got 131072"),
        ({"state": ints(2, 1, 2, 16)}, "must hold one interpretation"),
        ({"state": ints(1, 2, 16)}, r"must have shape \[H, C, 2, B\]"),
        ({"half": True}, "`half` needs float16 `preds`"),
        ({"state": ints(1, 2, 2, 16)}, r"\(N, L, ...\) with L=2"),
        ({"weight": torch.ones(3)}, "needs a float64 state"),
    ),
    traced_every=12,
)  # fmt: skip

# What is read from counts


def some_counts(draw: Draw) -> Tensor:
    """Counts ``[C, 2, B]``."""
    classes, bins = draw("classes", 1, 2, 3, 40), draw("bins", 2, 3, 6, 101)
    counts = draw.rng.integers(0, 9, (classes, 2, bins))
    counts *= draw.rng.random((classes, 2, bins)) < draw("share", 0.0, 0.1, 0.7, 1.0)
    counts *= draw("scale", 1, 10**6)
    table = torch.from_numpy(counts)
    if draw("dtype", torch.int64, torch.float64) == torch.float64:
        table = table.double() / 4
    if draw("apart", False, True):  # one interpretation of those that are kept
        table = torch.stack([table, table], 2)[:, :, 0]
    draw.done()
    return table


def make_areas(seed: int, **options: Any) -> Call:
    table = some_counts(Draw(seed, options))
    areas = torch.full((len(table), 4), -7.0, dtype=torch.float64)
    return Call("histogram_areas_", {"areas": areas, "counts": table})


def areas_oracle(call: Call) -> Answer:
    """Bin after bin, in fractions."""
    found = []
    for rows in call["counts"].tolist():
        lower, higher = (list(map(Fraction, row)) for row in rows)
        pairs, precisions = Fraction(0), Fraction(0)
        below, fp, tp = Fraction(0), sum(lower), sum(higher)
        for bin, (lost, gained) in enumerate(zip(lower, higher, strict=True)):
            pairs += gained * (below + lost / 2)
            if bin and gained:
                precisions += gained * tp / (tp + fp)
            below, fp, tp = below + lost, fp - lost, tp - gained
        found.append([float(x) for x in (pairs, precisions, sum(lower), sum(higher))])
    return Answer({"areas": torch.tensor(found, dtype=torch.float64)})


AREAS = tested_whole(
    "histogram_areas_",
    make_areas,
    areas_oracle,
    compare=lambda call, found, expected: torch.testing.assert_close(
        found["areas"], expected["areas"], rtol=1e-13, atol=0
    ),
    odd=lambda: (make_areas(seed) for seed in range(40)),
    good=lambda: make_areas(0, classes=2, bins=3, dtype=torch.int64, apart=False),
    refusals=lambda: table(
        ({"counts": ints(2, 3)}, r"shape \(C, 2, B\), got torch.int64 with \(2, 3\)"),
        ({"counts": ints(2, 3, 3)}, r"shape \(C, 2, B\)"),
        ({"counts": torch.zeros(2, 2, 3)}, "int64 or float64 with"),
        ({"areas": torch.zeros(2, 4)}, r"float64 with shape \(2, 4\)"),
        ({"areas": zeros(1, 4)}, r"float64 with shape \(2, 4\)"),
        ({"areas": zeros(2, 3)}, r"float64 with shape \(2, 4\)"),
    ),
)


def make_points(seed: int, **options: Any) -> Call:
    table = some_counts(Draw(seed, options))
    classes, _, bins = table.shape
    fps = torch.full((classes, bins - 1), -7.0, dtype=torch.float64)
    out = {"fps": fps, "tps": fps.clone(), "totals": zeros(2, classes)}
    return Call("histogram_points_", out | {"counts": table})


def points_oracle(call: Call) -> Answer:
    """The counts of all bins from each threshold on, which doubles hold exactly."""
    counts = call["counts"].double()
    bins = range(counts.shape[2] - 1, 0, -1)
    reached = torch.stack([counts[..., bin:].sum(-1) for bin in bins], -1)
    totals = counts.sum(-1).T.contiguous()
    return Answer({"fps": reached[:, 0], "tps": reached[:, 1], "totals": totals})


POINTS = tested_whole(
    "histogram_points_",
    make_points,
    points_oracle,
    odd=lambda: (make_points(seed) for seed in range(40)),
    good=lambda: make_points(0, classes=2, bins=3, dtype=torch.int64, apart=False),
    refusals=lambda: table(
        ({"counts": ints(2, 3, 3)}, r"shape \(C, 2, B\)"),
        ({"counts": torch.zeros(2, 2, 3)}, "int64 or float64 with"),
        ({"fps": zeros(2, 3)}, r"`fps` must be float64 with shape \(2, 2\)"),
        ({"tps": zeros(1, 2)}, r"`tps` must be float64 with shape \(2, 2\)"),
        ({"totals": zeros(2, 3)}, r"`totals` must be float64 with shape \(2, 2\)"),
        ({"totals": torch.zeros(2, 2)}, "`totals` must be float64"),
    ),
)
