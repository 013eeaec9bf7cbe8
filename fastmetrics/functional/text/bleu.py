"""BLEU.

Source: Papineni, Roukos, Ward and Zhu, BLEU: a method for automatic evaluation of machine
translation, ACL 2002; smoothing as of Lin and Och, Automatic evaluation of machine translation
quality using longest common subsequence and skip-bigram statistics, ACL 2004.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.text._values import sums_of
from fastmetrics.ops.ngrams import NGrams
from fastmetrics.utilities.checks import as_floats, check_bool

__all__ = ["bleu_score"]


# Powers of e above this one are infinite in float32.
_LARGEST = math.log(torch.finfo(torch.float32).max)


def order_weights(n_gram: int, weights: Sequence[float] | None) -> list[float]:
    """Return the weight of each order, all the same by default.

    Raises:
        ValueError: there are more or fewer than orders, or they are no numbers.
    """
    if weights is None:
        return [1.0 / n_gram] * n_gram
    numbers = as_floats("weights", weights)
    if len(numbers) != n_gram:
        raise ValueError(
            f"`weights` must hold a weight for each n up to `n_gram` {n_gram}, got {len(numbers)}."
        )
    return numbers


def bleu(sums: Sequence[float], weights: Sequence[float], smooth: bool) -> float:
    """Return the score of ``2 N + 3`` sums as of :class:`NGrams`."""
    n = len(weights)
    matches, grams, (preds, target) = sums[:n], sums[n : 2 * n], sums[2 * n : -1]
    value = 0.0
    if 0 not in matches:
        more = [0, *[int(smooth)] * (n - 1)]
        shares = [(m + s) / (g + s) for m, g, s in zip(matches, grams, more, strict=True)]
        logs = [w * math.log(share) for w, share in zip(weights, shares, strict=True)]
        power = min(0.0, 1 - target / preds) + sum(logs)
        value = math.inf if power > _LARGEST else math.exp(power)
    return value


@public
def bleu_score(
    preds: str | Sequence[str],
    target: Sequence[str | Sequence[str]],
    n_gram: int = 4,
    smooth: bool = False,
    weights: Sequence[float] | None = None,
    *,
    weight: Tensor | None = None,
) -> Tensor:
    """BLEU, ``brevity * exp(sum of w_n log p_n)``, of words that ``str.split()`` finds.

    ``p_n`` is the share of the n-grams of the predictions that a reference has, too. ``brevity`` is
    1, and ``exp(1 - r / c)`` where the c words of the predictions are fewer than the r words of the
    references that are closest in length. The value is 0 if any ``p_n`` is.

    Args:
        preds: translations, a string or N of them.
        target: the references of each, N sequences of strings; a flat sequence of strings is all
            references of a single prediction, or one for each of several.
        n_gram: the largest n.
        smooth: whether 1 is added to both sides of ``p_n`` for n above 1.
        weights: ``w_n`` for each n; by default ``1 / n_gram``.
        weight: optional ``[N]``, a weight for each sample.

    Returns:
        A scalar in [0, 1], float32.

    Raises:
        ValueError: the texts are no strings, differ in number or have no reference, or another
            argument is not as above.

    >>> from fastmetrics.functional.text import bleu_score
    >>> preds = ["the cat is on the mat"]
    >>> target = [["there is a cat on the mat", "a cat is on the mat"]]
    >>> bleu_score(preds, target)
    tensor(0.7598)
    """
    statistic = NGrams(n_gram)
    check_bool("smooth", smooth)
    order = order_weights(n_gram, weights)
    sums = sums_of(statistic, "bleu_score", preds, target, weight)
    return torch.scalar_tensor(bleu(sums, order, smooth), dtype=torch.float32)
