"""Laws of what is counted per class or label: other shapes, other names, totals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ops.inputs import INF, NAN
from tests.ops.laws import every_op, implementations, results

QUICK = settings(max_examples=25, deadline=None, database=None, derandomize=True)
CLASS_OPS = ("stat_scores_", "confusion_", "exact_match_")
LABEL_OPS = ("label_confusion_", "label_exact_match_")
OPS = CLASS_OPS + LABEL_OPS
SPECIAL = [0.0, -0.0, 0.5, 1.0, -1.0, 2.0, INF, -INF, NAN]


@st.composite
def batches(draw, op):
    """`(preds, target, number of classes)`: few distinct scores, so that ties are common."""
    size = draw(st.integers(0, 40))
    width = draw(st.integers(2, 5))
    has_scores = draw(st.booleans())
    scores = st.sampled_from(SPECIAL) | st.floats(-3, 3, width=16)

    def array(strategy, count):
        return draw(st.lists(strategy, min_size=count, max_size=count))

    if op in CLASS_OPS:
        target = torch.tensor(array(st.integers(-1, width - 1), size), dtype=torch.int64)
        if has_scores:
            preds = torch.tensor(array(scores, size * width)).view(size, width)
        else:
            preds = torch.tensor(array(st.integers(0, width - 1), size), dtype=torch.int64)
        return preds, target, width
    target = torch.tensor(array(st.integers(-1, 1), size * width), dtype=torch.int64)
    values = scores if has_scores else st.integers(0, 1)
    dtype = torch.float32 if has_scores else torch.int64
    preds = torch.tensor(array(values, size * width), dtype=dtype)
    return preds.view(size, width), target.view(size, width), width


def counts(op, who, preds, target, width):
    """State (float64) and events after counting into zeros."""
    options = {"classes": width} if op in CLASS_OPS else {"labels": width, "plain": False}
    options |= {"groups": None} if op == "label_confusion_" else {}
    options |= {"total": False} if op == "stat_scores_" else {}
    options |= {"each": False} if op != "confusion_" else {}
    options |= {"readings": (2, False)} if op in LABEL_OPS else {}
    call = every_op()[op].make(
        0, shape=(3,), weight=None, start=0, float_state=True, dtype=preds.dtype, **options
    )
    call = call.but(preds=preds, target=target, ignore_index=-1, events=torch.zeros(4).long())
    after = results(call, implementations(op)[who])
    return after["state"], after["events"]


def same(left, right):
    return torch.equal(left[0], right[0]) and torch.equal(left[1], right[1])


def parametrized(test):
    names = ["reference", "native"] if len(implementations("confusion_")) > 1 else ["reference"]
    test = pytest.mark.parametrize("who", names)(test)
    return pytest.mark.parametrize("op", OPS)(test)


@parametrized
def test_one_sample_may_have_many_positions(op, who):
    """Counts per position do not ask how positions are grouped in samples."""
    per_position = op not in ("exact_match_", "label_exact_match_")

    @QUICK
    @given(batches(op))
    def law(batch):
        preds, target, width = batch
        flat = counts(op, who, preds, target, width)
        # A last axis of one position changes nothing: (N, C) and (N, C, 1).
        assert same(flat, counts(op, who, preds[..., None], target[..., None], width))
        if per_position:  # (N, C) and (1, C, N); (N,) and (1, N)
            preds, target = preds.movedim(0, -1)[None], target.movedim(0, -1)[None]
            assert same(flat, counts(op, who, preds, target, width))

    law()


@parametrized
def test_renamed_classes_permute_the_state(op, who):
    @QUICK
    @given(batches(op), st.randoms(use_true_random=False))
    def law(batch, random):
        preds, target, width = batch
        new_name = list(range(width))
        random.shuffle(new_name)
        names = torch.tensor(new_name)
        state, events = counts(op, who, preds, target, width)
        if op in LABEL_OPS:  # labels are columns
            renamed = counts(op, who, preds[:, names], target[:, names], width)
            expected = state[:, names] if op == "label_confusion_" else state
            assert same(renamed, (expected, events))
            return
        if preds.is_floating_point():
            # Ties and NaN go to the lower class, whose name changes: keep each row's top unique.
            preds = torch.nan_to_num(preds, nan=0.0, posinf=4.0, neginf=-4.0)
            preds = preds + torch.arange(width) * 1e-3
            state, events = counts(op, who, preds, target, width)
            moved = torch.empty_like(preds)
            moved[:, names] = preds
        else:
            moved = names[preds]
        renamed = counts(op, who, moved, torch.where(target < 0, target, names[target]), width)
        if op == "confusion_":
            expected = torch.empty_like(state)
            expected[names[:, None], names] = state
        elif op == "stat_scores_":
            expected = torch.empty_like(state)
            expected[names] = state
        else:
            expected = state
        assert same(renamed, (expected, events))

    law()


@parametrized
def test_totals(op, who):
    """Every sample (position, label) that is not ignored is counted in one place."""

    @QUICK
    @given(batches(op))
    def law(batch):
        preds, target, width = batch
        state, _ = counts(op, who, preds, target, width)
        counted = int((target >= 0).sum())
        assert (state >= 0).all()
        if op == "stat_scores_":
            assert (state.sum(1) == counted).all()
            assert state[:, 1].sum() == state[:, 3].sum()  # each miss misses once on either side
        elif op == "confusion_":
            assert state.sum() == counted
        elif op == "label_confusion_":
            assert (state.sum((1, 2, 3)) == counted).all()
            assert torch.equal(state[0].sum(-1), state[1].sum(-1))  # readings share the targets
        else:
            assert (state[..., 1] == len(target)).all()
            assert (state[..., 0] <= state[..., 1]).all()

    law()
