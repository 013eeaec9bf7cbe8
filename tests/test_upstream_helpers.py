"""Private helpers of torchmetrics: ours do what theirs do, under the same paths."""

from __future__ import annotations

import importlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from fastmetrics.core import helpers

CLASSIFICATION = "functional.classification"
FAMILIES = ("stat_scores", "confusion_matrix", "precision_recall_curve", "calibration_error")
REGRESSION = ("mse", "mae", "pearson", "spearman", "r2", "utils")
UTILITIES = ("checks", "compute", "data", "distributed", "plot", "prints")
# Left to torchmetrics.
LEFT = {"_try_proceed_with_timeout", "style_change"}
IGNORED = -1

pytestmark = pytest.mark.filterwarnings("ignore")


def pair(path: str) -> tuple[Any, Any]:
    """Our function and theirs, of `module.name`."""
    module, _, name = path.rpartition(".")
    ours, theirs = (getattr(importlib.import_module(f"{p}.{module}"), name) for p in PACKAGES)
    return ours, theirs


PACKAGES = ("fastmetrics", "torchmetrics")


def helpers_of(module: str) -> Iterator[str]:
    theirs = importlib.import_module(f"torchmetrics.{module}")
    for name, value in vars(theirs).items():
        if inspect.isfunction(value) and value.__module__ == theirs.__name__:
            yield f"{module}.{name}"


NAMED = [
    path
    for module in (
        *(f"{CLASSIFICATION}.{family}" for family in FAMILIES),
        *(f"functional.regression.{family}" for family in REGRESSION),
        *(f"utilities.{module}" for module in UTILITIES),
    )
    for path in helpers_of(module)
]


@pytest.mark.parametrize("path", NAMED)
def test_whole_families_are_native_and_called_alike(path: str) -> None:
    ours, theirs = pair(path)
    if path.rpartition(".")[2] in LEFT:
        return
    assert ours.__module__.partition(".")[0] != "torchmetrics"
    wanted = [*inspect.signature(theirs).parameters.values()]
    for ours_parameter, parameter in zip(
        inspect.signature(ours).parameters.values(), wanted, strict=False
    ):
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and "warn" not in path:
            assert ours_parameter.name == parameter.name or path.startswith("utilities"), path
            if not isinstance(parameter.default, list):
                assert ours_parameter.default == parameter.default, path


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except (ValueError, RuntimeError, TypeError) as error:
        return type(error)


def assert_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, type) or theirs is None:
        assert ours is theirs
        return
    if isinstance(theirs, str):
        assert ours == theirs
        return
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True)


def labels(*shape: int, classes: int = 2, ignored: bool = True) -> Tensor:
    target = torch.randint(classes, shape)
    return torch.where(torch.rand(shape) < 0.2, IGNORED, target) if ignored else target


def agree(path: str, *args: Any, **kwargs: Any) -> Any:
    ours, theirs = pair(path)
    value = outcome(theirs, *args, **kwargs)
    assert_same(outcome(ours, *args, **kwargs), value)
    return value


