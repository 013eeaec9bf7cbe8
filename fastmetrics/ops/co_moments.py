"""Co-moments: means, central second moments and the co-moment of predictions and targets.

They are kept centred, because sums of squares lose what correlation and explained variance ask for:
at mean 1e6 and variance 1 the float64 sum of 1e7 squares has four digits of the variance left.
Parts of the data are merged by Chan's rule. The residual ``target - preds`` has moments of its own:
those of the two columns give the error of a good prediction only by cancellation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.reductions import Merger
from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, frozen
from fastmetrics.ops.checks import WEIGHT_DTYPES, check_devices, check_weight, shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import report_weight_sums, weight_or_nan
from fastmetrics.utilities.checks import check_int
from fastmetrics.utilities.data import normal_tensor

__all__ = ["co_moments_", "merge_co_moments_"]

# Columns of the state.
COUNT = 0
WEIGHT = 1
MEAN_X, MEAN_Y, MEAN_D = 2, 3, 4
M2_X, M2_Y, M2_D, C_XY = 5, 6, 7, 8
MIN_Y, MAX_Y = 9, 10
WIDE = 11
NUM_COLUMNS = 12


def check_co_moments(state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Metadata check of `co_moments_`, and its fake."""
    _check_state("co_moments_", state)
    shape = preds.shape
    if target.shape != shape:
        raise RuntimeError(
            "co_moments_: `preds` and `target` must have the same shape,"
            f" got {shape_text(preds)} and {shape_text(target)}."
        )
    outputs = state.shape[0]
    if not (len(shape) == 2 and shape[1] == outputs) and not (len(shape) == 1 and outputs == 1):
        allowed = "(N,) or (N, 1)" if outputs == 1 else f"(N, {outputs})"
        raise ValueError(
            f"co_moments_: `preds` and `target` must have shape {allowed}, got {shape_text(preds)}."
        )
    for name, tensor in (("preds", preds), ("target", target)):
        if tensor.dtype not in WEIGHT_DTYPES:
            raise ValueError(
                f"co_moments_: `{name}` must be a real tensor, got dtype {tensor.dtype}."
            )
    check_devices("co_moments_", state, preds, target)
    if weight is not None:
        check_weight("co_moments_", state, weight, shape[0])


def check_merge_co_moments(state: Tensor, others: Tensor) -> None:
    """Metadata check of `merge_co_moments_`, and its fake."""
    _check_state("merge_co_moments_", state)
    if others.ndim != 3 or others.shape[1:] != state.shape or others.dtype != torch.float64:
        raise ValueError(
            "merge_co_moments_: `others` must be float64 of shape"
            f" (R, {state.shape[0]}, {NUM_COLUMNS}), got {others.dtype} {shape_text(others)}."
        )
    if others.device != state.device:
        raise ValueError(
            "merge_co_moments_: `others` must be on the device of the metric state,"
            f" {state.device}, got {others.device}."
        )


def _check_state(op: str, state: Tensor) -> None:
    if state.ndim != 2 or state.shape[1] != NUM_COLUMNS or state.dtype != torch.float64:
        raise ValueError(
            f"{op}: the metric state must be float64 of shape (D, {NUM_COLUMNS}),"
            f" got {state.dtype} {shape_text(state)}."
        )


