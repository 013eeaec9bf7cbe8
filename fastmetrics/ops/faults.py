"""What an update finds wrong with a batch: counters beside every statistic, and reports of them.

``events`` is an int64 ``[3]`` tensor beside every statistic; it sums over ranks:

====== =============================================================================
column meaning
====== =============================================================================
0      samples left out because a label was out of range (the CPU raises instead)
1      samples whose scores contained NaN
2      scores outside ``[0, 1]``, counted only where probabilities and logits must be told apart
====== =============================================================================
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from fastmetrics.utilities.recording import is_recorded

INVALID, NAN, OUTSIDE = 0, 1, 2
NUM_EVENTS = 3


def new_events(device: torch.device | str | None = None) -> Tensor:
    """Return zeroed event counters, int64 ``[3]``."""
    return torch.zeros(NUM_EVENTS, dtype=torch.int64, device=device)


# What becomes of NaN scores, for the warning about them.
NAN_AS_TORCH = "argmax and thresholds treat them as torch does."
NAN_RANKS_LAST = "they rank below every score."


def raise_events(owner: str, events: Tensor, nan_treatment: str = NAN_AS_TORCH) -> None:
    """Report what an update could not: raise for invalid labels, warn for NaN scores.

    Reads ``events`` on the host, so it belongs into ``compute`` and never into ``update``. In
    regions that torch compiles it does nothing; the ops themselves still raise on a CPU.
    """
    if is_recorded():
        return
    invalid, nan, _ = events.tolist()
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
