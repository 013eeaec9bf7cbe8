"""Precision-recall curve, ROC, AUROC and average precision at given thresholds."""

from __future__ import annotations

import copy
import importlib
import itertools
import math
import pickle
import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
import torchmetrics.classification as peer
import torchmetrics.functional.classification as peer_functional
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fastmetrics import MetricCollection
from fastmetrics.functional.classification.precision_recall_curve import precision_recall_formula
from fastmetrics.functional.classification.roc import roc_formula
from fastmetrics.ops import thresholds as grids
from tests.classification.curves import columns, count, exact_curve, mean_curve, without_gaps
from tests.classification.inputs import SCORE_DTYPES

pytestmark = pytest.mark.thinned(2)

C = 3
TASKS = ("binary", "multiclass", "multilabel")
SIZES: dict[str, dict[str, Any]] = {
    "binary": {},
    "multiclass": {"num_classes": C},
    "multilabel": {"num_labels": C},
}
THRESHOLDS: dict[str, Any] = {
    "5": 5,
    "100": 100,
    "list": [0.1, 0.25, 0.5, 0.9],
    "one": [0.5],
    "repeated": [0.2, 0.5, 0.5, 0.7],
    "tensor": torch.tensor([0.0, 0.3, 0.6, 1.0], dtype=torch.float64),
    "beyond": torch.tensor([-0.5, 0.2, 0.6, 1.5]),
}


@dataclass(frozen=True)
class Row:
    """One metric of one task: its class, its function, and what its average may be."""

    task: str
    suffix: str
    function: str
    averages: tuple[str | None, ...] = ()

    @property
    def cls(self) -> str:
        return self.task.capitalize() + self.suffix

    def arguments(self) -> list[dict[str, Any]]:
        return [{"average": average} for average in self.averages] or [{}]

    def _module(self, package: str) -> Any:
        return importlib.import_module(f"fastmetrics.{package}.{self.function}")

    def ours(self, **arguments: Any) -> Any:
        cls = getattr(self._module("classification"), self.cls)
        return cls(**SIZES[self.task], **arguments)

    def theirs(self, **arguments: Any) -> Any:
        return getattr(peer, self.cls)(**SIZES[self.task], **arguments)

    def functional(self) -> Any:
        module = self._module("functional.classification")
        return getattr(module, f"{self.task}_{self.function}")

    def call(self, preds: Tensor, target: Tensor, **arguments: Any) -> Any:
        return self.functional()(preds, target, **SIZES[self.task], **arguments)

    def peer_call(self, preds: Tensor, target: Tensor, **arguments: Any) -> Any:
        function = getattr(peer_functional, f"{self.task}_{self.function}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(preds, target, **SIZES[self.task], **arguments)


CURVE_AVERAGES = {"multiclass": (None, "micro", "macro")}
VALUE_AVERAGES = {
    "multiclass": ("macro", "weighted", "none", None),
    "multilabel": ("micro", "macro", "weighted", "none", None),
}
CURVES = [
    *(
        Row(t, "PrecisionRecallCurve", "precision_recall_curve", CURVE_AVERAGES.get(t, ()))
        for t in TASKS
    ),
    *(Row(t, "ROC", "roc", CURVE_AVERAGES.get(t, ())) for t in TASKS),
]
VALUES = [
    *(Row(t, "AUROC", "auroc", VALUE_AVERAGES.get(t, ())) for t in TASKS),
    *(Row(t, "AveragePrecision", "average_precision", VALUE_AVERAGES.get(t, ())) for t in TASKS),
]
ROWS = CURVES + VALUES


def name(value: Any) -> str | None:
    if isinstance(value, Row):
        return value.cls
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items()) or "defaults"
    return None


def of(rows: list[Row]) -> Any:
    cases = [(row, arguments) for row in rows for arguments in row.arguments()]
    return pytest.mark.parametrize(("row", "arguments"), cases, ids=name)


every_row = pytest.mark.parametrize("row", ROWS, ids=name)


