"""Formulas of edits, and the functions of those that are rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor

from fastmetrics.functional._declare import declared
from fastmetrics.functional.text._values import Formula, text_value
from fastmetrics.ops.edits import Edits
from fastmetrics.utilities.checks import check_bool

WORDS = Edits(words=True)
CHARACTERS = Edits(words=False)

_ARGUMENTS = """
    Args:
        preds: the texts that were recognised, a string or N of them.
        target: the texts that were meant, as many.
        return_sentence_level_score: whether to return the value of each sample, too.
        weight: optional ``[N]``, a weight for each sample.

    Returns:
        A scalar, float32; with ``return_sentence_level_score`` a pair of it and ``[N]``.

    Raises:
        ValueError: the arguments are no strings, differ in number, or ``weight`` does not fit; the
            flag is no bool.
"""
_EXAMPLE = """
    >>> preds = ["this is the prediction", "there is an other sample"]
    >>> target = ["this is the reference", "there is another one"]
    >>> {name}(preds, target)
    {shows}
"""


# Sums, or the columns of rows: tensors or numbers.
N = TypeVar("N", Tensor, float)


class EditFunction(Protocol):
    """A function of two texts."""

    def __call__(
        self,
        preds: str | Sequence[str],
        target: str | Sequence[str],
        *,
        return_sentence_level_score: bool = False,
        weight: Tensor | None = None,
    ) -> Any:
        """Return the value."""


def edit_rate(
    name: str, statistic: Edits, formula: Formula, summary: str, *, shows: str
) -> EditFunction:
    """Return the function of a formula of edits."""

    def function(
        preds: str | Sequence[str],
        target: str | Sequence[str],
        *,
        return_sentence_level_score: bool = False,
        weight: Tensor | None = None,
    ) -> Any:
        check_bool("return_sentence_level_score", return_sentence_level_score)
        return text_value(
            name,
            statistic,
            formula,
            preds,
            target,
            each=return_sentence_level_score,
            weight=weight,
        )

    example = _EXAMPLE.format(name=name, shows=shows)
    return declared(function, name, summary, arguments=_ARGUMENTS, example=example)


def error_rate(edits: N, target: N, preds: N, longer: N, samples: N) -> N:
    """Return the edits for each symbol of the targets."""
    return edits / target


def match_error(edits: N, target: N, preds: N, longer: N, samples: N) -> N:
    """Return the edits for each symbol of the longer texts."""
    return edits / longer


def information_preserved(edits: N, target: N, preds: N, longer: N, samples: N) -> N:
    """Return the product of the shares of both texts that match."""
    matches = longer - edits
    return (matches / target) * (matches / preds)


def information_lost(edits: N, target: N, preds: N, longer: N, samples: N) -> N:
    """Return what is missing from 1."""
    return 1 - information_preserved(edits, target, preds, longer, samples)
