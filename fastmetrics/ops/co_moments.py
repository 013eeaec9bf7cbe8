"""Co-moments: means, central second moments and the co-moment of predictions and targets.

They are kept centred, because sums of squares lose what correlation and explained variance ask for:
at mean 1e6 and variance 1 the float64 sum of 1e7 squares has four digits of the variance left.
Parts of the data are merged by Chan's rule. The residual ``target - preds`` has moments of its own:
those of the two columns give the error of a good prediction only by cancellation.

A mean has a rest, because a rounded mean far away moves by more than the digits that a variance
asks for. Numbers whose squares leave the range of float64 are divided by a power of two first.
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
from fastmetrics.core.statistic import Statistic, check_form, frozen
from fastmetrics.ops.checks import check_devices, check_real, check_weight, shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.differences import difference, words
from fastmetrics.ops.faults import report_weight_sums, weight_or_nan
from fastmetrics.ops.powers import exponent_of, times_power
from fastmetrics.utilities.checks import check_int
from fastmetrics.utilities.data import normal_tensor
from fastmetrics.utilities.dtypes import is_wide

__all__ = ["co_moments_", "merge_co_moments_"]

# Columns of the state.
COUNT = 0
WEIGHT = 1
MEAN_X, MEAN_Y, MEAN_D = 2, 3, 4
M2_X, M2_Y, M2_D, C_XY = 5, 6, 7, 8
MIN_Y, MAX_Y = 9, 10
WIDE = 11
REST_X, REST_Y, REST_D = 12, 13, 14
EXPONENT_X, EXPONENT_Y, EXPONENT_D = 15, 16, 17
NUM_COLUMNS = 18

# By variable: its mean, the rest of that, its exponent.
_X = (MEAN_X, REST_X, EXPONENT_X)
_Y = (MEAN_Y, REST_Y, EXPONENT_Y)
_D = (MEAN_D, REST_D, EXPONENT_D)
# Second moments, and the variables that they are products of.
_PRODUCTS = ((M2_X, _X, _X), (M2_Y, _Y, _Y), (M2_D, _D, _D), (C_XY, _X, _Y))


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
        check_real("co_moments_", name, tensor)
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


def exact_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum, and what is lost by rounding it."""
    total = a + b
    of_b = total - a
    lost = (a - (total - of_b)) + (b - of_b)
    return total, torch.where(total.isfinite(), lost, 0.0).detach()


def precision_of(preds: Tensor, target: Tensor) -> float:
    """Return what the state remembers of the dtypes of a batch."""
    if is_wide(preds, target):
        return 1.0
    return 0.0 if preds.is_floating_point() and target.is_floating_point() else 0.5


