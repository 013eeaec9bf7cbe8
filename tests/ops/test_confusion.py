"""What only `confusion_` must keep."""

from __future__ import annotations

import pytest
import torch

from fastmetrics.ops import label_confusion_, stat_scores_
from fastmetrics.ops.faults import new_events
from tests.ops.confusion import make
from tests.ops.inputs import LAYOUTS, SCORE_DTYPES
from tests.ops.laws import check, states
from tests.ops.stat_scores import telling_scores


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_the_winner_is_that_of_torch(dtype):
    for width in (3, 8, 16, 19, 65):
        preds = telling_scores(width, dtype)
        target = preds.argmax(1)
        options = {"classes": width, "shape": (len(preds),), "dtype": dtype, "weight": None}
        call = make(0, start=0, ignore_index=None, float_state=False, **options)
        for state in states(call.but(preds=preds, target=target)).values():
            assert state.trace() == len(target)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize("num_classes", [*range(1, 41), 63, 64, 65, 127, 128, 129])
def test_all_rows(num_classes, dtype):
    """Rows shorter than a vector are decided many at a time; every width has its own loop."""
    for size in (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 19, 31, 33, 64, 130):
        for name, layout in LAYOUTS.items():
            for shape in ((size,), (2, size)) if "repeated" not in name else ():
                options = {"classes": num_classes, "shape": shape, "dtype": dtype}
                special = 0.05 * ((size + len(shape)) % 2)
                call = make(size, special=special, bad=0.0, weight=None, **options)
                check(call.changed(["preds"], layout))


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
)
@pytest.mark.parametrize("side", [7, 64, 1000])
def test_masks_are_counted_as_any_labels(dtype, side):
    """Dense masks in a loop of their own: a register of sums is emptied many times."""
    draw = torch.Generator().manual_seed(side)
    preds, target = ((torch.rand(2, 3, side, 41, generator=draw) < 0.9).to(dtype) for _ in range(2))
    preds[0, 0], target[0, 0] = 1, 1  # as many as there can be
    found = torch.zeros(2, 1, 3, 2, 2, dtype=torch.int64)
    label_confusion_(found, new_events(), preds, target)
    wanted = torch.stack(
        [
            torch.stack([((target == t) & (preds == p)).sum((2, 3)) for p in (0, 1)], -1)
            for t in (0, 1)
        ],
        -2,
    )
    assert torch.equal(found[:, 0], wanted)
    whole = torch.zeros(1, 3, 2, 2, dtype=torch.int64)
    label_confusion_(whole, new_events(), preds, target)
    assert torch.equal(whole[0], wanted.sum(0))
    transposed = torch.zeros_like(found)
    label_confusion_(transposed, new_events(), preds.mT.contiguous().mT, target)
    assert torch.equal(transposed, found)


@pytest.mark.parametrize("bad", [2, -1, 64])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_samples_in_front_of_a_bad_label_leave_no_trace(bad, dtype):
    masks = torch.ones(4, 2, 500, dtype=torch.int64)
    masks[3, 1, 300] = bad
    state = torch.full((4, 1, 2, 2, 2), 0.5).mul(8).to(dtype)
    before = state.clone()
    with pytest.raises(RuntimeError, match=f"must lie in .0, 2., got {bad}"):
        label_confusion_(state, new_events(), masks, masks)
    assert torch.equal(state, before)
    counts = torch.full((4, 2, 4), 0.5).mul(8).to(dtype)
    before = counts.clone()
    with pytest.raises(RuntimeError, match=f"must lie in .0, 2., got {bad}"):
        stat_scores_(counts, new_events(), masks[:, 0], masks[:, 1], num_classes=2)
    assert torch.equal(counts, before)
