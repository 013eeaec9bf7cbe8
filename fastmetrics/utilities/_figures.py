"""What every figure begins with; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from typing import Any


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``, or raise ``ModuleNotFoundError`` and say what to install."""
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Plots need matplotlib, which is not installed: pip install 'torch-fastmetrics[plot]'."
        ) from error
    return plt


def new_axis(ax: Any | None) -> tuple[Any, Any]:
    """Return a new figure and its axis; None and ``ax`` where there is one."""
    plt = pyplot()
    return plt.subplots() if ax is None else (None, ax)
