"""Gradient statistics and top samples as metrics."""

from __future__ import annotations

import copy
import math
import pickle
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

import fastmetrics
from fastmetrics import GradientStats, MetricCollection, TopSamples

KEYS = ["min", "mean", "max", "norm", "nan", "inf"]


def model_with_gradients(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3), nn.LayerNorm(3))
    model(torch.randn(4, 5)).square().sum().backward()
    return model


def expected(*updates: dict[str, Tensor | None]) -> dict[str, list[float]]:
    """Plain torch over one dictionary of tensors per update."""
    found: dict[str, list[float]] = {key: [] for key in KEYS}
    for name in updates[0]:
        tensors = [u[name].double() for u in updates if u.get(name) is not None]
        whole = torch.cat([x.flatten() for x in tensors]) if tensors else torch.empty(0).double()
        finite = whole[whole.isfinite()]
        norms = [x[x.isfinite()].norm() for x in tensors if x.numel()]
        some = len(finite) > 0
        found["min"].append(float(finite.min()) if some else math.nan)
        found["mean"].append(float(finite.mean()) if some else math.nan)
        found["max"].append(float(finite.max()) if some else math.nan)
        squares = torch.stack(norms).square().mean() if norms else torch.tensor(0.0)
        found["norm"].append(float(squares.sqrt()) if some else math.nan)
        found["nan"].append(int(whole.isnan().sum()))
        found["inf"].append(int(whole.isinf().sum()))
    return found


def assert_values(value: dict[str, Tensor], *updates: dict[str, Tensor | None]) -> None:
    wanted = expected(*updates)
    assert list(value) == KEYS
    for key in KEYS:
        assert value[key].dtype == (torch.int64 if key in ("nan", "inf") else torch.float32)
        assert value[key].shape == (len(updates[0]),)
        torch.testing.assert_close(
            value[key].double(),
            torch.tensor(wanted[key], dtype=torch.float64),
            rtol=1e-6,
            atol=1e-7,
            equal_nan=True,
        )


