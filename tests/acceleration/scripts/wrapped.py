"""Wrappers, metrics that share, and states that come from elsewhere; prints values as JSON."""

import json

import torch
import torchmetrics
from torch.utils._pytree import tree_map
from torchmetrics import MeanSquaredError, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.wrappers import (
    BootStrapper,
    ClasswiseWrapper,
    MetricTracker,
    MinMaxMetric,
    MultioutputWrapper,
    MultitaskWrapper,
    Running,
)


def wrappers():
    metrics = MetricCollection(
        {
            "extremes": MinMaxMetric(MulticlassAccuracy(4)),
            "of_classes": ClasswiseWrapper(MulticlassAccuracy(4, average=None)),
            "f1": MulticlassF1Score(4),
            "accuracy": MulticlassAccuracy(4),
        }
    )
    alone = [Running(MulticlassF1Score(4), 2), BootStrapper(MulticlassAccuracy(4), 5)]
    tracker = MetricTracker(MetricCollection([MulticlassAccuracy(4)]), maximize=True)
    outputs = MultioutputWrapper(MeanSquaredError(), 2)
    tasks = MultitaskWrapper(
        {"one": MeanSquaredError(), "all": MetricCollection([MulticlassF1Score(4)])}
    )
    for _ in range(2):
        tracker.increment()
        for _ in range(3):
            preds, target = torch.randn(20, 4), torch.randint(4, (20,))
            for metric in (metrics, tracker, *alone):
                metric.update(preds, target)
            outputs.update(preds[:, :2], preds[:, 2:])
            tasks.update({"one": preds, "all": preds}, {"one": preds + 1, "all": target})
        yield [each.compute() for each in (metrics, tracker, outputs, tasks, *alone)]
        metrics.reset()
    yield [[*metrics.compute_groups.values()]]


def changed_elsewhere():
    """Values of states that no update of the metric gave it."""
    batch = torch.arange(4.0), torch.ones(4)
    full = MeanSquaredError()
    full.persistent(True)
    full.update(*batch)
    loaded = MeanSquaredError()
    loaded.persistent(True)
    loaded.load_state_dict(full.state_dict())
    loaded.update(*batch)
    merged = full.clone()
    merged.merge_state(full)
    inner = MeanSquaredError()
    twice = inner * 2
    twice.update(*batch)
    compiled = MeanSquaredError()
    torch.compile(lambda *batch: compiled.update(*batch), backend="eager")(*batch)
    assigned = full.clone()
    assigned.sum_squared_error = 3 * assigned.sum_squared_error
    yield [each.compute() for each in (full, loaded, merged, inner, twice, compiled, assigned)]


def main() -> None:
    torch.manual_seed(0)
    values = [*wrappers(), *changed_elsewhere()]
    values = tree_map(lambda v: v.tolist() if isinstance(v, torch.Tensor) else v, values)
    print(json.dumps([torchmetrics.MetricCollection.__module__, values]))


if __name__ == "__main__":
    main()
