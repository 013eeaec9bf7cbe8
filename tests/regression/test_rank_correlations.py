"""Spearman's and Kendall's correlation against SciPy, torchmetrics and exact formulas."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise, product

import numpy as np
import pytest
import scipy.stats
import torch
import torchmetrics.functional.regression as upstream_functional
import torchmetrics.regression as upstream
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmetrics import MetricCollection, regression
from fastmetrics.functional.regression import kendall_rank_corrcoef, spearman_corrcoef
from fastmetrics.regression import KendallRankCorrCoef, SpearmanCorrCoef

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
ALTERNATIVES = ("two-sided", "less", "greater")
TESTS = [{"t_test": False}, *({"t_test": True, "alternative": a} for a in ALTERNATIVES)]
GRID = [
    ("SpearmanCorrCoef", {}),
    *(("KendallRankCorrCoef", {"variant": v, **t}) for v, t in product("abc", TESTS)),
]
IDS = [f"{name}-{'-'.join(map(str, arguments.values()))}" for name, arguments in GRID]
grid = pytest.mark.parametrize(("name", "arguments"), GRID, ids=IDS)
classes = pytest.mark.parametrize("kind", [SpearmanCorrCoef, KendallRankCorrCoef])


def inputs(seed, *shape, dtype=torch.float32, ties=False):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(shape, dtype=torch.float64, generator=generator) * 2
    preds = target / 2 + torch.randn(shape, dtype=torch.float64, generator=generator)
    if ties:
        preds, target = preds.round(), target.round()
    return preds.to(dtype), target.to(dtype)


def call(name, preds, target, arguments, home=None):
    if name == "SpearmanCorrCoef":
        return (home.spearman_corrcoef if home else spearman_corrcoef)(preds, target)
    function = home.kendall_rank_corrcoef if home else kendall_rank_corrcoef
    return function(preds, target, **arguments)


def assert_same(found, wanted, rtol=2e-5, atol=1e-6, check_dtype=True):
    if isinstance(wanted, tuple):
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other, rtol, atol, check_dtype)
        return
    torch.testing.assert_close(
        found, wanted, rtol=rtol, atol=atol, equal_nan=True, check_dtype=check_dtype
    )


def assert_dtype(found, dtype):
    """torchmetrics has float64 for some of these values alone."""
    for value in found if isinstance(found, tuple) else (found,):
        assert value.dtype == dtype


def identical(found, wanted):
    assert_same(found, wanted, 0, 0)


@pytest.mark.smoke
@grid
@pytest.mark.parametrize("ties", [False, True])
def test_parity_with_torchmetrics(name, arguments, ties):
    for dtype in (torch.float32, torch.float64):
        for shape in ((2,), (3,), (60,), (60, 4)):
            preds, target = inputs(len(shape), *shape, dtype=dtype, ties=ties)
            wanted = call(name, preds, target, arguments, upstream_functional)
            found = call(name, preds, target, arguments)
            assert_same(found, wanted, check_dtype=False)
            assert_dtype(found, dtype)
            outputs = shape[1] if len(shape) > 1 else 1
            ours = getattr(regression, name)(**arguments, num_outputs=outputs)
            theirs = getattr(upstream, name)(**arguments, num_outputs=outputs)
            for metric in (ours, theirs):
                for begin in range(0, shape[0], 25):
                    metric.update(preds[begin : begin + 25], target[begin : begin + 25])
            # The class of torchmetrics rounds to float32, which ties no two of these numbers.
            assert_same(ours.compute(), theirs.compute(), check_dtype=False)
            assert_dtype(ours.compute(), dtype)


@grid
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("ties", [False, True])
def test_scipy(name, arguments, dtype, ties):
    preds, target = inputs(5, 500, dtype=dtype, ties=ties)
    x, y = preds.double().numpy(), target.double().numpy()
    found = call(name, preds, target, arguments)
    if name == "SpearmanCorrCoef":
        wanted = scipy.stats.spearmanr(x, y).statistic
        assert found.item() == pytest.approx(wanted, rel=1e-7, abs=1e-8)
        return
    tau = found[0] if arguments["t_test"] else found
    if arguments["variant"] == "a":
        signs = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y, y))
        assert tau.item() == pytest.approx(signs.sum() / abs(signs).sum(), rel=1e-7)
        return
    wanted = scipy.stats.kendalltau(
        x,
        y,
        variant=arguments["variant"],
        method="asymptotic",
        alternative=arguments.get("alternative", "two-sided"),
    )
    assert tau.item() == pytest.approx(wanted.statistic, rel=1e-7)
    if arguments["t_test"]:
        assert found[1].item() == pytest.approx(wanted.pvalue, rel=1e-6, abs=1e-44)


@pytest.mark.smoke
def test_a_perfect_correlation_is_one():
    for size in (2, 3, 10, 1001):
        x = torch.randn(size)
        for function in (spearman_corrcoef, kendall_rank_corrcoef):
            assert function(x, x * 2).item() == 1.0
            assert function(x, -x).item() == -1.0


def test_large_samples_with_many_ties():
    """torchmetrics sums ranks in int32, which such groups of ties overflow."""
    x = torch.arange(200_000) % 2
    y = torch.where(torch.arange(200_000) < 150_000, x, 0)
    wanted = scipy.stats.pearsonr(x.numpy(), y.numpy()).statistic
    assert spearman_corrcoef(x.double(), y.float()).item() == pytest.approx(wanted, rel=1e-6)
    assert kendall_rank_corrcoef(x, y).item() == pytest.approx(wanted, rel=1e-6)


def test_small_p_values():
    """float32 rounds the distribution of torchmetrics to 0 there."""
    preds, target = inputs(1, 120)
    found = kendall_rank_corrcoef(preds, target, t_test=True)[1].item()
    wanted = scipy.stats.kendalltau(preds.numpy(), target.numpy(), method="asymptotic").pvalue
    assert 0 < found < 1e-8
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.smoke
def test_small_steps_of_float64_and_integers_survive_the_class():
    steps = 1 + torch.randperm(50).double() * 2.0**-50
    ramp = torch.arange(50.0, dtype=torch.float64)
    wanted = scipy.stats.spearmanr(steps.numpy(), ramp.numpy()).statistic
    assert SpearmanCorrCoef()(steps, ramp).item() == pytest.approx(wanted, rel=1e-6)
    large = 2**60 + torch.randperm(50)
    wanted = kendall_rank_corrcoef(large - 2**60, ramp)
    identical(KendallRankCorrCoef()(large, ramp), wanted)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64])
def test_integers(dtype):
    """Kendall takes them, Spearman does not, as in torchmetrics."""
    preds, target = inputs(3, 50, ties=True)
    preds, target = preds.abs().to(dtype), target.abs().to(dtype)
    wanted = kendall_rank_corrcoef(preds.double(), target.double()).float()
    identical(kendall_rank_corrcoef(preds, target), wanted)
    identical(KendallRankCorrCoef()(preds, target), wanted)
    for function in (spearman_corrcoef, SpearmanCorrCoef().update):
        with pytest.raises(TypeError, match=f"got {dtype} and {dtype}"):
            function(preds, target)


@pytest.mark.smoke
def test_degenerate_inputs():
    constant, ramp = torch.full((9,), 0.1), torch.arange(9.0)
    for pair in ((constant, ramp), (ramp, constant), (constant, constant), (ramp[:1], ramp[:1])):
        assert spearman_corrcoef(*pair).item() == 0.0
        assert upstream_functional.spearman_corrcoef(*pair).item() == 0.0
        for variant in "abc":
            found = kendall_rank_corrcoef(*pair, variant, True)
            assert found[0].isnan()
            assert upstream_functional.kendall_rank_corrcoef(*pair, variant).isnan()
    empty = torch.zeros(0)
    assert spearman_corrcoef(empty, empty).isnan()
    assert kendall_rank_corrcoef(empty, empty).isnan()
    assert spearman_corrcoef(torch.zeros(5, 0), torch.zeros(5, 0)).shape == (0,)


@pytest.mark.smoke
def test_nan_makes_the_value_of_its_output_nan():
    preds, target = inputs(2, 20, 3)
    preds[4, 1] = math.nan
    wanted = torch.tensor([False, True, False])
    assert torch.equal(spearman_corrcoef(preds, target).isnan(), wanted)
    for variant in "abc":
        tau, p_value = kendall_rank_corrcoef(preds, target, variant, True)
        assert torch.equal(tau.isnan(), wanted)
        assert torch.equal(p_value.isnan(), wanted)
    metric = SpearmanCorrCoef()
    metric.update(target[:, 0], target[:, 1])
    metric.update(preds[:, 1], target[:, 1])
    assert metric.compute().isnan()


def test_infinities_are_ordinary():
    x = torch.tensor([-math.inf, -1.0, 0.0, 2.0, math.inf, math.inf])
    y = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 4.0])
    assert spearman_corrcoef(x, y).item() == 1.0
    assert kendall_rank_corrcoef(x, y).item() == 1.0


@given(
    cuts=st.lists(st.integers(0, 40), max_size=4),
    row=st.integers(0, len(GRID) - 1),
    outputs=st.integers(1, 3),
    levels=st.integers(1, 30),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_any_split_over_batches_forwards_and_merges(cuts, row, outputs, levels, data):
    """Bit for bit, whatever the order of the samples."""
    name, arguments = GRID[row]
    generator = torch.Generator().manual_seed(levels)
    shape = (40,) if outputs == 1 else (40, outputs)
    preds, target = (torch.randint(0, levels, shape, generator=generator) / 4.0 for _ in range(2))
    wanted = call(name, preds, target, arguments)
    edges = [0, *sorted(cuts), 40]
    parts = [slice(a, b) for a, b in pairwise(edges)]
    metrics = [getattr(regression, name)(**arguments, num_outputs=outputs) for _ in range(2)]
    for part in data.draw(st.permutations(parts)):
        metric = metrics[data.draw(st.integers(0, 1))]
        if data.draw(st.booleans()):
            metric.update(preds[part], target[part])
        else:
            value = metric(preds[part], target[part])
            identical(value, call(name, preds[part], target[part], arguments))
    if metrics[0].update_called:
        if metrics[1].update_called:
            metrics[0].merge_state(metrics[1])
        metrics[1] = metrics[0]
    identical(metrics[1].compute(), wanted)


@pytest.mark.smoke
@classes
def test_bad_input(kind):
    metric = kind(num_outputs=2)
    preds, target = inputs(1, 6, 2)
    metric.update(preds, target)
    value = metric.compute()
    for bad, error, text in (
        ((preds, target[:5]), RuntimeError, r"same shape, got \(6, 2\) and \(5, 2\)"),
        ((preds[:, :1], target[:, :1]), ValueError, r"shape \(N, 2\), got \(6, 1\)"),
        ((preds[:, 0], target[:, 0]), ValueError, r"shape \(N, 2\), got \(6,\)"),
        ((preds[..., None], target[..., None]), ValueError, r"got \(6, 2, 1\)"),
        ((preds[0, 0], target[0, 0]), ValueError, r"got \(\)"),
    ):
        for function in (metric.update, metric):
            with pytest.raises(error, match=text):
                function(*bad)
    assert metric.update_count == 1
    identical(metric.compute(), value)
    with pytest.raises((TypeError, ValueError), match="complex64"):
        kind()(preds[:, 0].to(torch.complex64), target[:, 0])
    with pytest.raises(ValueError, match=r"\(N,\) or \(N, 1\), got \(6, 2\)"):
        kind()(preds, target)
    with pytest.raises(ValueError, match="`num_outputs` must be an integer"):
        kind(num_outputs=0)
    with pytest.raises(ValueError, match="No samples"), pytest.warns(UserWarning, match="before"):
        kind().compute()


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"variant": "d"}, "`variant` must be one of"),
        ({"t_test": 1}, "`t_test` must be a bool"),
        ({"t_test": True, "alternative": None}, "`alternative` must be given"),
        ({"t_test": True, "alternative": "more"}, "`alternative` must be one of"),
    ],
)
def test_bad_arguments(arguments, text):
    preds, target = inputs(1, 6)
    with pytest.raises(ValueError, match=r"alternative|t_test|variant"):
        upstream.KendallRankCorrCoef(**arguments)
    with pytest.raises(ValueError, match=text):
        KendallRankCorrCoef(**arguments)
    with pytest.raises(ValueError, match=text):
        kendall_rank_corrcoef(preds, target, **arguments)


@pytest.mark.smoke
def test_spellings_that_torchmetrics_takes():
    preds, target = inputs(1, 30)
    found = kendall_rank_corrcoef(preds, target, "B", True, "Two_Sided")
    identical(found, kendall_rank_corrcoef(preds, target, t_test=True))
    metric = KendallRankCorrCoef("C", alternative=None)
    assert metric.variant == upstream.KendallRankCorrCoef("C").variant == "c"
    assert metric.alternative is upstream.KendallRankCorrCoef("C").alternative is None


@classes
def test_kept_samples_are_copies(kind):
    preds, target = inputs(1, 30)
    metric = kind()
    metric.update(preds.requires_grad_(), target)
    value = metric.compute()
    assert not value.requires_grad
    with torch.no_grad():
        preds.zero_()
    target.zero_()
    metric._computed = None
    identical(metric.compute(), value)


@classes
def test_inference_mode(kind):
    preds, target = inputs(1, 30)
    metric, wanted = kind(), kind()
    wanted.update(preds, target)
    with torch.inference_mode():
        metric.update(preds[:10], target[:10])
        metric(preds[10:20].clone(), target[10:20].clone())
    metric.update(preds[20:], target[20:])
    for copy in (metric, metric.clone(), pickle.loads(pickle.dumps(metric))):
        identical(copy.compute(), wanted.compute())


@classes
def test_columns_and_dtypes_mix(kind):
    """Batches of [N] and [N, 1], and of several dtypes."""
    preds, target = inputs(1, 40, dtype=torch.float16)
    metric = kind()
    metric.update(preds[:10].double(), target[:10])
    metric.update(preds[10:20, None], target[10:20, None].float())
    metric.update(preds[20:], target[20:].bfloat16().half())
    mixed = torch.cat([target[:20], target[20:].bfloat16().half()])
    function = spearman_corrcoef if kind is SpearmanCorrCoef else kendall_rank_corrcoef
    identical(metric.compute(), function(preds.double(), mixed))


@grid
def test_in_a_collection(name, arguments):
    preds, target = inputs(1, 30)
    metric = getattr(regression, name)(**arguments)
    collection = MetricCollection({"value": metric, "mae": regression.MeanAbsoluteError()})
    value = collection(preds, target)
    if not arguments.get("t_test"):
        identical(value["value"], call(name, preds, target, arguments))


@classes
def test_synchronised_states(kind):
    """Two processes that hold the same: each state is one tensor then."""
    preds, target = inputs(1, 30, dtype=torch.float64)
    metric = kind(
        dist_sync_fn=lambda tensor, group: [tensor, tensor], distributed_available_fn=lambda: True
    )
    metric.update(preds, target)
    wanted = kind()
    wanted.update(preds, target)
    wanted.update(preds, target)
    identical(metric.compute(), wanted.compute())
