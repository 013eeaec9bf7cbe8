"""Confusion matrix, Cohen's kappa, Matthews correlation and Jaccard index against their oracles."""

from __future__ import annotations

import inspect
import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
import torchmetrics.classification as peer
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

import fastmetrics
import fastmetrics.functional as wrappers
from fastmetrics import classification, functional

pytestmark = pytest.mark.thinned(2)

C, L = 4, 3
SIZES = {"binary": {}, "multiclass": {"num_classes": C}, "multilabel": {"num_labels": L}}


def sk_matrix(target, preds, task, weight, normalize=None):
    if task == "multilabel":
        tables = sklearn.metrics.multilabel_confusion_matrix(target, preds, sample_weight=weight)
        axes = {"true": -1, "pred": -2, "all": (-2, -1)}
        if normalize in (None, "none"):
            return tables
        total = tables.sum(axes[normalize], keepdims=True)
        return np.divide(tables, total, out=np.zeros(tables.shape), where=total > 0)
    labels = range(2 if task == "binary" else C)
    how = None if normalize == "none" else normalize
    return sklearn.metrics.confusion_matrix(
        target, preds, labels=labels, sample_weight=weight, normalize=how
    )


def sk_kappa(target, preds, task, weight, weights=None):
    how = None if weights == "none" else weights
    return sklearn.metrics.cohen_kappa_score(target, preds, weights=how, sample_weight=weight)


def sk_matthews(target, preds, task, weight):
    if task == "multilabel":
        weight = None if weight is None else np.repeat(weight, L)
    return sklearn.metrics.matthews_corrcoef(target.ravel(), preds.ravel(), sample_weight=weight)


def sk_jaccard(target, preds, task, weight, average="macro", zero_division=0):
    how = "binary" if task == "binary" else None if average == "none" else average
    return sklearn.metrics.jaccard_score(
        target, preds, average=how, sample_weight=weight, zero_division=zero_division
    )


@dataclass(frozen=True)
class Row:
    """One metric: its class, its function, what its constructor takes and its oracle."""

    task: str
    suffix: str
    function: str
    oracle: Callable[..., Any]
    grid: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def cls(self) -> str:
        return self.task.capitalize() + self.suffix

    def arguments(self) -> list[dict[str, Any]]:
        values = itertools.product(*self.grid.values())
        return [dict(zip(self.grid, chosen, strict=True)) for chosen in values]

    def ours(self, **arguments: Any) -> Any:
        return getattr(classification, self.cls)(**SIZES[self.task], **arguments)

    def theirs(self, **arguments: Any) -> Any:
        return getattr(peer, self.cls)(**SIZES[self.task], **arguments)

    def call(self, preds: Tensor, target: Tensor, **arguments: Any) -> Tensor:
        function = getattr(functional.classification, f"{self.task}_{self.function}")
        return function(preds, target, **SIZES[self.task], **arguments)


TASKS = ("binary", "multiclass", "multilabel")
NORMALIZE = {"normalize": (None, "none", "true", "pred", "all")}
WEIGHTS = {"weights": (None, "none", "linear", "quadratic")}
AVERAGING = {"average": ("micro", "macro", "weighted", "none", None), "zero_division": (0, 1)}
ROWS = [
    *(Row(t, "ConfusionMatrix", "confusion_matrix", sk_matrix, NORMALIZE) for t in TASKS),
    *(Row(t, "CohenKappa", "cohen_kappa", sk_kappa, WEIGHTS) for t in TASKS[:2]),
    *(Row(t, "MatthewsCorrCoef", "matthews_corrcoef", sk_matthews) for t in TASKS),
    Row("binary", "JaccardIndex", "jaccard_index", sk_jaccard, {"zero_division": (0, 1)}),
    *(Row(t, "JaccardIndex", "jaccard_index", sk_jaccard, AVERAGING) for t in TASKS[1:]),
]
CASES = [(row, arguments) for row in ROWS for arguments in row.arguments()]


def name(value: Any) -> str | None:
    if isinstance(value, Row):
        return value.cls
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items()) or "defaults"
    return None


thresholded_row = pytest.mark.parametrize(
    "row", [row for row in ROWS if row.task != "multiclass"], ids=name
)
every_row = pytest.mark.parametrize("row", ROWS, ids=name)
every_case = pytest.mark.parametrize(("row", "arguments"), CASES, ids=name)


