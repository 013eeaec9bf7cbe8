"""Replicas of a bootstrap, each of which counts every sample as often as chance says."""

from __future__ import annotations

import torch
from torch import Tensor

from fastmetrics.ops.checks import shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.inputs import check_class_inputs, read_classes
from fastmetrics.ops.stat_scores import true_negatives

__all__ = ["bootstrap_counts_", "bootstrap_weights_"]

# From which of the 65536 values of 16 bits on a weight is at least 1, 2, ...: those of a Poisson
# variable of mean 1, rounded so that the mean is exactly 1; the variance is 0.9999.
THRESHOLDS = (24109, 48219, 60273, 64292, 65296, 65497, 65530)

_MASK = 0xFFFFFFFF
# What the reference draws at a time, so that its temporaries do not grow with the batch.
_DRAWN = 2**22


def _signed(constant: int) -> int:
    return constant - 2**64 if constant >= 2**63 else constant


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Shift 64 bits to the right; zeros come in."""
    shifted: Tensor = (z >> bits) & (2 ** (64 - bits) - 1)
    return shifted


def _draw(numbers: Tensor, replicas: int, seed: int) -> Tensor:
    """Return the weights ``[N, R]`` of the samples with these numbers.

    A sample has 64 random bits (splitmix64 at its number), two words. Each two replicas have a word
    that starts as ``low + j * high``, so that any two are independent, and is mixed; each half of
    it, as a signed number, is compared with the thresholds.
    """
    z = (numbers + 1) * _signed(0x9E3779B97F4A7C15) + seed
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    z = (z ^ _shifted(z, 31)).unsqueeze(1)
    low, high = z & _MASK, _shifted(z, 32) | 1
    replica = torch.arange(replicas, device=numbers.device)
    x = (low + (replica >> 1) * high) & _MASK
    x = (x ^ (x >> 15)) * 0x846CA68B & _MASK
    halves = ((x ^ (x >> 16)) >> 16 * (replica & 1) & 0xFFFF) ^ 0x8000
    thresholds = torch.tensor(THRESHOLDS).to(numbers.device, non_blocking=True)
    weights: Tensor = torch.bucketize(halves, thresholds, right=True)
    return weights


def _numbers(seen: Tensor, numbers: Tensor | None, count: int, offset: int, step: int) -> Tensor:
    """Return the numbers of a batch, and count its samples unless they were given."""
    if numbers is not None:
        return numbers
    counted = (seen + torch.arange(count, device=seen.device)) * step + offset
    seen += count
    return counted


def _check_numbers(op: str, seen: Tensor, numbers: Tensor | None, count: int) -> None:
    if seen.dtype != torch.int64 or seen.shape != (1,):
        raise ValueError(
            f"{op}: `seen` must be torch.int64 (1,), got {seen.dtype} {shape_text(seen)}."
        )
    if numbers is not None and (numbers.dtype != torch.int64 or numbers.shape != (count,)):
        raise ValueError(
            f"{op}: `numbers` must be torch.int64 ({count},), got {numbers.dtype}"
            f" {shape_text(numbers)}."
        )


def check_bootstrap_weights(
    state: Tensor, seen: Tensor, numbers: Tensor | None, seed: int, offset: int, step: int
) -> None:
    """Metadata check of `bootstrap_weights_`, and its fake."""
    op = "bootstrap_weights_"
    if state.dtype != torch.uint8 or state.ndim != 2:
        raise ValueError(
            f"{op}: `state` must be torch.uint8 (N, R), got {state.dtype} {shape_text(state)}."
        )
    _check_numbers(op, seen, numbers, state.shape[0])


def bootstrap_weights_reference(
    state: Tensor, seen: Tensor, numbers: Tensor | None, seed: int, offset: int, step: int
) -> None:
    """Plain torch twin of the compiled kernel."""
    count, replicas = state.shape
    drawn = _numbers(seen, numbers, count, offset, step)
    chunk = max(1, _DRAWN // max(replicas, 1))
    for part, of in zip(state.split(chunk), drawn.split(chunk), strict=True):
        part.copy_(_draw(of, replicas, seed))


def check_bootstrap_counts(
    state: Tensor, events: Tensor, seen: Tensor, preds: Tensor, target: Tensor,
    numbers: Tensor | None, num_classes: int, ignore_index: int | None, validate: bool,
    seed: int, offset: int, step: int,
) -> None:  # fmt: skip
    """Metadata check of `bootstrap_counts_`, and its fake."""
    op = "bootstrap_counts_"
    check_class_inputs(op, state, preds, target, None, num_classes)
    if state.dtype != torch.int64 or state.ndim != 3 or state.shape[1:] != (num_classes, 4):
        raise ValueError(
            f"{op}: `state` must be torch.int64 (R, {num_classes}, 4), got {state.dtype}"
            f" {shape_text(state)}."
        )
    _check_numbers(op, seen, numbers, target.shape[0])


def bootstrap_counts_reference(
    state: Tensor, events: Tensor, seen: Tensor, preds: Tensor, target: Tensor,
    numbers: Tensor | None, num_classes: int, ignore_index: int | None, validate: bool,
    seed: int, offset: int, step: int,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernel."""
    pred, labels, counted, _ = read_classes(
        "bootstrap_counts_", events, preds, target, num_classes, 1, ignore_index, validate
    )
    samples, depth = labels.shape
    replicas = state.shape[0]
    drawn = _numbers(seen, numbers, samples, offset, step)
    sums = state.new_zeros(3, num_classes, replicas)
    chunk = max(1, _DRAWN // max(replicas * depth, 1))
    parts = zip(*(x.split(chunk) for x in (drawn, pred, labels, counted)), strict=True)
    for of, p, t, kept in parts:
        weights = _draw(of, replicas, seed).unsqueeze(1) * kept.unsqueeze(2)
        p, t = p.where(kept, 0), t.where(kept, 0)
        for row, index, mask in ((0, t, p == t), (1, p, None), (2, t, None)):
            amount = weights if mask is None else weights * mask.unsqueeze(2)
            sums[row].index_add_(0, index.flatten(), amount.flatten(0, 1))
    tp, predicted, targets = sums.permute(0, 2, 1)
    fp, fn = predicted - tp, targets - tp
    state += torch.stack((tp, fp, true_negatives(tp, fp, fn, num_classes), fn), -1)


_bootstrap_weights = define(
    "bootstrap_weights_",
    "(Tensor(a!) state, Tensor(b!) seen, Tensor? numbers, int seed, int offset, int step)",
    bootstrap_weights_reference,
    check_bootstrap_weights,
    triton=False,
)
_bootstrap_counts = define(
    "bootstrap_counts_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor(c!) seen, Tensor preds, Tensor target,"
    " Tensor? numbers, int num_classes, int? ignore_index, bool validate, int seed, int offset,"
    " int step)",
    bootstrap_counts_reference,
    check_bootstrap_counts,
    triton=False,
)


def bootstrap_weights_(
    state: Tensor,
    seen: Tensor,
    numbers: Tensor | None = None,
    seed: int = 0,
    offset: int = 0,
    step: int = 1,
) -> None:
    """Write how often each of N samples counts in each of R replicas.

    The weights are Poisson variables of mean 1, and follow from ``seed``, the number of the sample
    and that of the replica alone: they are the same however samples are split into batches.

    Args:
        state: the weights, uint8 ``[N, R]``. Overwritten.
        seen: how many samples were counted so far, int64 ``[1]``. N is added unless ``numbers``
            are given.
        numbers: of the samples, int64 ``[N]``; ``(seen + i) * step + offset`` by default.
        seed: any integer of 64 bits.
        offset: as said.
        step: as said.

    Raises:
        ValueError: shapes or dtypes do not fit.

    >>> import torch
    >>> from fastmetrics.ops import bootstrap_weights_
    >>> weights, seen = torch.zeros(4, 5, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    >>> bootstrap_weights_(weights, seen, seed=1)
    >>> weights.shape, seen
    (torch.Size([4, 5]), tensor([4]))
    """
    _bootstrap_weights(state, seen, numbers, seed, offset, step)


def bootstrap_counts_(
    state: Tensor,
    events: Tensor,
    seen: Tensor,
    preds: Tensor,
    target: Tensor,
    numbers: Tensor | None = None,
    num_classes: int = 2,
    ignore_index: int | None = None,
    validate: bool = True,
    seed: int = 0,
    offset: int = 0,
    step: int = 1,
) -> None:
    """Add one batch to the per-class counts ``(tp, fp, tn, fn)`` of each of R replicas.

    As :func:`~fastmetrics.ops.stat_scores.stat_scores_` with the weights that
    :func:`bootstrap_weights_` writes, for all replicas in one pass.

    Args:
        state: int64 ``[R, C, 4]``. Changed in place.
        events: int64 ``[4]``, see :mod:`fastmetrics.ops.faults`. Changed in place.
        seen: as for :func:`bootstrap_weights_`. Changed in place.
        preds: scores ``[N, C, ...]`` (float16, bfloat16, float32, float64) or labels ``[N, ...]``.
        target: labels ``[N, ...]`` in ``[0, C)``, any integer type or bool.
        numbers: as for :func:`bootstrap_weights_`.
        num_classes: C.
        ignore_index: positions with this target are left out.
        validate: raise for labels out of range (CPU) or count them in ``events`` (GPU);
            otherwise such positions are left out in silence.
        seed: as for :func:`bootstrap_weights_`.
        offset: as for :func:`bootstrap_weights_`.
        step: as for :func:`bootstrap_weights_`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is out of range (CPU); nothing has changed.

    Cost: reads ``preds`` and ``target`` once; temporaries do not grow with N on the CPU.

    >>> import torch
    >>> from fastmetrics.ops import bootstrap_counts_
    >>> from fastmetrics.ops.faults import new_events
    >>> state, seen = torch.zeros(100, 2, 4, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    >>> preds, target = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    >>> bootstrap_counts_(state, new_events(), seen, preds, target)
    >>> state.shape, seen
    (torch.Size([100, 2, 4]), tensor([3]))
    """
    _bootstrap_counts(
        state, events, seen, preds, target, numbers, num_classes, ignore_index, validate, seed,
        offset, step,
    )  # fmt: skip
