"""A LightningModule that logs metrics of torchmetrics; prints what was logged as JSON."""

import json
import logging
import warnings

import torch
import torchmetrics
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAUROC, MulticlassCohenKappa, MulticlassF1Score


class Classifier(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(6, 4)
        self.accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=4)
        self.checks = torchmetrics.MetricCollection(
            [MulticlassF1Score(4), MulticlassCohenKappa(4), MulticlassAUROC(4)], prefix="val/"
        )

    def training_step(self, batch, index):
        inputs, target = batch
        logits = self.layer(inputs)
        self.accuracy(logits, target)
        self.log("accuracy", self.accuracy, on_step=True, on_epoch=True)
        return torch.nn.functional.cross_entropy(logits, target)

    def validation_step(self, batch, index):
        inputs, target = batch
        self.checks.update(self.layer(inputs), target)
        self.log_dict(self.checks)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Recorder(Logger):
    name, version = "recorder", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append({name: float(value) for name, value in metrics.items()})

    def log_hyperparams(self, *_, **__):
        pass


def main() -> None:
    torch.manual_seed(0)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    data = TensorDataset(torch.randn(200, 6), torch.randint(4, (200,)))
    recorder = Recorder()
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=2,
        log_every_n_steps=1,
        logger=recorder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Classifier()
    trainer.fit(module, DataLoader(data, batch_size=64), DataLoader(data, batch_size=48))
    print(json.dumps([type(module.checks).__module__, recorder.rows]))


if __name__ == "__main__":
    main()
