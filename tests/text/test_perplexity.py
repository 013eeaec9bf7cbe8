"""Perplexity against torchmetrics and plain torch in float64."""

from __future__ import annotations

import itertools
import warnings

import pytest
import torch
import torchmetrics
import torchmetrics.functional.text as peer
from torch import Tensor
from torch._dynamo.testing import CompileCounter

import fastmetrics
from fastmetrics import ops
from fastmetrics.functional.text import perplexity
from fastmetrics.ops.cross_entropy import CrossEntropySums
from fastmetrics.text import Perplexity

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
IGNORED = (None, -100, 3)


def batch(seed: int, texts: int = 4, length: int = 9, words: int = 50) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    preds = 3 * torch.randn(texts, length, words, generator=random)
    return preds, torch.randint(words, (texts, length), generator=random)


def exact(
    preds: Tensor, target: Tensor, ignore_index: int | None = None, weight: Tensor | None = None
) -> Tensor:
    """By the losses of torch in float64."""
    ignored = -1 if ignore_index is None else ignore_index
    losses = torch.nn.functional.cross_entropy(
        preds.double().movedim(-1, 1), target.long(), ignore_index=ignored, reduction="none"
    )
    amounts = (target != ignored).double()
    if weight is not None:
        amounts = amounts * weight[:, None].double()
    return ((losses * amounts).sum() / amounts.sum()).exp()


