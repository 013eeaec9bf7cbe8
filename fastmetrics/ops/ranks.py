"""Ranks of all samples that a metric has kept: sorted twice, in ``compute``.

Equal numbers share the mean of their ranks. -0 equals +0 and infinities are ordinary numbers. A NaN
has no rank, so an output that holds one has no correlation.

Columns of ``moments``, with ranks doubled and less ``N + 1``, so that all are integers around zero:

====== =============================================================================
column meaning
====== =============================================================================
0      N, the number of samples
1      sum of the squared ranks of ``preds``; NaN, as the next two, if any number is
2      the same of ``target``
3      sum of the products of both ranks
====== =============================================================================

Columns of ``orders``, which counts pairs of samples; beside it, ``triples`` holds the sums of
``t (t - 1) (t - 2)`` over groups of t equal ``preds``, and of t equal ``target``:

====== =============================================================================
column meaning
====== =============================================================================
0      N, the number of samples
1      discordant pairs, in opposite order in ``preds`` and ``target``
2      pairs with equal ``preds``
3      pairs with equal ``target``
4      pairs with both equal
5      distinct ``preds``
6      distinct ``target``
7      whether any number is NaN; then only column 0 has a meaning
====== =============================================================================
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists, Statistic, check_form, frozen, kept_lists
from fastmetrics.ops.checks import WEIGHT_DTYPES, check_beside, check_held, check_real, shape_text
from fastmetrics.ops.define import define
from fastmetrics.utilities.checks import check_int
from fastmetrics.utilities.data import dim_zero_cat, end_alike

__all__ = ["rank_moments_", "rank_orders_"]

_MOMENTS = "rank_moments_"
_ORDERS = "rank_orders_"

COUNT, M2_PREDS, M2_TARGET, CO_MOMENT = range(4)
_, DISCORDANT, TIED_PREDS, TIED_TARGET, TIED_BOTH, DISTINCT_PREDS, DISTINCT_TARGET, NAN = range(8)
NUM_MOMENTS = 4
NUM_ORDERS = 8


def _check_rows(op: str, out: Tensor, preds: list[Tensor], target: list[Tensor]) -> None:
    """Raise unless the chunks are real numbers, as many of one as of the other."""
    outputs = out.shape[0]
    rows = []
    for name, chunks in (("preds", preds), ("target", target)):
        for chunk in chunks:
            if chunk.shape[1:] != (outputs,) and (chunk.ndim != 1 or outputs != 1):
                wanted = "(M,) or (M, 1)" if outputs == 1 else f"(M, {outputs})"
                raise ValueError(
                    f"{op}: chunks of `{name}` must have shape {wanted}, got {shape_text(chunk)}."
                )
            if chunk.dtype not in WEIGHT_DTYPES or chunk.dtype != chunks[0].dtype:
                raise ValueError(
                    f"{op}: all chunks of `{name}` must have one real dtype, got {chunk.dtype}."
                )
            if chunk.device != out.device:
                raise ValueError(
                    f"{op}: `{name}` and the result must be on one device, got {chunk.device} and"
                    f" {out.device}."
                )
        rows.append(sum(chunk.shape[0] for chunk in chunks))
    if rows[0] != rows[1]:
        raise ValueError(
            f"{op}: `preds` and `target` must have as many samples, got {rows[0]} and {rows[1]}."
        )
    if rows[0] >= 2**31:
        raise ValueError(f"{op}: at most 2**31 - 1 samples can be ranked, got {rows[0]}.")


def _check_out(op: str, name: str, out: Tensor, columns: int, dtype: torch.dtype) -> None:
    """Raise unless a result is contiguous ``[D, columns]``."""
    if out.ndim != 2 or out.shape[1] != columns or out.dtype != dtype or not out.is_contiguous():
        raise ValueError(
            f"{op}: `{name}` must be contiguous {dtype} with shape (D, {columns}), got"
            f" {out.dtype} with {shape_text(out)}."
        )


def check_rank_moments(moments: Tensor, preds: list[Tensor], target: list[Tensor]) -> None:
    """Metadata check of `rank_moments_`, and its fake."""
    _check_out(_MOMENTS, "moments", moments, NUM_MOMENTS, torch.float64)
    _check_rows(_MOMENTS, moments, preds, target)


def check_rank_orders(
    orders: Tensor, triples: Tensor, preds: list[Tensor], target: list[Tensor]
) -> None:
    """Metadata check of `rank_orders_`, and its fake."""
    _check_out(_ORDERS, "orders", orders, NUM_ORDERS, torch.int64)
    _check_out(_ORDERS, "triples", triples, 2, torch.float64)
    if triples.shape[0] != orders.shape[0] or triples.device != orders.device:
        raise ValueError(
            f"{_ORDERS}: `triples` must go with `orders`, got {shape_text(triples)} on"
            f" {triples.device} and {shape_text(orders)} on {orders.device}."
        )
    _check_rows(_ORDERS, orders, preds, target)


def _columns(chunks: list[Tensor]) -> Tensor:
    """Return all samples as rows ``[D, N]``, one for each output."""
    whole = torch.cat([chunk.unsqueeze(1) if chunk.ndim == 1 else chunk for chunk in chunks])
    whole = whole.to(torch.uint8) if whole.dtype == torch.bool else whole
    return whole.t().contiguous()


def _runs(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the run of equal neighbours of each place begins, and where it ends."""
    size = values.shape[-1]
    places = torch.arange(size, device=values.device).expand(values.shape)
    differs = values[..., 1:] != values[..., :-1]
    edge = torch.ones_like(values[..., :1], dtype=torch.bool)
    first = torch.where(torch.cat([edge, differs], -1), places, 0).cummax(-1).values
    last = torch.where(torch.cat([differs, edge], -1), places, size).flip(-1).cummin(-1).values
    return first, last.flip(-1)


