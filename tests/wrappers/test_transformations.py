"""Transformers of inputs against torchmetrics."""

from __future__ import annotations

import pickle

import pytest
import torch
from torchmetrics import classification as theirs_classes
from torchmetrics import wrappers as tm

import fastmetrics as fm
from fastmetrics.classification import BinaryAccuracy
from fastmetrics.wrappers import (
    BinaryTargetTransformer,
    LambdaInputTransformer,
    MetricInputTransformer,
)
from tests.wrappers.samples import agree, binary_batches, number_batches, same


def turned(x):
    return 1 - x


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"transform_pred": turned},
        {"transform_target": turned},
        {"transform_pred": turned, "transform_target": turned},
    ],
)
def test_functions(options):
    ours = LambdaInputTransformer(BinaryAccuracy(), **options)
    theirs = tm.LambdaInputTransformer(theirs_classes.BinaryAccuracy(), **options)
    agree(ours, theirs, binary_batches())
    preds, target = binary_batches()[0]
    ours.update(preds, target)
    assert pickle.loads(pickle.dumps(ours)).compute() == ours.compute()


@pytest.mark.parametrize("threshold", [0, -0.5, 1.5])
def test_binary_targets(threshold):
    batches = [(p, t * 2) for p, t in binary_batches()]
    ours = BinaryTargetTransformer(BinaryAccuracy(), threshold=threshold)
    theirs = tm.BinaryTargetTransformer(theirs_classes.BinaryAccuracy(), threshold=threshold)
    agree(ours, theirs, batches)


def test_a_subclass_and_one_argument():
    class Twice(MetricInputTransformer):
        def transform_pred(self, pred):
            return 2 * pred

    metric = Twice(fm.SumMetric())
    assert metric(torch.tensor([1.0, 2.0])) == 6
    plain = MetricInputTransformer(fm.MeanSquaredError())
    preds, target = number_batches(1, 9)[0]
    assert plain(preds, target) == fm.functional.mean_squared_error(preds, target)


def test_keywords_are_transformed_too():
    preds, target = binary_batches()[0]
    one, other = (LambdaInputTransformer(BinaryAccuracy(), turned) for _ in range(2))
    assert one(preds, target) == other(preds=preds, target=target)
    metrics = fm.MetricCollection({"turned": LambdaInputTransformer(BinaryAccuracy(), turned)})
    metrics.update(preds=preds, target=target, unknown=3)
    assert metrics.compute()["turned"] == one.compute()


def test_a_module_transforms():
    metric = LambdaInputTransformer(BinaryAccuracy(), torch.nn.Sigmoid())
    preds, target = binary_batches()[0]
    assert metric(preds - 0.5, target) == BinaryAccuracy()(preds, target)


def test_collections_inside():
    names = ("BinaryAccuracy", "BinaryF1Score")
    inner = fm.MetricCollection([getattr(fm.classification, name)() for name in names])
    ours = LambdaInputTransformer(inner, turned)
    preds, target = binary_batches()[0]
    same(ours(preds, target), inner.clone()(1 - preds, target))
    same(ours.compute(), inner.compute())
    ours.reset()
    assert not inner["BinaryAccuracy"].update_called


def test_arguments():
    with pytest.raises(TypeError, match="`wrapped_metric` must be a Metric or MetricCollection"):
        MetricInputTransformer(3)
    for name in ("transform_pred", "transform_target"):
        with pytest.raises(TypeError, match=f"`{name}` must be a function or None, got 3"):
            LambdaInputTransformer(BinaryAccuracy(), **{name: 3})
    with pytest.raises(TypeError, match="`threshold` must be a number, got 'a'"):
        BinaryTargetTransformer(BinaryAccuracy(), "a")
