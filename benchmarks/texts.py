"""Metrics of texts beside the libraries known for them: whole calls, from strings to a value."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

import fastmetrics.functional.text as fast
from benchmarks.calls import Call, Inputs, find, function
from benchmarks.inputs import edited_texts, references
from benchmarks.workload import (
    NEVER_SLOWER,
    OURS,
    Workload,
    blaze,
    rapidfuzz,
    rouge_scorer,
    sacrebleu,
)

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
        OURS: function(fast.edit_distance),
        "torchmetrics": function(
            lambda p, t: tm_text.char_error_rate(p, t) * len("".join(t)) / len(t)
        ),
        "rapidfuzz": function(mean_distance),
    }
    return _row("EditsOfCharacters", edited_texts(pairs, length, LETTERS, ""), calls, pairs, length)


def _words(pairs: int, length: int) -> Workload:
    calls = {
        OURS: function(fast.word_error_rate),
        "torchmetrics": function(lambda p, t: tm_text.word_error_rate(p, t)),
        "rapidfuzz": function(word_rate),
    }
    return _row("EditsOfWords", edited_texts(pairs, length, WORDS, " "), calls, pairs, length)


KEYS = ("rouge1", "rouge2", "rougeL")
SIZES = (1, 10_000)


def _sacrebleu(
    make: Callable[[], Any], preds: Sequence[str], target: Sequence[Sequence[str]]
) -> float:
    score: float = make().corpus_score(preds, [[line for (line,) in target]]).score
    return score / 100


def _bleu_of_sacrebleu() -> Any:
    return sacrebleu.BLEU(smooth_method="none", force=True)


def _chrf_of_sacrebleu() -> Any:
    return sacrebleu.CHRF(word_order=2, eps_smoothing=True)


def _mean_f(scores: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(scores) for column in zip(*scores, strict=True)]


def _rouge(preds: Sequence[str], target: Sequence[Sequence[str]]) -> list[Any]:
    values = fast.rouge_score(preds, target, rouge_keys=KEYS)
    return [values[f"{key}_fmeasure"] for key in KEYS]


def _rouge_of_torchmetrics(preds: Sequence[str], target: Sequence[Sequence[str]]) -> list[Any]:
    values = tm_text.rouge_score(preds, target, rouge_keys=KEYS)
    return [values[f"{key}_fmeasure"] for key in KEYS]


def _rouge_of_rouge_score(preds: Sequence[str], target: Sequence[Sequence[str]]) -> list[float]:
    scorer = rouge_scorer.RougeScorer([*KEYS])
    found = [scorer.score(line, text) for text, (line,) in zip(preds, target, strict=True)]
    return _mean_f([[each[key].fmeasure for key in KEYS] for each in found])


def _rouge_of_blazemetrics(preds: Sequence[str], target: Sequence[Sequence[str]]) -> list[float]:
    found = [
        blaze.rouge_score(preds, target, score_type="rouge_n", n=1),
        blaze.rouge_score(preds, target, score_type="rouge_n", n=2),
        blaze.rouge_score(preds, target, score_type="rouge_l"),
    ]
    return _mean_f([[score[2] for score in scores] for scores in zip(*found, strict=True)])


def ngram_scores() -> list[Workload]:
    """One pair for each call, and 10,000; torchmetrics takes part where that takes seconds."""
    rows = []
    for size in SIZES:
        found: dict[str, dict[str, Call]] = {
            "sacre_bleu_score": {
                OURS: function(fast.sacre_bleu_score),
                "torchmetrics": function(lambda *texts: tm_text.sacre_bleu_score(*texts)),
                "sacrebleu": function(partial(_sacrebleu, _bleu_of_sacrebleu)),
            },
            "chrf_score": {
                OURS: function(fast.chrf_score),
                "sacrebleu": function(partial(_sacrebleu, _chrf_of_sacrebleu)),
            },
            "rouge_score": {
                OURS: function(_rouge),
                "torchmetrics": function(_rouge_of_torchmetrics),
                "rouge-score": function(_rouge_of_rouge_score),
                "blazemetrics": function(_rouge_of_blazemetrics),
            },
        }
        if size == 1:
            found["chrf_score"]["torchmetrics"] = function(
                lambda *texts: tm_text.chrf_score(*texts)
            )
        for name, calls in found.items():
            limits = {"torchmetrics": 1 / 20, "sacrebleu": 1.0, "rouge-score": 1.0}
            limits |= {"blazemetrics": 1.0}
            # blazemetrics parts words at spaces only.
            inputs = references(size, marks=name != "rouge_score")
            rows.append(Workload(f"functional/{name}/{size}", inputs, calls, limits))
    return rows
