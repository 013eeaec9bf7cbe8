"""The few lines that a skilled user writes instead of a metric, in plain torch.

No arguments are checked, NaN goes where it leads, and one batch is all there is.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CLASSES, GROUPS, BINS = 10, 4, 200


def _table(preds: Tensor, target: Tensor) -> Tensor:
    preds = preds if preds.ndim == target.ndim else preds.argmax(1)
    return (target * CLASSES + preds).bincount(minlength=CLASSES**2).view(CLASSES, CLASSES)


def _f1(table: Tensor) -> Tensor:
    hits = table.diagonal()
    return (2 * hits / (table.sum(0) + table.sum(1)).clamp(min=1)).mean()


def _recall(table: Tensor) -> Tensor:
    return (table.diagonal() / table.sum(1).clamp(min=1)).mean()


def _binary_f1(preds: Tensor, target: Tensor) -> Tensor:
    positive = preds > 0.5
    return 2 * (positive & (target == 1)).sum() / (positive.sum() + target.sum())


def _binned_area(preds: Tensor, target: Tensor) -> Tensor:
    edges = torch.linspace(0, 1, BINS, device=preds.device)
    bins = torch.bucketize(preds, edges, right=True)
    counts = (bins + (BINS + 1) * target).bincount(minlength=2 * (BINS + 1))
    below, hits = counts.double().view(2, -1)
    return (hits * (below.cumsum(0) - below / 2)).sum().div(below.sum() * hits.sum()).float()


def _area(preds: Tensor, target: Tensor) -> Tensor:
    """Return the area without ties, which no two scores are."""
    labels = target[preds.argsort()]
    below = (1 - labels).cumsum(0)
    return (below * labels).sum() / (below[-1] * labels.sum())


def _calibration(preds: Tensor, target: Tensor) -> Tensor:
    bins = (preds * 15).long().clamp(max=14)
    sums = torch.zeros(2, 15, device=preds.device)
    sums[0].index_add_(0, bins, preds)
    sums[1].index_add_(0, bins, target.float())
    return (sums[0] - sums[1]).abs().sum() / len(preds)


def _r2(preds: Tensor, target: Tensor) -> Tensor:
    return 1 - (target - preds).square().sum() / (target - target.mean()).square().sum()


def _correlation(preds: Tensor, target: Tensor) -> Tensor:
    x, y = preds - preds.mean(), target - target.mean()
    return (x * y).sum() / (x.norm() * y.norm())


def _ranks(x: Tensor) -> Tensor:
    return x.argsort().argsort().double()


def _rates(preds: Tensor, target: Tensor, groups: Tensor) -> list[Tensor]:
    cells = groups * 4 + target * 2 + (preds > 0.5)
    counts = cells.bincount(minlength=4 * GROUPS).view(GROUPS, 4)
    return list((counts / counts.sum(1, keepdim=True))[:, [3, 1, 0, 2]])


# By the name of a metric in its usual form, and the kind of its curve if it has one.
PLAIN: dict[str, Callable[..., Any]] = {
    "BinaryAccuracy": lambda preds, target: ((preds > 0.5) == target).float().mean(),
    "BinaryF1Score": _binary_f1,
    "BinaryConfusionMatrix": lambda preds, target: (
        (target * 2 + (preds > 0.5)).bincount(minlength=4).view(2, 2)
    ),
    "MulticlassAccuracy": lambda preds, target: _recall(_table(preds, target)),
    "MulticlassF1Score": lambda preds, target: _f1(_table(preds, target)),
    "MulticlassConfusionMatrix": _table,
    "MultilabelAccuracy": lambda preds, target: ((preds > 0.5) == target).float().mean(),
    "BinaryGroupStatRates": _rates,
    "BinaryAUROC exact/": _area,
    f"BinaryAUROC {BINS}/": _binned_area,
    "BinaryCalibrationError": _calibration,
    "Perplexity": lambda preds, target: torch.nn.functional.cross_entropy(
        preds.flatten(0, 1), target.flatten()
    ).exp(),
    "MeanSquaredError": lambda preds, target: (preds - target).square().mean(),
    "MeanAbsoluteError": lambda preds, target: (preds - target).abs().mean(),
    "MeanAbsolutePercentageError": lambda preds, target: (
        (preds - target).abs() / target.abs().clamp(min=1.17e-6)
    ).mean(),
    "MinkowskiDistance": lambda preds, target: (preds - target).abs().pow(3).sum().pow(1 / 3),
    "TweedieDevianceScore": lambda preds, target: (
        2 * (preds.sqrt() * 2 + 2 * target / preds.sqrt() - 4 * target.sqrt())
    ).mean(),
    "R2Score": _r2,
    "PearsonCorrCoef": _correlation,
    "SpearmanCorrCoef": lambda preds, target: _correlation(_ranks(preds), _ranks(target)).float(),
    "CosineSimilarity": lambda preds, target: torch.cosine_similarity(preds, target).sum(),
    "MeanMetric": torch.mean,
    "SumMetric": torch.sum,
    "MaxMetric": torch.max,
    "MinMetric": torch.min,
    "CatMetric": torch.clone,
}
