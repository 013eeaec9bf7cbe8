"""Exact match: the share of samples with every position right.

Shared arguments as in the docstring of the ``stat_scores`` module. A multiclass sample has the
positions of its trailing axes; for multilabel inputs the positions are the labels, and each
element of the trailing axes is a sample of its own. Ignored positions count as right.
``"samplewise"`` returns ``[N]`` and needs trailing axes. Values are float32 in ``[0, 1]``, 0 where
there are no samples.

Source: Zhang and Zhou, A review on multi-label learning algorithms, IEEE Transactions on Knowledge
and Data Engineering 26 (2014), where it is called subset accuracy.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from fastmetrics.functional._declare import Read, planned_by
from fastmetrics.functional.classification._tasks import calls_its_task
from fastmetrics.ops.counted import divide, is_readable
from fastmetrics.ops.exact_match import ClassMatches, LabelMatches, MatchCounts, Matches
from fastmetrics.utilities.checks import is_samplewise
from fastmetrics.utilities.data import scalar

__all__ = ["exact_match", "multiclass_exact_match", "multilabel_exact_match"]


def exact_match_formula(matches: Matches) -> Tensor:
    """Divide the samples with every position right by all samples, float32."""
    table = matches.table
    if table.ndim == 1 and is_readable(table):
        right, samples = table.tolist()
        return scalar(right / samples if samples else 0.0)
    correct, total = table.double().unbind(-1)
    return divide(correct, total).float()


def _plan(
    kind: type[ClassMatches] | type[LabelMatches],
    multidim_average: str,
    validate_args: bool,
    **arguments: Any,
) -> tuple[MatchCounts, Read]:
    samplewise = is_samplewise(multidim_average, validate_args)
    statistic = kind(samplewise=samplewise, validate_args=validate_args, **arguments)
    return statistic.checked(), lambda statistic, states: exact_match_formula(
        statistic.read(states)
    )


@planned_by(partial(_plan, ClassMatches))
def multiclass_exact_match(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Share of multiclass samples whose trailing positions are all right.

    ``#{samples with every position right} / #{samples}``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_exact_match
    >>> preds, target = torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0, 2], [1, 0]])
    >>> multiclass_exact_match(preds, target, num_classes=3)
    tensor(0.5000)
    """


@planned_by(partial(_plan, LabelMatches))
def multilabel_exact_match(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    multidim_average: str = "global",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Share of multilabel samples whose labels are all right.

    ``#{samples with every position right} / #{samples}``.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_exact_match
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.6], [0.3, 0.2]])
    >>> target = torch.tensor([[0, 1], [1, 0], [1, 0]])
    >>> multilabel_exact_match(preds, target, num_labels=2)
    tensor(0.3333)
    """


@calls_its_task(
    multiclass=multiclass_exact_match,
    multilabel=multilabel_exact_match,
)
def exact_match(
    preds: Tensor, target: Tensor, task: str, num_classes: int | None = None,
    num_labels: int | None = None, threshold: float = 0.5, multidim_average: str = "global",
    ignore_index: int | None = None, validate_args: bool = True, *, weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:  # fmt: skip
    """Exact match of ``task``: ``"multiclass"`` or ``"multilabel"``.

    ``#{samples with every position right} / #{samples}``.

    Passes the arguments that the task has to :func:`multiclass_exact_match` (needs ``num_classes``)
    or :func:`multilabel_exact_match` (needs ``num_labels``).

    >>> import torch
    >>> from fastmetrics.functional import exact_match
    >>> preds, target = torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0, 2], [1, 0]])
    >>> exact_match(preds, target, task="multiclass", num_classes=3)
    tensor(0.5000)
    """
