"""Calibration bins: how confident predictions are, and how often they are right.

From the sums per bin follow the calibration errors in every norm, and reliability diagrams.
"""

from __future__ import annotations

import copy
from dataclasses import field

import torch
from torch import Tensor
from typing_extensions import Self, override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Lists, check_form, frozen
from fastmetrics.ops.checks import WEIGHT_DTYPES, check_score_dtype
from fastmetrics.ops.counted import CountStatistic, choose_interpretation, is_readable
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import NAN, OUTSIDE
from fastmetrics.ops.inputs import (
    LOGITS,
    PROBS,
    check_class_scores,
    check_label_inputs,
    contributions,
    count_targets,
    int_sum,
    interpretations_of,
)
from fastmetrics.utilities.checks import INPUTS, check_choice, check_ignore_index, check_int

__all__ = ["calibration_bins_"]

_NAME = "calibration_bins_"


def check_calibration_bins(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    edges: Tensor, num_classes: int, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `calibration_bins_`, and its fake."""
    if state.dtype != torch.float64:
        raise ValueError(f"{_NAME}: the metric state must be float64, got dtype {state.dtype}.")
    check_score_dtype(_NAME, preds)
    if num_classes:
        check_class_scores(_NAME, state, preds, target, weight, num_classes)
    else:
        check_label_inputs(_NAME, state, preds, target, weight, 1)


def _sigmoid(scores: Tensor) -> Tensor:
    """Sigmoid in float64, rounded to float32 or wider."""
    return scores.double().sigmoid().to(torch.promote_types(scores.dtype, torch.float32))


def _top_share(scores: Tensor) -> Tensor:
    """Largest softmax probability along the last axis, worked out in float64.

    Equal infinities share the row.
    """
    exact = scores.double()
    largest = exact.amax(-1, keepdim=True)
    is_largest = exact == largest
    powers = torch.where(is_largest, -torch.inf, exact - largest).exp()
    # The ones of the largest scores come last: what is far below them must not vanish one by one.
    return 1.0 / (powers.sum(-1) + is_largest.sum(-1))


def calibration_bins_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, weight: Tensor | None,
    edges: Tensor, num_classes: int, logits: bool, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    num_interpretations, num_bins, _ = state.shape
    if target.numel() == 0:
        return
    counted = count_targets(_NAME, events, target, num_classes or 2, ignore_index, validate)
    scores = preds.movedim(1, -1) if num_classes else preds.unsqueeze(-1)
    outside = ((scores < 0) | (scores > 1)) & counted.unsqueeze(-1)
    nan = scores.isnan().any(-1) & counted
    counted = counted & ~nan
    events[NAN] += int_sum(nan)
    if num_interpretations > 1:
        events[OUTSIDE] += int_sum(outside)
    correct = target.long() == (scores.argmax(-1) if num_classes else 1)
    confidences = {
        PROBS: lambda: scores.amax(-1).clamp(0, 1),
        LOGITS: lambda: _top_share(scores) if num_classes else _sigmoid(preds),
    }
    amount = contributions(events, counted.reshape(len(target), -1), weight).double().flatten()
    for index, interpretation in enumerate(interpretations_of(num_interpretations, logits)):
        confidence = confidences[interpretation]()
        wide = not num_classes and confidence.dtype == torch.float64
        confidence = confidence.to(torch.float64 if wide else torch.float32).double()
        confidence = torch.where(counted, confidence, 0.0).flatten()
        bins = torch.searchsorted(edges[int(wide)], confidence, right=True) - 1
        columns = [amount, amount * confidence, amount * correct.flatten()]
        delta = amount.new_zeros(num_bins, 3)
        delta.index_add_(0, bins, torch.stack(columns, -1))
        state[index] += delta


_calibration_bins = define(
    _NAME,
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, Tensor? weight,"
    " Tensor edges, int num_classes, bool logits, int? ignore_index, bool validate)",
    calibration_bins_reference,
    check_calibration_bins,
    fusible_axes=3,
)


def calibration_bins_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    edges: Tensor,
    num_classes: int = 0,
    logits: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add one batch to the calibration bins.

    Each counted position adds 1 (or its weight), its confidence, and whether it is right to the
    bin of its confidence: bin b holds the confidences in ``[edges[b], edges[b + 1])``, the last one
    those that reach the last edge. Binary: the confidence is the probability of class 1, and
    "right" is the target. Multiclass: the confidence is the largest probability of the row, which
    is right when the first of the largest scores is the target's. Probabilities are clamped to
    [0, 1]; a sigmoid or softmax is worked out in float64. Confidences are compared and added as
    float32, those of binary float64 scores as float64. Positions with a NaN score have no
    confidence: they are left out and counted in ``events``.

    With two interpretations (H = 2) the batch is counted both as probabilities and as logits, and
    ``events`` counts the scores outside ``[0, 1]``, so that whoever reads the state decides for all
    of the data at once.

    Args:
        state: float64 ``[H, B, 3]`` with H in {1, 2} and B bins: number of positions (sum of
            weights), sum of confidences, sum of right ones. Changed in place.
        events: int64 ``[4]``. Changed in place.
        preds: scores in a float type: binary ``[N, ...]``, multiclass ``[N, C, ...]``.
        target: any integer type or bool, ``[N, ...]``: 0 and 1, or classes.
        weight: optional ``[N]``.
        edges: float64 ``[2, B]``, the lower edges of the bins, ascending from 0 to 1 in equal
            steps: as float32 numbers, and for float64 confidences.
        num_classes: C; 0 for binary inputs.
        logits: which interpretation a state with H = 1 holds.
        ignore_index: positions with this target are left out.
        validate: as in :func:`fastmetrics.ops.stat_scores.stat_scores_`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is out of range (CPU); the state is unchanged.

    Cost: reads each input once; temporaries are bounded by the state's size and C. The sums are the
    same bits for any number of threads.

    >>> import torch
    >>> from fastmetrics.ops import calibration_bins_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(1, 2, 3, dtype=torch.float64)
    >>> edges = torch.tensor([[0.0, 1.0]] * 2, dtype=torch.float64)
    >>> scores, target = torch.tensor([0.25, 0.75]), torch.tensor([0, 1])
    >>> calibration_bins_(state, new_events(), scores, target, None, edges)
    >>> state
    tensor([[[2., 1., 1.],
             [0., 0., 0.]]], dtype=torch.float64)
    """
    _calibration_bins(
        state,
        events,
        preds,
        target,
        weight,
        edges,
        num_classes,
        logits,
        ignore_index,
        validate,
    )


def bin_edges(n_bins: int, device: torch.device | None = None) -> Tensor:
    """Lower edges of the bins as float32 and as float64 numbers, float64 ``[2, n_bins + 1]``."""
    check_int("n_bins", n_bins, 1)
    # Made on the CPU: other devices round differently.
    dtypes = (torch.float32, torch.float64)
    rows = [torch.linspace(0, 1, n_bins + 1, dtype=dtype, device="cpu") for dtype in dtypes]
    edges = torch.stack([row.double() for row in rows])
    return edges.to(torch.empty(0).device if device is None else device)


# Up to here numbers are faster than tensors.
_FEW_BINS = 64


@frozen()
class CalibrationBins(CountStatistic):
    """Positions, confidences and right predictions of each bin, ``[H, n_bins + 1, 3]``.

    The last row of the state holds the confidences of exactly 1; see :func:`calibration_bins_`.

    Attributes:
        num_classes: C; None for binary inputs.
        edges: of the bins, as the op takes them.
    """

    num_classes: int | None = None
    n_bins: int = 15
    ignore_index: int | None = None
    validate_args: bool = True
    input: str = "auto"
    edges: Tensor = field(init=False, compare=False, repr=False)

    op = staticmethod(_calibration_bins)
    dtype = torch.float64
    nan_treatment = "they have no confidence and are left out."

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "edges", bin_edges(self.n_bins))

    @override
    def check(self) -> None:
        if self.num_classes is not None:
            check_int("num_classes", self.num_classes, 2)
        check_ignore_index(self.ignore_index)
        check_choice("input", self.input, INPUTS)

    @property
    @override
    def shape(self) -> tuple[int, int, int]:
        return (2 if self.input == "auto" else 1), self.n_bins + 1, 3

    @property
    @override
    def rows(self) -> str:
        return "classes" if self.num_classes else "labels"

    @override
    def arguments(self) -> tuple[Tensor, int, bool, int | None, bool]:
        logits = self.input == "logits"
        return self.edges, self.num_classes or 0, logits, self.ignore_index, self.validate_args

    @override
    def lists(self) -> Lists:
        """Return the lists of every confidence, which are counted and then gone."""
        return Lists(("confidences", "accuracies"), self._add_confidences)

    def _add_confidences(self, states: States, batch: tuple[Tensor, ...]) -> None:
        """Count confidences ``[M]`` and whether each is right, however scores are read."""
        counts, events = states.values["counts"], states.values["events"]
        confidences, right = (tensor.to(counts.device) for tensor in batch)
        check_form("confidences", confidences, ("M",))
        check_form("accuracies", right, (len(confidences),), *WEIGHT_DTYPES)
        wide = not self.num_classes and confidences.dtype == torch.float64
        known = ~confidences.isnan()
        confidences, right = confidences[known].double(), right[known].double()
        events[NAN] += len(known) - len(confidences)
        bins = torch.searchsorted(self.edges[int(wide)], confidences, right=True) - 1
        rows = torch.stack([torch.ones_like(right), confidences, right], -1)
        delta = counts.new_zeros(counts.shape[1:])
        counts += delta.index_add_(0, bins.clamp(0, len(delta) - 1), rows)

    def read(self, states: States) -> Tensor:
        """Return the number of positions, sums of confidences and of right ones, ``[n_bins, 3]``.

        The last bin is closed: a confidence of 1 is in it.
        """
        table = choose_interpretation(states.values["counts"], states.values["events"], -3)
        return torch.cat((table[:-2], table[-2:].sum(0, keepdim=True)))

    def numbers_of(self, states: States) -> list[list[float]] | None:
        """Return the same as numbers; None where tensors must do."""
        counts = states.values["counts"]
        if self.n_bins > _FEW_BINS or not is_readable(counts):
            return None
        tables, events = counts.tolist(), states.values["events"].tolist()
        *rows, last, one = tables[len(tables) > 1 and events[OUTSIDE] > 0]
        return [*rows, [a + b for a, b in zip(last, one, strict=True)]]

    @override
    def to(self, device: torch.device) -> Self:
        if self.edges.device == device:
            return self
        moved = copy.copy(self)
        object.__setattr__(moved, "edges", bin_edges(self.n_bins, device))
        return moved