def make(
    task: str,
    kind: str,
    shape: tuple[int, ...],
    seed: int,
    *,
    score_dtype: torch.dtype = torch.float32,
    label_dtype: torch.dtype = torch.int64,
    ignore_index: int | None = None,
) -> tuple[Tensor, Tensor]:
    """One batch; every fifth target is ``ignore_index``. Scores keep clear of the threshold."""
    random = torch.Generator().manual_seed(seed)
    n, *rest = shape
    label_shape = (n, L, *rest) if task == "multilabel" else (n, *rest)
    score_shape = (n, C, *rest) if task == "multiclass" else label_shape
    classes = C if task == "multiclass" else 2
    target = torch.randint(0, classes, label_shape, generator=random).to(label_dtype)
    if kind == "labels":
        preds = torch.randint(0, classes, label_shape, generator=random).to(label_dtype)
    else:
        grid = torch.randint(0, 32, score_shape, generator=random).add(0.25).div(32)
        preds = (grid if kind == "probs" else grid.mul(8).sub(4)).to(score_dtype)
    if ignore_index is not None:
        target[torch.rand(label_shape, generator=random) < 0.2] = ignore_index
    return preds, target


def to_labels(task: str, preds: Tensor, threshold: float = 0.5) -> Tensor:
    """What the scores mean, by the rule as documented."""
    if not preds.is_floating_point():
        return preds.long()
    if task == "multiclass":
        return preds.argmax(1)
    scores = preds.double()
    if ((scores < 0) | (scores > 1)).any():
        scores = scores.sigmoid()
    return (scores > threshold).long()


def flat(task: str, labels: Tensor) -> np.ndarray:
    """Samples first, labels second, as scikit-learn takes them."""
    if task == "multilabel":
        return labels.movedim(1, -1).reshape(-1, L).numpy()
    return labels.flatten().numpy()


def expect(actual: Tensor, expected: Any) -> None:
    """Equal up to float32 rounding of the oracle; the shape must agree too."""
    expected = torch.as_tensor(np.asarray(expected))
    assert actual.shape == expected.shape
    torch.testing.assert_close(
        actual.double(), expected.double(), rtol=2e-6, atol=1e-6, equal_nan=True
    )


def quiet(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call an oracle without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **kwargs)


def peer_value(row: Row, arguments: dict[str, Any], *batches: tuple[Tensor, Tensor]) -> Tensor:
    """What the peer computes, but 0 for a binary correlation that is not defined.

    Where one margin of the table is 0 and there are hits and misses, the peer returns a value that
    depends on the number of samples; see `test_a_constant_prediction_does_not_correlate`.
    """
    metric = row.theirs(**arguments)
    for preds, target in batches:
        # The peer cannot mark what to ignore in small dtypes; the values are the same.
        quiet(metric.update, preds, target.long())
    value = quiet(metric.compute)
    table = metric.confmat.sum(0) if row.task == "multilabel" else metric.confmat
    if row.suffix == "MatthewsCorrCoef" and len(table) == 2:
        undefined = (table.sum(0) == 0).any() or (table.sum(1) == 0).any()
        if undefined and 0 < table.trace() < table.sum():
            return torch.tensor(0.0)
        return value.float()  # the peer returns int64 for 1 and -1
    return value


def check_against_peer(row, arguments, kind, shape, score_dtype, label_dtype, ignore_index):
    arguments = arguments | {"ignore_index": ignore_index}
    metric = row.ours(**arguments)
    batches = [
        make(
            row.task,
            kind,
            shape,
            seed,
            score_dtype=score_dtype,
            label_dtype=label_dtype,
            ignore_index=ignore_index,
        )
        for seed in range(3)
    ]
    for batch in batches:
        expected = peer_value(row, arguments, batch)
        for value in (metric(*batch), row.call(*batch, **arguments)):
            expect(value, expected)
            assert value.dtype == expected.dtype
    expect(metric.compute(), peer_value(row, arguments, *batches))


@every_case
@pytest.mark.parametrize("kind", ["probs", "logits", "labels"])
def test_equals_torchmetrics(row, arguments, kind):
    for ignore_index in (None, 0, -1):
        check_against_peer(row, arguments, kind, (24,), torch.float32, torch.int64, ignore_index)


