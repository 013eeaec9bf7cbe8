"""The workloads: one entry each, with its inputs, the call of each library, and its targets."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

import fastmetrics.classification as fast
import fastmetrics.functional as fast_functional
from benchmarks import calls
from benchmarks.calls import Call, Inputs, arrays, bare, find, forward, function, reference, update
from fastmetrics import MetricCollection

tm = find("torchmetrics")
tm_functional = find("torchmetrics.functional.classification")
te = find("torcheval.metrics")
te_functional = find("torcheval.metrics.functional")
sk = find("sklearn.metrics")

COMPETITORS = {"torchmetrics": tm, "torcheval": te, "scikit-learn": sk}
OURS, FLOOR, OP, REFERENCE = "fastmetrics", "floor", "bare op", "reference"

# Limits on our time divided by theirs.
NEVER_SLOWER = dict.fromkeys(COMPETITORS, 1.0)
SMALL_UPDATE = {**NEVER_SLOWER, "torchmetrics": 1 / 10, OP: 3.0}
SMALL_FORWARD = {**NEVER_SLOWER, "torchmetrics": 1 / 12}


@dataclass(frozen=True)
class Workload:
    """One row of the report; ``limits`` maps a library to the largest allowed ratio of times."""

    name: str
    inputs: Callable[[torch.device], Inputs]
    calls: dict[str, Call]
    limits: dict[str, float] = field(default_factory=lambda: NEVER_SLOWER)

    def available(self, device: torch.device) -> dict[str, Call]:
        """Return the floor and the calls of the libraries that are there and know the device."""
        missing = {name for name, module in COMPETITORS.items() if module is None}
        if device.type != "cpu":
            missing.add("scikit-learn")
        present = {name: call for name, call in self.calls.items() if name not in missing}
        return {**present, FLOOR: calls.floor}


def _generator(device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(0)


def scores(*shape: int, num_classes: int) -> Callable[[torch.device], Inputs]:
    """Logits ``[N, C, ...]`` and targets in which every class occurs if N allows it."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        preds = torch.randn(shape[0], num_classes, *shape[1:], generator=generator, device=device)
        return preds, _every_class(shape, num_classes, generator, device)

    return make


