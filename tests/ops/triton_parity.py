"""Triton kernels against the references; `test_triton` runs this file in a process of its own.

In that process either ``TRITON_INTERPRET=1`` is set, or ``FASTMETRICS_TRITON_DEVICE=cuda``.
"""

import itertools
import math
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import triton.language as tl
from torch import Tensor

from fastmetrics.ops import (
    aggregate,
    calibration,
    checks,
    co_moments,
    confusion,
    curve,
    error_sums,
    exact_match,
    faults,
    row_similarity,
    score_histogram,
    stat_scores,
    tensor_stats,
)
from fastmetrics.ops import inputs as rules
from fastmetrics.ops import triton as kernels
from fastmetrics.ops.backend import launcher_of
from fastmetrics.ops.define import REFERENCES, WITHOUT_TRITON
from fastmetrics.ops.triton import reading
from tests.ops import test_fused as fusing
from tests.ops import test_keep_scores as keeping
from tests.ops.cases import LAYOUTS, random_weights
from tests.ops.cases_calibration import calibration_call, calibration_inputs
from tests.ops.cases_histogram import (
    TASKS,
    edges_of,
    histogram_call,
    histogram_inputs,
    image_call,
)

DEVICE = os.environ.get("FASTMETRICS_TRITON_DEVICE", "cpu")
launchers = SimpleNamespace(**{op: launcher_of(op) for op in REFERENCES.keys() - WITHOUT_TRITON})
SCORE_DTYPES = sorted(checks.SCORE_DTYPES, key=str)
LABEL_DTYPES = sorted(checks.LABEL_DTYPES, key=str)
INF, NAN = math.inf, math.nan


def _repair_interpreter() -> None:
    """Let triton 3.6's interpreter work with numpy >= 2.4, exactly, and at a bearable speed.

    It widens subnormal bfloat16 wrongly, patches the language again for each call of a function,
    and reduces with a function of our own element by element; the last is left as it is in
    `test_the_reduction_itself_puts_nan_first`.
    """
    from triton.runtime import interpreter

    patch_tensor, patch_language = interpreter._patch_lang_tensor, interpreter._patch_lang
    convert, reduce = interpreter._convert_float, interpreter.ReduceOps.apply_impl
    patched = set()

    def patch_index(tensor, scope):
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    def patch_once(function):
        seen = tuple(any(x is y for y in function.__globals__.values()) for x in (tl, tl.core))
        if seen in patched:
            return interpreter._LangPatchScope()
        patched.add(seen)
        scope = patch_language(function)
        restore = scope.restore
        scope.restore = lambda: (patched.clear(), restore())
        return scope

    def widen(data, source, target, rounding):
        if source == tl.bfloat16 and target == tl.float32:
            return data.view(np.uint16).astype(np.uint32) << 16
        return convert(data, source, target, rounding)

    def apply(self, input):
        if self.combine_fn is reading.nan_max and FAST_REDUCTION:
            return self.min_max(input[0], val_reduce_op=np.max)
        return reduce(self, input)

    memory = CheckedMemory(interpreter._interpreter)
    init_arguments = interpreter.GridExecutor._init_args_hst

    def note_ranges(self, arguments, keywords):
        copies = init_arguments(self, arguments, keywords)
        tensors = [x for x in copies[0] if isinstance(x, Tensor)]
        begins = [x.untyped_storage().data_ptr() for x in tensors]
        sizes = [x.untyped_storage().nbytes() for x in tensors]
        memory.ranges = [(begin, begin + size) for begin, size in zip(begins, sizes, strict=True)]
        return copies

    interpreter._interpreter = memory
    interpreter.GridExecutor._init_args_hst = note_ranges
    interpreter._patch_lang_tensor = patch_index
    interpreter._patch_lang = patch_once
    interpreter._convert_float = widen
    interpreter.ReduceOps.apply_impl = apply


class CheckedMemory:
    """The interpreter's memory access, refusing addresses outside the tensors of the launch."""

    def __init__(self, memory):
        self.memory = memory
        self.ranges = []

    def __getattr__(self, name):
        return getattr(self.memory, name)

    def check(self, pointers, values, mask):
        assert pointers.shape == values.shape == mask.shape
        active = pointers[mask.astype(bool)].astype(np.uint64)
        allowed = np.zeros(active.shape, bool)
        for first, last in self.ranges:
            allowed |= (active >= first) & (active + values.itemsize <= last)
        assert allowed.all(), f"{(~allowed).sum()} of {active.size} addresses are out of bounds"

    def load(self, pointers, mask, other, dtype):
        self.check(pointers, other, mask)
        return self.memory.load(pointers, mask, other, dtype)

    def store(self, pointers, value, mask):
        self.check(pointers, value, mask)
        self.memory.store(pointers, value, mask)

    def atomic_rmw(self, op, pointers, value, mask, order):
        self.check(pointers, value, mask)
        return self.memory.atomic_rmw(op, pointers, value, mask, order)


FAST_REDUCTION = True
if DEVICE == "cpu":
    _repair_interpreter()


def on_device(value):
    return value.to(DEVICE) if isinstance(value, Tensor) and DEVICE != "cpu" else value


def compare(name: str, state: Tensor, invalid: int, *args, validate: bool = True) -> None:
    """Run kernel and reference on copies of ``state``, and compare state and events."""
    module = {"stat_scores_": stat_scores, "confusion_": confusion, "label_confusion_": confusion}
    module["score_histogram_"] = module["score_image_histogram_"] = score_histogram
    module["score_histogram_"] = score_histogram
    module["calibration_bins_"] = calibration
    references = module.get(name, exact_match)
    expected, expected_events = state.clone(), torch.tensor([5, 6, 7])
    getattr(references, f"{name[:-1]}_reference")(expected, expected_events, *args, False)
    actual, events = on_device(state.clone()), on_device(torch.tensor([5, 6, 7]))
    launcher_of(name)(actual, events, *map(_to_device_strided, args), validate)
    expected_events[faults.INVALID] += invalid if validate else 0
    assert events.tolist() == expected_events.tolist()
    torch.testing.assert_close(actual.cpu(), expected, rtol=1e-12, atol=1e-12)


