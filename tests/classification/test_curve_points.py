"""Equal error rate, LogAUC, and the best rate where another reaches a minimum.

Given thresholds go through functions and classes, thresholds of the data through the formulas on
curves made by hand.
"""

from __future__ import annotations

import importlib
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastmetrics import MetricCollection
from fastmetrics.functional.classification.eer import eer_formula
from fastmetrics.functional.classification.logauc import logauc_formula
from fastmetrics.functional.classification.precision_fixed_recall import (
    FORMULA as PRECISION_AT_RECALL,
)
from fastmetrics.functional.classification.recall_fixed_precision import (
    FORMULA as RECALL_AT_PRECISION,
)
from fastmetrics.functional.classification.sensitivity_specificity import (
    FORMULA as SENSITIVITY_AT_SPECIFICITY,
)
from fastmetrics.functional.classification.specificity_sensitivity import (
    FORMULA as SPECIFICITY_AT_SENSITIVITY,
)
from fastmetrics.ops.scores import Curves
from tests.classification.curves import Counts, columns, count, exact_curve, mean_curve
from tests.classification.test_curves import (
    TASKS,
    THRESHOLDS,
    C,
    Row,
    expect,
    make,
    name,
    of,
    one_value,
)

pytestmark = pytest.mark.thinned(2)

MINIMUM = {
    "recall_fixed_precision": "min_precision",
    "precision_fixed_recall": "min_recall",
    "sensitivity_specificity": "min_specificity",
    "specificity_sensitivity": "min_sensitivity",
}
RULES = {
    "recall_fixed_precision": RECALL_AT_PRECISION,
    "precision_fixed_recall": PRECISION_AT_RECALL,
    "sensitivity_specificity": SENSITIVITY_AT_SPECIFICITY,
    "specificity_sensitivity": SPECIFICITY_AT_SENSITIVITY,
}
SUFFIXES = {
    "recall_fixed_precision": "RecallAtFixedPrecision",
    "precision_fixed_recall": "PrecisionAtFixedRecall",
    "sensitivity_specificity": "SensitivityAtSpecificity",
    "specificity_sensitivity": "SpecificityAtSensitivity",
}
KINDS = (("probs", None), ("grid", -1), ("logits", -1), ("probs", 1))
"""Scores and the label to ignore; without label 1 a class has no positives."""
MINIMA = (0.0, 1 / 3, 0.5, 0.9, 1.0)


@dataclass(frozen=True)
class PointRow(Row):
    """A metric whose module is not called after its function."""

    module: str = ""

    def _module(self, package: str) -> Any:
        return importlib.import_module(f"fastmetrics.{package}.{self.module or self.function}")

    @property
    def minimum(self) -> str:
        return MINIMUM[self.module]

    @property
    def required(self) -> dict[str, Any]:
        """The arguments without a default, beside the number of classes."""
        return {self.minimum: 0.5} if self.module else {}


EERS = [PointRow(t, "EER", "eer", (None, "micro", "macro") * (t == "multiclass")) for t in TASKS]
AREAS = [
    PointRow(t, "LogAUC", "logauc", ("macro", "none", None)[: 3 * (t != "binary")]) for t in TASKS
]
BEST = [
    PointRow(t, suffix, re.sub("(?<=.)([A-Z])", r"_\1", suffix).lower(), module=module)
    for module, suffix in SUFFIXES.items()
    for t in TASKS
]
ROWS = EERS + AREAS + BEST

every_row = pytest.mark.parametrize("row", ROWS, ids=name)
every_best = pytest.mark.parametrize("row", BEST, ids=name)


def as_tensor(thresholds: Any) -> Tensor:
    if isinstance(thresholds, int):
        return torch.linspace(0, 1, thresholds)
    return torch.as_tensor(thresholds)


def counts_of(
    row: Row,
    preds: Tensor,
    target: Tensor,
    thresholds: Any,
    ignore_index: int | None,
    pool: bool = False,
) -> list[Counts]:
    at = None if thresholds is None else as_tensor(thresholds)
    return [count(*c, at) for c in columns(row.task, preds, target, ignore_index, pool)]


def exact_curves(
    row: Row, preds: Tensor, target: Tensor, ignore_index: int | None, pool: bool = False
) -> Curves:
    """A list of curves with a list of lengths, one curve for binary."""
    curves = [exact_curve(*c) for c in columns(row.task, preds, target, ignore_index, pool)]
    return curves[0] if row.task == "binary" or pool else curves