def moments_of(preds: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the moments ``[D, 18]`` of one batch ``[N]`` or ``[N, D]``, in plain torch.

    Autograd can go through this, unlike through the ops. The batch must not be empty.
    """
    wide = is_wide(preds, target)
    x, y = (t.reshape(t.shape[0], -1) for t in (preds, target))
    if weight is None:
        w = torch.ones((len(x), 1), dtype=torch.float64, device=x.device)
    else:
        w = weight_or_nan(weight).unsqueeze(1)
    kept = w != 0
    total = w.sum()
    pivot = torch.where(kept, w, -torch.inf).argmax(0)

    def distances(values: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        # From one of the values: what is constant has a variance of exactly zero.
        base = values.detach().index_select(0, pivot).squeeze(0)  # an index would wait for a GPU
        exact = base.dtype == torch.int64
        pair = (
            exact_sum(*words(base)) if exact else (base.double(), torch.zeros_like(base).double())
        )
        return pair, difference(values, base)

    def scaled(values: Tensor, halves: float = 1.0) -> tuple[Tensor, Tensor]:
        largest = torch.where(kept, values.detach(), 0.0).abs().amax(0)
        exponent = exponent_of(largest) if wide else torch.zeros_like(largest)
        return times_power(values, -exponent) if wide else values, exponent

    def centred(base: tuple[Tensor, Tensor], shifted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shifted = torch.where(kept, shifted, 0.0)
        step = (w * shifted).sum(0) / total
        mean, rest = exact_sum(base[0], base[1] + step)
        return mean, rest, torch.where(kept, shifted - step, 0.0)

    if torch.int64 in (x.dtype, y.dtype):
        base_x, from_x = distances(x)
        base_y, from_y = distances(y)
        high, low = exact_sum(base_y[0], -base_x[0])
        base_d, from_d = (high, low + (base_y[1] - base_x[1])), from_y - from_x
        exponents = [torch.zeros_like(high)] * 3
    else:
        x, y = x.double(), y.double()
        x_scaled, exponent_x = scaled(x)
        y_scaled, exponent_y = scaled(y)
        # Halves, because a difference may be too large for float64.
        half, exponent_d = scaled(0.5 * y - 0.5 * x) if wide else (y, exponent_x)
        d = torch.where(exponent_d == 0, y - x, half)
        exponents = [exponent_x, exponent_y, torch.where(exponent_d == 0, 0.0, exponent_d + 1)]
        (base_x, from_x), (base_y, from_y), (base_d, from_d) = map(
            distances, (x_scaled, y_scaled, d)
        )
    mean_x, rest_x, dx = centred(base_x, from_x)
    mean_y, rest_y, dy = centred(base_y, from_y)
    mean_d, rest_d, dd = centred(base_d, from_d)
    y = y.double()
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
        one * precision_of(preds, target),
        rest_x,
        rest_y,
        rest_d,
        *exponents,
    )
    found = torch.stack(rows, dim=-1)
    return torch.where(
        (total == 0) & (torch.arange(NUM_COLUMNS, device=x.device) != WIDE), 0.0, found
    )


def _all_zero(part: tuple[Tensor, ...], square: int, mean: int) -> Tensor:
    return (part[square] == 0) & (part[mean] == 0)


def in_terms_of(moments: Tensor, exponents: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return the same moments ``[D, 18]``, divided by these powers of two."""
    columns = list(moments.unbind(-1))
    by = {}
    for variable, exponent in zip((_X, _Y, _D), exponents, strict=True):
        mean, rest, place = variable
        by[place] = columns[place] - exponent
        columns[mean] = times_power(columns[mean], by[place])
        columns[rest] = times_power(columns[rest], by[place])
        columns[place] = exponent
    for column, left, right in _PRODUCTS:
        columns[column] = times_power(columns[column], by[left[-1]] + by[right[-1]])
    return torch.stack(columns, dim=-1)


def plain_moments(moments: Tensor) -> Tensor:
    """Return the same moments as far as float64 goes: without exponents, and with rounded means."""
    none = torch.zeros_like(moments[:, 0])
    plain = in_terms_of(moments, (none, none, none))
    plain[:, REST_X : REST_D + 1] = 0.0
    return plain


def merged(first: Tensor, second: Tensor) -> Tensor:
    """Merge moments ``[D, 18]`` of two parts by Chan's rule; one without weight adds nothing."""
    a, b = first.unbind(-1), second.unbind(-1)
    common = []
    for (mean, _, place), square in ((_X, M2_X), (_Y, M2_Y), (_D, M2_D)):
        # The larger exponent, unless that part is all zeros.
        larger = torch.maximum(a[place], b[place])
        larger = torch.where(_all_zero(b, square, mean), a[place], larger)
        common.append(torch.where(_all_zero(a, square, mean), b[place], larger))
    aligned = (common[0], common[1], common[2])
    a = in_terms_of(first, aligned).unbind(-1)
    b = in_terms_of(second, aligned).unbind(-1)
    total = a[WEIGHT] + b[WEIGHT]
    share = b[WEIGHT] / total
    both = a[WEIGHT] * share
    rows = list(a)
    rows[COUNT] = a[COUNT] + b[COUNT]
    rows[WEIGHT] = total
    steps = {}
    for mean, rest, _ in (_X, _Y, _D):
        steps[mean] = (b[mean] - a[mean]) + (b[rest] - a[rest])
        rows[mean], rows[rest] = exact_sum(a[mean], a[rest] + steps[mean] * share)
    for column, left, right in _PRODUCTS:
        rows[column] = a[column] + b[column] + steps[left[0]] * steps[right[0]] * both
    rows[MIN_Y] = torch.minimum(a[MIN_Y], b[MIN_Y])
    rows[MAX_Y] = torch.maximum(a[MAX_Y], b[MAX_Y])
    result = torch.stack(rows, dim=-1)
    result = torch.where(first[:, WEIGHT, None] == 0, second, result)
    result = torch.where(second[:, WEIGHT, None] == 0, first, result)
    result[:, WIDE] = torch.maximum(a[WIDE], b[WIDE])
    return result


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
    order that follows from the sizes alone; constant inputs have a variance of exactly zero. int64
    is subtracted before it becomes float64.

    Args:
        state: float64 ``[D, 18]``, one row per output, changed in place. All zero: no data.

            ======= ====================================================================
            column  meaning
            ======= ====================================================================
            0, 1    samples whose weight is not zero; sum of the weights
            2, 3, 4 means of ``preds``, of ``target`` and of ``target - preds``
            5, 6, 7 sums of squared distances from these means
            8       sum of the products of the distances of ``preds`` and ``target``
            9, 10   smallest and largest target that is not NaN
            11      1 once an input was float64, 1/2 once one was no float, else 0
            12-14   what the means in 2, 3, 4 lack because they are rounded
            15-17   exponents of the powers of two by which ``preds``, ``target`` and their
                    difference are divided in columns 2 to 8 and 12 to 14; 0 unless squares
                    would leave the range of float64
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
    >>> state = torch.zeros(1, 18, dtype=torch.float64)
    >>> co_moments_(state, torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), None)
    >>> state[0, :4].tolist()
    [2.0, 2.0, 2.0, 3.0]
    """
    _co_moments(state, preds, target, weight)


def merge_co_moments_(state: Tensor, others: Tensor) -> None:
    """Merge the moments of other parts of the data into ``state``, one after the other.

    Args:
        state: as in :func:`co_moments_`. Changed in place.
        others: float64 ``[R, D, 18]``; parts without data change nothing.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    >>> import torch
    >>> from fastmetrics.ops import co_moments_, merge_co_moments_
    >>> state = torch.zeros(1, 18, dtype=torch.float64)
    >>> part = state.clone()
    >>> co_moments_(part, torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), None)
    >>> merge_co_moments_(state, torch.stack([part, part]))
    >>> state[0, :4].tolist()
    [4.0, 4.0, 2.0, 3.0]
    """
    _merge_co_moments(state, others)


class MergeMoments(Merger):
    """Merges moments ``[D, 18]``."""

    def __call__(self, parts: Tensor) -> Tensor:
        """Return the moments of all parts ``[R, D, 18]``."""
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
    """The moments of each output, ``moments`` ``[D, 18]``.

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
    reports_weights_alone = True
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
    def check_state(self, name: str, value: Tensor, default: Tensor) -> None:
        outputs = "D" if self.adapts else self.num_outputs
        check_form(name, value, (outputs, NUM_COLUMNS), torch.float64)

    @override
    def open(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None
    ) -> Tensor | None:
        takes_as_is = preds.ndim == 1 if self.flat else preds.ndim < 3
        states.note_width(preds, target)
        return self._wide_enough(states, preds) if takes_as_is else None

    @override
    def keep(self, states: States, state: Tensor) -> None:
        if state is not states.values["moments"]:
            states.values["moments"] = state

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        states.note_width(preds, target)
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