def _to_device_strided(value):
    """Copy to the device with the strides kept, also those of zero."""
    if not isinstance(value, Tensor) or DEVICE == "cpu":
        return value
    base = value.as_strided((value.untyped_storage().nbytes() // value.element_size(),), (1,), 0)
    return base.to(DEVICE).as_strided(value.shape, value.stride(), value.storage_offset())


def class_inputs(seed, n, c, depth=(), dtype=torch.float32, labels=False, ignore=None, bad=0.0):
    """Multiclass inputs with ties; ``bad`` is the share of targets out of range."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, c, (n, *depth), generator=generator)
    if ignore is not None:
        target[torch.rand(target.shape, generator=generator) < 0.3] = ignore
    wrong = torch.rand(target.shape, generator=generator) < bad
    target[wrong] = torch.tensor([-7, c, c + 1000])[
        torch.randint(0, 3, (int(wrong.sum()),), generator=generator)
    ]
    if labels:
        preds = torch.where(
            torch.rand(target.shape, generator=generator) < 0.5,
            target.clamp(0, c - 1),
            torch.randint(0, c, target.shape, generator=generator),
        )
    else:
        preds = torch.randn((n, c, *depth), generator=generator).mul(3).round().to(dtype)
    return preds, target


def count_invalid(preds: Tensor, target: Tensor, classes: int, ignore: int | None) -> int:
    kept = target != ignore if ignore is not None else torch.ones_like(target, dtype=torch.bool)
    limit = preds.shape[1] if preds.ndim > target.ndim else classes or 2**31 - 1
    bad = (target < 0) | (target >= limit)
    if preds.ndim == target.ndim:
        bad |= (preds < 0) | (preds >= limit)
    return int((kept & bad).sum())


def every_class_op(preds, target, classes, ignore=None, weight=None, top_k=1, samplewise=True):
    """Compare all ops that read multiclass inputs, in all shapes of their state."""
    n = target.shape[0]
    invalid = count_invalid(preds, target, classes, ignore)
    kind = torch.int64 if weight is None else torch.float64
    tail = (preds, target, weight)
    for shape in ((classes, 4), (1, 4), (n, classes, 4), (n, 1, 4)):
        if len(shape) == 3 and not samplewise:
            continue
        state = torch.full(shape, 3, dtype=kind)
        compare("stat_scores_", state, invalid, *tail, classes, top_k, ignore)
    if top_k > 1:
        return
    compare("confusion_", torch.full((classes, classes), 3, dtype=kind), invalid, *tail, ignore)
    for shape in ((2,), (n, 2)):
        if len(shape) == 1 or samplewise:
            state = torch.full(shape, 3, dtype=kind)
            compare("exact_match_", state, invalid, *tail, classes, ignore)


@pytest.mark.parametrize("depth", [(), (5,), (3, 4)], ids=str)
@pytest.mark.parametrize("classes", [2, 3, 10, 33])
@pytest.mark.parametrize("labels", [False, True], ids=["scores", "labels"])
def test_class_shapes(classes, depth, labels):
    preds, target = class_inputs(classes, 5, classes, depth, labels=labels, ignore=-1, bad=0.2)
    every_class_op(preds, target, classes, -1)


@pytest.mark.parametrize("ignore", [None, 1], ids=["all", "ignore"])
@pytest.mark.parametrize("classes", [257, 300])
@pytest.mark.parametrize("labels", [False, True], ids=["scores", "labels"])
def test_many_classes_are_scattered(classes, labels, ignore):
    preds, target = class_inputs(1, 21, classes, labels=labels, ignore=ignore, bad=0.1)
    every_class_op(preds, target, classes, ignore, samplewise=False)


@pytest.mark.parametrize("labels", [False, True], ids=["scores", "labels"])
def test_scattered_without_bad_labels(labels):
    preds, target = class_inputs(2, 30, 400, labels=labels)
    every_class_op(preds, target, 400, samplewise=False)


@pytest.mark.parametrize("rows", [1, 5000])
@pytest.mark.parametrize("top_k", [1, 3])
def test_class_axis_in_several_blocks(rows, top_k):
    preds, target = class_inputs(3, 12, 5000, ignore=-100)
    preds[3, 4999] = preds[4, 4096] = preds[5, 4095] = INF
    preds[6, 4500] = preds[6, 10] = NAN
    preds[7] = -INF
    target[3:7] = torch.tensor([4999, 4096, 4095, 4500])
    compare(
        "stat_scores_", torch.zeros(rows, 4, dtype=torch.int64), 0,
        preds, target, None, 5000, top_k, -100,
    )  # fmt: skip


@pytest.mark.skipif(DEVICE == "cpu", reason="too slow to interpret; the loop is the same at 5000")
def test_hundred_thousand_classes():
    preds, target = class_inputs(3, 64, 100_000)
    compare(
        "stat_scores_", torch.zeros(100_000, 4, dtype=torch.int64), 0,
        preds, target, None, 100_000, 1, None,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_score_dtypes_and_odd_values(dtype, classes):
    preds, target = class_inputs(4, 16, classes, dtype=dtype)
    preds[0] = NAN
    preds[1, 1] = NAN
    preds[2, 0] = INF
    preds[2, -1] = NAN
    preds[3] = -INF
    preds[4] = INF
    preds[5] = 0.0
    preds[5, 0] = -0.0
    preds[6, -1] = torch.finfo(dtype).max
    preds[7] = torch.finfo(dtype).min
    preds[8] = torch.finfo(dtype).smallest_normal / 2
    preds[8, 0] = 0.0
    every_class_op(preds, target, classes, samplewise=False)
    for top_k in (2, classes):
        every_class_op(preds, target, classes, top_k=top_k, samplewise=False)


@pytest.mark.parametrize("dtype", LABEL_DTYPES, ids=str)
def test_label_dtypes(dtype):
    classes = 2 if dtype == torch.bool else 7
    preds, target = class_inputs(5, 40, classes, labels=True)
    every_class_op(preds.to(dtype), target, classes, samplewise=False)
    every_class_op(preds, target.to(dtype), classes, 1, samplewise=False)
    scores, target = class_inputs(5, 40, classes)
    every_class_op(scores, target.to(dtype), classes, 1, samplewise=False)


def test_ignore_index_255_in_uint8():
    preds, target = class_inputs(6, 40, 7, ignore=255)
    every_class_op(preds, target.to(torch.uint8), 7, 255, samplewise=False)


def test_bad_predicted_labels():
    preds, target = class_inputs(7, 8, 7, labels=True)
    preds[3], preds[4] = -1, 7
    every_class_op(preds, target, 7)


def test_unvalidated_updates_leave_bad_labels_out_in_silence():
    preds, target = class_inputs(7, 40, 7, bad=0.2)
    counts = torch.zeros(7, 4, dtype=torch.int64)
    compare("stat_scores_", counts, 9, preds, target, None, 7, 1, None, validate=False)
    compare("confusion_", counts.new_zeros(7, 7), 9, preds, target, None, None, validate=False)
    compare("exact_match_", counts.new_zeros(2), 9, preds, target, None, 7, None, validate=False)
    preds, target, groups = label_inputs(7, (40, 3), torch.float32, bad=0.2)
    groups[0] = 9
    tail = (preds, target, None, groups, 0.5, False, None)
    compare("label_confusion_", counts.new_zeros(2, 4, 2, 2), 9, *tail, validate=False)
    tail = (preds, target, None, None, 0.5, False, None)
    compare("label_confusion_", counts.new_zeros(2, 3, 2, 2), 9, *tail, validate=False)
    tail = (preds, target, None, 3, 0.5, False, None)
    compare("label_exact_match_", counts.new_zeros(2, 2), 9, *tail, validate=False)


@pytest.mark.parametrize("labels", [False, True], ids=["scores", "labels"])
def test_unknown_number_of_classes(labels):
    preds, target = class_inputs(8, 9, 7, labels=labels)
    target[5] = -2
    target[6] = 2**31 - 1
    target[7] = 2**40
    if labels:
        preds[3] = target[3] = 2**31 - 2
    invalid = count_invalid(preds, target, 0, None)
    state = torch.zeros(1, 4, dtype=torch.int64)
    for kind in (torch.int64, torch.float64):
        compare("stat_scores_", state.to(kind), invalid, preds, target, None, 0, 1, None)
    for shape in ((2,), (9, 2)):
        state = torch.zeros(shape, dtype=torch.int64)
        compare("exact_match_", state, invalid, preds, target, None, 0, None)


@pytest.mark.parametrize("top_k", [2, 3, 7])
@pytest.mark.parametrize("depth", [(), (6,)], ids=str)
def test_top_k(top_k, depth):
    preds, target = class_inputs(9, 7, 7, depth, ignore=3, bad=0.1)
    preds[preds == 2] = NAN
    every_class_op(preds, target, 7, 3, top_k=top_k)


def class_layouts():
    """The same logical inputs over every memory layout that torch can make."""
    preds, target = class_inputs(10, 6, 5, (4, 3), ignore=-1)
    yield "channels last", preds.movedim(1, -1).contiguous().movedim(-1, 1), target
    yield "target transposed", preds, target.mT.contiguous().mT
    wide = torch.full((12, 10, 8, 6), NAN)
    wide[::2, ::2, ::2, ::2] = preds
    yield "sliced", wide[::2, ::2, ::2, ::2], target
    wide_target = torch.full((6, 9, 3), 99)
    wide_target[:, 1:5] = target
    yield "target window", preds, wide_target[:, 1:5]
    yield "expanded", preds[:1].expand(6, 5, 4, 3), target[:1].expand(6, 4, 3)
    yield "reversed axes", preds.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0), target
    offset = torch.zeros(preds.numel() + 1)
    offset[1:] = preds.flatten()
    yield "misaligned", offset[1:].view(preds.shape), target


@pytest.mark.parametrize("layout", list(class_layouts()), ids=lambda layout: layout[0])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_class_layouts(layout, weighted):
    _, preds, target = layout
    weight = torch.linspace(0, 1, 12, dtype=torch.float64)[::2] if weighted else None
    every_class_op(preds, target, 5, -1, weight)


def test_many_axes_that_do_not_merge():
    preds, target = class_inputs(11, 3, 4, (2, 3, 2, 3))
    every_class_op(
        preds.permute(5, 3, 1, 4, 2, 0).contiguous().permute(5, 2, 4, 1, 3, 0), target, 4
    )


def test_several_blocks_per_program():
    preds, target = class_inputs(12, 20_000, 7, labels=True, ignore=2, bad=0.01)
    every_class_op(preds, target, 7, 2, samplewise=False)
    every_class_op(preds, target, 300, 2, samplewise=False)


def test_64_bit_positions(monkeypatch):
    for module in (kernels.stat_scores, kernels.confusion, kernels.exact_match):
        monkeypatch.setattr(module, "is_wide", lambda positions: True)
    preds, target = class_inputs(13, 4, 5, (4,))
    every_class_op(preds.mT.contiguous().mT, target, 5)
    preds, target, _ = label_inputs(13, (3, 5, 4), torch.float32)
    every_label_op(preds, target, 5)


def test_offsets_past_2_31():
    """A class stride of 2**30 elements: the offset of class 4 does not fit 32 bits."""
    if DEVICE == "cpu":
        pytest.skip("needs 8 GiB of memory")
    preds = torch.empty(5 * 2**30, dtype=torch.bfloat16, device=DEVICE).as_strided(
        (3, 5), (1, 2**30)
    )
    preds.copy_(torch.tensor([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [1, 2, 9, 2, 1]]))
    state = torch.zeros(5, 4, dtype=torch.int64, device=DEVICE)
    events = torch.zeros(3, dtype=torch.int64, device=DEVICE)
    target = torch.tensor([4, 0, 2], device=DEVICE)
    launchers.stat_scores_(state, events, preds, target, None, 5, 1, None, True)
    assert state[:, 0].tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("dtype", sorted(checks.WEIGHT_DTYPES, key=str), ids=str)
@pytest.mark.parametrize("depth", [(), (5,)], ids=str)
def test_weights(dtype, depth):
    preds, target = class_inputs(14, 150, 6, depth, ignore=4, bad=0.1)
    weight = torch.rand(150, generator=torch.Generator().manual_seed(1)).mul(3).to(dtype)
    every_class_op(preds, target, 6, 4, weight, samplewise=False)
    every_class_op(preds[:3], target[:3], 6, 4, weight[:3])


def test_unweighted_update_of_a_weighted_state():
    preds, target = class_inputs(15, 50, 6)
    state = torch.full((6, 4), 0.25, dtype=torch.float64)
    compare("stat_scores_", state, 0, preds, target, None, 6, 1, None)
    compare("confusion_", state.new_full((6, 6), 0.25), 0, preds, target, None, None)
    compare("exact_match_", state.new_full((2,), 0.25), 0, preds, target, None, 6, None)
    scores, labels, _ = label_inputs(15, (50, 6), torch.float32)
    tail = (scores, labels, None, None, 0.5, False, None)
    compare("label_confusion_", state.new_full((2, 6, 2, 2), 0.25), 0, *tail)


def test_weighted_cells_that_must_be_zero_are_zero():
    """Every target, or every prediction, is class 0: it has no true negatives, not even 1e-14."""
    several = torch.arange(700) % 3
    weight = torch.rand(700, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for preds, target in ((several * 0, several), (several, several * 0)):
        for rows in (3, 1):
            state = on_device(torch.zeros(rows, 4, dtype=torch.float64))
            inputs = [on_device(value) for value in (preds, target, weight)]
            launchers.stat_scores_(state, on_device(faults.new_events()), *inputs, 3, 1, None, True)
            expected = torch.zeros(rows, 4, dtype=torch.float64)
            tail = (preds, target, weight, 3, 1, None, True)
            stat_scores.stat_scores_reference(expected, faults.new_events(), *tail)
            torch.testing.assert_close(state.cpu(), expected, rtol=1e-13, atol=0)
            assert state[0, 2].item() == 0 or rows == 1


def test_weighted_sums_have_the_same_bits_every_time():
    preds, target = class_inputs(16, 3000, 300, labels=True)
    weight = torch.rand(3000, dtype=torch.float64)
    inputs = [on_device(value) for value in (preds, target, weight)]
    results = []
    for _ in range(2):
        state = on_device(torch.zeros(300, 4, dtype=torch.float64))
        launchers.stat_scores_(state, on_device(faults.new_events()), *inputs, 300, 1, None, True)
        results.append(state.cpu())
    assert torch.equal(*results)


def label_inputs(seed, shape, dtype, low=-0.5, high=1.5, bad=0.0, ignore=None):
    """Thresholded inputs; scores on both sides of 0 and 1, or labels for an integer dtype."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 2, shape, generator=generator)
    if ignore is not None:
        target[torch.rand(shape, generator=generator) < 0.3] = ignore
    target[torch.rand(shape, generator=generator) < bad] = 3
    groups = torch.randint(0, 4, shape[:1], generator=generator)
    if dtype.is_floating_point:
        preds = torch.rand(shape, generator=generator).mul(high - low).add(low).to(dtype)
        preds.view(-1)[::7] = 0.5
    else:
        preds = torch.randint(0, 2, shape, generator=generator).to(dtype)
    return preds, target, groups


def every_label_op(
    preds, target, labels, ignore=None, weight=None, groups=None, threshold=0.5, samplewise=True
):
    """Compare the ops that threshold their inputs, in all shapes of their state."""
    n, kind = target.shape[0], torch.int64 if weight is None else torch.float64
    kept = target != ignore if ignore is not None else torch.ones_like(target, dtype=torch.bool)
    bad = (target < 0) | (target > 1)
    if not preds.is_floating_point():
        bad |= (preds.long() < 0) | (preds.long() > 1)
    invalid = int((kept & bad).sum())
    for readings, logits in ((2, False), (1, False), (1, True)):
        state = torch.full((readings, labels, 2, 2), 3, dtype=kind)
        tail = (preds, target, weight, None, threshold, logits, ignore)
        compare("label_confusion_", state, invalid, *tail)
        if samplewise:
            compare("label_confusion_", state.repeat(n, 1, 1, 1, 1), invalid, *tail)
        if labels > 1:
            tail = (preds, target, weight, labels, threshold, logits, ignore)
            state = torch.full((readings, 2), 3, dtype=kind)
            compare("label_exact_match_", state, invalid, *tail)
            if samplewise:
                compare("label_exact_match_", state.repeat(n, 1, 1), invalid, *tail)


@pytest.mark.parametrize(
    ("shape", "labels"),
    [((9,), 1), ((5, 3, 2), 1), ((9, 3), 3), ((5, 5, 4), 5), ((4, 100), 100), ((3, 3, 2, 5), 3)],
    ids=str,
)
def test_label_shapes(shape, labels):
    preds, target, _ = label_inputs(20, shape, torch.float32, bad=0.1, ignore=-1)
    every_label_op(preds, target, labels, -1)


@pytest.mark.parametrize("dtype", SCORE_DTYPES + LABEL_DTYPES, ids=str)
def test_label_ops_take_all_dtypes(dtype):
    preds, target, _ = label_inputs(21, (40, 3), dtype)
    if dtype.is_floating_point:
        preds[1] = NAN
        preds[2] = INF
        preds[3] = -INF
        preds[4], preds[5] = 0.0, 1.0
    every_label_op(preds, target, 3, samplewise=False)
    every_label_op(preds, target.to(torch.uint8), 3, samplewise=False)
    if not dtype.is_floating_point:
        every_label_op(preds.float(), target.to(dtype), 3, samplewise=False)


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 0.7, 1 / 3, 1.0])
def test_scores_next_to_the_threshold(dtype, threshold):
    centres = [threshold, 0.0, 1.0]
    if 0 < threshold < 1:
        centres.append(rules.logit(threshold))
    scores = torch.tensor(centres, dtype=dtype)
    up, down = torch.tensor(INF, dtype=dtype), torch.tensor(-INF, dtype=dtype)
    preds = torch.cat((scores, scores.nextafter(up), scores.nextafter(down), up[None], down[None]))
    target = torch.ones(len(preds), dtype=torch.int64)
    every_label_op(preds, target, 1, threshold=threshold, samplewise=False)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("most_groups", [4, 700])
