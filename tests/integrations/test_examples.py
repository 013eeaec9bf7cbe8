"""Examples with frameworks run as they stand."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.exhaustive
def test_heat_maps(tmp_path):
    picture = tmp_path / "digits.png"
    said = run(str(ROOT / "examples" / "gradcam_digits.py"), str(picture))
    _, accuracy, *_ = said.replace(";", "").split()
    assert float(accuracy) > 0.85
    assert picture.stat().st_size > 10_000


@pytest.mark.exhaustive
@pytest.mark.parametrize("framework", ["fastai", "catalyst"])
def test_callbacks_log_what_the_framework_does(framework):
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed (docs/frameworks.md)")
    said = run(str(Path(__file__).parent / "run_callback.py"), framework)
    rows = json.loads(said.splitlines()[-1])
    assert len(rows) == 2
    for row in rows:
        assert row["ours"] == pytest.approx(row["theirs"])
        assert 0.2 < row["f1"] < 1
