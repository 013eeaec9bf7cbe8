"""ROUGE.

Source: Lin, ROUGE: a package for automatic evaluation of summaries, ACL workshop on text
summarization, 2004; texts are taken apart as by rouge-score.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from fastmetrics.functional._public import public
from fastmetrics.functional.text._values import sums_of
from fastmetrics.ops.rouge import SCORES, SUBSEQUENCE, SUMMARY, Rouge, porter
from fastmetrics.utilities.checks import check_bool, check_choice

__all__ = ["rouge_score"]

ALLOWED_ROUGE_KEYS: dict[str, int | str] = {
    **{f"rouge{n}": n for n in range(1, 10)},
    "rougeL": "L",
    "rougeLsum": "Lsum",
}
ALLOWED_ACCUMULATE_VALUES = ("avg", "best")
_KINDS = MappingProxyType({"L": SUBSEQUENCE, "Lsum": SUMMARY})

ROUGE_KEYS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def as_keys(rouge_keys: str | Sequence[str]) -> tuple[str, ...]:
    """Return the keys of scores.

    Raises:
        ValueError: there is no score of such a key, or none at all.
    """
    keys = tuple(rouge_keys) if isinstance(rouge_keys, (list, tuple)) else (rouge_keys,)
    for key in keys or (keys,):
        check_choice("rouge_keys", key, ALLOWED_ROUGE_KEYS)
    return keys


def rouge_statistic(
    keys: tuple[str, ...],
    accumulate: str,
    use_stemmer: bool,
    normalizer: Callable[[str], str] | None,
    tokenizer: Callable[[str], Sequence[str]] | None,
) -> Rouge:
    """Return what is counted for some keys.

    Raises:
        ValueError: ``accumulate`` is none that is allowed.
        ModuleNotFoundError: the stemmer is not installed.
    """
    check_choice("accumulate", accumulate, ALLOWED_ACCUMULATE_VALUES)
    check_bool("use_stemmer", use_stemmer)
    for name, function in (("normalizer", normalizer), ("tokenizer", tokenizer)):
        if function is not None and not callable(function):
            raise ValueError(f"`{name}` must be None or a function, got {function!r:.80}.")
    if use_stemmer:
        porter()
    values = [ALLOWED_ROUGE_KEYS[key] for key in keys]
    kinds = [value if isinstance(value, int) else _KINDS[value] for value in values]
    return Rouge(
        tuple(dict.fromkeys(kinds)), accumulate == "avg", use_stemmer, normalizer, tokenizer
    )


def rouge_values(
    keys: tuple[str, ...],
    sums: Sequence[float],
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> dict[str, Tensor]:
    """Return the means of all scores by name; NaN of no samples."""
    *scores, samples = sums
    means = [score / (samples or math.nan) for score in scores]
    values = torch.tensor(means, dtype=dtype, device=device).unbind()
    return dict(zip(_names_of(keys), values, strict=True))


@functools.cache
def _names_of(keys: tuple[str, ...]) -> list[str]:
    return [f"{key}_{score}" for key in dict.fromkeys(keys) for score in SCORES]


@public
def rouge_score(
    preds: str | Sequence[str],
    target: str | Sequence[str] | Sequence[Sequence[str]],
    accumulate: str = "best",
    use_stemmer: bool = False,
    normalizer: Callable[[str], str] | None = None,
    tokenizer: Callable[[str], Sequence[str]] | None = None,
    rouge_keys: str | tuple[str, ...] = ROUGE_KEYS,
    *,
    weight: Tensor | None = None,
) -> dict[str, Tensor]:
    """ROUGE: means over samples of ``p = hits / predicted``, ``r = hits / targeted`` and their F1.

    For ``rouge1`` to ``rouge9`` hits are n-grams of words that both have, for ``rougeL`` the words
    of the longest common subsequence, and for ``rougeLsum`` the words of the target that are in the
    longest common subsequence of one of its sentences and one of the prediction. Words are runs of
    ASCII letters and digits, in lower case.

    Sentences are those of nltk's splitter where nltk and its data ``punkt_tab`` are installed, and
    else lines, as in rouge-score; nothing is downloaded.

    Args:
        preds: summaries, a string or N of them.
        target: the references of each, N sequences of strings; a flat sequence of strings is all
            references of a single prediction, or one for each of several.
        accumulate: ``"best"`` takes the reference with the best F1, ``"avg"`` the mean of all.
        use_stemmer: whether words of more than three letters lose their endings (nltk's stemmer).
        normalizer: a function of a text, in place of lower case and spaces for all but letters and
            digits.
        tokenizer: a function of the normalized text that returns its words.
        rouge_keys: ``rouge1`` to ``rouge9``, ``rougeL``, ``rougeLsum``, one or several.
        weight: optional ``[N]``, a weight for each sample.

    Returns:
        Scalars in [0, 1], float32, for each key under ``{key}_fmeasure``, ``{key}_precision`` and
        ``{key}_recall``.

    Raises:
        ValueError: the texts are no strings, differ in number or have no reference, or another
            argument is not as above.
        ModuleNotFoundError: ``use_stemmer`` without nltk.

    >>> from fastmetrics.functional.text import rouge_score
    >>> rouge_score("My name is John", "Is your name John", rouge_keys="rougeL")["rougeL_fmeasure"]
    tensor(0.5000)
    """
    keys = as_keys(rouge_keys)
    statistic = rouge_statistic(keys, accumulate, use_stemmer, normalizer, tokenizer)
    sums = sums_of(statistic, "rouge_score", preds, target, weight)
    return rouge_values(keys, sums)
