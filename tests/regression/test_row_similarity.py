"""Cosine similarity and divergences: values of torchmetrics, splits, gradients, dtypes."""

from __future__ import annotations

import math
import pickle
from functools import partial

import pytest
import torch
import torchmetrics.functional.regression as tm_functional
import torchmetrics.regression as tm

import fastmetrics.functional.regression as fm_functional
import fastmetrics.regression as fm
from fastmetrics.metric import Metric

REDUCTIONS = ("mean", "sum", "none", None)
# Class, function, arguments, whether inputs are logarithms.
FAMILIES = {
    "cosine": ("CosineSimilarity", "cosine_similarity", {}, False),
    "kl": ("KLDivergence", "kl_divergence", {"log_prob": False}, False),
    "kl log": ("KLDivergence", "kl_divergence", {"log_prob": True}, True),
    "js": ("JensenShannonDivergence", "jensen_shannon_divergence", {"log_prob": False}, False),
    "js log": ("JensenShannonDivergence", "jensen_shannon_divergence", {"log_prob": True}, True),
}
GRID = [(family, reduction) for family in FAMILIES for reduction in REDUCTIONS]


def inputs(family, shape=(9, 6), dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pair = torch.rand((2, *shape), generator=generator).add(0.01)
    if FAMILIES[family][3]:
        pair = pair.log_softmax(-1)
    elif not dtype.is_floating_point:
        pair = pair * 50 + 1
    return pair.to(dtype).unbind()


def functions(family, reduction):
    _, name, arguments, _ = FAMILIES[family]
    return (
        partial(getattr(home, name), **arguments, reduction=reduction)
        for home in (fm_functional, tm_functional)
    )


def metrics(family, reduction):
    name, _, arguments, _ = FAMILIES[family]
    return (getattr(home, name)(**arguments, reduction=reduction) for home in (fm, tm))


@pytest.mark.parametrize(("family", "reduction"), GRID)
def test_values_are_those_of_torchmetrics(family, reduction):
    ours, theirs = functions(family, reduction)
    metric, other = metrics(family, reduction)
    for seed, shape in enumerate([(9, 6), (1, 6), (3, 40), (2, 1)]):
        p, q = inputs(family, shape, seed=seed)
        torch.testing.assert_close(ours(p, q), theirs(p, q), rtol=2e-5, atol=1e-6)
        torch.testing.assert_close(metric(p, q), other(p, q), rtol=2e-5, atol=1e-6)
    metric.reset(), other.reset()
    for seed in range(3):
        metric.update(*inputs(family, seed=seed)), other.update(*inputs(family, seed=seed))
    torch.testing.assert_close(metric.compute(), other.compute(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.uint8])
@pytest.mark.parametrize(("family", "reduction"), [g for g in GRID if "log" not in g[0]])
def test_dtypes_follow_the_inputs(family, reduction, dtype):
    """As in torchmetrics, and in ours of the cosine similarity, too."""
    p, q = inputs(family, dtype=dtype)
    expected = torch.float64 if dtype == torch.float64 else torch.float32

    def same(value: torch.Tensor, theirs: torch.Tensor) -> None:
        assert value.dtype == expected
        assert family == "cosine" or theirs.dtype == expected
        torch.testing.assert_close(value, theirs.to(expected), rtol=2e-5, atol=1e-6)

    for ours, theirs in (functions(family, reduction), metrics(family, reduction)):
        same(ours(p, q), theirs(p, q))
    ours, theirs = metrics(family, reduction)
    ours.update(*inputs(family)), theirs.update(*inputs(family))
    ours.update(p, q), theirs.update(p, q)
    same(ours.compute(), theirs.compute())


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_inputs_give_float32(family):
    p, q = inputs(family, dtype=torch.float16)
    function, _ = functions(family, "mean")
    value = function(p, q)
    assert value.dtype == torch.float32
    assert torch.equal(value, function(p.float(), q.float()))


ROWS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])


@pytest.mark.parametrize("family", ["cosine", "kl", "js"])
def test_zeros_are_those_of_torchmetrics(family):
    p, q = ROWS.repeat_interleave(4, 0), ROWS.repeat(4, 1)
    ours, theirs = functions(family, "none")
    torch.testing.assert_close(ours(p, q), theirs(p, q), equal_nan=True)


def test_logarithms_of_zero_count_as_zeros():
    """The same distributions give the same divergences, as they are and as logarithms."""
    p = torch.tensor([[0.0, 1.0], [0.5, 0.5], [0.0, 1.0]])
    q = torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.0, 1.0]])
    for family in ("kl", "js"):
        plain, _ = functions(family, "none")
        logs, _ = functions(f"{family} log", "none")
        torch.testing.assert_close(logs(p.log(), q.log()), plain(p, q))


def test_sizes_beyond_float32_squares():
    p, q = (
        torch.tensor([[3e30, 4e30], [3e-30, 4e-30]]),
        torch.tensor([[4e30, 3e30], [4e-30, 3e-30]]),
    )
    assert fm_functional.cosine_similarity(p, q, "none").tolist() == [pytest.approx(0.96)] * 2
    half = torch.full((1, 64), 300.0, dtype=torch.float16)
    assert fm_functional.cosine_similarity(half, half, "mean") == 1


@pytest.mark.parametrize(("family", "reduction"), GRID)
def test_gradients(family, reduction):
    ours, theirs = functions(family, reduction)
    metric, _ = metrics(family, reduction)
    gradients = []
    for call in (ours, theirs, metric):
        p, q = (x.clone().requires_grad_() for x in inputs(family))
        call(p, q).sum().backward()
        gradients.append((p.grad, q.grad))
    for found in (gradients[0], gradients[2]):
        torch.testing.assert_close(found, gradients[1], rtol=1e-4, atol=1e-5)
    assert metric.update_count == 1
    assert not any(
        x.requires_grad
        for state in metric.metric_state.values()
        for x in (state if isinstance(state, list) else [state])
    )


