"""Figures of curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fastmetrics.utilities._figures import new_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_curve"]


def plot_curve(
    x: Tensor | Sequence[Tensor],
    y: Tensor | Sequence[Tensor],
    area: Tensor | None = None,
    ax: Axes | None = None,
    axis_names: tuple[str, str] = ("x", "y"),
    title: str | None = None,
    labels: Sequence[str | int] | None = None,
) -> tuple[Figure | None, Any]:
    """Draw ``y`` over ``x``, one line, or one for each class.

    Args:
        x: ``[K]``, ``[C, K]`` or a list of C tensors.
        y: as ``x``.
        area: one number per line, written into the legend.
        ax: the axis to draw on; a new figure by default.
        axis_names: labels of the two axes.
        title: title of the figure.
        labels: names of the classes, their indices by default.

    Returns:
        The figure (None when ``ax`` was given) and the axis.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: there are not as many labels as classes.

    >>> import torch
    >>> from fastmetrics.utilities.plot_curve import plot_curve
    >>> figure, axis = plot_curve(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]), title="ROC")
    >>> len(axis.lines)
    1
    """
    fig, ax = new_axis(ax)
    single = isinstance(x, Tensor) and x.ndim == 1
    xs, ys = ([x], [y]) if single else (list(x), list(y))
    if labels is not None and len(labels) != len(xs):
        raise ValueError(f"`labels` must have one entry per class, {len(xs)}, got {len(labels)}.")
    names = [""] if single and labels is None else [str(name) for name in labels or range(len(xs))]
    areas = [None] * len(xs) if area is None else area.reshape(-1).tolist()
    for name, value, x_line, y_line in zip(names, areas, xs, ys, strict=True):
        text = name if value is None else f"{name} AUC={value:.3f}".strip()
        ax.plot(x_line.detach().cpu(), y_line.detach().cpu(), linewidth=2, label=text or None)
    if ax.get_legend_handles_labels()[1]:
        ax.legend()
    ax.set_xlabel(axis_names[0])
    ax.set_ylabel(axis_names[1])
    ax.set_title(title or "")
    ax.grid(True)
    return fig, ax
