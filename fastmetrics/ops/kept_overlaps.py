"""Sums of how much the boxes of images overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, check_form, frozen
from fastmetrics.ops.box_overlaps import CIOU, box_overlaps_
from fastmetrics.ops.detections import (
    Images,
    check_columns,
    check_images,
    columns,
    joined,
    to_xyxy,
)
from fastmetrics.utilities.data import dim_zero_cat
from fastmetrics.utilities.dtypes import result_dtype

_LISTS = ("truth_labels", "truth_sums", "found_labels")


def invalid_value(kind: int) -> float:
    """Return what stands for a pair that does not count; a pair of this value does not either."""
    return -2.0 if kind == CIOU else -1.0


@frozen(kw_only=True)
class Overlaps(Statistic):
    """How much detections and ground truths of one image overlap, summed over pairs that count.

    The states are ``sums``, float64 ``[2]``: values and pairs; with ``by_class`` also the lists
    ``truth_labels`` int64 ``[G]``, ``truth_sums`` float64 ``[G, 2]``: those of each ground truth,
    and ``found_labels`` int64 ``[D]``.

    An image that has only one side counts as a pair of value 0 for each box of it; without
    ``respect_labels`` as a square of such pairs.

    Attributes:
        kind: which value, as in :func:`~fastmetrics.ops.box_overlaps.box_overlaps_`.
        threshold: what a pair must reach to count, or None.
        respect_labels: whether only pairs of one class count.
        by_class: whether each class has sums of its own.
        box_format: of the boxes that come.
    """

    kind: int
    threshold: float | None = None
    respect_labels: bool = True
    by_class: bool = False
    box_format: str = "xyxy"

    op = staticmethod(box_overlaps_)
    exact = ("sums", "truth_sums")

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {"sums": "sum", **(dict.fromkeys(_LISTS, "cat") if self.by_class else {})}

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        return {"sums": sums, **({name: [] for name in _LISTS} if self.by_class else {})}

    @override
    def add(  # type: ignore[override]  # images are no tensors
        self, states: States, preds: Images, target: Images, weight: None = None
    ) -> None:
        """Add one batch of images."""
        check_images(preds, target)
        found = columns("preds", preds, ("boxes", "labels"))
        truth = columns("target", target, ("boxes", "labels"))
        check_columns("preds", found)
        check_columns("target", truth)
        if not preds:
            return
        boxes, others = (
            to_xyxy(joined(side["boxes"]).reshape(-1, 4), self.box_format)
            for side in (found, truth)
        )
        ours, theirs = (joined(side["labels"]).long() for side in (found, truth))
        sizes = [[each.numel() for each in side["labels"]] for side in (found, truth)]
        pairs = _Pairs(sizes[0], sizes[1], ours.device)
        values = torch.zeros(pairs.count, dtype=torch.float64, device=boxes.device)
        box_overlaps_(values, boxes, others, pairs.rows, pairs.columns, self.kind)
        rounded = values.to(result_dtype(boxes, others))
        counts = rounded != invalid_value(self.kind)
        if self.threshold is not None:
            counts &= ~(rounded < self.threshold)
        if self.respect_labels:
            counts &= ours[pairs.rows] == theirs[pairs.columns]
        each = torch.stack((torch.where(counts, rounded, 0).double(), counts.double()), 1)
        lonely = pairs.lonely(self.respect_labels)
        states.values["sums"] += each.sum(0)
        states.values["sums"][1] += lonely
        if self.by_class:
            sums = pairs.of_truths(each, self.respect_labels)
            states.append(dict(zip(_LISTS, (theirs, sums, ours), strict=True)))

    def read(self, states: States) -> Tensor:
        """Return the mean of all pairs that count, float32; 0 where there are none."""
        sums: Tensor = states.values["sums"]
        return (sums[0] / sums[1]).nan_to_num(nan=0.0).float()

    def read_classes(self, states: States) -> dict[int, Tensor]:
        """Return the mean of each class that came, by the ground truths; waits for a GPU."""
        truth, sums, found = (dim_zero_cat(held) if len(held) else None for held in (
            states.values[name] for name in _LISTS
        ))  # fmt: skip
        if truth is None or sums is None or found is None:
            return {}
        means = {}
        for label in torch.cat((truth, found)).unique().tolist():
            total, count = sums[truth == label].sum(0).unbind()
            means[int(label)] = torch.where(count > 0, total / count, 0).float()
        return means

    @property
    @override
    def batches(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]  # see `by_class`
        return (("truth_labels", "truth_sums"), ("found_labels",)) if self.by_class else ()

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        for name, tensor in zip(names, tensors, strict=True):
            if name == "truth_sums":
                check_form(name, tensor, ("G", 2), torch.float64)
            else:
                check_form(name, tensor, ("N",), torch.int64)


class _Pairs:
    """All pairs of the boxes of each image, ground truth by ground truth; waits for no device."""

    def __init__(self, found: list[int], truth: list[int], device: torch.device) -> None:
        self.sizes = [*zip(found, truth, strict=True)]
        self.count = sum(n * m for n, m in self.sizes)
        sizes = torch.tensor(self.sizes, dtype=torch.int64, device=device)
        first = sizes.cumsum(0) - sizes
        # Each ground truth is in as many pairs as its image has detections.
        images = torch.arange(len(found), device=device)
        of_truth = images.repeat_interleave(sizes[:, 1], output_size=sum(truth))
        self.lengths = sizes[of_truth, 0]
        truths = torch.arange(sum(truth), device=device)
        self.columns = truths.repeat_interleave(self.lengths, output_size=self.count)
        start = self.lengths.cumsum(0) - self.lengths
        place = torch.arange(self.count, device=device) - start[self.columns]
        self.rows = first[of_truth[self.columns], 0] + place
        self.without_found = of_truth, sizes

    def lonely(self, one_each: bool) -> int:
        """Return the number of pairs that stand for images with only one side."""
        alone = [n + m for n, m in self.sizes if not n or not m]
        return sum(alone) if one_each else sum(size * size for size in alone)

    def of_truths(self, each: Tensor, one_each: bool) -> Tensor:
        """Return values and number of the pairs of each ground truth, ``[G, 2]``."""
        sums = torch.segment_reduce(each, "sum", lengths=self.lengths)
        of_truth, sizes = self.without_found
        pairs = torch.ones_like(of_truth) if one_each else sizes[of_truth, 1]
        sums[:, 1] += torch.where(self.lengths == 0, pairs, 0)
        return sums
