"""The stat-score metrics against torchmetrics, scikit-learn and counts made by hand."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
import torchmetrics
import torchmetrics.classification as peer
import torchmetrics.functional as peer_wrappers
import torchmetrics.functional.classification as peer_functional
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import fastmetrics
import fastmetrics.functional as wrappers
from fastmetrics import classification, functional
from fastmetrics.ops import counted
from fastmetrics.ops.counted import Counts
from tests.classification.inputs import (
    LABEL_DTYPES,
    SCORE_DTYPES,
    class_inputs,
    count_by_hand,
    inputs_for,
    threshold_inputs,
)

pytestmark = pytest.mark.thinned(2)

C, L = 4, 3
TASKS = ("binary", "multiclass", "multilabel")
SIZE = {"binary": 1, "multiclass": C, "multilabel": L}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "binary": {},
    "multiclass": {"num_classes": C},
    "multilabel": {"num_labels": L},
}
AVERAGES = ("micro", "macro", "weighted", "none", None)


# -- the table ---------------------------------------------------------------------------------


def right(task, tp, fp, tn, fn):
    return (tp, tp + fn) if task == "multiclass" else (tp + tn, tp + fp + tn + fn)


def wrong(task, tp, fp, tn, fn):
    return (fn, tp + fn) if task == "multiclass" else (fp + fn, tp + fp + tn + fn)


def fbeta(beta):
    b = Fraction(beta) ** 2
    return lambda task, tp, fp, tn, fn: ((1 + b) * tp, (1 + b) * tp + b * fn + fp)


def sk_accuracy(target, preds, average, weight, zero_division):
    if average == "micro":
        return sklearn.metrics.accuracy_score(target.ravel(), preds.ravel(), sample_weight=weight)
    return sk_recall(target, preds, average, weight, zero_division)


def sk_hamming(target, preds, average, weight, zero_division):
    assert average == "micro"
    return sklearn.metrics.hamming_loss(target.ravel(), preds.ravel(), sample_weight=weight)


def sk_score(score, **fixed):
    def oracle(target, preds, average, weight, zero_division):
        return score(
            target,
            preds,
            average=average,
            sample_weight=weight,
            zero_division=zero_division,
            **fixed,
        )

    return oracle


sk_recall = sk_score(sklearn.metrics.recall_score)


@dataclass(frozen=True)
class Row:
    """One metric: names, extra arguments, ratio, value of 0/0 (None: the caller's) and oracle."""

    suffix: str
    function: str
    ratio: Callable[..., tuple[Any, Any]]
    undefined: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    sklearn: Callable[..., Any] | None = None

    def metric(self, task: str, **options: Any) -> Any:
        cls = getattr(classification, task.capitalize() + self.suffix)
        return cls(**self.extra, **ARGUMENTS[task], **options)

    def theirs(self, task: str, **options: Any) -> Any:
        cls = getattr(peer, task.capitalize() + self.suffix)
        return cls(**self.extra, **ARGUMENTS[task], **options)

    def call(self, task: str, preds: Tensor, target: Tensor, **options: Any) -> Tensor:
        function = getattr(functional.classification, f"{task}_{self.function}")
        return function(preds, target, **self.extra, **ARGUMENTS[task], **options)

    def call_theirs(self, task: str, preds: Tensor, target: Tensor, **options: Any) -> Tensor:
        function = getattr(peer_functional, f"{task}_{self.function}")
        return function(preds, target, **self.extra, **ARGUMENTS[task], **options)


ROWS = [
    Row("Accuracy", "accuracy", right, 0, sklearn=sk_accuracy),
    Row("HammingDistance", "hamming_distance", wrong, 1, sklearn=sk_hamming),
    Row(
        "Precision",
        "precision",
        lambda task, tp, fp, tn, fn: (tp, tp + fp),
        sklearn=sk_score(sklearn.metrics.precision_score),
    ),
    Row("Recall", "recall", lambda task, tp, fp, tn, fn: (tp, tp + fn), sklearn=sk_recall),
    Row("Specificity", "specificity", lambda task, tp, fp, tn, fn: (tn, tn + fp), 0),
    Row(
        "NegativePredictiveValue",
        "negative_predictive_value",
        lambda task, tp, fp, tn, fn: (tn, tn + fn),
    ),
    Row("F1Score", "f1_score", fbeta(1), sklearn=sk_score(sklearn.metrics.f1_score)),
    Row(
        "FBetaScore",
        "fbeta_score",
        fbeta(0.5),
        extra={"beta": 0.5},
        sklearn=sk_score(sklearn.metrics.fbeta_score, beta=0.5),
    ),
]
STAT_SCORES = Row("StatScores", "stat_scores", right)
ALL_ROWS = [STAT_SCORES, *ROWS]
by_name = {"ids": lambda row: row.suffix}
every_row = pytest.mark.parametrize("row", ALL_ROWS, **by_name)
every_ratio = pytest.mark.parametrize("row", ROWS, **by_name)
every_task = pytest.mark.parametrize("task", TASKS)


def exact_value(
    row: Row,
    task: str,
    counts: np.ndarray,
    average: str | None = "macro",
    top_k: int = 1,
    zero_division: float = 0,
) -> float | list[float]:
    """The value of counts ``[C, 4]``, in fractions."""
    undefined = zero_division if row.undefined is None else row.undefined
    columns = [[Fraction(float(x)) for x in counts_of_class] for counts_of_class in counts]
    if average == "micro" or task == "binary":
        columns = [[sum(column) for column in zip(*columns, strict=True)]]
    scores, weights = [], []
    for tp, fp, tn, fn in columns:
        numerator, denominator = row.ratio(task, tp, fp, tn, fn)
        scores.append(Fraction(numerator, denominator) if denominator else undefined)
        if average == "weighted":
            weights.append(tp + fn)
        elif task == "multilabel":
            weights.append(1)
        else:
            asks_targets = top_k > 1 and row.suffix in {
                "Accuracy", "Precision", "Recall", "NegativePredictiveValue",
            }  # fmt: skip
            weights.append(int((tp + fn if asks_targets else tp + fp + fn) > 0))
    if average in ("none", None) and task != "binary":
        return [float(score) for score in scores]
    if len(scores) == 1:
        return float(scores[0])
    if not sum(weights):
        return 0.0
    return float(sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights))