def expect_class_agrees(
    row: Row, preds: Tensor, target: Tensor, value: Any, **options: Any
) -> None:
    """The class in three updates, and its forward, give what the function gave."""
    metric = row.ours(**options)
    for part in range(3):
        metric.update(preds[part * 20 : part * 20 + 20], target[part * 20 : part * 20 + 20])
    expect(metric.compute(), one_value(value), rtol=0, atol=0)
    expect(row.ours(**options)(preds, target), one_value(value), rtol=0, atol=0)


# Equal error rate


def equal_errors(fpr: np.ndarray, tpr: np.ndarray, slack: float) -> np.ndarray:
    """The values at all points whose gap is least, or above that by no more than ``slack``."""
    gap = np.abs(fpr - (1 - tpr))
    return ((fpr + 1 - tpr) / 2)[gap <= gap.min() + slack]


def eer_points(
    row: Row, preds: Tensor, target: Tensor, thresholds: Any, ignore_index: int | None, average: Any
) -> list[tuple[np.ndarray, np.ndarray]]:
    counts = counts_of(row, preds, target, thresholds, ignore_index, average == "micro")
    if thresholds is None:
        counts = [c.from_origin() for c in counts]
    points = [c.rates() for c in counts]
    return [mean_curve(points)] if average == "macro" else points


def expect_equal_errors(ours: Tensor, points: list[Any], theirs: Tensor | None) -> None:
    """Ours is the first of equals; the peer rounds to float32 and takes any that look equal."""
    assert ours.dtype == torch.float32
    for value, point in zip(ours.view(-1), points, strict=True):
        assert value.item() == pytest.approx(equal_errors(*point, 1e-12)[0], abs=1e-7)
    if theirs is None:
        return
    assert ours.shape == theirs.shape
    for value, point in zip(theirs.view(-1), points, strict=True):
        assert np.abs(equal_errors(*point, 1e-6) - value.item()).min() < 1e-6


@of(EERS)
@pytest.mark.parametrize("thresholds", THRESHOLDS)
def test_equal_error_rate(row, arguments, thresholds):
    # The peer cannot interpolate between fewer than two points.
    has_peer = thresholds != "one" or arguments.get("average") != "macro"
    for kind, ignore_index in KINDS:
        preds, target = make(row.task, kind, ignore_index=ignore_index)
        options = arguments | {"thresholds": THRESHOLDS[thresholds], "ignore_index": ignore_index}
        value = row.call(preds, target, **options)
        points = eer_points(row, preds, target, *options_of(options))
        theirs = row.peer_call(preds, target, **options) if has_peer else None
        expect_equal_errors(value, points, theirs)
        expect_class_agrees(row, preds, target, value, **options)


def options_of(options: dict[str, Any]) -> tuple[Any, ...]:
    return options["thresholds"], options["ignore_index"], options.get("average")


@of(EERS)
@pytest.mark.parametrize("kind", ["probs", "grid", "logits"])
def test_equal_error_rate_at_every_score(row, arguments, kind):
    for ignore_index in (None, -1):
        preds, target = make(row.task, kind, ignore_index=ignore_index)
        options = arguments | {"thresholds": None, "ignore_index": ignore_index}
        average = arguments.get("average")
        curves = exact_curves(row, preds, target, ignore_index, average == "micro")
        value = eer_formula(curves, average)
        points = eer_points(row, preds, target, *options_of(options))
        expect_equal_errors(value, points, row.peer_call(preds, target, **options))


def test_equal_gaps_go_to_the_highest_threshold():
    """At 0.8 the rates are (0, 0.5), at 0.4 (0.6, 0.1): both gaps are 0.5."""
    target = torch.tensor([0] * 10 + [1] * 10)
    preds = torch.tensor([0.5] * 6 + [0.1] * 4 + [0.9] * 5 + [0.5] * 4 + [0.1])
    for thresholds in ([0.4, 0.8], [0.8, 0.4]):
        assert EERS[0].call(preds, target, thresholds=thresholds) == 0.25  # not 0.35


# Area over the logarithm of the false positive rate


