"""What only `stat_scores_` must keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.ops.laws import states
from tests.ops.stat_scores import make


@pytest.mark.smoke
@pytest.mark.parametrize("constant", ["preds", "target", "both"])
@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_true_negatives_are_exactly_zero(num_classes, constant):
    """A class that every sample has, or that every sample gets, has no true negatives at all.

    Otherwise rounding would turn 0/0 into 1 in what divides by `tn + fn` or `tn + fp`.
    """
    for seed in range(20):
        rng = np.random.default_rng(seed)
        size = int(rng.integers(2, 60))
        only = int(rng.integers(num_classes))
        preds, target = (torch.from_numpy(rng.integers(0, num_classes, size)) for _ in range(2))
        for name, labels in (("preds", preds), ("target", target)):
            if constant in (name, "both"):
                labels.fill_(only)
        weight = torch.from_numpy(rng.random(size))
        for each in (False, True):
            inputs = {"preds": preds, "target": target, "weight": weight}
            if each:
                inputs = {"preds": preds[None], "target": target[None], "weight": weight[:1]}
            call = make(
                seed, classes=num_classes, shape=tuple(inputs["target"].shape), total=False,
                each=each, dtype=torch.int64, weight=torch.float64, start=0, ignore_index=None,
            ).but(**inputs)  # fmt: skip
            for who, state in states(call).items():
                counts = state.view(num_classes, 4)
                assert counts[only, 2] == 0.0, f"{who}: tn of class {only} is {counts[only, 2]}"
