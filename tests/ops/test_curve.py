"""curve_areas_ and curve_points_: every implementation against counting all pairs."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastmetrics import ops
from tests.ops.cases import (
    LAYOUTS,
    SCORE_DTYPES,
    implementations,
    native_op,
    random_scores,
    with_special_values,
)

AREAS, POINTS = "curve_areas_", "curve_points_"
LEFT_OUT = 255
TRACED = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
)


class Kept(NamedTuple):
    """Kept rows: scores ``[M, C]`` and their labels."""

    scores: Tensor
    labels: Tensor
    multiclass: bool = False

    def chunks(self, *borders: int) -> tuple[list[Tensor], list[Tensor]]:
        """Cut into contiguous chunks at the given rows."""
        edges = [0, *borders, len(self.scores)]
        pieces = [slice(a, b) for a, b in itertools.pairwise(edges)]
        return [self.scores[p].clone() for p in pieces], [self.labels[p].clone() for p in pieces]

    def curve(self, column: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Counted scores of one column, or of all, and which of them are positive."""
        labels = self.labels
        if self.multiclass:
            left_out = LEFT_OUT if labels.dtype == torch.uint8 else -1
            marks = (labels[:, None] == torch.arange(self.scores.shape[1])).to(torch.uint8)
            labels = torch.where(labels[:, None] == left_out, LEFT_OUT, marks)
        scores, labels = self.scores.double().numpy(), labels.numpy()
        if column is not None:
            scores, labels = scores[:, column], labels[:, column]
        counted = labels != LEFT_OUT
        return scores[counted], labels[counted] == 1


def at_least(a: np.ndarray, b: np.ndarray) -> np.ndarray:
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


def distinct_points(scores: np.ndarray, positive: np.ndarray) -> tuple[list, list, list]:
    """False and true positives at each distinct score, from the largest down."""
    thresholds = sorted({float(s) for s in scores if not math.isnan(s)}, reverse=True)
    thresholds += [math.nan] if np.isnan(scores).any() else []
    fps = [int(at_least(scores[~positive], t).sum()) for t in thresholds]
    tps = [int(at_least(scores[positive], t).sum()) for t in thresholds]
    return fps, tps, thresholds


def run_areas(kept: Kept, pool: bool, *borders: int, implementation=None) -> Tensor:
    areas = torch.full((1 if pool else kept.scores.shape[1], 4), -7.0, dtype=torch.float64)
    (implementation or native_op(AREAS))(areas, *kept.chunks(*borders), kept.multiclass, pool)
    return areas


