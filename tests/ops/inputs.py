"""Inputs of the op tests: dtypes, memory layouts, and numbers with ties, NaN and infinities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

SCORE_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
LABEL_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
ALL_DTYPES = SCORE_DTYPES + LABEL_DTYPES

# Around the block sizes and vector widths of the kernels.
SIZES = (0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 1023, 1024, 1025, 3001)
INF, NAN = math.inf, math.nan


# Options that laws pin for all ops, whether an op has them or not.
OF_THE_LAWS = {"bad", "special", "shape", "weight", "start", "classes", "labels"}
OF_THE_LAWS |= {"dtype", "target_dtype", "ignore_index", "validate"}


class Draw:
    """Random choices, each of which an option pins."""

    def __init__(self, seed: int, options: dict[str, Any]) -> None:
        self.rng = np.random.default_rng(seed)
        self.options = options
        self.asked: set[str] = set()

    def pick(self, values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def __call__(self, name: str, *values: Any) -> Any:
        self.asked.add(name)
        chosen = self.pick(values)
        return self.options.get(name, chosen)

    def done(self) -> None:
        """Refuse options that nobody asked for, except those of the laws."""
        assert self.options.keys() <= self.asked | OF_THE_LAWS, self.options.keys() - self.asked


def poison(dtype: torch.dtype) -> float | int | bool:
    """A value that spoils the result when a kernel reads memory that is not its own."""
    if dtype.is_floating_point:
        return math.nan
    return True if dtype == torch.bool else torch.iinfo(dtype).min or torch.iinfo(dtype).max


def filled(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.full(shape, poison(dtype), dtype=dtype)


def contiguous(tensor: Tensor) -> Tensor:
    return tensor.contiguous()


def transposed(tensor: Tensor) -> Tensor:
    """All axes stored in reverse order."""
    axes = tuple(reversed(range(tensor.ndim)))
    return tensor.permute(axes).contiguous().permute(axes)


def channels_last(tensor: Tensor) -> Tensor:
    """Axis 1 stored innermost."""
    if tensor.ndim < 2:
        return tensor.contiguous()
    return tensor.movedim(1, -1).contiguous().movedim(-1, 1)


def strided(tensor: Tensor) -> Tensor:
    """Every second element of every axis of a larger, poisoned tensor."""
    view = filled(tuple(2 * size + 1 for size in tensor.shape), tensor.dtype)[
        tuple(slice(1, 2 * size, 2) for size in tensor.shape)
    ]
    return view.copy_(tensor)


def shifted(tensor: Tensor) -> Tensor:
    """Contiguous, but starting at an odd element of its storage."""
    buffer = filled((tensor.numel() + 2,), tensor.dtype)
    return buffer[1 : tensor.numel() + 1].view(tensor.shape).copy_(tensor)


def cropped(tensor: Tensor) -> Tensor:
    """The leading part of a poisoned tensor that is longer in its last axis."""
    if tensor.ndim < 2:
        return shifted(tensor)
    buffer = filled((*tensor.shape[:-1], tensor.shape[-1] + 3), tensor.dtype)
    return buffer[..., : tensor.shape[-1]].copy_(tensor)


def repeated_rows(tensor: Tensor) -> Tensor:
    """The first sample, expanded over all of them (stride 0)."""
    return tensor[:1].expand(tensor.shape) if tensor.ndim and len(tensor) else tensor


def repeated_last(tensor: Tensor) -> Tensor:
    """The first element of the last axis, expanded (stride 0)."""
    return tensor[..., :1].expand(tensor.shape) if tensor.ndim and tensor.numel() else tensor


LAYOUTS = {
    layout.__name__: layout
    for layout in (
        contiguous,
        transposed,
        channels_last,
        strided,
        shifted,
        cropped,
        repeated_rows,
        repeated_last,
    )
}


def random_scores(shape: tuple[int, ...], dtype: torch.dtype, rng: np.random.Generator) -> Tensor:
    """Scores with many ties, both zeros, values in and outside [0, 1]."""
    values = rng.integers(-4, 9, size=shape) / 4.0
    values[rng.random(shape) < 0.05] = -0.0
    return torch.from_numpy(np.asarray(values)).to(dtype)


# NaN with either sign and with small and large payloads, as bits: arithmetic would lose them.
NAN_BITS = {
    torch.float16: (torch.int16, (0x7E00, 0x7E00 - 2**16 + 2**15, 0x7C01, -1)),
    torch.bfloat16: (torch.int16, (0x7FC0, 0x7FC0 - 2**16 + 2**15, 0x7F81, -1)),
    torch.float32: (torch.int32, (0x7FC00000, 0x7FC00000 - 2**31, 0x7F800001, -1)),
    torch.float64: (torch.int64, (0x7FF8 << 48, (0x7FF8 << 48) - 2**63, (0x7FF0 << 48) + 1, -1)),
}


def with_special_values(scores: Tensor, rng: np.random.Generator, share: float = 0.1) -> Tensor:
    """Some scores become infinities, and half as many NaN."""
    scores = scores.clone()
    shape = tuple(scores.shape)
    for value in (math.inf, -math.inf):
        scores[torch.from_numpy(np.asarray(rng.random(shape) < share / 3))] = value
    integer, patterns = NAN_BITS[scores.dtype]
    for bits in patterns:
        chosen = torch.from_numpy(np.asarray(rng.random(shape) < share / 12))
        scores.view(integer)[chosen] = bits
    return scores


def random_labels(
    shape: tuple[int, ...], limit: int, dtype: torch.dtype, rng: np.random.Generator
) -> Tensor:
    """Labels in `[0, limit)`, or in what part of that range `dtype` holds."""
    limit = min(limit, 2 if dtype == torch.bool else torch.iinfo(dtype).max)
    return torch.from_numpy(np.asarray(rng.integers(0, limit, size=shape))).to(dtype)


def random_weights(num_samples: int, dtype: torch.dtype, rng: np.random.Generator) -> Tensor:
    """Weights whose float64 sums are exact in any order: quarters, integers, booleans."""
    values = rng.integers(0, 9, size=num_samples)
    if dtype.is_floating_point:
        return torch.from_numpy(values / 4.0).to(dtype)
    return torch.from_numpy(values).to(dtype)


def small_floats(dtype: torch.dtype) -> Tensor:
    """All 65536 numbers of a 16-bit type."""
    return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)


def neighbours(values: Tensor) -> Tensor:
    """The values with the numbers next to them on either side."""
    up = torch.nextafter(values, torch.full_like(values, INF))
    down = torch.nextafter(values, torch.full_like(values, -INF))
    return torch.cat([values, up, down])


def fits(value: int, dtype: torch.dtype) -> bool:
    """Whether labels of this type hold the value."""
    if dtype == torch.bool:
        return value in (0, 1)
    return torch.iinfo(dtype).min <= value <= torch.iinfo(dtype).max


def class_batch(draw: Draw, classes: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Scores with a class axis, or labels for an integer dtype, and classes `[N, ...]`."""
    dtype, rng = draw("dtype", *ALL_DTYPES), draw.rng
    target = random_labels(shape, classes, draw("target_dtype", *LABEL_DTYPES), rng)
    if dtype.is_floating_point:
        preds = draw_scores(draw, (shape[0], classes, *shape[1:]), dtype)
    else:
        draw("special", 0.0)
        preds = random_labels(shape, classes, dtype, rng)
    return preds, target


