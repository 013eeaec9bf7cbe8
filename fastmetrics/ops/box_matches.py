"""Matches of detections and ground truths, image by image, as the COCO tools make them.

A batch is flat: the boxes or masks of all images one after another, and a table that says how many
of them each image has. What is kept of a detection is one row of integers, so that states are small
and merge by standing behind one another.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from fastmetrics.ops.checks import LABEL_DTYPES, SCORE_DTYPES, shape_text
from fastmetrics.ops.define import define

__all__ = ["box_matches_", "mask_matches_", "pack_masks_"]

# Columns of a row. Behind them the bits "matched", then the bits "ignored": bit ``a * T + t`` of
# words of 64 for range of areas a and threshold t. A ground truth has rank -1, and as its first
# word the bits of those ranges in which it counts.
SCORE, CLASS, IMAGE, RANK, BITS = range(5)
# Columns of `layout`: detections, ground truths, number of the image, words of each mask.
LAYOUT = 4
# What a detection must reach at least, whatever the threshold.
_MOST_IOU = 1 - 1e-10
# Bits of a word.
WORD = 64
MOST_RANGES = 64


def words_for(bits: int) -> int:
    """Return how many words hold so many bits."""
    return -(-bits // WORD)


def row_width(thresholds: int, ranges: int) -> int:
    """Return the number of columns of a row."""
    return BITS + 2 * words_for(thresholds * ranges)


def _check(name: str, what: str, tensor: Tensor, shape: tuple[int, ...], *dtypes: Any) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype not in dtypes or not tensor.is_contiguous():
        kinds = "real" if len(dtypes) > 1 else str(dtypes[0]).removeprefix("torch.")
        wanted = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
        raise ValueError(
            f"{name}: `{what}` must be contiguous {kinds} {wanted}, got {tensor.dtype}"
            f" {shape_text(tensor)}."
        )


def _check_batch(
    name: str, state: Tensor, ious: Tensor | None, pairs: tuple[tuple[str, Tensor, Tensor], ...],
    labels: Tensor, confidences: Tensor, truth_labels: Tensor, crowds: Tensor, areas: Tensor,
    layout: Tensor, thresholds: list[float], ranges: list[float], max_dets: int,
) -> None:  # fmt: skip
    """Raise unless all but the boxes and masks go together."""
    found, truth = labels.numel(), truth_labels.numel()
    _check(name, "labels", labels, (found,), torch.int64)
    _check(name, "confidences", confidences, (found,), torch.float64)
    _check(name, "truth_labels", truth_labels, (truth,), torch.int64)
    _check(name, "crowds", crowds, (truth,), torch.bool)
    _check(name, "areas", areas, (truth,), torch.float64)
    images = layout.shape[0] if layout.ndim else 0
    _check(name, "layout", layout, (images, LAYOUT), torch.int64)
    if not thresholds:
        raise ValueError(f"{name}: `thresholds` must hold at least one.")
    if not 2 <= len(ranges) <= 2 * MOST_RANGES or len(ranges) % 2:
        raise ValueError(
            f"{name}: `ranges` must hold 1 to {MOST_RANGES} pairs, got {len(ranges)} numbers."
        )
    if max_dets < 0:
        raise ValueError(f"{name}: `max_dets` must be at least 0, got {max_dets}.")
    width = row_width(len(thresholds), len(ranges) // 2)
    _check(name, "state", state, (found + truth, width), torch.int64)
    if ious is not None:
        _check(name, "ious", ious, (ious.numel(),), torch.float64)
    inputs = (labels, confidences, truth_labels, crowds, areas, layout)
    for tensor in (*inputs, *(x for _, *both in pairs for x in both)):
        if tensor.device != state.device:
            raise ValueError(
                f"{name}: all inputs must be on the device of the state, {state.device}, got"
                f" {tensor.device}."
            )


def check_box_matches(
    state: Tensor, ious: Tensor | None, boxes: Tensor, labels: Tensor, confidences: Tensor,
    truth_boxes: Tensor, truth_labels: Tensor, crowds: Tensor, areas: Tensor, layout: Tensor,
    thresholds: list[float], ranges: list[float], max_dets: int, by_class: bool,
) -> None:  # fmt: skip
    """Metadata check of `box_matches_`, and its fake."""
    name, real = "box_matches_", SCORE_DTYPES | LABEL_DTYPES
    _check_batch(
        name, state, ious, (("boxes", boxes, truth_boxes),), labels, confidences, truth_labels,
        crowds, areas, layout, thresholds, ranges, max_dets,
    )  # fmt: skip
    _check(name, "boxes", boxes, (labels.numel(), 4), *real)
    _check(name, "truth_boxes", truth_boxes, (truth_labels.numel(), 4), *real)


def check_mask_matches(
    state: Tensor, ious: Tensor | None, masks: Tensor, labels: Tensor, confidences: Tensor,
    truth_masks: Tensor, truth_labels: Tensor, crowds: Tensor, areas: Tensor, layout: Tensor,
    thresholds: list[float], ranges: list[float], max_dets: int, by_class: bool,
) -> None:  # fmt: skip
    """Metadata check of `mask_matches_`, and its fake."""
    name = "mask_matches_"
    _check_batch(
        name, state, ious, (("masks", masks, truth_masks),), labels, confidences, truth_labels,
        crowds, areas, layout, thresholds, ranges, max_dets,
    )  # fmt: skip
    _check(name, "masks", masks, (masks.numel(),), torch.int64)
    _check(name, "truth_masks", truth_masks, (truth_masks.numel(),), torch.int64)


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
        found: label, score and area of each detection.
        truth: label, whether it is a crowd, and area of each ground truth.
        iou: of a detection and a ground truth, by their places.
    """

    def __init__(
        self, rule: _Rule, number: int, found: list[tuple[int, float, float]],
        truth: list[tuple[int, bool, float]], iou: Callable[[int, int, bool], float],
    ) -> None:  # fmt: skip
        self.rule, self.number, self.found, self.truth, self.iou = rule, number, found, truth, iou
        self.crowds = [crowd for _, crowd, _ in truth]
        self.ignored = [[crowd or out for out in rule.outside(area)] for _, crowd, area in truth]

    def truth_rows(self) -> Iterator[list[int]]:
        """Give the rows of the ground truths."""
        for (label, _, _), ignored in zip(self.truth, self.ignored, strict=True):
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
        label, score, _ = self.found[d]
        (bits,) = struct.unpack("<q", struct.pack("<d", score))
        return self.rule.row([bits, label, self.number, rank], matched, ignored)

    def _match_class(
        self, found: list[int], truth: list[int], rows: list[list[int]]
    ) -> list[float]:
        ious = [[self.iou(d, g, self.crowds[g]) for g in truth] for d in found]
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