def gradients(model: nn.Module) -> dict[str, Tensor | None]:
    return {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.smoke
def test_gradients_of_a_model():
    metric, history = GradientStats(), []
    for seed in range(3):
        model = model_with_gradients(seed)
        metric.update(model)
        history.append(gradients(model))
        assert_values(metric.compute(), *history)
    assert metric.names == tuple(name for name, _ in model.named_parameters())
    assert torch.equal(metric.compute()["nan"], torch.zeros(6, dtype=torch.int64))


@pytest.mark.smoke
def test_norm_is_that_of_the_gradient():
    model = model_with_gradients()
    metric = GradientStats()
    metric.update(model)
    norms = torch.stack([weight.grad.norm() for weight in model.parameters()])
    torch.testing.assert_close(metric.compute()["norm"], norms)
    total = nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    torch.testing.assert_close(metric.compute()["norm"].norm(), total)
    metric.update(model)
    torch.testing.assert_close(metric.compute()["norm"], norms)


@pytest.mark.smoke
def test_bad_values_do_not_hide_the_rest():
    bad = {"a": torch.tensor([math.nan, 3.0, -4.0]), "b": torch.tensor([math.inf, math.nan])}
    good = {"a": torch.tensor([1.0, 2.0, 0.0]), "b": torch.tensor([-1.0, math.inf])}
    metric = GradientStats()
    for updates in ((bad,), (bad, good)):
        metric.update(updates[-1])
        assert_values(metric.compute(), *updates)


@pytest.mark.smoke
def test_absent_layers():
    """Frozen ones, None, missing, empty: as if they had not been updated."""
    model = model_with_gradients()
    model[0].bias.grad = None
    metric = GradientStats()
    metric.update(model)
    assert_values(metric.compute(), gradients(model))
    assert metric.compute()["norm"][1].isnan()
    later = model_with_gradients(1)
    metric.update(later)
    assert_values(metric.compute(), gradients(model), gradients(later))
    metric.update({"0.bias": None, "2.bias": torch.empty(0)})
    metric.update({})
    assert_values(metric.compute(), gradients(model), gradients(later))
    nothing = GradientStats()
    nothing.update({})
    assert nothing.names == ()


@pytest.mark.smoke
def test_chosen_layers():
    model = model_with_gradients()
    metric = GradientStats(["2.weight", "0.weight"])
    metric.update(model)
    chosen = {name: gradients(model)[name] for name in ("2.weight", "0.weight")}
    assert_values(metric.compute(), chosen)
    metric.update({"0.weight": torch.ones(2), "something": torch.ones(3)})
    assert_values(metric.compute(), chosen, {"0.weight": torch.ones(2)})
    with pytest.raises(ValueError, match="no parameters nowhere"):
        GradientStats(["0.weight", "nowhere"]).update(model)
    assert GradientStats([]).names == ()


@pytest.mark.smoke
@pytest.mark.parametrize("names", ["weight", ["a", "b", "a"]])
def test_bad_names(names):
    with pytest.raises(ValueError, match="`names` must be different names"):
        GradientStats(names)


@pytest.mark.smoke
def test_errors_leave_the_metric_as_it_was():
    metric = GradientStats()
    with pytest.raises(ValueError, match=r"got dtype torch\.int64 at place 0"):
        metric.update({"a": torch.ones(2, dtype=torch.int64)})
    assert metric.names == () and not metric.update_called
    metric.update({"b": torch.ones(2)})
    before = metric.stats.clone()
    with pytest.raises(ValueError, match="c were not there at the first update"):
        metric.update({"b": torch.ones(2), "c": torch.ones(2)})
    with pytest.raises(ValueError, match="complex64"):
        metric({"b": torch.ones(2).cfloat()})
    assert torch.equal(metric.stats, before)
    assert metric.update_count == 1


@pytest.mark.smoke
def test_forward_reset_and_one_layer():
    metric = GradientStats()
    first, second = {"a": torch.tensor([3.0, 4.0])}, {"a": torch.tensor([-1.0, math.nan])}
    assert_values(metric(first), first)
    assert_values(metric(second), second)
    assert_values(metric.compute(), first, second)
    address = metric.stats.data_ptr()
    metric.reset()
    assert not metric.stats.any() and metric.stats.data_ptr() == address
    assert metric.names == ("a",)
    assert_values(metric(second), second)
    assert_values(metric.compute(), second)


def test_first_forward_fixes_the_layers():
    model = model_with_gradients()
    metric = GradientStats()
    for _ in range(2):
        assert_values(metric(model), gradients(model))
    assert_values(metric.compute(), gradients(model))
    on_step = GradientStats(dist_sync_on_step=True)
    for _ in range(2):
        assert_values(on_step(model), gradients(model))
    assert_values(on_step.compute(), gradients(model), gradients(model))


@pytest.mark.smoke
def test_copies_and_pickles():
    model = model_with_gradients()
    metric = GradientStats()
    metric.update(model)
    for twin in (metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert twin.names == metric.names
        assert torch.equal(twin.stats, metric.stats)
        twin.update(model)
        assert not torch.equal(twin.stats, metric.stats)
    metric.persistent(True)
    fresh = GradientStats(metric.names)
    fresh.load_state_dict(metric.state_dict(), strict=False)
    assert torch.equal(fresh.stats, metric.stats)


@pytest.mark.smoke
def test_merging():
    batches = [gradients(model_with_gradients(seed)) for seed in range(3)]
    parts = [GradientStats() for _ in range(3)]
    for metric, batch in zip(parts, batches, strict=True):
        metric.update(batch)
    whole = GradientStats()
    for metric in parts:
        whole.merge_state(metric)
    assert whole.names == parts[0].names
    assert_values(whole.compute(), *batches)
    whole.merge_state(GradientStats())
    assert_values(whole.compute(), *batches)
    other = GradientStats()
    other.update({"x": torch.ones(3)})
    with pytest.raises(ValueError, match="the layers must be the same"):
        whole.merge_state(other)


def test_sixteen_bits_and_float64_values():
    torch.manual_seed(0)
    tensors = {
        "a": torch.randn(50).half(),
        "b": torch.randn(4, 6).bfloat16().T,
        "c": torch.randn(3).double(),
    }
    metric = GradientStats()
    metric.update(tensors)
    assert_values(metric.compute(), tensors)
    metric.set_dtype(torch.float64)
    metric.reset()
    metric.update({"c": torch.tensor([1 / 3], dtype=torch.float64)})
    assert metric.stats.dtype == torch.float64
    assert metric.compute()["mean"][2].item() == 1 / 3


def test_activations_keep_no_graph():
    value = torch.randn(4, requires_grad=True) * 2
    metric = GradientStats()
    metric({"relu": value})
    assert not metric.stats.requires_grad


@pytest.mark.smoke
def test_table():
    metric = GradientStats()
    metric.update({"first.weight": torch.tensor([1.0, -2.5]), "b": torch.tensor([math.nan])})
    lines = metric.table().splitlines()
    assert [line.split() for line in lines] == [
        ["layer", *KEYS],
        ["first.weight", "-2.5", "-0.75", "1", "2.693", "0", "0"],
        ["b", "nan", "nan", "nan", "nan", "1", "0"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_one_graph_for_all_steps():
    counter = CompileCounterWithBackend("aot_eager")
    metric, history = GradientStats(["a", "b"]), []

    @torch.compile(backend=counter, fullgraph=True)
    def step(a, b):
        metric.update({"a": a * 2, "b": b})

    for _ in range(4):
        a, b = torch.randn(5), torch.randn(2, 3)
        step(a, b)
        history.append({"a": a * 2, "b": b})
    assert counter.frame_count == 1
    assert_values(metric.compute(), *history)


def test_one_graph_for_the_gradients_of_a_model():
    counter = CompileCounterWithBackend("aot_eager")
    model = model_with_gradients()
    metric = GradientStats([name for name, _ in model.named_parameters()])

    @torch.compile(backend=counter, fullgraph=True)
    def step():
        metric.update(model)

    for _ in range(3):
        step()
    assert counter.frame_count == 1
    assert_values(metric.compute(), *[gradients(model)] * 3)


@pytest.mark.smoke
def test_inside_and_outside_of_inference_mode():
    one, metric, tops = {"a": torch.tensor([3.0, 4.0])}, GradientStats(), TopSamples(2)
    for mode in (True, False):
        with torch.inference_mode(mode):
            for call in (metric.update, metric):
                call(one)
            for call in (tops.update, tops):
                call(torch.tensor([2.0]))
    assert metric.stats[0].tolist() == [4, 8, 28, 100, 3, 4, 0, 0]
    assert tops.compute()["best_ids"].tolist() == [0, 1]


def top(*pairs: tuple[float, int]) -> tuple[list[float], list[int]]:
    return [score for score, _ in pairs], [i for _, i in pairs]


def assert_top(value: dict[str, Tensor], best, worst) -> None:
    assert list(value) == ["best_scores", "best_ids", "worst_scores", "worst_ids"]
    for side, (scores, ids) in (("best", best), ("worst", worst)):
        assert value[f"{side}_ids"].dtype == torch.int64
        assert value[f"{side}_ids"].tolist() == ids
        assert value[f"{side}_scores"].dtype == torch.float32
        assert value[f"{side}_scores"].tolist() == torch.tensor(scores).tolist()


@pytest.mark.smoke
def test_top_samples():
    metric = TopSamples(2)
    metric.update(torch.tensor([0.25, 1.0, 0.5]))
    metric.update(torch.tensor([1.0, 0.25, 0.0]))
    assert_top(metric.compute(), top((1.0, 1), (1.0, 3)), top((0.0, 5), (0.25, 0)))
    metric.update(torch.tensor([9.0]), torch.tensor([-7]))
    metric.update(torch.tensor([-9.0]))
    assert_top(metric.compute(), top((9.0, -7), (1.0, 1)), top((-9.0, 7), (0.0, 5)))


@pytest.mark.smoke
def test_fewer_samples_than_asked_for():
    metric = TopSamples(3)
    metric.update(torch.tensor([2.0]))
    assert_top(metric.compute(), top((2.0, 0)), top((2.0, 0)))
    metric.update(torch.tensor([1.0]))
    assert_top(metric.compute(), top((2.0, 0), (1.0, 1)), top((1.0, 1), (2.0, 0)))
    empty = TopSamples(3)
    empty.update(torch.zeros(0))
    assert_top(empty.compute(), top(), top())


@pytest.mark.smoke
def test_top_one_is_a_vector():
    metric = TopSamples(1)
    assert metric(torch.tensor([1.0, 2.0]))["best_ids"].tolist() == [1]
    assert metric.compute()["worst_scores"].shape == (1,)


@pytest.mark.smoke
def test_nan_scores_are_counted():
    metric = TopSamples(2)
    metric.update(torch.tensor([math.nan, 1.0, math.nan]))
    with pytest.warns(UserWarning, match="2 samples had NaN scores; they were left out"):
        assert_top(metric.compute(), top((1.0, 1)), top((1.0, 1)))
    metric.reset()
    metric.update(torch.tensor([1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_top(metric.compute(), top((1.0, 0)), top((1.0, 0)))


@pytest.mark.smoke
@pytest.mark.parametrize("on_step", [False, True])
def test_forward_numbers_the_stream(on_step):
    metric = TopSamples(2, dist_sync_on_step=on_step)
    assert_top(metric(torch.tensor([3.0, 1.0])), top((3.0, 0), (1.0, 1)), top((1.0, 1), (3.0, 0)))
    assert_top(metric(torch.tensor([2.0])), top((2.0, 2)), top((2.0, 2)))
    metric.update(torch.tensor([5.0]))
    assert_top(metric.compute(), top((5.0, 3), (3.0, 0)), top((1.0, 1), (2.0, 2)))


@pytest.mark.smoke
def test_top_samples_of_any_split():
    torch.manual_seed(0)
    scores, ids = torch.randint(0, 30, (200,)) / 4, torch.randperm(200)
    whole = TopSamples(15)
    whole.update(scores, ids)
    for sizes in ((100, 100), (1, 199), (7,) * 28 + (4,)):
        metric, parts = TopSamples(15), []
        for batch in zip(scores.split(sizes), ids.split(sizes), strict=True):
            metric(*batch)
            parts.append(TopSamples(15))
            parts[-1].update(*batch)
        assert torch.equal(metric.top, whole.top)
        merged = TopSamples(15)
        for part in reversed(parts):
            merged.merge_state(part)
        assert torch.equal(merged.top, whole.top)


@pytest.mark.smoke
def test_copies_of_top_samples():
    metric = TopSamples(2)
    metric.update(torch.tensor([1.0, 2.0]))
    for twin in (metric.clone(), pickle.loads(pickle.dumps(metric))):
        twin.update(torch.tensor([3.0]))
        assert_top(twin.compute(), top((3.0, 2), (2.0, 1)), top((1.0, 0), (2.0, 1)))
    assert metric.compute()["best_ids"].tolist() == [1, 0]


@pytest.mark.smoke
def test_float64_scores_on_request():
    metric = TopSamples(1).set_dtype(torch.float64)
    metric.update(torch.tensor([1 / 3], dtype=torch.float64))
    assert metric.compute()["best_scores"].tolist() == [1 / 3]


@pytest.mark.smoke
@pytest.mark.parametrize("k", [0, -1, 2.0, True, None])
def test_bad_k(k):
    with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
        TopSamples(k)


@pytest.mark.smoke
def test_errors_leave_top_samples_as_they_were():
    metric = TopSamples(2)
    metric.update(torch.tensor([1.0]))
    for scores, ids in ((torch.ones(2, 2), None), (torch.ones(2), torch.ones(2))):
        for call in (metric.update, metric):
            with pytest.raises(ValueError, match="top_samples_: `"):
                call(scores, ids)
    metric.update(torch.tensor([0.5]))
    assert_top(metric.compute(), top((1.0, 0), (0.5, 1)), top((0.5, 1), (1.0, 0)))


def test_one_graph_for_top_samples():
    counter = CompileCounterWithBackend("aot_eager")
    metric, twin = TopSamples(3), TopSamples(3)

    @torch.compile(backend=counter, fullgraph=True)
    def step(scores):
        metric.update(scores * 2)

    for _ in range(4):
        scores = torch.randn(6)
        step(scores)
        twin.update(scores * 2)
    assert counter.frame_count == 1
    assert torch.equal(metric.top, twin.top)


@pytest.mark.smoke
def test_results_do_not_share_memory_with_the_state():
    for dtype in (torch.float32, torch.float64):
        metric = TopSamples(2).set_dtype(dtype)
        metric.update(torch.tensor([1.0, 2.0]))
        for value in metric.compute().values():
            value.zero_()
        metric.update(torch.tensor([0.5]))
        assert metric.compute()["best_scores"].tolist() == [2, 1]
        assert metric.compute()["worst_ids"].tolist() == [2, 0]


@pytest.mark.smoke
def test_in_a_collection():
    metrics = MetricCollection([TopSamples(1), fastmetrics.MaxMetric()])
    metrics.update(torch.tensor([1.0, 4.0]))
    value = metrics.compute()
    assert value["best_ids"].tolist() == [1]
    assert value["MaxMetric"] == 4
