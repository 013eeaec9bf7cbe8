"""Aggregates: values of torchmetrics, exact sums, and every rule for NaN."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
import torchmetrics

import fastmetrics
from fastmetrics import MetricCollection
from fastmetrics.aggregation import (
    BaseAggregator,
    CatMetric,
    MaxMetric,
    MeanMetric,
    MinMetric,
    RunningMean,
    RunningSum,
    SumMetric,
)

NAN = math.nan
NAMES = ("CatMetric", "MaxMetric", "MeanMetric", "MinMetric", "SumMetric")
FUSED = (MaxMetric, MeanMetric, MinMetric, SumMetric)
STRATEGIES = ("warn", "ignore", "disable", 2.5)

pytestmark = pytest.mark.filterwarnings("ignore:.*(NaN|nan|compute|index_put_|masked_fill_).*")


def assert_same(ours, theirs, **options):
    if isinstance(theirs, list):
        assert ours == theirs
    else:
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, equal_nan=True, **options)


STREAMS = {
    "numbers": [1, 2.5, True, -3.25],
    "tensors": [torch.tensor(1.5), torch.randn(7), torch.randn(2, 3).flatten()],
    "mixed": [1.5, torch.arange(4), [1, 2.5], torch.tensor([True, False])],
    "dtypes": [torch.ones(3).half(), torch.ones(2).double(), torch.ones(2, dtype=torch.uint8)],
    "empty": [torch.zeros(0), 2.0, torch.zeros(0)],
    "nothing": [torch.zeros(0)],
    "infinite": [math.inf, torch.tensor([1.0, -2.0])],
    "nan": [torch.tensor([1.0, NAN, 3.0]), NAN, 2.0],
    "only nan": [NAN, torch.tensor([NAN, NAN])],
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_torchmetrics(name, stream, strategy):
    ours = getattr(fastmetrics, name)(nan_strategy=strategy)
    theirs = getattr(torchmetrics, name)(nan_strategy=strategy)
    for value in STREAMS[stream]:
        # A replacement is written into the caller's tensor there.
        copy = value.clone() if isinstance(value, torch.Tensor) else value
        assert_same(ours(value), theirs(copy))
    assert_same(ours.compute(), theirs.compute())
    ours.reset(), theirs.reset()
    for value in STREAMS[stream]:
        copy = value.clone() if isinstance(value, torch.Tensor) else value
        ours.update(value), theirs.update(copy)
    assert_same(ours.compute(), theirs.compute())


WEIGHTED = {
    "numbers": [(1.0, 2.0), (3, 0.5), (2.0, True)],
    "number for a tensor": [(torch.randn(4), 2.0), (torch.randn(3), 3)],
    "tensors": [(torch.randn(4), torch.rand(4)), (torch.arange(3), torch.arange(3))],
    "broadcast": [(torch.randn(2, 3), torch.rand(3)), (torch.randn(2, 3), torch.rand(2, 1))],
    "lists": [([1.0, 2.0], [3.0, 4.0])],
    "nan": [(torch.tensor([1.0, NAN, 3.0, 4.0]), torch.tensor([1.0, 2.0, NAN, 3.0])), (NAN, 1.0)],
    "nan weight": [(1.0, NAN), (2.0, 3.0)],
    "zero": [(1.0, 0.0)],
}


@pytest.mark.parametrize("strategy", ["warn", "ignore", 2.5])
@pytest.mark.parametrize("stream", WEIGHTED)
def test_weighted_means_are_those_of_torchmetrics(stream, strategy):
    ours, theirs = MeanMetric(strategy), torchmetrics.MeanMetric(strategy)
    for value, weight in WEIGHTED[stream]:
        copies = [x.clone() if isinstance(x, torch.Tensor) else x for x in (value, weight)]
        assert_same(ours(value, weight), theirs(*copies), rtol=1e-5, atol=1e-6)
    assert_same(ours.compute(), theirs.compute(), rtol=1e-5, atol=1e-6)


def test_weights_count_without_nan_checks():
    metric = MeanMetric(nan_strategy="disable")
    metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]))
    metric.update(4.0, weight=2.0)
    assert metric.compute() == 2.5  # (1 + 6 + 8) / 6
    assert (metric.mean_value, metric.weight) == (15.0, 6.0)


def test_a_replacement_leaves_the_callers_tensor_alone():
    value = torch.tensor([1.0, NAN])
    for name in NAMES:
        getattr(fastmetrics, name)(nan_strategy=3.0).update(value)
    metric = MeanMetric(nan_strategy=3.0)
    metric.update(value, 2.0)
    assert value[1].isnan()
    assert metric.compute() == 5 / 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [NAN, torch.tensor(NAN), torch.tensor([1.0, NAN]), [2.0, NAN]])
def test_refused_nan_leave_no_trace(name, value):
    metric = getattr(fastmetrics, name)(nan_strategy="error")
    metric.update(torch.tensor([2.0, 3.0]))
    before = metric.compute().clone()
    for call in (metric.update, metric):
        with pytest.raises(RuntimeError, match=r"must not hold NaN"):
            call(value)
        assert metric.update_count == 1
        assert torch.equal(metric.compute(), before)


@pytest.mark.parametrize("metric_class", FUSED)
def test_nan_are_counted_and_the_value_warns(metric_class):
    metric = metric_class()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.update(torch.tensor([1.0, NAN, NAN]))
        metric.update(NAN)
        metric.update(1.0)
    with pytest.warns(UserWarning, match="3 values were NaN and left out"):
        metric.compute()
    quiet = metric_class(nan_strategy="ignore")
    quiet.update(torch.tensor([1.0, NAN, NAN]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet.compute()


def test_nan_that_a_gpu_left_out_raise_in_compute():
    metric = SumMetric(nan_strategy="error")
    metric.update(1.0)
    metric.events[1] += 2  # as the kernel does where raising would mean waiting
    with pytest.raises(RuntimeError, match=r"SumMetric: `value` must not hold NaN .* got 2 of"):
        metric.compute()


@pytest.mark.parametrize("start", [2.0**24, 2.0**31])
def test_sums_go_on_counting(start):
    total, mean = SumMetric(), MeanMetric()
    total.update(start), mean.update(1.0, weight=start)
    for _ in range(5):
        total.update(1.0), mean.update(1.0)
    total.update(torch.ones(1000)), mean.update(torch.ones(1000))
    assert total.sum_value == start + 1005
    assert mean.weight == start + 1005
    assert mean.compute() == 1


def test_means_of_many_batches_are_exact_to_rounding():
    values = torch.rand(1000, 50).double() + 1e4
    metric = MeanMetric()
    for batch in values:
        metric.update(batch)
    assert metric.compute().item() == float(
        torch.tensor(math.fsum(values.flatten().tolist()) / values.numel(), dtype=torch.float32)
    )


def test_numbers_keep_their_precision():
    metric = SumMetric()
    for _ in range(1000):
        metric.update(0.1)
    assert metric.sum_value.item() == pytest.approx(100.0, rel=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_set_dtype_chooses_the_dtype_of_the_value(name, dtype):
    metric = getattr(fastmetrics, name)().set_dtype(dtype)
    metric.update(torch.tensor([0.5, 1.5]))
    metric.update(1.0)
    theirs = getattr(torchmetrics, name)().set_dtype(dtype)
    theirs.update(torch.tensor([0.5, 1.5]))
    theirs.update(1.0)
    assert_same(metric.compute(), theirs.compute())
    if name != "CatMetric":
        assert getattr(metric, metric.state_name).dtype == torch.float64


def test_value_in_the_default_dtype():
    torch.set_default_dtype(torch.float64)
    for name in NAMES:
        metric = getattr(fastmetrics, name)()
        metric.update(0.1)
        assert metric.compute().dtype == torch.float64
        assert metric.compute().item() == 0.1


def test_a_list_is_a_copy():
    values, metric = torch.ones(3), CatMetric()
    metric.update(values)
    values.zero_()
    assert metric.compute().tolist() == [1, 1, 1]
    grown = torch.ones(3, requires_grad=True) * 2
    metric.update(grown)
    assert not any(part.requires_grad for part in metric.value)


class Product(BaseAggregator):
    """A metric of a user."""

    full_state_update = False

    def __init__(self, nan_strategy="warn"):
        super().__init__(lambda x: x.prod(0), torch.tensor(1.0), nan_strategy, state_name="product")

    def update(self, value):
        value, weight = self._cast_and_nan_check_input(value)
        assert value.shape == weight.shape
        self.product = self.product * value.prod()


def test_own_aggregators():
    metric = Product()
    metric.update(2.0)
    with pytest.warns(UserWarning, match="1 values were NaN"):
        metric.update(torch.tensor([3.0, NAN]))
    assert metric.compute() == 6
    with pytest.raises(RuntimeError, match="Product: `value` must not hold NaN"):
        Product("error").update(NAN)
    filled = Product(4.0)
    filled.update([NAN, 2.0])
    assert filled.compute() == 8


@pytest.mark.parametrize("name", NAMES)
def test_arguments(name):
    for wrong in ("drop", 1, None):
        with pytest.raises(ValueError, match="`nan_strategy` must be a float or one of"):
            getattr(fastmetrics, name)(nan_strategy=wrong)
    with pytest.raises(ValueError, match="Unexpected keyword arguments"):
        getattr(fastmetrics, name)(weight=1)
    for wrong in ("a", None, 1 + 2j):
        with pytest.raises(TypeError):
            getattr(fastmetrics, name)().update(wrong)


def test_weights_that_do_not_fit():
    metric = MeanMetric()
    for value, weight in ((torch.ones(3), torch.ones(2, 3)), (1.0, torch.ones(1))):
        with pytest.raises(RuntimeError, match="can be broadcast to that of `value`"):
            metric.update(value, weight)
    assert not metric.update_called


def test_metrics_of_a_collection_share_what_is_equal():
    together = MetricCollection({"a": MeanMetric(), "b": MeanMetric(), "c": SumMetric()})
    together.update(torch.tensor([1.0, 2.0]))
    together.update(6.0)
    assert {k: v.item() for k, v in together.compute().items()} == {"a": 3, "b": 3, "c": 9}


def test_numbers_in_a_compiled_step():
    torch._dynamo.reset()
    metric = MeanMetric()

    @torch.compile(backend="aot_eager", fullgraph=True)
    def step(x, number):
        metric.update(x * 2, weight=2.0)
        metric.update(number)
        return x + 1

    for number in (1.0, 2.0, 3.0):
        step(torch.ones(2), number)
    assert metric.compute() == (3 * 8 + 6) / (3 * 4 + 3)


@pytest.mark.parametrize(("metric_class", "window"), [(RunningMean, 3), (RunningSum, 2)])
def test_running_aggregates(metric_class, window):
    ours = metric_class(window=window)
    theirs = getattr(torchmetrics, metric_class.__name__)(window=window)
    for value in (1.0, torch.tensor([2.0, 4.0]), 3.0, torch.tensor(7.0), -1.0):
        assert_same(ours(value), theirs(value))
        assert_same(ours.compute(), theirs.compute())
    ours.reset(), theirs.reset()
    ours.update(5.0), theirs.update(5.0)
    assert_same(ours.compute(), theirs.compute())
    assert metric_class(2, "error").base_metric.nan_strategy == "error"


@pytest.mark.parametrize("name", ["MeanMetric", "SumMetric", "MaxMetric", "MinMetric", "CatMetric"])
@pytest.mark.parametrize("strategy", ["ignore", "disable", 2.0])
def test_forward_follows_gradients_as_torchmetrics(name, strategy):
    numbers = torch.tensor([1.0, 5.0, 2.0, -3.0, 2.5])
    if strategy != "disable":
        numbers[2] = torch.nan
    weights = [None]
    if name == "MeanMetric" and strategy != "disable":  # there torchmetrics forgets the weights
        weights.append(torch.tensor([0.5, 2.0, 1.0, 1.0, 3.0]))
    for weight in weights:
        gradients = []
        for home in (fastmetrics, torchmetrics):
            value = numbers.clone().requires_grad_()
            leaves = [value] if weight is None else [value, weight.clone().requires_grad_()]
            metric = getattr(home, name)(nan_strategy=strategy)
            found = metric(*(leaf * 1 for leaf in leaves))  # torchmetrics replaces NaN in place
            assert found.requires_grad
            found.square().sum().backward()
            gradients.append([leaf.grad for leaf in leaves])
            assert home is torchmetrics or not metric.compute().requires_grad
        torch.testing.assert_close(*gradients)
    with torch.no_grad():
        assert not getattr(fastmetrics, name)()(numbers.requires_grad_()).requires_grad


def test_batches_that_cannot_be_concatenated_are_refused():
    metric = fastmetrics.CatMetric()
    metric.update(3.0)
    metric.update(torch.tensor([1.0, 2.0]))
    for call in (metric.update, metric):
        with pytest.raises(ValueError, match=r"`value` must have the shape .* got \(2, 2\)"):
            call(torch.ones(2, 2))
    assert metric.compute().tolist() == [3.0, 1.0, 2.0]
    matrix = fastmetrics.CatMetric()
    matrix.update(torch.ones(1, 2))
    matrix.update(torch.ones(3, 2))
    assert matrix.compute().shape == (4, 2)
