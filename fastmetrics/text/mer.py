"""Match error rate."""

from __future__ import annotations

from types import MappingProxyType

from fastmetrics.functional.text._edit_rates import WORDS, match_error
from fastmetrics.ops.edits import EDITS, LONGER
from fastmetrics.text._bases import EditRate, sum_view

__all__ = ["MatchErrorRate"]


class MatchErrorRate(EditRate):
    """Match error rate, ``edits / words``, of the longer text of each pair.

    Edits are substitutions, deletions and insertions of words, which are what ``str.split()``
    finds. The value lies in [0, 1], and is NaN without any word. Takes strings, N or one, as
    many targets, and an optional ``weight`` ``[N]``.

    Args:
        return_sentence_level_score: whether the value is a pair of that of all samples and those of
            each, ``[N]``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: the inputs of an update are no strings, or differ in number.

    >>> from fastmetrics.text import MatchErrorRate
    >>> metric = MatchErrorRate()
    >>> preds = ["this is the prediction", "there is an other sample"]
    >>> metric(preds, ["this is the reference", "there is another one"])
    tensor(0.4444)
    """

    higher_is_better = False
    formula = staticmethod(match_error)
    _counts = WORDS
    _upstream = MappingProxyType({"errors": sum_view(EDITS), "total": sum_view(LONGER)})