def _images(
    layout: Tensor, found: list[Any], truth: list[Any]
) -> Iterator[tuple[int, int, list[Any], list[Any]]]:
    """Give number, words of a mask, detections and ground truths of each image."""
    d = g = 0
    for num_found, num_truth, number, words in layout.tolist():
        yield number, words, found[d : d + num_found], truth[g : g + num_truth]
        d, g = d + num_found, g + num_truth


def _write(state: Tensor, ious: Tensor | None, layout: Tensor, images: list[_Image]) -> None:
    """Match the images, and write what comes of them."""
    matched = [image.match() for image in images]
    rows = [row for own, _ in matched for row in own]
    rows += [row for image in images for row in image.truth_rows()]
    if rows:
        state.copy_(torch.tensor(rows, dtype=torch.int64))
    if ious is not None:
        start = 0
        for (_, own), sizes in zip(matched, layout.tolist(), strict=True):
            ious[start : start + len(own)] = torch.tensor(own, dtype=torch.float64)
            start += sizes[0] * sizes[1]


def box_matches_reference(
    state: Tensor, ious: Tensor | None, boxes: Tensor, labels: Tensor, confidences: Tensor,
    truth_boxes: Tensor, truth_labels: Tensor, crowds: Tensor, areas: Tensor, layout: Tensor,
    thresholds: list[float], ranges: list[float], max_dets: int, by_class: bool,
) -> None:  # fmt: skip
    """Plain Python twin of the compiled kernel."""
    rule = _Rule(thresholds, ranges, max_dets, by_class)
    found = [*zip(boxes.double().tolist(), labels.tolist(), confidences.tolist(), strict=True)]
    given = truth_labels.tolist(), crowds.tolist(), areas.tolist()
    truth = [*zip(truth_boxes.double().tolist(), *given, strict=True)]
    images = []
    for i, (number, _, own, wanted) in enumerate(_images(layout, found, truth)):
        _refuse_scores("box_matches_", i, [score for *_, score in own])
        for box, *_ in (*own, *wanted):
            if not all(map(math.isfinite, box)) or box[2] < 0 or box[3] < 0:
                raise RuntimeError(
                    f"box_matches_: image {i}: `boxes` must be finite, with no negative side."
                )

        def iou(d: int, g: int, crowd: bool, own: Any = own, wanted: Any = wanted) -> float:
            return box_iou(own[d][0], wanted[g][0], crowd)

        images.append(
            _Image(
                rule, number, [(label, score, _area(box)) for box, label, score in own],
                [(k, crowd, x if x > 0 else _area(box)) for box, k, crowd, x in wanted], iou,
            )
        )  # fmt: skip
    _write(state, ious, layout, images)


