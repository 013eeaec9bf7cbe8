"""Exact matches and F1 of answers to questions.

Source: Rajpurkar et al., SQuAD: 100,000+ questions for machine comprehension of text, EMNLP 2016.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.functional._public import public
from fastmetrics.ops.answers import Answers
from fastmetrics.ops.strings import count_texts

__all__ = ["squad"]

Entries = Mapping[str, Any] | Sequence[Mapping[str, Any]]

_ANSWERS = Answers()


def read_answers(statistic: Answers, states: States) -> dict[str, Tensor]:
    """Return the means, in percent."""
    f1, exact, samples = statistic.sums(states).unbind()
    return {"exact_match": (100 * exact / samples).float(), "f1": (100 * f1 / samples).float()}


@public
def squad(preds: Entries, target: Entries, *, weight: Tensor | None = None) -> dict[str, Tensor]:
    """Shares of questions whose answer is right, and mean F1 of the words, in percent.

    ``F1 = 2 * common / (words + right words)``. The best of the right answers to a question counts.
    Case, ASCII's punctuation and the articles
    a, an and the do not; a question without an answer counts as wrong, with a warning.

    Args:
        preds: dictionaries with ``"id"`` and ``"prediction_text"``, or one.
        target: N dictionaries with ``"id"`` and ``"answers"``, which has the right ones in
            ``"text"``, or one.
        weight: optional ``[N]``, a weight for each question.

    Returns:
        ``"exact_match"`` and ``"f1"``, float32 scalars in [0, 100].

    Raises:
        KeyError: a key is missing.
        ValueError: something is no dictionary or no string, or ``weight`` does not fit.

    >>> from fastmetrics.functional.text import squad
    >>> preds = [{"prediction_text": "in 1976", "id": "56e1"}]
    >>> target = [{"answers": {"answer_start": [97], "text": ["1976"]}, "id": "56e1"}]
    >>> squad(preds, target)
    {'exact_match': tensor(0.), 'f1': tensor(66.6667)}
    """
    return read_answers(_ANSWERS, count_texts(_ANSWERS, "squad", preds, target, weight))
