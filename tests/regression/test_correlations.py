"""R2, explained variance, correlations, RSE and NRMSE against libraries and exact formulas."""

from __future__ import annotations

import math
import warnings
from functools import partial

import numpy as np
import pytest
import sklearn.metrics
import torch
import torchmetrics.functional.regression as upstream_functional
import torchmetrics.regression as upstream
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmetrics.functional.regression as functional
from fastmetrics import MetricCollection, regression
from fastmetrics.functional.regression.explained_variance import explained_variance_formula
from fastmetrics.functional.regression.pearson import pearson_formula
from fastmetrics.functional.regression.r2 import r2_formula
from fastmetrics.ops.co_moments import COUNT, WEIGHT

MULTIOUTPUTS = ("uniform_average", "variance_weighted", "raw_values")
NORMALIZATIONS = ("mean", "range", "std", "l2")
FUNCTIONS = {
    "R2Score": "r2_score",
    "ExplainedVariance": "explained_variance",
    "PearsonCorrCoef": "pearson_corrcoef",
    "ConcordanceCorrCoef": "concordance_corrcoef",
    "RelativeSquaredError": "relative_squared_error",
    "NormalizedRootMeanSquaredError": "normalized_root_mean_squared_error",
}
# Every class, and the arguments to try.
GRID = [
    *(("R2Score", {"adjusted": k, "multioutput": m}) for k in (0, 3) for m in MULTIOUTPUTS),
    *(("ExplainedVariance", {"multioutput": m}) for m in MULTIOUTPUTS),
    ("PearsonCorrCoef", {}),
    ("ConcordanceCorrCoef", {}),
    *(("RelativeSquaredError", {"squared": squared}) for squared in (True, False)),
    *(("NormalizedRootMeanSquaredError", {"normalization": n}) for n in NORMALIZATIONS),
]
IDS = [f"{name}-{'-'.join(map(str, arguments.values()))}" for name, arguments in GRID]
grid = pytest.mark.parametrize(("name", "arguments"), GRID, ids=IDS)
every = pytest.mark.parametrize("name", FUNCTIONS)
OUTPUT_COUNTS = ("PearsonCorrCoef", "ConcordanceCorrCoef", "RelativeSquaredError")


