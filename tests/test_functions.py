"""What functions remember of their arguments, and how they round their values."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fastmetrics.functional import classification, regression
from fastmetrics.functional.classification import binary_auroc, multiclass_accuracy

SCORES, TARGET = torch.tensor([0.2, 0.4, 0.6, 0.8]), torch.tensor([0, 1, 0, 1])
MINIMA = ("min_precision", "min_recall", "min_sensitivity", "min_specificity")


def parameters(function):
    return inspect.signature(function).parameters


BINNED = [
    getattr(classification, name)
    for name in classification.__all__
    if name.startswith("binary") and "thresholds" in parameters(getattr(classification, name))
]


def value(function, thresholds):
    minimum = {name: 0.6 for name in MINIMA if name in parameters(function)}
    return function(SCORES, TARGET, thresholds=thresholds, **minimum)


def same(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("function", BINNED, ids=lambda f: f.__name__)
def test_tensors_that_change_are_looked_at_again(function):
    given = torch.tensor([0.1, 0.5, 0.9])
    value(function, given)
    same(
        value(function, given.copy_(torch.tensor([0.3, 0.6, 0.7]))), value(function, given.clone())
    )
    same(value(function, given), value(function, given.tolist()))


@pytest.mark.parametrize("function", BINNED, ids=lambda f: f.__name__)
def test_what_is_remembered_serves_everywhere(function):
    """Neither a fake mode nor inference mode leaves tensors to others, or gets theirs."""
    # Of that many thresholds no other test has asked; fake values cannot be looked at.
    options = {"thresholds": 31, "validate_args": False, "input": "probs"}
    options |= {name: 0.6 for name in MINIMA if name in parameters(function)}
    for _ in range(2):  # before anybody else, and after
        with FakeTensorMode() as mode:
            function(mode.from_tensor(SCORES), mode.from_tensor(TARGET), **options)
        with torch.inference_mode():
            inside = function(SCORES, TARGET, **options)
        same(function(SCORES.clone().requires_grad_(), TARGET, **options), inside)
    same(inside, value(function, torch.linspace(0, 1, 31)))


def test_equal_arguments_of_other_types_are_others():
    preds = torch.tensor([0, 1, 1, 0])
    assert multiclass_accuracy(preds, TARGET, 2, top_k=1) == 0.5
    with pytest.raises(ValueError, match="`top_k` must be an integer of at least 1, got True"):
        multiclass_accuracy(preds, TARGET, 2, top_k=True)
    with pytest.raises(ValueError, match="`max_fpr` must be None or a float"):
        binary_auroc(SCORES, TARGET, max_fpr=1)
    assert binary_auroc(SCORES, TARGET, max_fpr=1.0) == 0.75


def test_wrong_arguments_name_the_function():
    for call in (
        lambda: multiclass_accuracy(SCORES, TARGET, classes=2),
        lambda: multiclass_accuracy(SCORES, TARGET, 2, num_classes=2),
        lambda: multiclass_accuracy(SCORES, TARGET, *range(9)),
    ):
        for _ in range(2):
            with pytest.raises(TypeError, match=r"^multiclass_accuracy\(\) "):
                call()


OF_ROWS = ("continuous_ranked_probability_score", "cosine_similarity")
ERRORS = [
    getattr(regression, name)
    for name in regression.__all__
    if next(iter(parameters(getattr(regression, name)))) == "preds" and name not in OF_ROWS
]


@pytest.mark.parametrize("function", ERRORS, ids=lambda f: f.__name__)
def test_values_beyond_their_type_are_infinite(function):
    """A value that float32 cannot hold is rounded as any tensor is."""
    preds, target = torch.tensor([1e30, 2e30, 5e29, 3e30]), torch.tensor([3e20, 1.0, 2e20, 5.0])
    needed = {"p": 3.0, "threshold": 0.5}
    own = {name: x for name, x in needed.items() if name in parameters(function)}
    wide = function(preds.double(), target.double(), **own)
    found = function(preds, target, **own)
    torch.testing.assert_close(found, wide.float(), rtol=1e-6, atol=0, equal_nan=True)
