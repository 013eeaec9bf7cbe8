"""Extended edit distance.

Source: Stanchev, Wang and Ney, EED: extended edit distance measure for machine translation, WMT
2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.text._values import text_value
from fastmetrics.ops.extended_edits import ExtendedEdits

__all__ = ["extended_edit_distance"]


def mean_score(score: Any, samples: Any) -> Any:
    """Return the mean; 0 of no samples."""
    if not isinstance(score, Tensor):
        return score / samples if samples else 0.0
    return (score / samples).where(samples != 0, 0.0)


@public
def extended_edit_distance(
    preds: str | Sequence[str],
    target: Sequence[str | Sequence[str]],
    language: str = "en",
    return_sentence_level_score: bool = False,
    alpha: float = 2.0,
    rho: float = 0.3,
    deletion: float = 0.2,
    insertion: float = 1.0,
    *,
    weight: Tensor | None = None,
) -> Any:
    """Extended edit distance: edits of characters with jumps, for each character of the reference.

    ``min(1, (edits + coverage) / (characters + coverage))`` for the closest reference, averaged
    over samples. At blanks a jump to any place costs ``alpha``; ``coverage`` is ``rho`` for each
    place of the prediction that was looked at again, or never. 0 is best and 1 worst.

    Args:
        preds: translations, a string or N of them.
        target: for each its references, or a flat sequence of strings: the references of a single
            translation, or one for each of several.
        language: ``"en"`` sets marks apart from words, ``"ja"`` normalises to NFKC.
        return_sentence_level_score: whether to return the distance of each sample, too.
        alpha: what a jump costs.
        rho: what a place costs that was looked at again, or never.
        deletion: what a deletion costs.
        insertion: what an insertion costs; a substitution costs 1.
        weight: optional ``[N]``, a weight for each sample.

    Returns:
        A scalar, float32; with ``return_sentence_level_score`` a pair of it and ``[N]``.

    Raises:
        ValueError: the texts are no strings or differ in number, a reference is missing, a cost is
            no float of at least 0, the language is another one, or ``weight`` does not fit.

    >>> from fastmetrics.functional.text import extended_edit_distance
    >>> preds = ["this is the prediction", "here is an other sample"]
    >>> target = ["this is the reference", "here is another one"]
    >>> extended_edit_distance(preds, target)
    tensor(0.3078)
    """
    statistic = ExtendedEdits(
        language, alpha, rho, deletion, insertion, return_sentence_level_score
    )
    statistic.check()
    return text_value(
        "extended_edit_distance",
        statistic,
        mean_score,
        preds,
        target,
        each=return_sentence_level_score,
        weight=weight,
    )