def _twice_ranks(numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return doubled ranks, and the order, begins and ends of the runs of the sorted numbers."""
    ascending, order = numbers.sort(dim=-1, stable=True)
    first, last = _runs(ascending)
    ranks = torch.empty_like(first).scatter_(-1, order, first + last + 2)
    return ranks, order, first, last


def rank_moments_reference(moments: Tensor, preds: list[Tensor], target: list[Tensor]) -> None:
    """Plain torch twin of the compiled kernels."""
    moments.zero_()
    if not sum(chunk.shape[0] for chunk in preds):
        return
    x, y = _columns(preds), _columns(target)
    size = x.shape[-1]
    x_ranks, y_ranks = ((_twice_ranks(v)[0] - (size + 1)).double() for v in (x, y))
    sums = [(x_ranks * x_ranks).sum(-1), (y_ranks * y_ranks).sum(-1), (x_ranks * y_ranks).sum(-1)]
    nan = x.isnan().any(-1) | y.isnan().any(-1)
    moments[:, COUNT] = size
    moments[:, 1:] = torch.where(nan.unsqueeze(-1), torch.nan, torch.stack(sums, -1))


def _inversions(numbers: Tensor) -> Tensor:
    """Count, in each row of numbers of at most 32 bits, the pairs in descending order.

    From the highest bit down: numbers with equal bits above stand together as they came, and each
    without the bit counts those with it before it.
    """
    found = torch.zeros_like(numbers[:, 0])
    for bit in reversed(range((2 * numbers.shape[-1]).bit_length())):
        is_set = numbers >> bit & 1
        before = is_set.cumsum(-1) - is_set
        first, _ = _runs(numbers >> (bit + 1))
        found += ((before - before.gather(-1, first)) * (1 - is_set)).sum(-1)
        numbers = numbers.gather(-1, (numbers >> bit).argsort(dim=-1, stable=True))
    return found


def rank_orders_reference(
    orders: Tensor, triples: Tensor, preds: list[Tensor], target: list[Tensor]
) -> None:
    """Plain torch twin of the compiled kernels."""
    orders.zero_()
    triples.zero_()
    if not sum(chunk.shape[0] for chunk in preds):
        return
    x, y = _columns(preds), _columns(target)
    x_ranks, *_ = _twice_ranks(x)
    y_ranks, by_y, *y_runs = _twice_ranks(y)
    # Stable, so equal predictions stand in the order of their targets.
    x_sorted, by_x = x_ranks.gather(-1, by_y).sort(dim=-1, stable=True)
    y_sorted = y_ranks.gather(-1, by_y).gather(-1, by_x)
    both = _runs(x_sorted * (2 * x.shape[-1] + 2) + y_sorted)
    # Each member of a group of t adds t - 1, and (t - 1)(t - 2), in all t (t - 1) and so on.
    for column, runs in ((0, _runs(x_sorted)), (1, y_runs), (2, both)):
        others = runs[1] - runs[0]
        orders[:, TIED_PREDS + column] = others.sum(-1) // 2
        if column < 2:
            orders[:, DISTINCT_PREDS + column] = (1 + runs[0].diff(dim=-1).ne(0).sum(-1)).to(
                torch.int64
            )
            triples[:, column] = (others.double() * (others - 1)).sum(-1)
    orders[:, DISCORDANT] = _inversions(y_sorted)
    nan = (x.isnan().any(-1) | y.isnan().any(-1)).unsqueeze(-1)
    orders.masked_fill_(nan, 0)
    triples.masked_fill_(nan, 0.0)
    orders[:, COUNT] = x.shape[-1]
    orders[:, NAN] = nan[:, 0]


_rank_moments = define(
    _MOMENTS,
    "(Tensor(a!) moments, Tensor[] preds, Tensor[] target)",
    rank_moments_reference,
    check_rank_moments,
    in_compute=True,
    triton=False,
)
_rank_orders = define(
    _ORDERS,
    "(Tensor(a!) orders, Tensor(b!) triples, Tensor[] preds, Tensor[] target)",
    rank_orders_reference,
    check_rank_orders,
    in_compute=True,
    triton=False,
)


def rank_moments_(moments: Tensor, preds: list[Tensor], target: list[Tensor]) -> None:
    """Write the moments of the ranks of each output, from which Spearman's correlation follows.

    Args:
        moments: float64 ``[D, 4]``, as the module describes it. Overwritten. The compiled kernels
            round the exact integers once.
        preds: chunks ``[M_i, D]``, or ``[M_i]`` for one output, of one real dtype. None at all
            gives zeros.
        target: the same numbers of samples, in chunks of one real dtype.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or there are 2**31 samples.

    Cost: two sorts for each output (two more for each side with 64-bit numbers), and memory for
    24 bytes per sample of each output in work.

    >>> import torch
    >>> from fastmetrics.ops import rank_moments_
    >>> moments = torch.empty(1, 4, dtype=torch.float64)
    >>> rank_moments_(moments, [torch.tensor([1.0, 5.0, 3.0])], [torch.tensor([2, 8, 9])])
    >>> moments
    tensor([[3., 8., 8., 4.]], dtype=torch.float64)
    """
    _rank_moments(moments, preds, target)


def rank_orders_(
    orders: Tensor, triples: Tensor, preds: list[Tensor], target: list[Tensor]
) -> None:
    """Count the pairs of samples by their order, from which Kendall's correlation follows.

    Args:
        orders: int64 ``[D, 8]``, as the module describes it. Overwritten.
        triples: float64 ``[D, 2]``, likewise.
        preds: chunks ``[M_i, D]``, or ``[M_i]`` for one output, of one real dtype. None at all
            gives zeros.
        target: the same numbers of samples, in chunks of one real dtype.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or there are 2**31 samples.

    Cost: as :func:`rank_moments_`, and a pass over 32-bit numbers for each bit of ``2 N``.

    >>> import torch
    >>> from fastmetrics.ops import rank_orders_
    >>> orders = torch.empty(1, 8, dtype=torch.int64)
    >>> triples = torch.empty(1, 2, dtype=torch.float64)
    >>> pair = torch.tensor([1.0, 5.0, 3.0]), torch.tensor([2, 8, 9])
    >>> rank_orders_(orders, triples, [pair[0]], [pair[1]])
    >>> orders
    tensor([[3, 1, 0, 0, 0, 3, 3, 0]])
    """
    _rank_orders(orders, triples, preds, target)


def keep_samples(
    kept_preds: list[Tensor], kept_target: list[Tensor], preds: Tensor, target: Tensor
) -> None:
    """Append copies, which later changes of the inputs do not reach."""
    copies = [x.detach().clone() if x.requires_grad else x.clone() for x in (preds, target)]
    end_alike((kept_preds, kept_target), copies)


@frozen()
class Samples(Statistic):
    """All samples as they came: lists ``preds`` and ``target`` of ``[N]``, or ``[N, D]``.

    Attributes:
        num_outputs: D.
        floating: whether samples must be floating point.
    """

    num_outputs: int = 1
    floating: bool = False

    op = staticmethod(keep_samples)
    batches = (("preds", "target"),)

    def check(self) -> None:
        """Raise ``ValueError`` unless ``num_outputs`` is a positive integer."""
        check_int("num_outputs", self.num_outputs, 1)

    def check_batch(
        self, owner: str, preds: Tensor, target: Tensor, device: torch.device | None = None
    ) -> None:
        """Raise unless both are real and ``[N, D]``, or ``[N]`` for one output.

        Raises:
            TypeError: an input is not floating point, where it must be.
            ValueError: another shape, complex or sparse inputs, or inputs on two devices.
            RuntimeError: ``preds`` and ``target`` have different shapes.
        """
        check_held(owner, device, preds=preds, target=target)
        if self.floating and not (preds.is_floating_point() and target.is_floating_point()):
            raise TypeError(
                f"{owner}: `preds` and `target` must be floating point tensors, got {preds.dtype}"
                f" and {target.dtype}."
            )
        shape, outputs = preds.shape, self.num_outputs
        if shape != target.shape:
            raise RuntimeError(
                f"{owner}: `preds` and `target` must have the same shape, got {tuple(shape)} and"
                f" {tuple(target.shape)}."
            )
        if shape[1:] != (outputs,) and (len(shape) != 1 or outputs != 1):
            wanted = "(N,) or (N, 1)" if outputs == 1 else f"(N, {outputs})"
            raise ValueError(
                f"{owner}: `preds` and `target` must have shape {wanted}, got {tuple(shape)}."
            )
        check_real(owner, "preds", preds)
        check_real(owner, "target", target)

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {"preds": "cat", "target": "cat"}

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        return {"preds": [], "target": []}

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        """Keep one batch that has been checked; there are no weights."""
        if self.num_outputs == 1 and preds.ndim == 2:
            preds, target = preds[:, 0], target[:, 0]
        kept = states.values["preds"]
        if isinstance(kept, list) and kept:
            check_beside("preds", preds, kept[0])
        keep_samples(kept, states.values["target"], preds, target)

    @override
    def join(self, total: States, batch: States) -> tuple[str, ...]:
        """Refuse a batch that cannot stand beside those kept so far."""
        kept, new = total.values["preds"], batch.values["preds"]
        if isinstance(kept, list) and kept and new:
            check_beside("preds", new[0], kept[0])
        return ()

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        columns = () if self.num_outputs == 1 and tensors[0].ndim < 2 else (self.num_outputs,)
        rows: Any = "N"
        for name, tensor in zip(names, tensors, strict=True):
            check_form(name, tensor, (rows, *columns), *WEIGHT_DTYPES)
            rows = len(tensor)

    @override
    def lists(self) -> Lists:
        """Return the states themselves."""
        return kept_lists(self.batches[0])

    def read(self, states: States) -> tuple[list[Tensor], list[Tensor]]:
        """Return the chunks of predictions and of targets, each of one dtype; at least one."""
        kept = []
        for state in (states.values["preds"], states.values["target"]):
            # A synchronised state is one tensor; of no samples, this says so.
            whole = isinstance(state, Tensor) or not state
            kept.append([dim_zero_cat(state)] if whole else _of_one_dtype(state))
        return kept[0], kept[1]


def _wider(a: torch.dtype, b: torch.dtype) -> torch.dtype:
    """Return a dtype that keeps apart what is different in either, as far as there is one."""
    # torch would have an integer and a float share that of the float.
    mixed = a.is_floating_point != b.is_floating_point
    return torch.float64 if mixed else torch.promote_types(a, b)


def _of_one_dtype(chunks: list[Tensor]) -> list[Tensor]:
    """Return chunks that can be compared: as they are, or in the widest of their dtypes."""
    dtypes = {chunk.dtype for chunk in chunks}
    if len(dtypes) < 2:
        return chunks
    widest = functools.reduce(_wider, dtypes)
    return [chunk.to(widest) for chunk in chunks]
