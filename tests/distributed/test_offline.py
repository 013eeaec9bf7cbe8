"""States saved as bytes and merged by a process that never saw the data."""

from __future__ import annotations

import struct
import warnings
import zlib
from typing import Any

import pytest
import torch
from torch import Tensor

from fastmetrics import GradientStats, MetricCollection, SumMetric, classification, regression
from fastmetrics.aggregation import CatMetric, RunningMean
from fastmetrics.classification import BinaryAUROC, BinaryPrecision, BinaryRecall
from fastmetrics.distributed import merge_states
from tests.every import Case, metrics
from tests.test_every_metric import WINDOWS, part, same
from tests.user_metrics import OURS

pytestmark = pytest.mark.thinned(2)

CASES = metrics()
every_metric = pytest.mark.parametrize("case", CASES, ids=repr)


@pytest.fixture(autouse=True)
def quiet():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@every_metric
def test_bytes_hold_everything(case: Case) -> None:
    inputs, more = case.inputs(30), case.inputs(10)
    metric = case.make()
    metric.update(*inputs)
    fresh = case.make().from_state_bytes(metric.state_bytes())
    assert fresh.update_count == metric.update_count
    same(fresh.compute(), metric.compute())
    for each in (metric, fresh):
        each.update(*more)
    same(fresh.compute(), metric.compute())


@every_metric
def test_merged_states_are_those_of_all_data(case: Case) -> None:
    """Of three jobs, one of which saw nothing; merging leaves the parts alone."""
    inputs = case.inputs(40)
    jobs = [case.make() for _ in range(3)]
    whole = case.make()
    for metric, (start, end) in zip(jobs, ((0, 7), (7, 7), (7, 40)), strict=True):
        if end > start:
            metric.update(*part(inputs, start, end))
            whole.update(*part(inputs, start, end))
    parts = [jobs[0], jobs[1].state_bytes(), jobs[2].state_bytes()]
    if case.name in WINDOWS:
        with pytest.raises(RuntimeError, match="full_state_update"):
            merge_states(parts)
        return
    before = jobs[0].state_bytes()
    same(merge_states(parts).compute(), whole.compute(), 1e-6)
    assert jobs[0].state_bytes() == before


def scores(count: int) -> tuple[Tensor, Tensor]:
    return torch.rand(count), torch.randint(2, (count,))


def collection() -> MetricCollection:
    return MetricCollection([BinaryPrecision(), BinaryRecall(), BinaryAUROC()], prefix="val/")


@pytest.mark.parametrize("apart", [False, True])
def test_collections(apart: bool) -> None:
    """Shared states are written once; metrics that went their own way keep what they saw."""
    jobs, whole = [collection(), collection()], collection()
    for job in jobs:
        batch = scores(50)
        job.update(*batch)
        whole.update(*batch)
    if apart:
        batch = scores(9)
        for each in (jobs[0], whole):
            each["val/BinaryRecall"].update(*batch)
    saved = [job.state_bytes() for job in jobs]
    merged = merge_states(saved, like=collection())
    same(merged.compute(), whole.compute())
    sharing = (
        [["BinaryPrecision"], ["BinaryRecall"]] if apart else [["BinaryPrecision", "BinaryRecall"]]
    )
    assert [*merged.compute_groups.values()] == [*sharing, ["BinaryAUROC"]]
    assert (len(saved[0]) > len(saved[1])) is apart
    batch = scores(20)
    for each in (merged, whole):
        each.update(*batch)
    same(merged.compute(), whole.compute())


def test_order_of_kept_samples() -> None:
    jobs = [CatMetric() for _ in range(3)]
    for i, job in enumerate(jobs):
        job.update(torch.tensor([2.0 * i, 2.0 * i + 1]))
    assert merge_states([job.state_bytes() for job in jobs], jobs[0]).compute().tolist() == [
        *map(float, range(6))
    ]


