"""Laws that every function keeps, whatever it measures."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fastmetrics import functional
from fastmetrics.classification import BinaryAccuracy
from tests.every import MAKERS, Case, functions, of_tensors
from tests.refused import NO_BOOLS, flags_of, no_numbers, no_tensors

# Curves over "auto" take a second each; these stand for all.
RANKED = ("binary_roc", "binary_auroc", "multiclass_average_precision", "multilabel_eer")


def few_ranked(case: Case) -> Any:
    name, _, kind = case.name.partition("-")
    rare = kind == "ranked" and name not in RANKED
    return pytest.param(case, id=case.name, marks=[pytest.mark.exhaustive] if rare else [])


every_function = pytest.mark.parametrize("case", [*map(few_ranked, of_tensors(functions()))])


@pytest.fixture(autouse=True)
def quiet(recwarn):
    torch.manual_seed(0)


def assert_same(actual: Any, expected: Any) -> None:
    for one, other in zip(tree_leaves(actual), tree_leaves(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7, equal_nan=True)


@every_function
def test_a_trace_works_out_other_values(case):
    example, inputs = case.inputs(12), case.inputs(12)
    traced = torch.jit.trace(
        lambda *batch: tuple(tree_leaves(case.make(*batch))), example, check_trace=False
    )
    assert_same(traced(*inputs), case.make(*inputs))


@every_function
def test_vmap_is_a_loop(case):
    batches = [case.inputs(12) for _ in range(3)]
    stacked = [torch.stack(column) for column in zip(*batches, strict=True)]
    values = [case.make(*batch) for batch in batches]
    forms = [tree_map(lambda part: part.shape, value) for value in values]
    if any(form != forms[0] for form in forms):  # names of groups, or the length of a curve
        with pytest.raises(RuntimeError, match="depend on the data"):
            torch.vmap(case.make)(*stacked)
        return
    parts = [tree_leaves(value) for value in values]
    expected = [torch.stack(column) for column in zip(*parts, strict=True)]
    assert_same(torch.vmap(case.make)(*stacked), expected)


@pytest.mark.parametrize("case", functions(), ids=repr)
def test_flags_that_are_no_bool_are_refused(case):
    function = getattr(functional, case.name.partition("-")[0])
    for name in flags_of(function):
        for odd in NO_BOOLS:
            # A type error where those of torchmetrics' constructors are.
            with pytest.raises((TypeError, ValueError), match=f"`{name}` must be a bool, got"):
                case.make(*case.inputs(2), **{name: odd})


def test_maps_nest_and_have_gradients():
    preds, target = torch.rand(4, 3, 5), torch.rand(4, 3, 5)
    error = functional.mean_squared_error
    expected = ((preds - target) ** 2).mean(-1)
    torch.testing.assert_close(torch.vmap(torch.vmap(error))(preds, target), expected)
    over_columns = torch.vmap(error, in_dims=(2, 2))(preds, target)
    torch.testing.assert_close(over_columns, ((preds - target) ** 2).mean((0, 1)))
    with_one = torch.vmap(torch.vmap(error), in_dims=(0, None))(preds, target[0])
    torch.testing.assert_close(with_one, ((preds - target[0]) ** 2).mean(-1))
    slopes = torch.vmap(torch.func.grad(error))(preds, target)
    torch.testing.assert_close(slopes, 2 * (preds - target) / 15)
    preds.requires_grad_()
    torch.vmap(error)(preds, target).sum().backward()
    torch.testing.assert_close(preds.grad, slopes)


def test_mapped_weights_and_thresholds():
    preds, target = torch.rand(3, 7), torch.randint(2, (3, 7))
    weight, thresholds = torch.rand(3, 7), torch.rand(3, 4).sort().values

    def area(preds: Tensor, target: Tensor, weight: Tensor, thresholds: Tensor) -> Tensor:
        return functional.binary_auroc(preds, target, thresholds=thresholds, weight=weight)

    batch = preds, target, weight, thresholds
    expected = torch.stack([area(*entry) for entry in zip(*batch, strict=True)])
    torch.testing.assert_close(torch.vmap(area)(*batch), expected)


def test_an_update_cannot_be_mapped():
    metric = BinaryAccuracy()
    with pytest.raises(RuntimeError, match=r"torch\.vmap cannot map what changes a state"):
        torch.vmap(metric.update)(torch.rand(3, 7), torch.randint(2, (3, 7)))
    assert metric.update_count == 0
    assert not metric.counts.any()


@every_function
def test_what_is_no_tensor_is_named(case):
    inputs = case.inputs(8)
    for place, good in enumerate(inputs):
        for bad, what in (*no_tensors(good), *no_numbers(good)):
            with pytest.raises(ValueError, match=rf"^`\w+` must be a (dense )?tensor.*, {what}"):
                case.make(*inputs[:place], bad, *inputs[place + 1 :])


@every_function
def test_numbers_of_other_dtypes_are_named_or_read(case):
    inputs = case.inputs(8)
    for place, good in enumerate(inputs):
        for dtype in (torch.complex64, torch.uint16, torch.float8_e5m2):
            batch = (*inputs[:place], good.to(dtype), *inputs[place + 1 :])
            try:
                case.make(*batch)
            except (ValueError, TypeError) as error:
                assert re.search(rf"`\w+` .*{dtype}", str(error))


def test_numbers_bools_and_strings_are_named_after_a_failure():
    preds, target = torch.rand(3), torch.tensor([0, 1, 1])
    with pytest.raises(ValueError, match=r"`ignore_index` must be int \| None, got 9223"):
        functional.binary_hinge_loss(preds, target, ignore_index=2**63)
    with pytest.raises(ValueError, match="`squared` must be a bool, got 'yes'"):
        functional.binary_hinge_loss(preds, target, squared="yes")
    with pytest.raises(ValueError, match="`threshold` must be float, got None"):
        functional.critical_success_index(preds, target, None)
    with pytest.raises(ValueError, match=r"`preds`: image 1: `boxes` .* got a tensor of layout"):
        preds, target = MAKERS["detections"](2)
        preds[1]["boxes"] = preds[1]["boxes"].to_sparse()
        functional.mean_average_precision(preds, target)


def test_arguments_are_named_as_they_are_called():
    with pytest.raises(ValueError, match="`targets` must be a dense tensor, got list"):
        functional.tweedie_deviance_score(torch.ones(3), [1.0, 1.0, 1.0])
    with pytest.raises((ValueError, RuntimeError), match="`targets`"):
        functional.minkowski_distance(torch.ones(3), torch.ones(4), p=2)
    with pytest.raises(ValueError, match="`q` must be a dense tensor, got None"):
        functional.kl_divergence(torch.ones(3, 2), None)
    with pytest.raises(ValueError, match=r"`preds` must be a real tensor .*torch\.complex64"):
        functional.critical_success_index(torch.ones(3) * 1j, torch.ones(3), 0.5)
