"""MultitaskWrapper against torchmetrics."""

from __future__ import annotations

import pickle

import pytest
import torch
import torchmetrics as tm

import fastmetrics as fm
from fastmetrics.wrappers import MinMaxMetric, MultitaskWrapper
from tests.wrappers.samples import agree, binary_batches, number_batches, same


def batches():
    pairs = zip(binary_batches(), number_batches(3, 20), strict=True)
    return [
        ({"kind": kind[0], "size": size[0]}, {"kind": kind[1], "size": size[1]})
        for kind, size in pairs
    ]


def single(package, wrapper, **options):
    tasks = {"kind": package.classification.BinaryAccuracy(), "size": package.MeanSquaredError()}
    return wrapper(tasks, **options)


def with_collections(package, wrapper, **options):
    names = package.classification
    kind = package.MetricCollection([names.BinaryAccuracy(), names.BinaryF1Score()])
    return wrapper({"kind": kind, "size": package.MeanAbsoluteError()}, **options)


@pytest.mark.parametrize("make", [single, with_collections])
@pytest.mark.parametrize("options", [{}, {"prefix": "val/"}, {"prefix": "a", "postfix": "b"}])
def test_values_are_those_of_torchmetrics(make, options):
    ours, theirs = make(fm, MultitaskWrapper, **options), make(tm, tm.MultitaskWrapper, **options)
    agree_all = batches()
    for i, batch in enumerate(agree_all):
        if i % 2:
            same(ours(*batch), theirs(*batch))
        else:
            ours.update(*batch), theirs.update(*batch)
        same(ours.compute(), theirs.compute())
    for flatten in (True, False):
        assert [*ours.keys(flatten)] == [*theirs.keys(flatten)]
        assert [name for name, _ in ours.items(flatten)] == [*theirs.keys(flatten)]
        assert len([*ours.values(flatten)]) == len([*theirs.values(flatten)])
    same(pickle.loads(pickle.dumps(ours)).compute(), theirs.compute())
    same(ours.clone(prefix="p").compute(), theirs.clone(prefix="p").compute())
    ours.reset(), theirs.reset()
    ours.update(*agree_all[0]), theirs.update(*agree_all[0])
    same(ours.compute(), theirs.compute())


def test_without_a_collection_copies_agree_too():
    agree(single(fm, MultitaskWrapper), single(tm, tm.MultitaskWrapper), batches())


def test_wrappers_inside():
    ours = MultitaskWrapper({"kind": MinMaxMetric(fm.classification.BinaryAccuracy())})
    (preds, target), *_ = binary_batches()
    value = ours({"kind": preds}, {"kind": target})
    assert value["kind"]["raw"] == value["kind"]["max"]


def test_a_refused_batch_of_forward_leaves_no_task_changed():
    ours = single(fm, MultitaskWrapper)
    ours = MultitaskWrapper({"size": ours.task_metrics["size"], "kind": ours.task_metrics["kind"]})
    good = batches()[0]
    ours(*good)
    before = ours.compute()
    bad = {"size": good[1]["size"] + 1, "kind": good[1]["kind"] + 7}
    with pytest.raises(RuntimeError, match="`target` must lie"):
        ours(good[0], bad)
    same(ours.compute(), before)
    assert ours.task_metrics["size"].update_count == 1


def test_keys():
    ours = single(fm, MultitaskWrapper)
    preds, target = batches()[0]
    for call in (ours.update, ours):
        for one, other in (({}, target), (preds, {}), ({**preds, "more": 1}, target)):
            with pytest.raises(ValueError, match=r"must have the keys \['kind', 'size'\]"):
                call(one, other)
    assert not ours.task_metrics["kind"].update_called


def test_arguments():
    good = {"kind": fm.classification.BinaryAccuracy()}
    with pytest.raises(TypeError, match="`task_metrics` must be a dict"):
        MultitaskWrapper([])
    with pytest.raises(TypeError, match=r"`task_metrics\['x'\]` must be a Metric"):
        MultitaskWrapper({"x": torch.nn.Linear(1, 1)})
    for name in ("prefix", "postfix"):
        with pytest.raises(ValueError, match=f"`{name}` must be None or a string, got 1"):
            MultitaskWrapper(good, **{name: 1})
        with pytest.raises(ValueError, match=f"`{name}` must be None or a string, got 1"):
            MultitaskWrapper(good).clone(**{name: 1})


def test_plot():
    pytest.importorskip("matplotlib")
    import matplotlib.pyplot as plt

    ours = single(fm, MultitaskWrapper, prefix="val/")
    values = [ours(*batch) for batch in batches()]
    assert len(ours.plot()) == len(ours.plot(values)) == 2
    _, axes = plt.subplots(1, 2)
    assert [axis for _, axis in ours.plot(axes=[*axes])] == [*axes]
    with pytest.raises(ValueError, match="`axes` must be a list of 2 axes, got 1"):
        ours.plot(axes=[axes[0]])
    with pytest.raises(TypeError, match="`axes` must be a list of matplotlib axes"):
        ours.plot(axes=3)
    with pytest.raises(TypeError, match="`val` must be"):
        ours.plot(3)