def moments_of(preds: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the moments ``[D, 12]`` of one batch ``[N]`` or ``[N, D]``, in plain torch.

    Autograd can go through this, unlike through the ops. The batch must not be empty.
    """
    wide = torch.float64 in (preds.dtype, target.dtype)
    x, y = (t.double().reshape(t.shape[0], -1) for t in (preds, target))
    if weight is None:
        w = torch.ones((len(x), 1), dtype=torch.float64, device=x.device)
    else:
        w = weight_or_nan(weight).unsqueeze(1)
    kept = w != 0
    total = w.sum()
    pivot = torch.where(kept, w, -torch.inf).argmax(0)

    def centred(values: Tensor) -> tuple[Tensor, Tensor]:
        # From one of the values: what is constant has a variance of exactly zero.
        shift = values.detach().index_select(0, pivot).squeeze(0)  # an index would wait for a GPU
        shifted = torch.where(kept, values - shift, 0.0)
        step = (w * shifted).sum(0) / total
        return shift + step, torch.where(kept, shifted - step, 0.0)

    (mean_x, dx), (mean_y, dy), (mean_d, dd) = centred(x), centred(y), centred(y - x)
    one = torch.ones_like(mean_y)
    rows = (
        kept.sum() * one,
        total * one,
        mean_x,
        mean_y,
        mean_d,
        (w * dx * dx).sum(0),
        (w * dy * dy).sum(0),
        (w * dd * dd).sum(0),
        (w * dx * dy).sum(0),
        torch.where(kept & ~y.isnan(), y, torch.inf).amin(0),
        torch.where(kept & ~y.isnan(), y, -torch.inf).amax(0),
    )
    found = torch.stack(rows, dim=-1)
    found = torch.where(total == 0, torch.zeros_like(found), found)
    return torch.cat((found, torch.full_like(found[:, :1], float(wide))), dim=-1)


def merged(first: Tensor, second: Tensor) -> Tensor:
    """Merge moments ``[D, 12]`` of two parts by Chan's rule; one without weight adds nothing."""
    a, b = first.unbind(-1), second.unbind(-1)
    total = a[WEIGHT] + b[WEIGHT]
    share = b[WEIGHT] / total
    both = a[WEIGHT] * share
    step = {column: b[column] - a[column] for column in (MEAN_X, MEAN_Y, MEAN_D)}
    rows = list(a)
    rows[COUNT] = a[COUNT] + b[COUNT]
    rows[WEIGHT] = total
    for column in step:
        rows[column] = a[column] + step[column] * share
    for column, left, right in (
        (M2_X, MEAN_X, MEAN_X),
        (M2_Y, MEAN_Y, MEAN_Y),
        (M2_D, MEAN_D, MEAN_D),
        (C_XY, MEAN_X, MEAN_Y),
    ):
        rows[column] = a[column] + b[column] + step[left] * step[right] * both
    rows[MIN_Y] = torch.minimum(a[MIN_Y], b[MIN_Y])
    rows[MAX_Y] = torch.maximum(a[MAX_Y], b[MAX_Y])
    result = torch.stack(rows, dim=-1)
    result = torch.where(first[:, WEIGHT, None] == 0, second, result)
    result = torch.where(second[:, WEIGHT, None] == 0, first, result)
    wide = torch.maximum(a[WIDE], b[WIDE])
    return torch.cat((result[:, :WIDE], wide.unsqueeze(-1)), dim=-1)


def co_moments_reference(
    state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None
) -> None:
    """Plain torch twin of the compiled kernels."""
    if preds.numel():
        state.copy_(merged(state, moments_of(preds.detach(), target.detach(), weight)))


def merge_co_moments_reference(state: Tensor, others: Tensor) -> None:
    """Plain torch twin of the compiled kernels."""
    total = state
    for other in others.detach().unbind(0):
        total = merged(total, other)
    if total is not state:
        state.copy_(total)


_co_moments = define(
    "co_moments_",
    "(Tensor(a!) state, Tensor preds, Tensor target, Tensor? weight)",
    co_moments_reference,
    check_co_moments,
    fusible_axes=2,
)
_merge_co_moments = define(
    "merge_co_moments_",
    "(Tensor(a!) state, Tensor others)",
    merge_co_moments_reference,
    check_merge_co_moments,
)


def co_moments_(state: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
    """Add one batch to the moments of each output.

    Every block of the batch is summed around one of its own values and merged by Chan's rule, in an
    order that follows from the sizes alone; constant inputs have a variance of exactly zero.

    Args:
        state: float64 ``[D, 12]``, one row per output, changed in place. All zero: no data.

            ======= ====================================================================
            column  meaning
            ======= ====================================================================
            0, 1    samples whose weight is not zero; sum of the weights
            2, 3, 4 means of ``preds``, of ``target`` and of ``target - preds``
            5, 6, 7 sums of squared distances from these means
            8       sum of the products of the distances of ``preds`` and ``target``
            9, 10   smallest and largest target that is not NaN
            11      1 once an input was float64, else 0
            ======= ====================================================================
        preds: ``[N]`` (D = 1) or ``[N, D]``, any real dtype.
        target: the same shape, any real dtype.
        weight: optional ``[N]``; a sample of weight 0 is left out, whatever it holds.

    Raises:
        RuntimeError: ``preds`` and ``target`` have different shapes.
        ValueError: other shapes, dtypes or devices that do not fit.

    Cost: reads each input once; temporaries are bounded by the state's size.

    >>> import torch
    >>> from fastmetrics.ops import co_moments_
    >>> state = torch.zeros(1, 12, dtype=torch.float64)
    >>> co_moments_(state, torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), None)
    >>> state[0, :4].tolist()
    [2.0, 2.0, 2.0, 3.0]
    """
    _co_moments(state, preds, target, weight)


def merge_co_moments_(state: Tensor, others: Tensor) -> None:
    """Merge the moments of other parts of the data into ``state``, one after the other.

    Args:
        state: as in :func:`co_moments_`. Changed in place.
        others: float64 ``[R, D, 12]``; parts without data change nothing.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    >>> import torch
    >>> from fastmetrics.ops import co_moments_, merge_co_moments_
    >>> state = torch.zeros(1, 12, dtype=torch.float64)
    >>> part = state.clone()
    >>> co_moments_(part, torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), None)
    >>> merge_co_moments_(state, torch.stack([part, part]))
    >>> state[0, :4].tolist()
    [4.0, 4.0, 2.0, 3.0]
    """
    _merge_co_moments(state, others)


class MergeMoments(Merger):
    """Merges moments ``[D, 12]``."""

    def __call__(self, parts: Tensor) -> Tensor:
        """Return the moments of all parts ``[R, D, 12]``."""
        total = torch.zeros_like(parts[0])
        merge_co_moments_(total, parts.contiguous())
        return total

    def absorb(self, total: Tensor, batch: Tensor) -> Tensor:
        """Merge ``batch`` into ``total``, which may date from before the outputs were known."""
        if total.shape != batch.shape:
            total = with_outputs(total, batch.shape[0])
        merge_co_moments_(total, batch.detach().unsqueeze(0))
        return total


def with_outputs(moments: Tensor, outputs: int) -> Tensor:
    """Return a copy of the moments of one output for each of ``outputs``."""
    return normal_tensor(moments.expand(outputs, -1).clone)


@frozen()
class Moments(Statistic):
    """The moments of each output, ``moments`` ``[D, 12]``.

    Two that differ in nothing but the batches they take count those alike that both do.

    Attributes:
        num_outputs: D, of no data where ``adapts``.
        flat: whether inputs of any shape are so many samples of one output.
        adapts: whether the first batch decides about D.
        flattens: whether a sample with several axes has as many outputs as numbers.
    """

    num_outputs: int = 1
    flat: bool = False
    adapts: bool = field(default=False, compare=False, repr=False)
    flattens: bool = field(default=False, compare=False, repr=False)

    op = staticmethod(co_moments_)
    exact = ("moments",)

    def check(self) -> None:
        """Raise ``ValueError`` unless ``num_outputs`` is a positive integer."""
        check_int("num_outputs", self.num_outputs, 1)

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {"moments": MergeMoments()}

    @property
    @override
    def rows(self) -> str:
        return "numbers"

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        rows = self.num_outputs
        return {"moments": torch.zeros(rows, NUM_COLUMNS, dtype=torch.float64, device=device)}

    @override
    def open(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None
    ) -> Tensor | None:
        takes_as_is = preds.ndim == 1 if self.flat else preds.ndim < 3
        return self._wide_enough(states, preds) if takes_as_is else None

    @override
    def keep(self, states: States, state: Tensor) -> None:
        if state is not states.values["moments"]:
            states.values["moments"] = state

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        if preds.ndim == 1:  # one output, as it is
            co_moments_(states.values["moments"], preds, target, weight)
            return
        preds, target = self._columns(preds, target)
        state = self._wide_enough(states, preds)
        co_moments_(state, preds, target, weight)
        self.keep(states, state)

    @override
    def report(self, owner: str, states: States) -> None:
        """Warn of weights that are none."""
        report_weight_sums(owner, states.values["moments"], WEIGHT)

    @override
    def with_gradients(
        self, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> dict[str, Any]:
        preds, target = self._columns(preds, target)
        state = self._wide_enough(States(self.empty(preds.device)), preds)
        check_co_moments(state, preds, target, weight)
        return {"moments": moments_of(preds, target, weight) if preds.numel() else state}

    def _columns(self, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return both as ``[N]`` or ``[N, D]`` where this statistic takes other shapes.

        Inputs of two different shapes are left for the op to refuse.
        """
        if preds.shape == target.shape:
            if self.flat and preds.ndim != 1:
                return preds.reshape(-1), target.reshape(-1)
            if self.flattens and preds.ndim > 2:
                return preds.flatten(1), target.flatten(1)
        return preds, target

    def _wide_enough(self, states: States, preds: Tensor) -> Tensor:
        """Return the state, or a copy for as many outputs as ``preds`` has."""
        state: Tensor = states.values["moments"]
        if self.adapts and preds.ndim == 2 and state.shape[0] == 1 != preds.shape[1]:
            return with_outputs(state, preds.shape[1])
        return state
