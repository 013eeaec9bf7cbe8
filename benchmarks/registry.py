"""The workloads: one entry each, with its inputs, the call of each library, and its targets."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

import fastmetrics as root
import fastmetrics.classification as fast
import fastmetrics.functional as fast_functional
import fastmetrics.regression as fast_regression
from benchmarks import calls
from benchmarks.calls import (
    Call,
    Inputs,
    Started,
    arrays,
    bare,
    find,
    forward,
    function,
    reference,
    update,
    update_and_compute,
    update_in_batches,
)
from benchmarks.detection import mean_average_precisions
from benchmarks.every import every_metric
from benchmarks.inputs import (
    distributions,
    labels,
    numbers,
    pairs,
    positive_numbers,
    probabilities,
    ranked,
    scores,
    tokens,
    with_members,
)
from benchmarks.ngrams import ngram_scores
from benchmarks.plain import PLAIN
from benchmarks.scaling import SAMPLES, scaling
from benchmarks.segmentation import segmentations
from benchmarks.small import small
from benchmarks.texts import edits_of_texts
from benchmarks.workload import (
    BINNED,
    FLOOR,
    MEMBER,
    NEVER_SLOWER,
    OP,
    OURS,
    PLAIN_TORCH,
    REFERENCE,
    Workload,
    sk,
    stats,
    te,
    te_functional,
    tm,
)
from fastmetrics import MetricCollection
from fastmetrics.ops.calibration import bin_edges
from fastmetrics.ops.thresholds import make_grid
from fastmetrics.text import Perplexity

tm_functional = find("torchmetrics.functional.classification")

SMALL_UPDATE = {**NEVER_SLOWER, "torchmetrics": 1 / 10, OP: 3.0}
# torchmetrics only keeps the scores here, so most of either time is the cost of a call.
SMALL_CALIBRATION = {**NEVER_SLOWER, "torchmetrics": 1 / 5}
SMALL_FORWARD = {**NEVER_SLOWER, "torchmetrics": 1 / 12}


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


def calibration(
    name: str,
    inputs: Callable[[torch.device], Inputs],
    num_classes: int | None = None,
    limits: dict[str, float] = NEVER_SLOWER,
    kind: Callable[..., Call] = update,
) -> Workload:
    """Calibration error; binary without ``num_classes``."""
    task = "binary" if num_classes is None else "multiclass"
    found = _class_calls(
        f"{task.capitalize()}CalibrationError",
        "calibration_bins_",
        (None, bin_edges(15), num_classes or 0, False, None, True),
        kind,
        **({} if num_classes is None else {"num_classes": num_classes}),
    )
    return Workload(f"{_word(kind)}/{task}_calibration_error/{name}", inputs, found, limits)


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
    note = ""
    if kind is update and not with_torcheval:
        note = "torcheval left out: no [N, C, ...], and averages over the classes that occur"
    return Workload(name, inputs, found, limits, note=note)


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
        calibration("1000000", probabilities(1_000_000)),
        calibration("logits/65536x100", scores(65536, num_classes=100), 100),
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


def perplexities() -> list[Workload]:
    """Logits of language models, against the lines of plain torch for one batch."""
    tail = (None, None, True)

    def at_classes(kind: Callable[..., Call]) -> Call:
        found = kind(Perplexity, "cross_entropy_sums_", *tail)
        return lambda inputs: found((inputs[0].movedim(-1, 1), inputs[1]))

    found = {
        OURS: update(Perplexity),
        "torchmetrics": update(lambda: tm.text.Perplexity()),
        PLAIN_TORCH: function(PLAIN["Perplexity"]),
        OP: at_classes(bare),
    }
    widened = function(lambda preds, target: PLAIN["Perplexity"](preds.float(), target))
    narrow = {OURS: found[OURS], PLAIN_TORCH: widened, OP: found[OP]}
    note = "torchmetrics' probabilities are bfloat16, its value some percent off"
    large = NEVER_SLOWER | {FLOOR: 1.5}
    # Theirs are float32, whose mean losses err by some 1e-5: the exponentials of these by more.
    row = partial(Workload, tolerance=3e-3)
    name = "update/Perplexity"
    return [
        row(f"{name}/8x512x32000", tokens(8, 512, 32_000), found, large),
        row(
            f"{name}/bfloat16/8x512x32000",
            tokens(8, 512, 32_000, torch.bfloat16),
            narrow,
            large,
            note=note,
        ),
        row(f"{name}/2x128x262144", tokens(2, 128, 262_144), found, large),
        row(f"{name}/8x16x1000", tokens(8, 16, 1_000), found, NEVER_SLOWER),
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
            calibration("64", probabilities(64), None, SMALL_CALIBRATION, kind),
            calibration("logits/64x10", scores(64, num_classes=10), 10, SMALL_CALIBRATION, kind),
            samplewise("64x10x16", scores(64, 16, num_classes=10), 10, kind),
        ]
    return rows


# Torchmetrics' time over ours that large updates must reach, where it can be told beforehand.
REGRESSION_GAIN = {"MeanSquaredError": 4.0}


def regression_updates() -> list[Workload]:
    """Metrics over error sums: what memory gives for large batches, what a call costs for small."""
    rows = []
    for metric, arguments, te_name in (
        ("MeanSquaredError", {}, "MeanSquaredError"),
        ("MeanAbsoluteError", {}, None),
        ("MeanSquaredLogError", {}, None),
        ("MeanAbsolutePercentageError", {}, None),
        ("SymmetricMeanAbsolutePercentageError", {}, None),
        ("WeightedMeanAbsolutePercentageError", {}, None),
        ("LogCoshError", {}, None),
        ("MinkowskiDistance", {"p": 3}, None),
        ("TweedieDevianceScore", {"power": 1.5}, None),
        ("CriticalSuccessIndex", {"threshold": 0.5}, None),
    ):
        for size in (1_000_000, 64):
            limits = dict(NEVER_SLOWER)
            if size == 1_000_000 and metric in ("MeanSquaredError", "MeanAbsoluteError"):
                limits |= {FLOOR: 1.5, "torchmetrics": 1 / REGRESSION_GAIN.get(metric, 1.0)}
            elif size == 64 and metric != "CriticalSuccessIndex":
                limits["torchmetrics"] = 1 / 5
            found = {
                OURS: update(partial(getattr(fast_regression, metric), **arguments)),
                "torchmetrics": update(partial(_peer_regression, metric, arguments)),
            }
            if te_name is not None:
                found["torcheval"] = update(partial(_torcheval, te_name))
            rows.append(Workload(f"update/{metric}/{size}", positive_numbers(size), found, limits))
    for power in (0, 1, 2, 3):
        for size in (1_000_000, 64):
            found = {
                OURS: update(partial(fast_regression.TweedieDevianceScore, power)),
                "torchmetrics": update(
                    partial(_peer_regression, "TweedieDevianceScore", {"power": power})
                ),
            }
            name = f"update/TweedieDevianceScore/power{power}/{size}"
            rows.append(Workload(name, positive_numbers(size), found))
    for outputs in (3, 100):
        arguments = {"num_outputs": outputs}
        found = {
            OURS: update(partial(fast_regression.MeanSquaredError, **arguments)),
            "torchmetrics": update(partial(_peer_regression, "MeanSquaredError", arguments)),
        }
        name = f"update/MeanSquaredError/{1_000_000 // outputs}x{outputs}"
        rows.append(Workload(name, positive_numbers(1_000_000 // outputs, outputs), found))
    found = {
        OURS: update(fast_regression.ContinuousRankedProbabilityScore),
        "torchmetrics": update(partial(_peer_regression, "ContinuousRankedProbabilityScore", {})),
    }
    rows.append(
        Workload(
            "update/ContinuousRankedProbabilityScore/10000x50", with_members(10_000, 50), found
        )
    )
    return rows


def _peer_regression(metric: str, arguments: dict[str, Any]) -> Any:
    return getattr(tm.regression, metric)(**arguments)


def _torcheval(metric: str) -> Any:
    return getattr(te, metric)()


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


def _collection_limits(share: float | None, kind: Callable[..., Call]) -> dict[str, float]:
    """Limits for updates; ``share`` is how much longer than one member they may take."""
    if kind is not update:
        return NEVER_SLOWER
    limits = {**NEVER_SLOWER, "torchmetrics": 1 / 15}
    return limits if share is None else {**limits, MEMBER: share}


def collections() -> list[Workload]:
    """Metrics of one statistic, of several, and of sums of errors, each held to a member."""
    classes, home = scores(64, num_classes=10), tm.classification if tm else None
    many = scores(65536, num_classes=10)
    numbers, error_home = pairs(64), tm.regression if tm else None
    more_numbers = pairs(1_000_000)
    same = [
        f"Multiclass{name}"
        for name in ["Accuracy", "Precision", "Recall", "F1Score", "Specificity"]
    ]

    def of_one_statistic(home: Any) -> dict[str, Any]:
        return {name: getattr(home, name)(10) for name in same}

    def of_many(home: Any) -> dict[str, Any]:
        found = {name: getattr(home, name)(10) for name in (same[0], same[3])}
        found["auroc"] = home.MulticlassAUROC(10, thresholds=200)
        found["calibration"] = home.MulticlassCalibrationError(10)
        found["confusion"] = home.MulticlassConfusionMatrix(10)
        return found

    def of_errors(home: Any) -> dict[str, Any]:
        names = ["MeanSquaredError", "MeanAbsoluteError", "R2Score", "PearsonCorrCoef"]
        return {name: getattr(home, name)() for name in names}

    rows = []
    for word, make, own, theirs, dearest, share, held, sizes in (
        (
            "one_statistic",
            of_one_statistic,
            fast,
            home,
            same[0],
            1.15,
            ("small", "large"),
            (classes, many),
        ),
        ("many", of_many, fast, home, "auroc", 1.3, ("large",), (classes, many)),
        (
            "errors",
            of_errors,
            fast_regression,
            error_home,
            "R2Score",
            None,
            (),
            (numbers, more_numbers),
        ),
    ):
        for kind in (update, forward):
            for inputs, size in zip(sizes, ("small", "large"), strict=True):
                rows.append(
                    Workload(
                        f"{_word(kind)}/collection_of_{word}/{size}",
                        inputs,
                        {
                            OURS: kind(lambda m=make, h=own: MetricCollection(m(h))),
                            "torchmetrics": kind(
                                lambda m=make, h=theirs: tm.MetricCollection(m(h))
                            ),
                            MEMBER: kind(lambda m=make, h=own, d=dearest: m(h)[d]),
                        },
                        _collection_limits(share if size in held else None, kind),
                    )
                )
    return rows


def aggregates() -> list[Workload]:
    """Running aggregates: single numbers, losses of a small batch, long tensors."""
    rows = []
    for name in ("MeanMetric", "SumMetric", "MaxMetric"):
        found = {
            OURS: calls.update_number(lambda name=name: getattr(root, name)()),
            "torchmetrics": calls.update_number(lambda name=name: getattr(tm, name)()),
        }
        one, limits = numbers((1,)), {**NEVER_SLOWER, "torchmetrics": 1 / 10}
        rows.append(Workload(f"update/{name}/number", one, found, limits))
        for size, limit in ((64, 1 / 5), (1_000_000, 1 / 10)):
            found = {
                OURS: update(lambda name=name: getattr(root, name)()),
                "torchmetrics": update(lambda name=name: getattr(tm, name)()),
            }
            limits = {**NEVER_SLOWER, "torchmetrics": limit}
            if size > 64:
                limits[FLOOR] = 2.5 if name == "MaxMetric" else 1.5
            rows.append(Workload(f"update/{name}/{size}", numbers((size,)), found, limits))
    found = {
        OURS: update(lambda: root.MeanMetric()),
        "torchmetrics": update(lambda: tm.MeanMetric()),
    }
    shapes = ((1_000_000,), (1_000_000,))
    rows.append(Workload("update/MeanMetric/weighted/1000000", numbers(*shapes), found))
    return rows


def row_similarities() -> list[Workload]:
    """Cosine similarity and divergences, in small batches and over wide and narrow rows."""
    rows = []
    for name in ("CosineSimilarity", "KLDivergence", "JensenShannonDivergence"):
        for shape, limit in (((64, 10), 1 / 5), ((10_000, 100), 1 / 2), ((250_000, 4), 1 / 2)):
            # torchmetrics only keeps the rows of a cosine, so calls with a value are compared.
            kind = forward if name == "CosineSimilarity" else update
            arguments = {"reduction": "mean"}
            found = {
                OURS: kind(partial(getattr(fast_regression, name), **arguments)),
                "torchmetrics": kind(
                    lambda name=name, arguments=arguments: getattr(tm.regression, name)(**arguments)
                ),
            }
            size = "x".join(map(str, shape))
            limits = {**NEVER_SLOWER, "torchmetrics": limit}
            word = f"{_word(kind)}/{name}/{size}"
            rows.append(Workload(word, distributions(*shape), found, limits))
    return rows


def curve_updates() -> list[Workload]:
    """Updates of curves: counts between thresholds, and counts of ranked scores."""
    binned = {**NEVER_SLOWER, "torchmetrics": 1 / 200, FLOOR: 4.0}
    many = {**NEVER_SLOWER, "torchmetrics": 1 / 100}
    small = {**NEVER_SLOWER, "torchmetrics": 1 / 12}
    rows = [
        binned_area("binary/200/1000000", ranked(10**6), 200, binned),
        binned_area(
            "binary/4096/1000000",
            ranked(10**6),
            4096,
            {FLOOR: 4.0},
            without_torchmetrics="torchmetrics left out: a pass for each threshold",
        ),
        binned_area("binary/200/64", ranked(64), 200, small),
        binned_area("binary/200/64", ranked(64), 200, NEVER_SLOWER, kind=forward),
    ]
    for task, classes in (("multiclass", "num_classes"), ("multilabel", "num_labels")):
        for size in (65_536, 4_096, 64):
            inputs = ranked(size, num_classes=100) if task == "multiclass" else ranked(size, 100)
            rows.append(
                binned_area(
                    f"{task}/200/{size}x100",
                    inputs,
                    200,
                    {} if size == 65_536 else many if size == 4_096 else NEVER_SLOWER,
                    without_torchmetrics="torchmetrics left out: gigabytes" if size > 4_096 else "",
                    **{classes: 100},
                )
            )
    ranked_area = partial(fast.BinaryAUROC, thresholds="auto")
    rows.append(
        Workload(
            "update/auroc/binary/ranked/10000000_by_4096",
            ranked(10**7),
            {
                OURS: update_in_batches(ranked_area, 4096),
                BINNED: update_in_batches(partial(fast.BinaryAUROC, thresholds=200), 4096),
            },
            {BINNED: 3.0},
            # Between 200 thresholds ties hide more.
            tolerance=1e-4,
        )
    )
    return rows


def binned_area(
    name: str,
    inputs: Callable[[torch.device], Inputs],
    thresholds: int,
    limits: dict[str, float],
    kind: Callable[..., Call] = update,
    without_torchmetrics: str = "",
    **arguments: int,
) -> Workload:
    """The area under the ROC curve between uniform thresholds."""
    task = name.partition("/")[0]
    multiclass = task == "multiclass"
    grid = make_grid(thresholds, "auto", multiclass)
    found = _class_calls(
        f"{task.capitalize()}AUROC",
        "score_histogram_",
        (None, grid.edges, grid.uniform, multiclass, False, None, True),
        kind,
        thresholds=thresholds,
        **arguments,
    )
    if without_torchmetrics:
        del found["torchmetrics"]
    name = f"{_word(kind)}/auroc/{name}"
    return Workload(name, inputs, found, limits, note=without_torchmetrics)


# By metric: the name in torcheval and the function of scikit-learn.
EXACT_AREAS = {
    "AUROC": ("BinaryAUROC", "roc_auc_score"),
    "AveragePrecision": ("BinaryAUPRC", "average_precision_score"),
}
AREA_FUNCTIONS = {"AUROC": "binary_auroc", "AveragePrecision": "binary_average_precision"}


def exact_areas() -> list[Workload]:
    """Areas of all scores, from tensors to a value: sorting decides."""
    rows = []
    for size, limits in (
        (10**6, {"torchmetrics": 1 / 12, "scikit-learn": 1 / 25}),
        (10**7, {"torchmetrics": 1 / 15}),
    ):
        for metric, (torcheval, sklearn) in EXACT_AREAS.items():
            found = {
                OURS: update_and_compute(getattr(fast, f"Binary{metric}")),
                "torchmetrics": update_and_compute(
                    lambda metric=metric: getattr(tm.classification, f"Binary{metric}")()
                ),
                "torcheval": update_and_compute(lambda name=torcheval: getattr(te, name)()),
                "scikit-learn": arrays(
                    lambda target, preds, name=sklearn: getattr(sk, name)(target, preds)
                ),
            }
            rows.append(
                Workload(
                    f"exact/{metric}/binary/{size}",
                    ranked(size),
                    found,
                    NEVER_SLOWER | limits,
                    series=(f"{AREA_FUNCTIONS[metric]} by samples", size),
                )
            )
    arguments = {"num_classes": 10}
    found = _class_calls("MulticlassAUROC", "", (), update_and_compute, **arguments)
    name = "exact/AUROC/multiclass/65536x10"
    rows.append(Workload(name, ranked(65_536, num_classes=10), found))
    return rows


def area_functions() -> list[Workload]:
    """Whole calls on few scores."""
    rows = []
    # A single sample has one label alone, for which the libraries differ.
    for size in SAMPLES[1:6]:
        for metric, (torcheval, sklearn) in EXACT_AREAS.items():
            name = AREA_FUNCTIONS[metric]
            found = {
                OURS: function(getattr(fast_functional, name)),
                "torchmetrics": function(
                    lambda preds, target, name=name: getattr(tm_functional, name)(preds, target)
                ),
                "torcheval": function(
                    lambda preds, target, name=torcheval: getattr(
                        te_functional, name.replace("Binary", "binary_").lower()
                    )(preds, target)
                ),
                "scikit-learn": arrays(
                    lambda target, preds, name=sklearn: getattr(sk, name)(target, preds)
                ),
            }
            rows.append(
                Workload(
                    f"functional/{name}/{size}",
                    ranked(size),
                    found,
                    series=(f"{name} by samples", size),
                )
            )
    return rows


def functional_calls() -> list[Workload]:
    """Whole calls from labels to a value, over the sizes; here scikit-learn can compete."""
    rows = []
    for size in SAMPLES:
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
    return Workload(
        f"functional/{name}/labels/{size}",
        labels(size, num_classes=10),
        found,
        series=(f"{name} of labels by samples", size),
    )


# Limits on our time divided by theirs, for 1e6 pairs.
CORRELATIONS = {
    "R2Score": {"torchmetrics": 1 / 6, FLOOR: 1.5},
    "ExplainedVariance": {FLOOR: 1.5},
    "PearsonCorrCoef": {"torchmetrics": 1 / 15, FLOOR: 1.5},
    "ConcordanceCorrCoef": {"torchmetrics": 1 / 15, FLOOR: 1.5},
    "RelativeSquaredError": {FLOOR: 1.5},
    "NormalizedRootMeanSquaredError": {FLOOR: 1.5},
}


def correlations() -> list[Workload]:
    """Metrics on co-moments: large inputs, training-step batches, and several outputs."""
    rows = []
    for metric, limits in CORRELATIONS.items():

        def calls_of(name: str, **arguments: Any) -> dict[str, Call]:
            return {
                OURS: update(partial(getattr(fast_regression, name), **arguments)),
                "torchmetrics": update(lambda: getattr(tm.regression, name)(**arguments)),
            }

        found = calls_of(metric)
        if metric == "R2Score":
            found["torcheval"] = update(lambda: te.R2Score())
        name = f"update/{metric}"
        rows.append(Workload(f"{name}/1000000", pairs(10**6), found, NEVER_SLOWER | limits))
        small = {**NEVER_SLOWER, "torchmetrics": 1 / 5}
        rows.append(Workload(f"{name}/64", pairs(64), found, small))
        outputs = {} if metric in ("R2Score", "ExplainedVariance") else {"num_outputs": 10}
        found = calls_of(metric, **outputs)
        rows.append(Workload(f"{name}/100000x10", pairs(100_000, 10), found))
    return rows


def gradient_statistics() -> list[Workload]:
    """All layers in one call, against a loop over the parameters in plain torch."""
    rows = []
    for name, shapes, limit in (
        ("200x64", ((64,),) * 200, 1 / 10),
        ("128x64x64", ((64, 64),) * 128, 1 / 5),
        ("20x100000", ((100_000,),) * 20, 1 / 2),
    ):
        found = {OURS: _gradient_stats, REFERENCE: _gradient_loop}
        limits = {REFERENCE: limit}
        rows.append(Workload(f"update/GradientStats/{name}", numbers(*shapes), found, limits))
    return rows


def _layers(gradients: Inputs) -> torch.nn.ParameterList:
    layers = torch.nn.ParameterList(torch.empty_like(x) for x in gradients)
    for layer, gradient in zip(layers, gradients, strict=True):
        layer.grad = gradient
    return layers


def _gradient_stats(gradients: Inputs) -> Started:
    metric, layers = root.GradientStats().to(gradients[0].device), _layers(gradients)
    return Started(
        partial(metric.update, layers),
        lambda: torch.stack([*map(_double, metric.compute().values())]),
    )


def _gradient_loop(gradients: Inputs) -> Started:
    layers = _layers(gradients)
    rows: list[Any] = []

    def run() -> None:
        rows.clear()
        for _, layer in layers.named_parameters():
            x = layer.grad
            rows.append((x.min(), x.mean(), x.max(), x.norm(), x.isnan().sum(), x.isinf().sum()))

    return Started(run, lambda: torch.stack([torch.stack([*map(_double, row)]) for row in rows]).T)


def _double(x: torch.Tensor) -> torch.Tensor:
    return x.double()


def top_samples() -> list[Workload]:
    """The samples with extreme scores, against two calls of `torch.topk`."""
    rows = []
    for size, k in ((64, 10), (4096, 10), (1_000_000, 10), (1_000_000, 1000)):
        found = {OURS: partial(_top_samples, k), REFERENCE: partial(_topk, k)}
        name = f"update/TopSamples/{size}/top{k}"
        rows.append(Workload(name, numbers((size,)), found, {REFERENCE: 1.0}))
    return rows


def _top_samples(k: int, scores: Inputs) -> Started:
    metric = root.TopSamples(k).to(scores[0].device)

    def value() -> torch.Tensor:
        fresh = root.TopSamples(k).to(scores[0].device)
        return torch.cat([*map(_double, fresh(*scores).values())])

    return Started(partial(metric.update, *scores), value)


def _topk(k: int, batch: Inputs) -> Started:
    (scores,) = batch
    top = {side: torch.empty(0, device=scores.device) for side in (True, False)}
    ids = {side: torch.empty(0, device=scores.device, dtype=torch.int64) for side in top}
    numbered = torch.arange(len(scores), device=scores.device)

    def run() -> None:
        for side in top:
            pool = torch.cat([top[side], scores])
            top[side], places = pool.topk(k, largest=side)
            ids[side] = torch.cat([ids[side], numbered])[places]

    return Started(
        run,
        lambda: torch.cat([_double(x[side]) for side in (True, False) for x in (top, ids)]),
    )


def rank_correlations() -> list[Workload]:
    """Whole calls to a value; for Kendall's torchmetrics compares every pair."""
    rows = []
    for name, rival in (
        ("spearman_corrcoef", "spearmanr"),
        ("kendall_rank_corrcoef", "kendalltau"),
    ):
        for size in (64, 1_000, 1_000_000):
            found = {
                OURS: function(getattr(fast_functional, name)),
                "SciPy": arrays(
                    lambda target, preds, rival=rival: getattr(stats, rival)(preds, target)[0]
                ),
            }
            limits = NEVER_SLOWER
            if name == "spearman_corrcoef" or size <= 1_000:
                found["torchmetrics"] = function(
                    lambda preds, target, name=name: getattr(tm.functional.regression, name)(
                        preds, target
                    )
                )
            if name == "spearman_corrcoef" and size == 1_000_000:
                limits = {"torchmetrics": 1 / 8, "SciPy": 1 / 8}
            rows.append(Workload(f"functional/{name}/{size}", pairs(size), found, limits))
    return rows


def workloads(device: torch.device) -> list[Workload]:
    """Return all of them, large ones first; the floor and the call are targets of the CPU alone."""
    rows = [
        *large_updates(),
        *small_updates(),
        *functional_calls(),
        *regression_updates(),
        *correlations(),
        *rank_correlations(),
        *aggregates(),
        *collections(),
        *row_similarities(),
        *hinge_losses(),
        *perplexities(),
        *curve_updates(),
        *exact_areas(),
        *area_functions(),
        *label_rankings(),
        *gradient_statistics(),
        *top_samples(),
        *edits_of_texts(),
        *ngram_scores(),
        *segmentations(),
        *mean_average_precisions(),
        *every_metric(),
        *scaling(),
        *small(),
    ]
    if device.type == "cpu":
        return rows
    return [replace(row, limits=NEVER_SLOWER) for row in rows]


def quick_part(rows: list[Workload]) -> list[Workload]:
    """Return the updates and the calls with small batches; every metric has one of them."""
    return [row for row in rows if row.name.startswith(("update/", "forward/", "small/"))]
