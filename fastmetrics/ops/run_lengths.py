"""Masks as COCO's run lengths: numbers of clear and set pixels in turn, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# A character holds 5 bits of a number and whether more follow, from this one on.
_FIRST = 48


def numbers_in(text: bytes | str) -> list[int]:
    """Return the run lengths that a compressed string holds."""
    codes = text.encode() if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for code in codes:
        bits = code - _FIRST
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # negative
            value -= 1 << shift
        # From the fourth on, they are differences to the last but one.
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts


def text_of(counts: Sequence[int]) -> str:
    """Return the compressed string of run lengths."""
    codes = []
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            codes.append(_FIRST + (bits | 32 if more else bits))
    return bytes(codes).decode()


def runs_of(mask: Tensor) -> list[int]:
    """Return the run lengths of a mask ``[H, W]``."""
    pixels = (mask != 0).t().flatten()
    changes = (pixels[1:] != pixels[:-1]).nonzero().flatten() + 1
    ends = [*changes.tolist(), len(pixels)]
    starts = [0, *ends[:-1]]
    runs = [end - start for start, end in zip(starts, ends, strict=True)] if len(pixels) else []
    return [0, *runs] if len(pixels) and bool(pixels[0]) else runs


def decoded(owner: str, masks: Sequence[Mapping[str, Any]]) -> Tensor:
    """Return masks ``[N, H, W]`` that are given as run lengths, compressed or not.

    Raises:
        ValueError: one is no dictionary of "size" and "counts", they have different sizes, or the
            counts do not add up to the size.
    """
    planes = []
    for mask in masks:
        if not isinstance(mask, Mapping) or not {"size", "counts"} <= mask.keys():
            raise ValueError(f"{owner} must hold run lengths with `size` and `counts`.")
        height, width = (int(size) for size in mask["size"])
        counts = mask["counts"]
        runs = numbers_in(counts) if isinstance(counts, (bytes, str)) else [*map(int, counts)]
        if sum(runs) != height * width or any(run < 0 for run in runs):
            raise ValueError(f"{owner} must have counts that add up to {height} * {width}.")
        lengths = torch.tensor(runs, dtype=torch.int64)
        pixels = torch.arange(len(runs)).remainder(2).bool().repeat_interleave(lengths)
        planes.append(pixels.view(width, height).t())
    if len({plane.shape for plane in planes}) > 1:
        raise ValueError(f"{owner} must have one size.")
    return torch.stack(planes) if planes else torch.zeros(0, 0, 0, dtype=torch.bool)
