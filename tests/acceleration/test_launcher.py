"""Programs that know torchmetrics only, run with and without `python -m fastmetrics`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_names import WITHOUT

ROOT = Path(__file__).parents[2]
MAE = "mean_absolute_error"
SCRIPTS = Path(__file__).parent / "scripts"
METHODS = [
    "fork",
    pytest.param("spawn", marks=pytest.mark.exhaustive),
    pytest.param("forkserver", marks=pytest.mark.exhaustive),
]


def run(*arguments: str, path: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    search = os.pathsep.join(
        each for each in (path, str(ROOT), os.environ.get("PYTHONPATH")) if each
    )
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def logged(done: subprocess.CompletedProcess[str]) -> list:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_close(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-6)


def test_a_loop_logs_the_same():
    script = str(SCRIPTS / "plain_loop.py")
    options = ["-v", "--check", "--profile"]
    done = run("-m", "fastmetrics", *options, script, "--check", "word")
    *arguments, version, found = logged(done)
    *_, wanted = logged(run(script))
    assert arguments == ["--check", "word"]  # what follows the script is the script's
    assert version == "1.9.0"
    assert_close(found, wanted)
    assert "no: fastmetrics has no such metric yet" in done.stderr
    assert "4 of 5 metrics accelerated; 1 fell back: RetrievalMRR" in done.stderr
    calls = next(words for words in map(str.split, done.stderr.splitlines()) if MAE in words)
    assert (calls[1], calls[-1]) == ("4", "yes")
    assert "; 1 of 1 functions accelerated; 0 host syncs" in done.stderr
    assert "0 host syncs; 0 collectives" in done.stderr
    assert "of the run" in done.stderr
    compared = [line.split() for line in done.stderr.splitlines() if "of the tolerance" in line]
    # Four values of batches and one of all, of two collections; a user's metric has no peer.
    assert {words[0]: words[1] for words in compared} == {
        "Halved": "0",
        "MulticlassAccuracy": "6",
        "MulticlassAUROC": "6",
        "MeanMetric": "1",
    }
    assert all(words[-1] == "equal" for words in compared if words[0] != "Halved")


@pytest.mark.exhaustive
def test_ranks_started_by_torchrun_are_accelerated():
    script = str(SCRIPTS / "two_ranks.py")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    done = run("-m", "fastmetrics", "-v", *torchrun)
    found, module = logged(done)
    wanted, _ = logged(run(*torchrun))
    assert found == pytest.approx(wanted, rel=1e-5)
    assert module == "fastmetrics.collections"
    for rank in "01":
        assert f"rank {rank}" in done.stderr
    assert done.stderr.count("0 host syncs; 1 collectives") == 2


def test_what_is_watched_is_what_runs_otherwise():
    """The same values to the last bit: the same groups, passes and random numbers."""
    script = str(SCRIPTS / "wrapped.py")
    done = run("-m", "fastmetrics", "-v", "--check", "--profile", script)
    assert logged(done) == logged(run("-m", "fastmetrics", script))
    rows = [line.split() for line in done.stderr.splitlines() if "of the tolerance" in line]
    compared = {row[0]: int(row[1]) for row in rows}
    assert all(row[-1] == "equal" for row in rows if row[1] != "0")
    for name in ("MinMaxMetric", "ClasswiseWrapper", "MultioutputWrapper", "MultitaskWrapper"):
        assert compared[name] == 2
    assert compared["Running"] == 2
    # Of those at the end torchmetrics has seen all of one only, but their states tell it the rest;
    # and it draws other numbers.
    assert (compared["MeanSquaredError"], compared["BootStrapper"]) == (6, 0)


@pytest.mark.parametrize("method", METHODS)
def test_workers_of_a_loader_are_accelerated(method):
    script = str(SCRIPTS / "loader_workers.py")
    done = run("-m", "fastmetrics", "-v", "--check", script, method)
    values, modules = logged(done)
    wanted, theirs = logged(run(script, method))
    for found, each in zip(values, wanted, strict=True):
        assert found == pytest.approx(each)
    assert modules == [["fastmetrics.classification.f_beta", "fastmetrics.aggregation"]] * 2
    assert theirs == [["torchmetrics.classification.f_beta", "torchmetrics.aggregation"]] * 2
    rows = [line.split() for line in done.stderr.splitlines()]
    worker, parent = (index for index, row in enumerate(rows) if row[0] == "fastmetrics,")
    counts = {row[0]: row[1] for row in rows[worker:parent] if row[-1] in ("yes", "equal")}
    # All is counted where it is done, a value that is kept once.
    assert counts == {"MeanMetric": "4", "mean_squared_error": "2", "BinaryF1Score": "1"}
    assert ["BinaryF1Score", "1"] in [row[:2] for row in rows[parent:]]
    assert "MeanMetric" not in {row[0] for row in rows[parent:]}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "accelerated"),
    # Lightning keeps values in a metric of its own.
    [("ignite_engine", "4 of 4"), ("lightning_module", "5 of 5")],
)
def test_frameworks_log_the_same(name, accelerated):
    script = str(SCRIPTS / f"{name}.py")
    done = run("-m", "fastmetrics", "-v", "--check", script)
    module, found = logged(done)
    upstream, wanted = logged(run(script))
    assert (module, upstream) == ("fastmetrics.collections", "torchmetrics.collections")
    assert_close(found, wanted)
    assert f"{accelerated} metrics accelerated" in done.stderr
    assert "DIFFER" not in done.stderr


@pytest.mark.parametrize("method", [None, *METHODS])
def test_a_value_that_differs_is_the_exit_status(tmp_path, method):
    script = tmp_path / "wrong.py"
    script.write_text(
        "import multiprocessing, sys, torch\n"
        "from fastmetrics.aggregation import SumMetric\n"
        "SumMetric.compute = lambda self: torch.tensor(1.0)\n"
        "import torchmetrics\n"
        "def main():\n"
        "    for batches in ([1.0], [2.0], [0.5, 0.5], [1.0, 1.0]):\n"
        "        metric = torchmetrics.SumMetric()\n"
        "        [metric.update(batch) for batch in batches], metric.compute()\n"
        "    print('end')\n"
        "if __name__ == '__main__':\n"
        f"    if {method!r}:\n"
        f"        process = multiprocessing.get_context({method!r}).Process(target=main)\n"
        "        process.start(), process.join(), sys.exit(process.exitcode)\n"
        "    main()\n"
    )
    done = run("-m", "fastmetrics", "--check=1", str(script))
    assert done.returncode == 1
    assert done.stdout == "end\n"
    assert done.stderr.count("2 DIFFER") == 1


def test_strict_refuses_what_is_not_accelerated(tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text("import torchmetrics.retrieval as r; r.RetrievalMRR(); print('made')")
    done = run("-m", "fastmetrics", "--strict", str(script))
    assert done.returncode == 1
    assert "made" not in done.stdout
    assert "RetrievalMRR" in done.stderr.splitlines()[-1]


FUNCTIONS = """
import torch
from torchmetrics.functional import mean_squared_error, image
from torchmetrics.functional.retrieval import retrieval_hit_rate
values = torch.tensor([0.5, 1.0])
step = torch.compile(lambda x: mean_squared_error(x, x), fullgraph=True, backend="eager")
assert step(values) == 0
assert mean_squared_error(values, values) == 0
image.peak_signal_noise_ratio(values, values, data_range=1.0)
print("end")
"""


def test_a_program_finds_itself_as_under_python(tmp_path):
    """Its file, wherever it goes, and its classes, in threads and handlers that outlive it."""
    text = """