def log_area(fpr: np.ndarray, tpr: np.ndarray, lower: float, upper: float) -> float:
    """Trapezoids over log10 between the points in the range and its ends."""
    fpr, tpr = np.r_[0, fpr, 1], np.r_[0, tpr, 1]
    inside = (fpr >= lower) & (fpr <= upper)
    x = np.r_[lower, fpr[inside], upper]
    # At an end where the curve rises, the value on the inner side; no width lies on the other.
    start = tpr[inside & (fpr == lower)]
    first = start[-1] if len(start) else np.interp(lower, fpr, tpr)
    stop = tpr[inside & (fpr == upper)]
    last = stop[0] if len(stop) else np.interp(upper, fpr, tpr)
    y = np.r_[first, tpr[inside], last]
    return float(np.trapezoid(y, np.log10(x)) / math.log10(upper / lower))


RANGES = ((0.001, 0.1), (0.01, 0.5), (0.05, 1.0), (0.2, 0.25))


def average_of(values: list[float], average: str | None) -> Any:
    return np.mean(values) if average == "macro" else np.array(values)


@pytest.fixture
def stable_peer(monkeypatch):
    """The peer sorts rates before it interpolates and leaves the order of equal ones to chance."""
    monkeypatch.setattr(torch, "argsort", partial(torch.argsort, stable=True))


@of(AREAS)
@pytest.mark.parametrize("fpr_range", RANGES)
def test_log_area(row, arguments, fpr_range, stable_peer):
    for kind, ignore_index in KINDS[:3]:
        preds, target = make(row.task, kind, ignore_index=ignore_index)
        own = arguments | {"fpr_range": fpr_range, "ignore_index": ignore_index}
        average = arguments.get("average")
        for thresholds in (5, 100, torch.tensor([-0.5, 0.2, 0.6, 1.5]), None):
            counts = counts_of(row, preds, target, thresholds, ignore_index)
            expected = average_of([log_area(*c.rates(), *fpr_range) for c in counts], average)
            if thresholds is None:
                value = logauc_formula(
                    exact_curves(row, preds, target, ignore_index), average, fpr_range
                )
            else:
                value = row.call(preds, target, thresholds=thresholds, **own)
                expect_class_agrees(row, preds, target, value, thresholds=thresholds, **own)
            np.testing.assert_allclose(value.numpy().reshape(-1), np.reshape(expected, -1), 2e-7)
            theirs = row.peer_call(preds, target, thresholds=thresholds, **own)
            # The peer takes logarithms of float32 and their differences.
            torch.testing.assert_close(value, theirs, rtol=1e-5, atol=2e-6)


def test_log_area_by_hand():
    """Rates (0.1, 0.5) and (1, 1): from 0.1 to 1 the height rises from 0.5 to 1 over one decade."""
    target = torch.tensor([0] * 10 + [1] * 2)
    preds = torch.tensor([0.9] + [0.1] * 9 + [0.9, 0.1])
    value = AREAS[0].call(preds, target, fpr_range=(0.1, 1.0), thresholds=[0.0, 0.5])
    assert value == pytest.approx(0.75)
    # From the origin: 0.05 at 0.01; the mean is 0.275 over one decade and 0.75 over the next.
    value = AREAS[0].call(preds, target, fpr_range=(0.01, 1.0), thresholds=[0.0, 0.5])
    assert value == pytest.approx((0.275 + 0.75) / 2)
    # Without a threshold that all reach, the curve still ends in (1, 1).
    value = AREAS[0].call(preds, target, fpr_range=(0.01, 1.0), thresholds=[0.5])
    assert value == pytest.approx((0.275 + 0.75) / 2)


@pytest.mark.parametrize(
    "fpr_range",
    [(0.0, 0.1), (0.1, 0.1), (0.2, 0.1), (0.1, 1.5), (0.1,), 0.1, ("a", "b"), (1, 2, 3)],
)
def test_ranges_that_do_not_fit(fpr_range):
    for row in AREAS:
        preds, target = make(row.task)
        with pytest.raises(ValueError, match="`fpr_range` must be two numbers with 0 < lower"):
            row.call(preds, target, fpr_range=fpr_range, thresholds=5)
        with pytest.raises(ValueError, match="`fpr_range` must be two numbers with 0 < lower"):
            row.ours(fpr_range=fpr_range, thresholds=5, validate_args=True)


# The best of one rate where another reaches a minimum


def best_of(module: str, curves: Curves, minimum: float, undefined: str | None = None) -> Any:
    own = {MINIMUM[module]: minimum}
    return RULES[module].of_curves(curves, average=None, undefined=undefined, **own)


