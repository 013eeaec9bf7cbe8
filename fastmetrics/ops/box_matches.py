"""Matches of detections and ground truths, image by image, as the COCO tools make them.

A batch comes as columns, lists with a tensor for each image. What is kept of a detection is one row
of integers, so that states are small and merge by standing behind one another.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops.checks import shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.detections import BOX_FORMATS, check_columns, to_xywh

__all__ = ["box_matches_", "mask_matches_", "pack_masks_"]

# Columns of a row. Behind them the bits "matched", then the bits "ignored": bit ``a * T + t`` of
# words of 64 for range of areas a and threshold t. A ground truth has rank -1, and as its first
# word the bits of those ranges in which it counts.
SCORE, CLASS, IMAGE, RANK, BITS = range(5)
# What a detection must reach at least, whatever the threshold.
_MOST_IOU = 1 - 1e-10
# Bits of a word.
WORD = 64
MOST_RANGES = 64
# Columns of ground truths that may be empty lists.
OPTIONAL = {"iscrowd", "area"}


def words_for(bits: int) -> int:
    """Return how many words hold so many bits."""
    return -(-bits // WORD)


def row_width(thresholds: int, ranges: int) -> int:
    """Return the number of columns of a row."""
    return BITS + 2 * words_for(thresholds * ranges)


def _check(
    name: str, what: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != dtype or not tensor.is_contiguous():
        wanted = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
        raise ValueError(
            f"{name}: `{what}` must be contiguous {str(dtype)[6:]} {wanted}, got {tensor.dtype}"
            f" {shape_text(tensor)}."
        )


def _check_batch(
    name: str, state: Tensor, ious: Tensor | None, found: dict[str, Any], truth: dict[str, Any],
    numbers: list[int], thresholds: list[float], ranges: list[float], max_dets: int,
) -> None:  # fmt: skip
    """Raise unless all but masks go together."""
    truth = {key: column for key, column in truth.items() if column or key not in OPTIONAL}
    for side, columns in (("preds", found), ("target", truth)):
        for key, column in columns.items():
            if len(column) != len(numbers):
                raise ValueError(
                    f"{name}: `{side}`: `{key}` must be of {len(numbers)} images, got"
                    f" {len(column)}."
                )
        check_columns(side, columns)
        for tensor in itertools.chain(*columns.values()):
            _check_device(name, tensor, state)
    if not thresholds:
        raise ValueError(f"{name}: `thresholds` must hold at least one.")
    if not 2 <= len(ranges) <= 2 * MOST_RANGES or len(ranges) % 2:
        raise ValueError(
            f"{name}: `ranges` must hold 1 to {MOST_RANGES} pairs, got {len(ranges)} numbers."
        )
    if max_dets < 0:
        raise ValueError(f"{name}: `max_dets` must be at least 0, got {max_dets}.")
    sizes = _sizes(found), _sizes(truth)
    width = row_width(len(thresholds), len(ranges) // 2)
    _check(name, "state", state, (sum(sizes[0]) + sum(sizes[1]), width), torch.int64)
    if ious is not None:
        pairs = sum(d * g for d, g in zip(*sizes, strict=True))
        _check(name, "ious", ious, (pairs,), torch.float64)


def _sizes(columns: dict[str, Any]) -> list[int]:
    return [len(labels) for labels in columns["labels"]]


def _check_device(name: str, tensor: Tensor, state: Tensor) -> None:
    if tensor.device != state.device:
        raise ValueError(
            f"{name}: all inputs must be on the device of the state, {state.device}, got"
            f" {tensor.device}."
        )


def check_box_matches(
    state: Tensor, ious: Tensor | None, boxes: list[Tensor], labels: list[Tensor],
    scores: list[Tensor], truth_boxes: list[Tensor], truth_labels: list[Tensor],
    crowds: list[Tensor], areas: list[Tensor], numbers: list[int], thresholds: list[float],
    ranges: list[float], max_dets: int, by_class: bool, box_format: int,
) -> None:  # fmt: skip
    """Metadata check of `box_matches_`, and its fake."""
    found = {"boxes": boxes, "labels": labels, "scores": scores}
    truth = {"boxes": truth_boxes, "labels": truth_labels, "iscrowd": crowds, "area": areas}
    name = "box_matches_"
    _check_batch(name, state, ious, found, truth, numbers, thresholds, ranges, max_dets)
    if not 0 <= box_format < len(BOX_FORMATS):
        raise ValueError(f"{name}: `box_format` must be the place of a format, got {box_format}.")


def check_mask_matches(
    state: Tensor, ious: Tensor | None, masks: Tensor, labels: list[Tensor],
    scores: list[Tensor], truth_masks: Tensor, truth_labels: list[Tensor],
    crowds: list[Tensor], areas: list[Tensor], numbers: list[int], thresholds: list[float],
    ranges: list[float], max_dets: int, by_class: bool, words: list[int],
) -> None:  # fmt: skip
    """Metadata check of `mask_matches_`, and its fake."""
    found, name = {"labels": labels, "scores": scores}, "mask_matches_"
    truth = {"labels": truth_labels, "iscrowd": crowds, "area": areas}
    _check_batch(name, state, ious, found, truth, numbers, thresholds, ranges, max_dets)
    if len(words) != len(numbers) or any(each < 0 for each in words):
        raise ValueError(f"{name}: `words` must be those of a mask of each image, got {words}.")
    for what, tensor, side in (("masks", masks, found), ("truth_masks", truth_masks, truth)):
        total = sum(size * each for size, each in zip(_sizes(side), words, strict=True))
        _check(name, what, tensor, (total,), torch.int64)
        _check_device(name, tensor, state)


Box = list[float]


def _area(box: Box) -> float:
    return box[2] * box[3]


def box_iou(first: Box, second: Box, crowd: bool) -> float:
    """Return the IoU of two boxes (x, y, w, h); of a crowd the share of the first one in it."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (_area(first) if crowd else _area(first) + _area(second) - both)


