"""The steps of torchmetrics' regression: ``_update`` sums up a batch, ``_compute`` values sums."""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.utilities.checks import _check_same_shape, check_choice, check_int
from fastmetrics.utilities.prints import rank_zero_warn

Moments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _check_data_shape_to_num_outputs(
    preds: Tensor, target: Tensor, num_outputs: int, allow_1d_reshape: bool = False
) -> None:
    columns = preds.shape[1] if preds.ndim == 2 else None
    wrong = columns is not None and columns != num_outputs
    if preds.ndim > 2 or target.ndim > 2 or (wrong and not (num_outputs == 1 and allow_1d_reshape)):
        raise ValueError(
            f"`preds` and `target` must have shape (N,) or (N, {num_outputs}), got"
            f" {tuple(preds.shape)} and {tuple(target.shape)}."
        )


def _differences(preds: Tensor, target: Tensor, num_outputs: int) -> tuple[Tensor, int]:
    _check_same_shape(preds, target)
    differences = preds - target
    differences = differences.reshape(-1) if num_outputs == 1 else differences
    return differences, len(differences)


def _mean_squared_error_update(
    preds: Tensor, target: Tensor, num_outputs: int
) -> tuple[Tensor, int]:
    differences, count = _differences(preds, target, num_outputs)
    return (differences * differences).sum(0), count


def _mean_squared_error_compute(
    sum_squared_error: Tensor, num_obs: int | Tensor, squared: bool = True
) -> Tensor:
    mean = sum_squared_error / num_obs
    return mean if squared else mean.sqrt()


def _mean_absolute_error_update(
    preds: Tensor, target: Tensor, num_outputs: int
) -> tuple[Tensor, int]:
    differences, count = _differences(preds, target, num_outputs)
    return differences.abs().sum(0), count


def _mean_absolute_error_compute(sum_abs_error: Tensor, num_obs: int | Tensor) -> Tensor:
    return sum_abs_error / num_obs


def _r2_score_update(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    _check_same_shape(preds, target)
    if preds.ndim > 2:
        raise ValueError(f"`preds` must have one or two axes, got shape {tuple(preds.shape)}.")
    squares = (target - preds) ** 2
    return (target * target).sum(0), target.sum(0), squares.sum(0), len(target)


def _r2_score_compute(
    sum_squared_obs: Tensor,
    sum_obs: Tensor,
    rss: Tensor,
    num_obs: int | Tensor,
    adjusted: int = 0,
    multioutput: str = "uniform_average",
) -> Tensor:
    if num_obs < 2:
        raise ValueError(f"R2 needs at least two samples, got {num_obs}.")
    check_choice("multioutput", multioutput, ("raw_values", "uniform_average", "variance_weighted"))
    check_int("adjusted", adjusted, 0)
    total = sum_squared_obs - sum_obs * sum_obs / num_obs
    fails, varies = (~torch.isclose(x, torch.zeros_like(x), atol=1e-4) for x in (rss, total))
    score = torch.where(fails, torch.where(varies, 1 - rss / total, 0.0), 1.0)
    if multioutput != "raw_values":
        weighted = multioutput == "variance_weighted"
        score = (score * total / total.sum()).sum() if weighted else score.mean()
    if adjusted and adjusted >= num_obs - 1:
        rank_zero_warn(f"R2 of {num_obs} samples is not adjusted for {adjusted} regressors.")
    elif adjusted:
        return 1 - (1 - score) * (num_obs - 1) / (num_obs - adjusted - 1)
    return score


def _pearson_corrcoef_update(
    preds: Tensor,
    target: Tensor,
    mean_x: Tensor,
    mean_y: Tensor,
    max_abs_dev_x: Tensor,
    max_abs_dev_y: Tensor,
    var_x: Tensor,
    var_y: Tensor,
    corr_xy: Tensor,
    num_prior: Tensor,
    num_outputs: int,
) -> Moments:
    _check_same_shape(preds, target)
    _check_data_shape_to_num_outputs(preds, target, num_outputs)
    count = len(preds)
    total = num_prior + count
    weight = num_prior * count / total
    steps = preds.mean(0) - mean_x, target.mean(0) - mean_y
    x, y = preds - preds.mean(0), target - target.mean(0)
    var_x = var_x + (x * x).sum(0) + steps[0] * steps[0] * weight
    var_y = var_y + (y * y).sum(0) + steps[1] * steps[1] * weight
    corr_xy = corr_xy + (x * y).sum(0) + steps[0] * steps[1] * weight
    mean_x, mean_y = mean_x + steps[0] * count / total, mean_y + steps[1] * count / total
    max_abs_dev_x = torch.maximum(max_abs_dev_x, (preds - mean_x).abs().amax(0))
    max_abs_dev_y = torch.maximum(max_abs_dev_y, (target - mean_y).abs().amax(0))
    return mean_x, mean_y, max_abs_dev_x, max_abs_dev_y, var_x, var_y, corr_xy, total


def _pearson_corrcoef_compute(
    max_abs_dev_x: Tensor,
    max_abs_dev_y: Tensor,
    var_x: Tensor,
    var_y: Tensor,
    corr_xy: Tensor,
    nb: Tensor,
) -> Tensor:
    var_x = var_x / (nb - 1) / max_abs_dev_x**2
    var_y = var_y / (nb - 1) / max_abs_dev_y**2
    covariance = corr_xy / (nb - 1) / (max_abs_dev_x * max_abs_dev_y)
    bound = torch.finfo(var_x.dtype).eps ** 0.5
    known = (var_x >= bound) & (var_y >= bound) & covariance.isfinite()
    if not known.all():
        rank_zero_warn("The variance is close to zero: the correlation is NaN.")
    values = (covariance / (var_x * var_y).sqrt()).clamp(-1.0, 1.0)
    return torch.where(known, values, torch.nan).squeeze()


def _ranks(data: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the last rank, from 1, of what is equal to each element."""
    _, inverse, counts = torch.unique(data.detach(), return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    return (last - counts + 1)[inverse], last[inverse]


def _rank_data(data: Tensor) -> Tensor:
    first, last = _ranks(data)
    return (first + last) / 2


def _last_ranks(data: Tensor) -> Tensor:
    return _ranks(data)[1]


def _spearman_corrcoef_update(
    preds: Tensor, target: Tensor, num_outputs: int
) -> tuple[Tensor, Tensor]:
    if not (preds.is_floating_point() and target.is_floating_point()):
        raise TypeError(
            f"`preds` and `target` must hold floats, got {preds.dtype} and {target.dtype}."
        )
    _check_same_shape(preds, target)
    _check_data_shape_to_num_outputs(preds, target, num_outputs)
    return preds, target


def _spearman_corrcoef_compute(preds: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    columns = (x.reshape(len(x), -1).unbind(1) for x in (preds, target))
    x, y = (torch.stack([_rank_data(column) for column in each], 1) for each in columns)
    x, y = x - x.mean(0), y - y.mean(0)
    spread = ((x * x).mean(0) * (y * y).mean(0)).sqrt()
    values = ((x * y).mean(0) / (spread + eps)).clamp(-1.0, 1.0)
    return values.squeeze(0) if preds.ndim == 1 else values