def mask_matches_reference(
    state: Tensor, ious: Tensor | None, masks: Tensor, labels: Tensor, confidences: Tensor,
    truth_masks: Tensor, truth_labels: Tensor, crowds: Tensor, areas: Tensor, layout: Tensor,
    thresholds: list[float], ranges: list[float], max_dets: int, by_class: bool,
) -> None:  # fmt: skip
    """Plain Python twin of the compiled kernel."""
    rule = _Rule(thresholds, ranges, max_dets, by_class)
    found = [*zip(labels.tolist(), confidences.tolist(), strict=True)]
    truth = [*zip(truth_labels.tolist(), crowds.tolist(), areas.tolist(), strict=True)]
    bits = _Bits(masks), _Bits(truth_masks)
    images = []
    for i, (number, words, own, wanted) in enumerate(_images(layout, found, truth)):
        _refuse_scores("mask_matches_", i, [score for _, score in own])
        shapes = [
            reader.take(len(items), words)
            for reader, items in zip(bits, (own, wanted), strict=True)
        ]

        def iou(d: int, g: int, crowd: bool, shapes: Any = shapes) -> float:
            return mask_iou(shapes[0][d], shapes[1][g], crowd)

        sizes = [[float(mask.bit_count()) for mask in some] for some in shapes]
        images.append(
            _Image(
                rule, number, [(*item, size) for item, size in zip(own, sizes[0], strict=True)],
                [
                    (label, crowd, area if area > 0 else size)
                    for (label, crowd, area), size in zip(wanted, sizes[1], strict=True)
                ], iou,
            )
        )  # fmt: skip
    _write(state, ious, layout, images)


class _Bits:
    """Packed masks, read one after another as numbers."""

    def __init__(self, words: Tensor) -> None:
        self.words: list[int] = words.tolist()
        self.next = 0

    def take(self, count: int, words: int) -> list[int]:
        """Return the next masks, each of so many words."""
        starts = range(self.next, self.next + count * words, words) if words else [0] * count
        self.next += count * words
        pieces = [self.words[start : start + words] for start in starts]
        return [int.from_bytes(struct.pack(f"<{words}q", *piece), "little") for piece in pieces]


def _refuse_scores(name: str, image: int, scores: list[float]) -> None:
    if any(map(math.isnan, scores)):
        raise RuntimeError(f"{name}: image {image}: `scores` must not be NaN.")


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
    "(Tensor(a!) state, Tensor(b!)? ious, Tensor {kind}, Tensor labels, Tensor confidences,"
    " Tensor truth_{kind}, Tensor truth_labels, Tensor crowds, Tensor areas, Tensor layout,"
    " float[] thresholds, float[] ranges, int max_dets, bool by_class)"
)
_box_matches = define(
    "box_matches_", _SCHEMA.format(kind="boxes"), box_matches_reference, check_box_matches,
    triton=False,
)  # fmt: skip
_mask_matches = define(
    "mask_matches_", _SCHEMA.format(kind="masks"), mask_matches_reference, check_mask_matches,
    triton=False,
)  # fmt: skip
_pack_masks = define(
    "pack_masks_", "(Tensor(a!) state, Tensor[] masks)", pack_masks_reference, check_pack_masks,
    triton=False,
)  # fmt: skip