def close(ours: Tensor, theirs: Any) -> None:
    """Equal up to the rounding of float32; counts exactly, in shape too."""
    theirs = torch.as_tensor(theirs)
    if not ours.is_floating_point():
        assert ours.dtype == torch.int64
        assert torch.equal(ours, theirs)
        return
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-6, atol=1e-6, equal_nan=True)


# -- torchmetrics --------------------------------------------------------------------------------


def peer_grid() -> Iterator[tuple[Row, str, dict[str, Any], str, tuple[int, ...]]]:
    """Row, task, options, kind of scores and shape of everything that torchmetrics can do too."""
    for row, task in itertools.product(ALL_ROWS, TASKS):
        averages = (None,) if task == "binary" else AVERAGES
        top_ks = (1, 2, C) if task == "multiclass" else (1,)
        undefined = (0, 1) if row.undefined is None and row is not STAT_SCORES else (0,)
        for average, how, ignore_index, top_k, zero, kind, shape in itertools.product(
            averages,
            ("global", "samplewise"),
            (None, -1, 0, 1, 255),
            top_ks,
            undefined,
            ("labels", "probs", "logits"),
            ((7,), (6, 5), (5, 2, 3)),
        ):
            if how == "samplewise" and len(shape) == 1:
                continue
            if top_k > 1 and kind == "labels":
                continue
            if (row, task, average, how) == (STAT_SCORES, "multilabel", "weighted", "samplewise"):
                continue  # theirs divides by the targets of all samples of a batch
            options: dict[str, Any] = {"multidim_average": how, "ignore_index": ignore_index}
            if task != "binary":
                options["average"] = average
            if task == "multiclass":
                options["top_k"] = top_k
            if zero:
                options["zero_division"] = zero
            yield row, task, options, kind, shape


PEER_GRID = list(peer_grid())


def check_against_peer(
    row: Row, task: str, options: dict[str, Any], kind: str, shape: tuple[int, ...]
) -> None:
    ours, theirs = row.metric(task, **options), row.theirs(task, **options)
    batches = [
        inputs_for(task, kind, (rows, *shape[1:]), SIZE[task], ignore_index=options["ignore_index"])
        for rows in (shape[0], 2, shape[0] + 3)
    ]
    close(row.call(task, *batches[0], **options), row.call_theirs(task, *batches[0], **options))
    if row.suffix == "NegativePredictiveValue" and "zero_division" in options:
        # Their class forgets the argument, their function does not.
        close(ours(*batches[0]), row.call_theirs(task, *batches[0], **options))
        return
    for preds, target in batches[:-1]:
        ours.update(preds, target)
        theirs.update(preds, target)
    close(ours(*batches[-1]), theirs(*batches[-1]))
    close(ours.compute(), theirs.compute())


def test_equals_torchmetrics() -> None:
    for case in PEER_GRID[::53]:
        check_against_peer(*case)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(16))
def test_equals_torchmetrics_everywhere(part: int) -> None:
    for case in PEER_GRID[part::16]:
        check_against_peer(*case)


@every_row
@every_task
def test_wrapper_equals_torchmetrics(row: Row, task: str) -> None:
    preds, target = inputs_for(task, "probs", (9,), SIZE[task])
    options = {"task": task, **row.extra, **ARGUMENTS[task]}
    ours = getattr(fastmetrics, row.suffix)(**options)
    theirs = getattr(torchmetrics, row.suffix)(**options)
    assert type(ours) is getattr(classification, task.capitalize() + row.suffix)
    close(ours(preds, target), theirs(preds, target))
    close(
        getattr(wrappers, row.function)(preds, target, **options),
        getattr(peer_wrappers, row.function)(preds, target, **options),
    )


@pytest.mark.parametrize("task", TASKS[1:])
@pytest.mark.parametrize("how", ["global", "samplewise"])
@pytest.mark.parametrize("kind", ["labels", "probs", "logits"])
@pytest.mark.parametrize("ignore_index", [None, -1, 1, 255])
def test_exact_match_equals_torchmetrics(
    task: str, how: str, kind: str, ignore_index: int | None
) -> None:
    options = {"multidim_average": how, "ignore_index": ignore_index, **ARGUMENTS[task]}
    name = f"{task.capitalize()}ExactMatch"
    ours, theirs = getattr(classification, name)(**options), getattr(peer, name)(**options)
    for rows in (8, 30, 20):
        preds, target = inputs_for(task, kind, (rows, 2), SIZE[task], ignore_index=ignore_index)
        if task == "multiclass" and kind == "labels":
            preds = preds.where(torch.rand(preds.shape) < 0.5, target.clamp(0, C - 1))
        close(ours(preds, target), theirs(preds, target))
    close(ours.compute(), theirs.compute())
    close(
        getattr(functional.classification, f"{task}_exact_match")(preds, target, **options),
        getattr(peer_functional, f"{task}_exact_match")(preds, target, **options),
    )
    close(
        wrappers.exact_match(preds, target, task=task, **options),
        peer_wrappers.exact_match(preds, target, task=task, **options),
    )
    assert isinstance(fastmetrics.ExactMatch(task=task, **options), type(ours))


