"""TensorBoard: values, and pictures that are drawn from statistics instead of from the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastmetrics.classification.confusion_matrix import (
    BinaryConfusionMatrix,
    MulticlassConfusionMatrix,
    MultilabelConfusionMatrix,
)
from fastmetrics.diagnostics import GradientStats, TopSamples
from fastmetrics.integrations._metrics import Metrics, as_collection, states_of_all
from fastmetrics.metric import Metric, is_native
from fastmetrics.ops.scores import Binned, Curve, Scores
from fastmetrics.utilities.plot_confusion import plot_confusion_matrix

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["log"]

_MATRICES = (BinaryConfusionMatrix, MulticlassConfusionMatrix, MultilabelConfusionMatrix)
# As many as TensorBoard's plugin for curves takes.
_MOST_THRESHOLDS = 127
# Numbers in the cells of larger matrices cannot be read.
_MOST_CELLS_WITH_TEXT = 20

Images = Callable[[Tensor], Tensor]


def log(
    writer: SummaryWriter | None,
    metrics: Metrics,
    step: int | None = None,
    *,
    images: Images | None = None,
) -> None:
    """Write all that TensorBoard can show of some metrics, now.

    ============================ ==================================================================
    metrics                      what is written, under the name of the metric
    ============================ ==================================================================
    with a number                a scalar
    with a vector, tuple, dict   a scalar for each number, ``name/0`` or ``name/key``
    confusion matrices           a picture (needs matplotlib)
    curves, and areas under them ``name/pr_curve``, with the counts behind each point, and the
                                 distribution of the predictions, ``name/scores``, for each class;
                                 those that share a state have one of each
    :class:`GradientStats`       scalars ``name/layer/min`` and so on
    :class:`TopSamples`          ``name/best`` and ``name/worst``: ids and scores, and images
    ============================ ==================================================================

    Curves and distributions are read at up to 127 thresholds between 0 and 1 from what is kept
    anyway. They are exact for ``thresholds=None``, and for ``thresholds=T`` with at most 127 of
    them; otherwise a point stands for the next threshold above it that was kept, and sums are those
    of the lower ends of bins. What TensorBoard has no place for is left out: points of ROC curves,
    and matrices of other kinds.

    Args:
        writer: a ``torch.utils.tensorboard.SummaryWriter``. Under ``torch.distributed`` all
            processes must call, for the states of all are exchanged, once; those that are not to
            write give None.
        metrics: a collection, a metric or a dict of metrics. They stay as they are: call ``reset``
            when the epoch is over.
        step: the place on the horizontal axis.
        images: makes of the ids of :class:`TopSamples` ``[N]`` images ``[N, 1 or 3, H, W]``, uint8
            or floats in [0, 1].

    Raises:
        TypeError: ``writer`` is none.
        ValueError: ``metrics`` are none.
        ModuleNotFoundError: there is a confusion matrix and matplotlib is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> from torch.utils.tensorboard import SummaryWriter
        >>> from fastmetrics import MetricCollection
        >>> from fastmetrics.classification import BinaryAccuracy, BinaryAUROC
        >>> from fastmetrics.integrations.tensorboard import log
        >>> metrics = MetricCollection([BinaryAccuracy(), BinaryAUROC()], prefix="val/")
        >>> metrics.update(torch.tensor([0.2, 0.7, 0.9, 0.4]), torch.tensor([0, 1, 1, 1]))
        >>> with TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        ...     log(writer, metrics, step=1)
    """
    if writer is not None and not hasattr(writer, "add_pr_curve_raw"):
        raise TypeError(f"`writer` must be a SummaryWriter or None, got {type(writer).__name__}.")
    collection = as_collection(metrics)
    with states_of_all(collection):
        # Metrics of torchmetrics exchange their states here.
        values = {n: (m, m.compute()) for n, m in collection.items(copy_state=False)}
        if writer is None:
            return
        drawn: set[int] = set()
        for name, (metric, value) in values.items():
            _log_value(writer, name, metric, value, step=step, images=images)
            statistic = getattr(metric, "statistic", None)
            if isinstance(statistic, Scores) and id(metric._states) not in drawn:
                drawn.add(id(metric._states))
                _log_scores(writer, name, metric, step)


def _log_value(
    writer: SummaryWriter,
    name: str,
    metric: Metric,
    value: Any,
    *,
    step: int | None,
    images: Images | None,
) -> None:
    if isinstance(metric, GradientStats):
        for column, numbers in value.items():
            for layer, number in zip(metric.names, numbers.tolist(), strict=True):
                writer.add_scalar(f"{name}/{layer}/{column}", number, step)
    elif isinstance(metric, TopSamples):
        _log_samples(writer, name, value, step=step, images=images)
    elif isinstance(metric, _MATRICES):
        text = value.shape[-1] <= _MOST_CELLS_WITH_TEXT
        writer.add_figure(name, plot_confusion_matrix(value, add_text=text)[0], step)
    elif not (is_native(metric) and _is_curve(value)):
        for tag, number in _numbers(name, value):
            writer.add_scalar(tag, number, step)


def _is_curve(value: Any) -> bool:
    """Whether a value is made of points, as many as there are thresholds."""
    return isinstance(value, tuple) and any(
        isinstance(part, list) or (isinstance(part, Tensor) and part.ndim > 0) for part in value
    )


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Return the numbers that a value is made of, and their tags."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _numbers(f"{name}/{key}", part)
    elif isinstance(value, (list, tuple)) or (isinstance(value, Tensor) and value.ndim == 1):
        for place, part in enumerate(value):
            yield from _numbers(f"{name}/{place}", part)
    elif isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.ndim == 0):
        yield name, float(value)


def _log_samples(
    writer: SummaryWriter,
    name: str,
    value: dict[str, Tensor],
    *,
    step: int | None,
    images: Images | None,
) -> None:
    for side in ("best", "worst"):
        ids, scores = value[f"{side}_ids"], value[f"{side}_scores"]
        rows = [f"| {i} | {s:.6g} |" for i, s in zip(ids.tolist(), scores.tolist(), strict=True)]
        writer.add_text(f"{name}/{side}", "\n".join(["| id | score |", "|---|---|", *rows]), step)
        if images is not None and len(ids):
            writer.add_images(f"{name}/{side}", images(ids), step)


def _log_scores(writer: SummaryWriter, name: str, metric: Any, step: int | None) -> None:
    """Write the precision-recall curve and the distribution of the scores of each class."""
    statistic: Scores = metric.statistic
    one = statistic.num_classes == 1
    thresholds = torch.linspace(0, 1, _count_thresholds(statistic))
    for place, curve in enumerate(_each(statistic.curves(metric._states, micro=one), one)):
        suffix = "" if one else f"/{place}"
        scores = (
            curve.descending().cpu().to(torch.promote_types(curve.thresholds.dtype, torch.float))
        )
        reached = torch.stack([curve.tps, curve.fps]).cpu()
        # How many points there are at or above each threshold: the last of them says the counts.
        points = torch.searchsorted(-scores, -thresholds.to(scores.dtype), right=True)
        counts = torch.nn.functional.pad(reached, (1, 0))[:, points]
        _write_curve(writer, f"{name}/pr_curve{suffix}", curve, counts, step)
        _write_histogram(
            writer,
            f"{name}/scores{suffix}",
            points=(scores.double(), reached.sum(0).diff(prepend=torch.zeros(1).double())),
            bins=(thresholds, counts.sum(0)),
            step=step,
        )


def _count_thresholds(statistic: Scores) -> int:
    if isinstance(statistic, Binned) and statistic.grid.uniform:
        return min(len(statistic.grid.thresholds), _MOST_THRESHOLDS)
    return _MOST_THRESHOLDS


def _each(curves: Curve | list[Curve], one: bool) -> list[Curve]:
    if isinstance(curves, list):
        return curves
    if one:
        return [curves]
    rows = zip(curves.fps, curves.tps, curves.negatives, curves.positives, strict=True)
    return [
        curves._replace(fps=fps, tps=tps, negatives=negatives, positives=positives)
        for fps, tps, negatives, positives in rows
    ]


def _write_curve(
    writer: SummaryWriter, tag: str, curve: Curve, counts: Tensor, step: int | None
) -> None:
    tp, fp = counts
    positives, negatives = curve.positives.cpu(), curve.negatives.cpu()
    precision, recall = (tp / (tp + fp)).nan_to_num(0.0), (tp / positives).nan_to_num(0.0)
    writer.add_pr_curve_raw(
        tag,
        tp.numpy(),
        fp.numpy(),
        (negatives - fp).numpy(),
        (positives - tp).numpy(),
        precision.numpy(),
        recall.numpy(),
        global_step=step,
        num_thresholds=len(tp),
    )


def _write_histogram(
    writer: SummaryWriter,
    tag: str,
    *,
    points: tuple[Tensor, Tensor],
    bins: tuple[Tensor, Tensor],
    step: int | None,
) -> None:
    """Write a histogram.

    Args:
        writer: where to.
        tag: under which name.
        points: scores, descending, and how often each occurs.
        bins: thresholds, ascending, and how many scores reach each.
        step: when.
    """
    scores, occurring = points
    thresholds, reached = bins
    present = scores[occurring > 0]
    if not len(present):
        return
    # Those that reach the last threshold are in the bin below it.
    inside = torch.cat([reached[:-2] - reached[1:-1], reached[-2:-1]])
    writer.add_histogram_raw(
        tag,
        min=present[-1].item(),
        max=present[0].item(),
        num=reached[0].item(),
        sum=(scores * occurring).sum().item(),
        sum_squares=(scores**2 * occurring).sum().item(),
        bucket_limits=thresholds[1:].tolist(),
        bucket_counts=inside.tolist(),
        global_step=step,
    )
