"""Perplexity of a language model.

Source: Jelinek, Mercer, Bahl and Baker, Perplexity: a measure of the difficulty of speech
recognition tasks, Journal of the Acoustical Society of America 62 (1977).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.statistic import count_with_gradients
from fastmetrics.functional._declare import Value, valued_by
from fastmetrics.ops.counted import is_readable
from fastmetrics.ops.cross_entropy import CrossEntropySums
from fastmetrics.utilities.data import scalar

__all__ = ["perplexity"]


def perplexity_of(sums: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the exponential of the mean loss, given the sum of losses and their number, ``[2]``.

    NaN without positions.
    """
    if is_readable(sums) and not sums.requires_grad:
        # Numbers take half the time of tensors, but some of them raise.
        total, number = sums.tolist()
        try:
            return scalar(math.exp(total / number), dtype)
        except ArithmeticError:
            pass
    total, number = sums.unbind()
    return (total / number).exp().to(dtype)


def _plan(given: dict[str, Any]) -> Value:
    statistic = CrossEntropySums(**given)
    statistic.check()

    def value(preds: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        states = count_with_gradients(statistic, "perplexity", preds, target, weight)
        dtype = torch.promote_types(preds.dtype, torch.float32)
        return perplexity_of(statistic.read(states), dtype)

    return value


@valued_by(_plan)
def perplexity(  # type: ignore[empty-body]  # see `valued_by`
    preds: Tensor,
    target: Tensor,
    ignore_index: int | None = None,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """Perplexity, ``exp(mean(-log(softmax(preds)[target])))``.

    How many words, all equally likely, a model is as unsure between as it is of each next one; 1 if
    it is certain and right, infinite if it holds one of them for impossible. NaN without positions.

    Args:
        preds: logits ``[B, T, V]``, float16, bfloat16, float32 or float64. Probabilities are taken
            for logits, too.
        target: classes ``[B, T]`` in any integer type.
        ignore_index: positions with this target are left out.
        weight: optional ``[B]`` of non-negative numbers, how much each position of a sample counts.

    Returns:
        A scalar, float64 for float64 logits and float32 for all others. Gradients flow to
        ``preds``. NaN among the logits makes it NaN, with a warning.

    Raises:
        ValueError: the shapes, devices or ``ignore_index`` do not fit.
        TypeError: ``preds`` is not floating point, or ``target`` no integers.
        RuntimeError: a target lies outside ``[0, V)`` and is not ``ignore_index``.

    >>> import torch
    >>> from fastmetrics.functional.text import perplexity
    >>> preds = torch.tensor([[[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]]])
    >>> perplexity(preds, torch.tensor([[0, 1]]))
    tensor(1.2857)
    """
