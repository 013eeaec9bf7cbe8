"""`docs/performance.md`, made of the figures that runs have left in a folder."""

import json
from pathlib import Path
from typing import Any

from benchmarks.reasons import why
from benchmarks.workload import FLOOR, OURS, PEERS, REFERENCE

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
DEVICES = {"cpu": "CPU", "cuda": "GPU"}


def write_page(folder: Path, path: Path = PAGE) -> None:
    """Write the page from ``cpu.json``, ``cuda.json`` and ``memory.json``, those that exist."""
    path.write_text(page(_read(folder)), encoding="utf-8")


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    files = {name: folder / f"{name}.json" for name in (*DEVICES, "memory")}
    return {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name, file in files.items()
        if file.exists()
    }


def page(figures: dict[str, dict[str, Any]]) -> str:
    """Return the text of the page."""
    parts = [
        "# Performance",
        "Written by `python -m benchmarks --out DIR --write-docs`; [how it is measured]"
        "(../benchmarks/README.md). A number with x is their time divided by ours.",
    ]
    for device, title in DEVICES.items():
        if device in figures:
            parts += [f"## {title}", *_device_part(figures[device])]
    if "memory" in figures:
        parts += ["## Memory", *_memory_part(figures["memory"])]
    return "\n\n".join(parts) + "\n"


def _device_part(figures: dict[str, Any]) -> list[str]:
    rows = figures["workloads"]
    return [
        _machine(figures["machine"]),
        f"### Where a peer is faster\n\n{_faster(rows)}",
        *(
            [f"### Wrong values and failures\n\n{text}"]
            if (text := _wrong(figures)) != "None."
            else []
        ),
        f"### Geometric means by area\n\n{_areas(figures['areas'])}",
        *(
            f"### {area[0].upper()}{area[1:]}\n\n{_rows([r for r in rows if r['area'] == area])}"
            for area in dict.fromkeys(row["area"] for row in rows)
        ),
    ]


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {version}"
        for name, version in machine["versions"].items()
        if version != "not installed"
    )
    place = machine["device"] if machine["device"] != "cpu" else machine["cpu"]
    return (
        f"{machine['date']}. {place}, {machine['threads']} of {machine['cores']} threads, "
        f"{machine['simd']}, {machine['platform']}, Python {machine['python']}, "
        f"{machine['compiler']}. {versions}."
    )


def faster_peers(rows: list[dict[str, Any]]) -> list[tuple[str, str, float, float]]:
    """Return workload, peer, our time divided by its, and our seconds, the worst first."""
    found = [
        (row["name"], peer, 1 / times, row["seconds"][OURS]["best"])
        for row in rows
        for peer, times in row["ratio_to_ours"].items()
        if peer in PEERS and times < 1
    ]
    return sorted(found, key=lambda entry: -entry[2])


def _faster(rows: list[dict[str, Any]]) -> str:
    found = faster_peers(rows)
    compared = sum(any(peer in PEERS for peer in row["ratio_to_ours"]) for row in rows)
    if not found:
        return f"Nowhere, in {compared} workloads that a peer has too."
    lines = [
        f"| `{name}` | {peer} | {ratio:.2f} | {_time(seconds)} | {why(name, peer, ratio)} |"
        for name, peer, ratio, seconds in found
    ]
    names = len({entry[0] for entry in found})
    return (
        f"{names} of {compared} workloads that a peer has too.\n\n"
        + _head("workload", "peer", "our time / theirs", "our time", "why")
        + "\n".join(lines)
    )


def _wrong(figures: dict[str, Any]) -> str:
    lines = [
        f"- `{row['name']}`: {text}"
        for row in figures["workloads"]
        for text in row["wrong"].values()
    ]
    lines += [f"- `{row['name']}` failed: {row['error']}" for row in figures["failures"]]
    return "\n".join(lines) or "None."


def _areas(areas: dict[str, dict[str, float]]) -> str:
    columns = [name for name in (*PEERS, FLOOR) if any(name in means for means in areas.values())]
    lines = [
        _line(area, *(_times(means.get(name)) for name in columns)) for area, means in areas.items()
    ]
    return _head("area", *columns) + "\n".join(lines)


def _rows(rows: list[dict[str, Any]]) -> str:
    columns = [
        name
        for name in (FLOOR, *PEERS, REFERENCE)
        if any(name in row["ratio_to_ours"] for row in rows)
    ]
    on_gpu = any(row["device"] for row in rows)
    extra = ("graph replay", "of copy speed", "kernels", "host syncs") if on_gpu else ()
    lines = [
        _line(
            f"`{row['name']}`",
            _time(row["seconds"][OURS]["best"]),
            *(_times(row["ratio_to_ours"].get(name)) for name in columns),
            *(_device_cells(row["device"].get(OURS, {})) if on_gpu else ()),
        )
        for row in rows
    ]
    notes = [
        f"- `{row['name']}`: {text}"
        for row in rows
        for text in (row["note"], *row["failed"].values())
        if text
    ]
    text = _head("workload", "our time", *columns, *extra) + "\n".join(lines)
    return "\n\n".join([text, "\n".join(notes)] if notes else [text])


def _device_cells(figures: dict[str, Any]) -> list[str]:
    graph, share = figures.get("graph_seconds"), figures.get("share_of_copy")
    return [
        "-" if graph is None else _time(graph),
        "-" if share is None else f"{share:.0%}",
        str(figures.get("kernels", "-")),
        str(figures.get("host_syncs", "-")),
    ]


def _memory_part(figures: dict[str, Any]) -> list[str]:
    libraries = list(dict.fromkeys(row["library"] for row in figures["rows"]))
    peaks: dict[str, dict[str, Any]] = {}
    for row in figures["rows"]:
        peaks.setdefault(row["case"], {})[row["library"]] = row
    lines = [
        _line(case, *(_peak(found.get(library)) for library in libraries))
        for case, found in peaks.items()
    ]
    intro = (
        "Growth of the peak resident size from the first update to the value, each in a fresh "
        "process, in MiB; the inputs come in batches that are made one by one."
    )
    return [_machine(figures["machine"]), intro, _head("case", *libraries) + "\n".join(lines)]


def _peak(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['bytes'] / 2**20:.1f}" if "bytes" in row else row["error"]


def _head(*columns: str) -> str:
    marks = ["---", *["---:"] * (len(columns) - 1)]
    return _line(*columns) + "\n" + _line(*marks) + "\n"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.2f}x"


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
