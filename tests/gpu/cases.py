"""Calls of every op for the tests on a GPU, made on the CPU: those of the laws, only larger."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from fastmetrics.ops import backend, error_sums, row_similarity
from fastmetrics.ops.aggregate import DROP, MAX, MIN, SUM
from tests.ops import laws
from tests.ops.inputs import ALL_DTYPES, LABEL_DTYPES, LAYOUTS, SCORE_DTYPES

N = 3000
OPS = laws.every_op()
IN_FLOAT32 = " in float32"

# Ops whose kernels tell types of labels, or of any numbers, apart in a way of their own.
BY_LABELS = ("stat_scores_", "score_histogram_")
BY_NUMBERS = ("error_sums_", "co_moments_", "aggregate_", "row_similarity_", "top_samples_")

# Numbers of classes at which a kernel takes another way.
CLASSES: dict[str, tuple[int, ...]] = {
    "stat_scores_": (2, 10, 100, 300, 1000),
    "confusion_": (10, 50, 300),
    "exact_match_": (3,),
    "score_histogram_": (2, 100, 3000),
    "score_image_histogram_": (10,),
    "calibration_bins_": (2, 100, 3000),
    "cross_entropy_sums_": (2, 100, 3000, 32_000),
    "hinge_sums_": (2, 100, 3000),
    "ranking_sums_": (2, 100, 3000),
    "keep_scores_": (2, 100, 3000),
}


def scores(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def labels(top: int, *shape: int) -> Tensor:
    return torch.randint(0, top, shape, generator=torch.Generator().manual_seed(2))


def counts(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)


def make(op: str, seed: int = 0, **options: Any) -> laws.Call:
    """A call with nothing special, of float32 numbers and without weights unless said otherwise."""
    plain = {"shape": (N,), "dtype": torch.float32, "target_dtype": torch.int64, "weight": None}
    return OPS[op].make(seed, **laws.PLAIN | plain | {"start": 0} | options)


def of_every_op() -> Iterator[tuple[str, laws.Call]]:
    """Each variant, with and without weights, and each type."""
    for op, tested in OPS.items():
        if not tested.shapes:
            whole = (c for c in laws.samples(tested) if len(c.arguments.get("others", "some")))
            for place, call in enumerate(itertools.islice(whole, 6)):
                yield f"{op} {place}", call
            continue
        for place, variant in enumerate(tested.variants):
            yield f"{op} {place}", make(op, place, **variant)
        if "weight" in tested.dtypes:
            for place, variant in enumerate(tested.variants[::2]):
                yield f"{op} weighted{place}", make(op, weight=torch.float64, **variant)
        for dtype in ALL_DTYPES if op in BY_NUMBERS else SCORE_DTYPES:
            both = {"dtype": dtype, "target_dtype": dtype} if op in BY_NUMBERS else {"dtype": dtype}
            yield f"{op} of {str(dtype)[6:]}", make(op, **tested.variants[0] | both)
        for dtype in LABEL_DTYPES if op in BY_LABELS else ():
            yield (
                f"{op} labels {str(dtype)[6:]}",
                make(op, **tested.variants[0], target_dtype=dtype),
            )


def of_many_classes() -> Iterator[tuple[str, laws.Call]]:
    for op, numbers in CLASSES.items():
        variants = [v for v in OPS[op].variants if v.get("task") != "binary"]
        for classes, weight in itertools.product(numbers, (None, torch.float32)):
            options = variants[-1] | {
                "classes": classes,
                "weight": weight,
                "shape": (512 if classes < 1000 else 64,),
            }
            options |= {"each": False} if "each" in options else {}
            yield f"{op} C={classes} {'weighted' if weight else ''}", make(op, **options)
    huge = {"classes": 100_000, "shape": (16,), "total": False, "each": False, "top_k": 1}
    for ignore_index in (None, 1):
        call = make("stat_scores_", ignore_index=ignore_index, **huge)
        yield f"stat_scores_ C=100000 {ignore_index}", call


def left_to_reference(op: str, args: tuple[Any, ...]) -> bool:
    """Whether no kernel is launched: for one table per sample and group, and pairs of no boxes."""
    if op == "box_overlaps_":
        return not args[0].numel()
    return op == "label_confusion_" and args[0].ndim == 5 and args[5] is not None


def of_shapes() -> Iterator[tuple[str, laws.Call]]:
    """Images, memory layouts, labels, groups, and numbers of one and of many parts."""
    whole = {"total": False, "each": False, "top_k": 1}
    images = make("stat_scores_", classes=21, shape=(4, 64, 64), ignore_index=2, **whole)
    yield "stat_scores_ of images", images
    for classes, dtype in ((5, torch.float32), (5, torch.int64), (400, torch.int64)):
        options = {"classes": classes, "dtype": dtype, "total": False, "each": True, "top_k": 1}
        call = make("stat_scores_", shape=(5, 40, 40), ignore_index=None, **options)
        yield f"stat_scores_ of each image {classes} {str(dtype)[6:]}", call
    for layout in ("channels_last", "strided"):
        yield f"stat_scores_ {layout}", images.changed(["preds", "target"], LAYOUTS[layout])
    for classes in (10, 5000):
        call = make("stat_scores_", classes=classes, dtype=torch.int64, ignore_index=3, **whole)
        yield f"stat_scores_ labels {classes}", call
    yield "confusion_ labels", make("confusion_", classes=21, dtype=torch.int64)
    for samples, each in ((4, False), (60, True)):
        options = {"shape": (samples, 200, 30), "labels": 5, "groups": None, "each": each}
        yield f"label_confusion_ of images {samples}", make("label_confusion_", **options)
    for groups in (7, 4999):
        yield f"label_confusion_ groups {groups}", make("label_confusion_", groups=groups, labels=1)
    options = {"task": "multilabel", "classes": 5, "shape": (4, 60, 70), "thresholds": 20}
    yield "score_histogram_ of images", make("score_histogram_", **options)
    yield "calibration_bins_ many", make("calibration_bins_", task="binary", n_bins=900)
    options = {"classes": 5, "thresholds": 20, "weight": torch.float32}
    for task in ("binary", "multilabel"):
        yield f"score_histogram_ {task} weighted", make("score_histogram_", task=task, **options)
    call = make("label_confusion_", groups=7, labels=1, weight=torch.float32)
    yield "label_confusion_ groups weighted", call
    options = {"labels": 5, "each": False, "weight": torch.float32}
    yield "label_exact_match_ all weighted", make("label_exact_match_", **options)
    for op in ("stat_scores_", "label_confusion_", "label_exact_match_", "ranking_sums_"):
        for place, variant in enumerate(OPS[op].variants[:2]):
            each = variant.get("each") or op == "ranking_sums_"
            yield f"{op} few {place}", make(op, **variant | {"shape": (20 if each else 2500,)})
    for size in (60, 200):
        options = {"kind": row_similarity.COSINE, "each": False, "columns": 9, "shape": (size,)}
        yield f"row_similarity_ of {size}", make("row_similarity_", **options)
    for op in ("stat_scores_", "score_histogram_", "error_sums_", "ranking_sums_"):
        for place, variant in enumerate(OPS[op].variants):
            options = variant | {"shape": (300,), "weight": torch.float32}
            yield f"{op} few weighted {place}", make(op, **options)
    yield "co_moments_ of 256 parts", make("co_moments_", outputs=0, shape=(300_001,))
    for size in (1, 1000, 50_000):
        for term, power in ((4, 0.0), (64, 0.0), (128, 0.0), (256, 1.5), (256, 2.0), (3, 0.0)):
            options = {"terms": term, "p": 3.0, "power": power, "outputs": 1, "shape": (size,)}
            yield f"error_sums_ {term} {power} {size}", make("error_sums_", **options)
        yield f"co_moments_ {size}", make("co_moments_", outputs=0, shape=(size,))
        for reduction in (SUM, MAX, MIN):
            options = {"kind": (reduction, (1,)), "nans": DROP, "shape": (size,)}
            yield f"aggregate_ {reduction} {size}", make("aggregate_", **options)
        for kind in row_similarity.KINDS if size < N else (row_similarity.COSINE,):
            options = {"kind": kind, "each": False, "columns": 9, "shape": (size,)}
            yield f"row_similarity_ {kind} {size}", make("row_similarity_", **options)
    yield "tensor_stats_ many", make("tensor_stats_", tensors=1, shape=(200_000,))
    options = {"kind": row_similarity.COSINE, "each": True, "columns": 700, "shape": (50,)}
    yield "row_similarity_ apart", make("row_similarity_", **options)
    options = {"outputs": 300, "terms": error_sums.SQUARED, "shape": (64,)}
    yield "error_sums_ outputs", make("error_sums_", **options)
    call = make("co_moments_", outputs=300, shape=(64,), weight=torch.float32)
    yield "co_moments_ outputs", call.changed(["preds"], LAYOUTS["strided"])


def of_fused() -> Iterator[tuple[str, laws.Call]]:
    """Statistics of the same rows or pairs, by their places in the menus of `tests.ops.fused`."""
    for classes, size, *chosen in (
        (2, N, 0, 3, 5), (10, N, 0, 2, 3, 5), (10, N, 0, 4, 6), (10, N, 2, 4), (10, N, 5, 0),
        (100, 512, 0, 2, 3, 5), (100, 512, 2, 6), (1000, 64, 0, 2, 3, 5), (1000, 64, 5, 0),
    ):  # fmt: skip
        options = {"task": "classes", "width": classes, "chosen": chosen, "shape": (size,)}
        for dtype in SCORE_DTYPES if (classes, *chosen) == (10, 0, 4, 6) else (torch.float32,):
            call = make("fused_", depth=0, ignore_index=None, **options | {"dtype": dtype})
            yield f"fused_ rows {classes} {chosen} {str(dtype)[6:]}", call
    options = {"task": "classes", "width": 21, "chosen": [0, 3, 5], "depth": 2}
    yield "fused_ rows of images", make("fused_", ignore_index=1, **options)
    for weight, chosen in itertools.product(
        (None, torch.float64), ([2, 4], [3, 4, 2], [0, 5, 6], [0, 2, 3, 5, 6])
    ):
        options = {"task": "numbers", "depth": 0, "chosen": chosen, "weight": weight}
        for dtype in SCORE_DTYPES:
            call = make("fused_", **options | {"dtype": dtype})
            yield f"fused_ pairs {chosen} {'weighted ' * bool(weight)}{str(dtype)[6:]}", call


def of_float32() -> Iterator[tuple[str, laws.Call]]:
    """Sums on a device with few units for float64."""
    every = error_sums.SQUARED | error_sums.ABSOLUTE | error_sums.MAGNITUDE
    for size, outputs, terms in (
        (2000, 1, error_sums.SQUARED), (2000, 1, every), (500, 6, every), (300_000, 1, every),
        (300_000, 1, error_sums.ABSOLUTE),
    ):  # fmt: skip
        for dtype in (torch.float32, torch.bfloat16) if size == 2000 else (torch.float32,):
            options = {"terms": terms, "outputs": outputs, "shape": (size,)}
            call = make("error_sums_", **options, dtype=dtype, target_dtype=dtype)
            yield f"error_sums_ {terms} {size} {outputs} {str(dtype)[6:]}{IN_FLOAT32}", call

    options = {"task": "numbers", "depth": 0, "chosen": [2, 4], "weight": None}
    for size in (N, 300_000):
        call = make("fused_", **options | {"dtype": torch.float32, "shape": (size,)})
        yield f"fused_ pairs [2, 4] {size}{IN_FLOAT32}", call


def arithmetic_of(name: str) -> AbstractContextManager[Any]:
    """Choose the arithmetic that a call is meant for."""
    if not name.endswith(IN_FLOAT32):
        return nullcontext()
    return mock.patch.object(backend, "arithmetic", "float32")


# By name: the op, and each argument, state first.
CASES: dict[str, tuple[str, tuple[Any, ...]]] = {
    name: (call.op, tuple(call.arguments.values()))
    for name, call in itertools.chain(
        of_every_op(), of_many_classes(), of_shapes(), of_fused(), of_float32()
    )
}