def inputs(seed, *shape, dtype=torch.float32, offset=3.0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(shape, dtype=torch.float64, generator=generator) * 2 + offset
    noise = torch.randn(shape, dtype=torch.float64, generator=generator)
    return (0.8 * target + 0.7 * noise).to(dtype), target.to(dtype)


def class_arguments(name, arguments, outputs):
    if name in ("R2Score", "ExplainedVariance"):
        return arguments
    return {**arguments, "num_outputs": outputs}


def function_arguments(name, arguments, outputs):
    if name == "NormalizedRootMeanSquaredError":
        return {**arguments, "num_outputs": outputs}
    return arguments


def make(name, arguments, outputs=1, home=regression):
    return getattr(home, name)(**class_arguments(name, arguments, outputs))


def call(name, preds, target, arguments, outputs=1, home=functional, **more):
    arguments = function_arguments(name, arguments, outputs)
    return getattr(home, FUNCTIONS[name])(preds, target, **arguments, **more)


def exact(name, preds, target, arguments, weight=None):
    """The formulas in 80-bit floats, one value per output or their average."""
    x, y = (np.asarray(t.double().reshape(len(t), -1), np.longdouble) for t in (preds, target))
    w = np.ones(len(x)) if weight is None else np.asarray(weight.double())
    kept = w != 0
    x, y, w = x[kept], y[kept], w[kept].astype(np.longdouble)[:, None]
    n, total = len(x), w.sum()

    def mean(values):
        return (w * values).sum(0) / total

    def covariance(a, b):
        return mean((a - mean(a)) * (b - mean(b)))

    var_x, var_y, error = covariance(x, x), covariance(y, y), mean((y - x) ** 2)
    if name in ("R2Score", "ExplainedVariance"):
        rest = error if name == "R2Score" else covariance(y - x, y - x)
        value = 1 - rest / var_y
        kind = arguments.get("multioutput", "uniform_average")
        if kind == "uniform_average":
            value = value.mean()
        elif kind == "variance_weighted":
            value = (value * var_y).sum() / var_y.sum()
        if arguments.get("adjusted"):
            value = 1 - (1 - value) * (n - 1) / (n - arguments["adjusted"] - 1)
    elif name == "PearsonCorrCoef":
        value = covariance(x, y) / np.sqrt(var_x * var_y)
    elif name == "ConcordanceCorrCoef":
        bias = (mean(x) - mean(y)) ** 2 * (n - 1) / n
        value = 2 * covariance(x, y) / (var_x + var_y + bias)
    elif name == "RelativeSquaredError":
        value = error / var_y
        value = (value if arguments.get("squared", True) else np.sqrt(value)).mean()
    else:
        scale = {
            "mean": mean(y),
            "range": y.max(0) - y.min(0),
            "std": np.sqrt(var_y),
            "l2": np.sqrt((w * y * y).sum(0)),
        }[arguments.get("normalization", "mean")]
        value = np.sqrt(error) / scale
    return torch.from_numpy(np.asarray(value, np.float64)).squeeze()


def assert_close(actual, expected, tolerance=1e-6):
    torch.testing.assert_close(
        actual, expected, rtol=tolerance, atol=tolerance, equal_nan=True, check_dtype=False
    )


@grid
@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 4)], ids=str)
def test_parity_with_torchmetrics(name, arguments, shape):
    """Values, shapes and dtypes of forward, compute and the function, over several batches."""
    outputs = shape[1] if len(shape) > 1 else 1
    ours, theirs = (make(name, arguments, outputs, home) for home in (regression, upstream))
    for seed in range(3):
        batch = inputs(seed, *shape)
        value, expected = ours(*batch), theirs(*batch)
        torch.testing.assert_close(value, expected, rtol=2e-4, atol=2e-5)
        value, expected = (
            call(name, *batch, arguments, outputs, home)
            for home in (functional, upstream_functional)
        )
        torch.testing.assert_close(value, expected, rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(ours.compute(), theirs.compute(), rtol=2e-4, atol=2e-5)
    ours.reset()
    ours.update(*inputs(3, *shape))
    assert_close(ours.compute(), call(name, *inputs(3, *shape), arguments, outputs).squeeze())


@grid
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8])
@pytest.mark.parametrize("weighted", [False, True])
def test_exact_values(name, arguments, dtype, weighted):
    for shape in ((50,), (50, 3)):
        preds, target = inputs(4, *shape, offset=60.0)
        preds, target = preds.to(dtype), target.to(dtype)
        weight = torch.rand(50) * (torch.rand(50) < 0.8) if weighted else None
        expected = exact(name, preds, target, arguments, weight)
        tolerance = 1e-12 if dtype == torch.float64 else 1e-6
        for scale in (1.0, 1e-3) if weighted else (1.0,):  # only the ratios of weights count
            if arguments.get("normalization") == "l2" and scale != 1.0:
                continue
            scaled = weight * scale if weighted else None
            value = call(name, preds, target, arguments, expected.numel(), weight=scaled)
            assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
            assert_close(value.squeeze(), expected, max(tolerance, 1e-7 * (scale != 1.0)))
        metric = make(name, arguments, shape[1] if len(shape) > 1 else 1)
        metric.update(preds, target, weight=weight)
        assert_close(metric.compute(), expected, tolerance)


def test_scikit_learn():
    preds, target = inputs(5, 40, 3, dtype=torch.float64)
    weight = torch.rand(40, dtype=torch.float64)
    for multioutput in MULTIOUTPUTS:
        for w in (None, weight):
            for ours, theirs in (
                (functional.r2_score, sklearn.metrics.r2_score),
                (functional.explained_variance, sklearn.metrics.explained_variance_score),
            ):
                expected = theirs(target, preds, multioutput=multioutput, sample_weight=w)
                value = ours(preds, target, multioutput=multioutput, weight=w)
                assert_close(value, torch.tensor(expected, dtype=torch.float64), 1e-12)


@pytest.mark.parametrize("name", ["R2Score", "ExplainedVariance", "PearsonCorrCoef"])
def test_numbers_and_tensors_agree(name):
    """Few outputs on the CPU are worked out in numbers, where no gradient is asked for."""
    formula = {
        "R2Score": r2_formula,
        "ExplainedVariance": explained_variance_formula,
        "PearsonCorrCoef": pearson_formula,
    }[name]
    constant, nan = torch.ones(9), torch.full((9,), torch.nan)
    for dtype in (torch.float32, torch.float64):
        varied, other = inputs(22, 9, dtype=dtype)
        for preds in (varied, constant, constant + 1, nan, other):
            for target in (other, constant, nan):
                metric = make(name, {})
                metric.update(preds.to(dtype), target.to(dtype))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    number = formula(metric.moments)
                    tensor = formula(metric.moments.clone().requires_grad_()).detach()
                assert number.dtype == tensor.dtype == dtype
                torch.testing.assert_close(number, tensor, rtol=1e-15, atol=1e-15, equal_nan=True)


