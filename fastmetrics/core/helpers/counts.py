"""The steps of torchmetrics' stat scores, confusion matrices and calibration errors.

``_format`` makes of a batch what ``_update`` counts, and ``_compute`` makes the value of counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.utilities.checks import NORMALIZATIONS, check_choice
from fastmetrics.utilities.compute import normalize_logits_if_needed
from fastmetrics.utilities.prints import rank_zero_warn

Counts = tuple[Tensor, Tensor, Tensor, Tensor]


def _called(preds: Tensor, threshold: float) -> Tensor:
    """What scores call positive; labels as they are."""
    if preds.is_floating_point():
        return normalize_logits_if_needed(preds, "sigmoid") > threshold
    return preds


def _hidden(target: Tensor, ignore_index: int | None) -> Tensor:
    return target if ignore_index is None else target.masked_fill(target == ignore_index, -1)


def _binary_stat_scores_format(
    preds: Tensor, target: Tensor, threshold: float = 0.5, ignore_index: int | None = None
) -> tuple[Tensor, Tensor]:
    preds = (
        _called(preds, threshold).flatten(1)
        if preds.ndim > 1
        else _called(preds, threshold)[:, None]
    )
    return preds, _hidden(target.reshape(preds.shape), ignore_index)


def _multiclass_stat_scores_format(
    preds: Tensor, target: Tensor, top_k: int = 1
) -> tuple[Tensor, Tensor]:
    if top_k != 1:
        return preds.reshape(*preds.shape[:2], -1), target.reshape(len(target), -1)
    if preds.ndim == target.ndim + 1:
        preds = preds.argmax(dim=1)
    return preds.reshape(len(preds), -1), target.reshape(len(target), -1)


def _multilabel_stat_scores_format(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    ignore_index: int | None = None,
) -> tuple[Tensor, Tensor]:
    preds = _called(preds, threshold).reshape(*preds.shape[:2], -1)
    return preds, _hidden(target.reshape(preds.shape), ignore_index)


def _counts(preds: Tensor, target: Tensor, dims: list[int]) -> Counts:
    """Count over ``dims``; targets other than 0 and 1 are left out."""
    hit, positive, negative = preds == target, target == 1, target == 0
    pairs = ((hit, positive), (~hit, negative), (hit, negative), (~hit, positive))
    tp, fp, tn, fn = ((one & other).sum(dims).squeeze() for one, other in pairs)
    return tp, fp, tn, fn


def _binary_stat_scores_update(
    preds: Tensor, target: Tensor, multidim_average: str = "global"
) -> Counts:
    return _counts(preds, target, [0, 1] if multidim_average == "global" else [1])


def _multilabel_stat_scores_update(
    preds: Tensor, target: Tensor, multidim_average: str = "global"
) -> Counts:
    return _counts(preds, target, [0, -1] if multidim_average == "global" else [-1])


def _best_labels(preds: Tensor, target: Tensor, top_k: int) -> Tensor:
    """The target where it is among the highest scores, else the label of the highest one."""
    best = preds.topk(top_k, dim=1).indices
    return torch.where((best == target.unsqueeze(1)).any(1), target, best[:, 0])


def _refine_preds_oh(preds: Tensor, preds_oh: Tensor, target: Tensor, top_k: int) -> Tensor:
    if preds.ndim == 1:
        preds, target = preds.unsqueeze(0), target.reshape(1)
    labels = _best_labels(preds, target, top_k).long().unsqueeze(-1)
    return torch.zeros_like(preds_oh, dtype=torch.int32).scatter_(-1, labels, 1)


def _multiclass_stat_scores_update(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    top_k: int = 1,
    average: str | None = "macro",
    multidim_average: str = "global",
    ignore_index: int | None = None,
) -> Counts:
    labels = _best_labels(preds, target, top_k) if top_k > 1 else preds
    each = multidim_average != "global"
    labels, target = (x.reshape(len(x) if each else 1, -1).long() for x in (labels, target))
    kept = (
        torch.ones_like(target, dtype=torch.bool)
        if ignore_index is None
        else target != ignore_index
    )
    rows = num_classes * torch.arange(len(target), device=target.device).unsqueeze(1)

    def count(classes: Tensor, which: Tensor) -> Tensor:
        counted = torch.bincount((classes + rows)[which], minlength=len(target) * num_classes)
        return counted.reshape(len(target), num_classes) if each else counted

    tp = count(target, kept & (labels == target))
    fp, fn = count(labels, kept) - tp, count(target, kept) - tp
    tn = (kept.sum(1, keepdim=True) if each else kept.sum()) - tp - fp - fn
    if average == "micro" and top_k == 1 and not each:
        return tp.sum(), fp.sum(), tn.sum(), fn.sum()
    return tp, fp, tn, fn


def _binary_stat_scores_compute(
    tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor, multidim_average: str = "global"
) -> Tensor:
    dim = 0 if multidim_average == "global" else 1
    return torch.stack([tp, fp, tn, fn, tp + fn], dim).squeeze()


def _multiclass_stat_scores_compute(
    tp: Tensor,
    fp: Tensor,
    tn: Tensor,
    fn: Tensor,
    average: str | None = "macro",
    multidim_average: str = "global",
) -> Tensor:
    scores = torch.stack([tp, fp, tn, fn, tp + fn], -1)
    dim = 0 if multidim_average == "global" else 1
    if average == "micro":
        return scores.sum(dim) if scores.ndim > 1 else scores
    if average == "macro":
        return scores.float().mean(dim)
    if average == "weighted":
        weight = (tp + fn) / (tp + fn).sum(-1, keepdim=True)
        return (scores * weight.unsqueeze(-1)).sum(dim)
    return scores


_multilabel_stat_scores_compute = _multiclass_stat_scores_compute


def _confusion_matrix_reduce(confmat: Tensor, normalize: str | None = None) -> Tensor:
    check_choice("normalize", normalize, NORMALIZATIONS)
    if normalize in (None, "none"):
        return confmat
    dims = {"true": [-1], "pred": [-2], "all": [-2, -1]}[str(normalize)]
    confmat = confmat if confmat.is_floating_point() else confmat.float()
    shares = confmat / confmat.sum(dims, keepdim=True)
    if shares.isnan().any():
        rank_zero_warn("Rows or columns of the confusion matrix without samples are set to 0.")
    return shares.nan_to_num(0.0)


_binary_confusion_matrix_compute = _confusion_matrix_reduce
_multiclass_confusion_matrix_compute = _confusion_matrix_reduce
_multilabel_confusion_matrix_compute = _confusion_matrix_reduce


def _kept(preds: Tensor, target: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    if ignore_index is None:
        return preds, target
    kept = target != ignore_index
    return preds[kept], target[kept]


def _binary_confusion_matrix_format(
    preds: Tensor,
    target: Tensor,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    convert_to_labels: bool = True,
) -> tuple[Tensor, Tensor]:
    preds, target = _kept(preds.flatten(), target.flatten(), ignore_index)
    if preds.is_floating_point():
        preds = normalize_logits_if_needed(preds, "sigmoid")
    return (_called(preds, threshold) if convert_to_labels else preds), target


def _multiclass_confusion_matrix_format(
    preds: Tensor, target: Tensor, ignore_index: int | None = None, convert_to_labels: bool = True
) -> tuple[Tensor, Tensor]:
    if not convert_to_labels:
        preds = _columns(preds)
    elif preds.ndim == target.ndim + 1:
        preds = preds.argmax(dim=1).flatten()
    else:
        preds = preds.flatten()
    return _kept(preds, target.flatten(), ignore_index)


def _columns(x: Tensor) -> Tensor:
    """``[N, C, ...]`` as ``[N * ..., C]``."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _multilabel_confusion_matrix_format(
    preds: Tensor,
    target: Tensor,
    num_labels: int,
    threshold: float = 0.5,
    ignore_index: int | None = None,
    should_threshold: bool = True,
) -> tuple[Tensor, Tensor]:
    if preds.is_floating_point():
        preds = normalize_logits_if_needed(preds, "sigmoid")
        preds = preds > threshold if should_threshold else preds
    preds, target = _columns(preds), _columns(target)
    if ignore_index is not None:  # so that whatever it is counted with becomes negative
        ignored = target == ignore_index
        preds, target = preds.clone(), target.clone()
        preds[ignored] = target[ignored] = -4 * num_labels
    return preds, target


