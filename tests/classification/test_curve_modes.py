"""Curves from every score, and from scores that are known up to a cell."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import math
import pickle
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastmetrics import MetricCollection
from fastmetrics.core.states import States
from fastmetrics.ops import ranked_scores
from fastmetrics.ops.exact_scores import FOLDED_ROWS
from tests.classification.test_curves import (
    CURVES,
    ROWS,
    TASKS,
    VALUES,
    C,
    Row,
    by_class,
    every_row,
    expect,
    make,
    name,
    of,
    one_value,
    tolerance,
)
from tests.distributed.processes import run_checks

pytestmark = pytest.mark.thinned(2)

MODES = (None, "auto")
AUROC = {row.task: row for row in VALUES if row.suffix == "AUROC"}
PRECISION = {row.task: row for row in VALUES if row.suffix == "AveragePrecision"}
LOW, HIGH = -1e4, 1e4


def batches(row: Row, preds: Tensor, target: Tensor, **options: Any) -> Any:
    metric = row.ours(**options)
    for part in range(3):
        metric.update(preds[part * 20 : part * 20 + 20], target[part * 20 : part * 20 + 20])
    return metric


def probabilities(row: Row, preds: Tensor) -> Tensor:
    """Logits as the peer ranks them, without the rounding that makes ties."""
    return preds.double().softmax(1) if row.task == "multiclass" else preds.double().sigmoid()


# Every score


@of(ROWS)
def test_exact_curves_are_those_of_the_peer(row, arguments):
    for kind, ignore_index in itertools.product(("probs", "grid", "logits"), (None, -1, 1)):
        if kind == "grid" and row.task == "multiclass":
            kind = "probs"
        preds, target = make(row.task, kind, ignore_index=ignore_index)
        options = arguments | {"ignore_index": ignore_index}
        scores = probabilities(row, preds).float() if kind == "logits" else preds
        expected = row.peer_call(scores, target, **options)
        bounds = tolerance(row, arguments)
        value = row.call(preds, target, **options)
        expect(value, expected, **bounds)
        expect(batches(row, preds, target, **options).compute(), one_value(value), rtol=0, atol=0)
        expect(row.ours(**options)(preds, target), one_value(value), rtol=0, atol=0)


@every_row
@pytest.mark.parametrize("shape", [(7, 5), (4, 2, 3)])
@pytest.mark.parametrize("thresholds", MODES)
def test_further_axes_join_the_samples(row, shape, thresholds):
    preds, target = make(row.task, shape=shape)
    rows = preds if row.task == "binary" else preds.movedim(1, -1)
    labels = target.movedim(1, -1) if row.task == "multilabel" else target
    columns = () if row.task == "binary" else (C,)
    flat = rows.reshape(-1, *columns), labels.reshape(-1, *(columns * (row.task == "multilabel")))
    expected = row.call(*flat, thresholds=thresholds)
    expect(row.call(preds, target, thresholds=thresholds), expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_exact_values_are_those_of_scikit_learn(task, weighted, dtype):
    preds, target = make(task, "probs", (200,), dtype)
    weight = torch.rand(200, dtype=torch.float64) if weighted else None
    sample_weight = weight.numpy() if weighted else None
    arguments = {"average": None} if task != "binary" else {}
    classes = by_class(task, preds.double(), target)
    for row, oracle in (
        (AUROC[task], sklearn.metrics.roc_auc_score),
        (PRECISION[task], sklearn.metrics.average_precision_score),
    ):
        expected = [oracle(y, x, sample_weight=sample_weight) for y, x in classes]
        value = row.call(preds, target, weight=weight, **arguments)
        np.testing.assert_allclose(np.atleast_1d(value.numpy()), expected, rtol=1e-6)
        split = row.ours(**arguments)
        split.update(preds[:50], target[:50], None if weight is None else weight[:50])
        split.update(preds[50:], target[50:], None if weight is None else weight[50:])
        expect(split.compute(), one_value(value), rtol=1e-7, atol=0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_pairs_of_classes_are_those_of_scikit_learn(average, weighted):
    preds, target = make("multiclass", shape=(150,))
    preds = (preds * 20).round() / 20  # ties
    preds[:, 0] += 1 - preds.sum(1)
    expected = sklearn.metrics.roc_auc_score(target, preds, multi_class="ovo", average=average)
    row = AUROC["multiclass"]
    weight = torch.full((150,), 2.5) if weighted else None
    options = {"average": average, "multi_class": "ovo"}
    value = row.call(preds, target, weight=weight, input="probs", **options)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    metric = row.ours(input="probs", **options)
    metric.update(preds[:70], target[:70], None if weight is None else weight[:70])
    metric.update(preds[70:], target[70:], None if weight is None else weight[70:])
    expect(metric.compute(), value, rtol=1e-7, atol=0)
    low, high = metric.bounds()
    assert low <= value <= high


@pytest.mark.parametrize(
    "options",
    [
        {"multi_class": "ova"},
        {"multi_class": "ovo", "thresholds": 5},
        {"multi_class": "ovo", "thresholds": "auto"},
        {"multi_class": "ovo", "max_fpr": 0.5},
        {"multi_class": "ovo", "average": None},
    ],
    ids=name,
)
def test_arguments_of_pairs(options):
    preds, target = make("multiclass")
    with pytest.raises(ValueError, match=r"multi_class|average"):
        AUROC["multiclass"].ours(**options)
    with pytest.raises(ValueError, match=r"multi_class|average"):
        AUROC["multiclass"].call(preds, target, **options)


@pytest.mark.parametrize("thresholds", MODES)
def test_logits_do_not_saturate(thresholds):
    """In float32 their sigmoids are all 1, in float64 most of them."""
    preds, target = torch.tensor([98.0, 99.0, 97.0, 100.0]), torch.tensor([0, 1, 0, 1])
    for options in ({}, {"input": "logits"}):
        assert AUROC["binary"].call(preds, target, thresholds=thresholds, **options) == 1
        assert PRECISION["binary"].call(preds, target, thresholds=thresholds, **options) == 1


@of(VALUES)
@pytest.mark.parametrize("thresholds", MODES)
def test_classes_without_positives_or_negatives(row, arguments, thresholds):
    for kind in ("positive", "negative", "ignored", "empty"):
        preds, target = make(row.task)
        if kind == "ignored":
            target.fill_(-1)
        elif kind == "empty":
            preds, target = preds[:0], target[:0]
        elif row.task == "multiclass":
            target.fill_(1 if kind == "positive" else 0)
        else:
            target.fill_(int(kind == "positive"))
        for undefined in (None, "nan"):
            options = {"ignore_index": -1, "undefined": undefined} | arguments
            value = row.call(preds, target, thresholds=thresholds, **options)
            if row not in (PRECISION["multiclass"],) or undefined or value.ndim == 0:
                # Without an average the peer gives NaN there.
                same = row.call(preds, target, thresholds=[0.5], **options)
                assert torch.equal(value.isnan(), same.isnan())
                if kind in ("ignored", "empty"):
                    expect(value, same, rtol=0, atol=0)
            metric = row.ours(thresholds=thresholds, **options)
            metric.update(preds, target)
            expect(metric.compute(), one_value(value), rtol=0, atol=0)


@pytest.mark.parametrize("row", CURVES, ids=name)
def test_curves_of_nothing_are_empty(row):
    preds, target = make(row.task)
    for thresholds in MODES:
        metric = row.ours(thresholds=thresholds)
        metric.update(preds[:0], target[:0])
        first, second, points = metric.compute()
        firsts = [first] if isinstance(first, Tensor) else first
        every = [points] if isinstance(points, Tensor) else points
        # One point has no threshold in one curve, one threshold no score in the other.
        assert [x.numel() for x in firsts] == [1] * len(firsts)
        assert all(x.numel() <= 1 for x in every)
        assert type(first) is type(second)


@pytest.mark.parametrize("thresholds", MODES)
def test_nan_ranks_below_all_others_and_infinities_are_ordinary(thresholds):
    preds = torch.tensor([math.nan, -math.inf, -3.0, -0.0, 0.0, 2.0, math.inf, math.nan])
    target = torch.tensor([1, 0, 1, 0, 1, 0, 1, 0])
    ranks = torch.tensor([0, 1, 2, 3, 3, 4, 5, 0]) / 8
    for row in (AUROC["binary"], PRECISION["binary"]):
        metric = row.ours(thresholds=thresholds)
        metric.update(preds, target)
        with pytest.warns(UserWarning, match="2 samples had NaN scores"):
            value = metric.compute()
        expect(value, row.call(ranks, target), rtol=1e-6, atol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, _, points = CURVES[3].call(preds, target, thresholds=thresholds)
    assert points.isnan().tolist() == [False] * 6 + [True]


@every_row
@pytest.mark.parametrize("thresholds", MODES)
def test_inputs_that_do_not_fit_leave_the_states_alone(row, thresholds):
    preds, target = make(row.task)
    metric = row.ours(thresholds=thresholds)
    metric.update(preds, target)
    value = metric.compute()
    wrong = target.clone()
    wrong.view(-1)[-1] = 7
    for _ in range(2):
        for bad in ((preds.long(), target), (preds, target + 0.5), (preds[:-1], target)):
            with pytest.raises(ValueError):
                metric.update(*bad)
        with pytest.raises(RuntimeError, match="got 7 at flat index"):
            metric.update(preds, wrong)
        with pytest.raises(RuntimeError, match="got 7 at flat index"):
            metric(preds, wrong)
        metric._computed = None
        expect(metric.compute(), value, rtol=0, atol=0)
        metric.update(preds[:0], target[:0])
    assert not metric.events.any()


@every_row
@pytest.mark.parametrize("thresholds", MODES)
def test_further_updates_after_a_failure_count(row, thresholds):
    """Rows that a refused batch has scribbled on are written again."""
    preds, target = make(row.task)
    metric = row.ours(thresholds=thresholds)
    wrong = target.clone()
    wrong.view(-1)[-1] = 7
    for part in range(6):
        with pytest.raises(RuntimeError):
            metric.update(preds, wrong)
        metric.update(preds[part * 10 : part * 10 + 10], target[part * 10 : part * 10 + 10])
    value = row.call(preds, target, thresholds=thresholds)
    expect(metric.compute(), one_value(value), rtol=0, atol=0)


# The life of a metric that keeps scores


@every_row
@pytest.mark.parametrize("thresholds", MODES)
def test_copies_checkpoints_and_reset(row, thresholds):
    preds, target = make(row.task)
    metric = row.ours(thresholds=thresholds)
    metric.persistent(True)
    for start in range(0, 60, 10):
        metric.update(preds[start : start + 10], target[start : start + 10])
    value = metric.compute()
    fresh = row.ours(thresholds=thresholds)
    fresh.persistent(True)
    fresh.load_state_dict(metric.state_dict())
    others = (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), fresh)
    for other in others:
        expect(other.compute(), value, rtol=0, atol=0)
        other.update(preds, target)
        other.update(preds, target)
    metric.update(preds[:7], target[:7])
    again = row.ours(thresholds=thresholds)
    again.update(torch.cat([preds, preds[:7]]), torch.cat([target, target[:7]]))
    expect(metric.compute(), again.compute(), rtol=0, atol=0)
    metric.reset()
    metric.update(preds, target)
    expect(metric.compute(), value, rtol=0, atol=0)
    expect(metric(preds, target), value, rtol=0, atol=0)


@every_row
@pytest.mark.parametrize("thresholds", MODES)
def test_forward_updates_merges_and_repeated_values(row, thresholds):
    preds, target = make(row.task)
    metric = row.ours(thresholds=thresholds)
    for start in range(0, 40, 5):
        part = slice(start, start + 5)
        each = row.call(preds[part], target[part], thresholds=thresholds, input="probs")
        metric_input = row.ours(thresholds=thresholds, input="probs")
        expect(metric_input(preds[part], target[part]), one_value(each), rtol=0, atol=0)
        if start % 2:
            metric(preds[part], target[part])
        else:
            metric.update(preds[part], target[part])
        metric.compute()
    other = row.ours(thresholds=thresholds)
    other.update(preds[40:50], target[40:50])
    metric.merge_state(other)
    metric.update(preds[50:], target[50:])
    whole = row.call(preds, target, thresholds=thresholds)
    expect(metric.compute(), one_value(whole), rtol=0, atol=0)


@pytest.mark.parametrize("thresholds", MODES)
@pytest.mark.parametrize("task", TASKS)
def test_metrics_of_a_collection_share_scores_and_part(task, thresholds):
    preds, target = make(task)
    rows = {row.suffix: row for row in ROWS if row.task == task}
    collection = MetricCollection({k: row.ours(thresholds=thresholds) for k, row in rows.items()})
    for start in range(0, 30, 5):
        collection.update(preds[start : start + 5], target[start : start + 5])
    assert len(collection.compute_groups) == 1
    alone = collection["AUROC"]
    alone.update(preds[30:50], target[30:50])
    collection.update(preds[50:], target[50:])
    rest = torch.cat([preds[:30], preds[50:]]), torch.cat([target[:30], target[50:]])
    values = collection.compute()
    for suffix, row in rows.items():
        seen = (preds, target) if suffix == "AUROC" else rest
        expect(
            values[suffix], one_value(row.call(*seen, thresholds=thresholds)), rtol=1e-6, atol=1e-7
        )


def test_few_tensors_hold_many_batches():
    metric = AUROC["binary"].ours()
    for _ in range(500):
        metric.update(torch.rand(64), torch.randint(2, (64,)))
    assert len(metric.preds) < 20
    for _ in range(500):
        metric(torch.rand(64), torch.randint(2, (64,)))
    assert len(metric.preds) < 25
    assert sum(map(len, metric.preds)) == 64_000
    room = sum(chunk.untyped_storage().nbytes() for chunk in metric.preds)
    assert room <= 2 * 64_000 * 4
    assert len(pickle.dumps(metric)) < 64_000 * 5 * 1.2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("task", TASKS)
def test_small_floats_take_constant_memory(task, dtype):
    generator = torch.Generator().manual_seed(0)
    shape = (20_000,) if task == "binary" else (20_000, C)
    rows = (AUROC[task], PRECISION[task], next(r for r in CURVES if r.task == task))
    metrics = [row.ours(input="probs", ignore_index=-1) for row in rows]
    wide = [row.ours(input="probs", ignore_index=-1) for row in rows]
    for _ in range(5):
        preds = torch.rand(shape, generator=generator).to(dtype)
        high = C if task == "multiclass" else 2
        labels = shape[:1] if task == "multiclass" else shape
        target = torch.randint(-1, high, labels, generator=generator)
        for metric, reference in zip(metrics, wide, strict=True):
            metric.update(preds, target)
            reference.update(preds.float(), target)
    mixed = torch.rand(shape, generator=generator)
    for metric, reference in zip(metrics, wide, strict=True):
        metric.update(mixed, target)
        reference.update(mixed, target)
        kept = [chunk for chunk in metric.preds if chunk.dtype is dtype]
        assert sum(map(len, kept)) < FOLDED_ROWS
        expect_close(metric.compute(), reference.compute())


def expect_close(actual: Any, expected: Any) -> None:
    if isinstance(expected, Tensor):
        torch.testing.assert_close(actual.double(), expected.double(), rtol=1e-6, atol=1e-7)
        return
    for one, other in zip(actual, expected, strict=True):
        expect_close(one, other)


def test_many_classes_and_unknown_readings_keep_small_floats_as_they_are():
    preds = torch.rand(2 * FOLDED_ROWS, 2).half()
    target = torch.randint(2, (2 * FOLDED_ROWS,))
    for input, folded in (("auto", False), ("probs", True)):
        metric = type(AUROC["multiclass"].ours())(num_classes=2, input=input)
        metric.update(preds, target)
        assert (metric.float16_counts.ndim > 0) == folded
        assert bool(metric.preds) != folded


# Kept scores: memory, copies, dtypes


def many(dtype: torch.dtype, size: int = FOLDED_ROWS) -> tuple[Tensor, Tensor]:
    """Rounded scores of both signs, so that there are ties."""
    return (torch.randn(size) * 4).round().to(dtype) / 4, torch.randint(2, (size,))


def memory_per_row(metric: Any) -> float:
    """Bytes behind the kept scores by those in use."""
    storages = {s.data_ptr(): s.nbytes() for s in (x.untyped_storage() for x in metric.preds)}
    return sum(storages.values()) / sum(chunk.nbytes for chunk in metric.preds)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_counted_scores_equal_kept_ones_of_both_signs(dtype):
    preds, target = many(dtype)
    few = preds[:1000].float(), 1 - target[:1000]
    for row in (AUROC["binary"], PRECISION["binary"], CURVES[3]):
        metric, wide = row.ours(), row.ours()
        metric.update(preds, target)
        wide.update(preds.float(), target)
        assert not metric.preds
        if row is CURVES[3]:
            assert torch.equal(metric.compute()[2], wide.compute()[2].to(dtype))
        metric.update(*few)
        wide.update(*few)
        expect_close(metric.compute(), wide.compute())


def test_pairs_of_classes_need_scores_that_are_not_counted():
    preds = torch.rand(FOLDED_ROWS, C).softmax(1).half()
    target = torch.randint(C, (FOLDED_ROWS,))
    row = AUROC["multiclass"]
    options = {"multi_class": "ovo", "input": "probs"}
    others = row.ours(input="probs")
    collection = MetricCollection({"pairs": row.ours(**options), "others": others})
    collection.update(preds, target)
    values = collection.compute()
    expect_close(values["pairs"], row.call(preds, target, **options))
    expect_close(values["others"], row.call(preds, target, input="probs"))


def test_weights_keep_their_dtype():
    preds, target = make("binary", shape=(200,))
    weight = torch.rand(200) * 1e4
    metric = AUROC["binary"].ours()
    metric.update(preds, target, weight)
    metric.set_dtype(torch.float16)
    assert metric.weights[0].dtype is torch.float64
    expect_close(metric.compute(), AUROC["binary"].call(preds.half(), target, weight=weight))


def test_memory_stays_within_a_multiple_of_the_scores():
    """Though no tensor can grow: its dtype changes, its list is merged, its batch is empty."""
    preds, target = make("binary", shape=(16,))
    metrics = changing, merged, paused = [AUROC["binary"].ours() for _ in range(3)]
    other = AUROC["binary"].ours()
    other.update(preds[:2], target[:2])
    for step in range(100):
        changing.update(preds.to((torch.float32, torch.float64)[step % 2]), target)
        merged.update(preds, target)
        merged.merge_state(other)
        paused.update(preds, target)
        paused.update(preds[:0], target[:0])
        paused(preds[:0], target[:0])
    assert all(memory_per_row(metric) < 4 for metric in metrics)
    assert len(paused.preds) < 20


def test_states_are_plain_tensors_in_files_and_copies():
    preds, target = make("binary")
    metric = AUROC["binary"].ours()
    for part in range(3):
        metric.update(preds[part * 20 : part * 20 + 20], target[part * 20 : part * 20 + 20])
    file = io.BytesIO()
    torch.save(metric.metric_state, file)
    file.seek(0)
    for states in (torch.load(file, weights_only=True), copy.deepcopy(metric.metric_state)):
        other = AUROC["binary"].ours()
        for state in other.metric_state:
            setattr(other, state, states[state])
        expect(other.compute(), metric.compute(), rtol=0, atol=0)
        other.update(preds, target)
        other.update(preds, 1 - target)
        assert sum(map(len, other.preds)) == 180
    assert torch.equal(torch.cat(metric.preds), preds)


@pytest.mark.parametrize("ignore_index", [None, -1, 1])
@pytest.mark.parametrize("task", TASKS)
def test_lists_take_what_the_peer_keeps(task, ignore_index):
    """Appended by a subclass, or taken from a checkpoint; updates go on behind."""
    row = AUROC[task]
    preds, target = make(task, ignore_index=ignore_index)
    ours, theirs = row.ours(ignore_index=ignore_index), row.theirs(ignore_index=ignore_index)
    theirs.update(preds[:40], target[:40])
    ours.preds.append(theirs.preds[0])
    ours.target.append(theirs.target[0])
    ours.update(preds[40:], target[40:])
    assert ours.preds[-1].shape == preds[40:].shape
    value = row.call(preds, target, ignore_index=ignore_index)
    expect(ours.compute(), value, rtol=0, atol=0)


def test_rows_that_a_list_shows_stay_as_they_are():
    preds, target = make("binary", shape=(60,))
    metric = AUROC["binary"].ours()
    for start in range(0, 15, 5):
        metric.update(preds[start : start + 5], target[start : start + 5])
    lists = metric.preds.copy(), metric.target.copy()
    seen = [chunk.clone() for chunk in lists[0]]
    others = [copy.copy(metric), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))]
    for other in (*others, metric):
        other.update(1 - preds[:5], target[:5])
    # Back where it was, it may not write where it has written since.
    metric.preds, metric.target = lists
    later = metric.preds[-1]
    metric.update(preds[15:20], target[15:20])
    assert all(map(torch.equal, lists[0], seen))
    assert torch.equal(later, seen[-1])
    value = AUROC["binary"].call(preds[:20], target[:20])
    expect(metric.compute(), value, rtol=0, atol=0)


def test_joining_batches_is_adding_them():
    preds, target = make("binary", shape=(60,))
    preds = preds.half()
    statistic = AUROC["binary"].ours().statistic
    total = States(statistic.empty())
    for start in range(0, 60, 5):
        batch = States(statistic.empty(), batch=True)
        statistic.add(batch, preds[start : start + 5], target[start : start + 5])
        names = statistic.join(total, batch)
    assert {*names, "events"} == {*total.values}
    assert torch.equal(torch.cat(total.values["preds"]), preds)
    assert torch.equal(torch.cat(total.values["target"]), target.byte())
    assert len(total.values["preds"]) < 6
    large = States(statistic.empty(), batch=True)
    statistic.add(large, *many(torch.float16))
    assert large.values["preds"]  # one batch is never folded
    statistic.join(total, large)
    assert not total.values["preds"]
    assert total.values["float16_counts"].sum() == FOLDED_ROWS + 60


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("thresholds", MODES)
def test_scores_are_ranked_on_the_device_where_they_are(task, weighted, thresholds):
    """``compute_on_cpu`` moves lists and leaves counts; "meta" stands for an accelerator."""
    preds, target = make(task)
    weight = torch.rand(60) if weighted else None
    for row in (AUROC[task], next(row for row in CURVES if row.task == task)):
        metric = row.ours(
            thresholds=thresholds,
            input="probs",
            compute_on_cpu=True,
            compute_with_cache=False,
            validate_args=False,
        )
        with few(50, 64):
            metric.update(preds, target, weight)
        metric.update(preds, target, weight)
        value = metric.compute()
        metric.events = metric.events.to("meta")
        expect(metric.compute(), value, rtol=0, atol=0)


def test_metrics_that_share_tensors_grow_apart():
    preds, target = make("binary", shape=(100,))
    rows = {row.suffix: row for row in VALUES if row.task == "binary"}
    collection = MetricCollection({key: row.ours() for key, row in rows.items()})
    for start in range(0, 40, 10):
        collection.update(preds[start : start + 10], target[start : start + 10])
    copied = collection["AUROC"].clone()
    first, second = collection["AUROC"], collection["AveragePrecision"]
    seen = {id(metric): [slice(0, 40)] for metric in (first, second, copied)}
    for start, metric in zip(
        range(40, 100, 5), itertools.cycle((first, second, copied)), strict=False
    ):
        part = slice(start, start + 5)
        metric.update(preds[part], target[part])
        seen[id(metric)].append(part)
    first.merge_state(first)
    seen[id(first)] *= 2
    for metric in (first, second, copied):
        parts = seen[id(metric)]
        row = rows["AveragePrecision" if metric is second else "AUROC"]
        expected = row.call(
            torch.cat([preds[p] for p in parts]), torch.cat([target[p] for p in parts])
        )
        expect(metric.compute(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("task", TASKS)
def test_compiled_steps_keep_every_score(task):
    torch.compiler.reset()
    row = AUROC[task]
    metric, eager = row.ours(), row.ours()

    @torch.compile(backend="eager")
    def step(preds: Tensor, target: Tensor) -> None:
        metric.update(preds * 1, target)

    for _ in range(3):
        preds, target = make(task)
        step(preds, target)
        eager.update(preds, target)
    expect(metric.compute(), eager.compute(), rtol=0, atol=0)


@pytest.mark.parametrize("validate_args", [False, True])
@every_row
def test_how_scores_are_kept_is_always_checked(row, validate_args):
    for options in ({"thresholds": "nope"}, {"input": 5}):
        with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
            row.ours(**options, validate_args=validate_args)


# Bounds


def pairs_in_order(preds: Tensor, target: Tensor) -> Fraction:
    scores = preds.double().tolist()
    positives = [x for x, y in zip(scores, target.tolist(), strict=True) if y]
    negatives = [x for x, y in zip(scores, target.tolist(), strict=True) if not y]
    twice = sum((p > n) * 2 + (p == n) for p in positives for n in negatives)
    return Fraction(twice, 2 * len(positives) * len(negatives))


def mean_precision(preds: Tensor, target: Tensor) -> Fraction:
    scores = preds.double().tolist()
    labels = target.tolist()
    total = Fraction(0)
    for score, label in zip(scores, labels, strict=True):
        if label:
            reached = [y for x, y in zip(scores, labels, strict=True) if x >= score]
            total += Fraction(sum(reached), len(reached))
    return total / sum(labels)


@contextlib.contextmanager
def few(rows: int, cells: int) -> Iterator[None]:
    """Keep no more than so many rows, and cells of each class."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ROWS", rows), ("CELLS", cells)):
            patch.setattr(ranked_scores, f"MOST_{name}", value)
            patch.setattr(ranked_scores, f"LEAST_{name}", 1)
        yield


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_bounds_enclose_the_exact_value(data):
    """Whatever the scores: close together, far apart, tied, infinite; however they are kept."""
    size = data.draw(st.integers(2, 40))
    base = data.draw(st.sampled_from([0.5, 1.0, -3.0, 1e-30, 98.0]))
    near = st.integers(-40, 40).map(lambda steps: float(np.float32(base) * (1 + steps * 2.0**-12)))
    wide = st.floats(LOW, HIGH, width=32)
    special = st.sampled_from([math.inf, -math.inf, 0.0, -0.0, 1e-45, base])
    scores = st.one_of(*data.draw(st.sampled_from([[near], [wide], [near, wide, special]])))
    preds = torch.tensor(data.draw(st.lists(scores, min_size=size, max_size=size)))
    target = torch.tensor(data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
    target[0], target[1] = 0, 1
    thresholds = data.draw(st.sampled_from(["auto", "auto", 5, None]))
    cells, step = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 40))
    cases = ((AUROC["binary"], pairs_in_order), (PRECISION["binary"], mean_precision))
    for row, oracle in cases:
        with few(data.draw(st.integers(1, 20)), cells):
            parts = [row.ours(thresholds=thresholds, input="logits") for _ in range(2)]
            for number, start in enumerate(range(0, size, step)):
                part = slice(start, start + step)
                parts[number % 2].update(preds[part], target[part])
            metric = parts[0]
            metric.merge_state(parts[1])
            exact = oracle(preds, target)
            low, high = (Fraction(bound.item()) for bound in metric.bounds())
            assert low <= exact <= high
            assert low <= Fraction(metric.compute().item()) <= high
            if thresholds is None:
                assert high - low < Fraction(1, 10**6)


