"""Type checkers see every public name, and what calls may look like."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastmetrics
from tests.test_import import PACKAGES

ROOT = Path(fastmetrics.__file__).parents[1]
CLIENT = Path(__file__).with_name("client.py")
CHECKERS = {
    # With the settings of `make lint`, whose cache holds what is known of torch.
    "mypy": ["mypy", "--config-file", str(ROOT / "pyproject.toml")],
    "pyright": ["basedpyright", "--level=error", "--pythonpath", sys.executable],
}
ERROR = re.compile(r"(?P<file>\w+\.py):(?P<line>\d+)(:\d+ -|:) error")


@pytest.mark.parametrize("checker", ["mypy", pytest.param("pyright", marks=pytest.mark.exhaustive)])
def test_calls_and_names(checker, tmp_path):
    names = tmp_path / "names.py"
    names.write_text(
        "".join(
            f"from {package} import {name} as name_{number}_{name}\n"
            for number, package in enumerate(PACKAGES)
            for name in importlib.import_module(package).__all__
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker], str(CLIENT), str(names)],
        env=os.environ | {"MYPYPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    found = {(m["file"], int(m["line"])) for m in ERROR.finditer(done.stdout)}
    wanted = {
        (CLIENT.name, number)
        for number, line in enumerate(CLIENT.read_text().splitlines(), 1)
        if "# wrong" in line
    }
    assert len(wanted) > 10
    assert found == wanted, done.stdout + done.stderr
