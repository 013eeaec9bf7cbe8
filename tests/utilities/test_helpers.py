"""Helpers that user code imports from `torchmetrics.utilities`, held against the originals."""

from __future__ import annotations

import enum
import importlib
import itertools
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fastmetrics.classification import MulticlassConfusionMatrix
from fastmetrics.utilities import (
    check_forward_full_state_property,
    compute,
    data,
    distributed,
    enums,
    imports,
)

# What user code imports of each module; the retrieval checks come with that domain.
NAMES = {
    "checks": ("_check_same_shape", "check_forward_full_state_property"),
    "compute": (
        "_safe_divide",
        "_safe_matmul",
        "_safe_xlogy",
        "auc",
        "interp",
        "normalize_logits_if_needed",
    ),
    "data": (
        "METRIC_EPS",
        "_bincount",
        "_flexible_bincount",
        "allclose",
        "dim_zero_cat",
        "dim_zero_max",
        "dim_zero_mean",
        "dim_zero_min",
        "dim_zero_sum",
        "interp",
        "select_topk",
        "to_categorical",
        "to_onehot",
    ),
    "distributed": ("class_reduce", "gather_all_tensors", "reduce"),
    "enums": (
        "AverageMethod",
        "ClassificationTask",
        "ClassificationTaskNoBinary",
        "ClassificationTaskNoMultilabel",
        "DataType",
        "EnumStr",
        "MDMCAverageMethod",
    ),
    "exceptions": ("TorchMetricsUserError", "TorchMetricsUserWarning"),
    "plot": (
        "_AX_TYPE",
        "_PLOT_OUT_TYPE",
        "plot_confusion_matrix",
        "plot_curve",
        "plot_single_or_multi_val",
    ),
    "prints": ("rank_zero_debug", "rank_zero_info", "rank_zero_only", "rank_zero_warn"),
}


