"""An interrupt anywhere inside a call leaves metrics whose `compute` says what their states say."""

from __future__ import annotations

import copy
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
import torch.distributed as dist

import fastmetrics
from fastmetrics import MetricCollection, TopSamples
from fastmetrics.classification import (
    BinaryAUROC,
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassRecall,
)
from fastmetrics.ops import ranked_scores
from tests.every import MAKERS, Case, metrics
from tests.test_every_metric import same

PLACES = str(Path(fastmetrics.__file__).parent), "contextlib.py"
CASES = [*metrics(), Case("TopSamples", lambda: TopSamples(3), MAKERS["numbers"])]
BATCHES = 3


@pytest.fixture(autouse=True)
def quiet():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def one_process():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def interrupted(call: Callable[[], Any], at: int) -> int:
    """Run a call that a KeyboardInterrupt ends before its instruction ``at``; return how many."""
    seen = 0

    def local(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if event == "opcode":
            seen += 1
            if seen == at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return local

    def follow(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PLACES[0]) and not (
            frame.f_code.co_filename.endswith(PLACES[1])
        ):
            return None
        frame.f_trace_opcodes = True
        return local

    before = sys.gettrace()
    sys.settrace(follow)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return seen


def bound(metric: Any, call: str, args: tuple[Any, ...]) -> Callable[[], Any]:
    return lambda: getattr(metric, call)(*args)


def forget(metric: Any) -> None:
    """Drop the values that are cached."""
    collected = isinstance(metric, MetricCollection)
    for part in metric.values(copy_state=False) if collected else [metric]:
        part._computed = None


def value_of(metric: Any) -> Any:
    """Return what `compute` says, which must be what the states say."""
    value = outcome(metric)
    forget(metric)
    same(value, outcome(metric))
    return value


def outcome(metric: Any) -> Any:
    """Return the value, or that there is none because no data have been seen."""
    try:
        value = metric.compute()
    except ValueError as error:
        assert re.search("at least two samples, got 0|No samples", str(error))
        return "no samples"
    if isinstance(metric, TopSamples):  # numbers that an interrupted batch took stay away
        return {name: scores for name, scores in value.items() if name.endswith("scores")}
    return "no samples" if isinstance(value, list) and not value else value


def is_synced(metric: Any) -> bool:
    """Whether a metric, or one of a collection, holds the states of all processes."""
    collected = isinstance(metric, MetricCollection)
    parts = metric.values(copy_state=False) if collected else [metric]
    return any(part._is_synced for part in parts)


def is_one_of(value: Any, expected: list[Any]) -> bool:
    for each in expected:
        try:
            same(value, each, 1e-6)
        except (AssertionError, TypeError):  # a text is no number
            continue
        return True
    return False


def check(make: Callable[[], Any], batches: list[Any], call: str, tries: int) -> None:
    """Interrupt a call at some of its instructions."""

    def prepared() -> Any:
        metric = make()
        for batch in batches[:-1]:
            metric.update(*batch)
        metric.compute()
        return metric

    args = batches[-1] if call in ("update", "forward") else ()
    done = prepared()
    if call == "unsync":
        done.sync()
    elif call == "compute":
        done.update(*batches[-1])
    before = outcome(prepared())
    count = interrupted(bound(done, call, args), 0)
    if call == "sync":
        done.unsync()
    after = outcome(done)
    for at in (1 + torch.randperm(count)[:tries]).tolist():
        metric = prepared()
        if call == "unsync":
            metric.sync()
        elif call == "compute":
            metric.update(*batches[-1])
        interrupted(bound(metric, call, args), at)
        if call in ("sync", "unsync") and is_synced(metric):
            metric.unsync()
        assert not is_synced(metric)
        value = value_of(metric)
        if call == "compute":
            assert is_one_of(value, [after])
            continue
        assert is_one_of(value, [before, after]), (call, at, value, before, after)
        if is_one_of(value, [before]) and call in ("update", "forward"):
            metric.update(*batches[-1])
            same(outcome(metric), after, 1e-6)
        metric.reset()
        for batch in batches[:-1]:
            metric(*batch)
        same(outcome(metric), before, 1e-5)


def first_of_each_kind() -> list[Any]:
    """Return the cases; all but the first metric that counts something are for long runs."""
    found: list[Any] = []
    kinds: set[Any] = set()
    for case in CASES:
        metric = case.make()
        kind = type(getattr(metric, "statistic", metric))
        found.append(
            pytest.param(case, marks=[pytest.mark.exhaustive] * (kind in kinds), id=case.name)
        )
        kinds.add(kind)
    return found


@pytest.mark.parametrize("call", ["update", "forward", "compute", "reset"])
@pytest.mark.parametrize("case", first_of_each_kind())
def test_of_every_metric(case, call):
    check(case.make, [case.inputs(6) for _ in range(BATCHES)], call, 2)


def collection() -> MetricCollection:
    """Return one with a shared state, one read off another, a pass, and chunks of scores."""
    return MetricCollection(
        [MulticlassAccuracy(3), MulticlassRecall(3), MulticlassConfusionMatrix(3)]
    )


def passing() -> MetricCollection:
    made = {case.name: case.make() for case in CASES}
    names = ("BinaryAUROC-binned", "BinaryAccuracy", "BinaryCalibrationError", "BinaryAUROC-exact")
    return MetricCollection({name: made[name] for name in names})


@pytest.mark.parametrize("call", ["update", "forward", "compute", "reset"])
@pytest.mark.parametrize("weighted", [False, True])
def test_of_collections(call, weighted):
    for make, kind in ((collection, "multiclass"), (passing, "binary")):
        batches = [MAKERS[kind](6) for _ in range(BATCHES)]
        if weighted:
            batches = [(*batch, torch.rand(6)) for batch in batches]
        metric = make()
        for batch in batches:
            metric.update(*batch)
        groups = metric.compute_groups
        after = metric.compute()
        args = batches[-1] if call in ("update", "forward") else ()
        count = interrupted(bound(copy.deepcopy(metric), call, args), 0)
        for at in (1 + torch.randperm(count)[:5]).tolist():
            tried = copy.deepcopy(metric)
            interrupted(bound(tried, call, args), at)
            value_of(tried)
            assert tried.compute_groups == groups
            tried.reset()
            for batch in batches:
                tried.update(*batch)
            same(tried.compute(), after, 1e-6)
            # Whoever goes a way of its own leaves the others alone.
            name = next(iter(tried))
            tried[name].update(*batches[0])
            others = tried.compute()
            assert all(is_one_of(others[n], [after[n]]) for n in others if n != name)


@pytest.mark.parametrize("call", ["sync", "unsync", "compute"])
@pytest.mark.parametrize("gather", [None, lambda tensor, group=None: [tensor, tensor]])
def test_of_syncing(one_process, call, gather):
    def curve() -> BinaryAUROC:
        return BinaryAUROC(dist_sync_fn=gather)

    def accuracy() -> MulticlassAccuracy:
        return MulticlassAccuracy(3, dist_sync_fn=gather)

    check(curve, [MAKERS["binary"](6) for _ in range(BATCHES)], call, 7)
    check(accuracy, [MAKERS["multiclass"](6) for _ in range(BATCHES)], call, 7)
    check(collection, [MAKERS["multiclass"](6) for _ in range(BATCHES)], call, 7)


@pytest.mark.parametrize("call", ["update", "forward"])
@pytest.mark.parametrize("tries", [40, pytest.param(400, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", ["BinaryAUROC-ranked", "MulticlassAUROC-ranked"])
def test_of_scores_that_become_cells(monkeypatch, name, tries, call):
    """With as many cells as scores the value is exact, whether rows have become cells or not."""
    for limit, number in (("MOST_ROWS", 24), ("MOST_CELLS", 64)):
        monkeypatch.setattr(ranked_scores, limit, number)
        monkeypatch.setattr(ranked_scores, limit.replace("MOST", "LEAST"), 1)
    case = next(case for case in CASES if case.name == name)
    batches = [case.inputs(size) for size in (25, 9, 20)]
    metric = case.make()
    for batch in batches[:-1]:
        metric.update(*batch)
    assert metric.cells and metric.preds
    metric.update(*batches[-1])
    assert metric.cells and not metric.preds
    check(case.make, batches, call, tries)
