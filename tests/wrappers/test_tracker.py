"""MetricTracker against torchmetrics."""

from __future__ import annotations

import copy
import gc
import pickle
from types import FunctionType, ModuleType

import pytest
import torch
import torchmetrics as tm

import fastmetrics as fm
from fastmetrics.classification import MulticlassAccuracy
from fastmetrics.utilities.exceptions import TorchMetricsUserError
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


def curves(package):
    return package.classification.BinaryAUROC()


def shared(package):
    names = package.classification
    return package.MetricCollection(
        [
            names.MulticlassAccuracy(CLASSES, top_k=1),
            names.MulticlassRecall(CLASSES),
            names.MulticlassAUROC(CLASSES, thresholds=1000),
        ]
    )


def scores(make):
    if make is curves:
        return torch.rand(5000), torch.randint(2, (5000,))
    return torch.randn(500, CLASSES).softmax(1), torch.randint(CLASSES, (500,))


def bytes_of_tensors(root):
    """What an object holds, however far away."""
    tensors, seen, left = {}, set(), [root]
    while left:
        found = left.pop()
        if id(found) in seen or isinstance(found, (type, ModuleType, FunctionType)):
            continue
        seen.add(id(found))
        if isinstance(found, torch.Tensor):
            tensors[found.data_ptr()] = found.untyped_storage().nbytes()
        left += gc.get_referents(found)
    return sum(tensors.values())


@pytest.mark.parametrize("make", [curves, shared])
@pytest.mark.parametrize("together", [False, True])
def test_steps_whose_values_are_known_keep_no_states(make, together):
    """Told by ``compute`` at the end of each, or by ``compute_all`` at the end of some."""
    tracker, sizes = MetricTracker(make(fm), maximize=True), []
    for step in range(6):
        tracker.increment()
        tracker.update(*scores(make))
        tracker(*scores(make))
        if not together:
            tracker.compute()
        elif step % 2:
            tracker.compute_all()
        if step % 2:
            sizes.append(bytes_of_tensors(tracker))
    assert sizes[0] > 5_000  # those of the last step are there
    # Of four steps, whose states are more than 200 000 bytes; thresholds and values stay.
    assert sizes[2] - sizes[0] < 80_000
    tracker.reset_all()


@pytest.mark.parametrize("make", [one, curves, shared])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_a_step_without_states_does(make):
    ours, theirs = MetricTracker(make(fm), maximize=True), tm.MetricTracker(make(tm), True)
    batch = scores(make)
    for _ in range(3):
        ours.increment(), theirs.increment()
        ours.update(*batch), theirs.update(*batch)
        same(ours.compute(), theirs.compute())
    for twin in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours)), ours.to("cpu")):
        same(twin.compute_all(), theirs.compute_all())
        same(twin[1].compute(), theirs[1].compute())
        step = twin[1] if make is not shared else twin[1]["MulticlassRecall"]
        assert step.update_count == 1
        for ask in (
            lambda step: step.metric_state,
            lambda step: step.update(*batch),
            lambda step: step.preds if make is curves else step.tp,
        ):
            with pytest.raises(TorchMetricsUserError, match="dropped when a MetricTracker"):
                ask(step)
        same(twin.compute_all(), theirs.compute_all())
    last = ours[3] if make is not shared else ours[3]["MulticlassRecall"]
    assert last.metric_state
    ours.reset_all(), theirs.reset_all()
    if make is not curves:  # of no data, which theirs refuses
        same(ours.compute_all(), theirs.compute_all())
    for metrics in (ours, theirs):
        metrics[1].update(*batch)
        metrics[1](*batch)
    same(ours[1].compute(), theirs[1].compute())


def test_states_that_somebody_asks_for_are_kept():
    asked = fm.classification.MulticlassAccuracy(CLASSES, compute_with_cache=False)
    saved = fm.classification.MulticlassAccuracy(CLASSES)
    saved.persistent(True)
    for metric in (asked, saved, MinMaxMetric(one(fm)), tm.MeanMetric()):
        tracker = MetricTracker(metric, maximize=True)
        for _ in range(2):
            tracker.increment()
            batch = scores(one) if metric.__class__ is not tm.MeanMetric else (1.0,)
            tracker.update(*batch)
            tracker.compute()
        tracker[1].update(*batch)
        assert tracker[1].update_count == 2


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