def run_points(kept: Kept, column: int, pool: bool, implementation=None):
    size = kept.scores.numel() if pool else len(kept.scores)
    fps = torch.full((size + 3,), -7.0, dtype=torch.float64)
    tps, count = fps.clone(), torch.tensor([-7])
    thresholds = torch.zeros(size + 3, dtype=kept.scores.dtype)
    (implementation or native_op(POINTS))(
        fps, tps, thresholds, count, *kept.chunks(size // 3), column, kept.multiclass, pool
    )
    assert fps[size:].tolist() == tps[size:].tolist() == [-7.0] * 3
    return fps[:count], tps[:count], thresholds[:count]


def check(kept: Kept, *borders: int, points: bool = True) -> None:
    """Compare every implementation with the oracle, per column and pooled."""
    columns = range(kept.scores.shape[1])
    for pool in (False, True):
        expected = torch.tensor(
            [pair_areas(*kept.curve(None if pool else c)) for c in ([0] if pool else columns)],
            dtype=torch.float64,
        )
        for name, implementation in implementations(AREAS).items():
            areas = run_areas(kept, pool, *borders, implementation=implementation)
            assert torch.equal(areas[:, [0, 2, 3]], expected[:, [0, 2, 3]]), name
            torch.testing.assert_close(areas[:, 1], expected[:, 1], rtol=1e-13, atol=0)
        for column in [0] if pool else columns if points else []:
            wanted = distinct_points(*kept.curve(None if pool else column))
            for name, implementation in implementations(POINTS).items():
                found = run_points(kept, column, pool, implementation)
                assert [found[0].tolist(), found[1].tolist()] == [*wanted[:2]], name
                np.testing.assert_array_equal(found[2].double().numpy(), wanted[2], name)


def labels_like(shape: tuple[int, ...], rng: np.random.Generator, left_out: float = 0.2) -> Tensor:
    labels = rng.integers(0, 2, size=shape).astype(np.uint8)
    labels[rng.random(shape) < left_out] = LEFT_OUT
    return torch.from_numpy(labels)


def label_rows(size: int, columns: int, dtype: torch.dtype, seed: int, ties: bool = True) -> Kept:
    rng = np.random.default_rng(seed)
    shape = (size, columns)
    scores = torch.from_numpy(rng.standard_normal(shape) * 4).to(dtype)
    if ties:
        scores = with_special_values(random_scores(shape, dtype, rng), rng, 0.2)
    return Kept(scores, labels_like(shape, rng))


def class_rows(size: int, columns: int, dtype: torch.dtype, seed: int, wide: bool) -> Kept:
    rng = np.random.default_rng(seed)
    scores = with_special_values(random_scores((size, columns), dtype, rng), rng, 0.1)
    classes = torch.from_numpy(rng.integers(0, columns, size=size))
    classes[torch.from_numpy(rng.random(size) < 0.2)] = -1 if wide else LEFT_OUT
    return Kept(scores, classes.to(torch.int32 if wide else torch.uint8), True)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize("size", [0, 1, 2, 17, 60])
def test_labels(dtype, size):
    check(label_rows(size, 3, dtype, size), size // 2)
    check(label_rows(size, 1, dtype, size, ties=False), size // 3, size // 2)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize("wide", [False, True], ids=["uint8", "int32"])
def test_classes(dtype, wide):
    check(class_rows(50, 4, dtype, 1, wide), 11)
    check(class_rows(20, 255, dtype, 2, wide), points=False)


@pytest.mark.parametrize("columns", [7, 8, 9, 33])
@pytest.mark.parametrize("size", [20, 513])
def test_many_columns(size, columns):
    kept = label_rows(size, columns, torch.float32, columns)
    areas = run_areas(kept, False, 1, size // 2)
    for column in range(columns):
        wanted = torch.tensor(pair_areas(*kept.curve(column)), dtype=torch.float64)
        assert areas[column, 0] == wanted[0]
        torch.testing.assert_close(areas[column], wanted, rtol=1e-13, atol=0)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_extreme_scores(dtype):
    info = torch.finfo(dtype)
    tiny = info.smallest_normal * torch.finfo(dtype).eps
    scores = [math.nan, -math.inf, info.min, -1.0, -info.smallest_normal, -tiny, -0.0, 0.0]
    scores += [tiny, 2 * tiny, info.smallest_normal, 1 - info.eps / 2, 1.0, info.max, math.inf]
    grid = torch.tensor(scores, dtype=dtype).repeat(4).unsqueeze(1)
    for seed in range(3):
        check(Kept(grid, labels_like(grid.shape, np.random.default_rng(seed))))


@pytest.mark.smoke
def test_nothing_to_count():
    empty = torch.zeros(0, 2)
    for name, implementation in implementations(AREAS).items():
        for preds, target in (
            ([], []),
            ([empty], [empty.to(torch.uint8)]),
            ([torch.rand(9, 2)], [torch.full((9, 2), LEFT_OUT, dtype=torch.uint8)]),
        ):
            areas = torch.full((2, 4), -7.0, dtype=torch.float64)
            implementation(areas, preds, target, False, False)
            assert not areas.any(), name
    for implementation in implementations(POINTS).values():
        count, out = torch.tensor([5]), torch.zeros(0, dtype=torch.float64)
        implementation(out, out.clone(), torch.zeros(0), count, [], [], 0, False, False)
        assert count.item() == 0
        kept = Kept(torch.rand(9, 1), torch.full((9, 1), LEFT_OUT, dtype=torch.uint8))
        assert [len(x) for x in run_points(kept, 0, False, implementation)] == [0, 0, 0]


@pytest.mark.parametrize("label", [0, 1])
def test_one_label(label):
    for dtype in SCORE_DTYPES:
        kept = label_rows(40, 1, dtype, 3)
        check(Kept(kept.scores, torch.full((40, 1), label, dtype=torch.uint8)))


def adversaries(size: int) -> dict[str, Tensor]:
    """Scores that fill few bins, or all of them, or come in an order."""
    generator = torch.Generator().manual_seed(size)
    uniform = torch.rand(size, generator=generator, dtype=torch.float64)
    bits = torch.randint(-(2**31), 2**31, (size,), generator=generator)
    return {
        "equal": torch.full((size,), 0.25),
        "two": (uniform < 0.5).float(),
        "sorted": uniform.float().sort().values,
        "reversed": uniform.float().sort(descending=True).values,
        "one bin": (0.5 + uniform * 2**-9).float(),
        "half a bin": (0.5 + uniform * 2**-18).float(),
        "outlier": torch.cat([uniform[1:].float() * 2**-20 + 1, torch.tensor([-1e30])]),
        "denormal": bits.abs().to(torch.int32).bitwise_and(2**22 - 1).view(torch.float32),
        "all bits": bits.to(torch.int32).view(torch.float32),
        "hundredths": (uniform * 100).round().float() / 100,
        "double": uniform,
        "double low bits": 1 + (uniform * 2**10).round() * 2**-52,
        "double clusters": (uniform * 8).floor() + torch.rand(size, generator=generator) * 1e-13,
        "widened float": uniform.float().double(),
        "half": uniform.half(),
    }


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
    points = run_points(kept, 0, False)
    for found, wanted in zip(
        points, run_points(kept, 0, False, implementations(POINTS)["reference"]), strict=True
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
            points = run_points(kept, 1, pool)
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                for borders in ((), (1,), (size // 2, size // 2, size - 1)):
                    assert torch.equal(run_areas(other, pool, *borders), expected)
                for one, two in zip(run_points(other, 1, pool), points, strict=True):
                    assert torch.equal(one, two)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("multiclass", [False, True], ids=["labels", "classes"])
def test_layouts(layout, multiclass):
    kept = class_rows(30, 3, torch.float32, 5, False) if multiclass else None
    kept = kept or label_rows(30, 3, torch.float32, 5)
    scores, labels = layout(kept.scores), layout(kept.labels)
    dense = Kept(scores.contiguous(), labels.contiguous(), multiclass)
    for pool in (False, True):
        expected = run_areas(dense, pool)
        areas = torch.zeros_like(expected)
        for implementation in implementations(AREAS).values():
            implementation(areas, [scores], [labels], multiclass, pool)
            torch.testing.assert_close(areas, expected, rtol=1e-14, atol=0)


@given(
    scores=st.lists(st.sampled_from([0.0, -0.0, 0.5, 1.0, math.nan, -math.inf]), max_size=40),
    labels=st.lists(st.sampled_from([0, 1, LEFT_OUT]), min_size=40, max_size=40),
)
@settings(max_examples=40, deadline=None)
def test_any_ties(scores, labels):
    marks = torch.tensor(labels[: len(scores)], dtype=torch.uint8).view(-1, 1)
    check(Kept(torch.tensor(scores, dtype=torch.float32).view(-1, 1), marks))


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
    fps, tps, thresholds = run_points(kept, 0, False)
    fpr, tpr, cuts = metrics.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(fps / neg, fpr[1:], rtol=1e-12)
    np.testing.assert_allclose(tps / pos, tpr[1:], rtol=1e-12)
    np.testing.assert_array_equal(thresholds.double().numpy(), cuts[1:])


@pytest.mark.smoke
@pytest.mark.parametrize("multiclass", [False, True], ids=["labels", "classes"])
@pytest.mark.parametrize("pool", [False, True], ids=["columns", "pool"])
def test_opcheck(multiclass, pool):
    kept = class_rows(9, 3, torch.float32, 5, True) if multiclass else None
    kept = kept or label_rows(9, 3, torch.bfloat16, 5)
    preds, target = kept.chunks(4)
    areas = torch.zeros(1 if pool else 3, 4, dtype=torch.float64)
    torch.library.opcheck(
        native_op(AREAS), (areas, preds, target, multiclass, pool), test_utils=TRACED
    )
    fps, count = torch.zeros(27, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    out = (fps, fps.clone(), torch.zeros(27, dtype=kept.scores.dtype), count)
    torch.library.opcheck(
        native_op(POINTS), (*out, preds, target, 1, multiclass, pool), test_utils=TRACED
    )


@pytest.mark.smoke
def test_refusals():
    """What does not fit is named, and nothing changes."""
    scores, labels = torch.rand(5, 2), torch.zeros(5, 2, dtype=torch.uint8)
    areas = torch.full((2, 4), 3.0, dtype=torch.float64)
    for arguments, text in (
        (([scores], [], False, False), "as many chunks, got 1 and 0"),
        (([scores], [labels[:4]], False, False), r"got \(5, 2\) and \(4, 2\)"),
        (([scores[:, 0]], [labels], False, False), r"must have shape \(M, C\)"),
        (([scores, scores.double()], [labels] * 2, False, False), "one float dtype"),
        (([scores.long()], [labels], False, False), "one float dtype, got torch.int64"),
        (([scores], [labels.int()], False, False), "torch.uint8, got torch.int32"),
        (([scores], [labels[:, 0].long()], True, False), "torch.int32, got torch.int64"),
        (([scores], [labels], False, True), r"float64 with shape \(1, 4\)"),
        (([scores[:, :1]], [labels[:, :1]], False, False), r"float64 with shape \(1, 4\)"),
    ):
        with pytest.raises(ValueError, match=text):
            ops.curve_areas_(areas, *arguments)
    assert (areas == 3.0).all()
    out = torch.zeros(5, dtype=torch.float64)
    count = torch.zeros(1, dtype=torch.int64)
    for arguments, text in (
        ((out[:4], out, scores[:, 0].clone(), count, [scores], [labels]), "`fps` must be"),
        ((out, out, out, count, [scores], [labels]), "`thresholds` must be torch.float32"),
        ((out, out, torch.zeros(5), out, [scores], [labels]), "`count` must be int64"),
        ((out, out, torch.zeros(5), count, [scores], [labels], 2), r"lie in \[0, 2\), got 2"),
    ):
        with pytest.raises(ValueError, match=text):
            ops.curve_points_(*arguments)


@pytest.mark.smoke
def test_scores_that_require_grad():
    kept = label_rows(20, 1, torch.float32, 8)
    expected = run_areas(kept, False)
    areas = torch.zeros_like(expected)
    ops.curve_areas_(areas, [kept.scores.clone().requires_grad_()], [kept.labels])
    assert torch.equal(areas, expected)
    assert not areas.requires_grad
