"""Values that are not defined: this package warns where torchmetrics does, and nowhere else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchmetrics

import fastmetrics

SCORES = torch.tensor([0.1, 0.4, 0.35, 0.8])
ROWS = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.3, 0.6, 0.1]])
NONE, ALL = torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.long)
MIXED = torch.tensor([0, 1, 0, 1])

BINARY = ("auroc", "average_precision", "roc", "precision_recall_curve", "eer", "logauc")
SEVERAL = ("auroc", "average_precision", "roc", "precision_recall_curve")
CALLS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    **{
        f"{name}-{kind}": (f"binary_{name}", (SCORES, target), {})
        for name in BINARY
        for kind, target in (("none", NONE), ("all", ALL), ("mixed", MIXED))
    },
    **{f"{name}-absent": (f"multiclass_{name}", (ROWS, MIXED, 3), {}) for name in SEVERAL},
    **{
        f"{name}-labels": (f"multilabel_{name}", (ROWS, torch.zeros_like(ROWS).long(), 3), {})
        for name in SEVERAL
    },
    **{
        f"confusion-{how}": ("multiclass_confusion_matrix", (MIXED, MIXED, 3), {"normalize": how})
        for how in ("true", "pred", "all", None)
    },
    "confusion-one": ("binary_confusion_matrix", (NONE, NONE), {"normalize": "true"}),
    "confusion-full": ("binary_confusion_matrix", (MIXED, MIXED), {"normalize": "true"}),
}


def warns(call: Callable[..., Any], *arguments: Any) -> bool:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        call(*arguments)
    return any(issubclass(each.category, UserWarning) for each in seen)


def value_of_function(package: Any, name: str) -> None:
    function, inputs, options = CALLS[name]
    getattr(package.functional.classification, function)(*inputs, **options)


def value_of_class(package: Any, name: str) -> None:
    function, inputs, options = CALLS[name]
    task, _, rest = function.partition("_")
    special = {"auroc": "AUROC", "roc": "ROC", "eer": "EER", "logauc": "LogAUC"}
    words = special.get(rest) or "".join(word.title() for word in rest.split("_"))
    metric = getattr(package.classification, task.title() + words)(*inputs[2:], **options)
    metric.update(*inputs[:2])
    metric.compute()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("call", [value_of_function, value_of_class])
def test_both_warn_or_neither(call: Callable[..., Any], name: str):
    assert warns(call, fastmetrics, name) == warns(call, torchmetrics, name)


def test_some_of_them_warn():
    found = {name for name in CALLS if warns(value_of_class, fastmetrics, name)}
    assert {"average_precision-none", "auroc-all", "auroc-absent", "confusion-true"} <= found
