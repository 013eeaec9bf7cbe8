"""The steps ``_arg_validation`` and ``_tensor_validation`` of torchmetrics' classification.

The first raises ``ValueError`` for arguments; the second does so for shapes and dtypes, and
``RuntimeError`` for values inside tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any

import torch
from torch import Tensor

from fastmetrics.utilities.checks import (
    AVERAGES,
    MULTIDIM_AVERAGES,
    NORMALIZATIONS,
    _check_same_shape,
    check_choice,
    check_ignore_index,
    check_int,
    check_top_k,
    check_unit_interval,
)


def _check_thresholds(value: Any) -> None:
    fits = value is None
    if isinstance(value, int):
        fits = value >= 2
    elif isinstance(value, list):
        fits = all(isinstance(each, float) and 0 <= each <= 1 for each in value)
    elif isinstance(value, Tensor):
        fits = value.ndim == 1
    if not fits:
        raise ValueError(
            "`thresholds` must be None, an integer of at least 2, a list of floats in [0, 1] or a"
            f" vector, got {value!r}."
        )


def _check_num_classes(value: Any, average: Any) -> None:
    if value is not None or average != "micro":
        check_int("num_classes", value, 2)


def _check_average(value: Any, of_curves: bool) -> None:
    check_choice("average", value, (None, "micro", "macro") if of_curves else AVERAGES)


# What each argument may be, beside which others.
_RULES: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "threshold": lambda value, _: check_unit_interval("threshold", value),
    "thresholds": lambda value, _: _check_thresholds(value),
    "num_classes": lambda value, others: _check_num_classes(value, others.get("average")),
    "num_labels": lambda value, _: check_int("num_labels", value, 2),
    "n_bins": lambda value, _: check_int("n_bins", value, 1),
    "top_k": lambda value, others: check_top_k(value, others["num_classes"]),
    "average": lambda value, others: _check_average(value, "thresholds" in others),
    "multidim_average": lambda v, _: check_choice("multidim_average", v, MULTIDIM_AVERAGES),
    "ignore_index": lambda value, _: check_ignore_index(value),
    "zero_division": lambda value, _: check_choice("zero_division", value, (0, 1)),
    "normalize": lambda value, _: check_choice("normalize", value, NORMALIZATIONS),
    "norm": lambda value, _: check_choice("norm", value, ("l1", "l2", "max")),
}
_NEEDED = Parameter.empty


def _declare(check: Callable[[dict[str, Any]], None], **defaults: Any) -> Callable[..., None]:
    """Return a function of arguments with these defaults that hands them to ``check``."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    signature = Signature([Parameter(name, kind, default=d) for name, d in defaults.items()])

    def validation(*args: Any, **kwargs: Any) -> None:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        check(given.arguments)

    validation.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it
    return validation


def _check_each(given: dict[str, Any]) -> None:
    for name, value in given.items():
        _RULES[name](value, given)


_arguments = functools.partial(_declare, _check_each)


_AVERAGING = {"multidim_average": "global", "ignore_index": None, "zero_division": 0}
_binary_stat_scores_arg_validation = _arguments(threshold=0.5, **_AVERAGING)
_multiclass_stat_scores_arg_validation = _arguments(
    num_classes=_NEEDED, top_k=1, average="macro", **_AVERAGING
)
_multilabel_stat_scores_arg_validation = _arguments(
    num_labels=_NEEDED, threshold=0.5, average="macro", **_AVERAGING
)
_TABLE = {"ignore_index": None, "normalize": None}
_binary_confusion_matrix_arg_validation = _arguments(threshold=0.5, **_TABLE)
_multiclass_confusion_matrix_arg_validation = _arguments(num_classes=_NEEDED, **_TABLE)
_multilabel_confusion_matrix_arg_validation = _arguments(
    num_labels=_NEEDED, threshold=0.5, **_TABLE
)
_CURVE = {"thresholds": None, "ignore_index": None}
_binary_precision_recall_curve_arg_validation = _arguments(**_CURVE)
_multiclass_precision_recall_curve_arg_validation = _arguments(
    num_classes=_NEEDED, **_CURVE, average=None
)
_multilabel_precision_recall_curve_arg_validation = _arguments(num_labels=_NEEDED, **_CURVE)
_BINS = {"n_bins": _NEEDED, "norm": "l1", "ignore_index": None}
_binary_calibration_error_arg_validation = _arguments(**_BINS)
_multiclass_calibration_error_arg_validation = _arguments(num_classes=_NEEDED, **_BINS)