def upstream(module: str) -> Any:
    return importlib.import_module(f"torchmetrics.utilities.{module}")


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what a function returns, or the type of what it raises."""
    try:
        return function(*args, **kwargs)
    except (ValueError, RuntimeError) as error:
        return type(error)


def assert_same(module: str, name: str, *args: Any, **kwargs: Any) -> None:
    ours = getattr(importlib.import_module(f"fastmetrics.utilities.{module}"), name)
    results = [outcome(f, *args, **kwargs) for f in (ours, getattr(upstream(module), name))]
    if isinstance(results[1], Tensor):
        torch.testing.assert_close(*results, rtol=1e-6, atol=1e-7, equal_nan=True)
    else:
        assert results[0] == results[1]


@pytest.mark.parametrize("module", NAMES)
def test_names(module: str) -> None:
    ours, theirs = importlib.import_module(f"fastmetrics.utilities.{module}"), upstream(module)
    for name in NAMES[module]:
        assert hasattr(ours, name), name
        assert hasattr(theirs, name), name


def test_root_names_are_all_there() -> None:
    ours = importlib.import_module("fastmetrics.utilities")
    assert set(ours.__all__) == set(importlib.import_module("torchmetrics.utilities").__all__)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(5,), (5, 3), (4, 2, 3)])
@pytest.mark.parametrize("num_classes", [None, 4, 6, 2])
def test_to_onehot(dtype: torch.dtype, shape: tuple[int, ...], num_classes: int | None) -> None:
    labels = torch.randint(4, shape).to(dtype)
    labels.flatten()[0] = 3
    assert_same("data", "to_onehot", labels, num_classes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize(("topk", "dim"), [(1, 1), (2, 1), (3, 0), (2, -1), (9, 1)])
def test_select_topk(dtype: torch.dtype, topk: int, dim: int) -> None:
    scores = torch.randperm(60).reshape(5, 4, 3).to(dtype)
    assert_same("data", "select_topk", scores, topk, dim)


def test_the_first_of_equal_scores_are_selected() -> None:
    assert data.select_topk(torch.tensor([[1.0, 2.0, 2.0, 2.0]]), 2).tolist() == [[0, 1, 1, 0]]


def test_to_categorical() -> None:
    for dim in (0, 1, 2):
        assert_same("data", "to_categorical", torch.rand(4, 5, 3), dim)


@pytest.mark.parametrize("minlength", [None, 2, 9])
def test_bincount(minlength: int | None) -> None:
    assert_same("data", "_bincount", torch.tensor([0, 0, 1, 2, 2, 2, 3]), minlength)
    assert_same("data", "_flexible_bincount", torch.tensor([7, 7, 100, 3, 3, 3]))


def test_allclose() -> None:
    for other in (torch.ones(3).double(), torch.zeros(3).half(), torch.ones(3).long()):
        assert_same("data", "allclose", torch.ones(3), other)


@pytest.mark.parametrize("reduction", ["elementwise_mean", "sum", "none", None, "max"])
def test_reduce(reduction: str | None) -> None:
    assert_same("distributed", "reduce", torch.rand(3, 4), reduction)


@pytest.mark.parametrize("reduction", ["micro", "macro", "weighted", "none", None, "samples"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_class_reduce(reduction: str | None, dtype: torch.dtype) -> None:
    num, denom = torch.tensor([1, 0, 3, 2], dtype=dtype), torch.tensor([2, 0, 4, 0], dtype=dtype)
    for size in (4, 3):
        weights = torch.arange(1, size + 1)
        assert_same("distributed", "class_reduce", num[:size], denom[:size], weights, reduction)


def test_class_reduce_counts_past_float32() -> None:
    hits, count = torch.tensor([2**25 + 1]), torch.tensor([2**25])
    value = distributed.class_reduce(hits, count, count.double(), "macro")
    assert value == torch.tensor((2**25 + 1) / 2**25, dtype=torch.float32)
    large = torch.tensor([2**24 + 1, 2**24 + 1])
    assert distributed.class_reduce(large, large + 2**24, large, "micro") == torch.tensor(
        (2**24 + 1) / (2**25 + 1), dtype=torch.float32
    )


@pytest.mark.parametrize("zero_division", [0.0, 1.0, math.nan, 0, "warn", "nan"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_safe_divide(zero_division: Any, dtype: torch.dtype) -> None:
    num, denom = torch.tensor([1, 0, 3], dtype=dtype), torch.tensor([2, 0, 0], dtype=dtype)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert_same("compute", "_safe_divide", num, denom, zero_division)
    assert len(caught) == (2 if zero_division == "warn" else 0)  # one of each library


def test_safe_products() -> None:
    x, y = torch.tensor([0.0, 2.0, 0.0, 0.0]), torch.tensor([0.0, 3.0, math.inf, math.nan])
    assert_same("compute", "_safe_xlogy", x, y)
    for dtype in (torch.float32, torch.float16):
        assert_same(
            "compute", "_safe_matmul", torch.rand(3, 4).to(dtype), torch.rand(5, 4).to(dtype)
        )


@pytest.mark.parametrize("reorder", [False, True])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ([4.0, 3.0, 3.0, 1.0], [1.0, 0.5, 2.0, 3.0]),
        ([1.0, 3.0, 2.0], [1.0, 2.0, 1.0]),
        ([1.0, 1.0], [0.0, 5.0]),
        ([[1.0, 2.0]], [[3.0, 4.0]]),
        ([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0]),
        ([1.0, 2.0], [1.0, 2.0, 3.0]),
        ([0.5], [1.0]),
    ],
)
def test_auc(x: list[Any], y: list[Any], reorder: bool) -> None:
    for dtype in (None, torch.float64):
        assert_same(
            "compute", "auc", torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype), reorder
        )


def test_interp() -> None:
    xp, fp = torch.linspace(0, 3, 7), torch.rand(7)
    x = torch.cat([torch.linspace(-1, 4, 23), xp])
    for dtype in (torch.float32, torch.float64):
        points = xp.to(dtype), fp.to(dtype)
        assert_same("compute", "interp", x.to(dtype), *points)
        order = torch.randperm(7)
        assert_same("data", "interp", x.to(dtype), *(values[order] for values in points))
    steps = torch.tensor([0.0, 1.0, 1.0, 2.0])
    assert_same("compute", "interp", torch.tensor([0.5, 1.0, 1.5]), steps, 3 * steps)
    whole = torch.tensor([1, 2, 3])
    assert_same("compute", "interp", torch.tensor([0.5, 1.5, 2.5]), whole, whole)


@pytest.mark.parametrize("normalization", ["sigmoid", "softmax", None])
def test_normalize_logits(normalization: str | None) -> None:
    for scores in (torch.randn(4, 3), torch.rand(4, 3), torch.tensor([[0.0, 1.0]])):
        assert_same("compute", "normalize_logits_if_needed", scores, normalization)
    with_nan = torch.tensor([[0.5, math.nan]])
    kept = compute.normalize_logits_if_needed(with_nan, normalization)
    torch.testing.assert_close(kept, with_nan, equal_nan=True)


CLASSES = [name for name in NAMES["enums"] if name != "EnumStr"]


@pytest.mark.parametrize("name", CLASSES)
def test_members(name: str) -> None:
    ours, theirs = getattr(enums, name), getattr(upstream("enums"), name)
    assert [*ours.__members__] == [*theirs.__members__]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other
        assert mine.value.lower() == other.value.lower()
        for text in (mine.value.upper(), mine.value, None, "none", "something"):
            assert (mine == text) == (other == text)
        assert hash(mine) == hash(mine.value.lower())
        assert isinstance(mine, (str, enum.Enum))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("source", ["key", "value", "any"])
def test_members_of_strings(name: str, source: str) -> None:
    ours, theirs = getattr(enums, name), getattr(upstream("enums"), name)
    texts = itertools.chain.from_iterable((m.name, m.name.lower(), m.value) for m in theirs)
    for text in [*texts, "multi-dim-multiclass", "other"]:
        results = []
        for namespace in (ours, theirs):
            try:
                results.append(namespace.from_str(text, source).name)
            except ValueError as error:
                results.append(str(error).replace("None", "none"))
        # They replace the hyphens of "multi-label" before they compare it with itself.
        if "Invalid" in results[1] and text in [m.value for m in theirs] and source != "key":
            assert ours.from_str(text, source).value == text
        else:
            assert results[0] == results[1]


def test_availability() -> None:
    flags = [n for n in dir(upstream("imports")) if re.search("_AVAILABLE$|_EQUAL_|_THAN_", n)]
    assert len(flags) > 40
    for name in flags:
        assert getattr(imports, name) == bool(getattr(upstream("imports"), name)), name
    assert imports._NUMPY_GREATER_EQUAL_1_0
    assert not imports._NUMPY_LESS_THAN_1_0
    assert not imports._NOWHERE_GREATER_EQUAL_0_1
    assert not imports._NOWHERE_LESS_THAN_0_1
    assert imports._PYTHON_VERSION == upstream("imports")._PYTHON_VERSION
    for name in ("_matplotlib_AVAILABLE", "_TORCH_LESS_THAN", "MATPLOTLIB_AVAILABLE", "nothing"):
        with pytest.raises(AttributeError, match=name):
            getattr(imports, name)


class Restarting(MulticlassConfusionMatrix):
    """Has values that depend on what was seen before."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update(preds, target)
        if self.counts.sum() > 20:
            self.reset()