def box_matches_(
    state: Tensor,
    ious: Tensor | None,
    boxes: Tensor,
    labels: Tensor,
    confidences: Tensor,
    truth_boxes: Tensor,
    truth_labels: Tensor,
    crowds: Tensor,
    areas: Tensor,
    layout: Tensor,
    thresholds: list[float],
    ranges: list[float],
    max_dets: int,
    by_class: bool = True,
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
        boxes: any real dtype ``[D, 4]``, ``(x, y, width, height)``.
        labels: int64 ``[D]``.
        confidences: float64 ``[D]``.
        truth_boxes: any real dtype ``[G, 4]``.
        truth_labels: int64 ``[G]``.
        crowds: bool ``[G]``.
        areas: float64 ``[G]``; where it is not above 0, width times height stands for it.
        layout: int64 ``[I, 4]``: for each image its detections, ground truths, number, and (for
            masks) words.
        thresholds: T of IoU.
        ranges: lowest and highest area of each range, at most 64 pairs.
        max_dets: how many detections of a class and image are matched.
        by_class: whether only those of one class can match.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a box is not finite or has a negative side, or a score is NaN; the state is
            unchanged.

    Cost: reads each box once; for each class of an image ``D * G`` IoU.

    >>> import torch
    >>> from fastmetrics.ops import box_matches_
    >>> from fastmetrics.ops.box_matches import BITS
    >>> box, one = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.ones(1, dtype=torch.int64)
    >>> rows, layout = torch.zeros(2, 6, dtype=torch.int64), torch.tensor([[1, 1, 0, 0]])
    >>> score, area = torch.tensor([0.5]).double(), torch.zeros(1).double()
    >>> crowd = torch.tensor([False])
    >>> box_matches_(rows, None, box, one, score, box, one, crowd, area, layout, [0.5], [0, 1e9], 9)
    >>> rows[:, BITS:]
    tensor([[1, 0],
            [1, 0]])
    """
    _box_matches(
        state, ious, boxes, labels, confidences, truth_boxes, truth_labels, crowds, areas, layout,
        thresholds, ranges, max_dets, by_class,
    )  # fmt: skip


def mask_matches_(
    state: Tensor,
    ious: Tensor | None,
    masks: Tensor,
    labels: Tensor,
    confidences: Tensor,
    truth_masks: Tensor,
    truth_labels: Tensor,
    crowds: Tensor,
    areas: Tensor,
    layout: Tensor,
    thresholds: list[float],
    ranges: list[float],
    max_dets: int,
    by_class: bool = True,
) -> None:
    """Do as :func:`box_matches_` for masks.

    Args:
        state: as there.
        ious: as there.
        masks: int64: the words of all masks, as :func:`pack_masks_` writes them; those of image i
            have ``layout[i, 3]`` each.
        labels: as there.
        confidences: as there.
        truth_masks: as ``masks``.
        truth_labels: as there.
        crowds: as there.
        areas: as there; where it is not above 0, the number of pixels stands for it.
        layout: as there.
        thresholds: as there.
        ranges: as there.
        max_dets: as there.
        by_class: as there.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        RuntimeError: a score is NaN; the state is unchanged.

    Cost: reads a mask once for its area, and twice for each pair of one class.

    >>> import torch
    >>> from fastmetrics.ops import mask_matches_
    >>> bits, one = torch.tensor([0b1111]), torch.ones(1, dtype=torch.int64)
    >>> rows, layout = torch.zeros(2, 6, dtype=torch.int64), torch.tensor([[1, 1, 0, 1]])
    >>> score, area = torch.tensor([0.5]).double(), torch.zeros(1).double()
    >>> no = torch.tensor([False])
    >>> mask_matches_(rows, None, bits, one, score, bits, one, no, area, layout, [0.5], [0, 9], 9)
    >>> rows[0, 4]
    tensor(1)
    """
    _mask_matches(
        state, ious, masks, labels, confidences, truth_masks, truth_labels, crowds, areas, layout,
        thresholds, ranges, max_dets, by_class,
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
