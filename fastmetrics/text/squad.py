"""Exact matches and F1 of answers to questions."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.keywords import adds
from fastmetrics.core.statistic import counts_only
from fastmetrics.functional.text.squad import Entries, read_answers
from fastmetrics.ops.answers import EXACT, F1, SAMPLES, Answers
from fastmetrics.text._bases import TextMetric, sum_view

__all__ = ["SQuAD"]


class SQuAD(TextMetric):
    """Shares of questions whose answer is right, and mean F1 of the words, in percent.

    ``F1 = 2 * common / (words + right words)``. The best of the right answers to a question counts.
    Case, ASCII's punctuation and the articles
    a, an and the do not; a question without an answer counts as wrong, with a warning. Takes
    dictionaries with ``"id"`` and ``"prediction_text"``, N with ``"id"`` and ``"answers"``, which
    has the right ones in ``"text"``, and an optional ``weight`` ``[N]``. The value has
    ``"exact_match"`` and ``"f1"``, float32 scalars in [0, 100].

    Args:
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        KeyError: a key is missing in an input of an update.
        ValueError: something in it is no dictionary or no string.

    >>> from fastmetrics.text import SQuAD
    >>> metric = SQuAD()
    >>> target = [{"answers": {"answer_start": [97], "text": ["1976"]}, "id": "56e1"}]
    >>> metric([{"prediction_text": "in 1976", "id": "56e1"}], target)
    {'exact_match': tensor(0.), 'f1': tensor(66.6667)}
    """

    higher_is_better = True
    plot_upper_bound = 100.0
    statistic: Answers
    _upstream = MappingProxyType(
        {
            "f1_score": sum_view(F1),
            "exact_match": sum_view(EXACT),
            "total": sum_view(SAMPLES, torch.int32),
        }
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Answers(), **kwargs)

    @counts_only
    @adds("weight")
    def update(  # type: ignore[override]  # dictionaries
        self, preds: Entries, target: Entries, *, weight: Tensor | None = None
    ) -> None:
        """Add answers to questions, and N questions with the right ones; ``weight`` is ``[N]``.

        Raises:
            KeyError: a key is missing.
            ValueError: something is no dictionary or no string, or ``weight`` does not fit.
        """
        self.statistic.add(self._states, preds, target, weight)

    def compute(self) -> dict[str, Tensor]:
        """Return both shares."""
        return read_answers(self.statistic, self._states)
