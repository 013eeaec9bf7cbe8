"""The check on a GPU, as far as it goes without one."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import torch

from fastmetrics import ops
from tests.gpu import check, first_look


def step(code: str, seconds: float = 60.0) -> check.Step:
    return check.Step("try", [sys.executable, "-c", code], seconds)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the check would start")
def test_it_says_what_is_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.check", "--out", tmp_path / "report"],
        capture_output=True,
        text=True,
        cwd=check.ROOT,
    )
    assert done.returncode == 2
    assert "torch sees no GPU" in done.stderr
    assert not (tmp_path / "report").exists()


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setattr(check, "is_there", lambda name: name not in ("pytest", "ninja"))
    found = check.missing()
    assert "pytest (the tests) is missing" in found
    assert "ninja (the build) is missing" in found
    assert not any("cmake" in text for text in found)


@pytest.mark.parametrize(
    ("code", "outcome"), [("print('fine')", "passed"), ("raise SystemExit(3)", "failed (3)")]
)
def test_outcomes(tmp_path, code, outcome):
    one = step(code)
    check.run_step(one, tmp_path, time.monotonic() + 60)
    assert one.outcome == outcome


def test_a_step_is_stopped_with_all_that_it_started(tmp_path):
    child = "import time; time.sleep(60)"
    one = step(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])", 2.0)
    begin = time.monotonic()
    check.run_step(one, tmp_path, begin + 20)
    assert one.outcome.startswith("stopped after")
    assert time.monotonic() - begin < 15


def test_no_step_starts_without_time(tmp_path):
    one = step("print()")
    check.run_step(one, tmp_path, time.monotonic())
    assert one.outcome == "no time left"


def test_the_report(tmp_path):
    one, other = step("print('12 passed')"), step("")
    other.name = "later"
    check.run_step(one, tmp_path, time.monotonic() + 60)
    check.write_report(tmp_path, {"torch": "2.11"}, [one, other])
    text = (tmp_path / "report.md").read_text()
    assert "* torch: 2.11" in text
    assert "| try | passed | 0 | 12 passed |" in text
    assert "| later | not run | 0 |  |" in text
    assert len(json.loads((tmp_path / "report.json").read_text())["steps"]) == 2


def test_the_first_look_ends_at_a_wrong_value(monkeypatch, capsys):
    monkeypatch.setattr(first_look, "DEVICE", "cpu")
    monkeypatch.setattr(first_look, "LARGE", 256)
    monkeypatch.setattr(first_look, "COPIED", 256)
    assert first_look.main() == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(first_look.calls(8))
    monkeypatch.setattr(first_look, "is_right", lambda call: call[0] is not ops.error_sums_)
    assert first_look.main() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "squared errors: WRONG"


def test_all_fits_into_the_time(tmp_path):
    planned = check.steps(tmp_path / "python", tmp_path)
    required = ["first look", "build", "tests", "benchmarks"]
    assert [one.name for one in planned if one.required] == required
    assert sum(one.seconds for one in planned if one.required) <= 60 * check.MINUTES - 10
