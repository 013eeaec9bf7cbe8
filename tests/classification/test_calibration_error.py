"""Calibration errors against torchmetrics, and what goes beyond it."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import sys
import warnings

import numpy as np
import pytest
import torch
import torchmetrics
import torchmetrics.classification as peer
import torchmetrics.functional.classification as peer_functional
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmetrics
from fastmetrics import MetricCollection
from fastmetrics import classification as ours
from fastmetrics.core.states import States
from fastmetrics.functional import classification as functional
from fastmetrics.functional.classification.calibration_error import calibration_value
from fastmetrics.ops.calibration import CalibrationBins

NORMS = ("l1", "l2", "max")
TASKS = {"Binary": {}, "Multiclass": {"num_classes": 5}}
KINDS = ("probs", "logits", "rounded")


def inputs(task, kind="probs", shape=(60,), ignore_index=None, dtype=torch.float32):
    size = 5 if task == "Multiclass" else 2
    scores_shape = (shape[0], size, *shape[1:]) if task == "Multiclass" else shape
    preds = torch.randn(scores_shape) * 3 if kind == "logits" else torch.rand(scores_shape)
    if kind == "rounded":
        preds = (preds * 10).round() / 10
    target = torch.randint(0, size, shape)
    if ignore_index is not None:
        target = target.where(torch.rand(shape) > 0.25, ignore_index)
    return preds.to(dtype), target


def metric(task, **arguments):
    return getattr(ours, f"{task}CalibrationError")(**TASKS[task], **arguments)


def peer_metric(task, **arguments):
    return getattr(peer, f"{task}CalibrationError")(**TASKS[task], **arguments)


def call(task, preds, target, **arguments):
    function = getattr(functional, f"{task.lower()}_calibration_error")
    return function(preds, target, **TASKS[task], **arguments)


def peer_call(task, preds, target, **arguments):
    """The peer's value, where a confidence of 1 is in the last bin: just below 1."""
    function = getattr(peer_functional, f"{task.lower()}_calibration_error")
    return function(below_one(task, preds), target, **TASKS[task], **arguments)


def below_one(task, preds):
    """Scores whose confidences of 1 are the largest numbers below."""
    if not ((preds >= 0) & (preds <= 1)).all():
        preds = preds.sigmoid() if task == "Binary" else preds.softmax(1)
    below = torch.nextafter(torch.ones(()), torch.zeros(()))
    return preds.clamp(
        max=float(
            below
            if preds.dtype == torch.float32 or task == "Multiclass"
            else torch.nextafter(preds.new_ones(()), preds.new_zeros(()))
        )
    )


def assert_same(value, expected):
    assert value.dtype == torch.float32 and value.shape == ()
    np.testing.assert_allclose(float(value), float(expected), rtol=1e-5, atol=2e-7)


@pytest.mark.smoke
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("task", TASKS)
def test_values_are_those_of_torchmetrics(task, norm):
    for kind, n_bins, ignore_index, dtype in itertools.product(
        KINDS, (1, 2, 10, 15, 100), (None, -1, 1), (torch.float32, torch.float64)
    ):
        preds, target = inputs(task, kind, (30, 2), ignore_index, dtype)
        arguments = {"n_bins": n_bins, "norm": norm, "ignore_index": ignore_index}
        expected = peer_call(task, preds, target, **arguments)
        assert_same(call(task, preds, target, **arguments), expected)
        fast = metric(task, **arguments)
        for part in range(0, 30, 7):
            fast.update(preds[part : part + 7], target[part : part + 7])
        assert_same(fast.compute(), expected)
        # A forward sees one batch; torchmetrics judges it alone too.
        fast.reset()
        assert_same(fast(preds, target), expected)