INPUTS: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "binary": lambda: (torch.randn(12, 3), labels(12, 3)),
    "binary of labels": lambda: (labels(12, 3, ignored=False), labels(12, 3)),
    "multiclass": lambda: (torch.randn(12, 4, 3), labels(12, 3, classes=4)),
    "multiclass of labels": lambda: (
        labels(12, 3, classes=4, ignored=False),
        labels(12, 3, classes=4),
    ),
    "multilabel": lambda: (torch.randn(12, 4, 3), labels(12, 4, 3)),
    "multilabel of labels": lambda: (labels(12, 4, 3, ignored=False), labels(12, 4, 3)),
}
COUNT = {"binary": {}, "multiclass": {"num_classes": 4}, "multilabel": {"num_labels": 4}}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("over", ["global", "samplewise"])
@pytest.mark.parametrize("average", ["micro", "macro", "weighted", "none", None])
@pytest.mark.parametrize("top_k", [1, 2])
def test_steps_of_stat_scores(name: str, over: str, average: Any, top_k: int) -> None:
    task = name.split()[0]
    steps = f"{CLASSIFICATION}.stat_scores._{task}_stat_scores"
    preds, target = INPUTS[name]()
    if top_k > 1 and name != "multiclass":
        return
    if task == "multiclass":
        made = agree(f"{steps}_format", preds, target, top_k)
        counts = agree(f"{steps}_update", *made, 4, top_k, average, over, ignore_index=IGNORED)
    else:
        made = agree(f"{steps}_format", preds, target, **COUNT[task], ignore_index=IGNORED)
        counts = agree(f"{steps}_update", *made, over)
    averaging = () if task == "binary" else (average,)
    if (task, average, over) != ("multilabel", "weighted", "samplewise"):  # theirs mixes samples
        agree(f"{steps}_compute", *counts, *averaging, multidim_average=over)
    agree(f"{steps}_tensor_validation", preds, target, *COUNT[task].values(), over, IGNORED)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("to_labels", [True, False])
def test_steps_of_confusion_matrices(name: str, to_labels: bool) -> None:
    task = name.split()[0]
    steps = f"{CLASSIFICATION}.confusion_matrix._{task}_confusion_matrix"
    preds, target = INPUTS[name]()
    count = COUNT[task] if task == "multilabel" else {}
    if not to_labels and " " in name:
        return
    flag = {"should_threshold" if task == "multilabel" else "convert_to_labels": to_labels}
    made = agree(f"{steps}_format", preds, target, **count, **flag, ignore_index=IGNORED)
    agree(f"{steps}_tensor_validation", preds, target, *COUNT[task].values(), IGNORED)
    if to_labels:
        table = agree(f"{steps}_update", *made, **COUNT[task])
        for normalize in ("true", "pred", "all", "none", None):
            agree(f"{steps}_compute", table.float(), normalize)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("thresholds", [None, 5, [0.2, 0.5, 0.9], torch.tensor([0.1, 0.6])])
@pytest.mark.parametrize("average", [None, "micro", "macro"])
def test_steps_of_curves(task: str, thresholds: Any, average: Any) -> None:
    steps = f"{CLASSIFICATION}.precision_recall_curve._{task}_precision_recall_curve"
    preds, target = INPUTS[task]()
    averaging = {"average": average} if task == "multiclass" else {}
    if average and not averaging:
        return
    agree(f"{steps}_tensor_validation", preds, target, *COUNT[task].values(), IGNORED)
    *made, levels = agree(
        f"{steps}_format", preds, target, **COUNT[task], **averaging,
        thresholds=thresholds, ignore_index=IGNORED,
    )  # fmt: skip
    state = agree(f"{steps}_update", *made, **COUNT[task], thresholds=levels, **averaging)
    ignoring = {"ignore_index": IGNORED} if task == "multilabel" else {}
    agree(f"{steps}_compute", state, **COUNT[task], thresholds=levels, **averaging, **ignoring)


@pytest.mark.parametrize("weighted", [False, True])
def test_points_of_a_curve(weighted: bool) -> None:
    scores, target = torch.randint(6, (20,)) / 6, labels(20, ignored=False)
    weights = torch.rand(20) if weighted else None
    agree(f"{CLASSIFICATION}.precision_recall_curve._binary_clf_curve", scores, target, weights)


@pytest.mark.parametrize("norm", ["l1", "l2", "max", "no such"])
@pytest.mark.parametrize("debias", [False, True])
def test_calibration(norm: str, debias: bool) -> None:
    module = f"{CLASSIFICATION}.calibration_error"
    preds = torch.rand(40, 3)
    pairs = agree(f"{module}._multiclass_calibration_error_update", preds, labels(40, classes=3))
    agree(f"{module}._binary_calibration_error_update", *pairs)
    agree(f"{module}._binning_bucketize", *pairs, torch.linspace(0, 1, 6))
    agree(f"{module}._ce_compute", *pairs, 5, norm, debias)
    target = labels(40, classes=3, ignored=False)
    agree(f"{module}._multiclass_calibration_error_tensor_validation", preds, target, 3)
    agree(f"{module}._binary_calibration_error_tensor_validation", target, target)


