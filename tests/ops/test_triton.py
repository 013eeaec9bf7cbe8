"""Triton kernels against the references, in a process of their own.

Triton decides at its import whether kernels are interpreted, for the whole process.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastmetrics.ops import library

PARITY = Path(__file__).with_name("triton_parity.py")
REQUIRE_CUDA = os.environ.get("FASTMETRICS_REQUIRE_CUDA") == "1"


def run_parity(**variables: str) -> None:
    environment = os.environ | {"FASTMETRICS_BACKEND": "reference"} | variables
    command = [sys.executable, "-m", "pytest", str(PARITY), "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > 150, done.stdout[-2000:]


def test_every_op_has_a_kernel():
    pytest.importorskip("triton")
    kernels = importlib.import_module("fastmetrics.ops.triton")
    assert set(library.REFERENCES) <= set(kernels.__all__)
    assert all(callable(getattr(kernels, name)) for name in kernels.__all__)


def test_kernels_match_the_references_when_interpreted():
    pytest.importorskip("triton")
    run_parity(TRITON_INTERPRET="1")


@pytest.mark.skipif(not torch.cuda.is_available() and not REQUIRE_CUDA, reason="needs a GPU")
def test_kernels_match_the_references_on_the_gpu():
    run_parity(FASTMETRICS_TRITON_DEVICE="cuda")
