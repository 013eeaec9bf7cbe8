"""What people feel where data are small: functions, values, copies, and compiled steps."""

import functools
import pickle
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from typing import Any

import torch

import fastmetrics
from benchmarks.calls import Call, Inputs, Started, find, function
from benchmarks.inputs import distributions, labels, pairs, positive_numbers, ranked, with_groups
from benchmarks.plain import BINS, CLASSES, GROUPS, PLAIN
from benchmarks.workload import OURS, PLAIN_TORCH, Workload, tm

SIZE = 64
MEMBERS = (1, 5, 13, 50)

_LABELS = labels(SIZE, num_classes=CLASSES)
_OF_CLASSES = {"num_classes": CLASSES}
# By the name of a function, the metric it is the value of, its inputs and arguments.
FUNCTIONS: dict[str, tuple[str, Callable[[torch.device], Inputs], dict[str, Any]]] = {
    "binary_accuracy": ("BinaryAccuracy", ranked(SIZE), {}),
    "binary_f1_score": ("BinaryF1Score", ranked(SIZE), {}),
    "binary_confusion_matrix": ("BinaryConfusionMatrix", ranked(SIZE), {}),
    "multiclass_accuracy": ("MulticlassAccuracy", _LABELS, _OF_CLASSES),
    "multiclass_f1_score": ("MulticlassF1Score", _LABELS, _OF_CLASSES),
    "multiclass_confusion_matrix": ("MulticlassConfusionMatrix", _LABELS, _OF_CLASSES),
    "binary_groups_stat_rates": (
        "BinaryGroupStatRates",
        with_groups(SIZE, GROUPS),
        {"num_groups": GROUPS},
    ),
    "binary_auroc": ("BinaryAUROC exact/", ranked(SIZE), {}),
    "mean_squared_error": ("MeanSquaredError", pairs(SIZE), {}),
    "mean_absolute_error": ("MeanAbsoluteError", pairs(SIZE), {}),
    "mean_absolute_percentage_error": ("MeanAbsolutePercentageError", pairs(SIZE), {}),
    "minkowski_distance": ("MinkowskiDistance", pairs(SIZE), {"p": 3}),
    "tweedie_deviance_score": ("TweedieDevianceScore", positive_numbers(SIZE), {"power": 1.5}),
    "r2_score": ("R2Score", pairs(SIZE), {}),
    "pearson_corrcoef": ("PearsonCorrCoef", pairs(SIZE), {}),
    "spearman_corrcoef": ("SpearmanCorrCoef", pairs(SIZE), {}),
    "cosine_similarity": ("CosineSimilarity", distributions(SIZE, CLASSES), {}),
}
# Metrics whose value is timed, after one batch: name, arguments and that batch.
VALUES: dict[str, tuple[str, dict[str, Any], Callable[[torch.device], Inputs]]] = {
    "accuracy/10": ("MulticlassAccuracy", _OF_CLASSES, _LABELS),
    "f1/1000": ("MulticlassF1Score", {"num_classes": 1000}, labels(4096, num_classes=1000)),
    "confusion matrix/10": ("MulticlassConfusionMatrix", _OF_CLASSES, _LABELS),
    "confusion matrix/normalized/1000": (
        "MulticlassConfusionMatrix",
        {"num_classes": 1000, "normalize": "true"},
        labels(4096, num_classes=1000),
    ),
    "auroc/exact": ("BinaryAUROC", {}, ranked(SIZE)),
    "auroc/binned": ("BinaryAUROC", {"thresholds": BINS}, ranked(SIZE)),
    "auroc/binned/10": (
        "MulticlassAUROC",
        {**_OF_CLASSES, "thresholds": BINS},
        ranked(SIZE, num_classes=CLASSES),
    ),
    "mean squared error": ("MeanSquaredError", {}, pairs(SIZE)),
    "pearson": ("PearsonCorrCoef", {}, pairs(SIZE)),
}
# What a collection of many holds, again and again.
_MEMBERS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(
        (f"Multiclass{name}", _OF_CLASSES)
        for name in (
            *("Accuracy", "Precision", "Recall", "F1Score", "ConfusionMatrix", "Specificity"),
            *("HammingDistance", "CohenKappa", "MatthewsCorrCoef", "JaccardIndex"),
        )
    ),
    ("MulticlassAUROC", {**_OF_CLASSES, "thresholds": 50}),
    ("MulticlassAveragePrecision", {**_OF_CLASSES, "thresholds": 50}),
    ("MulticlassCalibrationError", _OF_CLASSES),
)


def small() -> list[Workload]:
    """Return all of them."""
    return [*_functions(), *_values(), *_lives(), _compiled_update()]


def _functions() -> list[Workload]:
    return [
        Workload(
            f"small/{name}/{SIZE}",
            inputs,
            {
                OURS: function(partial(getattr(fastmetrics.functional, name), **arguments)),
                "torchmetrics": function(partial(_their_function, name, **arguments)),
                PLAIN_TORCH: function(PLAIN[metric]),
            },
        )
        for name, (metric, inputs, arguments) in FUNCTIONS.items()
    ]


