"""Perplexity of a language model."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from typing_extensions import override

from fastmetrics.core.differentiable import DifferentiableMetric
from fastmetrics.core.states import States
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.text.perplexity import perplexity_of
from fastmetrics.ops.cross_entropy import CrossEntropySums

__all__ = ["Perplexity"]


class Perplexity(DifferentiableMetric):
    """Perplexity, ``exp(mean(-log(softmax(preds)[target])))``.

    How many words, all equally likely, a model is as unsure between as it is of each next one; 1 if
    it is certain and right, infinite if it holds one of them for impossible. NaN without positions.

    ``update(preds, target, *, weight=None)`` takes logits ``[B, T, V]`` (float16, bfloat16, float32
    or float64; probabilities are taken for logits, too), targets ``[B, T]`` of any integer type,
    and optionally weights ``[B]`` that say how much each position of a sample counts. The value is
    a float32 scalar; the sums behind it stay float64. NaN among the logits makes it NaN, with a
    warning.

    Args:
        ignore_index: positions with this target are left out.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: ``ignore_index`` is no integer; the shapes or devices of an update do not fit.
        TypeError: the logits of an update are not floating point, or its targets no integers.
        RuntimeError: a target lies outside ``[0, V)`` and is not ``ignore_index``.

    >>> import torch
    >>> from fastmetrics.text import Perplexity
    >>> metric = Perplexity(ignore_index=-100)
    >>> preds = torch.tensor([[[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [1.0, 1.0, 1.0]]])
    >>> metric.update(preds, torch.tensor([[0, 1, -100]]))
    >>> metric.compute()
    tensor(1.2857)
    """

    higher_is_better = False
    plot_lower_bound = 1.0
    statistic: CrossEntropySums
    ignore_index = StatisticField[int | None]()

    def __init__(self, ignore_index: int | None = None, **kwargs: Any) -> None:
        statistic = CrossEntropySums(ignore_index)
        statistic.check()
        super().__init__(statistic, **kwargs)

    @override
    def _value(self, states: States) -> Tensor:
        return perplexity_of(self.statistic.read(states), self.dtype)
