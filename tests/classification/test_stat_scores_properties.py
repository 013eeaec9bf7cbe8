"""Laws that hold for every stat-score metric, on inputs that hypothesis makes."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastmetrics import classification
from tests.classification.inputs import count_by_hand
from tests.classification.test_stat_scores import (
    ALL_ROWS,
    LABEL_DTYPES,
    ROWS,
    STAT_SCORES,
    TASKS,
    Row,
    close,
    exact_value,
)

C = 3
ARGUMENTS: dict[str, dict[str, Any]] = {
    "binary": {},
    "multiclass": {"num_classes": C},
    "multilabel": {"num_labels": C},
}
few = settings(max_examples=25, deadline=None)
every_task = pytest.mark.parametrize("task", TASKS)
some_rows = st.sampled_from(ROWS)


def make(row: Row, task: str, **options: Any) -> Any:
    cls = getattr(classification, task.capitalize() + row.suffix)
    return cls(**row.extra, **ARGUMENTS[task], **options)


@st.composite
def batches(draw: st.DrawFn, task: str) -> tuple[Tensor, Tensor]:
    """Any number of samples, with any scores of any dtype, and targets that may be ignored (-1)."""
    rows = draw(st.integers(0, 12))
    shape = (rows, C) if task == "multilabel" else (rows,)
    numel = rows * (C if task == "multilabel" else 1)
    highest = C - 1 if task == "multiclass" else 1
    labels = st.lists(st.integers(-1, highest), min_size=numel, max_size=numel)
    target = torch.tensor(draw(labels), dtype=torch.int64).view(shape)
    kind = draw(st.sampled_from(["labels", "float16", "bfloat16", "float32", "float64"]))
    if kind == "labels":
        labels = st.lists(st.integers(0, highest), min_size=numel, max_size=numel)
        return torch.tensor(draw(labels), dtype=torch.int64).view(shape), target
    dtype: torch.dtype = getattr(torch, kind)
    if task == "multiclass":
        shape, numel = (rows, C), rows * C
    # Values that every dtype holds, with ties, 0.5, and both zeros.
    values = st.sampled_from([-4.0, -1.0, -0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0, float("inf")])
    scores = draw(st.lists(values, min_size=numel, max_size=numel))
    return torch.tensor(scores, dtype=dtype).view(shape), target


def reads_logits(preds: Tensor, target: Tensor) -> bool:
    if not preds.is_floating_point() or preds.shape != target.shape:
        return False
    return bool((((preds < 0) | (preds > 1)) & (target != -1)).any())


def options_for(data: st.DataObject, task: str) -> dict[str, Any]:
    options: dict[str, Any] = {"ignore_index": -1}
    if task != "binary":
        options["average"] = data.draw(st.sampled_from(["micro", "macro", "weighted", None]))
    if task != "multiclass":
        options["threshold"] = data.draw(st.sampled_from([0.25, 0.5, 0.75]))
    return options


@every_task
@few
@given(st.data())
def test_counts_and_values_by_hand(task: str, data: st.DataObject) -> None:
    preds, target = data.draw(batches(task))
    options = options_for(data, task)
    if task == "multiclass" and preds.is_floating_point():
        options["top_k"] = data.draw(st.integers(1, C))
    how = {k: v for k, v in options.items() if k != "average"}
    size = 1 if task == "binary" else C
    counts = count_by_hand(
        task, preds, target, size, **how, logits=reads_logits(preds, target)
    ).sum(0)
    average, top_k = options.get("average"), options.get("top_k", 1)
    metric = make(STAT_SCORES, task, **options)
    metric.update(preds, target)
    assert int(metric.tp.sum()) == counts[:, 0].sum()
    assert int(metric.fp.sum()) == counts[:, 1].sum()
    assert int(metric.tn.sum()) == counts[:, 2].sum()
    assert int(metric.fn.sum()) == counts[:, 3].sum()
    for row in ROWS:
        zero_division = data.draw(st.sampled_from([0, 1]))
        value = make(row, task, **options, zero_division=zero_division)(preds, target)
        close(value, exact_value(row, task, counts, average, top_k, zero_division))
        assert torch.all((value >= 0) & (value <= 1))


@every_task
@few
@given(st.data())
def test_any_split_into_batches_and_metrics(task: str, data: st.DataObject) -> None:
    preds, target = data.draw(batches(task))
    options = options_for(data, task)
    row = data.draw(st.sampled_from(ALL_ROWS))
    whole = make(row, task, **options)
    whole.update(preds, target)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(target)), max_size=4)))
    parts = list(zip(preds.tensor_split(cuts), target.tensor_split(cuts), strict=True))
    one_by_one, first, second = (make(row, task, **options) for _ in range(3))
    for i, (p, t) in enumerate(parts):
        if data.draw(st.booleans()):
            one_by_one.update(p, t)
        else:
            one_by_one(p, t)
        (first if i % 2 else second).update(p, t)
    unchanged = copy.deepcopy(second.metric_state)
    first.merge_state(second)
    expected = whole.compute()
    for metric in (one_by_one, first):
        assert torch.equal(metric.counts, whole.counts)
        assert torch.equal(metric.events, whole.events)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the second metric may have seen nothing
            torch.testing.assert_close(metric.compute(), expected, rtol=0, atol=0, equal_nan=True)
    assert all(torch.equal(v, unchanged[k]) for k, v in second.metric_state.items())


@every_task
@few
@given(st.data())
def test_samples_may_come_in_any_order(task: str, data: st.DataObject) -> None:
    preds, target = data.draw(batches(task))
    order = torch.tensor(data.draw(st.permutations(range(len(target)))), dtype=torch.int64)
    options, row = options_for(data, task), data.draw(some_rows)
    assert torch.equal(
        make(row, task, **options)(preds, target),
        make(row, task, **options)(preds[order], target[order]),
    )


@every_task
@few
@given(st.data())
def test_a_weight_repeats_a_sample(task: str, data: st.DataObject) -> None:
    preds, target = data.draw(batches(task))
    repeats = torch.tensor(
        data.draw(st.lists(st.integers(0, 3), min_size=len(target), max_size=len(target))),
        dtype=torch.int64,
    )
    options = options_for(data, task)
    if task != "multiclass":
        # A sample with weight 0 still tells logits from probabilities; one repeated 0 times cannot.
        options["input"] = data.draw(st.sampled_from(["probs", "logits"]))
    dtype = data.draw(st.sampled_from([torch.float16, torch.float64, *LABEL_DTYPES[:-1]]))
    row = data.draw(some_rows)
    repeated = [x.repeat_interleave(repeats, dim=0) for x in (preds, target)]
    close(
        make(row, task, **options)(preds, target, weight=repeats.to(dtype)),
        make(row, task, **options)(*repeated),
    )


@few
@given(st.data())
def test_classes_may_be_renamed(data: st.DataObject) -> None:
    target = torch.tensor(data.draw(st.lists(st.integers(0, C - 1), max_size=12)))
    target = target.long()
    preds = torch.tensor([data.draw(st.integers(0, C - 1)) for _ in target]).long()
    names = torch.tensor(data.draw(st.permutations(range(C))))
    row = data.draw(some_rows)
    apart = make(row, "multiclass", average=None)
    renamed = make(row, "multiclass", average=None)
    assert torch.equal(apart(preds, target), renamed(names[preds], names[target])[names])
    for average in ("micro", "macro", "weighted"):
        close(
            make(row, "multiclass", average=average)(preds, target),
            make(row, "multiclass", average=average)(names[preds], names[target]),
        )


@every_task
@few
@given(st.data())
def test_samples_alone_add_up_to_the_whole(task: str, data: st.DataObject) -> None:
    preds, target = data.draw(batches(task))
    if task == "multiclass" and preds.is_floating_point():
        return
    axis = 2 if task == "multilabel" else 1
    preds = torch.stack([preds, preds.flip(0)], dim=axis)
    target = torch.stack([target, target], dim=axis)
    options = options_for(data, task)
    if task != "binary":
        options["average"] = None
    apart = make(STAT_SCORES, task, **options, multidim_average="samplewise")(preds, target)
    whole = make(STAT_SCORES, task, **options)(preds, target)
    assert torch.equal(apart.reshape(len(target), *whole.shape).sum(0), whole)


@few
@given(st.data(), st.sampled_from(LABEL_DTYPES), st.sampled_from(LABEL_DTYPES))
def test_label_dtypes_do_not_matter(
    data: st.DataObject, preds_dtype: torch.dtype, target_dtype: torch.dtype
) -> None:
    labels = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=8)
    pairs = torch.tensor(data.draw(labels), dtype=torch.int64).view(-1, 2)
    preds, target = pairs.unbind(1)
    expected = classification.BinaryStatScores()(preds, target)
    value = classification.BinaryStatScores()(preds.to(preds_dtype), target.to(target_dtype))
    assert torch.equal(value, expected)
    value = classification.MulticlassStatScores(2, average=None)(
        preds.to(preds_dtype), target.to(target_dtype)
    )
    assert torch.equal(value[1], expected)


@pytest.mark.parametrize("task", TASKS[1:])
@few
@given(st.data())
def test_exact_match_by_hand(task: str, data: st.DataObject) -> None:
    preds, target = data.draw(batches(task))
    if task == "multiclass":
        if preds.is_floating_point():
            preds = preds.argmax(1)
        preds, target = (x[: len(x) // 2 * 2].view(-1, 2) for x in (preds, target))
        guess = preds
    elif preds.is_floating_point():
        guess = (preds > (0.0 if reads_logits(preds, target) else 0.5)).long()
    else:
        guess = preds
    hits = [all(g == t or t == -1 for g, t in zip(*row, strict=True)) for row in zip(
        guess.tolist(), target.tolist(), strict=True
    )]  # fmt: skip
    cls = getattr(classification, f"{task.capitalize()}ExactMatch")
    value = cls(**ARGUMENTS[task], ignore_index=-1)(preds, target)
    assert float(value) == pytest.approx(sum(hits) / len(hits) if hits else 0.0)
