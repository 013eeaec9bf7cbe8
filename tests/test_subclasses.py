"""What the classes of users do with ours, as laws; torchmetrics is the oracle."""

from __future__ import annotations

import abc
import copy
import functools
import importlib
import inspect
import pickle
import types
from typing import Any
from unittest import mock

import pytest
import torch
import torchmetrics
import torchmetrics.detection
import torchmetrics.segmentation
from torch import Tensor

from fastmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryStatScores,
    MulticlassConfusionMatrix,
    MulticlassStatScores,
)
from fastmetrics.core.statistic_metric import StatisticMetric
from fastmetrics.metric import CompositionalMetric, Metric
from fastmetrics.regression import MeanSquaredError

from .every import Case, metrics

PEERS = (
    torchmetrics.classification,
    torchmetrics.regression,
    torchmetrics.text,
    torchmetrics.detection,
    torchmetrics.segmentation,
    torchmetrics,
)
FIRST = torch.tensor([0.9, 0.1, 0.8, 0.3]), torch.tensor([1, 0, 1, 0])
SECOND = torch.tensor([0.9, 0.1, 0.8, 0.3]), torch.tensor([0, 1, 1, 0])


def check_bookkeeping(metric: Any) -> None:
    """Updates count once, values are not those of an earlier state, and a reset forgets."""
    for _ in range(2):
        metric.update(*FIRST)
        assert metric.update_count == metric._update_count == 1
        assert metric.compute() == 1
        metric.update(*SECOND)
        assert metric.update_count == 2
        assert metric.compute() == 0.75
        assert metric(*SECOND) == 0.5
        assert metric.update_count == 3
        metric.reset()
        assert metric.update_count == 0