def log_normal(size: int) -> Tensor:
    return (torch.randn(size, dtype=torch.float64) * 8).exp()


DISTRIBUTIONS = {
    "normal around 98": lambda y: 98 + torch.randn(len(y)) + y / 2,
    "uniform": lambda y: 0.6 + 0.3 * torch.rand(len(y)),
    "narrow": lambda y: 1 + 1e-9 * (torch.randn(len(y), dtype=torch.float64) + y),
    "30 decades": lambda y: log_normal(len(y)) * (1 + y),
    "mixture": lambda y: torch.where(
        torch.rand(len(y)) < 0.5, log_normal(len(y)), 98 + torch.randn(len(y)) + y / 2
    ),
    "two ranges": lambda y: torch.cat(
        [0.6 + 0.3 * torch.rand(len(y) // 2), 98 + torch.randn(len(y) - len(y) // 2)]
    ),
    "peak": lambda y: y + 1e-3 * torch.randn(len(y)) / torch.randn(len(y)),
}


@pytest.mark.parametrize("rare", [False, True])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_bounds_of_a_million_scores_are_narrow(name, rare):
    torch.manual_seed(0)
    target = (torch.rand(10**6) < (0.02 if rare else 0.5)).long()
    preds = DISTRIBUTIONS[name](target)
    rows = (AUROC["binary"], PRECISION["binary"])
    kinds = {row: (row.ours(thresholds="auto", input="logits"), row.ours()) for row in rows}
    collection = MetricCollection({row.suffix: ranked for row, (ranked, _) in kinds.items()})
    for start in range(0, 10**6, 50_000):
        part = slice(start, start + 50_000)
        collection.update(preds[part], target[part])
    for ranked, exact in kinds.values():
        low, high = ranked.bounds()
        value = exact(preds, target)
        assert low <= value <= high
        assert low <= ranked.compute() <= high
        assert high - low < 1e-3
    assert len(ranked.state_bytes()) < 2.5e6
    ranked.reset()
    for start in range(0, 260_000, 10_000):
        ranked.update(preds[start : start + 10_000].float(), target[start : start + 10_000])
    assert memory_per_row(ranked) < 1.01


def test_bounds_of_ranks_with_ranges_of_their_own_are_narrow():
    torch.manual_seed(0)
    target = torch.randint(2, (4, 250_000))
    preds = torch.randn(4, 250_000) + target + torch.tensor([[0.0], [1.5], [30.0], [-1e6]])
    for row in (AUROC["binary"], PRECISION["binary"]):
        ranks = [row.ours(thresholds="auto", input="logits") for _ in range(4)]
        for metric, scores, labels in zip(ranks, preds, target, strict=True):
            metric.update(scores, labels)
        for other in ranks[1:]:
            ranks[0].merge_state(other)
        low, high = ranks[0].bounds()
        assert low <= row.call(preds.flatten(), target.flatten()) <= high
        assert high - low < 1e-3
        ranks[0].update(preds[1], target[1])
        assert sum(map(len, ranks[0].cells)) == ranks[0].statistic.most_cells
        again = torch.cat([preds.flatten(), preds[1]]), torch.cat([target.flatten(), target[1]])
        low, high = ranks[0].bounds()
        assert low <= row.call(*again) <= high
        assert high - low < 1e-3


@pytest.mark.parametrize("max_fpr", [0.01, 0.3, 0.9])
def test_bounds_of_partial_areas(max_fpr):
    torch.manual_seed(0)
    for _ in range(20):
        preds, target = 1 + torch.rand(300) / 50, torch.randint(2, (300,))
        row = AUROC["binary"]
        exact = row.call(preds, target, max_fpr=max_fpr)
        with few(64, 16):
            metric = row.ours(thresholds="auto", max_fpr=max_fpr)
            for start in range(0, 300, 60):
                metric.update(preds[start : start + 60], target[start : start + 60])
        low, high = metric.bounds()
        assert low < exact < high
        assert low < metric.compute() < high


@of(VALUES)
@pytest.mark.parametrize("kind", ["probs", "logits"])
@pytest.mark.parametrize("weighted", [False, True])
def test_bounds_of_classes_and_weights(row, arguments, kind, weighted):
    preds, target = make(row.task, kind, (400,))
    weight = torch.rand(400) if weighted else None
    exact = row.call(preds, target, weight=weight, **arguments)
    with few(100, 128):
        metric = row.ours(thresholds="auto", **arguments)
        for start in range(0, 400, 50):
            part = slice(start, start + 50)
            metric.update(preds[part], target[part], None if weight is None else weight[part])
    assert sum(map(len, metric.cells)) == 128
    low, high = metric.bounds()
    value = metric.compute()
    assert low.shape == high.shape == value.shape
    for each in (exact, value):
        assert ((low <= each) & (each <= high)).all()
    assert (high - low < 0.1).all()


@every_row
@pytest.mark.parametrize("kind", ["probs", "logits"])
def test_ranked_scores_are_exact_while_there_is_room(row, kind):
    """Also in cells, as long as there are no more scores than cells."""
    preds, target = make(row.task, kind)
    exact = row.call(preds, target)
    expect(row.call(preds, target, thresholds="auto"), exact, rtol=0, atol=0)
    with few(20, 64):
        metric = batches(row, preds, target, thresholds="auto")
    assert metric.cells
    expect_close(metric.compute(), one_value(exact))


def test_whether_scores_are_logits_may_show_late():
    row = AUROC["multiclass"]
    preds, target = make("multiclass", "logits", (90,))
    preds[:60] = preds[:60].softmax(1)
    with few(20, 128):
        metric = row.ours(thresholds="auto")
        for start in range(0, 90, 30):
            metric.update(preds[start : start + 30], target[start : start + 30])
            seen = preds[: start + 30], target[: start + 30]
            expect(metric.compute(), row.call(*seen), rtol=1e-6, atol=0)


@pytest.mark.parametrize("task", TASKS)
def test_cells_are_copied_saved_and_joined(task):
    row = AUROC[task]
    preds, target = make(task, shape=(200,))
    with few(30, 64):
        metric, other = row.ours(thresholds="auto"), row.ours(thresholds="auto")
        metric.persistent(True)
        other.persistent(True)
        for start in range(0, 200, 25):
            metric(preds[start : start + 25], target[start : start + 25])
        bounds, value = metric.bounds(), metric.compute()
        assert metric.cells and not metric.preds
        other.load_state_dict(metric.state_dict())
        restored = row.ours(thresholds="auto").from_state_bytes(metric.state_bytes())
        copies = (other, restored, copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)))
        for each in copies:
            expect(each.compute(), value, rtol=0, atol=0)
            expect(each.bounds(), bounds, rtol=0, atol=0)
            each.update(preds, target)
        expect(metric.compute(), value, rtol=0, atol=0)


