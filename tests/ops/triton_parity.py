"""Triton kernels against the oracles; `test_triton` runs this file in processes of its own.

In such a process either ``TRITON_INTERPRET=1`` is set, or ``FASTMETRICS_TRITON_DEVICE=cuda``. The
calls are those of the laws; below stand those that ask how a kernel splits its work.
"""

import itertools
import math
import os
import sys

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastmetrics.ops import backend, co_moments
from fastmetrics.ops import triton as kernels
from fastmetrics.ops.backend import launcher_of
from fastmetrics.ops.define import REFERENCES, WITHOUT_TRITON
from fastmetrics.ops.error_sums import (
    ABSOLUTE,
    ALL_TERMS,
    DEVIANCE,
    LOG_COSH,
    MAGNITUDE,
    SQUARED,
    SQUARED_LOG,
    num_columns,
    sum_errors,
)
from fastmetrics.ops.triton import inputs, replay
from tests.gpu.cases import CASES, arithmetic_of, left_to_reference
from tests.gpu.loops import few_programs, looping_calls
from tests.ops import interpreted, laws
from tests.ops.curve import LEFT_OUT
from tests.ops.fused import Fusion, gathered
from tests.ops.inputs import INF, LAYOUTS, NAN, SCORE_DTYPES
from tests.ops.laws import Call, every_op, every_tensor
from tests.ops.score_histogram import READINGS, TASKS, edges_of

DEVICE = os.environ.get("FASTMETRICS_TRITON_DEVICE", "cpu")
OPS = {op: tested for op, tested in every_op().items() if op not in WITHOUT_TRITON}
# About how many calls of each law; the interpreter takes some fifty milliseconds for one.
CALLS = {"samples": 8, "dtypes": 10, "weights": 10, "every_small_float": 1, "first_wrong_label": 3}
OTHERS = 6
# The calls whose programs take several blocks are dealt out to so many tests.
SHARES = 6
SMALL_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


if DEVICE == "cpu":
    interpreted.repair()


def to_device(tensor: Tensor) -> Tensor:
    """Copy to the device with the strides kept, also those of zero."""
    if DEVICE == "cpu":
        return tensor
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    whole = tensor.as_strided((size,), (1,), 0).to(DEVICE)
    return whole.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def kernel_of(op: str):
    """The kernel as an op of CPU tensors."""

    def run(*arguments):
        moved = [every_tensor(to_device, value) for value in arguments]
        launcher_of(op)(*moved)
        for name, value, result in zip(laws.arguments_of(op), arguments, moved, strict=True):
            if DEVICE != "cpu" and name in laws.written_by(op):
                for tensor, found in zip(laws.tensors(value), laws.tensors(result), strict=True):
                    tensor.copy_(found)

    return run


def check(call: Call) -> None:
    """The kernel writes what the oracle says; what a CPU refuses it leaves out and counts.

    What has no kernel is left to the reference, which refuses as it does on a CPU.
    """
    if left_to_reference(call.op, tuple(call.arguments.values())):
        return
    laws.check(call, {"kernel": kernel_of(call.op)}, on_gpu=True)


def run(call: Call) -> Tensor:
    """The state after the call."""
    return laws.results(call, kernel_of(call.op))[laws.written_by(call.op)[0]]


