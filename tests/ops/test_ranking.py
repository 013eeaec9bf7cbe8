"""ranking_sums_: every implementation against an oracle in Python numbers."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from fastmetrics import ops
from fastmetrics.ops.faults import new_events
from tests.ops import cases, oracles
from tests.ops.cases import LABEL_DTYPES, LAYOUTS, SCORE_DTYPES, WEIGHT_DTYPES
from tests.ops.test_opcheck import TESTS

OP = "ranking_sums_"
START = 5.0
MEASURES = range(1, 8)


class RankingCall(NamedTuple):
    preds: Tensor
    target: Tensor
    measures: int = 7
    weight: Tensor | None = None
    ignore_index: int | None = None
    validate: bool = True

    def arguments(self) -> tuple[Any, ...]:
        state = torch.full((4,), START, dtype=torch.float64)
        return (state, torch.tensor([3, 5, 7]), *self)


def reaches(score: float, bound: float) -> bool:
    return math.isnan(bound) or score >= bound


def measures_of(row: list[tuple[float, int]]) -> tuple[Fraction, Fraction, Fraction]:
    """Coverage, precision and loss of one row of scores and marks, as exact numbers."""
    positives = [score for score, mark in row if mark == 1]
    negatives = [score for score, mark in row if mark == 0]
    ranks = [sum(reaches(score, own) for score, _ in row) for own in positives]
    alike = [sum(reaches(score, own) for score in positives) for own in positives]
    if not positives or not negatives:
        return Fraction(len(positives)), Fraction(1), Fraction(0)
    precision = sum(Fraction(a, r) for a, r in zip(alike, ranks, strict=True)) / len(positives)
    wrong = sum(ranks) - sum(alike)
    return Fraction(max(ranks)), precision, Fraction(wrong, len(positives) * len(negatives))


def oracle(call: RankingCall) -> tuple[list[float], list[int], list[tuple[int, int]]]:
    amounts = oracles.amounts(call.weight, call.target.shape[0])
    width = call.target.shape[1]
    marks = call.target.to(torch.int64)
    bad = [
        (int(mark), index)
        for index, mark in enumerate(marks.flatten().tolist())
        if not oracles.is_ignored(mark, call.ignore_index) and mark not in (0, 1)
    ]
    scores = call.preds.to(torch.float64).movedim(1, -1).reshape(-1, width).tolist()
    rows = marks.movedim(1, -1).reshape(-1, width).tolist()
    sums, events = [0.0] * 4, [0, 0, 0]
    depth = len(rows) // max(1, len(amounts))
    for index, (score_row, mark_row) in enumerate(zip(scores, rows, strict=True)):
        row = [
            (score, mark)
            for score, mark in zip(score_row, mark_row, strict=True)
            if not oracles.is_ignored(mark, call.ignore_index)
        ]
        if not row or any(mark not in (0, 1) for _, mark in row):
            continue
        events[1] += any(math.isnan(score) for score, _ in row)
        amount = amounts[index // depth]
        for column, value in enumerate((*measures_of(row), Fraction(1))):
            if column == 3 or call.measures >> column & 1:
                sums[column] += amount * float(value)
    return sums, events, bad


def check(call: RankingCall) -> None:
    """Every implementation adds what the oracle says, or refuses with its words."""
    sums, events, bad = oracle(call)
    for name, implementation in cases.implementations(OP).items():
        arguments = call.arguments()
        state, counters = arguments[:2]
        if bad and call.validate:
            allowed = "lie in [0, 2)"
            if call.ignore_index is not None:
                allowed += f" or equal ignore_index={call.ignore_index}"
            text = f"{OP}: `target` must {allowed}, got {bad[0][0]} at flat index {bad[0][1]}."
            with pytest.raises(RuntimeError) as caught:
                implementation(*arguments)
            assert str(caught.value) == text, name
            assert (state == START).all() and counters.tolist() == [3, 5, 7], name
            continue
        implementation(*arguments)
        expected = torch.tensor(sums, dtype=torch.float64) + START
        torch.testing.assert_close(state, expected, rtol=1e-14, atol=0, msg=f"{name}: {{}}".format)
        assert (counters - torch.tensor([3, 5, 7])).tolist() == events, name


def inputs(shape, dtype=torch.float32, seed=0, target_dtype=torch.int64, special=0.0, share=None):
    """Scores with many ties; ``share`` of the labels are positive."""
    preds, target = cases.label_inputs(shape, dtype, seed, target_dtype, special)
    if share is not None:
        target = torch.from_numpy(np.random.default_rng(seed).random(shape) < share).to(
            target_dtype
        )
    return preds, target


@pytest.mark.smoke
@pytest.mark.parametrize("measures", MEASURES)
def test_measures(measures):
    for shape in ((9, 4), (5, 3, 2), (2, 3, 2, 2), (3, 1)):
        check(RankingCall(*inputs(shape), measures))


@pytest.mark.smoke
@pytest.mark.parametrize("labels", [1, 2, 3, 15, 16, 17, 31, 33, 64, 100])
def test_numbers_of_labels(labels):
    for share in (0.05, 0.5, 0.95):
        check(RankingCall(*inputs((7, labels), seed=labels, share=share)))
        check(RankingCall(*inputs((7, labels), seed=labels, share=share), 1))


@pytest.mark.parametrize("dtype", SCORE_DTYPES)
@pytest.mark.parametrize("labels", [250, 700])
def test_rows_that_are_sorted(labels, dtype):
    """Enough positives for the sort, by comparisons and by bytes; few values and all different."""
    rng = np.random.default_rng(labels)
    for share in (0.3, 0.92):
        preds, target = inputs((1, labels), dtype, labels, special=0.05, share=share)
        check(RankingCall(preds, target))
        order = rng.permuted(np.tile(np.arange(labels) - labels // 2, (1, 1)), axis=1)
        check(RankingCall(torch.from_numpy(order * 37.0).to(dtype), target))


@pytest.mark.smoke
@pytest.mark.parametrize("target_dtype", LABEL_DTYPES)
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_dtypes(dtype, target_dtype):
    for shape in ((11, 20), (4, 5, 3)):
        check(RankingCall(*inputs(shape, dtype, 3, target_dtype)))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", SCORE_DTYPES)
def test_nan_and_infinities(dtype):
    """NaN ranks below minus infinity, and equals NaN; -0 equals +0."""
    for measures in (1, 7):
        check(RankingCall(*inputs((80, 6), dtype, 5, special=0.5), measures))
    inf, nan = math.inf, math.nan
    rows = torch.tensor([[nan, -inf, 0.0], [-0.0, 0.0, -inf], [inf, inf, nan], [nan] * 3])
    for marks in np.ndindex(2, 2, 2):
        for measures in (1, 7):
            check(RankingCall(rows.to(dtype), torch.tensor([marks] * 4), measures))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_small_float(dtype):
    """Neighbours of the 16-bit types rank as they should."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    pairs = torch.stack([every, every.roll(1)], 1)
    target = torch.tensor([[1, 0]]).expand(len(every), 2)
    numbers = pairs.double()
    above = (numbers[:, 1] >= numbers[:, 0]) | numbers[:, 0].isnan()
    expected = torch.tensor(
        [len(every) + above.sum(), len(every) - 0.5 * above.sum(), above.sum(), len(every)],
        dtype=torch.float64,
    )
    for implementation in cases.implementations(OP).values():
        arguments = RankingCall(pairs, target).arguments()
        implementation(*arguments)
        assert torch.equal(arguments[0] - START, expected)


