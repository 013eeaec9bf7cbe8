"""Ops that take an argmax: reference and compiled kernels against the oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tests.ops.cases import (
    CLASS_COUNTS,
    CLASS_OPS,
    LABEL_DTYPES,
    LAYOUTS,
    SCORE_DTYPES,
    SIZES,
    STATE_KINDS,
    WEIGHT_DTYPES,
    check,
    class_call,
    class_inputs,
    contiguous,
    random_weights,
)

OPS_AND_KINDS = [(op, kind) for op in CLASS_OPS for kind in STATE_KINDS[op]]
SHAPES = [(37,), (11, 5), (4, 3, 5), (3, 2, 2, 2)]


@pytest.mark.smoke
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore_index", [None, 1, -1, 255])
@pytest.mark.parametrize(("op", "kind"), OPS_AND_KINDS)
def test_shapes(op, kind, ignore_index, weighted):
    for shape, dtype in itertools.product(SHAPES, (torch.float32, torch.int64)):
        preds, target = class_inputs(shape, 3, dtype, seed=len(shape))
        weight = None
        if weighted:
            weight = random_weights(shape[0], torch.float32, np.random.default_rng(1))
        if ignore_index is not None:
            target.view(-1)[::3] = ignore_index
        check(class_call(op, preds, target, 3, kind, weight, ignore_index=ignore_index))


@pytest.mark.parametrize("num_classes", [2, 3, 17])
@pytest.mark.parametrize("op", CLASS_OPS)
def test_sizes_around_blocks(op, num_classes):
    for size, dtype in itertools.product(SIZES, (torch.float32, torch.int64)):
        preds, target = class_inputs((size,), num_classes, dtype, seed=size)
        check(class_call(op, preds, target, num_classes))
        if size:
            check(
                class_call(
                    op,
                    preds[None].movedim(-1, 1) if preds.ndim == 2 else preds[None],
                    target[None],
                    num_classes,
                )
            )


@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize("num_classes", CLASS_COUNTS)
def test_class_counts(num_classes, dtype):
    size = 67 if num_classes > 100 else 131
    rows = class_inputs((size,), num_classes, dtype, seed=num_classes, special=0.02)
    planes = class_inputs((2, size), num_classes, dtype, seed=num_classes, special=0.02)
    for op, (preds, target) in itertools.product(CLASS_OPS, (rows, planes)):
        check(class_call(op, preds, target, num_classes))


def check_narrow(num_classes, dtype, sizes, layouts):
    """Rows shorter than a vector are decided many at a time; every width has its own loop."""
    for size, layout in itertools.product(sizes, layouts):
        for shape in ((size,), (2, size)):
            preds, target = class_inputs(shape, num_classes, dtype, seed=size)
            check(class_call("confusion_", LAYOUTS[layout](preds), target, num_classes))
            preds, target = class_inputs(shape, num_classes, dtype, seed=size, special=0.05)
            check(class_call("confusion_", LAYOUTS[layout](preds), target, num_classes))


@pytest.mark.parametrize("num_classes", range(1, 21))
def test_narrow_rows(num_classes):
    for dtype in SCORE_DTYPES:
        check_narrow(num_classes, dtype, (1, 31, 70), ("contiguous", "cropped"))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize("num_classes", [*range(1, 41), 63, 64, 65, 127, 128, 129])
def test_all_rows(num_classes, dtype):
    sizes = (*range(1, 20), 31, 32, 33, 63, 64, 65, 130)
    check_narrow(num_classes, dtype, sizes, [name for name in LAYOUTS if "repeated" not in name])


@pytest.mark.smoke
@pytest.mark.parametrize("target_dtype", LABEL_DTYPES)
@pytest.mark.parametrize("preds_dtype", LABEL_DTYPES)
def test_label_dtypes(preds_dtype, target_dtype):
    num_classes = 2 if torch.bool in (preds_dtype, target_dtype) else 127
    preds, target = class_inputs((301,), num_classes, preds_dtype, 3, target_dtype)
    for op in CLASS_OPS:
        check(class_call(op, preds, target, num_classes))


def test_largest_label_of_each_dtype():
    for dtype, num_classes in ((torch.uint8, 256), (torch.int8, 128), (torch.int16, 300)):
        labels = torch.tensor([num_classes - 1, 0, num_classes - 1]).to(dtype)
        for op in CLASS_OPS:
            check(class_call(op, labels, labels.flip(0), num_classes))


@pytest.mark.smoke
@pytest.mark.parametrize("target_dtype", LABEL_DTYPES)
@pytest.mark.parametrize("preds_dtype", SCORE_DTYPES)
def test_score_dtypes(preds_dtype, target_dtype):
    for num_classes, shape in itertools.product((3, 20), ((70,), (3, 66))):
        preds, target = class_inputs(shape, num_classes, preds_dtype, 5, target_dtype)
        for op in CLASS_OPS:
            check(class_call(op, preds, target, num_classes))


@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_layouts(preds_layout, target_layout):
    for dtype, num_classes in itertools.product(
        (torch.float32, torch.bfloat16, torch.int16), (3, 18)
    ):
        for shape in ((70,), (5, 33), (3, 4, 6)):
            preds, target = class_inputs(shape, num_classes, dtype, seed=7)
            preds, target = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
            for op in CLASS_OPS:
                check(class_call(op, preds, target, num_classes, STATE_KINDS[op][-1]))


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "strided", "channels_last"])
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_top_k(dtype, layout):
    for num_classes, shape in itertools.product((2, 3, 5, 17, 40), ((67,), (3, 65))):
        preds, target = class_inputs(shape, num_classes, dtype, seed=11, special=0.1)
        target.view(-1)[::7] = -1
        for top_k in {1, 2, 3, num_classes - 1, num_classes} - {0}:
            for kind in STATE_KINDS["stat_scores_"]:
                preds = LAYOUTS[layout](preds)
                check(
                    class_call(
                        "stat_scores_",
                        preds,
                        target,
                        num_classes,
                        kind,
                        top_k=top_k,
                        ignore_index=-1,
                    )
                )


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_nan_infinities_and_ties(dtype):
    for seed, num_classes in enumerate((2, 3, 15, 16, 17, 33)):
        for shape in ((130,), (2, 67)):
            preds, target = class_inputs(shape, num_classes, dtype, seed, special=0.3)
            for layout in LAYOUTS.values():
                for op in CLASS_OPS:
                    check(class_call(op, layout(preds), target, num_classes))


@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize(
    "row",
    [
        [-0.0, 0.0, -1.0],
        [0.0, -0.0, -1.0],
        [float("-inf")] * 3,
        [float("inf")] * 3,
        [float("-inf"), -1.0, float("-inf")],
        [1.0, float("nan"), float("inf")],
        [float("nan")] * 3,
        [2.0, 2.0, 2.0],
    ],
)
def test_telling_rows(row, dtype):
    """Each row says what it asks; padded with low scores to several widths, and reversed."""
    for width in (3, 8, 16, 19, 65):
        scores = torch.full((2, width), float("-inf"), dtype=dtype)
        scores[0, :3] = torch.tensor(row)
        scores[1, -3:] = torch.tensor(row).flip(0)
        preds = scores.repeat(33, 1)
        target = preds.argmax(1)
        call = class_call("confusion_", preds, target, width, start=0)
        answer = check(call)
        assert answer.delta.trace() == len(target)  # torch.argmax agrees with the oracle
        for top_k in (2, 3):
            check(class_call("stat_scores_", preds, target, width, top_k=top_k))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize(("op", "kind"), OPS_AND_KINDS)
def test_weights(op, kind, dtype):
    rng = np.random.default_rng(13)
    for shape, preds_dtype in itertools.product(((71,), (19, 4)), (torch.float32, torch.int64)):
        preds, target = class_inputs(shape, 5, preds_dtype, seed=13)
        target.view(-1)[::5] = 2
        weight = random_weights(shape[0], dtype, rng)
        for layout in (contiguous, LAYOUTS["strided"], LAYOUTS["repeated_rows"]):
            check(class_call(op, preds, target, 5, kind, layout(weight), ignore_index=2))


@pytest.mark.parametrize(("op", "kind"), OPS_AND_KINDS)
def test_counting_into_a_float_state(op, kind):
    """An update without weights after one with weights counts each sample once."""
    preds, target = class_inputs((40, 3), 4, torch.float32, seed=17)
    check(class_call(op, preds, target, 4, kind, weighted=True))


@pytest.mark.smoke
@pytest.mark.parametrize("start", [2**24, 2**31, 2**32, 2**53, 2**62])
@pytest.mark.parametrize(("op", "kind"), OPS_AND_KINDS)
def test_large_counts_continue(op, kind, start):
    preds, target = class_inputs((65, 2), 3, torch.float32, seed=19)
    check(class_call(op, preds, target, 3, kind, start=start + 1))


@pytest.mark.parametrize("ignore_index", [None, 0, -100, 2**40])
def test_unknown_number_of_classes(ignore_index):
    """Without a number of classes labels below 2^31 - 1 count, and `tn` stays."""
    rng = np.random.default_rng(23)
    values = torch.tensor([0, 1, 5, 2**24 + 1, 2**31 - 3, 2**31 - 2])
    for shape in ((50,), (20, 3)):
        preds, target = (
            values[torch.from_numpy(rng.integers(0, len(values), shape))] for _ in range(2)
        )
        call = class_call("stat_scores_", preds, target, 0, "total", ignore_index=ignore_index)
        check(call)
        check(class_call("exact_match_", preds, target, 0, "total", ignore_index=ignore_index))
    preds, target = class_inputs((50,), 7, torch.float32, seed=23)
    check(class_call("stat_scores_", preds, target, 0, "total", ignore_index=ignore_index))


@pytest.mark.parametrize("value", [-1, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1])
def test_unknown_number_of_classes_has_a_limit(value):
    labels = torch.tensor([3, 0, value, 5])
    for op, ignore_index in itertools.product(("stat_scores_", "exact_match_"), (None, 0)):
        options = {"kind": "total", "ignore_index": ignore_index}
        assert check(class_call(op, labels, labels.clamp(1, 9), 0, **options)).bad
        assert check(class_call(op, labels.clamp(1, 9), labels, 0, **options)).bad


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (3, 2, 0), (0, 0)])
@pytest.mark.parametrize(("op", "kind"), OPS_AND_KINDS)
def test_empty_inputs_add_nothing(op, kind, shape):
    for dtype in (torch.float32, torch.int64):
        preds, target = class_inputs(shape, 3, dtype, seed=0)
        for weight in (None, torch.ones(shape[0])):
            answer = check(class_call(op, preds, target, 3, kind, weight))
            assert not answer.delta.any()


def random_class_call(seed):
    """Everything drawn at random, including labels out of range."""
    rng = np.random.default_rng(seed)

    def pick(values):
        return values[rng.integers(len(values))]

    op, kind = pick(OPS_AND_KINDS)
    num_classes = int(pick((2, 3, 5, 10, 16, 17, 40)))
    shape = pick(
        ((1,), (9,), (70,), (200,), (3, 5), (2, 70), (70, 2), (2, 3, 5), (5, 1, 9), (2, 2, 3, 3))
    )
    preds, target = class_inputs(
        shape,
        num_classes,
        pick(SCORE_DTYPES + LABEL_DTYPES),
        seed,
        pick(LABEL_DTYPES),
        special=float(pick((0, 0, 0.2))),
    )
    ignore_index = pick((None, None, 0, 1, -1, 255))
    if rng.random() < 0.3:  # some labels fall out of range, some of them are ignored
        target[torch.from_numpy(rng.random(shape) < 0.02)] = pick((-1, 100, 255, num_classes)) % 127
    weight = pick((None, pick(WEIGHT_DTYPES)))
    if weight is not None:
        weight = LAYOUTS[pick(("contiguous", "strided", "repeated_rows"))](
            random_weights(shape[0], weight, rng)
        )
    top_k = int(rng.integers(1, num_classes + 1)) if preds.ndim > target.ndim else 1
    return class_call(
        op,
        LAYOUTS[pick(list(LAYOUTS))](preds),
        LAYOUTS[pick(list(LAYOUTS))](target),
        num_classes,
        kind,
        weight,
        top_k,
        ignore_index,
        validate=bool(rng.random() < 0.6),
        start=pick((None, 2**31, 2**50)),
    )


@pytest.mark.parametrize("block", range(4))
def test_random_calls(block):
    for seed in range(block * 60, (block + 1) * 60):
        check(random_class_call(seed))


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(4, 40))
def test_many_random_calls(block):
    for seed in range(block * 100, (block + 1) * 100):
        check(random_class_call(seed))