@pytest.mark.parametrize("ignore_index", IGNORED)
def test_values_are_those_of_torchmetrics(ignore_index):
    ours, theirs = Perplexity(ignore_index), torchmetrics.text.Perplexity(ignore_index)
    for seed in range(3):
        preds, target = batch(seed)
        if ignore_index is not None:
            target[seed, 4:] = ignore_index
        expected = peer.perplexity(preds, target, ignore_index)
        torch.testing.assert_close(ours(preds, target), theirs(preds, target), rtol=1e-5, atol=0)
        torch.testing.assert_close(
            perplexity(preds, target, ignore_index), expected, rtol=1e-5, atol=0
        )
    torch.testing.assert_close(ours.compute(), theirs.compute(), rtol=1e-5, atol=0)
    for state in ("total_log_probs", "count"):
        shown, expected = getattr(ours, state), getattr(theirs, state)
        assert shown.shape == expected.shape
        torch.testing.assert_close(shown, expected, rtol=1e-5, atol=0, check_dtype=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ignore_index", IGNORED)
def test_values_are_exact_for_all_types(dtype, ignore_index):
    preds, target = batch(1, words=3001)
    if ignore_index is not None:
        target[1:3, 2:] = ignore_index
    preds, weight = preds.to(dtype), torch.tensor([0.5, 0.0, 2.0, 1.0])
    rtol = 1e-12 if dtype is torch.float64 else 3e-7
    for given in (None, weight):
        value = perplexity(preds, target, ignore_index, weight=given)
        assert value.dtype == (torch.float64 if dtype is torch.float64 else torch.float32)
        expected = exact(preds, target, ignore_index, given)
        torch.testing.assert_close(value, expected, rtol=rtol, atol=0, check_dtype=False)
        metric = Perplexity(ignore_index)
        metric.update(preds[:3], target[:3], weight=None if given is None else given[:3])
        metric.update(preds[3:], target[3:].int(), weight=None if given is None else given[3:])
        torch.testing.assert_close(metric.compute(), value.float(), rtol=3e-7, atol=0)


def test_large_vocabularies():
    preds, target = batch(2, texts=1, length=3, words=262_144)
    for dtype in DTYPES:
        expected = exact(preds.to(dtype), target).float()
        torch.testing.assert_close(perplexity(preds.to(dtype), target).float(), expected)


def test_any_layout():
    preds, target = batch(3)
    expected = exact(preds, target).float()
    transposed = preds.transpose(1, 2).contiguous().transpose(1, 2)
    spread = torch.stack([preds, preds], -1)[..., 0]
    for other in (transposed, spread, preds.transpose(0, 1).contiguous().transpose(0, 1)):
        assert not other.is_contiguous()
        torch.testing.assert_close(perplexity(other, target), expected, rtol=3e-7, atol=0)


def test_unlikely_words_are_not_impossible():
    """A probability that rounds to 0 makes torchmetrics' value infinite."""
    preds = torch.tensor([[[150.0, 0.0, 0.0]]])
    target = torch.tensor([[1]])
    assert peer.perplexity(preds, target).isinf()
    value = perplexity(preds.double(), target)
    torch.testing.assert_close(value, torch.tensor(150.0, dtype=torch.float64).exp())
    half = torch.tensor([[[20.0, 0.0, 0.0]]], dtype=torch.float16)
    assert peer.perplexity(half, target).isinf()
    torch.testing.assert_close(perplexity(half, target), torch.tensor(20.0).exp())


def test_infinite_logits():
    inf = float("inf")
    masked = torch.tensor([[[1.0, -inf, 1.0, -inf]]])
    assert perplexity(masked, torch.tensor([[0]])) == 2
    assert perplexity(masked, torch.tensor([[1]])).isinf()
    certain = torch.tensor([[[inf, 0.0, inf]]])
    assert perplexity(certain, torch.tensor([[2]])) == 2
    assert perplexity(torch.full((1, 1, 5), -inf), torch.tensor([[4]])) == 5


def test_nan_is_reported_and_shows():
    preds, target = batch(4)
    preds[1, 2, 3] = float("nan")
    metric = Perplexity()
    metric.update(preds, target)
    for value in (lambda: perplexity(preds, target), metric.compute):
        with pytest.warns(UserWarning, match="NaN"):
            assert value().isnan()
    target[1, 2] = -100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert perplexity(preds, target, -100).isfinite()


def test_without_positions_it_is_nan():
    preds, target = batch(5)
    assert perplexity(preds, torch.full_like(target, -100), -100).isnan()
    assert perplexity(preds[:0], target[:0]).isnan()
    assert perplexity(preds[:, :0], target[:, :0]).isnan()


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(weighted):
    preds, target = batch(6)
    target[0, 3:] = -100
    weight = torch.rand(4) if weighted else None
    expected = preds.double().requires_grad_()
    exact(expected, target, -100, weight).backward()
    for call in (perplexity, None):
        ours = preds.clone().requires_grad_()
        if call is None:
            Perplexity(-100)(ours, target, weight=weight).backward()
        else:
            call(ours, target, -100, weight=weight).backward()
        torch.testing.assert_close(ours.grad, expected.grad.float(), rtol=1e-4, atol=1e-6)
    if not weighted:
        theirs = preds.clone().requires_grad_()
        torchmetrics.text.Perplexity(-100)(theirs, target).backward()
        torch.testing.assert_close(theirs.grad, ours.grad, rtol=1e-4, atol=1e-6)
    double = preds[:2, :3, :5].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: perplexity(x, target[:2, :3] % 5), double)


REFUSED = [
    ({"preds": torch.zeros(2, 3)}, ValueError, r"\(B, T, V\) with `target` \(B, T\), got \(2, 3\)"),
    ({"preds": torch.zeros(2, 4, 5)}, ValueError, r"got \(2, 4, 5\) and \(2, 3\)"),
    ({"target": torch.zeros(2, 3, 1).long()}, ValueError, r"got \(2, 3, 5\) and \(2, 3, 1\)"),
    ({"preds": torch.zeros(2, 3, 5).long()}, TypeError, "`preds` must be floating point, got"),
    (
        {"target": torch.zeros(2, 3)},
        TypeError,
        "`target` must be integers, got dtype torch.float32",
    ),
    ({"preds": torch.zeros(2, 3, 0)}, ValueError, "at least one class"),
    ({"weight": torch.ones(3)}, ValueError, "`weight` must have one entry per sample"),
    ({"target": torch.tensor([[0, 1, 2], [3, 5, 0]])}, RuntimeError, "got 5 at flat index 4"),
    (
        {"target": torch.full((2, 3), -100)},
        RuntimeError,
        r"`target` must lie in \[0, 5\), got -100",
    ),
]


