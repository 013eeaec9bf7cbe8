"""Bars of the areas, and times over samples, classes and thresholds, as PNG files."""

from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.workload import FLOOR, OURS, PEERS

# One colour for each library in every plot; they differ for colour-blind eyes too.
COLOURS = dict(
    zip(
        (OURS, FLOOR, *PEERS),
        (
            *("#0072b2", "#999999", "#d55e00", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"),
            *("#f0e442", "#000000"),
        ),
        strict=True,
    )
)
LEAST_POINTS = 4


def draw(figures: dict[str, Any], folder: Path, device: str) -> list[Path]:
    """Draw all there is, and return the files."""
    import matplotlib

    matplotlib.use("Agg")
    paths = []
    if figures["areas"]:
        paths.append(_bars(figures["areas"], folder / f"{device}-areas.png"))
    for name, rows in lines(figures["workloads"]).items():
        file = f"{device}-{name.replace(' ', '-')}.png"
        paths.append(_line_plot(name, rows, folder / file))
    return paths


def lines(workloads: list[dict[str, Any]]) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Return the points of each line, in order: the size and the row."""
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for row in workloads:
        if row["series"]:
            name, size = row["series"]
            found.setdefault(name, []).append((size, row))
    return {
        name: sorted(rows, key=itemgetter(0))
        for name, rows in found.items()
        if len(rows) >= LEAST_POINTS
    }


def _bars(areas: dict[str, dict[str, float]], path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.6 * len(areas) + 1.5), layout="constrained")
    height = 0.8 / len(PEERS)
    present = [peer for peer in PEERS if any(peer in means for means in areas.values())]
    for place, peer in enumerate(present):
        at = [number for number, means in enumerate(areas.values()) if peer in means]
        axes.barh(
            [number + (place - len(present) / 2 + 0.5) * height for number in at],
            [list(areas.values())[number][peer] - 1 for number in at],
            height,
            left=1,  # to the right where we are faster, to the left where they are
            label=peer,
            color=COLOURS[peer],
        )
    axes.set_yticks(range(len(areas)), list(areas))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("their time divided by ours, geometric mean over the workloads")
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _line_plot(name: str, rows: list[tuple[int, dict[str, Any]]], path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for library, colour in COLOURS.items():
        points = [
            (size, row["seconds"][library]["best"])
            for size, row in rows
            if library in row["seconds"]
        ]
        if points:
            style = "--" if library == FLOOR else "-"
            axes.plot(*zip(*points, strict=True), style, marker="o", label=library, color=colour)
    axes.set(xscale="log", yscale="log", title=name, ylabel="seconds of one call")
    axes.set_xlabel(name.rpartition(" ")[2])
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
