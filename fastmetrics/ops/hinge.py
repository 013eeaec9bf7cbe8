"""Hinge losses: how far each score stays behind a margin of one, summed over samples.

Scores are read as they are, and as logits: a sigmoid turns binary ones into probabilities, a
softmax those of a multiclass sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import View, frozen
from fastmetrics.ops.checks import check_summed_scores
from fastmetrics.ops.counted import CountStatistic, choose_interpretation
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import NAN, OUTSIDE
from fastmetrics.ops.inputs import (
    LOGITS,
    check_class_scores,
    check_label_inputs,
    contributions,
    count_targets,
    int_sum,
    interpretations_of,
)
from fastmetrics.ops.score_histogram import softmax
from fastmetrics.utilities.checks import (
    INPUTS,
    check_bool,
    check_choice,
    check_ignore_index,
    check_int,
)

__all__ = ["hinge_sums_"]

_NAME = "hinge_sums_"


def check_hinge_sums(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, multiclass: bool, squared: bool,
    logits: bool, weight: Tensor | None, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `hinge_sums_`, and its fake."""
    check_summed_scores(_NAME, state, preds)
    if not multiclass:
        check_label_inputs(_NAME, state, preds, target, weight, 1)
        return
    num_losses = state.shape[1] - 1
    check_class_scores(_NAME, state, preds, target, weight, num_losses if num_losses > 1 else 0)
    if preds.shape[1] < 2:
        raise ValueError(f"{_NAME}: `preds` must have two classes or more, got one.")


def _losses(margins: Tensor, squared: bool) -> Tensor:
    losses = (1.0 - margins).clamp(min=0.0)
    return losses.square() if squared else losses


def _crammer_singer_margins(scores: Tensor, is_target: Tensor) -> Tensor:
    """How far the score of the target lies above the largest other one, ``[P, 1]``."""
    own = scores.where(is_target, -torch.inf).amax(-1, keepdim=True)
    rival = scores.where(~is_target, -torch.inf).amax(-1, keepdim=True)
    return torch.where(own == rival, 0.0, own - rival)  # of equal infinities too


def hinge_sums_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, multiclass: bool, squared: bool,
    logits: bool, weight: Tensor | None, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    if target.numel() == 0:
        return
    num_interpretations, num_losses = state.shape[0], state.shape[1] - 1
    num_classes = preds.shape[1] if multiclass else 1
    limit = num_classes if multiclass else 2
    counted = count_targets(_NAME, events, target, limit, ignore_index, validate).flatten()
    scores = (preds.movedim(1, -1) if multiclass else preds).reshape(-1, num_classes)
    events[NAN] += int_sum(scores.isnan().any(-1) & counted)
    if num_interpretations > 1:
        events[OUTSIDE] += int_sum(((scores < 0) | (scores > 1)) & counted.unsqueeze(-1))
    classes = torch.arange(num_classes, device=target.device) if multiclass else 1
    is_target = target.reshape(-1, 1).long() == classes
    amount = contributions(events, counted.view(len(target), -1), weight).flatten().double()
    scores = scores.double()
    for index, interpretation in enumerate(interpretations_of(num_interpretations, logits)):
        values = scores
        if interpretation == LOGITS:
            values = softmax(scores) if multiclass else scores.sigmoid()
        if multiclass and num_losses == 1:
            margins = _crammer_singer_margins(values, is_target)
        else:
            margins = torch.where(is_target, values, -values)
        share = amount.unsqueeze(-1)
        losses = torch.where(share == 0.0, 0.0, share * _losses(margins, squared))
        state[index] += torch.cat([losses.sum(0), amount.sum().unsqueeze(0)])


_hinge_sums = define(
    _NAME,
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, bool multiclass,"
    " bool squared, bool logits, Tensor? weight, int? ignore_index, bool validate)",
    hinge_sums_reference,
    check_hinge_sums,
)


