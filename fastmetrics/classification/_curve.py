"""What all curve metrics share: a statistic of scores, read as one curve or one for each class."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from fastmetrics.classification._statistic import CountMetric
from fastmetrics.functional.classification._curve import (
    Curves,
    Thresholds,
    histogram_curve,
    make_grid,
)
from fastmetrics.ops import score_histogram_
from fastmetrics.utilities.checks import check_choice

NORMALIZATIONS = ("sigmoid", None)


def check_normalization(normalization: Any) -> None:
    """Raise ``ValueError`` unless ``normalization`` says what is done to binary logits."""
    check_choice("normalization", normalization, NORMALIZATIONS)


class CurveMetric(CountMetric):
    """Score histograms ``[H, C, 2, T + 1]``, one per class; subclasses apply a formula to curves.

    See :func:`fastmetrics.ops.score_histogram.score_histogram_` for the readings H.
    """

    counts: Tensor

    def __init__(
        self,
        num_classes: int,
        multiclass: bool,
        thresholds: Thresholds,
        ignore_index: int | None,
        validate_args: bool,
        input: str,
        undefined: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(validate_args, **kwargs)
        self.ignore_index = ignore_index
        self.undefined = undefined
        self.input = input
        self._multiclass = multiclass
        self._logits = input == "logits"
        self._grid = make_grid(thresholds, input, multiclass, self.device)  # type: ignore[arg-type]
        readings, count = self._grid.edges.shape
        self._add_counts((readings, num_classes, 2, count + 1))

    @property
    def thresholds(self) -> Tensor | None:
        """The thresholds as they were given, ``[T]``."""
        return self._grid.thresholds

    @property
    def confmat(self) -> Tensor:
        """Tables ``[[tn, fp], [fn, tp]]`` at each threshold, ``[T, 2, 2]`` or ``[T, C, 2, 2]``."""
        curve = histogram_curve(self.counts, self.events, self._grid, False)
        reached = curve.as_given(torch.stack([curve.fps, curve.tps], -2))
        total = torch.stack([curve.negatives, curve.positives], -1)
        tables = torch.stack([total.unsqueeze(-1) - reached, reached], -1)
        tables = tables.movedim(-2, 0).to(self.counts.dtype)
        return tables if self._counts_shape[1] > 1 else tables[:, 0]

    def update(self, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
        """Count one batch; arguments as in `score_histogram_`."""
        counts = self._open_counts(target, weight)
        grid = self._grid
        score_histogram_(
            counts,
            self.events,
            preds,
            target,
            weight,
            grid.edges,
            grid.uniform,
            self._multiclass,
            self._logits,
            self.ignore_index,
            self.validate_args,
        )
        self._keep_counts(counts)

    def _curves(self, pool: bool) -> Curves:
        """Return the curve of each class, or one curve when pooled."""
        return histogram_curve(self.counts, self.events, self._grid, pool)

    def _statistic(self) -> Hashable:
        return (
            "score_histogram",
            self._counts_shape,
            self._multiclass,
            tuple(self._grid.edges.flatten().tolist()),
            self.input,
            self.ignore_index,
            self.validate_args,
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        super()._apply(fn, *args, **kwargs)
        self._grid = self._grid.to(self.device)
        return self


class CurveValue(CurveMetric):
    """A value in [0, 1] of a curve, drawn as values are."""

    higher_is_better: bool | None = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def plot(self, *args: Any, **kwargs: Any) -> Any:
        """Draw ``val``, a value or a list of values, by default what ``compute`` returns."""
        return self._plot(*args, **kwargs)


class CurvePoint(CurveValue):
    """A value in [0, 1] and the threshold where it is reached; the value is drawn."""

    higher_is_better = None

    def _plot(self, val: Any | None = None, ax: Any | None = None) -> Any:
        return super()._plot(self.compute()[0] if val is None else val, ax)