def some_of(calls: list[Call], count: int) -> list[Call]:
    """Evenly chosen, and each dtype of each argument."""
    seen: set[tuple[str, torch.dtype]] = set()
    chosen = []
    for place, call in enumerate(calls):
        tensors = [(n, t.dtype) for n, v in call.arguments.items() for t in laws.tensors(v)]
        if place % (len(calls) // count | 1) == 0 or not seen.issuperset(tensors):
            chosen.append(call)
        seen.update(tensors)
    return chosen


@pytest.mark.parametrize(
    ("op", "law"), [(op, law) for op in OPS for law in laws.kept_by(OPS[op], laws.is_small)]
)
def test_laws(op, law):
    calls = [call for call in laws.LAWS[law](OPS[op]) if laws.is_small(call)]
    for call in some_of(calls, CALLS.get(law, OTHERS)):
        check(call)


def make(op: str, seed: int = 0, **options) -> Call:
    return OPS[op].make(seed, **{"bad": 0.0, "special": 0.0} | options)


# Classes and labels


@pytest.mark.parametrize("ignore_index", [None, 1], ids=["all", "ignore"])
@pytest.mark.parametrize("classes", [257, 300, 400])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64], ids=str)
def test_many_classes_are_scattered(classes, dtype, ignore_index):
    options = {"classes": classes, "shape": (21,), "dtype": dtype, "ignore_index": ignore_index}
    options |= {"weight": None, "float_state": False}
    for bad in (0.0, 0.1):
        for total in (False, True):
            check(make("stat_scores_", bad=bad, total=total, each=False, **options))
        check(make("confusion_", bad=bad, **options))
        check(make("exact_match_", bad=bad, each=False, **options))


def test_frequent_classes_are_counted_once_for_a_block():
    """Nine labels of ten are one of two classes, and some are bad."""
    generator = torch.Generator().manual_seed(36)
    for op, classes in (("stat_scores_", 300), ("confusion_", 50)):
        preds, target = torch.randint(-1, classes + 1, (2, 3000), generator=generator)
        background = torch.rand(3000, generator=generator) < 0.9
        preds[background], target[background] = 7, torch.arange(3000)[background] // 700
        options = {"total": False, "each": False} if op == "stat_scores_" else {}
        call = make(op, classes=classes, shape=(1,), dtype=torch.int64, weight=None,
                    float_state=False, ignore_index=3, **options)  # fmt: skip
        check(call.but(preds=preds, target=target))


@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize("top_k", [1, 3])
def test_class_axis_in_several_blocks(total, top_k):
    options = {"classes": 5000, "shape": (12,), "dtype": torch.float32, "weight": None}
    call = make("stat_scores_", top_k=top_k, total=total, each=False, ignore_index=-100,
                target_dtype=torch.int64, **options)  # fmt: skip
    preds, target = call["preds"], call["target"]
    preds[3, 4999] = preds[4, 4096] = preds[5, 4095] = INF
    preds[6, 4500] = preds[6, 10] = NAN
    preds[7] = -INF
    target[3:7] = torch.tensor([4999, 4096, 4095, 4500])
    target[9] = -100
    check(call)


@pytest.mark.skipif(DEVICE == "cpu", reason="too slow to interpret; the loop is the same at 5000")
def test_hundred_thousand_classes():
    options = {"classes": 100_000, "shape": (64,), "dtype": torch.float32, "weight": None}
    check(make("stat_scores_", total=False, each=False, top_k=1, **options))


def test_many_axes_that_do_not_merge():
    for op in ("stat_scores_", "confusion_", "exact_match_"):
        call = make(op, classes=4, shape=(3, 2, 3, 2, 3), dtype=torch.float32)
        check(call.changed(["preds"], lambda preds: preds.permute(5, 3, 1, 4, 2, 0).contiguous()
                           .permute(5, 2, 4, 1, 3, 0)))  # fmt: skip


def test_several_blocks_per_program():
    options = {"shape": (20_000,), "dtype": torch.int64, "ignore_index": 2, "weight": None}
    options |= {"float_state": False}
    for classes in (7, 300):
        check(make("stat_scores_", classes=classes, total=False, each=False, bad=0.01, **options))
        check(make("confusion_", classes=classes, bad=0.01, **options))
    check(make("exact_match_", classes=7, each=False, bad=0.01, **options))
    options = {"dtype": torch.float32, "each": False, "weight": None, "groups": None}
    for size, labels in ((12_000, 1), (2000, 6)):
        check(make("label_confusion_", shape=(size,), labels=labels, **options))
        check(make("label_exact_match_", shape=(size,), labels=labels, **options))


