"""The demo runs, draws its pictures, and fails when a value is wrong."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

DEMO = Path(__file__).parents[1] / "examples" / "demo.py"


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """The module, with less training and timing, writing into a folder of the test."""
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "EPOCHS", 2)
    monkeypatch.setattr(module, "REPEATS", 1)
    monkeypatch.setattr(module, "LINES", 20)
    monkeypatch.setattr(module, "FOLDER", tmp_path / "out")
    return module


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(50, generator=generator), torch.randint(2, (50,), generator=generator))
        for _ in range(3)
    ]


def arrays_of(demo, batches):
    logits, target = demo.joined(batches)
    return target.numpy(), logits.numpy(), logits.sigmoid().numpy()


def test_all_tasks_agree_and_are_drawn(demo, capsys):
    assert demo.main() == 0
    pictures = {path.name for path in demo.FOLDER.iterdir()}
    assert pictures == {
        "confusion_matrix.png",
        "roc.png",
        "precision_recall.png",
        "reliability.png",
    }
    output = capsys.readouterr().out
    for name in (
        "AUROC, exact",
        "AveragePrecision, binned",
        "at least",
        "R2",
        "Cohen kappa",
        "word error rate",
    ):
        assert name in output


def test_a_wrong_value_fails_the_demo(demo, monkeypatch):
    class Wrong(demo.torchmetrics.R2Score):
        def compute(self):
            return super().compute() + 1e-5

    monkeypatch.setattr(demo.torchmetrics, "R2Score", Wrong)
    assert demo.main() == 1


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(lambda score: score + 2e-6, id="too far"),
        pytest.param(lambda score: float("nan"), id="undefined"),
        pytest.param(lambda score: [score], id="other shape"),
    ],
)
def test_rows_that_differ_are_named(demo, batches, value):
    right, wrong = demo.TUMOURS[0], demo.TUMOURS[2]
    off = demo.Row("off", wrong.build, lambda *arrays: value(wrong.arrays(*arrays)))
    arrays = arrays_of(demo, batches)
    _, differ = demo.compare("title", [right, off], batches, arrays, "scikit-learn")
    assert differ == ["off"]


def test_bounds_must_be_narrow(demo, batches, monkeypatch):
    arrays = arrays_of(demo, batches)
    assert demo.certify(batches, arrays)[1] == []
    monkeypatch.setattr(demo, "WIDEST", 0.0)
    assert demo.certify(batches, arrays)[1] == ["AUROC, certified", "AveragePrecision, certified"]


def test_bounds_must_hold_the_exact_value(demo, batches, monkeypatch):
    monkeypatch.setitem(demo.AREAS, "AUROC", lambda target, logits: 0.99)
    _, outside = demo.certify(batches, arrays_of(demo, batches))
    assert outside == ["AUROC, certified"]


def test_large_values_are_compared_relatively(demo):
    assert demo.difference(3000.003, 3000.0) == pytest.approx(1e-6)
    assert demo.difference(0.003, 0.0) == pytest.approx(3e-3)