def make(
    task: str,
    kind: str = "probs",
    shape: tuple[int, ...] = (60,),
    dtype: torch.dtype = torch.float32,
    ignore_index: int | None = None,
) -> tuple[Tensor, Tensor]:
    """One batch; about a fifth of the targets is ``ignore_index``. No logit lies in [0, 1]."""
    scores_shape = shape if task == "binary" else (shape[0], C, *shape[1:])
    target_shape = shape if task == "multiclass" else scores_shape
    target = torch.randint(0, C if task == "multiclass" else 2, target_shape)
    if kind == "grid":
        preds = torch.randint(0, 16, scores_shape) / 16
    elif kind == "logits":
        preds = torch.randn(scores_shape) * 3
        preds = preds + (preds > 0)
    else:
        preds = torch.rand(scores_shape)
        preds = preds.softmax(1) if task == "multiclass" else preds
    if ignore_index is not None:
        target = target.where(torch.rand(target_shape) > 0.2, ignore_index)
    return preds.to(dtype), target


def tolerance(row: Row, arguments: dict[str, Any]) -> dict[str, float]:
    # The peer interpolates in float32 along lines that are almost vertical.
    if row.suffix == "PrecisionRecallCurve" and arguments.get("average") == "macro":
        return {"rtol": 2e-3, "atol": 2e-4}
    return {"rtol": 2e-6, "atol": 1e-6}


def expect(actual: Any, expected: Any, **bounds: float) -> None:
    if isinstance(expected, Tensor):
        assert actual.dtype == expected.dtype
        torch.testing.assert_close(actual, expected, equal_nan=True, **bounds)
        return
    assert type(actual) is type(expected)
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        expect(one, other, **bounds)


def one_value(result: Any) -> Any:
    """Metrics return scalars for tensors with one element, functions do not."""
    if isinstance(result, Tensor):
        return result.squeeze() if result.numel() == 1 else result
    return type(result)(one_value(part) for part in result)


def whole(thresholds: Any) -> Tensor:
    """The same with one that all scores reach, and one that none does: the peer adds no lines."""
    at = torch.linspace(0, 1, thresholds) if isinstance(thresholds, int) else thresholds
    at = torch.as_tensor(at)
    return torch.cat([at.new_tensor([-1.0]), at.sort().values, at.new_tensor([2.0])])


# The peer


@of(ROWS)
@pytest.mark.parametrize("thresholds", THRESHOLDS)
def test_functions_and_classes_agree_with_the_peer(row, arguments, thresholds):
    if thresholds == "one" and arguments.get("average") == "macro":
        pytest.skip("the peer cannot interpolate between fewer than two points")
    arguments = arguments | {"thresholds": THRESHOLDS[thresholds]}
    at = THRESHOLDS[thresholds]
    if row.suffix == "AUROC":
        at = whole(at)
    for kind, ignore_index in itertools.product(("probs", "logits"), (None, -1, 1)):
        preds, target = make(row.task, kind, ignore_index=ignore_index)
        options = arguments | {"ignore_index": ignore_index}
        expected = row.peer_call(preds, target, **options | {"thresholds": at})
        if row.suffix == "PrecisionRecallCurve" and arguments.get("average") == "macro":
            each = row.peer_call(preds, target, **options | {"average": None})
            if each[0].isnan().any():  # see test_mean_curves_leave_out_points_without_predictions
                continue
        bounds = tolerance(row, arguments)
        expect(row.call(preds, target, **options), expected, **bounds)
        ours = row.ours(**options)
        for part in range(3):
            ours.update(preds[part * 20 : part * 20 + 20], target[part * 20 : part * 20 + 20])
        expect(ours.compute(), one_value(expected), **bounds)
        expect(row.ours(**options)(preds, target), one_value(expected), **bounds)


