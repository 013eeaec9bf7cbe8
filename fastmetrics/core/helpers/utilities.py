"""What is private in torchmetrics' ``utilities``."""

from __future__ import annotations

import functools
import logging
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from unittest.mock import Mock

import torch
from torch import Tensor

from fastmetrics.utilities._figures import pyplot
from fastmetrics.utilities.compute import _safe_divide, along
from fastmetrics.utilities.data import map_tensors

_style = ["default"]
_error_on_missing_matplotlib = pyplot

_log = logging.getLogger("fastmetrics")
_future_warning = functools.partial(warnings.warn, category=FutureWarning)


# checks


def _check_for_empty_tensors(preds: Tensor, target: Tensor) -> bool:
    return preds.numel() == target.numel() == 0


def _check_retrieval_target_and_prediction_types(
    preds: Tensor, target: Tensor, allow_non_binary_target: bool = False
) -> tuple[Tensor, Tensor]:
    if target.is_complex() or not preds.is_floating_point():
        raise ValueError(
            f"`preds` must hold floats and `target` numbers, got {preds.dtype} and {target.dtype}."
        )
    if not allow_non_binary_target and (target.max() > 1 or target.min() < 0):
        raise ValueError("`target` must hold values in [0, 1].")
    return preds.float().flatten(), (
        target.float() if target.is_floating_point() else target.long()
    ).flatten()


def _check_retrieval_functional_inputs(
    preds: Tensor, target: Tensor, allow_non_binary_target: bool = False
) -> tuple[Tensor, Tensor]:
    _check_filled(preds, target)
    return _check_retrieval_target_and_prediction_types(preds, target, allow_non_binary_target)