@pytest.mark.parametrize("share", range(SHARES))
def test_programs_that_take_several_blocks(share):
    """Every way of every kernel, on grids of two programs."""
    for name in looping_calls()[share::SHARES]:
        op, args = CASES[name]
        results = []
        for run_op in (kernel_of(op), REFERENCES[op]):
            copies = [pytree.tree_map_only(Tensor, laws.copied, value) for value in args]
            with few_programs(), arithmetic_of(name):
                run_op(*copies)
            results.append([t for value in copies for t in laws.tensors(value)])
        tolerance = max(1e-9, OPS[op].rtol)
        for found, expected in zip(*results, strict=True):
            torch.testing.assert_close(
                found, expected, rtol=tolerance, atol=tolerance, equal_nan=True, msg=name
            )


def test_moments_of_256_parts():
    op, args = CASES["co_moments_ of 256 parts"]
    found, expected = args[0].clone(), args[0].clone()
    kernel_of(op)(found, *args[1:])
    REFERENCES[op](expected, *args[1:])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_parts_are_merged_in_several_tiles():
    """Parts far from each other, of other scales, and without weight among them."""
    generator = torch.Generator().manual_seed(35)
    parts = torch.zeros(300, 3, co_moments.NUM_COLUMNS, dtype=torch.float64)
    for place, part in enumerate(parts):
        preds, target = torch.randn((2, 5, 3), dtype=torch.float64, generator=generator)
        preds += torch.tensor([0.0, 1e9, 0.0]) * (place % 7)
        preds[:, 2] *= 10.0 ** (place % 200)
        weight = None if place % 5 else torch.zeros(5)
        REFERENCES["co_moments_"](part, preds, target, weight)
    found, expected = torch.zeros(2, *parts.shape[1:], dtype=torch.float64)
    kernel_of("merge_co_moments_")(found, parts)
    REFERENCES["merge_co_moments_"](expected, parts)
    torch.testing.assert_close(
        *map(co_moments.plain_moments, (found, expected)), rtol=1e-12, atol=1e-12, equal_nan=True
    )


def module_of(op: str):
    return sys.modules[launcher_of(op).__module__]


WIDE = [op for op in OPS if OPS[op].shapes and hasattr(module_of(op), "is_wide")]


@pytest.mark.parametrize("op", WIDE)
def test_64_bit_positions(op, monkeypatch):
    monkeypatch.setattr(module_of(op), "is_wide", lambda positions: True)
    tested = OPS[op]
    for seed, variant in enumerate(tested.variants[::2]):
        call = make(op, seed, shape=tested.shapes[seed % len(tested.shapes)], **variant)
        check(call.changed(tested.layouts[:1], LAYOUTS["transposed"]) if seed % 2 else call)
    check(make(op, shape=(1500,), weight=None, **tested.variants[0]))


def test_offsets_past_2_31():
    """A class stride of 2**30 elements: the offset of class 4 does not fit 32 bits."""
    if DEVICE == "cpu":
        pytest.skip("needs 8 GiB of memory")
    preds = torch.empty(5 * 2**30, dtype=torch.bfloat16, device=DEVICE).as_strided(
        (3, 5), (1, 2**30)
    )
    preds.copy_(torch.tensor([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [1, 2, 9, 2, 1]]))
    state = torch.zeros(5, 4, dtype=torch.int64, device=DEVICE)
    events = torch.zeros(4, dtype=torch.int64, device=DEVICE)
    target = torch.tensor([4, 0, 2], device=DEVICE)
    launcher_of("stat_scores_")(state, events, preds, target, None, 5, 1, None, True)
    assert state[:, 0].tolist() == [1, 0, 1, 0, 1]