@every_task
@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["probs", "logits"])
def test_score_dtypes(task: str, dtype: torch.dtype, kind: str) -> None:
    for shape in ((40,), (6, 3)):
        preds, target = inputs_for(task, kind, shape, SIZE[task], dtype)
        counts = count_by_hand(task, preds, target, SIZE[task], logits=kind == "logits").sum(0)
        for row in ROWS:
            close(row.call(task, preds, target), exact_value(row, task, counts))
            close(row.call(task, preds, target), row.call_theirs(task, preds, target))


@every_task
@pytest.mark.parametrize("dtype", LABEL_DTYPES, ids=str)
def test_label_dtypes(task: str, dtype: torch.dtype) -> None:
    size = 2 if task == "multiclass" and dtype == torch.bool else SIZE[task]
    preds, target = inputs_for(task, "labels", (30, 2), size)
    counts = count_by_hand(task, preds, target, size).sum(0)
    metric = getattr(classification, f"{task.capitalize()}StatScores")
    arguments = {"num_classes": size} if task == "multiclass" else ARGUMENTS[task]
    for other in LABEL_DTYPES if size != C else LABEL_DTYPES[:-1]:
        stat_scores = metric(**arguments, **({} if task == "binary" else {"average": None}))
        value = stat_scores(preds.to(other), target.to(dtype))
        assert value.reshape(-1, 5)[:, :4].tolist() == counts.tolist()


@every_row
@every_task
def test_bases(row: Row, task: str) -> None:
    ours, theirs = row.metric(task), row.theirs(task)
    base = f"{task.capitalize()}StatScores"
    assert isinstance(ours, getattr(classification, base))
    assert isinstance(theirs, getattr(peer, base))


@every_task
@pytest.mark.parametrize("how", ["global", "samplewise"])
def test_states_by_the_names_of_torchmetrics(task: str, how: str) -> None:
    preds, target = inputs_for(task, "probs", (6, 5), SIZE[task])
    ours = STAT_SCORES.metric(task, multidim_average=how)
    theirs = STAT_SCORES.theirs(task, multidim_average=how)
    ours.update(preds, target)
    theirs.update(preds, target)
    for name in ("tp", "fp", "tn", "fn"):
        state = getattr(theirs, name)
        close(getattr(ours, name), torch.cat(state) if isinstance(state, list) else state)
    if how == "samplewise":
        with pytest.raises(AttributeError, match="`tp` of"):
            ours.tp = torch.zeros(1)


@every_task
@pytest.mark.parametrize("average", ["micro", "macro"])
def test_states_of_torchmetrics_can_be_set(task: str, average: str) -> None:
    preds, target = inputs_for(task, "logits", (40,), SIZE[task])
    options = {} if task == "binary" else {"average": average}
    row = next(row for row in ROWS if row.suffix == "F1Score")
    ours, theirs = row.metric(task, **options), row.theirs(task, **options)
    theirs.update(preds, target)
    for name in ("tp", "fp", "tn", "fn"):
        setattr(ours, name, getattr(theirs, name))
        assert torch.equal(getattr(ours, name), getattr(theirs, name))
    theirs.update(preds, target)
    ours.update(preds, target)
    close(ours.compute(), theirs.compute())
    ours.tp += 1
    assert torch.equal(ours.tp, theirs.tp + 1)
    ours.fp = ours.fp + 0.5
    assert torch.equal(ours.fp, theirs.fp + 0.5) and ours.counts.dtype == torch.float64
    assert torch.equal(ours.fn, theirs.fn)


# -- scikit-learn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [row for row in ROWS if row.sklearn], **by_name)
@pytest.mark.parametrize("zero_division", [0, 1, math.nan])
@every_task
def test_equals_scikit_learn(row: Row, zero_division: float, task: str) -> None:
    for seed, weighted in itertools.product(range(4), (False, True)):
        torch.manual_seed(seed)
        preds, target = inputs_for(task, "labels", (5 + 20 * (seed % 2),), SIZE[task])
        weight = torch.rand(len(target), dtype=torch.float64) if weighted else None
        averages = ("micro", "macro", "weighted") if task != "binary" else ("binary",)
        for average in averages:
            if row.suffix in ("Accuracy", "HammingDistance"):
                # scikit-learn knows these as one number over all positions.
                if task == "multilabel" or zero_division != 0:
                    continue
                if average in ("macro", "weighted") and row.suffix == "HammingDistance":
                    continue
                sk_average = "micro" if average == "binary" else average
            else:
                sk_average = average
            if math.isnan(zero_division) and average == "weighted" and not target.any():
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = row.sklearn(
                    target.numpy(), preds.numpy(), sk_average, weight, zero_division
                )
            options = {} if task == "binary" else {"average": average}
            if row.undefined is None:
                options["zero_division"] = zero_division
            close(row.call(task, preds, target, weight=weight, **options), expected)
            metric = row.metric(task, **options)
            half = len(target) // 2
            for part in (slice(None, half), slice(half, None)):
                metric.update(preds[part], target[part], None if weight is None else weight[part])
            close(metric.compute(), expected)


