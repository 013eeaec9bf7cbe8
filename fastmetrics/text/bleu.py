"""BLEU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.core.statistic import View
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.text.bleu import bleu, order_weights
from fastmetrics.ops.ngrams import NGrams
from fastmetrics.text._bases import ReferenceMetric, sum_view
from fastmetrics.utilities.checks import check_bool

__all__ = ["BLEUScore"]


def sums_view(columns: slice) -> View:
    """Return a view of several of the sums."""

    def write(states: States, value: Any) -> None:
        states.values["sums"][columns] = torch.as_tensor(value)

    return View(lambda states: states.values["sums"][columns].float(), write)


class BLEUScore(ReferenceMetric):
    """BLEU, ``brevity * exp(sum of w_n log p_n)``, of words that ``str.split()`` finds.

    ``p_n`` is the share of the n-grams of the predictions that a reference has, too. ``brevity`` is
    1, and ``exp(1 - r / c)`` where the c words of the predictions are fewer than the r words of the
    references that are closest in length. The value is 0 if any ``p_n`` is.

    Takes translations, N strings or one; the references of each, N sequences of strings; and an
    optional ``weight`` ``[N]``. A flat sequence of strings is all references of a single
    translation, or one for each of several.

    Args:
        n_gram: the largest n.
        smooth: whether 1 is added to both sides of ``p_n`` for n above 1.
        weights: ``w_n`` for each n; by default ``1 / n_gram``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is not as above; in an update, the texts are no strings, differ in
            number or have no reference.

    >>> from fastmetrics.text import BLEUScore
    >>> metric = BLEUScore()
    >>> preds = ["the cat is on the mat"]
    >>> metric(preds, [["there is a cat on the mat", "a cat is on the mat"]])
    tensor(0.7598)
    """

    higher_is_better = True
    statistic: NGrams
    n_gram = StatisticField[int]()

    def __init__(
        self,
        n_gram: int = 4,
        smooth: bool = False,
        weights: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        self._count(NGrams(n_gram), smooth, weights, **kwargs)

    def _count(
        self, statistic: NGrams, smooth: bool, weights: Sequence[float] | None, **kwargs: Any
    ) -> None:
        check_bool("smooth", smooth)
        super().__init__(statistic, **kwargs)
        self.smooth = smooth
        self.weights = order_weights(statistic.n_gram, weights)

    def _views(self) -> Mapping[str, View]:
        n = self.statistic.n_gram
        return {
            "preds_len": sum_view(2 * n),
            "target_len": sum_view(2 * n + 1),
            "numerator": sums_view(slice(n)),
            "denominator": sums_view(slice(n, 2 * n)),
        }

    def compute(self) -> Tensor:
        """Return the score."""
        sums = self.statistic.sums(self._states)
        value = bleu(sums.tolist(), self.weights, self.smooth)
        return torch.scalar_tensor(value, dtype=self.dtype, device=sums.device)
