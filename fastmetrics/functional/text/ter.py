"""Translation edit rate.

Source: Snover et al., A study of translation edit rate with targeted human annotation, AMTA 2006.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.text._values import text_value
from fastmetrics.ops.shifts import Shifts

__all__ = ["translation_edit_rate"]


def edit_rate(edits: Any, length: Any, samples: Any) -> Any:
    """Return the edits for each word; without words 1 if there are edits, and 0 if not."""
    if not isinstance(edits, Tensor):
        return edits / length if length else float(edits > 0)
    return (edits / length).where(length != 0, (edits > 0).double())


@public
def translation_edit_rate(
    preds: str | Sequence[str],
    target: Sequence[str | Sequence[str]],
    normalize: bool = False,
    no_punctuation: bool = False,
    lowercase: bool = True,
    asian_support: bool = False,
    return_sentence_level_score: bool = False,
    *,
    weight: Tensor | None = None,
) -> Any:
    """Translation edit rate, ``edits / words of the references``; moving a phrase is one edit.

    The edits are those to the reference that takes fewest, found as Tercom does, and the words the
    mean over the references of a sample. As in torchmetrics, the reference is edited into the
    prediction. The value is 0 for equal texts and may exceed 1.

    Args:
        preds: translations, a string or N of them.
        target: for each its references, or a flat sequence of strings: the references of a single
            translation, or one for each of several.
        normalize: whether marks become words of their own, and HTML's names characters.
        no_punctuation: whether marks are left out.
        lowercase: whether case does not matter.
        asian_support: whether the first two know Chinese and Japanese.
        return_sentence_level_score: whether to return the rate of each sample, too.
        weight: optional ``[N]``, a weight for each sample.

    Returns:
        A scalar, float32; with ``return_sentence_level_score`` a pair of it and ``[N]``.

    Raises:
        ValueError: the texts are no strings or differ in number, a reference is missing, a flag is
            no bool, or ``weight`` does not fit.

    >>> from fastmetrics.functional.text import translation_edit_rate
    >>> preds = ["the cat is on the mat"]
    >>> target = [["there is a cat on the mat", "a cat is on the mat"]]
    >>> translation_edit_rate(preds, target)
    tensor(0.1538)
    """
    statistic = Shifts(
        normalize, no_punctuation, lowercase, asian_support, return_sentence_level_score
    )
    statistic.check()
    return text_value(
        "translation_edit_rate",
        statistic,
        edit_rate,
        preds,
        target,
        each=return_sentence_level_score,
        weight=weight,
    )