class Silent:
    """Its ``__init_subclass__`` calls no other one."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        cls.label = cls.__name__


class Labelled(abc.ABCMeta):
    """A metaclass that puts methods on classes after they are made."""

    def __init__(cls, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        inherited = cls.update

        def update(self: Any, preds: Tensor, target: Tensor) -> None:
            inherited(self, preds, target)

        cls.update = update


class WithUpdate(Silent, BinaryAccuracy):
    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update(preds, target)


class WithCompute(Silent, BinaryAccuracy):
    def compute(self) -> Tensor:
        return super().compute()


class Deeper(WithUpdate):
    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update(preds, target)

    def compute(self) -> Tensor:
        return super().compute()


class OfMetaclass(BinaryAccuracy, metaclass=Labelled):
    pass


class Counting(Silent, Metric):
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        self.right += ((preds > 0.5) == target).sum()
        self.total += len(target)

    def compute(self) -> Tensor:
        return self.right / self.total


@pytest.mark.parametrize("cls", [WithUpdate, WithCompute, Deeper, OfMetaclass, Counting])
def test_no_base_and_no_metaclass_removes_the_wrapping(cls: type[Metric]) -> None:
    check_bookkeeping(cls())


@pytest.mark.parametrize("base", [BinaryAccuracy, WithUpdate, Counting])
@pytest.mark.parametrize("name", ["update", "compute"])
@pytest.mark.parametrize("made_before", [False, True])
def test_methods_that_are_put_on_a_class(base: Any, name: str, made_before: bool) -> None:
    cls = type("Later", (base,), {})
    metric = cls() if made_before else None
    inherited = getattr(base, name)

    @functools.wraps(inherited)
    def method(self: Any, *args: Any) -> Any:
        return inherited(self, *args)

    setattr(cls, name, method)
    check_bookkeeping(metric or cls())


@pytest.mark.parametrize("name", ["update", "compute"])
def test_methods_that_are_put_on_an_instance(name: str) -> None:
    metric = BinaryAccuracy()
    inherited = getattr(metric, name)
    setattr(metric, name, lambda *args: inherited(*args))
    check_bookkeeping(metric)


def test_an_update_of_one_metric_is_counted_and_copied() -> None:
    metric = Counting()

    def update(self: Counting, preds: Tensor, target: Tensor) -> None:
        self.right.add_(((preds > 0.5) == target).sum())
        self.total.add_(len(target))

    metric.update = types.MethodType(update, metric)  # type: ignore[method-assign]
    check_bookkeeping(metric)
    other = copy.deepcopy(metric)
    metric.reset()
    check_bookkeeping(other)
    assert metric.update_count == 0
    assert [*inspect.signature(metric.update).parameters] == ["preds", "target"]
    metric.update = mock.Mock()  # type: ignore[method-assign]
    metric.update(*FIRST)
    metric.update.assert_called_once_with(*FIRST)


class SumExceptBatch(MeanSquaredError):
    def update(self, preds: Tensor, target: Tensor) -> None:
        self.sum_squared_error += ((preds - target) ** 2).sum()
        self.total += preds.shape[0]


class Kept(BinaryAUROC):
    def update(self, preds: Tensor, target: Tensor) -> None:
        self.preds.append(preds)
        self.target.append(target)


class Assigned(MulticlassConfusionMatrix):
    def update(self, preds: Tensor, target: Tensor) -> None:
        self.confmat = self.confmat + torch.bincount(target * 2 + preds, minlength=4).view(2, 2)


def test_updates_that_write_the_states_of_a_base() -> None:
    error = SumExceptBatch()
    for _ in range(2):
        error.update(torch.zeros(2, 3), torch.ones(2, 3))
    assert error.compute() == 3
    assert error(torch.zeros(1, 3), torch.ones(1, 3)) == 3
    assert error.total == 5

    curve, right = Kept(), BinaryAUROC()
    for batch in (FIRST, SECOND):
        curve.update(*batch)
        right.update(*batch)
    assert curve.compute() == right.compute()

    matrix = Assigned(num_classes=2)
    matrix.update(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    assert matrix(torch.tensor([0]), torch.tensor([1])).tolist() == [[0, 0], [1, 0]]
    assert matrix.compute().tolist() == [[1, 1], [1, 1]]


# What the states here do not say: bins hold no scores, similarities no rows, sums no samples.
UNTOLD = {
    "BinaryCalibrationError",
    "MulticlassCalibrationError",
    "CosineSimilarity",
    "ROUGEScore",
    # What they keep of images and samples are rows, which are loaded at once or not at all.
    "DiceScore",
    "ExtendedEditDistance",
    "MeanAveragePrecision",
    *(f"{kind}IntersectionOverUnion" for kind in ("", "Generalized", "Distance", "Complete")),
    # torchmetrics has no such metric.
    "AverageSurfaceDistance",
    "NormalizedSurfaceDice",
}


def assignable() -> list[Case]:
    """Metrics whose states torchmetrics has, and that can be told from them."""
    return [
        case
        for case in metrics()
        if case.name not in UNTOLD
        and not case.name.endswith("-ranked")
        and isinstance(case.make(), StatisticMetric)
    ]


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("case", assignable(), ids=repr)
@pytest.mark.parametrize("step", [1, -1])
def test_the_states_of_torchmetrics_can_be_assigned(case: Case, step: int) -> None:
    """One by one in any order, they say all that was counted."""
    told, saw = case.make(), case.make()
    cls = type(told).__name__
    home = next(m for m in PEERS if hasattr(m, cls))
    theirs = getattr(home, cls)(**inspect.getclosurevars(case.make).nonlocals["arguments"])
    for batch in (case.inputs(20), case.inputs(7)):
        theirs.update(*batch)
        saw.update(*batch)
    views = told._views()
    for name in [*theirs._defaults][::step]:
        if name not in views and name not in told._defaults:
            assert name.startswith("max_abs_dev")  # no value depends on it
        elif name not in views or views[name].set is not None:
            setattr(told, name, copy.deepcopy(getattr(theirs, name)))
    batch = case.inputs(9)
    for metric in (told, saw, theirs):
        metric.update(*batch)
    close(told.compute(), saw.compute())
    if "LogAUC" not in cls:  # torchmetrics cuts the curve elsewhere
        close(told.compute(), theirs.compute())


class CountsItself(MulticlassStatScores):
    """Built on the counts in the way of torchmetrics' own metrics."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        table = torch.bincount(target * 3 + preds, minlength=9).view(3, 3)
        tp = table.diag()
        fp, fn = table.sum(0) - tp, table.sum(1) - tp
        self._update_state(tp, fp, len(target) - tp - fp - fn, fn)

    def compute(self) -> Tensor:
        return torch.stack(self._final_state())


class ForThreeLabels(BinaryStatScores):
    """Has more counts than its base."""

    def __init__(self, multidim_average: str = "global") -> None:
        super().__init__()
        self._create_state(size=3, multidim_average=multidim_average)

    def update(self, value: int) -> None:
        self._update_state(*(torch.full((3,), value + place) for place in range(4)))

    def compute(self) -> Tensor:
        return torch.stack(self._final_state())


