"""Values at the ends of what the dtypes hold, and where float64 does not hold the inputs."""

from __future__ import annotations

import math
import random
import warnings
from fractions import Fraction

import pytest
import torch

from fastmetrics import functional, regression
from fastmetrics.ops.co_moments import merged, moments_of

# Functions whose value does not change with the scale of both inputs, and their classes.
UNSCALED = {
    "pearson_corrcoef": "PearsonCorrCoef",
    "concordance_corrcoef": "ConcordanceCorrCoef",
    "r2_score": "R2Score",
    "explained_variance": "ExplainedVariance",
    "relative_squared_error": "RelativeSquaredError",
    "normalized_root_mean_squared_error": "NormalizedRootMeanSquaredError",
    "spearman_corrcoef": "SpearmanCorrCoef",
    "kendall_rank_corrcoef": "KendallRankCorrCoef",
}
SCALES = (-1020, -700, -530, -401, -400, 0, 400, 401, 530, 700, 1020)


def pair(*shape):
    generator = torch.Generator().manual_seed(3)
    target = torch.randn(shape, dtype=torch.float64, generator=generator)
    return target + torch.randn(shape, dtype=torch.float64, generator=generator) / 2, target


def scaled(values, exponent):
    return torch.ldexp(values, torch.tensor(exponent // 2)).ldexp(
        torch.tensor(exponent - exponent // 2)
    )


@pytest.mark.parametrize("name", UNSCALED)
@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_of_both_inputs_does_not_matter(name, scale):
    function, cls = getattr(functional, name), getattr(regression, UNSCALED[name])
    several = {"num_outputs": 3} if "normalized" in name else {}
    for inputs, options in ((pair(40), {}), (pair(40, 3), several), (pair(3000), {})):
        wanted = function(*inputs, **options)
        moved = [scaled(values, scale) for values in inputs]
        torch.testing.assert_close(function(*moved, **options), wanted, rtol=1e-12, atol=1e-14)
        graph = function(moved[0].clone().requires_grad_(), moved[1], **options)
        torch.testing.assert_close(graph.detach(), wanted, rtol=1e-12, atol=1e-14)
        metric = cls(num_outputs=3) if inputs[0].ndim == 2 and name not in NO_OUTPUTS else cls()
        for part in (slice(0, 7), slice(7, None)):
            metric(moved[0][part], moved[1][part])
        torch.testing.assert_close(metric.compute(), wanted.squeeze(), rtol=1e-12, atol=1e-14)


NO_OUTPUTS = ("r2_score", "explained_variance")


@pytest.mark.parametrize("scale", SCALES)
def test_correlation_of_inputs_of_two_scales(scale):
    preds, target = pair(50)
    wanted = functional.pearson_corrcoef(preds, target)
    for one, other in ((scale, 0), (scale, -scale), (0, scale)):
        found = functional.pearson_corrcoef(scaled(preds, one), scaled(target, other))
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)


def test_batches_of_two_scales():
    """What is small beside the rest is nothing; what is small beside zeros is all there is."""
    preds, target = pair(50)
    zeros = torch.zeros(50, dtype=torch.float64)
    for scale in SCALES:
        metric, other = regression.PearsonCorrCoef(), regression.PearsonCorrCoef()
        metric.update(zeros, zeros), metric.update(scaled(preds, scale), scaled(target, scale))
        other.update(zeros, zeros), other.update(preds, target)
        torch.testing.assert_close(metric.compute(), other.compute(), rtol=1e-12, atol=0)


def test_differences_beyond_float64():
    big = torch.tensor([1.7e308], dtype=torch.float64)
    symmetric = functional.symmetric_mean_absolute_percentage_error
    relative = functional.mean_absolute_percentage_error
    for _ in range(2):  # by the kernels, and with gradients
        assert symmetric(big, -big) == 2
        assert symmetric(big, big / 2).item() == pytest.approx(2 / 3, rel=1e-15)
        assert relative(big, -big) == 2
        big = big.requires_grad_()


@pytest.mark.parametrize("scale", SCALES)
def test_cosine_of_rows_of_any_scale(scale):
    for columns in (2, 40, 1500):
        preds, target = pair(6, columns)
        wanted = functional.cosine_similarity(preds, target, "none")
        for one, other in ((scale, 0), (scale, scale), (scale, -scale)):
            rows = scaled(preds, one), scaled(target, other)
            found = functional.cosine_similarity(*rows, "none")
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
            graph = functional.cosine_similarity(rows[0].requires_grad_(), rows[1], "none")
            torch.testing.assert_close(graph.detach(), wanted, rtol=1e-12, atol=1e-14)


OVERFLOWING = {
    "mean_squared_error": ("MeanSquaredError", {}),
    "mean_absolute_error": ("MeanAbsoluteError", {}),
    "log_cosh_error": ("LogCoshError", {}),
    "minkowski_distance": ("MinkowskiDistance", {"p": 3.0}),
    "tweedie_deviance_score": ("TweedieDevianceScore", {}),
    "relative_squared_error": ("RelativeSquaredError", {}),
    "r2_score": ("R2Score", {}),
    "explained_variance": ("ExplainedVariance", {}),
    "normalized_root_mean_squared_error": ("NormalizedRootMeanSquaredError", {}),
}


@pytest.mark.parametrize("name", OVERFLOWING)
def test_values_beyond_float32_are_infinite(name):
    cls, options = OVERFLOWING[name]
    preds = torch.tensor([3e38, -3e38, 3e38, 1.0])
    target = torch.tensor([-3e38, 3e38, -3e38, 0.0])
    if name in ("r2_score", "explained_variance", "relative_squared_error"):
        target = torch.tensor([1.0, 2.0, 4.0, 5.0]) * 1e-5
    if name.startswith("normalized"):
        target = torch.tensor([1e-30, 2e-30, 1e-30, 1e-30])
    value = getattr(functional, name)(preds, target, **options)
    assert value.dtype == torch.float32
    assert value == (-math.inf if name in ("r2_score", "explained_variance") else math.inf)
    metric = getattr(regression, cls)(**options)
    assert metric(preds, target) == value == metric.compute()


def test_variance_below_float32():
    target = torch.randn(7) * 1e-42
    assert functional.explained_variance(torch.randn(7), target) == -math.inf


STAMP = 1_700_000_000_000_000_000
OF_DIFFERENCES = {
    "mean_squared_error": ({}, {"squared": False}),
    "mean_absolute_error": ({},),
    "log_cosh_error": ({},),
    "minkowski_distance": ({"p": 1.0}, {"p": 2.0}, {"p": 2.5}, {"p": 3.0}),
    "tweedie_deviance_score": ({},),
    "pearson_corrcoef": ({},),
    "concordance_corrcoef": ({},),
    "r2_score": ({},),
    "explained_variance": ({},),
    "relative_squared_error": ({},),
    "spearman_corrcoef": (),
}


@pytest.mark.parametrize("name", OF_DIFFERENCES)
@pytest.mark.parametrize("shape", [(50,), (5000,), (40, 3)])
def test_time_stamps_are_subtracted_as_integers(name, shape):
    """The values are those of small numbers, from which the stamps differ by a constant."""
    generator = torch.Generator().manual_seed(1)
    preds, target = (torch.randint(-999, 999, shape, generator=generator) for _ in range(2))
    function = getattr(functional, name)
    for options in OF_DIFFERENCES[name]:
        wanted = function(preds.double(), target.double(), **options)
        stamps = preds + STAMP, target + STAMP
        for one, other in (stamps, [values.t().contiguous().t() for values in stamps]):
            found = function(one, other, **options)
            torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-7)
            weight = torch.ones(shape[0], requires_grad=True)  # by torch operations
            if "p" not in options:
                graph = function(one, other, **options, weight=weight).detach()
                torch.testing.assert_close(graph.double(), wanted, rtol=1e-6, atol=1e-7)


