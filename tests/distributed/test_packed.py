"""All states in a handful of collectives: how many, what they return, what they refuse."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
import torchmetrics
from torch import Tensor

from fastmetrics import GradientStats as Layers
from fastmetrics import MaxMetric, MeanMetric, MetricCollection, SumMetric, classification
from fastmetrics.core.reductions import reduction_of
from fastmetrics.distributed import Parcel, exchange
from fastmetrics.metric import Metric
from fastmetrics.regression import PearsonCorrCoef, R2Score
from fastmetrics.utilities.data import dim_zero_max, dim_zero_min, dim_zero_sum
from fastmetrics.utilities.exceptions import TorchMetricsUserError
from tests.distributed.processes import run_checks
from tests.every import Case, metrics
from tests.test_every_metric import WINDOWS, same
from tests.user_metrics import OURS, product

COLLECTIVES = ("all_gather", "all_reduce", "barrier", "broadcast", "all_gather_into_tensor")
# Header, integers, numbers, extremes, bytes; and what is exchanged where layouts differ.
AGREED, MOST = 5, 7
C = 3


@contextmanager
def counted() -> Generator[list[str], None, None]:
    """List the collectives that are called."""
    calls: list[str] = []

    def counting(name: str) -> Callable[..., Any]:
        function = getattr(dist, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return function(*args, **kwargs)

        return call

    with mock.patch.multiple(dist, **{name: counting(name) for name in COLLECTIVES}):
        yield calls


def everywhere(value: Any) -> list[Any]:
    """Return ``value`` of each process."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def within_one_ulp(actual: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            within_one_ulp(actual[key], value)
    elif isinstance(expected, (list, tuple)):
        for one, other in zip(actual, expected, strict=True):
            within_one_ulp(one, other)
    elif expected.is_floating_point():
        up = torch.nextafter(expected, torch.full_like(expected, float("inf")))
        down = torch.nextafter(expected, torch.full_like(expected, -float("inf")))
        equal = (actual == expected) | (actual == up) | (actual == down)
        assert (equal | (actual.isnan() & expected.isnan())).all(), (actual, expected)
    else:
        assert torch.equal(actual, expected)


def counts_only(metric: Metric) -> bool:
    states = metric._states.values.values()
    return all(isinstance(s, Tensor) and not s.is_floating_point() for s in states)


def batches(case: Case, rank: int, silent: int | None) -> list[tuple[Any, ...]]:
    """Return uneven batches, as many as the rank says; none for one process."""
    torch.manual_seed(rank)
    sizes = [11 + 3 * rank, *([6] * rank)]
    return [case.inputs(size) for size in sizes] if rank != silent else []


def fill(case: Case, rank: int, world: int, silent: int | None) -> tuple[Metric, Metric]:
    """Return a metric with the data of this process, and one with those of all."""
    own, single = case.make(), case.make()
    single.__dict__["_to_sync"] = False
    for r in range(world):
        for batch in batches(case, r, silent):
            single.update(*batch)
            if r == rank:
                own.update(*batch)
    return own, single


def every_metric(rank: int, world: int) -> None:
    """The same bits in all processes, and the value of one that sees everything."""
    warnings.simplefilter("ignore")
    values = []
    for case in metrics():
        if case.name in WINDOWS:
            continue
        for silent in (None, 0):
            own, single = fill(case, rank, world, silent)
            with counted() as calls:
                value = own.compute()
            assert len(calls) <= MOST
            values.append(value)
            if counts_only(single):
                same(value, single.compute())
            else:
                within_one_ulp(value, single.compute())
    for other in everywhere(values):
        same(values, other)


def one_collection(rank: int, world: int) -> None:
    """All metrics of the package cost as many collectives as one."""
    warnings.simplefilter("ignore")
    chosen = {c.name: c for c in metrics() if c.name not in WINDOWS}
    for silent in (None, world - 1):
        members, singles = {}, {}
        for name, case in chosen.items():
            members[name], singles[name] = fill(case, rank, world, silent)
        collection = MetricCollection(members)
        with counted() as calls:
            values = collection.compute()
        assert len(calls) <= MOST, calls
        for name, metric in collection.items():
            assert not metric._is_synced
            assert (metric._to_sync, metric._should_unsync) == (True, True)
            if not isinstance(singles[name].compute(), dict):
                within_one_ulp(values[name], singles[name].compute())


