"""Label ranking metrics against scikit-learn and torchmetrics."""

from __future__ import annotations

import math
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

import fastmetrics.classification as ours
import fastmetrics.functional.classification as functional
from fastmetrics import MetricCollection
from tests.classification.inputs import SCORE_DTYPES

L = 5


@dataclass(frozen=True)
class Row:
    cls: str
    function: str
    sklearn: str

    def metric(self, num_labels: int = L, **arguments: Any) -> Any:
        return getattr(ours, self.cls)(num_labels, **arguments)

    def call(self, preds: Any, target: Any, num_labels: int = L, **arguments: Any) -> Any:
        return getattr(functional, self.function)(preds, target, num_labels, **arguments)

    def peer(self, preds: Any, target: Any, num_labels: int = L, **arguments: Any) -> Any:
        return getattr(peer_functional, self.function)(preds, target, num_labels, **arguments)

    def oracle(self, preds: Any, target: Any, **arguments: Any) -> float:
        """scikit-learn refuses NaN and works on positions as rows."""
        rows = [x.movedim(1, -1).reshape(-1, x.shape[1]) for x in (target.long(), preds.double())]
        return getattr(sklearn.metrics, self.sklearn)(*(x.numpy() for x in rows), **arguments)


ROWS = (
    Row("MultilabelCoverageError", "multilabel_coverage_error", "coverage_error"),
    Row(
        "MultilabelRankingAveragePrecision",
        "multilabel_ranking_average_precision",
        "label_ranking_average_precision_score",
    ),
    Row("MultilabelRankingLoss", "multilabel_ranking_loss", "label_ranking_loss"),
)
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.cls)


def inputs(*shape, ties=False, dtype=torch.float32):
    """Scores in [0, 1], and rows without positives and without negatives among others."""
    preds = torch.rand(shape)
    preds = (preds * 4).round() / 4 if ties else preds
    target = torch.randint(0, 2, shape)
    target[0], target[1] = 0, 1
    return preds.to(dtype), target


@each_row
@pytest.mark.parametrize("shape", [(30, L), (8, L, 3), (4, L, 2, 3), (9, 2), (6, 40)])
def test_values_are_those_of_torchmetrics(row, shape):
    preds, target = inputs(*shape)
    expected = row.peer(preds, target, shape[1])
    torch.testing.assert_close(row.call(preds, target, shape[1]), expected, rtol=2e-6, atol=0)
    metric, their_metric = row.metric(shape[1]), getattr(peer, row.cls)(shape[1])
    for batch in range(3):
        preds, target = inputs(*shape)
        target[2] = torch.arange(shape[1]).view(-1, *[1] * (len(shape) - 2)) % 2
        value, wanted = metric(preds, target), their_metric(preds, target)
        torch.testing.assert_close(value, wanted, rtol=2e-6, atol=0, msg=f"batch {batch}")
    torch.testing.assert_close(metric.compute(), their_metric.compute(), rtol=2e-6, atol=0)


@each_row
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize("shape", [(30, L), (8, L, 3), (20, 33), (3, 400)])
def test_values_are_those_of_scikit_learn(row, shape, dtype):
    for ties in (False, True):
        preds, target = inputs(*shape, ties=ties, dtype=dtype)
        value = row.call(preds, target, shape[1])
        assert value.dtype == torch.float32 and not value.ndim
        assert value.item() == pytest.approx(row.oracle(preds, target), rel=1e-6)


@each_row
def test_weights_are_those_of_scikit_learn(row):
    weight = torch.rand(30)
    preds, target = inputs(30, L, ties=True)
    expected = row.oracle(preds, target, sample_weight=weight.double().numpy())
    assert row.call(preds, target, weight=weight).item() == pytest.approx(expected, rel=1e-6)
    metric = row.metric()
    for part in torch.arange(30).split(7):
        metric.update(preds[part], target[part], weight=weight[part])
    assert metric.compute().item() == pytest.approx(expected, rel=1e-6)
    assert metric.total.item() == pytest.approx(weight.double().sum().item())


@each_row
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_split_any_order_and_any_ascending_map_of_the_scores(row, data):
    count = data.draw(st.integers(1, 12), "samples")
    labels = data.draw(st.integers(2, 7), "labels")
    values = st.lists(st.integers(-3, 3), min_size=count * labels, max_size=count * labels)
    preds = torch.tensor(data.draw(values, "scores"), dtype=torch.float32).view(count, labels)
    bits = st.lists(st.integers(0, 1), min_size=count * labels, max_size=count * labels)
    target = torch.tensor(data.draw(bits, "targets")).view(count, labels)
    expected = row.oracle(preds, target) if labels > 1 else None
    metric = row.metric(labels)
    cut = data.draw(st.integers(0, count), "cut")
    for part in (slice(cut, None), slice(0, cut)):
        columns = torch.tensor(data.draw(st.permutations(range(labels))))
        metric.update(preds[part][:, columns].exp(), target[part][:, columns])
    assert metric.compute().item() == pytest.approx(expected, rel=1e-6, abs=1e-7)