def best_by_hand(module: str, counts: Counts, exact: bool, minimum: float) -> tuple[float, float]:
    """Rate and threshold, from integers; a quotient of integers is the nearest float64."""
    by_recall = module in ("recall_fixed_precision", "precision_fixed_recall")
    if exact and not by_recall:
        counts = counts.from_origin()
    positives, negatives = counts.positives, counts.negatives
    candidates = []
    for fp, tp, threshold in zip(counts.fps, counts.tps, counts.thresholds, strict=True):
        sensitivity = tp / positives if positives else 0.0
        specificity = (negatives - fp) / negatives if negatives else 1.0
        if not by_recall:
            if module == "sensitivity_specificity" and specificity >= minimum:
                candidates.append((sensitivity, threshold))
            elif module == "specificity_sensitivity" and sensitivity >= minimum:
                candidates.append((specificity, threshold))
            continue
        if fp + tp == 0 or not (positives or exact):
            continue
        precision, recall = tp / (tp + fp), (tp / positives if positives else 1.0)
        if module == "recall_fixed_precision" and precision >= minimum:
            candidates.append((recall, precision, threshold))
        elif module == "precision_fixed_recall" and recall >= minimum:
            candidates.append((precision, recall, threshold))
    best = max(candidates, default=None)
    if best is None or (by_recall and best[0] == 0):
        return 0.0, (math.nan if by_recall else 1e6)
    return best[0], best[-1]


def hand(row: PointRow, counts: list[Counts], exact: bool) -> Callable[[float], Any]:
    return lambda minimum: [best_by_hand(row.module, c, exact, minimum) for c in counts]


def expect_best(ours: Any, by_hand: list[tuple[float, float]]) -> None:
    rate, threshold = ours
    assert rate.dtype == torch.float32
    np.testing.assert_allclose(rate.numpy().reshape(-1), [r for r, _ in by_hand], 1e-7)
    np.testing.assert_array_equal(
        threshold.double().numpy().reshape(-1),
        torch.tensor([t for _, t in by_hand], dtype=torch.float64).to(threshold.dtype).double(),
    )


def expect_peer(
    row: PointRow, by_hand: Callable[[float], Any], counts: list[Counts], call: Any, minimum: float
) -> None:
    """The peer gives the same, but for what `docs/differences.md` says of it.

    It has the specificity as 1 - fpr in float32, so a point that meets the minimum may be on the
    wrong side of it; it fails for a class whose recall is NaN, and returns a precision of NaN where
    no score reaches the lowest threshold.
    """
    try:
        rates, thresholds = call(**{row.minimum: minimum})
    except IndexError:
        assert row.module == "recall_fixed_precision"
        assert minimum == 0
        assert not all(c.positives for c in counts)
        return
    best = zip(*(by_hand(near) for near in (minimum, minimum - 1e-6, minimum + 1e-6)), strict=True)
    peers = zip(rates.view(-1).tolist(), thresholds.double().view(-1).tolist(), strict=True)
    for theirs, allowed, c in zip(peers, best, counts, strict=True):
        if math.isnan(theirs[0]):
            assert row.module == "precision_fixed_recall"
            assert minimum == 0
            assert c.fps[-1] + c.tps[-1] == 0
        else:
            assert any(
                theirs == pytest.approx(ours, rel=2e-7, abs=2e-7, nan_ok=True)
                for ours in (allowed if row.module == "sensitivity_specificity" else allowed[:1])
            )


@every_best
@pytest.mark.parametrize("thresholds", THRESHOLDS)
def test_best_point(row, thresholds):
    given = THRESHOLDS[thresholds]
    for kind, ignore_index in KINDS:
        preds, target = make(row.task, kind, ignore_index=ignore_index)
        counts = counts_of(row, preds, target, given, ignore_index)
        for minimum in MINIMA:
            options = {row.minimum: minimum, "thresholds": given, "ignore_index": ignore_index}
            value = row.call(preds, target, **options)
            by_hand = hand(row, counts, exact=False)
            expect_best(value, by_hand(minimum))
            call = partial(row.peer_call, preds, target, **options)
            expect_peer(row, by_hand, counts, call, minimum)
        expect_class_agrees(row, preds, target, value, **options)