@every_row
@pytest.mark.parametrize("shape", [(7, 5), (3, 2, 4)], ids=str)
def test_equals_torchmetrics_with_more_axes(row, shape):
    for kind, ignore_index in itertools.product(("probs", "logits", "labels"), (None, 1, -100)):
        check_against_peer(row, {}, kind, shape, torch.float64, torch.int64, ignore_index)


@every_row
@pytest.mark.parametrize("kind", ["probs", "logits"])
@pytest.mark.parametrize("score_dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_score_dtypes(row, kind, score_dtype):
    check_against_peer(row, {}, kind, (20, 2), score_dtype, torch.int64, None)


@every_row
@pytest.mark.parametrize(
    "label_dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.bool], ids=str
)
def test_label_dtypes(row, label_dtype):
    preds, target = make(row.task, "labels", (20,), 0, label_dtype=label_dtype)
    expect(row.call(preds, target), row.call(preds.long(), target.long()))
    preds, target = make(row.task, "probs", (20,), 0, label_dtype=label_dtype)
    expect(row.call(preds, target), row.call(preds, target.long()))


@pytest.mark.exhaustive
@every_case
@pytest.mark.parametrize("ignore_index", [None, 0, 1, C, -1, -100])
def test_whole_grid(row, arguments, ignore_index):
    for kind, shape, score_dtype in itertools.product(
        ("probs", "logits", "labels"),
        ((24,), (9, 4), (3, 2, 5), (2, 2, 2, 3)),
        (torch.float16, torch.bfloat16, torch.float32, torch.float64),
    ):
        if kind == "labels" and score_dtype != torch.float32:
            continue  # there are no scores
        check_against_peer(row, arguments, kind, shape, score_dtype, torch.int64, ignore_index)


@every_case
@pytest.mark.parametrize("kind", ["probs", "logits", "labels"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_equals_sklearn(row, arguments, kind, weighted):
    metric = row.ours(**arguments)
    batches = [make(row.task, kind, (30,), seed) for seed in range(3)]
    weights = [torch.rand(30, generator=torch.Generator().manual_seed(s)) for s in range(3)]
    for (preds, target), weight in zip(batches, weights, strict=True):
        metric.update(preds, target, weight=weight if weighted else None)
    target = np.concatenate([flat(row.task, target) for _, target in batches])
    labels = np.concatenate([flat(row.task, to_labels(row.task, preds)) for preds, _ in batches])
    weight = torch.cat(weights).double().numpy() if weighted else None
    expect(metric.compute(), quiet(row.oracle, target, labels, row.task, weight, **arguments))


@thresholded_row
def test_threshold(row):
    for kind, threshold in itertools.product(("probs", "logits"), (0.0, 0.25, 0.8, 1.0)):
        preds, target = make(row.task, kind, (40,), 0)
        labels = to_labels(row.task, preds, threshold)
        expect(row.call(preds, target, threshold=threshold), row.call(labels, target))


@pytest.mark.parametrize(
    "suffix", ["ConfusionMatrix", "CohenKappa", "MatthewsCorrCoef", "JaccardIndex"]
)
def test_task_wrappers(suffix):
    ours = getattr(fastmetrics, suffix)
    rows = [row for row in ROWS if row.suffix == suffix]
    function = rows[0].function
    call = getattr(wrappers, function)
    for row in rows:
        for arguments in row.arguments():
            metric = ours(row.task, **SIZES[row.task], **arguments, ignore_index=0)
            assert type(metric) is getattr(classification, row.cls)
            preds, target = make(row.task, "probs", (20,), 3)
            expected = row.ours(**arguments, ignore_index=0)
            expect(metric(preds, target), expected(preds, target))
            value = call(
                preds, target, task=row.task, ignore_index=0, **SIZES[row.task], **arguments
            )
            expect(value, expected.compute())
    empty = torch.zeros(0)
    for task in ("regression", None):
        with pytest.raises(ValueError, match="task"):
            ours(task)
        with pytest.raises(ValueError, match="task"):
            call(empty, empty.long(), task=task)
    with pytest.raises(ValueError, match="num_classes"):
        ours("multiclass")
    with pytest.raises(ValueError, match="num_classes"):
        call(empty, empty.long(), task="multiclass")
    if len(rows) == 3:
        with pytest.raises(ValueError, match="num_labels"):
            ours("multilabel", num_classes=3)
    else:
        with pytest.raises(ValueError, match="task"):
            ours("multilabel", num_labels=3)


BAD_ARGUMENTS = {
    "threshold": (1, -0.1, 1.1, "0.5", math.nan),
    "ignore_index": (1.0, "1"),
    "normalize": ("rows", True),
    "weights": ("cubic", 2),
    "average": ("samples", "binary"),
    "zero_division": (0.5, "warn"),
    "num_classes": (1, 0, -2, 2.0, "3", None),
    "num_labels": (1, 0, -2, 2.0, "3", None),
    "input": ("sigmoid", None),
}


@every_row
def test_bad_arguments(row):
    names = inspect.signature(getattr(classification, row.cls)).parameters
    preds, target = make(row.task, "probs", (4,), 0)
    function = getattr(functional.classification, f"{row.task}_{row.function}")
    for argument, values in BAD_ARGUMENTS.items():
        for value in values if argument in names else ():
            arguments = SIZES[row.task] | {argument: value}
            with pytest.raises(ValueError, match=f"`{argument}`"):
                getattr(classification, row.cls)(**arguments)
            with pytest.raises(ValueError, match=f"`{argument}`"):
                function(preds, target, **arguments)


def bad_calls(task: str) -> dict[str, tuple[type[Exception], str, tuple[Any, ...]]]:
    """What ``update`` must refuse: the error, a word of its text, and the arguments."""
    preds, target = make(task, "probs", (6,), 0)
    labels = target.clone()
    above, below = target.clone(), target.clone()
    above.view(-1)[-1] = 2 if task != "multiclass" else C
    below.view(-1)[-1] = -1
    return {
        "shape": (ValueError, "shape", (preds, target[:5])),
        "float target": (ValueError, "target", (preds, target + 0.5)),
        "complex preds": (ValueError, "preds", (preds.to(torch.complex64), target)),
        "target too large": (RuntimeError, "target", (preds, above)),
        "target negative": (RuntimeError, "target", (preds, below)),
        "preds too large": (RuntimeError, "preds", (above, labels)),
        "preds negative": (RuntimeError, "preds", (below, labels)),
        "scalars": (ValueError, "axis", (preds.view(-1)[0], target.view(-1)[0])),
        "weight shape": (ValueError, "weight", (preds, target, torch.ones(5))),
        "weight dtype": (ValueError, "weight", (preds, target, torch.ones(6).cfloat())),
        "target and weight": (RuntimeError, "target", (preds, above, torch.ones(6))),
        "classes": (ValueError, "shape", (preds[:, :2], target[:, :2]))
        if task == "multilabel"
        else (ValueError, "shape", (torch.rand(6, C + 1), labels)),
    }


@every_row
@pytest.mark.parametrize("problem", bad_calls("binary"))
def test_bad_input_leaves_the_state_alone(row, problem):
    error, word, call = bad_calls(row.task)[problem]
    metric = row.ours()
    metric.update(*make(row.task, "logits", (9,), 1))
    counts, events = metric.counts.clone(), metric.events.clone()
    value, updates = metric.compute(), metric.update_count
    for act in (metric.update, metric.forward):
        with pytest.raises(error, match=word):
            act(*call)
    assert metric.counts.dtype == torch.int64
    assert torch.equal(metric.counts, counts)
    assert torch.equal(metric.events, events)
    assert metric.update_count == updates
    assert torch.equal(metric.compute(), value)
    if len(call) == 2:
        with pytest.raises(error, match=word):
            row.call(*call)


@every_row
def test_without_validation_bad_labels_are_left_out(row):
    preds, target = make(row.task, "probs", (6,), 0)
    bad = target.clone()
    bad[2] = 9
    kept = torch.arange(6) != 2
    value = row.call(preds, bad, validate_args=False)
    expect(value, row.call(preds[kept], target[kept]))


@every_case
@pytest.mark.parametrize("kind", ["probs", "labels"])
def test_empty_input(row, arguments, kind):
    preds, target = make(row.task, kind, (0,), 0)
    expected = peer_value(row, arguments, (preds, target))
    expect(row.ours(**arguments)(preds, target), expected)
    expect(row.call(preds, target, **arguments), expected)
    full, empty = row.ours(**arguments), make(row.task, kind, (0,), 0)
    full.update(*make(row.task, kind, (10,), 0))
    before = full.compute()
    full.update(*empty)
    assert torch.equal(full.compute(), before)


@every_case
def test_all_ignored(row, arguments):
    preds, target = make(row.task, "probs", (6,), 0)
    target.fill_(-1)
    arguments = arguments | {"ignore_index": -1}
    expected = peer_value(row, arguments, (preds, target))
    expect(row.call(preds, target, **arguments), expected)


@every_case
@pytest.mark.parametrize("wanted", [0, 1])
@pytest.mark.parametrize("found", [0, 1])
@pytest.mark.parametrize("n", [1, 5])
def test_one_class_only(row, arguments, wanted, found, n):
    shape = (n, L) if row.task == "multilabel" else (n,)
    preds, target = torch.full(shape, found), torch.full(shape, wanted)
    expected = peer_value(row, arguments, (preds, target))
    expect(row.call(preds, target, **arguments), expected)


@every_case
def test_absent_classes(row, arguments):
    preds, target = torch.tensor([1, 1, 2, 2, 2]), torch.tensor([1, 2, 2, 2, 1])
    if row.task != "multiclass":
        preds, target = preds - 1, target - 1
    if row.task == "multilabel":
        preds = torch.stack([preds, preds * 0, preds], 1)
        target = torch.stack([target, target * 0, target * 0], 1)
    expected = peer_value(row, arguments, (preds, target))
    expect(row.call(preds, target, **arguments), expected)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@every_row
def test_whatever_the_labels(row, data):
    n = data.draw(st.integers(0, 6))
    arguments = data.draw(st.sampled_from(row.arguments()))
    arguments = arguments | {"ignore_index": data.draw(st.sampled_from([None, 0, 1, -1]))}
    shape = (n, L) if row.task == "multilabel" else (n,)
    classes = C if row.task == "multiclass" else 2
    lowest = -1 if arguments["ignore_index"] == -1 else 0
    preds = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, classes - 1)))
    target = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(lowest, classes - 1)))
    batch = torch.from_numpy(preds), torch.from_numpy(target)
    expect(row.call(*batch, **arguments), peer_value(row, arguments, batch))


