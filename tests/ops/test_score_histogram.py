"""Score histograms: every implementation against the oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fastmetrics import ops
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
from tests.ops.cases_histogram import (
    IMAGE_OP,
    OP,
    TASKS,
    check,
    edges_of,
    histogram_call,
    histogram_inputs,
    histogram_rows,
    image_bin,
    image_call,
    image_rows,
)

# Unsorted gaps, repeated thresholds, the borders, and beyond them.
THRESHOLDS = torch.tensor([-0.5, 0.0, 0.0, 0.1, 0.25, 0.5, 0.5, 0.75, 1.0, 1.25, 2.0])


def neighbours(values: torch.Tensor) -> torch.Tensor:
    """The values with the numbers next to them on either side."""
    up = torch.nextafter(values, torch.full_like(values, math.inf))
    down = torch.nextafter(values, torch.full_like(values, -math.inf))
    return torch.cat([values, up, down])


@pytest.mark.smoke
def test_rows():
    for call in histogram_rows(OP) + image_rows(IMAGE_OP):
        check(call)


@pytest.mark.parametrize("size", SIZES)
def test_sizes(size):
    for task in TASKS:
        for inside in (True, False):
            preds, target = histogram_inputs(task, (size,), 3, torch.float32, size, inside=inside)
            check(histogram_call(task, preds, target, 7))
            check(histogram_call(task, preds, target, THRESHOLDS))


@pytest.mark.parametrize("num_classes", [2, 5, 16, 33, 1030])
def test_numbers_of_classes(num_classes):
    for task in TASKS[1:]:
        preds, target = histogram_inputs(task, (7,), num_classes, torch.float32, 1, special=0.02)
        check(histogram_call(task, preds, target, 3))


@pytest.mark.smoke
@pytest.mark.parametrize("target_dtype", LABEL_DTYPES)
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_dtypes(dtype, target_dtype):
    for task in TASKS:
        for shape in ((37,), (5, 9)):
            preds, target = histogram_inputs(task, shape, 2, dtype, 3, target_dtype)
            for thresholds in (6, THRESHOLDS):
                check(histogram_call(task, preds, target, thresholds))


@pytest.mark.smoke
@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 11, 100, 200, 1001, 4096])
def test_scores_on_and_next_to_uniform_thresholds(count):
    """Each reading, alone and together, decides `score >= threshold` exactly."""
    thresholds = torch.linspace(0, 1, count)
    scores = neighbours(thresholds).clamp(0, 1)
    logits = neighbours(edges_of(thresholds, "binary", 1, True)[0].float())
    for values in (scores, torch.cat([scores, logits])):
        target = torch.arange(len(values)) % 2
        edges = edges_of(thresholds, "binary", 2)
        # Both ways to accumulate: a batch larger, and one smaller than the state.
        for repeats in (1, 3):
            preds = values.repeat(repeats)
            labels = target.repeat(repeats)
            for readings, as_logits in ((2, False), (1, False), (1, True)):
                call = histogram_call(
                    "binary", preds, labels, count, readings, logits=as_logits, start=0
                )
                rows = edges if readings == 2 else edges[int(as_logits)][None]
                expected = torch.zeros_like(call.state)
                for index, row in enumerate(rows):
                    bins = (preds.double()[:, None] >= row).sum(1)
                    expected[index, 0].view(-1).index_add_(
                        0, labels * (count + 1) + bins, torch.ones_like(bins)
                    )
                for name, implementation in implementations(OP).items():
                    outcome = run(call, implementation)
                    assert torch.equal(outcome.state, expected), (name, repeats, readings)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_small_float(dtype):
    """All 65536 values of the 16-bit types."""
    preds = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    target = torch.ones(len(preds), dtype=torch.int8)
    for thresholds in (9, THRESHOLDS):
        check(histogram_call("binary", preds, target, thresholds))
    inside = preds[(preds >= 0) & (preds <= 1)]
    check(histogram_call("binary", inside, target[: len(inside)], 9))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_nan_and_infinities(dtype):
    for task in TASKS:
        preds, target = histogram_inputs(task, (130,), 4, dtype, 5, special=0.3)
        target.view(-1)[::5] = -1
        for thresholds in (8, THRESHOLDS):
            for readings, logits in ((2, False), (1, False), (1, True)):
                check(
                    histogram_call(
                        task, preds, target, thresholds, readings, logits=logits, ignore_index=-1
                    )
                )


@pytest.mark.smoke
def test_rows_of_infinities_share_the_probability():
    rows = [
        [math.inf, 1.0, math.inf],
        [-math.inf] * 3,
        [-math.inf, 0.0, -math.inf],
        [math.inf, -math.inf, 0.0],
        [1000.0, 0.0, -1000.0],
    ]
    preds, target = torch.tensor(rows), torch.zeros(len(rows), dtype=torch.int64)
    for dtype in SCORE_DTYPES:
        for count in (2, 3, 4, 11):
            check(histogram_call("multiclass", preds.to(dtype), target, count, 1, logits=True))


@pytest.mark.smoke
def test_a_threshold_that_no_logit_reaches():
    """`sigmoid(score) >= 1.5` never holds, not even at infinity; `>= -0.5` always does."""
    preds = torch.tensor([-math.inf, -3.0, 0.0, 200.0, math.inf])
    target = torch.ones(5, dtype=torch.int64)
    thresholds = torch.tensor([-0.5, 0.5, 1.0, 1.5])
    call = histogram_call("binary", preds, target, thresholds, 1, logits=True, start=0)
    check(call)
    assert run(call, native_op(OP)).state[0, 0, 1].tolist() == [0, 2, 2, 1, 0]


@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_layouts(preds_layout, target_layout):
    for dtype in (torch.float32, torch.float16, torch.float64):
        for task in TASKS:
            for shape in ((40,), (4, 9), (3, 2, 5)):
                preds, target = histogram_inputs(task, shape, 3, dtype, seed=7)
                preds, target = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
                check(histogram_call(task, preds, target, 5))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("task", TASKS)
def test_weights(task, dtype):
    rng = np.random.default_rng(13)
    for shape in ((71,), (19, 4)):
        for inside in (True, False):
            preds, target = histogram_inputs(task, shape, 2, torch.float32, 13, inside=inside)
            target.view(-1)[::5] = -1
            weight = random_weights(shape[0], dtype, rng)
            for layout in ("contiguous", "strided", "repeated_rows"):
                for count in (5, 100):  # larger and smaller than the batch
                    check(
                        histogram_call(
                            task,
                            preds,
                            target,
                            count,
                            weight=LAYOUTS[layout](weight),
                            ignore_index=-1,
                        )
                    )


@pytest.mark.smoke
@pytest.mark.parametrize("task", TASKS)
def test_counting_into_a_float_state(task):
    """An update without weights after one with weights counts each sample once."""
    preds, target = histogram_inputs(task, (40,), 3, torch.float32, 17)
    for count in (3, 300):
        check(histogram_call(task, preds, target, count, weighted=True))


@pytest.mark.parametrize("start", [2**24, 2**31, 2**32, 2**53, 2**62])
def test_large_counts_continue(start):
    for task in TASKS:
        preds, target = histogram_inputs(task, (65,), 2, torch.float32, 19)
        for count in (3, 300):
            check(histogram_call(task, preds, target, count, start=start + 1))


@pytest.mark.smoke
@pytest.mark.parametrize("shape", [(0,), (0, 2), (3, 0)])
@pytest.mark.parametrize("task", TASKS)
def test_empty_inputs_add_nothing(task, shape):
    preds, target = histogram_inputs(task, shape, 3, torch.float32, 0)
    for weight in (None, torch.ones(shape[0])):
        assert not check(histogram_call(task, preds, target, 4, weight=weight)).delta.any()


@pytest.mark.smoke
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("value", [-1, 3, 256, 2**31, 2**32 + 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("task", TASKS)
def test_wrong_labels(task, value, validate):
    """Both ways to accumulate, and what is ignored may be anything."""
    preds, target = histogram_inputs(task, (70, 2), 3, torch.float32, 1)
    target.view(-1)[-3] = value
    for count in (3, 2000):
        for ignore_index in (None, 1, value):
            answer = check(
                histogram_call(
                    task, preds, target, count, ignore_index=ignore_index, validate=validate
                )
            )
            assert bool(answer.bad) == (ignore_index != value)


def uniform_call(task, size, dtype=torch.float32, **options):
    rng = np.random.default_rng(3)
    num_classes = 3
    preds, target = histogram_inputs(task, (size,), num_classes, dtype, 3, inside=True)
    target.view(-1)[::7] = -1
    if options.pop("mixed", False):  # a few blocks with scores outside [0, 1], the others without
        flat = preds.view(-1)
        flat[:: len(flat) // 5] = 3.0
    weight = torch.from_numpy(rng.random(size)) if options.pop("weighted", False) else None
    return histogram_call(
        task, preds, target, 50, weight=weight, ignore_index=-1, start=0, **options
    )


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_same_counts_for_any_number_of_threads(native, task, mixed):
    call = uniform_call(task, 150_003, mixed=mixed)
    expected = run(call, implementations(OP)["reference"])
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        outcome = run(call, native_op(OP))
        assert torch.equal(outcome.state, expected.state), threads
        assert torch.equal(outcome.events, expected.events), threads


@pytest.mark.parametrize("task", TASKS)
def test_same_bits_for_any_number_of_threads(native, task):
    call = uniform_call(task, 150_003, mixed=True, weighted=True)
    results = []
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        results.append(run(call, native_op(OP)).state)
    for state in results[1:]:
        assert torch.equal(state.view(torch.int64), results[0].view(torch.int64))
    reference = run(call, implementations(OP)["reference"]).state
    torch.testing.assert_close(results[0], reference, rtol=1e-10, atol=1e-7)


@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_softmax_of_random_logits(dtype):
    """Kernel and reference agree in every bin, over many magnitudes."""
    for scale in (0.1, 1.0, 10.0, 300.0):
        preds = (torch.randn(3000, 11, dtype=torch.float64) * scale).to(dtype)
        target = torch.randint(0, 11, (3000,))
        call = histogram_call("multiclass", preds, target, 200)
        reference = run(call, implementations(OP)["reference"])
        outcome = run(call, native_op(OP))
        assert torch.equal(outcome.state, reference.state)
        assert torch.equal(outcome.events, reference.events)


def random_call(seed):
    """Everything drawn at random, including labels out of range."""
    rng = np.random.default_rng(seed)

    def pick(values):
        return values[rng.integers(len(values))]

    task = pick(TASKS)
    num_classes = int(pick((2, 3, 17)))
    shape = (int(pick((1, 5, 33, 70))), *pick(((), (), (1,), (20,), (2, 3))))
    preds, target = histogram_inputs(
        task,
        shape,
        num_classes,
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
    thresholds = pick((2, 3, 5, 13, 60, torch.from_numpy(np.sort(rng.random(9))), THRESHOLDS))
    return histogram_call(
        task,
        LAYOUTS[pick(list(LAYOUTS))](preds),
        LAYOUTS[pick(list(LAYOUTS))](target),
        thresholds,
        readings=int(pick((1, 2))),
        weight=weight,
        logits=bool(rng.random() < 0.5),
        ignore_index=pick((None, None, 0, 1, -1, 255)),
        validate=bool(rng.random() < 0.6),
        start=pick((None, 2**31, 2**50)),
    )


@pytest.mark.parametrize("block", range(3))
def test_random_calls(block):
    for seed in range(block * 50, (block + 1) * 50):
        check(random_call(seed))


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(3, 30))
def test_many_random_calls(block):
    for seed in range(block * 100, (block + 1) * 100):
        check(random_call(seed))


EDGES = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64)


def call_op(preds, target, multiclass=False, weight=None, num_classes=1, state=None, edges=EDGES):
    if state is None:
        state = torch.zeros(1, num_classes, 2, 4, dtype=torch.int64)
    ops.score_histogram_(state, new_events(), preds, target, weight, edges, False, multiclass)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(preds=torch.zeros(3, dtype=torch.int64)), "`preds` must be a float tensor"),
        (dict(preds=torch.zeros(4)), "the same shape"),
        (dict(target=torch.zeros(3)), "`target` must be an integer or bool tensor"),
        (dict(preds=torch.tensor(0.5), target=torch.tensor(1)), "at least one axis"),
        (dict(num_classes=2), r"\(N, L, ...\) with L=2"),
        (dict(multiclass=True), r"must have shape \(N, C, ...\) with `target` \(N, ...\)"),
        (dict(multiclass=True, preds=torch.zeros(3, 4), num_classes=5), "with C=5"),
        (dict(weight=torch.ones(2)), "`weight` must have one entry per sample"),
        (dict(weight=torch.ones(3)), "needs a float64 state"),
        (dict(edges=EDGES.float()), r"contiguous float64 of shape \(1, 3\) to fit the state"),
        (dict(edges=EDGES[:, :2]), r"of shape \(1, 3\) to fit the state, .* shape \(1, 2\)"),
        (dict(edges=EDGES[0]), r"of shape \(1, 3\) to fit the state, .* shape \(3,\)"),
        (dict(edges=EDGES.repeat(2, 1)), r"of shape \(1, 3\) to fit the state, .* shape \(2, 3\)"),
        (dict(edges=EDGES.repeat(1, 2)[:, ::2]), r"must be contiguous .* strides \(6, 2\)"),
        (dict(edges=EDGES.to("meta")), "`edges` must be on the device of the metric state, cpu"),
        (dict(state=torch.zeros(1, 2, 4)), r"\[H, C, 2, B\] .* got \(1, 2, 4\)"),
        (dict(state=torch.zeros(3, 1, 2, 4)), r"\[H, C, 2, B\] .* got \(3, 1, 2, 4\)"),
        (dict(state=torch.zeros(1, 1, 3, 4)), r"\[H, C, 2, B\] .* got \(1, 1, 3, 4\)"),
        (dict(state=torch.zeros(1, 1, 2, 1)), r"\[H, C, 2, B\] .* got \(1, 1, 2, 1\)"),
        (dict(state=torch.zeros(1, 0, 2, 4)), r"\[H, C, 2, B\] .* got \(1, 0, 2, 4\)"),
    ],
)
def test_metadata_is_checked(arguments, text):
    with pytest.raises(ValueError, match=text):
        call_op(
            **{"preds": torch.zeros(3), "target": torch.zeros(3, dtype=torch.int64), **arguments}
        )


def test_direct_calls_stay_in_bounds(native):
    """What the Python checks cannot see the kernel refuses."""
    op = native_op(OP)
    preds, target = torch.rand(9), torch.zeros(9, dtype=torch.int64)
    edges = torch.linspace(0, 1, 3, dtype=torch.float64)[None]
    state = torch.zeros(1, 1, 2, 4, dtype=torch.int64)
    for bad in (edges[:, :2], edges.float(), edges[0], edges.repeat(2, 1), edges[:, :0]):
        with pytest.raises((ValueError, RuntimeError)):
            op(state, new_events(), preds, target, None, bad, False, False, False, None, True)
    with pytest.raises((ValueError, RuntimeError)):
        op(
            state,
            new_events(),
            preds,
            target,
            torch.ones(2),
            edges,
            False,
            False,
            False,
            None,
            True,
        )


# Over the images of the scores.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_images_of_every_small_float(dtype):
    """16 bits tell all numbers of their type apart, in their order."""
    preds = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    target = torch.ones(len(preds), dtype=torch.int8)
    numbers = preds.double().tolist()
    # As float32, a float16 leaves bits behind.
    for half in (True, False) if dtype == torch.float16 else (False,):
        images = torch.tensor([image_bin(number, 16, half) for number in numbers])
        for bits in (16, 11, 5, 1):
            call = image_call("binary", preds, target, bits, half=half, start=0)
            expected = torch.bincount(images >> (16 - bits), minlength=2**bits)
            for name, implementation in implementations(IMAGE_OP).items():
                state = run(call, implementation).state
                assert torch.equal(state[0, 0, 1], expected), (name, bits, half)
                assert not state[0, 0, 0].any()
        if half or dtype == torch.bfloat16:
            order = images[~preds.isnan()][preds[~preds.isnan()].double().argsort()]
            assert len(order.unique()) == (~preds.isnan()).sum() - 1  # both zeros are one
            assert torch.equal(order, order.sort().values) and order[0] > 0


def wide_scores(seed, count, dtype):
    """Numbers of every magnitude and sign, with ties, zeros, infinities and NaN."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**32, size=count, dtype=np.uint32)
    scores = torch.from_numpy(bits.view(np.float32).copy()).to(dtype)
    scores[:8] = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, -math.nan, 1.0, -1.0])
    scores[8:12] = torch.tensor([1e300, -1e300, 1e-300, -1e-300], dtype=torch.float64).to(dtype)
    return scores[torch.from_numpy(rng.permutation(count))]