@every_best
@pytest.mark.parametrize("kind", ["probs", "grid", "logits"])
def test_best_point_at_every_score(row, kind):
    for ignore_index in (None, -1):
        preds, target = make(row.task, kind, ignore_index=ignore_index)
        counts = counts_of(row, preds, target, None, ignore_index)
        curves = exact_curves(row, preds, target, ignore_index)
        for minimum in MINIMA:
            value = best_of(row.module, curves, minimum)
            by_hand = hand(row, counts, exact=True)
            expect_best(value, by_hand(minimum))
            call = partial(row.peer_call, preds, target, ignore_index=ignore_index)
            expect_peer(row, by_hand, counts, call, minimum)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_points_of_scikit_learn(task, weighted):
    """Scores and thresholds k/16; the best is searched among the points that it returns."""
    preds, target = make(task, "grid", (200,))
    weight = torch.rand(200, dtype=torch.float64) if weighted else None
    sample_weight = weight.numpy() if weighted else None
    options = {"thresholds": 17, "weight": weight, "input": "probs"}
    classes = [(y.numpy(), x.numpy()) for x, y in columns(task, preds, target, None)]

    def check(row: PointRow, expected: list[float], curves: Any, **arguments: Any) -> None:
        value = row.call(preds, target, **arguments, **options)
        value = value[0] if row.module else value
        np.testing.assert_allclose(value.numpy().reshape(-1), expected, rtol=1e-6)
        value = curves[0] if row.module else curves
        np.testing.assert_allclose(value.numpy().reshape(-1), expected, rtol=1e-6)

    scikit_roc = [
        sklearn.metrics.roc_curve(y, x, sample_weight=sample_weight, drop_intermediate=False)
        for y, x in classes
    ]
    scikit_curve = [
        sklearn.metrics.precision_recall_curve(y, x, sample_weight=sample_weight)
        for y, x in classes
    ]
    curves = [exact_curve(x, y, weight) for x, y in columns(task, preds, target, None)]
    for row in ROWS:
        if row.task != task:
            continue
        own = {"average": None} if row in AREAS and task != "binary" else {}
        if row in EERS:
            expected = [equal_errors(fpr, tpr, 1e-12)[0] for fpr, tpr, _ in scikit_roc]
            check(row, expected, eer_formula(curves))
        elif row in AREAS:
            expected = [log_area(fpr, tpr, 0.001, 0.1) for fpr, tpr, _ in scikit_roc]
            check(row, expected, logauc_formula(curves), **own)
        for minimum in (0.37, 0.61, 0.83) if row in BEST else ():
            rates = {
                "recall_fixed_precision": [(r[:-1], p[:-1]) for p, r, _ in scikit_curve],
                "precision_fixed_recall": [(p[:-1], r[:-1]) for p, r, _ in scikit_curve],
                "sensitivity_specificity": [(tpr, 1 - fpr) for fpr, tpr, _ in scikit_roc],
                "specificity_sensitivity": [(1 - fpr, tpr) for fpr, tpr, _ in scikit_roc],
            }[row.module]
            expected = [np.max(rate[other >= minimum], initial=0.0) for rate, other in rates]
            best = best_of(row.module, curves, minimum)
            check(row, expected, best, **{row.minimum: minimum})


# Classes without positives or without negatives


def lopsided(task: str, kind: str) -> tuple[Tensor, Tensor]:
    """Scores of 60 samples and labels of one kind only: for multiclass all of class 0 or 1."""
    preds, target = make(task)
    if kind == "empty":
        return preds[:0], target[:0]
    if kind == "ignored":
        return preds, target.fill_(-1)
    if task == "multiclass":
        return preds, target.fill_(0 if kind == "negative" else 1)
    return preds, target.fill_(int(kind == "positive"))


def one_label_value(row: PointRow, counts: Counts, minimum: float, exact: bool) -> Any:
    if row in AREAS:
        return 0.0
    if row in EERS:
        fpr, tpr = (counts.from_origin() if exact else counts).rates()
        return equal_errors(fpr, tpr, 1e-12)[0]
    return best_by_hand(row.module, counts, exact, minimum)