def test_relative_errors_of_time_stamps():
    target = torch.tensor([STAMP, STAMP + 500])
    preds = target + 100
    relative = 100 / STAMP
    for name, wanted in (
        ("mean_absolute_percentage_error", relative),
        ("symmetric_mean_absolute_percentage_error", relative),
        ("weighted_mean_absolute_percentage_error", relative),
        ("mean_squared_log_error", relative**2),
    ):
        found = getattr(functional, name)(preds, target)
        assert found.item() == pytest.approx(wanted, rel=1e-6), name


def test_integers_of_the_whole_range():
    """A difference beyond 2^63 is the float64 nearest to it, as any other."""
    ends = [-(2**63), 2**63 - 1, 0, -1, 1, 2**53 + 1, -(2**53) - 3]
    numbers = random.Random(4)
    ends += [numbers.randrange(-(2**63), 2**63) for _ in range(57)]
    for one in ends:
        for other in ends[:8]:
            preds, target = torch.tensor([one]), torch.tensor([other])
            wanted = float(Fraction(abs(one - other)))
            value = functional.mean_absolute_error(preds, target).item()
            assert value == torch.tensor(wanted).item()
            if -(2**31) <= other < 2**31:
                assert functional.mean_absolute_error(preds, target.int()).item() == value


@pytest.mark.parametrize("mean", [0.0, 1e6, 1e10, 1e13, -3e14])
def test_batches_far_from_zero(mean):
    generator = torch.Generator().manual_seed(2)
    target = mean + torch.randn(500, dtype=torch.float64, generator=generator)
    preds = target + torch.randn(500, dtype=torch.float64, generator=generator) / 3
    whole = functional.r2_score(preds, target), functional.pearson_corrcoef(preds, target)
    for size in (1, 3, 50):
        r2, pearson = regression.R2Score(), regression.PearsonCorrCoef()
        for first in range(0, 500, size):
            for metric in (r2, pearson):
                metric.update(preds[first : first + size], target[first : first + size])
        torch.testing.assert_close((r2.compute(), pearson.compute()), whole, rtol=1e-13, atol=0)
    reference = moments_of(preds[:1], target[:1])
    for first in range(1, 500):
        part = slice(first, first + 1)
        reference = merged(reference, moments_of(preds[part], target[part]))
    spread = functional.r2_score(preds, target)
    found = 1 - (reference[0, 7] + 500 * reference[0, 4] ** 2) / reference[0, 6]
    assert found.item() == pytest.approx(spread.item(), rel=1e-13)


