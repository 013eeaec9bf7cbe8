"""Lines of the plots: one workload for each size, over samples, classes and thresholds."""

from functools import partial

import fastmetrics.classification as fast
import fastmetrics.functional as fast_functional
from benchmarks.calls import arrays, function, update_and_compute
from benchmarks.inputs import pairs, ranked, scores
from benchmarks.workload import OURS, Workload, sk, te_functional, tm

SAMPLES = tuple(10**power for power in range(8))
CLASSES = (2, 10, 100, 1_000, 10_000, 100_000)
THRESHOLDS = (10, 30, 100, 300, 1_000, 3_000, 10_000)
VALUES = 1_000_000


def scaling() -> list[Workload]:
    """Return the lines that are not made of other workloads."""
    return [*_errors(), *_classes(), *_class_areas(), *_thresholds()]


def _errors() -> list[Workload]:
    return [
        Workload(
            f"functional/mean_squared_error/{size}",
            pairs(size),
            {
                OURS: function(fast_functional.mean_squared_error),
                "torchmetrics": function(
                    lambda preds, target: tm.functional.mean_squared_error(preds, target)
                ),
                "torcheval": function(
                    lambda preds, target: te_functional.mean_squared_error(preds, target)
                ),
                "scikit-learn": arrays(lambda target, preds: sk.mean_squared_error(target, preds)),
            },
            series=("mean_squared_error by samples", size),
        )
        for size in SAMPLES
    ]


def _classes() -> list[Workload]:
    """As many logits for any number of classes."""
    rows = []
    for metric, counts in (("Accuracy", CLASSES), ("ConfusionMatrix", CLASSES[:4])):
        for count in counts:
            samples = VALUES // count
            name = f"Multiclass{metric}"
            rows.append(
                Workload(
                    f"whole/{name}/classes/{samples}x{count}",
                    scores(samples, num_classes=count),
                    _both(name, num_classes=count),
                    series=(f"{name} of {VALUES:.0e} logits by classes", count),
                )
            )
    return rows


def _class_areas() -> list[Workload]:
    return [
        Workload(
            f"whole/MulticlassAUROC/classes/1000x{count}",
            ranked(1_000, num_classes=count),
            _both("MulticlassAUROC", num_classes=count),
            series=("MulticlassAUROC of 1000 samples by classes", count),
        )
        for count in CLASSES[:4]
    ]


def _thresholds() -> list[Workload]:
    return [
        Workload(
            f"whole/BinaryAUROC/thresholds/100000_at_{count}",
            ranked(100_000),
            _both("BinaryAUROC", thresholds=count),
            series=("BinaryAUROC of 1e5 samples by thresholds", count),
        )
        for count in THRESHOLDS
    ]


def _both(name: str, **arguments: int) -> dict:
    return {
        OURS: update_and_compute(partial(getattr(fast, name), **arguments)),
        "torchmetrics": update_and_compute(lambda: getattr(tm.classification, name)(**arguments)),
    }
