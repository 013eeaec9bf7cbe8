"""What only `curve_areas_` and `curve_points_` must keep."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.ops.curve import LEFT_OUT, cut, make
from tests.ops.inputs import SCORE_DTYPES, adversaries
from tests.ops.laws import check, implementations, native_op

AREAS, POINTS = "curve_areas_", "curve_points_"


class Kept:
    """Kept scores ``[M, C]`` and their labels."""

    def __init__(self, scores: Tensor, labels: Tensor) -> None:
        self.scores, self.labels = scores, labels

    def chunks(self, *borders: int) -> tuple[list[Tensor], list[Tensor]]:
        return cut(self.scores, borders), cut(self.labels, borders)


def labels_like(shape: tuple[int, ...], rng: np.random.Generator, left_out: float = 0.2) -> Tensor:
    labels = rng.integers(0, 2, size=shape).astype(np.uint8)
    labels[rng.random(shape) < left_out] = LEFT_OUT
    return torch.from_numpy(labels)


def run_areas(kept: Kept, pool: bool, *borders: int, implementation=None) -> Tensor:
    areas = torch.full((1 if pool else kept.scores.shape[1], 4), -7.0, dtype=torch.float64)
    (implementation or native_op(AREAS))(areas, *kept.chunks(*borders), False, pool)
    return areas


def run_points(kept: Kept, pool: bool, *borders: int, implementation=None) -> list[list[Tensor]]:
    """The points of each curve: false positives, true positives, thresholds."""
    size = kept.scores.numel() if pool else len(kept.scores)
    curves = 1 if pool else kept.scores.shape[1]
    fps = torch.full((curves, size + 3), -7.0, dtype=torch.float64)
    tps, count = fps.clone(), torch.full((curves,), -7)
    thresholds = torch.zeros(curves, size + 3, dtype=kept.scores.dtype)
    (implementation or native_op(POINTS))(
        fps, tps, thresholds, count, *kept.chunks(*(borders or (size // 3,))), False, pool
    )
    assert bool((fps[:, size:] == -7.0).all() & (tps[:, size:] == -7.0).all())
    return [
        [x[curve, :last] for x in (fps, tps, thresholds)]
        for curve, last in enumerate(count.tolist())
    ]


@pytest.mark.parametrize("columns", [7, 8, 9, 33])
@pytest.mark.parametrize("size", [20, 513])
def test_many_columns(size, columns):
    options = {"columns": columns, "kind": "labels", "pool": False}
    check(make(columns, shape=(size,), borders=(1, size // 2), dtype=torch.float32, **options))


@pytest.mark.parametrize("size", [70, 513, 5000, 66_000])
def test_large_sizes_agree_with_the_reference(size):
    """The reference is a plain sort, and agrees with the count of all pairs above."""
    rng = np.random.default_rng(size)
    labels = labels_like((size, 1), rng, 0.1)
    for name, scores in adversaries(size).items():
        compare_with_reference(Kept(scores.unsqueeze(1), labels), name)


@pytest.mark.parametrize("size", [300_000, 1 << 18])
@pytest.mark.parametrize(
    "name", ["equal", "one bin", "half a bin", "all bits", "double", "outlier"]
)
def test_buckets_that_are_counted(name, size):
    labels = labels_like((size, 1), np.random.default_rng(1), 0.1)
    compare_with_reference(Kept(adversaries(size)[name].unsqueeze(1), labels), name)


def compare_with_reference(kept: Kept, name: str) -> None:
    torch.set_num_threads(1)
    reference = implementations(AREAS)["reference"]
    expected = run_areas(kept, False, implementation=reference)
    third = len(kept.scores) // 3
    areas = run_areas(kept, False, third)
    assert torch.equal(areas[:, [0, 2, 3]], expected[:, [0, 2, 3]]), name
    torch.testing.assert_close(areas, expected, rtol=1e-13, atol=0, msg=name)
    points = implementations(POINTS)["reference"]
    for found, wanted in zip(
        *run_points(kept, False), *run_points(kept, False, implementation=points), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True, msg=name)


def test_order_splits_and_threads_leave_the_bits_alone(native):
    """Of the kernel; torch adds up floats in an order that follows the number of threads."""
    for dtype, size in itertools.product(SCORE_DTYPES, (700, 70_001)):
        generator = torch.Generator().manual_seed(size)
        scores = torch.randn(size, 2, generator=generator).to(dtype)
        scores[::9] = scores[:1]
        kept = Kept(scores, labels_like((size, 2), np.random.default_rng(size)))
        order = torch.randperm(size, generator=generator)
        other = Kept(scores[order], kept.labels[order])
        for pool in (False, True):
            torch.set_num_threads(1)
            expected = run_areas(kept, pool)
            points = run_points(kept, pool)
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                for borders in ((), (1,), (size // 2, size // 2, size - 1)):
                    assert torch.equal(run_areas(other, pool, *borders), expected)
                for found, wanted in zip(run_points(other, pool), points, strict=True):
                    for one, two in zip(found, wanted, strict=True):
                        assert torch.equal(one, two)


@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_scikit_learn(dtype):
    metrics = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(100_000, 1, generator=generator) < 0.3).to(torch.uint8)
    kept = Kept((torch.randn(100_000, 1, generator=generator) + labels).to(dtype), labels)
    area, precision, neg, pos = run_areas(kept, False, 40_000)[0].tolist()
    truth, scores = labels[:, 0].numpy(), kept.scores[:, 0].double().numpy()
    assert area / (neg * pos) == pytest.approx(metrics.roc_auc_score(truth, scores), rel=1e-12)
    wanted = metrics.average_precision_score(truth, scores)
    assert precision / pos == pytest.approx(wanted, rel=1e-12)
    [[fps, tps, thresholds]] = run_points(kept, False)
    fpr, tpr, cuts = metrics.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(fps / neg, fpr[1:], rtol=1e-12)
    np.testing.assert_allclose(tps / pos, tpr[1:], rtol=1e-12)
    np.testing.assert_array_equal(thresholds.double().numpy(), cuts[1:])