def mask_iou(first: int, second: int, crowd: bool) -> float:
    """Return the IoU of two masks, the bits of a number."""
    both = (first & second).bit_count()
    whole = first.bit_count() + (0 if crowd else second.bit_count() - both)
    return both / whole if both else 0.0


def best_match(
    ious: list[float], order: list[int], least: float, taken: list[bool], crowds: list[bool],
    ignored: list[bool],
) -> int:  # fmt: skip
    """Return which ground truth a detection takes, or -1.

    Args:
        ious: of the detection with each ground truth.
        order: of the ground truths, those that are ignored behind the others.
        least: what the IoU must reach.
        taken: whether another detection has taken one.
        crowds: whether any number of detections may take one.
        ignored: whether one does not count.
    """
    match, least = -1, min(least, _MOST_IOU)
    for g in order:
        if taken[g] and not crowds[g]:
            continue
        if match >= 0 and ignored[g] and not ignored[match]:
            break
        if ious[g] >= least:
            least, match = ious[g], g
    return match


class _Rule:
    """What all images are matched by."""

    def __init__(
        self, thresholds: list[float], ranges: list[float], max_dets: int, by_class: bool
    ) -> None:
        self.thresholds = thresholds
        self.ranges = [*zip(ranges[::2], ranges[1::2], strict=True)]
        self.max_dets = max_dets
        self.by_class = by_class

    def outside(self, area: float) -> list[bool]:
        """Return of each range whether an area is outside."""
        return [area < low or area > high for low, high in self.ranges]

    def row(self, head: list[int], matched: int, ignored: int) -> list[int]:
        """Return the columns of a row."""
        words = words_for(len(self.thresholds) * len(self.ranges))
        data = b"".join(bits.to_bytes(8 * words, "little") for bits in (matched, ignored))
        return [*head, *struct.unpack(f"<{2 * words}q", data)]


