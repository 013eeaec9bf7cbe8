"""Train a classifier of digits with Lightning and log metrics of fastmetrics.

Run with ``python examples/lightning_digits.py``; it prints the values of each epoch. lightning and
scikit-learn must be installed.
"""

from __future__ import annotations

import logging
import warnings

import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import fastmetrics as torchmetrics
from fastmetrics.classification import MulticlassAUROC, MulticlassF1Score, MulticlassRecall

CLASSES = 10
EPOCHS = 5


class Classifier(LightningModule):
    """Metrics are attributes: Lightning moves, synchronises and resets them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))
        self.accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=CLASSES)
        self.checks = torchmetrics.MetricCollection(
            {
                "auroc": MulticlassAUROC(CLASSES, input="logits"),
                "f1": MulticlassF1Score(CLASSES),
                "recall": MulticlassRecall(CLASSES),  # shares its state with f1
            },
            prefix="val/",
        )

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, target = batch
        logits = self.layers(images)
        self.accuracy(logits, target)
        self.log("train/accuracy", self.accuracy, on_step=True, on_epoch=True)
        return nn.functional.cross_entropy(logits, target)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        images, target = batch
        self.checks.update(self.layers(images), target)
        self.log_dict(self.checks)

    def on_train_epoch_end(self) -> None:
        logged = self.trainer.callback_metrics
        values = {"train/accuracy": self.accuracy.compute()}
        values |= {name: logged[name] for name in logged if name.startswith("val/")}
        line = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        print(f"epoch {self.current_epoch}: {line}")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def main() -> Trainer:
    """Train, and return the trainer with the values of the last epoch."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16).float(), torch.tensor(labels))
    train, val = TensorDataset(*data[:1400]), TensorDataset(*data[1400:])
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(), DataLoader(train, batch_size=64), DataLoader(val, batch_size=64))
    return trainer


if __name__ == "__main__":
    main()