def label_batch(draw: Draw, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Scores, or labels for an integer dtype, and zeros and ones, all of `shape`."""
    dtype, rng = draw("dtype", *ALL_DTYPES), draw.rng
    target = random_labels(shape, 2, draw("target_dtype", *LABEL_DTYPES), rng)
    if dtype.is_floating_point:
        return draw_scores(draw, shape, dtype), target
    draw("special", 0.0)
    return random_labels(shape, 2, dtype, rng), target


def draw_scores(draw: Draw, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Scores with ties, of which the share `special` is infinite or NaN."""
    special = draw("special", 0.0, 0.0, 0.2)
    scores = random_scores(shape, dtype, draw.rng)
    if draw("inside", False, False, True):
        scores = torch.from_numpy(draw.rng.integers(0, 33, size=shape) / 32.0).to(dtype)
    return with_special_values(scores, draw.rng, special) if special else scores


def draw_weight(draw: Draw, num_samples: int) -> Tensor | None:
    dtype = draw("weight", None, None, *ALL_DTYPES)
    return None if dtype is None else random_weights(num_samples, dtype, draw.rng)


def spoil(draw: Draw, target: Tensor, limit: int) -> int | None:
    """Write ignored labels and a share of wrong ones into `target`; return what is ignored."""
    ignore_index = draw("ignore_index", None, None, 0, 1, -1, 255)
    shape = tuple(target.shape)
    if ignore_index is not None and fits(ignore_index, target.dtype):
        target[torch.from_numpy(np.asarray(draw.rng.random(shape) < 0.2))] = ignore_index
    wrong = draw.pick((-1, 100, limit))
    bad = torch.from_numpy(np.asarray(draw.rng.random(shape) < draw("bad", 0.0, 0.0, 0.02)))
    if fits(wrong, target.dtype):
        target[bad] = wrong
    return ignore_index


SHAPES = ((1,), (9,), (33,), (70,), (3, 5), (2, 70), (70, 2), (2, 3, 5), (5, 1, 9))


def draw_state(draw: Draw, shape: tuple[int, ...], weight: Tensor | None) -> Tensor:
    """A state that counts, which is float64 where weights are added, or once were."""
    start = draw("start", None, None, 2**31, 2**50)
    exact = start is not None and start > 2**52
    floats = draw("float_state", False, False, True) and not exact
    dtype = torch.float64 if floats or weight is not None else torch.int64
    return new_state(shape, dtype, start)


def some_events() -> Tensor:
    return torch.tensor([3, 5, 7, 9])


def new_state(shape: tuple[int, ...], dtype: torch.dtype, start: int | None = None) -> Tensor:
    """A state that already holds something: `start`, or another number in each place."""
    if start is not None:
        return torch.full(shape, start, dtype=dtype)
    return (torch.arange(math.prod(shape)) % 101 + 1).view(shape).to(dtype)


def adversaries(size: int) -> dict[str, Tensor]:
    """Numbers to sort that fill few bins, or all of them, or come in an order."""
    generator = torch.Generator().manual_seed(size)
    uniform = torch.rand(size, generator=generator, dtype=torch.float64)
    bits = torch.randint(-(2**31), 2**31, (size,), generator=generator)
    spread = torch.rand(size, generator=generator)
    return {
        "equal": torch.full((size,), 0.25),
        "normal": torch.randn(size, generator=generator),
        "two": (uniform < 0.5).float(),
        "sorted": uniform.float().sort().values,
        "reversed": uniform.float().sort(descending=True).values,
        "one bin": (0.5 + uniform * 2**-9).float(),
        "half a bin": (0.5 + uniform * 2**-18).float(),
        "outlier": torch.cat([uniform[1:].float() * 2**-20 + 1, torch.tensor([-1e30])]),
        "outliers": torch.cat([uniform[2:].float() + 1, torch.tensor([-1e30, 1e30])]),
        "denormal": bits.abs().to(torch.int32).bitwise_and(2**22 - 1).view(torch.float32),
        "all bits": bits.to(torch.int32).view(torch.float32),
        "hundredths": (uniform * 100).round().float() / 100,
        "double": uniform,
        "double low bits": 1 + (uniform * 2**10).round() * 2**-52,
        "more low bits": 1 + (uniform * 2**40).round() * 2**-52,
        "double clusters": (uniform * 8).floor() + spread * 1e-13,
        "wide clusters": (uniform * 8).floor() + spread.double() * 1e-9,
        "widened float": uniform.float().double(),
        "half": uniform.half(),
    }