class _Image:
    """One image, as lists of numbers.

    Args:
        rule: what it is matched by.
        number: of the image.
        found: label, score, area and shape of each detection.
        truth: label, whether it is a crowd, area and shape of each ground truth.
        iou: of a detection's and a ground truth's shape.
    """

    def __init__(
        self, rule: _Rule, number: int, found: list[tuple[int, float, float, Any]],
        truth: list[tuple[int, bool, float, Any]], iou: Callable[[Any, Any, bool], float],
    ) -> None:  # fmt: skip
        self.rule, self.number, self.found, self.truth, self.iou = rule, number, found, truth, iou
        self.crowds = [crowd for _, crowd, *_ in truth]
        self.ignored = [[crowd or out for out in rule.outside(area)] for _, crowd, area, _ in truth]

    def truth_rows(self) -> Iterator[list[int]]:
        """Give the rows of the ground truths."""
        for (label, *_), ignored in zip(self.truth, self.ignored, strict=True):
            counted = sum(1 << a for a, out in enumerate(ignored) if not out)
            yield self.rule.row([0, label, self.number, -1], counted, 0)

    def match(self) -> tuple[list[list[int]], list[float]]:
        """Return the rows of the detections, and the IoU of each class one after another."""
        rows: list[list[int]] = [[] for _ in self.found]
        ious: list[float] = []
        for label in sorted({self._label(x) for x in self.found}):
            found = [d for d, x in enumerate(self.found) if self._label(x) == label]
            found.sort(key=lambda d: -self.found[d][1])
            truth = [g for g, x in enumerate(self.truth) if self._label(x) == label]
            for rank, d in enumerate(found):
                rows[d] = self._row(d, rank, 0, 0)
            ious += self._match_class(found[: self.rule.max_dets], truth, rows)
        return rows, ious

    def _label(self, item: tuple[Any, ...]) -> int:
        return int(item[0]) if self.rule.by_class else 0

    def _row(self, d: int, rank: int, matched: int, ignored: int) -> list[int]:
        label, score, *_ = self.found[d]
        (bits,) = struct.unpack("<q", struct.pack("<d", score))
        return self.rule.row([bits, label, self.number, rank], matched, ignored)

    def _match_class(
        self, found: list[int], truth: list[int], rows: list[list[int]]
    ) -> list[float]:
        shapes = [self.truth[g][3] for g in truth], [self.crowds[g] for g in truth]
        ious = [
            [self.iou(self.found[d][3], *pair) for pair in zip(*shapes, strict=True)] for d in found
        ]
        outside = [self.rule.outside(self.found[d][2]) for d in found]
        crowds = [self.crowds[g] for g in truth]
        bits = [[0, 0] for _ in found]
        for a in range(len(self.rule.ranges)):
            ignored = [self.ignored[g][a] for g in truth]
            order = sorted(range(len(truth)), key=lambda g: ignored[g])
            for t, threshold in enumerate(self.rule.thresholds):
                taken = [False] * len(truth)
                mask = 1 << (a * len(self.rule.thresholds) + t)
                for d, own in enumerate(bits):
                    match = best_match(ious[d], order, threshold, taken, crowds, ignored)
                    if match >= 0:
                        taken[match] = True
                        own[0] |= mask
                    if ignored[match] if match >= 0 else outside[d][a]:
                        own[1] |= mask
        for rank, (d, own) in enumerate(zip(found, bits, strict=True)):
            rows[d] = self._row(d, rank, *own)
        return [iou for row in ious for iou in row]


