"""From scores to curves: thresholds, the statistic of one batch, and what all curve metrics share.

Shapes use N samples, C classes (or L labels), T thresholds and K points of a curve. A formula takes
a :class:`Curve`, whatever statistic it was made from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastmetrics.functional.classification._statistic import choose_reading
from fastmetrics.ops import score_histogram_
from fastmetrics.ops.library import new_events, raise_events
from fastmetrics.utilities.checks import INPUTS, check_choice, check_ignore_index, check_int

Thresholds = int | list[float] | Tensor | None

UNDEFINED = (None, "nan")
CLASS_AVERAGES = ("macro", "weighted", "none", None)
LABEL_AVERAGES = ("micro", *CLASS_AVERAGES)


def check_thresholds(thresholds: Any) -> None:
    """Raise ``ValueError`` unless ``thresholds`` says where a curve is evaluated."""
    if thresholds is None:
        return
    if isinstance(thresholds, int):
        check_int("thresholds", thresholds, 2)
    elif isinstance(thresholds, list):
        if not thresholds or not all(isinstance(t, float) and 0 <= t <= 1 for t in thresholds):
            raise ValueError(
                f"`thresholds` must be a list of at least one float in [0, 1], got {thresholds!r}."
            )
    elif isinstance(thresholds, Tensor):
        if thresholds.ndim != 1 or not thresholds.numel():
            raise ValueError(
                "`thresholds` must be a tensor with one axis and at least one element, got shape"
                f" {tuple(thresholds.shape)}."
            )
    else:
        raise ValueError(
            "`thresholds` must be None, an integer, a list of floats or a tensor,"
            f" got {thresholds!r}."
        )


def check_curve_arguments(thresholds: Any, ignore_index: Any, input: Any, undefined: Any) -> None:
    """Raise ``ValueError`` unless the arguments that all curve metrics have are in range."""
    check_thresholds(thresholds)
    check_ignore_index(ignore_index)
    check_choice("input", input, INPUTS)
    check_choice("undefined", undefined, UNDEFINED)


class Grid(NamedTuple):
    """Thresholds that were given: as the user sees them, and as the op compares them.

    Attributes:
        thresholds: ``[T]``, in the order and dtype in which they were given.
        edges: float64 ``[H, T]``, ascending, for each reading of the scores.
        uniform: whether they are ``linspace(0, 1, T)``.
        order: ``[T]``, where each threshold stands among the descending ones; None when they
            ascend.
    """

    thresholds: Tensor
    edges: Tensor
    uniform: bool
    order: Tensor | None

    def to(self, device: torch.device) -> Grid:
        """Return the same thresholds on ``device``."""
        order = None if self.order is None else self.order.to(device)
        return Grid(self.thresholds.to(device), self.edges.to(device), self.uniform, order)


def _logit(probabilities: Tensor) -> Tensor:
    """Logits in float64: -inf below 0, and NaN, which no score reaches, above 1."""
    p = probabilities.clamp(min=0.0)
    return p.log() - (-p).log1p()


def make_grid(
    thresholds: int | list[float] | Tensor,
    input: str,
    multiclass: bool,
    device: torch.device | None = None,
) -> Grid:
    """Lay out thresholds for `score_histogram_`; softmax leaves probabilities, logits do not."""
    if isinstance(thresholds, int):
        given = torch.linspace(0, 1, thresholds, device=device)
    elif isinstance(thresholds, list):
        given = torch.tensor(thresholds, device=device)
    else:
        given = thresholds.detach().to(device, copy=True)
    ascending, index = given.double().sort(stable=True)
    uniform = torch.linspace(0, 1, len(given), device=given.device)
    order = None
    if not torch.equal(index, torch.arange(len(given), device=given.device)):
        order = len(given) - 1 - index.argsort()
    rows = {
        "probs": lambda: [ascending],
        "logits": lambda: [ascending if multiclass else _logit(ascending)],
        "auto": lambda: [ascending, ascending if multiclass else _logit(ascending)],
    }
    edges = torch.stack(rows[input]())
    return Grid(given, edges, torch.equal(ascending, uniform.double()), order)


class Curve(NamedTuple):
    """How many scores reach each threshold, thresholds descending.

    Attributes:
        fps: float64 ``[..., K]``, negatives at or above each threshold.
        tps: float64 ``[..., K]``, positives at or above each threshold.
        negatives: float64 ``[...]``, all of them.
        positives: float64 ``[...]``, all of them.
        thresholds: ``[K]``: those of the data, or in the order in which they were given.
        grid: whether they were given.
        order: where each threshold that was given stands among the descending ones; None when they
            were given ascending.
    """

    fps: Tensor
    tps: Tensor
    negatives: Tensor
    positives: Tensor
    thresholds: Tensor
    grid: bool
    order: Tensor | None = None

    def as_given(self, values: Tensor) -> Tensor:
        """Return ``values`` ``[..., K]`` of descending thresholds in ascending or given order."""
        return values.flip(-1) if self.order is None else values[..., self.order]

    def descending(self) -> Tensor:
        """Return the thresholds ``[K]`` in the order of ``fps`` and ``tps``."""
        return self.thresholds.sort(descending=True).values if self.grid else self.thresholds


Curves = Curve | list[Curve]
"""All classes at the same thresholds, or each class at its own."""


def histogram_curve(counts: Tensor, events: Tensor, grid: Grid, pool: bool) -> Curve:
    """Read a curve from the histograms ``[H, C, 2, T + 1]``; ``pool`` adds up the classes."""
    table = choose_reading(counts, events)
    table = table.sum(-3) if pool else table
    reached = table.flip(-1).cumsum(-1).double()
    negatives, positives = reached[..., -1].unbind(-1)
    fps, tps = reached[..., :-1].unbind(-2)
    return Curve(fps, tps, negatives, positives, grid.thresholds, True, grid.order)


def count_curves(
    owner: str,
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    multiclass: bool,
    pool: bool,
    thresholds: Thresholds,
    ignore_index: int | None,
    validate_args: bool,
    weight: Tensor | None,
    input: str,
) -> Curves:
    """Count one batch into the curve of each class; one curve when pooled or binary."""
    grid = make_grid(thresholds, input, multiclass, target.device)  # type: ignore[arg-type]
    counts = torch.zeros(
        (grid.edges.shape[0], num_classes, 2, grid.edges.shape[1] + 1),
        dtype=torch.int64 if weight is None else torch.float64,
        device=target.device,
    )
    events = new_events(target.device)
    score_histogram_(
        counts,
        events,
        preds,
        target,
        weight,
        grid.edges,
        grid.uniform,
        multiclass,
        input == "logits",
        ignore_index,
        validate_args,
    )
    if validate_args:
        raise_events(owner, events)
    return histogram_curve(counts, events, grid, pool)


def each_class(curves: Curves, value: Callable[[Curve], Tensor]) -> Tensor:
    """Return the value of every class."""
    return value(curves) if isinstance(curves, Curve) else torch.stack([value(c) for c in curves])


def positives_of(curves: Curves) -> Tensor:
    """Return the positives of every class."""
    return each_class(curves, lambda curve: curve.positives)


def average_classes(
    values: Tensor, average: str | None, positives: Tensor, undefined: str | None
) -> Tensor:
    """Average float64 values ``[C]`` over the classes where they are defined; float32."""
    if average in (None, "none"):
        return values.float()
    defined = ~values.isnan()
    weight = (positives if average == "weighted" else torch.ones_like(values)) * defined
    mean = (values.nan_to_num(0.0) * weight).sum() / weight.sum()
    return (mean.nan_to_num(0.0) if undefined is None else mean).float()


def interpolate(x: Tensor, known_x: Tensor, known_y: Tensor) -> Tensor:
    """Evaluate at ``x`` the lines between known points, each from its left point on.

    As many ``known_x`` as do not exceed an ``x`` choose its line, even where they do not ascend.
    """
    if len(known_x) == 1:
        return known_y.expand_as(x)
    step = known_x.diff()
    slope = torch.where(step != 0, known_y.diff() / step, 0.0)
    offset = known_y[:-1] - slope * known_x[:-1]
    finite = known_x.nan_to_num(torch.inf).sort().values
    index = torch.searchsorted(finite, x.nan_to_num(-torch.inf), right=True) - 1
    index = index.clamp(0, len(slope) - 1)
    return slope[index] * x + offset[index]


def mean_curve(xs: list[Tensor], ys: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the ``xs`` of all classes, sorted, and there the mean of the interpolated curves."""
    x = torch.cat(xs).sort().values
    total = torch.zeros_like(x)
    for known_x, known_y in zip(xs, ys, strict=True):
        total += interpolate(x, known_x, known_y)
    return x, total / len(xs)
