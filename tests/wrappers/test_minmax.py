"""MinMaxMetric against torchmetrics; the data behind it stay."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torchmetrics as tm

from fastmetrics import MetricCollection
from fastmetrics.classification import BinaryAccuracy, MulticlassAccuracy
from fastmetrics.wrappers import ClasswiseWrapper, MinMaxMetric
from tests.wrappers.samples import CLASSES, agree, binary_batches, class_batches, same


def test_values_are_those_of_torchmetrics():
    ours = MinMaxMetric(BinaryAccuracy())
    theirs = tm.MinMaxMetric(tm.classification.BinaryAccuracy())
    agree(ours, theirs, binary_batches(), forward=False)


def test_values_of_forward():
    ours = MinMaxMetric(BinaryAccuracy())
    theirs = tm.MinMaxMetric(tm.classification.BinaryAccuracy())
    for batch in binary_batches():
        same(ours(*batch), theirs(*batch))


def test_forward_keeps_the_data():
    """Theirs are those of the last batch."""
    ours, plain = MinMaxMetric(BinaryAccuracy()), BinaryAccuracy()
    for batch in binary_batches():
        ours(*batch), plain(*batch)
    assert ours.compute()["raw"] == plain.compute()
    assert ours.update_count == 3


def test_extremes_outlive_reset_and_copies():
    ours = MinMaxMetric(BinaryAccuracy())
    ours(*binary_batches()[0])
    expected = ours.min_val, ours.max_val
    ours.reset()
    again = ours.from_state_bytes(ours.state_bytes())
    for each in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours)), again):
        assert (each.min_val, each.max_val) == expected
        assert not each.update_called


def test_nan_is_no_extreme():
    class Given(BinaryAccuracy):
        def compute(self):
            return self.given

    metric = Given()
    ours = MinMaxMetric(metric)
    for given in (1.0, float("nan"), 3.0):
        metric.given = torch.tensor(given)
        ours.update(*binary_batches()[0])
        value = ours.compute()
    assert (value["min"], value["max"]) == (1, 3)


def test_in_a_collection_and_around_others():
    metrics = MetricCollection({"a": MinMaxMetric(BinaryAccuracy()), "b": BinaryAccuracy()})
    preds, target = binary_batches()[0]
    value = metrics(preds=preds, target=target)
    assert value["b"] == value["raw"] == value["min"] == value["max"]


def test_values_that_are_no_number():
    inner = ClasswiseWrapper(MulticlassAccuracy(CLASSES, average=None))
    for metric in (MinMaxMetric(MulticlassAccuracy(CLASSES, average=None)), MinMaxMetric(inner)):
        metric.update(*class_batches()[0])
        with pytest.raises(RuntimeError, match="value of `base_metric` must be one number"):
            metric.compute()
    with pytest.raises(ValueError, match="`base_metric` must be a Metric"):
        MinMaxMetric([])
    with pytest.raises(ValueError, match="Unexpected keyword"):
        MinMaxMetric(BinaryAccuracy(), unknown=1)
