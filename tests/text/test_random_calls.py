"""Random calls of all kernels over texts: nothing breaks, and the reference agrees."""

from __future__ import annotations

import random

import pytest
import torch

from fastmetrics.ops import chrf, rouge, tokens
from fastmetrics.ops.edits import Edits
from fastmetrics.ops.extended_edits import ExtendedEdits
from fastmetrics.ops.ngrams import NGrams
from fastmetrics.ops.shifts import Shifts
from tests.text.lines import PIECES

CALLS = 100_000
# One of so many calls is compared with the reference.
COMPARED = 50
TOKENIZERS = ("none", "13a", "zh", "intl", "char")


def text(chosen: random.Random) -> str:
    if chosen.random() < 0.1:
        return "".join(chr(chosen.randrange(0x110000)) for _ in range(chosen.randrange(9)))
    return "".join(chosen.choices(PIECES, k=chosen.randrange(12)))


def statistic(chosen: random.Random):
    kind = chosen.randrange(6)
    flag = chosen.random() < 0.5
    if kind == 0:
        return NGrams(chosen.randint(1, 6), chosen.choice(TOKENIZERS), flag)
    if kind == 1:
        orders = chosen.randint(1, 6), chosen.randint(0, 3)
        return chrf.CharacterGrams(*orders, lowercase=flag, whitespace=chosen.random() < 0.5)
    if kind == 2:
        return Edits(flag, chosen.randrange(4))
    if kind == 3:
        return Shifts(*(chosen.random() < 0.5 for _ in range(4)))
    if kind == 4:
        return ExtendedEdits("en" if flag else "ja", *(chosen.random() * 3 for _ in range(4)))
    kinds = chosen.sample([-1, 0, 1, 2, 9], chosen.randint(1, 5))
    return rouge.Rouge(tuple(kinds), average=flag, tokenizer=chosen.choice([None, list]))


@pytest.mark.exhaustive
def test_random_calls(monkeypatch):
    monkeypatch.setattr(rouge, "sentence_splitter", lambda: rouge.at_line_ends)
    chosen = random.Random(0)
    for call in range(CALLS):
        counted = statistic(chosen)
        preds = [text(chosen) for _ in range(chosen.randint(0, 3))]
        target = [[text(chosen) for _ in range(chosen.randint(1, 3))] for _ in preds]
        if isinstance(counted, Edits):
            target = [references[0] for references in target]
        rows = counted.rows_of(preds, target)
        assert rows.shape == (len(preds), len(counted.columns))
        assert rows.isfinite().all()
        assert (rows >= 0).all()
        if call % COMPARED == 0:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(tokens.backend, "native", None)
                expected = counted.rows_of(preds, target)
            torch.testing.assert_close(rows, expected, rtol=1e-14, atol=1e-15)
