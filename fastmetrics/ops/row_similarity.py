"""Similarities of rows: cosine, and divergences of distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self, override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import (
    Lists,
    Statistic,
    View,
    check_form,
    element_view,
    frozen,
    kept_lists,
)
from fastmetrics.ops.checks import check_devices, check_real, check_weight, shape_text
from fastmetrics.ops.counted import is_readable
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import report_weight_sums, weight_or_nan
from fastmetrics.ops.powers import exponent_of, times_power
from fastmetrics.utilities.checks import check_choice
from fastmetrics.utilities.data import dim_zero_cat, quotient, scalar
from fastmetrics.utilities.dtypes import is_wide
from fastmetrics.utilities.recording import is_recorded

__all__ = ["row_similarity_"]

# What is computed from the rows p of `preds` and q of `target`; `LOG`: they hold log-probabilities.
COSINE, KL, KL_LOG, JS, JS_LOG = range(5)
KINDS = (COSINE, KL, KL_LOG, JS, JS_LOG)
REDUCTIONS = ("mean", "sum", "none", None)

_NAME = "row_similarity_"


def check_row_similarity(state: Tensor, preds: Tensor, target: Tensor, kind: int) -> None:
    """Metadata check of `row_similarity_`, and its fake."""
    first, second = ("preds", "target") if kind == COSINE else ("p", "q")
    if preds.shape != target.shape:
        raise RuntimeError(
            f"{_NAME}: `{first}` and `{second}` must have the same shape, got {shape_text(preds)}"
            f" and {shape_text(target)}."
        )
    if preds.ndim != 2:
        raise ValueError(
            f"{_NAME}: `{first}` and `{second}` must have shape (N, D), got {shape_text(preds)}."
        )
    for name, tensor in ((first, preds), (second, target)):
        check_real(_NAME, name, tensor)
    check_devices(_NAME, state, preds, target)
    if kind not in KINDS:
        raise ValueError(f"{_NAME}: `kind` must be one of {KINDS}, got {kind}.")
    if state.dtype != torch.float64 or state.shape not in ((3,), (preds.shape[0], 1)):
        raise ValueError(
            f"{_NAME}: `state` must be float64 (3,) or ({preds.shape[0]}, 1), got {state.dtype}"
            f" {shape_text(state)}."
        )


def _x_log_ratio(x: Tensor, y: Tensor) -> Tensor:
    """Return ``x * log(x / y)``, with 0 and gradients of 0 where x is 0."""
    zero = x == 0
    ratio = torch.where(zero, 1.0, x) / torch.where(zero, 1.0, y)
    return torch.where(zero, 0.0, x * ratio.log())


def _within_range(rows: Tensor) -> Tensor:
    """Return rows, divided by powers of two where their squares may leave the range of float64."""
    if not rows.shape[1]:
        return rows
    return times_power(rows, -exponent_of(rows.detach().abs().amax(-1, keepdim=True)))


def row_values(preds: Tensor, target: Tensor, kind: int) -> Tensor:
    """Return the similarity of each row, float64 ``[N]``; plain torch, so it is differentiable."""
    p, q = preds.double(), target.double()
    if kind == COSINE:
        if is_wide(preds, target):
            p, q = _within_range(p), _within_range(q)
        dot, p_square, q_square = (p * q).sum(-1), (p * p).sum(-1), (q * q).sum(-1)
        return dot / (p_square.sqrt() * q_square.sqrt())
    if kind == KL_LOG:
        impossible = p == -torch.inf
        return torch.where(impossible, 0.0, torch.where(impossible, 0.0, p).exp() * (p - q)).sum(-1)
    if kind == JS_LOG:
        p, q = p.exp(), q.exp()
    else:
        p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
    if kind == KL:
        return _x_log_ratio(p, q).sum(-1)
    middle = (p + q) / 2
    return (_x_log_ratio(p, middle) + _x_log_ratio(q, middle)).sum(-1) / 2


def row_similarity_reference(state: Tensor, preds: Tensor, target: Tensor, kind: int) -> None:
    """Plain torch twin of the compiled kernels."""
    if not preds.shape[0]:
        return
    values = row_values(preds.detach(), target.detach(), kind)
    if state.ndim == 2:
        state += values.unsqueeze(-1)
    else:
        state[0] += values.sum()
        state[1] += len(values)
        state[2] += len(values) * is_wide(preds, target)


_row_similarity = define(
    _NAME,
    "(Tensor(a!) state, Tensor preds, Tensor target, int kind)",
    row_similarity_reference,
    check_row_similarity,
)


def row_similarity_(state: Tensor, preds: Tensor, target: Tensor, kind: int = COSINE) -> None:
    r"""Add the similarity of each row p of ``preds`` to the row q of ``target``.

    ========== ==================================================================================
    ``COSINE`` :math:`p \cdot q / (|p| |q|)`; NaN where a row is 0, else finite wherever rows are
    ``KL``     :math:`\sum_i p_i \log (p_i / q_i)`, rows divided by their sums; terms with
               :math:`p_i = 0` are 0, and the sum is infinite where only :math:`q_i = 0`
    ``JS``     :math:`(KL(p, m) + KL(q, m)) / 2` with :math:`m = (p + q) / 2`
    ``KL_LOG`` as ``KL`` for the logarithms of p and q, which are taken as normalised
    ``JS_LOG`` as ``JS`` for those logarithms
    ========== ==================================================================================

    Args:
        state: float64 ``[3]``, the sum over rows, their number, and that of rows with a float64
            input; or ``[N, 1]`` to keep rows apart. Changed in place.
        preds: ``[N, D]``, any real dtype.
        target: ``[N, D]``, any real dtype.
        kind: one of the above.

    Raises:
        RuntimeError: the shapes differ.
        ValueError: other shapes, dtypes or devices that do not fit; the state is unchanged.

    Cost: reads each input once (``KL`` and ``JS`` read rows of more than 1024 columns twice).

    >>> import torch
    >>> from fastmetrics.ops import row_similarity_
    >>> state = torch.zeros(3, dtype=torch.float64)
    >>> row_similarity_(state, torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    >>> state
    tensor([0.6000, 1.0000, 0.0000], dtype=torch.float64)
    """
    _row_similarity(state, preds, target, kind)


@frozen()
class RowSimilarity(Statistic):
    """The similarities of all rows.

    ``sums`` ``[3]``, their sum and number, with weights the weighted sum and that of the weights,
    and the number of rows with a float64 input; or ``measures``, a list with the values ``[N]`` of
    each batch, float64 where an input was and else float32.

    Attributes:
        kind: which similarity, as in :func:`row_similarity_`.
        keeps_rows: whether the values of rows stay apart.
    """

    kind: int
    keeps_rows: bool = False

    op = staticmethod(row_similarity_)
    reports_weights_alone = True
    exact = ("sums",)

    @classmethod
    def of(cls, kind: int, reduction: str | None) -> Self:
        """Return what a value with this reduction needs.

        Raises:
            ValueError: ``reduction`` is not one of ``REDUCTIONS``.
        """
        check_choice("reduction", reduction, REDUCTIONS)
        return cls(kind, keeps_rows=reduction in ("none", None))

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {"measures": "cat"} if self.keeps_rows else {"sums": "sum"}

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        if self.keeps_rows:
            return {"measures": []}
        return {"sums": torch.zeros(3, dtype=torch.float64, device=device)}

    @override
    def arguments(self) -> tuple[int]:
        return (self.kind,)

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        states.note_width(preds, target)
        if not self.keeps_rows and weight is None:
            row_similarity_(states.values["sums"], preds, target, self.kind)
            return
        rows = preds.new_zeros((preds.shape[0] if preds.ndim else 0, 1), dtype=torch.float64)
        row_similarity_(rows, preds.detach(), target.detach(), self.kind)
        wide = is_wide(preds, target)
        self._add_rows(states, rows[:, 0], None if weight is None else weight.detach(), wide)

    @override
    def with_gradients(
        self, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> dict[str, Any]:
        values = self.empty(preds.device)
        sums = preds.new_zeros(3, dtype=torch.float64)
        check_row_similarity(sums, preds, target, self.kind)
        rows = row_values(preds, target, self.kind)
        self._add_rows(States(values), rows, weight, is_wide(preds, target))
        return values

    @override
    def report(self, owner: str, states: States) -> None:
        """Warn of weights that are none."""
        if not self.keeps_rows:
            report_weight_sums(owner, states.values["sums"].view(1, 3), 1)

    def _add_rows(self, states: States, rows: Tensor, weight: Tensor | None, wide: bool) -> None:
        """Add the values of rows ``[N]``."""
        if self.keeps_rows:
            if weight is not None:
                raise ValueError("`weight` needs `reduction` to be 'mean' or 'sum', got neither.")
            states.append({"measures": rows if wide else rows.float()})
            return
        ones = torch.full_like(rows, 1.0)
        amounts = ones
        if weight is not None:
            check_weight("row_similarity_", rows, weight, len(rows))
            amounts = weight_or_nan(weight)
        sums = (rows * amounts).sum(), amounts.sum(), (ones * wide).sum()
        states.values["sums"] += torch.stack(sums)

    def read(self, states: States, reduction: str | None, dtype: torch.dtype) -> Tensor:
        """Return the value: a scalar, or that of each row ``[N]``."""
        if self.keeps_rows:
            return dim_zero_cat(states.values["measures"]).to(dtype)
        sums: Tensor = states.values["sums"]
        if is_readable(sums) and not sums.requires_grad:  # numbers take half the time of tensors
            total, count, _ = sums.tolist()
            return scalar(quotient(total, count) if reduction == "mean" else total, dtype)
        return (sums[0] / sums[1] if reduction == "mean" else sums[0]).to(dtype)

    def is_wide(self, states: States) -> bool:
        """Whether any input was float64; not asked in compiled regions.

        Waits for a GPU unless the states hold one batch.
        """
        if states.wide is not None:
            return states.wide
        if is_recorded():
            return False
        if self.keeps_rows:
            return any(batch.dtype == torch.float64 for batch in states.values["measures"])
        return bool(states.values["sums"][2].item())

    @override
    def views(self) -> Mapping[str, View]:
        """Return the states of divergences; cosine similarity keeps all inputs upstream."""
        if self.kind == COSINE:
            return {}
        if self.keeps_rows:
            return {"total": View(lambda states: _count(states.values["measures"]))}
        return {"measures": element_view("sums", 0), "total": element_view("sums", 1)}

    @property
    @override
    def batches(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]  # see `keeps_rows`
        return (("measures",),) if self.keeps_rows else ()

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        check_form(names[0], tensors[0], ("N",))

    @override
    def lists(self) -> Lists | None:
        """Return the values of rows; of cosine similarity the inputs, which are counted."""
        if self.kind == COSINE:
            return Lists(("preds", "target"), lambda states, batch: self.add(states, *batch))
        return kept_lists(("measures",)) if self.keeps_rows else None


def _count(rows: list[Tensor]) -> Tensor:
    """Return the number of rows of all batches."""
    return torch.tensor(sum(len(batch) for batch in rows))