@every_row
def test_nan_scores_are_counted_as_torch_does_and_reported(row):
    preds, target = make(row.task, "probs", (12,), 0)
    preds[2], preds.view(12, -1)[5, -1] = math.nan, math.nan
    labels = preds.argmax(1) if row.task == "multiclass" else (preds > 0.5).long()
    expected = row.call(labels, target)
    metric = row.ours()
    metric.update(preds, target)
    with pytest.warns(UserWarning, match="NaN"):
        expect(metric.compute(), expected)
    with pytest.warns(UserWarning, match="NaN"):
        expect(row.call(preds, target), expected)


@every_row
def test_infinite_scores_are_ordinary(row):
    preds, target = make(row.task, "logits", (12,), 0)
    preds[3], preds[4] = math.inf, -math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expect(row.call(preds, target), row.call(to_labels(row.task, preds), target))


@every_row
def test_batches_and_copies_do_not_matter(row):
    preds, target = make(row.task, "logits", (40,), 0)
    # The first batch alone looks like probabilities.
    preds[:10] = preds[:10].abs().clamp(max=4) / 4
    whole = row.call(preds, target)
    metric, swapped = row.ours(), row.ours()
    for part in (slice(0, 10), slice(10, 11), slice(11, 40)):
        metric.update(preds[part], target[part])
    swapped.update(preds[10:], target[10:])
    other = row.ours()
    other.update(preds[:10], target[:10])
    swapped.merge_state(other)
    assert torch.equal(metric.compute(), whole)
    assert torch.equal(swapped.compute(), whole)
    strided = torch.stack([preds, preds], -1)[..., 0]
    assert torch.equal(row.call(strided, target), whole)


