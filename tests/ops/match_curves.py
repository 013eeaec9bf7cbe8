"""`match_curves_`: calls, and an oracle with numpy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from fastmetrics.ops.box_matches import row_width
from tests.ops.inputs import Draw
from tests.ops.laws import Answer, Call, tested_whole
from tests.ops.refusals import META, ints, plain, zeros


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    rows, classes = draw("rows", 40, 0, 300), draw("classes", 1, 3)
    thresholds, ranges = draw("thresholds", 1, 10, 70), draw("ranges", 1, 4)
    recalls = draw("recalls", [0.0, 0.1, 0.5, 1.0], [0.7, 0.2, 0.0, 2.0, 0.1], [])
    limits, by_class = draw("limits", [1, 3, 100], [2]), draw("by_class", True, False)
    keeps = draw("keeps", True, False)
    draw.done()
    rng = np.random.default_rng(seed)
    table_ = torch.zeros(rows, row_width(thresholds, ranges), dtype=torch.int64)
    scores = torch.from_numpy(rng.choice([-0.5, -0.0, 0.0, 0.25, 0.5, 0.9], rows))
    table_[:, 0] = scores.view(torch.int64)
    table_[:, 1] = torch.from_numpy(rng.integers(0, classes, rows)) * 5 - 2
    table_[:, 2] = torch.from_numpy(rng.integers(0, 3, rows))
    table_[:, 3] = torch.from_numpy(rng.integers(-1, 5, rows))
    shape = (rows, table_.shape[1] - 4)
    dense, sparse = (rng.integers(-(2**63), 2**63 - 1, shape) for _ in range(2))
    table_[:, 4:] = torch.from_numpy(dense & sparse)
    labels = torch.arange(classes) * 5 - 2
    k = classes if by_class else 1
    curve = (k, ranges, len(limits), thresholds, len(recalls))
    return Call(
        "match_curves_",
        {
            "precision": torch.full(curve, 9.0, dtype=torch.float64),
            "recall": torch.full(curve[:-1], 9.0, dtype=torch.float64),
            "confidences": torch.full(curve, 9.0, dtype=torch.float64) if keeps else None,
            "rows": table_,
            "classes": labels,
            "recalls": recalls,
            "max_dets": limits,
            "by_class": by_class,
        },
    )


def _bit(words: np.ndarray, bit: int) -> np.ndarray:
    return words[:, bit // 64] >> (bit % 64) & 1 == 1


def _curve(
    rows: np.ndarray, truths: int, bits: tuple[np.ndarray, np.ndarray], recalls: list[float]
) -> tuple[float, np.ndarray, np.ndarray]:
    """Recall, precision and scores of sorted rows."""
    if not truths:
        nothing = np.full(len(recalls), -1.0)
        return -1.0, nothing, nothing
    matched, ignored = bits
    hits, misses = np.cumsum(matched & ~ignored), np.cumsum(~matched & ~ignored)
    precision = hits / (misses + hits + np.spacing(1))
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    reached = hits / truths
    places = np.searchsorted(reached, recalls)
    at, scores = np.zeros(len(recalls)), np.zeros(len(recalls))
    beyond = np.flatnonzero(places >= len(rows))
    end = beyond[0] if len(beyond) else len(recalls)
    at[:end] = falling[places[:end]]
    scores[:end] = rows[places[:end], 0].view(np.float64)
    return (reached[-1] if len(rows) else 0.0), at, scores


def oracle(call: Call) -> Answer:
    rows = call["rows"].numpy()
    order = np.lexsort((np.arange(len(rows)), rows[:, 2], -rows[:, 0].copy().view(np.float64)))
    rows = rows[order]
    answer = {name: call[name] for name in ("precision", "recall", "confidences")}
    answer = {name: value if value is None else value.clone() for name, value in answer.items()}
    k, a, m, t = call["recall"].shape
    words = (rows.shape[1] - 4) // 2
    for i, j, limit, threshold in itertools.product(*map(range, (k, a, m, t))):
        own = rows[rows[:, 1] == int(call["classes"][i])] if call["by_class"] else rows
        truths = int((own[own[:, 3] < 0, 4] >> j & 1).sum())
        seen = own[(own[:, 3] >= 0) & (own[:, 3] < call["max_dets"][limit])]
        bit = j * t + threshold
        bits = _bit(seen[:, 4 : 4 + words], bit), _bit(seen[:, 4 + words :], bit)
        recall, precision, scores = _curve(seen, truths, bits, call["recalls"])
        answer["recall"][i, j, limit, threshold] = recall
        answer["precision"][i, j, limit, threshold] = torch.from_numpy(precision)
        if answer["confidences"] is not None:
            answer["confidences"][i, j, limit, threshold] = torch.from_numpy(scores)
    return Answer(answer)


def good() -> Call:
    options = {"rows": 40, "classes": 3, "thresholds": 10, "ranges": 4, "limits": [1, 3, 100]}
    return make(1, recalls=[0.0, 0.1, 0.5, 1.0], by_class=True, keeps=True, **options)


def refusals() -> Any:
    call = good()
    return plain(
        ({"recall": call["recall"].float()}, "`recall` must be contiguous float64 [K, A, M, T]"),
        ({"max_dets": [1]}, "`recall` must have 3 classes and 1 limits"),
        ({"classes": ints(2)}, "`recall` must have 2 classes and 3 limits"),
        ({"recalls": [0.5]}, "`precision` must be contiguous float64"),
        ({"confidences": zeros(2)}, "`confidences` must be contiguous float64"),
        ({"rows": ints(3, 5)}, "`rows` must be int64 (N, 6), got torch.int64 (3, 5)"),
        ({"classes": zeros(3)}, "`classes` must be int64 (K,)"),
        ({"rows": call["rows"].mT.contiguous().mT}, "`rows` and `classes` must be contiguous"),
        ({"rows": call["rows"].to(META)}, "all tensors must be on one device"),
    )


MATCH_CURVES = tested_whole(
    "match_curves_",
    make,
    oracle,
    odd=lambda: (make(seed) for seed in range(12)),
    good=good,
    refusals=refusals,
    guards=({"classes": torch.tensor([-2, 3, 9])}, {"rows": ints(3, 5)}, {"max_dets": [1]}),
)
