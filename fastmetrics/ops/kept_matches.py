"""What is kept of detections: one row of integers for each, and for each ground truth."""

from __future__ import annotations

import functools
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
    row_width,
)
from fastmetrics.ops.detections import (
    Detections,
    Images,
    check_images,
    flatten,
    mask_words,
    numbers_of,
    optional,
    packed_masks,
    to_xywh,
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

    The states are lists with a tensor for each batch, all int64 or float64:

    - ``bbox``, ``segm``: the rows ``[N, W]`` of :func:`~fastmetrics.ops.box_matches.box_matches_`,
      where boxes, or masks, of one class match; with ``together`` those of any class;
    - ``bbox_by_class``, ``segm_by_class``: the same by class, beside those of any class;
    - ``bbox_ious``, ``segm_ious``: IoU of each class of an image, and ``bbox_pairs``,
      ``segm_pairs`` ``[n, 3]``: their classes and shapes, behind a row of -1 for each image.

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
            names += [f"{each}_{kind}" for each in self.iou_types for kind in ("ious", "pairs")]
        return {name: [] for name in names}

    @override
    def add(  # type: ignore[override]  # images are no tensors
        self, states: States, preds: Images, target: Images, weight: None = None
    ) -> None:
        """Match one batch of images."""
        check_images(preds, target)
        with torch.no_grad():
            self._add(states, preds, target)

    def _add(self, states: States, preds: Images, target: Images) -> None:
        convert = functools.partial(to_xywh, box_format=self.box_format)
        found = flatten("preds", preds, self.iou_types, convert, scores=True)
        truth = flatten("target", target, self.iou_types, convert)
        if not preds:
            return
        batch = FlatBatch(found, truth, target)
        new: dict[str, Tensor] = {}
        for name, (iou_type, by_class) in self.groupings.items():
            keeps = self.keeps_ious and name == iou_type
            ious = batch.new_ious() if keeps else None
            rows = batch.match(self, iou_type, by_class, ious)
            new[name] = rows
            if ious is not None:
                new |= self._matrices(iou_type, batch, rows, ious)
        for name, tensor in new.items():
            on_device = tensor if batch.device == CPU else tensor.to(batch.device)
            states.values[name].append(on_device)

    def _matrices(
        self, iou_type: str, batch: FlatBatch, rows: Tensor, ious: Tensor
    ) -> dict[str, Tensor]:
        """Return the IoU of a batch one after another, and what they are of."""
        found = rows[: len(batch.found.labels)]
        labels = batch.found.labels.tolist(), batch.truth.labels.tolist()
        kept = (found[:, RANK] < self.max_dets).tolist()
        pairs, pieces, start, d, g = [], [], 0, 0, 0
        for num_found, num_truth in zip(batch.found.sizes, batch.truth.sizes, strict=True):
            own = [0 if self.together else labels[0][i] for i in range(d, d + num_found) if kept[i]]
            wanted = [0 if self.together else x for x in labels[1][g : g + num_truth]]
            sizes = Counter(own), Counter(wanted)
            pairs.append((-1, -1, -1))
            shapes = [(k, n, sizes[1][k]) for k, n in sorted(sizes[0].items()) if sizes[1][k]]
            pairs += shapes
            pieces.append(ious[start : start + sum(n * m for _, n, m in shapes)])
            start, d, g = start + num_found * num_truth, d + num_found, g + num_truth
        return {
            f"{iou_type}_ious": torch.cat(pieces),
            f"{iou_type}_pairs": torch.tensor(pairs, dtype=torch.int64),
        }

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
        pairs, values = (
            dim_zero_cat(held).to(CPU) if len(held) else torch.zeros(0, 3)
            for held in (states.values[f"{iou_type}_{kind}"] for kind in ("pairs", "ious"))
        )
        classes = [0] if self.together else self.classes(states).tolist()
        found: dict[tuple[int, int], Tensor | list[Tensor]] = {}
        image, start = -1, 0
        for label, rows, columns in pairs.tolist():
            if rows < 0:
                image += 1
                found |= {(image, k): [] for k in classes}
                continue
            part = values[start : start + rows * columns]
            found[image, label] = part.view(rows, columns).float()
            start += rows * columns
        return found

    @property
    @override
    def batches(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]  # see the fields
        return tuple((name,) for name in self.empty())

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        (name,), (tensor,) = names, tensors
        if name.endswith("_ious"):
            check_form(name, tensor, ("N",), torch.float64)
        elif name.endswith("_pairs"):
            check_form(name, tensor, ("N", 3), torch.int64)
        else:
            width = row_width(len(self.thresholds), len(RANGES))
            check_form(name, tensor, ("N", width), torch.int64)


class FlatBatch:
    """Both sides of a batch, on the CPU: matching goes from one detection to the next.

    A batch on another device is copied here once, whatever its number of images.
    """

    def __init__(self, found: Detections, truth: Detections, target: Images) -> None:
        self.found, self.truth = found, truth
        self.device = found.labels.device
        self.target = target
        sizes = truth.sizes
        crowds, areas = (optional("target", target, key, sizes) for key in ("iscrowd", "area"))
        count = sum(sizes)
        self.crowds = torch.zeros(count, dtype=torch.bool) if crowds is None else crowds != 0
        self.areas = torch.zeros(count, dtype=torch.float64) if areas is None else areas
        self.words = [0] * len(sizes)
        self.masks: tuple[Tensor | None, Tensor | None] = None, None
        if found.masks is not None and truth.masks is not None:
            self.words = mask_words(found.masks, truth.masks)
            self.masks = (
                packed_masks(found.masks, self.device),
                packed_masks(truth.masks, self.device),
            )
            if found.boxes is not None:  # then masks say how large objects are, as upstream
                self.areas = self._areas_of_masks(truth.masks)
        self.layout = torch.tensor(
            [*zip(found.sizes, sizes, numbers_of(target), self.words, strict=True)],
            dtype=torch.int64,
        )

    def _areas_of_masks(self, masks: Sequence[Tensor]) -> Tensor:
        sums = [(each != 0).flatten(1).sum(1).double().to(self.areas.device) for each in masks]
        return torch.where(self.areas > 0, self.areas, torch.cat(sums))

    def new_ious(self) -> Tensor:
        """Return memory for the IoU of all pairs."""
        pairs = zip(self.found.sizes, self.truth.sizes, strict=True)
        return torch.zeros(sum(d * g for d, g in pairs), dtype=torch.float64)

    def match(
        self, statistic: Matches, iou_type: str, by_class: bool, ious: Tensor | None
    ) -> Tensor:
        """Return the rows of the batch."""
        found, truth = self.found, self.truth
        op: Callable[..., None] = box_matches_ if iou_type == "bbox" else mask_matches_
        ours, theirs = (found.boxes, truth.boxes) if iou_type == "bbox" else self.masks
        assert ours is not None and theirs is not None and found.scores is not None
        rows = torch.empty(
            len(found.labels) + len(truth.labels),
            row_width(len(statistic.thresholds), len(RANGES)),
            dtype=torch.int64,
        )
        inputs = [ours, found.labels, found.scores, theirs, truth.labels, self.crowds, self.areas]
        if self.device != CPU:
            inputs = [tensor.to(CPU) for tensor in inputs]
        op(
            rows,
            ious,
            *inputs,
            self.layout,
            [*statistic.thresholds],
            _BOUNDS,
            statistic.max_dets,
            by_class,
        )
        return rows