@thresholded_row
def test_named_input(row):
    preds, target = make(row.task, "probs", (30,), 0)
    expect(row.call(preds, target, input="probs"), row.call((preds > 0.5).long(), target))
    expect(row.call(preds, target, input="logits"), row.call((preds > 0.0).long(), target))
    for kind in ("probs", "logits"):
        metric = row.ours(input=kind)
        metric.update(preds, target)
        assert torch.equal(metric.compute(), row.call(preds, target, input=kind))


@every_row
def test_weight_two_is_a_sample_twice(row):
    preds, target = make(row.task, "probs", (15,), 0)
    weight = torch.arange(15) % 3
    again = torch.repeat_interleave(torch.arange(15), weight)
    expect(row.call(preds, target, weight=weight), row.call(preds[again], target[again]))
    metric = row.ours()
    metric.update(preds[:5], target[:5])
    metric.update(preds[5:], target[5:], weight=weight[5:].float())
    again = torch.cat([torch.arange(5), again[again >= 5]])
    expect(metric.compute(), row.call(preds[again], target[again]))


@every_row
def test_value_is_not_the_state(row):
    metric = row.ours()
    metric.update(*make(row.task, "probs", (10,), 0))
    value = metric.compute()
    before = value.clone()
    metric.update(*make(row.task, "probs", (10,), 1))
    assert torch.equal(value, before)


