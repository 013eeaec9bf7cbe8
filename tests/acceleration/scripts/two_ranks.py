"""Metrics of two gloo processes, under torchrun; rank 0 prints the value as JSON."""

import json

import torch
import torch.distributed as dist
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAUROC, BinaryF1Score


def main() -> None:
    dist.init_process_group("gloo")
    generator = torch.Generator().manual_seed(dist.get_rank())
    metrics = MetricCollection([BinaryF1Score(), BinaryAUROC()])
    for _ in range(3):
        preds = torch.rand(50, generator=generator)
        metrics.update(preds, (preds > torch.rand(50, generator=generator)).long())
    values = {name: float(value) for name, value in metrics.compute().items()}
    if dist.get_rank() == 0:
        print(json.dumps([values, type(metrics).__module__]))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