def test_weighted_cells_that_must_be_zero_are_zero():
    """Every target, or every prediction, is class 0: it has no true negatives, not even 1e-14."""
    several = torch.arange(700) % 3
    weight = torch.rand(700, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for preds, target in ((several * 0, several), (several, several * 0)):
        for total in (False, True):
            call = make("stat_scores_", classes=3, shape=(1,), dtype=torch.int64, total=total,
                        each=False, weight=torch.float64, start=0, ignore_index=None)  # fmt: skip
            call = call.but(preds=preds, target=target, weight=weight)
            expected = laws.results(call, REFERENCES["stat_scores_"])["state"]
            torch.testing.assert_close(run(call), expected, rtol=1e-13, atol=0)
            assert total or run(call)[0, 2].item() == 0


@pytest.mark.parametrize(
    "op", [op for op, tested in OPS.items() if "weight" in tested.dtypes and op != "fused_"]
)
def test_weighted_sums_have_the_same_bits_every_time(op):
    call = laws.rough(OPS[op], shape=(2000,), weight=torch.float64, **OPS[op].variants[0])
    results = [laws.results(call, kernel_of(op)) for _ in range(2)]
    for name in results[0]:
        laws.same_bits(name, *(result[name] for result in results))


@pytest.mark.parametrize("weight", [None, torch.float32], ids=["plain", "weighted"])
@pytest.mark.parametrize("groups", [4, 700])
def test_groups(groups, weight):
    for readings in READINGS[::2]:
        call = make("label_confusion_", labels=3, shape=(200,), dtype=torch.float32, bad=0.1,
                    groups=groups, weight=weight, readings=readings, ignore_index=-1)  # fmt: skip
        call["preds"][5, 1] = NAN
        among = torch.arange(200, dtype=torch.int16) * 7 % groups
        among[3], among[4], among[5] = -1, groups, groups - 1
        check(call.but(groups=among))


def test_samplewise_groups():
    call = make("label_confusion_", labels=3, shape=(6,), groups=4, dtype=torch.float32)
    check(call.but(state=call["state"].repeat(6, 1, 1, 1, 1)))


def test_state_may_be_a_strided_view():
    call = make("stat_scores_", classes=5, shape=(20,), total=False, each=False, weight=None,
                start=0, float_state=False)  # fmt: skip
    whole = to_device(torch.zeros(5, 8, dtype=torch.int64))
    batch = [every_tensor(to_device, value) for value in call.fresh().values()][1:]
    launcher_of("stat_scores_")(whole[:, ::2], *batch)
    assert torch.equal(whole[:, ::2].cpu(), run(call))
    assert not whole[:, 1::2].any()


def test_the_reduction_itself_puts_nan_first(monkeypatch):
    monkeypatch.setattr(interpreted, "FAST_REDUCTION", False)
    call = make("stat_scores_", classes=4, shape=(3,), dtype=torch.float32, total=False, each=False)
    call["preds"][0] = torch.tensor([INF, NAN, NAN, 1.0])
    call["preds"][1] = torch.tensor([NAN, INF, 1.0, 1.0])
    check(call)


def test_partial_buffers_are_bounded():
    for cells in (1, 100, 4000, 10**6, 4 * 10**5):
        programs = inputs.ordered_programs(10**9, cells)
        assert 1 <= programs <= (1024 if cells <= 32 else 256)
        assert programs * cells <= max(2**23, 4 * cells)


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
def test_class_blocks_are_powers_of_two_within_the_budget(dtype):
    for classes in (1, 2, 3, 10, 32, 33, 100, 300, 1000, 4097, 100_000):
        for image, top_k in itertools.product((False, True), (1, 5)):
            shape = (8, classes, 6, 7) if image else (8, classes)
            preds = torch.empty(shape, dtype=dtype, device="meta")
            target = preds.amax(1)
            walk = inputs.walk_classes(preds, target)
            for block, block_classes, _ in (
                inputs.class_blocks(preds, walk, top_k),
                kernels.keep_scores.whole_rows(classes, preds.element_size()),
            ):
                assert block.bit_count() == block_classes.bit_count() == 1
                assert block * block_classes <= 4096


# Several statistics of one batch


def separately(call: Fusion) -> dict[str, list[Tensor]]:
    """What the kernel of each op writes on its own."""
    return gathered([laws.results(part, kernel_of(part.op)) for part in call.apart()])


@pytest.mark.parametrize("chosen", [[0, 2, 3, 5], [1, 0, 4, 6], [5, 2], [3, 4, 0]], ids=str)
def test_rows_read_once_have_the_bits_of_the_separate_kernels(chosen, monkeypatch):
    monkeypatch.setattr(kernels.fused_rows, "is_wide", lambda positions: chosen[0] == 5)
    for seed, width in enumerate((2, 4, 300)):
        options = {"chosen": chosen, "shape": (130 if width < 300 else 20,), "width": width}
        dtype, ignore = SCORE_DTYPES[(seed + chosen[-1]) % 4], (None, 1)[seed % 2]
        call = OPS["fused_"].make(
            seed, task="classes", dtype=dtype, weight=None, depth=2, ignore_index=ignore, **options
        )
        preds, target = call["preds"], call["target"]
        preds.view(-1)[::97], preds.view(-1)[1::101] = NAN, INF
        preds[3], target.view(-1)[7] = -INF, width + 3
        for layout in ("contiguous", "transposed"):
            each = call.changed(["preds"], LAYOUTS[layout])
            found, expected = laws.results(each, kernel_of("fused_")), separately(each)
            for name, wanted in expected.items():
                for one, other in zip(found[name], wanted, strict=True):
                    laws.same_bits(name, one, other)


@pytest.mark.parametrize("task", ["predicted classes", "binary", "numbers"])
def test_pairs_read_once(task, monkeypatch):
    """Jobs of different powers, integers, weights; sums as those of the separate kernels."""
    monkeypatch.setattr(kernels.fused_pairs, "is_wide", lambda positions: task == "binary")
    for weight, size in ((None, 1), (None, 3000), (torch.float64, 300)):
        for dtype in SCORE_DTYPES[::2]:
            call = OPS["fused_"].make(
                size, task=task, dtype=dtype, weight=weight, depth=0, shape=(size,), chosen=None
            )
            found = laws.results(call, kernel_of("fused_"))
            for name, wanted in separately(call).items():
                for one, other in zip(found[name], wanted, strict=True):
                    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15, equal_nan=True)