@every_ratio
@every_task
def test_weighted_counts_equal_scikit_learn(row: Row, task: str) -> None:
    preds, target = inputs_for(task, "labels", (30,), SIZE[task])
    weight = torch.randint(0, 4, (30,))
    labels = {"labels": list(range(C))} if task == "multiclass" else {}
    tables = sklearn.metrics.multilabel_confusion_matrix(
        target.numpy(), preds.numpy(), sample_weight=weight.numpy(), **labels
    )
    tables = tables[1:] if task == "binary" else tables
    counts = tables.reshape(-1, 4)[:, [3, 1, 0, 2]]
    for average in AVERAGES:
        options = {} if task == "binary" else {"average": average}
        value = row.call(task, preds, target, weight=weight, **options)
        close(value, exact_value(row, task, counts, average))


@pytest.mark.parametrize("weighted", [False, True])
def test_exact_match_equals_scikit_learn(weighted: bool) -> None:
    preds, target = threshold_inputs("labels", (60, 2))
    weight = torch.rand(60, dtype=torch.float64) if weighted else None
    expected = sklearn.metrics.accuracy_score(target, preds, sample_weight=weight)
    options = {"num_labels": 2, "weight": weight}
    close(functional.classification.multilabel_exact_match(preds, target, **options), expected)
    options = {"num_classes": 2, "weight": weight}
    close(functional.classification.multiclass_exact_match(preds, target, **options), expected)


# -- exact counts ---------------------------------------------------------------------------------


@every_ratio
@every_task
@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("start", [2**24, 2**31, 2**40])
def test_large_counts_are_exact(row: Row, task: str, average: str | None, start: int) -> None:
    options = {} if task == "binary" else {"average": average}
    metric = row.metric(task, **options)
    counts = torch.randint(start, 2 * start, (SIZE[task], 4))
    if task == "multiclass":
        metric.counts.copy_(counts)
    else:
        tables = counts[:, [2, 1, 3, 0]].view(-1, 2, 2)
        metric.counts.copy_(tables.expand_as(metric.counts))
    preds, target = inputs_for(task, "probs", (50,), SIZE[task])
    metric.update(preds, target)
    counts = counts.numpy() + count_by_hand(task, preds, target, SIZE[task]).sum(0)
    close(metric.compute(), exact_value(row, task, counts, average))
    assert torch.stack([metric.tp, metric.fp, metric.tn, metric.fn], -1).sum() == counts.sum()


@every_task
def test_one_more_sample_counts_after_two_billion(task: str) -> None:
    metric = STAT_SCORES.metric(task)
    metric.counts += 2**31
    before = metric.tp.clone()
    preds = target = torch.ones((1, L) if task == "multilabel" else 1, dtype=torch.int64)
    metric.update(preds, target)
    assert (metric.tp - before).sum() == (L if task == "multilabel" else 1)


@pytest.mark.parametrize("size", [2, 32, 33, 100])
@every_ratio
@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
@pytest.mark.parametrize("zero_division", [0, 1, math.nan])
def test_few_and_many_classes_take_the_same_formula(
    row: Row, average: str | None, size: int, zero_division: float
) -> None:
    """Small states on the CPU are read by the host; a leading axis keeps them on the device."""
    formula = row.metric("multiclass").formula
    counts = torch.randint(0, 3, (size, 4)) * torch.randint(0, 2, (size, 1))
    for top_k in (1, 2, None):
        alone = formula(Counts(counts, (0, 1, 2, 3), top_k), average, zero_division)
        twice = Counts(counts.expand(2, -1, -1), (0, 1, 2, 3), top_k)
        stacked = formula(twice, average, zero_division)
        assert alone.dtype == stacked.dtype == torch.float32
        torch.testing.assert_close(stacked[1], alone, rtol=1e-6, atol=0, equal_nan=True)


@every_row
def test_unknown_number_of_classes(row: Row) -> None:
    preds, target = class_inputs("labels", (50,), C)
    scores, _ = class_inputs("probs", (50,), C)
    cls = getattr(classification, f"Multiclass{row.suffix}")
    for inputs in (preds, scores):
        metric = cls(**row.extra, num_classes=None, average="micro")
        value = metric(inputs, target)
        guess = inputs if inputs is preds else inputs.argmax(1)
        hits = int((guess == target).sum())
        if row is STAT_SCORES:
            assert value.tolist() == [hits, 50 - hits, 0, 50 - hits, 50]
        else:
            counts = np.array([[hits, 50 - hits, 0, 50 - hits]])
            close(value, exact_value(row, "multiclass", counts, "micro"))


# -- borders --------------------------------------------------------------------------------------


@every_row
@every_task
@pytest.mark.parametrize("how", ["global", "samplewise"])
def test_empty_input_counts_nothing(row: Row, task: str, how: str) -> None:
    for kind in ("labels", "probs"):
        metric = row.metric(task, multidim_average=how)
        preds, target = inputs_for(task, kind, (0, 2), SIZE[task])
        metric.update(preds, target)
        value = metric.compute()
        if how == "samplewise":
            assert value.shape[0] == 0
            continue
        if row is STAT_SCORES:
            assert not value.any()
        else:
            expected = exact_value(row, task, np.zeros((SIZE[task], 4)))
            assert float(value) == expected
        preds, target = inputs_for(task, kind, (9, 2), SIZE[task])
        metric.update(preds, target)
        close(metric.compute(), row.call(task, preds, target))