def test_metrics_on_top_of_the_counts() -> None:
    ours, right = CountsItself(3), MulticlassStatScores(3, average=None)
    ours._create_state(size=3)  # they are there already
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        preds, target = torch.randint(3, (2, 20), generator=generator)
        assert ours(preds, target).T.equal(right(preds, target)[:, :4])
    assert ours.compute().T.equal(right.compute()[:, :4])

    metric = ForThreeLabels()
    assert metric(1).tolist() == [[1] * 3, [2] * 3, [3] * 3, [4] * 3]
    metric.update(2)
    assert metric.compute().tolist() == [[3] * 3, [5] * 3, [7] * 3, [9] * 3]
    metric = ForThreeLabels("samplewise")
    metric.update(1)
    metric.update(2)
    assert metric.compute()[0].tolist() == [1] * 3 + [2] * 3


class Ours(Metric):
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("ours", [], dist_reduce_fx="cat")
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, x: float) -> None:
        self.total += x

    def compute(self) -> Tensor:
        return self.total


class Theirs(torchmetrics.Metric):
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("theirs", [], dist_reduce_fx="cat")
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, x: float) -> None:
        self.total += x

    def compute(self) -> Tensor:
        return self.total


class OursFirst(Ours, Theirs):
    pass


class TheirsFirst(Theirs, Ours):
    pass


class OursFirstUpdates(Ours, Theirs):
    def update(self, x: float) -> None:
        super().update(x)


class TheirsFirstUpdates(Theirs, Ours):
    def update(self, x: float) -> None:
        super().update(x)


class Swallows:
    """A mixin that does not tell other bases of its subclasses."""

    def __init_subclass__(cls) -> None:
        pass


class OursFirstUntold(Swallows, Ours, Theirs):
    pass


class TheirsFirstUntold(Swallows, Theirs, Ours):
    pass


BOTH = (
    OursFirst,
    TheirsFirst,
    OursFirstUpdates,
    TheirsFirstUpdates,
    OursFirstUntold,
    TheirsFirstUntold,
)


@pytest.mark.parametrize("cls", BOTH, ids=lambda c: c.__name__)
def test_one_base_of_torchmetrics_and_one_of_ours(cls: Any) -> None:
    metric = cls()
    for _ in range(2):
        metric.update(1.0)
        assert metric.update_count == metric._update_count == 1
        assert metric.compute() == 1
        metric.update(2.0)
        assert metric.compute() == 3
        assert metric(4.0) == 4
        assert metric.update_count == 3
        assert metric.compute() == 7
        for copied in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
            copied.update(1.0)
            assert (copied.compute(), metric.compute()) == (8, 7)
        metric.reset()
        assert metric.update_count == 0
    metric.persistent(True)
    assert metric.state_dict().keys() == {"ours", "theirs", "total"}
    assert isinstance(metric + 1, CompositionalMetric)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("classification.BinaryAccuracy", {}),
        ("classification.MulticlassF1Score", {"num_classes": 3}),
        ("classification.MulticlassConfusionMatrix", {"num_classes": 3}),
        ("classification.BinaryAUROC", {}),
        ("classification.BinaryAveragePrecision", {"thresholds": 5}),
        ("regression.MeanSquaredError", {}),
        ("regression.PearsonCorrCoef", {}),
    ],
)
def test_a_metric_in_front_of_its_namesake_in_torchmetrics(
    name: str, arguments: dict[str, Any]
) -> None:
    part, cls = name.split(".")
    theirs = getattr(getattr(torchmetrics, part), cls)
    ours = getattr(importlib.import_module(f"fastmetrics.{part}"), cls)
    both = type("Both", (ours, theirs), {})
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(9, generator=generator)
    second = torch.rand(9, generator=generator)
    if "Multiclass" in cls:
        first, second = (3 * first).long(), (3 * second).long()
    elif part == "classification":
        second = (2 * second).long()
    mixed, alone = both(**arguments), ours(**arguments)
    for metric in (mixed, alone):
        metric.update(first, second)
        metric(second if part != "classification" else first, second)
    torch.testing.assert_close(mixed.compute(), alone.compute())


class Looks(Ours):
    """Reads its own count, as a subclass does that treats the first batch in another way."""

    def update(self, x: float) -> None:
        self.seen = self._update_count
        if x < 0:
            raise ValueError("negative")
        super().update(x)


def test_updates_are_counted_before_they_run() -> None:
    metric = Looks()
    metric.update(1.0)
    assert metric.seen == 1
    with pytest.raises(ValueError, match="negative"):
        metric.update(-1.0)
    assert metric.seen == metric.update_count == 2
    metric(1.0)
    assert metric.update_count == 3


def test_a_batch_that_our_ops_refuse_is_not_counted() -> None:
    metric = BinaryStatScores()
    metric.update(*FIRST)
    before = metric.compute()
    with pytest.raises(RuntimeError, match="target"):
        metric.update(FIRST[0], FIRST[1] + 7)
    assert metric.update_count == metric._update_count == 1
    assert metric.compute() is before
