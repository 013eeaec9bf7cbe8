"""The benchmarks compare what they say: values, every metric, and figures that make a page."""

from __future__ import annotations

import importlib
import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("rich")
pytest.importorskip("torchmetrics")

from rich.console import Console

from benchmarks import absent, against, cuda, memory, page, plots, reasons, run
from benchmarks.calls import function
from benchmarks.life import life
from benchmarks.registry import quick_part, workloads
from benchmarks.report import Failure, geometric_means, save
from benchmarks.run import Result, checked, flat, measure, time_rounds
from benchmarks.workload import AREA_OF, AREA_OF_KIND, FLOOR, OURS, Workload
from tests.every import metrics

CPU = torch.device("cpu")
ROWS = workloads(CPU)
FIGURES = {OURS: [2e-3, 1e-3], "torchmetrics": [4e-3, 3e-3], FLOOR: [5e-4, 5e-4]}


def name_of(row: Workload) -> str:
    return row.name


def plain(**calls) -> Workload:
    return Workload(
        "update/MeanMetric/3", lambda device: (torch.arange(3.0, device=device),), calls
    )


def result(name: str = "update/MeanMetric/64", seconds=FIGURES, **fields) -> Result:
    return Result(Workload(name, lambda device: (), {}, **fields), dict(seconds))


def test_names_are_unique():
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))


def test_every_public_metric_has_a_small_and_a_large_workload():
    names = {case.name.partition("-")[0] for case in metrics()}
    for kind in ("forward", "whole"):
        found = {row.name.split("/")[1] for row in ROWS if row.name.startswith(f"{kind}/")}
        assert names <= found, f"no {kind}/ workload for {sorted(names - found)}"
    quick = {row.name.split("/")[1] for row in quick_part(ROWS)}
    assert names <= quick


def test_every_workload_belongs_to_an_area():
    for row in ROWS:
        known = row.name.partition("/")[0] in AREA_OF_KIND or row.metric in AREA_OF
        assert known, f"{row.name}: add {row.metric!r} to AREAS"


def test_every_workload_has_a_peer_or_says_why_not():
    ours_alone = ("auroc/binary/ranked", "GradientStats", "TopSamples")
    for row in ROWS:
        if not any(part in row.name for part in ours_alone):
            assert "torchmetrics" in row.calls or row.note or "SciPy" in row.calls, row.name


@pytest.mark.parametrize("row", [r for r in ROWS if r.name.startswith("forward/")], ids=name_of)
def test_values_of_small_workloads_agree(row):
    _, found, _ = checked(row, row.inputs(CPU))
    assert not found.wrong
    assert not found.failed


def test_a_wrong_value_is_an_error_and_not_a_time():
    workload = plain(
        fastmetrics=function(torch.sum), torchmetrics=function(lambda x: x.sum() + 1e-3)
    )
    found = measure(workload, CPU, rounds=1, budget=0.01)
    assert "torchmetrics gives" in found.wrong["torchmetrics"]
    assert "torchmetrics" not in found.seconds
    assert OURS in found.seconds


def test_a_library_that_raises_is_named_and_not_timed():
    def fail(x):
        raise MemoryError("80 GB")

    found = measure(
        plain(fastmetrics=function(torch.sum), torchmetrics=function(fail)), CPU, 1, 0.01
    )
    assert found.failed == {"torchmetrics": "torchmetrics raises MemoryError: 80 GB"}
    assert set(found.seconds) == {OURS, FLOOR}


def test_values_of_another_shape_are_wrong():
    workload = plain(
        fastmetrics=function(torch.sum), torchmetrics=function(lambda x: x.sum()[None])
    )
    assert "torchmetrics" in measure(workload, CPU, 1, 0.01).wrong


def test_values_with_parts_are_compared_as_a_whole():
    value = {"a": (torch.tensor([1, 2]), [torch.tensor(3.0)]), "b": torch.zeros(0)}
    assert flat(value).tolist() == [1.0, 2.0, 3.0]