@pytest.mark.parametrize(
    ("metric", "verdict"), [(MulticlassConfusionMatrix, "False"), (Restarting, "True")]
)
def test_full_state_property(
    metric: type[MulticlassConfusionMatrix], verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check_forward_full_state_property(
        metric,
        init_args={"num_classes": 3},
        input_args={"preds": torch.randint(3, (10,)), "target": torch.randint(3, (10,))},
        num_update_to_compare=[10, 30],
        reps=3,
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"Recommended setting `full_state_update={verdict}`"
    assert len(lines) == (1 if verdict == "True" else 5)


def test_same_shape() -> None:
    for size in (3, 4):
        assert_same("checks", "_check_same_shape", torch.ones(3), torch.ones(size))


def test_plot_curve() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    x, y = torch.rand(2, 5).sort(1)[0], torch.rand(2, 5)
    cases: list[tuple[Any, ...]] = [
        ((x[0], y[0], x[0]), {"score": torch.tensor(0.5), "name": "one"}),
        ((x, y), {"score": torch.tensor([0.5, 0.25]), "label_names": ("a", "b")}),
        ((list(x), list(y)), {"legend_name": "class"}),
        ((x, y), {"labels": ["left", "right"]}),
        ((x, y), {"labels": ["one"]}),
        ((x,), {}),
    ]
    for curve, options in cases:
        seen = []
        for library in ("fastmetrics", "torchmetrics"):
            plot = importlib.import_module(f"{library}.utilities.plot").plot_curve
            figure = outcome(plot, curve, **options)
            if isinstance(figure, tuple):
                axis = figure[1]
                lines = [line.get_xydata().tolist() for line in axis.lines]
                legend = axis.get_legend_handles_labels()[1]
                seen.append((lines, legend, axis.get_xlabel(), axis.get_title()))
            else:
                seen.append(figure)
        assert seen[0] == seen[1]
    pyplot.close("all")
