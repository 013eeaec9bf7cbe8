"""How the op tests make inputs and calls, and one row per op that the structural test counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastmetrics.ops.define import REFERENCES
from tests.ops import oracles

SCORE_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
LABEL_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
WEIGHT_DTYPES = SCORE_DTYPES + LABEL_DTYPES

# Around the block sizes and vector widths of the kernels.
CLASS_COUNTS = (2, 3, 10, 15, 16, 17, 33, 100, 1000)
SIZES = (0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 1023, 1024, 1025, 3001)


@dataclass
class Call:
    """One op call; `options` are the arguments after `weight`, in the order of the schema."""

    op: str
    state: Tensor
    preds: Tensor
    target: Tensor
    weight: Tensor | None
    options: dict[str, Any]
    events: Tensor = field(default_factory=lambda: torch.tensor([3, 5, 7]))

    def arguments(self) -> tuple[Any, ...]:
        """All arguments in order, with fresh copies of what the op changes."""
        return (
            self.state.clone(),
            self.events.clone(),
            self.preds,
            self.target,
            self.weight,
            *self.options.values(),
        )

    def answer(self) -> oracles.Answer:
        """What the oracle says."""
        options = {name: value for name, value in self.options.items() if name != "validate"}
        oracle = getattr(oracles, self.op.rstrip("_"))
        return oracle(tuple(self.state.shape), self.preds, self.target, self.weight, **options)

    def __repr__(self) -> str:
        def text(tensor: Tensor | None) -> str:
            if tensor is None:
                return "None"
            return f"{tensor.dtype}{tuple(tensor.shape)} strides {tensor.stride()}"

        return (
            f"{self.op}(state {text(self.state)}, preds {text(self.preds)}, target"
            f" {text(self.target)}, weight {text(self.weight)}, {self.options})"
        )


@dataclass
class Outcome:
    """State and events after a call, and its error."""

    state: Tensor
    events: Tensor
    error: Exception | None


def native_op(op: str) -> Callable[..., None]:
    """What the dispatcher runs for CPU tensors: the compiled kernel where there is one."""
    return getattr(torch.ops.fastmetrics, op).default


def has_native(op: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"fastmetrics::{op}", "CPU")


def implementations(op: str) -> dict[str, Callable[..., None]]:
    """Everything that can serve `op` here."""
    found = {"reference": REFERENCES[op]}
    if has_native(op):
        found["native"] = native_op(op)
    return found


def run(call: Call, implementation: Callable[..., None]) -> Outcome:
    arguments = call.arguments()
    error = None
    try:
        implementation(*arguments)
    except Exception as caught:
        error = caught
    return Outcome(arguments[0], arguments[1], error)


def expected_state(call: Call, delta: np.ndarray) -> Tensor:
    return call.state + torch.from_numpy(np.asarray(delta)).to(call.state.dtype)


def check(call: Call) -> oracles.Answer:
    """Every implementation must add exactly what the oracle says, or refuse with its words."""
    answer = call.answer()
    if answer.bad and call.options["validate"]:
        check_refusal(call, answer)
        return answer
    state = expected_state(call, answer.delta)
    events = call.events + torch.tensor([0, answer.nan, answer.outside])
    for name, implementation in implementations(call.op).items():
        outcome = run(call, implementation)
        assert outcome.error is None, f"{name} raised {outcome.error!r} for {call}"
        assert outcome.state.dtype == call.state.dtype
        assert torch.equal(outcome.state, state), (
            f"{name}: wrong state for {call}\n{outcome.state - call.state}\n{state - call.state}"
        )
        assert torch.equal(outcome.events, events), (
            f"{name}: events {outcome.events.tolist()} instead of {events.tolist()} for {call}"
        )
    return answer


def check_refusal(call: Call, answer: oracles.Answer) -> None:
    """Same type, same text, nothing changed."""
    name, value, index = answer.bad[0]
    text = (
        f"{call.op}: `{name}` must {allowed_text(call, name)}, got {value} at flat index {index}."
    )
    for who, implementation in implementations(call.op).items():
        outcome = run(call, implementation)
        assert type(outcome.error) is RuntimeError, f"{who}: {outcome.error!r} for {call}"
        assert str(outcome.error) == text, f"{who} for {call}"
        assert torch.equal(outcome.state, call.state), f"{who} changed the state for {call}"
        assert torch.equal(outcome.events, call.events), f"{who} changed the events for {call}"


def allowed_text(call: Call, name: str) -> str:
    if name == "groups":
        return f"lie in [0, {call.state.shape[-3]})"
    if call.op.startswith("label_"):
        limit = 2
    elif call.preds.ndim == call.target.ndim + 1:
        limit = call.preds.shape[1]
    else:
        limit = call.state.shape[0] if call.op == "confusion_" else call.options["num_classes"]
    ignore_index = call.options["ignore_index"]
    text = f"lie in [0, {limit or oracles.UNKNOWN_CLASSES})"
    if ignore_index is None or name != "target":
        return text
    return f"{text} or equal ignore_index={ignore_index}"


# Inputs


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
    return tensor[:1].expand(tensor.shape) if len(tensor) else tensor


def repeated_last(tensor: Tensor) -> Tensor:
    """The first element of the last axis, expanded (stride 0)."""
    return tensor[..., :1].expand(tensor.shape) if tensor.numel() else tensor


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


# Calls

STATE_KINDS = {
    "stat_scores_": ("classes", "total", "samples", "samples_total"),
    "confusion_": ("matrix",),
    "exact_match_": ("total", "samples"),
    "label_confusion_": ("total", "samples"),
    "label_exact_match_": ("total", "samples"),
}
CLASS_OPS = ("stat_scores_", "confusion_", "exact_match_")
LABEL_OPS = ("label_confusion_", "label_exact_match_")


def new_state(shape: tuple[int, ...], weighted: bool, start: int | None) -> Tensor:
    """A state that already holds counts: `start` everywhere, or a different one in each place."""
    dtype = torch.float64 if weighted else torch.int64
    if start is not None:
        return torch.full(shape, start, dtype=dtype)
    return (torch.arange(math.prod(shape)) % 101 + 1).view(shape).to(dtype)


def class_call(
    op: str,
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    kind: str | None = None,
    weight: Tensor | None = None,
    top_k: int = 1,
    ignore_index: int | None = None,
    validate: bool = True,
    start: int | None = None,
    weighted: bool = False,
) -> Call:
    """A call of an op that takes an argmax; `weighted` asks for a float64 state without weights."""
    num_samples = target.shape[0]
    kind = kind or STATE_KINDS[op][0]
    columns = num_classes if "total" not in kind else 1
    shape: tuple[int, ...]
    options: dict[str, Any] = {"num_classes": num_classes}
    if op == "stat_scores_":
        shape = (num_samples, columns, 4) if "samples" in kind else (columns, 4)
        options["top_k"] = top_k
    elif op == "confusion_":
        shape, options = (num_classes, num_classes), {}
    else:
        shape = (num_samples, 2) if kind == "samples" else (2,)
    options |= {"ignore_index": ignore_index, "validate": validate}
    state = new_state(shape, weighted or weight is not None, start)
    return Call(op, state, preds, target, weight, options)


def label_call(
    op: str,
    preds: Tensor,
    target: Tensor,
    num_labels: int = 1,
    kind: str = "total",
    readings: int = 2,
    weight: Tensor | None = None,
    groups: Tensor | None = None,
    threshold: float = 0.5,
    logits: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
    start: int | None = None,
    weighted: bool = False,
) -> Call:
    """A call of an op that thresholds; with `groups`, `num_labels` is the number of groups."""
    shape: tuple[int, ...] = (readings, 2)
    options: dict[str, Any] = {"num_labels": num_labels}
    if op == "label_confusion_":
        shape, options = (readings, num_labels, 2, 2), {"groups": groups}
    if kind == "samples":
        shape = (target.shape[0], *shape)
    options |= {
        "threshold": threshold,
        "logits": logits,
        "ignore_index": ignore_index,
        "validate": validate,
    }
    state = new_state(shape, weighted or weight is not None, start)
    return Call(op, state, preds, target, weight, options)


def class_inputs(
    shape: tuple[int, ...],
    num_classes: int,
    dtype: torch.dtype,
    seed: int,
    target_dtype: torch.dtype = torch.int64,
    special: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Inputs with `target` of `shape`: scores with a class axis, or labels for integer types."""
    rng = np.random.default_rng(seed)
    target = random_labels(shape, num_classes, target_dtype, rng)
    if not dtype.is_floating_point:
        return random_labels(shape, num_classes, dtype, rng), target
    scores = random_scores((shape[0], num_classes, *shape[1:]), dtype, rng)
    return with_special_values(scores, rng, special) if special else scores, target


