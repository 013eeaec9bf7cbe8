"""What constructors refuse at once, by the name of the argument."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fastmetrics import aggregation, classification, regression


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