def _match_images(
    op: str, state: Tensor, ious: Tensor | None, shapes: tuple[list[list[Any]], list[list[Any]]],
    labels: list[Tensor], scores: list[Tensor], truth_labels: list[Tensor], crowds: list[Tensor],
    areas: list[Tensor], numbers: list[int], rule: _Rule, area: Callable[[Any], float],
    iou: Callable[[Any, Any, bool], float], is_bad: Callable[[Any], bool],
) -> None:  # fmt: skip
    """Match images whose boxes, or masks, are lists of ``shapes``."""
    nothing = [torch.zeros(len(each)) for each in truth_labels]
    tensors = labels, scores, truth_labels, crowds or nothing, areas or nothing
    columns = ([each.tolist() for each in column] for column in tensors)
    images = []
    for i, (number, ours, theirs, label, score, wanted, crowd, given) in enumerate(
        zip(numbers, *shapes, *columns, strict=True)
    ):
        if any(map(math.isnan, score)):
            raise RuntimeError(f"{op}: image {i}: `scores` must not be NaN.")
        if any(map(is_bad, (*ours, *theirs))):
            raise RuntimeError(f"{op}: image {i}: `boxes` must be finite, with no negative side.")
        sizes = [x if x > 0 else area(shape) for x, shape in zip(given, theirs, strict=True)]
        found = [*zip(label, score, map(area, ours), ours, strict=True)]
        truth = [*zip(wanted, map(bool, crowd), sizes, theirs, strict=True)]
        images.append(_Image(rule, number, found, truth, iou))
    matched = [image.match() for image in images]
    rows = [row for own, _ in matched for row in own]
    rows += [row for image in images for row in image.truth_rows()]
    if rows:
        state.copy_(torch.tensor(rows, dtype=torch.int64))
    if ious is not None:
        start = 0
        for image, (_, own) in zip(images, matched, strict=True):
            ious[start : start + len(own)] = torch.tensor(own, dtype=torch.float64)
            start += len(image.found) * len(image.truth)


def _is_bad(box: Box) -> bool:
    return not all(map(math.isfinite, box)) or box[2] < 0 or box[3] < 0


def _boxes(column: list[Tensor], box_format: int) -> list[list[Box]]:
    name = BOX_FORMATS[box_format]
    return [to_xywh(boxes.reshape(-1, 4), name).double().tolist() for boxes in column]


def box_matches_reference(
    state: Tensor, ious: Tensor | None, boxes: list[Tensor], labels: list[Tensor],
    scores: list[Tensor], truth_boxes: list[Tensor], truth_labels: list[Tensor],
    crowds: list[Tensor], areas: list[Tensor], numbers: list[int], thresholds: list[float],
    ranges: list[float], max_dets: int, by_class: bool, box_format: int,
) -> None:  # fmt: skip
    """Plain Python twin of the compiled kernel."""
    shapes = _boxes(boxes, box_format), _boxes(truth_boxes, box_format)
    rule = _Rule(thresholds, ranges, max_dets, by_class)
    _match_images(
        "box_matches_", state, ious, shapes, labels, scores, truth_labels, crowds, areas, numbers,
        rule, _area, box_iou, _is_bad,
    )  # fmt: skip


def _masks(words: Tensor, labels: list[Tensor], sizes: list[int]) -> list[list[int]]:
    """Return packed masks of each image as numbers."""
    reader = iter(words.tolist())

    def mask(size: int) -> int:
        data = struct.pack(f"<{size}q", *itertools.islice(reader, size))
        return int.from_bytes(data, "little")

    return [[mask(size) for _ in range(len(own))] for own, size in zip(labels, sizes, strict=True)]


def mask_matches_reference(
    state: Tensor, ious: Tensor | None, masks: Tensor, labels: list[Tensor],
    scores: list[Tensor], truth_masks: Tensor, truth_labels: list[Tensor],
    crowds: list[Tensor], areas: list[Tensor], numbers: list[int], thresholds: list[float],
    ranges: list[float], max_dets: int, by_class: bool, words: list[int],
) -> None:  # fmt: skip
    """Plain Python twin of the compiled kernel."""
    shapes = _masks(masks, labels, words), _masks(truth_masks, truth_labels, words)
    rule = _Rule(thresholds, ranges, max_dets, by_class)
    _match_images(
        "mask_matches_", state, ious, shapes, labels, scores, truth_labels, crowds, areas, numbers,
        rule, int.bit_count, mask_iou, lambda _: False,
    )  # fmt: skip


