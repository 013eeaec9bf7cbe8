"""Trains with a framework whose callback is an example; prints its accuracy and ours as JSON.

Called with the name of the framework, in a process of its own: fastai gives tensors new methods.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from fastmetrics import MetricCollection
from fastmetrics.classification import MulticlassAccuracy, MulticlassF1Score

CLASSES = 3


def metrics() -> MetricCollection:
    return MetricCollection(
        {"ours": MulticlassAccuracy(CLASSES, average="micro"), "f1": MulticlassF1Score(CLASSES)}
    )


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 6, generator=generator)
    data = TensorDataset(inputs, inputs[:, :CLASSES].argmax(1))
    return DataLoader(data, batch_size=32), DataLoader(data, batch_size=48)


def fastai() -> list[dict[str, float]]:
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.metrics import accuracy

    from examples.fastai_callback import Collection

    learner = Learner(
        DataLoaders(*loaders()),
        torch.nn.Linear(6, CLASSES),
        torch.nn.functional.cross_entropy,
        metrics=accuracy,
        cbs=Collection(metrics()),
    )
    learner.fit(2, 0.1)
    names = learner.recorder.metric_names[1:-1]  # around them are epoch and time
    rows = [dict(zip(names, row, strict=True)) for row in learner.recorder.values]
    return [{**row, "theirs": row["accuracy"]} for row in rows]


def catalyst() -> list[dict[str, float]]:
    from catalyst import dl

    from examples.catalyst_callback import Metrics

    # It asks Accelerate for a kind of device that newer releases do not name.
    dl.CPUEngine.mean_reduce_ddp_metrics = lambda self, metrics: metrics
    model = torch.nn.Linear(6, CLASSES)
    runner = dl.SupervisedRunner(
        input_key="features", output_key="logits", target_key="targets", loss_key="loss"
    )
    accuracy = dl.AccuracyCallback(input_key="logits", target_key="targets", num_classes=CLASSES)
    collection = metrics().from_outputs(preds="logits", target="targets")
    train, valid = loaders()
    runner.train(
        model=model,
        criterion=torch.nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
        loaders={"train": train, "valid": valid},
        num_epochs=2,
        callbacks=[accuracy, Metrics(collection)],
    )
    rows = [runner.epoch_metrics[loader] for loader in ("train", "valid")]
    return [{**row, "theirs": row["accuracy01"]} for row in rows]


if __name__ == "__main__":
    print(json.dumps({"fastai": fastai, "catalyst": catalyst}[sys.argv[1]]()))
