"""The shape that similarities of rows share: two numbers, or a value per row, and one fused op."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastmetrics.functional.regression._rows import (
    REDUCTIONS,
    batch_rows,
    keeps_rows,
    needs_grad,
    reduce_rows,
)
from fastmetrics.metric import Metric, as_scalar
from fastmetrics.ops import row_similarity_
from fastmetrics.utilities.checks import check_choice
from fastmetrics.utilities.data import dim_zero_cat


class RowMetric(Metric):
    """A similarity of rows, reduced over all of them.

    For a mean or a sum the state is ``sums``, the sum over the rows and their number, float64;
    without a reduction ``rows`` lists the values of each batch.

    Args:
        kind: the similarity, see :func:`fastmetrics.ops.row_similarity.row_similarity_`.
        reduction: ``"mean"``, ``"sum"``, ``"none"`` or None.
        kwargs: as for :class:`fastmetrics.metric.Metric`.
    """

    is_differentiable = True
    full_state_update = False
    fused_update = True
    _exact_states = ("sums",)
    # Whether float64 inputs make the value float64.
    _follows_inputs = True
    _wide: bool
    sums: Tensor
    rows: list[Tensor]

    def __init__(self, kind: int, reduction: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("reduction", reduction, REDUCTIONS)
        self.reduction = reduction
        self._kind = kind
        self._wide = False
        if keeps_rows(reduction):
            self.add_state("rows", [], dist_reduce_fx="cat")
        else:
            zeros = torch.zeros(2, dtype=torch.float64)
            self.add_state("sums", zeros, dist_reduce_fx="sum")

    def _add(self, preds: Tensor, target: Tensor, weight: Tensor | None) -> None:
        """Add the rows of a batch."""
        apart = keeps_rows(self.reduction)
        if apart or weight is not None:
            rows = batch_rows(preds.detach(), target.detach(), self._kind, apart, weight)
            self._note_dtype(preds, target)
            if apart:
                self.rows.append(reduce_rows(rows, None).to(self._value_dtype()))
            else:
                self.sums.add_(rows)
        else:
            row_similarity_(self.sums, preds, target, self._kind)
            self._note_dtype(preds, target)

    def _note_dtype(self, preds: Tensor, target: Tensor) -> None:
        if (
            (preds.dtype is torch.float64 or target.dtype is torch.float64)
            and self._follows_inputs
            and not self._wide
        ):
            object.__setattr__(self, "_wide", True)

    def _value_dtype(self) -> torch.dtype:
        return torch.float64 if self._wide else self.dtype

    def compute(self) -> Tensor:
        """Return the value: a scalar, or that of each row ``[N]``."""
        if keeps_rows(self.reduction):
            return dim_zero_cat(self.rows)
        return reduce_rows(self.sums, self.reduction).to(self._value_dtype())

    def _follow(self, value: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Return the value of a batch, with gradients if an input wants any.

        The op has none, so the value is then worked out a second time by torch operations.
        """
        if not needs_grad(*args, *kwargs.values()):
            return value
        followed = self._with_grad(*args, **self._filter_kwargs(**kwargs))
        return as_scalar(followed.to(self._value_dtype()))

    def _with_grad(self, preds: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Return the value of one batch, which autograd can follow; arguments as of ``update``."""
        state = batch_rows(preds, target, self._kind, keeps_rows(self.reduction), weight)
        return reduce_rows(state, self.reduction)


class DivergenceMetric(RowMetric):
    """A divergence of distributions, or of their logarithms.

    Args:
        kinds: the divergence of distributions, and that of logarithms.
        log_prob: which of the two.
        reduction: as for :class:`RowMetric`.
        kwargs: as for :class:`fastmetrics.metric.Metric`.
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(
        self, kinds: tuple[int, int], log_prob: bool, reduction: str | None, **kwargs: Any
    ) -> None:
        if not isinstance(log_prob, bool):
            raise TypeError(f"`log_prob` must be a bool, got {log_prob!r}.")
        super().__init__(kinds[log_prob], reduction, **kwargs)
        self.log_prob = log_prob

    def update(self, p: Tensor, q: Tensor, *, weight: Tensor | None = None) -> None:
        """Add a batch of distributions ``[N, D]``, any real dtype; ``weight`` is ``[N]``.

        Raises:
            RuntimeError: the shapes differ.
            ValueError: inputs of another shape, or complex ones.
        """
        self._add(p, q, weight)

    def _with_grad(self, p: Tensor, q: Tensor, *, weight: Tensor | None = None) -> Tensor:
        return super()._with_grad(p, q, weight=weight)
