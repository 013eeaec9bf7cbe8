"""hinge_sums_: every implementation against an oracle in Python numbers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from fastmetrics import ops
from fastmetrics.ops.faults import new_events
from tests.ops import cases, oracles
from tests.ops.cases import LABEL_DTYPES, LAYOUTS, SCORE_DTYPES, SIZES, WEIGHT_DTYPES
from tests.ops.cases_histogram import histogram_inputs, softmax
from tests.ops.test_opcheck import TESTS

OP = "hinge_sums_"
TASKS = ("binary", "crammer-singer", "one-vs-all")
READINGS = ((2, False), (1, False), (1, True))
START = 5.0


class HingeCall(NamedTuple):
    task: str
    preds: Tensor
    target: Tensor
    squared: bool = False
    readings: tuple[int, bool] = (2, False)
    weight: Tensor | None = None
    ignore_index: int | None = None
    validate: bool = True

    def arguments(self) -> tuple[Any, ...]:
        count, logits = self.readings
        losses = self.preds.shape[1] if self.task == "one-vs-all" else 1
        return (
            torch.full((count, losses + 1), START, dtype=torch.float64),
            torch.tensor([3, 5, 7]),
            self.preds,
            self.target,
            self.task != "binary",
            self.squared,
            logits,
            self.weight,
            self.ignore_index,
            self.validate,
        )


def sigmoid(score: float) -> float:
    if math.isnan(score):
        return score
    power = math.exp(-abs(score))
    return (1.0 if score >= 0 else power) / (1.0 + power)


def difference(own: float, rival: float) -> float:
    return 0.0 if own == rival else own - rival


def margins(task: str, row: list[float], mark: int) -> list[float]:
    if task == "binary":
        return [row[0] if mark else -row[0]]
    if task == "one-vs-all":
        return [score if c == mark else -score for c, score in enumerate(row)]
    others = row[:mark] + row[mark + 1 :]
    nan = any(math.isnan(score) for score in others)
    return [difference(row[mark], math.nan if nan else max(others))]


def loss(margin: float, squared: bool) -> float:
    short = 1.0 - margin
    value = short if not short <= 0.0 else 0.0
    return value * value if squared else value


def oracle(call: HingeCall) -> tuple[np.ndarray, list[int], list[tuple[int, int]]]:
    """What the call adds to state and events, and the bad labels as ``(value, index)``."""
    count, logits = call.readings
    multiclass = call.task != "binary"
    width = call.preds.shape[1] if multiclass else 1
    losses = width if call.task == "one-vs-all" else 1
    amounts = oracles.amounts(call.weight, call.target.shape[0])
    marks, scores = call.target.to(torch.int64), call.preds.to(torch.float64)
    terms: list[list[list[float]]] = [[[] for _ in range(losses + 1)] for _ in range(count)]
    events, bad = [0, 0, 0], []
    for index, where in enumerate(np.ndindex(*call.target.shape)):
        mark = int(marks[where])
        if oracles.is_ignored(mark, call.ignore_index):
            continue
        if not 0 <= mark < (width if multiclass else 2):
            bad.append((mark, index))
            continue
        place = (where[0], slice(None), *where[1:]) if multiclass else where
        row = scores[place].tolist() if multiclass else [float(scores[place])]
        events[1] += any(math.isnan(score) for score in row)
        events[2] += sum(score < 0 or score > 1 for score in row) if count == 2 else 0
        amount = amounts[where[0]]
        for reading in range(count):
            values = row
            if reading == 1 if count == 2 else logits:
                values = softmax(row, False) if multiclass else [sigmoid(row[0])]
            found = [loss(margin, call.squared) for margin in margins(call.task, values, mark)]
            for column, value in enumerate(found):
                terms[reading][column].append(amount * value if amount else 0.0)
            terms[reading][losses].append(amount)
    delta = [[_sum(column) for column in row] for row in terms]
    return np.array(delta).reshape(count, losses + 1), events, bad


def _sum(terms: list[float]) -> float:
    if all(math.isfinite(term) for term in terms):
        return math.fsum(terms)
    return sum(terms)


def check(call: HingeCall) -> None:
    """Every implementation adds what the oracle says, or refuses with its words."""
    delta, events, bad = oracle(call)
    for name, implementation in cases.implementations(OP).items():
        arguments = call.arguments()
        state, counters = arguments[:2]
        if bad and call.validate:
            limit = 2 if call.task == "binary" else call.preds.shape[1]
            allowed = f"lie in [0, {limit})"
            if call.ignore_index is not None:
                allowed += f" or equal ignore_index={call.ignore_index}"
            text = f"{OP}: `target` must {allowed}, got {bad[0][0]} at flat index {bad[0][1]}."
            with pytest.raises(RuntimeError) as caught:
                implementation(*arguments)
            assert str(caught.value) == text, name
            assert (state == START).all() and counters.tolist() == [3, 5, 7], name
            continue
        implementation(*arguments)
        expected = torch.from_numpy(delta) + START
        torch.testing.assert_close(
            state, expected, rtol=1e-13, atol=1e-12, equal_nan=True, msg=f"{name}: {{}}".format
        )
        assert (counters - torch.tensor([3, 5, 7])).tolist() == events, name


def inputs(task, shape, classes=3, dtype=torch.float32, seed=0, **options):
    kind = "binary" if task == "binary" else "multiclass"
    return histogram_inputs(kind, shape, classes, dtype, seed, **options)


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("readings", READINGS)
def test_readings_and_squares(task, readings):
    for squared in (False, True):
        for shape in ((9,), (4, 3), (3, 2, 2)):
            check(HingeCall(task, *inputs(task, shape), squared, readings))
            check(HingeCall(task, *inputs(task, shape, inside=True), squared, readings))


@pytest.mark.parametrize("task", TASKS)
def test_sizes(task):
    for size in SIZES:
        check(HingeCall(task, *inputs(task, (size,), seed=size)))


@pytest.mark.parametrize("classes", [2, 5, 8, 9, 16, 17, 33, 1030])
def test_numbers_of_classes(classes):
    for task in TASKS[1:]:
        preds, target = inputs(task, (7,), classes, special=0.02)
        check(HingeCall(task, preds, target))
        target[:] = torch.tensor([0, classes - 1, classes // 2, 1, classes - 2, 0, 1])
        check(HingeCall(task, preds, target))


@pytest.mark.smoke
@pytest.mark.parametrize("target_dtype", LABEL_DTYPES)
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_dtypes(dtype, target_dtype):
    for task in TASKS:
        for shape in ((37,), (5, 4)):
            preds, target = inputs(task, shape, 2, dtype, target_dtype=target_dtype)
            check(HingeCall(task, preds, target))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize("task", TASKS)
def test_nan_and_infinities(task, dtype):
    """Few enough that many sums stay numbers, each sample alone and all together."""
    preds, target = inputs(task, (60,), 3, dtype, special=0.1)
    for readings in READINGS:
        for i in range(60):
            check(HingeCall(task, preds[i : i + 1], target[i : i + 1], readings=readings))
        check(HingeCall(task, preds, target, readings=readings))


@pytest.mark.smoke
def test_large_logits_do_not_saturate_the_other_way():
    preds = torch.tensor([800.0, -800.0, 40.0, -40.0, 0.0, -0.0])
    for mark in (0, 1):
        target = torch.full((6,), mark)
        for dtype in SCORE_DTYPES:
            check(HingeCall("binary", preds.to(dtype), target, readings=(1, True)))
    rows = [[800.0, 0.0, -800.0], [0.0, 800.0, 800.0], [-800.0] * 3]
    for task in TASKS[1:]:
        for mark in range(3):
            check(HingeCall(task, torch.tensor(rows), torch.full((3,), mark), readings=(1, True)))


@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_layouts(preds_layout, target_layout):
    for task in TASKS:
        for shape in ((40,), (4, 3), (3, 2, 5)):
            preds, target = inputs(task, shape, 4, torch.float16, seed=7)
            preds, target = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
            check(HingeCall(task, preds, target))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("task", TASKS)
def test_weights(task, dtype):
    rng = np.random.default_rng(13)
    for shape in ((71,), (19, 4)):
        preds, target = inputs(task, shape, seed=13)
        target.view(-1)[::5] = -1
        weight = cases.random_weights(shape[0], dtype, rng)
        for layout in ("contiguous", "strided", "repeated_rows"):
            check(HingeCall(task, preds, target, weight=LAYOUTS[layout](weight), ignore_index=-1))


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_a_weight_of_zero_leaves_a_sample_out_whatever_its_scores(task):
    preds, target = inputs(task, (3,))
    preds[1] = math.nan
    check(HingeCall(task, preds, target, weight=torch.tensor([1.0, 0.0, 2.0])))


@pytest.mark.smoke
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("value", [-1, 3, 256, 2**31, 2**32 + 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("task", TASKS)
def test_wrong_labels(task, value, validate):
    preds, target = inputs(task, (9, 2), inside=True)
    target.view(-1)[-3] = value
    for ignore_index in (None, 1, value):
        check(HingeCall(task, preds, target, ignore_index=ignore_index, validate=validate))


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_everything_ignored(task):
    preds, target = inputs(task, (9,))
    check(HingeCall(task, preds, torch.full_like(target, 7), ignore_index=7))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_same_bits_for_any_number_of_threads(native, task, weighted):
    preds, target = torch.randn(60_003, *(() if task == "binary" else (5,))), None
    target = torch.randint(0, 2 if task == "binary" else 5, (60_003,))
    weight = torch.rand(60_003) if weighted else None
    results = []
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        arguments = HingeCall(task, preds, target, weight=weight).arguments()
        cases.native_op(OP)(*arguments)
        results.append(arguments[0])
    for state in results[1:]:
        assert torch.equal(state.view(torch.int64), results[0].view(torch.int64))
    arguments = HingeCall(task, preds, target, weight=weight).arguments()
    cases.implementations(OP)["reference"](*arguments)
    torch.testing.assert_close(results[0], arguments[0], rtol=1e-11, atol=0)


def random_call(seed: int) -> HingeCall:
    rng = np.random.default_rng(seed)

    def pick(values):
        return values[rng.integers(len(values))]

    task = pick(TASKS)
    shape = (int(pick((1, 5, 33, 70))), *pick(((), (), (1,), (20,), (2, 3))))
    preds, target = inputs(
        task,
        shape,
        int(pick((2, 3, 17))),
        pick(SCORE_DTYPES),
        seed,
        target_dtype=pick(LABEL_DTYPES),
        special=float(pick((0, 0, 0.01))),
        inside=bool(rng.random() < 0.4),
    )
    weight = pick((None, None, pick(WEIGHT_DTYPES)))
    if weight is not None:
        weight = cases.random_weights(shape[0], weight, rng)
    return HingeCall(
        task,
        LAYOUTS[pick(list(LAYOUTS))](preds),
        LAYOUTS[pick(list(LAYOUTS))](target),
        bool(rng.random() < 0.5),
        READINGS[rng.integers(3)],
        weight,
        pick((None, None, 0, 1, -1, 255)),
        bool(rng.random() < 0.6),
    )


def test_random_calls():
    for seed in range(60):
        check(random_call(seed))


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(30))
def test_many_random_calls(block):
    for seed in range(1000 + block * 100, 1100 + block * 100):
        check(random_call(seed))


@pytest.mark.parametrize("task", TASKS)
def test_opcheck(task):
    preds, target = inputs(task, (6,))
    for weight in (None, torch.rand(6)):
        call = HingeCall(task, preds.requires_grad_(), target, weight=weight)
        torch.library.opcheck(cases.native_op(OP), call.arguments(), test_utils=TESTS)


def call_op(preds, target, multiclass=False, weight=None, state=None):
    if state is None:
        state = torch.zeros(1, 2, dtype=torch.float64)
    ops.hinge_sums_(state, new_events(), preds, target, multiclass, weight=weight)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(preds=torch.zeros(3, dtype=torch.int64)), "`preds` must be a float tensor"),
        (dict(preds=torch.zeros(4)), "the same shape"),
        (dict(target=torch.zeros(3)), "`target` must be an integer or bool tensor"),
        (dict(preds=torch.tensor(0.5), target=torch.tensor(1)), "at least one axis"),
        (dict(multiclass=True), r"must have shape \(N, C, ...\) with `target` \(N, ...\)"),
        (dict(multiclass=True, preds=torch.zeros(3, 1)), "two classes or more"),
        (
            dict(
                multiclass=True,
                preds=torch.zeros(3, 4),
                state=torch.zeros(1, 6, dtype=torch.float64),
            ),
            "with C=5",
        ),
        (dict(weight=torch.ones(2)), "`weight` must have one entry per sample"),
        (dict(state=torch.zeros(1, 2)), "must be float64"),
    ],
)
def test_metadata_is_checked(arguments, text):
    with pytest.raises(ValueError, match=text):
        call_op(
            **{"preds": torch.zeros(3), "target": torch.zeros(3, dtype=torch.int64), **arguments}
        )


def test_direct_calls_stay_in_bounds(native):
    """What the Python checks cannot see the kernel refuses."""
    op = cases.native_op(OP)
    rows, target = torch.rand(9, 4), torch.zeros(9, dtype=torch.int64)
    for shape in ((2,), (3, 2), (1, 1), (1, 4), (1, 6), (0, 2)):
        state = torch.zeros(shape, dtype=torch.float64)
        with pytest.raises((ValueError, RuntimeError)):
            op(state, new_events(), rows, target, True, False, False, None, None, True)
    for shape in ((2,), (3, 2), (1, 1), (1, 3)):
        state = torch.zeros(shape, dtype=torch.float64)
        with pytest.raises((ValueError, RuntimeError)):
            op(state, new_events(), rows[:, 0], target, False, False, False, None, None, True)