def test_groups(most_groups, weighted):
    preds, target, groups = label_inputs(22, (200, 3), torch.float32, bad=0.1, ignore=-1)
    preds[5, 1] = NAN
    groups[3], groups[4] = -1, most_groups
    groups[5] = most_groups - 1
    kept = (target == 0) | (target == 1)
    invalid = int(
        (target == 3).sum() + (kept & ((groups < 0) | (groups >= most_groups))[:, None]).sum()
    )
    weight = torch.rand(200, generator=torch.Generator().manual_seed(2)) if weighted else None
    for readings, logits in ((2, False), (1, True)):
        kind = torch.float64 if weighted else torch.int64
        state = torch.zeros(readings, most_groups, 2, 2, dtype=kind)
        tail = (preds, target, weight, groups.to(torch.int16), 0.4, logits, -1)
        compare("label_confusion_", state, invalid, *tail)


def test_samplewise_groups():
    preds, target, groups = label_inputs(22, (6, 3), torch.float32)
    state = torch.zeros(6, 2, 4, 2, 2, dtype=torch.int64)
    compare("label_confusion_", state, 0, preds, target, None, groups, 0.5, False, None)


@pytest.mark.parametrize("shape", [(300,), (130, 4), (40, 70, 3)], ids=str)
def test_label_weights(shape):
    preds, target, _ = label_inputs(23, shape, torch.float32, bad=0.1, ignore=-1)
    weight = torch.rand(shape[0], generator=torch.Generator().manual_seed(2))
    labels = shape[1] if len(shape) > 1 else 1
    every_label_op(preds, target, labels, -1, weight, samplewise=False)


@pytest.mark.parametrize(
    "layout",
    [lambda x: x.mT.contiguous().mT, lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
     lambda x: x.repeat_interleave(2, 1)[:, ::2], lambda x: x[:1].expand(x.shape)],
    ids=["transposed", "samples last", "sliced", "expanded"],
)  # fmt: skip
def test_label_layouts(layout):
    preds, target, _ = label_inputs(24, (4, 5, 4), torch.float32, ignore=-1)
    every_label_op(layout(preds), target, 5, -1, samplewise=False)
    every_label_op(preds, layout(target), 5, -1)


def test_several_label_blocks_per_program():
    preds, target, _ = label_inputs(25, (12_000,), torch.float32)
    every_label_op(preds, target, 1, samplewise=False)
    preds, target, _ = label_inputs(25, (2000, 6), torch.float32)
    every_label_op(preds, target, 6, samplewise=False)


def test_empty_inputs_change_nothing():
    events = on_device(torch.tensor([1, 2, 3]))
    for shape in ((0,), (0, 3), (4, 0)):
        target = on_device(torch.zeros(shape, dtype=torch.int64))
        scores = on_device(torch.zeros(shape[0], 5, *shape[1:]))
        state = on_device(torch.full((5, 4), 9))
        launchers.stat_scores_(state, events, scores, target, None, 5, 1, None, True)
        matrix = on_device(torch.full((5, 5), 9))
        launchers.confusion_(matrix, events, scores, target, None, None, True)
        tables = on_device(torch.full((2, 1, 2, 2), 9))
        launchers.label_confusion_(
            tables, events, target.float(), target, None, None, 0.5, False, None, True
        )
        assert all((x == 9).all() for x in (state, matrix, tables))
    assert events.tolist() == [1, 2, 3]


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)], ids=str)
def test_exact_match_of_empty_inputs(shape):
    target = torch.zeros(shape, dtype=torch.int64)
    compare("exact_match_", torch.tensor([5, 5]), 0, target, target, None, 3, None)


def test_state_may_be_a_strided_view():
    preds, target = class_inputs(17, 20, 5)
    whole = on_device(torch.zeros(5, 8, dtype=torch.int64))
    dense = on_device(torch.zeros(5, 4, dtype=torch.int64))
    events = on_device(faults.new_events())
    for state in (whole[:, ::2], dense):
        launchers.stat_scores_(
            state, events, on_device(preds), on_device(target), None, 5, 1, None, True
        )
    assert torch.equal(whole[:, ::2], dense)
    assert not whole[:, 1::2].any()


