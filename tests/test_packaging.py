"""The built module, the choice of a backend, and what `show_config` says about both."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fastmetrics
from fastmetrics.ops import backend
from fastmetrics.ops.define import REFERENCES

ROOT = Path(__file__).parents[1]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def config() -> str:
    file = io.StringIO()
    fastmetrics.show_config(file)
    return file.getvalue()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="torch-abi-audit needs Python 3.11")
def test_the_module_uses_the_stable_abi_only(native):
    """One build must serve torch 2.10 and everything newer."""
    audit = "import sys; from torch_abi_audit.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", audit, backend.native.__file__, "--json", "--check", "torch"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (module,) = json.loads(done.stdout)["extensions"]
    assert module["torch"]["uses_torch"]
    assert module["torch"]["stable"]
    assert not module["torch"]["unstable_symbols"]
    assert module["torch"]["min_torch_version"] == "2.10.0"


@pytest.mark.smoke
def test_show_config_names_every_op_and_its_implementation():
    lines = config().splitlines()
    for op in REFERENCES:
        rows = [line.split() for line in lines if line.startswith(f"{op} ")]
        assert [row[1] for row in rows] == ["cpu", "cuda/xpu", "other"]
        expected = "C++" if backend.native is not None else "torch"
        assert rows[0][2] == expected


@pytest.mark.smoke
def test_show_config_describes_the_process():
    lines = dict(line.split(maxsplit=1) for line in config().splitlines() if line)
    assert {"fastmetrics", "torch", "compiler", "simd", "threads", "backend"} <= set(lines)
    if backend.native is None:
        assert backend.native_reason in lines["compiler"]
    else:
        assert lines["simd"] in ("avx512", "avx2", "default")
        assert lines["compiler"].startswith(("gcc ", "clang "))


@pytest.mark.smoke
def test_show_config_prints_to_standard_output(capsys):
    fastmetrics.show_config()
    assert capsys.readouterr().out == config()


@pytest.mark.smoke
def test_the_distribution_holds_nothing_but_the_package():
    files = importlib.metadata.files("torch-fastmetrics")
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"fastmetrics"}
    assert files and {"tests", "tools"} <= folders
    assert not {path.parts[0] for path in files} & folders


@pytest.mark.smoke
def test_version_is_that_of_the_distribution():
    assert fastmetrics.__version__.split(".")[:2] == ["0", "1"]


@pytest.mark.smoke
def test_backend_reference_leaves_the_module_aside():
    code = """
import sys, fastmetrics
from fastmetrics.ops import backend
print(backend.native, "fastmetrics._C" in sys.modules, backend.describe("confusion_")[0])
"""
    done = run(code, FASTMETRICS_BACKEND="reference")
    assert done.stdout.startswith("None False ('cpu', 'torch reference',"), done.stderr


@pytest.mark.smoke
@pytest.mark.parametrize("variable", ["FASTMETRICS_BACKEND", "FASTMETRICS_GPU_ARITHMETIC"])
def test_choices_must_be_known(variable):
    done = run("import fastmetrics", **{variable: "fastest"})
    assert done.returncode == 1
    assert f"ValueError: {variable} must be one of" in done.stderr
    assert "'fastest'" in done.stderr


def test_the_arithmetic_is_told_and_follows_the_device(monkeypatch):
    code = "import fastmetrics; fastmetrics.show_config()"
    told = run(code, FASTMETRICS_GPU_ARITHMETIC="float32").stdout
    assert "float32 (FASTMETRICS_GPU_ARITHMETIC)" in told
    chosen, capability = {}, torch.cuda.get_device_capability
    for found in ((7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index, found=found: found)
        backend.has_fast_float64.cache_clear()
        chosen[found] = backend.in_float32(torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability)
    backend.has_fast_float64.cache_clear()
    assert [found for found, float32 in chosen.items() if not float32] == [(8, 0), (9, 0), (10, 0)]
    assert not backend.in_float32(torch.device("cpu"))
    monkeypatch.setattr(backend, "arithmetic", "float32")
    assert backend.in_float32(torch.device("cuda", 0))


@pytest.mark.smoke
@pytest.mark.parametrize("choice", ["auto", "native"])
def test_missing_module_is_told_or_raised(choice):
    """`auto` falls back and says why; `native` does not fall back."""
    code = """
import sys
sys.modules["fastmetrics._C"] = None
import fastmetrics
fastmetrics.show_config()
"""
    done = run(code, FASTMETRICS_BACKEND=choice)
    if choice == "auto":
        assert done.returncode == 0, done.stderr
        assert "no compiled module" in done.stdout
        assert "C++" not in done.stdout
    else:
        assert done.returncode == 1
        assert "fastmetrics._C" in done.stderr


def test_native_is_taken_when_it_is_there(native):
    code = "from fastmetrics.ops import backend; print(backend.describe('stat_scores_')[0][1])"
    assert run(code, FASTMETRICS_BACKEND="native").stdout.strip() == "C++"


@pytest.mark.smoke
def test_missing_triton_is_told_or_raised():
    code = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "triton" else find(name, *rest)
import fastmetrics
from fastmetrics.ops import backend
print(backend.describe("confusion_")[1])
"""
    done = run(code, FASTMETRICS_BACKEND="auto")
    assert done.stdout.strip() == "('cuda/xpu', 'torch reference', 'triton is not installed')"
    done = run(code, FASTMETRICS_BACKEND="triton")
    assert done.returncode == 1
    assert "triton is not installed" in done.stderr