@every_ratio
@every_task
@pytest.mark.parametrize("zero_division", [0, 1])
@pytest.mark.parametrize("case", ["one sample", "one class", "absent", "ignored", "right", "wrong"])
def test_degenerate_inputs(row: Row, task: str, zero_division: int, case: str) -> None:
    shape = (1,) if case == "one sample" else (12,)
    preds, target = inputs_for(task, "labels", shape, SIZE[task])
    if case == "one class":
        preds, target = torch.ones_like(preds), torch.ones_like(target)
    elif case == "absent":
        preds, target = preds.clamp(max=1), target.clamp(max=0)
    elif case == "ignored":
        target = torch.full_like(target, -1)
    elif case == "right":
        preds = target
    elif case == "wrong":
        preds = 1 - target if task != "multiclass" else (target + 1) % C
    options: dict[str, Any] = {"ignore_index": -1}
    if row.undefined is None:
        options["zero_division"] = zero_division
    counts = count_by_hand(task, preds, target, SIZE[task], ignore_index=-1).sum(0)
    for average in AVERAGES:
        if task != "binary":
            options["average"] = average
        expected = exact_value(row, task, counts, average, zero_division=zero_division)
        value = row.metric(task, **options)(preds, target)
        close(value, expected)
        close(row.call(task, preds, target, **options), expected)
        close(value, row.call_theirs(task, preds, target, **options))


@every_task
def test_one_sample_of_its_own(task: str) -> None:
    """torchmetrics drops the sample axis here."""
    preds, target = inputs_for(task, "probs", (1, 5), SIZE[task])
    counts = count_by_hand(task, preds, target, SIZE[task])
    for row in ROWS:
        value = row.call(task, preds, target, multidim_average="samplewise")
        assert value.shape == (1,)
        close(value[0], exact_value(row, task, counts[0]))


@pytest.mark.parametrize("top_k", [1, 2, 3, C])
@pytest.mark.parametrize("special", ["ties", "nan", "inf"])
@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
def test_ties_nan_and_infinities_between_classes(
    top_k: int, special: str, dtype: torch.dtype
) -> None:
    """The lower class comes first among equals, NaN before every number."""
    scores = torch.randint(0, 3, (60, C)).to(dtype)
    if special == "nan":
        scores[torch.rand(60, C) < 0.2] = math.nan
    elif special == "inf":
        scores[torch.rand(60, C) < 0.3] = math.inf
        scores[torch.rand(60, C) < 0.3] = -math.inf
    target = torch.randint(0, C, (60,))
    counts = count_by_hand("multiclass", scores, target, C, top_k=top_k).sum(0)
    options = {"top_k": top_k, "validate_args": False}
    value = STAT_SCORES.call("multiclass", scores, target, average=None, **options)
    assert value[:, :4].tolist() == counts.tolist()
    for row in ROWS:
        close(
            row.call("multiclass", scores, target, **options),
            exact_value(row, "multiclass", counts, top_k=top_k),
        )
    if top_k == 1:
        close(value, STAT_SCORES.call_theirs("multiclass", scores, target, average=None))


@every_ratio
@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_classes_without_targets_but_predicted(row: Row, top_k: int, average: str) -> None:
    """Whether such a class is part of the macro average depends on the metric and on `top_k`."""
    preds, _ = class_inputs("logits", (40,), C)
    target = torch.randint(0, 2, (40,))
    counts = count_by_hand("multiclass", preds, target, C, top_k=top_k).sum(0)
    options = {"average": average, "top_k": top_k}
    value = row.call("multiclass", preds, target, **options)
    close(value, exact_value(row, "multiclass", counts, average, top_k))
    close(value, row.call_theirs("multiclass", preds, target, **options))


@pytest.mark.parametrize("task", ["binary", "multilabel"])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("reading", ["probs", "logits"])
@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
def test_borders_between_labels(
    task: str, threshold: float, reading: str, dtype: torch.dtype
) -> None:
    """A probability at the threshold is negative; infinities and NaN are read as torch does."""
    border = math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else 0.0
    border = border if reading == "logits" else threshold
    values = torch.tensor([border, border + 0.01, border - 0.01, math.inf, -math.inf, math.nan])
    preds = values.to(dtype).repeat(L * 4)
    target = torch.randint(0, 2, preds.shape)
    if task == "multilabel":
        preds, target = preds.view(-1, L), target.view(-1, L)
    if reading == "logits":  # sigmoid and logit may round differently at the threshold itself
        preds = preds.where((preds.double() - border).abs() > 1e-6, border + 0.25)
    counts = count_by_hand(
        task, preds, target, SIZE[task], threshold, logits=reading == "logits"
    ).sum(0)
    options: dict[str, Any] = {"threshold": threshold, "input": reading, "validate_args": False}
    if task == "multilabel":
        options["average"] = None
    value = STAT_SCORES.call(task, preds, target, **options)
    assert value.reshape(-1, 5)[:, :4].tolist() == counts.tolist()


@every_task
def test_nan_scores_give_a_warning(task: str) -> None:
    preds, target = inputs_for(task, "probs", (5,), SIZE[task])
    preds.view(-1)[0] = math.nan
    with pytest.warns(UserWarning, match="NaN"):
        row_value = ROWS[0].call(task, preds, target)
    metric = ROWS[0].metric(task)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.update(preds, target)
    with pytest.warns(UserWarning, match="1 samples had NaN"):
        close(metric.compute(), row_value)


def test_no_class_is_out_of_reach() -> None:
    preds, target = class_inputs("logits", (300, 2), 70)
    for top_k in (1, 5, 70):
        counts = count_by_hand("multiclass", preds, target, 70, top_k=top_k).sum(0)
        value = functional.classification.multiclass_stat_scores(
            preds, target, num_classes=70, average=None, top_k=top_k
        )
        assert value[:, :4].tolist() == counts.tolist()


