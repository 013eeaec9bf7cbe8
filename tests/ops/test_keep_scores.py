"""keep_scores_: every implementation against copies made one position at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode

from fastmetrics import ops
from fastmetrics.ops.faults import new_events
from fastmetrics.ops.keep_scores import label_dtype
from tests.ops.cases import (
    LABEL_DTYPES,
    LAYOUTS,
    SCORE_DTYPES,
    SIZES,
    WEIGHT_DTYPES,
    implementations,
    native_op,
    random_weights,
)
from tests.ops.cases_histogram import TASKS, histogram_inputs

OP = "keep_scores_"
FILLER = 7  # what the buffers hold before


@dataclass
class Keep:
    """One call; `room` rows are left after the batch."""

    task: str
    preds: Tensor
    target: Tensor
    weight: Tensor | None = None
    start: int = 3
    room: int = 2
    keeps_weights: bool = False
    ignore_index: int | None = None
    validate: bool = True

    @property
    def columns(self) -> int:
        return 1 if self.task == "binary" else self.preds.shape[1]

    @property
    def multiclass(self) -> bool:
        return self.task == "multiclass"

    def arguments(self) -> list[Any]:
        rows = self.target.numel() // (1 if self.multiclass else self.columns)
        size = self.start + rows + self.room
        dtype = label_dtype(self.columns, self.multiclass)
        shape = (size,) if self.multiclass else (size, self.columns)
        keeps_weights = self.keeps_weights or self.weight is not None
        return [
            torch.full((size, self.columns), FILLER, dtype=self.preds.dtype),
            torch.tensor([3, 5, 7]),
            self.preds,
            self.target,
            self.weight,
            torch.full(shape, FILLER, dtype=dtype),
            torch.full((size,), FILLER, dtype=torch.float64) if keeps_weights else None,
            self.start,
            self.multiclass,
            self.ignore_index,
            self.validate,
        ]

    def __repr__(self) -> str:
        preds, target = self.preds, self.target
        return (
            f"{self.task} preds {preds.dtype}{tuple(preds.shape)} strides {preds.stride()}, target"
            f" {target.dtype}{tuple(target.shape)} strides {target.stride()}, ignore_index"
            f" {self.ignore_index}, validate {self.validate}, weight"
            f" {None if self.weight is None else self.weight.dtype}"
        )


def code_of(mark: int, limit: int, ignore_index: int | None) -> int | None:
    """The label that is kept; None where it is out of range."""
    if mark == ignore_index:
        return -1
    return mark if 0 <= mark < limit else None


def oracle(call: Keep) -> tuple[list[Any], list[tuple[int, int]]]:
    """The buffers and events after the call, written position by position, and the bad labels."""
    arguments = call.arguments()
    state, events, labels, weights = (arguments[i] for i in (0, 1, 5, 6))
    limit = call.columns if call.multiclass else 2
    left_out = 255 if labels.dtype == torch.uint8 else -1
    has_axis = not call.multiclass and call.columns > 1
    scores, marks = call.preds.double().flatten().tolist(), call.target.flatten().tolist()
    preds_places = np.arange(len(scores)).reshape(call.preds.shape)
    target_places = np.arange(len(marks)).reshape(call.target.shape)
    positions = call.target.shape[:1] + call.target.shape[2:] if has_axis else call.target.shape
    bad, sources, codes, samples = [], [], [], []
    for where in np.ndindex(*positions):
        outside = nan = 0
        for column in range(call.columns):
            at = (where[0], column, *where[1:])
            source = preds_places[at if call.multiclass or has_axis else where]
            place = target_places[at if has_axis else where]
            code = code_of(int(marks[place]), limit, call.ignore_index)
            if code is None:
                bad.append((int(place), int(marks[place])))
            elif code >= 0:
                nan += math.isnan(scores[source])
                outside += scores[source] < 0 or scores[source] > 1
            sources.append(source)
            if column == 0 or not call.multiclass:
                codes.append(left_out if code is None or code < 0 else code)
        events[1] += min(nan, 1) if call.multiclass else nan
        events[2] += int(outside)
        samples.append(where[0])
    end = call.start + len(samples)
    state[call.start : end] = call.preds.flatten()[sources].view(-1, call.columns)
    labels[call.start : end] = torch.tensor(codes, dtype=labels.dtype).view_as(
        labels[call.start : end]
    )
    if weights is not None:
        given = torch.ones(len(call.target)) if call.weight is None else call.weight
        weights[call.start : end] = given.double()[samples]
    return [state, events, labels, weights], sorted(set(bad))


def same_bits(actual: Tensor, expected: Tensor) -> bool:
    if not actual.is_floating_point():
        return torch.equal(actual, expected)
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[actual.element_size()]
    return torch.equal(actual.view(whole), expected.view(whole))


def check(call: Keep) -> list[tuple[int, int]]:
    """Every implementation writes what the oracle writes, or refuses in the same words."""
    expected, bad = oracle(call)
    for name, implementation in implementations(OP).items():
        arguments = call.arguments()
        if bad and call.validate:
            limit = call.columns if call.multiclass else 2
            allowed = f"must lie in [0, {limit})"
            if call.ignore_index is not None:
                allowed += f" or equal ignore_index={call.ignore_index}"
            text = f"{OP}: `target` {allowed}, got {bad[0][1]} at flat index {bad[0][0]}."
            with pytest.raises(RuntimeError) as caught:
                implementation(*arguments)
            assert str(caught.value) == text, (name, call)
            assert arguments[1].tolist() == [3, 5, 7], (name, call)
            assert (arguments[0][: call.start] == FILLER).all(), (name, call)
            assert (arguments[5][: call.start] == FILLER).all(), (name, call)
            continue
        implementation(*arguments)
        actual = [arguments[i] for i in (0, 1, 5, 6)]
        for what, one, other in zip(
            ("scores", "events", "labels", "weights"), actual, expected, strict=True
        ):
            assert (one is None) == (other is None)
            assert one is None or same_bits(one, other), (what, name, call, one, other)
    return bad


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_sizes(task):
    for size in SIZES:
        if size < 2000 or task == "binary":
            preds, target = histogram_inputs(task, (size,), 3, torch.float32, size)
            check(Keep(task, preds, target, ignore_index=1))


@pytest.mark.parametrize("task", TASKS[1:])
@pytest.mark.parametrize("num_classes", [1, 2, 16, 33])
def test_numbers_of_classes(task, num_classes):
    for shape in ((9,), (3, 2, 3)):
        preds, target = histogram_inputs(task, shape, num_classes, torch.float32, 1, special=0.02)
        target.view(-1)[::3] = -1
        check(Keep(task, preds, target, ignore_index=-1))


@pytest.mark.parametrize("num_classes", [254, 255, 256, 257, 2100])
def test_labels_take_a_byte_while_they_fit(num_classes):
    preds = torch.rand(5, num_classes)
    target = torch.tensor([0, num_classes - 1, -1, min(254, num_classes - 1), num_classes - 2])
    call = Keep("multiclass", preds, target, ignore_index=-1)
    assert call.arguments()[5].dtype == (torch.uint8 if num_classes <= 255 else torch.int32)
    check(call)


@pytest.mark.smoke
@pytest.mark.parametrize("target_dtype", LABEL_DTYPES)
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_dtypes(dtype, target_dtype):
    for task in TASKS:
        for shape in ((37,), (5, 3)):
            preds, target = histogram_inputs(task, shape, 2, dtype, 3, target_dtype, special=0.3)
            for ignore_index in (None, 1):
                check(Keep(task, preds, target, ignore_index=ignore_index))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_small_float(dtype):
    """All 65536 values of the 16-bit types are kept bit by bit, and told apart."""
    preds = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    target = torch.ones(len(preds), dtype=torch.int8)
    for name, implementation in implementations(OP).items():
        for shape in ((-1, 1), (-1, 8)):
            state = torch.zeros(len(preds), 1, dtype=dtype).view(shape)
            labels, events = torch.zeros(state.shape, dtype=torch.uint8), new_events()
            scores, marks = preds.view(shape), target.view(shape)
            implementation(state, events, scores, marks, None, labels, None, 0, False, None, True)
            assert same_bits(state, scores), name
            outside = ((preds < 0) | (preds > 1)).sum()
            assert events.tolist() == [0, preds.isnan().sum(), outside], name


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_nan_and_infinities(dtype):
    """What is left out raises no event; rows with several NaN count once."""
    for task in TASKS:
        preds, target = histogram_inputs(task, (130,), 4, dtype, 5, special=0.3)
        check(Keep(task, preds, target))
        target.view(-1)[::5] = -1
        check(Keep(task, preds, target, ignore_index=-1))


@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_layouts(preds_layout, target_layout):
    for task in TASKS:
        for shape in ((40,), (4, 3), (3, 2, 5)):
            preds, target = histogram_inputs(task, shape, 3, torch.float32, seed=7)
            check(Keep(task, LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_weights(dtype):
    rng = np.random.default_rng(13)
    for task in TASKS:
        for shape in ((31,), (9, 4)):
            preds, target = histogram_inputs(task, shape, 2, torch.float32, 13)
            weight = random_weights(shape[0], dtype, rng)
            for layout in ("contiguous", "strided", "repeated_rows"):
                check(Keep(task, preds, target, LAYOUTS[layout](weight)))
            check(Keep(task, preds, target, keeps_weights=True))


@pytest.mark.smoke
@pytest.mark.parametrize("shape", [(0,), (0, 2), (3, 0)])
@pytest.mark.parametrize("task", TASKS)
def test_empty_inputs_keep_nothing(task, shape):
    preds, target = histogram_inputs(task, shape, 3, torch.float32, 0)
    for weight in (None, torch.ones(shape[0])):
        check(Keep(task, preds, target, weight))


@pytest.mark.smoke
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("value", [-1, 3, 255, 256, 2**31, 2**32 + 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("task", TASKS)
def test_wrong_labels(task, value, validate):
    """Left out like ignored ones, and ignored ones may be anything."""
    preds, target = histogram_inputs(task, (40, 2), 3, torch.float32, 1)
    target.view(-1)[-3] = value
    for ignore_index in (None, 1, value):
        bad = check(Keep(task, preds, target, ignore_index=ignore_index, validate=validate))
        assert bool(bad) == (ignore_index != value)


@pytest.mark.parametrize("task", TASKS)
def test_same_rows_for_any_number_of_threads(native, task):
    shape = (50_001, 3) if task == "binary" else (50_001,)
    preds, target = histogram_inputs(task, shape, 4, torch.float32, 3, special=0.1)
    target.view(-1)[::7] = -1
    call = Keep(task, preds, target, torch.rand(len(preds)), ignore_index=-1)
    expected = call.arguments()
    implementations(OP)["reference"](*expected)
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        actual = call.arguments()
        native_op(OP)(*actual)
        for index in (0, 1, 5, 6):
            assert same_bits(actual[index], expected[index]), (threads, index)


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_batches_follow_one_another(task):
    """Any split writes the rows of the whole, and touches no other."""
    preds, target = histogram_inputs(task, (60, 2), 3, torch.float32, 9, special=0.1)
    whole = Keep(task, preds, target, torch.arange(60.0), start=0, room=5)
    for implementation in implementations(OP).values():
        expected, actual = whole.arguments(), whole.arguments()
        implementation(*expected)
        start = 0
        for size in (1, 0, 30, 17, 12):
            part = slice(start // 2, start // 2 + size)
            batch = (preds[part], target[part], torch.arange(60.0)[part])
            implementation(*actual[:2], *batch, *actual[5:7], start, *actual[8:])
            start += 2 * size
        for index in (0, 1, 5, 6):
            assert same_bits(actual[index], expected[index])


def random_call(seed):
    """Everything drawn at random, including labels out of range."""
    rng = np.random.default_rng(seed)

    def pick(values):
        return values[rng.integers(len(values))]

    task = pick(TASKS)
    shape = (int(pick((1, 5, 33))), *pick(((), (), (1,), (7,), (2, 3))))
    dtype, target_dtype = pick(SCORE_DTYPES), pick(LABEL_DTYPES)
    special = float(pick((0, 0, 0.2)))
    num_classes = int(pick((2, 3, 17)))
    preds, target = histogram_inputs(task, shape, num_classes, dtype, seed, target_dtype, special)
    if rng.random() < 0.3:
        target[torch.from_numpy(rng.random(tuple(target.shape)) < 0.02)] = pick((-1, 100, 2)) % 127
    weight = pick((None, None, pick(WEIGHT_DTYPES)))
    if weight is not None:
        weight = random_weights(shape[0], weight, rng)
    return Keep(
        task,
        LAYOUTS[pick(list(LAYOUTS))](preds),
        LAYOUTS[pick(list(LAYOUTS))](target),
        weight,
        start=int(pick((0, 1, 64))),
        keeps_weights=bool(rng.random() < 0.3),
        ignore_index=pick((None, None, 0, 1, -1, 255)),
        validate=bool(rng.random() < 0.6),
    )


@pytest.mark.parametrize("block", range(2))
def test_random_calls(block):
    for seed in range(block * 50, (block + 1) * 50):
        check(random_call(seed))


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(2, 20))
def test_many_random_calls(block):
    for seed in range(block * 100, (block + 1) * 100):
        check(random_call(seed))


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_opcheck(task):
    for dtype in (torch.float32, torch.bfloat16):
        preds, target = histogram_inputs(task, (4, 3), 3, dtype, 1)
        for weight in (None, torch.rand(4)):
            for scores in (preds, preds.clone().requires_grad_()):
                call = Keep(task, scores.detach(), target, weight, ignore_index=1)
                arguments = call.arguments()
                arguments[2] = scores
                torch.library.opcheck(native_op(OP), tuple(arguments))


def test_compiled_steps_with_another_start_do_not_compile_again():
    """`start` is an integer that graphs take as an input."""
    counter = CompileCounterWithBackend("aot_eager")
    call = Keep("binary", torch.rand(4), torch.tensor([0, 1, 1, 0]), start=0, room=60)
    state, events, preds, target, _, labels, *_ = call.arguments()

    @torch.compile(backend=counter, fullgraph=True)
    def step(start):
        ops.keep_scores_(state, events, preds, target, None, labels, None, start)

    for start in (4, 8, 12, 16, 40):
        step(start)
        assert torch.equal(state[start : start + 4, 0], preds)
    assert counter.frame_count <= 2  # once for one number, once for any


RULES = [
    (dict(preds=torch.zeros(3, dtype=torch.int64)), "`preds` must be a float tensor"),
    (dict(preds=torch.zeros(3).double()), "the dtype of the scores kept before, torch.float32"),
    (dict(preds=torch.zeros(4)), "the same shape"),
    (dict(target=torch.zeros(3)), "`target` must be an integer or bool tensor"),
    (dict(preds=torch.tensor(0.5), target=torch.tensor(1)), "at least one axis"),
    (dict(state=torch.zeros(9)), r"must be contiguous \[R, C\], got \(9,\)"),
    (dict(state=torch.zeros(9, 0)), r"must be contiguous \[R, C\], got \(9, 0\)"),
    (dict(state=torch.zeros(9, 2)[:, :1]), r"must be contiguous \[R, C\]"),
    (dict(state=torch.zeros(9, 2), labels=torch.zeros(9, 2).byte()), r"\(N, L, ...\) with L=2"),
    (dict(multiclass=True), r"must have shape \(N, C, ...\) with `target` \(N, ...\)"),
    (dict(multiclass=True, preds=torch.zeros(3, 4)), "with C=1"),
    (dict(labels=torch.zeros(8, 1).byte()), r"`labels` must be contiguous, of shape \(9, 1\)"),
    (dict(labels=torch.zeros(9).byte()), r"`labels` must be contiguous, of shape \(9, 1\)"),
    (dict(labels=torch.zeros(9, 1).int()), "`labels` must have dtype torch.uint8"),
    (dict(weight=torch.ones(3)), "`weight` needs the buffer `weights`"),
    (dict(weights=torch.ones(9)), "`weights` must be float64"),
    (dict(weights=torch.ones(8).double()), r"`weights` must be contiguous, of shape \(9,\)"),
    (dict(weights=torch.ones(18).double()[::2]), r"`weights` must be contiguous"),
    (dict(weight=torch.ones(2), weights=torch.ones(9).double()), "one entry per sample"),
    (dict(start=7), "3 rows from `start`=7 on do not fit 9 kept rows"),
    (dict(start=-1), "3 rows from `start`=-1 on do not fit 9 kept rows"),
    (dict(start=2**63 - 2), "do not fit 9 kept rows"),
]


def rule_arguments(changes):
    return {
        "state": torch.zeros(9, 1),
        "events": new_events(),
        "preds": torch.zeros(3),
        "target": torch.zeros(3, dtype=torch.int64),
        "weight": None,
        "labels": torch.zeros(9, 1, dtype=torch.uint8),
        "weights": None,
        "start": 6,
        "multiclass": False,
        "ignore_index": None,
        "validate": True,
    } | changes


@pytest.mark.smoke
@pytest.mark.parametrize(("changes", "text"), RULES)
def test_metadata_is_checked(changes, text):
    arguments = rule_arguments(changes)
    with pytest.raises(ValueError, match=text):
        ops.keep_scores_(**arguments)
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(ValueError, match=text):
        native_op(OP)(*arguments.values())


@pytest.mark.parametrize("changes", [changes for changes, _ in RULES])
def test_the_kernel_guards_its_memory(native, changes):
    """Called directly, past the metadata check, it refuses what would leave its memory."""
    arguments = rule_arguments(changes)
    with pytest.raises((ValueError, RuntimeError)):
        native_op(OP)(*arguments.values())
    assert not arguments["state"].any()
    assert not arguments["labels"].any()


def test_the_last_rows_may_be_filled():
    ops.keep_scores_(**rule_arguments({}))
