"""What is kept of detections: one row of integers for each, and for each ground truth."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, check_form, frozen
from fastmetrics.ops.box_matches import (
    CLASS,
    RANK,
    box_matches_,
    mask_matches_,
    pack_masks_,
    row_width,
    words_for,
)
from fastmetrics.ops.counted import TINY
from fastmetrics.ops.detections import (
    BOX_FORMATS,
    KEYS,
    Images,
    check_columns,
    check_images,
    checked_masks,
    columns,
    numbers_of,
    on_cpu,
    optional,
)
from fastmetrics.utilities.data import dim_zero_cat

# Names of the ranges of areas, and their bounds in pixels, both inside.
RANGES = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
_BOUNDS = [bound for bounds in RANGES.values() for bound in bounds]
CPU = torch.device("cpu")
# Classes are counted, which is faster than sorting, if they lie no further apart.
_MOST_COUNTED = 2**20


@frozen(kw_only=True)
class Matches(Statistic):
    """Detections and ground truths of images, matched as they come.

    The states are lists with a tensor for each batch, int64 unless said otherwise:

    - ``bbox``, ``segm``: the rows ``[N, W]`` of :func:`~fastmetrics.ops.box_matches.box_matches_`,
      where boxes, or masks, of one class match; with ``together`` those of any class;
    - ``bbox_by_class``, ``segm_by_class``: the same by class, beside those of any class;
    - ``bbox_ious``, ``segm_ious``: float32, for each image as many IoU as it has pairs, in front
      those of its first class, then those of the next; and ``bbox_sizes``, ``segm_sizes``
      ``[n, 3]``: of an image the images of its batch, its detections and its ground truths.

    Attributes:
        iou_types: "bbox", "segm" or both.
        thresholds: of IoU.
        max_dets: how many detections of a class and image are matched.
        together: whether classes are one.
        by_class: whether rows by class are kept beside those of any class.
        box_format: of the boxes that come.
        keeps_ious: whether IoU are kept.
    """

    iou_types: tuple[str, ...]
    thresholds: tuple[float, ...]
    max_dets: int
    together: bool = False
    by_class: bool = False
    box_format: str = "xyxy"
    keeps_ious: bool = False

    op = staticmethod(box_matches_)

    @property
    def groupings(self) -> dict[str, tuple[str, bool]]:
        """Type of IoU, and whether classes are apart, by the name of the state with its rows."""
        found = {each: (each, not self.together) for each in self.iou_types}
        if self.together and self.by_class:
            found |= {f"{each}_by_class": (each, True) for each in self.iou_types}
        return found

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return dict.fromkeys(self.empty(), "cat")

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        names = [*self.groupings]
        if self.keeps_ious:
            names += [f"{each}_{kind}" for each in self.iou_types for kind in ("ious", "sizes")]
        return {name: [] for name in names}

    @override
    def add(  # type: ignore[override]  # images are no tensors
        self, states: States, preds: Images, target: Images, weight: None = None
    ) -> None:
        """Match one batch of images."""
        check_images(preds, target)
        if not preds:
            return
        batch = _Batch(self.iou_types, preds, target)
        new: dict[str, Tensor] = {}
        for name, (iou_type, by_class) in self.groupings.items():
            keeps = self.keeps_ious and name == iou_type
            ious = batch.new_ious() if keeps else None
            new[name] = batch.match(self, iou_type, by_class, ious)
            if ious is not None:
                new |= {f"{name}_ious": ious.float(), f"{name}_sizes": batch.sizes_of_images()}
        states.append({name: tensor.to(batch.device) for name, tensor in new.items()})

    def rows_of(self, states: States, name: str) -> Tensor:
        """Return all rows under one name, on the CPU."""
        width = row_width(len(self.thresholds), len(RANGES))
        held = states.values[name]
        if isinstance(held, list) and not held:
            return torch.zeros(0, width, dtype=torch.int64)
        return dim_zero_cat(held).to(CPU).contiguous()

    def classes(self, states: States) -> Tensor:
        """Return the classes that came, rising."""
        labels = self.rows_of(states, [*self.groupings][-1])[:, CLASS]
        if not len(labels):
            return labels
        low, high = (int(x) for x in labels.aminmax())
        counted = high - low <= _MOST_COUNTED
        found: Tensor = (
            (labels - low).bincount().nonzero().flatten() + low if counted else labels.unique()
        )
        return found

    def ious(self, states: States, iou_type: str) -> dict[tuple[int, int], Tensor | list[Tensor]]:
        """Return the IoU of each image and class: float32 ``[D, G]``, or an empty list."""
        sizes, values = (
            dim_zero_cat(held).to(CPU) if len(held) else torch.zeros(0, 3)
            for held in (states.values[f"{iou_type}_{kind}"] for kind in ("sizes", "ious"))
        )
        rows = iter(self.rows_of(states, iou_type)[:, [CLASS, RANK]].tolist())
        classes = [0] if self.together else self.classes(states).tolist()
        found: dict[tuple[int, int], Tensor | list[Tensor]] = {}
        images, image, start = [*map(tuple, sizes.tolist())], 0, 0
        while image < len(images):
            batch = images[image : image + images[image][0]]
            preds = [[*itertools.islice(rows, d)] for _, d, _ in batch]
            target = [[*itertools.islice(rows, g)] for _, _, g in batch]
            for own, truth in zip(preds, target, strict=True):
                found |= {(image, k): [] for k in classes}
                counts, truths = self._count_classes(own), self._count_classes(truth)
                place = start
                for k in sorted(counts.keys() & truths.keys()):
                    matrix = values[place : place + counts[k] * truths[k]]
                    found[image, k] = matrix.view(counts[k], truths[k]).clone()
                    place += matrix.numel()
                start += len(own) * len(truth)
                image += 1
        return found

    def _count_classes(self, heads: list[list[int]]) -> Counter[int]:
        """Return how many objects of each class take part, of class and rank of each."""
        return Counter(0 if self.together else k for k, rank in heads if rank < self.max_dets)

    @property
    @override
    def batches(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]  # see the fields
        return tuple((name,) for name in self.empty())

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        (name,), (tensor,) = names, tensors
        if name.endswith("_ious"):
            check_form(name, tensor, ("N",), torch.float32)
        elif name.endswith("_sizes"):
            check_form(name, tensor, ("N", 3), torch.int64)
        else:
            width = row_width(len(self.thresholds), len(RANGES))
            check_form(name, tensor, ("N", width), torch.int64)


class _Batch:
    """Both sides of a batch as columns on the CPU: matching goes from one detection to the next.

    A batch on another device is copied here once, whatever its number of images.

    Attributes:
        found: the columns of ``preds``.
        truth: those of ``target``.
        sizes: how many detections, and ground truths, each image has.
        device: of the images.
    """

    def __init__(self, iou_types: Sequence[str], preds: Images, target: Images) -> None:
        keys = [KEYS[each] for each in iou_types]
        self.found = columns("preds", preds, (*keys, "labels", "scores"))
        self.truth = columns("target", target, (*keys, "labels"))
        labels = self.found["labels"], self.truth["labels"]
        try:
            self.device: torch.device = labels[0][0].device
            self.sizes = [[*map(Tensor.numel, side)] for side in labels]
        except (AttributeError, TypeError):
            self._check()
            raise
        more = any(map(len(self.truth).__lt__, map(len, target)))  # keys than those that must be
        for key in ("iscrowd", "area"):
            self.truth[key] = optional(target, key, labels[1]) if more else []
        self.numbers = numbers_of(target) if more else [0] * len(target)
        if "masks" in keys or self.device != CPU:
            self._check()
        if "masks" in keys:
            self._pack_masks("boxes" in keys)
        if self.device != CPU:
            for side in (self.found, self.truth):
                side |= {key: on_cpu(column) for key, column in side.items() if column}

    def _check(self) -> None:
        for name, side in (("preds", self.found), ("target", self.truth)):
            check_columns(name, {key: x for key, x in side.items() if x and key != "masks"})

    def _pack_masks(self, with_boxes: bool) -> None:
        found, truth = (
            checked_masks(name, side.pop("masks"), side["labels"])
            for name, side in (("preds", self.found), ("target", self.truth))
        )
        self.words = _mask_words(found, truth)
        self.masks = [_packed(masks, self.device).to(CPU) for masks in (found, truth)]
        if with_boxes:  # then masks say how large objects are, as upstream
            # An area of 0 would be none that is given.
            areas = [(each != 0).flatten(1).sum(1).double().clamp(min=TINY) for each in truth]
            given = self.truth["area"] or areas
            self.truth["area"] = [
                torch.where(x > 0, x.double(), y) for x, y in zip(given, areas, strict=True)
            ]

    def sizes_of_images(self) -> Tensor:
        """Return of each image the images of the batch, its detections and its ground truths."""
        count = len(self.sizes[0])
        return torch.tensor([(count, d, g) for d, g in zip(*self.sizes, strict=True)])

    def new_ious(self) -> Tensor:
        """Return memory for the IoU of all pairs."""
        pairs = sum(d * g for d, g in zip(*self.sizes, strict=True))
        return torch.zeros(pairs, dtype=torch.float64)

    def match(
        self, statistic: Matches, iou_type: str, by_class: bool, ious: Tensor | None
    ) -> Tensor:
        """Return the rows of the batch."""
        found, truth = self.found, self.truth
        width = row_width(len(statistic.thresholds), len(RANGES))
        rows = torch.empty(sum(map(sum, self.sizes)), width, dtype=torch.int64)
        boxes = iou_type == "bbox"
        op: Callable[..., None] = box_matches_ if boxes else mask_matches_
        shapes: Sequence[Any] = (found["boxes"], truth["boxes"]) if boxes else self.masks
        op(
            rows,
            ious,
            shapes[0],
            found["labels"],
            found["scores"],
            shapes[1],
            truth["labels"],
            truth["iscrowd"],
            truth["area"],
            self.numbers,
            [*statistic.thresholds],
            _BOUNDS,
            statistic.max_dets,
            by_class,
            BOX_FORMATS.index(statistic.box_format) if boxes else self.words,
        )
        return rows


def _mask_words(found: list[Tensor], truth: list[Tensor]) -> list[int]:
    """Return how many words a mask of each image takes.

    Raises:
        ValueError: detections and ground truths of an image have masks of different shapes.
    """
    words = []
    for i, (ours, theirs) in enumerate(zip(found, truth, strict=True)):
        if len(ours) and len(theirs) and ours.shape[1:] != theirs.shape[1:]:
            raise ValueError(
                f"image {i}: `masks` of `preds` and `target` must have one shape (H, W), got"
                f" {tuple(ours.shape[1:])} and {tuple(theirs.shape[1:])}."
            )
        height, width = (ours if len(ours) else theirs).shape[1:]
        words.append(words_for(height * width))
    return words


def _packed(masks: list[Tensor], device: torch.device) -> Tensor:
    """Return masks as words."""
    total = sum(len(each) * words_for(each.shape[1] * each.shape[2]) for each in masks)
    words = torch.zeros(total, dtype=torch.int64, device=device)
    pack_masks_(words, masks)
    return words
