"""Group rates and fairness ratios against NumPy and torchmetrics."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.classification as peer
import torchmetrics.functional.classification as peer_functional
from torch import Tensor

from fastmetrics import classification, functional

G = 3
TASKS = ("demographic_parity", "equal_opportunity", "all")
Batch = tuple[Tensor, Tensor, Tensor]


def make(kind: str, shape: tuple[int, ...], seed: int, ignore_index: int | None = None) -> Batch:
    """One batch of scores or labels, targets and groups; every group occurs."""
    random = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 2, shape, generator=random)
    preds = torch.randint(0, 2, shape, generator=random)
    if kind != "labels":
        scores = torch.randint(0, 32, shape, generator=random).add(0.25).div(32)
        preds = scores if kind == "probs" else scores * 8 - 4
    if ignore_index is not None:
        target[torch.rand(shape, generator=random) < 0.2] = ignore_index
    groups = torch.randint(0, G, shape[:1], generator=random)
    groups[:G] = torch.arange(G)
    return preds, target, groups


def tables(batches: list[Batch], ignore_index: int | None = None) -> dict[int, np.ndarray]:
    """``[tp, fp, tn, fn]`` of each group that occurs, counted one element at a time."""
    counts: dict[int, np.ndarray] = {}
    scores = torch.cat([preds.flatten().double() for preds, _, _ in batches])
    cut = 0.0 if ((scores < 0) | (scores > 1)).any() else 0.5
    for preds, target, groups in batches:
        for sample, group in enumerate(groups.flatten().tolist()):
            for score, label in zip(
                preds[sample].flatten().tolist(), target[sample].flatten().tolist(), strict=True
            ):
                if label == ignore_index:
                    continue
                positive = score > cut
                column = (0 if positive else 3) if label else (1 if positive else 2)
                counts.setdefault(group, np.zeros(4))[column] += 1
    return counts


def ratios(counts: dict[int, np.ndarray], task: str) -> dict[str, float]:
    """The lowest over the highest rate among the groups that occur."""
    values = {}
    rates = {
        "DP": {g: (tp + fp) / (tp + fp + tn + fn) for g, (tp, fp, tn, fn) in counts.items()},
        "EO": {g: tp / (tp + fn) for g, (tp, fp, tn, fn) in counts.items() if tp + fn},
    }
    for name, of in rates.items():
        if task == "all" or (task == "demographic_parity") == (name == "DP"):
            low, high = (pick(sorted(of), key=of.__getitem__) for pick in (min, max))
            values[f"{name}_{low}_{high}"] = of[low] / of[high] if of[high] else 0.0
    return values


def expect(actual: dict[str, Tensor], expected: dict[str, Any]) -> None:
    assert list(actual) == list(expected)
    for key, value in expected.items():
        assert actual[key].dtype == torch.float32
        torch.testing.assert_close(
            actual[key], torch.as_tensor(value).float(), rtol=1e-6, atol=0, equal_nan=True
        )


def quiet(call: Any, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **kwargs)


every_kind = pytest.mark.parametrize("kind", ["probs", "logits", "labels"])
every_ignore = pytest.mark.parametrize("ignore_index", [None, 0, -1])


@every_kind
@every_ignore
@pytest.mark.parametrize("shape", [(40,), (15, 4), (6, 2, 3)], ids=str)
def test_rates(kind, ignore_index, shape):
    arguments = {"ignore_index": ignore_index}
    ours = classification.BinaryGroupStatRates(G, **arguments)
    theirs = peer.BinaryGroupStatRates(G, **arguments)
    batches = [make(kind, shape, seed, ignore_index) for seed in range(3)]
    for batch in batches:
        value = ours(*batch)
        expect(value, theirs(*batch))
        expect(functional.classification.binary_groups_stat_rates(*batch, G, **arguments), value)
        expect(value, peer_functional.binary_groups_stat_rates(*batch, G, **arguments))
    expect(ours.compute(), theirs.compute())
    counts = tables(batches, ignore_index)
    expect(ours.compute(), {f"group_{g}": counts[g] / counts[g].sum() for g in range(G)})
    for name in ("tp", "fp", "tn", "fn"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))


@every_kind
@pytest.mark.parametrize("shape", [(40,), (15, 4)], ids=str)
@pytest.mark.parametrize(
    ("task", "ignore_index"),
    # Demographic parity replaces the targets by 0.
    [pair for pair in itertools.product(TASKS, (None, 0, -1)) if pair != (TASKS[0], 0)],
)
def test_fairness(kind, ignore_index, shape, task):
    arguments = {"task": task, "ignore_index": ignore_index}
    ours = classification.BinaryFairness(G, **arguments)
    theirs = peer.BinaryFairness(G, **arguments)
    batches = [make(kind, shape, seed, ignore_index) for seed in range(3)]
    if task == "demographic_parity":
        batches = [(preds, torch.zeros_like(target), groups) for preds, target, groups in batches]
    for preds, target, groups in batches:
        given = (preds, None if task == "demographic_parity" else target, groups)
        value = ours(*given)
        expect(value, quiet(theirs, *given))
        expect(functional.classification.binary_fairness(*given, **arguments), value)
        expect(value, quiet(peer_functional.binary_fairness, *given, **arguments))
    expect(ours.compute(), quiet(theirs.compute))
    expect(ours.compute(), ratios(tables(batches, ignore_index), task))


@every_kind
def test_single_comparisons(kind):
    preds, target, groups = make(kind, (30, 2), 0)
    for groups_ in (groups, groups.unsqueeze(1), groups.int(), groups.to(torch.uint8)):
        expect(
            functional.classification.demographic_parity(preds, groups_),
            peer_functional.demographic_parity(preds, groups),
        )
        expect(
            functional.classification.equal_opportunity(preds, target, groups_),
            peer_functional.equal_opportunity(preds, target, groups),
        )


@pytest.mark.parametrize("named", [(0, 2), (5, 7), (1, 2)], ids=str)
def test_absent_groups_take_no_part(named):
    """Ratios name the groups as the caller does, and an absent group is not the worst one."""
    preds, target, groups = make("probs", (30,), 0)
    groups = torch.tensor(named)[groups.clamp(max=1)]
    expected = ratios(tables([(preds, target, groups)]), "all")
    expect(functional.classification.binary_fairness(preds, target, groups), expected)
    metric = classification.BinaryFairness(10)
    metric.update(preds, target, groups)
    expect(metric.compute(), expected)
    rates = classification.BinaryGroupStatRates(10)(preds, target, groups)
    for group in range(10):
        assert rates[f"group_{group}"].isnan().all() == (group not in named)


def test_a_group_without_positives_has_no_true_positive_rate():
    preds, target = torch.tensor([0.9, 0.2, 0.7, 0.1, 0.3]), torch.tensor([1, 0, 0, 0, 1])
    groups = torch.tensor([0, 0, 1, 1, 0])
    metric = classification.BinaryFairness(2, task="equal_opportunity")
    expect(metric(preds, target, groups), {"EO_0_0": 1.0})
    expect(functional.classification.equal_opportunity(preds, target, groups), {"EO_0_0": 1.0})


@pytest.mark.parametrize("shape", [(1, 2), (30, 2), (9, 1), (5, 2, 3)])
def test_groups_of_elements(shape):
    """Each element of several may have a group; the sample's weight is that of all of them."""
    preds, target = torch.rand(shape), torch.randint(2, shape)
    groups, weight = torch.randint(G, shape), torch.rand(shape[0])
    each = weight.repeat_interleave(preds.numel() // shape[0])
    flat = (preds.flatten(), target.flatten(), groups.flatten())
    rates = functional.classification.binary_groups_stat_rates
    expect(rates(preds, target, groups, G), rates(*flat, G))
    expect(rates(preds, target, groups, G, weight=weight), rates(*flat, G, weight=each))
    fair = functional.classification.binary_fairness
    expect(fair(preds, target, groups), fair(*flat))
    for metric in (classification.BinaryGroupStatRates(G), classification.BinaryFairness(G)):
        value = metric(preds, target, groups, weight)
        expect(value, type(metric)(G)(*flat, each))
    with pytest.raises(ValueError, match="`groups` must have one entry per sample"):
        rates(preds, target, torch.zeros((*shape, 2), dtype=torch.long), G)


def test_undefined_ratios_are_zero():
    preds, groups = torch.zeros(4, dtype=torch.long), torch.tensor([0, 0, 1, 1])
    expected = {"DP_0_0": 0.0, "EO_0_0": 0.0}
    expect(functional.classification.binary_fairness(preds, preds, groups), expected)
    expect(quiet(peer_functional.binary_fairness, preds, preds, groups), expected)
    ignored = functional.classification.demographic_parity(preds, groups, ignore_index=0)
    expect(ignored, {"DP_0_0": 0.0})
    empty = torch.zeros(0, dtype=torch.long)
    metric = classification.BinaryFairness(2)
    expect(metric(empty, empty, empty), expected)
    expect(functional.classification.binary_fairness(empty, empty, empty), expected)
    rates = classification.BinaryGroupStatRates(2)(empty, empty, empty)
    assert all(rate.isnan().all() and rate.shape == (4,) for rate in rates.values())


def test_demographic_parity_needs_no_target():
    preds, target, groups = make("probs", (20,), 0)
    metric = classification.BinaryFairness(G, task="demographic_parity")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.update(preds, None, groups)
    with pytest.warns(UserWarning, match="target"):
        metric.update(preds, target, groups)
    with pytest.warns(UserWarning, match="target"):
        functional.classification.binary_fairness(preds, target, groups, task="demographic_parity")
    for task in ("equal_opportunity", "all"):
        with pytest.raises(ValueError, match="target"):
            classification.BinaryFairness(G, task=task).update(preds, None, groups)


def test_weights_and_batches():
    preds, target, groups = make("logits", (30,), 0)
    preds[:10] = preds[:10].abs() / 4
    weight = torch.arange(30) % 3
    again = torch.repeat_interleave(torch.arange(30), weight)
    repeated = (preds[again], target[again], groups[again])
    for metric in (classification.BinaryFairness(G), classification.BinaryGroupStatRates(G)):
        for part in (slice(0, 10), slice(10, 30)):
            metric.update(preds[part], target[part], groups[part], weight=weight[part])
        once = type(metric)(G)
        expect(metric.compute(), once(*repeated))
    weighed = functional.classification.binary_fairness(preds, target, groups, weight=weight)
    expect(weighed, functional.classification.binary_fairness(*repeated))


def test_named_input():
    preds, target, groups = make("probs", (30,), 0)
    for name, cut in (("probs", 0.5), ("logits", 0.0)):
        expected = classification.BinaryGroupStatRates(G)((preds > cut).long(), target, groups)
        metric = classification.BinaryGroupStatRates(G, input=name)
        expect(metric(preds, target, groups), expected)


@pytest.mark.parametrize("scale", [2**24, 2**31, 2**40])
def test_large_counts(scale):
    metric = classification.BinaryFairness(2)
    metric.update(*make("labels", (8,), 0)[:2], torch.arange(8) % 2)
    # Tables [[tn, fp], [fn, tp]].
    metric.counts.copy_(
        torch.tensor([[[scale, scale], [scale, scale]], [[scale - 2, 1], [scale, 1]]])
    )
    metric._computed = None
    values = metric.compute()
    assert list(values) == ["DP_1_0", "EO_1_0"]
    assert values["DP_1_0"].item() == pytest.approx(2 / scale, rel=1e-6)
    assert values["EO_1_0"].item() == pytest.approx(2 / (scale + 1), rel=1e-6)


def bad_calls() -> dict[str, tuple[type[Exception], str, tuple[Any, ...]]]:
    preds, target, groups = make("probs", (6,), 0)
    wrong = target.clone()
    wrong[3] = 2
    return {
        "shape": (ValueError, "shape", (preds, target[:5], groups)),
        "float target": (ValueError, "target", (preds, target + 0.5, groups)),
        "target": (RuntimeError, "target", (preds, wrong, groups)),
        "preds": (RuntimeError, "preds", (wrong, target, groups)),
        "group shape": (ValueError, "groups", (preds, target, groups[:5])),
        "float groups": (ValueError, "groups", (preds, target, groups.float())),
        "group too large": (RuntimeError, "groups", (preds, target, groups + 1)),
        "group negative": (RuntimeError, "groups", (preds, target, groups - 1)),
        "weight": (ValueError, "weight", (preds, target, groups, torch.ones(5))),
    }


@pytest.mark.parametrize("problem", bad_calls())
@pytest.mark.parametrize("cls", ["BinaryFairness", "BinaryGroupStatRates"])
def test_bad_input_leaves_the_state_alone(cls, problem):
    error, word, call = bad_calls()[problem]
    metric = getattr(classification, cls)(G)
    metric.update(*make("logits", (9,), 1))
    counts, events = metric.counts.clone(), metric.events.clone()
    for act in (metric.update, metric.forward):
        with pytest.raises(error, match=word):
            act(*call)
    assert metric.counts.dtype == torch.int64
    assert torch.equal(metric.counts, counts)
    assert torch.equal(metric.events, events)
    if cls == "BinaryGroupStatRates" and len(call) == 3:
        with pytest.raises(error, match=word):
            functional.classification.binary_groups_stat_rates(*call, G)
    elif len(call) == 3 and error is ValueError:
        with pytest.raises(error, match=word):
            functional.classification.binary_fairness(*call)


def test_bad_arguments():
    batch = make("probs", (6,), 0)
    fairness = functional.classification.binary_fairness
    rates = functional.classification.binary_groups_stat_rates
    for cls in (classification.BinaryFairness, classification.BinaryGroupStatRates):
        for groups in (1, 0, 2.0, None):
            with pytest.raises(ValueError, match="num_groups"):
                cls(groups)
        for name, value in (("threshold", 2.0), ("ignore_index", "x"), ("input", "sigmoid")):
            with pytest.raises(ValueError, match=name):
                cls(2, **{name: value})
            with pytest.raises(ValueError, match=name):
                fairness(*batch, **{name: value})
            with pytest.raises(ValueError, match=name):
                rates(*batch, G, **{name: value})
    with pytest.raises(ValueError, match="task"):
        classification.BinaryFairness(2, task="parity")
    with pytest.raises(ValueError, match="task"):
        fairness(*batch, task="parity")
    with pytest.raises(ValueError, match="num_groups"):
        rates(*batch, 1)


def test_nan_scores_are_reported():
    preds, target, groups = make("probs", (12,), 0)
    preds[4] = math.nan
    metric = classification.BinaryGroupStatRates(G)
    metric.update(preds, target, groups)
    with pytest.warns(UserWarning, match="NaN"):
        value = metric.compute()
    expect(value, classification.BinaryGroupStatRates(G)((preds > 0.5).long(), target, groups))


def test_only_equal_statistics_are_shared():
    fairness, rates = classification.BinaryFairness, classification.BinaryGroupStatRates
    assert fairness(G).statistic == fairness(G, task="equal_opportunity").statistic
    keys = [
        metric.statistic
        for metric in (
            fairness(G),
            fairness(G, task="demographic_parity"),
            fairness(2),
            rates(G, threshold=0.3),
            rates(G, ignore_index=0),
            classification.MultilabelConfusionMatrix(G),
        )
    ]
    assert all(a != b for a, b in itertools.combinations(keys, 2))


def test_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    metric = classification.BinaryFairness(G)
    metric.update(*make("probs", (20,), 0))
    _, ax = metric.plot()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(metric.compute())
    pyplot.close("all")