def label_inputs(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    seed: int,
    target_dtype: torch.dtype = torch.int64,
    special: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Scores, or labels for integer types, and binary targets, all of `shape`."""
    rng = np.random.default_rng(seed)
    target = random_labels(shape, 2, target_dtype, rng)
    if not dtype.is_floating_point:
        return random_labels(shape, 2, dtype, rng), target
    scores = random_scores(shape, dtype, rng)
    return with_special_values(scores, rng, special) if special else scores, target


# One row per op


def class_rows(op: str) -> list[Call]:
    """Scores and labels; with and without weights and ignored targets."""
    calls = []
    for seed, kind in enumerate(STATE_KINDS[op]):
        for preds_dtype in (torch.float32, torch.float16, torch.int32):
            for shape in ((9,), (5, 4), (3, 2, 2)):
                preds, target = class_inputs(shape, 4, preds_dtype, seed)
                rng = np.random.default_rng(seed)
                weight = random_weights(shape[0], torch.float32, rng)
                calls.append(class_call(op, preds, target, 4, kind))
                calls.append(class_call(op, preds, target, 4, kind, weight, ignore_index=1))
    if op == "stat_scores_":
        preds, target = class_inputs((9,), 4, torch.float32, 0)
        calls.append(class_call(op, preds, target, 4, top_k=2))
        calls.append(class_call(op, *class_inputs((9,), 4, torch.int64, 0), 0, "total"))
    return calls


def label_rows(op: str) -> list[Call]:
    """Scores and labels; with and without weights, groups and ignored targets."""
    calls = []
    for seed, (readings, kind) in enumerate(((2, "total"), (1, "total"), (2, "samples"))):
        for preds_dtype in (torch.float32, torch.bfloat16, torch.uint8):
            for shape in ((6, 3), (4, 3, 2)):
                preds, target = label_inputs(shape, preds_dtype, seed)
                rng = np.random.default_rng(seed)
                weight = random_weights(shape[0], torch.float64, rng)
                calls.append(label_call(op, preds, target, 3, kind, readings))
                calls.append(
                    label_call(op, preds, target, 3, kind, readings, weight, ignore_index=0)
                )
    if op == "label_confusion_":
        preds, target = label_inputs((8,), torch.float32, 0)
        groups = torch.arange(8) % 3
        calls.append(label_call(op, preds, target))
        calls.append(label_call(op, preds, target, 3, groups=groups))
        calls.append(label_call(op, preds, target, 3, groups=groups, weight=torch.arange(8)))
    return calls


def histogram_rows(op: str) -> list[Call]:
    """Lie in a module that builds on this one."""
    from tests.ops import cases_histogram

    return cases_histogram.histogram_rows(op)


def image_rows(op: str) -> list[Call]:
    """Lie beside `histogram_rows`."""
    from tests.ops import cases_histogram

    return cases_histogram.image_rows(op)


def calibration_rows(op: str) -> list[Call]:
    """Lie in a module that builds on this one."""
    from tests.ops import cases_calibration

    return cases_calibration.calibration_rows(op)


ROWS: dict[str, Callable[[str], list[Call]]] = {
    "stat_scores_": class_rows,
    "confusion_": class_rows,
    "exact_match_": class_rows,
    "label_confusion_": label_rows,
    "label_exact_match_": label_rows,
    "score_histogram_": histogram_rows,
    "score_image_histogram_": image_rows,
    "calibration_bins_": calibration_rows,
}


def rows(op: str) -> list[Call]:
    return ROWS[op](op)