@pytest.mark.parametrize("task", TASKS)
def test_compiled_steps_make_cells(task):
    torch.compiler.reset()
    row = AUROC[task]
    with few(30, 64):
        metric, eager = row.ours(thresholds="auto"), row.ours(thresholds="auto")

        @torch.compile(backend="eager", fullgraph=True)
        def step(preds: Tensor, target: Tensor) -> None:
            metric.update(preds * 1, target)

        for _ in range(6):
            preds, target = make(task, shape=(25,))
            step(preds, target)
            eager.update(preds, target)
        assert metric.cells
        expect(metric.compute(), eager.compute(), rtol=0, atol=0)


def test_many_classes_share_the_memory():
    metric = type(AUROC["multiclass"].ours())(num_classes=1000, thresholds="auto")
    statistic = metric.statistic
    assert 5 * 1000 * statistic.most_rows <= 2**25
    assert 32 * 2 * 1000 * statistic.most_cells <= 2**25


# Processes


def uneven_processes(rank: int, world: int) -> None:
    """Every process has another number of samples and of batches; the last has none."""
    torch.manual_seed(0)
    some = [*AUROC.values(), PRECISION["multilabel"], CURVES[1]]
    for row, thresholds in itertools.product(some, MODES):
        for dtype in (torch.float32, torch.bfloat16):
            preds, target = make(row.task, "probs", (60,), dtype)
            metric = row.ours(thresholds=thresholds, input="probs")
            parts = [range(0, 25, 5), range(25, 60, 35), range(0)][min(rank, 2)]
            for start in parts:
                end = start + parts.step
                metric.update(preds[start:end], target[start:end])
            metric.update(preds[:0], target[:0])
            expected = row.call(preds, target, thresholds=thresholds, input="probs")
            expect(metric.compute(), one_value(expected), rtol=0, atol=0)
            if row in VALUES:
                low, high = metric.bounds()
                assert low <= metric.compute() <= high
            assert not metric._is_synced
            metric.update(preds[:5], target[:5])


@pytest.mark.exhaustive
def test_uneven_processes(tmp_path: Path):
    run_checks(3, tmp_path, uneven_processes)
