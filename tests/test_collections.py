"""Collections, held against torchmetrics; states are shared by declaration only."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Hashable
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor, nn

import fastmetrics
from fastmetrics.collections import MetricCollection
from fastmetrics.core.statistic import counts_only
from fastmetrics.metric import Metric
from fastmetrics.utilities.exceptions import TorchMetricsUserError
from tests.user_metrics import OURS, THEIRS


class Above(Metric):
    """Counts the scores above a threshold; the statistic is declared."""

    fused_update = True
    full_state_update = False
    updates = 0

    def __init__(self, threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def statistic(self) -> Hashable:
        return ("above", self.threshold)

    @counts_only
    def update(self, x: Tensor, weight: float | None = None) -> None:
        if x.isnan().any():
            raise RuntimeError("`x` must not be NaN")
        Above.updates += 1
        counts = self.counts if weight is None else self.counts.double()
        counts += (weight or 1) * torch.tensor([int((x > self.threshold).sum()), x.numel()])
        object.__setattr__(self, "counts", counts)

    def compute(self) -> Tensor:
        return self.counts[0]


class Share(Above):
    def compute(self) -> Tensor:
        return self.counts[0] / self.counts[1]


class Total(Above):
    def compute(self) -> Tensor:
        return self.counts[1]


class Doubling(Above):
    """Another `update` under the statistic of its base."""

    def update(self, x: Tensor, weight: float | None = None) -> None:
        super().update(2 * x, weight)


class Listed(OURS.Samples):
    @property
    def statistic(self) -> Hashable:
        return "samples"

    @counts_only
    def update(self, x: Tensor) -> None:
        super().update(x)


class Largest(Listed):
    def compute(self) -> Tensor:
        return super().compute().max()


class Statistics(OURS.Extremes):
    """Its value is a dict."""


class OtherStatistics(OURS.Extremes):
    pass


class TheirStatistics(THEIRS.Extremes):
    pass


class TheirOtherStatistics(THEIRS.Extremes):
    pass


DATA = [torch.tensor([0.1, 0.6, 0.9]), torch.tensor([0.4]), torch.tensor([0.7, 0.8])]


def assert_same(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def standard(collection: Any, namespace: Any, **kwargs: Any) -> Any:
    return collection([namespace.Ratio(), namespace.Extremes(), namespace.Samples()], **kwargs)


def shared(**kwargs: Any) -> MetricCollection:
    return MetricCollection([Above(), Share(), Total()], **kwargs)


def alone(data: list[Tensor]) -> dict[str, Tensor]:
    """Return what the metrics of ``shared`` are worth on their own."""
    metrics = [Above(), Share(), Total()]
    for metric in metrics:
        for x in data:
            metric.update(x)
    return {type(metric).__name__: metric.compute() for metric in metrics}


@pytest.mark.parametrize("affixes", [{}, {"prefix": "p/"}, {"prefix": "p/", "postfix": "_q"}])
def test_parity(affixes: dict[str, str]) -> None:
    ours = standard(MetricCollection, OURS, **affixes)
    theirs = standard(torchmetrics.MetricCollection, THEIRS, **affixes)
    for x in DATA:
        assert_same(ours(x), theirs(x))
        ours.update(x)
        theirs.update(x)
        assert_same(ours.compute(), theirs.compute())
    assert list(ours.compute()) == list(theirs.compute())
    assert ours.metric_state.keys() == theirs.metric_state.keys()
    for base in (False, True):
        assert list(ours.keys(keep_base=base)) == list(theirs.keys(keep_base=base))
        assert [k for k, _ in ours.items(base)] == [k for k, _ in theirs.items(base)]
    assert list(ours) == list(theirs)
    assert len(ours) == len(theirs) == 3
    assert ("Ratio" in ours) is ("Ratio" in theirs)
    for key in theirs:
        assert type(ours[key]).__name__ == type(theirs[key]).__name__
    assert ours["Ratio"] is ours._modules["Ratio"]
    assert repr(ours) == repr(theirs)
    ours.reset()
    assert not any(m.update_called for m in ours.values())


def make_inputs(c: Any, n: Any) -> dict[str, Callable[[], Any]]:
    """Return ways to build a collection of class ``c`` from the metrics of namespace ``n``."""
    return {
        "single": lambda: c(n.Ratio()),
        "arguments": lambda: c(n.Ratio(), n.Samples(), prefix="a_"),
        "tuple": lambda: c((n.Ratio(), n.Samples())),
        "list and arguments": lambda: c([n.Ratio()], n.Samples()),
        "dict": lambda: c({"z": n.Ratio(), "a": n.Samples()}, postfix="_b"),
        "collection": lambda: c(c([n.Ratio()], prefix="in_"), postfix="_out"),
        "nested list": lambda: c(
            [c([n.Ratio(), n.Extremes()], prefix="x_"), c([n.Ratio()], postfix="_y"), n.Samples()],
            prefix="p_",
        ),
        "nested dict": lambda: c({"one": c([n.Ratio()], prefix="x_"), "two": n.Samples()}),
        "added": lambda: added(c([n.Ratio()]), n.Samples(), n.Growing()),
        "added dict": lambda: added(c([n.Ratio()]), {"more": n.Ratio()}),
    }


def added(collection: Any, *metrics: Any) -> Any:
    collection.add_metrics(*metrics)
    return collection


@pytest.mark.parametrize("kind", make_inputs(None, None))
def test_inputs(kind: str) -> None:
    ours = make_inputs(MetricCollection, OURS)[kind]()
    theirs = make_inputs(torchmetrics.MetricCollection, THEIRS)[kind]()
    for x in DATA[:2]:
        mine, other = ours(x), theirs(x)
        assert_same(mine, other)
        assert list(mine) == list(other)
    assert list(ours.keys()) == list(theirs.keys())


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_values_that_are_dicts(count: int, nested: bool) -> None:
    results = []
    for collection, classes in (
        (MetricCollection, (Statistics, OtherStatistics)),
        (torchmetrics.MetricCollection, (TheirStatistics, TheirOtherStatistics)),
    ):
        metrics = {f"m{i}": cls() for i, cls in enumerate(classes[:count])}
        inner = collection(metrics, prefix="in_", postfix="_in") if nested else metrics
        outer = collection([inner], prefix="out_") if nested else collection(inner, prefix="out_")
        results.append(outer(DATA[0]))
    assert_same(*results)


def test_input_errors() -> None:
    with pytest.raises(ValueError, match="'Ratio'"):
        MetricCollection([OURS.Ratio(), OURS.Ratio()])
    with pytest.raises(ValueError, match="must hold metrics"):
        MetricCollection([OURS.Ratio(), 3])
    with pytest.raises(ValueError, match=r"metrics\['a'\]"):
        MetricCollection({"a": 3})
    with pytest.raises(ValueError, match="`metrics` must be"):
        MetricCollection(3)
    with pytest.raises(ValueError, match="can follow"):
        MetricCollection({"a": OURS.Ratio()}, OURS.Samples())
    with pytest.warns(UserWarning, match="no metrics"):
        assert len(MetricCollection(OURS.Ratio(), "extra")) == 1
    for name in ("prefix", "postfix"):
        with pytest.raises(ValueError, match=f"`{name}`"):
            MetricCollection([OURS.Ratio()], **{name: 3})
    with pytest.raises(ValueError, match="'Nobody'"):
        MetricCollection([OURS.Ratio()], compute_groups=[["Ratio", "Nobody"]])
    collection = MetricCollection([OURS.Ratio()])
    with pytest.raises(ValueError, match="'Ratio'"):
        collection.add_metrics(MetricCollection([OURS.Ratio()]))


def test_one_update_per_statistic() -> None:
    collection = shared()
    assert collection._groups == {0: ["Above", "Share", "Total"]}
    assert collection.compute_groups == {0: ["Above"], 1: ["Share"], 2: ["Total"]}
    Above.updates = 0
    for x in DATA:
        collection.update(x)
        collection(x)
    assert Above.updates == 6
    assert_same(collection.compute(), alone([x for x in DATA for _ in range(2)]))
    states = {m.counts.data_ptr() for m in collection.values(copy_state=False)}
    assert len(states) == 1
    for metric in collection.values(copy_state=False):
        assert (metric.update_count, metric._computed is None) == (6, False)


@pytest.mark.parametrize("patched", [False, True])
def test_another_update_is_another_statistic(patched: bool) -> None:
    other: Metric = Doubling()
    if patched:
        other = Above()
        update = other.update
        other.update = lambda x, weight=None: update(2 * x, weight)  # type: ignore[method-assign]
    collection = MetricCollection({"as is": Above(), "doubled": other})
    assert collection.compute_groups == {0: ["as is"], 1: ["doubled"]}
    collection.update(torch.tensor([0.1, 0.3, 0.6]))
    assert collection.compute() == {"as is": 1, "doubled": 2}


@pytest.mark.parametrize("first", [torch.zeros(0), torch.ones(3), torch.tensor([0.9])])
@pytest.mark.parametrize("forward", [False, True])
def test_first_batches_do_not_join_different_statistics(first: Tensor, forward: bool) -> None:
    collection = MetricCollection({"low": Above(0.3), "high": Above(0.7), "low again": Share(0.3)})
    assert collection._groups == {0: ["high"], 1: ["low", "low again"]}
    for x in (first, torch.tensor([0.5])):
        collection(x) if forward else collection.update(x)
    extra = int((first > 0.7).sum())
    assert collection.compute()["low"] == 1 + extra
    assert collection.compute()["high"] == extra


def test_forward_equals_that_of_the_metrics() -> None:
    collection = shared()
    metrics = {"Above": Above(), "Share": Share(), "Total": Total()}
    address = collection["Above"].counts.data_ptr()
    for x in DATA:
        assert_same(collection(x), {name: metric(x) for name, metric in metrics.items()})
        for name, metric in metrics.items():
            assert_same(collection[name]._forward_cache, metric._forward_cache)
    assert_same(collection.compute(), {name: m.compute() for name, m in metrics.items()})
    assert collection["Above"].counts.data_ptr() == address


def test_promotion_reaches_all_members() -> None:
    collection = shared()
    collection.update(DATA[0])
    collection.update(DATA[1], weight=0.5)
    states = [m.counts for m in collection.values(copy_state=False)]
    assert all(state is states[0] for state in states)
    assert states[0].tolist() == [2, 3.5]
    collection(DATA[1], weight=0.5)
    assert collection.compute()["Total"] == 4
    collection.reset()
    assert collection(DATA[0], weight=0.5)["Total"] == 1.5
    assert collection.compute()["Total"] == 1.5


@pytest.mark.parametrize("method", ["update", "forward"])
def test_a_raise_leaves_the_states_alone(method: str) -> None:
    collection = shared()
    collection.update(DATA[0])
    before, values = copy.deepcopy(collection.metric_state), collection.compute()
    with pytest.raises(RuntimeError, match="NaN"):
        getattr(collection, method)(torch.tensor([float("nan")]))
    assert_same(collection.metric_state, before)
    assert_same(collection.compute(), values)
    assert [m.update_count for m in collection.values()] == [1, 1, 1]
    collection.update(DATA[1])
    assert_same(collection.compute(), alone(DATA[:2]))


def test_list_states_are_shared() -> None:
    collection = MetricCollection([Listed(), Largest()])
    for x in DATA:
        collection.update(x)
        collection(x)
    kept = [m.kept for m in collection.values(copy_state=False)]
    assert kept[0] is kept[1]
    assert len(kept[0]) == 6
    assert collection.compute()["Largest"] == 0.9
    collection.reset()
    collection.update(DATA[2])
    assert collection.compute()["Listed"].tolist() == DATA[2].tolist()


CHANGES: dict[str, Callable[[Any], Any]] = {
    "update": lambda m: m.update(DATA[0]),
    "forward": lambda m: m(DATA[0]),
    "reset": lambda m: m.reset(),
    "merge": lambda m: m.merge_state({"counts": torch.tensor([1, 1])}),
    "load": lambda m: m.load_state_dict({"counts": torch.tensor([5, 5])}),
    "assign": lambda m: setattr(m, "counts", torch.tensor([5, 5])),
    "argument": lambda m: setattr(m, "threshold", 0.95),
    "dtype": lambda m: m.set_dtype(torch.float64),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["Above", "Share"])
@pytest.mark.parametrize("access", ["item", "reference", "uncopied"])
def test_a_metric_changed_on_its_own_goes_its_own_way(change: str, name: str, access: str) -> None:
    references = {"Above": Above(), "Share": Share(), "Total": Total()}
    collection = MetricCollection(references)
    collection.update(DATA[0])
    expected = copy.deepcopy(references)  # three independent metrics
    metric = {
        "item": lambda: collection[name],
        "reference": lambda: references[name],
        "uncopied": lambda: dict(collection.items(copy_state=False))[name],
    }[access]()
    CHANGES[change](metric)
    CHANGES[change](expected[name])
    for x in DATA:
        collection.update(x)
        for other in expected.values():
            other.update(x)
    assert_same(collection.compute(), {key: m.compute() for key, m in expected.items()})
    for key, m in expected.items():
        assert collection[key].update_count == m.update_count
    collection.reset()
    for x in DATA:
        collection.update(x)
    if change != "argument":
        assert collection.compute_groups == {0: ["Above", "Share", "Total"]}
        assert_same(collection.compute(), alone(DATA))


def test_copied_states_protect_the_others() -> None:
    collection = shared()
    collection.update(DATA[0])
    for access in (lambda: collection["Share"], lambda: list(collection.values())[1]):
        access().counts.add_(100)
        assert collection.compute()["Above"] == 2
        collection.update(DATA[1])  # joins them again
        assert collection.compute()["Total"] == collection["Above"].counts[1]
        states = {m.counts.data_ptr() for m in collection.values(copy_state=False)}
        collection.update(DATA[1])
        states = {m.counts.data_ptr() for m in collection.values(copy_state=False)}
        assert len(states) == 1
    assert_same(collection.compute(), alone([DATA[0]] + [DATA[1]] * 4))


def test_updating_all_members_by_hand() -> None:
    collection = shared()
    for x in DATA:
        for metric in collection.values():
            metric.update(x)
    assert_same(collection.compute(), alone(DATA))
    collection.update(DATA[0])
    assert_same(collection.compute(), alone([*DATA, DATA[0]]))


def test_metrics_added_later_see_only_later_data() -> None:
    collection = MetricCollection([Above()])
    collection.update(DATA[0])
    collection.add_metrics([Share(), Total()])
    assert collection.compute_groups == {0: ["Above"], 1: ["Share"], 2: ["Total"]}
    collection.update(DATA[1])
    assert collection.compute_groups == {0: ["Above"], 1: ["Share", "Total"]}
    assert collection.compute()["Above"] == 2
    assert collection.compute()["Total"] == 1
    collection.reset()
    assert collection.compute_groups == {0: ["Above", "Share", "Total"]}


def test_equal_states_do_not_make_equal_histories() -> None:
    seen_nothing = Above()
    seen_nothing.update(torch.zeros(0))
    collection = MetricCollection([seen_nothing, Share()])
    assert collection.compute_groups == {0: ["Above"], 1: ["Share"]}
    collection.update(DATA[0])
    assert [m.update_count for m in collection.values()] == [2, 1]


def test_metrics_in_two_collections() -> None:
    metrics = {"Above": Above(), "Share": Share(), "Total": Total()}
    one = MetricCollection(metrics)
    one.update(DATA[0])
    other = MetricCollection({k: metrics[k] for k in ("Above", "Share")})
    assert other._groups == {0: ["Above", "Share"]}
    other.update(DATA[1])
    one.update(DATA[2])
    assert_same(one.compute()["Above"], alone(DATA)["Above"])
    assert_same(one.compute()["Share"], alone(DATA)["Share"])
    assert one.compute()["Total"] == 5


def test_removed_metrics_take_a_copy() -> None:
    collection = shared()
    collection.update(DATA[0])
    removed = dict(collection.items(copy_state=False))["Above"]
    del collection["Above"]
    collection.update(DATA[2])
    removed.update(DATA[1])
    assert collection.compute_groups == {0: ["Share", "Total"]}
    assert removed.counts.tolist() == [2, 4]
    assert collection.compute()["Total"] == 5
    kept = collection.pop("Share")
    collection.clear()
    assert len(collection) == 0
    kept.update(DATA[1])
    assert kept.counts.tolist() == [4, 6]


@pytest.mark.parametrize("groups", [True, False, [["a", "b"], ["c"]]])
def test_groups_are_shown_when_torchmetrics_shows_them(groups) -> None:
    shown = []
    for package in (fastmetrics, torchmetrics):
        made = package.classification
        metrics = {"a": made.BinaryPrecision(), "b": made.BinaryRecall(), "c": made.BinaryAUROC()}
        collection = package.MetricCollection(metrics, compute_groups=groups)
        seen = [copy.deepcopy(collection.compute_groups)]
        for step in (collection.update, collection):
            step(torch.tensor([0.1, 0.9, 0.8]), torch.tensor([0, 1, 0]))
            seen.append(copy.deepcopy(collection.compute_groups))
        collection.reset()
        shown.append([*seen, collection.compute_groups])
    assert shown[0] == shown[1]


def test_compute_groups_argument() -> None:
    off = shared(compute_groups=False)
    assert off.compute_groups == {}
    assert not off._groups_checked
    Above.updates = 0
    off.update(DATA[0])
    assert Above.updates == 3
    assert len({m.counts.data_ptr() for m in off.values(copy_state=False)}) == 3
    given = MetricCollection(
        {"a": OURS.Ratio(), "b": OURS.Ratio(), "c": OURS.Samples()}, compute_groups=[["a", "b"]]
    )
    assert given.compute_groups == {0: ["a", "b"], 1: ["c"]}
    given.update(DATA[0])
    given(DATA[1])
    assert given["a"].update_count == given["b"].update_count == 2
    first, second, _ = given.values(copy_state=False)
    given.update(DATA[2])
    assert first.total is second.total
    assert_same(given.compute()["a"], torch.cat(DATA).mean())
    assert_same(given.compute()["b"], torch.cat(DATA).mean())


def test_given_groups_with_metrics_that_update_twice_in_forward() -> None:
    arguments = {"dist_sync_fn": lambda x, group: [x, x], "distributed_available_fn": lambda: True}
    for cls, kwargs in ((OURS.Ranked, {}), (OURS.Ratio, {"dist_sync_on_step": True, **arguments})):
        alone = cls(**kwargs)
        metrics = {"a": cls(**kwargs), "b": cls(**kwargs)}
        collection = MetricCollection(metrics, compute_groups=[["a", "b"]])
        for x in DATA:
            expected = alone(x)
            assert_same(collection(x), {"a": expected, "b": expected})
        assert_same(collection.compute()["b"], alone.compute())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies(copied: Callable[[Any], Any]) -> None:
    collection = shared(prefix="p_")
    collection.update(DATA[0])
    other = copied(collection)
    assert type(other) is MetricCollection
    other.update(DATA[1])
    other(DATA[2])
    assert other.compute_groups == {0: ["Above", "Share", "Total"]}
    assert_same(other.compute(), {f"p_{k}": v for k, v in alone(DATA).items()})
    assert_same(collection.compute(), {f"p_{k}": v for k, v in alone(DATA[:1]).items()})
    pair = copied([collection._modules["Above"], collection._modules["Share"]])
    pair[0].update(DATA[1])
    assert pair[1].counts.tolist() == [2, 3]


def test_clone_with_affixes() -> None:
    collection = shared(prefix="a_", postfix="_b")
    clone = collection.clone(prefix="c_")
    assert list(clone.keys()) == ["c_Above_b", "c_Share_b", "c_Total_b"]
    assert next(iter(collection.clone(postfix="_d"))) == "a_Above_d"
    clone.update(DATA[0])
    assert not collection["a_Above_b"].update_called
    assert collection["Above"] is collection["a_Above_b"]
    with pytest.raises(ValueError, match="`prefix`"):
        collection.clone(prefix=3)


def test_state_dict_round_trip_keeps_sharing() -> None:
    collection = shared()
    collection.persistent()
    collection.update(DATA[0])
    saved = nn.ModuleDict({"m": collection}).state_dict()
    assert list(saved) == ["m.Above.counts", "m.Share.counts", "m.Total.counts"]
    other = shared()
    nn.ModuleDict({"m": other}).load_state_dict(saved)
    assert other._groups == {0: ["Above", "Share", "Total"]}
    other.update(DATA[1])
    assert saved["m.Above.counts"].tolist() == [2, 3]
    assert_same(other.compute(), alone(DATA[:2]))
    saved["m.Share.counts"] = torch.tensor([7, 9])
    nn.ModuleDict({"m": other}).load_state_dict(saved)
    assert other.compute_groups == {0: ["Above", "Total"], 1: ["Share"]}
    other.update(DATA[1])
    assert other.compute()["Share"] == 0.7


def test_moves_and_dtypes_keep_sharing() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.metrics = MetricCollection(
                {"a": OURS.Ratio(), "b": OURS.Ratio()}, compute_groups=[["a", "b"]]
            )

    model = Model()
    model.metrics.update(DATA[0])
    for change in (
        lambda: model.half(),
        lambda: model.metrics.set_dtype(torch.float64),
        lambda: model.to("cpu"),
        lambda: model.eval(),
        lambda: model.to("meta"),
    ):
        change()
        first, second = model.metrics.values(copy_state=False)
        assert first.total is second.total
        assert model.metrics.compute_groups == {0: ["a", "b"]}
    assert first.total.dtype == torch.float64
    assert second.device.type == "meta"


def test_a_raise_in_the_second_update_of_forward_keeps_the_first() -> None:
    class Failing(OURS.Ranked):
        fail = False

        def compute(self) -> Tensor:
            if self.fail:
                raise KeyError
            return super().compute()

    class Fine(OURS.Ranked):
        pass

    collection = MetricCollection([Fine(), Failing()], compute_groups=[["Fine", "Failing"]])
    collection(torch.zeros(1))
    assert collection.compute()["Fine"] == 1
    object.__setattr__(collection._modules["Failing"], "fail", True)
    with pytest.raises(KeyError):
        collection(torch.ones(1))
    assert collection["Fine"].compute() == 2
    assert [m.update_count for m in collection.values()] == [2, 2]


def test_a_member_that_leaves_while_synced_gets_its_own_state_back() -> None:
    collection = shared()
    collection.update(DATA[0])
    metric = dict(collection.items(copy_state=False))["Share"]
    metric.sync(dist_sync_fn=lambda x, group: [x, x], distributed_available=lambda: True)
    metric.update(DATA[1])
    metric.unsync()
    metric.update(DATA[2])
    assert metric.counts.tolist() == [4, 5]
    assert collection.compute()["Total"] == 3


def test_synced_members_refuse_forward() -> None:
    collection = shared()
    collection.update(DATA[0])
    collection["Share"].sync(
        dist_sync_fn=lambda x, group: [x, x], distributed_available=lambda: True
    )
    with pytest.raises(TorchMetricsUserError):
        collection(DATA[0])


def test_keywords_are_filtered() -> None:
    collection = MetricCollection([OURS.Ratio(), OURS.Keywords(), Above(), Share()])
    collection.update(x=torch.ones(2), scale=3.0)
    assert collection.compute()["Ratio"] == 1
    assert collection(x=torch.ones(2), scale=3.0)["Keywords"] == 3
    assert collection.compute()["Above"] == 4


def test_metrics_of_torchmetrics_are_welcome() -> None:
    collection = MetricCollection([Above(), Share(), THEIRS.Ratio()])
    for x in DATA[:2]:
        assert_same(collection(x)["Ratio"], x.mean())
    assert_same(collection.compute()["Ratio"], torch.cat(DATA[:2]).mean())
    assert isinstance(collection, torchmetrics.MetricCollection)
    assert isinstance(collection, MetricCollection)
    assert not isinstance(collection, torchmetrics.Metric)
    theirs = torchmetrics.MetricCollection([Above(), OURS.Ratio()])
    assert_same(theirs(DATA[0])["Ratio"], DATA[0].mean())


def test_compiled_update_is_one_graph() -> None:
    class Tally(Above):
        fused_update = True

        def update(self, x: Tensor) -> None:
            self.counts += torch.stack([(x > self.threshold).sum(), (x > -1).sum()])

    class Rate(Tally):
        def compute(self) -> Tensor:
            return self.counts[0] / self.counts[1]

    collection, graphs = MetricCollection([Tally(), Rate(), OURS.Replacing()]), []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    @torch.compile(fullgraph=True, backend=backend)
    def step(x: Tensor) -> Tensor:
        collection.update(x)
        return x * 2

    for _ in range(4):
        step(DATA[0])
    assert len(graphs) == 1
    assert all(m.update_called for m in collection.values(copy_state=False))
    assert collection.compute()["Tally"] == 8
    assert_same(collection.compute()["Rate"], torch.tensor(8 / 12))
    torch._dynamo.reset()


def test_plot() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    collection = MetricCollection([OURS.Ratio(), OURS.Growing()[0]])
    values = [collection(x) for x in DATA]
    assert len(collection.plot()) == 2
    assert len(collection.plot(values)) == 2
    figure, axis = collection.plot(values, together=True)
    assert len(axis.lines) == 2
    axes = figure.subplots(1, 2).tolist()
    assert [ax for _, ax in collection.plot(ax=axes)] == axes
    assert collection.plot(ax=axis, together=True)[1] is axis
    with pytest.raises(ValueError, match="`together`"):
        collection.plot(together=1)
    with pytest.raises(ValueError, match="one axis"):
        collection.plot(ax=axes, together=True)
    with pytest.raises(ValueError, match="2 axes"):
        collection.plot(ax=axis)
    plt.close("all")