@pytest.mark.smoke
def test_float64_scores_keep_their_last_digits():
    scores = torch.tensor([[1.0, 1.0 + 2**-52, 1.0 - 2**-53]], dtype=torch.float64)
    for marks in np.ndindex(2, 2, 2):
        check(RankingCall(scores, torch.tensor([marks])))


@pytest.mark.parametrize("target_layout", LAYOUTS)
@pytest.mark.parametrize("preds_layout", LAYOUTS)
def test_layouts(preds_layout, target_layout):
    for dtype in (torch.float32, torch.bfloat16):
        for shape in ((12, 5), (4, 3, 5), (2, 3, 2, 2)):
            preds, target = inputs(shape, dtype, 7)
            preds, target = LAYOUTS[preds_layout](preds), LAYOUTS[target_layout](target)
            check(RankingCall(preds, target))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_weights(dtype):
    rng = np.random.default_rng(13)
    for shape in ((31, 4), (9, 4, 3)):
        preds, target = inputs(shape, seed=13)
        target.view(-1)[::5] = -1
        weight = cases.random_weights(shape[0], dtype, rng)
        for layout in ("contiguous", "strided", "repeated_rows"):
            check(RankingCall(preds, target, 7, LAYOUTS[layout](weight), -1))


@pytest.mark.smoke
@pytest.mark.parametrize("ignore_index", [-1, 0, 1, 255])
def test_ignored_labels_take_no_part(ignore_index):
    preds, target = inputs((40, 5), seed=2)
    target.view(-1)[::3] = ignore_index
    target[4] = ignore_index
    for measures in (1, 7):
        check(RankingCall(preds, target, measures, ignore_index=ignore_index))


@pytest.mark.smoke
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 3, 0), (0, 3, 2)])
def test_empty_inputs_add_nothing(shape):
    for implementation in cases.implementations(OP).values():
        for weight in (None, torch.ones(shape[0])):
            arguments = RankingCall(*inputs(shape), weight=weight).arguments()
            implementation(*arguments)
            assert (arguments[0] == START).all() and arguments[1].tolist() == [3, 5, 7]