def hinge_sums_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    multiclass: bool = False,
    squared: bool = False,
    logits: bool = False,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add the hinge losses ``max(0, 1 - margin)`` of one batch, and the number of samples.

    The margin of a binary score is the score itself for target 1 and its negative for target 0. A
    multiclass sample has one loss (K = 1, Crammer and Singer), whose margin is the score of the
    target less the largest other score, or one per class (K = C), each class against the rest. With
    two interpretations (H = 2) the losses are those of the scores as they are, and those after a
    sigmoid or softmax; ``events`` counts the scores outside ``[0, 1]``, so that whoever reads the
    state decides for all of the data at once. NaN makes the sums that it belongs to NaN.

    Args:
        state: float64 ``[H, K + 1]`` with H in {1, 2}: for each interpretation K sums of losses,
            and last the number of positions or the sum of their weights. Changed in place.
        events: int64 ``[4]``. Changed in place.
        preds: scores in a float type: binary ``[N, ...]``, multiclass ``[N, C, ...]``, C >= 2.
        target: any integer type or bool ``[N, ...]``: 0 and 1, or classes.
        multiclass: whether ``preds`` has a class axis.
        squared: add the squares of the losses.
        logits: which interpretation a state with H = 1 holds.
        weight: optional ``[N]``; a sample of weight 0 adds nothing, whatever its scores.
        ignore_index: positions with this target are left out.
        validate: as in :func:`fastmetrics.ops.stat_scores.stat_scores_`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is out of range (CPU); the state is unchanged.

    Cost: reads each input once; temporaries are bounded by the number of classes.

    >>> import torch
    >>> from fastmetrics.ops import hinge_sums_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(1, 2, dtype=torch.float64)
    >>> hinge_sums_(state, new_events(), torch.tensor([-2.0, 0.5]), torch.tensor([0, 1]))
    >>> state
    tensor([[0.5000, 2.0000]], dtype=torch.float64)
    """
    _hinge_sums(
        state,
        events,
        preds,
        target,
        multiclass,
        squared,
        logits,
        weight,
        ignore_index,
        validate,
    )


MULTICLASS_MODES = ("crammer-singer", "one-vs-all")


class LossSums(NamedTuple):
    """K sums of losses, and the number of positions or the sum of their weights, ``[K + 1]``."""

    row: Tensor

    @property
    def losses(self) -> Tensor:
        """The sums of losses, ``[K]``."""
        return self.row[:-1]

    @property
    def total(self) -> Tensor:
        """The number of positions, or the sum of their weights."""
        return self.row[-1]


@frozen()
class HingeSums(CountStatistic):
    """Sums of hinge losses and of positions, ``[H, K + 1]``; see :func:`hinge_sums_`.

    ``num_classes`` counts for one-vs-all only, which has a loss for each class.
    """

    multiclass: bool = False
    num_classes: int = 0
    squared: bool = False
    multiclass_mode: str = "crammer-singer"
    ignore_index: int | None = None
    validate_args: bool = True
    input: str = "auto"

    op = staticmethod(hinge_sums_)
    dtype = torch.float64
    nan_treatment = "their loss is NaN."

    @override
    def check(self) -> None:
        check_bool("squared", self.squared)
        check_ignore_index(self.ignore_index)
        check_choice("input", self.input, INPUTS)
        if self.multiclass:
            check_int("num_classes", self.num_classes, 2)
            check_choice("multiclass_mode", self.multiclass_mode, MULTICLASS_MODES)

    @property
    @override
    def shape(self) -> tuple[int, int]:
        one_loss = not self.multiclass or self.multiclass_mode == "crammer-singer"
        return (2 if self.input == "auto" else 1), (1 if one_loss else self.num_classes) + 1

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        values = states.values
        hinge_sums_(
            values["counts"],
            values["events"],
            preds,
            target,
            self.multiclass,
            self.squared,
            self.input == "logits",
            weight,
            self.ignore_index,
            self.validate_args,
        )

    def read(self, states: States) -> LossSums:
        """Return the sums of the interpretation that all scores so far ask for."""
        counts, events = states.values["counts"], states.values["events"]
        return LossSums(choose_interpretation(counts, events, -2))

    @override
    def views(self) -> Mapping[str, View]:
        def measures(states: States) -> Tensor:
            losses = self.read(states).losses
            return losses if len(losses) > 1 else losses[0]

        return {
            "measures": self.part(measures, ..., slice(0, -1)),
            "total": self.part(lambda states: self.read(states).total, ..., -1),
        }
