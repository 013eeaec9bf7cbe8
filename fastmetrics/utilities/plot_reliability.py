"""Reliability diagrams; matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from fastmetrics.utilities._figures import new_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_reliability"]


def plot_reliability(bins: Tensor, ax: Axes | None = None) -> tuple[Figure | None, Any]:
    """Draw the share of right predictions over their mean confidence, one point for each bin.

    Bars show the share of all predictions that lie in each bin; on the diagonal confidence and
    share agree.

    Args:
        bins: ``[n_bins, 3]``: for each bin of equal width in [0, 1] the number of predictions, the
            sum of their confidences, and how many are right.
        ax: the axis to draw on; a new figure by default.

    Returns:
        The figure (None when ``ax`` was given) and the axis.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: ``bins`` has another shape.

    >>> import torch
    >>> from fastmetrics.utilities.plot_reliability import plot_reliability
    >>> bins = torch.tensor([[4.0, 1.0, 1.0], [4.0, 3.0, 2.0]])
    >>> figure, axis = plot_reliability(bins)
    >>> axis.get_xlabel()
    'Confidence'
    """
    if bins.ndim != 2 or not bins.shape[0] or bins.shape[1] != 3:
        raise ValueError(f"`bins` must have shape (n_bins, 3), got {tuple(bins.shape)}.")
    fig, ax = new_axis(ax)
    rows = bins.detach().cpu().double().tolist()
    n_bins, total = len(rows), sum(count for count, _, _ in rows)
    heights = [count / total if total else 0.0 for count, _, _ in rows]
    lefts = [index / n_bins for index in range(n_bins)]
    ax.bar(lefts, heights, width=1 / n_bins, align="edge", alpha=0.3, label="share of predictions")
    points = [(confidence / count, right / count) for count, confidence, right in rows if count]
    ax.plot(
        [confidence for confidence, _ in points],
        [share for _, share in points],
        marker="o",
        label="right predictions",
    )
    ax.plot([0, 1], [0, 1], linestyle="--", color="grey", label="calibrated")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel("Confidence")
    ax.set_ylabel("Share of right predictions")
    ax.legend()
    ax.grid(True)
    return fig, ax
