"""Every public metric: a call with a small batch, and the way from many samples to a value."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import fastmetrics
from benchmarks.calls import Call, Inputs, arrays, forward, function, update_and_compute
from benchmarks.inputs import (
    distributions,
    labels,
    masks,
    numbers,
    of_kind,
    pairs,
    positive_numbers,
    ranked,
    segments,
    tokens,
    with_groups,
    with_members,
)
from benchmarks.plain import PLAIN
from benchmarks.texts import mean_distance
from benchmarks.workload import OURS, PLAIN_TORCH, Workload, jiwer, rec, sk, stats, te, tm
from tests import every

SMALL, LARGE = 64, 100_000
CLASSES, GROUPS = 10, 4
BINS = 200
TASKS = ("Binary", "Multiclass", "Multilabel")

OWN_ARGUMENTS: dict[str, dict[str, Any]] = {"TweedieDevianceScore": {"power": 1.5}}

# Where a call of torchmetrics with the usual number would take seconds, the number is smaller.
LARGE_OF = {
    "KendallRankCorrCoef": (1_000, "torchmetrics compares every pair"),
    "MultilabelRankingAveragePrecision": (10_000, "torchmetrics loops over the samples"),
    **dict.fromkeys(
        (
            *("WordErrorRate", "MatchErrorRate", "WordInfoLost", "WordInfoPreserved"),
            *("CharErrorRate", "EditDistance", "ExtendedEditDistance", "TranslationEditRate"),
            "SQuAD",
        ),
        (300, "torchmetrics works in Python"),
    ),
    "BLEUScore": (1_000, "torchmetrics adds up each n-gram by itself"),
    "CHRFScore": (100, "torchmetrics makes a tensor for each n-gram"),
    "ROUGEScore": (300, "torchmetrics fills a table for each pair in Python"),
    "Perplexity": (1_000, "each sample is four words of a hundred"),
    "SacreBLEUScore": (1_000, "torchmetrics adds up each n-gram by itself"),
    "PanopticQuality": (64, "torchmetrics loops over the segments"),
    "ModifiedPanopticQuality": (64, "torchmetrics loops over the segments"),
    "HausdorffDistance": (64, "torchmetrics loops over the images"),
    "AverageSurfaceDistance": (64, "torchmetrics has no such metric"),
    "NormalizedSurfaceDice": (64, "torchmetrics has no such metric"),
    "DiceScore": (1_000, "each sample is an image"),
    "GeneralizedDiceScore": (1_000, "each sample is an image"),
    "MeanIoU": (1_000, "each sample is an image"),
    **dict.fromkeys(
        (
            *("IntersectionOverUnion", "GeneralizedIntersectionOverUnion"),
            *("DistanceIntersectionOverUnion", "CompleteIntersectionOverUnion"),
            "MeanAveragePrecision",
        ),
        (1_000, "torchmetrics needs torchvision"),
    ),
}
# What torchmetrics does not have, or needs torchvision for.
ONLY_HERE = {
    *("AverageSurfaceDistance", "NormalizedSurfaceDice", "MeanAveragePrecision"),
    *("IntersectionOverUnion", "GeneralizedIntersectionOverUnion"),
    *("DistanceIntersectionOverUnion", "CompleteIntersectionOverUnion"),
}


# By kind of inputs, what makes those of a size.
INPUTS: dict[str, Callable[[int], Callable[[torch.device], Inputs]]] = {
    "binary": ranked,
    "multilabel": lambda size: ranked(size, CLASSES),
    "multiclass": lambda size: ranked(size, num_classes=CLASSES),
    "labels": lambda size: labels(size, 2, num_classes=CLASSES),
    "groups": lambda size: with_groups(size, GROUPS),
    "distributions": lambda size: distributions(size, CLASSES),
    "members": lambda size: with_members(size, CLASSES),
    "positive": positive_numbers,
    "pairs": pairs,
    "numbers": lambda size: numbers((size,)),
    **{kind: partial(of_kind, kind) for kind in (*every.OF_TEXT, *every.OF_IMAGES)},
    "masks": lambda size: masks(size, every.C, 16, 16),
    "panoptic": lambda size: segments(size, 16, 16),
    "tokens": lambda size: tokens(size, 4, 100),
}


def every_metric() -> list[Workload]:
    """Two workloads for each class, and for each kind of curve."""
    return [row for domain, name, cls in every.classes() for row in _both_sizes(domain, name, cls)]


def _both_sizes(domain: str, name: str, cls: type) -> list[Workload]:
    classes = every.C if domain == "segmentation" else CLASSES
    arguments = OWN_ARGUMENTS.get(name, {}) | every.arguments_of(cls, classes, GROUPS)
    if not every.has_modes(cls):
        return _rows(domain, name, "", arguments)
    exact = _rows(domain, name, "exact/", arguments)
    return exact + _rows(domain, name, f"{BINS}/", arguments | {"thresholds": BINS})


def _rows(domain: str, name: str, mode: str, arguments: dict[str, Any]) -> list[Workload]:
    make = INPUTS[every.kind_of(domain, name)]
    module = "" if domain == "aggregation" else domain
    ours = _maker(fastmetrics, module, name, arguments)
    theirs = _maker(tm, module, name, arguments)
    small = {OURS: forward(ours), "torchmetrics": forward(theirs)}
    size, note = LARGE_OF.get(name, (LARGE, ""))
    if mode == f"{BINS}/" and not name.startswith("Binary"):
        size, note = 10_000, "torchmetrics makes a pass for each threshold"
    # Among points of one false positive rate torchmetrics' sort chooses any; docs/differences.md.
    # torchmetrics looks for edits near the diagonal only.
    tolerance = 0.03 if name.endswith(("LogAUC", "EditDistance")) else 1e-6
    large = {OURS: update_and_compute(ours), "torchmetrics": update_and_compute(theirs)}
    large |= _others(name, mode, arguments)
    small_note = ""
    if name in ONLY_HERE:
        small_note = note
        for calls in (small, large):
            del calls["torchmetrics"]
    return [
        Workload(
            f"forward/{name}/{mode}{SMALL}",
            make(SMALL),
            small,
            tolerance=tolerance,
            note=small_note,
        ),
        Workload(f"whole/{name}/{mode}{size}", make(size), large, tolerance=tolerance, note=note),
    ]


def _maker(root: Any, module: str, name: str, arguments: dict[str, Any]) -> Callable[[], Any]:
    # Looked up late: a library may be missing.
    return lambda: getattr(getattr(root, module) if module else root, name)(**arguments)


# Metrics of torcheval with the same value, by the name here and its kind of curve.
TORCHEVAL: dict[str, tuple[str, dict[str, Any]]] = {
    "BinaryAccuracy": ("BinaryAccuracy", {}),
    "BinaryPrecision": ("BinaryPrecision", {}),
    "BinaryRecall": ("BinaryRecall", {}),
    "BinaryF1Score": ("BinaryF1Score", {}),
    "BinaryConfusionMatrix": ("BinaryConfusionMatrix", {}),
    "MulticlassAccuracy": ("MulticlassAccuracy", {"average": "macro", "num_classes": CLASSES}),
    "MulticlassPrecision": ("MulticlassPrecision", {"average": "macro", "num_classes": CLASSES}),
    "MulticlassRecall": ("MulticlassRecall", {"average": "macro", "num_classes": CLASSES}),
    "MulticlassF1Score": ("MulticlassF1Score", {"average": "macro", "num_classes": CLASSES}),
    "MulticlassConfusionMatrix": ("MulticlassConfusionMatrix", {"num_classes": CLASSES}),
    "MultilabelExactMatch": ("MultilabelAccuracy", {}),
    "BinaryAUROC exact/": ("BinaryAUROC", {}),
    "BinaryAveragePrecision exact/": ("BinaryAUPRC", {}),
    "MulticlassAUROC exact/": ("MulticlassAUROC", {"num_classes": CLASSES}),
    "MulticlassAveragePrecision exact/": ("MulticlassAUPRC", {"num_classes": CLASSES}),
    "MultilabelAveragePrecision exact/": ("MultilabelAUPRC", {"num_labels": CLASSES}),
    "MeanSquaredError": ("MeanSquaredError", {}),
    "R2Score": ("R2Score", {}),
    "MeanMetric": ("Mean", {}),
    "SumMetric": ("Sum", {}),
    "MaxMetric": ("Max", {}),
    "MinMetric": ("Min", {}),
    "CatMetric": ("Cat", {}),
}

MACRO = {"average": "macro"}
# Functions of scikit-learn, what is made of the scores first, and arguments.
SKLEARN: dict[str, tuple[str, str, dict[str, Any]]] = {
    f"{task}{metric}": (function, how, arguments if task == "Binary" else MACRO | arguments)
    for task, how in zip(TASKS, ("over a half", "winner", "over a half"), strict=True)
    for metric, function, arguments in (
        ("Precision", "precision_score", {}),
        ("Recall", "recall_score", {}),
        ("F1Score", "f1_score", {}),
        ("FBetaScore", "fbeta_score", {"beta": 0.5}),
        ("JaccardIndex", "jaccard_score", {}),
    )
} | {
    "BinaryAccuracy": ("accuracy_score", "over a half", {}),
    "BinaryHammingDistance": ("hamming_loss", "over a half", {}),
    "BinaryCohenKappa": ("cohen_kappa_score", "over a half", {}),
    "BinaryMatthewsCorrCoef": ("matthews_corrcoef", "over a half", {}),
    "BinaryConfusionMatrix": ("confusion_matrix", "over a half", {}),
    "MulticlassAccuracy": ("balanced_accuracy_score", "winner", {}),
    "MulticlassCohenKappa": ("cohen_kappa_score", "winner", {}),
    "MulticlassMatthewsCorrCoef": ("matthews_corrcoef", "winner", {}),
    "MulticlassConfusionMatrix": ("confusion_matrix", "winner", {}),
    "MultilabelHammingDistance": ("hamming_loss", "over a half", {}),
    "MultilabelExactMatch": ("accuracy_score", "over a half", {}),
    "MultilabelConfusionMatrix": ("multilabel_confusion_matrix", "over a half", {}),
    "MultilabelCoverageError": ("coverage_error", "scores", {}),
    "MultilabelRankingAveragePrecision": ("label_ranking_average_precision_score", "scores", {}),
    "MultilabelRankingLoss": ("label_ranking_loss", "scores", {}),
    "BinaryAUROC exact/": ("roc_auc_score", "scores", {}),
    "BinaryAveragePrecision exact/": ("average_precision_score", "scores", {}),
    "BinaryPrecisionRecallCurve exact/": ("precision_recall_curve", "scores", {}),
    "MulticlassAUROC exact/": ("roc_auc_score", "scores", {"multi_class": "ovr"}),
    "MulticlassAveragePrecision exact/": ("average_precision_score", "scores", {}),
    "MultilabelAUROC exact/": ("roc_auc_score", "scores", {}),
    "MultilabelAveragePrecision exact/": ("average_precision_score", "scores", {}),
    "MeanSquaredError": ("mean_squared_error", "scores", {}),
    "MeanAbsoluteError": ("mean_absolute_error", "scores", {}),
    "MeanSquaredLogError": ("mean_squared_log_error", "scores", {}),
    "MeanAbsolutePercentageError": ("mean_absolute_percentage_error", "scores", {}),
    "TweedieDevianceScore": ("mean_tweedie_deviance", "scores", {"power": 1.5}),
    "R2Score": ("r2_score", "scores", {}),
    "ExplainedVariance": ("explained_variance_score", "scores", {}),
}
READ = {
    "scores": lambda preds: preds,
    "over a half": lambda preds: preds > 0.5,
    "winner": lambda preds: preds.argmax(1),
}
SCIPY = {
    "PearsonCorrCoef": "pearsonr",
    "SpearmanCorrCoef": "spearmanr",
    "KendallRankCorrCoef": "kendalltau",
}


JIWER = {"WordErrorRate": "wer", "CharErrorRate": "cer"}


def _others(name: str, mode: str, arguments: dict[str, Any]) -> dict[str, Call]:
    """Calls of the libraries that have the metric and agree about it."""
    found: dict[str, Call] = {}
    key = f"{name} {mode}".strip()
    if key in PLAIN:
        found[PLAIN_TORCH] = function(PLAIN[key])
    if key in TORCHEVAL:
        theirs, options = TORCHEVAL[key]
        found["torcheval"] = update_and_compute(lambda: getattr(te, theirs)(**options))
    if key in SKLEARN:
        found["scikit-learn"] = arrays(partial(_sklearn, SKLEARN[key]))
    if key in SCIPY:
        rival = SCIPY[key]
        found["SciPy"] = arrays(lambda target, preds: getattr(stats, rival)(preds, target)[0])
    if key in JIWER:
        found["jiwer"] = function(lambda preds, target: getattr(jiwer, JIWER[key])(target, preds))
    if key == "EditDistance":
        found["rapidfuzz"] = function(mean_distance)
    if key == "BinaryAUROC exact/":
        found["torchrec"] = function(_torchrec_auc)
    return found


def _sklearn(call: tuple[str, str, dict[str, Any]], target: Any, preds: Any) -> Any:
    name, how, options = call
    return getattr(sk, name)(target, READ[how](preds), **options)


def _torchrec_auc(preds: Tensor, target: Tensor) -> Tensor:
    """Return the area for one task; the weights are part of what it asks for."""
    weight = torch.ones_like(preds)[None]
    return rec.compute_auc(1, [preds[None]], [target[None]], [weight])[0]
