"""How binary predictions differ between groups of samples.

Shared arguments, beside those explained in ``confusion_matrix``:

- ``groups``: which group each sample belongs to, integers ``[N]`` or ``[N, 1]``, or each element,
  in the shape of ``preds``. Where the number of groups G is given they lie in ``[0, G)``; otherwise
  every value that occurs is a group.

A group without counted elements has no rates, one without positives no true positive rate; it takes
no part in comparisons then. Formulas run in float64 and return float32.

Source: Hardt, Price and Srebro, Equality of opportunity in supervised learning, NeurIPS 2016 (equal
opportunity); Dwork and others, Fairness through awareness, ITCS 2012 (demographic parity).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import torch
from torch import Tensor

from fastmetrics.core.states import Batch
from fastmetrics.functional._public import public
from fastmetrics.ops.confusion import GroupTables, check_groups
from fastmetrics.ops.counted import Counts, divide
from fastmetrics.utilities.checks import FAIRNESS_TASKS, check_choice

__all__ = [
    "binary_fairness",
    "binary_groups_stat_rates",
    "demographic_parity",
    "equal_opportunity",
]


def check_fairness_task(task: str) -> None:
    """Raise ``ValueError`` unless ``task`` names a comparison."""
    check_choice("task", task, FAIRNESS_TASKS)


def check_target(target: Tensor | None, task: str) -> None:
    """Raise ``ValueError`` where there must be a target, warn where it has no effect."""
    if task != "demographic_parity":
        if target is None:
            raise ValueError(f"`target` must be a tensor for task={task!r}, got None.")
    elif target is not None:
        warnings.warn("`target` has no effect on demographic parity.", UserWarning, stacklevel=3)


def _count(
    statistic: GroupTables,
    owner: str,
    preds: Tensor,
    target: Tensor | None,
    groups: Tensor,
    weight: Tensor | None,
) -> Counts:
    states = Batch(statistic.empty_batch(preds.device))
    statistic.add(states, preds, target, groups, weight)
    statistic.report(owner, states)
    return statistic.read(states)


def group_stat_rates_formula(counts: Counts) -> dict[str, Tensor]:
    """Shares of tp, fp, tn, fn in each group, ``{"group_0": [4], ...}``; NaN for an empty group."""
    rows = counts.rows()
    if rows and isinstance(rows[0][0], int):  # sums of weights round as torch adds them
        totals = [sum(row) or math.nan for row in rows]
        rates = torch.tensor(
            [[count / total for count in row] for row, total in zip(rows, totals, strict=True)],
            dtype=torch.float32,
        )
    else:
        table = torch.stack(counts.columns(torch.float64), -1)
        rates = (table / table.sum(1, keepdim=True)).float()
    return {f"group_{index}": rate for index, rate in enumerate(rates.unbind())}


def _lowest_to_highest(
    prefix: str, hits: Tensor, total: Tensor, names: Tensor | None
) -> dict[str, Tensor]:
    """Divide the lowest of the rates ``hits / total`` by the highest; the key names both groups.

    Groups whose total is 0 have no rate and take no part.
    """
    present = total > 0
    rates = divide(hits, total)
    lowest = rates.masked_fill(~present, math.inf).argmin()
    highest = rates.masked_fill(~present, -math.inf).argmax()
    ratio = divide(rates[lowest], rates[highest]).float()
    pair = torch.stack((lowest, highest))
    low, high = (pair if names is None else names[pair]).tolist()
    return {f"{prefix}_{low}_{high}": ratio}


def fairness_formula(counts: Counts, task: str, names: Tensor | None = None) -> dict[str, Tensor]:
    """Lowest over highest rate among the groups, by rate ``{"DP_<lowest>_<highest>": value, ...}``.

    DP compares the shares of positive predictions, ``(tp + fp) / n``, EO those among positive
    targets, ``tp / (tp + fn)``. Groups without a rate, for want of elements or of positives, take
    no part. 0/0 is 0, also where no group has a rate.

    Args:
        counts: of each group, ``[G]``.
        task: ``"demographic_parity"``, ``"equal_opportunity"`` or ``"all"``.
        names: ``[G]`` what to call the groups, by default their positions.
    """
    tp, fp, _, fn = counts.columns(torch.float64)
    values: dict[str, Tensor] = {}
    if task != "equal_opportunity":
        values |= _lowest_to_highest("DP", tp + fp, counts.table.double().sum(-1), names)
    if task != "demographic_parity":
        values |= _lowest_to_highest("EO", tp, tp + fn, names)
    return values


@public
def binary_groups_stat_rates(
    preds: Tensor,
    target: Tensor,
    groups: Tensor,
    num_groups: int,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> dict[str, Tensor]:
    """Shares of true and false positives and negatives, ``[tp, fp, tn, fn]``, in each group.

    ``(tp, fp, tn, fn) / (tp + fp + tn + fn)`` of each group.

    Arguments as in the module docstring; ``num_groups`` is an integer of at least 2. Returns
    ``{"group_0": [4], ...}``, float32 in ``[0, 1]``, NaN for a group without elements.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_groups_stat_rates
    >>> target, preds = torch.tensor([0, 1, 0, 1]), torch.tensor([0.1, 0.8, 0.2, 0.3])
    >>> rates = binary_groups_stat_rates(preds, target, torch.tensor([0, 0, 1, 1]), num_groups=2)
    >>> rates["group_1"]
    tensor([0.0000, 0.0000, 0.5000, 0.5000])
    """
    statistic = GroupTables(
        num_groups=num_groups,
        threshold=threshold,
        ignore_index=ignore_index,
        validate_args=validate_args,
        input=input,
    ).checked()
    return group_stat_rates_formula(
        _count(statistic, "binary_groups_stat_rates", preds, target, groups, weight)
    )


@public
def binary_fairness(
    preds: Tensor,
    target: Tensor | None,
    groups: Tensor,
    task: str = "all",
    threshold: float = 0.5,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> dict[str, Tensor]:
    """Compare groups by :func:`demographic_parity`, :func:`equal_opportunity` or both.

    Arguments as in the module docstring; ``task`` is ``"demographic_parity"`` (``target`` may be
    None), ``"equal_opportunity"`` or ``"all"``. Returns what they return, in one dict.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_fairness
    >>> target, preds = torch.tensor([0, 1, 0, 1]), torch.tensor([0.9, 0.8, 0.2, 0.7])
    >>> binary_fairness(preds, target, torch.tensor([0, 0, 1, 1]))
    {'DP_1_0': tensor(0.5000), 'EO_0_0': tensor(1.)}
    """
    check_fairness_task(task)
    check_target(target, task)
    tables = _tables(task, threshold, ignore_index, validate_args, input)
    return _compare_groups("binary_fairness", task, tables, (preds, target, groups, weight))


@public
def demographic_parity(
    preds: Tensor,
    groups: Tensor,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> dict[str, Tensor]:
    """Lowest over highest share of positive predictions among the groups.

    Arguments as in the module docstring. Returns ``{"DP_<lowest>_<highest>": value}``, float32 in
    ``[0, 1]``; see :func:`fairness_formula`.

    >>> import torch
    >>> from fastmetrics.functional.classification import demographic_parity
    >>> demographic_parity(torch.tensor([0.9, 0.8, 0.2, 0.7]), torch.tensor([0, 0, 1, 1]))
    {'DP_1_0': tensor(0.5000)}
    """
    tables = _tables("demographic_parity", threshold, ignore_index, validate_args, input)
    return _compare_groups(
        "demographic_parity", "demographic_parity", tables, (preds, None, groups, weight)
    )


@public
def equal_opportunity(
    preds: Tensor,
    target: Tensor,
    groups: Tensor,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> dict[str, Tensor]:
    """Lowest over highest true positive rate among the groups.

    Arguments as in the module docstring. Returns ``{"EO_<lowest>_<highest>": value}``, float32 in
    ``[0, 1]``; see :func:`fairness_formula`.

    >>> import torch
    >>> from fastmetrics.functional.classification import equal_opportunity
    >>> target, preds = torch.tensor([1, 1, 0, 1]), torch.tensor([0.9, 0.1, 0.2, 0.7])
    >>> equal_opportunity(preds, target, torch.tensor([0, 0, 1, 1]))
    {'EO_0_1': tensor(0.5000)}
    """
    tables = _tables("equal_opportunity", threshold, ignore_index, validate_args, input)
    return _compare_groups(
        "equal_opportunity", "equal_opportunity", tables, (preds, target, groups, weight)
    )


def _tables(
    task: str, threshold: float, ignore_index: int | None, validate_args: bool, input: str
) -> GroupTables:
    # How many groups there are is yet to be seen; the op takes any number.
    reads_target = task != "demographic_parity"
    return GroupTables(2, threshold, ignore_index, validate_args, input, reads_target).checked()


def _compare_groups(
    owner: str,
    task: str,
    tables: GroupTables,
    batch: tuple[Tensor, Tensor | None, Tensor, Tensor | None],
) -> dict[str, Tensor]:
    preds, target, groups, weight = batch
    check_groups(preds, groups)
    names, rows = torch.unique(groups, return_inverse=True)
    found = names.shape[0]
    statistic = replace(tables, num_groups=max(found, 1))
    counts = _count(statistic, owner, preds, target, rows, weight)
    return fairness_formula(counts, task, names if found else None)