def exact_value(row: Row, tables: list[list[list[int]]], **arguments: Any) -> float:
    """The value of square integer matrices, in rational arithmetic until the last root."""
    matrix = [
        [sum(t[i][j] for t in tables) for j in range(len(tables[0]))] for i in range(len(tables[0]))
    ]
    classes = range(len(matrix))
    rows = [sum(line) for line in matrix]
    columns = [sum(line[j] for line in matrix) for j in classes]
    total = sum(rows)
    if row.suffix == "CohenKappa":
        power = {None: 0, "none": 0, "linear": 1, "quadratic": 2}[arguments.get("weights")]
        cells = [(i, j) for i in classes for j in classes if i != j]
        observed = sum(abs(i - j) ** power * matrix[i][j] for i, j in cells)
        expected = sum(abs(i - j) ** power * rows[i] * columns[j] for i, j in cells)
        return float(1 - Fraction(total * observed, expected))
    if row.suffix == "MatthewsCorrCoef":
        covariance = total * sum(matrix[k][k] for k in classes) - sum(
            rows[k] * columns[k] for k in classes
        )
        square = Fraction(
            covariance**2,
            (total**2 - sum(r * r for r in rows)) * (total**2 - sum(c * c for c in columns)),
        )
        return math.copysign(math.sqrt(square), covariance)
    assert row.suffix == "JaccardIndex"
    if row.task == "multiclass":
        parts = [(matrix[k][k], rows[k] + columns[k] - matrix[k][k]) for k in classes]
    else:
        parts = [(t[1][1], t[1][1] + t[0][1] + t[1][0]) for t in tables]
    return float(sum(Fraction(a, b) for a, b in parts) / len(parts))


@pytest.mark.parametrize("scale", [2**24, 2**31, 2**40])
@pytest.mark.parametrize(
    ("row", "arguments"),
    [case for case in CASES if case[0].suffix == "CohenKappa"]
    + [(row, {}) for row in ROWS if row.suffix in ("MatthewsCorrCoef", "JaccardIndex")],
    ids=name,
)
def test_counts_beyond_float32_and_int32_products(row, arguments, scale):
    metric = row.ours(**arguments)
    *_, size, _ = metric.counts.shape
    number = L if row.task == "multilabel" else 1
    random = np.random.default_rng(scale)
    tables = (random.integers(1, 9, (number, size, size)) * scale + 1).tolist()
    tables[0][0][0] += 30 * scale
    metric.update(*make(row.task, "probs", (8,), 0))
    metric.counts.copy_(
        torch.tensor(tables).reshape(metric.counts.shape[-3:] if size == 2 else (C, C))
    )
    metric._computed = None
    expected = exact_value(row, tables, **arguments)
    assert metric.compute().item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("row", [r for r in ROWS if r.suffix == "ConfusionMatrix"], ids=name)
def test_large_matrices(row):
    metric = row.ours()
    metric.update(*make(row.task, "labels", (8,), 0))
    before = metric.compute()
    metric.counts += 2**31 + 1
    metric._computed = None
    assert torch.equal(metric.compute(), before + 2**31 + 1)
    share = row.ours(normalize="all")
    share.update(*make(row.task, "labels", (8,), 0))
    share.counts += 2**31 + 1
    cells = before.shape[-1] ** 2
    expect(share.compute(), torch.full(before.shape, 1 / cells))