def _binary_confusion_matrix_update(preds: Tensor, target: Tensor) -> Tensor:
    return _multiclass_confusion_matrix_update(preds, target, 2)


def _multiclass_confusion_matrix_update(preds: Tensor, target: Tensor, num_classes: int) -> Tensor:
    cells = target.long() * num_classes + preds.long()
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def _multilabel_confusion_matrix_update(preds: Tensor, target: Tensor, num_labels: int) -> Tensor:
    cells = 2 * target.long() + preds + 4 * torch.arange(num_labels, device=preds.device)
    return torch.bincount(cells[cells >= 0], minlength=4 * num_labels).reshape(num_labels, 2, 2)


def _binning_bucketize(
    confidences: Tensor, accuracies: Tensor, bin_boundaries: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    bins = torch.bucketize(confidences, bin_boundaries, right=True) - 1
    empty = confidences.new_zeros(len(bin_boundaries))
    count = empty.index_add(0, bins, torch.ones_like(confidences))
    right = empty.index_add(0, bins, accuracies.to(confidences.dtype))
    sure = empty.index_add(0, bins, confidences)
    return (right / count).nan_to_num(0), (sure / count).nan_to_num(0), count / count.sum()


def _ce_compute(
    confidences: Tensor,
    accuracies: Tensor,
    bin_boundaries: Tensor | int,
    norm: str = "l1",
    debias: bool = False,
) -> Tensor:
    check_choice("norm", norm, ("l1", "l2", "max"))
    if isinstance(bin_boundaries, int):
        bin_boundaries = torch.linspace(0, 1, bin_boundaries + 1).to(confidences)
    right, sure, share = _binning_bucketize(confidences, accuracies, bin_boundaries)
    gap = (right - sure).abs()
    if norm != "l2":
        return (gap * share).sum() if norm == "l1" else gap.max()
    error = (gap**2 * share).sum()
    if debias:
        bias = right * (right - 1) * share / (share * len(accuracies) - 1)
        error = error + bias.nan_to_num(0).sum()
    return error.clamp(min=0).sqrt()


def _binary_calibration_error_update(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return preds, target


def _multiclass_calibration_error_update(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    confidences, labels = normalize_logits_if_needed(preds, "softmax").max(dim=1)
    return confidences.float(), (labels == target).float()
