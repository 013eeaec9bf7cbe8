"""Confusion matrices, and what every metric that reads one shares.

Rows are targets, columns predictions: ``matrix[i, j]`` counts the elements of class ``i`` that were
predicted as ``j``. A two-by-two table is ``[[tn, fp], [fn, tp]]``.

Shared arguments, for this module and for ``cohen_kappa``, ``matthews_corrcoef`` and ``jaccard``
(N samples, C classes, L labels; trailing axes ``...`` join the sample axis):

- ``preds``: binary scores or labels ``[N, ...]``; multiclass scores ``[N, C, ...]`` (float16,
  bfloat16, float32, float64; the class is the argmax) or labels ``[N, ...]``; multilabel scores or
  labels ``[N, L, ...]``.
- ``target``: labels in any integer type or bool, ``[N, ...]``, for multilabel ``[N, L, ...]``; 0 or
  1 for binary and multilabel, in ``[0, C)`` for multiclass.
- ``threshold``: float in ``[0, 1]``; a probability above it counts as positive.
- ``num_classes``, ``num_labels``: integers of at least 2.
- ``normalize``: ``"true"`` makes rows sum to 1, ``"pred"`` columns, ``"all"`` the matrix;
  ``"none"`` and None keep counts.
- ``ignore_index``: integer or None; elements with this target are left out.
- ``validate_args``: check the arguments and the labels; False skips both.
- ``weight``: optional ``[N]``, how much each sample counts.
- ``input``: ``"probs"`` or ``"logits"`` say what float scores are; ``"auto"`` takes all of them as
  logits as soon as one score lies outside ``[0, 1]``.

All raise ``ValueError`` for arguments, shapes and dtypes that do not fit and ``RuntimeError`` for
labels out of range. Formulas run in float64 and return float32.

Source: Stehman, Selecting and interpreting measures of thematic classification accuracy, Remote
Sensing of Environment 62 (1997).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from fastmetrics.functional._declare import Read, Shortcut, planned_by
from fastmetrics.functional.classification._tasks import calls_its_task
from fastmetrics.ops.confusion import BinaryTable, Confusion, LabelTables
from fastmetrics.ops.counted import TINY, is_readable
from fastmetrics.utilities.checks import NORMALIZATIONS, check_choice
from fastmetrics.utilities.prints import rank_zero_warn

__all__ = [
    "binary_confusion_matrix",
    "confusion_matrix",
    "multiclass_confusion_matrix",
    "multilabel_confusion_matrix",
]

F = TypeVar("F", bound=Callable[..., Tensor])


def check_normalize(normalize: str | None) -> None:
    """Raise ``ValueError`` unless ``normalize`` names a normalisation."""
    check_choice("normalize", normalize, NORMALIZATIONS)


def tables_of(arguments: dict[str, Any]) -> Confusion | LabelTables:
    """Take the arguments of a statistic out of those of a function, and return it."""
    names = ("num_classes", "num_labels", "threshold", "ignore_index", "validate_args", "input")
    own = {name: arguments.pop(name) for name in names if name in arguments}
    if "num_classes" in own:
        return Confusion(**own)
    return LabelTables(**own) if "num_labels" in own else BinaryTable(**own)


def of_matrix(
    value: Callable[..., Tensor], check: Callable[..., None] | None = None
) -> Callable[[F], F]:
    """Give a function its body: the value of the matrix of one batch. Its own body is its purpose.

    Args:
        value: of ``[C, C]``, ``[L, 2, 2]``, or ``[2, 2]`` for binary inputs, and of those arguments
            that only the function has.
        check: raises ``ValueError`` unless these are in range.
    """

    def plan(**own: Any) -> tuple[Confusion | LabelTables, Read, Shortcut | None]:
        statistic = tables_of(own)
        if statistic.validate_args:
            if check is not None:
                check(**own)
            statistic.check()
        shortcut = None
        if isinstance(statistic, BinaryTable):
            shortcut = _by_numbers(statistic, functools.partial(value, **own))
        return statistic, lambda tables, states: value(tables.matrix(states), **own), shortcut

    return planned_by(plan)


def _by_numbers(statistic: BinaryTable, value: Callable[[Tensor], Tensor]) -> Shortcut:
    count = statistic.numbers()

    def value_of_batch(preds: Tensor, target: Tensor) -> Tensor | None:
        found = count(preds, target)
        if found is None:
            return None
        tn, fp, fn, tp = statistic.chosen(*found)
        return value(torch.tensor([[tn, fp], [fn, tp]]))

    return value_of_batch


def normalize_matrix(matrix: Tensor, normalize: str | None) -> Tensor:
    """Divide by the sums over predictions, targets or both; empty rows and columns become 0.

    On the CPU a warning says how many cells these are, as upstream.

    Args:
        matrix: ``[..., C, C]`` counts.
        normalize: ``"true"`` makes rows sum to 1, ``"pred"`` columns, ``"all"`` the matrix;
            ``"none"`` and None return ``matrix`` itself.
    """
    if normalize in (None, "none"):
        return matrix
    axes = {"true": (-1,), "pred": (-2,), "all": (-2, -1)}[str(normalize)]
    sums = matrix.sum(axes, keepdim=True)
    if is_readable(sums):
        empty = int((sums == 0).sum()) * (matrix.numel() // max(1, sums.numel()))
        if empty:
            rank_zero_warn(
                f"{empty} cells of the confusion matrix lie in rows or columns without samples, so"
                " that their shares are not defined: they are 0.",
                UserWarning,
            )
    # Without samples a row or column has nothing but zeros.
    if matrix.is_floating_point():
        return (matrix / sums.clamp_min(TINY)).float()
    return matrix.float().div_(sums.clamp_min(1))  # float64 would take twice the time


@of_matrix(normalize_matrix, check_normalize)
def binary_confusion_matrix(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    normalize: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Count the table ``[[tn, fp], [fn, tp]]``; arguments as in the module docstring.

    ``matrix[i, j] = #{target = i and prediction = j}``.

    ``normalize`` is ``"true"``, ``"pred"``, ``"all"``, ``"none"`` or None, see
    :func:`normalize_matrix`. Returns ``[2, 2]``: int64, float64 when weighted, float32 when
    normalised.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_confusion_matrix
    >>> binary_confusion_matrix(torch.tensor([0.2, 0.9, 0.6]), torch.tensor([0, 1, 0]))
    tensor([[1, 1],
            [0, 1]])
    """


