"""MultioutputWrapper against torchmetrics."""

from __future__ import annotations

import pickle

import pytest
import torch
import torchmetrics as tm

import fastmetrics as fm
from fastmetrics.wrappers import MultioutputWrapper
from tests.wrappers.samples import CLASSES, agree, number_batches, same

NAN = float("nan")


def with_nan(batches):
    for preds, target in batches:
        preds[torch.rand(preds.shape) < 0.1] = NAN
        target[torch.rand(target.shape) < 0.1] = NAN
    return batches


@pytest.mark.parametrize("name", ["MeanSquaredError", "R2Score", "PearsonCorrCoef"])
@pytest.mark.parametrize("nan", [False, True])
def test_values_are_those_of_torchmetrics(name, nan):
    torch.manual_seed(0)
    batches = number_batches(3, 40, 3)
    batches = with_nan(batches) if nan else batches
    for outputs in (2, 3):  # more outputs than are asked for are ignored
        ours = MultioutputWrapper(getattr(fm, name)(), outputs)
        theirs = tm.MultioutputWrapper(getattr(tm, name)(), outputs)
        agree(ours, theirs, batches)


def test_classes():
    generator = torch.Generator().manual_seed(3)
    batches = [
        (
            torch.rand(30, CLASSES, 2, generator=generator),
            torch.randint(CLASSES, (30, 2), generator=generator),
        )
        for _ in range(3)
    ]
    ours = MultioutputWrapper(fm.classification.MulticlassAccuracy(CLASSES), 2)
    theirs = tm.MultioutputWrapper(tm.classification.MulticlassAccuracy(CLASSES), 2)
    agree(ours, theirs, batches)


@pytest.mark.parametrize("dim", [1, -1, -2])
@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("remove", [False, True])
def test_options(remove, squeeze, dim):
    torch.manual_seed(1)
    batches = with_nan(number_batches(3, 40, 2, 2)) if remove else number_batches(3, 40, 2, 2)
    options = {"output_dim": dim, "remove_nans": remove, "squeeze_outputs": squeeze}
    ours = MultioutputWrapper(fm.MeanSquaredError(), 2, **options)
    theirs = tm.MultioutputWrapper(tm.MeanSquaredError(), 2, **options)
    agree(ours, theirs, batches)


def test_keywords_in_a_collection():
    preds, target = with_nan(number_batches(1, 40, 2))[0]
    ours = fm.MetricCollection({"mse": MultioutputWrapper(fm.MeanSquaredError(), 2)})
    theirs = tm.MetricCollection({"mse": tm.MultioutputWrapper(tm.MeanSquaredError(), 2)})
    theirs.update(preds=preds, target=target)
    ours.update(preds=preds, target=target, unknown=1)
    same(ours.compute(), theirs.compute())
    same(pickle.loads(pickle.dumps(ours)).compute(), theirs.compute())


def test_a_batch_without_nan_is_not_copied():
    class Keeps(fm.MeanSquaredError):
        def update(self, preds, target):
            self.__dict__["seen"] = preds
            super().update(preds, target)

    preds, target = number_batches(1, 40, 2)[0]
    ours = MultioutputWrapper(Keeps(), 2)
    ours.update(preds, target)
    for metric in ours.metrics:
        assert metric.seen.untyped_storage().data_ptr() == preds.untyped_storage().data_ptr()


def test_a_refused_batch_leaves_no_trace():
    ours = MultioutputWrapper(fm.classification.BinaryAccuracy(), 2)
    preds = torch.tensor([[0.2, 0.9], [0.7, 0.1]])
    ours.update(preds, torch.tensor([[1, 0], [1, 1]]))
    before = ours.compute()
    for call in (ours.update, ours):
        with pytest.raises(RuntimeError, match="must have 2 outputs at axis -1"):
            call(preds[:, :1], torch.tensor([[1], [0]]))
    with pytest.raises(RuntimeError, match="`target` must lie"):
        ours(preds, torch.tensor([[1, 0], [1, 7]]))  # the second output refuses
    same(ours.compute(), before)


def test_arguments():
    with pytest.raises(TypeError, match="`base_metric` must be a Metric"):
        MultioutputWrapper(3, 2)
    with pytest.raises(TypeError, match="`num_outputs` must be an integer"):
        MultioutputWrapper(fm.MeanSquaredError(), 0.5)
    with pytest.raises(ValueError, match="`num_outputs` must be an integer of at least 1"):
        MultioutputWrapper(fm.MeanSquaredError(), 0)


def test_plot():
    pytest.importorskip("matplotlib")
    ours = MultioutputWrapper(fm.MeanSquaredError(), 2)
    ours.update(*number_batches(1, 40, 2)[0])
    ours.plot()
