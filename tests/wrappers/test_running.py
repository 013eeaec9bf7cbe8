"""Running: the last few batches, and nothing else."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
import torchmetrics

from fastmetrics import CatMetric, MaxMetric, MeanMetric, MetricCollection, SumMetric
from fastmetrics.classification import BinaryAccuracy, BinaryAUROC, MulticlassAccuracy
from fastmetrics.regression import ContinuousRankedProbabilityScore, R2Score
from fastmetrics.wrappers import Running
from tests.wrappers.samples import binary_batches


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


@pytest.mark.parametrize("window", [1, 2, 3])
def test_batches_of_the_window_share_no_memory(window):
    """Whatever is written into one place of the window leaves the others and the metric alone."""
    running = Running(SumMetric(), window)
    running.persistent(True)
    for value in range(5):
        running.update(float(value))
        saved = running.state_dict()
        other = Running(SumMetric(), window)
        for _ in range(value % 3):
            other.update(9.0)
        other.load_state_dict(saved)
        places = [*other._states.values.values(), *other.base_metric._states.values.values()]
        assert len({place.data_ptr() for place in places}) == len(places)
        expected = running.compute()
        assert other.compute() == expected
        running.load_state_dict(saved)
        assert running.compute() == expected
        running.update(7.0), other.update(7.0)
        assert running.compute() == other.compute()
        running.load_state_dict(saved)


def test_a_window_takes_memory_as_it_fills():
    running = Running(SumMetric(), 2**31 - 1)
    for value in range(4):
        running.update(float(value))
    assert running.compute() == 6
    assert len(running._states.values) < 20


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


def labels(n):
    return torch.randint(4, (n,)), torch.randint(4, (n,))


def probabilities(n):
    return torch.rand(n), torch.randint(2, (n,))


def numbers(n):
    return torch.randn(n), torch.randn(n)


def ensembles(n):
    return torch.randn(n, 5), torch.randn(n)


of_torchmetrics = torchmetrics.regression
KINDS = [
    (
        lambda: MulticlassAccuracy(4),
        lambda: torchmetrics.classification.MulticlassAccuracy(4),
        labels,
    ),
    (
        lambda: BinaryAUROC(thresholds=9),
        lambda: torchmetrics.classification.BinaryAUROC(thresholds=9),
        probabilities,
    ),
    (R2Score, of_torchmetrics.R2Score, numbers),
    (
        ContinuousRankedProbabilityScore,
        of_torchmetrics.ContinuousRankedProbabilityScore,
        ensembles,
    ),
]
every_kind = pytest.mark.parametrize(("make", "make_theirs", "inputs"), KINDS)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, check_dtype=False)


@every_kind
@pytest.mark.parametrize("seen", [0, 1, 2, 3])
def test_windows_of_torchmetrics_are_loaded(make, make_theirs, inputs, seen):
    """Those that are full go on at the first slot: they do not say where they stand."""
    ours, whole = Running(make(), 3), Running(make(), 3)
    theirs = torchmetrics.wrappers.Running(make_theirs(), 3)
    theirs.persistent(True)
    ours.update(*inputs(8))  # which the checkpoint replaces
    for batch in [inputs(8) for _ in range(seen)]:
        theirs.update(*batch), whole.update(*batch)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for _ in range(5):
        batch = inputs(8)
        for metric in (ours, theirs, whole):
            metric.update(*batch)
        torch.testing.assert_close(ours.compute(), whole.compute())
        close(ours.compute(), theirs.compute())


@every_kind
@pytest.mark.parametrize("seen", [0, 1, 3, 4, 8])
def test_windows_are_written_for_torchmetrics(make, make_theirs, inputs, seen):
    """Whole, and the oldest batch first, so that it is forgotten first."""
    ours, theirs = Running(make(), 3), torchmetrics.wrappers.Running(make_theirs(), 3)
    for _ in range(seen):
        ours.update(*inputs(8))
    ours.persistent("torchmetrics")
    written = ours.state_dict()
    assert written.keys() == theirs._defaults.keys()
    theirs.load_state_dict(written, strict=True)
    again = Running(make(), 3)
    again.load_state_dict(written, strict=True)
    for _ in range(5):
        if seen:
            close(ours.compute(), theirs.compute())
            torch.testing.assert_close(again.compute(), ours.compute())
        batch, seen = inputs(8), seen + 1
        for metric in (ours, theirs, again):
            metric.update(*batch)


@pytest.mark.parametrize("seen", [0, 1, 3, 5])
def test_windows_of_lists_in_the_form_of_torchmetrics(seen):
    """Its own windows lose what lists hold."""
    ours, again = Running(BinaryAUROC(), 3), Running(BinaryAUROC(), 3)
    for _ in range(seen):
        ours.update(*probabilities(8))
    ours.persistent("torchmetrics")
    written = ours.state_dict()
    theirs = torchmetrics.wrappers.Running(torchmetrics.classification.BinaryAUROC(), 3)
    assert written.keys() == theirs._defaults.keys()
    again.load_state_dict(written)
    for _ in range(5):
        batch = probabilities(8)
        ours.update(*batch), again.update(*batch)
        torch.testing.assert_close(again.compute(), ours.compute())


@every_kind
def test_windows_are_loaded_whole_or_not_at_all(make, make_theirs, inputs):
    ours, theirs = Running(make(), 3), torchmetrics.wrappers.Running(make_theirs(), 3)
    larger, theirs_larger = Running(make(), 5), torchmetrics.wrappers.Running(make_theirs(), 5)
    for metric in (ours, theirs, larger, theirs_larger):
        metric.persistent(True)
        for _ in range(4):
            metric.update(*inputs(8))
    before = ours.state_bytes()
    for other in (larger, theirs_larger):
        for strict in (True, False):
            with pytest.raises(RuntimeError, match="`window`"):
                ours.load_state_dict(other.state_dict(), strict=strict)
            assert ours.state_bytes() == before
    for good in (ours.state_dict(), theirs.state_dict()):
        for name in good.keys() - {"_extras"}:
            with pytest.raises(RuntimeError, match=f"slot {name[-1]} of the window"):
                ours.load_state_dict({**good, name: torch.zeros(3, 3, 3, 3)})
            assert ours.state_bytes() == before
    cut = {name: state for name, state in ours.state_dict().items() if name != "_extras"}
    fresh = Running(make(), 3)
    fresh.load_state_dict(cut)
    torch.testing.assert_close(fresh.compute(), ours.compute())


def test_windows_that_torchmetrics_cannot_hold_are_not_written():
    metric = Running(BinaryAUROC(thresholds="auto"), 2)
    with pytest.raises(ValueError, match="torchmetrics has no metric that counts"):
        metric.persistent("torchmetrics")
    with pytest.raises(ValueError, match="`mode` must be one of"):
        metric.persistent("pickle")
    assert not metric.state_dict()


class Interrupted(BinaryAccuracy):
    """Where a batch has been joined and is not counted yet, somebody presses Ctrl-C."""

    stops = False

    def _join(self, total: Any, batch: Any) -> None:
        super()._join(total, batch)
        if self.stops:
            raise KeyboardInterrupt


def test_a_batch_that_was_interrupted_is_not_part_of_the_next_one():
    metric, expected = Running(Interrupted(), 3), Running(BinaryAccuracy(), 3)
    first, interrupted, last = binary_batches()
    for each in (metric, expected):
        each.update(*first)
    metric.base_metric.stops = True
    with pytest.raises(KeyboardInterrupt):
        metric(*interrupted)
    metric.base_metric.stops = False
    for each in (metric, expected):
        each.update(*last)
    assert metric.compute() == expected.compute()
