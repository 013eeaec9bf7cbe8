"""Answers to questions, compared with those that are right.

A row of a question has

=========== ==========================================================================
``f1``      the harmonic mean of precision and recall of the words, for the best answer
``exact``   1 if an answer has the same words in the same order
``samples`` 1
=========== ==========================================================================

Case, ASCII's punctuation and the articles a, an and the do not count.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from fastmetrics.core.statistic import frozen
from fastmetrics.ops.strings import TextSums, check_each, rows_for, texts_of
from fastmetrics.utilities.prints import rank_zero_warn

F1, EXACT, SAMPLES = range(3)

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")

Question = tuple[Any, Sequence[str]]


def words_of(answer: str) -> list[str]:
    """Return the words that count."""
    return _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split()


def f1_of(given: list[str], right: list[str]) -> float:
    """Return the harmonic mean of precision and recall; of no words, whether both are."""
    if not given or not right:
        return float(given == right)
    common = (Counter(given) & Counter(right)).total()
    return 2.0 * common / (len(given) + len(right))


def answer_rows(rows: Tensor, answers: Mapping[Any, str], questions: Iterable[Question]) -> None:
    """Fill float64 ``rows`` ``[N, 3]`` for questions, each an id and the right answers.

    Those without an answer count as wrong, with a warning.
    """
    found = []
    for key, right in questions:
        if key not in answers:
            rank_zero_warn(f"Question {key!r} has no answer and counts as wrong.", UserWarning)
            found.append((0.0, 0.0, 1.0))
            continue
        words = words_of(answers[key])
        others = [words_of(each) for each in right]
        best = max(f1_of(words, each) for each in others)
        found.append((best, float(words in others), 1.0))
    rows.copy_(rows.new_tensor(found).reshape(rows.shape))


def _several(name: str, value: Any) -> Sequence[Any]:
    """Return an argument that is one dictionary or several as a sequence of them."""
    if isinstance(value, Mapping):
        return [value]
    return texts_of(name, value, "a dictionary or a sequence of dictionaries")


def _entry(name: str, place: int, entries: Any, key: str) -> Any:
    """Return what a dictionary has under a key."""
    if not isinstance(entries, Mapping):
        raise ValueError(
            f"`{name}` must hold dictionaries, got {type(entries).__name__} at position {place}."
        )
    if key not in entries:
        raise KeyError(f"`{name}` must have the key {key!r}, got {[*entries]} at position {place}.")
    return entries[key]


@frozen()
class Answers(TextSums):
    """Words that answers have in common with the right ones, added up over questions.

    Attributes:
        keeps_rows: whether the row of each question is kept.
    """

    keeps_rows: bool = False

    op = staticmethod(answer_rows)
    columns = ("f1", "exact", "samples")

    @override
    def rows_of(self, preds: Any, target: Any) -> Tensor:
        """Return the row of each question.

        Raises:
            KeyError: a prediction lacks "id" or "prediction_text", or a target "id" or "answers",
                or those "text".
            ValueError: something else is no dictionary or string.
        """
        answers, questions = {}, []
        for i, each in enumerate(_several("preds", preds)):
            text = _entry("preds", i, each, "prediction_text")
            check_each("preds", [text], f"position {i}, 'prediction_text'")
            answers[_entry("preds", i, each, "id")] = text
        for i, each in enumerate(_several("target", target)):
            right = _entry("target", i, each, "answers")
            texts = _entry("target", i, right, "text")
            if not isinstance(texts, (list, tuple)):
                texts = texts_of(f"target[{i}]", texts)
            check_each("target", texts, f"position {i}, answer {{}}")
            if not texts:
                raise ValueError(f"`target` must hold answers, got none at position {i}.")
            questions.append((_entry("target", i, each, "id"), texts))
        rows = rows_for(questions, len(self.columns))
        answer_rows(rows, answers, questions)
        return rows