def check_pack_masks(state: Tensor, masks: list[Tensor]) -> None:
    """Metadata check of `pack_masks_`, and its fake."""
    total = 0
    for each in masks:
        if each.ndim != 3 or each.dtype not in (torch.bool, torch.uint8):
            raise ValueError(
                f"pack_masks_: masks must be bool or uint8 [N, H, W], got {each.dtype}"
                f" {shape_text(each)}."
            )
        if not each.is_contiguous() or each.device != state.device:
            raise ValueError("pack_masks_: masks must be contiguous, on the device of the state.")
        total += each.shape[0] * words_for(each.shape[1] * each.shape[2])
    _check("pack_masks_", "state", state, (total,), torch.int64)


def pack_masks_reference(state: Tensor, masks: list[Tensor]) -> None:
    """Plain torch twin of the compiled kernel."""
    places = torch.arange(WORD, device=state.device)
    start = 0
    for each in masks:
        flat = each.flatten(1) != 0
        words = words_for(flat.shape[1])
        flat = torch.nn.functional.pad(flat, (0, words * WORD - flat.shape[1]))
        packed = (flat.view(len(flat), words, WORD).long() << places).sum(-1).flatten()
        state[start : start + len(packed)] = packed
        start += len(packed)


_SCHEMA = (
    "(Tensor(a!) state, Tensor(b!)? ious, {kind}, Tensor[] labels, Tensor[] scores,"
    " {truth}, Tensor[] truth_labels, Tensor[] crowds, Tensor[] areas, int[] numbers,"
    " float[] thresholds, float[] ranges, int max_dets, bool by_class, {last})"
)
_box_matches = define(
    "box_matches_",
    _SCHEMA.format(kind="Tensor[] boxes", truth="Tensor[] truth_boxes", last="int box_format"),
    box_matches_reference, check_box_matches, triton=False,
)  # fmt: skip
_mask_matches = define(
    "mask_matches_",
    _SCHEMA.format(kind="Tensor masks", truth="Tensor truth_masks", last="int[] words"),
    mask_matches_reference, check_mask_matches, triton=False,
)  # fmt: skip
_pack_masks = define(
    "pack_masks_", "(Tensor(a!) state, Tensor[] masks)", pack_masks_reference, check_pack_masks,
    triton=False,
)  # fmt: skip


def box_matches_(
    state: Tensor,
    ious: Tensor | None,
    boxes: list[Tensor],
    labels: list[Tensor],
    scores: list[Tensor],
    truth_boxes: list[Tensor],
    truth_labels: list[Tensor],
    crowds: list[Tensor],
    areas: list[Tensor],
    numbers: list[int],
    thresholds: list[float],
    ranges: list[float],
    max_dets: int,
    by_class: bool = True,
    box_format: int = 0,
) -> None:
    """Match the detections of each image with its ground truths, and write a row for each of them.

    In each class (or in the whole image) detections are taken by falling score, equal ones in
    order, ``max_dets`` at most. Each takes the ground truth of the highest IoU that reaches the
    threshold and is not taken; of equal ones the last, and one that counts before one that is
    ignored. Crowds, and what lies outside of a range of areas, are ignored; a crowd can be taken
    any number of times, and the IoU with it is the share of the detection that lies inside.

    Args:
        state: int64 ``[D + G, 4 + 2 * words]``, changed in place: detections, then ground truths.
            Columns are the bits of the score as float64, class, number of the image, place among
            the detections of class and image (-1 for a ground truth), then the bits "matched" and
            "ignored", ``a * T + t`` for threshold t and range a. A ground truth has bit a set
            where it counts in range a.
        ious: optional float64, as many as pairs in all images: the IoU ``[D, G]`` of each class of
            an image, one class after another from the first pair of the image on.
        boxes: of each image real numbers ``[d, 4]``, brought to (x, y, width, height) in their own
            dtype. An image without detections may have tensors of any dtype here and below.
        labels: integers ``[d]``.
        scores: floats ``[d]``.
        truth_boxes: real numbers ``[g, 4]``.
        truth_labels: integers ``[g]``.
        crowds: numbers ``[g]``, 0 for what is no crowd; an empty list if there are none.
        areas: numbers ``[g]``; where one is not above 0, width times height stands for it. An empty
            list if none is given.
        numbers: of the images.
        thresholds: T of IoU.
        ranges: lowest and highest area of each range, at most 64 pairs.
        max_dets: how many detections of a class and image are matched.
        by_class: whether only those of one class can match.
        box_format: the place in ``BOX_FORMATS``: "xyxy", "xywh", "cxcywh".

    Raises:
        ValueError: shapes, dtypes or devices do not fit; the first such image is named.
        RuntimeError: a box is not finite or has a negative side, or a score is NaN; the state is
            unchanged.

    Cost: reads each box once; for each class of an image ``d * g`` IoU.

    >>> import torch
    >>> from fastmetrics.ops import box_matches_
    >>> from fastmetrics.ops.box_matches import BITS
    >>> box, one = [torch.tensor([[0.0, 0.0, 4.0, 4.0]])], [torch.tensor([1])]
    >>> rows, score = torch.zeros(2, 6, dtype=torch.int64), [torch.tensor([0.5])]
    >>> box_matches_(rows, None, box, one, score, box, one, [], [], [0], [0.5], [0, 1e9], 9)
    >>> rows[:, BITS:]
    tensor([[1, 0],
            [1, 0]])
    """
    _box_matches(
        state, ious, boxes, labels, scores, truth_boxes, truth_labels, crowds, areas, numbers,
        thresholds, ranges, max_dets, by_class, box_format,
    )  # fmt: skip