def _check_retrieval_inputs(
    indexes: Tensor,
    preds: Tensor,
    target: Tensor,
    allow_non_binary_target: bool = False,
    ignore_index: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    if indexes.dtype is not torch.long:
        raise ValueError(f"`indexes` must hold int64, got {indexes.dtype}.")
    if ignore_index is not None and target.shape == preds.shape == indexes.shape:
        kept = target != ignore_index
        indexes, preds, target = indexes[kept], preds[kept], target[kept]
    _check_filled(indexes, preds, target)
    checked = _check_retrieval_target_and_prediction_types(preds, target, allow_non_binary_target)
    return indexes.flatten(), *checked


def _check_filled(*tensors: Tensor) -> None:
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(set(shapes)) > 1 or not tensors[0].numel() or not tensors[0].ndim:
        raise ValueError(f"The tensors must have one shape that is not empty, got {shapes}.")


def _allclose_recursive(res1: Any, res2: Any, atol: float = 1e-6) -> bool:
    if isinstance(res1, Tensor):
        return torch.allclose(res1, res2, atol=atol)
    if isinstance(res1, Mapping):
        return all(_allclose_recursive(res1[key], res2[key], atol) for key in res1)
    if isinstance(res1, Sequence) and not isinstance(res1, str):
        pairs = zip(res1, res2, strict=False)
        return all(_allclose_recursive(one, two, atol) for one, two in pairs)
    return bool(res1 == res2)


def is_overridden(method_name: str, instance: object, parent: object) -> bool:
    """Whether a method of an object is another one than that of ``parent``."""
    method = getattr(instance, method_name, None)
    method = getattr(method, "__wrapped__", method)
    if isinstance(method, Mock):
        method = method._mock_wraps
    elif isinstance(method, functools.partial):
        method = method.func
    if method is None:
        return False
    known = getattr(parent, method_name, None)
    if known is None:
        raise ValueError(f"`parent` must have a method {method_name!r}, got {parent!r}.")
    known = getattr(known, "__wrapped__", known)
    return bool(method.__code__ != known.__code__)


# compute


def _adjust_weights_safe_divide(
    score: Tensor,
    average: str | None,
    multilabel: bool,
    tp: Tensor,
    fp: Tensor,
    fn: Tensor,
    top_k: int = 1,
) -> Tensor:
    if average in (None, "none"):
        return score
    weights = torch.ones_like(score) if average != "weighted" else tp + fn
    if average != "weighted" and not multilabel:
        absent = tp + fn == 0 if top_k != 1 else tp + fp + fn == 0
        weights = weights.masked_fill(absent, 0.0)
    return _safe_divide(weights * score, weights.sum(-1, keepdim=True)).sum(-1)


def _auc_format_inputs(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x, y = (each.squeeze() if each.ndim > 1 else each for each in (x, y))
    if x.ndim > 1 or y.ndim > 1 or x.numel() != y.numel():
        shapes = tuple(x.shape), tuple(y.shape)
        raise ValueError(f"`x` and `y` must be vectors of one length, got shapes {shapes}.")
    return x, y


def _auc_compute_without_check(x: Tensor, y: Tensor, direction: float, axis: int = -1) -> Tensor:
    with torch.no_grad():
        return torch.trapezoid(y, x, dim=axis) * direction


def _auc_compute(x: Tensor, y: Tensor, reorder: bool = False) -> Tensor:
    return _auc_compute_without_check(*along(x, y, reorder))


# data and distributed


def _flatten(x: Iterable[Iterable[Any]]) -> list[Any]:
    return [item for part in x for item in part]


def _flatten_dict(x: dict[Any, Any]) -> tuple[dict[Any, Any], bool]:
    parts = [value if isinstance(value, dict) else {key: value} for key, value in x.items()]
    flat = {key: value for part in parts for key, value in part.items()}
    return flat, len(flat) < sum(map(len, parts))


def _squeeze_scalar_element_tensor(x: Tensor) -> Tensor:
    return x.squeeze() if x.numel() == 1 else x


def _squeeze_if_scalar(data: Any) -> Any:
    return map_tensors(_squeeze_scalar_element_tensor, data)


def _cumsum(x: Tensor, dim: int | None = 0, dtype: torch.dtype | None = None) -> Tensor:
    return torch.cumsum(x, dim=0 if dim is None else dim, dtype=dtype)


def _top_k_with_half_precision_support(x: Tensor, k: int = 1, dim: int = 1) -> Tensor:
    return x.topk(k, dim=dim).indices


def _simple_gather_all_tensors(result: Tensor, group: Any, world_size: int) -> list[Tensor]:
    with torch.no_grad():
        parts = [torch.zeros_like(result) for _ in range(world_size)]
        torch.distributed.all_gather(parts, result, group)
    parts[torch.distributed.get_rank(group)] = result  # the one that has gradients
    return parts


# plot and prints


def _get_col_row_split(n: int) -> tuple[int, int]:
    rows = math.isqrt(n - 1) + 1 if n > 0 else 0
    return (rows - 1 if (rows - 1) * rows >= n else rows), rows


def _get_text_color(patch_color: tuple[float, float, float, float]) -> str:
    from fastmetrics.utilities.plot_confusion import _readable_on

    return ".1" if _readable_on(patch_color) == "black" else "white"


def trim_axs(axs: Any, nb: int) -> Any:
    """Return the first ``nb`` axes of an array of them, and remove the others from the figure."""
    if not hasattr(axs, "flat"):
        return axs
    for unused in axs.flat[nb:]:
        unused.remove()
    return axs.flat[:nb]


def _warn(*args: Any, **kwargs: Any) -> None:
    warnings.warn(*args, **kwargs)


def _info(*args: Any, **kwargs: Any) -> None:
    _log.info(*args, **kwargs)


def _debug(*args: Any, **kwargs: Any) -> None:
    _log.debug(*args, **kwargs)


def _deprecated_root_import_class(name: str, domain: str) -> None:
    _future_warning(f"`{name}` is found in `{domain}`; the root will not show it for ever.")


_deprecated_root_import_func = _deprecated_root_import_class
