"""Translation edit rate."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.text.ter import edit_rate
from fastmetrics.ops.shifts import EDITS, LENGTH, Shifts
from fastmetrics.text._bases import ReferenceMetric, sum_view

__all__ = ["TranslationEditRate"]


class TranslationEditRate(ReferenceMetric):
    """Translation edit rate, ``edits / words of the references``; moving a phrase is one edit.

    The edits are those to the reference that takes fewest, found as Tercom does, and the words the
    mean over the references of a sample. As in torchmetrics, the reference is edited into the
    prediction. The value is 0 for equal texts and may exceed 1. Takes translations, N or one, for
    each its references, and an optional ``weight`` ``[N]``.

    Args:
        normalize: whether marks become words of their own, and HTML's names characters.
        no_punctuation: whether marks are left out.
        lowercase: whether case does not matter.
        asian_support: whether the first two know Chinese and Japanese.
        return_sentence_level_score: whether the value is a pair of that of all samples and those of
            each, ``[N]``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: a flag is no bool; the inputs of an update are no strings, or differ in number.

    >>> from fastmetrics.text import TranslationEditRate
    >>> metric = TranslationEditRate()
    >>> metric(["the cat is on the mat"], [["there is a cat on the mat", "a cat is on the mat"]])
    tensor(0.1538)
    """

    higher_is_better = False
    return_sentence_level_score = StatisticField[bool]("keeps_rows")
    formula = staticmethod(edit_rate)
    _upstream = MappingProxyType(
        {"total_num_edits": sum_view(EDITS), "total_tgt_len": sum_view(LENGTH)}
    )

    def __init__(
        self,
        normalize: bool = False,
        no_punctuation: bool = False,
        lowercase: bool = True,
        asian_support: bool = False,
        return_sentence_level_score: bool = False,
        **kwargs: Any,
    ) -> None:
        statistic = Shifts(
            normalize, no_punctuation, lowercase, asian_support, return_sentence_level_score
        )
        statistic.check()
        super().__init__(statistic, **kwargs)
