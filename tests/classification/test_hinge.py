"""Hinge losses against scikit-learn and torchmetrics."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import warnings

import pytest
import sklearn.metrics
import torch
import torchmetrics.functional.classification as peer_functional

import fastmetrics
import fastmetrics.classification as ours
import fastmetrics.functional.classification as functional
from fastmetrics import MetricCollection
from tests.classification.inputs import SCORE_DTYPES, ignore_some

C = 4
MODES = ("crammer-singer", "one-vs-all")
KINDS = ("probs", "logits")
SHAPES = ((24,), (6, 3), (3, 2, 4))
CLASSES = {"binary": "BinaryHingeLoss", "multiclass": "MulticlassHingeLoss"}
TASKS = tuple(CLASSES)


def sizes(task):
    return {"num_classes": C} if task == "multiclass" else {}


def inputs(task, kind, shape, dtype=torch.float32, ignore_index=None):
    """``preds`` and ``target``; logits have scores outside [0, 1] among those that count."""
    scores_shape = (shape[0], C, *shape[1:]) if task == "multiclass" else shape
    preds = torch.rand(scores_shape) if kind == "probs" else torch.randn(scores_shape) * 2 + 0.1
    target = torch.randint(0, C if task == "multiclass" else 2, shape)
    target = ignore_some(target, ignore_index)
    first = (
        (0, slice(None), *(0,) * (len(shape) - 1)) if task == "multiclass" else (0,) * len(shape)
    )
    if kind == "logits":
        target[(0,) * len(shape)] = 0
        preds[first] = -1.5
    return preds.to(dtype), target


def grid(task):
    """Arguments to try."""
    modes = MODES if task == "multiclass" else (None,)
    for mode, squared, ignore_index in itertools.product(modes, (False, True), (None, 0, -1)):
        arguments = {"squared": squared, "ignore_index": ignore_index}
        yield arguments if mode is None else {**arguments, "multiclass_mode": mode}


def close(actual, expected, dtype=torch.float32):
    """Equal but for the rounding of a sum in the dtype of the scores."""
    tolerance = {torch.float16: 4e-3, torch.bfloat16: 3e-2}.get(dtype, 2e-6)
    torch.testing.assert_close(
        actual, expected.to(actual.dtype), rtol=tolerance, atol=tolerance, equal_nan=True
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("task", TASKS)
def test_values_are_those_of_torchmetrics(task, shape, kind):
    function = getattr(functional, f"{task}_hinge_loss")
    expected_function = getattr(peer_functional, f"{task}_hinge_loss")
    for arguments in grid(task):
        preds, target = inputs(task, kind, shape, ignore_index=arguments["ignore_index"])
        expected = expected_function(preds, target, **sizes(task), **arguments)
        close(function(preds, target, **sizes(task), **arguments), expected)
        metric = getattr(ours, CLASSES[task])(**sizes(task), **arguments)
        close(metric(preds, target), expected)
        metric.update(*inputs(task, kind, (5,), ignore_index=arguments["ignore_index"]))
        assert metric.compute().shape == expected.shape
        wrapped = fastmetrics.HingeLoss(task=task, **sizes(task), **arguments)
        close(wrapped(preds, target), expected)
        close(functional.hinge_loss(preds, target, task, **sizes(task), **arguments), expected)


@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize("task", TASKS)
def test_dtypes(task, dtype):
    """The loss of the scores as they are, in float64."""
    for kind, mode in itertools.product(KINDS, MODES):
        arguments = {"multiclass_mode": mode} if task == "multiclass" else {}
        preds, target = inputs(task, kind, (50,), dtype)
        value = getattr(functional, f"{task}_hinge_loss")
        expected = getattr(peer_functional, f"{task}_hinge_loss")
        actual = value(preds, target, **sizes(task), **arguments)
        assert actual.dtype == torch.float32
        exact = expected(preds.double(), target, **sizes(task), **arguments)
        torch.testing.assert_close(actual, exact.float(), rtol=1e-6, atol=0)
        close(actual, expected(preds, target, **sizes(task), **arguments), dtype)


def test_decision_values_are_those_of_scikit_learn():
    """``input="probs"`` takes scores as they are."""
    preds, target = torch.randn(60, dtype=torch.float64) * 2, torch.randint(0, 2, (60,))
    weight = torch.rand(60, dtype=torch.float64)
    expected = sklearn.metrics.hinge_loss(target, preds, sample_weight=weight)
    value = functional.binary_hinge_loss(preds, target, input="probs", weight=weight)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    preds, target = torch.randn(60, C, dtype=torch.float64), torch.arange(60) % C
    expected = sklearn.metrics.hinge_loss(target, preds, sample_weight=weight)
    value = functional.multiclass_hinge_loss(preds, target, C, input="probs", weight=weight)
    assert value.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_all_data_decides_between_probabilities_and_logits(task):
    """A batch of logits that lie in [0, 1] is read as the other batches are, in any order."""
    preds, target = inputs(task, "probs", (12,))
    preds[7] = 3.0
    whole = getattr(peer_functional, f"{task}_hinge_loss")(preds, target, **sizes(task))
    for order in (slice(None), range(11, -1, -1)):
        metric = getattr(ours, CLASSES[task])(**sizes(task))
        for i in list(range(12))[order] if isinstance(order, slice) else order:
            metric.update(preds[i : i + 1], target[i : i + 1])
        close(metric.compute(), whole)
    for kind in KINDS:
        metric = getattr(ours, CLASSES[task])(**sizes(task), input=kind)
        metric.update(preds[:7], target[:7])
        values = preds[:7]
        if kind == "logits":
            values = values.sigmoid() if task == "binary" else values.softmax(1)
        expected = getattr(peer_functional, f"{task}_hinge_loss")(values, target[:7], **sizes(task))
        close(metric.compute(), expected)


@pytest.mark.parametrize("mode", MODES)
def test_splits_merges_and_pickles(mode):
    preds, target = inputs("multiclass", "logits", (40,))
    whole = functional.multiclass_hinge_loss(preds, target, C, multiclass_mode=mode)
    for cuts in ((40,), (1, 39), (0, 13, 0, 27)):
        metrics = []
        for x, y in zip(preds.split(cuts), target.split(cuts), strict=True):
            metric = ours.MulticlassHingeLoss(C, multiclass_mode=mode)
            metric.update(x, y)
            metrics.append(pickle.loads(pickle.dumps(copy.deepcopy(metric))))
        for other in metrics[1:]:
            metrics[0].merge_state(other)
        torch.testing.assert_close(metrics[0].compute(), whole)


def test_weights_count_samples_several_times():
    weight = torch.tensor([0, 1, 3, 2, 1])
    for task in TASKS:
        preds, target = inputs(task, "logits", (5, 3))
        metric = getattr(ours, CLASSES[task])(**sizes(task))
        metric.update(preds, target, weight=weight)
        repeated = (preds.repeat_interleave(weight, 0), target.repeat_interleave(weight, 0))
        expected = getattr(functional, f"{task}_hinge_loss")(*repeated, **sizes(task))
        torch.testing.assert_close(metric.compute(), expected)
        assert metric.total == 21


def test_sums_do_not_stop_growing():
    """Float32 sums of losses below one stop at 2^24."""
    metric = ours.BinaryHingeLoss()
    metric.update(torch.full((1,), 0.5), torch.ones(1, dtype=torch.int64))
    metric.counts *= 2.0**26
    metric.update(torch.full((2,), 0.25), torch.ones(2, dtype=torch.int64))
    assert metric.measures == 2.0**25 + 1.5
    assert metric.total == 2.0**26 + 2


def test_nan_makes_the_value_nan_with_a_warning():
    for task in TASKS:
        preds, target = inputs(task, "probs", (5,))
        preds.view(-1)[0] = math.nan
        metric = getattr(ours, CLASSES[task])(**sizes(task))
        with pytest.warns(UserWarning, match="1 samples had NaN scores"):
            metric.update(preds, target)
            assert metric.compute().isnan()


def test_no_samples():
    for task in TASKS:
        metric = getattr(ours, CLASSES[task])(**sizes(task), ignore_index=-1)
        preds, target = inputs(task, "probs", (3,))
        metric.update(preds, torch.full_like(target, -1))
        metric.update(preds[:0], target[:0])
        assert metric.compute().isnan()
    expected = peer_functional.binary_hinge_loss(torch.rand(1), -torch.ones(1), ignore_index=-1)
    assert expected.isnan()


def test_errors_leave_the_state_as_it_was():
    for task in TASKS:
        metric = getattr(ours, CLASSES[task])(**sizes(task))
        preds, target = inputs(task, "probs", (6,))
        metric.update(preds, target)
        before = metric.counts.clone()
        wrong = target.clone()
        wrong[4] = 9
        for call in (metric.update, metric.forward):
            with pytest.raises(RuntimeError, match="got 9 at flat index 4"):
                call(preds, wrong)
            with pytest.raises(ValueError, match="`preds` must be a float tensor"):
                call(preds.long(), target)
        assert torch.equal(metric.counts, before)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"squared": 1}, "squared"),
        ({"ignore_index": 0.5}, "ignore_index"),
        ({"input": "scores"}, "input"),
        ({"num_classes": 1}, "num_classes"),
        ({"num_classes": 3.0}, "num_classes"),
        ({"multiclass_mode": "all"}, "multiclass_mode"),
    ],
)
def test_arguments_are_checked(arguments, name):
    multiclass = {"num_classes": C, **arguments}
    preds, target = inputs("multiclass", "probs", (3,))
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        ours.MulticlassHingeLoss(**multiclass)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        functional.multiclass_hinge_loss(preds, target, **multiclass, validate_args=True)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        fastmetrics.HingeLoss("multiclass", **multiclass)
    if name not in ("num_classes", "multiclass_mode"):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            ours.BinaryHingeLoss(**arguments)


def test_task_has_two_values():
    with pytest.raises(ValueError, match="`task` must be one of"):
        fastmetrics.HingeLoss("multilabel")
    with pytest.raises(ValueError, match="`num_classes` must be"):
        fastmetrics.HingeLoss("multiclass")
    with pytest.raises(ValueError, match="`task` must be one of"):
        functional.hinge_loss(torch.rand(3), torch.ones(3).long(), "multilabel")


def test_collections_share_equal_losses_only():
    metrics = MetricCollection(
        {
            "a": ours.BinaryHingeLoss(),
            "b": ours.BinaryHingeLoss(),
            "squared": ours.BinaryHingeLoss(squared=True),
        }
    )
    preds, target = inputs("binary", "logits", (30,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics.update(preds, target)
        values = metrics.compute()
    assert values["a"] == values["b"] == functional.binary_hinge_loss(preds, target)
    assert values["squared"] == functional.binary_hinge_loss(preds, target, squared=True)
    assert len(metrics.compute_groups) == 2
