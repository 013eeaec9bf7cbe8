"""Character error rate."""

from __future__ import annotations

from types import MappingProxyType

from fastmetrics.functional.text._edit_rates import CHARACTERS, error_rate
from fastmetrics.ops.edits import EDITS, TARGET
from fastmetrics.text._bases import EditRate, sum_view

__all__ = ["CharErrorRate"]


class CharErrorRate(EditRate):
    """Character error rate, ``edits / characters of the targets``.

    Edits are substitutions, deletions and insertions. Characters are code points, blanks too. The
    value may exceed 1; without any character in the targets it is infinite, or NaN if nothing was
    predicted either. Takes strings, N or one, as many targets, and an optional ``weight`` ``[N]``.

    Args:
        return_sentence_level_score: whether the value is a pair of that of all samples and those of
            each, ``[N]``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: the inputs of an update are no strings, or differ in number.

    >>> from fastmetrics.text import CharErrorRate
    >>> metric = CharErrorRate()
    >>> preds = ["this is the prediction", "there is an other sample"]
    >>> metric(preds, ["this is the reference", "there is another one"])
    tensor(0.3415)
    """

    higher_is_better = False
    formula = staticmethod(error_rate)
    _counts = CHARACTERS
    _upstream = MappingProxyType({"errors": sum_view(EDITS), "total": sum_view(TARGET)})
