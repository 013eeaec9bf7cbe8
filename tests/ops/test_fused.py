"""`fused_`: as the separate ops, or nothing at all."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fastmetrics.ops import fused_
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
from tests.ops.fused import TASKS, FusedCall, Update, agree, fuse, has_events, make, separately
from tests.ops.inputs import LABEL_DTYPES, SCORE_DTYPES
from tests.ops.laws import check_untouched, has_native, implementations, native_op, results, run

OP = "fused_"
INVALID_LABEL = 7


def everything(task, size=500, width=4, weighted=False, ignore=None, dtype=torch.float32):
    weight = torch.float64 if weighted else None
    return make(1, task=task, shape=(size,), width=width, depth=0, dtype=dtype, weight=weight,
                ignore_index=ignore, chosen=None)  # fmt: skip


def check_kernel(call, tolerance=1e-12, run=None):
    agree(call, results(call, run or native_op(OP)), separately(call), tolerance)


def check(call):
    """Against the separate ops, which is nearer than any oracle."""
    check_kernel(call)
    check_kernel(call, 1e-9, implementations(OP)["reference"])


@pytest.mark.smoke
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_everything_of_a_task(task, weighted):
    check(everything(task, weighted=weighted, ignore=1))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_several_parts(task, weighted):
    torch.set_num_threads(2)
    check_kernel(everything(task, size=70_001, width=5, weighted=weighted))


@pytest.mark.parametrize("size", [0, 1, 63, 1025, 3000, 30_011])
def test_any_choice_of_updates(size):
    for seed, task in enumerate(TASKS):
        call = make(seed + size, task=task, shape=(size,), dtype=SCORE_DTYPES[seed % 4])
        check_kernel(call) if size > 3000 else check(call)


@pytest.mark.parametrize("task", ["classes", "binary", "labels", "numbers", "outputs"])
def test_nan_and_infinities(task):
    call = everything(task, size=2000)
    call["preds"].view(-1)[::97] = torch.nan
    call["preds"].view(-1)[1::101] = torch.inf
    if task not in ("numbers", "outputs"):  # there it lies outside the domain of the deviances
        call["preds"].view(-1)[2::103] = -torch.inf
    check_kernel(call)


@pytest.mark.parametrize("dtype", LABEL_DTYPES[1:])
def test_types_of_the_target(dtype):
    for task in ("classes", "binary"):
        check(everything(task, width=2).changed(["target"], lambda target: target.to(dtype)))


@pytest.mark.parametrize("task", ["classes", "predicted classes", "binary", "labels"])
def test_a_bad_label_changes_nothing(task):
    for size in (40, 70_000):
        call = everything(task, size=size)
        call["target"].view(-1)[size - 3] = INVALID_LABEL
        with pytest.raises(RuntimeError, match=f"got {INVALID_LABEL} at flat index {size - 3}"):
            separately(call)
        for implementation in (fused_, implementations(OP)["reference"]):
            after, error = run(call, implementation)
            assert "_: `target` must lie in [0, " in str(error)
            assert f"got {INVALID_LABEL}" in str(error)
            check_untouched(call, after)


def test_a_missing_deviance_changes_nothing():
    call = everything("numbers")
    call["preds"][7] = -2.0
    states = [state.clone() for state in call["states"]]
    with pytest.raises(ValueError, match=r"error_sums_: .* got -2\.0 and .* at flat index 7"):
        FusedCall(call.updates).run(states, [], call["preds"], call["target"], None)
    assert all(map(torch.equal, states, call["states"]))


def test_unchecked_labels_are_left_out():
    call = everything("binary")
    updates = [
        update._replace(arguments=(*update.arguments[:-1], False))
        if has_events(update.op)
        else update
        for update in call.updates
    ]
    call["target"][5] = INVALID_LABEL
    check(fuse(updates, call["states"], call["preds"], call["target"], None))


@pytest.mark.smoke
def test_words_of_refusals():
    batch = everything("classes")
    state, events = torch.zeros(4, 4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
    program = FusedCall([Update("confusion_", (None, True))])
    with pytest.raises(ValueError, match=r"confusion_: `preds` must have shape \(N, C"):
        program.run(
            [torch.zeros(5, 5, dtype=torch.int64)], [events], batch["preds"], batch["target"], None
        )
    with pytest.raises(ValueError, match="confusion_: a weighted update needs a float64 state"):
        program.run([state], [events], batch["preds"], batch["target"], torch.ones(500))
    with pytest.raises(ValueError, match="do not fit each other, got 1, 0, 0"):
        program.run([state], [], batch["preds"], batch["target"], None)
    with pytest.raises(ValueError, match="do not fit each other, got 2, 1, 0"):
        program.run([state, state], [events], batch["preds"], batch["target"], None)
    with pytest.raises(ValueError, match="do not fit each other"):
        fused_([state], [events], [], batch["preds"], batch["target"], None, [99], [])
    for op, arguments, shape in (
        ("stat_scores_", (4, 1, None, True), (500, 4, 4)),
        ("label_confusion_", (None, 0.5, False, None, True), (500, 1, 1, 2, 2)),
    ):
        each = torch.zeros(shape, dtype=torch.int64)
        with pytest.raises(ValueError, match=f"{op} cannot be fused when it counts each sample"):
            FusedCall([Update(op, arguments)]).run(
                [each], [events], batch["target"], batch["target"], None
            )
    with pytest.raises(ValueError, match=r"`op` must be one of .*, got 'aggregate_'"):
        FusedCall([Update("aggregate_", ())])
    with pytest.raises(ValueError, match="confusion_ takes 2 `arguments` after `weight`, got 3"):
        FusedCall([Update("confusion_", (None, True, 1))])
    with pytest.raises(ValueError, match="label_confusion_ cannot be fused with groups"):
        FusedCall([Update("label_confusion_", (batch["target"], 0.5, False, None, True))])


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


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_program_is_one_graph(backend):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend(backend)
    program = FusedCall(everything("binary").updates)

    def step(states, events, preds, target):
        program.run(states, events, preds * 1, target, None)
        return states[0].sum()

    compiled = torch.compile(step, backend=counter, fullgraph=True)
    for _ in range(3):
        call = everything("binary")
        call["preds"].add_(torch.rand(500))
        arguments = call.fresh()
        compiled(*(arguments[name] for name in ("states", "events", "preds", "target")))
        for name, wanted in results(call, native_op(OP)).items():
            assert all(map(torch.equal, arguments[name], wanted))
    assert counter.frame_count == 1
    torch._dynamo.reset()


def test_cpu_kernel(native):
    assert has_native(OP)