def mask_matches_(
    state: Tensor,
    ious: Tensor | None,
    masks: Tensor,
    labels: list[Tensor],
    scores: list[Tensor],
    truth_masks: Tensor,
    truth_labels: list[Tensor],
    crowds: list[Tensor],
    areas: list[Tensor],
    numbers: list[int],
    thresholds: list[float],
    ranges: list[float],
    max_dets: int,
    by_class: bool,
    words: list[int],
) -> None:
    """Do as :func:`box_matches_` for masks.

    Args:
        state: as there.
        ious: as there.
        masks: int64: the words of all masks, as :func:`pack_masks_` writes them.
        labels: as there.
        scores: as there.
        truth_masks: as ``masks``.
        truth_labels: as there.
        crowds: as there.
        areas: as there; where one is not above 0, the number of pixels stands for it.
        numbers: as there.
        thresholds: as there.
        ranges: as there.
        max_dets: as there.
        by_class: as there.
        words: of a mask of each image.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a score is NaN; the state is unchanged.

    Cost: reads a mask once for its area, and twice for each pair of one class.

    >>> import torch
    >>> from fastmetrics.ops import mask_matches_
    >>> bits, one, score = torch.tensor([0b1111]), [torch.tensor([1])], [torch.tensor([0.5])]
    >>> rows, rule = torch.zeros(2, 6, dtype=torch.int64), ([0.5], [0, 9], 9, True)
    >>> mask_matches_(rows, None, bits, one, score, bits, one, [], [], [0], *rule, [1])
    >>> rows[0, 4]
    tensor(1)
    """
    _mask_matches(
        state, ious, masks, labels, scores, truth_masks, truth_labels, crowds, areas, numbers,
        thresholds, ranges, max_dets, by_class, words,
    )  # fmt: skip


def pack_masks_(state: Tensor, masks: list[Tensor]) -> None:
    """Write masks as bits: bit ``i % 64`` of word ``i // 64`` is pixel i, row by row.

    Args:
        state: int64 ``[W]``: ``ceil(H * W / 64)`` words for each mask, one mask after another.
            Changed in place.
        masks: bool or uint8 ``[N, H, W]``, contiguous; any number but 0 is set.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.

    Cost: reads each mask once.

    >>> import torch
    >>> from fastmetrics.ops import pack_masks_
    >>> words = torch.zeros(1, dtype=torch.int64)
    >>> pack_masks_(words, [torch.tensor([[[True, False], [True, True]]])])
    >>> words
    tensor([13])
    """
    _pack_masks(state, masks)