@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_images_of_scores_of_every_magnitude(dtype):
    scores = wide_scores(3, 600, dtype)
    target = torch.arange(600) % 2
    for half in (False, True) if dtype == torch.float16 else (False,):
        for bits in (16, 12, 7, 2, 1):  # more, and fewer cells than scores
            check(image_call("binary", scores, target, bits, half=half))
            rows, labels = scores.view(-1, 3), target.view(-1, 3)
            check(image_call("multilabel", rows, labels, bits, half=half))
            check(image_call("multiclass", rows, target[:200], bits, 1, half=half))


def test_double_scores_are_rounded_to_the_nearest_float():
    """Halfway cases and overflow; what rounds to zero shares the bin of zero."""
    one = torch.tensor(1.0, dtype=torch.float64)
    step = 2.0**-24
    scores = torch.stack([one, one + step, one + step * 1.01, one - step / 2, one * 1e39])
    scores = torch.cat([scores, -scores, torch.tensor([1e-60, -1e-60], dtype=torch.float64)])
    check(image_call("binary", scores, torch.ones(len(scores), dtype=torch.int64), 16, start=0))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_images_of_softmax(dtype):
    """Shares of float16 scores are rounded to float16 when their own images are asked for."""
    preds, target = histogram_inputs("multiclass", (150,), 5, dtype, 5, special=0.2)
    preds[::3] *= 11  # shares below the normal range of float16
    for half in (False, True) if dtype == torch.float16 else (False,):
        for bits in (16, 5):
            check(image_call("multiclass", preds, target, bits, half=half))
            check(image_call("multiclass", preds, target, bits, 1, logits=True, half=half))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_image_layouts_and_weights(layout):
    rng = np.random.default_rng(13)
    for task in TASKS:
        for shape in ((40,), (4, 9), (3, 2, 5)):
            preds, target = histogram_inputs(task, shape, 3, torch.float32, seed=7)
            weight = random_weights(shape[0], torch.float64, rng)
            target.view(-1)[::5] = -1
            arguments = (task, LAYOUTS[layout](preds), LAYOUTS[layout](target))
            for bits in (3, 11):
                check(image_call(*arguments, bits, ignore_index=-1))
                check(image_call(*arguments, bits, weight=weight, ignore_index=-1))


