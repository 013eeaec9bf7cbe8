"""Accelerate shares out the batches, and metrics exchange states instead of predictions."""

from __future__ import annotations

import pytest

pytest.importorskip("accelerate", reason="needs Python 3.11")

from tests.integrations import run_accelerate


def test_two_processes(tmp_path):
    rows = run_accelerate.launch(tmp_path, "loop")
    assert rows[0]["found"] == pytest.approx(rows[0]["wanted"])
    assert rows[0]["found"] == rows[1]["found"]
    assert sorted(row["samples"] for row in rows) == [33, 40]