@every_row
@pytest.mark.parametrize("kind", ["positive", "negative", "ignored", "empty"])
def test_one_label_only(row, kind):
    """The rates that are defined stay; all is NaN where that is asked for."""
    preds, target = lopsided(row.task, kind)
    average = {"average": None} if row in AREAS and row.task != "binary" else {}
    for at, minimum in itertools.product(([0.0, 0.3, 0.6], [0.5], None), (0.0, 0.5)):
        counts = counts_of(row, preds, target, at, -1)
        own = {row.minimum: minimum} if row in BEST else average
        for undefined in (None, "nan"):
            if at is None:
                value = formula_of(row, exact_curves(row, preds, target, -1), minimum, undefined)
            else:
                options = {"thresholds": at, "ignore_index": -1, "undefined": undefined}
                value = row.call(preds, target, **options, **own)
                ours = row.ours(**options, **own)
                ours.update(preds, target)
                expect(ours.compute(), one_value(value), rtol=0, atol=0)
            for c, found in zip(counts, per_class(value), strict=True):
                expected = one_label_value(row, c, minimum, at is None)
                missing = not c.positives or (row.required.keys() <= NEGATIVES and not c.negatives)
                if undefined == "nan" and missing:
                    expected = (math.nan, math.nan) if row in BEST else math.nan
                assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)


NEGATIVES = {"min_specificity", "min_sensitivity"}
"""The minima of metrics that need negatives; EER and LogAUC have no minimum and need them too."""


def formula_of(row: PointRow, curves: Curves, minimum: float, undefined: str | None) -> Any:
    if row in EERS:
        return eer_formula(curves, None, undefined)
    if row in AREAS:
        return logauc_formula(curves, None, undefined=undefined)
    return best_of(row.module, curves, minimum, undefined)


def per_class(value: Any) -> list[Any]:
    if isinstance(value, Tensor):
        return value.view(-1).tolist()
    return list(zip(*(part.double().view(-1).tolist() for part in value), strict=True))


def test_undefined_classes_are_left_out_of_averages():
    """Class 2 does not occur."""
    preds, target = make("multiclass")
    target = target.clamp(max=1)
    area, eer = AREAS[1], EERS[1]
    options: dict[str, Any] = {"thresholds": 20, "undefined": "nan"}
    each = area.call(preds, target, average=None, fpr_range=(0.1, 0.9), **options)
    assert each.isnan().tolist() == [False, False, True]
    macro = area.call(preds, target, average="macro", fpr_range=(0.1, 0.9), **options)
    torch.testing.assert_close(macro, each[:2].mean())
    points = [c.rates() for c in counts_of(eer, preds, target, 20, None)[:2]]
    macro = eer.call(preds, target, average="macro", **options)
    assert macro.item() == pytest.approx(equal_errors(*mean_curve(points), 1e-12)[0])
    for average in ("macro", "micro"):
        nothing = eer.call(preds, target * 0 - 1, average=average, ignore_index=-1, **options)
        assert nothing.isnan()
        assert nothing.ndim == 0


# Names and arguments


@every_row
def test_tasks_choose(row):
    preds, target = make(row.task)
    own: dict[str, Any] = {"thresholds": 4, "ignore_index": 1, **row.required}
    if row.suffix == "EER" and row.task == "multiclass":
        own["average"] = "micro"
    everything = {"task": row.task, "num_classes": C, "num_labels": C, **own}
    wrapper = getattr(row._module("functional.classification"), row.function)
    value = wrapper(preds, target, **everything)
    if row in AREAS and row.task != "binary":
        own["average"] = None
    expect(value, row.call(preds, target, **own), rtol=0, atol=0)
    make_metric = getattr(row._module("classification"), row.suffix)
    metric = make_metric(input="probs", **everything)
    assert type(metric) is type(row.ours(**own))
    assert metric.input == "probs"
    expect(metric(preds, target), one_value(value), rtol=0, atol=0)
    everything["task"] = "ranking"
    with pytest.raises(ValueError, match="task"):
        wrapper(preds, target, **everything)
    with pytest.raises(ValueError, match="task"):
        make_metric(**everything)
    if row.task == "multiclass":
        everything |= {"task": "multiclass", "num_classes": None}
        with pytest.raises(ValueError, match="num_classes"):
            make_metric(**everything)


@every_row
def test_what_metrics_are(row):
    ours, theirs = row.ours(thresholds=5, **row.required), row.theirs(thresholds=5, **row.required)
    parents = {cls.__name__ for cls in type(ours).__mro__}
    assert type(theirs).__mro__[1].__name__ in parents
    for argument in row.required:
        assert getattr(ours, argument) == 0.5


# Errors