def test_scipy():
    stats = pytest.importorskip("scipy.stats")
    preds, target = inputs(6, 40, dtype=torch.float64)
    expected = stats.pearsonr(preds, target).statistic
    assert functional.pearson_corrcoef(preds, target).item() == pytest.approx(expected, rel=1e-14)


@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 300), max_size=5),
    index=st.integers(0, len(GRID) - 1),
    outputs=st.integers(1, 3),
    data=st.data(),
)
def test_any_split_over_batches_forwards_and_merges(cuts, index, outputs, data):
    name, arguments = GRID[index]
    preds, target = inputs(7, 300, outputs, dtype=torch.float64, offset=1e3)
    whole = make(name, arguments, outputs)
    parts = [make(name, arguments, outputs) for _ in range(3)]
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 300], strict=True):
        batch = preds[first:last], target[first:last]
        part = parts[data.draw(st.integers(0, 2))]
        if last - first > 4 and data.draw(st.booleans()):
            whole(*batch)
            part(*batch)
        else:
            whole.update(*batch)
            part.update(*batch)
    expected = exact(name, preds, target, arguments)
    assert_close(whole.compute(), expected, 1e-9)
    for other in parts[1:]:
        parts[0].merge_state(other)
    assert_close(parts[0].compute(), expected, 1e-9)
    assert parts[0].update_count == whole.update_count
    assert parts[0].moments[:, COUNT].tolist() == [300] * outputs


def test_mean_1e6_in_1000_batches():
    generator = torch.Generator().manual_seed(0)
    base, noise = (torch.randn(10**6, dtype=torch.float64, generator=generator) for _ in range(2))
    target = 1e6 + base
    preds = target + 0.5 * noise
    metrics = MetricCollection(
        [
            regression.R2Score(),
            regression.ExplainedVariance(),
            regression.PearsonCorrCoef(),
            regression.RelativeSquaredError(),
        ]
    )
    for batch in zip(preds.chunk(1000), target.chunk(1000), strict=True):
        metrics.update(*batch)
    for name, value in metrics.compute().items():
        expected = exact(name, preds, target, {})
        assert value.item() == pytest.approx(expected.item(), rel=1e-9), name


def test_small_scales_are_not_taken_for_constants():
    """torchmetrics compares sums of squares with 1e-4."""
    preds, target = inputs(8, 50)
    for scale in (1e-3, 1e-8):
        small = preds * scale, target * scale
        for name in ("R2Score", "ExplainedVariance", "PearsonCorrCoef", "RelativeSquaredError"):
            assert_close(call(name, *small, {}), call(name, preds, target, {}), 1e-5)


def test_outliers_do_not_make_a_correlation_undefined():
    """torchmetrics gives up when the largest deviation is some 54 standard deviations."""
    preds, target = inputs(9, 100_000)
    preds[5], target[5] = 1e4, 1e4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = functional.pearson_corrcoef(preds, target)
    assert_close(value, exact("PearsonCorrCoef", preds, target, {}))


def test_constant_inputs():
    preds, target = inputs(10, 20)
    constant = torch.full((20,), 0.1)
    for name in ("R2Score", "ExplainedVariance"):
        assert call(name, preds, constant, {}) == 0
        assert call(name, constant, constant, {}) == 1
        assert call(name, target, target, {}) == 1
    assert functional.r2_score(constant + 1, constant) == 0
    assert functional.explained_variance(constant + 1, constant) == pytest.approx(1, abs=1e-6)
    eps = torch.finfo(torch.float32).eps
    expected = ((preds - constant).double() ** 2).sum() / eps
    assert_close(functional.relative_squared_error(preds, constant), expected)
    for name in ("PearsonCorrCoef", "ConcordanceCorrCoef"):
        for batch in ((preds, constant), (constant, target), (constant, constant)):
            with pytest.warns(UserWarning, match="constant"):
                assert call(name, *batch, {}).isnan().all()
        columns = torch.stack((preds, constant), 1), torch.stack((target, target), 1)
        with pytest.warns(UserWarning, match="constant"):
            value = call(name, *columns, {})
        assert value.isnan().tolist() == [False, True]
        assert_close(value[:1], call(name, preds, target, {}).view(1))
    assert functional.normalized_root_mean_squared_error(preds, constant, "std") == math.inf
    assert functional.normalized_root_mean_squared_error(constant, constant, "std").isnan()


