"""Word error rate.

Source: Morris, Maier and Green, From WER and RIL to MER and WIL: improved evaluation measures for
connected speech recognition, Interspeech 2004.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.text._values import text_value
from fastmetrics.ops.edits import Edits

__all__ = ["word_error_rate"]

WORDS = Edits(words=True)


def error_rate(
    edits: Tensor, target: Tensor, preds: Tensor, longer: Tensor, samples: Tensor
) -> Tensor:
    """Return the edits for each symbol of the targets."""
    return edits / target


@public
def word_error_rate(
    preds: str | Sequence[str],
    target: str | Sequence[str],
    *,
    return_sentence_level_score: bool = False,
    weight: Tensor | None = None,
) -> Any:
    """Word error rate, ``(substitutions + deletions + insertions) / words of the targets``.

    Words are what ``str.split()`` finds. The value is 0 for equal texts and may exceed 1; without
    any word in the targets it is infinite, or NaN if nothing was predicted either.

    Args:
        preds: transcribed texts, a string or N of them.
        target: the texts that were meant, as many.
        return_sentence_level_score: whether to return the rate of each sample, too.
        weight: optional ``[N]``, a weight for each sample.

    Returns:
        A scalar, float32; with ``return_sentence_level_score`` a pair of it and ``[N]``.

    Raises:
        ValueError: the arguments are no strings, differ in number, or ``weight`` does not fit.

    >>> from fastmetrics.functional.text import word_error_rate
    >>> preds = ["this is the prediction", "there is an other sample"]
    >>> target = ["this is the reference", "there is another one"]
    >>> word_error_rate(preds, target)
    tensor(0.5000)
    >>> word_error_rate(preds, target, return_sentence_level_score=True)
    (tensor(0.5000), tensor([0.2500, 0.7500]))
    """
    return text_value(
        "word_error_rate",
        WORDS,
        error_rate,
        preds,
        target,
        each=return_sentence_level_score,
        weight=weight,
    )
