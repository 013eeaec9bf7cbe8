"""Oracles, calls and rows of the score histograms, in the form of `oracles` and `cases`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tests.ops import cases, oracles
from tests.ops.cases import Call, new_state, random_labels, random_scores, random_weights

OP = "score_histogram_"
IMAGE_OP = "score_image_histogram_"
TASKS = ("binary", "multilabel", "multiclass")

# Oracle


def softmax(row: list[float], narrow: bool) -> list[float]:
    """In Python numbers, rounded to float32 when `narrow`; equal infinities share the row."""
    if any(math.isnan(score) for score in row):
        return [math.nan] * len(row)
    top = max(row)
    powers = [1.0 if score == top else math.exp(score - top) for score in row]
    total = math.fsum(powers)
    shares = [power / total for power in powers]
    return [float(np.float32(share)) for share in shares] if narrow else shares


def find_bin(score: float, edges: list[float]) -> int:
    """How many thresholds the score reaches."""
    return sum(score >= edge for edge in edges)


def scored(preds, target, multiclass, ignore_index, limit, answer):
    """Each position that counts: `(sample, its scores, its classes, the target per score)`."""
    bad = []
    marks = target.to(torch.int64)
    numbers = preds.to(torch.float64)
    for index, where in enumerate(np.ndindex(*target.shape)):
        mark = int(marks[where])
        if oracles.is_ignored(mark, ignore_index):
            continue
        if not 0 <= mark < limit:
            bad.append(("target", mark, index))
            continue
        if multiclass:
            row = numbers[(where[0], slice(None), *where[1:])].tolist()
            yield where[0], row, range(limit), [int(c == mark) for c in range(limit)]
        else:
            yield where[0], [float(numbers[where])], [where[1] if len(where) > 1 else 0], [mark]
    answer.bad = bad


def image_bin(score: float, bits: int, half: bool) -> int:
    """Leading bits of the order-preserving image, from the bytes of the number."""
    with np.errstate(over="ignore"):
        number = np.float16(score) if half else np.float32(score)
    if np.isnan(number):
        return 0
    width = 16 if half else 32
    pattern = int.from_bytes(np.abs(number).tobytes(), "little")
    # Positive numbers follow the negative ones, whose magnitudes count down; both zeros are +0.
    image = 2 ** (width - 1) + (pattern if number >= 0 else -1 - pattern)
    return image >> (width - bits)


def count_bins(
    state_shape, preds, target, weight, multiclass, logits, ignore_index, told_apart, find
) -> oracles.Answer:
    """Histograms over the bins that `find(score, reading)` returns."""
    num_readings, num_classes = state_shape[:2]
    answer = oracles.Answer(np.zeros(state_shape))
    if target.numel() == 0:
        return answer
    amount = oracles.amounts(weight, target.shape[0])
    narrow = preds.dtype != torch.float64
    limit = num_classes if multiclass else 2
    for sample, row, classes, marks in scored(
        preds, target, multiclass, ignore_index, limit, answer
    ):
        answer.nan += any(math.isnan(score) for score in row)
        answer.outside += sum(score < 0 or score > 1 for score in row)
        for index in range(num_readings):
            as_logits = index == 1 if num_readings == 2 else logits
            values = softmax(row, narrow) if multiclass and as_logits else row
            for c, score, mark in zip(classes, values, marks, strict=True):
                label = c if num_classes > 1 else 0
                answer.delta[index, label, mark, find(score, index)] += amount[sample]
    answer.outside = answer.outside if told_apart else 0
    return answer


def score_histogram(
    state_shape: tuple[int, ...],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    edges: Tensor,
    uniform: bool,
    multiclass: bool,
    logits: bool,
    ignore_index: int | None,
) -> oracles.Answer:
    thresholds = edges.tolist()
    return count_bins(
        state_shape, preds, target, weight, multiclass, logits, ignore_index, state_shape[0] == 2,
        lambda score, reading: find_bin(score, thresholds[reading]),
    )  # fmt: skip


def score_image_histogram(
    state_shape: tuple[int, ...],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    half: bool,
    multiclass: bool,
    logits: bool,
    ignore_index: int | None,
) -> oracles.Answer:
    bits = int(math.log2(state_shape[3]))
    told_apart = not multiclass or state_shape[0] == 2
    return count_bins(
        state_shape, preds, target, weight, multiclass, logits, ignore_index, told_apart,
        lambda score, reading: image_bin(score, bits, half),
    )  # fmt: skip


# Calls


@dataclass(repr=False)
class HistogramCall(Call):
    """A call that knows its oracle and its limit."""

    def answer(self) -> oracles.Answer:
        options = {name: value for name, value in self.options.items() if name != "validate"}
        oracle = score_histogram if self.op == OP else score_image_histogram
        return oracle(tuple(self.state.shape), self.preds, self.target, self.weight, **options)

    def allowed(self) -> str:
        limit = self.state.shape[1] if self.options["multiclass"] else 2
        ignore_index = self.options["ignore_index"]
        text = f"lie in [0, {limit})"
        return text if ignore_index is None else f"{text} or equal ignore_index={ignore_index}"


def check(call: HistogramCall) -> oracles.Answer:
    """As `cases.check`, with this op's words."""
    answer = call.answer()
    if not (answer.bad and call.options["validate"]):
        return cases.check(call)
    name, value, index = answer.bad[0]
    text = f"{call.op}: `{name}` must {call.allowed()}, got {value} at flat index {index}."
    for who, implementation in cases.implementations(call.op).items():
        outcome = cases.run(call, implementation)
        assert type(outcome.error) is RuntimeError, f"{who}: {outcome.error!r} for {call}"
        assert str(outcome.error) == text, f"{who} for {call}"
        assert torch.equal(outcome.state, call.state), f"{who} changed the state for {call}"
        assert torch.equal(outcome.events, call.events), f"{who} changed the events for {call}"
    return answer