@pytest.mark.parametrize("scale", [0.01, 20.0, 100.0])
@pytest.mark.parametrize("task", TASKS)
def test_saturated_confidences_are_rounded_once(task, scale):
    """A confidence has a bin of its own where the float32 number nearest to it is 1."""
    preds, target = inputs(task, "logits", (500,))
    preds *= scale
    exact = preds.double().sigmoid() if task == "Binary" else preds.double().softmax(1)
    for norm in NORMS:
        assert_same(
            call(task, preds, target, norm=norm, input="logits"),
            peer_call(task, exact.float(), target, norm=norm),
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("task", TASKS)
def test_small_floats_are_read_as_the_numbers_that_they_are(task, dtype):
    preds, target = inputs(task, "probs", (300,), dtype=dtype)
    for norm in NORMS:
        assert_same(
            call(task, preds, target, norm=norm), peer_call(task, preds.float(), target, norm=norm)
        )


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_without_positions_that_count(task):
    """All ignored, an empty batch, no update at all."""
    preds, target = inputs(task)
    for norm in NORMS:
        expected = peer_call(task, preds, torch.full_like(target, -1), norm=norm, ignore_index=-1)
        arguments = {"norm": norm, "ignore_index": -1}
        assert_same(call(task, preds, torch.full_like(target, -1), **arguments), expected)
        fast = metric(task, **arguments)
        fast.update(preds[:0], target[:0])
        assert_same(fast.compute(), expected)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_same(metric(task, norm=norm).compute(), expected)


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_the_reading_is_chosen_for_all_batches_together(task):
    preds, target = inputs(task, "logits", (64,))
    inside = (preds if task == "Binary" else preds.flatten(1).amax(1)).abs().argsort()
    preds, target = preds[inside], target[inside]
    preds[:8] = preds[:8].sigmoid()  # logits that could be probabilities
    expected = peer_call(task, preds, target)
    for order in ((0, 8, 64), (0, 32, 64), (0, 1, 2, 64)):
        fast = metric(task)
        for begin, end in itertools.pairwise(order):
            fast.update(preds[begin:end], target[begin:end])
        assert_same(fast.compute(), expected)
    assert_same(
        call(task, preds[:8], target[:8], input="logits"), _as_logits(task, preds[:8], target[:8])
    )


def _as_logits(task, preds, target):
    probs = preds.sigmoid() if task == "Binary" else preds.softmax(1)
    return peer_call(task, probs, target)


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_weights_repeat_samples(task):
    preds, target = inputs(task, "logits", (40, 2), ignore_index=-1)
    weight = torch.randint(0, 4, (40,))
    repeated = [x.repeat_interleave(weight, 0) for x in (preds, target)]
    for norm in NORMS:
        expected = peer_call(task, *repeated, norm=norm, ignore_index=-1)
        arguments = {"norm": norm, "ignore_index": -1}
        assert_same(call(task, preds, target, weight=weight, **arguments), expected)
        fast = metric(task, **arguments)
        fast.update(preds[:9], target[:9], weight=weight[:9])
        fast.update(preds[9:], target[9:], weight[9:].double())
        assert_same(fast.compute(), expected)


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_nan_scores_are_left_out_with_a_warning(task):
    preds, target = inputs(task, "probs", (50,))
    broken = preds.clone()
    broken[::7] = math.nan
    kept = torch.arange(50) % 7 != 0
    fast = metric(task)
    fast.update(broken, target)
    with pytest.warns(UserWarning, match="8 samples had NaN scores; they have no confidence"):
        value = fast.compute()
    assert_same(value, peer_call(task, preds[kept], target[kept]))
    with pytest.warns(UserWarning, match="8 samples"):
        assert torch.equal(call(task, broken, target), value)


def test_counts_beyond_the_reach_of_float32():
    """One sample counts where 2^25 are already there."""
    fast = metric("Binary", n_bins=2, norm="max")
    fast.update(torch.tensor([0.75]), torch.tensor([1]), torch.tensor([2.0**25]))
    for _ in range(3):
        fast.update(torch.tensor([0.75]), torch.tensor([0]))
    assert fast.bins.tolist()[1] == [2**25 + 3, 0.75 * (2**25 + 3), 2**25]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 64), st.integers(0, 1)),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 20),
    st.sampled_from(NORMS),
    st.randoms(use_true_random=False),
)
def test_order_and_batches_do_not_matter(samples, n_bins, norm, random):
    """Sums of few bits are exact, so all splits and orders give the same bits."""
    expected = _value(samples, n_bins, norm, [])
    shuffled = samples.copy()
    random.shuffle(shuffled)
    cuts = sorted(random.randint(0, len(samples)) for _ in range(3))
    assert torch.equal(_value(shuffled, n_bins, norm, cuts), expected)
    assert 0 <= float(expected) <= 1


