"""Rates of curves, and the best of them: calls, and oracles that divide number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops import rates
from tests.ops.inputs import INF, NAN, Draw
from tests.ops.laws import Answer, Call, tested_whole
from tests.ops.refusals import ints, table, zeros


def counts_and_results(draw: Draw) -> tuple[dict[str, Tensor], dict[str, Tensor], list[Tensor]]:
    """Counts of falling thresholds, their totals, and two results to be written."""
    curves, points = draw("curves", None, 1, 3), draw("points", 0, 1, 2, 17, 1000)
    shape = (points + 1,) if curves is None else (curves, points + 1)
    steps = draw.rng.integers(0, 3, (2, *shape)) * draw("scale", 0, 1, 10**6)
    reached = torch.from_numpy(steps).double().cumsum(-1) / draw("of", 1, 4)
    fps, tps = reached[..., :-1].unbind(0)
    if draw("apart", False, True):  # as columns of a table
        fps, tps = (x.unsqueeze(-1).repeat_interleave(2, -1)[..., 0] for x in (fps, tps))
    negatives, positives = reached[..., -1].unbind(0)
    places = (*fps.shape[:-1], points + draw("leads", False, True))
    dtype = draw("dtype", torch.float32, torch.float64)
    results = [torch.full(places, -7.0, dtype=dtype) for _ in range(2)]
    counts, totals = {"fps": fps, "tps": tps}, {"negatives": negatives, "positives": positives}
    return counts, totals, results


def make_rates(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    counts, totals, (fpr, tpr) = counts_and_results(draw)
    undefined = draw("undefined", 0.0, NAN)
    draw.done()
    out = {"fpr": fpr, "tpr": tpr}
    return Call("roc_rates_", {**out, **counts, **totals, "undefined": undefined})


def make_precision(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    counts, totals, (precision, recall) = counts_and_results(draw)
    rest = {
        "positives": totals["positives"],
        "ascending": draw("ascending", False, True),
        "undefined": draw("undefined", 1.0, NAN),
    }
    draw.done()
    return Call("precision_recall_", {"precision": precision, "recall": recall, **counts, **rest})


def rows_of(call: Call, *names: str) -> Iterator[list[list[float]]]:
    """The numbers of each curve; totals as lists of one."""
    curves = call["fps"].shape[0] if call["fps"].ndim == 2 else 1
    for curve in range(curves):
        yield [call[name].reshape(curves, -1)[curve].tolist() for name in names]


def quotient(count: float, total: float, undefined: float) -> float:
    return count / total if total else undefined


def written(call: Call, first: str, second: str, points: list[list[tuple[float, float]]]) -> Answer:
    """Those points, in the form of the results."""
    after = {}
    for place, name in enumerate((first, second)):
        rows = [[point[place] for point in curve] for curve in points]
        values = torch.tensor(rows, dtype=torch.float64).to(call[name].dtype)
        after[name] = values.reshape(call[name].shape)
    return Answer(after)


def leads(call: Call, name: str) -> bool:
    return call[name].shape[-1] > call["fps"].shape[-1]


def rates_oracle(call: Call) -> Answer:
    curves = []
    for fps, tps, (neg,), (pos,) in rows_of(call, "fps", "tps", "negatives", "positives"):
        counted = [*zip(fps, tps, strict=True)]
        counted = [(0.0, 0.0)] * leads(call, "fpr") + counted
        none = call["undefined"]
        curves.append([(quotient(f, neg, none), quotient(t, pos, none)) for f, t in counted])
    return written(call, "fpr", "tpr", curves)


def precision_oracle(call: Call) -> Answer:
    curves = []
    for fps, tps, (pos,) in rows_of(call, "fps", "tps", "positives"):
        points = [(1.0, 0.0)] * leads(call, "precision")
        for fp, tp in zip(fps, tps, strict=True):
            points.append((quotient(tp, tp + fp, math.nan), quotient(tp, pos, call["undefined"])))
        curves.append(points[::-1] if call["ascending"] else points)
    return written(call, "precision", "recall", curves)


def make_best(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    counts, totals, _ = counts_and_results(draw)
    kind, minimum = draw("kind", *rates.KINDS), draw("minimum", 0.0, 0.3, 0.5, 0.99, 1.0)
    leads, undefined = draw("leads at first", False, True), draw("undefined", 0.0, 1.0, NAN)
    shape = totals["negatives"].shape
    best = torch.full(shape, -7.0, dtype=draw("dtype of rates", torch.float32, torch.float64))
    out = {"best": best, "place": torch.full(shape, -7)}
    draw.done()
    rest = {"kind": kind, "minimum": minimum, "leads": leads, "undefined": undefined}
    return Call("best_rates_", {**out, **counts, **totals, **rest})


def best_oracle(call: Call) -> Answer:
    """Sort the points that are allowed."""
    kind, after = call["kind"], call.fresh()
    of_precision = kind in (rates.PRECISION_AT_RECALL, rates.RECALL_AT_PRECISION)
    first = kind in (rates.RECALL_AT_PRECISION, rates.SENSITIVITY_AT_SPECIFICITY)
    curves = rows_of(call, "fps", "tps", "negatives", "positives")
    for curve, (fps, tps, (neg,), (pos,)) in enumerate(curves):
        points = [*zip([0.0] * call["leads"] + fps, [0.0] * call["leads"] + tps, strict=True)]
        allowed = []
        for place, (fp, tp) in enumerate(points):
            found = quotient(tp, pos, call["undefined"])
            other = quotient(tp, tp + fp, NAN) if of_precision else quotient(neg - fp, neg, 1.0)
            rate, constrained = (found, other) if first else (other, found)
            if constrained >= call["minimum"] and rate > (0 if of_precision else -INF):
                allowed.append((-rate, -constrained if of_precision else 0.0, place))
        rate, _, place = min(allowed, default=(0.0, 0.0, len(points)))
        after["best"].view(-1)[curve], after["place"].view(-1)[curve] = -rate, place
    return Answer({"best": after["best"], "place": after["place"]})


def compare(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Equal, whatever the sign of NaN."""
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