def test_too_few_samples():
    one = torch.tensor([1.0]), torch.tensor([2.0])
    with pytest.raises(ValueError, match="at least two samples"):
        functional.r2_score(*one)
    metric = regression.R2Score()
    assert metric(*one).isnan()  # the last batch of an epoch may be that small
    with pytest.raises(ValueError, match="at least two samples"):
        metric.compute()
    metric.update(torch.tensor([2.0]), torch.tensor([1.0]))
    assert metric.compute() == -3
    for name in ("PearsonCorrCoef", "ConcordanceCorrCoef"):
        with pytest.warns(UserWarning, match="fewer than two"):
            assert call(name, *one, {}).isnan().all()
    assert functional.explained_variance(*one).isnan()
    nothing = torch.zeros(0), torch.zeros(0)
    for name in FUNCTIONS:
        if name != "R2Score":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert call(name, *nothing, {}).isnan().all()


def test_adjusted_r2_falls_back():
    preds, target = inputs(11, 5)
    plain = functional.r2_score(preds, target)
    with pytest.warns(UserWarning, match="more than 5 samples"):
        assert functional.r2_score(preds, target, adjusted=5) == plain
    with pytest.warns(UserWarning, match="divide by zero"):
        assert functional.r2_score(preds, target, adjusted=4) == plain
    for bad in (-1, 1.5):
        for make_one in (regression.R2Score, partial(functional.r2_score, preds, target)):
            with pytest.raises(ValueError, match="`adjusted` must be an integer"):
                make_one(adjusted=bad)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("R2Score", {"multioutput": "mean"}),
        ("ExplainedVariance", {"multioutput": None}),
        ("NormalizedRootMeanSquaredError", {"normalization": "median"}),
        ("NormalizedRootMeanSquaredError", {"num_outputs": 0}),
        ("PearsonCorrCoef", {"num_outputs": 0}),
        ("ConcordanceCorrCoef", {"num_outputs": 1.5}),
        ("RelativeSquaredError", {"num_outputs": -1}),
    ],
)
def test_bad_arguments(name, arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must be"):
        getattr(regression, name)(**arguments)
    if "num_outputs" not in arguments:
        with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must be"):
            call(name, *inputs(0, 4), arguments)


@every
def test_bad_input(name):
    metric = make(name, {})
    metric.update(*inputs(12, 5))
    before = metric.moments.clone()
    for run in (metric.update, metric, partial(call, name, arguments={})):
        with pytest.raises(RuntimeError, match="same shape"):
            run(torch.ones(3), torch.ones(4))
        with pytest.raises(ValueError, match="real"):
            run(torch.ones(3, dtype=torch.complex64), torch.ones(3))
        with pytest.raises(ValueError, match="one entry per sample"):
            run(torch.ones(3), torch.ones(3), weight=torch.ones(2))
    assert torch.equal(metric.moments, before)
    if name in OUTPUT_COUNTS:
        with pytest.raises(ValueError, match=r"shape \(N,\) or \(N, 1\), got \(3, 2\)"):
            metric.update(torch.ones(3, 2), torch.ones(3, 2))
        with pytest.raises(ValueError, match=r"shape \(N, 2\), got \(3,\)"):
            make(name, {}, 2).update(torch.ones(3), torch.ones(3))
    if name not in ("ExplainedVariance", "NormalizedRootMeanSquaredError"):
        with pytest.raises(ValueError, match="must have shape"):
            call(name, torch.ones(3, 2, 2), torch.ones(3, 2, 2), {})


def test_inputs_of_other_shapes():
    preds, target = inputs(13, 6, 2, 3)
    value = functional.explained_variance(preds, target, "raw_values")
    expected = upstream_functional.explained_variance(preds, target, "raw_values")
    assert_close(value, expected, 1e-4)
    ours, theirs = regression.ExplainedVariance(), upstream.ExplainedVariance()
    assert_close(ours(preds, target), theirs(preds, target), 1e-4)
    assert_close(ours.compute(), theirs.compute(), 1e-4)
    with pytest.raises(RuntimeError, match="same shape"):
        ours.update(preds, target[:, :1])
    flat = functional.normalized_root_mean_squared_error(preds.flatten(), target.flatten())
    assert_close(functional.normalized_root_mean_squared_error(preds, target), flat)
    metric = regression.NormalizedRootMeanSquaredError()
    metric.update(preds.mT, target.mT)
    assert_close(metric.compute(), flat)


def test_outputs_follow_from_the_first_batch():
    """A batch of one output before those of several counts for each, as in torchmetrics."""
    for name in ("R2Score", "ExplainedVariance"):
        ours, theirs = (
            getattr(home, name)(multioutput="raw_values") for home in (regression, upstream)
        )
        for metric in (ours, theirs):
            metric.update(*inputs(14, 20, 3))
        assert_close(ours.compute(), theirs.compute(), 1e-4)
        with pytest.raises(ValueError, match=r"shape \(N, 3\), got \(20,\)"):
            ours.update(*inputs(14, 20))
        for metric in (ours, theirs):
            metric.reset()
            metric.update(*inputs(15, 20))
            metric(*inputs(16, 20, 2))
        assert_close(ours.compute(), theirs.compute(), 1e-4)
        empty = getattr(regression, name)(multioutput="raw_values")
        empty.merge_state(ours)
        assert_close(empty.compute(), ours.compute())
        ours.merge_state(getattr(regression, name)())
        assert_close(empty.compute(), ours.compute())


@grid
def test_gradients(name, arguments):
    """Of the function and of forward, with respect to both inputs; updates keep no graph."""
    for shape in ((20,), (20, 2)):
        outputs = shape[1] if len(shape) > 1 else 1
        found = []
        for home in (functional, upstream_functional):
            leaves = [t.requires_grad_() for t in inputs(17, *shape, dtype=torch.float64)]
            call(name, *leaves, arguments, outputs, home).sum().backward()
            found.append([leaf.grad for leaf in leaves])
        assert_close(found[0], found[1], 1e-8)
        metric = make(name, arguments, outputs)
        leaves = [t.requires_grad_() for t in inputs(17, *shape, dtype=torch.float64)]
        metric(*leaves).sum().backward()
        assert_close([leaf.grad for leaf in leaves], found[0], 1e-12)
        metric.update(*leaves)
        assert not metric.moments.requires_grad
        assert metric.moments[0, COUNT] == 40
        assert not metric.compute().requires_grad
        with torch.no_grad():
            assert not metric(*leaves).requires_grad


def test_gradients_in_a_collection():
    metrics = MetricCollection([regression.R2Score(), regression.PearsonCorrCoef()])
    preds, target = inputs(18, 20)
    for _ in range(2):
        values = metrics(preds.requires_grad_(), target)
        assert all(value.requires_grad for value in values.values())
    assert_close(metrics.compute()["R2Score"], functional.r2_score(preds.detach(), target))


def test_collections_share_the_state():
    names = [*FUNCTIONS][:5]
    for shape in ((30,), (30, 1)):
        metrics = MetricCollection({name: make(name, {}) for name in names})
        for seed in range(3):
            values = metrics(*inputs(seed, *shape))
            for name in names:
                assert_close(values[name], call(name, *inputs(seed, *shape), {}).squeeze())
        assert len(metrics.compute_groups) == 1
        for name in names:
            single = make(name, {})
            for seed in range(3):
                single.update(*inputs(seed, *shape))
            assert_close(metrics.compute()[name], single.compute())
    pair = MetricCollection([regression.R2Score(), regression.PearsonCorrCoef()])
    with pytest.raises(ValueError, match=r"num_outputs=1|shape"):
        pair.update(*inputs(0, 10, 3))
        pair.compute()


@every
def test_a_dtype_is_that_of_the_value_not_of_the_state(name):
    metric = make(name, {})
    metric.update(*inputs(19, 30))
    value = metric.compute()
    metric.half()
    assert metric.moments.dtype == torch.float64
    metric.set_dtype(torch.float64)
    metric.update(*inputs(20, 0))
    assert metric.compute().dtype == torch.float64
    assert_close(metric.compute(), value)


@pytest.mark.parametrize("start", [2.0**24, 2.0**31])
def test_counts_go_on(start):
    metric = regression.R2Score()
    metric.moments[0, [COUNT, WEIGHT]] = start
    metric.update(*inputs(21, 64))
    metric(*inputs(21, 64))
    assert metric.moments[0, [COUNT, WEIGHT]].tolist() == [start + 128] * 2
