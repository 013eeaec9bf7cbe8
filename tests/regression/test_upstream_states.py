"""The states of torchmetrics, under its names: read, assigned and added to."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor

import fastmetrics
from fastmetrics import MetricCollection

# What the states here do not say.
UNKNOWN = {
    "PearsonCorrCoef": {"max_abs_dev_x", "max_abs_dev_y"},
    "ConcordanceCorrCoef": {"max_abs_dev_x", "max_abs_dev_y"},
    "CosineSimilarity": {"preds", "target"},
}
# What follows from others, and cannot be assigned.
DERIVED = {"target_squared"}

CASES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    *[
        (name, {}, (20,))
        for name in (
            "MeanSquaredError",
            "MeanAbsoluteError",
            "MeanSquaredLogError",
            "MeanAbsolutePercentageError",
            "SymmetricMeanAbsolutePercentageError",
            "WeightedMeanAbsolutePercentageError",
            "LogCoshError",
            "TweedieDevianceScore",
            "PearsonCorrCoef",
            "ConcordanceCorrCoef",
            "R2Score",
            "RelativeSquaredError",
            "ExplainedVariance",
            "NormalizedRootMeanSquaredError",
            "SpearmanCorrCoef",
            "KendallRankCorrCoef",
        )
    ],
    *[
        (name, {"num_outputs": 3}, (20, 3))
        for name in (
            "MeanSquaredError",
            "MeanAbsoluteError",
            "LogCoshError",
            "PearsonCorrCoef",
            "RelativeSquaredError",
            "SpearmanCorrCoef",
        )
    ],
    ("R2Score", {"multioutput": "raw_values"}, (20, 3)),
    ("ExplainedVariance", {"multioutput": "raw_values"}, (20, 3)),
    *[
        ("NormalizedRootMeanSquaredError", {"normalization": kind, "num_outputs": n}, shape)
        for kind in ("mean", "range", "std", "l2")
        for n, shape in ((1, (20,)), (3, (20, 3)))
    ],
    ("MinkowskiDistance", {"p": 3}, (20,)),
    ("CriticalSuccessIndex", {"threshold": 0.5}, (20,)),
    ("ContinuousRankedProbabilityScore", {}, (20, 4)),
    *[
        (name, {"reduction": kind}, (20, 3))
        for name in ("KLDivergence", "JensenShannonDivergence")
        for kind in ("mean", "sum", "none")
    ],
    *[(name, {}, (20,)) for name in ("SumMetric", "MeanMetric", "MaxMetric", "MinMetric")],
    ("CatMetric", {}, (20,)),
]
every_case = pytest.mark.parametrize(
    ("name", "arguments", "shape"), CASES, ids=lambda x: str(x).replace(" ", "")
)


def home(package: Any, name: str) -> Any:
    return getattr(package, name, None) or getattr(package.regression, name)


def metrics(name: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
    return home(fastmetrics, name)(**arguments), home(torchmetrics, name)(**arguments)


def batches(name: str, shape: tuple[int, ...]) -> list[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(3)
    count = 1 if name.endswith("Metric") else 2
    found = []
    for _ in range(2):
        inputs = [torch.rand(shape, generator=generator) + 0.1 for _ in range(count)]
        if name == "ContinuousRankedProbabilityScore":
            inputs[1] = inputs[1][:, 0]
        found.append(tuple(inputs))
    return found


def known(name: str, arguments: dict[str, Any], metric: Any) -> list[str]:
    """The states that say something; without a reduction, divergences do not count the rows."""
    unknown = UNKNOWN.get(name, set())
    if arguments.get("reduction") == "none":
        unknown = {"total"}
    return [state for state in metric._defaults if state not in unknown]


def joined(state: Any) -> Tensor:
    return torch.cat(state).flatten() if isinstance(state, list) else state


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=2e-5, atol=2e-5)


@every_case
def test_states_read_alike(name, arguments, shape):
    ours, theirs = metrics(name, arguments)
    for batch in (None, *batches(name, shape)):
        if batch is not None:
            ours.update(*batch)
            theirs.update(*batch)
        for state in known(name, arguments, theirs):
            wanted, found = getattr(theirs, state), getattr(ours, state)
            assert state in ours.metric_state
            assert isinstance(found, list) == isinstance(wanted, list)
            if batch is not None:
                assert joined(found).shape == joined(wanted).shape, state
                close(joined(found), joined(wanted))


@pytest.mark.parametrize("step", [1, -1])
@every_case
def test_states_can_be_assigned(name, arguments, shape, step):
    """One by one in any order: nothing but the values says what was counted."""
    ours, theirs = metrics(name, arguments)
    first, second = batches(name, shape)
    theirs.update(*first)
    for state in known(name, arguments, theirs)[::step]:
        if state not in DERIVED:
            setattr(ours, state, copy.deepcopy(getattr(theirs, state)))
    for metric in (ours, theirs):
        metric.update(*second)
    close(ours.compute(), theirs.compute())


@every_case
def test_checkpoints_of_torchmetrics(name, arguments, shape):
    ours, theirs = metrics(name, arguments)
    first, second = batches(name, shape)
    theirs.persistent(True)
    theirs.update(*first)
    ours.load_state_dict(theirs.state_dict())
    for metric in (ours, theirs):
        metric.update(*second)
    close(ours.compute(), theirs.compute())


def test_states_can_be_added_to():
    ours, theirs = metrics("MeanSquaredError", {})
    for metric in (ours, theirs):
        metric.sum_squared_error += 3.0
        metric.total += 2
        metric.update(torch.tensor([1.0]), torch.tensor([3.0]))
    close(ours.compute(), theirs.compute())
    ours, theirs = metrics("SumMetric", {})
    for metric in (ours, theirs):
        metric.sum_value += 3.0
        metric.update(2.0)
    assert ours.compute() == theirs.compute() == 5.0


@pytest.mark.parametrize("name", ["RunningSum", "RunningMean"])
def test_states_of_a_window(name):
    ours, theirs = (getattr(package, name)(window=2) for package in (fastmetrics, torchmetrics))
    for value in (1.0, 2.0, 4.0):
        for metric in (ours, theirs):
            metric.update(value)
    for state in theirs._defaults:
        assert getattr(ours, state) == getattr(theirs, state)
    assert not hasattr(ours, "sum_value_7") and not hasattr(ours, "sum_value")


def test_a_metric_of_a_collection_leaves_before_its_state_is_set():
    metrics = MetricCollection(
        {"a": fastmetrics.regression.R2Score(), "b": fastmetrics.regression.R2Score()}
    )
    metrics.update(*batches("R2Score", (20,))[0])
    before = metrics["b"].residual.clone()
    metrics["a"].residual = torch.tensor(9.0)
    assert metrics["a"].residual == 9.0
    assert torch.equal(metrics["b"].residual, before)


def test_what_follows_from_other_states_is_not_assigned():
    metric = fastmetrics.regression.NormalizedRootMeanSquaredError()
    with pytest.raises(AttributeError, match="target_squared"):
        metric.target_squared = torch.tensor([1.0])
