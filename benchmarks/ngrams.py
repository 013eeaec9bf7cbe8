"""Scores of texts beside the libraries known for them: whole calls, from strings to a value."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import fastmetrics.functional.text as fast
from benchmarks.calls import Call, function
from benchmarks.inputs import references
from benchmarks.workload import OURS, Workload, blaze, rouge_scorer, sacrebleu, sacrebleu_mojo, tm

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


def _bleu_of_mojo(preds: Sequence[str], target: Sequence[Sequence[str]]) -> float:
    lines = [line for (line,) in target]
    score: float = sacrebleu_mojo.corpus_bleu(preds, [lines], smooth_method="none").score
    return score / 100


def _chrf_of_mojo(preds: Sequence[str], target: Sequence[Sequence[str]]) -> float:
    lines = [line for (line,) in target]
    score: float = sacrebleu_mojo.corpus_chrf(preds, [lines], word_order=2).score
    return score / 100


def _mean_f(scores: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(scores) for column in zip(*scores, strict=True)]


def _rouge(preds: Sequence[str], target: Sequence[Sequence[str]]) -> list[Any]:
    values = fast.rouge_score(preds, target, rouge_keys=KEYS)
    return [values[f"{key}_fmeasure"] for key in KEYS]


def _rouge_of_torchmetrics(preds: Sequence[str], target: Sequence[Sequence[str]]) -> list[Any]:
    values = tm.functional.text.rouge_score(preds, target, rouge_keys=KEYS)
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
                "torchmetrics": function(
                    lambda *texts: tm.functional.text.sacre_bleu_score(*texts)
                ),
                "sacrebleu": function(partial(_sacrebleu, _bleu_of_sacrebleu)),
                "sacrebleu-mojo": function(_bleu_of_mojo),
            },
            "chrf_score": {
                OURS: function(fast.chrf_score),
                "sacrebleu": function(partial(_sacrebleu, _chrf_of_sacrebleu)),
                "sacrebleu-mojo": function(_chrf_of_mojo),
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
                lambda *texts: tm.functional.text.chrf_score(*texts)
            )
        for name, calls in found.items():
            limits = {"torchmetrics": 1 / 20, "sacrebleu": 1.0, "rouge-score": 1.0}
            limits |= {"blazemetrics": 1.0, "sacrebleu-mojo": 1.0}
            # blazemetrics parts words at spaces only.
            inputs = references(size, marks=name != "rouge_score")
            note = "" if "torchmetrics" in calls else "torchmetrics takes minutes"
            # sacrebleu counts references without a common n-gram, too.
            tolerance = 1e-3 if name == "chrf_score" else 1e-6
            row = partial(Workload, note=note, tolerance=tolerance)
            rows.append(row(f"functional/{name}/{size}", inputs, calls, limits))
    return rows
