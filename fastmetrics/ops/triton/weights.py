"""Weights that are none, counted by a small kernel beside the one that leaves them out.

The kernels of statistics read a weight once for each position or class of its sample; counting bad
ones there would count a sample as often. This one reads each weight once.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fastmetrics.ops.triton.inputs import (
    BAD_WEIGHT,
    LABEL_BLOCK,
    add_event,
    is_wide,
    numbers,
    programs_for,
    weights_or,
)
from fastmetrics.ops.triton.replay import launch


@triton.jit
def note_bad_weights(events, weight, samples, stride, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """Count the samples whose weight is NaN, negative or above 1e100.

    Bytes to move for N weights of t bytes: ``N * t``, read once.
    """
    bad = tl.zeros([BLOCK], tl.int32)
    for block in range(tl.program_id(0), tl.cdiv(samples, BLOCK), tl.num_programs(0)):
        sample = numbers(block, BLOCK, WIDE)
        inside = sample < samples
        value = weights_or(tl.load(weight + sample * stride, mask=inside, other=0), -1.0)
        bad += (value < 0).to(tl.int32)
    add_event(events, BAD_WEIGHT, bad)


def count_bad_weights(events: Tensor, weight: Tensor | None) -> None:
    """Launch `note_bad_weights`, if there are weights."""
    if weight is None:
        return
    samples = weight.shape[0]
    blocks = triton.cdiv(samples, LABEL_BLOCK)
    launch(
        note_bad_weights, (programs_for(blocks, events.device),), events, weight, samples,
        weight.stride(0), BLOCK=LABEL_BLOCK, WIDE=is_wide(samples * max(1, weight.stride(0))),
    )  # fmt: skip