@pytest.mark.parametrize("thresholds", [*THRESHOLDS, None])
@pytest.mark.parametrize("kind", ["probs", "grid", "logits"])
def test_mean_curves_are_those_of_float64(kind, thresholds):
    """Interpolated by a loop; the peer does it in float32."""
    given = THRESHOLDS.get(thresholds)
    for ignore_index, row in itertools.product((None, -1), (CURVES[1], CURVES[4])):
        preds, target = make(row.task, kind, ignore_index=ignore_index)
        at = torch.linspace(0, 1, given) if isinstance(given, int) else given
        at = None if at is None else torch.as_tensor(at)
        classes = columns(row.task, preds, target, ignore_index)
        counts = [count(*c, at) for c in classes]
        if row.suffix == "ROC":
            points = [(c.from_origin() if given is None else c).rates() for c in counts]
            formula: Any = roc_formula
        else:
            points = [c.precision_and_recall() for c in counts]
            formula = precision_recall_formula
        if given is None:
            x, y, _ = formula([exact_curve(*c) for c in classes], "macro")
        else:
            options = {"thresholds": given, "ignore_index": ignore_index}
            x, y, _ = row.call(preds, target, average="macro", **options)
        mean = mean_curve(points) if row.suffix == "ROC" else without_gaps(points)
        for actual, expected in zip((x, y), mean, strict=True):
            np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-6, atol=1e-7)


@every_row
@pytest.mark.parametrize("shape", [(7, 5), (4, 2, 3)])
def test_further_axes_join_the_samples(row, shape):
    preds, target = make(row.task, shape=shape)
    expected = row.peer_call(preds, target, thresholds=6)
    expect(row.call(preds, target, thresholds=6), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    "function", ["precision_recall_curve", "roc", "auroc", "average_precision"]
)
def test_task_functions_choose(function):
    row = next(row for row in ROWS if row.function == function)
    wrapper = getattr(row._module("functional.classification"), function)
    for task in TASKS:
        own = next(row for row in ROWS if row.function == function and row.task == task)
        preds, target = make(task)
        options: dict[str, Any] = {"thresholds": 4, "ignore_index": 1}
        expect(
            wrapper(preds, target, task=task, num_classes=C, num_labels=C, **options),
            own.call(preds, target, **options),
            rtol=0,
            atol=0,
        )
    with pytest.raises(ValueError, match="task"):
        wrapper(preds, target, task="ranking", thresholds=4)
    with pytest.raises(ValueError, match="num_classes"):
        wrapper(preds, target, task="multiclass", thresholds=4)


@pytest.mark.parametrize("suffix", ["PrecisionRecallCurve", "ROC", "AUROC", "AveragePrecision"])
def test_task_classes_choose(suffix):
    for task in TASKS:
        row = next(row for row in ROWS if row.suffix == suffix and row.task == task)
        wrapper = getattr(row._module("classification"), suffix)
        metric = wrapper(task=task, num_classes=C, num_labels=C, thresholds=4, input="probs")
        assert type(metric) is type(row.ours(thresholds=4))
        assert metric.input == "probs"


# scikit-learn: scores k/16 and thresholds k/16, so that nothing is lost between thresholds