@pytest.mark.parametrize("scale", [1, 2**20, 2**31])
def test_a_constant_prediction_does_not_correlate(scale):
    """Undefined, so 0, however many samples there are; scikit-learn says the same."""
    metric = classification.BinaryMatthewsCorrCoef()
    metric.update(torch.tensor([1, 1]), torch.tensor([1, 1]))
    metric.counts.copy_(torch.tensor([[0, 1], [0, 3]]) * scale)
    assert metric.compute() == 0
    assert quiet(sklearn.metrics.matthews_corrcoef, [0, 1, 1, 1], [1, 1, 1, 1]) == 0


@pytest.mark.parametrize("row", [r for r in ROWS if r.suffix == "MatthewsCorrCoef"], ids=name)
def test_rare_class_correlates_exactly(row):
    """One hit among 2^31 samples: float32 products, and even their float64 difference, lose it."""
    metric = row.ours()
    metric.update(*make(row.task, "labels", (4,), 0))
    metric.counts.zero_()
    if row.task == "multiclass":
        metric.counts[0, 0], metric.counts[1, 1], metric.counts[0, 1] = 2**31, 1, 1
    else:
        for reading in metric.counts:
            reading[0] = torch.tensor([[2**31, 1], [0, 1]])
    # tp=1, fp=1, fn=0: MCC = sqrt(tn / (2 * (tn + 1))).
    assert metric.compute().item() == pytest.approx(math.sqrt(2**31 / (2 * (2**31 + 1))), rel=1e-7)


matrices = hnp.arrays(
    np.int64, st.integers(2, 5).map(lambda c: (c, c)), elements=st.integers(0, 2**36)
)


@settings(max_examples=60, deadline=None)
@given(matrix=matrices, seed=st.integers(0, 2**16))
def test_formulas_keep_their_bounds_and_symmetries(matrix, seed):
    from fastmetrics.functional.classification.cohen_kappa import cohen_kappa_formula
    from fastmetrics.functional.classification.jaccard import multiclass_jaccard_formula
    from fastmetrics.functional.classification.matthews_corrcoef import matthews_corrcoef_formula

    counts = torch.from_numpy(matrix)
    order = torch.randperm(len(counts), generator=torch.Generator().manual_seed(seed))
    relabelled = counts[order][:, order]
    symmetric = {
        "kappa": lambda m: cohen_kappa_formula(m, None),
        "matthews": matthews_corrcoef_formula,
        "jaccard": lambda m: multiclass_jaccard_formula(m, "macro", None, 0),
    }
    for formula in symmetric.values():
        value = formula(counts)
        expect(formula(relabelled), value)
        expect(formula(counts.T), value)
        assert value.isnan() or -1.000001 <= value <= 1.000001
    diagonal = torch.diag(counts.diagonal() + 1)
    assert all(formula(diagonal) == 1 for formula in symmetric.values())
    for weights in ("linear", "quadratic"):
        expect(cohen_kappa_formula(counts.T, weights), cohen_kappa_formula(counts, weights))
        assert cohen_kappa_formula(diagonal, weights) == 1


def test_functional_multilabel_jaccard_is_the_class():
    """The peer's function takes ``ignore_index`` for the number of a label, its class does not."""
    row = ROWS[-1]
    for average, ignore_index in itertools.product(("micro", "macro", "weighted", None), (0, 1)):
        preds, target = make("multilabel", "probs", (30,), 0)
        arguments = {"average": average, "ignore_index": ignore_index}
        expected = peer_value(row, arguments, (preds, target))
        expect(row.call(preds, target, **arguments), expected)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_absent_classes_do_not_make_the_average_nan(average):
    preds, target = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0])
    row = next(r for r in ROWS if r.cls == "MulticlassJaccardIndex")
    expected = row.call(preds, target, average=average, zero_division=0)
    expect(row.call(preds, target, average=average, zero_division=math.nan), expected)
    each = row.call(preds, target, average=None, zero_division=math.nan)
    assert each.isnan().tolist() == [False, False, True, True]


def test_metrics_on_one_statistic_say_so():
    def key(cls: str, **arguments: Any) -> Any:
        return getattr(classification, cls)(**arguments).statistic

    for task in TASKS:
        rows = [r for r in ROWS if r.task == task]
        assert len({r.ours().statistic for r in rows}) == 1, task
    assert key("BinaryConfusionMatrix") == key("BinaryConfusionMatrix", normalize="all")
    changes = (
        {"threshold": 0.3},
        {"ignore_index": 0},
        {"input": "probs"},
        {"validate_args": False},
    )
    keys = [key("BinaryConfusionMatrix", **change) for change in ({}, *changes)]
    keys += [key("MultilabelConfusionMatrix", num_labels=n) for n in (2, 3)]
    keys += [key("MulticlassConfusionMatrix", num_classes=n) for n in (2, 3)]
    keys += [key("MulticlassConfusionMatrix", num_classes=3, ignore_index=0)]
    assert len(set(keys)) == len(keys)


