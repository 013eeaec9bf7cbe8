"""Every public function with arguments and inputs that suit it, for the laws that all must keep."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from fastmetrics.functional import classification, regression
from tests.every_metric import ARGUMENTS, MODES, C

DISTRIBUTIONS = ("kl_divergence", "jensen_shannon_divergence", "cosine_similarity")
POSITIVE = ("mean_squared_log_error", "tweedie_deviance_score")


@dataclass(frozen=True)
class Case:
    """One function with its arguments, and inputs for a number of samples."""

    name: str
    call: Callable[..., Any]
    inputs: Callable[[int], tuple[Any, ...]]

    def __repr__(self) -> str:
        return self.name


def _classification_inputs(name: str) -> Callable[[int], tuple[Any, ...]]:
    def inputs(count: int) -> tuple[Any, ...]:
        groups = torch.randint(2, (count,))
        if name == "demographic_parity":
            return torch.rand(count), groups
        if name in ("equal_opportunity", "binary_fairness", "binary_groups_stat_rates"):
            return torch.rand(count), torch.randint(2, (count,)), groups
        if name.startswith("binary"):
            return torch.rand(count), torch.randint(2, (count,))
        if name.startswith("multilabel"):
            return torch.rand(count, C), torch.randint(2, (count, C))
        if "exact_match" in name:
            return torch.randint(C, (count, 2)), torch.randint(C, (count, 2))
        return torch.rand(count, C).softmax(1), torch.randint(C, (count,))

    return inputs


def _regression_inputs(name: str) -> Callable[[int], tuple[Any, ...]]:
    def inputs(count: int) -> tuple[Any, ...]:
        if name in DISTRIBUTIONS:
            return torch.rand(count, C).softmax(1), torch.rand(count, C).softmax(1)
        if name == "continuous_ranked_probability_score":
            return torch.randn(count, 5), torch.randn(count)
        if name in POSITIVE:
            return torch.rand(count) + 0.1, torch.rand(count) + 0.1
        target = torch.randn(count)
        return target + torch.randn(count) / 2, target

    return inputs


def _arguments(function: Callable[..., Any]) -> dict[str, Any]:
    found = {}
    for p in list(inspect.signature(function).parameters.values())[2:]:
        required = p.default is p.empty
        if p.name == "task" and required:
            found[p.name] = "multiclass"
        elif p.name in ARGUMENTS and (required or p.name in ("num_classes", "num_labels")):
            found[p.name] = ARGUMENTS[p.name]
    return found


def _bind(function: Callable[..., Any], arguments: dict[str, Any]) -> Callable[..., Any]:
    return lambda *inputs: function(*inputs, **arguments)


def cases() -> list[Case]:
    """Return one case for each function, and one for each kind of curve."""
    found = []
    for module, inputs in (
        (classification, _classification_inputs),
        (regression, _regression_inputs),
    ):
        for name in module.__all__:
            function = getattr(module, name)
            arguments = _arguments(function)
            if "thresholds" in inspect.signature(function).parameters:
                for kind, thresholds in MODES.items():
                    call = _bind(function, arguments | {"thresholds": thresholds})
                    found.append(Case(f"{name}-{kind}", call, inputs(name)))
            else:
                found.append(Case(name, _bind(function, arguments), inputs(name)))
    return found
