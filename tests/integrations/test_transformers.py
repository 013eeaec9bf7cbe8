"""Hugging Face's Trainer with metrics of this package."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("transformers", reason="needs Python 3.11")

import transformers
from transformers.modeling_outputs import SequenceClassifierOutput

from fastmetrics import MetricCollection
from fastmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassRecall,
)
from fastmetrics.integrations.transformers import compute_metrics
from tests.integrations import run_accelerate

CLASSES = 3


class Tiny(nn.Module):
    """A model that returns what models of the library return."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, CLASSES)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> SequenceClassifierOutput:
        logits = self.layer(x)
        return SequenceClassifierOutput(nn.functional.cross_entropy(logits, labels), logits)


def data(count: int = 50) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {"x": torch.randn(5, generator=generator), "labels": torch.tensor(i * i % CLASSES)}
        for i in range(count)
    ]


def collection() -> MetricCollection:
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(CLASSES),
            "auroc": MulticlassAUROC(CLASSES, input="logits"),
            "recall": MulticlassRecall(CLASSES, average=None),
        }
    )


def trainer(folder: Path, metrics: Any, **options: Any) -> transformers.Trainer:
    torch.manual_seed(0)
    arguments = transformers.TrainingArguments(
        str(folder),
        per_device_eval_batch_size=8,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **options,
    )
    return transformers.Trainer(
        Tiny(),
        arguments,
        train_dataset=data(),
        eval_dataset=data(),
        compute_metrics=compute_metrics(metrics),
    )


def expected(model: nn.Module) -> dict[str, Any]:
    samples = data()
    x, labels = (torch.stack([sample[key] for sample in samples]) for key in ("x", "labels"))
    metrics = collection()
    with torch.no_grad():
        metrics.update(model(x, labels).logits, labels)
    return {f"eval_{name}": value.tolist() for name, value in metrics.compute().items()}


@pytest.mark.parametrize("by_batch", [False, True])
def test_evaluations(tmp_path, by_batch):
    metrics = collection()
    run = trainer(tmp_path, metrics, batch_eval_metrics=by_batch)
    for _ in range(2):  # the second one begins anew
        found = run.evaluate()
        wanted = expected(run.model)
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value)
    assert not any(metric.update_called for metric in metrics.values())
    json.dumps(found)


def test_each_epoch_of_a_training(tmp_path):
    metric = MulticlassF1Score(CLASSES)
    options = {"eval_strategy": "epoch", "save_strategy": "no", "num_train_epochs": 2}
    run = trainer(tmp_path, metric, batch_eval_metrics=True, **options)
    run.train()
    values = [row["eval_MulticlassF1Score"] for row in run.state.log_history if "eval_loss" in row]
    assert len(values) == 2
    assert all(0 < value < 1 for value in values)


def test_the_first_of_several_predictions_and_a_choice():
    preds, labels = torch.eye(3), torch.tensor([0, 1, 1])
    several = SimpleNamespace(predictions=(preds.numpy(), None), label_ids=labels.numpy())
    wanted = MulticlassAccuracy(3)(preds, labels).item()
    assert compute_metrics(MulticlassAccuracy(3))(several) == {"MulticlassAccuracy": wanted}
    chosen = compute_metrics(MulticlassAccuracy(3), lambda p: (preds, preds.argmax(1)))
    assert chosen(several) == {"MulticlassAccuracy": 1.0}


def test_what_is_no_metric():
    with pytest.raises(ValueError, match="must be a metric"):
        compute_metrics(len)


@pytest.mark.exhaustive
def test_two_processes(tmp_path):
    """The trainer gathers predictions before it asks for metrics, which must not gather again."""
    for row in run_accelerate.launch(tmp_path, "trainer"):
        assert row["found"] == pytest.approx(row["wanted"])
