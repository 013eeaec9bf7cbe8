"""Every public metric with arguments and inputs that suit it, for the laws that all must keep."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import fastmetrics
import fastmetrics.classification
import fastmetrics.regression
from fastmetrics.metric import Metric

C = 3

# What constructors ask for.
ARGUMENTS: dict[str, Any] = {
    "num_classes": C,
    "num_labels": C,
    "num_groups": 2,
    "beta": 0.5,
    "min_recall": 0.5,
    "min_precision": 0.5,
    "min_sensitivity": 0.5,
    "min_specificity": 0.5,
    "p": 3.0,
    "threshold": 0.5,
}
DISTRIBUTIONS = ("KLDivergence", "JensenShannonDivergence")
POSITIVE = ("MeanSquaredLogError", "TweedieDevianceScore")
MODES = {"exact": None, "binned": 20, "ranked": "auto"}


@dataclass(frozen=True)
class Case:
    """One metric: how to make it, and inputs for a number of samples."""

    name: str
    make: Callable[[], Metric]
    inputs: Callable[[int], tuple[Any, ...]]

    def __repr__(self) -> str:
        return self.name


def _scores(task: str, count: int) -> tuple[Tensor, Tensor]:
    if task == "Binary":
        return torch.rand(count), torch.randint(2, (count,))
    if task == "Multilabel":
        return torch.rand(count, C), torch.randint(2, (count, C))
    return torch.rand(count, C).softmax(1), torch.randint(C, (count,))


def _classification_inputs(name: str) -> Callable[[int], tuple[Any, ...]]:
    task = next(task for task in ("Binary", "Multiclass", "Multilabel") if name.startswith(task))

    def inputs(count: int) -> tuple[Any, ...]:
        preds, target = _scores(task, count)
        if "ExactMatch" in name and task == "Multiclass":
            return torch.randint(2, (count, 2)), torch.randint(2, (count, 2))
        if "Group" in name or "Fairness" in name:
            return preds, target, torch.randint(2, (count,))
        return preds, target

    return inputs


def _regression_inputs(name: str) -> Callable[[int], tuple[Any, ...]]:
    def inputs(count: int) -> tuple[Any, ...]:
        if name in DISTRIBUTIONS or name == "CosineSimilarity":
            return torch.rand(count, C).softmax(1), torch.rand(count, C).softmax(1)
        if name == "ContinuousRankedProbabilityScore":
            return torch.randn(count, 5), torch.randn(count)
        if name in POSITIVE:
            return torch.rand(count) + 0.1, torch.rand(count) + 0.1
        target = torch.randn(count)
        return target + torch.randn(count) / 2, target

    return inputs


def _arguments(cls: type) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    return {
        p.name: ARGUMENTS[p.name]
        for p in parameters
        if p.name in ARGUMENTS and (p.default is p.empty or p.name.startswith("num_"))
    }


def cases() -> list[Case]:
    """Return one case for each class, and one for each kind of curve."""
    found = []
    for name in fastmetrics.classification.__all__:
        if not name.startswith(("Binary", "Multi")):
            continue
        cls = getattr(fastmetrics.classification, name)
        arguments, inputs = _arguments(cls), _classification_inputs(name)
        if "thresholds" in inspect.signature(cls).parameters:
            for kind, thresholds in MODES.items():
                make = _maker(cls, arguments | {"thresholds": thresholds})
                found.append(Case(f"{name}-{kind}", make, inputs))
        else:
            found.append(Case(name, _maker(cls, arguments), inputs))
    for name in fastmetrics.regression.__all__:
        cls = getattr(fastmetrics.regression, name)
        found.append(Case(name, _maker(cls, _arguments(cls)), _regression_inputs(name)))
    for name in fastmetrics.aggregation.__all__:
        if name == "BaseAggregator":
            continue
        cls = getattr(fastmetrics, name)
        found.append(Case(name, _maker(cls, {}), lambda count: (torch.randn(count),)))
    return found


def _maker(cls: type[Metric], arguments: dict[str, Any]) -> Callable[[], Metric]:
    return lambda: cls(**arguments)
