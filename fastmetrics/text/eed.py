"""Extended edit distance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.statistic import Lists
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.text.eed import mean_score
from fastmetrics.ops.extended_edits import SCORE, ExtendedEdits
from fastmetrics.text._bases import ReferenceMetric, rows_of_column

__all__ = ["ExtendedEditDistance"]


class ExtendedEditDistance(ReferenceMetric):
    """Extended edit distance: edits of characters with jumps, for each character of the reference.

    ``min(1, (edits + coverage) / (characters + coverage))`` for the closest reference, averaged
    over samples. At blanks a jump to any place costs ``alpha``; ``coverage`` is ``rho`` for each
    place of the prediction that was looked at again, or never. 0 is best and 1 worst. Takes
    translations, N or one, for each its references, and an optional ``weight`` ``[N]``.

    Args:
        language: ``"en"`` sets marks apart from words, ``"ja"`` normalises to NFKC.
        return_sentence_level_score: whether the value is a pair of that of all samples and those of
            each, ``[N]``.
        alpha: what a jump costs.
        rho: what a place costs that was looked at again, or never.
        deletion: what a deletion costs.
        insertion: what an insertion costs; a substitution costs 1.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is not as above; the inputs of an update are no strings, or differ
            in number.

    >>> from fastmetrics.text import ExtendedEditDistance
    >>> metric = ExtendedEditDistance()
    >>> preds = ["this is the prediction", "here is an other sample"]
    >>> metric(preds, ["this is the reference", "here is another one"])
    tensor(0.3078)
    """

    higher_is_better = False
    statistic: ExtendedEdits
    language = StatisticField[str]()
    return_sentence_level_score = StatisticField[bool]("keeps_rows")
    alpha = StatisticField[float]()
    rho = StatisticField[float]()
    deletion = StatisticField[float]()
    insertion = StatisticField[float]()
    formula = staticmethod(mean_score)

    def __init__(
        self,
        language: str = "en",
        return_sentence_level_score: bool = False,
        alpha: float = 2.0,
        rho: float = 0.3,
        deletion: float = 0.2,
        insertion: float = 1.0,
        **kwargs: Any,
    ) -> None:
        statistic = ExtendedEdits(
            language, alpha, rho, deletion, insertion, return_sentence_level_score
        )
        statistic.check()
        super().__init__(statistic, **kwargs)

    def _lists(self) -> Lists | None:
        def rows(scores: Tensor) -> Tensor:
            found = scores.flatten().double()
            return torch.stack([found, torch.ones_like(found)], 1)

        return rows_of_column("sentence_eed", rows, lambda rows: rows[:, SCORE].float())
