"""Laws that every metric keeps, whatever it measures."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import warnings
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor
from torch.utils._pytree import tree_leaves

import fastmetrics
from fastmetrics import MetricCollection, functional
from fastmetrics.aggregation import BaseAggregator
from fastmetrics.core.keywords import added_by
from fastmetrics.ops.scores import Scores
from fastmetrics.wrappers import Running
from tests.every import Case, functions, metrics, of_tensors
from tests.refused import no_numbers, no_tensors

pytestmark = pytest.mark.thinned(2)

CASES = metrics()
# What they remember is a window over updates, not a sum over samples.
WINDOWS = ("RunningMean", "RunningSum")
OF_TENSORS = of_tensors(CASES)
every_metric = pytest.mark.parametrize("case", CASES, ids=repr)
every_metric_of_tensors = pytest.mark.parametrize("case", OF_TENSORS, ids=repr)


@pytest.fixture(autouse=True)
def quiet():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def same(actual: Any, expected: Any, rtol: float = 0.0) -> None:
    if isinstance(expected, Tensor):
        torch.testing.assert_close(actual, expected, rtol=rtol, atol=rtol, equal_nan=True)
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            same(actual[key], value, rtol)
    elif isinstance(expected, (list, tuple)):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            same(one, other, rtol)
    else:
        assert actual == expected


def part(inputs: tuple[Tensor, ...], start: int, end: int) -> tuple[Tensor, ...]:
    return tuple(x[start:end] for x in inputs)


def value_of(case: Case, inputs: tuple[Tensor, ...]) -> Any:
    metric = case.make()
    metric.update(*inputs)
    return metric.compute()


def test_every_kind_of_metric_is_here():
    assert len(CASES) > 120
    assert len({case.name for case in CASES}) == len(CASES)


@every_metric
@pytest.mark.parametrize("size", [0, 1, 2])
def test_forward_takes_what_update_takes(case, size):
    """The last batch of an epoch may be that small; its value may be undefined, and it counts."""
    small, before = case.inputs(size), case.inputs(20)
    for batches in ([small], [before, small]):
        updated, passed = case.make(), case.make()
        for batch in batches:
            try:
                updated.update(*batch)
            except (ValueError, RuntimeError):
                return
            passed(*batch)
        assert passed.update_count == updated.update_count == len(batches)
    if case.name not in WINDOWS:
        same(passed.compute(), updated.compute(), 1e-5)


@every_metric
def test_splits_do_not_matter(case):
    inputs = case.inputs(40)
    whole = value_of(case, inputs)
    metric, other = case.make(), case.make()
    metric.update(*part(inputs, 0, 7))
    metric(*part(inputs, 7, 15))
    metric.update(*part(inputs, 15, 16))
    if case.name in WINDOWS:
        return
    other.update(*part(inputs, 16, 40))
    other.merge_state(metric)
    same(other.compute(), whole, 1e-5)


@every_metric
def test_forward_is_the_value_of_the_batch(case):
    metric = case.make()
    for _ in range(3):
        inputs = case.inputs(20)
        expected = value_of(case, inputs)
        if case.name in WINDOWS:
            metric = case.make()
        same(metric(*inputs), expected, 1e-6)


@every_metric
def test_copies_stand_alone(case):
    inputs, more = case.inputs(30), case.inputs(10)
    metric = case.make()
    metric.update(*inputs)
    value = metric.compute()
    copies = [metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))]
    for other in copies:
        same(other.compute(), value)
        other.update(*more)
    metric._computed = None
    same(metric.compute(), value)
    metric.update(*more)
    for other in copies:
        same(other.compute(), metric.compute())
        assert other.update_count == metric.update_count == 2


@every_metric
def test_checkpoints_hold_everything(case):
    more = case.inputs(10)
    metric, fresh = case.make(), case.make()
    metric.persistent(True)
    for size in (30, 3, 4, 5, 6, 7, 2):  # more than a window holds
        metric.update(*case.inputs(size))
    file = io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file))
    same(fresh.compute(), metric.compute())
    for call in ("update", "forward"):
        for each in (metric, fresh):
            getattr(each, call)(*more)
        same(fresh.compute(), metric.compute())


@every_metric
def test_what_is_made_in_inference_mode_is_usable_outside(case):
    batch = case.inputs(12)
    metric, loaded = case.make(), case.make()
    metric.persistent(True)
    metric.update(*batch)
    with torch.inference_mode():
        together = MetricCollection({"alone": metric}).clone()
        copies = [metric.clone(), copy.deepcopy(metric), together["alone"]]
        loaded.load_state_dict(metric.state_dict())
        reset = metric.clone().set_dtype(torch.float64)
        reset.reset()
    for made in (*copies, loaded, reset):
        made(*batch)
        made.update(*batch)
    for made in (*copies, loaded):
        same(made.compute(), copies[0].compute())


@pytest.mark.parametrize("collected", [False, True])
@every_metric
def test_materialised_metrics_know_their_defaults(case, collected):
    with torch.device("meta"):
        module = torch.nn.Module()
        module.metric = MetricCollection({"a": case.make()}) if collected else case.make()
    module.to_empty(device="cpu")
    batch = case.inputs(12)
    metric = module.metric["a"] if collected else module.metric
    expected = value_of(case, batch)
    module.metric.update(*batch)
    same(metric.compute(), expected)
    module.metric.reset()
    module.metric.update(*batch)
    same(metric.compute(), expected)


@every_metric
def test_reset_starts_again(case):
    inputs = case.inputs(30)
    expected = value_of(case, inputs)
    metric = case.make()
    metric.update(*case.inputs(12))
    metric.compute()
    metric.reset()
    assert not metric.update_called
    metric.update(*inputs)
    same(metric.compute(), expected)


@every_metric_of_tensors
def test_layout_does_not_matter(case):
    inputs = case.inputs(24)
    expected = value_of(case, inputs)
    strided = []
    for tensor in inputs:
        wide = torch.empty([2 * n for n in tensor.shape], dtype=tensor.dtype)
        view = wide[tuple(slice(None, None, 2) for _ in tensor.shape)]
        strided.append(view.copy_(tensor))
    same(value_of(case, tuple(strided)), expected, 1e-6)


@every_metric_of_tensors
def test_a_refused_batch_leaves_no_trace(case):
    if case.name == "CatMetric":
        pytest.skip("it takes any tensor")
    inputs = case.inputs(24)
    metric = case.make()
    metric.update(*inputs)
    value = metric.compute()
    cube = torch.zeros(3, 2, 5, 7)
    for bad in ((cube, *inputs[1:]), (inputs[0], cube, *inputs[2:])):
        if len(inputs) == 1:
            bad = (torch.zeros(3, dtype=torch.complex64),)
        for call in (metric.update, metric):
            with pytest.raises((ValueError, RuntimeError)):
                call(*bad)
    metric._computed = None
    same(metric.compute(), value)
    metric.update(*inputs)


@every_metric
def test_inference_mode_and_gradients_leave_states_usable(case):
    inputs = case.inputs(16)
    metric = case.make()
    with torch.inference_mode():
        metric.update(*inputs)
        metric(*inputs)
    grown = tuple(
        x.clone().requires_grad_() if isinstance(x, Tensor) and x.is_floating_point() else x
        for x in inputs
    )
    metric.update(*grown)
    metric(*grown)
    states = [
        s
        for state in metric.metric_state.values()
        for s in ([state] if isinstance(state, Tensor) else state)
    ]
    assert not any(state.requires_grad for state in states)
    metric.compute()
    metric.reset()


@every_metric
def test_every_metric_can_be_printed_plotted_and_composed(case):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    metric = case.make()
    metric.update(*case.inputs(16))
    assert type(metric).__name__ in repr(metric)
    figure, _ = metric.plot()
    assert figure is not None
    pyplot.close(figure)
    assert len({hash(metric), hash(case.make())}) == 2


def takes_weight(made: Any) -> bool:
    return "weight" in inspect.signature(made).parameters


BAD_WEIGHTS = (float("nan"), -1.0, float("inf"), float("-inf"))
OF_CLASSES = fastmetrics.classification.__name__
WORTH_NOTHING = (OF_CLASSES, "fastmetrics.text.perplexity")
weighted_metrics = pytest.mark.parametrize(
    "case", [case for case in CASES if takes_weight(case.make().update)], ids=repr
)
weighted_functions = pytest.mark.parametrize(
    "case",
    [case for case in functions() if takes_weight(getattr(functional, case.name.split("-")[0]))],
    ids=repr,
)


@pytest.mark.parametrize(
    "case", [case for case in CASES if hasattr(case.make(), "validate_args")], ids=repr
)
def test_whether_to_validate_is_a_bool(case):
    """Upstream takes the truth of anything, so that ``validate_args="no"`` means yes."""
    for value in ("no", [1], object(), 1, None):
        with pytest.raises(ValueError, match="`validate_args` must be a bool"):
            case.make().validate_args = value


def check_bad_weights(value: Any, inputs: tuple[Any, ...], of_classes: bool) -> None:
    """Each is reported; in counts it is worth nothing, in sums of numbers the value is NaN."""
    good = torch.rand(len(inputs[0])) + 0.5
    for bad in BAD_WEIGHTS:
        weight, without = good.clone(), good.clone()
        weight[::5], without[::5] = bad, 0.0
        with pytest.warns(UserWarning, match="weights were NaN, negative or above 1e100"):
            found = value(inputs, weight)
        if of_classes:
            same(found, value(inputs, without), 1e-6)
        else:
            assert all(each.isnan().any() for each in tree_leaves(found))


@weighted_metrics
def test_bad_weights_are_reported(case):
    if case.name == "MeanMetric":
        pytest.skip("its weights are numbers like others, as upstream")

    def value(inputs, weight):
        metric = case.make()
        if hasattr(metric, "validate_args"):
            metric.validate_args = True
        metric.update(*inputs, weight=weight)
        return metric.compute()

    of_classes = type(case.make()).__module__.startswith(WORTH_NOTHING)
    check_bad_weights(value, case.inputs(20), of_classes)


@weighted_functions
def test_bad_weights_of_functions_are_reported(case):
    name = case.name.split("-")[0]
    checks = "validate_args" in inspect.signature(getattr(functional, name)).parameters
    more = {"validate_args": True} if checks else {}
    of_classes = name in (*functional.classification.__all__, "perplexity")
    check_bad_weights(lambda i, w: case.make(*i, weight=w, **more), case.inputs(20), of_classes)


@pytest.mark.parametrize("weight", [-2.0, float("inf"), torch.tensor([1.0, -2.0])])
def test_bad_weights_of_a_mean_are_reported_and_used(weight):
    metric, peer = fastmetrics.MeanMetric(), torchmetrics.MeanMetric()
    for each in (metric, peer):
        each.update(torch.tensor([1.0, 2.0]), weight=weight)
    with pytest.warns(UserWarning, match="weights were NaN, negative or above 1e100"):
        same(metric.compute(), peer.compute(), 1e-6)
    number = fastmetrics.MeanMetric()
    number.update(3.0, weight=-1.0)
    with pytest.warns(UserWarning, match="MeanMetric: 1 weights"):
        number.compute()


def in_pairs(cases: list[Case]) -> list[Case]:
    """Those of two tensors or more."""
    return [case for case in cases if len(case.inputs(3)) > 1]


@pytest.mark.parametrize("case", in_pairs(OF_TENSORS), ids=repr)
def test_one_input_without_elements_beside_a_full_one_is_refused(case):
    inputs = case.inputs(7)
    for place in range(len(inputs)):
        full = inputs[place]
        for shape in ((0,), (0, *full.shape[1:]), (*full.shape[:-1], 0), (*full.shape, 0)):
            given = [*inputs]
            given[place] = full.new_zeros(shape)
            metric = case.make()
            with pytest.raises((ValueError, RuntimeError, TypeError)):
                metric.update(*given)
            assert not metric.update_called


# One box and none have pairs as well, none of them.
PAIRED = [c for c in in_pairs(of_tensors(functions())) if "intersection_over" not in c.name]


@pytest.mark.parametrize("case", PAIRED, ids=repr)
def test_functions_refuse_one_input_without_elements_beside_a_full_one(case):
    inputs = case.inputs(7)
    for place in range(len(inputs)):
        full = inputs[place]
        for shape in ((0,), (0, *full.shape[1:]), (*full.shape[:-1], 0), (*full.shape, 0)):
            given = [*inputs]
            given[place] = full.new_zeros(shape)
            with pytest.raises((ValueError, RuntimeError, TypeError)):
                case.make(*given)


OF_LABELS = [c for c in CASES if type(c.make()).__module__.startswith(OF_CLASSES)]


@pytest.mark.parametrize("case", OF_LABELS, ids=repr)
def test_whole_numbers_in_a_float_target_are_labels(case):
    preds, target, *rest = case.inputs(20)
    expected = value_of(case, (preds, target, *rest))
    is_curve = isinstance(case.make().statistic, Scores)
    for dtype in () if is_curve else (torch.float32, torch.float64, torch.bfloat16):
        same(value_of(case, (preds, target.to(dtype), *rest)), expected)
    with pytest.raises(ValueError, match="`target` must be an integer or bool tensor"):
        value_of(case, (preds, target + (0.0 if is_curve else 0.5), *rest))


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_added_keywords_are_those_that_the_peer_does_not_have(case):
    peer = getattr(torchmetrics, type(case.make()).__module__.split(".")[1], torchmetrics)
    peer = getattr(peer, case.name.split("-")[0], None)
    if peer is None:
        pytest.skip("only here")
    ours, theirs = (inspect.signature(each.update).parameters for each in (type(case.make()), peer))
    assert added_by(case.make()) == ours.keys() - theirs.keys()
    if "weight" in added_by(case.make()):
        assert case.make()._filter_kwargs(weight=1.0) == {}


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_a_keyword_of_another_metric_of_a_collection_does_not_reach_it(case):
    """The weight is that of the mean, as in torchmetrics."""
    if not added_by(case.make()) or case.name in WINDOWS:
        return
    names = [*inspect.signature(case.make().update).parameters]
    inputs = case.inputs(20)
    if "value" in names:
        return
    keywords = dict(zip(names, inputs, strict=False))
    mean, weight = fastmetrics.MeanMetric(), torch.rand(5)
    together = fastmetrics.MetricCollection({"it": case.make(), "mean": mean})
    together(**keywords, value=torch.arange(5.0), weight=weight)
    same(together["it"].compute(), value_of(case, inputs))
    together.update(**keywords, value=torch.arange(5.0), weight=2.0)  # no tensor: nobody looks
    alone, expected = fastmetrics.MetricCollection({"it": case.make()}), case.make()
    alone.update(**keywords, weight=torch.arange(20.0))
    expected.update(*inputs, weight=torch.arange(20.0))
    same(alone["it"].compute(), expected.compute())


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in WINDOWS], ids=repr)
def test_two_in_a_collection_of_torchmetrics(case: Case):
    """Metrics whose states are equal are given one tensor there, and go on one by one.

    Which batch of a window comes next is no state, there and here.
    """
    batches = [case.inputs(n) for n in (12, 9, 7, 5)]
    alone = case.make()
    together = torchmetrics.MetricCollection({"a": case.make(), "b": case.make()})
    for step, batch in enumerate(batches):
        if step == 2:
            alone(*batch)
            together(*batch)
        else:
            alone.update(*batch)
            together.update(*batch)
    expected = alone.compute()
    for metric in together.values(copy_state=False):
        same(metric.compute(), expected, rtol=1e-6)
    together.reset()
    assert not any(metric.update_called for metric in together.values())


class Model(torch.nn.Module):
    """A model that is exported with what it was evaluated with."""

    def __init__(self, metric: Any) -> None:
        super().__init__()
        self.metric = metric
        self.listed = torch.nn.ModuleList([MetricCollection({"a": metric.clone()})])

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@every_metric
def test_torchscript_takes_it_along(case):
    inputs = case.inputs(8)
    metric = case.make()
    metric.update(*inputs)
    value = metric.compute()
    model = Model(metric)
    scripted = torch.jit.script(model)
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    x = torch.ones(3)
    for exported in (scripted, torch.jit.load(file)):
        same(exported(x), 2 * x)
        assert exported.metric.original_name == type(metric).__name__
        assert getattr(exported.listed, "0").a.original_name == type(metric).__name__
    same(metric.compute(), value)
    for each in (metric, model.listed[0]):
        each.update(*inputs)
        each.compute()


@every_metric_of_tensors
def test_what_is_no_tensor_is_named_and_leaves_no_trace(case):
    inputs = case.inputs(8)
    metric = case.make()
    metric.update(*inputs)
    value = metric.compute()
    names = [*inspect.signature(metric.update).parameters]
    for place, good in enumerate(inputs):
        name = r"\w+" if names == ["args", "kwargs"] else names[place]
        refused = [*no_tensors(good)]
        if not isinstance(metric, (BaseAggregator, Running)):
            refused += no_numbers(good)
        for bad, what in refused:
            batch = (*inputs[:place], bad, *inputs[place + 1 :])
            for call in (metric.update, metric):
                said = rf"^`{name}` must be a .*tensor.*{what}"
                with pytest.raises((ValueError, TypeError), match=said):
                    call(*batch)
    assert metric.update_count == 1
    metric._computed = None
    same(metric.compute(), value)
