"""Figures of metric values; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastmetrics.utilities import plot_curve as curves
from fastmetrics.utilities._figures import new_axis, pyplot
from fastmetrics.utilities.fallback import names_of_others
from fastmetrics.utilities.plot_confusion import plot_confusion_matrix

__all__ = ["is_axis", "plot_confusion_matrix", "plot_curve", "plot_single_or_multi_val"]

# What user code writes into the signature of `plot`; the real types would import matplotlib.
_AX_TYPE = Any
_PLOT_OUT_TYPE = tuple[Any, Any]


def is_axis(value: object) -> bool:
    """Whether ``value`` is a matplotlib axis.

    >>> from fastmetrics.utilities.plot import is_axis
    >>> is_axis("x")
    False
    """
    pyplot()
    from matplotlib.axes import Axes

    return isinstance(value, Axes)


def are_axes(value: object, count: int) -> bool:
    """Whether ``value`` is a sequence of ``count`` matplotlib axes."""
    return isinstance(value, Sequence) and len(value) == count and all(map(is_axis, value))


def plot_single_or_multi_val(
    val: Tensor | Sequence[Tensor] | dict[str, Tensor] | Sequence[dict[str, Tensor]],
    ax: Any | None = None,
    higher_is_better: bool | None = None,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    legend_name: str | None = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Draw one value as points, or a list of values as lines over the steps.

    Args:
        val: a tensor (one point per element), a dict of tensors (one label per key), or a list of
            either, taken as a series over time.
        ax: the axis to draw on; a new figure by default.
        higher_is_better: marks the bound that is the best value.
        lower_bound: the smallest possible value, drawn as a dashed line.
        upper_bound: the largest possible value, drawn as a dashed line.
        legend_name: what one element of a tensor stands for ("Class").
        name: the label of the y axis.

    Returns:
        The figure (None when ``ax`` was given) and the axis.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: ``val`` is none of these.

    >>> import torch
    >>> from fastmetrics.utilities.plot import plot_single_or_multi_val
    >>> figure, axis = plot_single_or_multi_val(torch.tensor(0.7), name="Accuracy")
    >>> axis.get_ylabel()
    'Accuracy'
    """
    fig, ax = new_axis(ax)
    if isinstance(val, Tensor):
        steps = _draw_tensor(ax, val, legend_name)
    elif isinstance(val, dict):
        steps = _draw_dict(ax, val)
    elif isinstance(val, Sequence) and val and all(isinstance(v, (Tensor, dict)) for v in val):
        steps = _draw_series(ax, val, legend_name)
    else:
        raise ValueError(f"`val` must be a tensor, a dict or a list of them, got {val!r}.")
    ax.get_xaxis().set_visible(steps > 0)
    if steps:
        ax.set_xlabel("Step")
        ax.set_xticks(range(steps))
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.15), ncol=3)
    ax.grid(True)
    ax.set_ylabel(name)
    _draw_bounds(ax, lower_bound, upper_bound, higher_is_better)
    return fig, ax


def plot_curve(
    curve: Sequence[Any],
    score: Tensor | None = None,
    ax: Any | None = None,
    label_names: tuple[str, str] | None = None,
    legend_name: str | None = None,
    name: str | None = None,
    labels: Sequence[int | str] | None = None,
) -> tuple[Any, Any]:
    """Draw a curve, or one for each class.

    Args:
        curve: x and y, each ``[K]``, ``[C, K]`` or a list of C tensors; what follows them, such as
            thresholds, is not drawn.
        score: one number per line, written into the legend.
        ax: the axis to draw on; a new figure by default.
        label_names: labels of the two axes.
        legend_name: what one line stands for ("Class"), put before its number.
        name: title of the figure.
        labels: names of the classes, their numbers by default.

    Returns:
        The figure (None when ``ax`` was given) and the axis.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: ``curve`` lacks x or y, or there are not as many labels as classes.

    >>> import torch
    >>> from fastmetrics.utilities.plot import plot_curve
    >>> figure, axis = plot_curve((torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 0.9, 1.0])))
    >>> len(axis.lines)
    1
    """
    if len(curve) < 2:
        raise ValueError(f"`curve` must hold x and y, got {len(curve)} elements.")
    x, y = curve[:2]
    single = isinstance(x, Tensor) and x.ndim == 1
    if labels is None and legend_name is not None and not single:
        labels = [f"{legend_name}_{i}" for i in range(len(x))]
    return curves.plot_curve(x, y, score, ax, label_names or ("", ""), name, labels)


def _draw_tensor(ax: Any, val: Tensor, legend_name: str | None) -> int:
    points = val.detach().cpu().flatten().tolist()
    for i, point in enumerate(points):
        label = None if len(points) == 1 else f"{legend_name} {i}" if legend_name else str(i)
        ax.plot([i], [point], marker="o", markersize=10, linestyle="None", label=label)
    return 0


def _draw_dict(ax: Any, val: dict[str, Tensor]) -> int:
    steps = 0
    for i, (key, value) in enumerate(val.items()):
        points = value.detach().cpu().flatten().tolist()
        if len(points) == 1:
            ax.plot([i], points, marker="o", markersize=10, label=key)
        else:
            ax.plot(points, marker="o", markersize=10, label=key)
            steps = max(steps, len(points))
    return steps


def _draw_series(ax: Any, val: Sequence[Any], legend_name: str | None) -> int:
    if isinstance(val[0], dict):
        lines = {key: torch.stack([step[key] for step in val]) for key in val[0]}
    else:
        series = torch.stack(list(val))
        if series.ndim == 1:
            lines = {"": series}
        else:
            prefix = f"{legend_name} " if legend_name else ""
            lines = {f"{prefix}{i}": line for i, line in enumerate(series.flatten(1).T)}
    for label, line in lines.items():
        ax.plot(line.detach().cpu().tolist(), marker="o", markersize=10, label=label or None)
    return len(val)


def _draw_bounds(
    ax: Any, lower: float | None, upper: float | None, higher_is_better: bool | None
) -> None:
    """Dash the bounds, leave room around them and say which one is optimal."""
    bottom, top = ax.get_ylim()
    low, high = (bottom if lower is None else lower), (top if upper is None else upper)
    margin = 0.1 * (high - low)
    ax.set_ylim(low - margin, high + margin)
    for bound in (lower, upper):
        if bound is not None:
            ax.axhline(bound, linestyle="dashed", color="k")
    optimum = upper if higher_is_better else lower
    if higher_is_better is not None and optimum is not None:
        left, right = ax.get_xlim()
        ax.set_xlim(left - 0.1 * (right - left), right)
        ax.text(left, optimum, "Optimal\nvalue", ha="center", va="center")


if not TYPE_CHECKING:
    __getattr__ = names_of_others(__name__)