@of_matrix(normalize_matrix, check_normalize)
def multiclass_confusion_matrix(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    normalize: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Count targets (rows) against predictions (columns); arguments as in the module docstring.

    ``matrix[i, j] = #{target = i and prediction = j}``.

    ``normalize`` as in :func:`binary_confusion_matrix`. Returns ``[C, C]``: int64, float64 when
    weighted, float32 when normalised.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_confusion_matrix
    >>> preds, target = torch.tensor([2, 1, 0, 1]), torch.tensor([2, 1, 0, 0])
    >>> multiclass_confusion_matrix(preds, target, num_classes=3)
    tensor([[1, 1, 0],
            [0, 1, 0],
            [0, 0, 1]])
    """


@of_matrix(normalize_matrix, check_normalize)
def multilabel_confusion_matrix(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    normalize: str | None = None,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Count one table ``[[tn, fp], [fn, tp]]`` per label; arguments as in the module docstring.

    ``matrix[i, j] = #{target = i and prediction = j}``.

    ``normalize`` as in :func:`binary_confusion_matrix`, within each table. Returns ``[L, 2, 2]``:
    int64, float64 when weighted, float32 when normalised.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_confusion_matrix
    >>> preds = torch.tensor([[0.1, 0.8], [0.7, 0.3]])
    >>> multilabel_confusion_matrix(preds, torch.tensor([[0, 1], [0, 1]]), num_labels=2)
    tensor([[[1, 1],
             [0, 0]],
    <BLANKLINE>
            [[0, 0],
             [1, 1]]])
    """


@calls_its_task(
    binary=binary_confusion_matrix,
    multiclass=multiclass_confusion_matrix,
    multilabel=multilabel_confusion_matrix,
)
def confusion_matrix(
    preds: Tensor, target: Tensor, task: str, threshold: float = 0.5,
    num_classes: int | None = None, num_labels: int | None = None, normalize: str | None = None,
    ignore_index: int | None = None, validate_args: bool = True, *, weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:  # fmt: skip
    """Count the confusion matrix of ``task``: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.

    ``matrix[i, j] = #{target = i and prediction = j}``.

    Passes the arguments that the task has to :func:`binary_confusion_matrix`,
    :func:`multiclass_confusion_matrix` (needs ``num_classes``) or
    :func:`multilabel_confusion_matrix` (needs ``num_labels``).

    >>> import torch
    >>> from fastmetrics.functional import confusion_matrix
    >>> confusion_matrix(torch.tensor([0, 1]), torch.tensor([1, 1]), task="binary")
    tensor([[0, 0],
            [1, 1]])
    """
