"""Edits of words in which moving a phrase counts as one, as Tercom searches for them.

Again and again the move that saves most edits is made, of up to nine words that stand elsewhere in
the other text, until none saves any. As in torchmetrics, the words of the reference are moved and
edited into the prediction. A row of a sample has

=========== ==========================================================================
``edits``   moves and edits, for the reference that takes fewest
``length``  the mean length of its references
``samples`` 1
=========== ==========================================================================
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from typing_extensions import override

from fastmetrics.core.statistic import frozen
from fastmetrics.ops.strings import Texts, TextSums, firsts_of, kernel, rows_for, with_references
from fastmetrics.utilities.checks import check_bool

EDITS, LENGTH, SAMPLES = range(3)

Words = list[str]

_BEAM = 25
_LONGEST_MOVE = 9
_FARTHEST_MOVE = 50
_TRIALS = 1000
_FAR = 10**9
_KEEP, _SUBSTITUTE, _REMOVE, _INSERT = range(4)


class _Table:
    """Distances, near the diagonal, from the beginnings of some words to those of fixed ones."""

    def __init__(self, moved: Words, fixed: Words) -> None:
        rows, columns = len(moved), len(fixed)
        ratio = columns / rows if rows else 1.0
        beam = math.ceil(ratio / 2 + _BEAM) if ratio / 2 > _BEAM else _BEAM
        self.edits = [[_INSERT] * (columns + 1)]
        costs = [*range(columns + 1)]
        for i, word in enumerate(moved, 1):
            above, costs = costs, [_FAR] * (columns + 1)
            edits = [_KEEP] * (columns + 1)
            diagonal = math.floor(i * ratio)
            last = columns + 1 if i == rows else min(columns + 1, diagonal + beam)
            for j in range(max(0, diagonal - beam), last):
                if j == 0:
                    costs[0], edits[0] = above[0] + 1, _REMOVE
                    continue
                changed = word != fixed[j - 1]
                # The first of equally good ones, as `min` takes it.
                costs[j], _, edits[j] = min(
                    (above[j - 1] + changed, 0, _SUBSTITUTE if changed else _KEEP),
                    (above[j] + 1, 1, _REMOVE),
                    (costs[j - 1] + 1, 2, _INSERT),
                )
            self.edits.append(edits)
        self.distance: int = costs[-1]

    def align(self) -> tuple[list[int], list[bool], list[bool]]:
        """Return, for each fixed word, the last of the others beside or before it.

        And which of the fixed words are edited, and which of the others.
        """
        i, j = len(self.edits) - 1, len(self.edits[0]) - 1
        beside, fixed_wrong, moved_wrong = [-1] * j, [True] * j, [True] * i
        while i or j:
            edit = self.edits[i][j]
            if edit != _INSERT:
                i -= 1
            if edit == _REMOVE:
                continue
            j -= 1
            beside[j] = i if edit != _INSERT else i - 1
            if edit == _KEEP:
                fixed_wrong[j] = moved_wrong[i] = False
        return beside, fixed_wrong, moved_wrong


def _phrases(moved: Words, fixed: Words) -> Iterator[tuple[int, int, int]]:
    """Yield where a phrase stands in both texts, and its length."""
    for i, j in itertools.product(range(len(moved)), range(len(fixed))):
        if abs(i - j) > _FARTHEST_MOVE:
            continue
        for length in range(1, min(_LONGEST_MOVE, len(moved) - i, len(fixed) - j) + 1):
            if moved[i + length - 1] != fixed[j + length - 1]:
                break
            yield i, j, length


def _move(words: Words, start: int, length: int, to: int) -> Words:
    phrase = words[start : start + length]
    if to < start:
        return words[:to] + phrase + words[to:start] + words[start + length :]
    end = to if to > start + length else to + length
    return words[:start] + words[start + length : end] + phrase + words[end:]


def _best_move(moved: Words, fixed: Words, trials: int) -> tuple[int, Words, int]:
    """Return what the best move saves, the words after it, and the number of trials so far."""
    table = _Table(moved, fixed)
    beside, fixed_wrong, moved_wrong = table.align()
    best: tuple[Any, ...] = (0,)
    for i, j, length in _phrases(moved, fixed):
        stands = i <= beside[j] < i + length
        if stands or not any(moved_wrong[i : i + length]) or not any(fixed_wrong[j : j + length]):
            continue
        places = [beside[place] + 1 if place >= 0 else 0 for place in range(j - 1, j + length)]
        for to, _ in itertools.groupby(places):
            words = _move(moved, i, length, to)
            saved = table.distance - _Table(words, fixed).distance
            trials += 1
            best = max(best, (saved, length, -i, -to, words))
        if trials >= _TRIALS:
            break
    return (*best[:1], best[-1], trials) if best[0] > 0 else (0, moved, trials)


def translation_edits(moved: Words, fixed: Words) -> int:
    """Return the moves and edits that lead from words to fixed ones."""
    moves = trials = 0
    while fixed:
        saved, words, trials = _best_move(moved, fixed, trials)
        if trials >= _TRIALS or saved <= 0:
            return moves + _Table(moved, fixed).distance
        moved, moves = words, moves + 1
    return len(moved)


@kernel
def shift_rows(rows: Tensor, preds: Texts, references: Texts, firsts: Sequence[int]) -> None:
    """Fill float64 ``rows`` ``[N, 3]`` for predictions and their references.

    References of all samples stand one behind the other; ``firsts`` ``[N + 1]`` says where those of
    each begin.
    """
    for i, (first, last) in enumerate(itertools.pairwise(firsts)):
        prediction = preds[i].split()
        words = [reference.split() for reference in references[first:last]]
        fewest = min(translation_edits(each, prediction) for each in words)
        row = [fewest, sum(map(len, words)) / len(words), 1]
        rows[i] = rows.new_tensor(row)


# In this order: what is replaced by what before words are looked at, by the tokenizer of Tercom.
_WESTERN = (
    (r"\n-", ""),
    (r"\n", " "),
    (r"&quot;", '"'),
    (r"&amp;", "&"),
    (r"&lt;", "<"),
    (r"&gt;", ">"),
    (r"([{-~[-` -&(-+:-@/])", r" \1 "),
    (r"'s ", r" 's "),
    (r"'s$", r" 's"),
    (r"([^0-9])([\.,])", r"\1 \2 "),
    (r"([\.,])([^0-9])", r" \1 \2"),
    (r"([0-9])(-)", r"\1 \2 "),
)
_ASIAN_MARKS = "([\u3001\u3002\u3008-\u3011\u3014-\u301f\uff61-\uff65\u30fb])"
_WIDE_MARKS = "([\uff0e\uff0c\uff1f\uff1a\uff1b\uff01\uff02\uff08\uff09])"
_ASIAN = (
    ("([\u4e00-\u9fff\u3400-\u4dbf])", r" \1 "),
    ("([\u31c0-\u31ef\u2e80-\u2eff])", r" \1 "),
    ("([\u3300-\u33ff\uf900-\ufaff\ufe30-\ufe4f])", r" \1 "),
    ("([\u3200-\u3f22])", r" \1 "),
    *(
        (f"(^|^[{kana}])([{kana}]+)(?=$|^[{kana}])", r"\1 \2 ")
        for kana in ("\u3040-\u309f", "\u30a0-\u30ff", "\u31f0-\u31ff")
    ),
    (_ASIAN_MARKS, r" \1 "),
    (_WIDE_MARKS, r" \1 "),
)
_NO_MARKS = ((r'[\.,\?:;!"\(\)]', ""),)
_NO_ASIAN_MARKS = ((_ASIAN_MARKS, ""), (_WIDE_MARKS, ""))


@frozen()
class Shifts(TextSums):
    """Moves and edits of words, and the lengths of references, added up.

    Attributes:
        normalize: whether marks become words of their own, and HTML's names characters.
        no_punctuation: whether marks are left out.
        lowercase: whether case does not matter.
        asian_support: whether the first two know Chinese and Japanese.
        keeps_rows: whether the row of each sample is kept.
    """

    normalize: bool = False
    no_punctuation: bool = False
    lowercase: bool = True
    asian_support: bool = False
    keeps_rows: bool = False

    op = staticmethod(shift_rows)
    columns = ("edits", "length", "samples")

    def check(self) -> None:
        """Raise ``ValueError`` unless all are bools."""
        for name in ("normalize", "no_punctuation", "lowercase", "asian_support"):
            check_bool(name, getattr(self, name))
        check_bool("return_sentence_level_score", self.keeps_rows)

    @override
    def rows_of(self, preds: Any, target: Any) -> Tensor:
        hypotheses, references = with_references(preds, target)
        rows = rows_for(hypotheses, len(self.columns))
        flat = [self.prepared(text) for each in references for text in each]
        firsts = firsts_of(references)
        shift_rows(rows, [self.prepared(text) for text in hypotheses], flat, firsts)
        return rows

    def prepared(self, text: str) -> str:
        """Return a text whose words are what counts."""
        text = text.rstrip()
        if self.lowercase:
            text = text.lower()
        if not (self.normalize or self.no_punctuation) or not text:
            return text
        rules: list[tuple[str, str]] = []
        if self.normalize:
            text = f" {text} "
            rules += (*_WESTERN, *(_ASIAN if self.asian_support else ()))
        if self.no_punctuation:
            rules += (*_NO_MARKS, *(_NO_ASIAN_MARKS if self.asian_support else ()))
        for pattern, replacement in rules:
            text = re.sub(pattern, replacement, text)
        return text
