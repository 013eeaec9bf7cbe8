"""Above which scores a label is taken for positive, as kernels take it."""

from __future__ import annotations

import functools
import math
import struct

import torch

from fastmetrics.ops.inputs import LOGITS, PROBS, logit


@functools.cache
def score_cuts(
    threshold: float, readings: int, logits: bool, dtype: torch.dtype
) -> tuple[int, int]:
    """Bits of the float64 scores above which each reading is positive.

    Kernel arguments of type float are float32, so the float64 bits travel as an integer. Scores of
    smaller types are compared as float32: a probability threshold is rounded to the type of the
    scores as torch does, a logit threshold down to the next float32, which decides alike.
    """
    which = (PROBS, LOGITS) if readings == 2 else (int(logits),) * 2
    first, second = (_cut(threshold, reading, dtype) for reading in which)
    bits: tuple[int, int] = struct.unpack("<qq", struct.pack("<dd", first, second))
    return bits


def _cut(threshold: float, reading: int, dtype: torch.dtype) -> float:
    if not dtype.is_floating_point:
        return 0.0
    if reading != LOGITS:
        return float(torch.tensor(threshold, dtype=dtype, device="cpu"))
    exact = logit(threshold)
    if dtype == torch.float64 or math.isinf(exact):
        return exact
    rounded = torch.tensor(exact, dtype=torch.float32, device="cpu")
    if float(rounded) > exact:
        rounded = rounded.nextafter(torch.full_like(rounded, -math.inf))
    return float(rounded)