@pytest.mark.parametrize(("changes", "error", "words"), REFUSED)
@pytest.mark.parametrize("gradients", [False, True])
def test_a_refused_batch_leaves_no_trace(changes, error, words, gradients):
    good = {"preds": torch.rand(2, 3, 5), "target": torch.zeros(2, 3, dtype=torch.int64)}
    metric = Perplexity()
    metric.update(*good.values())
    before = metric.state_bytes()
    bad = good | changes
    if gradients and bad["preds"].is_floating_point():
        bad["preds"] = bad["preds"].clone().requires_grad_()
    for call in (metric.update, metric, perplexity):
        with pytest.raises(error, match=words):
            call(**bad)
    assert metric.state_bytes() == before
    # Those of shapes and types are errors of torchmetrics, too.
    if error is not RuntimeError and "weight" not in changes and bad["preds"].shape[-1]:
        with pytest.raises(error):
            peer.perplexity(bad["preds"], bad["target"])


def test_arguments():
    for bad in (1.5, "0"):
        for call in (Perplexity, lambda i: perplexity(*batch(0), i), torchmetrics.text.Perplexity):
            with pytest.raises(ValueError, match="ignore_index"):
                call(bad)
    metric = Perplexity(7)
    assert metric.ignore_index == 7
    assert metric.is_differentiable
    assert metric.higher_is_better is False


def test_it_shares_a_state_in_a_collection():
    preds, target = batch(7)
    made = {"a": Perplexity(), "b": Perplexity(), "c": Perplexity(0)}
    metrics = fastmetrics.MetricCollection(made)
    metrics.update(preds, target)
    assert sorted(map(sorted, metrics.compute_groups.values())) == [["a", "b"], ["c"]]
    values = metrics.compute()
    assert values["a"] == values["b"] == perplexity(preds, target)
    assert values["c"] == perplexity(preds, target, 0)


@pytest.mark.parametrize("path", [*itertools.product((False, True), repeat=2)], ids=str)
def test_an_update_is_one_graph(path):
    """With and without weights and ignored words, and no other graph for other sizes."""
    weighted, ignored = path
    metric = Perplexity(-100 if ignored else None)
    counter = CompileCounter()
    step = torch.compile(
        lambda *given, **more: metric.update(*given, **more), backend=counter, fullgraph=True
    )
    eager = Perplexity(-100 if ignored else None)
    for seed, texts in enumerate((3, 5, 6)):
        preds, target = batch(seed, texts=texts)
        if ignored:
            target[:, -2:] = -100
        more = {"weight": torch.rand(texts)} if weighted else {}
        step(preds, target, **more)
        eager.update(preds, target, **more)
    assert metric.compute() == eager.compute()
    assert counter.frame_count <= 2


def test_the_op_takes_the_class_axis_second():
    preds, target = batch(8)
    state, events = torch.zeros(2, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    ops.cross_entropy_sums_(state, events, preds.movedim(-1, 1), target)
    metric = Perplexity()
    metric.update(preds, target)
    assert torch.equal(CrossEntropySums().read(metric._states), state)


def test_states_of_a_checkpoint_of_torchmetrics():
    preds, target = batch(9)
    theirs, ours = torchmetrics.text.Perplexity(), Perplexity()
    theirs.persistent(True)
    theirs.update(preds, target)
    ours.load_state_dict(theirs.state_dict())
    theirs.update(preds, target.flip(0))
    ours.update(preds, target.flip(0))
    torch.testing.assert_close(ours.compute(), theirs.compute(), rtol=1e-5, atol=0)
    ours.persistent("torchmetrics")
    again = torchmetrics.text.Perplexity()
    again.persistent(True)
    again.load_state_dict(ours.state_dict())
    torch.testing.assert_close(
        again.compute(), ours.compute(), rtol=1e-5, atol=0, check_dtype=False
    )
