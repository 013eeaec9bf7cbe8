"""Heat maps of confusion matrices; matplotlib is imported when one is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fastmetrics.utilities._figures import pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = ["plot_confusion_matrix"]


def plot_confusion_matrix(
    confmat: Tensor,
    ax: Axes | None = None,
    add_text: bool = True,
    labels: Sequence[int | str] | None = None,
    cmap: Colormap | str | None = None,
) -> tuple[Figure, Any]:
    """Draw a confusion matrix as a heat map, or one per label.

    Args:
        confmat: ``[C, C]``, or ``[L, 2, 2]`` for multilabel tables.
        ax: where to draw a single matrix; by default a new figure.
        add_text: write the values into the cells, rounded to two decimals.
        labels: names of the C classes on both axes, or of the L labels above their tables.
        cmap: a matplotlib colour map or its name.

    Returns:
        The figure, and its axes object (``[C, C]``) or an array of L of them (``[L, 2, 2]``).

    Raises:
        ValueError: the number of ``labels`` does not fit, or ``ax`` is given for several tables.
        ModuleNotFoundError: matplotlib is not installed.

    >>> import torch
    >>> from fastmetrics.utilities.plot import plot_confusion_matrix
    >>> figure, axis = plot_confusion_matrix(torch.tensor([[3, 1], [0, 2]]), labels=["cat", "dog"])
    >>> [text.get_text() for text in axis.texts]
    ['3', '1', '0', '2']
    """
    matrix = confmat.detach().cpu()
    if labels is not None and len(labels) != matrix.shape[0]:
        raise ValueError(f"`labels` must have {matrix.shape[0]} entries, got {len(labels)}.")
    if matrix.ndim == 2:
        figure: Any = pyplot().figure(layout="constrained") if ax is None else ax.get_figure()
        ax = figure.add_subplot() if ax is None else ax
        names = range(matrix.shape[0]) if labels is None else labels
        _draw_matrix(ax, matrix, names, add_text, cmap)
        ax.set_xlabel("Predicted class", fontsize=15)
        ax.set_ylabel("True class", fontsize=15)
        return figure, ax
    if ax is not None:
        raise ValueError(f"`ax` holds one matrix, got {matrix.shape[0]} tables.")
    return _plot_tables(matrix, add_text, labels, cmap)


def _plot_tables(
    tables: Tensor,
    add_text: bool,
    labels: Sequence[int | str] | None,
    cmap: Colormap | str | None,
) -> tuple[Figure, Any]:
    count = tables.shape[0]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    figure, grid = pyplot().subplots(rows, columns, layout="constrained", squeeze=False)
    axes = grid.flatten()
    for unused in axes[count:]:
        unused.remove()
    names = range(count) if labels is None else labels
    for index, (ax, table, name) in enumerate(zip(axes, tables, names, strict=False)):
        _draw_matrix(ax, table, (0, 1), add_text, cmap)
        ax.set_title(f"Label {name}", fontsize=15)
        if index // columns == rows - 1:
            ax.set_xlabel("Predicted class", fontsize=15)
        if index % columns == 0:
            ax.set_ylabel("True class", fontsize=15)
    return figure, axes[:count]


def _draw_matrix(
    ax: Axes,
    matrix: Tensor,
    names: Sequence[int | str],
    add_text: bool,
    cmap: Colormap | str | None,
) -> None:
    image = ax.imshow(matrix.numpy(), cmap=cmap)
    ticks = range(matrix.shape[0])
    shown = [str(name) for name in names]
    ax.set_xticks(ticks, shown, rotation=45 if max(map(len, shown), default=0) > 3 else 0)
    ax.set_yticks(ticks, shown)
    if not add_text:
        return
    for row, values in enumerate(matrix.tolist()):
        for column, value in enumerate(values):
            ax.text(
                column,
                row,
                str(round(value, 2)),
                ha="center",
                va="center",
                fontsize=15,
                color=_readable_on(image.cmap(image.norm(value))),
            )


def _readable_on(background: Any) -> str:
    """Choose a text colour by the relative luminance of an sRGB background (r, g, b, a)."""
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in background[:3]
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.4 else "white"
