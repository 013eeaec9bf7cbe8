"""Label ranking: coverage error, ranking average precision and ranking loss of multilabel scores.

Shared arguments (N samples, L labels; the positions of trailing axes ``...`` count as samples):

- ``preds``: scores ``[N, L, ...]``, float16, bfloat16, float32 or float64. Only their order within
  a sample counts, so probabilities and logits give the same value; NaN ranks below every score.
- ``target``: 0 and 1 in any integer type or bool, in the shape of ``preds``.
- ``num_labels``: L, at least 2.
- ``ignore_index``: integer or None; labels with this target take no part, and a sample without
  other labels is left out.
- ``validate_args``: check the arguments and the labels; False skips both.
- ``weight``: optional ``[N]`` of non-negative numbers, how much each sample counts.

Each value is the mean over samples, a float32 scalar worked out in float64; NaN without samples. A
label that scores as high as another counts as ranked above it, to the disadvantage of the value.
All raise ``ValueError`` for arguments, shapes, dtypes and devices that do not fit and
``RuntimeError`` for labels out of range.

Source: Tsoumakas, Katakis and Vlahavas, Mining multi-label data, in Data Mining and Knowledge
Discovery Handbook, 2nd edition, Springer 2010.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops import ranking_sums_
from fastmetrics.ops.faults import NAN_RANKS_LAST, new_events, raise_events
from fastmetrics.ops.ranking import COVERAGE, LOSS, NUM_SUMS, PRECISION
from fastmetrics.utilities.checks import check_ignore_index, check_int

__all__ = [
    "multilabel_coverage_error",
    "multilabel_ranking_average_precision",
    "multilabel_ranking_loss",
]

# What is counted for each measure: one pass over ranks gives all of them.
COUNTED = {
    COVERAGE: COVERAGE,
    PRECISION: COVERAGE | PRECISION | LOSS,
    LOSS: COVERAGE | PRECISION | LOSS,
}


def check_ranking_arguments(num_labels: Any, ignore_index: Any) -> None:
    """Raise ``ValueError`` unless the arguments are in range."""
    check_int("num_labels", num_labels, 2)
    check_ignore_index(ignore_index)


def check_num_labels(preds: Tensor, num_labels: int) -> None:
    """Raise ``ValueError`` unless ``preds`` has this many labels."""
    if preds.ndim < 2 or preds.shape[1] != num_labels:
        raise ValueError(
            f"`preds` and `target` must have shape (N, L, ...) with L={num_labels},"
            f" got {tuple(preds.shape)}."
        )


def ranking_formula(sums: Tensor, measure: int) -> Tensor:
    """Divide the column of ``measure`` in ``sums`` ``[4]`` by the samples in the last: float32."""
    return (sums[measure.bit_length() - 1] / sums[NUM_SUMS - 1]).float()


def _ranking(
    owner: str,
    measure: int,
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    ignore_index: int | None,
    validate_args: bool,
    weight: Tensor | None,
) -> Tensor:
    if validate_args:
        check_ranking_arguments(num_labels, ignore_index)
    check_num_labels(preds, num_labels)
    sums = torch.zeros(NUM_SUMS, dtype=torch.float64, device=target.device)
    events = new_events(target.device)
    ranking_sums_(sums, events, preds, target, measure, weight, ignore_index, validate_args)
    if validate_args:
        raise_events(owner, events, NAN_RANKS_LAST)
    return ranking_formula(sums, measure)


def multilabel_coverage_error(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """How many labels of a sample score at least as high as its lowest positive one, on average.

    Mean over samples of ``max over relevant l of #{k: s_k >= s_l}``.

    In ``[0, L]``; a sample without positives counts 0.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_coverage_error
    >>> preds = torch.tensor([[0.9, 0.4, 0.6], [0.2, 0.7, 0.1]])
    >>> target = torch.tensor([[1, 1, 0], [0, 1, 0]])
    >>> multilabel_coverage_error(preds, target, num_labels=3)
    tensor(2.)
    """
    return _ranking(
        "multilabel_coverage_error",
        COVERAGE,
        preds,
        target,
        num_labels,
        ignore_index,
        validate_args,
        weight,
    )


def multilabel_ranking_average_precision(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Share of positives among the labels that score at least as high as each positive, averaged.

    Mean over relevant l of ``#{relevant k: s_k >= s_l} / #{k: s_k >= s_l}``, then over samples.

    In ``[0, 1]``; a sample without positives or without negatives counts 1.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_ranking_average_precision
    >>> preds = torch.tensor([[0.9, 0.4, 0.6], [0.2, 0.7, 0.1]])
    >>> target = torch.tensor([[1, 1, 0], [0, 1, 0]])
    >>> multilabel_ranking_average_precision(preds, target, num_labels=3)
    tensor(0.9167)
    """
    return _ranking(
        "multilabel_ranking_average_precision",
        PRECISION,
        preds,
        target,
        num_labels,
        ignore_index,
        validate_args,
        weight,
    )


def multilabel_ranking_loss(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    ignore_index: int | None = None,
    validate_args: bool = True,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Share of pairs of a positive and a negative label whose negative scores at least as high.

    Mean of ``#{relevant l, other k: s_k >= s_l} / (#relevant * #others)`` over samples.

    In ``[0, 1]``; a sample without such pairs counts 0.

    >>> import torch
    >>> from fastmetrics.functional.classification import multilabel_ranking_loss
    >>> preds = torch.tensor([[0.9, 0.4, 0.6], [0.2, 0.7, 0.1]])
    >>> target = torch.tensor([[1, 1, 0], [0, 1, 0]])
    >>> multilabel_ranking_loss(preds, target, num_labels=3)
    tensor(0.2500)
    """
    return _ranking(
        "multilabel_ranking_loss",
        LOSS,
        preds,
        target,
        num_labels,
        ignore_index,
        validate_args,
        weight,
    )