def labels(*shape: int, num_classes: int) -> Callable[[torch.device], Inputs]:
    """Predicted and true labels, int64; about one in three predictions is right."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        target = _every_class(shape, num_classes, generator, device)
        preds = torch.randint(num_classes, shape, generator=generator, device=device)
        right = torch.rand(shape, generator=generator, device=device) < 0.3
        return torch.where(right, target, preds), target

    return make


def probabilities(*shape: int) -> Callable[[torch.device], Inputs]:
    """Scores in [0, 1] and labels 0 and 1."""

    def make(device: torch.device) -> Inputs:
        generator = _generator(device)
        preds = torch.rand(shape, generator=generator, device=device)
        return preds, torch.randint(2, shape, generator=generator, device=device)

    return make


def _every_class(
    shape: tuple[int, ...], num_classes: int, generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    count = torch.Size(shape).numel()
    order = torch.randperm(count, generator=generator, device=device)
    return (order % num_classes).view(shape)


def _class_calls(
    metric: str, op: str, tail: tuple[Any, ...], kind: Callable[..., Call], **arguments: Any
) -> dict[str, Call]:
    """Calls of one metric class in both libraries that have it, and of its op for an update."""
    ours = partial(getattr(fast, metric), **arguments)
    found = {
        OURS: kind(ours),
        "torchmetrics": kind(lambda: getattr(tm.classification, metric)(**arguments)),
    }
    if kind is update:
        found |= {OP: bare(ours, op, *tail), REFERENCE: reference(ours, op, *tail)}
    return found


def _stat_scores_tail(num_classes: int, top_k: int = 1) -> tuple[Any, ...]:
    return None, num_classes, top_k, None, True


CONFUSION_TAIL = (None, None, True)
LABEL_CONFUSION_TAIL = (None, None, 0.5, False, None, True)
LABEL_EXACT_MATCH_TAIL = (0.5, False, None, True)


def multiclass_accuracy(
    name: str,
    inputs: Callable[[torch.device], Inputs],
    num_classes: int,
    limits: dict[str, float],
    kind: Callable[..., Call] = update,
    average: str = "macro",
    with_torcheval: bool = True,
    **arguments: Any,
) -> Workload:
    found = _class_calls(
        "MulticlassAccuracy",
        "stat_scores_",
        _stat_scores_tail(num_classes, arguments.get("top_k", 1)),
        kind,
        num_classes=num_classes,
        average=average,
        **arguments,
    )
    if kind is update and with_torcheval:
        found["torcheval"] = update(
            lambda: te.MulticlassAccuracy(
                average=average, num_classes=num_classes, k=arguments.get("top_k", 1)
            )
        )
    return Workload(name, inputs, found, limits)


def large_updates() -> list[Workload]:
    """Inputs that do not fit in the cache: the read floor decides."""
    rows = []
    for num_classes, limit in ((10, 4.0), (100, 1.5), (1000, 1.5)):
        rows.append(
            multiclass_accuracy(
                f"update/multiclass_accuracy/logits/65536x{num_classes}",
                scores(65536, num_classes=num_classes),
                num_classes,
                {**NEVER_SLOWER, FLOOR: limit},
            )
        )
    rows.append(
        multiclass_accuracy(
            "update/multiclass_accuracy/labels/1000000",
            labels(1_000_000, num_classes=10),
            10,
            {**NEVER_SLOWER, FLOOR: 3.0},
        )
    )
    rows.append(
        multiclass_accuracy(
            "update/multiclass_accuracy/logits/4x21x256x256",
            scores(4, 256, 256, num_classes=21),
            21,
            {**NEVER_SLOWER, FLOOR: 2.0},
            with_torcheval=False,
        )
    )
    for name, inputs, num_classes, limit in (
        ("logits/65536x10", scores(65536, num_classes=10), 10, 4.0),
        ("logits/65536x100", scores(65536, num_classes=100), 100, 1.5),
        ("labels/1000000", labels(1_000_000, num_classes=10), 10, 3.0),
    ):
        rows.append(confusion(name, inputs, num_classes, {**NEVER_SLOWER, FLOOR: limit}))
    rows.append(
        confusion(
            "logits/4x21x256x256",
            scores(4, 256, 256, num_classes=21),
            21,
            {**NEVER_SLOWER, FLOOR: 2.0},
            with_torcheval=False,
        )
    )
    rows += [
        binary_accuracy("1000000", probabilities(1_000_000), NEVER_SLOWER),
        multilabel_accuracy("65536x100", probabilities(65536, 100), 100, NEVER_SLOWER),
        multilabel_exact_match("65536x100", probabilities(65536, 100), 100),
        multiclass_exact_match("65536x16", labels(65536, 16, num_classes=10), 10),
        multiclass_accuracy(
            "update/multiclass_accuracy/top5/8192x1000",
            scores(8192, num_classes=1000),
            1000,
            NEVER_SLOWER,
            top_k=5,
        ),
    ]
    return rows


def hinge_losses() -> list[Workload]:
    """Losses of the scores and of their sigmoid or softmax."""
    tail = (False, False, None, None, True)
    calls_of = partial(_class_calls, op="hinge_sums_", kind=update)
    name = "update/hinge_loss"
    return [
        Workload(
            f"{name}/binary/1000000",
            probabilities(1_000_000),
            calls_of("BinaryHingeLoss", tail=(False, *tail)),
        ),
        *(
            Workload(
                f"{name}/logits/65536x{num_classes}",
                scores(65536, num_classes=num_classes),
                calls_of("MulticlassHingeLoss", tail=(True, *tail), num_classes=num_classes),
            )
            for num_classes in (10, 100)
        ),
    ]


def label_rankings() -> list[Workload]:
    """Updates, and whole calls, in which scikit-learn can compete."""
    rows = []
    for measure, sums, sklearn in (
        ("coverage_error", 1, "coverage_error"),
        ("ranking_average_precision", 7, "label_ranking_average_precision_score"),
        ("ranking_loss", 7, "label_ranking_loss"),
    ):
        metric = "Multilabel" + measure.title().replace("_", "")
        for size, num_labels in ((64, 10), (1000, 100), (200, 5000)):
            inputs, name = probabilities(size, num_labels), f"{measure}/{size}x{num_labels}"
            tail = (sums, None, None, True)
            found = _class_calls(metric, "ranking_sums_", tail, update, num_labels=num_labels)
            rows.append(Workload(f"update/{name}", inputs, found))
            found = _ranking_functions(f"multilabel_{measure}", num_labels, sklearn)
            rows.append(Workload(f"functional/{name}", inputs, found))
    return rows


def _ranking_functions(name: str, num_labels: int, sklearn: str) -> dict[str, Call]:
    return {
        OURS: function(partial(getattr(fast_functional, name), num_labels=num_labels)),
        "torchmetrics": function(
            lambda preds, target: getattr(tm_functional, name)(preds, target, num_labels)
        ),
        "scikit-learn": arrays(lambda target, preds: getattr(sk, sklearn)(target, preds)),
    }


def small_updates() -> list[Workload]:
    """Training-step batches: the cost of a call decides."""
    rows = []
    for kind, word, limits in (
        (update, "update", SMALL_UPDATE),
        (forward, "forward", SMALL_FORWARD),
    ):
        for size, num_classes in ((64, 10), (256, 1000)):
            rows += [
                multiclass_accuracy(
                    f"{word}/multiclass_accuracy/{average}/{size}x{num_classes}",
                    scores(size, num_classes=num_classes),
                    num_classes,
                    limits,
                    kind,
                    average,
                    # torcheval averages over the classes in the targets, which miss most of 1000.
                    with_torcheval=average == "micro" or size >= num_classes,
                )
                for average in ("macro", "micro")
            ]
        rows += [
            binary_accuracy("64", probabilities(64), limits, kind),
            multilabel_accuracy("64x10", probabilities(64, 10), 10, limits, kind),
            confusion("logits/64x10", scores(64, num_classes=10), 10, limits, kind),
            multilabel_exact_match("64x10", probabilities(64, 10), 10, limits, kind),
            multiclass_exact_match("64x16", labels(64, 16, num_classes=10), 10, limits, kind),
            samplewise("64x10x16", scores(64, 16, num_classes=10), 10, kind),
            collection("64x10", scores(64, num_classes=10), 10, kind),
        ]
    return rows


def _word(kind: Callable[..., Call]) -> str:
    return "update" if kind is update else "forward"


def confusion(
    name: str,
    inputs: Callable[[torch.device], Inputs],
    num_classes: int,
    limits: dict[str, float],
    kind: Callable[..., Call] = update,
    with_torcheval: bool = True,
) -> Workload:
    found = _class_calls(
        "MulticlassConfusionMatrix", "confusion_", CONFUSION_TAIL, kind, num_classes=num_classes
    )
    if kind is update and with_torcheval:
        found["torcheval"] = update(lambda: te.MulticlassConfusionMatrix(num_classes))
    return Workload(f"{_word(kind)}/multiclass_confusion_matrix/{name}", inputs, found, limits)


def binary_accuracy(
    name: str,
    inputs: Callable[[torch.device], Inputs],
    limits: dict[str, float],
    kind: Callable[..., Call] = update,
) -> Workload:
    found = _class_calls("BinaryAccuracy", "label_confusion_", LABEL_CONFUSION_TAIL, kind)
    if kind is update:
        found["torcheval"] = update(lambda: te.BinaryAccuracy())
    return Workload(f"{_word(kind)}/binary_accuracy/{name}", inputs, found, limits)


def multilabel_accuracy(
    name: str,
    inputs: Callable[[torch.device], Inputs],
    num_labels: int,
    limits: dict[str, float],
    kind: Callable[..., Call] = update,
) -> Workload:
    found = _class_calls(
        "MultilabelAccuracy", "label_confusion_", LABEL_CONFUSION_TAIL, kind, num_labels=num_labels
    )
    if kind is update:
        found["torcheval"] = update(lambda: te.MultilabelAccuracy(criteria="hamming"))
    return Workload(f"{_word(kind)}/multilabel_accuracy/{name}", inputs, found, limits)


def multilabel_exact_match(
    name: str,
    inputs: Callable[[torch.device], Inputs],
    num_labels: int,
    limits: dict[str, float] = NEVER_SLOWER,
    kind: Callable[..., Call] = update,
) -> Workload:
    found = _class_calls(
        "MultilabelExactMatch",
        "label_exact_match_",
        (None, num_labels, *LABEL_EXACT_MATCH_TAIL),
        kind,
        num_labels=num_labels,
    )
    if kind is update:
        found["torcheval"] = update(lambda: te.MultilabelAccuracy(criteria="exact_match"))
    return Workload(f"{_word(kind)}/multilabel_exact_match/{name}", inputs, found, limits)


def multiclass_exact_match(
    name: str,
    inputs: Callable[[torch.device], Inputs],
    num_classes: int,
    limits: dict[str, float] = NEVER_SLOWER,
    kind: Callable[..., Call] = update,
) -> Workload:
    found = _class_calls(
        "MulticlassExactMatch",
        "exact_match_",
        (None, num_classes, None, True),
        kind,
        num_classes=num_classes,
    )
    return Workload(f"{_word(kind)}/multiclass_exact_match/{name}", inputs, found, limits)


def samplewise(
    name: str,
    inputs: Callable[[torch.device], Inputs],
    num_classes: int,
    kind: Callable[..., Call] = update,
) -> Workload:
    arguments = {"num_classes": num_classes, "multidim_average": "samplewise"}
    found = {
        OURS: kind(partial(fast.MulticlassAccuracy, **arguments)),
        "torchmetrics": kind(lambda: tm.classification.MulticlassAccuracy(**arguments)),
    }
    return Workload(f"{_word(kind)}/multiclass_accuracy/samplewise/{name}", inputs, found)


def collection(
    name: str,
    inputs: Callable[[torch.device], Inputs],
    num_classes: int,
    kind: Callable[..., Call] = update,
) -> Workload:
    """Five metrics of one statistic."""
    names = ("Accuracy", "Precision", "Recall", "F1Score", "Specificity")

    def metrics(home: Any) -> dict[str, Any]:
        return {metric: getattr(home, f"Multiclass{metric}")(num_classes) for metric in names}

    found = {
        OURS: kind(lambda: MetricCollection(metrics(fast))),
        "torchmetrics": kind(lambda: tm.MetricCollection(metrics(tm.classification))),
    }
    return Workload(f"{_word(kind)}/collection_of_5/{name}", inputs, found)


SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)


def functional_calls() -> list[Workload]:
    """Whole calls from labels to a value, over the sizes; here scikit-learn can compete."""
    rows = []
    for size in SIZES:
        rows += [
            _functional(
                "multiclass_accuracy",
                size,
                "accuracy_score",
                {"num_classes": 10, "average": "micro"},
                torcheval=lambda preds, target: te_functional.multiclass_accuracy(preds, target),
            ),
            _functional(
                "multiclass_confusion_matrix",
                size,
                "confusion_matrix",
                {"num_classes": 10},
                {"labels": list(range(10))},
                lambda preds, target: te_functional.multiclass_confusion_matrix(preds, target, 10),
            ),
        ]
    for size in (1_000, 1_000_000):
        macro = {"average": "macro"}
        rows += [
            _functional("multiclass_precision", size, "precision_score", _macro(), macro),
            _functional("multiclass_recall", size, "recall_score", _macro(), macro),
            _functional("multiclass_f1_score", size, "f1_score", _macro(), macro),
            _functional("multiclass_jaccard_index", size, "jaccard_score", _macro(), macro),
            _functional("multiclass_cohen_kappa", size, "cohen_kappa_score", {"num_classes": 10}),
            _functional(
                "multiclass_matthews_corrcoef", size, "matthews_corrcoef", {"num_classes": 10}
            ),
        ]
    return rows


def _macro() -> dict[str, Any]:
    return {"num_classes": 10, "average": "macro"}


def _functional(
    name: str,
    size: int,
    sklearn: str,
    arguments: dict[str, Any],
    sklearn_arguments: dict[str, Any] | None = None,
    torcheval: Callable[..., Any] | None = None,
) -> Workload:
    found = {
        OURS: function(partial(getattr(fast_functional, name), **arguments)),
        "torchmetrics": function(
            lambda preds, target: getattr(tm_functional, name)(preds, target, **arguments)
        ),
        "scikit-learn": arrays(
            lambda target, preds: getattr(sk, sklearn)(target, preds, **(sklearn_arguments or {}))
        ),
    }
    if torcheval is not None:
        found["torcheval"] = function(torcheval)
    return Workload(f"functional/{name}/labels/{size}", labels(size, num_classes=10), found)


def workloads(device: torch.device) -> list[Workload]:
    """Return all of them, large ones first; the floor and the call are targets of the CPU alone."""
    rows = [*large_updates(), *small_updates(), *functional_calls()]
    rows += [*hinge_losses(), *label_rankings()]
    if device.type == "cpu":
        return rows
    return [replace(row, limits=NEVER_SLOWER) for row in rows]
