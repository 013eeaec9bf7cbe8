"""Oracle, calls and rows of `calibration_bins_`, in the form of `oracles` and `cases`."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fastmetrics.ops.calibration import bin_edges
from tests.ops import cases, oracles
from tests.ops.cases import Call, random_labels, random_weights
from tests.ops.cases_histogram import scored, softmax

OP = "calibration_bins_"
TASKS = ("binary", "multiclass")

# Oracle


def sigmoid(score: float) -> float:
    power = math.exp(-abs(score))
    return (power if score < 0 else 1.0) / (1.0 + power)


def confidence_of(row: list[float], multiclass: bool, logits: bool) -> float:
    if logits:
        return max(softmax(row, False)) if multiclass else sigmoid(row[0])
    return min(max(max(row), 0.0), 1.0)


def calibration_bins(
    state_shape: tuple[int, ...],
    preds: Tensor,
    target: Tensor,
    weight: Tensor | None,
    edges: Tensor,
    num_classes: int,
    logits: bool,
    ignore_index: int | None,
) -> oracles.Answer:
    """Position by position, in Python numbers; sums are exact until they are rounded once."""
    num_readings = state_shape[0]
    terms = np.empty(state_shape, dtype=object)
    for where in np.ndindex(*state_shape):
        terms[where] = []
    answer = oracles.Answer(np.zeros(state_shape))
    if target.numel() == 0:
        return answer
    multiclass = num_classes > 0
    narrow = multiclass or preds.dtype != torch.float64
    thresholds = edges[int(not narrow)].tolist()
    amount = oracles.amounts(weight, target.shape[0])
    for sample, row, _, marks in scored(
        preds, target, multiclass, ignore_index, num_classes or 2, answer
    ):
        answer.outside += sum(score < 0 or score > 1 for score in row)
        if any(math.isnan(score) for score in row):
            answer.nan += 1
            continue
        right = marks[row.index(max(row))] if multiclass else marks[0]
        for index in range(num_readings):
            as_logits = index == 1 if num_readings == 2 else logits
            confidence = confidence_of(row, multiclass, as_logits)
            if narrow:
                confidence = float(np.float32(confidence))
            place = bisect.bisect_right(thresholds, confidence) - 1
            number = float(amount[sample])
            for column, term in enumerate((number, number * confidence, number * right)):
                terms[index, place, column].append(term)
    for where in np.ndindex(*state_shape):
        answer.delta[where] = math.fsum(terms[where])
    answer.outside = answer.outside if num_readings == 2 else 0
    return answer


# Calls


@dataclass(repr=False)
class CalibrationCall(Call):
    """A call that knows its limit."""

    def allowed(self) -> str:
        ignore_index = self.options["ignore_index"]
        text = f"lie in [0, {self.options['num_classes'] or 2})"
        return text if ignore_index is None else f"{text} or equal ignore_index={ignore_index}"


def check(call: CalibrationCall) -> oracles.Answer:
    """Every implementation must find the oracle's bins, and its sums but for the last digits."""
    answer = call.answer()
    refused = answer.bad and call.options["validate"]
    expected = call.state if refused else call.state + torch.from_numpy(answer.delta)
    events = call.events if refused else call.events + torch.tensor([0, answer.nan, answer.outside])
    for who, implementation in cases.implementations(OP).items():
        outcome = cases.run(call, implementation)
        if refused:
            name, value, index = answer.bad[0]
            text = f"{OP}: `{name}` must {call.allowed()}, got {value} at flat index {index}."
            assert type(outcome.error) is RuntimeError, f"{who}: {outcome.error!r} for {call}"
            assert str(outcome.error) == text, f"{who} for {call}"
        else:
            assert outcome.error is None, f"{who} raised {outcome.error!r} for {call}"
        # Positions and right ones are exact, as are all sums of numbers with few digits.
        assert torch.equal(outcome.state[..., ::2], expected[..., ::2]), (
            f"{who}: wrong counts for {call}\n{outcome.state - expected}"
        )
        torch.testing.assert_close(outcome.state, expected, rtol=1e-13, atol=1e-14)
        assert torch.equal(outcome.events, events), f"{who}: {outcome.events} for {call}"
    return answer


def calibration_call(
    task: str,
    preds: Tensor,
    target: Tensor,
    n_bins: int = 15,
    readings: int = 2,
    weight: Tensor | None = None,
    logits: bool = False,
    ignore_index: int | None = None,
    validate: bool = True,
    start: int | None = None,
) -> CalibrationCall:
    options = {
        "edges": bin_edges(n_bins),
        "num_classes": preds.shape[1] if task == "multiclass" else 0,
        "logits": logits,
        "ignore_index": ignore_index,
        "validate": validate,
    }
    state = cases.new_state((readings, n_bins + 1, 3), True, start)
    return CalibrationCall(OP, state, preds, target, weight, options)


def calibration_inputs(
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
    target = random_labels(shape, 2 if task == "binary" else num_classes, target_dtype, rng)
    if inside:
        scores = torch.from_numpy(rng.integers(0, 33, size=scores_shape) / 32.0).to(dtype)
    else:
        scores = cases.random_scores(scores_shape, dtype, rng)
    return cases.with_special_values(scores, rng, special) if special else scores, target


def calibration_rows(op: str) -> list[Call]:
    """Each task and number of readings; with and without weights and ignored targets.

    Few bits make all sums exact, in any order.
    """
    calls: list[Call] = []
    for seed, task in enumerate(TASKS):
        for dtype in (torch.float32, torch.bfloat16):
            for shape in ((9,), (4, 3)):
                preds, target = calibration_inputs(task, shape, 3, dtype, seed)
                weight = random_weights(shape[0], torch.float32, np.random.default_rng(seed))
                calls.append(calibration_call(task, preds, target, 5))
                calls.append(calibration_call(task, preds, target, 5, 1, weight, ignore_index=1))
                calls.append(calibration_call(task, preds, target, 4, 1, logits=True))
    return calls