# -- intentional differences ----------------------------------------------------------------------


def test_the_reading_of_scores_does_not_depend_on_batches() -> None:
    preds, target = torch.tensor([0.4, 0.7, -3.0, 2.0]), torch.tensor([1, 1, 0, 1])
    whole = functional.classification.binary_accuracy(preds, target)
    assert float(whole) == 1.0  # as logits, 0.4 is positive
    for cuts in ([1, 2], [2], [3], [1, 2, 3]):
        metric = classification.BinaryAccuracy()
        for p, t in zip(preds.tensor_split(cuts), target.tensor_split(cuts), strict=True):
            metric.update(p, t)
        assert metric.compute() == whole
    theirs = peer.BinaryAccuracy()
    theirs.update(preds[:1], target[:1])
    theirs.update(preds[1:], target[1:])
    assert theirs.compute() != whole


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_ignored_scores_do_not_make_logits(task: str) -> None:
    preds, target = inputs_for(task, "probs", (20,), SIZE[task])
    preds.view(-1)[0], target.view(-1)[0] = 7.0, -1
    counts = count_by_hand(task, preds, target, SIZE[task], ignore_index=-1).sum(0)
    for row in ROWS:
        close(row.call(task, preds, target, ignore_index=-1), exact_value(row, task, counts))


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_nan_does_not_make_logits(task: str, dtype: torch.dtype) -> None:
    preds, target = inputs_for(task, "probs", (20,), SIZE[task], dtype)
    preds.view(-1)[::7] = math.nan
    counts = count_by_hand(task, preds, target, SIZE[task]).sum(0)
    for row in ROWS:
        value = row.call(task, preds, target, validate_args=False)
        close(value, exact_value(row, task, counts))


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_stated_inputs_override_the_rule(task: str) -> None:
    preds, target = inputs_for(task, "probs", (20, 3), SIZE[task])
    for how in ("global", "samplewise"):
        for reading in ("probs", "logits"):
            counts = count_by_hand(task, preds, target, SIZE[task], logits=reading == "logits")
            options = {"input": reading, "multidim_average": how}
            for row in ROWS:
                value = row.metric(task, **options)(preds, target)
                close(row.call(task, preds, target, **options), value)
                if how == "global":
                    close(value, exact_value(row, task, counts.sum(0)))
                else:
                    close(value, [exact_value(row, task, sample) for sample in counts])


