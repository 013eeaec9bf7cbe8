"""Threads that share a metric: nothing lost, nothing twice, and `compute` at any time."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fastmetrics import MetricCollection, SumMetric, TopSamples
from fastmetrics.classification import BinaryAUROC, BinaryAveragePrecision
from fastmetrics.core.locking import Lock
from fastmetrics.wrappers import ClasswiseWrapper, MinMaxMetric, MultioutputWrapper
from tests import user_metrics
from tests.every import MAKERS, Case, metrics
from tests.test_every_metric import WINDOWS, same

THREADS, UPDATES = 4, 12
CASES = [
    *metrics(),
    Case("TopSamples", lambda: TopSamples(3), MAKERS["numbers"]),
    *(
        Case(f"user-{name}", getattr(user_metrics.OURS, name), MAKERS["numbers"])
        for name in ("Ratio", "Replacing", "Doubled", "Extremes")
    ),
]


@pytest.fixture(autouse=True)
def switching():
    """Let threads take turns as often as possible."""
    torch.manual_seed(0)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.setswitchinterval(before)


def together(*calls: Callable[[], Any]) -> None:
    """Run the calls in threads of their own, and raise what one of them raises."""
    errors: list[BaseException] = []

    def run(call: Callable[[], Any]) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def each(update: Callable[..., Any], batches: list[Any]) -> Callable[[], None]:
    def call() -> None:
        for batch in batches:
            update(*batch)

    return call


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_threads_count_as_one(case):
    sizes = (8,) if case.name in WINDOWS else (8, 3, 5)  # which are the last of all is left open
    parts = [[case.inputs(n) for n in sizes] * (UPDATES // len(sizes)) for _ in range(THREADS)]
    if case.name in WINDOWS:
        parts = [parts[0]] * THREADS
    shared, alone = case.make(), case.make()
    together(
        *(each(shared.update, part) for part in parts[:-1]),
        each(shared, parts[-1]),
        each(shared.compute, [()] * UPDATES),
    )
    for part in parts:
        each(alone.update, part)()
    assert shared.update_count == alone.update_count == THREADS * UPDATES
    if case.name != "TopSamples":
        found, expected = shared.compute(), alone.compute()
        if case.name == "CatMetric":
            found, expected = found.sort()[0], expected.sort()[0]
        same(found, expected, 1e-5)
    else:
        ids = shared.compute()["best_ids"]
        assert len(ids.unique()) == 3 and shared._extras() == alone._extras()


@pytest.mark.parametrize("groups", [True, False])
def test_threads_that_share_a_collection(groups):
    def make() -> MetricCollection:
        chosen = ("BinaryAccuracy", "BinaryF1Score", "BinaryConfusionMatrix", "BinaryAUROC-exact")
        chosen += ("BinaryAUROC-binned", "BinaryAveragePrecision-exact", "BinaryCalibrationError")
        made = {case.name: case.make() for case in CASES if case.name in chosen}
        assert len(made) == len(chosen)
        return MetricCollection(made, compute_groups=groups)

    parts = [[MAKERS["binary"](n) for n in (7, 4)] * 8 for _ in range(THREADS)]
    shared, alone = make(), make()

    def looks() -> None:
        for _ in range(10):
            shared.compute()
            shared["BinaryAccuracy"].compute()
            copy.deepcopy(shared).compute()

    together(*(each(shared.update, part) for part in parts[:-1]), each(shared, parts[-1]), looks)
    for part in parts:
        each(alone.update, part)()
    same(shared.compute(), alone.compute(), 1e-6)
    assert {metric.update_count for metric in shared.values()} == {64}


def test_chunks_of_an_exact_curve_stay_together():
    metric = BinaryAUROC()
    batch = torch.full((100,), 0.25), torch.ones(100, dtype=torch.int64)
    together(*[each(metric.update, [batch] * 500)] * 4)
    assert [len(chunk) for chunk in metric.preds] == [len(chunk) for chunk in metric.target]
    assert torch.equal(torch.cat(metric.preds), torch.full((200_000,), 0.25))
    assert torch.equal(torch.cat(metric.target), torch.ones(200_000, dtype=torch.uint8))


def test_a_member_leaves_while_the_collection_goes_on():
    metrics = MetricCollection([BinaryAUROC(), BinaryAveragePrecision()])
    batch = MAKERS["binary"](10)
    member = dict(metrics.items(copy_state=False))["BinaryAUROC"]
    together(
        each(metrics.update, [batch] * 50),
        each(member.update, [batch] * 50),
        each(metrics.compute, [()] * 20),
    )
    assert metrics["BinaryAveragePrecision"].update_count == 50
    assert member.update_count == sum(map(len, member.preds)) / 10


def test_states_are_saved_and_merged_whole():
    """A copy, however it is made while others update, holds as many predictions as targets."""
    metric, batch = BinaryAUROC(), MAKERS["binary"](10)
    other = BinaryAUROC()
    metric.persistent(True)

    def copies() -> None:
        for _ in range(20):
            for held in (metric.state_dict(), pickle.loads(pickle.dumps(metric)).metric_state):
                assert [*map(len, held["preds"])] == [*map(len, held["target"])]
            other.merge_state(metric)
            metric.from_state_bytes(metric.state_bytes()).compute()

    def merges() -> None:
        for _ in range(5):
            metric.merge_state(other)

    together(each(metric.update, [batch] * 100), copies, merges)
    assert sum(map(len, metric.preds)) == 10 * metric.update_count


def test_the_copy_of_a_lock_is_free():
    lock = Lock()
    with lock:
        copies = [copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))]
    for other in copies:
        assert other is not lock
        together(other.acquire)


class Waiting(SumMetric):
    """Its update says that it has begun, and goes on when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = ()  # two events, which no copy could take along

    def update(self, value: float) -> None:
        for begun, go_on in self.inside:
            begun.set()
            go_on.wait(10)
        super().update(value)


@pytest.mark.parametrize(
    "wrapped", [MinMaxMetric, lambda metric: ClasswiseWrapper(MultioutputWrapper(metric, 1))]
)
def test_a_wrapper_computes_while_another_thread_is_in_forward(wrapped):
    """The states of one batch, to which metrics point meanwhile, are nobody else's to put back."""
    shared = wrapped(Waiting())
    (metric,) = (each for each in shared.modules() if isinstance(each, Waiting))
    batch = torch.ones(1, 1)
    shared(batch)
    begun, go_on = threading.Event(), threading.Event()
    metric.inside = ((begun, go_on),)
    forward = threading.Thread(target=shared, args=(batch,))
    compute = threading.Thread(target=shared.compute)
    forward.start()
    begun.wait(10)
    compute.start()
    compute.join(0.2)  # as far as it gets
    go_on.set()
    forward.join()
    compute.join()
    metric.inside = ()
    shared(batch)
    assert metric.compute() == 3