def _their_function(name: str, *batch: torch.Tensor, **arguments: Any) -> Any:
    classification = find("torchmetrics.functional.classification")
    home = classification if hasattr(classification, name) else tm.functional
    return getattr(home, name)(*batch, **arguments)


def _made(root: Any, name: str, arguments: dict[str, Any]) -> Any:
    home = root.classification if name in root.classification.__all__ else root.regression
    return getattr(home, name)(**arguments)


def _values() -> list[Workload]:
    return [
        Workload(
            f"compute/{name}",
            inputs,
            {
                OURS: _value(partial(_made, fastmetrics, metric, arguments)),
                "torchmetrics": _value(partial(_made, tm, metric, arguments)),
            },
        )
        for name, (metric, arguments, inputs) in VALUES.items()
    ]


def _value(make: Callable[[], Any]) -> Call:
    def start(inputs: Inputs) -> Started:
        metric = make().to(inputs[0].device)
        metric.update(*inputs)

        def run() -> Any:
            metric._computed = None  # else the second call returns what the first one did
            return metric.compute()

        return Started(run, run)

    return start


def _epoch(metric: Any, inputs: Inputs) -> None:
    for _ in range(10):
        metric.update(*inputs)
    metric.compute()
    metric.reset()


STEPS: dict[str, Callable[[Any, Inputs], Any]] = {
    "reset": lambda metric, inputs: metric.reset(),
    "clone": lambda metric, inputs: metric.clone(),
    "pickle": lambda metric, inputs: pickle.loads(pickle.dumps(metric)),
    "move": lambda metric, inputs: metric.to(inputs[0].device),
    "state_dict": lambda metric, inputs: metric.state_dict(),
    "load_state_dict": lambda metric, inputs: metric.load_state_dict({}),
    "hash": lambda metric, inputs: hash(metric),
    "repr": lambda metric, inputs: repr(metric),
    "epoch": _epoch,
}


def _collection(root: Any, members: int) -> Any:
    metrics = [_made(root, *member) for member in islice(cycle(_MEMBERS), members)]
    if members == 1:
        return metrics[0]
    return root.MetricCollection({str(i): metric for i, metric in enumerate(metrics)})


def _lives() -> list[Workload]:
    inputs = ranked(SIZE, num_classes=CLASSES)
    rows = []
    for members in MEMBERS:
        make = {
            OURS: partial(_collection, fastmetrics, members),
            "torchmetrics": partial(_collection, tm, members),
        }
        calls = {
            step: {name: _step(m, run) for name, m in make.items()} for step, run in STEPS.items()
        }
        calls["construct"] = {name: _construct(m) for name, m in make.items()}
        rows += [Workload(f"life/{step}/{members}", inputs, of) for step, of in calls.items()]
    return rows


def _step(make: Callable[[], Any], step: Callable[[Any, Inputs], Any]) -> Call:
    def start(inputs: Inputs) -> Started:
        metric = make().to(inputs[0].device)
        metric.update(*inputs)
        return Started(partial(step, metric, inputs), lambda: 0.0)

    return start


def _construct(make: Callable[[], Any]) -> Call:
    return lambda inputs: Started(make, lambda: 0.0)


def _compiled_update() -> Workload:
    calls = {OURS: _compiled(_our_step), PLAIN_TORCH: _compiled(_plain_step)}
    note = "torchmetrics left out: its update is no single graph"
    inputs = ranked(SIZE, num_classes=CLASSES)
    return Workload(f"compiled/MulticlassAccuracy/{SIZE}x{CLASSES}", inputs, calls, note=note)


def _compiled(make: Callable[[], tuple[Callable[..., Any], Callable[[], Any]]]) -> Call:
    @functools.cache  # each compilation takes seconds
    def made() -> tuple[Callable[..., Any], Callable[[], Any]]:
        step, value = make()
        return torch.compile(step, fullgraph=True), value

    def start(inputs: Inputs) -> Started:
        step, value = made()
        step(*inputs)  # compiles, the first time
        return Started(partial(step, *inputs), value)

    return start


def _our_step() -> tuple[Callable[..., Any], Callable[[], Any]]:
    metric = _made(fastmetrics, "MulticlassAccuracy", _OF_CLASSES)
    return metric.update, metric.compute


def _plain_step() -> tuple[Callable[..., Any], Callable[[], Any]]:
    hits, total = torch.zeros(2, CLASSES)

    def step(preds: torch.Tensor, target: torch.Tensor) -> None:
        hits.index_add_(0, target, (preds.argmax(1) == target).float())
        total.index_add_(0, target, torch.ones_like(target, dtype=torch.float32))

    return step, lambda: (hits / total).mean()