@pytest.mark.parametrize("outputs", [1, 3])
def test_steps_of_regression(outputs: int) -> None:
    shape = (16,) if outputs == 1 else (16, outputs)
    preds = torch.randint(8, shape) / 2.0
    target = preds + torch.randn(shape)
    for family, name in (("mse", "mean_squared_error"), ("mae", "mean_absolute_error")):
        steps = f"functional.regression.{family}._{name}"
        agree(f"{steps}_compute", *agree(f"{steps}_update", preds, target, outputs))
    agree("functional.regression.mse._mean_squared_error_compute", preds.abs(), 4, False)
    sums = agree("functional.regression.r2._r2_score_update", preds, target)
    kinds = ("raw_values", "uniform_average", "variance_weighted", "no such")
    for adjusted, kind in itertools.product((0, 2, 15, 16, -1), kinds):
        agree("functional.regression.r2._r2_score_compute", *sums, adjusted, kind)
    ranked = agree(
        "functional.regression.spearman._spearman_corrcoef_update", preds, target, outputs
    )
    agree("functional.regression.spearman._spearman_corrcoef_compute", *ranked)
    agree("functional.regression.spearman._rank_data", preds.flatten())
    agree("functional.classification.ranking._rank_data", preds.flatten())
    steps = "functional.regression.pearson._pearson_corrcoef"
    state = [torch.zeros(shape[1:]) for _ in range(8)]
    for rows in (slice(0, 1), slice(1, 9), slice(9, 16)):
        state = agree(f"{steps}_update", preds[rows], target[rows], *state, outputs)
    agree(f"{steps}_compute", *state[2:])
    constant = [*state[2:]]
    constant[2] = torch.zeros_like(constant[2])
    agree(f"{steps}_compute", *constant)


GOOD_AND_BAD: dict[str, tuple[Any, ...]] = {
    "threshold": (0.5, 2.0, "0.5"),
    "thresholds": (None, 5, 1, [0.1, 0.9], [2.0], torch.rand(3), torch.rand(3, 2), "five"),
    "num_classes": (3, 1, None, 2.5),
    "num_labels": (3, 1),
    "n_bins": (5, 0, 1.5),
    "top_k": (1, 2, 9),
    "average": ("macro", "micro", "none", None, "weighted", "most"),
    "multidim_average": ("global", "samplewise", "no such"),
    "ignore_index": (None, -1, "one"),
    "zero_division": (0, 1, 2),
    "normalize": (None, "true", "all", "no such"),
    "norm": ("l1", "l2", "max", "l3"),
}


@pytest.mark.parametrize("path", [path for path in NAMED if path.endswith("_arg_validation")])
def test_arguments(path: str) -> None:
    ours, theirs = pair(path)
    names = [*inspect.signature(theirs).parameters]
    assert [*inspect.signature(ours).parameters] == names
    good = {name: GOOD_AND_BAD[name][0] for name in names}
    for name in names:
        for value in GOOD_AND_BAD[name]:
            given = {**good, name: value}
            assert outcome(ours, **given) == outcome(theirs, **given), given