PLAIN = {"curves": 2, "points": 3, "leads": True, "dtype": torch.float32, "apart": False}

RATES = tested_whole(
    "roc_rates_",
    make_rates,
    rates_oracle,
    compare=compare,
    odd=lambda: (make_rates(seed) for seed in range(120)),
    good=lambda: make_rates(0, **PLAIN),
    refusals=lambda: table(
        ({"fps": zeros(2, 3, 1)}, r"`fps` must have shape \(K,\) or \(C, K\), got \(2, 3, 1\)"),
        ({"tps": zeros(2, 2)}, r"`tps` must be float64 with shape \(2, 3\)"),
        ({"fps": torch.zeros(2, 3)}, "`fps` must be float64"),
        ({"negatives": zeros(3)}, r"`negatives` must be float64 with shape \(2,\)"),
        ({"positives": torch.zeros(2)}, "`positives` must be float64"),
        ({"fpr": torch.zeros(2, 5)}, "`fpr` must be float32 or float64 with 3 or 4 points"),
        ({"tpr": torch.zeros(2, 3)}, "that of all results"),
        ({"tpr": zeros(2, 4)}, "one dtype"),
        ({"fpr": torch.zeros(2, 4).half()}, "`fpr` must be float32 or float64"),
    ),
)

PRECISION = tested_whole(
    "precision_recall_",
    make_precision,
    precision_oracle,
    compare=compare,
    odd=lambda: (make_precision(seed) for seed in range(120)),
    good=lambda: make_precision(0, **PLAIN),
    refusals=lambda: table(
        ({"fps": zeros(3)}, "`tps` must be float64"),
        ({"positives": zeros()}, r"`positives` must be float64 with shape \(2,\)"),
        ({"recall": torch.zeros(4)}, "`recall` must be float32 or float64 with 3 or 4 points"),
        ({"precision": torch.zeros(2, 3)}, "that of all results"),
    ),
)

BEST = tested_whole(
    "best_rates_",
    make_best,
    best_oracle,
    compare=compare,
    odd=lambda: (make_best(seed) for seed in range(300)),
    good=lambda: make_best(0, **PLAIN),
    refusals=lambda: table(
        ({"tps": zeros(2, 2)}, r"`tps` must be float64 with shape \(2, 3\)"),
        ({"best": torch.zeros(3)}, r"torch.float32 or torch.float64 with shape \(2,\)"),
        ({"best": ints(2)}, "`best` must be torch.float32 or torch.float64"),
        ({"place": zeros(2)}, r"`place` must be torch.int64 with shape \(2,\)"),
        ({"kind": 4}, r"`kind` must be one of \[0, 1, 2, 3\], got 4"),
    ),
)