def by_class(task: str, preds: Tensor, target: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    if task == "binary":
        return [(target.numpy(), preds.numpy())]
    if task == "multiclass":
        return [((target == c).long().numpy(), preds[:, c].numpy()) for c in range(C)]
    return [(target[:, c].numpy(), preds[:, c].numpy()) for c in range(C)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_values_are_those_of_scikit_learn(task, weighted):
    preds, target = make(task, "grid", (200,))
    weight = torch.rand(200, dtype=torch.float64) if weighted else None
    sample_weight = weight.numpy() if weighted else None
    oracles = {
        "AUROC": sklearn.metrics.roc_auc_score,
        "AveragePrecision": sklearn.metrics.average_precision_score,
    }
    classes = by_class(task, preds, target)
    for row in VALUES:
        if row.task != task:
            continue
        expected = [oracles[row.suffix](y, x, sample_weight=sample_weight) for y, x in classes]
        arguments = {"average": None} if task != "binary" else {}
        value = row.call(preds, target, thresholds=17, weight=weight, **arguments)
        np.testing.assert_allclose(np.atleast_1d(value.numpy()), expected, rtol=1e-6)


@pytest.mark.parametrize("max_fpr", [0.05, 0.3, 0.5, 0.99, 1.0])
def test_partial_area_is_that_of_scikit_learn(max_fpr):
    for task in TASKS:
        row = next(row for row in VALUES if row.task == task)
        preds, target = make(task, "grid", (200,))
        weight = torch.rand(200, dtype=torch.float64)
        arguments = {"average": None} if task != "binary" else {}
        value = row.call(preds, target, thresholds=17, weight=weight, max_fpr=max_fpr, **arguments)
        expected = [
            sklearn.metrics.roc_auc_score(y, x, sample_weight=weight.numpy(), max_fpr=max_fpr)
            for y, x in by_class(task, preds, target)
        ]
        np.testing.assert_allclose(np.atleast_1d(value.numpy()), expected, rtol=1e-5)


@pytest.mark.parametrize("thresholds", [5, 100, [0.0, 0.2, 0.99]])
@pytest.mark.parametrize("max_fpr", [0.05, 0.5, 0.9, 1.0])
def test_partial_area_is_that_of_the_peer(max_fpr, thresholds):
    preds, target = make("binary", shape=(300,))
    row = VALUES[0]
    expected = row.peer_call(preds, target, max_fpr=max_fpr, thresholds=whole(thresholds))
    value = row.call(preds, target, max_fpr=max_fpr, thresholds=thresholds)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_partial_area_of_a_curve_that_starts_or_ends_beside_it():
    """All negatives reach the only threshold, or none do."""
    target = torch.tensor([0, 0, 1, 1])
    row = VALUES[0]
    right = row.call(torch.tensor([0.6, 0.7, 0.8, 0.9]), target, max_fpr=0.5, thresholds=[0.5])
    torch.testing.assert_close(right, torch.tensor(0.5))
    left = row.call(torch.tensor([0.1, 0.2, 0.3, 0.9]), target, max_fpr=0.5, thresholds=[0.5])
    # From (0, 0.5) to (0.5, 0.75): 0.3125 of at most 0.5, at least 0.125.
    torch.testing.assert_close(left, torch.tensor(0.5 * (1 + (0.3125 - 0.125) / 0.375)))


@pytest.mark.parametrize("thresholds", [5, 200, [0.2, 0.5, 1.0], [0.3, 0.6]])
@pytest.mark.parametrize("score", [1.0, 0.7])
def test_equal_scores_tell_nothing_apart(score, thresholds):
    """The curve comes from (0, 0) and ends in (1, 1), wherever the thresholds lie."""
    for task, row in ((each.task, each) for each in VALUES if each.suffix == "AUROC"):
        shape = (8,) if task == "binary" else (8, C)
        preds = torch.full(shape, score)
        target = torch.arange(8) % (2 if task == "binary" else C)
        if task == "multilabel":
            target = (torch.arange(8)[:, None] + torch.arange(C)) % 2
        for more in ({}, {"max_fpr": 0.5}):
            value = row.call(preds, target, thresholds=thresholds, input="probs", **more)
            torch.testing.assert_close(value, torch.tensor(0.5))


@pytest.mark.parametrize("thresholds", [4, 11, 100, [0.1, 0.5, 0.9]])
@pytest.mark.parametrize("seed", range(4))
def test_mean_curves_leave_out_points_without_predictions(thresholds, seed):
    """Where a class has no score at a threshold its precision is not defined."""
    generator = torch.Generator().manual_seed(seed)
    preds = torch.rand(12, C, generator=generator).softmax(1)  # none above 0.6
    target = torch.arange(12) % C
    row = next(each for each in CURVES if each.task == "multiclass")
    precision, recall, at = row.call(preds, target, thresholds=thresholds, average="macro")
    for values in (precision, recall):
        assert len(values) == len(at) + C
        assert values.isfinite().all() and (values >= 0).all() and (values <= 1).all()


# What is ours


@of(CURVES)
def test_unsorted_thresholds_keep_their_order(row, arguments):
    if arguments.get("average") == "macro":
        pytest.skip("sorted anyway")
    preds, target = make(row.task)
    thresholds = [0.9, 0.2, 0.5, 0.2]
    options = arguments | {"thresholds": thresholds}
    expect(
        row.call(preds, target, **options),
        row.peer_call(preds, target, **options),
        rtol=2e-6,
        atol=1e-6,
    )


@of(VALUES)
def test_values_do_not_depend_on_the_order_of_thresholds(row, arguments):
    preds, target = make(row.task)
    values = [
        row.call(preds, target, thresholds=thresholds, **arguments)
        for thresholds in ([0.2, 0.5, 0.9], [0.9, 0.2, 0.5])
    ]
    assert torch.equal(*values)


@every_row
def test_tables_at_each_threshold(row):
    options = {"thresholds": [0.7, 0.1, 0.5], "ignore_index": -1}
    preds, target = make(row.task, ignore_index=-1)
    ours, theirs = row.ours(**options), row.theirs(**options)
    ours.update(preds, target)
    theirs.update(preds, target)
    assert torch.equal(ours.confmat, theirs.confmat)
    assert torch.equal(ours.thresholds, theirs.thresholds)


@every_row
def test_tables_can_be_assigned(row):
    """The thresholds ascend: the peer's values are wrong for others."""
    options = {"thresholds": [0.1, 0.5, 0.5, 0.7], "ignore_index": -1}
    preds, target = make(row.task, ignore_index=-1)
    ours, theirs = row.ours(**options), row.theirs(**options)
    theirs.update(preds, target)
    ours.confmat = theirs.confmat
    assert torch.equal(ours.confmat, theirs.confmat)
    assert ours.counts.dtype == torch.int64
    value = row.call(preds, target, **options)
    ours._update_count = 1
    expect(ours.compute(), one_value(value), rtol=0, atol=0)
    ours.confmat += theirs.confmat
    ours.update(preds, target)
    assert torch.equal(ours.confmat, 3 * theirs.confmat)
    ours.confmat = ours.confmat / 2
    expect(ours.compute(), one_value(value), rtol=1e-6, atol=1e-7)
    ours.update(preds, target)
    assert torch.equal(ours.confmat, 2.5 * theirs.confmat)


def test_statistics_of_equal_thresholds_are_equal():
    """Whatever they were given as, on whatever device; in another order they tell the same."""
    first = CURVES[0].ours(thresholds=5).statistic
    for thresholds in ([0.0, 0.25, 0.5, 0.75, 1.0], torch.linspace(1, 0, 5)):
        second = VALUES[0].ours(thresholds=thresholds).statistic
        assert first == second
        assert hash(first) == hash(second)
        assert repr(first) == repr(second)
    for other in (
        VALUES[0].ours(thresholds=6),
        VALUES[0].ours(thresholds=5, input="probs"),
        VALUES[0].ours(thresholds=5, ignore_index=0),
        VALUES[0].ours(thresholds="auto"),
        VALUES[0].ours(),
    ):
        assert other.statistic != first
        again = pickle.loads(pickle.dumps(other.statistic))
        assert (again, repr(again)) == (other.statistic, repr(other.statistic))
        assert copy.deepcopy(again) == again
    moved = first.to(torch.device("meta"))
    assert moved == first
    assert moved.arguments()[0].device.type == "meta"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda f, p, t: f(p), "binary_auroc() missing"),
        (lambda f, p, t: f(p, t, weigth=p), "binary_auroc() got an unexpected"),
        (lambda f, p, t: f(p, t, None, max_fpr=0.5), "binary_auroc() multiple values"),
        (lambda f, p, t: f(p, t, None, None, None, True, p), "binary_auroc() too many"),
    ],
)
def test_calls_that_python_refuses(call, text):
    with pytest.raises(TypeError, match=re.escape(text)):
        call(VALUES[0].functional(), *make("binary"))


