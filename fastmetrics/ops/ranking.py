"""Label ranking: where the labels that apply stand among all labels of a sample."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import frozen
from fastmetrics.ops.checks import check_summed_scores, raise_first_invalid
from fastmetrics.ops.counted import CountStatistic
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import INVALID, NAN, NAN_RANKS_LAST
from fastmetrics.ops.inputs import check_label_inputs, contributions, int_sum
from fastmetrics.utilities.checks import check_ignore_index, check_int

__all__ = ["ranking_sums_"]

_NAME = "ranking_sums_"

# Bits of `measures`, and columns of the state.
COVERAGE, PRECISION, LOSS = 1, 2, 4
ALL_MEASURES = COVERAGE | PRECISION | LOSS
NUM_SUMS = 4


def check_ranking_sums(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, measures: int,
    weight: Tensor | None, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Metadata check of `ranking_sums_`, and its fake."""
    check_summed_scores(_NAME, state, preds)
    if not 0 < measures <= ALL_MEASURES:
        raise ValueError(f"{_NAME}: `measures` must be a sum of 1, 2 and 4, got {measures}.")
    check_label_inputs(_NAME, state, preds, target, weight, 1)
    if target.ndim < 2:
        raise ValueError(
            f"{_NAME}: `preds` and `target` must have shape (N, L, ...), got {tuple(target.shape)}."
        )


def _rank_keys(scores: Tensor) -> Tensor:
    """Scores as int64 in the order of ranks: -0 equals +0, and NaN lies below every number."""
    bits = scores.double().view(torch.int64)
    keys = torch.where(bits < 0, -(bits & torch.iinfo(torch.int64).max), bits)
    return keys.where(~scores.isnan(), torch.iinfo(torch.int64).min + 1).contiguous()


def _count_reaching(keys: Tensor, among: Tensor) -> Tensor:
    """For each key of a row the number of marked keys of that row that do not lie below it."""
    chosen = keys.where(among, torch.iinfo(torch.int64).min).sort(-1).values
    return keys.shape[-1] - torch.searchsorted(chosen.contiguous(), keys)


def ranking_sums_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor, measures: int,
    weight: Tensor | None, ignore_index: int | None, validate: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernels."""
    if target.numel() == 0:
        return
    labels = target.long()
    positive = labels == 1
    kept = positive | (labels == 0)
    bad = ~kept
    if ignore_index is not None:
        ignored = labels == ignore_index
        positive, kept, bad = positive & ~ignored, kept & ~ignored, bad & ~ignored
    if validate and target.device.type == "cpu" and bad.any():
        raise_first_invalid(_NAME, "target", labels, bad, 2, ignore_index)
    width = target.shape[1]
    rows = [x.movedim(1, -1).reshape(-1, width) for x in (preds, positive, kept, bad)]
    scores, positive, kept, bad = rows
    bad_row = bad.any(-1)
    counted = kept.any(-1) & ~bad_row
    if validate and target.device.type != "cpu":
        events[INVALID] += int_sum(bad_row)
    events[NAN] += int_sum((scores.isnan() & kept).any(-1) & counted)
    keys = _rank_keys(scores)
    positives = positive.sum(-1).double()
    negatives = kept.sum(-1).double() - positives
    reaching = _count_reaching(keys, kept).where(positive, 0).double()
    own = _count_reaching(keys, positive).where(positive, 0).double()
    coverage = reaching.amax(-1)
    precision = torch.where(positive, own / reaching, 0.0).sum(-1) / positives
    precision = precision.where((positives > 0) & (negatives > 0), 1.0)
    loss = (reaching - own).sum(-1) / (positives * negatives).clamp(min=1.0)
    amount = contributions(events, counted.view(len(target), -1), weight).flatten().double()
    values = torch.stack([coverage, precision, loss, torch.ones_like(loss)])
    for row, measure in zip(values, (COVERAGE, PRECISION, LOSS), strict=False):
        if not measures & measure:
            row.zero_()
    state += (values * amount).sum(-1)


_ranking_sums = define(
    _NAME,
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, int measures,"
    " Tensor? weight, int? ignore_index, bool validate)",
    ranking_sums_reference,
    check_ranking_sums,
)


def ranking_sums_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    measures: int = ALL_MEASURES,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    validate: bool = True,
) -> None:
    """Add the coverage, precision and loss of the ranked labels of each row, and the rows.

    A row has the labels of one sample at one position of the trailing axes. Its coverage is the
    number of labels that score at least as high as the lowest positive one (0 without positives);
    its precision the mean over positives of the share of positives among the labels that score at
    least as high (1 without positives or negatives); its loss the share of pairs of a positive and
    a negative where the negative scores at least as high (0 without such pairs). NaN scores lie
    below all others, and count as equal to each other.

    Args:
        state: float64 ``[4]``, sums of coverage, precision, loss and the number (or weight) of
            rows. Changed in place.
        events: int64 ``[4]``. Changed in place; rows with NaN scores or labels out of range.
        preds: scores in a float type ``[N, L, ...]``. Only their order counts.
        target: any integer type or bool, 0 and 1 in the shape of ``preds``.
        measures: which sums are asked for: 1 coverage, 2 precision, 4 loss, or what they add up to.
            The others stay as they are. Coverage alone takes less time.
        weight: optional ``[N]``.
        ignore_index: labels with this target take no part; a row without others is left out.
        validate: as in :func:`fastmetrics.ops.stat_scores.stat_scores_`; a row with a label out of
            range is left out as a whole.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a label is out of range (CPU); the state is unchanged.

    Cost: reads each input once; a row of L labels takes O(P L) time with few positives P, else
    O(L log L); temporaries are bounded by the length of a row.

    >>> import torch
    >>> from fastmetrics.ops import ranking_sums_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(4, dtype=torch.float64)
    >>> scores, target = torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[0, 1, 0]])
    >>> ranking_sums_(state, new_events(), scores, target)
    >>> state
    tensor([2.0000, 0.5000, 0.5000, 1.0000], dtype=torch.float64)
    """
    _ranking_sums(state, events, preds, target, measures, weight, ignore_index, validate)


@frozen()
class RankingSums(CountStatistic):
    """Sums of the ``measures`` of each sample, and of samples, ``[4]``; see :func:`ranking_sums_`.

    Attributes:
        measures: those that are worked out, as the op takes them; the sums of others stay 0.
    """

    num_labels: int
    measures: int = ALL_MEASURES
    ignore_index: int | None = None
    validate_args: bool = True

    op = staticmethod(ranking_sums_)
    dtype = torch.float64
    nan_treatment = NAN_RANKS_LAST

    @override
    def check(self) -> None:
        check_int("num_labels", self.num_labels, 2)
        check_ignore_index(self.ignore_index)

    @property
    @override
    def shape(self) -> tuple[int]:
        return (NUM_SUMS,)

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        if preds.ndim < 2 or preds.shape[1] != self.num_labels:
            raise ValueError(
                f"`preds` and `target` must have shape (N, L, ...) with L={self.num_labels},"
                f" got {tuple(preds.shape)}."
            )
        values = states.values
        ranking_sums_(
            values["counts"],
            values["events"],
            preds,
            target,
            self.measures,
            weight,
            self.ignore_index,
            self.validate_args,
        )

    def read(self, states: States) -> Tensor:
        """Return the sums of coverage, precision and loss, and the samples, ``[4]``."""
        sums: Tensor = states.values["counts"]
        return sums
