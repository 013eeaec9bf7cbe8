"""What constructors refuse at once, by the name of the argument."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch

from fastmetrics import MetricCollection, aggregation, classification, regression
from fastmetrics.utilities.exceptions import TorchMetricsUserError
from fastmetrics.wrappers import BootStrapper, MultioutputWrapper
from tests.every import MAKERS, arguments_of, classes, kind_of
from tests.refused import NO_BOOLS, flags_of


@pytest.mark.parametrize("size", [2**31, 2**62, 2**63])
@pytest.mark.parametrize(
    "name", ["MulticlassAccuracy", "MulticlassConfusionMatrix", "MulticlassAUROC"]
)
def test_sizes_beyond_what_a_label_can_say(name, size):
    with pytest.raises(ValueError, match="`num_classes` must be below"):
        getattr(classification, name)(size)


@pytest.mark.parametrize(
    ("cls", "arguments", "error"),
    [
        (classification.BinaryAccuracy, {"ignore_index": 2**63}, ValueError),
        (classification.BinaryAUROC, {"thresholds": torch.ones(3) * 1j}, ValueError),
        (classification.BinaryAUROC, {"thresholds": torch.ones(3, device="meta")}, ValueError),
        (classification.BinaryCalibrationError, {"n_bins": 2**63}, ValueError),
        (aggregation.SumMetric, {"nan_strategy": [3]}, ValueError),
        (regression.MeanSquaredError, {"num_outputs": 2**63}, ValueError),
        (regression.R2Score, {"num_outputs": 3}, ValueError),
        (regression.TweedieDevianceScore, {"power": "3"}, TypeError),
        (regression.CriticalSuccessIndex, {"threshold": None}, TypeError),
    ],
)
def test_what_cannot_work_is_refused_by_name(
    cls: type, arguments: dict[str, Any], error: type[Exception]
):
    with pytest.raises(error, match=f"`{next(iter(arguments))}`"):
        cls(**arguments)


@pytest.mark.parametrize("odd", [torch.rand(2), "nope", 5])
@pytest.mark.parametrize(
    "name", ["dist_sync_fn", "distributed_available_fn", "sync_on_compute", "compute_on_cpu"]
)
def test_odd_settings_are_refused_by_name(name: str, odd: Any):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        classification.BinaryAccuracy(**{name: odd})


def test_odd_settings_of_collections_and_wrappers_are_refused_by_name():
    metric = classification.BinaryAccuracy()
    for odd in (torch.rand(2), "nope", [3], 5):
        with pytest.raises(ValueError, match="`compute_groups` must"):
            MetricCollection([metric], compute_groups=odd)
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        BootStrapper(metric, seed=torch.rand(2))
    with pytest.raises(ValueError, match=r"`num_outputs` must be below 2\*\*31"):
        MultioutputWrapper(metric, 2**62)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        *((cls, arguments_of(cls)) for *_, cls in classes()),
        (BootStrapper, {"base_metric": regression.MeanSquaredError()}),
        (MultioutputWrapper, {"base_metric": regression.MeanSquaredError(), "num_outputs": 2}),
    ],
)
def test_flags_that_are_no_bool_are_refused(cls: type, arguments: dict[str, Any]):
    for name in flags_of(cls):
        for odd in NO_BOOLS:
            with pytest.raises((TypeError, ValueError), match=f"`{name}` must be a bool, got"):
                cls(**arguments | {name: odd})


ODD = (object(), "nope", [3], float("nan"), 2**63, 1j, torch.ones(2, 2).to_sparse())


@pytest.mark.parametrize("cls", [cls for *_, cls in classes()])
def test_odd_arguments_are_refused_by_name_or_work(cls: type):
    """What a constructor takes, the first batch is not refused for."""
    domain = cls.__module__.split(".")[1]
    batch = MAKERS[kind_of(domain, cls.__name__)](6)
    arguments = arguments_of(cls)
    for name in inspect.signature(cls).parameters.keys() - {"kwargs", "options"}:
        for value in ODD:
            try:
                metric = cls(**arguments | {name: value})
                metric.update(*batch)
                metric.compute()
            except (ValueError, TypeError, TorchMetricsUserError) as error:
                # A category that the batch has may be missing now.
                assert re.search(f"`{name}`|`preds` must hold categories", str(error))
