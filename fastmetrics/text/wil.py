"""Word information lost."""

from __future__ import annotations

from types import MappingProxyType

from fastmetrics.functional.text._edit_rates import WORDS, information_lost
from fastmetrics.text._bases import EditRate, information_views

__all__ = ["WordInfoLost"]


class WordInfoLost(EditRate):
    """Word information lost, ``1 - matches / words of the targets * matches / words predicted``.

    Matches are the words of the longer text less the edits, as in torchmetrics; packages that
    align both texts count those that stay in place, which may be more. The value lies in [0,
    1], and is NaN where one side has no word. Takes strings, N or one, as many targets, and an
    optional ``weight`` ``[N]``.

    Args:
        return_sentence_level_score: whether the value is a pair of that of all samples and those of
            each, ``[N]``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: the inputs of an update are no strings, or differ in number.

    >>> from fastmetrics.text import WordInfoLost
    >>> metric = WordInfoLost()
    >>> preds = ["this is the prediction", "there is an other sample"]
    >>> metric(preds, ["this is the reference", "there is another one"])
    tensor(0.6528)
    """

    higher_is_better = False
    formula = staticmethod(information_lost)
    _counts = WORDS
    _upstream = MappingProxyType(information_views())