def _value(samples, n_bins, norm, cuts):
    fast = metric("Binary", n_bins=n_bins, norm=norm, input="probs")
    scores, labels = torch.tensor(samples).unbind(1)
    for begin, end in itertools.pairwise([0, *cuts, len(samples)]):
        fast.update(scores[begin:end] / 64, labels[begin:end])
    return fast.compute()


def _value_of(bins, norm):
    statistic = CalibrationBins(n_bins=len(bins))
    counts = torch.stack([torch.cat([bins, bins[:1]]), torch.cat([bins * 2, bins[:1]])])
    events = torch.zeros(4, dtype=torch.int64)
    return calibration_value(statistic, States({"counts": counts, "events": events}), norm)


@pytest.mark.smoke
def test_both_ways_to_the_value_agree():
    """Numbers for few bins, tensors for many bins and for GPUs."""
    generator = torch.Generator().manual_seed(4)
    count = torch.randint(0, 3, (16,), generator=generator).double()
    bins = torch.stack([count, count * torch.rand(16, generator=generator), count.clamp(max=1)], 1)
    # The first bin ends up beside the last one of either, which have as much in it.
    bins[-1] = 0
    many = torch.cat([bins, torch.zeros(200, 3, dtype=torch.float64)])
    for norm in NORMS:
        for few, padded in ((bins, many), (bins * 0, many * 0)):
            torch.testing.assert_close(
                _value_of(few, norm),
                _value_of(padded, norm),
                equal_nan=True,
            )


@pytest.mark.smoke
@pytest.mark.parametrize(
    "arguments",
    [
        {"n_bins": 0},
        {"n_bins": 2.0},
        {"norm": "l3"},
        {"ignore_index": 1.5},
    ],
)
@pytest.mark.parametrize("task", TASKS)
def test_bad_arguments(task, arguments):
    (name,) = arguments
    for make in (metric, peer_metric):
        with pytest.raises(ValueError, match=name):
            make(task, **arguments)
    with pytest.raises(ValueError, match=name):
        call(task, *inputs(task), **arguments)
    with pytest.raises(ValueError, match="input"):
        metric(task, input="scores")


@pytest.mark.smoke
def test_bad_classes_and_tasks():
    for classes in (1, 2.5):
        with pytest.raises(ValueError, match="num_classes"):
            ours.MulticlassCalibrationError(classes)
    for make in (fastmetrics.CalibrationError, torchmetrics.CalibrationError):
        with pytest.raises(ValueError, match=r"(?i)multilabel"):
            make(task="multilabel")
        with pytest.raises(ValueError, match="num_classes"):
            make(task="multiclass")
    preds, target = inputs("Binary")
    with pytest.raises(ValueError, match="multilabel"):
        fastmetrics.functional.calibration_error(preds, target, task="multilabel")


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_bad_inputs_leave_the_state_alone(task):
    preds, target = inputs(task)
    fast = metric(task)
    fast.update(preds, target)
    before = fast.counts.clone()
    for error, bad in (
        (RuntimeError, (preds, target.where(torch.arange(60) != 3, 7))),
        (ValueError, (preds, target[:5])),
        (ValueError, (preds, target + 0.5)),
        (ValueError, (target, target)),
    ):
        for action in (fast.update, fast):
            with pytest.raises(error):
                action(*bad)
            assert torch.equal(fast.counts, before)
    assert fast.update_count == 1