# Scores


@pytest.mark.parametrize("count", [2**14, 2**14 + 1])
def test_most_thresholds_that_are_guessed(count):
    edges = edges_of(torch.linspace(0, 1, count), "binary", 2)[:, ::37]
    preds = torch.cat((edges.flatten(), edges.flatten().float().double()))
    for scores in (preds, preds.float()):
        check(make("score_histogram_", task="binary", shape=preds.shape, thresholds=count,
                   dtype=scores.dtype, weight=None).but(preds=scores))  # fmt: skip


@pytest.mark.parametrize("dtype", SCORE_DTYPES, ids=str)
@pytest.mark.parametrize("classes", [2, 11])
def test_softmax_of_random_logits(classes, dtype):
    generator = torch.Generator().manual_seed(32)
    options = {"classes": classes, "thresholds": 200, "readings": (1, True), "weight": None}
    for scale in (0.1, 1.0, 10.0, 300.0):
        preds = torch.randn((500, classes), dtype=torch.float64, generator=generator) * scale
        call = make("score_histogram_", task="multiclass", shape=(500,), dtype=dtype,
                    ignore_index=None, **options).but(preds=preds.to(dtype))  # fmt: skip
        expected = laws.results(call, REFERENCES[call.op])["state"]
        assert torch.equal(run(call), expected)


