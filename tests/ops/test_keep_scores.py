"""What only `keep_scores_` must keep."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fastmetrics import ops
from tests.ops.keep_scores import make
from tests.ops.laws import implementations, native_op, results, same_bits
from tests.ops.score_histogram import TASKS


@pytest.mark.parametrize("num_classes", [254, 255, 256, 257])
def test_labels_take_a_byte_while_they_fit(num_classes):
    call = make(0, task="multiclass", classes=num_classes, shape=(5,))
    assert call["labels"].dtype == (torch.uint8 if num_classes <= 255 else torch.int32)


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_batches_follow_one_another(task):
    """Any split writes the rows of the whole, and touches no other."""
    whole = make(9, task=task, classes=3, shape=(60, 2), special=0.1, bad=0.0, first=0, room=2,
                 weight=torch.float32)  # fmt: skip
    for implementation in implementations(whole.op).values():
        expected, part, start = results(whole, implementation), whole, 0
        for size in (1, 0, 30, 17, 12):
            batch = whole.samples(("preds", "target", "weight"), slice(start, start + size))
            batch = batch.but(start=2 * start, **{name: part[name] for name in expected})
            part = part.but(**results(batch, implementation))
            start += size
        for name, wanted in expected.items():
            same_bits(name, part[name], wanted)


@pytest.mark.parametrize("task", TASKS)
def test_same_rows_for_any_number_of_threads(native, task):
    shape = (50_001, 3) if task == "binary" else (50_001,)
    call = make(3, task=task, classes=4, shape=shape, special=0.1, bad=0.0, ignore_index=-1,
                weight=torch.float32)  # fmt: skip
    expected = results(call, implementations(call.op)["reference"])
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        for name, found in results(call, native_op(call.op)).items():
            same_bits(name, found, expected[name])


def test_compiled_steps_with_another_start_do_not_compile_again():
    """`start` is an integer that graphs take as an input."""
    counter = CompileCounterWithBackend("aot_eager")
    call = make(0, task="binary", shape=(4,), dtype=torch.float32, first=60, room=0)
    state, events, labels = (call[name] for name in ("state", "events", "labels"))
    preds, target = torch.rand(4), torch.tensor([0, 1, 1, 0])

    @torch.compile(backend=counter, fullgraph=True)
    def step(start):
        ops.keep_scores_(state, events, preds, target, None, labels, None, start)

    for start in (4, 8, 12, 16, 40):
        step(start)
        assert torch.equal(state[start : start + 4, 0], preds)
    assert counter.frame_count <= 2  # once for one number, once for any