# What tensors may be.


def _check_values(name: str, labels: Tensor, allowed: Sequence[int | None]) -> None:
    known = torch.tensor([each for each in allowed if each is not None], device=labels.device)
    wrong = labels[~torch.isin(labels, known)]
    if wrong.numel():
        raise RuntimeError(f"`{name}` must hold {known.tolist()}, got {wrong.unique().tolist()}.")


def _check_number(name: str, labels: Tensor, allowed: int) -> None:
    found = labels.unique()
    if len(found) > allowed:
        raise RuntimeError(f"`{name}` must hold {allowed} labels, got {found.tolist()}.")


def _check_classes(preds: Tensor, target: Tensor, count: int | None, ignored: Any) -> None:
    has_axis = preds.ndim == target.ndim + 1
    classes = preds.shape[1] if has_axis and count is None else count
    shape = (*target.shape[:1], classes, *target.shape[1:]) if has_axis else target.shape
    if preds.shape != shape or (has_axis and not preds.is_floating_point()):
        raise ValueError(
            "`preds` must have the shape of `target`, or hold floats with an axis of"
            f" {count} classes more, got {preds.dtype} {tuple(preds.shape)} and"
            f" {tuple(target.shape)}."
        )
    if count is not None:
        for name, labels in (("target", target), ("preds", preds)):
            if name == "target" or not labels.is_floating_point():
                _check_number(name, labels, count + (ignored is not None))


def _check_bits(preds: Tensor, target: Tensor, num_labels: int | None, ignored: Any) -> None:
    _check_same_shape(preds, target)
    if num_labels is not None and preds.shape[1] != num_labels:
        raise ValueError(f"`preds.shape[1]` must be num_labels={num_labels}, got {preds.shape[1]}.")
    _check_values("target", target, (0, 1, ignored))
    if not preds.is_floating_point():
        _check_values("preds", preds, (0, 1))


def _check_tensors(kind: str, given: dict[str, Any]) -> None:
    """Check what a metric that takes ``"any"`` predictions, ``"scores"`` or a ``"curve"`` gets."""
    preds, target, ignored = given["preds"], given["target"], given["ignore_index"]
    if kind == "curve" and target.is_floating_point():
        raise ValueError(f"`target` must hold integers, got {target.dtype}.")
    if "num_classes" in given:
        if kind == "curve" and preds.ndim != target.ndim + 1:
            raise ValueError(f"`preds` must have {target.ndim + 1} axes, got {preds.ndim}.")
        _check_classes(preds, target, given["num_classes"], ignored)
    else:
        _check_bits(preds, target, given.get("num_labels"), ignored)
    if kind != "any" and not preds.is_floating_point():
        raise ValueError(f"`preds` must hold floats, got {preds.dtype}.")
    least = 3 if "num_labels" in given or preds.ndim > target.ndim else 2
    if given.get("multidim_average", "global") != "global" and preds.ndim < least:
        raise ValueError(
            f"`preds` must have at least {least} axes for multidim_average='samplewise', got shape"
            f" {tuple(preds.shape)}."
        )


def _tensors(kind: str, *before: str, **defaults: Any) -> Callable[..., None]:
    needed = dict.fromkeys(("preds", "target", *before), _NEEDED)
    check = functools.partial(_check_tensors, kind)
    return _declare(check, **needed, **defaults, ignore_index=None)


_binary_stat_scores_tensor_validation = _tensors("any", multidim_average="global")
_multiclass_stat_scores_tensor_validation = _tensors(
    "any", "num_classes", multidim_average="global"
)
_multilabel_stat_scores_tensor_validation = _tensors("any", "num_labels", "multidim_average")
_binary_confusion_matrix_tensor_validation = _tensors("any")
_multiclass_confusion_matrix_tensor_validation = _tensors("any", "num_classes")
_multilabel_confusion_matrix_tensor_validation = _tensors("any", "num_labels")
_binary_precision_recall_curve_tensor_validation = _tensors("curve")
_multiclass_precision_recall_curve_tensor_validation = _tensors("curve", "num_classes")
_multilabel_precision_recall_curve_tensor_validation = _tensors("curve", "num_labels")
_binary_calibration_error_tensor_validation = _tensors("scores")
_multiclass_calibration_error_tensor_validation = _tensors("scores", "num_classes")
