"""The states that torchmetrics has for metrics over co-moments, worked out of these and back.

Each of them says a part of the moments. One that is set before the number of samples is known, as
when a checkpoint is loaded, is a sum over the samples; until then the mean holds that sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastmetrics.core.states import States
from fastmetrics.core.statistic import View
from fastmetrics.ops.co_moments import (
    C_XY,
    COUNT,
    M2_D,
    M2_X,
    M2_Y,
    MAX_Y,
    MEAN_D,
    MEAN_X,
    MEAN_Y,
    MIN_Y,
    NUM_COLUMNS,
    WEIGHT,
    plain_moments,
    with_outputs,
)

# Values by the names of torchmetrics, float64 ``[D]``.
Parts = dict[str, Tensor]


def _views(
    read: Callable[[Tensor], Parts],
    write: Callable[[Tensor, Parts], None],
    *,
    show: Callable[[Tensor], Parts] | None = None,
    scalar: str = "",
    squeeze: bool = False,
    derived: str = "",
) -> dict[str, View]:
    """Return a view of each part.

    Args:
        read: returns all parts of moments ``[D, 18]``.
        write: makes the moments say these parts.
        show: returns them as torchmetrics shows them, where that is another way.
        scalar: a part that is one number for all outputs.
        squeeze: whether the others are numbers, too, where there is one output; the first batch
            decides how many there are.
        derived: a part that follows from the others, and is not set.
    """

    def view(name: str) -> View:
        def get(states: States) -> Tensor:
            found = (show or read)(plain_moments(states.values["moments"]))[name]
            return found[0] if name == scalar or (squeeze and len(found) == 1) else found

        def put(states: States, value: Any) -> None:
            moments: Tensor = states.values["moments"]
            given = torch.as_tensor(value, dtype=moments.dtype, device=moments.device)
            given = given.detach().reshape(-1)
            if len(given) > 1 < len(moments) != len(given):
                raise ValueError(f"`{name}` must have {len(moments)} elements, got {len(given)}.")
            if len(given) > 1 == len(moments):
                moments = states.values["moments"] = with_outputs(moments, len(given))
            moments.copy_(plain_moments(moments))
            write(moments, read(moments) | {name: given.expand(len(moments))})

        adapts = squeeze and name != scalar
        return View(get, None if name == derived else put, adapts)

    return {name: view(name) for name in read(torch.zeros(1, NUM_COLUMNS))}


def _sums(moments: Tensor, mean: int, squares: int) -> tuple[Tensor, Tensor]:
    """Return the sum and the sum of squares of what has these moments."""
    weight = moments[:, WEIGHT]
    seen = weight > 0
    total = torch.where(seen, weight, 1.0) * moments[:, mean]
    return total, moments[:, squares] + torch.where(seen, total * moments[:, mean], 0.0)


def _set_sums(moments: Tensor, mean: int, squares: int, total: Tensor, squared: Tensor) -> None:
    """Make moments say these sums; their weight is known, or zero."""
    weight = moments[:, WEIGHT]
    seen = weight > 0
    moments[:, mean] = total / torch.where(seen, weight, 1.0)
    moments[:, squares] = squared - torch.where(seen, total * moments[:, mean], 0.0)


def _set_count(moments: Tensor, count: Tensor) -> None:
    moments[:, COUNT] = moments[:, WEIGHT] = count


def _set_squared_errors(moments: Tensor, squared: Tensor) -> None:
    """Make moments say this sum of squared residuals, whatever their mean."""
    moments[:, MEAN_D] = 0.0
    moments[:, M2_D] = squared


def _read_relative(moments: Tensor) -> Parts:
    total, squared = _sums(moments, MEAN_Y, M2_Y)
    _, residual = _sums(moments, MEAN_D, M2_D)
    return {
        "sum_squared_error": squared,
        "sum_error": total,
        "residual": residual,
        "total": moments[:, WEIGHT],
    }


def _write_relative(moments: Tensor, parts: Parts) -> None:
    _set_count(moments, parts["total"])
    _set_sums(moments, MEAN_Y, M2_Y, parts["sum_error"], parts["sum_squared_error"])
    _set_squared_errors(moments, parts["residual"])


def _read_explained(moments: Tensor) -> Parts:
    error, squared_error = _sums(moments, MEAN_D, M2_D)
    target, squared_target = _sums(moments, MEAN_Y, M2_Y)
    return {
        "sum_error": error,
        "sum_squared_error": squared_error,
        "sum_target": target,
        "sum_squared_target": squared_target,
        "num_obs": moments[:, WEIGHT],
    }


def _write_explained(moments: Tensor, parts: Parts) -> None:
    _set_count(moments, parts["num_obs"])
    _set_sums(moments, MEAN_D, M2_D, parts["sum_error"], parts["sum_squared_error"])
    _set_sums(moments, MEAN_Y, M2_Y, parts["sum_target"], parts["sum_squared_target"])


def _read_correlation(moments: Tensor) -> Parts:
    return {
        "mean_x": moments[:, MEAN_X],
        "mean_y": moments[:, MEAN_Y],
        "var_x": moments[:, M2_X],
        "var_y": moments[:, M2_Y],
        "corr_xy": moments[:, C_XY],
        "n_total": moments[:, WEIGHT],
    }


def _write_correlation(moments: Tensor, parts: Parts) -> None:
    x, y, xy = parts["var_x"], parts["var_y"], parts["corr_xy"]
    moments[:, MEAN_X], moments[:, MEAN_Y] = parts["mean_x"], parts["mean_y"]
    moments[:, MEAN_D] = parts["mean_y"] - parts["mean_x"]
    moments[:, M2_X], moments[:, M2_Y], moments[:, C_XY] = x, y, xy
    moments[:, M2_D] = x + y - 2 * xy
    _set_count(moments, parts["n_total"])


def _read_normalized(moments: Tensor) -> Parts:
    _, squared = _sums(moments, MEAN_D, M2_D)
    _, target = _sums(moments, MEAN_Y, M2_Y)
    return {
        "sum_squared_error": squared,
        "total": moments[:, WEIGHT],
        "min_val": moments[:, MIN_Y],
        "max_val": moments[:, MAX_Y],
        "mean_val": moments[:, MEAN_Y],
        "var_val": moments[:, M2_Y],
        "target_squared": target,
    }


def _show_normalized(moments: Tensor) -> Parts:
    parts, seen = _read_normalized(moments), moments[:, WEIGHT] > 0
    lowest = torch.where(seen, parts["min_val"], torch.inf)
    return parts | {"min_val": lowest, "max_val": torch.where(seen, parts["max_val"], -torch.inf)}


def _write_normalized(moments: Tensor, parts: Parts) -> None:
    _set_count(moments, parts["total"])
    _set_squared_errors(moments, parts["sum_squared_error"])
    moments[:, MIN_Y], moments[:, MAX_Y] = parts["min_val"], parts["max_val"]
    moments[:, MEAN_Y], moments[:, M2_Y] = parts["mean_val"], parts["var_val"]


def _mean_deviation(squares: int) -> Callable[[States], Tensor]:
    """Return what gives the root of the mean squared distance from the mean."""

    def deviation(states: States) -> Tensor:
        moments: Tensor = states.values["moments"]
        return (moments[:, squares] / moments[:, WEIGHT].clamp(min=1)).sqrt()

    return deviation


# The largest distances from the mean, which are divided out of the value again: they are at least
# as large as these.
DEVIATIONS = {"max_abs_dev_x": _mean_deviation(M2_X), "max_abs_dev_y": _mean_deviation(M2_Y)}

R2 = _views(_read_relative, _write_relative, scalar="total", squeeze=True)
RELATIVE = _views(_read_relative, _write_relative, scalar="total")
EXPLAINED = _views(_read_explained, _write_explained, scalar="num_obs", squeeze=True)
CORRELATION = _views(_read_correlation, _write_correlation)
NORMALIZED = _views(
    _read_normalized, _write_normalized, show=_show_normalized, derived="target_squared"
)
