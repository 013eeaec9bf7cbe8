"""Examples with frameworks run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.exhaustive
def test_heat_maps(tmp_path):
    picture = tmp_path / "digits.png"
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "gradcam_digits.py"), str(picture)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    _, accuracy, *_ = done.stdout.replace(";", "").split()
    assert float(accuracy) > 0.85
    assert picture.stat().st_size > 10_000