@of(ROWS)
def test_weights_repeat_samples(row, arguments):
    preds, target = make(row.task, ignore_index=-1)
    weight = torch.randint(0, 4, (60,))
    options = arguments | {"thresholds": 7, "ignore_index": -1}
    repeated = row.call(
        preds.repeat_interleave(weight, 0), target.repeat_interleave(weight, 0), **options
    )
    expect(row.call(preds, target, weight=weight, **options), repeated, rtol=1e-6, atol=1e-7)
    metric = row.ours(**options)
    metric.update(preds[:20], target[:20])
    metric.update(preds[20:], target[20:], weight[20:].float())
    ones = torch.cat([torch.ones(20), weight[20:].float()])
    expect(metric.compute(), row.call(preds, target, weight=ones, **options), rtol=1e-6, atol=1e-7)


@every_row
@pytest.mark.parametrize("input", ["probs", "logits"])
def test_input_says_what_scores_are(row, input):
    """Scores that could be either; the peer goes by their range."""
    preds, target = make(row.task)
    scores = preds.softmax(1) if row.task == "multiclass" else preds.sigmoid()
    expected = row.peer_call(scores if input == "logits" else preds, target, thresholds=9)
    value = row.call(preds, target, thresholds=9, input=input)
    expect(value, expected, rtol=2e-6, atol=1e-6)


