"""What all ops refuse that read classes, or that read scores and labels of one shape."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops.checks import REAL_TENSOR
from tests.ops.laws import Refusal

META = torch.device("meta")


def ints(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)


def zeros(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


def complex_zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.complex64)


def table(*rows: tuple[Any, ...]) -> dict[str, Refusal]:
    """Refusals of changes, words and perhaps the error, with names made of what they change."""
    return {
        f"{' and '.join(row[0])}: {row[1][-30:]} {i}": Refusal(*row) for i, row in enumerate(rows)
    }


def plain(*rows: tuple[Any, ...]) -> dict[str, Refusal]:
    """As :func:`table`, of words that are no patterns."""
    return table(*((changes, re.escape(text), *more) for changes, text, *more in rows))


def of_weights(sums: Tensor) -> list[tuple[dict[str, Any], str]]:
    """For 6 samples; `sums` is a state of the right shape."""
    one = "`weight` must have one entry per sample, shape (6,), got"
    return [
        ({"state": sums, "weight": torch.ones(5)}, f"{one} (5,)."),
        ({"state": sums, "weight": torch.ones(())}, f"{one} ()."),
        ({"state": sums, "weight": torch.ones(6, 1)}, f"{one} (6, 1)."),
        (
            {"state": sums, "weight": complex_zeros(6)},
            f"`weight` must be {REAL_TENSOR}, got dtype torch.complex64.",
        ),
        (
            {"state": sums, "weight": torch.ones(6, device=META)},
            "`weight` must be on the device of the metric state, cpu, got meta.",
        ),
        (
            {"state": sums.long(), "weight": torch.ones(6)},
            "a weighted update needs a float64 state, got torch.int64.",
        ),
    ]


def of_devices(target: Tensor, preds: Tensor) -> list[tuple[dict[str, Any], str]]:
    words = "`preds`, `target` and the metric state must be on one device, got"
    return [
        ({"preds": preds.to(META)}, f"{words} meta, cpu and cpu."),
        ({"target": target.to(META)}, f"{words} cpu, meta and cpu."),
    ]


def of_classes(sums: Tensor) -> dict[str, Refusal]:
    """For scores `[6, 4]` and targets `[6]`."""
    integers = "must be an integer or bool tensor, got dtype"
    scores = "`preds` with one axis more than `target` must be a float tensor, got dtype"
    shapes = "`preds` must have the shape of `target` or (N, C, ...) with `target` (N, ...), got"
    return table(
        ({"target": torch.full((6,), 0.5)}, f"`target` {integers} torch.float32."),
        ({"target": complex_zeros(6)}, f"`target` {integers} torch.complex64."),
        ({"target": zeros(6, dtype=torch.uint16)}, f"`target` {integers} torch.uint16."),
        (
            {"target": ints(), "preds": torch.zeros(4)},
            "`preds` and `target` need at least one axis, got a scalar `target`.",
        ),
        ({"preds": torch.zeros(6)}, f"`preds` {integers} torch.float32."),
        ({"preds": ints(6, 4)}, f"{scores} torch.int64."),
        ({"preds": complex_zeros(6, 4)}, f"{scores} torch.complex64."),
        (
            {"preds": torch.zeros(6, 5)},
            "`preds` must have shape (N, C, ...) with C=4, got (6, 5).",
        ),
        ({"preds": torch.zeros(7, 4)}, f"{shapes} (7, 4) and (6,)."),
        ({"preds": torch.zeros(6, 5, 4), "target": ints(6, 5)}, f"{shapes} (6, 5, 4) and (6, 5)."),
        ({"preds": torch.zeros(6, 4, 1)}, f"{shapes} (6, 4, 1) and (6,)."),
        *of_devices(ints(6), torch.zeros(6, 4)),
        *of_weights(sums),
    )  # fmt: skip


def of_labels(sums: Tensor) -> dict[str, Refusal]:
    """For scores and targets `[6, 3]`."""
    same = "`preds` and `target` must have the same shape, got"
    labels = "`preds` and `target` must have shape (N, L, ...) with L=3, got"
    return table(
        ({"preds": torch.zeros(6, 4)}, f"{same} (6, 4) and (6, 3)."),
        ({"preds": torch.zeros(6)}, f"{same} (6,) and (6, 3)."),
        (
            {"preds": torch.zeros(()), "target": ints()},
            "`preds` and `target` need at least one axis, got scalars.",
        ),
        ({"preds": torch.zeros(6), "target": ints(6)}, f"{labels} (6,)."),
        ({"preds": torch.zeros(6, 4), "target": ints(6, 4)}, f"{labels} (6, 4)."),
        (
            {"target": torch.full((6, 3), 0.5)},
            "`target` must be an integer or bool tensor, got dtype torch.float32.",
        ),
        (
            {"preds": complex_zeros(6, 3)},
            "`preds` must be an integer or bool tensor, got dtype torch.complex64.",
        ),
        *of_devices(ints(6, 3), torch.zeros(6, 3)),
        *of_weights(sums),
    )  # fmt: skip