@every_row
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"minimum": 1.5}, "must be a number in \\[0, 1\\], got 1.5"),
        ({"minimum": -0.1}, "must be a number in"),
        ({"minimum": math.nan}, "must be a number in"),
        ({"minimum": "half"}, "must be a number in"),
        ({"average": "weighted"}, "`average` must be one of"),
        ({"thresholds": 1}, "`thresholds` must be an integer of at least 2"),
        ({"ignore_index": 0.5}, "`ignore_index`"),
        ({"input": "scores"}, "`input` must be one of"),
        ({"undefined": 0}, "`undefined` must be one of"),
        ({"size": 1}, "must be an integer of at least 2"),
    ],
)
def test_arguments_out_of_range(row, arguments, text):
    ((argument, value),) = arguments.items()
    known = {"minimum": row in BEST, "average": bool(row.averages), "size": row.task != "binary"}
    if not known.get(argument, True):
        return
    size = "num_classes" if row.task == "multiclass" else "num_labels"
    given = {"minimum": row.minimum if row in BEST else "", "size": size}.get(argument, argument)
    options = {"thresholds": 5, "validate_args": True, **row.required, given: value}
    if argument == "size":
        call = partial(row.functional(), **options)
        metric = partial(getattr(row._module("classification"), row.cls), **options)
    else:
        call, metric = partial(row.call, **options), partial(row.ours, **options)
    with pytest.raises(ValueError, match=text):
        call(*make(row.task))
    with pytest.raises(ValueError, match=text):
        metric()


@pytest.mark.parametrize("minimum", [0, 1, True])
def test_whole_minima(minimum):
    for row in BEST:
        preds, target = make(row.task)
        value, same = (
            row.call(preds, target, thresholds=9, **{row.minimum: x})
            for x in (minimum, float(minimum))
        )
        expect(value, same, rtol=0, atol=0)


@every_row
def test_inputs_that_do_not_fit(row):
    preds, target = make(row.task)
    metric = row.ours(thresholds=5, validate_args=True, **row.required)
    with pytest.raises(ValueError):
        metric.update(preds, target + 0.5)
    target.view(-1)[-1] = 7
    with pytest.raises(RuntimeError, match="got 7 at flat index"):
        metric.update(preds, target)
    with pytest.raises(RuntimeError, match="got 7 at flat index"):
        row.call(preds, target, thresholds=5, **row.required)
    assert not metric.counts.any()


# What is ours


@of(ROWS)
def test_values_do_not_depend_on_the_order_of_thresholds(row, arguments):
    preds, target = make(row.task)
    given = [0.2, 0.9, 0.5, 0.2]
    for order in itertools.permutations(given):
        value = row.call(preds, target, thresholds=list(order), **arguments, **row.required)
        expected = row.call(preds, target, thresholds=sorted(given), **arguments, **row.required)
        expect(value, expected, rtol=0, atol=0)


@of(ROWS)
def test_weights_repeat_samples(row, arguments):
    preds, target = make(row.task, ignore_index=-1)
    weight = torch.randint(0, 4, (60,))
    options = {"thresholds": 7, "ignore_index": -1, **arguments, **row.required}
    repeated = row.call(
        preds.repeat_interleave(weight, 0), target.repeat_interleave(weight, 0), **options
    )
    expect(row.call(preds, target, weight=weight, **options), repeated, rtol=0, atol=0)


@every_best
def test_a_minimum_that_is_met_exactly(row):
    """Each tenth can be met by ten of one label; 1 - fpr rounds 0.1 to 0.09999999999999998."""
    if row.task != "binary":
        return
    preds = torch.arange(20).remainder(10) / 10 + 0.05
    target = (torch.arange(20) >= 10).long()
    for tenth in range(11):
        minimum = tenth / 10
        c = count(preds, target == 1, torch.arange(11) / 10)
        value = row.call(preds, target, thresholds=torch.arange(11) / 10, **{row.minimum: minimum})
        if row.module in ("sensitivity_specificity", "specificity_sensitivity"):
            assert value[0].item() == pytest.approx(1 - minimum)
        expect_best(value, hand(row, [c], exact=False)(minimum))


