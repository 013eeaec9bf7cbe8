"""`bootstrap_counts_` and `bootstrap_weights_`: calls, and an oracle in Python integers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.ops import oracles, refusals
from tests.ops.inputs import SHAPES, Draw, class_batch, new_state, some_events, spoil
from tests.ops.laws import Answer, Call, Tested, tested_whole
from tests.ops.refusals import ints, table
from tests.ops.stat_scores import CLASSES, DTYPES, telling_scores

# Around the widths of vectors.
REPLICAS = (1, 3, 16, 17, 33, 100)
SEEDS = (0, 1, -1, 2**63 - 1, -(2**63), 123456789)
FURTHEST = 2**40
# From which of 65536 numbers on a sample counts once, twice, ...
THRESHOLDS = (24109, 48219, 60273, 64292, 65296, 65497, 65530)


def splitmix64(number: int, seed: int) -> int:
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def weights_of(number: int, replicas: int, seed: int) -> list[int]:
    """How often a sample counts in each replica."""
    key = splitmix64(number, seed)
    found = []
    for replica in range(replicas):
        word = (key % 2**32 + replica // 2 * (key >> 32 | 1)) % 2**32
        word = (word ^ (word >> 15)) * 0x846CA68B % 2**32
        word ^= word >> 16
        half = word >> 16 if replica % 2 else word % 2**16
        found.append(sum((half + 2**15) % 2**16 >= threshold for threshold in THRESHOLDS))
    return found


def all_weights(call: Call, samples: int, replicas: int) -> tuple[list[list[int]], Tensor]:
    """The weights of each sample, and how many were seen afterwards."""
    if call["numbers"] is not None:
        numbers, seen = call["numbers"].tolist(), call["seen"]
    else:
        start = call["seen"].item()
        numbers = [(start + i) * call["step"] + call["offset"] for i in range(samples)]
        seen = call["seen"] + samples
    return [weights_of(number, replicas, call["seed"]) for number in numbers], seen


def draw_counter(draw: Draw, samples: int) -> dict[str, Any]:
    given = torch.from_numpy(draw.rng.integers(-FURTHEST, FURTHEST, samples))
    return {
        "seen": torch.tensor([draw("seen", 0, 5, FURTHEST)]),
        "numbers": draw("numbers", None, given),
        "seed": draw("seed", *SEEDS),
        "offset": draw("offset", 0, 3),
        "step": draw("step", 1, 7),
    }


def make(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    classes, shape = draw("classes", *CLASSES), draw("shape", *SHAPES)
    preds, target = class_batch(draw, classes, shape)
    ignore_index = spoil(draw, target, classes)
    counter = draw_counter(draw, shape[0])
    start, replicas = draw("start", 0, 7), draw("replicas", *REPLICAS)
    taken = {
        "state": new_state((replicas, classes, 4), torch.int64, start),
        "events": some_events(),
        "seen": counter.pop("seen"),
        "preds": preds,
        "target": target,
        "numbers": counter.pop("numbers"),
        "num_classes": classes,
        "ignore_index": ignore_index,
        "validate": draw("validate", True, True, False),
        **counter,
    }
    draw.done()
    return Call("bootstrap_counts_", taken)


def oracle(call: Call) -> Answer:
    replicas, classes, _ = call["state"].shape
    weights, seen = all_weights(call, len(call["target"]), replicas)
    delta = np.zeros((replicas, classes, 4), dtype=np.int64)
    tally = oracles.Tally(delta)
    for sample, kind, pred, label in oracles.classes(call, classes, 1, tally):
        if kind != "ok":
            continue
        times = np.array(weights[sample], dtype=np.int64)
        for each in range(classes):
            column = {(True, True): 0, (True, False): 1, (False, False): 2, (False, True): 3}
            delta[:, each, column[pred == each, label == each]] += times
    answer = tally.answer(call, oracles.class_limit(call, classes))
    answer.after["seen"] = seen
    return answer


def odd() -> Iterator[Call]:
    for seed, (replicas, classes) in enumerate(itertools.product((1, 2, 15, 40), (2, 17))):
        yield make(seed, replicas=replicas, classes=classes, shape=(67,), bad=0.0)
    for width in (3, 16):
        preds = telling_scores(width, torch.float32)
        yield make(width, classes=width, shape=(len(preds),), bad=0.0).but(preds=preds)
    yield make(3, replicas=0, classes=3, shape=(9,), bad=0.0)


def good() -> Call:
    call = make(0, classes=4, shape=(6,), dtype=torch.float32, target_dtype=torch.int64, bad=0.0,
                ignore_index=None, replicas=3, numbers=None, start=0, validate=True)  # fmt: skip
    return call.but(preds=torch.zeros(6, 4), target=ints(6))


COUNTERS = (
    ({"seen": ints(2)}, "`seen` must be torch.int64 (1,), got torch.int64 (2,)."),
    ({"seen": torch.zeros(1)}, "`seen` must be torch.int64 (1,), got torch.float32 (1,)."),
    ({"numbers": ints(5)}, "`numbers` must be torch.int64 (6,), got torch.int64 (5,)."),
    (
        {"numbers": torch.zeros(6)},
        "`numbers` must be torch.int64 (6,), got torch.float32 (6,).",
    ),
)

COUNTS = Tested(
    "bootstrap_counts_",
    make,
    oracle,
    variants=({"replicas": 3}, {"replicas": 17, "numbers": None}),
    sizes=(0, 1, 2, 15, 16, 17, 1023, 1024, 1025),
    empty=((0,), (0, 3), (3, 0), (3, 2, 0)),
    dtypes={name: types for name, types in DTYPES.items() if name != "weight"},
    batch=("preds", "target", "numbers"),
    layouts=("preds", "target"),
    labels=("target", "preds"),
    starts=(2**24, 2**31, 2**32, 2**53, 2**62),
    many=20_011,
    ordered=True,
    odd=odd,
    good=good,
    refusals=lambda: {
        name: refusal
        for name, refusal in refusals.of_classes(ints(3, 4, 4)).items()
        if "weight" not in refusal.changes
    } | table(
        *COUNTERS,
        (
            {"state": ints(3, 5, 4)},
            "`state` must be torch.int64 (R, 4, 4), got torch.int64 (3, 5, 4).",
        ),
        (
            {"state": torch.zeros(3, 4, 4)},
            "`state` must be torch.int64 (R, 4, 4), got torch.float32 (3, 4, 4).",
        ),
    ),
    guards=(
        {"preds": torch.zeros(5, 4)},
        {"target": ints(7)},
        {"state": ints(3, 4)},
        {"state": ints(3, 5, 4)},
        {"state": ints(3, 4, 8)[..., ::2]},
        {"state": torch.zeros(3, 4, 4)},
        {"events": ints(2)},
        {"seen": ints(2)},
        {"numbers": ints(5)},
    ),
)  # fmt: skip


def make_weights(seed: int, **options: Any) -> Call:
    draw = Draw(seed, options)
    samples, replicas = draw("samples", 0, 1, 5, 70), draw("replicas", *REPLICAS)
    counter = draw_counter(draw, samples)
    draw.done()
    state = torch.full((samples, replicas), 77, dtype=torch.uint8)
    numbered = {"seen": counter.pop("seen"), "numbers": counter.pop("numbers")}
    return Call("bootstrap_weights_", {"state": state, **numbered, **counter})


def weights_oracle(call: Call) -> Answer:
    samples, replicas = call["state"].shape
    weights, seen = all_weights(call, samples, replicas)
    state = torch.tensor(weights, dtype=torch.uint8).view(samples, replicas)
    return Answer({"state": state, "seen": seen})


WEIGHTS = tested_whole(
    "bootstrap_weights_",
    make_weights,
    weights_oracle,
    odd=lambda: (
        make_weights(seed, samples=samples, replicas=replicas)
        for seed, (samples, replicas) in enumerate(
            itertools.product((0, 1, 1023, 1025), (0, 1, 16, 50))
        )
    ),
    good=lambda: make_weights(0, samples=6, replicas=3, numbers=None),
    refusals=lambda: table(
        *COUNTERS,
        ({"state": ints(6, 3)}, "`state` must be torch.uint8 (N, R), got torch.int64 (6, 3)."),
        (
            {"state": torch.zeros(6, dtype=torch.uint8)},
            "`state` must be torch.uint8 (N, R), got torch.uint8 (6,).",
        ),
    ),
)
