"""calibration_bins_: every implementation against the oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fastmetrics import ops
from fastmetrics.ops.calibration import bin_edges
from fastmetrics.ops.faults import new_events
from tests.ops.cases import (
    LABEL_DTYPES,
    LAYOUTS,
    SCORE_DTYPES,
    SIZES,
    WEIGHT_DTYPES,
    implementations,
    native_op,
    random_weights,
    run,
)
from tests.ops.cases_calibration import (
    OP,
    TASKS,
    calibration_call,
    calibration_inputs,
    calibration_rows,
    check,
)

READINGS = ((2, False), (1, False), (1, True))


@pytest.mark.smoke
def test_rows():
    for call in calibration_rows(OP):
        check(call)


@pytest.mark.parametrize("size", SIZES)
def test_sizes(size):
    for task in TASKS:
        for inside in (True, False):
            check(
                calibration_call(
                    task, *calibration_inputs(task, (size,), 3, torch.float32, size, inside=inside)
                )
            )


@pytest.mark.parametrize("num_classes", [1, 2, 10, 16, 17, 31, 33, 100, 1030])
def test_numbers_of_classes(num_classes):
    """Short and long rows, with their ends in and behind the last vector."""
    for dtype in SCORE_DTYPES:
        for shape in ((7,), (2, 70)):
            preds, target = calibration_inputs("multiclass", shape, num_classes, dtype, 1)
            preds.view(-1)[:: 5 * num_classes + 1] = math.nan
            check(calibration_call("multiclass", preds, target))


@pytest.mark.parametrize("n_bins", [1, 2, 3, 10, 15, 64, 300, 1000, 2**14 + 3])
def test_numbers_of_bins(n_bins):
    for task in TASKS:
        preds, target = calibration_inputs(task, (3000,), 3, torch.float32, 2, inside=True)
        preds += torch.rand(preds.shape) / 64 * (preds < 0.9)
        call = calibration_call(task, preds, target, n_bins, start=0)
        reference = run(call, implementations(OP)["reference"])
        for implementation in implementations(OP).values():
            outcome = run(call, implementation)
            assert torch.equal(outcome.state[..., ::2], reference.state[..., ::2])
            torch.testing.assert_close(outcome.state, reference.state, rtol=1e-12, atol=1e-12)


@pytest.mark.smoke
@pytest.mark.parametrize("target_dtype", LABEL_DTYPES)
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_dtypes(dtype, target_dtype):
    for task in TASKS:
        for shape in ((37,), (5, 9)):
            check(
                calibration_call(task, *calibration_inputs(task, shape, 2, dtype, 3, target_dtype))
            )


@pytest.mark.smoke
@pytest.mark.parametrize("n_bins", [1, 2, 3, 7, 10, 15, 100, 1001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_confidences_on_and_next_to_the_edges(dtype, n_bins):
    """Binary scores are compared in their own precision."""
    edges = torch.linspace(0, 1, n_bins + 1, dtype=dtype)
    up = torch.nextafter(edges, torch.full_like(edges, 2.0))
    down = torch.nextafter(edges, torch.full_like(edges, -1.0))
    preds = torch.cat([edges, up, down]).clamp(0, 1)
    target = torch.arange(len(preds)) % 2
    call = calibration_call("binary", preds, target, n_bins, 1, start=0)
    bins = (preds[:, None] >= edges).sum(1) - 1
    counts = torch.bincount(bins, minlength=n_bins + 1).double()
    for implementation in implementations(OP).values():
        assert torch.equal(run(call, implementation).state[0, :, 0], counts)
    check(call)


@pytest.mark.smoke
def test_a_confidence_of_one_has_its_own_bin():
    preds, target = torch.tensor([1.0, 0.99, 0.0]), torch.tensor([1, 1, 0])
    state = run(calibration_call("binary", preds, target, 2, 1, start=0), native_op(OP)).state
    assert state[0, :, 0].tolist() == [1, 1, 1]
    assert state[0, 2].tolist() == [1, 1, 1]


@pytest.mark.smoke
def test_scores_that_are_no_probabilities_are_clamped():
    preds, target = torch.tensor([-math.inf, -0.5, 1.5, math.inf]), torch.tensor([0, 1, 1, 0])
    call = calibration_call("binary", preds, target, 2, 1, start=0)
    check(call)
    assert run(call, native_op(OP)).state[0].tolist() == [[2, 0, 1], [0, 0, 0], [2, 2, 1]]


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_nan_and_infinities(dtype):
    for task in TASKS:
        for classes in (4, 40):
            preds, target = calibration_inputs(task, (130,), classes, dtype, 5, special=0.1)
            target.view(-1)[::5] = -1
            for readings, logits in READINGS:
                check(
                    calibration_call(
                        task, preds, target, 8, readings, logits=logits, ignore_index=-1
                    )
                )


@pytest.mark.smoke
@pytest.mark.parametrize("width", [3, 40])
def test_the_first_of_equal_scores_is_predicted(width):
    preds = torch.zeros(4, width)
    preds[1, 1:] = 0.5
    preds[2, -1] = 0.5
    preds[3] = -math.inf
    for target in ([0, 1, width - 1, 0], [1, 2, 0, 1]):
        call = calibration_call("multiclass", preds, torch.tensor(target), 4, start=0)
        check(call)
        right = 4 if target[0] == 0 else 0
        assert run(call, native_op(OP)).state[..., 2].sum(1).tolist() == [right, right]


@pytest.mark.smoke
def test_rows_of_infinities_share_the_probability():
    rows = [
        [math.inf, 1.0, math.inf],
        [-math.inf] * 3,
        [-math.inf, 0.0, -math.inf],
        [math.inf, -math.inf, 0.0],
        [1000.0, 0.0, -1000.0],
        [-800.0, -1600.0, -800.0],
    ]
    for columns in (1, 9):
        preds = torch.tensor(rows).repeat(1, columns)
        target = torch.zeros(len(rows), dtype=torch.int64)
        for dtype in SCORE_DTYPES:
            check(calibration_call("multiclass", preds.to(dtype), target, 15, 1, logits=True))


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 300.0])
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_random_logits(dtype, scale):
    """Sigmoid and softmax over many magnitudes, also where they saturate."""
    generator = torch.Generator().manual_seed(5)
    for task, classes in (("binary", 1), ("multiclass", 11), ("multiclass", 57)):
        shape = (400,) if task == "binary" else (400, classes)
        preds = (torch.randn(shape, dtype=torch.float64, generator=generator) * scale).to(dtype)
        target = torch.randint(0, max(classes, 2), (400,), generator=generator)
        call = calibration_call(task, preds, target, 15, start=0)
        answer = call.answer().delta
        for implementation in implementations(OP).values():
            state = run(call, implementation).state.numpy()
            assert np.array_equal(state[..., ::2], answer[..., ::2])
            np.testing.assert_allclose(state, answer, rtol=1e-9, atol=1e-30)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_small_float(dtype):
    """All 65536 values of the 16-bit types."""
    preds = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    target = torch.ones(len(preds), dtype=torch.int8)
    call = calibration_call("binary", preds, target, start=0)
    expected, outcome = (run(call, implementations(OP)["reference"]), run(call, native_op(OP)))
    assert torch.equal(outcome.state[..., ::2], expected.state[..., ::2])
    assert torch.equal(outcome.events, expected.events)
    # Sigmoids of subnormal scores lie halfway between two float32 numbers: either may be taken.
    torch.testing.assert_close(outcome.state, expected.state, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_layouts(preds_layout, target_layout):
    for dtype in (torch.float32, torch.float16, torch.float64):
        for task, classes in (("binary", 1), ("multiclass", 3), ("multiclass", 19)):
            for shape in ((40,), (3, 2, 5)):
                preds, target = calibration_inputs(task, shape, classes, dtype, seed=7)
                preds, target = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
                check(calibration_call(task, preds, target, 5))


@pytest.mark.smoke
def test_planes_of_whole_tiles():
    """`[B, C, H, W]` is read in place, tile by tile."""
    for classes in (3, 40):
        preds, target = calibration_inputs("multiclass", (2, 70), classes, torch.float32, 8)
        preds.view(-1)[::301] = math.nan
        check(calibration_call("multiclass", preds, target))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("task", TASKS)
def test_weights(task, dtype):
    rng = np.random.default_rng(13)
    for shape in ((71,), (19, 4)):
        preds, target = calibration_inputs(task, shape, 2, torch.float32, 13)
        target.view(-1)[::5] = -1
        weight = random_weights(shape[0], dtype, rng)
        for layout in ("contiguous", "strided", "repeated_rows"):
            check(
                calibration_call(
                    task, preds, target, 5, weight=LAYOUTS[layout](weight), ignore_index=-1
                )
            )


@pytest.mark.parametrize("start", [2**24, 2**31, 2**52])
def test_large_counts_continue(start):
    for task in TASKS:
        preds, target = calibration_inputs(task, (65,), 2, torch.float32, 19, inside=True)
        call = calibration_call(task, preds, target, 3, 1, start=start + 1)
        for implementation in implementations(OP).values():
            grown = run(call, implementation).state[..., 0] - call.state[..., 0]
            assert grown.sum() == 65


@pytest.mark.smoke
@pytest.mark.parametrize("shape", [(0,), (0, 2), (3, 0)])
@pytest.mark.parametrize("task", TASKS)
def test_empty_inputs_add_nothing(task, shape):
    preds, target = calibration_inputs(task, shape, 3, torch.float32, 0)
    for weight in (None, torch.ones(shape[0])):
        assert not check(calibration_call(task, preds, target, 4, weight=weight)).delta.any()


@pytest.mark.smoke
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("value", [-1, 3, 256, 2**31, 2**32 + 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("task", TASKS)
def test_wrong_labels(task, value, validate):
    preds, target = calibration_inputs(task, (70, 2), 3, torch.float32, 1)
    target.view(-1)[-3] = value
    for ignore_index in (None, 1, value):
        answer = check(
            calibration_call(task, preds, target, ignore_index=ignore_index, validate=validate)
        )
        assert bool(answer.bad) == (ignore_index != value)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("task", "classes"), [("binary", 1), ("multiclass", 3), ("multiclass", 20)]
)
def test_same_bits_for_any_number_of_threads(native, task, classes, weighted):
    generator = torch.Generator().manual_seed(3)
    shape = (60_003,) if task == "binary" else (60_003, classes)
    preds = torch.randn(shape, generator=generator)
    target = torch.randint(0, max(classes, 2), (60_003,), generator=generator)
    target[::7] = -1
    weight = torch.rand(60_003, generator=generator) if weighted else None
    call = calibration_call(task, preds, target, 15, 2, weight, ignore_index=-1, start=0)
    reference = run(call, implementations(OP)["reference"])
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run(call, native_op(OP)))
    finally:
        torch.set_num_threads(before)
    for outcome in results:
        assert torch.equal(outcome.state, results[0].state)
        assert torch.equal(outcome.events, reference.events)
    torch.testing.assert_close(results[0].state, reference.state, rtol=1e-10, atol=1e-7)


def random_call(seed):
    """Everything drawn at random, including labels out of range."""
    rng = np.random.default_rng(seed)

    def pick(values):
        return values[rng.integers(len(values))]

    task = pick(TASKS)
    shape = (int(pick((1, 5, 33, 70))), *pick(((), (), (1,), (20,), (2, 3))))
    preds, target = calibration_inputs(
        task,
        shape,
        int(pick((2, 3, 17))),
        pick(SCORE_DTYPES),
        seed,
        pick(LABEL_DTYPES),
        special=float(pick((0, 0, 0.2))),
        inside=bool(rng.random() < 0.4),
    )
    if rng.random() < 0.3:
        target[torch.from_numpy(rng.random(tuple(target.shape)) < 0.02)] = pick((-1, 100, 2)) % 127
    weight = pick((None, None, pick(WEIGHT_DTYPES)))
    if weight is not None:
        weight = random_weights(shape[0], weight, rng)
    return calibration_call(
        task,
        LAYOUTS[pick(list(LAYOUTS))](preds),
        LAYOUTS[pick(list(LAYOUTS))](target),
        int(pick((1, 2, 3, 10, 15, 100, 400))),
        readings=int(pick((1, 2))),
        weight=weight,
        logits=bool(rng.random() < 0.5),
        ignore_index=pick((None, None, 0, 1, -1, 255)),
        validate=bool(rng.random() < 0.6),
    )


@pytest.mark.parametrize("block", range(3))
def test_random_calls(block):
    for seed in range(block * 40, (block + 1) * 40):
        check(random_call(seed))


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(3, 30))
def test_many_random_calls(block):
    for seed in range(block * 100, (block + 1) * 100):
        check(random_call(seed))


def call_op(preds, target, num_classes=0, weight=None, state=None):
    if state is None:
        state = torch.zeros(1, 4, 3, dtype=torch.float64)
    ops.calibration_bins_(state, new_events(), preds, target, weight, bin_edges(3), num_classes)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(preds=torch.zeros(3, dtype=torch.int64)), "`preds` must be a float tensor"),
        (dict(preds=torch.zeros(4)), "the same shape"),
        (dict(target=torch.zeros(3)), "`target` must be an integer or bool tensor"),
        (dict(preds=torch.tensor(0.5), target=torch.tensor(1)), "at least one axis"),
        (dict(num_classes=4), r"must have shape \(N, C, ...\) with `target` \(N, ...\)"),
        (dict(num_classes=5, preds=torch.zeros(3, 4)), "with C=5"),
        (dict(weight=torch.ones(2)), "`weight` must have one entry per sample"),
        (dict(state=torch.zeros(1, 4, 3, dtype=torch.int64)), "state must be float64"),
    ],
)
def test_metadata_is_checked(arguments, text):
    with pytest.raises(ValueError, match=text):
        call_op(
            **{"preds": torch.zeros(3), "target": torch.zeros(3, dtype=torch.int64), **arguments}
        )


def test_direct_calls_stay_in_bounds(native):
    """What the Python checks cannot see the kernel refuses."""
    preds, target = torch.rand(9), torch.zeros(9, dtype=torch.int64)
    state, edges = torch.zeros(1, 4, 3, dtype=torch.float64), bin_edges(3)

    def call(state=state, edges=edges, num_classes=0):
        native_op(OP)(
            state, new_events(), preds, target, None, edges, num_classes, False, None, True
        )

    call()
    for bad in (edges[:, :3], edges.float(), edges[0], edges[:1], edges.repeat(2, 1)):
        with pytest.raises((ValueError, RuntimeError)):
            call(edges=bad)
    for bad in (state[..., :2], state[0], state.repeat(3, 1, 1), state.float(), state[:, :2]):
        with pytest.raises((ValueError, RuntimeError)):
            call(state=bad)
    with pytest.raises((ValueError, RuntimeError)):
        call(num_classes=3)
