"""Curves: thresholds, counts at each of them, averages over classes, interpolation.

Shapes use N samples, C classes (or L labels), T thresholds and K points of a curve. A formula takes
a :class:`Curve`, whatever statistic it was made from.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastmetrics.utilities.checks import INPUTS, check_choice, check_ignore_index, check_int

Thresholds = int | list[float] | Tensor | str | None

RANKED = "auto"
UNDEFINED = (None, "nan")
CLASS_AVERAGES = ("macro", "weighted", "none", None)
LABEL_AVERAGES = ("micro", *CLASS_AVERAGES)


def check_thresholds(thresholds: Any) -> None:
    """Raise ``ValueError`` unless ``thresholds`` says where a curve is evaluated."""
    if thresholds is None or (isinstance(thresholds, str) and thresholds == RANKED):
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
            f"`thresholds` must be None, {RANKED!r}, an integer, a list of floats or a tensor,"
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
        order: ``[T]``, where each threshold stands among the descending ones; None when they are
            known to ascend.
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
    """Lay out thresholds for `score_histogram_`; softmax leaves probabilities, logits do not.

    A number of uniform thresholds is laid out once per device. Their edges are shared, as nothing
    writes them or returns them to the user; the thresholds, which the user gets, are a copy.
    """
    if not isinstance(thresholds, int) or device is None or not _makes_plain_tensors():
        return _lay_out(thresholds, input, multiclass, device)
    grid = _shared_grid(thresholds, input, multiclass, device)
    return grid._replace(thresholds=grid.thresholds.clone())


def _makes_plain_tensors() -> bool:
    """Whether a tensor made now may be kept: not while compiling, nor under a fake mode."""
    return not torch.compiler.is_compiling() and type(torch.empty(0, device="cpu")) is Tensor


@functools.lru_cache(maxsize=32)
def _shared_grid(thresholds: int, input: str, multiclass: bool, device: torch.device) -> Grid:
    with torch.inference_mode(False):
        return _lay_out(thresholds, input, multiclass, device)


def _lay_out(
    thresholds: int | list[float] | Tensor,
    input: str,
    multiclass: bool,
    device: torch.device | None,
) -> Grid:
    uniform = isinstance(thresholds, int)
    if isinstance(thresholds, int):
        given = torch.linspace(0, 1, thresholds, device=device)
    elif isinstance(thresholds, list):
        given = torch.tensor(thresholds, device=device)
    else:
        given = thresholds.detach().to(device, copy=True)
    ascending, index = given.double().sort(stable=True)
    order = None if uniform else len(given) - 1 - index.argsort()
    if order is not None and not torch.compiler.is_compiling():
        even = torch.linspace(0, 1, len(given), device=given.device)
        uniform = torch.equal(ascending, even.double())
        if torch.equal(index, torch.arange(len(given), device=given.device)):
            order = None
    rows = {
        "probs": lambda: [ascending],
        "logits": lambda: [ascending if multiclass else _logit(ascending)],
        "auto": lambda: [ascending, ascending if multiclass else _logit(ascending)],
    }
    edges = torch.stack(rows[input]())
    return Grid(given, edges, uniform, order)


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


def table_curve(table: Tensor, grid: Grid) -> Curve:
    """Read a curve from counts ``[..., 2, T + 1]`` between thresholds that were given."""
    reached = table.flip(-1).cumsum(-1).double()
    negatives, positives = reached[..., -1].unbind(-1)
    fps, tps = reached[..., :-1].unbind(-2)
    return Curve(fps, tps, negatives, positives, grid.thresholds, True, grid.order)


def staircase(table: Tensor, upper: bool) -> Curve:
    """Return the lowest (or highest) curve of scores that are known up to a bin.

    ``table`` is ``[..., 2, B]``: in each bin all negatives come before, or after, all positives.
    """
    fps, tps = table.flip(-1).cumsum(-1).double().unbind(-2)
    before = torch.zeros_like(fps[..., :1])
    if upper:
        corner = (torch.cat([before, fps[..., :-1]], -1), tps)
    else:
        corner = (fps, torch.cat([before, tps[..., :-1]], -1))
    corners_fps = torch.stack([corner[0], fps], -1).flatten(-2)
    corners_tps = torch.stack([corner[1], tps], -1).flatten(-2)
    unknown = fps.new_zeros(0)
    return Curve(corners_fps, corners_tps, fps[..., -1], tps[..., -1], unknown, False)


def enclose(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Widen float32 bounds in [0, 1] by the last digit, which rounding may have moved."""
    infinity = torch.full_like(low, torch.inf)
    return low.nextafter(-infinity).clamp(min=0.0), high.nextafter(infinity).clamp(max=1.0)


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