@pytest.mark.smoke
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("value", [-1, 2, 256, 2**31, 2**32 + 1, 2**63 - 1, -(2**63)])
def test_wrong_labels(value, validate):
    """Without checks the row is left out as a whole."""
    preds, target = inputs((9, 4, 2))
    target.view(-1)[-3] = value
    for ignore_index in (None, 1, value):
        check(RankingCall(preds, target, 7, None, ignore_index, validate))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", [7, 300])
def test_same_bits_for_any_number_of_threads(native, labels, weighted):
    preds, target = torch.randn(120_000 // labels, labels), None
    target = torch.randint(0, 2, preds.shape)
    weight = torch.rand(len(preds)) if weighted else None
    results = []
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        arguments = RankingCall(preds, target, 7, weight).arguments()
        cases.native_op(OP)(*arguments)
        results.append(arguments[0])
    for state in results[1:]:
        assert torch.equal(state.view(torch.int64), results[0].view(torch.int64))
    arguments = RankingCall(preds, target, 7, weight).arguments()
    cases.implementations(OP)["reference"](*arguments)
    torch.testing.assert_close(results[0], arguments[0], rtol=1e-12, atol=0)


def random_call(seed: int) -> RankingCall:
    rng = np.random.default_rng(seed)

    def pick(values):
        return values[rng.integers(len(values))]

    shape = (int(pick((1, 5, 21))), int(pick((1, 2, 9, 40))), *pick(((), (), (1,), (4,), (2, 3))))
    preds, target = inputs(
        shape, pick(SCORE_DTYPES), seed, pick(LABEL_DTYPES), float(pick((0, 0, 0.2)))
    )
    weight = pick((None, None, pick(WEIGHT_DTYPES)))
    if weight is not None:
        weight = cases.random_weights(shape[0], weight, rng)
    return RankingCall(
        LAYOUTS[pick(list(LAYOUTS))](preds),
        LAYOUTS[pick(list(LAYOUTS))](target),
        int(pick(MEASURES)),
        weight,
        pick((None, None, 0, 1, -1, 255)),
        bool(rng.random() < 0.6),
    )


def test_random_calls():
    for seed in range(60):
        check(random_call(seed))


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(30))
def test_many_random_calls(block):
    for seed in range(1000 + block * 100, 1100 + block * 100):
        check(random_call(seed))


@pytest.mark.parametrize("weight", [None, torch.rand(6)], ids=["plain", "weighted"])
def test_opcheck(weight):
    preds, target = inputs((6, 4))
    call = RankingCall(preds.requires_grad_(), target, 7, weight)
    torch.library.opcheck(cases.native_op(OP), call.arguments(), test_utils=TESTS)


def call_op(preds, target, measures=7, weight=None, state=None):
    if state is None:
        state = torch.zeros(4, dtype=torch.float64)
    ops.ranking_sums_(state, new_events(), preds, target, measures, weight)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(preds=torch.zeros(3, 2, dtype=torch.int64)), "`preds` must be a float tensor"),
        (dict(preds=torch.zeros(3, 3)), "the same shape"),
        (dict(target=torch.zeros(3, 2)), "`target` must be an integer or bool tensor"),
        (
            dict(preds=torch.zeros(3), target=torch.zeros(3, dtype=torch.int64)),
            r"must have shape \(N, L, ...\)",
        ),
        (dict(measures=0), "`measures` must be a sum of 1, 2 and 4, got 0"),
        (dict(measures=8), "`measures` must be a sum of 1, 2 and 4, got 8"),
        (dict(weight=torch.ones(2)), "`weight` must have one entry per sample"),
        (dict(state=torch.zeros(4)), "must be float64"),
    ],
)
def test_metadata_is_checked(arguments, text):
    good = {"preds": torch.zeros(3, 2), "target": torch.zeros(3, 2, dtype=torch.int64)}
    with pytest.raises(ValueError, match=text):
        call_op(**{**good, **arguments})


def test_direct_calls_stay_in_bounds(native):
    """What the Python checks cannot see the kernel refuses."""
    op = cases.native_op(OP)
    preds, target = torch.rand(9, 4), torch.zeros(9, 4, dtype=torch.int64)
    for shape in ((3,), (5,), (1, 4), ()):
        state = torch.zeros(shape, dtype=torch.float64)
        with pytest.raises((ValueError, RuntimeError)):
            op(state, new_events(), preds, target, 7, None, None, True)
    state = torch.zeros(4, dtype=torch.float64)
    for bad in (preds[:, :3], preds[:8], preds[0]):
        with pytest.raises((ValueError, RuntimeError)):
            op(state, new_events(), bad, target, 7, None, None, True)
