"""A small classifier of digits that logs metrics of one library in all ways Lightning knows."""

from __future__ import annotations

import importlib
import logging
import math
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

CLASSES = {"num_classes": 10}


def _loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return training and validation data, both with a last batch that is not full."""
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16).float(), torch.tensor(labels))
    train, rest = TensorDataset(*data[:700]), TensorDataset(*data[700:1001])
    return DataLoader(train, batch_size=96), DataLoader(rest, batch_size=96)


class Digits(LightningModule):
    """A linear classifier; ``library`` names the package its metrics come from."""

    def __init__(self, library: str) -> None:
        super().__init__()
        metrics = importlib.import_module(library)
        task = importlib.import_module(f"{library}.classification")
        self.model = nn.Linear(64, 10)
        self.accuracy = metrics.Accuracy(task="multiclass", **CLASSES)
        self.epoch_accuracy = metrics.Accuracy(task="multiclass", **CLASSES)
        self.value_accuracy = metrics.Accuracy(task="multiclass", **CLASSES)
        self.loss = metrics.MeanMetric()
        self.error = metrics.MeanSquaredError()
        shared = [
            task.MulticlassAccuracy(**CLASSES),
            task.MulticlassPrecision(**CLASSES),
            task.MulticlassF1Score(**CLASSES),
        ]
        self.updated = metrics.MetricCollection(shared, prefix="updated/")
        self.called = self.updated.clone(prefix="called/", postfix="!")
        self.precision_, self.recall_ = (
            task.BinaryPrecision(threshold=0.1),
            task.BinaryRecall(threshold=0.1),
        )
        self.f_score = 2 * self.precision_ * self.recall_ / (self.precision_ + self.recall_)
        self.validated = nn.ModuleDict(
            {
                "exact": task.MulticlassAUROC(**CLASSES),
                "binned": task.MulticlassAUROC(**CLASSES, thresholds=50),
                "error": metrics.MeanSquaredError(),
                "loss": metrics.MeanMetric(),
            }
        )
        self.checks = metrics.MetricCollection(
            {
                "accuracy": task.MulticlassAccuracy(**CLASSES),
                "kappa": task.MulticlassCohenKappa(10),
            },
            prefix="val/",
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).softmax(1)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, target = batch
        preds = self(images)
        hot = nn.functional.one_hot(target, 10).float()
        loss = nn.functional.nll_loss(preds.log(), target)
        self.accuracy(preds, target)
        self.log("accuracy", self.accuracy, on_step=True, on_epoch=True, prog_bar=True)
        self.epoch_accuracy.update(preds, target)
        self.log("epoch_accuracy", self.epoch_accuracy, on_step=False, on_epoch=True)
        value = self.value_accuracy(preds, target)
        self.log("value_accuracy", value, on_step=True, on_epoch=True, sync_dist=True)
        self.loss(loss)
        self.log("loss", self.loss, on_step=True, on_epoch=True)
        self.error(preds.detach().flatten(), hot.flatten())
        self.log("error", self.error, on_step=True, on_epoch=False)
        self.updated.update(preds, target)
        self.log_dict(self.updated, on_step=False, on_epoch=True)
        values = self.called(preds, target)
        self.log_dict(self.called, on_step=True, on_epoch=True)
        self.log_dict({f"of {name}": value for name, value in values.items()}, sync_dist=True)
        self.f_score(preds[:, 3], (target == 3).long())
        self.log("f_score", self.f_score, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, target = batch
        preds = self(images)
        self.validated["exact"].update(preds, target)
        self.validated["binned"].update(preds, target)
        hot = nn.functional.one_hot(target, 10).float()
        self.validated["error"].update(preds.flatten(), hot.flatten())
        self.validated["loss"].update(nn.functional.nll_loss(preds.log(), target), len(target))
        for name, metric in self.validated.items():
            self.log(f"val/{name}", metric)
        self.checks.update(preds, target)
        self.log_dict(self.checks)

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)

    def train_dataloader(self) -> DataLoader[Any]:
        return _loaders()[0]

    def val_dataloader(self) -> DataLoader[Any]:
        return _loaders()[1]

    test_dataloader = val_dataloader


class Recorder(Logger):
    """Keeps what Lightning hands to a logger, as Python numbers."""

    name, version = "recorder", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step or 0, {name: float(value) for name, value in metrics.items()}))

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass


def fit(
    library: str, epochs: int = 2, checkpoint: Path | None = None, **options: Any
) -> tuple[Trainer, Recorder]:
    """Train with the metrics of ``library``; the checkpoint, if any, is where to go on."""
    torch.manual_seed(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    recorder = Recorder()
    defaults = {
        "accelerator": "cpu",
        "devices": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    with warnings.catch_warnings():
        for message in ("many workers", "sync_dist=True", "ckpt_path", "LeafSpec"):
            warnings.filterwarnings("ignore", message=f".*{message}")
        trainer = Trainer(
            logger=recorder, log_every_n_steps=1, max_epochs=epochs, **{**defaults, **options}
        )
        trainer.fit(Digits(library), ckpt_path=checkpoint)
    return trainer, recorder


Rows = list[tuple[int, dict[str, float]]]


def row_differences(ours: Rows, theirs: Rows) -> list[str]:
    """Say where two runs logged something else, beyond the rounding of float32 sums."""
    found = [] if len(ours) == len(theirs) else ["number of rows"]
    for (step, mine), (other_step, other) in zip(ours, theirs, strict=False):
        if step != other_step or list(mine) != list(other):
            found.append(f"step {step}: {list(mine)} against {other_step}: {list(other)}")
            continue
        found += [
            f"step {step}, {name}: {mine[name]} against {other[name]}"
            for name in mine
            if not math.isclose(mine[name], other[name], rel_tol=1e-5, abs_tol=1e-6)
        ]
    return found
