"""`python -m tests.gpu.first_look`: three minutes on a GPU that say whether the rest is worth it.

For each kind of update: whether its values are those of the CPU for a batch in which every program
takes several blocks, the last of them not full; which share of the bandwidth of a copy it reaches,
also where all counts go to a few cells; and how long the host takes for a small one. Ends with 1 at
the first wrong value. Without a GPU sizes are small and only the values mean something.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastmetrics import ops
from fastmetrics.ops import backend, faults
from fastmetrics.ops.co_moments import NUM_COLUMNS
from tests.gpu.cases import counts, labels, scores

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LARGE, COPIED = (2**24, 2**28) if DEVICE == "cuda" else (2**12, 2**20)
SMALL = 8
C = 10

Call = tuple[Callable[..., None], Tensor, tuple[Any, ...]]


def sums(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def edges(thresholds: int) -> Tensor:
    return torch.linspace(0, 1, thresholds, dtype=torch.float64).repeat(2, 1)


def calls(size: int) -> dict[str, Call]:
    """By name the op, the state, and what the op takes after it, with about so many elements."""
    rows, wide = max(size // 4, 1), max(size // 256, 1)
    pair = scores(size), scores(size).flip(0)
    matrices = scores(max(size // 128, 1), 128), scores(max(size // 128, 1), 128).flip(0)
    sure = torch.eye(C)[labels(C, rows)]
    curve = (None, edges(50), True)

    def events() -> Tensor:
        return faults.new_events()

    def of_rows(values: Tensor, classes: int, weight: Tensor | None = None) -> tuple[Any, ...]:
        return (events(), values, labels(classes, len(values)), weight, classes)

    def of_labels(classes: int) -> tuple[Any, ...]:
        return (events(), labels(classes, size), labels(classes, size).flip(0))

    zeros = torch.zeros(size, dtype=torch.int64)
    count, matrix, histogram = ops.stat_scores_, ops.confusion_, ops.score_histogram_
    weights = labels(9, rows).float() / 4
    half = rows, C
    return {
        "labels C=10": (count, counts(C, 4), (*of_labels(C), None, C)),
        "labels C=256": (count, counts(256, 4), (*of_labels(256), None, 256)),
        "scores [N, 10]": (count, counts(C, 4), of_rows(scores(*half), C)),
        "scores [N, 1000]": (count, counts(1000, 4), of_rows(scores(wide, 1000), 1000)),
        "weighted [N, 10]": (count, sums(C, 4), of_rows(scores(*half), C, weights)),
        "binary": (
            ops.label_confusion_, counts(2, 1, 2, 2), (events(), pair[0], labels(2, size))
        ),
        "matrix C=21": (matrix, counts(21, 21), of_labels(21)),
        "matrix C=150": (matrix, counts(150, 150), of_labels(150)),
        "matrix C=150, one class": (matrix, counts(150, 150), (events(), zeros, zeros)),
        "histogram": (
            histogram, counts(2, 1, 2, 51),
            (events(), torch.sigmoid(pair[0]), labels(2, size), *curve),
        ),
        "histogram [N, 10]": (
            histogram, counts(2, C, 2, 51),
            (events(), scores(*half).softmax(1), labels(C, rows), *curve, True),
        ),
        "histogram [N, 10], sure": (
            histogram, counts(2, C, 2, 51), (events(), sure, labels(C, rows).flip(0), *curve, True)
        ),
        "squared errors": (ops.error_sums_, sums(1, 2), (*pair, None, 1)),
        "moments": (ops.co_moments_, sums(1, NUM_COLUMNS), (*pair, None)),
        "sum": (ops.aggregate_, sums(2), (events(), pair[0])),
        "cosine [N, 128]": (ops.row_similarity_, sums(3), matrices),
        "calibration [N, 10]": (
            ops.calibration_bins_, sums(2, 16, 3),
            (events(), scores(*half).softmax(1), labels(C, rows), None, edges(16), C),
        ),
    }  # fmt: skip


def moved(values: tuple[Any, ...]) -> list[Any]:
    return [x.to(DEVICE) if isinstance(x, Tensor) else x for x in values]


def is_right(call: Call) -> bool:
    """Whether the device gives what the CPU gives."""
    op, state, rest = call
    found, expected = state.clone().to(DEVICE), state.clone()
    op(found, *moved(rest))
    op(expected, *rest)
    return torch.allclose(found.cpu().double(), expected.double(), rtol=1e-9, atol=1e-9)


def milliseconds(call: Callable[[], Any]) -> float:
    """The time on the device, the host left out."""
    for _ in range(3):
        call()
    if DEVICE == "cpu":
        begin = time.perf_counter()
        call()
        return (time.perf_counter() - begin) * 1e3
    times = []
    for _ in range(20):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(2_000_000)  # until the host has launched all
        first.record()
        call()
        last.record()
        torch.cuda.synchronize()
        times.append(first.elapsed_time(last))
    return statistics.median(times)


def microseconds_of_host(call: Callable[[], Any]) -> float:
    for _ in range(20):
        call()
    begin = time.perf_counter()
    for _ in range(200):
        call()
    return (time.perf_counter() - begin) / 200 * 1e6


def main() -> int:
    x = torch.empty(COPIED, dtype=torch.uint8, device=DEVICE)
    y = torch.empty_like(x)
    copied = 2 * COPIED / milliseconds(lambda: y.copy_(x))
    print(f"copy {copied / 1e6:.0f} GB/s", flush=True)
    # So that every program takes several blocks, and the last one is not full.
    odd, small = calls(LARGE // 16 + 3), calls(SMALL)
    for name, call in calls(LARGE).items():
        if not is_right(odd[name]):
            print(f"{name}: WRONG")
            return 1
        op, state, rest = call[0], call[1].to(DEVICE), moved(call[2])
        size = sum(x.nbytes for x in rest if isinstance(x, Tensor))
        took = milliseconds(lambda op=op, state=state, rest=rest: op(state, *rest))
        few = moved(small[name][2])
        host = microseconds_of_host(lambda op=op, state=state, few=few: op(state, *few))
        share = size / took / copied
        print(f"{name:26} right {took:9.3f} ms {share:6.1%} of copy {host:6.1f} us", flush=True)
    if DEVICE == "cuda" and backend.triton_reason != backend.LAUNCHES:
        print(f"No kernel ran: {backend.triton_reason}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