def edges_of(thresholds: Tensor, task: str, readings: int, logits: bool = False) -> Tensor:
    """The thresholds under each reading, float64 `[H, T]`."""
    probs = thresholds.double()
    if task == "multiclass":
        rows = [probs, probs]
    else:
        clamped = probs.clamp(min=0.0)
        rows = [probs, clamped.log() - (-clamped).log1p()]
    return torch.stack(rows if readings == 2 else [rows[int(logits)]])


def histogram_call(
    task: str,
    preds: Tensor,
    target: Tensor,
    thresholds: Tensor | int,
    readings: int = 2,
    weight: Tensor | None = None,
    logits: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
    start: int | None = None,
    weighted: bool = False,
) -> HistogramCall:
    """A call; an integer asks for that many uniform thresholds."""
    uniform = isinstance(thresholds, int)
    if uniform:
        thresholds = torch.linspace(0, 1, thresholds)
    num_classes = 1 if task == "binary" else preds.shape[1]
    shape = (readings, num_classes, 2, len(thresholds) + 1)
    options = {
        "edges": edges_of(thresholds, task, readings, logits),
        "uniform": uniform,
        "multiclass": task == "multiclass",
        "logits": logits,
        "ignore_index": ignore_index,
        "validate": validate,
    }
    state = new_state(shape, weighted or weight is not None, start)
    return HistogramCall(OP, state, preds, target, weight, options)


def image_call(
    task: str,
    preds: Tensor,
    target: Tensor,
    bits: int = 6,
    readings: int = 2,
    weight: Tensor | None = None,
    logits: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
    start: int | None = None,
    weighted: bool = False,
    half: bool = False,
) -> HistogramCall:
    """A call of the other op; binary and multilabel scores have one reading."""
    multiclass = task == "multiclass"
    options = {
        "half": half,
        "multiclass": multiclass,
        "logits": logits,
        "ignore_index": ignore_index,
        "validate": validate,
    }
    num_classes = 1 if task == "binary" else preds.shape[1]
    shape = (readings if multiclass else 1, num_classes, 2, 2**bits)
    state = new_state(shape, weighted or weight is not None, start)
    return HistogramCall(IMAGE_OP, state, preds, target, weight, options)


def histogram_inputs(
    task: str,
    shape: tuple[int, ...],
    num_classes: int,
    dtype: torch.dtype,
    seed: int,
    target_dtype: torch.dtype = torch.int64,
    special: float = 0.0,
    inside: bool = False,
) -> tuple[Tensor, Tensor]:
    """Inputs for positions `(N, ...)`; `inside` keeps the scores in [0, 1]."""
    rng = np.random.default_rng(seed)
    scores_shape = shape if task == "binary" else (shape[0], num_classes, *shape[1:])
    target_shape = shape if task == "multiclass" else scores_shape
    limit = num_classes if task == "multiclass" else 2
    target = random_labels(target_shape, limit, target_dtype, rng)
    if inside:
        scores = torch.from_numpy(rng.random(scores_shape)).to(dtype)
    else:
        scores = random_scores(scores_shape, dtype, rng)
    return cases.with_special_values(scores, rng, special) if special else scores, target


def histogram_rows(op: str) -> list[Call]:
    """Each task and number of readings; with and without weights and ignored targets."""
    calls: list[Call] = []
    for seed, task in enumerate(TASKS):
        for dtype in (torch.float32, torch.bfloat16):
            for shape in ((9,), (4, 3)):
                preds, target = histogram_inputs(task, shape, 3, dtype, seed)
                weight = random_weights(shape[0], torch.float32, np.random.default_rng(seed))
                calls.append(histogram_call(task, preds, target, 5))
                calls.append(histogram_call(task, preds, target, 5, 1, weight, ignore_index=1))
                calls.append(
                    histogram_call(
                        task, preds, target, torch.tensor([0.1, 0.25, 0.8]), 1, logits=True
                    )
                )
    return calls


def image_rows(op: str) -> list[Call]:
    """Each task and number of readings; float16 as it is; with and without weights."""
    calls: list[Call] = []
    for seed, task in enumerate(TASKS):
        for dtype in (torch.float32, torch.float16):
            half = dtype == torch.float16
            for shape in ((9,), (4, 3)):
                preds, target = histogram_inputs(task, shape, 3, dtype, seed)
                weight = random_weights(shape[0], torch.float32, np.random.default_rng(seed))
                calls.append(image_call(task, preds, target, 7, half=half))
                calls.append(image_call(task, preds, target, 4, 1, weight, ignore_index=1))
                calls.append(image_call(task, preds, target, 3, 1, logits=True))
    return calls