@each_row
def test_ignored_labels_take_no_part(row):
    """As if each row had only its other labels."""
    preds, target = inputs(40, L, ties=True)
    kept = torch.rand(40, L) > 0.3
    kept[5] = False
    given = target.where(kept, -1)
    rows = [
        row.call(preds[i : i + 1, kept[i]], target[i : i + 1, kept[i]], int(kept[i].sum()),
                 validate_args=False)
        for i in range(40)
        if kept[i].any()
    ]  # fmt: skip
    value = row.call(preds, given, ignore_index=-1)
    torch.testing.assert_close(value, torch.stack(rows).mean(), rtol=1e-6, atol=0)
    if row.cls == "MultilabelRankingAveragePrecision":
        given[5] = 0
        preds = torch.rand(40, L)
        expected = row.peer(preds, given, ignore_index=-1)
        torch.testing.assert_close(row.call(preds, given, ignore_index=-1), expected)


@each_row
def test_logits_are_ranked_as_they_are(row):
    """A sigmoid in float32 makes ties of different scores."""
    preds = torch.tensor([[30.0, 40.0, 50.0, -200.0, -300.0], [18.0, 19.0, 20.0, 21.0, 22.0]])
    target = torch.tensor([[0, 0, 1, 1, 0], [1, 0, 1, 0, 1]])
    value = row.call(preds, target)
    assert value.item() == pytest.approx(row.oracle(preds, target))
    assert value != row.peer(preds, target)
    exact = row.peer((preds.argsort(1).argsort(1) + 1) / 10, target)
    torch.testing.assert_close(value, exact)


def test_a_batch_without_pairs_counts_its_samples():
    """torchmetrics counts such a batch as one sample."""
    metric = ours.MultilabelRankingLoss(2)
    metric.update(torch.rand(6, 2), torch.ones(6, 2, dtype=torch.int64))
    metric.update(torch.tensor([[0.1, 0.9]]), torch.tensor([[1, 0]]))
    assert metric.total == 7
    torch.testing.assert_close(metric.compute(), torch.tensor(1 / 7))


@each_row
def test_nan_ranks_below_every_score(row):
    preds, target = inputs(20, L, ties=True)
    preds[4, 2] = preds[6, 0] = preds[6, 4] = math.nan
    with pytest.warns(UserWarning, match="2 samples had NaN scores"):
        value = row.call(preds, target)
    assert value.item() == pytest.approx(row.oracle(preds.nan_to_num(-1.0), target), rel=1e-6)


@each_row
def test_no_samples(row):
    metric = row.metric(ignore_index=-1)
    metric.update(torch.rand(0, L), torch.zeros(0, L, dtype=torch.int64))
    metric.update(torch.rand(3, L), torch.full((3, L), -1))
    assert metric.total == 0
    assert metric.compute().isnan()


@each_row
def test_counts_past_2_to_the_24(row):
    metric = row.metric(2)
    metric.update(torch.tensor([[0.3, 0.7]]), torch.tensor([[1, 0]]))
    metric.counts *= 2**25
    metric.update(torch.tensor([[0.7, 0.3]]), torch.tensor([[1, 0]]))
    assert metric.total == 2**25 + 1
    best = {"MultilabelRankingLoss": 0.0}.get(row.cls, 1.0)
    worst = {"MultilabelRankingLoss": 1.0, "MultilabelCoverageError": 2.0}.get(row.cls, 0.5)
    assert metric.measure == worst * 2**25 + best


def test_one_state_serves_precision_and_loss():
    metrics = MetricCollection([row.metric() for row in ROWS])
    preds, target = inputs(30, L)
    metrics.update(preds, target)
    assert len(metrics.compute_groups) == 2
    values = metrics.compute()
    for row in ROWS:
        assert values[row.cls] == row.call(preds, target)


@each_row
def test_errors_leave_the_state_as_it_was(row):
    metric = row.metric()
    preds, target = inputs(6, L)
    metric.update(preds, target)
    before = metric.counts.clone()
    wrong = target.clone()
    wrong[3, 2] = 4
    for call in (metric.update, metric.forward):
        with pytest.raises(RuntimeError, match=r"must lie in \[0, 2\), got 4 at flat index 17"):
            call(preds, wrong)
        with pytest.raises(ValueError, match="`preds` must be a float tensor"):
            call(preds.long(), target)
        with pytest.raises(ValueError, match=f"with L={L}"):
            call(preds[:, :3], target[:, :3])
        with pytest.raises(ValueError, match=f"with L={L}"):
            call(preds[:, 0], target[:, 0])
    assert torch.equal(metric.counts, before)


@each_row
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"num_labels": 1}, "num_labels"),
        ({"num_labels": 2.0}, "num_labels"),
        ({"ignore_index": 0.5}, "ignore_index"),
    ],
)
def test_arguments_are_checked(row, arguments, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        row.metric(**arguments)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        row.call(*inputs(3, L), **arguments)


def test_many_labels_of_different_scores():
    """Rows that are sorted, against scikit-learn."""
    rng = np.random.default_rng(0)
    preds = torch.from_numpy(rng.permuted(np.tile(np.arange(3000.0), (4, 1)), axis=1))
    target = torch.from_numpy(rng.integers(0, 2, (4, 3000)))
    for row in ROWS:
        value = row.call(preds, target, 3000).item()
        assert value == pytest.approx(row.oracle(preds, target), rel=1e-6)
