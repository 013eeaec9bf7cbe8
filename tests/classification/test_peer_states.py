"""States that are sums, under the names and in the shapes that torchmetrics gives them."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torchmetrics.classification as peer
from torch import Tensor

import fastmetrics.classification as ours

C = 3
RANDOM = torch.Generator().manual_seed(0)


def scores(*shape: int) -> Tensor:
    return torch.rand(shape, generator=RANDOM)


def labels(count: int, *shape: int) -> Tensor:
    return torch.randint(count, shape, generator=RANDOM)


BINARY = (scores(20), labels(2, 20))
CLASSES = (scores(20, C).softmax(1), labels(C, 20))
LABELS = (scores(20, C), labels(2, 20, C))
POSITIONS = (labels(C, 20, 2), labels(C, 20, 2))
GROUPED = (*BINARY, labels(2, 20))
ROWS: list[tuple[str, dict[str, Any], tuple[Tensor, ...]]] = [
    ("BinaryHingeLoss", {}, BINARY),
    ("MulticlassHingeLoss", {"num_classes": C}, CLASSES),
    ("MulticlassHingeLoss", {"num_classes": C, "multiclass_mode": "one-vs-all"}, CLASSES),
    ("MultilabelCoverageError", {"num_labels": C}, LABELS),
    ("MultilabelRankingAveragePrecision", {"num_labels": C}, LABELS),
    ("MultilabelRankingLoss", {"num_labels": C}, LABELS),
    ("MulticlassExactMatch", {"num_classes": C}, POSITIONS),
    ("MultilabelExactMatch", {"num_labels": C}, LABELS),
    ("BinaryGroupStatRates", {"num_groups": 2}, GROUPED),
    ("BinaryFairness", {"num_groups": 2}, GROUPED),
]
with_each_row = pytest.mark.parametrize(
    ("name", "arguments", "batch"), ROWS, ids=[f"{name}-{len(given)}" for name, given, _ in ROWS]
)


def pair(name: str, arguments: dict[str, Any], batch: tuple[Tensor, ...]) -> tuple[Any, Any]:
    fast, theirs = getattr(ours, name)(**arguments), getattr(peer, name)(**arguments)
    fast.update(*batch)
    theirs.update(*batch)
    return fast, theirs


def values_of(metric: Any) -> list[Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # states that were assigned came without an update
        value = metric.compute()
    return [*value.values()] if isinstance(value, dict) else [value]


@with_each_row
def test_states_read_as_theirs(name, arguments, batch):
    fast, theirs = pair(name, arguments, batch)
    for state in theirs._defaults:
        shown, expected = getattr(fast, state), getattr(theirs, state)
        assert shown.shape == expected.shape, state
        torch.testing.assert_close(shown.double(), expected.double(), rtol=1e-6, atol=1e-6)


@with_each_row
def test_their_states_make_their_value(name, arguments, batch):
    _, theirs = pair(name, arguments, batch)
    empty = getattr(ours, name)(**arguments)
    for state in theirs._defaults:
        setattr(empty, state, getattr(theirs, state))
        assert torch.equal(getattr(empty, state).double(), getattr(theirs, state).double())
    torch.testing.assert_close(values_of(empty), values_of(theirs))


@with_each_row
def test_states_can_be_added_to(name, arguments, batch):
    fast, theirs = pair(name, arguments, batch)
    for state in theirs._defaults:
        before = getattr(fast, state).clone()
        setattr(fast, state, getattr(fast, state).add_(1))  # what `+=` does
        assert torch.equal(getattr(fast, state), before + 1)


def test_samples_apart_are_read_only():
    metric = ours.MulticlassExactMatch(C, multidim_average="samplewise")
    metric.update(*POSITIONS)
    assert torch.equal(metric.correct / metric.total, metric.compute())
    with pytest.raises(AttributeError, match="`correct` of MulticlassExactMatch can be read"):
        metric.correct = torch.zeros(20)
