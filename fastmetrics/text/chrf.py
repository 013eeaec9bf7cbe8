"""chrF and chrF++."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fastmetrics.core.statistic import View
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.text.chrf import chrf_values
from fastmetrics.ops.chrf import CharacterGrams
from fastmetrics.text._bases import ReferenceMetric, sum_view

__all__ = ["CHRFScore"]


class CHRFScore(ReferenceMetric):
    """chrF, the mean over n of ``(1 + beta^2) p_n r_n / (beta^2 p_n + r_n)``.

    ``p_n`` is the share of the n-grams of the predictions that their references have, too, and
    ``r_n`` that of the references which the predictions have: n-grams of characters, and of words,
    from which a mark of punctuation at the end or the start is parted. Of several references that
    with the best score counts, and none if all have 0.

    Takes translations, N strings or one; the references of each, N sequences of strings; and an
    optional ``weight`` ``[N]``. A flat sequence of strings is all references of a single
    translation, or one for each of several.

    Args:
        n_char_order: the largest n for characters.
        n_word_order: that for words: 2 is chrF++, and 0 is chrF.
        beta: how many times as much recall counts as precision, in [0, 1e150].
        lowercase: whether texts are compared in lower case.
        whitespace: whether blanks are characters.
        return_sentence_level_score: whether the value is a pair of the score of all samples and
            those of each, ``[N]``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is not as above; in an update, the texts are no strings, differ in
            number or have no reference.

    >>> from fastmetrics.text import CHRFScore
    >>> metric = CHRFScore()
    >>> preds = ["the cat is on the mat"]
    >>> metric(preds, [["there is a cat on the mat", "a cat is on the mat"]])
    tensor(0.8640)
    """

    higher_is_better = True
    statistic: CharacterGrams
    sentence_chrf_score: list[Tensor] | None = None
    n_char_order = StatisticField[int]("char_orders")
    n_word_order = StatisticField[int]("word_orders")
    beta = StatisticField[float]()
    lowercase = StatisticField[bool]()
    whitespace = StatisticField[bool]()
    return_sentence_level_score = StatisticField[bool]("keeps_scores")

    def __init__(
        self,
        n_char_order: int = 6,
        n_word_order: int = 2,
        beta: float = 2.0,
        lowercase: bool = False,
        whitespace: bool = False,
        return_sentence_level_score: bool = False,
        **kwargs: Any,
    ) -> None:
        statistic = CharacterGrams(
            n_char_order, n_word_order, beta, lowercase, whitespace, return_sentence_level_score
        )
        super().__init__(statistic, **kwargs)

    @property
    def n_order(self) -> float:
        """The number of orders of characters and words."""
        return float(self.statistic.orders)

    def _views(self) -> Mapping[str, View]:
        kinds = (("char", self.n_char_order, 0), ("word", self.n_word_order, self.n_char_order))
        return {
            f"total_{text}_{kind}_{n}_grams": sum_view(row * self.statistic.orders + first + n - 1)
            for kind, orders, first in kinds
            for row, text in enumerate(("preds", "target", "matching"))
            for n in range(1, orders + 1)
        }

    def compute(self) -> Any:
        """Return the score; where each sample has one, too, a pair of it and those ``[N]``."""
        return chrf_values(self.statistic, self._states, self.dtype)
