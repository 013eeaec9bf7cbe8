"""Running: the last few batches, and nothing else."""

from __future__ import annotations

import pickle

import pytest
import torch
import torchmetrics

from fastmetrics import CatMetric, MaxMetric, MeanMetric, MetricCollection, SumMetric
from fastmetrics.classification import MulticlassAccuracy
from fastmetrics.wrappers import Running


def batches():
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 4, (2, 9), generator=generator).unbind() for _ in range(6)]


@pytest.mark.parametrize("window", [1, 2, 4, 10])
def test_values_are_those_of_torchmetrics(window):
    ours = Running(MulticlassAccuracy(4), window)
    theirs = torchmetrics.wrappers.Running(
        torchmetrics.classification.MulticlassAccuracy(4), window
    )
    for index, batch in enumerate(batches()):
        if index % 2:
            ours.update(*batch), theirs.update(*batch)
        else:
            torch.testing.assert_close(ours(*batch), theirs(*batch))
        torch.testing.assert_close(ours.compute(), theirs.compute())


@pytest.mark.parametrize("make", [CatMetric, MaxMetric, MeanMetric, SumMetric])
def test_the_window_is_all_that_counts(make):
    running = Running(make(), 3)
    for value in range(7):
        running.update(torch.tensor([float(value), 10.0 - value]))
        window = make()
        for seen in range(max(0, value - 2), value + 1):
            window.update(torch.tensor([float(seen), 10.0 - seen]))
        assert torch.equal(running.compute(), window.compute())
        assert torch.equal(running.compute(), window.compute())


def test_a_batch_that_raises_leaves_the_window_alone():
    running = Running(SumMetric(nan_strategy="error"), 2)
    running.update(1.0)
    running.update(2.0)
    for call in (running.update, running):
        with pytest.raises(RuntimeError, match="must not hold NaN"):
            call(torch.tensor([1.0, float("nan")]))
        assert running.compute() == 3
    running.update(5.0)
    assert running.compute() == 7


def test_copies_and_reset():
    running = Running(MeanMetric(), 2)
    for value in (1.0, 2.0, 4.0):
        running.update(value)
    for twin in (running.clone(), pickle.loads(pickle.dumps(running))):
        assert twin.compute() == 3
        twin.update(6.0)
        assert twin.compute() == 5
    assert running.compute() == 3
    running.reset()
    running.update(9.0)
    assert running.compute() == 9


def test_in_a_collection():
    metrics = MetricCollection({"sum": Running(SumMetric(), 2), "mean": Running(MeanMetric(), 2)})
    for value in (1.0, 2.0, 4.0):
        batch = metrics(value)
        assert batch["sum"] == batch["mean"] == value
    assert {k: v.item() for k, v in metrics.compute().items()} == {"sum": 6.0, "mean": 3.0}


def test_arguments():
    with pytest.raises(ValueError, match="`base_metric` must be a Metric"):
        Running(sum, 3)
    for window in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="`window` must be an integer of at least 1"):
            Running(SumMetric(), window)

    class Twice(SumMetric):
        full_state_update = True

    with pytest.raises(ValueError, match="must have `full_state_update = False`, got True"):
        Running(Twice(), 3)