@every_row
def test_state_of_torchmetrics_can_be_set(row: Row) -> None:
    ours, theirs = row.ours(), row.theirs()
    preds, target = make(row.task, "logits", (30,), 0)
    theirs.update(preds, target)
    ours.confmat = theirs.confmat
    ours.confmat += theirs.confmat
    assert torch.equal(ours.confmat, 2 * theirs.confmat)
    theirs.update(preds, target)
    ours.update(preds, target)
    assert torch.equal(2 * ours.confmat, 3 * theirs.confmat)


def test_setting_a_state_leaves_the_group() -> None:
    metrics = fastmetrics.MetricCollection(
        {
            "matrix": classification.MulticlassConfusionMatrix(C),
            "score": classification.MulticlassF1Score(C),
            "recall": classification.MulticlassRecall(C),
        }
    )
    preds, target = make("multiclass", "probs", (50,), 0)
    metrics.update(preds, target)
    metrics.update(preds, target)
    before, recall = metrics["matrix"].confmat.clone(), metrics["recall"].tp.clone()
    assert torch.equal(metrics["score"].tp, before.diagonal())
    metrics["score"].tp = torch.ones(C)
    assert torch.equal(metrics["score"].tp, torch.ones(C))
    assert torch.equal(metrics["matrix"].confmat, before)
    assert torch.equal(metrics["recall"].tp, recall)


def test_assigning_an_argument_changes_what_is_counted() -> None:
    metric = classification.BinaryConfusionMatrix()
    metric.threshold = 0.9
    assert metric.statistic == classification.BinaryAccuracy(threshold=0.9).statistic
    assert metric(torch.tensor([0.95, 0.8]), torch.tensor([1, 1])).tolist() == [[0, 0], [1, 1]]


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


@pytest.mark.parametrize("row", [r for r in ROWS if r.suffix == "ConfusionMatrix"], ids=name)
def test_heat_map(row, pyplot):
    metric = row.ours()
    metric.update(*make(row.task, "probs", (20,), 0))
    value = metric.compute()
    figure, axes = metric.plot()
    tables = value if value.ndim == 3 else value.unsqueeze(0)
    drawn = list(axes) if value.ndim == 3 else [axes]
    assert len(drawn) == len(tables) == len(figure.axes)
    for ax, table in zip(drawn, tables, strict=True):
        assert [text.get_text() for text in ax.texts] == [str(v) for v in table.flatten().tolist()]
        assert torch.equal(torch.from_numpy(np.array(ax.images[0].get_array())), table)
    shown = [name_ for ax in figure.axes for name_ in (ax.get_xlabel(), ax.get_ylabel())]
    assert "Predicted class" in shown
    assert "True class" in shown
    names = [f"name {i}" for i in range(len(value))]
    _, axes = metric.plot(value.double() / 3, add_text=False, labels=names, cmap="Blues")
    drawn = list(axes) if value.ndim == 3 else [axes]
    assert drawn[0].images[0].get_cmap().name == "Blues"
    assert not drawn[0].texts
    if value.ndim == 3:
        assert [ax.get_title() for ax in drawn] == [f"Label {n}" for n in names]
    else:
        assert [tick.get_text() for tick in axes.get_xticklabels()] == names
        assert [tick.get_text() for tick in axes.get_yticklabels()] == names
        figure, ax = pyplot.subplots()
        assert metric.plot(ax=ax) == (figure, ax)
        _, axes = metric.plot(value / 3)
        assert axes.texts[0].get_text() == str(round(value[0, 0].item() / 3, 2))
    with pytest.raises(ValueError, match="labels"):
        metric.plot(labels=["one"])
    with pytest.raises(TypeError, match="val"):
        metric.plot([value])


def test_values_plot_as_points(pyplot):
    for row in ROWS:
        if row.suffix != "ConfusionMatrix":
            metric = row.ours()
            metric.update(*make(row.task, "probs", (20,), 0))
            _, ax = metric.plot()
            assert ax.get_ylabel() == row.cls
