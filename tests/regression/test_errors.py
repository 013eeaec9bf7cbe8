"""The metrics over error sums against torchmetrics, and where it cannot follow, exact sums."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torchmetrics
import torchmetrics.functional.regression as peer_functional
import torchmetrics.regression as peer
from torch import Tensor
from torchmetrics.utilities.exceptions import TorchMetricsUserError as PeerError

import fastmetrics
from fastmetrics import MetricCollection, regression
from fastmetrics.core.states import States
from fastmetrics.functional import regression as functional
from fastmetrics.ops.error_sums import DEVIANCE, ErrorSums
from fastmetrics.utilities.exceptions import TorchMetricsUserError


@dataclass
class Row:
    """One metric with one choice of arguments."""

    name: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    functional_arguments: dict[str, Any] | None = None
    outputs: int = 1
    weighted: bool = True

    def ours(self, **more: Any) -> Any:
        return getattr(regression, self.name)(**self.arguments, **more)

    def theirs(self, **more: Any) -> Any:
        return getattr(peer, self.name)(**self.arguments, **more)

    def call(self, home: Any) -> Callable[..., Tensor]:
        chosen = self.arguments if self.functional_arguments is None else self.functional_arguments
        return lambda *inputs, **more: getattr(home, self.function)(*inputs, **chosen, **more)

    def __str__(self) -> str:
        return f"{self.name} {self.arguments}"


ROWS = [
    Row("MeanSquaredError", "mean_squared_error"),
    Row("MeanSquaredError", "mean_squared_error", {"squared": False}),
    Row("MeanSquaredError", "mean_squared_error", {"num_outputs": 3}, outputs=3),
    Row("MeanSquaredError", "mean_squared_error", {"squared": False, "num_outputs": 3}, outputs=3),
    Row("MeanAbsoluteError", "mean_absolute_error"),
    Row("MeanAbsoluteError", "mean_absolute_error", {"num_outputs": 3}, outputs=3),
    Row("MeanSquaredLogError", "mean_squared_log_error"),
    Row("MeanAbsolutePercentageError", "mean_absolute_percentage_error"),
    Row("SymmetricMeanAbsolutePercentageError", "symmetric_mean_absolute_percentage_error"),
    Row("WeightedMeanAbsolutePercentageError", "weighted_mean_absolute_percentage_error"),
    Row("LogCoshError", "log_cosh_error"),
    Row("LogCoshError", "log_cosh_error", {"num_outputs": 3}, {}, outputs=3),
    *(
        Row("MinkowskiDistance", "minkowski_distance", {"p": p}, weighted=False)
        for p in (1, 2, 3.0, 4.5)
    ),
    *(
        Row("TweedieDevianceScore", "tweedie_deviance_score", {"power": power})
        for power in (-1, 0, 1, 1.5, 2, 3.0)
    ),
]
SINGLE = [row for row in ROWS if row.outputs == 1]
every_row = pytest.mark.parametrize("row", ROWS, ids=str)


def batch(row: Row, size: int = 40, seed: int = 0, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shape = (size,) if row.outputs == 1 else (size, row.outputs)
    return tuple((torch.rand(shape, generator=generator) * 3 + 0.1).to(dtype) for _ in range(2))


def close(ours: Tensor, theirs: Tensor, rtol: float = 2e-6) -> None:
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-7, equal_nan=True)


@pytest.mark.smoke
@every_row
def test_values(row):
    """Class, forward and function; the value of a class has one dtype, whatever the inputs."""
    ours, theirs = row.ours(), row.theirs()
    for seed in range(3):
        for dtype in (torch.float32, torch.float64):
            inputs = batch(row, seed=seed, dtype=dtype)
            close(ours(*inputs), theirs(*inputs))
            ours.update(*inputs)
            theirs.update(*inputs)
            close(row.call(functional)(*inputs), row.call(peer_functional)(*inputs))
    close(ours.compute(), theirs.compute())
    assert ours.update_count == theirs.update_count == 12
    ours.reset()
    assert not ours.sums.any()


@every_row
def test_small_types_lose_no_digits(row):
    """Whatever type the inputs have, the value is that of the same numbers in float64."""
    for dtype in (torch.float16, torch.bfloat16, torch.int64, torch.uint8):
        preds, target = ((x + 1).to(dtype) for x in batch(row))
        exact = row.call(peer_functional)(preds.double(), target.double())
        metric = row.ours()
        for value in (row.call(functional)(preds, target), metric(preds, target), metric.compute()):
            assert value.dtype == torch.float32
            close(value, exact.float())


@every_row
def test_forms_of_the_inputs(row):
    preds, target = batch(row)
    expected = row.call(functional)(preds, target)
    strided = torch.stack((preds, target), -1)
    assert torch.equal(row.call(functional)(strided[..., 0], strided[..., 1]), expected)
    if row.outputs == 1 and row.name != "LogCoshError":
        images = preds.view(5, 2, 4).mT, target.view(5, 2, 4).mT
        close(row.call(functional)(*images), expected)
        scalars = preds[0].double(), target[0].double()
        close(row.call(functional)(*scalars), row.call(peer_functional)(*scalars))


@pytest.mark.parametrize("function", ["mean_squared_error", "mean_absolute_error"])
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 4), (6, 4, 2), (0, 3)], ids=str)
def test_outputs_of_functions_follow_the_inputs(function, shape):
    inputs = torch.rand(shape), torch.rand(shape)
    for outputs in (1, 2, 7):
        ours = getattr(functional, function)(*inputs, num_outputs=outputs)
        close(ours, getattr(peer_functional, function)(*inputs, num_outputs=outputs))


def test_outputs_of_log_cosh_follow_the_inputs():
    for shape in ((6,), (6, 1), (6, 4), (0, 3)):
        inputs = torch.rand(shape), torch.rand(shape)
        close(functional.log_cosh_error(*inputs), peer_functional.log_cosh_error(*inputs))
    for shape in ((), (6, 4, 2)):
        with pytest.raises(ValueError, match="must have shape"):
            functional.log_cosh_error(torch.rand(shape), torch.rand(shape))


@pytest.mark.parametrize("name", ["MeanSquaredError", "MeanAbsoluteError", "LogCoshError"])
def test_one_column_serves_all_outputs(name):
    for shape in ((5,), (5, 1)):
        if name == "LogCoshError" and shape == (5, 1):
            continue
        inputs = torch.rand(shape), torch.rand(shape)
        ours, theirs = (getattr(home, name)(num_outputs=3) for home in (regression, peer))
        ours.update(*inputs)
        theirs.update(*inputs)
        close(ours.compute(), theirs.compute())


@every_row
def test_no_data(row):
    empty = batch(row, size=0)
    if row.outputs == 1:
        close(row.call(functional)(*empty), row.call(peer_functional)(*empty))
    ours = row.ours()
    ours.update(*batch(row))
    before = ours.compute()
    ours.update(*empty)
    assert torch.equal(ours.compute(), before)
    with pytest.warns(UserWarning, match="before"):
        close(row.ours().compute(), row.theirs().compute())


@every_row
def test_weights_are_repetitions(row):
    if not row.weighted:
        return
    preds, target = batch(row)
    times = torch.randint(0, 4, (40,), generator=torch.Generator().manual_seed(5))
    repeated = [x.repeat_interleave(times, 0) for x in (preds, target)]
    expected = row.call(functional)(*repeated)
    metric = row.ours()
    close(metric(preds, target, weight=times), expected)
    for weight in (times, times.half(), times.double()):
        close(row.call(functional)(preds, target, weight=weight), expected)
    if row.outputs == 1 and row.name != "LogCoshError":
        shaped = preds.view(8, 5), target.view(8, 5)
        weight = times.view(8, 5)[:, :1].expand(8, 5)
        repeated = [x.flatten().repeat_interleave(weight.flatten()) for x in shaped]
        close(
            row.call(functional)(*shaped, weight=weight[:, 0]),
            row.call(functional)(*repeated),
        )


@every_row
def test_any_split_gives_the_same(row):
    preds, target = batch(row, size=5000)
    whole = row.call(functional)(preds.double(), target.double())
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        cuts = [0, *torch.randint(0, 5001, (7,), generator=generator).sort().values.tolist(), 5000]
        parts = [row.ours(), row.ours()]
        for index, (first, last) in enumerate(itertools.pairwise(cuts)):
            parts[index % 2].update(preds[first:last], target[first:last])
        parts[0].merge_state(parts[1])
        parts[0].set_dtype(torch.float64)
        torch.testing.assert_close(parts[0].compute(), whole, rtol=1e-13, atol=0)


@every_row
def test_large_counts_continue(row):
    """Beyond 2^24, where float32 sums and counts stand still."""
    ours = row.ours()
    ours.sums.fill_(2.0**40)
    inputs = batch(row)
    fresh = row.ours()
    fresh.update(*inputs)
    ours.update(*inputs)
    torch.testing.assert_close(ours.sums, 2.0**40 + fresh.sums, rtol=1e-15, atol=0)
    assert torch.all(ours.sums[:, -1] == 2.0**40 + 40)


@every_row
def test_gradients(row):
    for requires in ((True, False), (False, True), (True, True)):
        inputs = [x.double() for x in batch(row)]
        twins = [x.clone().requires_grad_(r) for x, r in zip(inputs, requires, strict=True)]
        inputs = [x.requires_grad_(r) for x, r in zip(inputs, requires, strict=True)]
        ours = row.call(functional)(*inputs)
        theirs = row.call(peer_functional)(*twins)
        close(ours.detach(), theirs.detach(), rtol=1e-9)
        ours.sum().backward()
        theirs.sum().backward()
        for x, y in zip(inputs, twins, strict=True):
            if x.requires_grad:
                torch.testing.assert_close(x.grad, y.grad, rtol=1e-7, atol=1e-9)


@every_row
def test_gradients_of_forward(row):
    """The value of a batch carries gradients; the state keeps none of them."""
    ours, theirs = row.ours(), row.theirs()
    for seed in range(2):
        inputs = batch(row, seed=seed)
        mine, twin = (inputs[0].clone().requires_grad_() for _ in range(2))
        value = ours(mine, inputs[1])
        close(value.detach(), theirs(twin, inputs[1]).detach())
        value.sum().backward()
        theirs(twin, inputs[1]).sum().backward()
        torch.testing.assert_close(mine.grad, twin.grad, rtol=1e-4, atol=1e-6)
        ours.update(*inputs)
        assert not ours.sums.requires_grad and ours.sums.grad_fn is None
        assert ours.update_count == 2 * seed + 2
    close(ours.compute(), theirs.compute())
    with torch.no_grad():
        assert not ours(mine, inputs[1]).requires_grad


@every_row
def test_dtype_of_the_value(row):
    inputs = batch(row)
    expected = row.call(peer_functional)(*(x.double() for x in inputs))
    for dtype in (torch.float64, torch.float16):
        metric = row.ours().set_dtype(dtype)
        metric.update(*inputs)
        assert metric.sums.dtype == torch.float64
        close(metric.compute(), expected.to(dtype), rtol=1e-3 if dtype.itemsize == 2 else 1e-12)
    torch.set_default_dtype(torch.float64)
    metric = row.ours()
    metric.update(*inputs)
    close(metric.compute(), expected, rtol=1e-12)


@every_row
def test_refused_batches_leave_the_state_alone(row):
    metric = row.ours()
    metric.update(*batch(row))
    before = metric.sums.clone()
    preds, target = batch(row)
    cases: list[tuple[type[Exception], tuple[Tensor, ...], dict[str, Any]]] = [
        (RuntimeError, (preds, target[:-1]), {}),
        (ValueError, (preds.cfloat(), target.cfloat()), {}),
    ]
    if row.weighted:
        cases.append((ValueError, (preds, target), {"weight": torch.ones(39)}))
    for method in (metric.update, metric.forward, row.call(functional)):
        for error, inputs, more in cases:
            with pytest.raises(error):
                method(*inputs, **more)
    assert torch.equal(metric.sums, before)
    assert metric.update_count == 1


def test_shapes_that_do_not_fit_the_outputs():
    for name in ("MeanSquaredError", "MeanAbsoluteError", "LogCoshError"):
        for shape in ((4, 2), (4, 3, 2), (4, 3, 3), ()):
            metric = getattr(regression, name)(num_outputs=3)
            with pytest.raises(ValueError, match=r"must have shape|num_outputs"):
                metric.update(torch.rand(shape), torch.rand(shape))
    with pytest.raises(ValueError, match="must have shape"):
        regression.LogCoshError().update(torch.rand(4, 3), torch.rand(4, 3))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("MeanSquaredError", {"squared": 1}),
        ("MeanSquaredError", {"num_outputs": 0}),
        ("MeanSquaredError", {"num_outputs": 1.0}),
        ("MeanAbsoluteError", {"num_outputs": -1}),
        ("TweedieDevianceScore", {"power": 0.5}),
    ],
)
def test_refused_arguments(name, arguments):
    for home in (regression, peer):
        with pytest.raises(ValueError, match=r"."):
            getattr(home, name)(**arguments)


def test_refused_exponents():
    for p in (0.5, "a", math.nan, None):
        with pytest.raises(TorchMetricsUserError, match="`p` must be"):
            regression.MinkowskiDistance(p)
        with pytest.raises(PeerError):
            peer.MinkowskiDistance(p)
        with pytest.raises(TorchMetricsUserError, match="`p` must be"):
            functional.minkowski_distance(torch.rand(3), torch.rand(3), p)


@pytest.mark.parametrize(
    ("power", "preds", "targets"),
    [
        (1, -1.0, 2.0),
        (1, 0.0, 2.0),
        (1, 1.0, -2.0),
        (2, 0.0, 2.0),
        (2, 1.0, 0.0),
        (-1, 0.0, 1.0),
        (1.5, 0.0, 1.0),
        (1.5, 1.0, -1.0),
        (3, 1.0, 0.0),
        (0.5, 1.0, 1.0),
    ],
)
def test_domain_of_deviances(power, preds, targets):
    inputs = torch.tensor([1.0, preds]), torch.tensor([1.0, targets])
    graded = inputs[0].clone().requires_grad_(), inputs[1]
    for home, given in ((peer_functional, inputs), (functional, inputs), (functional, graded)):
        with pytest.raises(ValueError, match=r"power"):
            home.tweedie_deviance_score(*given, power=power)
    if power == 0.5:
        return
    metric = regression.TweedieDevianceScore(power)
    for given in (inputs, graded):
        with pytest.raises(ValueError, match="positive"):
            metric.update(*given)
        with pytest.raises(ValueError, match="positive"):
            metric(*given)
    assert not metric.sums.any() and not metric.update_called


@pytest.mark.parametrize(("power", "target"), [(1, 0.0), (1.5, 0.0), (-1, 0.0), (-1, -2.0)])
def test_borders_of_the_domain(power, target):
    inputs = torch.tensor([1.5, 2.0]), torch.tensor([target, 1.0])
    close(
        functional.tweedie_deviance_score(*inputs, power=power),
        peer_functional.tweedie_deviance_score(*inputs, power=power),
    )


def test_positions_left_out_elsewhere_are_reported():
    sums = torch.tensor([[1.0, 2.0, 5.0]], dtype=torch.float64)
    statistic = ErrorSums(DEVIANCE, power=2.0)
    here, elsewhere = States({"sums": sums}), States({"sums": FakeDevice(sums)})
    statistic.report("TweedieDevianceScore", here)  # on the CPU the op itself raises
    with pytest.raises(ValueError, match=r"`preds` and `target` must be positive .* 2 positions"):
        statistic.report("TweedieDevianceScore", elsewhere)


class FakeDevice:
    """A tensor that says that it does not live on the CPU."""

    is_cpu = False

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def __getitem__(self, index: Any) -> Tensor:
        return self.tensor[index]


def test_metrics_with_one_statistic_share_it():
    names = ("MeanSquaredError", "RootMeanSquaredError")
    metrics = MetricCollection(
        {
            names[0]: regression.MeanSquaredError(),
            names[1]: regression.MeanSquaredError(squared=False),
            "MinkowskiDistance": regression.MinkowskiDistance(2),
        }
    )
    preds, target = torch.rand(20), torch.rand(20)
    metrics.update(preds, target)
    values = metrics.compute()
    close(values[names[1]], values[names[0]].sqrt())
    assert sorted(map(sorted, metrics.compute_groups.values())) == [
        ["MeanSquaredError", "RootMeanSquaredError"],
        ["MinkowskiDistance"],
    ]


def test_values_that_torchmetrics_cannot_hold():
    """Unsigned and half differences, exponentials, and shapes that have no view."""
    small = torch.tensor([0], dtype=torch.uint8), torch.tensor([16], dtype=torch.uint8)
    assert functional.mean_squared_error(*small) == 256
    assert functional.mean_absolute_error(*small) == 16
    half = torch.tensor([300.0]).half(), torch.tensor([0.0]).half()
    assert functional.mean_squared_error(*half) == 90000
    assert functional.log_cosh_error(torch.tensor([1000.0]), torch.tensor([0.0])) == pytest.approx(
        1000 - math.log(2)
    )
    bools = torch.tensor([True, False]), torch.tensor([False, False])
    assert functional.mean_squared_error(*bools) == 0.5
    transposed = torch.arange(6.0).view(2, 3).T, torch.zeros(3, 2)
    assert functional.mean_absolute_error(*transposed) == 2.5


def test_nan_reaches_the_value():
    for row in ROWS:
        preds, target = batch(row)
        preds.view(-1)[0] = math.nan
        value = row.call(functional)(preds, target)
        assert value.flatten()[0].isnan()
        assert not value.flatten()[1:].isnan().any()


# -- critical success index ----------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
def test_critical_success_index(axis, dtype):
    ours = regression.CriticalSuccessIndex(0.7, axis)
    theirs = peer.CriticalSuccessIndex(0.7, axis)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        inputs = [
            (torch.rand((3, 4, 5), generator=generator) * 2).mul(10).round().div(10).to(dtype)
            for _ in range(2)
        ]
        close(ours(*inputs), theirs(*inputs))
        ours.update(*inputs)
        theirs.update(*inputs)
        close(
            functional.critical_success_index(*inputs, 0.7, axis),
            peer_functional.critical_success_index(*inputs, 0.7, axis),
        )
    close(ours.compute(), theirs.compute())


def test_critical_success_index_of_nothing():
    zeros = torch.zeros(4)
    assert functional.critical_success_index(zeros, zeros, 0.5) == 0
    assert functional.critical_success_index(zeros[:0], zeros[:0], 0.5) == 0
    each = functional.critical_success_index(torch.tensor([1.0, 0.0]), torch.ones(2), 0.5, 0)
    assert each.tolist() == [1, 0]
    with pytest.warns(UserWarning, match="before"):
        assert regression.CriticalSuccessIndex(0.5).compute() == 0


def test_critical_success_index_keeps_counting():
    metric = regression.CriticalSuccessIndex(0.5)
    metric.hits.fill_(2**33)
    metric.misses.fill_(2**31)
    metric.update(torch.ones(3), torch.ones(3))
    assert (int(metric.hits), int(metric.misses)) == (2**33 + 3, 2**31)


def test_critical_success_index_refuses():
    metric = regression.CriticalSuccessIndex(0.5, 3)
    for method in (metric.update, metric.forward):
        with pytest.raises(ValueError, match=r"must lie in \[0, 2\), got 3"):
            method(torch.rand(2, 2), torch.rand(2, 2))
        with pytest.raises(RuntimeError, match="same shape"):
            method(torch.rand(2, 2), torch.rand(2, 3))
    assert not metric.update_called and not metric.hits_list
    for axis in (-1, 1.5, "a"):
        with pytest.raises(ValueError, match="keep_sequence_dim"):
            regression.CriticalSuccessIndex(0.5, axis)


# -- continuous ranked probability score -----------------------------------------------------------


def crps_inputs(seed=0, members=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    preds = torch.randn((10, members), generator=generator)
    preds[0] = preds[0, 0]
    return preds.to(dtype), torch.randn(10, generator=generator).to(dtype)


@pytest.mark.smoke
@pytest.mark.parametrize("members", [2, 3, 10])
def test_crps(members):
    ours = regression.ContinuousRankedProbabilityScore()
    theirs = peer.ContinuousRankedProbabilityScore()
    for seed in range(3):
        for dtype in (torch.float32, torch.float64):
            inputs = crps_inputs(seed, members, dtype)
            close(ours(*inputs), theirs(*inputs))
            close(
                functional.continuous_ranked_probability_score(*inputs),
                peer_functional.continuous_ranked_probability_score(*inputs),
            )
    close(ours.compute(), theirs.compute())
    assert ours.set_dtype(torch.float64).compute().dtype == torch.float64


def test_crps_gradients():
    inputs = [x.double().requires_grad_() for x in crps_inputs(members=4)]
    inputs[0] = (inputs[0].detach() + torch.arange(4) * 1e-3).requires_grad_()
    twins = [x.detach().clone().requires_grad_() for x in inputs]
    functional.continuous_ranked_probability_score(*inputs).backward()
    peer_functional.continuous_ranked_probability_score(*twins).backward()
    for x, y in zip(inputs, twins, strict=True):
        torch.testing.assert_close(x.grad, y.grad)
    metric = regression.ContinuousRankedProbabilityScore()
    metric.update(*inputs)
    assert not metric.score.requires_grad


def test_crps_special_numbers():
    for row in ([1.0, math.nan, 2.0], [1.0, math.inf, 2.0], [-math.inf, 0.0, math.inf]):
        preds = torch.tensor([row])
        assert functional.continuous_ranked_probability_score(preds, torch.ones(1)).isnan()
    far = torch.tensor([[1e8, 1e8 + 8, 1e8 + 16]])
    exact = functional.continuous_ranked_probability_score(far - 1e8, torch.tensor([8.0]))
    assert functional.continuous_ranked_probability_score(far, torch.tensor([1e8 + 8])) == exact
    assert functional.continuous_ranked_probability_score(torch.rand(0, 3), torch.rand(0)).isnan()


def test_crps_refuses():
    metric = regression.ContinuousRankedProbabilityScore()
    for error, preds, target in (
        (ValueError, torch.rand(4, 1), torch.rand(4)),
        (ValueError, torch.rand(4), torch.rand(4)),
        (ValueError, torch.rand(4, 3, 2), torch.rand(4, 2)),
        (RuntimeError, torch.rand(4, 3), torch.rand(5)),
        (ValueError, torch.rand(4, 3).cfloat(), torch.rand(4)),
    ):
        for method in (metric.update, metric, functional.continuous_ranked_probability_score):
            with pytest.raises(error):
                method(preds, target)
    assert not metric.score.any() and not metric.update_called


def test_root_names():
    assert fastmetrics.MeanSquaredError is regression.MeanSquaredError
    assert isinstance(fastmetrics.MeanAbsoluteError(), torchmetrics.Metric)
    assert fastmetrics.functional.mean_squared_error is functional.mean_squared_error


def test_weights_of_ranked_probability_scores_repeat_samples():
    preds, target = torch.randn(9, 4), torch.randn(9)
    weight = torch.tensor([0, 3, 1, 2, 1, 0, 1, 1, 4])
    function = functional.continuous_ranked_probability_score
    expected = function(preds.repeat_interleave(weight, 0), target.repeat_interleave(weight, 0))
    torch.testing.assert_close(function(preds, target, weight=weight), expected)
    metric = regression.ContinuousRankedProbabilityScore()
    metric.update(preds[:4], target[:4], weight=weight[:4])
    metric(preds[4:], target[4:], weight=weight[4:].float())
    torch.testing.assert_close(metric.compute(), expected)
    with pytest.raises(ValueError, match="`weight` must have one entry per sample"):
        metric.update(preds, target, weight=weight[:3])