def number_of_collectives(rank: int, world: int) -> None:
    """It depends on kinds of states, not on metrics; equal layouts need no description."""
    batch = torch.rand(20, C).softmax(1), torch.randint(C, (20,))
    few = MetricCollection([classification.MulticlassAccuracy(C)])
    many = MetricCollection(
        [
            classification.MulticlassAccuracy(C),
            classification.MulticlassRecall(C, average="none"),
            classification.MulticlassPrecision(C, top_k=2),
            classification.MulticlassConfusionMatrix(C),
            classification.MulticlassAUROC(C, thresholds=20),
            classification.MulticlassSpecificity(C, ignore_index=0),
        ]
    )
    for collection, expected in (
        (few, ["all_gather", "all_reduce"]),
        (many, ["all_gather", "all_reduce"]),
        (MetricCollection([*many.values(), classification.MulticlassCalibrationError(C)]), None),
    ):
        collection.update(*batch)
        with counted() as calls:
            collection.compute()
        assert calls == (expected or ["all_gather", "all_reduce", "all_reduce"])
        with counted() as calls:
            collection.compute()  # from the cache
        assert not calls
    for uneven in (0, 1):
        exact = MetricCollection([classification.BinaryAUROC(), classification.BinaryROC()])
        count = 20 + uneven * rank
        exact.update(torch.rand(count), torch.randint(2, (count,)))
        with counted() as calls:
            exact.compute()
        # The header, the sizes where they differ, and all that was kept.
        assert calls == [*["all_gather"] * (1 + uneven), "all_reduce", "all_gather"]


def parcel(state: Tensor, default: Tensor, reduction: Any, name: str = "metric") -> Parcel:
    return Parcel(
        name,
        name,
        "kind",
        "None",
        {"state": reduction_of(reduction)},
        {"state": default},
        {"state": state},
        True,
        torch.device("cpu"),
        torch.float32,
    )


def reductions_as_torch_has_them(rank: int, world: int) -> None:
    """Every dtype through sums and extremes, with NaN, infinities and the ends of integers."""
    dtypes = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    dtypes += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
    special = [0.0, 1.5, -2.5, float("inf"), -float("inf"), float("nan"), 1e4]
    for reduction in (dim_zero_sum, dim_zero_max, dim_zero_min):
        parts: list[list[Tensor]] = []
        for r in range(world):
            found = []
            for dtype in dtypes:
                if dtype.is_floating_point:
                    values = torch.tensor(special[r:] + special[:r]).to(dtype)
                elif dtype is torch.bool:
                    values = torch.tensor([r == 0, True, False])
                else:
                    info = torch.iinfo(dtype)
                    ends = [0, r, 3 - r] if reduction is dim_zero_sum else [info.min, info.max, r]
                    values = torch.tensor(ends if r == 0 else ends[::-1], dtype=dtype)
                found.append(values)
            parts.append(found)
        own = [parcel(x, torch.zeros_like(x), reduction, str(x.dtype)) for x in parts[rank]]
        with counted() as calls:
            synced = exchange(own)
        assert len(calls) == (2 if reduction is not dim_zero_sum else 3)
        for i, dtype in enumerate(dtypes):
            state, expected = synced[i]["state"], reduction(torch.stack([p[i] for p in parts]))
            assert isinstance(state, Tensor)
            assert state.dtype == expected.dtype, dtype
            torch.testing.assert_close(state, expected, rtol=0, atol=0, equal_nan=True)
    huge = parcel(torch.tensor([2**62 + rank]), torch.zeros(1, dtype=torch.int64), dim_zero_max)
    assert exchange([huge])[0]["state"].tolist() == [2**62 + world - 1]
    complexes = parcel(torch.tensor([1j * rank]), torch.zeros(1) * 1j, dim_zero_sum)
    assert exchange([complexes])[0]["state"].tolist() == [1j * sum(range(world))]
    factor = parcel(torch.tensor(2.0), torch.tensor(1.0), product)
    assert exchange([factor])[0]["state"] == 2**world
    assert exchange([]) == []