@every_best
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64])
def test_thresholds_come_back_as_they_were_given(row, dtype):
    preds, target = make(row.task)
    thresholds = torch.tensor([0.0, 1.0]) if dtype == torch.int64 else torch.rand(7)
    rate, threshold = row.call(
        preds, target, thresholds=thresholds.to(dtype), **{row.minimum: 0.01}
    )
    assert rate.dtype == torch.float32
    assert threshold.dtype == (torch.float32 if dtype == torch.int64 else dtype)
    assert torch.isin(threshold, thresholds.to(dtype)).all()


def test_nan_scores_rank_below_all_others():
    for row in ROWS:
        preds, target = make(row.task)
        lowest = preds.clone()
        preds.view(-1)[0], lowest.view(-1)[0] = math.nan, -1e30
        options = {"thresholds": [0.1, 0.5, 0.8], "input": "probs", **row.required}
        metric = row.ours(validate_args=True, **options)
        metric.update(preds, target)
        with pytest.warns(UserWarning, match="1 samples had NaN scores"):
            value = metric.compute()
        reference = row.ours(**options)
        expect(value, reference(lowest, target), rtol=0, atol=0)


def test_a_threshold_of_nan_is_the_lowest():
    """As thresholds of the data are where scores are NaN."""
    curve = exact_curve(torch.tensor([0.2, 0.4, 0.6]), torch.tensor([True, False, True]))
    curve = curve._replace(thresholds=torch.tensor([0.6, 0.4, math.nan]))
    rate, threshold = best_of("recall_fixed_precision", curve, 0.6)
    assert rate == 1
    assert threshold.isnan()
    assert [float(x) for x in best_of("specificity_sensitivity", curve, 0.5)] == [
        1.0,
        pytest.approx(0.6),
    ]


# The life of a metric


@pytest.mark.parametrize("task", TASKS)
def test_one_state_for_all_metrics_of_a_collection(task):
    preds, target = make(task)
    metrics = {
        row.suffix: row.ours(thresholds=20, validate_args=True, **row.required)
        for row in ROWS
        if row.task == task
    }
    collection = MetricCollection(metrics)
    collection.update(preds, target)
    states = {m.counts.data_ptr() for m in collection.values(copy_state=False)}
    assert len(states) == 1
    for row in ROWS:
        if row.task == task:
            alone = row.ours(thresholds=20, **row.required)(preds, target)
            expect(collection[row.suffix].compute(), alone, rtol=0, atol=0)


@every_row
def test_plots(row):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    preds, target = make(row.task)
    metric = row.ours(thresholds=5, **row.required)
    metric.update(preds, target)
    figure, axis = metric.plot()
    value = metric.compute()
    value = value[0] if row in BEST else value
    drawn = [y for line in axis.lines for y in line.get_ydata()]
    assert drawn[: value.numel()] == pytest.approx(value.view(-1).tolist())
    assert axis.get_ylabel() == row.cls
    pyplot.close(figure)
    figure, axis = metric.plot([value, value])
    pyplot.close(figure)


# Laws


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_laws(data):
    """Splitting and permuting; values lie in [0, 1]; a higher minimum makes nothing better."""
    row = data.draw(st.sampled_from(ROWS))
    size = data.draw(st.integers(1, 25))
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    preds, target = make(row.task, data.draw(st.sampled_from(["probs", "grid", "logits"])), (size,))
    options: dict[str, Any] = {"thresholds": data.draw(st.sampled_from([2, 7, [0.5], [0.1, 0.9]]))}
    if row in BEST:
        options[row.minimum] = data.draw(st.floats(0, 1))
    elif row in AREAS:
        lower = data.draw(st.floats(1e-6, 0.9))
        options["fpr_range"] = (lower, data.draw(st.floats(lower, 1, exclude_min=True)))
    whole = row.call(preds, target, **options)
    order = torch.randperm(size)
    expect(row.call(preds[order], target[order], **options), whole, rtol=0, atol=0)
    metric = row.ours(**options | ({"average": "macro"} if row in AREAS and row.averages else {}))
    cut = data.draw(st.integers(0, size))
    metric.update(preds[:cut], target[:cut])
    metric.update(preds[cut:], target[cut:])
    expect(metric.compute(), one_value(whole), rtol=0, atol=0)
    rate = whole[0] if row in BEST else whole
    assert ((rate >= 0) & (rate <= 1 + 1e-6)).all()
    if row in BEST:
        options[row.minimum] = data.draw(st.floats(options[row.minimum], 1))
        assert (row.call(preds, target, **options)[0] <= rate).all()
