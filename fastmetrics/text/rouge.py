"""ROUGE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists
from fastmetrics.core.statistic_metric import StatisticField
from fastmetrics.functional.text.rouge import (
    ALLOWED_ROUGE_KEYS,
    ROUGE_KEYS,
    as_keys,
    rouge_statistic,
    rouge_values,
)
from fastmetrics.ops.rouge import SCORES, Rouge
from fastmetrics.text._bases import ReferenceMetric

__all__ = ["ROUGEScore"]


class ROUGEScore(ReferenceMetric):
    """ROUGE: means over samples of ``p = hits / predicted``, ``r = hits / targeted`` and their F1.

    For ``rouge1`` to ``rouge9`` hits are n-grams of words that both have, for ``rougeL`` the words
    of the longest common subsequence, and for ``rougeLsum`` the words of the target that are in the
    longest common subsequence of one of its sentences and one of the prediction. Words are runs of
    ASCII letters and digits, in lower case.

    Sentences are those of nltk's splitter where nltk and its data ``punkt_tab`` are installed, and
    else lines, as in rouge-score; nothing is downloaded.

    Takes summaries, N strings or one; the references of each, N sequences of strings; and an
    optional ``weight`` ``[N]``. A flat sequence of strings is all references of a single summary,
    or one for each of several. The value is a dictionary of scalars in [0, 1], for each key under
    ``{key}_fmeasure``, ``{key}_precision`` and ``{key}_recall``.

    Args:
        use_stemmer: whether words of more than three letters lose their endings (nltk's stemmer).
        normalizer: a function of a text, in place of lower case and spaces for all but letters and
            digits.
        tokenizer: a function of the normalized text that returns its words.
        accumulate: ``"best"`` takes the reference with the best F1, ``"avg"`` the mean of all.
        rouge_keys: ``rouge1`` to ``rouge9``, ``rougeL``, ``rougeLsum``, one or several.
        kwargs: as for :class:`~fastmetrics.metric.Metric`.

    Raises:
        ValueError: an argument is not as above; in an update, the texts are no strings, differ in
            number or have no reference.
        ModuleNotFoundError: ``use_stemmer`` without nltk.

    >>> from fastmetrics.text import ROUGEScore
    >>> metric = ROUGEScore(rouge_keys="rougeL")
    >>> metric("My name is John", "Is your name John")["rougeL_fmeasure"]
    tensor(0.5000)
    """

    higher_is_better = True
    statistic: Rouge
    normalizer = StatisticField[Callable[[str], str] | None]()
    tokenizer = StatisticField[Callable[[str], Sequence[str]] | None]()

    def __init__(
        self,
        use_stemmer: bool = False,
        normalizer: Callable[[str], str] | None = None,
        tokenizer: Callable[[str], Sequence[str]] | None = None,
        accumulate: str = "best",
        rouge_keys: str | tuple[str, ...] = ROUGE_KEYS,
        **kwargs: Any,
    ) -> None:
        keys = as_keys(rouge_keys)
        statistic = rouge_statistic(keys, accumulate, use_stemmer, normalizer, tokenizer)
        super().__init__(statistic, **kwargs)
        self.rouge_keys = keys
        self.accumulate = accumulate

    @property
    def rouge_keys_values(self) -> list[int | str]:
        """The keys as torchmetrics has them: n, ``"L"`` or ``"Lsum"``."""
        return [ALLOWED_ROUGE_KEYS[key] for key in self.rouge_keys]

    def _lists(self) -> Lists:
        """Return the lists of every score, which are added up and then gone."""
        names = [f"{key}_{score}" for key in dict.fromkeys(self.rouge_keys) for score in SCORES]

        def take(states: States, batch: tuple[Tensor, ...]) -> None:
            sums = states.values["sums"]
            sizes = {score.numel() for score in batch}
            if len(sizes) > 1:
                raise ValueError(f"Lists of scores must have as many, got {sorted(sizes)}.")
            scores = torch.stack([score.to(sums).sum() for score in batch])
            sums += torch.cat([scores, sums.new_tensor([batch[0].numel()])])

        return Lists(tuple(names), take)

    def compute(self) -> dict[str, Tensor]:
        """Return the means of all scores by name."""
        sums = self.statistic.sums(self._states)
        return rouge_values(self.rouge_keys, sums.tolist(), self.dtype, sums.device)
