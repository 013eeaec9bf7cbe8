"""Hinge loss: how far scores stay behind a margin of one, on average.

Shared arguments (N samples, C classes; positions of trailing axes ``...`` count as samples):

- ``preds``: scores, float16, bfloat16, float32 or float64; binary ``[N, ...]``, multiclass
  ``[N, C, ...]``.
- ``target``: labels in any integer type or bool ``[N, ...]``; 0 or 1, or in ``[0, C)``.
- ``squared``: average the squares of the losses.
- ``multiclass_mode``: ``"crammer-singer"`` compares the score of the target with the largest other
  one; ``"one-vs-all"`` has a loss for each class, against the rest.
- ``ignore_index``: integer or None; positions with this target are left out.
- ``validate_args``: check the arguments and the labels; False skips both.
- ``weight``: optional ``[N]`` of non-negative numbers, how much each sample counts.
- ``input``: ``"probs"`` takes scores as they are, also decision values outside ``[0, 1]``;
  ``"logits"`` applies a sigmoid (binary) or softmax (multiclass) first; ``"auto"`` does that as
  soon as one score lies outside ``[0, 1]``.

The value is float32, a scalar or for ``"one-vs-all"`` ``[C]``, worked out in float64; NaN without
samples. NaN scores make it NaN, with a warning. All raise ``ValueError`` for arguments, shapes,
dtypes and devices that do not fit and ``RuntimeError`` for labels out of range.

Source: Cortes and Vapnik, Support-vector networks, Machine Learning 20 (1995); classes: Crammer and
Singer, On the algorithmic implementation of multiclass kernel-based vector machines, Journal of
Machine Learning Research 2 (2001).
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from fastmetrics.functional._declare import Read, planned_by
from fastmetrics.functional.classification._tasks import calls_its_task
from fastmetrics.ops.counted import is_readable
from fastmetrics.ops.hinge import HingeSums, LossSums
from fastmetrics.utilities.checks import check_bool
from fastmetrics.utilities.data import scalar

__all__ = ["binary_hinge_loss", "hinge_loss", "multiclass_hinge_loss"]


def hinge_formula(sums: LossSums) -> Tensor:
    """Divide the sums of losses by the samples: float32 ``[K]``, a scalar for a single loss."""
    if sums.row.shape[0] == 2 and is_readable(sums.row):
        loss, total = sums.row.tolist()
        return scalar(loss / total if total else math.nan)
    losses = (sums.losses / sums.total).float()
    return losses if losses.shape[0] > 1 else losses[0]


def _plan(**arguments: Any) -> tuple[HingeSums, Read]:
    check_bool("squared", arguments["squared"])  # whatever `validate_args` says
    statistic = HingeSums(multiclass="num_classes" in arguments, **arguments).checked()
    return statistic, lambda statistic, states: hinge_formula(statistic.read(states))


@planned_by(_plan)
def binary_hinge_loss(
    preds: Tensor,
    target: Tensor,
    squared: bool = False,
    ignore_index: int | None = None,
    validate_args: bool = False,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Mean of ``max(0, 1 - y * score)``, where y is 1 for target 1 and -1 for target 0.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_hinge_loss
    >>> binary_hinge_loss(torch.tensor([0.3, 0.9, 0.5]), torch.tensor([0, 1, 1]))
    tensor(0.6333)
    """


@planned_by(_plan)
def multiclass_hinge_loss(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    squared: bool = False,
    multiclass_mode: str = "crammer-singer",
    ignore_index: int | None = None,
    validate_args: bool = False,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Mean of ``max(0, 1 - margin)``, one loss per sample or one per class.

    The margin of a sample is the score of its target less the largest other score; one-vs-all the
    score of a class for its own samples and the negative of it for all others.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_hinge_loss
    >>> preds = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    >>> multiclass_hinge_loss(preds, torch.tensor([1, 2]), num_classes=3)
    tensor(0.5500)
    """


@calls_its_task(binary=binary_hinge_loss, multiclass=multiclass_hinge_loss)
def hinge_loss(
    preds: Tensor,
    target: Tensor,
    task: str,
    num_classes: int | None = None,
    squared: bool = False,
    multiclass_mode: str = "crammer-singer",
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Hinge loss of ``task``: ``"binary"`` or ``"multiclass"``.

    Mean of ``max(0, 1 - margin)``, or of its square.

    Passes the arguments that the task has to :func:`binary_hinge_loss` or
    :func:`multiclass_hinge_loss` (needs ``num_classes``).

    >>> import torch
    >>> from fastmetrics.functional import hinge_loss
    >>> hinge_loss(torch.tensor([0.3, 0.9, 0.5]), torch.tensor([0, 1, 1]), task="binary")
    tensor(0.6333)
    """
