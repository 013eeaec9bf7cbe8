"""Ops that threshold: reference and compiled kernels against the oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tests.ops.cases import (
    LABEL_DTYPES,
    LABEL_OPS,
    LAYOUTS,
    SCORE_DTYPES,
    SIZES,
    WEIGHT_DTYPES,
    check,
    contiguous,
    label_call,
    label_inputs,
    random_labels,
    random_weights,
)

KINDS = ("total", "samples")
THRESHOLDS = (0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0)


def binary_call(preds, target, **options):
    """One table (or one per group) for inputs of any shape."""
    return label_call("label_confusion_", preds, target, **options)


@pytest.mark.smoke
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore_index", [None, 0, 1, -1, 255])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", LABEL_OPS)
def test_multilabel_shapes(op, kind, ignore_index, weighted):
    for shape, dtype in itertools.product(
        ((37, 3), (4, 3, 5), (3, 3, 2, 4)), (torch.float32, torch.int64)
    ):
        preds, target = label_inputs(shape, dtype, seed=len(shape))
        weight = None
        if weighted:
            weight = random_weights(shape[0], torch.float32, np.random.default_rng(1))
        if ignore_index is not None:
            target.view(-1)[::3] = ignore_index
        check(label_call(op, preds, target, 3, kind, weight=weight, ignore_index=ignore_index))


@pytest.mark.smoke
@pytest.mark.parametrize("ignore_index", [None, 0, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_binary_shapes(kind, ignore_index):
    for shape, dtype in itertools.product(((37,), (11, 5), (4, 3, 5)), (torch.float32, torch.bool)):
        preds, target = label_inputs(shape, dtype, seed=len(shape))
        weight = random_weights(shape[0], torch.float64, np.random.default_rng(1))
        if ignore_index is not None:
            target.view(-1)[::4] = ignore_index
        for w in (None, weight):
            check(binary_call(preds, target, kind=kind, weight=w, ignore_index=ignore_index))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_sizes_around_blocks(dtype):
    for size in SIZES:
        preds, target = label_inputs((size,), dtype, seed=size)
        check(binary_call(preds, target))
        check(binary_call(preds[None], target[None], kind="samples"))
        preds, target = label_inputs((size, 2), dtype, seed=size)
        for op in LABEL_OPS:
            check(label_call(op, preds, target, 2))
            check(label_call(op, preds.T[None], target.T[None], 2))


@pytest.mark.parametrize("num_labels", [1, 2, 3, 10, 15, 16, 17, 33, 100, 1000])
def test_label_counts(num_labels):
    for shape in ((9, num_labels), (3, num_labels, 33)):
        if num_labels == 1000 and len(shape) == 3:
            continue
        preds, target = label_inputs(shape, torch.float32, seed=num_labels, special=0.02)
        preds[::2] = torch.where(target[::2] == 1, 2.0, -2.0)  # some items match on all labels
        for op, kind in itertools.product(LABEL_OPS, KINDS):
            check(label_call(op, preds, target, num_labels, kind))


@pytest.mark.smoke
@pytest.mark.parametrize("target_dtype", LABEL_DTYPES)
@pytest.mark.parametrize("preds_dtype", SCORE_DTYPES + LABEL_DTYPES)
def test_dtypes(preds_dtype, target_dtype):
    for shape in ((67, 2), (3, 2, 33)):
        preds, target = label_inputs(shape, preds_dtype, 3, target_dtype)
        for op in LABEL_OPS:
            check(label_call(op, preds, target, 2))
        check(binary_call(preds, target))


@pytest.mark.smoke
@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_thresholds_and_readings(dtype, threshold):
    """Scores on, next to and between the thresholds, under each reading and both."""
    grid = torch.tensor([*THRESHOLDS, 0.299, 0.301], dtype=torch.float64).to(dtype)
    around = (
        torch.cat(
            [
                grid,
                torch.nextafter(grid, torch.tensor(2.0, dtype=dtype)),
                torch.nextafter(grid, torch.tensor(-1.0, dtype=dtype)),
                torch.logit(grid.double()).to(dtype),
                torch.tensor(
                    [-0.0, float("inf"), float("-inf"), float("nan"), 1e-7, -1e-7], dtype=dtype
                ),
            ]
        )
        if dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16)
        else grid
    )
    target = torch.arange(len(around)) % 2
    for readings, logits in ((2, False), (1, False), (1, True)):
        check(binary_call(around, target, readings=readings, logits=logits, threshold=threshold))
        pairs = around[: len(around) // 2 * 2].view(-1, 2)
        for op in LABEL_OPS:
            check(
                label_call(
                    op,
                    pairs,
                    target[: pairs.numel()].view_as(pairs),
                    2,
                    readings=readings,
                    logits=logits,
                    threshold=threshold,
                )
            )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_every_small_float(dtype, threshold):
    """All 65536 values of the 16-bit types, decided as torch decides them."""
    scores = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    check(binary_call(scores, torch.ones(len(scores), dtype=torch.int8), threshold=threshold))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_nan_and_infinities(dtype):
    for seed, shape in enumerate(((130, 2), (2, 2, 67))):
        preds, target = label_inputs(shape, dtype, seed, special=0.3)
        target.view(-1)[::5] = -1
        for layout in LAYOUTS.values():
            for op in LABEL_OPS:
                check(label_call(op, layout(preds), target, 2, ignore_index=-1))
            check(binary_call(layout(preds), target, ignore_index=-1))


@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_layouts(preds_layout, target_layout):
    for dtype in (torch.float32, torch.float16, torch.int16):
        for shape in ((70, 3), (5, 3, 33), (3, 3, 4, 6)):
            preds, target = label_inputs(shape, dtype, seed=7)
            preds, target = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
            for op, kind in itertools.product(LABEL_OPS, KINDS):
                check(label_call(op, preds, target, 3, kind))
            check(binary_call(preds[:, 0], target[:, 0]))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", LABEL_OPS)
def test_weights(op, kind, dtype):
    rng = np.random.default_rng(13)
    for shape, preds_dtype in itertools.product(
        ((71, 2), (19, 2, 4)), (torch.float32, torch.int64)
    ):
        preds, target = label_inputs(shape, preds_dtype, seed=13)
        target.view(-1)[::5] = -1
        weight = random_weights(shape[0], dtype, rng)
        for layout in (contiguous, LAYOUTS["strided"], LAYOUTS["repeated_rows"]):
            check(label_call(op, preds, target, 2, kind, weight=layout(weight), ignore_index=-1))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", [d for d in LABEL_DTYPES if d != torch.bool])
def test_groups(dtype):
    rng = np.random.default_rng(29)
    for shape, num_groups in itertools.product(((200,), (40, 3), (5, 3, 40)), (1, 2, 5)):
        preds, target = label_inputs(shape, torch.float32, seed=29, special=0.1)
        groups = random_labels(shape[:1], num_groups, dtype, rng)
        weight = random_weights(shape[0], torch.float32, rng)
        for layout in (contiguous, LAYOUTS["strided"]):
            call = dict(num_labels=num_groups, groups=layout(groups), ignore_index=1)
            check(binary_call(preds, target, **call))
            check(binary_call(preds, target, weight=weight, **call))


def test_groups_that_repeat_one_value_or_are_booleans():
    preds, target = label_inputs((50,), torch.float32, seed=29)
    check(binary_call(preds, target, num_labels=3, groups=torch.tensor([2]).expand(50)))
    check(binary_call(preds, target, num_labels=2, groups=torch.arange(50) % 2 == 0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", LABEL_OPS)
def test_counting_into_a_float_state(op, kind):
    """An update without weights after one with weights counts each sample once."""
    preds, target = label_inputs((40, 3), torch.float32, seed=17)
    check(label_call(op, preds, target, 3, kind, weighted=True))


@pytest.mark.smoke
@pytest.mark.parametrize("start", [2**24, 2**31, 2**32, 2**53, 2**62])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", LABEL_OPS)
def test_large_counts_continue(op, kind, start):
    preds, target = label_inputs((65, 2), torch.float32, seed=19)
    check(label_call(op, preds, target, 2, kind, start=start + 1))


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2), (3, 3, 0)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", LABEL_OPS)
def test_empty_inputs_add_nothing(op, kind, shape):
    for dtype in (torch.float32, torch.int64):
        preds, target = label_inputs(shape, dtype, seed=0)
        for weight in (None, torch.ones(shape[0])):
            answer = check(label_call(op, preds, target, 3, kind, weight=weight))
            assert not answer.delta.any()


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_empty_binary_inputs_add_nothing(shape):
    preds, target = label_inputs(shape, torch.float32, seed=0)
    check(binary_call(preds, target))
    check(binary_call(preds, target, num_labels=2, groups=torch.zeros(shape[0], dtype=torch.int64)))


def random_label_call(seed):
    """Everything drawn at random, including labels and groups out of range."""
    rng = np.random.default_rng(seed)

    def pick(values):
        return values[rng.integers(len(values))]

    op = pick(LABEL_OPS)
    num_labels = int(pick((1, 2, 3, 17)))
    shape = (int(pick((1, 5, 33, 70))), num_labels, *pick(((), (), (1,), (33,), (2, 3))))
    preds, target = label_inputs(
        shape,
        pick(SCORE_DTYPES + LABEL_DTYPES),
        seed,
        pick(LABEL_DTYPES),
        special=float(pick((0, 0, 0.2))),
    )
    if rng.random() < 0.3:
        target[torch.from_numpy(rng.random(shape) < 0.02)] = pick((-1, 100, 127, 2)) % 127
    groups, kind = None, pick(KINDS)
    if op == "label_confusion_" and rng.random() < 0.4:
        kind, num_labels = "total", int(pick((1, 2, 5)))
        groups = random_labels(shape[:1], num_labels + int(pick((0, 0, 1))), torch.int32, rng)
    weight = pick((None, pick(WEIGHT_DTYPES)))
    if weight is not None:
        weight = LAYOUTS[pick(("contiguous", "strided", "repeated_rows"))](
            random_weights(shape[0], weight, rng)
        )
    return label_call(
        op,
        LAYOUTS[pick(list(LAYOUTS))](preds),
        LAYOUTS[pick(list(LAYOUTS))](target),
        num_labels,
        kind,
        readings=int(pick((1, 2))),
        weight=weight,
        groups=groups,
        threshold=pick(THRESHOLDS),
        logits=bool(rng.random() < 0.5),
        ignore_index=pick((None, None, 0, 1, -1, 255)),
        validate=bool(rng.random() < 0.6),
        start=pick((None, 2**31, 2**50)),
    )


@pytest.mark.parametrize("block", range(4))
def test_random_calls(block):
    for seed in range(block * 60, (block + 1) * 60):
        check(random_label_call(seed))


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(4, 40))
def test_many_random_calls(block):
    for seed in range(block * 100, (block + 1) * 100):
        check(random_label_call(seed))
