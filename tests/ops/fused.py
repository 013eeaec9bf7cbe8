"""`fused_`: calls of several ops together, and an oracle that asks those of the ops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops.co_moments import NUM_COLUMNS
from fastmetrics.ops.error_sums import (
    ABSOLUTE,
    DEVIANCE,
    LOG_COSH,
    MAGNITUDE,
    POWER,
    SQUARED,
    num_columns,
)
from fastmetrics.ops.fused import FusedCall, Update
from tests.ops.inputs import SCORE_DTYPES, Draw
from tests.ops.laws import Answer, Call, Tested, arguments_of, every_op, native_op, results

TASKS = ("classes", "predicted classes", "binary", "labels", "numbers", "outputs")
FLOAT_STATES = ("calibration_bins_", "error_sums_", "co_moments_")


def edges_of(task: str, readings: int, thresholds: int = 11) -> Tensor:
    probs = torch.linspace(0, 1, thresholds, dtype=torch.float64)
    logits = probs if task == "classes" else probs.logit().nan_to_num(neginf=-torch.inf)
    return torch.stack((probs, logits))[:readings]


def bins_of(count: int = 6) -> Tensor:
    edges = torch.linspace(0, 1, count, dtype=torch.float64)
    return torch.stack((edges.float().double(), edges))


def errors(terms: int, p: float = 1.0, power: float = 0.0) -> Update:
    return Update("error_sums_", (terms, p, power))


def menu(task: str, width: int, ignore: int | None, plain: bool) -> list[tuple[Update, tuple]]:
    """Updates that fit a task, and the shapes of their states; ``plain`` inputs are ``[N]``."""
    stats, table = "stat_scores_", "label_confusion_"
    whole = [
        (errors(SQUARED), (1, 2)),
        (errors(SQUARED | ABSOLUTE | LOG_COSH), (1, 4)),
        (errors(MAGNITUDE | POWER, p=3.0), (1, 3)),
        (errors(POWER, p=1.0), (1, 2)),
    ]
    pairs = [(Update("co_moments_", ()), (1, NUM_COLUMNS))] if plain else []
    if task == "classes":
        return [
            (Update(stats, (width, 1, ignore, True)), (width, 4)),
            (Update(stats, (width, 2, ignore, True)), (1, 4)),
            (Update("confusion_", (ignore, True)), (width, width)),
            *[
                (
                    Update(
                        "score_histogram_",
                        (edges_of(task, readings), readings == 1, True, True, ignore, True),
                    ),
                    (readings, width, 2, 12),
                )
                for readings in (1, 2)
            ],
            *[
                (
                    Update("calibration_bins_", (bins_of(), width, True, ignore, True)),
                    (readings, 6, 3),
                )
                for readings in (1, 2)
            ],
        ]
    if task == "predicted classes":
        return [
            (Update(stats, (width, 1, ignore, True)), (width, 4)),
            (Update(stats, (0, 1, ignore, False)), (1, 4)),
            (Update("confusion_", (ignore, True)), (width, width)),
            *whole,
            *pairs,
        ]
    if task in ("binary", "labels"):
        labels = width if task == "labels" else 1
        found = [
            (Update(table, (None, 0.25, False, ignore, True)), (2, labels, 2, 2)),
            (Update(table, (None, 0.5, True, ignore, False)), (1, labels, 2, 2)),
            (
                Update("score_histogram_", (edges_of(task, 2), False, False, False, ignore, True)),
                (2, labels, 2, 12),
            ),
            *whole,
        ]
        if task == "binary":
            bins = Update("calibration_bins_", (bins_of(), 0, False, ignore, True))
            found += [(bins, (2, 6, 3)), (bins, (1, 6, 3)), *pairs]
        elif plain:
            found += [
                (errors(SQUARED), (width, 2)),
                (errors(SQUARED | ABSOLUTE), (width, 3)),
                (Update("co_moments_", ()), (width, NUM_COLUMNS)),
            ]
        return found
    outputs = width if task == "outputs" else 1
    deviances = [errors(DEVIANCE | SQUARED, power=1.5), errors(DEVIANCE, power=3.0)]
    return [
        *((update, (outputs, num_columns(update.arguments[0]))) for update in deviances),
        (errors(SQUARED | ABSOLUTE | MAGNITUDE), (outputs, 4)),
        *(
            [(Update("co_moments_", ()), (width, NUM_COLUMNS))]
            if task == "outputs"
            else pairs + whole
        ),
        (errors(POWER | DEVIANCE, p=2.5, power=1.5), (outputs, 4)),
    ]


def inputs_of(task: str, size: int, width: int, depth: int, dtype, rng) -> tuple[Tensor, Tensor]:
    """Predictions and targets; a depth of 0 has no trailing axis."""
    rest = (depth,) if depth else ()
    if task in ("numbers", "outputs"):
        shape = (size, width) if task == "outputs" else (size, *rest)
        preds, target = (torch.from_numpy(rng.uniform(0.5, 3, shape)).to(dtype) for _ in range(2))
        return preds, target
    columns = () if task in ("binary", "predicted classes") else (width,)
    targets = (size, *columns, *rest) if task == "labels" else (size, *rest)
    classes = width if "classes" in task else 2
    target = torch.from_numpy(rng.integers(0, classes, targets))
    if task == "predicted classes":
        return torch.from_numpy(rng.integers(0, classes, targets)).to(torch.int32), target
    preds = torch.from_numpy(rng.normal(size=(size, *columns, *rest))).to(dtype)
    return preds, target


@dataclass(repr=False)
class Fusion(Call):
    """A call that knows the updates it is made of."""

    updates: list[Update] = field(default_factory=list)

    def apart(self, validate: bool = True) -> list[Call]:
        """The calls that it stands for."""
        found, events = [], iter(self["events"])
        for update, state in zip(self.updates, self["states"], strict=True):
            own = {"events": next(events)} if has_events(update.op) else {}
            batch = {name: self[name] for name in ("preds", "target", "weight")}
            names = arguments_of(update.op)[len(own) + 4 :]
            options = dict(zip(names, update.arguments, strict=True))
            found.append(Call(update.op, {"state": state, **own, **batch, **options}))
        return found


def has_events(op: str) -> bool:
    return "events" in arguments_of(op)


def fuse(updates: list[Update], states: list[Tensor], preds: Any, target: Any, weight: Any) -> Call:
    program = FusedCall(updates)
    arguments = {
        "states": states,
        "events": [torch.tensor([0, 5, 7, 9]) for update in updates if has_events(update.op)],
        "edges": program.edges,
        "preds": preds,
        "target": target,
        "weight": weight,
        "program": program.program,
        "numbers": program.numbers,
    }
    return Fusion("fused_", arguments, updates)


def make(seed: int, **options: Any) -> Fusion:
    """All that fits the task, or `chosen` from it, with states that are not empty."""
    draw = Draw(seed, options)
    task, (size, *_) = draw("task", *TASKS), draw("shape", (1,), (17,), (63,), (130,))
    width, depth, dtype = (
        draw("width", 2, 4, 20),
        draw("depth", 0, 0, 2),
        draw("dtype", *SCORE_DTYPES),
    )
    ignore = draw("ignore_index", None, -1, 1)
    preds, target = inputs_of(task, size, width, depth, dtype, draw.rng)
    weight = torch.from_numpy(draw.rng.uniform(0, 2, size))
    weight = weight if draw("weight", None, torch.float64) is not None else None
    if task not in ("numbers", "outputs") and ignore is not None:
        target[torch.from_numpy(draw.rng.random(target.shape) < 0.1)] = ignore
    found = menu(task, width, ignore, plain=preds.ndim == (2 if task == "labels" else 1))
    chosen = draw("chosen", None, draw.rng.integers(0, 20, 5).tolist())
    rows = found if chosen is None else [found[i % len(found)] for i in chosen]
    draw.done()
    states = []
    for update, shape in rows:
        counts = update.op not in FLOAT_STATES and weight is None
        # Moments are not just any numbers.
        first = 0 if update.op == "co_moments_" else 3
        states.append(torch.full(shape, first, dtype=torch.int64 if counts else torch.float64))
    return fuse([update for update, _ in rows], states, preds, target, weight)


def gathered(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "states": [part["state"] for part in parts],
        "events": [part["events"] for part in parts if "events" in part],
    }


def oracle(call: Fusion) -> Answer:
    ops = every_op()
    return Answer(gathered([ops[part.op].oracle(part).after for part in call.apart()]))


def separately(call: Fusion) -> dict[str, Any]:
    """What one call of each op writes."""
    return gathered([results(part, native_op(part.op)) for part in call.apart()])


def compare(call: Call, found: dict[str, Any], expected: dict[str, Any]) -> None:
    agree(call, found, expected, 1e-9)


def agree(call: Call, found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    atol = tolerance * (1 + call["preds"].numel())
    for name in ("states", "events"):
        for one, other in zip(found[name], expected[name], strict=True):
            if one.dtype == torch.int64:
                assert torch.equal(one, other)
            else:
                torch.testing.assert_close(one, other, rtol=tolerance, atol=atol, equal_nan=True)


def good() -> Call:
    states = [torch.zeros(4, 4, dtype=torch.int64)]
    target = torch.arange(6) % 4
    return fuse([Update("confusion_", (None, True))], states, torch.rand(6, 4), target, None)


FUSED = Tested(
    "fused_",
    make,
    oracle,
    variants=tuple({"task": task} for task in TASKS),
    shapes=((17,),),
    sizes=(1, 2, 63, 64, 65, 1025),
    empty=((0,),),
    dtypes={"dtype": SCORE_DTYPES, "weight": (torch.float64,)},
    special=False,
    many=60_001,
    compare=compare,
    good=good,
)
