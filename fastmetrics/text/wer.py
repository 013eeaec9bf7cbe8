"""Word error rate."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.text.wer import error_rate
from fastmetrics.ops.edits import EDITS, TARGET, Edits
from fastmetrics.text._bases import TextMetric, sum_view

__all__ = ["WordErrorRate"]


class EditRate(TextMetric):
    """A rate of edits of words.

    Args:
        return_sentence_level_score: whether the value is a pair of the rate of all samples and
            those of each, ``[N]``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.
    """

    higher_is_better: bool | None = False
    return_sentence_level_score = StatisticField[bool]("keeps_rows")
    _words = True

    def __init__(self, *, return_sentence_level_score: bool = False, **kwargs: Any) -> None:
        super().__init__(Edits(self._words, keeps_rows=return_sentence_level_score), **kwargs)


class WordErrorRate(EditRate):
    """Word error rate, ``(substitutions + deletions + insertions) / words of the targets``.

    Words are what ``str.split()`` finds. The value is 0 for equal texts and may exceed 1. Takes
    strings, N or one, as many targets, and an optional ``weight`` ``[N]``.

    Args:
        return_sentence_level_score: whether the value is a pair of the rate of all samples and
            those of each, ``[N]``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: the inputs of an update are no strings, or differ in number.

    >>> from fastmetrics.text import WordErrorRate
    >>> metric = WordErrorRate()
    >>> preds = ["this is the prediction", "there is an other sample"]
    >>> metric(preds, ["this is the reference", "there is another one"])
    tensor(0.5000)
    """

    formula = staticmethod(error_rate)
    _upstream = MappingProxyType({"errors": sum_view(EDITS), "total": sum_view(TARGET)})