@pytest.mark.parametrize("how", ["global", "samplewise"])
def test_the_device_chooses_as_the_host_does(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for task, kind in itertools.product(("binary", "multilabel"), ("labels", "probs", "logits")):
        preds, target = inputs_for(task, kind, (8, 3), SIZE[task])
        exact = [] if task == "binary" else [Row("ExactMatch", "exact_match", right)]
        for row in [*ALL_ROWS, *exact]:
            expected = row.call(task, preds, target, multidim_average=how)
            with monkeypatch.context() as patch:
                patch.setattr(counted, "is_readable", lambda tensor: False)
                close(row.call(task, preds, target, multidim_average=how), expected)
                close(row.metric(task, multidim_average=how)(preds, target), expected)


def test_logits_near_the_threshold_are_not_rounded() -> None:
    preds = torch.tensor([2.0**-14, -(2.0**-14), 3.0], dtype=torch.float16)
    target = torch.tensor([1, 0, 1])
    assert functional.classification.binary_accuracy(preds, target) == 1
    assert peer_functional.binary_accuracy(preds, target) < 1


def test_samplewise_weighted_stat_scores_use_their_own_targets() -> None:
    preds, target = threshold_inputs("labels", (6, L, 5))
    options = {"num_labels": L, "average": "weighted", "multidim_average": "samplewise"}
    ours = functional.classification.multilabel_stat_scores(preds, target, **options)
    for n in range(6):
        alone = functional.classification.multilabel_stat_scores(
            preds[n : n + 1], target[n : n + 1], **options
        )
        close(ours[n : n + 1], alone)


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_one_is_refused(top_k: int) -> None:
    peer.MulticlassAccuracy(num_classes=3, top_k=top_k)
    with pytest.raises(ValueError, match="top_k"):
        classification.MulticlassAccuracy(num_classes=3, top_k=top_k)


# -- bad arguments --------------------------------------------------------------------------------

BAD_ARGUMENTS = {
    "binary": [
        {"threshold": 1.5},
        {"threshold": -0.1},
        {"threshold": 1},
        {"threshold": "high"},
        {"multidim_average": "sometimes"},
        {"ignore_index": 1.5},
        {"ignore_index": "none"},
        {"nonsense": 1},
    ],
    "multiclass": [
        {"num_classes": 1},
        {"num_classes": 2.0},
        {"num_classes": None},
        {"top_k": C + 1},
        {"average": "mean"},
        {"multidim_average": None},
        {"ignore_index": 1.5},
        {"nonsense": 1},
    ],
    "multilabel": [
        {"num_labels": 1},
        {"num_labels": 2.0},
        {"threshold": 2.0},
        {"average": "mean"},
        {"multidim_average": "none"},
        {"ignore_index": 1.5},
        {"nonsense": 1},
    ],
}
BAD_CASES = [(task, bad) for task, cases in BAD_ARGUMENTS.items() for bad in cases]


@every_row
@pytest.mark.parametrize(("task", "bad"), BAD_CASES, ids=str)
def test_bad_arguments_raise_as_in_torchmetrics(row: Row, task: str, bad: dict[str, Any]) -> None:
    arguments = {**row.extra, **ARGUMENTS[task], **bad}
    name = f"{task.capitalize()}{row.suffix}"
    with pytest.raises((ValueError, TypeError)):  # their F scores make states before they check
        getattr(peer, name)(**arguments)
    with pytest.raises(ValueError, match=next(iter(bad))):
        getattr(classification, name)(**arguments)
    if "nonsense" not in bad:
        preds, target = inputs_for(task, "probs", (4, 2), SIZE[task])
        with pytest.raises(ValueError, match=next(iter(bad))):
            getattr(functional.classification, f"{task}_{row.function}")(preds, target, **arguments)


@pytest.mark.parametrize("beta", [0.0, -1.0, 1, "one", math.nan, 1e308])
@every_task
def test_bad_beta(task: str, beta: Any) -> None:
    arguments = {"beta": beta, **ARGUMENTS[task]}
    for package in (peer, classification):
        if package is peer and beta == 1e308:  # whose `compute` cannot square it
            continue
        with pytest.raises(ValueError, match="beta"):
            getattr(package, f"{task.capitalize()}FBetaScore")(**arguments)
    preds, target = inputs_for(task, "probs", (4,), SIZE[task])
    with pytest.raises(ValueError, match="beta"):
        getattr(functional.classification, f"{task}_fbeta_score")(preds, target, **arguments)


@pytest.mark.parametrize("value", [2, -1, 0.5, "warn"])
@every_task
def test_bad_zero_division(task: str, value: Any) -> None:
    for package in (peer, classification):
        with pytest.raises(ValueError, match="zero_division"):
            getattr(package, f"{task.capitalize()}F1Score")(**ARGUMENTS[task], zero_division=value)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_bad_input(task: str) -> None:
    for row in ROWS:
        with pytest.raises(ValueError, match="input"):
            row.metric(task, input="scores")
    with pytest.raises(ValueError, match="input"):
        classification.MultilabelExactMatch(num_labels=2, input="scores")


@every_row
def test_bad_tasks(row: Row) -> None:
    preds = target = torch.zeros(3, dtype=torch.int64)
    bad: list[dict[str, Any]] = [
        {"task": "regression"},
        {"task": "multi-class"},
        {"task": "multiclass"},
        {"task": "multiclass", "num_classes": 2.0},
        {"task": "multiclass", "num_classes": 3, "top_k": None},
        {"task": "multilabel"},
        {"task": "multilabel", "num_labels": "3"},
    ]
    for arguments in bad:
        for package in (torchmetrics, fastmetrics):
            with pytest.raises(ValueError):
                getattr(package, row.suffix)(**arguments)
            with pytest.raises(ValueError):
                getattr(package.functional, row.function)(preds, target, **arguments)
    assert getattr(fastmetrics, row.suffix)(task="BINARY").update_count == 0


def test_exact_match_has_no_binary_task() -> None:
    for package in (torchmetrics, fastmetrics):
        with pytest.raises(ValueError, match="binary"):
            package.ExactMatch(task="binary")


BAD_INPUTS: dict[str, list[tuple[type[Exception], str, Tensor, Tensor]]] = {
    "binary": [
        (RuntimeError, "target", torch.rand(4), torch.tensor([0, 1, 2, 0])),
        (RuntimeError, "target", torch.rand(4), torch.tensor([0, 1, -1, 0])),
        (RuntimeError, "preds", torch.tensor([0, 1, 2, 0]), torch.zeros(4, dtype=torch.int64)),
        (ValueError, "shape", torch.rand(4), torch.zeros(3, dtype=torch.int64)),
        (ValueError, "target", torch.rand(4), torch.rand(4)),
    ],
    "multiclass": [
        (RuntimeError, "target", torch.rand(4, C), torch.tensor([0, 1, C, 0])),
        (RuntimeError, "target", torch.rand(4, C), torch.tensor([0, 1, -1, 0])),
        (RuntimeError, "preds", torch.tensor([0, 1, C, 0]), torch.zeros(4, dtype=torch.int64)),
        (ValueError, "num_classes|C=4", torch.rand(4, C + 1), torch.zeros(4, dtype=torch.int64)),
        (ValueError, "shape", torch.rand(4, C), torch.zeros(3, dtype=torch.int64)),
        (ValueError, "shape", torch.rand(4, C, 2, 2), torch.zeros(4, dtype=torch.int64)),
        (ValueError, "target", torch.rand(4, C), torch.rand(4)),
        (ValueError, "float", torch.ones(4, C).long(), torch.zeros(4, dtype=torch.int64)),
    ],
    "multilabel": [
        (RuntimeError, "target", torch.rand(4, L), torch.full((4, L), 2)),
        (RuntimeError, "preds", torch.full((4, L), -1), torch.ones(4, L).long()),
        (ValueError, "L=3", torch.rand(4, L + 1), torch.ones(4, L + 1).long()),
        (ValueError, "shape", torch.rand(4, L), torch.ones(4, L + 1).long()),
        (ValueError, "target", torch.rand(4, L), torch.rand(4, L)),
    ],
}


def snapshot(metric: Any) -> list[Any]:
    states = metric.metric_state.values()
    flat = [t for s in states for t in (s if isinstance(s, list) else [s])]
    return [metric.update_count, len(flat), *((t.dtype, t.shape, t.tolist()) for t in flat)]


@every_task
@pytest.mark.parametrize("how", ["global", "samplewise"])
@pytest.mark.parametrize("weighted", [False, True])
def test_bad_inputs_leave_the_state_alone(task: str, how: str, weighted: bool) -> None:
    exact = [] if task == "binary" else [Row("ExactMatch", "exact_match", right)]
    for row in [STAT_SCORES, ROWS[0], *exact]:
        metric = row.metric(task, multidim_average=how)
        metric.update(*inputs_for(task, "probs", (4, 2), SIZE[task]))
        before = snapshot(metric)
        for error, match, preds, target in BAD_INPUTS[task]:
            if how == "samplewise" and error is RuntimeError:
                preds, target = preds.unsqueeze(-1), target.unsqueeze(-1)
            weight = (torch.rand(len(target)),) if weighted else ()
            if how == "samplewise" and weighted:
                error, match = ValueError, "weight"
            for call in (metric.update, metric):
                # Samplewise metrics may find too few axes first.
                with pytest.raises(error, match=None if how == "samplewise" else match):
                    call(preds, target, *weight)
                assert snapshot(metric) == before
            if not weighted and how == "global":
                with pytest.raises(error, match=match):
                    row.call(task, preds, target)


@every_task
def test_bad_weights_leave_the_state_alone(task: str) -> None:
    metric = STAT_SCORES.metric(task)
    preds, target = inputs_for(task, "probs", (4,), SIZE[task])
    metric.update(preds, target)
    before = snapshot(metric)
    for weight in (torch.rand(3), torch.rand(4, 1), torch.rand(4, dtype=torch.complex64)):
        with pytest.raises(ValueError, match="weight"):
            metric.update(preds, target, weight)
        with pytest.raises(ValueError, match="weight"):
            STAT_SCORES.call(task, preds, target, weight=weight)
        assert snapshot(metric) == before


@every_task
def test_samplewise_needs_an_axis_to_count_over(task: str) -> None:
    preds, target = inputs_for(task, "probs", (4,), SIZE[task])
    for row in (STAT_SCORES, ROWS[0]):
        for package_metric in (row.metric, row.theirs):
            metric = package_metric(task, multidim_average="samplewise")
            with pytest.raises(ValueError):
                metric.update(preds, target)


@every_task
def test_without_validation_bad_labels_are_left_out(task: str) -> None:
    preds, target = inputs_for(task, "probs", (20,), SIZE[task])
    bad = target.clone()
    bad.view(-1)[3] = 99
    for row in ROWS:
        value = row.call(task, preds, bad, validate_args=False)
        close(value, row.call(task, preds, bad, ignore_index=99))


# -- the statistic --------------------------------------------------------------------------------


class CountOps(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "fastmetrics":
            self.names.append(func.name())
            return None
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


@every_row
@every_task
def test_update_is_one_op(row: Row, task: str) -> None:
    metric = row.metric(task)
    preds, target = inputs_for(task, "probs", (8,), SIZE[task])
    with CountOps() as mode:
        metric.update(preds, target)
    assert len(mode.names) == 1
    assert mode.names[0].startswith("fastmetrics::")


def test_metrics_that_count_the_same_say_so() -> None:
    for task in TASKS:
        keys = {row.metric(task).statistic for row in ALL_ROWS}
        assert len(keys) == 1
        hash(next(iter(keys)))
    averages = {classification.MulticlassF1Score(C, average=a).statistic for a in AVERAGES}
    assert len(averages) == 1
    default = {"num_labels": 2}
    different: list[dict[str, Any]] = [
        {},
        {"threshold": 0.3},
        {"ignore_index": 0},
        {"multidim_average": "samplewise"},
        {"input": "logits"},
        {"validate_args": False},
        {"num_labels": 3},
    ]
    keys = {classification.MultilabelRecall(**{**default, **o}).statistic for o in different}
    assert len(keys) == len(different)
    keys = {classification.MultilabelExactMatch(**{**default, **o}).statistic for o in different}
    assert len(keys) == len(different)
    different = [
        {},
        {"ignore_index": 0},
        {"multidim_average": "samplewise"},
        {"validate_args": False},
        {"num_classes": 3},
    ]
    default = {"num_classes": 2}
    for name in ("MulticlassAccuracy", "MulticlassExactMatch"):
        cls = getattr(classification, name)
        assert len({cls(**{**default, **o}).statistic for o in different}) == len(different)
    assert (
        classification.MulticlassAccuracy(5).statistic
        != classification.MulticlassAccuracy(5, top_k=2).statistic
    )


@every_task
def test_weights_and_counts_mix(task: str) -> None:
    metric = STAT_SCORES.metric(task, **({} if task == "binary" else {"average": "micro"}))
    preds, target = inputs_for(task, "probs", (20,), SIZE[task])
    metric.update(preds, target)
    metric.update(preds, target, weight=torch.full((20,), 0.5))
    metric(preds, target, torch.full((20,), 2.0, dtype=torch.float16))
    metric(preds, target)
    value = metric.compute()
    assert value.dtype == torch.float64
    counts = count_by_hand(task, preds, target, SIZE[task]).sum((0, 1)) * 4.5
    assert value[:4].tolist() == counts.tolist()
    metric.reset()
    assert metric.counts.dtype == torch.int64


@pytest.mark.parametrize("task", TASKS)
def test_set_dtype_leaves_weighted_counts_alone(task: str) -> None:
    metric, same = (STAT_SCORES.metric(task) for _ in range(2))
    preds, target = inputs_for(task, "probs", (20,), SIZE[task])
    for one in (metric, same):
        one.update(preds, target, weight=torch.linspace(0, 1, 20))
    metric.set_dtype(torch.float16)
    assert metric.dtype == torch.float16
    metric.update(preds, target)
    same.update(preds, target)
    assert torch.equal(metric.counts, same.counts) and metric.counts.dtype == torch.float64
