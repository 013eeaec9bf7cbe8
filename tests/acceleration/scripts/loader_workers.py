"""Workers of a DataLoader use torchmetrics; prints what they make of a batch as JSON."""

import json
import sys

import torch
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MeanMetric
from torchmetrics.classification import BinaryF1Score
from torchmetrics.functional import mean_squared_error


class Scored(Dataset):
    """Samples are values: of a metric that came along, and of one that is made on the spot."""

    def __init__(self):
        self.metric = BinaryF1Score()
        self.metric.update(torch.tensor([0.9, 0.2]), torch.tensor([1, 1]))

    def __len__(self):
        return 4

    def __getitem__(self, index):
        mean = MeanMetric()
        mean.update(float(index))
        modules = [type(metric).__module__ for metric in (self.metric, mean)]
        return torch.stack([self.metric.compute(), mean.compute()]), modules


def collate(rows):
    values = torch.stack([values for values, _ in rows])
    return [*values.flatten().tolist(), mean_squared_error(values, 2 * values).item()], rows[0][1]


def main() -> None:
    loader = DataLoader(
        Scored(),
        batch_size=2,
        num_workers=1,
        collate_fn=collate,
        multiprocessing_context=sys.argv[1],
    )
    print(json.dumps([*zip(*loader, strict=True)]))


if __name__ == "__main__":
    main()