@pytest.mark.parametrize("readings", READINGS)
def test_softmax_in_several_tiles(readings):
    classes = 2600
    options = {"classes": classes, "shape": (9,), "dtype": torch.float32, "readings": readings}
    call = make("score_histogram_", 33, task="multiclass", thresholds=7, weight=None, **options)
    preds = call["preds"]
    preds[1, classes - 1] = preds[2, 1023] = INF
    preds[3] = -INF
    preds[4, ::2] = INF
    preds[5, 0] = NAN
    preds[6, classes - 1] = NAN
    preds[7] = torch.linspace(-800, 800, classes)
    preds[8] = torch.linspace(800, -800, classes)
    calls = [call]
    if readings == READINGS[2]:
        calls.append(call.changed(["preds"], LAYOUTS["transposed"]))
        some = torch.tensor([1 / classes])
        options |= {"thresholds": some, "weight": torch.float32}
        calls.append(make("score_histogram_", 33, task="multiclass", **options).but(preds=preds))
    for each in calls:
        expected = laws.results(each.but(validate=False), REFERENCES[call.op])["state"]
        torch.testing.assert_close(run(each), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_several_histogram_blocks_per_program(task):
    for positions, thresholds, weight in (
        (5001, 6, None), (5001, 600, None), (700, 6, torch.float32)
    ):  # fmt: skip
        check(make("score_histogram_", task=task, classes=3, shape=(positions,), inside=True,
                   thresholds=thresholds, weight=weight, dtype=torch.float32))  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_sure_scores_are_counted_apart(task):
    """Nine scores of ten lie in the first or in the last bin, some of them wrong."""
    call = make("score_histogram_", 37, task=task, classes=5, shape=(700,), thresholds=300,
                weight=None, dtype=torch.float32, readings=(1, False), inside=True)  # fmt: skip
    preds = call["preds"]
    sure = torch.rand(preds.shape, generator=torch.Generator().manual_seed(38)) < 0.9
    preds[sure] = preds[sure].round()
    check(call)


def test_row_tiles_are_powers_of_two_within_the_budget():
    for classes in (1, 2, 3, 10, 64, 65, 1000, 4096, 100_000):
        for ordered in (False, True):
            block, block_classes, _ = kernels.score_histogram.row_blocks(classes, ordered)
            assert block.bit_count() == block_classes.bit_count() == 1
            assert block * block_classes <= 2048
            assert block_classes >= min(classes, 1024)
            assert not ordered or block * block * block_classes <= 4096


def test_kept_rows_of_several_tiles_and_blocks():
    for task in TASKS[1:]:
        call = make("keep_scores_", task=task, classes=4500, shape=(9,), dtype=torch.float32)
        call["preds"][1, 4499] = call["preds"][2, 0] = NAN
        check(call)
    for task in TASKS:
        check(make("keep_scores_", task=task, classes=3, shape=(5001,), dtype=torch.float32))


@pytest.mark.parametrize("guess", [True, False])
@pytest.mark.parametrize("n_bins", [1, 2, 3, 100, 700])
def test_calibration_edges(n_bins, guess, monkeypatch):
    """On and next to them; bins of each thread, one tile, and several, which report events once."""
    monkeypatch.setattr(kernels.calibration, "MOST_GUESSED", 2**14 if guess else 0)
    monkeypatch.setattr(kernels.calibration, "LEAST_OWN_BLOCKS", 0 if guess else 4)
    for dtype in (torch.float32, torch.float64):
        edges = torch.linspace(0, 1, n_bins + 1, dtype=dtype)[-40:]
        next_to = [torch.nextafter(edges, torch.full_like(edges, end)) for end in (-1.0, 2.0)]
        preds = torch.cat([edges, *next_to, torch.tensor([NAN, 1.0, INF], dtype=dtype)])
        call = make("calibration_bins_", task="binary", shape=preds.shape, n_bins=n_bins,
                    dtype=dtype, target_dtype=torch.int64)  # fmt: skip
        check(call.but(preds=preds, target=torch.arange(len(preds)) % 3))


@pytest.mark.parametrize("least", [0, 2**20], ids=["of each thread", "tile"])
def test_calibration_of_many_blocks(least, monkeypatch):
    """Bins of each thread, and tiles of them; the wider rows need several tiles of classes."""
    monkeypatch.setattr(kernels.calibration, "LEAST_OWN_BLOCKS", least)
    for task, classes in (("binary", 1), *(("multiclass", width) for width in (3, 70, 150))):
        options = {"task": task, "classes": classes, "shape": (300,), "dtype": torch.float32}
        for n_bins in (9, 31):
            check(make("calibration_bins_", 34, n_bins=n_bins, inside=True, **options))


@pytest.mark.parametrize("op", ["cross_entropy_sums_", "hinge_sums_", "ranking_sums_"])
def test_several_blocks_of_sums_per_program(op, monkeypatch):
    monkeypatch.setattr(module_of(op), "ordered_programs", lambda blocks, cells: min(blocks, 2))
    for variant in OPS[op].variants[::2]:
        size = 101 if op == "ranking_sums_" else 1001
        check(make(op, shape=(size,), dtype=torch.float32, weight=torch.float32, **variant))


def test_ranking_tiles_are_powers_of_two_within_the_budget():
    for labels in (1, 2, 3, 10, 64, 65, 1000, 100_000):
        tile = kernels.ranking.row_tile(labels)
        assert all(size.bit_count() == 1 for size in tile)
        assert math.prod(tile) <= kernels.ranking.PAIRS


# Numbers


@pytest.mark.parametrize("power", [-1.5, 0.0, 1.0, 1.3, 2.0, 2.7])
def test_deviances(power):
    """Close, equal and infinite numbers too; what lies outside the domain is counted apart."""
    call = make("error_sums_", shape=(60,), outputs=1, terms=DEVIANCE, power=power, weight=None,
                dtype=torch.float64, target_dtype=torch.float64)  # fmt: skip
    preds, target = (call[name] + 1 for name in ("preds", "target"))
    preds[:20] = target[:20] * (1 + 10.0 ** -torch.arange(20, dtype=torch.float64))
    preds[20:25] = target[20:25]
    preds[25:27], target[26:28] = INF, INF
    like_the_reference(call.but(preds=preds, target=target))
    preds[30], target[40], target[41] = 0, 0, -1
    preds[31] = NAN
    like_the_reference(call.but(preds=preds, target=target, weight=torch.rand(60)))


def like_the_reference(call: Call) -> None:
    """Off the CPU, where nothing is refused."""
    state, preds, target, weight, *rest = call.arguments.values()
    expected = state + sum_errors(preds, target, weight, len(state), *rest)
    torch.testing.assert_close(run(call), expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_special_errors():
    values = torch.tensor([0.0, -0.0, 1.0, -1.0, -2.0, 1e-300, 1e300, INF, -INF, NAN]).double()
    preds, target = torch.cartesian_prod(values, values).T[:, None]
    terms = ALL_TERMS - DEVIANCE
    call = make("error_sums_", shape=(1,), outputs=preds.shape[1], terms=terms, weight=None)
    like_the_reference(call.but(preds=preds, target=target, p=2.5))


def test_small_errors_keep_their_digits():
    """One position at a time: no digits cancel."""
    for size in (1e-9, 1e-4, 0.1, 0.999, 1.0, 5.0, 40.0):
        preds, target = (torch.tensor([v], dtype=torch.float64) for v in (3.0 + size, 3.0))
        terms = LOG_COSH | SQUARED_LOG
        call = make("error_sums_", shape=(1,), outputs=1, terms=terms, weight=None)
        state = torch.zeros(1, num_columns(terms), dtype=torch.float64)
        e = float(preds - target)
        log_cosh = math.log1p(2 * math.sinh(e / 2) ** 2)
        expected = [math.log1p(e / 4) ** 2, log_cosh, 1.0]
        found = run(call.but(state=state, preds=preds, target=target))[0].tolist()
        assert found == pytest.approx(expected, rel=1e-13)


def test_several_blocks_of_errors_per_program(monkeypatch):
    call = make("error_sums_", shape=(5000,), outputs=1, terms=3, weight=torch.float32)
    check(call)
    monkeypatch.setattr(kernels.error_sums, "ordered_programs", lambda blocks, cells: 3)
    check(call)
    call = make("error_sums_", shape=(4,), outputs=2, terms=3, weight=None)
    check(call.changed(["state"], lambda state: state.T.contiguous().T))


def errors_in(arithmetic: str, call: Call) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "arithmetic", arithmetic)
        patch.setattr(replay, "_key", lambda *_: object())
        return run(call)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("terms", [SQUARED, ABSOLUTE, MAGNITUDE, SQUARED | ABSOLUTE | MAGNITUDE])
def test_sums_in_float32_are_those_in_float64(terms, outputs, monkeypatch):
    """To 1e-12: of all small types, layouts, several blocks, of close and of other numbers."""
    monkeypatch.setattr(kernels.error_sums, "ordered_programs", lambda blocks, cells: 2)
    monkeypatch.setattr(kernels.error_sums, "MOST_ALONE", 1000)
    for seed, (dtype, size) in enumerate(itertools.product(SMALL_FLOATS, (1, 900, 40_000))):
        options = {"terms": terms, "shape": (size,), "weight": None, "outputs": outputs, "start": 0}
        call = make("error_sums_", seed, dtype=dtype, target_dtype=torch.float32, **options)
        preds = call["preds"].clone()
        preds[::3] = (call["target"][::3] * (1 + 1e-6)).to(dtype)
        for each in (call.but(preds=preds), call.changed(["preds"], LAYOUTS["strided"])):
            expected, found = (errors_in(name, each) for name in ("float64", "float32"))
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_errors_beyond_float32_are_summed_in_float64(monkeypatch):
    """Tiny, huge, infinite: the blocks with one of them have the bits of the other kernel."""
    monkeypatch.setattr(kernels.error_sums, "MOST_ALONE", 1000)
    options = {"terms": SQUARED | ABSOLUTE, "shape": (5000,), "outputs": 1, "weight": None}
    call = make("error_sums_", start=0, dtype=torch.float32, target_dtype=torch.float32, **options)
    for scale in (1e-30, 1e-44, 1e15, 1e37):
        each = call.changed(["preds", "target"], lambda x, scale=scale: x * scale)
        assert torch.equal(errors_in("float32", each), errors_in("float64", each))
        assert errors_in("float32", each).all()
    for odd in (NAN, INF, 3e38, 1e-40):
        call["preds"][4321] = odd
        call["target"][4321] = 0.0
        expected, found = (errors_in(name, call) for name in ("float64", "float32"))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0, equal_nan=True)


