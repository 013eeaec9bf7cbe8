"""A training loop that knows torchmetrics only; prints what it logs as JSON."""

import json
import sys

import torch
import torchmetrics
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC
from torchmetrics.functional import mean_absolute_error
from torchmetrics.retrieval import RetrievalMRR


class Halved(MulticlassAccuracy):
    """A metric of a user."""

    def compute(self):
        return super().compute() / 2


def main() -> None:
    generator = torch.Generator().manual_seed(1)
    metrics = MetricCollection(
        [MulticlassAccuracy(5), Halved(5), MulticlassAUROC(5, thresholds=20)]
    )
    validation = metrics.clone(prefix="val_")
    loss, ranking = MeanMetric(), RetrievalMRR()
    logged = []
    for _ in range(4):
        preds = torch.randn(32, 5, generator=generator).softmax(-1)
        target = torch.randint(0, 5, (32,), generator=generator)
        step = {**metrics(preds, target), "mae": mean_absolute_error(preds[:, 0], preds[:, 1])}
        validation.update(preds, target=target)
        loss.update(preds.mean())
        ranking.update(preds[:, 0], target == 0, indexes=target)
        logged.append(step)
    logged += [metrics.compute(), validation.compute()]
    logged.append({"loss": loss.compute(), "ranking": ranking.compute()})
    rows = [{name: float(value) for name, value in row.items()} for row in logged]
    print(json.dumps([*sys.argv[1:], torchmetrics.__version__, rows]))


if __name__ == "__main__":
    main()
