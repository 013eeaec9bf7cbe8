"""Calls of every op for the tests on a GPU, made on the CPU: each argument, state first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops import aggregate, checks, co_moments, error_sums, faults, row_similarity
from fastmetrics.ops.fused import FusedCall, Update
from fastmetrics.ops.fusible import FAMILIES
from fastmetrics.ops.keep_scores import label_dtype

Call = tuple[str, tuple[Any, ...]]

N = 5000


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scores(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=generator(1)).to(dtype)


def labels(top: int, *shape: int) -> Tensor:
    return torch.randint(0, top, shape, generator=generator(2))


def counts(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)


def sums(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def weights(n: int = N) -> Tensor:
    return torch.rand(n, generator=generator(3))


# Of ops that count labels: name, op, state, arguments after `state` and `events`.
_COUNTS: dict[str, tuple[str, Tensor, tuple[Any, ...]]] = {
    f"stat scores C={c} {dtype}": (
        "stat_scores_", counts(c, 4), (scores(N, c, dtype=dtype), labels(c, N), None, c),
    )
    for c in (2, 10, 100, 300, 1000)
    for dtype in (torch.float32, torch.bfloat16, torch.float64)
} | {
    "stat scores C=100000": (
        "stat_scores_", counts(100_000, 4),
        (scores(64, 100_000), labels(100_000, 64), None, 100_000),
    ),
    "stat scores C=100000 ignore": (
        "stat_scores_", counts(100_000, 4),
        (scores(64, 100_000), labels(3, 64), None, 100_000, 1, 1),
    ),
    "stat scores micro": (
        "stat_scores_", counts(1, 4), (scores(N, 1000), labels(1000, N), None, 1000),
    ),
    "stat scores top-5": (
        "stat_scores_", counts(1000, 4), (scores(N, 1000), labels(1000, N), None, 1000, 5),
    ),
    "stat scores labels": (
        "stat_scores_", counts(10, 4), (labels(9, N), labels(10, N), None, 10, 1, 3),
    ),
    "stat scores many labels": (
        "stat_scores_", counts(5000, 4), (labels(4999, N), labels(5000, N), None, 5000),
    ),
    "stat scores weighted": (
        "stat_scores_", sums(10, 4), (scores(N, 10), labels(10, N), weights(), 10),
    ),
    "stat scores samplewise": (
        "stat_scores_", counts(50, 21, 4), (scores(50, 21, 333), labels(21, 50, 333), None, 21),
    ),
    "stat scores images": (
        "stat_scores_", counts(21, 4),
        (scores(4, 21, 64, 64), labels(21, 4, 64, 64), None, 21, 1, 2),
    ),
    "stat scores channels last": (
        "stat_scores_", counts(21, 4),
        (scores(4, 64, 64, 21).movedim(-1, 1), labels(21, 4, 64, 64), None, 21),
    ),
    "stat scores sliced": (
        "stat_scores_", counts(10, 4), (scores(N, 20)[:, ::2], labels(10, 3 * N)[::3], None, 10),
    ),
    "confusion C=10": ("confusion_", counts(10, 10), (scores(N, 10), labels(10, N))),
    "confusion C=300": ("confusion_", counts(300, 300), (scores(N, 300), labels(300, N))),
    "confusion labels": ("confusion_", counts(21, 21), (labels(20, N), labels(21, N))),
    "confusion weighted": (
        "confusion_", sums(50, 50), (scores(N, 50), labels(50, N), weights()),
    ),
    "label confusion": ("label_confusion_", counts(2, 1, 2, 2), (scores(N), labels(2, N))),
    "label confusion images": (
        "label_confusion_", counts(1, 1, 2, 2),
        (scores(4, 200, 300).sigmoid(), labels(2, 4, 200, 300)),
    ),
    "label confusion L=100": (
        "label_confusion_", counts(2, 100, 2, 2), (scores(N, 100), labels(2, N, 100)),
    ),
    "label confusion weighted": (
        "label_confusion_", sums(2, 100, 2, 2), (scores(N, 100), labels(2, N, 100), weights()),
    ),
    "label confusion samplewise": (
        "label_confusion_", counts(60, 2, 5, 2, 2), (scores(60, 5, 70), labels(2, 60, 5, 70)),
    ),
    "label confusion groups": (
        "label_confusion_", counts(2, 7, 2, 2), (scores(N), labels(2, N), None, labels(7, N)),
    ),
    "label confusion many groups": (
        "label_confusion_", counts(2, 4999, 2, 2),
        (scores(N), labels(2, N), None, labels(4999, N)),
    ),
    "exact match": ("exact_match_", counts(2), (labels(2, N, 3), labels(2, N, 3), None, 2)),
    "exact match scores": (
        "exact_match_", counts(N, 2), (scores(N, 3, 4), labels(3, N, 4), None, 3),
    ),
    "exact match weighted": (
        "exact_match_", sums(2), (labels(2, N, 3), labels(2, N, 3), weights(), 2),
    ),
    "label exact match": (
        "label_exact_match_", counts(2, 2), (scores(N, 3), labels(2, N, 3), None, 3),
    ),
}  # fmt: skip
CASES: dict[str, Call] = {
    name: (op, (state, faults.new_events(), *rest)) for name, (op, state, rest) in _COUNTS.items()
}


def case(name: str, op: str, *args: Any) -> None:
    CASES[name] = (op, args)


def events() -> Tensor:
    return faults.new_events()


def edges(size: int, readings: int = 2, multiclass: bool = False) -> Tensor:
    probs = torch.linspace(0, 1, size, dtype=torch.float64)
    rows = [probs, probs if multiclass else probs.logit()]
    return torch.stack(rows[:readings])


def bins(size: int) -> Tensor:
    return torch.linspace(0, 1, size, dtype=torch.float64).repeat(2, 1)


def fused(states: list[Tensor], updates: list[Update], *batch: Tensor) -> tuple[Any, ...]:
    """Arguments of ``fused_``."""
    call = FusedCall(updates)
    noted = [events() for update in updates if FAMILIES[update.op].has_events]
    return states, noted, call.edges, *batch, None, call.program, call.numbers  # fmt: skip


# Several statistics at a time.
case("fused classes", "fused_", *fused(
    [counts(10, 10), counts(2, 10, 2, 51), sums(2, 16, 3)],
    [
        Update("confusion_", (None, True)),
        Update("score_histogram_", (edges(50, 2, True), True, True, False, None, True)),
        Update("calibration_bins_", (bins(16), 10, False, None, True)),
    ],
    scores(N, 10), labels(10, N),
))  # fmt: skip
case("fused numbers", "fused_", *fused(
    [sums(1, 3), sums(1, 12)],
    [Update("error_sums_", (3, 1.0, 0.0)), Update("co_moments_", ())],
    scores(N), scores(N).flip(0),
))  # fmt: skip

# Every type of scores, labels and weights.
for dtype in sorted(checks.SCORE_DTYPES, key=str):
    short, x = str(dtype)[6:], scores(N, 10, dtype=dtype)
    one = (x[:, 0], labels(2, N))
    case(f"histogram {short}", "score_histogram_", counts(2, 1, 2, 51), events(), *one, None,
         edges(50), True)  # fmt: skip
    case(f"images {short}", "score_image_histogram_", counts(1, 1, 2, 2**16), events(), *one, None,
         dtype == torch.float16)  # fmt: skip
    case(f"calibration {short}", "calibration_bins_", sums(2, 16, 3), events(), x, labels(10, N),
         None, bins(16), 10)  # fmt: skip
    case(f"hinge {short}", "hinge_sums_", sums(2, 2), events(), *one)
    case(f"ranking {short}", "ranking_sums_", sums(4), events(), x, labels(2, N, 10))
    case(f"kept {short}", "keep_scores_", torch.zeros(N + 9, 10, dtype=dtype), events(), x,
         labels(2, N, 10), None, torch.zeros(N + 9, 10, dtype=torch.uint8), None, 7)  # fmt: skip
    case(f"curve {short}", "curve_areas_", sums(10, 4), [x[:99], x[99:]],
         [labels(2, 99, 10).byte(), labels(2, N - 99, 10).byte()])  # fmt: skip
    case(f"tensor statistics {short}", "tensor_stats_", sums(3, 8),
         [x, x[:, 1::3], scores(100_000, dtype=dtype)])  # fmt: skip
for dtype in sorted(checks.LABEL_DTYPES, key=str):
    short, top = str(dtype)[6:], 2 if dtype == torch.bool else 10
    case(f"stat scores of {short}", "stat_scores_", counts(10, 4), events(), scores(N, 10),
         labels(top, N).to(dtype), None, 10)  # fmt: skip
    case(f"histogram of {short}", "score_histogram_", counts(2, 10, 2, 51), events(),
         scores(N, 10), labels(top, N).to(dtype), None, edges(50, 2, True), True, True)  # fmt: skip
for dtype in sorted(checks.WEIGHT_DTYPES, key=str):
    short, x = str(dtype)[6:], scores(N, 3).abs().to(dtype)
    pair = (x, x.flip(0).contiguous())
    case(f"errors of {short}", "error_sums_", sums(3, 6), *pair, None, 1 | 2 | 8 | 16 | 32)
    case(f"moments of {short}", "co_moments_", sums(3, 12), *pair, weights().to(dtype))
    case(f"sum of {short}", "aggregate_", sums(2), events(), *pair)
    case(f"similarity of {short}", "row_similarity_", sums(2), *pair)
    case(f"top samples of {short}", "top_samples_", counts(3, 2, 5), events(), counts(1), x[:, 0])

# Shapes at which a kernel takes another way.
for classes in (2, 100, 3000):
    multi = (scores(512, classes), labels(classes, 512))
    state = (2, classes, 2, 21)
    case(f"histogram C={classes}", "score_histogram_", counts(*state), events(), *multi, None,
         edges(20, 2, True), False, True)  # fmt: skip
    case(f"histogram weighted C={classes}", "score_histogram_", sums(*state), events(), *multi,
         weights(512), edges(20, 2, True), True, True)  # fmt: skip
    case(f"hinge C={classes}", "hinge_sums_", sums(2, 2), events(), *multi, True)
    case(f"hinge one-vs-all C={classes}", "hinge_sums_", sums(2, classes + 1), events(), *multi,
         True, True, False, weights(512), 1)  # fmt: skip
    case(f"calibration C={classes}", "calibration_bins_", sums(2, 16, 3), events(), *multi,
         weights(512), bins(16), classes, False, 1)  # fmt: skip
    case(f"kept C={classes}", "keep_scores_", torch.zeros(600, classes), events(), *multi,
         weights(512), torch.zeros(600, dtype=label_dtype(classes, True)), sums(600), 40, True, 1,
    )  # fmt: skip
    marks = labels(2, 64, classes)
    case(f"ranking L={classes}", "ranking_sums_", sums(4), events(), scores(64, classes), marks)
    case(f"coverage L={classes}", "ranking_sums_", sums(4), events(), scores(64, classes), marks,
         1, weights(64), 1)  # fmt: skip
case("histogram images", "score_histogram_", counts(2, 5, 2, 21), events(), scores(4, 5, 60, 70),
     labels(2, 4, 5, 60, 70), None, edges(20), True)  # fmt: skip
case("images of classes", "score_image_histogram_", counts(2, 10, 2, 2**12), events(),
     scores(N, 10), labels(10, N), None, False, True)  # fmt: skip
case("binary calibration", "calibration_bins_", sums(2, 900, 3), events(), scores(N),
     labels(2, N), None, bins(900))  # fmt: skip
for size in (1, 1000, 100_000):
    pair = (scores(size), scores(size) + weights(size))
    positive = (pair[0].exp(), pair[1].exp())
    case(f"errors of {size}", "error_sums_", sums(1, 3), *pair, None, 1 | 2)
    for term, power in ((4, 0.0), (64, 0.0), (128, 0.0), (256, 1.5), (256, 2.0)):
        columns = error_sums.num_columns(term)
        case(f"error term {term} {power} of {size}", "error_sums_", sums(1, columns), *positive,
             None, term, 3.0, power)  # fmt: skip
    case(f"moments of {size}", "co_moments_", sums(1, 12), *pair, None)
    for reduction in (aggregate.SUM, aggregate.MAX, aggregate.MIN):
        start = {aggregate.MAX: -torch.inf, aggregate.MIN: torch.inf}.get(reduction, 0.0)
        case(f"aggregate {reduction} of {size}", "aggregate_", sums(1) + start, events(),
             pair[0], None, reduction, aggregate.DROP)  # fmt: skip
    for kind in row_similarity.KINDS:
        rows = [scores(size, 9).softmax(1), scores(size, 9).flip(1).softmax(1)]
        if kind in (row_similarity.KL_LOG, row_similarity.JS_LOG):
            rows = [x.log() for x in rows]
        case(f"similarity {kind} of {size}", "row_similarity_", sums(2), *rows, kind)
case("similarities apart", "row_similarity_", sums(50, 1), scores(50, 700), scores(50, 700).flip(1))
case("errors of many outputs", "error_sums_", sums(300, 2), scores(64, 300), scores(64, 300) + 1,
     None, 1)  # fmt: skip
case("moments of many outputs", "co_moments_", sums(300, 12), scores(64, 600)[:, ::2],
     scores(300, 64).T, weights(64))  # fmt: skip
case("merged moments", "merge_co_moments_", co_moments.moments_of(scores(40, 3), scores(40, 3) + 1),
     torch.stack([co_moments.moments_of(scores(n, 3), scores(n, 3) * 2) for n in (5, 70)]),
)  # fmt: skip
case("one number", "aggregate_value_", sums(2), 2.5, 0.5)
case("top samples with ids", "top_samples_", counts(3, 2, 5), events(), counts(1), scores(N),
     labels(10**9, N))  # fmt: skip
case("merged samples", "merge_top_samples_", counts(3, 2, 5), counts(4, 3, 2, 5))
case("curves of classes", "curve_areas_", sums(10, 4), [scores(N, 10)], [labels(10, N).byte()],
     True)  # fmt: skip
case("pooled curve", "curve_areas_", sums(1, 4), [scores(N, 10).half()],
     [labels(2, N, 10).byte()], False, True)  # fmt: skip
case("curve points", "curve_points_", sums(N) - 1, sums(N) - 1, scores(N), counts(1),
     [scores(N, 3).half().float()], [labels(2, N, 3).byte()], 1)  # fmt: skip
case("ranks", "rank_moments_", sums(3, 4), [scores(N, 3).half()], [scores(N, 3).flip(0)])
case("orders", "rank_orders_", counts(3, 8), sums(3, 2), [scores(N, 3).half()],
     [scores(N, 3).flip(0)])  # fmt: skip