def test_the_reduction_itself_puts_nan_first(monkeypatch):
    monkeypatch.setitem(globals(), "FAST_REDUCTION", False)
    preds, target = class_inputs(18, 3, 4)
    preds[0] = torch.tensor([INF, NAN, NAN, 1.0])
    preds[1] = torch.tensor([NAN, INF, 1.0, 1.0])
    compare(
        "stat_scores_", torch.zeros(4, 4, dtype=torch.int64), 0, preds, target, None, 4, 1, None
    )


def test_partial_buffers_are_bounded():
    for cells in (1, 100, 4000, 10**6, 4 * 10**5):
        programs = reading.ordered_programs(10**9, cells)
        assert 1 <= programs <= 256
        assert programs * cells <= max(2**23, 4 * cells)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_class_blocks_are_powers_of_two_within_the_budget(size):
    for classes in (1, 2, 3, 10, 64, 65, 100, 1000, 4096, 100_000):
        for top_k in (1, 5):
            block, block_classes, _ = reading.class_blocks(classes, size, top_k)
            assert block.bit_count() == block_classes.bit_count() == 1
            assert block * block_classes <= 4096
            assert block_classes >= min(classes, 1024)


# Repeated thresholds, the borders, beyond them, and one that no score reaches.
THRESHOLDS = torch.tensor([-0.5, 0.0, 0.0, 0.1, 0.25, 0.5, 0.5, 0.75, 1.0, 1.25, NAN])
READINGS = ((2, False), (1, False), (1, True))


def compare_histogram(task, preds, target, thresholds, readings=2, logits=False, **options):
    """Compare one update of histograms; an integer asks for that many uniform thresholds."""
    compare_bins(
        task, histogram_call(task, preds, target, thresholds, readings, logits=logits, **options)
    )


def compare_bins(task, call):
    preds, target = call.preds, call.target
    ignore, validate = call.options["ignore_index"], call.options["validate"]
    limit = call.state.shape[1] if task == "multiclass" else 2
    labels = target.long()
    kept = labels != ignore if ignore is not None else torch.ones_like(labels, dtype=torch.bool)
    invalid = int((kept & ((labels < 0) | (labels >= limit))).sum())
    tail = [value for name, value in call.options.items() if name != "validate"]
    compare(
        call.op, call.state, invalid, preds, target, call.weight, *tail,
        validate=validate,
    )  # fmt: skip


def every_histogram(task, preds, target, ignore=None):
    """Compare all readings, in registers and scattered, with uniform thresholds and with any."""
    for thresholds in (600, THRESHOLDS):
        compare_histogram(task, preds, target, thresholds, ignore_index=ignore)
    for readings, logits in READINGS:
        compare_histogram(task, preds, target, 6, readings, logits, ignore_index=ignore)


@pytest.mark.parametrize("depth", [(), (3, 4)], ids=str)
@pytest.mark.parametrize("classes", [2, 33])
@pytest.mark.parametrize("task", TASKS)
def test_histogram_shapes(task, classes, depth):
    preds, target = histogram_inputs(task, (7, *depth), classes, torch.float32, 30, special=0.1)
    target.view(-1)[::4] = -1
    target.view(-1)[1::9] = classes
    every_histogram(task, preds, target, -1)


@pytest.mark.parametrize("dtype", SCORE_DTYPES + LABEL_DTYPES, ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_histogram_dtypes(task, dtype):
    scores, labels = (dtype, torch.int64) if dtype.is_floating_point else (torch.float32, dtype)
    preds, target = histogram_inputs(task, (40,), 3, scores, 31, labels, special=0.2)
    every_histogram(task, preds, target)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 11, 200, 1001])
def test_scores_on_and_next_to_uniform_thresholds(count, dtype):
    thresholds = torch.linspace(0, 1, count)
    edges = edges_of(thresholds, "binary", 2).flatten().to(dtype)
    up, down = torch.tensor(INF, dtype=dtype), torch.tensor(-INF, dtype=dtype)
    preds = torch.cat((edges, edges.nextafter(up), edges.nextafter(down)))
    target = torch.arange(len(preds)) % 2
    for readings, logits in READINGS:
        for some in (count, thresholds):
            compare_histogram("binary", preds, target, some, readings, logits, start=0)


