"""BLEU with the tokenizers of sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.ops.ngrams import NGrams
from fastmetrics.text.bleu import BLEUScore

__all__ = ["SacreBLEUScore"]


class SacreBLEUScore(BLEUScore):
    """BLEU, ``brevity * exp(sum of w_n log p_n)``, of the tokens that sacrebleu finds.

    ``p_n`` is the share of the n-grams of the predictions that a reference has, too. ``brevity`` is
    1, and ``exp(1 - r / c)`` where the c tokens of the predictions are fewer than the r tokens of
    the references that are closest in length. The value is 0 if any ``p_n`` is.

    Takes translations, N strings or one; the references of each, N sequences of strings; and an
    optional ``weight`` ``[N]``. A flat sequence of strings is all references of a single
    translation, or one for each of several.

    Args:
        n_gram: the largest n.
        smooth: whether 1 is added to both sides of ``p_n`` for n above 1.
        tokenize: how texts fall into tokens: ``"none"`` at spaces; ``"13a"`` and ``"zh"`` ASCII
            punctuation apart, ``"zh"`` Chinese characters as well; ``"intl"`` punctuation and
            symbols of Unicode apart, as the package regex knows them, or else Python; ``"char"``
            each character; ``"ja-mecab"``, ``"ko-mecab"``, ``"flores101"`` and ``"flores200"`` by
            packages and models that the error names where they are missing.
        lowercase: whether tokens are compared in lower case.
        weights: ``w_n`` for each n; by default ``1 / n_gram``.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is not as above; in an update, the texts are no strings, differ in
            number or have no reference.
        ModuleNotFoundError: a package that ``tokenize`` needs is missing.
        FileNotFoundError: a model that it needs is.

    >>> from fastmetrics.text import SacreBLEUScore
    >>> metric = SacreBLEUScore()
    >>> preds = ["the cat is on the mat"]
    >>> metric(preds, [["there is a cat on the mat", "a cat is on the mat"]])
    tensor(0.7598)
    """

    tokenize = StatisticField[str]("tokenizer")
    lowercase = StatisticField[bool]()

    def __init__(
        self,
        n_gram: int = 4,
        smooth: bool = False,
        tokenize: str = "13a",
        lowercase: bool = False,
        weights: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        self._count(NGrams(n_gram, tokenize, lowercase), smooth, weights, **kwargs)
