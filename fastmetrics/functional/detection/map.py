"""Mean average precision and recall of detections, as the COCO tools define them.

Source: T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; the values are those
of its evaluation (https://github.com/cocodataset/cocoapi).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastmetrics.core.states import Batch, States
from fastmetrics.functional._public import public
from fastmetrics.ops.detections import BOX_FORMATS, KEYS, Images
from fastmetrics.ops.kept_matches import CPU, RANGES, Matches
from fastmetrics.ops.match_curves import match_curves_
from fastmetrics.utilities.checks import as_floats, check_bool, check_choice
from fastmetrics.utilities.prints import rank_zero_warn

__all__ = ["mean_average_precision"]

BACKENDS = ("pycocotools", "faster_coco_eval")
_LIMITS = 3


class Curves(NamedTuple):
    """What is known of each class K, range of areas A, limit M, threshold T and recall R.

    Attributes:
        precision: float64 ``[K, A, M, T, R]``.
        recall: float64 ``[K, A, M, T]``, the highest.
        scores: float64 ``[K, A, M, T, R]``, those at which the recalls are reached, or None.
    """

    precision: Tensor
    recall: Tensor
    scores: Tensor | None


def _steps(start: float, end: float, count: int) -> list[float]:
    return torch.linspace(start, end, count, dtype=torch.float32, device="cpu").tolist()


def _checked_list(name: str, values: Any, default: list[float]) -> list[float]:
    if values is not None and not isinstance(values, list):
        raise ValueError(f"`{name}` must be None or a list of numbers, got {values!r}.")
    return as_floats(name, values) if values else default


class Settings(NamedTuple):
    """What is read off the matches.

    Attributes:
        recalls: at which precision is read.
        limits: how many detections of a class and image count, rising.
        class_metrics: whether each class has its own values.
        extended: whether the curves and the IoU are part of the value.
    """

    recalls: list[float]
    limits: list[int]
    class_metrics: bool
    extended: bool


def checked(
    *,
    box_format: str = "xyxy",
    iou_type: str | Sequence[str] = "bbox",
    iou_thresholds: list[float] | None = None,
    rec_thresholds: list[float] | None = None,
    max_detection_thresholds: list[int] | None = None,
    class_metrics: bool = False,
    extended_summary: bool = False,
    average: str = "macro",
    backend: str = "pycocotools",
) -> tuple[Matches, Settings]:
    """Return what is counted and what is read off it, or raise ``ValueError``."""
    check_choice("box_format", box_format, BOX_FORMATS)
    types = tuple(iou_type) if isinstance(iou_type, (list, tuple)) else (iou_type,)
    for each in types or ("",):
        check_choice("iou_type", each, KEYS)
    limits = max_detection_thresholds
    if limits is not None and not isinstance(limits, list):
        raise ValueError(f"`max_detection_thresholds` must be None or a list, got {limits!r}.")
    if limits and len(limits) != _LIMITS:
        raise ValueError(
            f"`max_detection_thresholds` must hold {_LIMITS} numbers, got {len(limits)}."
        )
    check_bool("class_metrics", class_metrics)
    check_bool("extended_summary", extended_summary)
    check_choice("average", average, ("macro", "micro"))
    check_choice("backend", backend, BACKENDS)
    rising = sorted(map(int, as_floats("max_detection_thresholds", limits or [1, 10, 100])))
    statistic = Matches(
        iou_types=types,
        thresholds=tuple(_checked_list("iou_thresholds", iou_thresholds, _steps(0.5, 0.95, 10))),
        max_dets=max(rising[-1], 0),
        together=average == "micro",
        by_class=average == "micro" and class_metrics,
        box_format=box_format,
        keeps_ious=extended_summary,
    )
    recalls = _checked_list("rec_thresholds", rec_thresholds, _steps(0, 1, 101))
    return statistic, Settings(recalls, rising, class_metrics, extended_summary)


def curves_of(
    statistic: Matches, states: States, name: str, settings: Settings, *, scores: bool = False
) -> Curves:
    """Return the curves from the rows of that name."""
    _, by_class = statistic.groupings[name]
    rows, classes = statistic.rows_of(states, name), statistic.classes(states)
    t, a, m = len(statistic.thresholds), len(RANGES), len(settings.limits)
    k, r = len(classes) if by_class else 1, len(settings.recalls)
    shape = (k, a, m, t, r)
    curves = Curves(
        torch.empty(shape, dtype=torch.float64),
        torch.empty((k, a, m, t), dtype=torch.float64),
        torch.empty(shape, dtype=torch.float64) if scores else None,
    )
    match_curves_(*curves, rows, classes, settings.recalls, settings.limits, by_class)
    return curves


def _over_classes(values: Tensor) -> Tensor:
    """Return means ``[A, ...]`` over those classes K whose values are known, -1 if none is.

    Whether anything is known depends on class and range of areas alone.
    """
    known = values > -1
    sums, counts = torch.where(known, values, 0).sum(0), known.sum(0)
    return torch.where(counts > 0, sums / counts, -1)


def _mean_of_classes(values: Tensor) -> Tensor:
    """Return the mean of each class ``[K, ...]``, all of whose values are known, or -1 each."""
    return values.flatten(1).mean(1).float()


def summary(
    curves: Curves, thresholds: Sequence[float], limits: Sequence[int]
) -> dict[str, Tensor]:
    """Return the twelve means of COCO, float32 scalars, -1 where nothing is known."""
    precision = _over_classes(curves.precision[:, :, -1].mean(-1))
    recall = _over_classes(curves.recall).mean(-1)

    def at(threshold: float) -> Tensor:
        places = [i for i, t in enumerate(thresholds) if t == threshold]
        return precision[0, places].mean() if places else torch.tensor(-1.0)

    areas, sizes = precision.mean(-1), [*enumerate(RANGES)][1:]
    values = {
        "map": areas[0],
        "map_50": at(0.5),
        "map_75": at(0.75),
        **{f"map_{size}": areas[a] for a, size in sizes},
        **{f"mar_{limit}": recall[0, m] for m, limit in enumerate(limits)},
        **{f"mar_{size}": recall[a, -1] for a, size in sizes},
    }
    return {name: value.float() for name, value in values.items()}


def _as_upstream(curve: Tensor) -> Tensor:
    """Return a curve ``[K, A, M, T, ...]`` as the COCO tools have it, ``[T, ..., K, A, M]``."""
    return curve.permute(*range(3, curve.ndim), 0, 1, 2).contiguous()


def evaluate(statistic: Matches, states: States, settings: Settings) -> dict[str, Any]:
    """Return all values that matches tell, on the CPU."""
    results: dict[str, Any] = {}
    for iou_type in statistic.iou_types:
        curves = curves_of(statistic, states, iou_type, settings, scores=settings.extended)
        found: dict[str, Any] = summary(curves, statistic.thresholds, settings.limits)
        if settings.extended:
            found["ious"] = statistic.ious(states, iou_type)
            named = zip(("precision", "recall", "scores"), curves, strict=True)
            found |= {key: _as_upstream(x) for key, x in named if x is not None}
        if settings.class_metrics and statistic.by_class:
            curves = curves_of(statistic, states, f"{iou_type}_by_class", settings)
        last = f"mar_{settings.limits[-1]}_per_class"
        found |= {"map_per_class": torch.tensor(-1.0), last: torch.tensor(-1.0)}
        if settings.class_metrics:
            found["map_per_class"] = _mean_of_classes(curves.precision[:, 0, -1])
            found[last] = _mean_of_classes(curves.recall[:, 0, -1])
        prefix = f"{iou_type}_" if len(statistic.iou_types) > 1 else ""
        results |= {f"{prefix}{key}": value for key, value in found.items()}
    results["classes"] = statistic.classes(states).to(torch.int32)
    return results


def precision_over_recall(
    statistic: Matches, states: States, settings: Settings, label: int | None, iou: float
) -> tuple[list[float], Tensor]:
    """Return recalls, and precision at each of them, of one class or of the mean of classes.

    Raises:
        ValueError: no class of this label came.
    """
    name = [*statistic.groupings][-1]
    curves = curves_of(statistic, states, name, settings)
    t = min(range(len(statistic.thresholds)), key=lambda i: abs(statistic.thresholds[i] - iou))
    precision = curves.precision[:, 0, -1, t]
    if label is None:
        return settings.recalls, precision[precision[:, 0] > -1].mean(0)
    classes = statistic.classes(states).tolist()
    if label not in classes or not statistic.groupings[name][1]:
        raise ValueError(f"`label` must be one of the classes that came, {classes}, got {label}.")
    return settings.recalls, precision[classes.index(label)]


def warn_of_many(preds: Images, limit: int) -> None:
    """Warn if an image has more detections than are matched."""
    sizes = map(Tensor.numel, [image["labels"] for image in preds])
    if any(map(limit.__lt__, sizes)):
        rank_zero_warn(
            f"An image has more than {limit} detections: of those of a class, the ones with the"
            " lowest scores do not count. `max_detection_thresholds` sets the limit;"
            " `warn_on_many_detections=False` silences this.",
            UserWarning,
        )


@public
def mean_average_precision(
    preds: list[dict[str, Any]],
    target: list[dict[str, Any]],
    box_format: str = "xyxy",
    iou_type: str | tuple[str, ...] = "bbox",
    iou_thresholds: list[float] | None = None,
    rec_thresholds: list[float] | None = None,
    max_detection_thresholds: list[int] | None = None,
    class_metrics: bool = False,
    extended_summary: bool = False,
    average: str = "macro",
    backend: str = "pycocotools",
    warn_on_many_detections: bool = True,
) -> dict[str, Any]:
    """Mean average precision and recall over classes and IoU thresholds, as COCO defines them.

    ``map = mean over thresholds and classes of AP``, ``AP = mean over recalls of precision``.

    Args:
        preds: one dictionary for each image: ``boxes`` ``[D, 4]`` or ``masks`` ``[D, H, W]``,
            ``scores`` ``[D]`` and ``labels`` ``[D]``.
        target: one dictionary for each image: ``boxes`` ``[G, 4]`` or ``masks`` ``[G, H, W]``,
            ``labels`` ``[G]``, and perhaps ``iscrowd`` ``[G]``, ``area`` ``[G]``, ``image_id``.
        box_format: "xyxy", "xywh" or "cxcywh".
        iou_type: "bbox", "segm" or both.
        iou_thresholds: of a hit; 0.5, 0.55, ..., 0.95 by default.
        rec_thresholds: at which precision is read; 0, 0.01, ..., 1 by default.
        max_detection_thresholds: three limits of detections of a class and image; 1, 10, 100.
        class_metrics: whether each class has values of its own.
        extended_summary: whether IoU, precision, recall and scores are part of the value.
        average: "macro", or "micro": all classes as one.
        backend: "pycocotools" or "faster_coco_eval"; both name the same kernels.
        warn_on_many_detections: whether an image with more than the last limit is worth a warning.

    Returns:
        As :class:`~fastmetrics.detection.mean_ap.MeanAveragePrecision`.

    Raises:
        ValueError: an argument is not allowed, or the dictionary of an image lacks a key, or holds
            what has another shape, dtype or length than it must have.
        RuntimeError: a box is not finite or has a negative side, or a score is NaN.

    >>> import torch
    >>> from fastmetrics.functional.detection import mean_average_precision
    >>> box, label = torch.tensor([[258.0, 41.0, 606.0, 285.0]]), torch.tensor([0])
    >>> preds = [{"boxes": box, "scores": torch.tensor([0.536]), "labels": label}]
    >>> target = [{"boxes": torch.tensor([[214.0, 41.0, 562.0, 285.0]]), "labels": label}]
    >>> values = mean_average_precision(preds, target)
    >>> values["map"], values["map_50"]
    (tensor(0.6000), tensor(1.))
    """
    statistic, settings = checked(
        box_format=box_format,
        iou_type=iou_type,
        iou_thresholds=iou_thresholds,
        rec_thresholds=rec_thresholds,
        max_detection_thresholds=max_detection_thresholds,
        class_metrics=class_metrics,
        extended_summary=extended_summary,
        average=average,
        backend=backend,
    )
    check_bool("warn_on_many_detections", warn_on_many_detections)
    states = Batch(statistic.empty(CPU))
    statistic.add(states, preds, target)
    if warn_on_many_detections:
        warn_of_many(preds, settings.limits[-1])
    values = evaluate(statistic, states, settings)
    return {
        key: value.squeeze() if isinstance(value, Tensor) and value.numel() == 1 else value
        for key, value in values.items()
    }