import atexit, os, pickle, sys, threading
class Kept: pass
def keep(name): print(name, type(pickle.loads(pickle.dumps(Kept()))) is Kept)
atexit.register(keep, "at exit")
alone = threading.Thread(target=lambda: (threading.main_thread().join(), keep("later")))
alone.start()
where = sys.argv[0], __file__, sys.path[0], __name__, __package__, __spec__ and __spec__.name
os.chdir("/")
print(where, os.path.isfile(__file__))
"""
    (tmp_path / "pack").mkdir()
    for name in ("alone.py", "__main__.py", "pack/__init__.py", "pack/__main__.py"):
        (tmp_path / name).write_text(text if name != "pack/__init__.py" else "")
    for program in (["alone.py"], ["-m", "alone"], ["-m", "pack"], ["."]):
        plain, ours = (
            subprocess.run(
                [sys.executable, *launcher, *program],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=300,
            )
            for launcher in ((), ("-m", "fastmetrics"))
        )
        assert ours.stdout.splitlines() == plain.stdout.splitlines()
        assert len(ours.stdout.splitlines()) == 3, ours.stderr


def test_functions_that_were_called_are_told(tmp_path):
    script = tmp_path / "functions.py"
    script.write_text(FUNCTIONS)
    done = run("-m", "fastmetrics", "-v", str(script))
    assert done.stdout == "end\n", done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stderr.splitlines()}
    assert (rows["mean_squared_error"][0], rows["mean_squared_error"][-1]) == ("1", "yes")
    assert rows["peak_signal_noise_ratio"][0] == "1"
    assert " ".join(rows["peak_signal_noise_ratio"][2:]).startswith("no: fastmetrics has no such")
    assert "retrieval_hit_rate" not in rows
    assert "1 of 2 functions accelerated; 1 fell back: peak_signal_noise_ratio (" in done.stderr
    assert run("-m", "fastmetrics", str(script)).stderr == ""
    refused = run("-m", "fastmetrics", "--strict", str(script))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "peak_signal_noise_ratio is not accelerated" in refused.stderr


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (["nowhere.py"], "there is no script 'nowhere.py'"),
        (["-m", "nowhere"], "there is no module 'nowhere'"),
        (["-m", "nowhere.at.all"], "there is no module 'nowhere.at.all'"),
        (["-m", "json.nowhere"], "there is no module 'json.nowhere'"),
        (["-m", "json.decoder.nowhere"], "there is no module 'json.decoder.nowhere'"),
    ],
)
def test_a_program_that_is_not_there(program, message):
    done = run("-m", "fastmetrics", *program)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "all"])
def test_a_number_of_updates_to_check_that_is_none(number):
    done = run("-m", "fastmetrics", f"--check={number}", str(SCRIPTS / "plain_loop.py"))
    assert done.returncode == 2
    assert f"K must be a whole number of at least 1, got '{number}'" in done.stderr


def test_where_torchmetrics_is_not_installed_this_package_stands_in(tmp_path):
    hide = tmp_path / "hide.py"
    hide.write_text(
        f"{WITHOUT}"
        "import fastmetrics\n"
        "with fastmetrics.accelerate():\n"
        "    import torchmetrics\n"
        "    from torchmetrics.classification.accuracy import BinaryAccuracy\n"
        "    from torchmetrics import MeanMetric, functional\n"
        "    from importlib.metadata import version\n"
        "    print(torchmetrics.__version__, version('torchmetrics'), BinaryAccuracy.__module__)\n"
        "print('torchmetrics' in sys.modules)\n"
    )
    done = run(str(hide))
    assert done.stdout == "1.9.0 1.9.0 fastmetrics.classification.accuracy\nFalse\n", done.stderr
