"""BLEU with the tokenizers of sacrebleu.

Source: Post, A call for clarity in reporting BLEU scores, WMT 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.text._values import sums_of
from fastmetrics.functional.text.bleu import bleu, order_weights
from fastmetrics.ops.ngrams import NGrams
from fastmetrics.ops.tokens import SACREBLEU
from fastmetrics.utilities.checks import check_bool

__all__ = ["sacre_bleu_score"]

AVAILABLE_TOKENIZERS = SACREBLEU


@public
def sacre_bleu_score(
    preds: str | Sequence[str],
    target: Sequence[str | Sequence[str]],
    n_gram: int = 4,
    smooth: bool = False,
    tokenize: str = "13a",
    lowercase: bool = False,
    weights: Sequence[float] | None = None,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """BLEU, ``brevity * exp(sum of w_n log p_n)``, of the tokens that sacrebleu finds.

    ``p_n`` is the share of the n-grams of the predictions that a reference has, too. ``brevity`` is
    1, and ``exp(1 - r / c)`` where the c tokens of the predictions are fewer than the r tokens of
    the references that are closest in length. The value is 0 if any ``p_n`` is.

    Args:
        preds: translations, a string or N of them.
        target: the references of each, N sequences of strings; a flat sequence of strings is all
            references of a single prediction, or one for each of several.
        n_gram: the largest n.
        smooth: whether 1 is added to both sides of ``p_n`` for n above 1.
        tokenize: how texts fall into tokens: ``"none"`` at spaces; ``"13a"`` and ``"zh"`` ASCII
            punctuation apart, ``"zh"`` Chinese characters as well; ``"intl"`` punctuation and
            symbols of Unicode apart, as the package regex knows them, or else Python; ``"char"``
            each character; ``"ja-mecab"``, ``"ko-mecab"``, ``"flores101"`` and ``"flores200"`` by
            packages and models that the error names where they are missing.
        lowercase: whether tokens are compared in lower case.
        weights: ``w_n`` for each n; by default ``1 / n_gram``.
        weight: optional ``[N]``, a weight for each sample.

    Returns:
        A scalar in [0, 1], float32.

    Raises:
        ValueError: the texts are no strings, differ in number or have no reference, or another
            argument is not as above.
        ModuleNotFoundError: a package that ``tokenize`` needs is missing.
        FileNotFoundError: a model that it needs is.

    >>> from fastmetrics.functional.text import sacre_bleu_score
    >>> preds = ["the cat is on the mat"]
    >>> target = [["there is a cat on the mat", "a cat is on the mat"]]
    >>> sacre_bleu_score(preds, target)
    tensor(0.7598)
    """
    statistic = NGrams(n_gram, tokenize, lowercase)
    check_bool("smooth", smooth)
    order = order_weights(n_gram, weights)
    sums = sums_of(statistic, "sacre_bleu_score", preds, target, weight)
    return torch.scalar_tensor(bleu(sums, order, smooth), dtype=torch.float32)