def test_every_dtype_survives() -> None:
    metric = OURS.Batches()
    kept = [
        torch.tensor([1.5, -0.0, float("nan"), float("inf")]).to(dtype)
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    ]
    kept += [torch.tensor(2**60), torch.zeros(0, 3), torch.tensor([True, False])]
    kept += [torch.arange(12, dtype=torch.uint8).view(3, 4).T]
    metric.kept = list(kept)
    restored = OURS.Batches().from_state_bytes(metric.state_bytes()).kept
    assert [(x.dtype, x.shape) for x in restored] == [(x.dtype, x.shape) for x in kept]
    for one, two in zip(restored, kept, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)
    restored[0][0] = 2  # memory of its own, not that of the bytes


def test_composed_and_named_states() -> None:
    precision, recall = BinaryPrecision(), BinaryRecall()
    formula = 2 * precision * recall / (precision + recall)
    batches = [scores(20), scores(30)]
    saved = []
    for batch in batches:
        formula.reset()
        formula.update(*batch)
        saved.append(formula.state_bytes())
    whole = classification.BinaryF1Score()
    for batch in batches:
        whole.update(*batch)
    same(merge_states(saved, like=formula).compute(), whole.compute(), 1e-6)
    layers, others = GradientStats(), GradientStats()
    layers.update({"a": torch.ones(2), "b": torch.ones(3)})
    others.update({"c": torch.ones(2)})
    assert merge_states([GradientStats(), layers.state_bytes()]).names == ("a", "b")
    with pytest.raises(ValueError, match="layers must be the same"):
        merge_states([layers, others])


def test_a_synchronised_metric_saves_its_own_part() -> None:
    metric = SumMetric()
    metric.update(3.0)
    metric.sync(dist_sync_fn=lambda x, group: [x, x], distributed_available=lambda: True)
    assert metric.compute_on_cpu is False
    assert SumMetric().from_state_bytes(metric.state_bytes()).compute() == 3


def test_loading_leaves_the_metric_alone() -> None:
    metric, other = SumMetric(), SumMetric()
    metric.update(1.0)
    other.update(2.0)
    fresh = metric.from_state_bytes(other.state_bytes())
    fresh.update(1.0)
    assert (metric.compute(), other.compute(), fresh.compute()) == (1, 2, 3)


def damaged(data: bytes) -> dict[str, bytes]:
    flipped = bytearray(data)
    flipped[-10] ^= 1
    newer = bytearray(data)
    struct.pack_into("<I", newer, 8, 99)
    foreign = bytearray(data.replace(b'"float64"', b'"__doc__"'))
    struct.pack_into("<I", foreign, len(foreign) - 4, zlib.crc32(foreign[:-4]))
    return {
        "no saved states": b"",
        "or only the beginning": data[:6],
        "checksum": data[:-1],
        "the checksum is wrong": bytes(flipped),
        "format version 99": bytes(newer),
        "the unknown dtype .__doc__": bytes(foreign),
    }


def test_bytes_that_cannot_be_read() -> None:
    metric = SumMetric()
    metric.update(1.0)
    data = metric.state_bytes()
    for message, bad in damaged(data).items():
        with pytest.raises(ValueError, match=message):
            metric.from_state_bytes(bad)
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"beginning|incomplete"):
            metric.from_state_bytes(data[:length])


def test_bytes_of_other_metrics() -> None:
    tables = BinaryPrecision(threshold=0.25)
    tables.update(*scores(5))
    others: list[Any] = [
        BinaryPrecision(),
        BinaryRecall(threshold=0.25),
        regression.MeanSquaredError(),
        collection(),
    ]
    for other in others:
        with pytest.raises(ValueError, match=r"states (of|are those of)"):
            other.from_state_bytes(tables.state_bytes())
    # The average is a matter of the formula, not of what was counted.
    average = classification.MulticlassPrecision(3, average="none")
    average.from_state_bytes(classification.MulticlassPrecision(3).state_bytes())


def test_nothing_to_merge() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        merge_states([])
    with pytest.raises(ValueError, match="need `like`"):
        merge_states([SumMetric().state_bytes()])
    with pytest.raises(RuntimeError, match="full_state_update"):
        merge_states([RunningMean(), RunningMean()])