@every_row
def test_one_score_outside_makes_all_of_them_logits(row):
    """Whatever batch it is in."""
    preds, target = make(row.task, "logits")
    inside = preds.clamp(0, 1)
    metric = row.ours(thresholds=9)
    metric.update(inside[:30], target[:30])
    metric.update(preds[30:], target[30:])
    both = torch.cat([inside[:30], preds[30:]])
    expect(metric.compute(), row.peer_call(both, target, thresholds=9), rtol=2e-6, atol=1e-6)


def test_logits_do_not_saturate():
    """In float32 their sigmoids are all 1."""
    preds = torch.tensor([98.0, 99.0, 97.0, 100.0])
    target = torch.tensor([0, 1, 0, 1])
    threshold = 1.0 - 2.0**-53
    thresholds = torch.tensor([0.0, threshold], dtype=torch.float64)
    fpr, tpr, _ = CURVES[3].call(
        torch.tensor([36.0, 37.0]), torch.tensor([0, 1]), thresholds=thresholds
    )
    assert (fpr.tolist(), tpr.tolist()) == ([0.0, 1.0], [1.0, 1.0])
    assert VALUES[0].call(preds, target, thresholds=5, input="logits") == 0.5  # all above 0.75


@every_row
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_small_floats_are_compared_exactly(row, dtype):
    preds, target = make(row.task, "logits", dtype=dtype)
    expected = row.peer_call(preds.double(), target, thresholds=9)
    expect(row.call(preds, target, thresholds=9), expected, rtol=2e-6, atol=1e-6)


@every_row
@pytest.mark.parametrize("kind", ["positive", "negative", "ignored", "empty"])
def test_classes_without_positives_or_negatives(row, kind):
    """As the peer where it has a value; NaN where that is asked for."""
    preds, target = make(row.task)
    if kind == "ignored":
        target.fill_(-1)
    elif kind == "empty":
        preds, target = preds[:0], target[:0]
    elif row.task == "multiclass":
        target.fill_(1 if kind == "positive" else 0)
    else:
        target.fill_(int(kind == "positive"))
    options: dict[str, Any] = {"thresholds": 5, "ignore_index": -1}
    if kind not in ("empty", "ignored"):
        expect(
            row.call(preds, target, **options),
            row.peer_call(preds, target, **options),
            rtol=2e-6,
            atol=1e-6,
        )
    value = row.call(preds, target, undefined="nan", **options)
    zero = row.call(preds, target, **options)
    if row in CURVES:
        return
    if kind in ("empty", "ignored"):
        assert zero == 0 and math.isnan(value)
    elif row.task == "multiclass":
        # Two classes have one label only, in AUROC all three.
        assert math.isnan(value) == (row.suffix == "AUROC")
    elif row.suffix == "AUROC" or kind == "negative":
        assert zero == 0 and math.isnan(value)
    else:
        assert value == zero == 1


def test_undefined_classes_are_left_out_of_averages():
    preds = torch.tensor([[0.1, 0.9, 0.3], [0.8, 0.2, 0.6], [0.4, 0.7, 0.2], [0.6, 0.1, 0.9]])
    target = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    for row in VALUES:
        if row.task != "multilabel":
            continue
        each = row.call(preds, target, thresholds=11, average=None, undefined="nan")
        assert each.isnan().tolist() == [False, False, True]
        macro = row.call(preds, target, thresholds=11, average="macro", undefined="nan")
        torch.testing.assert_close(macro, each[:2].mean())
        weighted = row.call(preds, target, thresholds=11, average="weighted", undefined="nan")
        torch.testing.assert_close(weighted, (each[0] * 1 + each[1] * 3) / 4)