@pytest.mark.smoke
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_wrong_labels_of_images(task, validate):
    preds, target = histogram_inputs(task, (70, 2), 3, torch.float32, 1)
    target.view(-1)[-3] = 2**32 + 1
    for bits in (3, 13):
        for ignore_index in (None, 1, 2**32 + 1):
            answer = check(
                image_call(task, preds, target, bits, ignore_index=ignore_index, validate=validate)
            )
            assert bool(answer.bad) == (ignore_index != 2**32 + 1)


@pytest.mark.parametrize("task", TASKS)
def test_same_image_counts_for_any_number_of_threads(native, task):
    preds, target = histogram_inputs(task, (150_003,), 3, torch.float32, 3, inside=True)
    for weight in (None, torch.rand(150_003)):
        for bits in (6, 16):
            call = image_call(task, preds, target, bits, weight=weight, start=0)
            expected = run(call, implementations(IMAGE_OP)["reference"])
            states = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                outcome = run(call, native_op(IMAGE_OP))
                states.append(outcome.state)
                assert torch.equal(outcome.events, expected.events), threads
            assert all(torch.equal(state, states[0]) for state in states)
            torch.testing.assert_close(states[0], expected.state, rtol=1e-10, atol=1e-7)


@pytest.mark.smoke
def test_empty_images_add_nothing():
    for task in TASKS:
        for shape in ((0,), (0, 2), (3, 0)):
            preds, target = histogram_inputs(task, shape, 3, torch.float32, 0)
            assert not check(image_call(task, preds, target)).delta.any()


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("state", "options", "text"),
    [
        (torch.zeros(1, 1, 2, 12), {}, "a power of two from 2 to 65536 bins, got 12"),
        (torch.zeros(1, 1, 2, 2**17), {}, "a power of two from 2 to 65536 bins, got 131072"),
        (torch.zeros(2, 1, 2, 16), {}, "must hold one reading"),
        (torch.zeros(1, 2, 16), {}, r"must have shape \[H, C, 2, B\]"),
        (torch.zeros(1, 1, 2, 16), {"half": True}, "`half` needs float16 `preds`"),
        (torch.zeros(1, 2, 2, 16), {}, r"\(N, L, ...\) with L=2"),
        (torch.zeros(1, 1, 2, 16), {"weight": torch.ones(3)}, "needs a float64 state"),
    ],
)
def test_metadata_of_images_is_checked(state, options, text):
    state = state.long()
    arguments = (torch.zeros(3), torch.zeros(3, dtype=torch.int64))
    options = {"weight": None, **options}
    with pytest.raises(ValueError, match=text):
        ops.score_image_histogram_(state, new_events(), *arguments, **options)
    if implementations(IMAGE_OP).get("native"):
        weight, half = options["weight"], options.get("half", False)
        rest = (weight, half, False, False, None, True)
        with pytest.raises((ValueError, RuntimeError)):
            native_op(IMAGE_OP)(state, new_events(), *arguments, *rest)
    assert not state.any()