class Clock:
    """Stands in for the module `time`; what is timed moves it on."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def takes(self, seconds: float):
        def sample(*inputs) -> float:
            self.now += seconds
            return seconds

        return sample


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(run, "time", made)
    return made


def test_a_slow_library_is_sampled_once_and_the_others_go_on(clock):
    found = result(seconds={})
    samplers = {OURS: clock.takes(0.01), "torchmetrics": clock.takes(0.5)}
    time_rounds(found, samplers, rounds=10, budget=1.0)
    assert len(found.seconds["torchmetrics"]) == 1
    assert len(found.seconds[OURS]) == 10


def test_the_budget_ends_the_rounds(clock):
    found = result(seconds={})
    time_rounds(found, {OURS: clock.takes(0.1)}, rounds=1000, budget=0.55)
    assert len(found.seconds[OURS]) == 6
    time_rounds(found, {OURS: clock.takes(1.0)}, rounds=1000, budget=0.5)
    assert len(found.seconds[OURS]) == 6 + 3


def test_a_library_slower_than_the_budget_is_called_once(clock):
    slow, calls = clock.takes(5.0), []
    workload = plain(
        fastmetrics=function(clock.takes(0.01)),
        torchmetrics=function(lambda x: calls.append(slow()) or 0.01),
    )
    found = measure(workload, CPU, rounds=5, budget=1.0)
    assert found.seconds["torchmetrics"] == [5.0]
    assert len(calls) == 1


def test_ratios_compare_the_fastest_rounds():
    found = result(limits={"torchmetrics": 0.5, "SciPy": 1.0})
    assert found.ratio("torchmetrics") == pytest.approx(1 / 3)
    assert found.best_peer() == ("torchmetrics", pytest.approx(1 / 3))
    assert found.targets() == {"torchmetrics": (0.5, pytest.approx(1 / 3))}


def test_means_are_geometric():
    rows = [
        result(seconds={OURS: [1.0], "torchmetrics": [ratio], FLOOR: [1.0]}) for ratio in (2.0, 8.0)
    ]
    means = geometric_means(rows)
    assert means["aggregation"] == {"torchmetrics": pytest.approx(4.0), FLOOR: pytest.approx(1.0)}


def figures(tmp_path, results: list[Result]) -> dict:
    save(results, [Failure("update/x/1", "ValueError: no")], CPU, tmp_path, with_page=False)
    return json.loads((tmp_path / "cpu.json").read_text())


def test_figures_plots_and_page(tmp_path):
    line = [result(f"functional/accuracy/{n}", series=("accuracy by samples", n)) for n in range(4)]
    slower = result("whole/CatMetric/1", {OURS: [3e-3], "torcheval": [2e-3]}, note="SciPy has none")
    found = figures(tmp_path, [*line, slower])
    assert {file.name for file in tmp_path.glob("*.png")} == {
        "cpu-areas.png",
        "cpu-accuracy-by-samples.png",
    }
    assert page.faster_peers(found["workloads"]) == [
        ("whole/CatMetric/1", "torcheval", pytest.approx(1.5), 3e-3)
    ]
    page.write_page(tmp_path, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    for part in (
        "1 of 5 workloads",
        "| `whole/CatMetric/1` | torcheval | 1.50 | 3.00 ms | the numbers are looked at for NaN",
        "- `whole/CatMetric/1`: SciPy has none",
        "| counts per class | 3.00x |",
        "`update/x/1` failed: ValueError: no",
    ):
        assert part in text


def test_reasons_are_of_workloads_that_there_are():
    names = [f"{row.name} {peer}" for row in ROWS for peer in row.calls]
    for pattern, _ in reasons.REASONS:
        assert any(re.match(pattern, name) for name in names), pattern
    assert reasons.why("update/x/1", "torcheval", 1.05) == "within the noise of a run"
    assert reasons.why("update/x/1", "torcheval", 1.2) == "not known"
    assert "| not known |" not in page.PAGE.read_text(encoding="utf-8")


def test_page_without_a_faster_peer(tmp_path):
    found = figures(tmp_path, [result()])
    assert "Nowhere, in 1 workloads" in page.page({"cpu": found})


def test_lines_of_too_few_points_are_not_drawn():
    rows = [{"series": ["a by samples", size]} for size in (3, 1, 2)]
    assert not plots.lines(rows)
    found = plots.lines([*rows, {"series": ["a by samples", 0]}, {"series": None}])
    assert [size for size, _ in found["a by samples"]] == [0, 1, 2, 3]


@pytest.mark.skipif(not memory.PEAK_RESET.exists(), reason="needs Linux's resettable peak")
def test_memory_grows_by_what_is_kept():
    row = memory.in_fresh_process("exact AUROC of 1e6", "fastmetrics")
    assert 5e6 < row["bytes"] < 5e7, row


def test_memory_cases_name_metrics_that_exist():
    for case in memory.CASES.values():
        for library in memory.libraries_of(case):
            assert memory._make(case, library) is not None


@pytest.mark.parametrize(("size", "expected"), [(0, 16), (100, 16), (40_000_000, 3), (10**9, 2)])
def test_inputs_hold_twice_the_cache(size, expected):
    assert cuda.set_count(size, 50_000_000) == expected


def test_measuring_on_a_gpu_rotates_inputs_and_compares_with_a_copy(monkeypatch):
    """The clock, the profiler and the device stand in; the way through is the real one."""
    seen = []

    def sample(turns, count):
        for _ in range(count):
            next(turns)()
        return 2e-3

    def sum_of(x):
        seen.append(x.data_ptr())
        return x.sum()

    monkeypatch.setattr(cuda, "_sample", sample)
    monkeypatch.setattr(cuda, "_looked_at", lambda *given: {"kernels": 1, "host_syncs": 0})
    gpu = SimpleNamespace(device=CPU, cache_bytes=16, copy_speed=24e3)
    found = cuda.measure(plain(fastmetrics=function(sum_of)), gpu, rounds=1, budget=0.1)
    assert len(set(seen)) == cuda.set_count(12, 16) == 3
    assert found.device[OURS] == {
        "bytes_per_second": pytest.approx(6e3),  # 12 bytes in 2 ms
        "share_of_copy": pytest.approx(0.25),
        "kernels": 1,
        "host_syncs": 0,
    }


def test_kernels_are_told_from_copies_and_host_events():
    on_device, on_host = torch.autograd.DeviceType.CUDA, torch.autograd.DeviceType.CPU
    names = (("kernel", on_device), ("Memcpy DtoH", on_device), ("cudaLaunchKernel", on_host))
    events = [SimpleNamespace(name=name, device_type=device) for name, device in names]
    assert cuda.count_kernels(events) == 1


def test_syncs_are_told_from_other_warnings():
    texts = ("called a synchronizing CUDA operation (Triggered internally)", "deprecated")
    assert cuda.count_syncs([SimpleNamespace(message=UserWarning(text)) for text in texts]) == 1


def test_every_metric_has_workloads_for_the_steps_of_its_life():
    names = {row.name for row in against.every_workload()}
    assert {row.name for row in ROWS} <= names
    for step in ("construct", "update", "compute", "reset", "clone", "pickle", "forward"):
        assert {f"{step}/MulticlassF1Score/64", f"{step}/SumMetric/64"} <= names


def test_steps_of_a_life_run():
    rows = [row for row in ROWS if row.name in ("forward/MeanMetric/64", "forward/BinaryROC/20/64")]
    for row in life(rows):
        inputs = row.inputs(CPU)
        for _ in range(2):
            row.calls[OURS](inputs).run()


def made_up() -> against.Comparison:
    """Ten workloads as before, one slower, one faster, and one whose noise is larger than that."""
    results = [against.Compared(f"update/a/{n}", [1.0, 1.02], [1.01, 1.0]) for n in range(10)]
    results += [
        against.Compared("update/slower/1", [1.0, 1.01], [1.2, 1.21]),
        against.Compared("update/faster/1", [1.0, 1.01], [0.8, 0.81]),
        against.Compared("update/noisy/1", [1.0, 1.5], [1.2, 1.3]),
    ]
    return against.Comparison(results)


def test_slower_is_what_noise_does_not_explain():
    found = made_up()
    assert found.usual_noise() == pytest.approx(1.02)
    assert [one.name for one in found.slower()] == ["update/slower/1"]
    assert [one.name for one in found.faster()] == ["update/faster/1"]


def test_what_is_slower_once_is_not_slower():
    found = made_up()
    found.add(against.Comparison([against.Compared("update/slower/1", [1.0, 1.0], [1.0, 1.2])]))
    assert found.slower() == []
    assert found.results[10].ratio == 1.0


def test_a_comparison_says_what_is_slower_raises_or_is_missing():
    console = Console(file=io.StringIO(), width=40)
    found = made_up()
    found.failures, found.missing = [Failure("update/x/1", "ValueError: no")], ["update/new/1"]
    against.show(found, console)
    printed = console.file.getvalue()
    assert "13 workloads: 1 slower, 1 faster" in " ".join(printed.split())
    assert printed.count("update/slower/1") == 2
    assert "update/new/1" in printed
    assert "ValueError: no" in printed


@pytest.mark.exhaustive
def test_processes_of_two_commits_take_turns():
    here = against.Side(sys.executable, against.ROOT)
    names = ["update/add/2", "update/fail/2", "update/sub/2"]
    found = against.compare((here, here), names, 3, 1, source="tests.fake_workloads:rows")
    assert [one.name for one in found.results] == ["update/add/2", "update/sub/2"]
    assert [failure.error for failure in found.failures] == ["ValueError: no such thing"]
    for one in found.results:
        assert len(one.old) == len(one.new) == against.PROCESSES
        assert all(0 < seconds < 1e-2 for seconds in (*one.old, *one.new))


def test_what_only_the_new_commit_has_is_no_failure():
    found = against.Comparison()
    names = "update/add/2", "update/sub/2"

    class Process:
        def __init__(self, *known):
            self.known = known

        def ask(self, question, name, *count):
            if name not in self.known:
                raise RuntimeError(f"KeyError: {name}")
            return 1.0 if count else 1

    old, new = [Process(names[0])] * 2, [Process(*names)] * 2
    for name in names:
        against._compare_one(found, name, old, new, rounds=2)
    assert found.missing == ["update/sub/2"]
    assert [one.ratio for one in found.results] == [1.0]
    assert not found.failures


def test_names_that_an_older_commit_lacks_fail_only_where_they_are_used(tmp_path, monkeypatch):
    package = tmp_path / "older"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "known.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(absent, "PACKAGE", "older")
    monkeypatch.setattr(absent.Absent, "running", False)
    older = importlib.import_module("older")
    absent.allow()
    known, lacking = (importlib.import_module(f"older.{name}") for name in ("known", "lacking"))
    assert known.value == 1 and lacking.__all__ == []
    for home in (older, known, lacking):
        row = home.Metric(num_classes=3).update
        monkeypatch.setattr(absent.Absent, "running", True)
        with pytest.raises(LookupError, match=f"this commit has no {home.__name__}.Metric"):
            row()
        monkeypatch.setattr(absent.Absent, "running", False)


@pytest.mark.skipif(not (against.ROOT / ".git").exists(), reason="builds a commit")
@pytest.mark.exhaustive
def test_a_commit_is_built_in_an_environment_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTMETRICS_NO_NATIVE", "1")
    side = against.built("HEAD", tmp_path)
    assert Path(side.python).is_relative_to(tmp_path)
    assert (side.folder / "fastmetrics" / "__init__.py").exists()
    assert not list(tmp_path.glob("*/source"))
    assert against.built("HEAD", tmp_path) == side
    worker = against.Worker(side, "tests.fake_workloads:rows", 1)
    assert worker.ask("prepare", "update/add/2") >= 1
    worker.close()
    with pytest.raises(SystemExit, match="no commit 'nowhere'"):
        against.built("nowhere", tmp_path)