def test_nan_scores_rank_below_all_others_and_are_reported():
    for row in VALUES:
        preds, target = make(row.task)
        target.view(-1)[0] = 1
        lowest = preds.clone()
        preds.view(-1)[0] = math.nan
        lowest.view(-1)[0] = -1e30
        metric = row.ours(thresholds=[0.1, 0.5, 0.8], input="probs")
        metric.update(preds, target)
        with pytest.warns(UserWarning, match="1 samples had NaN scores"):
            value = metric.compute()
        expected = row.call(lowest, target, thresholds=[0.1, 0.5, 0.8], input="probs")
        torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_infinite_scores_are_ordinary():
    preds = torch.tensor([math.inf, 3.0, -math.inf, -2.0])
    target = torch.tensor([1, 0, 0, 1])
    fpr, tpr, _ = CURVES[3].call(preds, target, thresholds=3)
    assert fpr.tolist() == [0.0, 0.5, 1.0]
    assert tpr.tolist() == [0.5, 0.5, 1.0]


# Errors


@every_row
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"thresholds": 1}, "`thresholds` must be an integer of at least 2"),
        ({"thresholds": True}, "`thresholds`"),
        ({"thresholds": [0.5, 2.0]}, "`thresholds` must be a list of at least one float"),
        ({"thresholds": []}, "`thresholds` must be a list of at least one float"),
        ({"thresholds": [0, 1]}, "`thresholds` must be a list of at least one float"),
        ({"thresholds": torch.rand(2, 2)}, "`thresholds` must be a tensor with one axis"),
        ({"thresholds": "many"}, "`thresholds` must be None, 'auto', an integer"),
        ({"ignore_index": 0.5}, "`ignore_index`"),
        ({"input": "scores"}, "`input` must be one of"),
        ({"undefined": 0}, "`undefined` must be one of"),
        ({"max_fpr": 0.0}, "`max_fpr` must be None or a float in"),
        ({"max_fpr": 1}, "`max_fpr` must be None or a float in"),
        ({"max_fpr": 1.5}, "`max_fpr` must be None or a float in"),
        ({"average": "samples"}, "`average` must be one of"),
        ({"normalization": "softmax"}, "`normalization` must be one of"),
    ],
)
def test_arguments_out_of_range(row, arguments, text):
    (argument,) = arguments
    known = {"max_fpr": row.suffix == "AUROC", "average": bool(row.averages)}
    known["normalization"] = False
    arguments = {"thresholds": 5} | arguments
    if argument == "normalization" and row.task == "binary":
        with pytest.raises(ValueError, match=text):
            row.ours(**arguments)
    if not known.get(argument, True):
        return
    with pytest.raises(ValueError, match=text):
        row.ours(**arguments)
    preds, target = make(row.task)
    with pytest.raises(ValueError, match=text):
        row.call(preds, target, **arguments)


@every_row
def test_inputs_that_do_not_fit(row):
    preds, target = make(row.task)
    metric = row.ours(thresholds=5)
    for bad in ((preds.long(), target), (preds, target + 0.5), (preds[:-1], target)):
        with pytest.raises(ValueError):
            metric.update(*bad)
    wrong = target.clone()
    wrong.view(-1)[-1] = 7
    with pytest.raises(RuntimeError, match="got 7 at flat index"):
        metric.update(preds, wrong)
    assert not metric.counts.any()
    assert not metric.events.any()


# The life of a metric


@every_row
def test_copies_checkpoints_and_reset(row):
    preds, target = make(row.task)
    metric = row.ours(thresholds=[0.3, 0.1, 0.6])
    metric.persistent(True)
    metric.update(preds, target)
    value = metric.compute()
    fresh = row.ours(thresholds=[0.3, 0.1, 0.6])
    fresh.persistent(True)
    fresh.load_state_dict(metric.state_dict())
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), fresh):
        expect(other.compute(), value, rtol=0, atol=0)
    metric.half()
    assert metric.thresholds.dtype == torch.float32
    expect(metric(preds, target), value, rtol=0, atol=0)
    metric.reset()
    assert not metric.counts.any()


