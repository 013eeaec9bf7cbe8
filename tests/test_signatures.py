"""Arguments, and what metrics say of themselves: those of torchmetrics, and what comes on top."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from fastmetrics import functional

pytestmark = pytest.mark.smoke

DOMAINS = ("classification", "regression", "detection", "segmentation", "text", "aggregation")
CONSTANTS = (
    "higher_is_better",
    "is_differentiable",
    "full_state_update",
    "plot_lower_bound",
    "plot_upper_bound",
    "plot_legend_name",
)
# Metrics that need no state of all data for the value of a batch.
UPDATED_ONCE = (
    *("ConcordanceCorrCoef", "CriticalSuccessIndex", "NormalizedRootMeanSquaredError"),
    *("PearsonCorrCoef", "BLEUScore", "SacreBLEUScore", "CHRFScore", "ROUGEScore"),
    *("KendallRankCorrCoef", "MaxMetric", "MinMetric"),
)
# What is said otherwise here.
OTHERS = {
    "BinaryEER": {"higher_is_better": False},
    "MulticlassEER": {"higher_is_better": False},
    "MultilabelEER": {"higher_is_better": False},
    "BinaryHingeLoss": {"is_differentiable": False},
    "MulticlassHingeLoss": {"is_differentiable": False},
    "HausdorffDistance": {"is_differentiable": False},
    "KendallRankCorrCoef": {"plot_lower_bound": -1.0},
    "Perplexity": {"plot_lower_bound": 1.0},
    "WordInfoPreserved": {"higher_is_better": True},
}


def public(prefix: str, kind: Any) -> Iterator[Any]:
    """Pairs of ours and theirs, of the names that both show in a domain."""
    for domain in DOMAINS:
        path = f"{prefix}{domain}"
        if prefix and domain == "aggregation":
            continue
        ours = importlib.import_module(f"fastmetrics.{path}")
        theirs = importlib.import_module(f"torchmetrics.{path}")
        for name in ours.__all__:
            if name in theirs.__all__ if hasattr(theirs, "__all__") else hasattr(theirs, name):
                pair = getattr(ours, name), getattr(theirs, name)
                if kind(pair[1]) and pair[0] is not pair[1]:
                    yield pytest.param(*pair, id=name)


CLASSES = [*public("", inspect.isclass)]
FUNCTIONS = [*public("functional.", inspect.isfunction)]


def positional(call: Any) -> list[inspect.Parameter]:
    parameters = inspect.signature(call).parameters.values()
    return [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def begins_with(ours: Any, theirs: Any, on_top: tuple[str, ...] = ()) -> None:
    """Names, order and defaults; what is ours comes behind, by keyword but for ``on_top``."""
    found, wanted = positional(ours), positional(theirs)
    assert [p.name for p in found[: len(wanted)]] == [p.name for p in wanted]
    for mine, other in zip(found, wanted, strict=False):
        # `MulticlassF1Score` may be made without a number of classes, as its siblings.
        assert mine.default == other.default or mine.name == "num_classes", mine
    assert {p.name for p in found[len(wanted) :]} <= {*on_top}


def test_all_are_here():
    assert len(CLASSES) > 120 and len(FUNCTIONS) > 130


@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_classes(ours, theirs):
    # The class of a task makes another metric.
    maker = "__new__" if "__new__" in vars(theirs) else "__init__"
    begins_with(getattr(ours, maker), getattr(theirs, maker), on_top=("zero_division",))
    if maker == "__new__":
        return
    weighted = ours.__module__.startswith("fastmetrics.classification")
    begins_with(ours.update, theirs.update, on_top=("weight",) if weighted else ())
    said = {name: getattr(theirs, name, None) for name in CONSTANTS}
    wanted = said | OTHERS.get(ours.__name__, {})
    if ours.__name__ in UPDATED_ONCE:
        wanted["full_state_update"] = False
    assert {name: getattr(ours, name) for name in CONSTANTS} == wanted


@pytest.mark.parametrize(("ours", "theirs"), FUNCTIONS)
def test_functions(ours, theirs):
    begins_with(ours, theirs)
    assert getattr(functional, ours.__name__, ours) is ours