def test_gradients_where_a_probability_is_zero():
    p = torch.tensor([[0.0, 1.0, 0.0]], requires_grad=True)
    q = torch.tensor([[0.5, 0.5, 0.0]], requires_grad=True)
    for function in (fm_functional.kl_divergence, fm_functional.jensen_shannon_divergence):
        for gradient in torch.autograd.grad(function(p, q), (p, q)):
            assert gradient.isfinite().all()
    logs = torch.tensor([[-math.inf, 0.0]], requires_grad=True)
    value = fm_functional.kl_divergence(logs, torch.tensor([[-1.0, -0.5]]), log_prob=True)
    assert torch.autograd.grad(value, logs)[0].isfinite().all()


def test_keyword_order_does_not_matter():
    p, q = (x.clone().requires_grad_() for x in inputs("kl"))
    metric = fm.KLDivergence()
    assert torch.equal(metric(q=q, p=p), fm_functional.kl_divergence(p, q))
    assert torch.equal(metric.compute(), fm_functional.kl_divergence(p, q).detach())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_splits_merges_and_copies(family, reduction):
    p, q = inputs(family, (60, 5))
    function, _ = functions(family, reduction)
    whole, parts = next(metrics(family, reduction)), []
    for rows in torch.arange(60).split(7):
        whole.update(p[rows], q[rows])
        part = next(metrics(family, reduction))
        part.update(p[rows], q[rows])
        parts.append(part)
    torch.testing.assert_close(whole.compute(), function(p, q))
    merged = parts.pop()
    while parts:
        merged.merge_state(parts.pop())
    torch.testing.assert_close(merged.compute(), function(p, q))
    assert torch.equal(pickle.loads(pickle.dumps(whole)).compute(), whole.compute())
    if reduction == "mean":
        assert whole.sums[1] == 60


@pytest.mark.parametrize("start", [2.0**24, 2.0**31])
def test_rows_are_counted_past_float32(start):
    metric = fm.CosineSimilarity("mean")
    metric.sums += start
    metric.update(torch.ones(5, 3), torch.ones(5, 3))
    assert metric.sums[1] == start + 5
    assert metric.sums[0].item() == pytest.approx(start + 5, abs=1e-9 * 5 + 1e-6)


def test_set_dtype_chooses_the_dtype_of_the_value():
    metric = fm.KLDivergence().set_dtype(torch.float64)
    metric.update(*inputs("kl"))
    assert metric.compute().dtype == metric.sums.dtype == torch.float64
    metric = fm.CosineSimilarity("mean").set_dtype(torch.float16)
    metric.update(*inputs("cosine"))
    assert metric.compute().dtype == torch.float16
    assert metric.sums.dtype == torch.float64


def test_arguments():
    for make in (fm.CosineSimilarity, fm.KLDivergence, fm.JensenShannonDivergence):
        with pytest.raises(ValueError, match="`reduction` must be one of"):
            make(reduction="max")
        assert issubclass(make, Metric)
    for make in (fm.KLDivergence, fm.JensenShannonDivergence):
        with pytest.raises(TypeError, match="`log_prob` must be a bool, got 1"):
            make(log_prob=1)
    for function in (fm_functional.kl_divergence, fm_functional.cosine_similarity):
        with pytest.raises(ValueError, match="`reduction` must be one of"):
            function(torch.ones(1, 2), torch.ones(1, 2), reduction="max")


@pytest.mark.parametrize(("family", "reduction"), GRID)
def test_bad_inputs_leave_no_trace(family, reduction):
    metric, other = metrics(family, reduction)
    for shapes, error in ((((2, 3), (2, 4)), RuntimeError), (((3,), (3,)), ValueError)):
        p, q = (torch.ones(shape) for shape in shapes)
        for call in (metric, metric.update, other.update):
            with pytest.raises(error):
                call(p, q)
        with pytest.raises(error):
            metric(p.requires_grad_(), q)
    assert not metric.update_called
    with pytest.raises(RuntimeError, match="`preds`" if family == "cosine" else "`p`"):
        metric.update(torch.ones(2, 3), torch.ones(2, 4))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_repeat_rows(family, reduction):
    preds, target = inputs(family)
    weight = torch.tensor([0, 3, 1, 2, 1, 0, 1, 1, 4])
    repeated = (x.repeat_interleave(weight, 0) for x in (preds, target))
    ours, _ = functions(family, reduction)
    expected = ours(*repeated)
    torch.testing.assert_close(ours(preds, target, weight=weight), expected, rtol=1e-6, atol=0)
    metric, _ = metrics(family, reduction)
    metric.update(preds[:4], target[:4], weight=weight[:4].half())
    metric(preds[4:], target[4:], weight=weight[4:])
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-6, atol=0)
    grown = preds.clone().requires_grad_()
    ours(grown, target, weight=weight).backward()
    assert (grown.grad[0] == 0).all()
    assert (grown.grad[1] != 0).any()
    value = metric(grown, target, weight=weight)
    assert value.requires_grad
    with pytest.raises(ValueError, match="`weight` must have one entry per sample"):
        metric.update(preds, target, weight=weight[:3])
    with pytest.raises(ValueError, match="`weight` needs `reduction`"):
        next(iter(functions(family, "none")))(preds, target, weight=weight)
