"""What an update finds wrong with a batch: counters beside every statistic, and reports of them.

``events`` is an int64 ``[4]`` tensor beside every statistic; it sums over ranks:

====== =============================================================================
column meaning
====== =============================================================================
0      samples left out because a label was out of range (the CPU raises instead)
1      samples whose scores contained NaN
2      scores outside ``[0, 1]``, counted only where probabilities and logits must be told apart
3      samples whose weight was NaN, negative or above 1e100
====== =============================================================================
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from fastmetrics.utilities.recording import is_recorded

INVALID, NAN, OUTSIDE, BAD_WEIGHT = 0, 1, 2, 3
NUM_EVENTS = 4

# Products of sums of larger weights would not be finite.
MOST_WEIGHT = 1e100


def new_events(device: torch.device | str | None = None) -> Tensor:
    """Return zeroed event counters, int64 ``[4]``."""
    return torch.zeros(NUM_EVENTS, dtype=torch.int64, device=device)


# What becomes of NaN scores, for the warning about them.
NAN_AS_TORCH = "argmax and thresholds treat them as torch does."
NAN_RANKS_LAST = "they rank below every score."


def is_usable(weight: Tensor) -> Tensor:
    """Whether each weight is a number from 0 to `MOST_WEIGHT`."""
    return (weight >= 0) & (weight.double() <= MOST_WEIGHT)


def weight_or_nan(weight: Tensor) -> Tensor:
    """Return float64 weights with NaN for those that are none, which no sum then hides."""
    return weight.double().where(is_usable(weight), torch.nan)


# Up to here numbers are faster than tensors.
_FEW = 8


def report_weight_sums(owner: str, table: Tensor, column: int) -> None:
    """Warn where the sums of weights in a column of ``table`` ``[D, K]`` are NaN.

    Does nothing on a GPU, where looking would wait, in regions that torch compiles, and where
    gradients are followed: the value is NaN there, too.
    """
    if not table.is_cpu or table.requires_grad or is_recorded():
        return
    if table.shape[0] <= _FEW:
        total = sum([row[column] for row in table.tolist()])
    else:
        total = table[:, column].sum().item()
    if total != total:
        warn_of_weights(owner, "some", "the value is NaN.")


def warn_of_weights(owner: str, count: int | str, treatment: str) -> None:
    """Warn that so many weights were none; ``treatment`` says what became of them."""
    warnings.warn(
        f"{owner}: {count} weights were NaN, negative or above 1e100; {treatment}",
        UserWarning,
        stacklevel=3,
    )


def raise_events(owner: str, events: Tensor, nan_treatment: str = NAN_AS_TORCH) -> None:
    """Raise for invalid labels, warn for NaN scores and for weights that are none.

    Reads ``events`` on the host, so it belongs into ``compute`` and never into ``update``. In
    regions that torch compiles it does nothing; the ops themselves still raise on a CPU.
    """
    if is_recorded():
        return
    invalid, nan, _, bad_weights = events.tolist()
    if invalid:
        raise RuntimeError(
            f"{owner}: {invalid} samples were left out because `preds` or `target` held labels"
            " outside the allowed range."
        )
    if nan:
        warnings.warn(
            f"{owner}: {nan} samples had NaN scores; {nan_treatment}",
            UserWarning,
            stacklevel=2,
        )
    if bad_weights:
        warn_of_weights(owner, bad_weights, "they count as 0.")
