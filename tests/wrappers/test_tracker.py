"""MetricTracker against torchmetrics."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torchmetrics as tm

import fastmetrics as fm
from fastmetrics.classification import MulticlassAccuracy
from fastmetrics.wrappers import ClasswiseWrapper, MetricTracker, MinMaxMetric
from tests.wrappers.samples import CLASSES, class_batches, same


def one(package):
    return package.classification.MulticlassAccuracy(CLASSES)


def several(package):
    names = package.classification
    return package.MetricCollection(
        [names.MulticlassPrecision(CLASSES), names.MulticlassConfusionMatrix(CLASSES)]
    )


def by_class(package):
    wrapper = tm.ClasswiseWrapper if package is tm else ClasswiseWrapper
    inner = package.classification.MulticlassAccuracy(CLASSES, average=None)
    return package.MetricCollection({"classes": wrapper(inner), "whole": one(package)})


CASES = [
    (one, None),
    (one, False),
    (by_class, None),
    (several, True),
    (several, [True, False]),
    (lambda package: package.MeanSquaredError(), None),
]


def batches_for(make):
    if isinstance(make(fm), fm.MeanSquaredError):
        return [(p[:, 0], t.float()) for p, t in class_batches(6)]
    return class_batches(6)


@pytest.mark.parametrize(("make", "maximize"), CASES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_are_those_of_torchmetrics(make, maximize):
    ours, theirs = MetricTracker(make(fm), maximize), tm.MetricTracker(make(tm), maximize)
    assert ours.maximize == theirs.maximize
    for step, batch in enumerate(batches_for(make)):
        if step % 2 == 0:
            ours.increment(), theirs.increment()
            same(ours(*batch), theirs(*batch))
        else:
            ours.update(*batch), theirs.update(*batch)
        same(ours.compute(), theirs.compute())
        same(ours.compute_all(), theirs.compute_all())
        for twin in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
            same(twin.best_metric(return_step=True), theirs.best_metric(return_step=True))
            same(twin.best_metric(), theirs.best_metric())
            assert (twin.n_steps, len(twin)) == (theirs.n_steps, len(theirs))
        for i in range(1, len(theirs)):
            same(ours[i].compute(), theirs[i].compute())
        same(ours[-1].compute(), theirs[-1].compute())
    ours.reset(), theirs.reset()
    same(ours.compute_all(), theirs.compute_all())
    ours.reset_all(), theirs.reset_all()
    same(ours.compute_all(), theirs.compute_all())


def test_each_step_is_a_metric_of_its_own():
    tracker = MetricTracker(one(fm))
    for batch in class_batches():
        tracker.increment()
        tracker.update(*batch)
    for step, batch in enumerate(class_batches(), 1):
        assert isinstance(tracker[step], MulticlassAccuracy)
        assert tracker[step].compute() == one(fm)(*batch)
    with pytest.raises(KeyError):
        tracker[0]


def test_networks_are_not_copied():
    class WithNetwork(fm.SumMetric):
        def __init__(self):
            super().__init__()
            self.network = torch.nn.Linear(2, 2)

    metric = WithNetwork()
    tracker = MetricTracker(metric, maximize=True)
    tracker.increment()
    assert tracker[1].network is metric.network


def test_dicts_of_one_metric():
    tracker = MetricTracker(MinMaxMetric(one(fm)), maximize=True)
    for batch in class_batches():
        tracker.increment()
        tracker.update(*batch)
    best, step = tracker.best_metric(return_step=True)
    assert best["raw"] == max(one(fm)(*batch).item() for batch in class_batches())
    assert set(step) == {"raw", "min", "max"}


def test_checkpoint_of_a_tracker_that_has_begun():
    tracker = MetricTracker(one(fm))
    for batch in class_batches():
        tracker.increment()
        tracker[-1].persistent(True)
        tracker.update(*batch)
    fresh = MetricTracker(one(fm))
    fresh.load_state_dict(tracker.state_dict())
    same(fresh.compute_all(), tracker.compute_all())


def test_values_that_cannot_be_stacked():
    tracker = MetricTracker(fm.classification.MulticlassROC(CLASSES), maximize=True)
    tracker.increment()
    tracker.update(*class_batches()[0])
    with pytest.warns(UserWarning, match="none is the best"):
        assert tracker.best_metric(return_step=True) == (None, None)


def test_arguments():
    with pytest.raises(TypeError, match="`metric` must be a Metric or MetricCollection"):
        MetricTracker([1])
    for maximize in (2, [1, 2]):
        with pytest.raises(ValueError, match="`maximize` must be None, a bool or a list"):
            MetricTracker(several(fm), maximize)
    with pytest.raises(ValueError, match="entry for each of the 2 metrics"):
        MetricTracker(several(fm), [True])
    with pytest.raises(ValueError, match="`maximize` must be one bool"):
        MetricTracker(one(fm), [True])
    with pytest.raises(AttributeError, match="`higher_is_better`; give `maximize`"):
        MetricTracker(fm.classification.MulticlassConfusionMatrix(3))
    with pytest.raises(AttributeError, match="MulticlassConfusionMatrix does not say"):
        MetricTracker(several(fm))
    tracker = MetricTracker(one(fm))
    for name in ("update", "compute", "compute_all", "forward"):
        with pytest.raises(ValueError, match=f"Call `increment` before `{name}`"):
            getattr(tracker, name)(*(class_batches()[0] if name in ("update", "forward") else ()))


def test_plot():
    pytest.importorskip("matplotlib")
    tracker = MetricTracker(one(fm))
    for batch in class_batches():
        tracker.increment()
        tracker.update(*batch)
    tracker.plot()