@pytest.mark.smoke
def test_task_wrappers():
    for task in TASKS:
        preds, target = inputs(task, "logits")
        made = fastmetrics.CalibrationError(task=task.lower(), norm="l2", n_bins=7, **TASKS[task])
        assert type(made) is getattr(ours, f"{task}CalibrationError")
        arguments = {"norm": "l2", "n_bins": 7}
        expected = peer_call(task, preds, target, **arguments)
        assert_same(made(preds, target), expected)
        value = fastmetrics.functional.calibration_error(
            preds, target, task=task.lower(), **TASKS[task], **arguments
        )
        assert_same(value, expected)
        as_probs = fastmetrics.CalibrationError(task=task.lower(), input="probs", **TASKS[task])
        assert as_probs.counts.shape == (1, 16, 3)


@pytest.mark.smoke
@pytest.mark.parametrize("n_bins", [1, 2, 10])
def test_a_confidence_of_one_is_in_the_last_bin(n_bins):
    """As in the textbook; the peer gives it a bin of its own."""
    preds, target = torch.tensor([0.05, 0.95, 1.0, 1.0]), torch.tensor([0, 1, 0, 1])
    places = np.minimum((preds.double().numpy() * n_bins).astype(int), n_bins - 1)
    expected = 0.0
    for place in range(n_bins):
        chosen = places == place
        if chosen.any():
            gap = target.numpy()[chosen].mean() - preds.numpy()[chosen].mean()
            expected += abs(gap) * chosen.mean()
    fast = metric("Binary", n_bins=n_bins)
    assert_same(fast(preds, target), expected)
    assert fast.bins.shape == (n_bins, 3)
    assert_same(call("Binary", preds, target, n_bins=n_bins), expected)


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_copies_dtypes_and_merging(task):
    preds, target = inputs(task, "logits", (80,))
    first, second = metric(task), metric(task)
    first.update(preds[:30], target[:30])
    second.update(preds[30:], target[30:])
    first.merge_state(second)
    expected = peer_call(task, preds, target)
    for twin in (first, copy.deepcopy(first), pickle.loads(pickle.dumps(first)), first.clone()):
        assert_same(twin.compute(), expected)
    first.set_dtype(torch.float16)
    assert first.counts.dtype == torch.float64
    assert first.compute() == expected.half()


def test_norms_share_one_state_in_a_collection():
    preds, target = inputs("Binary")
    collection = MetricCollection({norm: metric("Binary", norm=norm) for norm in NORMS})
    other = MetricCollection({"a": metric("Binary"), "b": metric("Binary", n_bins=9)})
    for both in (collection, other):
        both.update(preds, target)
    assert len(collection.compute_groups) == 1
    assert len(other.compute_groups) == 2
    for norm, value in collection.compute().items():
        assert_same(value, peer_call("Binary", preds, target, norm=norm))


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


@pytest.mark.parametrize("task", TASKS)
def test_plot_of_values(task, pyplot):
    fast = metric(task)
    values = [fast(*inputs(task)) for _ in range(3)]
    figure, axis = fast.plot()
    assert figure is not None
    assert fast.plot(values, ax=axis) == (None, axis)


def test_reliability_diagram(pyplot):
    fast = metric("Binary", n_bins=2)
    fast.update(torch.tensor([0.25, 0.25, 0.75, 1.0]), torch.tensor([0, 1, 1, 1]))
    figure, axis = fast.plot_reliability()
    assert figure is not None
    points, diagonal = (line.get_xydata().tolist() for line in axis.get_lines())
    assert points == [[0.25, 0.5], [0.875, 1.0]]
    assert diagonal == [[0, 0], [1, 1]]
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in axis.patches]
    assert bars == [(0.0, 0.5, 0.5), (0.5, 0.5, 0.5)]
    assert fast.plot_reliability(axis) == (None, axis)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metric("Multiclass").plot_reliability()[1].get_lines()[0].get_xydata().size == 0
    from fastmetrics.utilities.plot_reliability import plot_reliability

    with pytest.raises(ValueError, match="`bins` must have shape"):
        plot_reliability(torch.zeros(4, 2))


def test_plots_need_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ModuleNotFoundError, match="matplotlib"):
        metric("Binary").plot_reliability()
