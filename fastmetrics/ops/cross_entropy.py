"""Cross entropy: the negative logarithms of the softmax probabilities of targets, summed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import View, frozen
from fastmetrics.ops.checks import LABEL_DTYPES, SCORE_DTYPES, check_summed_scores, shape_text
from fastmetrics.ops.counted import CountStatistic
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import NAN
from fastmetrics.ops.inputs import check_class_scores, contributions, count_targets, int_sum
from fastmetrics.utilities.checks import check_ignore_index

__all__ = ["cross_entropy_sums_"]

_NAME = "cross_entropy_sums_"


def check_cross_entropy_sums(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `cross_entropy_sums_`, and its fake."""
    check_summed_scores(_NAME, state, preds)
    check_class_scores(_NAME, state, preds, target, weight, 0)


def _losses(scores: Tensor, target: Tensor) -> Tensor:
    """Return ``-log(softmax(scores)[target])`` of rows ``[P, C]``; equal infinities share a row."""
    top = scores.amax(-1, keepdim=True)
    is_top = scores == top
    below = torch.where(is_top, -torch.inf, scores - top).exp().sum(-1)
    own, top = scores.gather(-1, target.unsqueeze(-1)).squeeze(-1), top.squeeze(-1)
    # Without the one of the largest score, next to which small powers would vanish.
    return torch.where(own == top, 0.0, top - own) + (below + (is_top.sum(-1) - 1)).log1p()


def cross_entropy_sums_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    if target.numel() == 0:
        return
    num_classes = preds.shape[1]
    counted = count_targets(_NAME, events, target, num_classes, ignore_index, validate).flatten()
    scores = preds.movedim(1, -1).reshape(-1, num_classes)
    events[NAN] += int_sum(scores.isnan().any(-1) & counted)
    losses = _losses(scores.double(), target.flatten().long().where(counted, 0))
    amount = contributions(events, counted.view(len(target), -1), weight).flatten().double()
    losses = torch.where(amount == 0.0, 0.0, amount * losses)
    state += torch.stack([losses.sum(), amount.sum()])


_cross_entropy_sums = define(
    _NAME,
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " int? ignore_index, bool validate)",
    cross_entropy_sums_reference,
    check_cross_entropy_sums,
)


def cross_entropy_sums_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add ``-log(softmax(preds)[target])`` of each position of a batch, and their number.

    Logits of equal infinities share the probability; a target whose logit is negative infinity
    below others has probability 0 and an infinite loss. NaN makes the sum NaN. Powers are worked
    out in float64 for float64 logits and in float32, relative to the largest logit, for all others;
    everything else in float64.

    Args:
        state: float64 ``[2]``: the sum of losses, and the number of positions or the sum of their
            weights. Changed in place.
        events: int64 ``[4]``. Changed in place.
        preds: logits in a float type, ``[N, C, ...]``, in any layout.
        target: classes in any integer type or bool, ``[N, ...]``.
        weight: optional ``[N]``; a sample of weight 0 adds nothing, whatever its logits.
        ignore_index: positions with this target are left out.
        validate: as in :func:`fastmetrics.ops.stat_scores.stat_scores_`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is out of range (CPU); the state is unchanged.

    Cost: reads each input once; temporaries are bounded.

    >>> import torch
    >>> from fastmetrics.ops import cross_entropy_sums_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(2, dtype=torch.float64)
    >>> cross_entropy_sums_(state, new_events(), torch.zeros(3, 4), torch.tensor([0, 1, 3]))
    >>> state
    tensor([4.1589, 3.0000], dtype=torch.float64)
    """
    _cross_entropy_sums(state, events, preds, target, weight, ignore_index, validate)


@frozen()
class CrossEntropySums(CountStatistic):
    """Sums of cross entropies and of positions, ``[2]``; see :func:`cross_entropy_sums_`.

    The class axis of a batch is its last: logits ``[B, T, V]``, targets ``[B, T]``.
    """

    ignore_index: int | None = None
    validate_args: bool = True

    op = staticmethod(_cross_entropy_sums)
    dtype = torch.float64
    nan_treatment = "their loss is NaN."

    @override
    def check(self) -> None:
        check_ignore_index(self.ignore_index)

    @property
    @override
    def shape(self) -> tuple[int]:
        return (2,)

    @override
    def arguments(self) -> tuple[int | None, bool]:
        return self.ignore_index, self.validate_args

    @staticmethod
    def check_batch(preds: Tensor, target: Tensor) -> None:
        """Raise unless these are logits ``[B, T, V]`` and classes ``[B, T]``.

        Raises:
            ValueError: the shapes are others.
            TypeError: ``preds`` is not floating point, or ``target`` no integers.
        """
        if preds.ndim != 3 or preds.shape[:2] != target.shape:
            raise ValueError(
                "`preds` must have shape (B, T, V) with `target` (B, T),"
                f" got {shape_text(preds)} and {shape_text(target)}."
            )
        if preds.dtype not in SCORE_DTYPES:
            raise TypeError(f"`preds` must be floating point, got dtype {preds.dtype}.")
        if target.dtype not in LABEL_DTYPES:
            raise TypeError(f"`target` must be integers, got dtype {target.dtype}.")

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        self.check_batch(preds, target)
        super().add(states, preds.movedim(-1, 1), target, weight)

    @override
    def with_gradients(
        self, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> dict[str, Any]:
        self.check_batch(preds, target)
        empty = self.empty(preds.device)
        events: Tensor = empty["events"]
        logits = preds.movedim(-1, 1)
        check_cross_entropy_sums(empty["counts"], events, logits, target, weight, *self.arguments())
        counted = count_targets(
            _NAME, events, target, preds.shape[-1], self.ignore_index, self.validate_args
        )
        events[NAN] += int_sum(preds.isnan().any(-1) & counted)
        logs = logits.to(torch.promote_types(preds.dtype, torch.float32)).log_softmax(1)
        own = logs.gather(1, target.long().where(counted, 0).unsqueeze(1)).squeeze(1).double()
        amount = contributions(events, counted, weight).double()
        losses = torch.where(amount == 0.0, 0.0, -amount * own)
        return {"counts": torch.stack([losses.sum(), amount.sum()]), "events": events}

    def read(self, states: States) -> Tensor:
        """Return the sum of losses and the number of positions, ``[2]``."""
        counts: Tensor = states.values["counts"]
        return counts

    @override
    def views(self) -> Mapping[str, View]:
        return {
            "total_log_probs": self.part(lambda states: states.values["counts"][0], 0),
            "count": self.part(lambda states: states.values["counts"][1], 1),
        }
