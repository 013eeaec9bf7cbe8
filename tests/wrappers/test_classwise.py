"""ClasswiseWrapper against torchmetrics, and its metric behind it."""

from __future__ import annotations

import pickle

import pytest
import torch
import torchmetrics as tm

from fastmetrics import MetricCollection
from fastmetrics.classification import MulticlassAccuracy, MulticlassRecall
from fastmetrics.wrappers import ClasswiseWrapper
from tests.wrappers.samples import CLASSES, agree, class_batches, same

LABELS = ["horse", "fish", "dog", "cat"]
CASES = [
    {},
    {"labels": LABELS},
    {"labels": LABELS[:2]},
    {"prefix": "acc-"},
    {"postfix": "-acc"},
    {"labels": LABELS, "prefix": "acc-", "postfix": "-now"},
    {"prefix": ""},
]


@pytest.mark.parametrize("options", CASES)
def test_values_are_those_of_torchmetrics(options):
    ours = ClasswiseWrapper(MulticlassAccuracy(CLASSES, average=None), **options)
    theirs = tm.ClasswiseWrapper(
        tm.classification.MulticlassAccuracy(CLASSES, average=None), **options
    )
    agree(ours, theirs, class_batches())
    assert ours.higher_is_better is theirs.higher_is_better


def test_in_a_collection_with_its_metric_beside():
    def make(package, wrapper):
        names = package.classification
        return package.MetricCollection(
            {
                "accuracy": wrapper(names.MulticlassAccuracy(CLASSES, average=None)),
                "recall": wrapper(names.MulticlassRecall(CLASSES, average=None), prefix="r"),
                "plain": names.MulticlassRecall(CLASSES),
            },
            prefix="val/",
        )

    import fastmetrics

    ours, theirs = make(fastmetrics, ClasswiseWrapper), make(tm, tm.ClasswiseWrapper)
    for preds, target in class_batches():
        same(ours(preds=preds, target=target), theirs(preds=preds, target=target))
    same(ours.compute(), theirs.compute())
    same(pickle.loads(pickle.dumps(ours)).compute(), theirs.compute())


def test_attributes_and_states_are_those_of_the_metric():
    wrapper = ClasswiseWrapper(MulticlassRecall(CLASSES, average=None))
    wrapper.update(*class_batches()[0])
    assert wrapper.num_classes == CLASSES
    assert torch.equal(wrapper.tp, wrapper.metric.tp)
    wrapper.tp = torch.zeros(CLASSES, dtype=torch.int64)
    assert not wrapper.metric.tp.any()
    assert wrapper.compute() == {f"multiclassrecall_{i}": 0 for i in range(CLASSES)}
    with pytest.raises(AttributeError, match="nothing_like_it"):
        wrapper.nothing_like_it  # noqa: B018


def test_a_batch_of_forward_is_kept_for_loggers():
    wrapper = ClasswiseWrapper(MulticlassRecall(CLASSES, average=None))
    value = wrapper(*class_batches()[0])
    assert wrapper._forward_cache is value
    assert wrapper.update_count == 1


def test_checkpoints_of_both():
    batch = class_batches()[0]
    theirs = tm.ClasswiseWrapper(tm.classification.MulticlassRecall(CLASSES, average=None))
    theirs.metric.persistent(True)
    theirs.update(*batch)
    ours = ClasswiseWrapper(MulticlassRecall(CLASSES, average=None))
    ours.persistent(True)
    ours.load_state_dict(theirs.state_dict())
    same(ours.compute(), theirs.compute())
    again = ClasswiseWrapper(MulticlassRecall(CLASSES, average=None))
    again.load_state_dict(ours.state_dict())
    same(again.compute(), theirs.compute())


def test_a_refused_batch_leaves_no_trace():
    wrapper = ClasswiseWrapper(MulticlassRecall(CLASSES, average=None))
    preds, target = class_batches()[0]
    wrapper.update(preds, target)
    before = wrapper.compute()
    for call in (wrapper.update, wrapper, MetricCollection({"w": wrapper})):
        with pytest.raises(RuntimeError, match="`target` must lie"):
            call(preds, target + CLASSES)
        same(wrapper.compute(), before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"metric": sum}, "`metric` must be a Metric"),
        ({"labels": "cat"}, "`labels` must be None or a list of strings, got 'cat'"),
        ({"labels": [1, 2]}, "`labels` must be None or a list of strings"),
        ({"prefix": 1}, "`prefix` must be None or a string, got 1"),
        ({"postfix": 1}, "`postfix` must be None or a string, got 1"),
    ],
)
def test_arguments(arguments, words):
    good = {"metric": MulticlassRecall(CLASSES, average=None)}
    with pytest.raises(ValueError, match=words):
        ClasswiseWrapper(**good | arguments)


def test_plot():
    pytest.importorskip("matplotlib")
    wrapper = ClasswiseWrapper(MulticlassRecall(CLASSES, average=None))
    wrapper.update(*class_batches()[0])
    figure, axis = wrapper.plot()
    assert figure is not None and axis is not None