@pytest.mark.parametrize("path", [path for path in NAMED if path.endswith("_tensor_validation")])
def test_tensors_that_are_refused(path: str) -> None:
    """Whatever they refuse, and also numbers of samples that differ."""
    ours, theirs = pair(path)
    task = path.rpartition("._")[2].split("_")[0]
    good = torch.rand(6, 4), torch.randint(2, (6, 4) if task != "multiclass" else (6,))
    assert outcome(ours, *good, *COUNT[task].values(), *averaging_of(path)[0]) is None
    wrong = set()
    for preds in (good[0], torch.randint(2, (6, 4)), good[0][:, :2], torch.full((6, 4), 7)):
        for target in (good[1], good[1] + 0.0, good[1] + 9, good[1][:3], torch.arange(24)):
            for over in averaging_of(path):
                given = preds, target, *COUNT[task].values(), *over
                found, wanted = outcome(ours, *given), outcome(theirs, *given)
                assert found is wanted or len(target) != len(preds) or (found and wanted), given
                wrong.add(wanted)
    assert len(wrong) > 1


def averaging_of(path: str) -> list[tuple[str, ...]]:
    return [("global",), ("samplewise",)] if "stat_scores" in path else [()]


def test_utilities() -> None:
    for nested in ([[1, 2], [3]], [[]]):
        agree("utilities.data._flatten", nested)
    for nested in ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"a": 2}}):
        agree("utilities.data._flatten_dict", nested)
    x, y = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 0.0, 5.0])
    agree("utilities.data._cumsum", x, 0)
    agree("utilities.data._top_k_with_half_precision_support", x[None], 2)
    agree("utilities.data._squeeze_if_scalar", {"one": x[:1], "more": [x]})
    for order in (x, x.sort().values, x.sort(descending=True).values):
        agree("utilities.compute._auc_compute", order, y)
        agree("utilities.compute._auc_compute", order, y, True)
    agree("utilities.compute._auc_compute_without_check", x, y, -1.0)
    agree("utilities.compute._auc_format_inputs", x[None], y)
    agree("utilities.compute._auc_format_inputs", x, y[:2])
    for average, multilabel, top_k in itertools.product(
        ("micro", "macro", "weighted", None), (True, False), (1, 2)
    ):
        counts = torch.tensor([1.0, 0, 2]), torch.tensor([0.0, 0, 1]), torch.tensor([3.0, 0, 0])
        agree(
            "utilities.compute._adjust_weights_safe_divide", x, average, multilabel, *counts, top_k
        )
    agree("utilities.checks._check_for_empty_tensors", x[:0], y[:0])
    agree("utilities.checks._allclose_recursive", {"a": [x]}, {"a": [x + 1e-9]})
    agree("utilities.checks._allclose_recursive", [x, "a"], [y, "a"])
    scores, target, queries = torch.rand(4), torch.tensor([0, 1, 1, -1]), torch.arange(4)
    for function, before in (("functional_inputs", ()), ("inputs", (queries,))):
        path = f"utilities.checks._check_retrieval_{function}"
        for bad in (target, target.abs(), target.abs() + 0.0, target[:2], target[:0], target + 5):
            agree(path, *before, scores, bad)
            agree(path, *before, scores, bad, True)
        agree(path, *before, target, target.abs())
    agree("utilities.checks._check_retrieval_inputs", queries, scores, target, False, -1)
    for number in range(1, 20):
        agree("utilities.plot._get_col_row_split", number)
    for colour in ((0.1, 0.2, 0.3, 1.0), (0.9, 0.9, 0.4, 1.0)):
        agree("utilities.plot._get_text_color", colour)


def test_overriding_is_seen() -> None:
    from fastmetrics.utilities.checks import is_overridden

    class Parent:
        def step(self) -> int:
            return 1

    class Child(Parent):
        def step(self) -> int:
            return 2

    assert is_overridden("step", Child(), Parent)
    assert not is_overridden("step", Parent(), Parent)
    assert not is_overridden("other", Parent(), Parent)
    with pytest.raises(ValueError, match="step"):
        is_overridden("step", Child(), object)


def test_helpers_are_not_used_here() -> None:
    """They are for others, and loaded when somebody asks for one."""
    assert helpers.find("utilities.data", "_flatten") is not None
    assert helpers.find("utilities.data", "no_such_name") is None