def test_one_sample_has_no_variance():
    one = torch.tensor([5.0]), torch.tensor([1.0])
    assert functional.explained_variance(*one).isnan()
    for cls in (regression.R2Score, regression.ExplainedVariance):
        metric = cls()
        metric(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]))
        assert metric(*one).isnan()
        assert metric.moments[0, 0] == 4
        assert not metric.compute().isnan()


def test_many_axes():
    shape = (2,) * 18
    whole = torch.randn(shape)
    other = whole.permute(*reversed(range(18)))
    wanted = (whole - other).double().square().mean().float()
    torch.testing.assert_close(functional.mean_squared_error(whole, other), wanted)


def test_no_outputs():
    nothing = torch.zeros(7, 0)
    for name in ("R2Score", "ExplainedVariance"):
        metric = getattr(regression, name)()
        metric.update(nothing, nothing)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert metric.compute().isnan()


@pytest.mark.parametrize("name", ["SpearmanCorrCoef", "KendallRankCorrCoef"])
def test_samples_that_cannot_be_kept_are_refused(name):
    x = torch.rand(6)
    for batch in (
        (x.to("meta"), x),
        (x, x.to("meta")),
        (x.to_sparse(), x),
        (x, x.to_mkldnn()),
        (torch.rand(6, 6).to_sparse_csr(), torch.rand(6, 6)),
    ):
        metric = getattr(regression, name)()
        metric.update(x, x)
        for call in (metric.update, metric):
            with pytest.raises(ValueError, match="must be"):
                call(*batch)
        assert metric.compute() == 1


@pytest.mark.parametrize("name", ["SpearmanCorrCoef", "KendallRankCorrCoef"])
def test_batches_of_two_devices_and_of_a_trace_are_refused(name):
    from torch._subclasses.fake_tensor import FakeTensorMode

    x = torch.rand(6)
    metric = getattr(regression, name)()
    metric.update(x, x)
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x)
    for batch in ((x.to("meta"), x.to("meta")), (fake, fake), (fake, x)):
        with pytest.raises(ValueError, match="must"):
            metric.update(*batch)
    assert metric.compute() == 1


def test_dtypes_that_no_kernel_reads_are_named():
    for dtype in (torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn):
        x = torch.ones(4).to(dtype)
        for name in ("MeanSquaredError", "PearsonCorrCoef", "KendallRankCorrCoef"):
            with pytest.raises(
                ValueError, match=r"\(bool, uint8, .* or float64\), got dtype torch"
            ):
                getattr(regression, name)().update(x, x)


def test_warning_of_deviations_that_are_rounding():
    generator = torch.Generator().manual_seed(0)
    noise, preds = torch.rand(2, 50, generator=generator)
    for target, several in ((1 + noise * 2e-7, False), (1 + noise * 2e-7, True)):
        inputs = (preds, target)
        if several:
            inputs = (torch.stack([preds, preds], 1), torch.stack([noise, target], 1))
        with pytest.warns(UserWarning, match="no larger than the rounding"):
            functional.pearson_corrcoef(*inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        functional.pearson_corrcoef(preds, noise * 1e-20)
        functional.pearson_corrcoef(preds.double(), (1 + noise.double() * 2e-7))