def states_that_change_their_kind(rank: int, world: int) -> None:
    """Weights, folded scores and lists that only some processes have."""
    preds, target = torch.rand(8), torch.tensor([0, 1] * 4)
    weighted = classification.BinaryAccuracy()
    single = classification.BinaryAccuracy(sync_on_compute=False)
    shared = everywhere(preds)[0]
    for r in range(world):
        extra = [torch.full((8,), 0.5)] if r == 0 else []
        single.update(shared, target, *extra)
        if r == rank:
            weighted.update(shared, target, *extra)
    same(weighted.compute(), single.compute(), 1e-6)
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(70_000, generator=generator).half()
    labels = torch.randint(2, (70_000,), generator=generator)
    folded = classification.BinaryAUROC()
    count = 70_000 if rank == 0 else 10
    folded.update(scores[:count], labels[:count])
    assert bool(folded.float16_counts.ndim) is (rank == 0)
    whole = classification.BinaryAUROC(sync_on_compute=False)
    for r in range(world):
        count = 70_000 if r == 0 else 10
        whole.update(scores[:count], labels[:count])
    within_one_ulp(folded.compute(), whole.compute())


def metrics_that_part(rank: int, world: int) -> None:
    """Metrics share their states in all processes but one, where one has seen more."""
    collection = MetricCollection([classification.BinaryPrecision(), classification.BinaryRecall()])
    preds, target = torch.tensor([1, 1, 0]), torch.tensor([1, 0, 1])
    collection.update(preds, target)
    assert collection.compute() == {
        "BinaryPrecision": torch.tensor(0.5),
        "BinaryRecall": torch.tensor(0.5),
    }
    if rank == 0:
        collection["BinaryRecall"].update(target, target)
    assert len(collection.compute_groups) == (2 if rank == 0 else 1)
    for metric in collection.values(copy_state=False):
        metric._computed = None
    recall = torch.tensor((3 + world - 1) / (4 + 2 * (world - 1)))
    within_one_ulp(collection.compute()["BinaryRecall"], recall)
    assert collection.compute()["BinaryPrecision"] == 0.5


def outsiders(rank: int, world: int) -> None:
    """A group that this process is not part of."""
    group = dist.new_group([0])
    metric = SumMetric(process_group=group)
    metric.update(1.0)
    if rank == 0:
        assert metric.compute() == 1
        return
    try:
        metric.compute()
    except RuntimeError as error:
        assert "not part of `process_group`" in str(error)
    else:
        raise AssertionError("synchronised with strangers")


def groups_and_settings(rank: int, world: int) -> None:
    """One packet for each process group; metrics that do not take part are left alone."""
    alone = [dist.new_group([r]) for r in range(world)][rank]
    everyone = dist.new_group([*range(world)])
    collection = MetricCollection(
        {
            "all": SumMetric(),
            "again": SumMetric(process_group=everyone),
            "local": SumMetric(sync_on_compute=False),
            "mine": SumMetric(process_group=alone),
            "mean": MeanMetric(compute_with_cache=False),
            "custom": SumMetric(dist_sync_fn=lambda x, group: [x, x, x]),
            "theirs": torchmetrics.SumMetric(),
            "layers": Layers(["a"]),
            "twice": SumMetric() + SumMetric(),
        }
    )
    collection["layers"].update({"a": torch.ones(1)})
    for name, metric in collection.items():
        if name != "layers":
            metric.update(torch.tensor(float(rank + 1)))
    total = world * (world + 1) / 2
    expected = {
        "all": total,
        "again": total,
        "local": rank + 1,
        "mine": rank + 1,
        "mean": total / world,
        "custom": 3 * (rank + 1),
        "theirs": total,
        "twice": 2 * total,
    }
    for _ in range(2):
        values = collection.compute()
        assert {name: values[name].item() for name in expected} == expected
        assert values["layers_norm"] == 1
        assert not any(metric._is_synced for metric in collection.values())
    assert collection["mean"]._computed is None
    assert collection["all"]._computed == total


def synced_by_hand(rank: int, world: int) -> None:
    """``sync``, ``unsync`` and ``sync_context`` of a collection."""
    collection = MetricCollection(
        [classification.BinaryPrecision(), classification.BinaryRecall(), torchmetrics.SumMetric()]
    )
    preds, target = torch.tensor([1, 1, rank % 2]), torch.tensor([1, 0, 1])
    for name, metric in collection.items():
        metric.update(*([torch.ones(1)] if name == "SumMetric" else [preds, target]))
    own = collection["BinaryRecall"].counts.clone()
    with counted() as calls, collection.sync_context():
        assert all(metric._is_synced for metric in collection.values())
        assert collection["BinaryRecall"].counts.sum() == world * own.sum()
        inside = {name: metric.metric_state for name, metric in collection.items()}
        assert all(collection[name]._is_synced for name in inside)
        try:
            collection.sync()
        except TorchMetricsUserError as error:
            assert "BinaryPrecision" in str(error)
        else:
            raise AssertionError("synchronised twice")
    assert calls
    assert torch.equal(collection["BinaryRecall"].counts, own)
    ours = MetricCollection([classification.BinaryPrecision(), classification.BinaryRecall()])
    ours.update(preds, target)
    ours.sync()
    with counted() as calls:
        value = ours.compute()
    assert not calls
    ours.unsync()
    assert value == ours.compute()
    try:
        ours.unsync()
    except TorchMetricsUserError:
        pass
    else:
        raise AssertionError("unsynchronised twice")
    ours.sync(should_sync=False)
    ours.sync(distributed_available=lambda: False)
    assert not ours["BinaryRecall"]._is_synced