@pytest.mark.parametrize("count", [2**14, 2**14 + 1])
def test_most_thresholds_that_are_guessed(count):
    edges = edges_of(torch.linspace(0, 1, count), "binary", 2)[:, ::5]
    preds = torch.cat((edges.flatten(), edges.flatten().float().double()))
    target = torch.arange(len(preds)) % 2
    compare_histogram("binary", preds, target, count, start=0)
    compare_histogram("binary", preds.float(), target, count, start=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_histogram_of_every_small_float(dtype):
    preds = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    target = torch.ones(len(preds), dtype=torch.int8)
    compare_histogram("binary", preds, target, 9)


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
@pytest.mark.parametrize("classes", [2, 11])
def test_softmax_of_random_logits(classes, dtype):
    generator = torch.Generator().manual_seed(32)
    for scale in (0.1, 1.0, 10.0, 300.0):
        preds = torch.randn((500, classes), dtype=torch.float64, generator=generator) * scale
        target = torch.randint(0, classes, (500,), generator=generator)
        compare_histogram("multiclass", preds.to(dtype), target, 200, 1, True)


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
def test_softmax_of_infinities(dtype):
    rows = [[INF, 1, INF], [-INF] * 3, [-INF, 0, -INF], [INF, -INF, 0], [9e4, 0, -9e4]]
    rows += [[NAN, INF, 0], [NAN] * 3, [0, -INF, NAN], [2, 2, 2], [-9e4, -9e4, -INF]]
    preds = torch.tensor(rows).to(dtype)
    for thresholds in (2, 3, 4, 11, torch.tensor([0.3, 1 / 3, 0.5, 1.0])):
        compare_histogram("multiclass", preds, torch.zeros(10, dtype=torch.int64), thresholds)


def test_softmax_in_several_tiles():
    classes = 2600
    preds, target = class_inputs(33, 9, classes, ignore=-1)
    preds[1, classes - 1] = preds[2, 1023] = INF
    preds[3] = -INF
    preds[4, ::2] = INF
    preds[5, 0] = NAN
    preds[6, classes - 1] = NAN
    preds[7] = torch.linspace(-800, 800, classes)
    preds[8] = torch.linspace(800, -800, classes)
    for readings, logits in READINGS:
        compare_histogram("multiclass", preds, target, 7, readings, logits, ignore_index=-1)
    strided = preds.T.contiguous().T
    compare_histogram("multiclass", strided, target, 7, ignore_index=-1)
    some = torch.tensor([1 / classes])
    compare_histogram(
        "multiclass", preds, target, some, 1, True, ignore_index=-1, weight=torch.linspace(0, 1, 9)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("task", TASKS)
def test_histogram_layouts(task, layout):
    change = LAYOUTS[layout]
    weight = torch.linspace(0, 1, 12, dtype=torch.float64)[::2]
    for depth in ((), (3, 2)):
        preds, target = histogram_inputs(task, (6, *depth), 4, torch.float32, 34)
        compare_histogram(task, change(preds), change(target), 6)
        compare_histogram(task, change(preds), target, THRESHOLDS[4:], 1, weight=weight)
        compare_histogram(task, preds, change(target), 600)


@pytest.mark.parametrize("dtype", sorted(checks.WEIGHT_DTYPES, key=str), ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_histogram_weights(task, dtype):
    preds, target = histogram_inputs(task, (71,), 2, torch.float32, 35)
    target.view(-1)[::5] = -1
    weight = random_weights(71, dtype, np.random.default_rng(35))
    compare_histogram(task, preds, target, 6, weight=weight, ignore_index=-1)


@pytest.mark.parametrize("classes", [1, 3, 10, 70])
@pytest.mark.parametrize("task", TASKS)
def test_weighted_histograms_of_many_shapes(task, classes):
    weight = torch.rand(13, generator=torch.Generator().manual_seed(3))
    for depth in ((), (3,)):
        preds, target = histogram_inputs(task, (13, *depth), classes, torch.float32, 35)
        target.view(-1)[::5] = -1
        compare_histogram(
            task, preds, target, THRESHOLDS[4:6], 1, True, weight=weight, ignore_index=-1
        )


@pytest.mark.parametrize("task", TASKS)
def test_unweighted_update_of_a_weighted_histogram(task):
    preds, target = histogram_inputs(task, (40,), 3, torch.float32, 36)
    compare_histogram(task, preds, target, 5, weighted=True)


@pytest.mark.parametrize("task", TASKS)
def test_several_histogram_blocks_per_program(task, monkeypatch):
    for positions, thresholds, weighted in (
        (5001, 6, False),
        (5001, 600, False),
        (700, 6, True),
    ):
        preds, target = histogram_inputs(task, (positions,), 3, torch.float32, 37, inside=True)
        weight = torch.rand(positions, generator=torch.Generator().manual_seed(3))
        compare_histogram(task, preds, target, thresholds, weight=weight if weighted else None)
    monkeypatch.setattr(kernels.score_histogram, "is_wide", lambda positions: True)
    preds, target = histogram_inputs(task, (40, 2), 3, torch.float32, 37)
    every_histogram(task, preds, target)


@pytest.mark.parametrize("task", TASKS)
def test_weighted_histograms_have_the_same_bits_every_time(task):
    preds, target = histogram_inputs(task, (400,), 3, torch.float32, 38)
    weight = torch.rand(400, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    call = histogram_call(task, preds, target, 5, weight=weight, start=0)
    results = []
    for _ in range(2):
        state, *rest = map(on_device, call.arguments())
        launchers.score_histogram_(state, *rest)
        results.append(state.cpu())
    assert torch.equal(*results)


@pytest.mark.parametrize("task", TASKS)
def test_unvalidated_histograms_leave_bad_labels_out_in_silence(task):
    preds, target = histogram_inputs(task, (70, 2), 3, torch.float32, 39)
    target.view(-1)[:7] = torch.tensor([-1, 3, 256, 2**31, 2**32 + 1, 2**63 - 1, -(2**63)])
    for validate in (False, True):
        compare_histogram(task, preds, target, 5, validate=validate)


@pytest.mark.parametrize("task", TASKS)
def test_large_counts_of_histograms_continue(task):
    preds, target = histogram_inputs(task, (65,), 2, torch.float32, 40)
    for thresholds in (3, 300):
        compare_histogram(task, preds, target, thresholds, start=2**62 + 1)


@pytest.mark.parametrize("shape", [(0,), (0, 2), (3, 0)], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_histograms_of_empty_inputs(task, shape):
    preds, target = histogram_inputs(task, shape, 3, torch.float32, 0)
    compare_histogram(task, preds, target, 4)


def test_row_tiles_are_powers_of_two_within_the_budget():
    for classes in (1, 2, 3, 10, 64, 65, 1000, 4096, 100_000):
        for ordered in (False, True):
            block, block_classes, _ = kernels.score_histogram.row_blocks(classes, ordered)
            assert block.bit_count() == block_classes.bit_count() == 1
            assert block * block_classes <= 2048
            assert block_classes >= min(classes, 1024)
            assert not ordered or block * block * block_classes <= 4096


def compare_kept(task, preds, target, weight=None, **options):
    """Compare one batch that is kept; the events start at 3, 5, 7."""
    call = keeping.Keep(task, preds, target, weight, **options)
    expected, bad = keeping.oracle(call)
    arguments = [_to_device_strided(value) for value in call.arguments()]
    launchers.keep_scores_(*arguments)
    expected[1][faults.INVALID] += len(bad) if call.validate else 0
    for place, other in zip((0, 1, 5, 6), expected, strict=True):
        assert other is None or keeping.same_bits(arguments[place].cpu(), other), (place, call)


@pytest.mark.parametrize("task", TASKS)
def test_kept_shapes(task):
    weight = torch.linspace(0, 1, 7)
    for classes in (1, 3, 33, 257) if task != "binary" else (1,):
        for depth in ((), (3, 4)):
            preds, target = histogram_inputs(
                task, (7, *depth), classes, torch.float32, 30, special=0.1
            )
            target.view(-1)[::4] = -1
            target.view(-1)[1::9] = classes + 1
            compare_kept(task, preds, target, ignore_index=-1)
            compare_kept(task, preds, target, weight, validate=False)
            compare_kept(task, preds, target, keeps_weights=True)


@pytest.mark.parametrize("dtype", SCORE_DTYPES + LABEL_DTYPES, ids=str)
def test_kept_dtypes(dtype):
    scores, labels = (dtype, torch.int64) if dtype.is_floating_point else (torch.float32, dtype)
    weight = random_weights(40, dtype, np.random.default_rng(35))
    for task in TASKS:
        preds, target = histogram_inputs(task, (40,), 3, scores, 31, labels, special=0.2)
        compare_kept(task, preds, target, weight, ignore_index=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_kept_layouts(layout):
    change = LAYOUTS[layout]
    weight = torch.linspace(0, 1, 12, dtype=torch.float64)[::2]
    for task in TASKS:
        for depth in ((), (3, 2)):
            preds, target = histogram_inputs(task, (6, *depth), 4, torch.float32, 34)
            compare_kept(task, change(preds), change(target), weight)


def test_kept_rows_of_several_tiles():
    preds, target = class_inputs(33, 9, 4500, ignore=-1)
    preds[1, 4499] = preds[2, 0] = NAN
    compare_kept("multiclass", preds, target, ignore_index=-1)
    compare_kept("multilabel", preds, (preds > 0).long(), ignore_index=1)


def test_several_kept_blocks_per_program(monkeypatch):
    for task in TASKS:
        preds, target = histogram_inputs(task, (5001,), 3, torch.float32, 37)
        compare_kept(task, preds, target, ignore_index=0)
    monkeypatch.setattr(kernels.keep_scores, "is_wide", lambda positions: True)
    compare_kept("binary", *histogram_inputs("binary", (700,), 1, torch.float32, 37))


def every_image(task, preds, target, ignore=None):
    """Compare both readings, in registers and scattered."""
    for half in (False, True) if preds.dtype == torch.float16 else (False,):
        for bits in (1, 3, 16 if preds.ndim == 1 else 10):
            compare_bins(
                task, image_call(task, preds, target, bits, ignore_index=ignore, half=half)
            )
        call = image_call(task, preds, target, 12, 1, logits=True, ignore_index=ignore, half=half)
        compare_bins(task, call)


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_images(task, dtype):
    for classes, depth in ((2, ()), (33, (3,))):
        preds, target = histogram_inputs(task, (9, *depth), classes, dtype, 41, special=0.2)
        target.view(-1)[::4] = -1
        target.view(-1)[1::9] = classes
        every_image(task, preds, target, -1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_images_of_every_small_float(dtype):
    preds = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    every_image("binary", preds, torch.ones(len(preds), dtype=torch.int8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_images_of_scores_of_every_magnitude(dtype):
    generator = torch.Generator().manual_seed(42)
    bits = torch.randint(-(2**31), 2**31, (3000,), generator=generator).to(torch.int32)
    preds = torch.cat((bits.view(torch.float32).to(dtype), torch.tensor([0.0, -0.0], dtype=dtype)))
    every_image("binary", preds, torch.arange(len(preds)) % 2)


@pytest.mark.parametrize("task", TASKS)
def test_weighted_images(task):
    weight = torch.rand(71, generator=torch.Generator().manual_seed(3))
    preds, target = histogram_inputs(task, (71,), 2, torch.float32, 43)
    for bits in (3, 8):
        compare_bins(task, image_call(task, preds, target, bits, weight=weight))
        compare_bins(task, image_call(task, preds, target, bits, weighted=True))


def compare_calibration(task, preds, target, n_bins=15, readings=2, logits=False, **options):
    call = calibration_call(task, preds, target, n_bins, readings, logits=logits, **options)
    ignore = call.options["ignore_index"]
    labels = target.long()
    kept = labels != ignore if ignore is not None else torch.ones_like(labels, dtype=torch.bool)
    invalid = int((kept & ((labels < 0) | (labels >= (call.options["num_classes"] or 2)))).sum())
    tail = [value for name, value in call.options.items() if name != "validate"]
    validate = call.options["validate"]
    compare(
        "calibration_bins_", call.state, invalid, preds, target, call.weight, *tail,
        validate=validate,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", SCORE_DTYPES + LABEL_DTYPES, ids=str)
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_calibration_dtypes(task, dtype):
    scores, labels = (dtype, torch.int64) if dtype.is_floating_point else (torch.float32, dtype)
    for special in (0.0, 0.2):
        preds, target = calibration_inputs(task, (40,), 3, scores, 31, labels, special=special)
        for readings, logits in READINGS:
            compare_calibration(task, preds, target, 15, readings, logits)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_calibration_layouts_and_weights(task, layout):
    change = LAYOUTS[layout]
    weight = torch.linspace(0, 1, 14, dtype=torch.float64)[::2]
    for depth in ((), (3, 4)):
        preds, target = calibration_inputs(task, (7, *depth), 3, torch.float32, 32, special=0.1)
        target.view(-1)[::4] = -1
        target.view(-1)[1::9] = 3
        for how in ({}, {"weight": weight, "ignore_index": -1}, {"validate": False}):
            compare_calibration(task, change(preds), change(target), **how)


@pytest.mark.parametrize("classes", [2, 33, 1030])
def test_calibration_of_wide_rows(classes):
    """One tile of classes, and several."""
    preds, target = calibration_inputs("multiclass", (5,), classes, torch.float32, 33)
    preds[0, -1], preds[1, 0], preds[2] = NAN, INF, -INF
    compare_calibration("multiclass", preds, target)


@pytest.mark.parametrize("guess", [True, False])
@pytest.mark.parametrize("n_bins", [1, 2, 3, 100, 700])
def test_calibration_edges(n_bins, guess, monkeypatch):
    """On and next to them; one tile of bins, and several, which report events once."""
    monkeypatch.setattr(kernels.calibration, "MOST_GUESSED", 2**14 if guess else 0)
    for dtype in (torch.float32, torch.float64):
        edges = torch.linspace(0, 1, n_bins + 1, dtype=dtype)[-40:]
        next_to = [torch.nextafter(edges, torch.full_like(edges, end)) for end in (-1.0, 2.0)]
        preds = torch.cat([edges, *next_to, torch.tensor([NAN, 1.0, INF], dtype=dtype)])
        compare_calibration("binary", preds, torch.arange(len(preds)) % 3, n_bins)


def test_calibration_of_many_blocks():
    for task in ("binary", "multiclass"):
        preds, target = calibration_inputs(task, (700,), 3, torch.float32, 34, inside=True)
        compare_calibration(task, preds, target, 31)


def compare_sums(name, state, invalid, preds, target, *options, validate=True):
    """As `compare` for float64 sums, whose arguments have another order and which may be NaN."""
    expected, expected_events = state.clone(), torch.tensor([5, 6, 7])
    REFERENCES[name](expected, expected_events, preds, target, *options, False)
    actual, events = on_device(state.clone()), on_device(torch.tensor([5, 6, 7]))
    moved = map(_to_device_strided, (preds, target, *options))
    launcher_of(name)(actual, events, *moved, validate)
    expected_events[faults.INVALID] += invalid if validate else 0
    assert events.tolist() == expected_events.tolist()
    torch.testing.assert_close(actual.cpu(), expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def compare_hinge(task, preds, target, ignore=None, weight=None, readings=READINGS, **options):
    """Compare all readings, of a loss per sample and, for multiclass inputs, per class."""
    multiclass = task == "multiclass"
    limit = preds.shape[1] if multiclass else 2
    kept = target.long() != ignore if ignore is not None else torch.ones(target.shape).bool()
    invalid = int((kept & ((target.long() < 0) | (target.long() >= limit))).sum())
    for (count, logits), losses in itertools.product(readings, {1, limit if multiclass else 1}):
        compare_sums(
            "hinge_sums_", torch.full((count, losses + 1), 3.0, dtype=torch.float64), invalid,
            preds, target, multiclass, count == 2, logits, weight, ignore, **options,
        )  # fmt: skip


HINGE_TASKS = ("binary", "multiclass")


@pytest.mark.parametrize("depth", [(), (3, 4)], ids=str)
@pytest.mark.parametrize("classes", [2, 19])
@pytest.mark.parametrize("task", HINGE_TASKS)
def test_hinge_shapes(task, classes, depth):
    preds, target = histogram_inputs(task, (7, *depth), classes, torch.float32, 30)
    target.view(-1)[::4] = -1
    target.view(-1)[1::9] = classes
    compare_hinge(task, preds, target, -1)
    compare_hinge(task, preds, target, -1, readings=READINGS[:1], validate=False)


@pytest.mark.parametrize("dtype", SCORE_DTYPES + LABEL_DTYPES, ids=str)
@pytest.mark.parametrize("task", HINGE_TASKS)
def test_hinge_dtypes(task, dtype):
    scores, labels = (dtype, torch.int64) if dtype.is_floating_point else (torch.float32, dtype)
    preds, target = histogram_inputs(task, (40,), 2, scores, 31, labels)
    compare_hinge(task, preds, target, readings=READINGS[:1])


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
@pytest.mark.parametrize("task", HINGE_TASKS)
def test_hinge_of_nan_and_infinities(task, dtype):
    """Each sample alone, because one NaN makes a sum NaN."""
    rows = [[INF, 1, INF], [-INF] * 3, [INF, -INF, 0], [9e4, 0, -9e4], [NAN, INF, 0], [0, 2, NAN]]
    preds = torch.tensor(rows).to(dtype)
    if task == "binary":
        for score in preds.unique():
            for mark in (0, 1):
                compare_hinge(task, score[None], torch.tensor([mark]), readings=READINGS[:1])
        return
    for row in preds:
        for mark in range(3):
            compare_hinge(task, row[None], torch.tensor([mark]), readings=READINGS[:1])


def test_hinge_in_several_tiles():
    preds, target = class_inputs(33, 4, 1100, ignore=-1)
    preds[1, 1099] = INF
    preds[2] = torch.linspace(-800, 800, 1100)
    target[1:4] = torch.tensor([1099, 1024, 0])
    compare_hinge("multiclass", preds, target, -1)
    compare_hinge("multiclass", preds.T.contiguous().T, target, -1, readings=READINGS[:1])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("task", HINGE_TASKS)
def test_hinge_layouts(task, layout):
    change = LAYOUTS[layout]
    weight = torch.linspace(0, 1, 12, dtype=torch.float64)[::2]
    for depth in ((), (3, 2)):
        preds, target = histogram_inputs(task, (6, *depth), 4, torch.float32, 34)
        compare_hinge(task, change(preds), change(target), readings=READINGS[:1])
        compare_hinge(task, preds, change(target), None, weight, READINGS[1:2])


@pytest.mark.parametrize("dtype", sorted(checks.WEIGHT_DTYPES, key=str), ids=str)
@pytest.mark.parametrize("task", HINGE_TASKS)
def test_hinge_weights(task, dtype):
    preds, target = histogram_inputs(task, (71,), 2, torch.float32, 35)
    preds[:2], target[::5] = NAN, -1
    weight = random_weights(71, dtype, np.random.default_rng(35))
    weight[:2] = 0
    compare_hinge(task, preds, target, -1, weight, READINGS[:1])


@pytest.mark.parametrize("task", HINGE_TASKS)
def test_several_hinge_blocks_per_program(task, monkeypatch):
    monkeypatch.setattr(kernels.hinge, "ordered_programs", lambda blocks, cells: min(blocks, 2))
    preds, target = histogram_inputs(task, (5001,), 3, torch.float32, 37)
    compare_hinge(task, preds, target, readings=READINGS[:1])
    monkeypatch.setattr(kernels.hinge, "is_wide", lambda positions: True)
    compare_hinge(task, preds[:700], target[:700])


def compare_ranking(preds, target, ignore=None, weight=None, measures=(1, 7), **options):
    labels = target.long()
    bad = (labels != 0) & (labels != 1)
    bad &= labels != ignore if ignore is not None else True
    state = torch.full((4,), 3.0, dtype=torch.float64)
    for asked in measures:
        compare_sums(
            "ranking_sums_", state, int(bad.any(1).sum()), preds, target, asked, weight, ignore,
            **options,
        )  # fmt: skip


def rank_inputs(shape, dtype=torch.float32, seed=41, labels=torch.int64):
    return histogram_inputs("multilabel", (shape[0], *shape[2:]), shape[1], dtype, seed, labels)


@pytest.mark.parametrize("depth", [(), (3, 2)], ids=str)
@pytest.mark.parametrize("labels", [1, 2, 5, 19])
def test_ranking_shapes(labels, depth):
    preds, target = rank_inputs((9, labels, *depth))
    target.view(-1)[::4] = -1
    target[2], target[3], target[4] = 0, 1, -1
    compare_ranking(preds, target, -1, measures=range(1, 8) if labels == 5 else (1, 7))
    target.view(-1)[1] = 2
    target[7, 0] = 9
    for validate in (True, False):
        compare_ranking(preds, target, -1, validate=validate, measures=(7,))


def test_ranking_in_several_tiles():
    preds, target = rank_inputs((2, 300))
    target[:, 64:96] = 0
    compare_ranking(preds, target)


@pytest.mark.parametrize("dtype", SCORE_DTYPES + LABEL_DTYPES, ids=str)
def test_ranking_dtypes(dtype):
    scores, labels = (dtype, torch.int64) if dtype.is_floating_point else (torch.float32, dtype)
    compare_ranking(*rank_inputs((20, 4), scores, 42, labels))


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
def test_ranking_of_nan_and_infinities(dtype):
    rows = torch.tensor([[NAN, -INF, 0], [-0.0, 0.0, -INF], [INF, INF, NAN], [NAN] * 3]).to(dtype)
    for marks in np.ndindex(2, 2, 2):
        compare_ranking(rows, torch.tensor([marks] * 4))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ranking_layouts(layout):
    change = LAYOUTS[layout]
    weight = torch.linspace(0, 1, 12, dtype=torch.float64)[::2]
    for shape in ((6, 4), (6, 4, 3)):
        preds, target = rank_inputs(shape)
        compare_ranking(change(preds), change(target), 1, measures=(7,))
        compare_ranking(preds, change(target), None, weight)


def test_several_ranking_blocks_per_program(monkeypatch):
    monkeypatch.setattr(kernels.ranking, "ordered_programs", lambda blocks, cells: min(blocks, 2))
    compare_ranking(*rank_inputs((101, 9)), weight=torch.rand(101))
    monkeypatch.setattr(kernels.ranking, "is_wide", lambda positions: True)
    compare_ranking(*rank_inputs((40, 9)))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 3, 2)], ids=str)
def test_sums_of_empty_inputs(shape):
    preds, target = rank_inputs(shape)
    compare_ranking(preds, target)
    compare_hinge("binary", preds, target)


def test_ranking_tiles_are_powers_of_two_within_the_budget():
    for labels in (1, 2, 3, 10, 64, 65, 1000, 100_000):
        tile = kernels.ranking.row_tile(labels)
        assert all(size.bit_count() == 1 for size in tile)
        assert math.prod(tile) <= kernels.ranking.PAIRS


def compare_errors(
    preds, target, weight=None, terms=error_sums.ALL_TERMS, p=2.5, power=1.3, outputs=1
):
    """Run kernel and reference on a state that holds something already."""
    expected = torch.full((outputs, error_sums.num_columns(terms)), 0.25, dtype=torch.float64)
    actual = on_device(expected.clone())
    expected += error_sums.sum_errors(preds, target, weight, outputs, terms, p, power)
    inputs = map(_to_device_strided, (preds, target, weight))
    launchers.error_sums_(actual, *inputs, terms, p, power)
    torch.testing.assert_close(actual.cpu(), expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def error_inputs(shape, dtype=torch.float32, seed=50):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(shape, generator=generator) * 4 + 1.05).to(dtype) for _ in range(2)]


@pytest.mark.parametrize("outputs", [1, 2, 3, 130])
def test_errors_of_outputs(outputs):
    for rows in (1, 37) if outputs < 100 else (3,):
        preds, target = error_inputs((rows, outputs))
        compare_errors(preds, target, outputs=outputs)
        compare_errors(preds, target, torch.rand(2 * rows)[::2], outputs=outputs)
    for shape in ((7,), (7, 1)) if outputs > 1 else ():
        compare_errors(*error_inputs(shape), torch.rand(7), outputs=outputs)


@pytest.mark.parametrize("dtype", [*SCORE_DTYPES, *LABEL_DTYPES], ids=str)
def test_errors_of_types(dtype):
    preds, target = error_inputs((40,), dtype)
    compare_errors(preds, target.double(), torch.ones(40, dtype=torch.int8))
    compare_errors(preds.float(), target, torch.ones(40, dtype=dtype))


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 1.7, INF])
def test_errors_to_a_power(p):
    compare_errors(*error_inputs((40,)), terms=error_sums.POWER, p=p)


@pytest.mark.parametrize("power", [-1.5, 0.0, 1.0, 1.3, 2.0, 2.7])
def test_deviances(power):
    """Close, equal and infinite numbers too; what lies outside the domain is counted apart."""
    preds, target = error_inputs((60,), torch.float64)
    preds[:20] = target[:20] * (1 + 10.0 ** -torch.arange(20, dtype=torch.float64))
    preds[20:25] = target[20:25]
    preds[25:27], target[26:28] = INF, INF
    compare_errors(preds, target, terms=error_sums.DEVIANCE, power=power)
    preds[30], target[40], target[41] = 0, 0, -1
    preds[31] = NAN
    compare_errors(preds, target, torch.rand(60), terms=error_sums.DEVIANCE, power=power)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_error_layouts(layout):
    change = LAYOUTS[layout]
    for shape in ((20, 6), (4, 3, 2, 2)):
        preds, target = error_inputs(shape)
        compare_errors(change(preds), target, torch.rand(shape[0]))
        compare_errors(change(preds), change(target))
        if len(shape) == 2:
            compare_errors(preds, change(target), outputs=6)


def test_special_errors():
    values = torch.tensor([0.0, -0.0, 1.0, -1.0, -2.0, 1e-300, 1e300, INF, -INF, NAN]).double()
    preds, target = torch.cartesian_prod(values, values).T[:, None]
    outputs = preds.shape[1]
    terms = error_sums.ALL_TERMS - error_sums.DEVIANCE
    compare_errors(preds, target, terms=terms, outputs=outputs)


def test_small_errors_keep_their_digits():
    """One position at a time: no digits cancel."""
    for size in (1e-9, 1e-4, 0.1, 0.999, 1.0, 5.0, 40.0):
        preds, target = (torch.tensor([v], dtype=torch.float64) for v in (3.0 + size, 3.0))
        terms = error_sums.LOG_COSH | error_sums.SQUARED_LOG
        state = on_device(torch.zeros(1, 3, dtype=torch.float64))
        launchers.error_sums_(state, on_device(preds), on_device(target), None, terms, 1.0, 0.0)
        e = float(preds - target)
        log_cosh = math.log1p(2 * math.sinh(e / 2) ** 2)
        expected = [math.log1p(e / 4) ** 2, log_cosh, 1.0]
        assert state[0].tolist() == pytest.approx(expected, rel=1e-13)


def test_errors_without_positions():
    for shape in ((0,), (0, 3), (3, 0)):
        compare_errors(*error_inputs(shape))
    scalars = torch.tensor(2.0), torch.tensor(3)
    compare_errors(*scalars)
    compare_errors(*scalars, torch.tensor([2.5]))


def test_several_blocks_of_errors_per_program(monkeypatch):
    preds, target = error_inputs((5000,))
    compare_errors(preds, target, torch.rand(5000), terms=3)
    monkeypatch.setattr(kernels.error_sums, "ordered_programs", lambda blocks, cells: 3)
    monkeypatch.setattr(kernels.error_sums, "is_wide", lambda positions: True)
    compare_errors(preds, target, torch.rand(5000), terms=3)
    strided = torch.zeros(3, 2, dtype=torch.float64).T
    launchers.error_sums_(
        on_device(strided), *map(on_device, error_inputs((4, 2))), None, 3, 1.0, 0.0
    )


def compare_moments(preds, target, weight=None, start=None):
    """Run kernel and reference on copies of one state of all the outputs."""
    outputs = preds.shape[1] if preds.ndim > 1 else 1
    if start is None:
        start = torch.zeros(outputs, co_moments.NUM_COLUMNS, dtype=torch.float64)
    expected, actual = start.clone(), on_device(start.clone())
    co_moments.co_moments_reference(expected, preds, target, weight)
    launchers.co_moments_(actual, *map(_to_device_strided, (preds, target, weight)))
    torch.testing.assert_close(actual.cpu(), expected, rtol=1e-11, atol=1e-9, equal_nan=True)
    return actual.cpu()


def moment_inputs(seed, *shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    preds = torch.randn(shape, dtype=torch.float64, generator=generator) * 9 + 20
    target = torch.randn(shape, dtype=torch.float64, generator=generator) * 3 + preds
    return preds.to(dtype), target.to(dtype)


@pytest.mark.parametrize("shape", [(1,), (2,), (1025,), (3000, 1), (70, 3), (40, 33)], ids=str)
def test_moments_shapes(shape):
    preds, target = moment_inputs(50, *shape)
    state = compare_moments(preds, target)
    state = compare_moments(target, preds, start=state)
    weight = torch.linspace(0, 2, shape[0])
    weight[::3] = 0
    compare_moments(preds, target, weight, state)
    compare_moments(preds, target, torch.zeros(shape[0]), state)
    compare_moments(preds[:0], target[:0], start=state)


@pytest.mark.parametrize("dtype", SCORE_DTYPES + LABEL_DTYPES, ids=str)
def test_moments_dtypes(dtype):
    preds, target = moment_inputs(51, 60, 3, dtype=dtype)
    assert compare_moments(preds, target)[0, co_moments.WIDE] == (dtype == torch.float64)
    compare_moments(preds, target.double(), weight=torch.ones(60, dtype=dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_moments_layouts(layout):
    preds, target = moment_inputs(52, 40, 6)
    change = LAYOUTS[layout]
    compare_moments(change(preds), change(target))
    compare_moments(preds, change(target), torch.linspace(0, 1, 80)[::2])


def test_moments_of_equal_values_and_nan(monkeypatch):
    monkeypatch.setattr(kernels.co_moments, "is_wide", lambda positions: True)
    preds = torch.full((2100, 2), 0.1, dtype=torch.float64)
    preds[:, 1] = 1 / 3
    state = compare_moments(preds, preds)
    assert not state[:, co_moments.M2_X : co_moments.C_XY + 1].any()
    preds[7, 0] = NAN
    weight = torch.ones(2100)
    assert compare_moments(preds, preds, weight, state)[:, co_moments.MEAN_X].isnan().tolist() == [
        True,
        False,
    ]
    weight[7] = 0
    assert not compare_moments(preds, preds, weight, state).isnan().any()


def test_merged_moments():
    states = []
    for seed, rows in ((53, 5), (54, 0), (55, 900)):
        preds, target = moment_inputs(seed, rows, 35, dtype=torch.float64)
        state = torch.zeros(35, co_moments.NUM_COLUMNS, dtype=torch.float64)
        co_moments.co_moments_reference(state, preds, target, None)
        states.append(state)
    for order in ((0, 1, 2), (1, 0, 2), (1, 1), ()):
        parts = torch.stack([states[i] for i in order]) if order else torch.empty(0, 35, 12)
        for start in states:
            expected, actual = start.clone(), on_device(start.clone())
            co_moments.merge_co_moments_reference(expected, parts)
            launchers.merge_co_moments_(actual, on_device(parts))
            torch.testing.assert_close(actual.cpu(), expected, rtol=1e-12, atol=1e-12)


def compare_aggregate(value, weight, reduction, nans, fill=0.0, cells=1):
    """Compare one update of a running aggregate."""
    if reduction != aggregate.SUM and weight is not None:
        return
    expected, expected_events = torch.full((cells,), 1.5, dtype=torch.float64), torch.arange(3)
    actual, events = on_device(expected.clone()), on_device(expected_events.clone())
    # Refusing raises in the reference, which runs on the CPU; the kernel counts.
    rule = aggregate.DROP if nans == aggregate.REFUSE else nans
    tail = (reduction, rule, fill)
    aggregate.aggregate_reference(expected, expected_events, value, weight, *tail)
    inputs = map(_to_device_strided, (value, weight))
    launchers.aggregate_(actual, events, *inputs, reduction, nans, fill)
    assert events.tolist() == expected_events.tolist()
    torch.testing.assert_close(actual.cpu(), expected, rtol=1e-13, atol=1e-13, equal_nan=True)


AGGREGATES = ((aggregate.SUM, 1), (aggregate.SUM, 2), (aggregate.MAX, 1), (aggregate.MIN, 1))

NAN_RULES = (aggregate.KEEP, aggregate.DROP, aggregate.REFUSE, aggregate.FILL)


@pytest.mark.parametrize("nans", NAN_RULES)
@pytest.mark.parametrize("count", [1, 5, 1024, 4097, 20_000])
def test_aggregates(count, nans):
    value = torch.randn(count, generator=torch.Generator().manual_seed(count))
    for values in (value, value.clone()):
        for reduction, cells in AGGREGATES:
            for weight in (None, value.abs() + 0.5):
                compare_aggregate(values, weight, reduction, nans, -2.5, cells)
        values[:: max(2, count // 7)] = NAN


@pytest.mark.parametrize("nans", NAN_RULES)
def test_aggregates_of_odd_values(nans):
    for numbers in ([INF, 1.0], [-INF, 1.0], [NAN, NAN], [NAN, INF], [-0.0, 0.0], [3.0]):
        for reduction, cells in AGGREGATES:
            for fill in (0.1, -INF, NAN):
                value = torch.tensor(numbers)
                compare_aggregate(value, None, reduction, nans, fill, cells)
                compare_aggregate(value, value.flip(0), reduction, nans, fill, cells)


@pytest.mark.parametrize("dtype", sorted(checks.WEIGHT_DTYPES, key=str), ids=str)
def test_aggregates_take_all_dtypes(dtype):
    value = torch.randn(300, generator=torch.Generator().manual_seed(1)).mul(3).to(dtype)
    for reduction, cells in AGGREGATES:
        for weight in (None, value.flip(0)):
            compare_aggregate(value, weight, reduction, aggregate.DROP, 0.0, cells)


def test_aggregate_layouts_and_broadcast_weights():
    value = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(2))
    whole = torch.rand(12, 10, 8, generator=torch.Generator().manual_seed(3))
    for values in (value, value.mT, value.permute(2, 0, 1), whole[::2, ::2, ::2], value[:1, 2]):
        shape = values.shape
        weights = [values.abs(), torch.rand(()), torch.rand(shape[-1]), torch.rand(shape[-2], 1)]
        for weight in (None, *weights):
            for reduction, cells in AGGREGATES:
                compare_aggregate(values, weight, reduction, aggregate.DROP, 0.0, cells)
    compare_aggregate(torch.tensor(2.5), torch.tensor(3), aggregate.SUM, aggregate.DROP, 0.0, 2)
    for shape in ((0,), (3, 0)):
        compare_aggregate(torch.zeros(shape), None, aggregate.MAX, aggregate.DROP)


def test_aggregates_with_64_bit_positions(monkeypatch):
    monkeypatch.setattr(kernels.aggregate, "is_wide", lambda positions: True)
    value = torch.randn(3000, 2).mT
    compare_aggregate(value, value.abs(), aggregate.SUM, aggregate.DROP, 0.0, 2)


def compare_rows(preds, target, kinds=row_similarity.KINDS):
    """Compare one update of every row similarity, added up and row by row."""
    for kind in kinds:
        for shape in ((2,), (len(preds), 1)):
            expected = torch.full(shape, 0.5, dtype=torch.float64)
            actual = on_device(expected.clone())
            row_similarity.row_similarity_reference(expected, preds, target, kind)
            inputs = map(_to_device_strided, (preds, target))
            launchers.row_similarity_(actual, *inputs, kind)
            torch.testing.assert_close(
                actual.cpu(), expected, rtol=1e-12, atol=1e-12, equal_nan=True
            )


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 16), (7, 600), (0, 4), (3, 0)], ids=str)
def test_row_similarities(shape):
    generator = torch.Generator().manual_seed(4)
    preds, target = torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)
    compare_rows(preds, target)
    compare_rows(preds.log(), target.log())


def test_row_similarities_in_several_parts():
    generator = torch.Generator().manual_seed(5)
    preds, target = torch.rand(2500, 3, generator=generator).split((1, 2), 1)
    compare_rows(preds.expand(2500, 2), target)


def test_row_similarities_of_odd_values():
    rows = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 2.0], [NAN, 1.0], [INF, 1.0], [1e30, 1e-30]]
    pairs = [(a, b) for a in rows for b in rows]
    preds, target = (torch.tensor(x) for x in zip(*pairs, strict=True))
    compare_rows(preds, target)
    logs = torch.where(preds > 0, preds, 0.0).log(), torch.where(target > 0, target, 0.0).log()
    compare_rows(*logs, (row_similarity.KL_LOG, row_similarity.JS_LOG))


@pytest.mark.parametrize("dtype", sorted(checks.WEIGHT_DTYPES, key=str), ids=str)
def test_row_similarities_take_all_dtypes(dtype):
    matrix = torch.arange(1, 25).remainder(7).view(4, 6)
    compare_rows(matrix.to(dtype), matrix.flip(0).to(torch.float16))
    compare_rows(matrix.to(dtype).T.contiguous().T, matrix.flip(0).repeat(2, 2)[::2, ::2])


def compare_areas(preds, target, multiclass=False, pool=False):
    """Compare the areas under the curves of kept rows in one and in several chunks."""
    curves = 1 if pool else preds.shape[1]
    expected = torch.full((curves, 4), -7.0, dtype=torch.float64)
    curve.curve_areas_reference(expected, [preds], [target], multiclass, pool)
    for border in (0, len(preds) // 3):
        chunks = [
            [on_device(x[:border]), on_device(x[border:])] if border else [on_device(x)]
            for x in (preds, target)
        ]
        areas = on_device(torch.full_like(expected, -7.0))
        launchers.curve_areas_(areas, *chunks, multiclass, pool)
        assert torch.equal(areas.cpu()[:, [0, 2, 3]], expected[:, [0, 2, 3]])
        torch.testing.assert_close(areas.cpu(), expected, rtol=1e-13, atol=0)


def curve_inputs(size, columns, dtype, spread):
    generator = torch.Generator().manual_seed(size)
    scores = torch.randn((size, columns), generator=generator).mul(spread).round().to(dtype)
    scores[::7], scores[1::11], scores[2::13] = NAN, INF, -INF
    labels = torch.randint(0, 3, (size, columns), generator=generator).to(torch.uint8)
    labels[labels == 2] = 255
    return scores, labels


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
def test_curve_areas(dtype):
    for size, spread in ((1, 1), (40, 3), (1300, 0.3)):
        compare_areas(*curve_inputs(size, 2, dtype, spread))
    compare_areas(*curve_inputs(20, 30, dtype, 5), pool=True)


@pytest.mark.parametrize("size", [511, 512, 513, 1025])
def test_curve_groups_across_blocks(size):
    """Groups that end at a border, span several blocks, or hold only what is left out."""
    for split in (0, 1, 511, 512, size - 1):
        scores = (torch.arange(size) >= split).float().unsqueeze(1)
        labels = (torch.arange(size) % 3).to(torch.uint8).unsqueeze(1)
        labels[labels == 2] = 255
        compare_areas(scores, labels)
        labels[:split] = 255
        compare_areas(scores, labels)


def test_curve_areas_of_classes():
    scores, _ = curve_inputs(60, 4, torch.float32, 2)
    for left_out, dtype in ((255, torch.uint8), (-1, torch.int32)):
        target = (torch.arange(60) * 7 % 4).to(dtype)
        target[::5] = left_out
        compare_areas(scores, target, True)
        compare_areas(scores, target, True, pool=True)


def test_curve_areas_of_nothing():
    areas = on_device(torch.ones(2, 4, dtype=torch.float64))
    launchers.curve_areas_(areas, [], [], False, False)
    assert not areas.any()


def compare_tensors(tensors, updates=2):
    """Compare updates over several tensors, the first from an empty state."""
    expected = torch.zeros(len(tensors), 8, dtype=torch.float64)
    actual = on_device(expected.clone())
    inputs = [_to_device_strided(x) for x in tensors]
    for _ in range(updates):
        tensor_stats.tensor_stats_reference(expected, tensors)
        launchers.tensor_stats_(actual, inputs)
        torch.testing.assert_close(actual.cpu(), expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
def test_tensor_statistics(dtype):
    generator = torch.Generator().manual_seed(6)
    sizes = (1, 5, 1024, 4096, 4097, 9000)
    tensors = [torch.randn(size, generator=generator).to(dtype) for size in sizes]
    compare_tensors(tensors)
    for tensor in tensors[1:]:
        tensor[::3], tensor[1::7], tensor[2::11] = NAN, INF, -INF
    compare_tensors(tensors)


def test_tensor_statistics_of_odd_tensors():
    """Nothing, nothing finite, and every layout."""
    whole = torch.randn(12, 10, 8, generator=torch.Generator().manual_seed(7))
    compare_tensors([
        torch.empty(0), torch.empty(3, 0), torch.tensor(2.5), torch.full((5000,), NAN),
        torch.full((5000,), -INF), whole.mT, whole[::2, ::2, ::2], whole[:1, 2].expand(4, 8),
        whole.permute(2, 0, 1), torch.full((3,), -1e150, dtype=torch.float64),
    ])  # fmt: skip
    compare_tensors([])


@pytest.mark.parametrize("task", ["classes", "binary", "outputs"])
def test_fused(task):
    """Every launcher gets its own state, events and arguments."""
    batch = fusing.everything(task, size=70, weighted=task == "binary", ignore=1)
    results = []
    for run in (REFERENCES["fused_"], launchers.fused_):
        tensors = [
            [tensor.to(DEVICE, copy=True) for tensor in group]
            for group in (batch.states, batch.events)
        ]
        states, events, edges, preds, target, weight, *rest = batch.arguments(*tensors)
        edges = [tensor.to(DEVICE) for tensor in edges]
        weight = None if weight is None else weight.to(DEVICE)
        run(states, events, edges, preds.to(DEVICE), target.to(DEVICE), weight, *rest)
        results.append([tensor.cpu() for tensor in states + events])
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9, equal_nan=True)