def test_one_state_for_all_metrics_of_a_collection():
    preds, target = make("binary")
    metrics = {row.suffix: row.ours(thresholds=20) for row in ROWS if row.task == "binary"}
    collection = MetricCollection(metrics)
    collection.update(preds, target)
    states = {m.counts.data_ptr() for m in collection.values(copy_state=False)}
    assert len(states) == 1
    other = MetricCollection(
        {"a": VALUES[0].ours(thresholds=20), "b": VALUES[0].ours(thresholds=21)}
    )
    other.update(preds, target)
    assert other["a"].counts.shape != other["b"].counts.shape


def test_changing_given_thresholds_later_changes_nothing():
    thresholds = torch.tensor([0.2, 0.5])
    metric = CURVES[0].ours(thresholds=thresholds)
    thresholds.zero_()
    assert metric.thresholds.tolist() == [pytest.approx(0.2), 0.5]


def test_changing_returned_thresholds_changes_no_other_call():
    """Uniform thresholds are laid out once; everyone gets a copy."""
    cpu = torch.device("cpu")
    assert grids.make_grid(7, "auto", False, cpu) is grids.make_grid(7, "auto", False, cpu)
    preds, target = make("binary")
    for row in CURVES:
        if row.task == "binary":
            metric = row.ours(thresholds=7)
            for thresholds in (metric.thresholds, metric(preds, target)[2]):
                thresholds.zero_()
            row.call(preds, target, thresholds=7)[2].zero_()
            assert torch.equal(metric.thresholds, torch.linspace(0, 1, 7))
            assert row.call(preds, target, thresholds=7)[2].max() == 1


def test_shared_thresholds_are_plain_tensors():
    """What is made while tracing or in inference mode does not stay for other calls."""
    cpu = torch.device("cpu")
    with FakeTensorMode():
        assert not grids.makes_plain_tensors()
    assert not torch.compile(grids.makes_plain_tensors, backend="eager")()
    with torch.inference_mode():
        grids.make_grid(11, "auto", False, cpu)
    grid = grids.make_grid(11, "auto", False, cpu)
    assert not grid.edges.is_inference() and not grid.thresholds.is_inference()


@pytest.mark.parametrize("row", CURVES, ids=name)
def test_plots(row):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    preds, target = make(row.task)
    metric = row.ours(thresholds=5)
    metric.update(preds, target)
    lines = 1 if row.task == "binary" else C
    figure, axis = metric.plot(score=True)
    assert len(axis.lines) == lines
    assert all("AUC=" in text.get_text() for text in axis.get_legend().get_texts())
    same, axis = metric.plot(curve=metric.compute(), ax=axis)
    assert same is None
    assert len(axis.lines) == 2 * lines
    pyplot.close(figure)


def test_values_are_plotted_as_values():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    preds, target = make("binary")
    metric = VALUES[0].ours(thresholds=5)
    metric.update(preds, target)
    figure, axis = metric.plot()
    assert axis.get_ylabel() == "BinaryAUROC"
    pyplot.close(figure)


# Laws


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_laws(data):
    """Splitting, permuting and relabelling; areas lie in [0, 1]."""
    row = data.draw(st.sampled_from(ROWS))
    size = data.draw(st.integers(1, 25))
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    preds, target = make(row.task, data.draw(st.sampled_from(["probs", "grid", "logits"])), (size,))
    thresholds = data.draw(st.sampled_from([2, 7, [0.5], [0.1, 0.9]]))
    whole = row.call(preds, target, thresholds=thresholds)
    order = torch.randperm(size)
    expect(row.call(preds[order], target[order], thresholds=thresholds), whole, rtol=0, atol=0)
    metric = row.ours(thresholds=thresholds)
    cut = data.draw(st.integers(0, size))
    metric.update(preds[:cut], target[:cut])
    metric.update(preds[cut:], target[cut:])
    expect(metric.compute(), one_value(whole), rtol=0, atol=0)
    if row in VALUES:
        assert 0 <= whole <= 1