def test_moments_of_equal_values_and_nan(monkeypatch):
    monkeypatch.setattr(kernels.co_moments, "is_wide", lambda positions: True)
    preds = torch.full((2100, 2), 0.1, dtype=torch.float64)
    preds[:, 1] = 1 / 3
    call = make("co_moments_", shape=(1,), outputs=2, weight=None).but(preds=preds, target=preds)
    assert not run(call)[:, co_moments.M2_X : co_moments.C_XY + 1].any()
    preds = preds.clone()
    preds[7, 0] = NAN
    weight = torch.ones(2100)
    call = call.but(preds=preds, target=preds, weight=weight)
    assert run(call)[:, co_moments.MEAN_X].isnan().tolist() == [True, False]
    weight[7] = 0
    assert not run(call).isnan().any()


def test_numbers_in_several_parts():
    for nans, count in itertools.product(range(4), (4097, 20_000)):
        for kind in ((0, (1,)), (0, (2,)), (1, ()), (2, ())):
            for weight in (None, torch.float32):
                call = make("aggregate_", shape=(count,), kind=kind, nans=nans, weight=weight)
                call["value"].view(-1)[:: count // 7] = (
                    NAN if call["value"].is_floating_point() else 1
                )
                check(call)
    for kind in (0, 1, 2):
        call = make("row_similarity_", shape=(2500,), columns=2, kind=kind, each=False)
        check(call.changed(["preds"], lambda preds: preds[:, :1].expand(2500, 2)))


@pytest.mark.parametrize("size", [511, 512, 513, 1025])
def test_curve_groups_across_blocks(size):
    """Groups that end at a border, span several blocks, or hold only what is left out."""
    call = make("curve_areas_", shape=(3,), columns=1, kind="labels", pool=False)
    for split in (0, 1, 511, 512, size - 1):
        scores = (torch.arange(size) >= split).float().unsqueeze(1)
        labels = (torch.arange(size) % 3).to(torch.uint8).unsqueeze(1)
        labels[labels == 2] = LEFT_OUT
        check(call.but(preds=[scores], target=[labels]))
        labels = labels.clone()
        labels[:split] = LEFT_OUT
        check(call.but(preds=[scores], target=[labels]))
