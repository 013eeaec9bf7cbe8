"""Extended edit distances: edits of characters, with jumps to any place at a blank.

A row of a sample has

=========== ==========================================================================
``score``   the distance to the closest reference, for each of its characters, at most 1
``samples`` 1
=========== ==========================================================================
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from fastmetrics.core.statistic import frozen
from fastmetrics.ops.strings import Texts, TextSums, firsts_of, kernel, rows_for, with_references
from fastmetrics.utilities.checks import check_bool, check_choice

SCORE, SAMPLES = range(2)


def extended_distance(
    preds: str, target: str, alpha: float, rho: float, deletion: float, insertion: float
) -> float:
    """Return the distance of two texts."""
    visits = [-1] * (len(preds) + 1)
    row = [0.0] + [1.0] * len(preds)
    for wanted in target:
        after = [row[0] + 1.0]
        for i, symbol in enumerate(preds, 1):
            changed = row[i - 1] + (symbol != wanted)
            after.append(min(after[-1] + deletion, changed, row[i] + insertion))
        lowest = min(after)
        visits[after.index(lowest)] += 1
        row = [min(cost, alpha + lowest) for cost in after] if wanted == " " else after
    coverage = rho * sum(1 if visit < 0 else visit for visit in visits)
    length = len(target) + coverage
    return min(1.0, (row[-1] + coverage) / length) if length else 1.0


@kernel
def extended_rows(
    rows: Tensor, preds: Texts, references: Texts, firsts: Sequence[int], *costs: float
) -> None:
    """Fill float64 ``rows`` ``[N, 2]`` for predictions and their references.

    References of all samples stand one behind the other; ``firsts`` ``[N + 1]`` says where those of
    each begin. ``costs`` are alpha, rho, deletion and insertion.
    """
    for i, (first, last) in enumerate(itertools.pairwise(firsts)):
        best = min(extended_distance(preds[i], each, *costs) for each in references[first:last])
        rows[i] = rows.new_tensor([best, 1.0])


_NUMBERS = re.compile(r"(\d) ([.,]) (\d)")
_TITLES = re.compile(r"(Dr|Jr|Prof|Rev|Gen|Mr|Mt|Mrs|Ms) .")
_ABBREVIATIONS = {"e . g .": "e.g.", "i . e .": "i.e.", "U . S .": "U.S."}


def prepared(text: str, language: str) -> str:
    """Return a text as its characters are compared."""
    text = text.rstrip()
    if language == "ja":
        return unicodedata.normalize("NFKC", text)
    for mark in ".!?,":
        text = text.replace(mark, f" {mark}")
    first = " " if text[:1].isspace() else ""
    text = first + " ".join(text.split())
    text = _TITLES.sub(r"\1.", _NUMBERS.sub(r"\1\2\3", text))
    for apart, joined in _ABBREVIATIONS.items():
        text = text.replace(apart, joined)
    return f" {text} "


@frozen()
class ExtendedEdits(TextSums):
    """Extended edit distances, added up.

    Attributes:
        language: "en" sets marks apart from words, "ja" normalises to NFKC.
        alpha: what a jump costs.
        rho: what each place costs that was looked at too often, or never.
        deletion: what a deletion costs.
        insertion: what an insertion costs; a substitution costs 1.
        keeps_rows: whether the row of each sample is kept.
    """

    language: str = "en"
    alpha: float = 2.0
    rho: float = 0.3
    deletion: float = 0.2
    insertion: float = 1.0
    keeps_rows: bool = False

    op = staticmethod(extended_rows)
    columns = ("score", "samples")

    def check(self) -> None:
        """Raise ``ValueError`` for another language, or a cost that is no float of at least 0."""
        check_choice("language", self.language, ("en", "ja"))
        for name in ("alpha", "rho", "deletion", "insertion"):
            cost = getattr(self, name)
            if not isinstance(cost, float) or not cost >= 0:
                raise ValueError(f"`{name}` must be a float of at least 0, got {cost!r}.")
        check_bool("return_sentence_level_score", self.keeps_rows)

    @override
    def rows_of(self, preds: Any, target: Any) -> Tensor:
        hypotheses, references = with_references(preds, target)
        rows = rows_for(hypotheses, len(self.columns))
        flat = [prepared(text, self.language) for each in references for text in each]
        ours = [prepared(text, self.language) for text in hypotheses]
        costs = self.alpha, self.rho, self.deletion, self.insertion
        extended_rows(rows, ours, flat, firsts_of(references), *costs)
        return rows
