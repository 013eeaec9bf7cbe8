"""Matthews correlation coefficient; shared arguments are explained in ``confusion_matrix``.

Source: Matthews, Comparison of the predicted and observed secondary structure of T4 phage lysozyme,
Biochimica et Biophysica Acta 405 (1975); classes: Gorodkin, Comparing two K-category assignments by
a K-category correlation coefficient, Computational Biology and Chemistry 28 (2004).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.functional.classification._tasks import calls_its_task
from fastmetrics.functional.classification.confusion_matrix import of_matrix

__all__ = [
    "binary_matthews_corrcoef",
    "matthews_corrcoef",
    "multiclass_matthews_corrcoef",
    "multilabel_matthews_corrcoef",
]


def matthews_corrcoef_formula(matrix: Tensor) -> Tensor:
    """Correlation of the one-hot targets with the one-hot predictions.

    ``sum_k(tp_k tn_k - fp_k fn_k) / sqrt(sum_k p_k (s - p_k) * sum_k t_k (s - t_k))`` with s
    elements, t_k of class k and p_k predicted as k. Where either has one class only the
    correlation is undefined, and the value is 0; but with two classes in all it is 1 when every
    element is right and -1 when every element is wrong.

    Args:
        matrix: ``[C, C]`` counts, or ``[L, 2, 2]`` tables, which are added up first.
    """
    counts = matrix.double()
    if counts.ndim == 3:
        counts = counts.sum(0)
    support, predicted = counts.sum(1), counts.sum(0)
    # Each margin has its own total, so that a margin with one class gives exactly 0.
    rest, predicted_rest = support.sum() - support, predicted.sum() - predicted
    tp = counts.diagonal()
    fp, fn = predicted - tp, support - tp
    # The same sum as s * tp_k - t_k * p_k, without its cancellation.
    covariance = (tp * (rest - fp) - fp * fn).sum()
    variances = support.dot(rest) * predicted.dot(predicted_rest)
    undefined = tp.sum().sign() - fp.sum().sign() if counts.shape[0] == 2 else 0.0
    return torch.where(variances > 0, covariance / variances.sqrt(), undefined).float()


@of_matrix(matthews_corrcoef_formula)
def binary_matthews_corrcoef(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Correlation of thresholded predictions with targets, float32 in ``[-1, 1]``.

    See :func:`matthews_corrcoef_formula`.

    >>> import torch
    >>> from fastmetrics.functional.classification import binary_matthews_corrcoef
    >>> binary_matthews_corrcoef(torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 0]))
    tensor(0.5774)
    """


@of_matrix(matthews_corrcoef_formula)
def multiclass_matthews_corrcoef(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Correlation of predicted classes with targets, float32 in ``[-1, 1]``.

    See :func:`matthews_corrcoef_formula`.

    >>> import torch
    >>> from fastmetrics.functional.classification import multiclass_matthews_corrcoef
    >>> preds, target = torch.tensor([2, 1, 0, 1]), torch.tensor([2, 1, 0, 0])
    >>> multiclass_matthews_corrcoef(preds, target, num_classes=3)
    tensor(0.7000)
    """


@of_matrix(matthews_corrcoef_formula)
def multilabel_matthews_corrcoef(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
    input: str = "auto",
) -> Tensor:
    """Correlation over all labels taken together, float32 in ``[-1, 1]``.

    See :func:`matthews_corrcoef_formula`.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_matthews_corrcoef
    >>> preds = torch.tensor([[0, 0, 1], [1, 0, 1]])
    >>> target = torch.tensor([[0, 1, 0], [1, 0, 1]])
    >>> multilabel_matthews_corrcoef(preds, target, num_labels=3)
    tensor(0.3333)
    """


@calls_its_task(
    binary=binary_matthews_corrcoef,
    multiclass=multiclass_matthews_corrcoef,
    multilabel=multilabel_matthews_corrcoef,
)
def matthews_corrcoef(
    preds: Tensor, target: Tensor, task: str, threshold: float = 0.5,
    num_classes: int | None = None, num_labels: int | None = None, ignore_index: int | None = None,
    validate_args: bool = True, *, weight: Tensor | None = None, input: str = "auto",
) -> Tensor:  # fmt: skip
    """Matthews correlation of ``task``: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.

    ``(tp * tn - fp * fn) / sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))`` for two classes.

    >>> import torch
    >>> from fastmetrics.functional import matthews_corrcoef
    >>> matthews_corrcoef(torch.tensor([0, 1, 0, 0]), torch.tensor([1, 1, 0, 0]), task="binary")
    tensor(0.5774)
    """
