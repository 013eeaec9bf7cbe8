"""Edit distances beside other packages, by the length of the texts and their number."""

from collections.abc import Callable

import torch

import fastmetrics.functional as fast_functional
from benchmarks.calls import Call, Inputs, find, function
from benchmarks.inputs import edited_texts
from benchmarks.workload import NEVER_SLOWER, OURS, Workload, rapidfuzz

tm_text = find("torchmetrics.functional.text")

MakeInputs = Callable[[torch.device], Inputs]

# Torchmetrics takes 100 ns or more for each cell of the table of a pair.
MOST_CELLS = 2_000_000
LETTERS = "etaoin shrdlu"
WORDS = [a + b + c for a in "bdfgk" for b in "aeiou" for c in ("n", "rt", "sk", "mble")]


def mean_distance(preds: list[str], target: list[str]) -> float:
    """Return the mean edit distance of characters, by rapidfuzz."""
    distance = rapidfuzz.Levenshtein.distance
    return sum(map(distance, preds, target)) / len(target)


def word_rate(preds: list[str], target: list[str]) -> float:
    """Return the word error rate, by rapidfuzz."""
    ours, theirs = [text.split() for text in preds], [text.split() for text in target]
    edits = sum(map(rapidfuzz.Levenshtein.distance, ours, theirs))
    return edits / sum(map(len, theirs))


def edits_of_texts() -> list[Workload]:
    """One pair and many pairs, of 10 to 10,000 characters or words."""
    sizes = ((1, 10), (1, 100), (1, 1_000), (1, 10_000), (10_000, 10), (10_000, 100))
    return [row for size in sizes for row in (_characters(*size), _words(*size))]


def _row(
    name: str, inputs: MakeInputs, calls: dict[str, Call], pairs: int, length: int
) -> Workload:
    if pairs * length**2 > MOST_CELLS:
        del calls["torchmetrics"]
    return Workload(
        f"function/{name}/{pairs} of {length}",
        inputs,
        calls,
        limits={**NEVER_SLOWER, "torchmetrics": 1 / 25 if pairs * length > 10 else 1.0},
        note="torchmetrics works in Python" if "torchmetrics" not in calls else "",
    )


def _characters(pairs: int, length: int) -> Workload:
    calls = {
        OURS: function(fast_functional.edit_distance),
        "torchmetrics": function(
            lambda p, t: tm_text.char_error_rate(p, t) * len("".join(t)) / len(t)
        ),
        "rapidfuzz": function(mean_distance),
    }
    return _row("EditsOfCharacters", edited_texts(pairs, length, LETTERS, ""), calls, pairs, length)


def _words(pairs: int, length: int) -> Workload:
    calls = {
        OURS: function(fast_functional.word_error_rate),
        "torchmetrics": function(lambda p, t: tm_text.word_error_rate(p, t)),
        "rapidfuzz": function(word_rate),
    }
    return _row("EditsOfWords", edited_texts(pairs, length, WORDS, " "), calls, pairs, length)
