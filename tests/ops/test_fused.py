"""fused_: as the separate ops, or nothing at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from fastmetrics.ops import fused_
from fastmetrics.ops.define import REFERENCES
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
from fastmetrics.ops.fusible import (
    ABSENT,
    EDGES,
    FAMILIES,
    FLAG,
    INT,
    NUMBER,
    OPTIONAL_INT,
    code_of,
)
from tests.ops.cases import LAYOUTS, has_native, native_op

OP = "fused_"
INVALID_LABEL = 7
TASKS = ("classes", "predicted classes", "binary", "labels", "numbers", "outputs")
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# One part, several blocks, several parts; around the sizes of blocks.
SIZES = (0, 1, 63, 1025, 3000, 30011)


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
    pairs = [(Update("co_moments_", ()), (1, 12))] if plain else []
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
                (Update("co_moments_", ()), (width, 12)),
            ]
        return found
    outputs = width if task == "outputs" else 1
    deviances = [errors(DEVIANCE | SQUARED, power=1.5), errors(DEVIANCE, power=3.0)]
    return [
        *((update, (outputs, num_columns(update.arguments[0]))) for update in deviances),
        (errors(SQUARED | ABSOLUTE | MAGNITUDE), (outputs, 4)),
        *([(Update("co_moments_", ()), (width, 12))] if task == "outputs" else pairs + whole),
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


class Batch:
    """Inputs, and updates with states that are not empty: all of the menu, or those ``chosen``."""

    def __init__(self, task, size, width, depth, dtype, weighted, ignore, chosen, seed):
        rng = np.random.default_rng(seed)
        self.preds, self.target = inputs_of(task, size, width, depth, dtype, rng)
        self.weight = torch.from_numpy(rng.uniform(0, 2, size)) if weighted else None
        if task not in ("numbers", "outputs") and ignore is not None:
            self.target[torch.from_numpy(rng.random(self.target.shape) < 0.1)] = ignore
        found = menu(task, width, ignore, plain=self.preds.ndim == (2 if task == "labels" else 1))
        rows = found if chosen is None else [found[i % len(found)] for i in chosen]
        self.updates = [update for update, _ in rows]
        self.states = [self.start(*row) for row in rows]
        self.events = [
            torch.tensor([0, 5, 7]) for update in self.updates if FAMILIES[update.op].has_events
        ]

    def start(self, update: Update, shape: tuple[int, ...]) -> Tensor:
        counts = update.op not in ("calibration_bins_", "error_sums_", "co_moments_")
        kind = torch.int64 if counts and self.weight is None else torch.float64
        # Moments are not just any numbers.
        first = 0 if update.op == "co_moments_" else 3
        return torch.full(shape, first, dtype=kind)

    def separately(self) -> tuple[list[Tensor], list[Tensor]]:
        """States and events after one call of each op."""
        states, events = [s.clone() for s in self.states], [e.clone() for e in self.events]
        left = iter(events)
        for update, state in zip(self.updates, states, strict=True):
            own = [next(left)] if FAMILIES[update.op].has_events else []
            native_op(update.op)(
                state, *own, self.preds, self.target, self.weight, *update.arguments
            )
        return states, events

    def together(self, run=None) -> tuple[list[Tensor], list[Tensor]]:
        states, events = [s.clone() for s in self.states], [e.clone() for e in self.events]
        program = FusedCall(self.updates)
        if run is None:
            program.run(states, events, self.preds, self.target, self.weight)
        else:
            run(*self.arguments(states, events))
        return states, events

    def arguments(self, states, events):
        program = FusedCall(self.updates)
        return (
            states, events, program.edges, self.preds, self.target, self.weight,
            program.program, program.numbers,
        )  # fmt: skip

    def check(self) -> None:
        self.check_kernel()
        self.compare(self.together(REFERENCES[OP]), 1e-9)

    def check_kernel(self) -> None:
        self.compare(self.together(), 1e-12)

    def compare(self, found: tuple[list[Tensor], list[Tensor]], tolerance: float) -> None:
        atol = tolerance * (1 + self.preds.numel())
        for got, wanted in zip(found, self.separately(), strict=True):
            for one, other in zip(got, wanted, strict=True):
                if one.dtype == torch.int64:
                    assert torch.equal(one, other)
                else:
                    torch.testing.assert_close(
                        one, other, rtol=tolerance, atol=atol, equal_nan=True
                    )


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def everything(task, size=500, width=4, depth=0, weighted=False, ignore=None, dtype=torch.float32):
    return Batch(task, size, width, depth, dtype, weighted, ignore, None, seed=1)


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@given(
    task=st.sampled_from(TASKS),
    size=st.sampled_from(SIZES),
    width=st.integers(2, 20),
    depth=st.sampled_from((0, 0, 2)),
    dtype=st.sampled_from(FLOATS),
    weighted=st.booleans(),
    ignore=st.sampled_from((None, -1, 1)),
    chosen=st.lists(st.integers(0, 20), min_size=1, max_size=5),
    layout=st.sampled_from(sorted(LAYOUTS)),
)
def test_random_programs(task, size, width, depth, dtype, weighted, ignore, chosen, layout):
    batch = Batch(task, size, width, depth, dtype, weighted, ignore, chosen, seed=size)
    if size and layout not in ("repeated_rows", "repeated_last"):
        batch.preds, batch.target = LAYOUTS[layout](batch.preds), LAYOUTS[layout](batch.target)
    batch.check()


@pytest.mark.smoke
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_everything_of_a_task(task, weighted):
    everything(task, weighted=weighted, ignore=1).check()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_several_parts(task, weighted, two_threads):
    everything(task, size=70_001, width=5, weighted=weighted).check_kernel()


@pytest.mark.parametrize("task", ["classes", "binary", "labels", "numbers", "outputs"])
def test_nan_and_infinities(task):
    batch = everything(task, size=2000)
    batch.preds.view(-1)[::97] = torch.nan
    batch.preds.view(-1)[1::101] = torch.inf
    if task not in ("numbers", "outputs"):  # there it lies outside the domain of the deviances
        batch.preds.view(-1)[2::103] = -torch.inf
    batch.check_kernel()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32])
def test_types_of_the_target(dtype):
    for task in ("classes", "binary"):
        batch = everything(task, width=2)
        batch.target = batch.target.to(dtype)
        batch.check()


@pytest.mark.parametrize("task", TASKS)
def test_bits_do_not_depend_on_threads(task):
    batch = everything(task, size=60_001, weighted=True)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(batch.together())
    torch.set_num_threads(before)
    for states, events in results[1:]:
        assert all(map(torch.equal, states, results[0][0]))
        assert all(map(torch.equal, events, results[0][1]))


@pytest.mark.parametrize("task", ["classes", "predicted classes", "binary", "labels"])
def test_a_bad_label_changes_nothing(task):
    for size in (40, 70_000):
        batch = everything(task, size=size)
        batch.target.view(-1)[size - 3] = INVALID_LABEL
        with pytest.raises(RuntimeError, match=f"got {INVALID_LABEL} at flat index {size - 3}"):
            batch.separately()
        for run in (None, REFERENCES[OP]):
            states, events = [s.clone() for s in batch.states], [e.clone() for e in batch.events]
            arguments = batch.arguments(states, events)
            with pytest.raises(
                RuntimeError, match=f"_: `target` must lie in .* got {INVALID_LABEL}"
            ):
                (run or fused_)(*arguments)
            assert all(map(torch.equal, states, batch.states))
            assert all(map(torch.equal, events, batch.events))


def test_a_missing_deviance_changes_nothing():
    batch = everything("numbers")
    batch.preds[7] = -2.0
    states = [state.clone() for state in batch.states]
    with pytest.raises(ValueError, match=r"error_sums_: .* got -2\.0 and .* at flat index 7"):
        FusedCall(batch.updates).run(states, [], batch.preds, batch.target, None)
    assert all(map(torch.equal, states, batch.states))


def test_unchecked_labels_are_left_out():
    batch = everything("binary")
    batch.updates = [
        update._replace(arguments=(*update.arguments[:-1], False))
        if FAMILIES[update.op].has_events
        else update
        for update in batch.updates
    ]
    batch.target[5] = INVALID_LABEL
    batch.check()


@pytest.mark.smoke
def test_words_of_refusals():
    batch = everything("classes")
    state, events = torch.zeros(4, 4, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    program = FusedCall([Update("confusion_", (None, True))])
    with pytest.raises(ValueError, match=r"confusion_: `preds` must have shape \(N, C"):
        program.run(
            [torch.zeros(5, 5, dtype=torch.int64)], [events], batch.preds, batch.target, None
        )
    with pytest.raises(ValueError, match="confusion_: a weighted update needs a float64 state"):
        program.run([state], [events], batch.preds, batch.target, torch.ones(500))
    with pytest.raises(ValueError, match="do not fit each other, got 1, 0, 0"):
        program.run([state], [], batch.preds, batch.target, None)
    with pytest.raises(ValueError, match="do not fit each other, got 2, 1, 0"):
        program.run([state, state], [events], batch.preds, batch.target, None)
    with pytest.raises(ValueError, match="do not fit each other"):
        fused_([state], [events], [], batch.preds, batch.target, None, [99], [])
    for op, arguments, shape in (
        ("stat_scores_", (4, 1, None, True), (500, 4, 4)),
        ("label_confusion_", (None, 0.5, False, None, True), (500, 1, 1, 2, 2)),
    ):
        each = torch.zeros(shape, dtype=torch.int64)
        with pytest.raises(ValueError, match=f"{op} cannot be fused when it counts each sample"):
            FusedCall([Update(op, arguments)]).run(
                [each], [events], batch.target, batch.target, None
            )
    with pytest.raises(ValueError, match=r"`op` must be one of .*, got 'aggregate_'"):
        FusedCall([Update("aggregate_", ())])
    with pytest.raises(ValueError, match="confusion_ takes 2 `arguments` after `weight`, got 3"):
        FusedCall([Update("confusion_", (None, True, 1))])
    with pytest.raises(ValueError, match="label_confusion_ cannot be fused with groups"):
        FusedCall([Update("label_confusion_", (batch.target, 0.5, False, None, True))])


@pytest.mark.smoke
def test_families():
    """What follows from the schemas, and a code for each name that C++ works out as well."""
    tables, errors = FAMILIES["label_confusion_"], FAMILIES["error_sums_"]
    assert tables.arguments == (ABSENT, NUMBER, FLAG, OPTIONAL_INT, FLAG) and tables.has_events
    assert errors.arguments == (INT, NUMBER, NUMBER) and not errors.has_events
    assert FAMILIES["score_histogram_"].arguments[0] == EDGES
    assert code_of("foobar") == 0xBF9CF968  # of the authors of the hash
    assert len({family.code for family in FAMILIES.values()}) == len(FAMILIES)
    assert FAMILIES.keys() == {update.op for task in TASKS for update in everything(task).updates}


@pytest.mark.parametrize("task", TASKS)
def test_opcheck(task):
    batch = everything(task, size=20)
    arguments = batch.arguments(batch.states, batch.events)
    tests = (
        "test_schema",
        "test_autograd_registration",
        "test_faketensor",
        "test_aot_dispatch_dynamic",
    )
    torch.library.opcheck(native_op(OP), arguments, test_utils=tests)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_one_graph_for_changing_data(backend):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend(backend)
    first = everything("binary")
    program = FusedCall(first.updates)

    def step(states, events, preds, target):
        program.run(states, events, preds * 1, target, None)
        return states[0].sum()

    compiled = torch.compile(step, backend=counter, fullgraph=True)
    for seed in range(3):
        batch = Batch("binary", 500, 4, 0, torch.float32, False, None, None, seed)
        states, events = [s.clone() for s in batch.states], [e.clone() for e in batch.events]
        compiled(states, events, batch.preds, batch.target)
        expected = batch.together()
        assert all(map(torch.equal, states, expected[0]))
        assert all(map(torch.equal, events, expected[1]))
    assert counter.frame_count == 1
    torch._dynamo.reset()


def test_no_graph_is_kept():
    batch = everything("numbers")
    batch.preds.requires_grad_()
    states, _ = batch.together()
    assert not any(state.requires_grad for state in states)


def test_cpu_kernel(native):
    assert has_native(OP)