def graphs(rank: int, world: int) -> None:
    """Values that ``forward`` synchronises can be differentiated, as those of one process."""
    metric = OURS.Differentiable(dist_sync_on_step=True)
    x = torch.tensor([1.0 + rank, 2.0], requires_grad=True)
    value = metric(x)
    value.backward()
    assert value == sum((1 + r) ** 2 + 4 + 2 * (1 + r) + 4 for r in range(world))
    assert x.grad.tolist() == (2 * x + 2).tolist()


def refused(make: Callable[[], Metric | MetricCollection], *words: str) -> None:
    """Check that all processes raise the same error, and that nothing has changed."""
    metric = make()
    members = [metric]
    if isinstance(metric, MetricCollection):
        members = [*metric.values(copy_state=False)]
    before = [dict(member._states.values) for member in members]
    try:
        metric.compute()
    except RuntimeError as error:
        message = str(error)
    else:
        raise AssertionError(f"accepted: {words}")
    for word in words:
        assert word in message, message
    assert len({*everywhere(message)}) == 1, everywhere(message)
    for member, states in zip(members, before, strict=True):
        assert not member._is_synced
        assert (member._to_sync, member._should_unsync) == (True, True)
        assert all(member._states.values[name] is state for name, state in states.items())


def updated(metric: Metric, *inputs: Any) -> Metric:
    metric.update(*inputs)
    return metric


class Strange(Metric):
    """A list state with something in it that is no tensor, in one process."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.add_state("kept", [], dist_reduce_fx=None)
        self.kept.append(value)

    def update(self) -> None: ...

    def compute(self) -> int:
        return len(self.kept)


def disagreements(rank: int, world: int) -> None:
    """The error names a rank and a metric, in all processes; the next exchange is as any."""
    warnings.simplefilter("ignore")
    last = rank == world - 1
    named = [f"rank {world - 1} has", "rank 0 has"]
    sums = {"a": SumMetric(), "b": MaxMetric() if last else SumMetric()}
    refused(lambda: MetricCollection(sums), "b (MaxMetric)", "b (SumMetric)", *named)
    more = {"a": SumMetric(), **({"c": SumMetric()} if last else {})}
    refused(lambda: MetricCollection(more), "c (SumMetric)", "no further metric", *named)
    refused(lambda: SumMetric("ignore" if last else "warn"), "SumMetric with the arguments")
    refused(lambda: PearsonCorrCoef(2 + last), "PearsonCorrCoef with the arguments", *named)
    wide = torch.rand(8, 3) if last else torch.rand(8)
    refused(
        lambda: updated(R2Score(), wide, wide + 1),
        f"state 'moments' of R2Score has shape (3, 18) in rank {world - 1}",
        "(1, 18) in rank 0",
    )
    refused(
        lambda: Strange("text" if last else torch.ones(1)),
        f"Rank {world - 1} cannot synchronise the state 'kept' of Strange",
        "got str",
    )
    refused(lambda: Strange(torch.zeros(1, dtype=torch.float8_e5m2)), "float8", "Rank 0 cannot")
    metric = updated(SumMetric(), 1.0)
    assert metric.compute() == world


def test_two_processes(tmp_path: Path) -> None:
    run_checks(2, tmp_path, every_metric, one_collection, number_of_collectives)


@pytest.mark.exhaustive
def test_three_processes(tmp_path: Path) -> None:
    run_checks(
        3,
        tmp_path,
        reductions_as_torch_has_them,
        states_that_change_their_kind,
        metrics_that_part,
        outsiders,
        groups_and_settings,
        synced_by_hand,
        graphs,
        disagreements,
    )
