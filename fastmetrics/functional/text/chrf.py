"""chrF and chrF++.

Source: Popović, chrF: character n-gram F-score for automatic MT evaluation, WMT 2015; chrF++: words
helping character n-grams, WMT 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.functional._public import public
from fastmetrics.functional.text._values import sums_of
from fastmetrics.ops.chrf import CharacterGrams, f_score
from fastmetrics.ops.strings import count_texts

__all__ = ["chrf_score"]


def chrf(sums: Sequence[float], statistic: CharacterGrams) -> float:
    """Return the score of ``3 K + 2`` sums for K orders."""
    n = statistic.orders
    preds, target, matching = sums[:n], sums[n : 2 * n], sums[2 * n : 3 * n]
    counts = zip(matching, preds, target, strict=True)
    scores = [f_score(*each, statistic.beta) for each in counts]
    return sum(scores) / n


def chrf_values(statistic: CharacterGrams, states: States, dtype: torch.dtype) -> Any:
    """Return the score of all samples; where those of each are kept, beside it those, ``[N]``."""
    sums = statistic.sums(states)
    value = torch.scalar_tensor(chrf(sums.tolist(), statistic), dtype=dtype, device=sums.device)
    if not statistic.keeps_scores:
        return value
    kept = states.values["sentence_chrf_score"]
    if isinstance(kept, list):
        kept = torch.cat(kept) if kept else value.new_zeros(0)
    return value, kept.to(dtype)


@public
def chrf_score(
    preds: str | Sequence[str],
    target: Sequence[str | Sequence[str]],
    n_char_order: int = 6,
    n_word_order: int = 2,
    beta: float = 2.0,
    lowercase: bool = False,
    whitespace: bool = False,
    return_sentence_level_score: bool = False,
    *,
    weight: Tensor | None = None,
) -> Any:
    """chrF, the mean over n of ``(1 + beta^2) p_n r_n / (beta^2 p_n + r_n)``.

    ``p_n`` is the share of the n-grams of the predictions that their references have, too, and
    ``r_n`` that of the references which the predictions have: n-grams of characters, and of words,
    from which a mark of punctuation at the end or the start is parted. Of several references that
    with the best score counts, and none if all have 0.

    Args:
        preds: translations, a string or N of them.
        target: the references of each, N sequences of strings; a flat sequence of strings is all
            references of a single prediction, or one for each of several.
        n_char_order: the largest n for characters.
        n_word_order: that for words: 2 is chrF++, and 0 is chrF.
        beta: how many times as much recall counts as precision, in [0, 1e150].
        lowercase: whether texts are compared in lower case.
        whitespace: whether blanks are characters.
        return_sentence_level_score: whether to return the score of each sample, too.
        weight: optional ``[N]``, a weight for each sample.

    Returns:
        A scalar in [0, 1], float32; with ``return_sentence_level_score`` a pair of it and ``[N]``.

    Raises:
        ValueError: the texts are no strings, differ in number or have no reference, or another
            argument is not as above.

    >>> from fastmetrics.functional.text import chrf_score
    >>> preds = ["the cat is on the mat"]
    >>> target = [["there is a cat on the mat", "a cat is on the mat"]]
    >>> chrf_score(preds, target)
    tensor(0.8640)
    """
    statistic = CharacterGrams(
        n_char_order, n_word_order, beta, lowercase, whitespace, return_sentence_level_score
    )
    if not return_sentence_level_score:
        sums = sums_of(statistic, "chrf_score", preds, target, weight)
        return torch.scalar_tensor(chrf(sums, statistic), dtype=torch.float32)
    states = count_texts(statistic, "chrf_score", preds, target, weight)
    return chrf_values(statistic, states, torch.float32)
