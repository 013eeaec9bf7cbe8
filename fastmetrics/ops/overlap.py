"""How far predicted and true segments overlap: counts of each class, of each image or of all.

Labels and scores are counted by `stat_scores_`, masks by `label_confusion_`; `overlap_sums_` adds
up the scores of images.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.reductions import Merger
from fastmetrics.core.states import Batch, States
from fastmetrics.core.statistic import Statistic, check_form, frozen
from fastmetrics.ops.checks import labels_in
from fastmetrics.ops.confusion import Confusion, label_confusion_
from fastmetrics.ops.counted import TABLE_ORDER, TINY, CountStatistic, is_readable
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import INVALID, new_events, raise_events
from fastmetrics.ops.stat_scores import counts_of_matrix, stat_scores_
from fastmetrics.utilities.checks import check_choice, check_int
from fastmetrics.utilities.data import normal_tensor

__all__ = ["overlap_sums_"]

_SUMS = "overlap_sums_"

FORMATS = ("one-hot", "index", "mixed", "logits")
WEIGHT_TYPES = ("square", "simple", "linear")
# Up to so many classes of images numbers are faster than tensors.
_FEW = 96
_SWAPPED = (0, 3, 2, 1)  # tp, fp, tn, fn with preds and target in each other's place


def shape_error(preds: Tensor, target: Tensor, wanted: str) -> RuntimeError:
    """Return what is raised for shapes that do not fit."""
    return RuntimeError(
        f"`preds` and `target` must have {wanted}, got {tuple(preds.shape)} and"
        f" {tuple(target.shape)}."
    )


def check_shapes(preds: Tensor, target: Tensor, input_format: str) -> None:
    """Raise unless the shapes are those of the format."""
    if input_format in ("one-hot", "index"):
        if preds.shape != target.shape:
            raise shape_error(preds, target, "the same shape")
    else:
        swapped = input_format == "mixed" and preds.ndim < target.ndim
        whole, labels = (target, preds) if swapped else (preds, target)
        if whole.ndim < 2 or (whole.shape[0], *whole.shape[2:]) != tuple(labels.shape):
            raise shape_error(preds, target, "shapes (N, C, ...) and (N, ...)")
    axes = max(preds.ndim, target.ndim) + (input_format == "index")
    if axes < 3:
        raise ValueError(
            "`preds` and `target` must have at least one axis of pixels, shape (N, C, ...) or"
            f" (N, ...), got {tuple(preds.shape)} and {tuple(target.shape)}."
        )
    if input_format == "logits" and not preds.is_floating_point():
        raise ValueError(f"`preds` must be floating point as logits, got {preds.dtype}.")


def classes_of(preds: Tensor, target: Tensor, input_format: str) -> int:
    """Return C, by the axis of classes of a batch.

    Raises:
        IndexError: there is no such axis.
        ValueError: it is empty, or the format has none.
    """
    if input_format == "index":
        raise ValueError("`num_classes` must be given for input_format='index', got None.")
    whole = target if preds.ndim < target.ndim else preds
    if whole.ndim < 2:
        raise IndexError(f"`preds` must have an axis of classes, got shape {tuple(preds.shape)}.")
    if not whole.shape[1]:
        raise ValueError(f"`preds` must have at least one class, got shape {tuple(preds.shape)}.")
    return whole.shape[1]


def masks_of(labels: Tensor, num_classes: int, name: str, events: Tensor) -> Tensor:
    """Return a mask ``[N, C, ...]`` of each class, where labels are ``[N, ...]``.

    Labels out of range are counted in ``events``; on a CPU they raise ``RuntimeError``.
    """
    if is_readable(labels):
        whole = labels_in(labels) if labels.is_floating_point() else labels.long()
        if whole is None:
            raise ValueError(f"`{name}` must hold integers as labels, got {labels.dtype}.")
        shape = (labels.shape[0], num_classes, *labels.shape[1:])
        masks = torch.zeros(shape, dtype=torch.bool, device=labels.device)
        try:
            return masks.scatter_(1, whole.unsqueeze(1), True)
        except RuntimeError:
            found = labels[(labels < 0) | (labels >= num_classes)][0].item()
            raise RuntimeError(f"`{name}` must lie in [0, {num_classes}), got {found}.") from None
    bad = (labels < 0) | (labels >= num_classes)
    events[INVALID] += bad.sum()
    classes = torch.arange(num_classes, device=labels.device)
    return labels.unsqueeze(1) == classes.view(-1, *[1] * (labels.ndim - 1))


def as_masks(
    preds: Tensor, target: Tensor, num_classes: int, input_format: str, events: Tensor
) -> tuple[Tensor, Tensor]:
    """Return both as masks ``[N, C, ...]``, integers or bool; scores are of their largest class."""

    def masks(name: str, given: Tensor, labels: bool) -> Tensor:
        if not labels and given.is_floating_point():
            given, labels = given.argmax(1), True
        return masks_of(given, num_classes, name, events) if labels else given

    indexed = input_format == "index"
    both = (
        masks("preds", preds, indexed or preds.ndim < target.ndim),
        masks("target", target, indexed or target.ndim < preds.ndim),
    )
    if any(mask.shape[1] != num_classes for mask in both):
        raise ValueError(
            f"`preds` and `target` must have num_classes={num_classes} entries along axis 1, got"
            f" shapes {tuple(preds.shape)} and {tuple(target.shape)}."
        )
    return both


@functools.cache
def _order() -> Tensor:
    return torch.tensor(TABLE_ORDER, device="cpu")


def _tables_of_masks(
    events: Tensor, preds: Tensor, target: Tensor, images: tuple[int, ...]
) -> Tensor:
    """Return counts of each class, ``[C, 4]`` or ``[N, C, 4]``, in the order of tables."""
    classes = preds.shape[1]
    tables = torch.zeros((*images, 1, classes, 2, 2), dtype=torch.int64, device=events.device)
    label_confusion_(tables, events, preds, target)
    return tables.view(*images, classes, 4)


@frozen()
class Overlap(CountStatistic):
    """``tp, fp, tn, fn`` of each class, ``[C, 4]``, or a tensor ``[N, C, 4]`` for each batch.

    Attributes:
        num_classes: C; None where each batch tells, of one image at a time.
        input_format: "one-hot" for two tensors ``[N, C, ...]``, "index" for two ``[N, ...]``,
            "mixed" for one of each, "logits" for scores and labels. Scores in place of masks count
            for their largest class.
        samplewise: whether each image is counted on its own.
    """

    num_classes: int | None
    input_format: str = "one-hot"
    samplewise: bool = True
    validate_args = True

    op = staticmethod(stat_scores_)

    @override
    def check(self) -> None:
        check_choice("input_format", self.input_format, FORMATS)
        if self.num_classes is not None:
            check_int("num_classes", self.num_classes, 1)
        elif self.input_format == "index":
            raise ValueError("`num_classes` must be given for input_format='index', got None.")

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self.num_classes or 1, 4

    @override
    def check_batch_states(self, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> None:
        if self.num_classes is not None:
            super().check_batch_states(names, tensors)

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        if weight is not None:
            raise ValueError("`weight` must be None: pixels of segments all count the same.")
        check_shapes(preds, target, self.input_format)
        classes = self.num_classes or classes_of(preds, target, self.input_format)
        events = states.values["events"]
        images = (len(preds),) if self.samplewise else ()
        counts = self._counts_of_batch(events, preds, target, (*images, classes, 4))
        if self.samplewise:
            states.append({"counts": counts})
        else:
            states.values["counts"] += counts

    def _counts_of_batch(
        self, events: Tensor, preds: Tensor, target: Tensor, shape: tuple[int, ...]
    ) -> Tensor:
        """Return the counts of one batch, ``[C, 4]`` or ``[N, C, 4]``."""
        classes = shape[-2]
        if self.input_format == "one-hot" and target.is_floating_point():
            target = target.argmax(1) if preds.is_floating_point() else target
        whole, labels, swapped = preds, target, preds.ndim < target.ndim
        if swapped:
            whole, labels = target, preds
        if self.input_format == "index" or (labels.ndim < whole.ndim and whole.is_floating_point()):
            counts = torch.zeros(shape, dtype=torch.int64, device=events.device)
            stat_scores_(counts, events, whole, labels, None, classes)
            return counts[..., _SWAPPED] if swapped else counts
        masks = as_masks(preds, target, classes, self.input_format, events)
        tables = _tables_of_masks(events, *masks, shape[:-2])
        # With a tensor that is there already in a third of the time.
        return (
            tables.index_select(-1, _order()) if is_readable(tables) else tables[..., TABLE_ORDER]
        )

    def few_numbers(
        self, preds: Tensor, target: Tensor, include_background: bool
    ) -> list[list[tuple[int, int, int]]] | None:
        """Return tp, fp and fn of each class of each image of a batch, in half the time of tensors.

        None unless they are few numbers, of labels or masks that the host can look at for free.
        """
        if not (is_readable(preds) and is_readable(target)):
            return None
        if preds.is_floating_point() or target.is_floating_point():
            return None
        check_shapes(preds, target, self.input_format)
        classes = self.num_classes or classes_of(preds, target, self.input_format)
        images = (len(preds),) if self.samplewise else ()
        if not 0 < math.prod(images) * classes <= _FEW:
            return None
        events = new_events(preds.device)
        first = 0 if include_background or classes == 1 else 1
        if self.input_format == "index":
            counts = torch.zeros((*images, classes, 4), dtype=torch.int64, device=preds.device)
            stat_scores_(counts, events, preds, target, None, classes)
            rows = counts.tolist() if images else [counts.tolist()]
            return [[(tp, fp, fn) for tp, fp, _, fn in image[first:]] for image in rows]
        masks = as_masks(preds, target, classes, self.input_format, events)
        tables = _tables_of_masks(events, *masks, images)
        rows = tables.tolist() if images else [tables.tolist()]
        return [[(tp, fp, fn) for _, fp, fn, tp in image[first:]] for image in rows]

    @override
    def counts_of(self, states: States) -> Tensor:
        """Return the counts ``[N, C, 4]``; N is 1 for those of all images."""
        counts = super().counts_of(states)
        return counts if self.samplewise else counts.unsqueeze(0)

    def sums(self, states: States) -> Sums:
        """Return what the scores of the images, or those of all pixels, add up to."""
        counts = self.counts_of(states)
        sums = no_sums(counts.shape[1], counts.device)
        overlap_sums_([*sums], counts)
        return sums

    @override
    def read_from(self, other: Statistic, states: States) -> dict[str, Any] | None:
        """Read the counts of all images off those of each, or off a confusion matrix."""
        if self.samplewise:
            return None
        events = states.values["events"]
        if isinstance(other, Overlap):
            same = (other.num_classes, other.input_format) == (self.num_classes, self.input_format)
            counts = other.counts_of(states).sum(0) if same and other.samplewise else None
        else:
            of_labels = self.input_format in ("index", "logits")
            same = of_labels and other == Confusion(self.num_classes or 0)
            counts = counts_of_matrix(states.values["counts"]) if same else None
        return None if counts is None else {"counts": counts, "events": events}


class Areas(NamedTuple):
    """Pixels of each class ``[N, C]`` that both have, that preds has, and that target has."""

    common: Tensor
    preds: Tensor
    target: Tensor

    def union(self) -> Tensor:
        """Return the pixels that one or both have."""
        return self.preds + self.target - self.common


def areas_of(counts: Tensor, include_background: bool = True) -> Areas:
    """Return the areas, float64, in counts ``[N, C, 4]``; without class 0 if there are others."""
    if not include_background and counts.shape[1] > 1:
        counts = counts[:, 1:]
    tp, fp, _, fn = counts.double().unbind(-1)
    return Areas(tp, tp + fp, tp + fn)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient; 0 where the denominator is 0."""
    return torch.where(denominator == 0, 0.0, numerator / denominator.where(denominator != 0, 1))


def class_ious(areas: Areas) -> Tensor:
    """Return the intersection over union of each class; NaN where neither has any of it."""
    return areas.common / areas.union()


def mean_ious(areas: Areas) -> Tensor:
    """Return the mean of :func:`class_ious` over the classes of each image; NaN without any."""
    union = areas.union()
    ious = areas.common / union.clamp_min(TINY)
    return ious.sum(-1) / union.sign().sum(-1)


def class_dices(areas: Areas) -> Tensor:
    """Return the Dice score of each class; NaN where neither has any of it."""
    return 2 * areas.common / (areas.preds + areas.target)


def generalized_dices(areas: Areas, weight_type: str) -> Tensor:
    """Return the generalized Dice score of each image ``[N]``; 0 where no class has a weight.

    Classes that an image does not have weigh nothing, but for "linear".
    """
    power = {"square": 2, "simple": 1, "linear": 0}[weight_type]
    weights = ratio(torch.ones_like(areas.target), areas.target**power)
    total = (weights * (areas.preds + areas.target)).sum(-1)
    return ratio(2 * (weights * areas.common).sum(-1), total)


class Sums(NamedTuple):
    """What the scores of images add up to.

    Attributes:
        iou: of each class, over the images in which it is ``[C]``.
        present: in how many images it is, in preds or target ``[C]``.
        dice: as ``iou``.
        generalized: with and without the background, for each type of weights ``[2, 3]``.
        images: how many there are.
    """

    iou: Tensor
    present: Tensor
    dice: Tensor
    generalized: Tensor
    images: Tensor


_OF_CLASSES = ("iou", "present", "dice")


def no_sums(num_classes: int, device: torch.device | None = None) -> Sums:
    """Return the sums of no image."""
    return Sums(
        torch.zeros(num_classes, dtype=torch.float64, device=device),
        torch.zeros(num_classes, dtype=torch.int64, device=device),
        torch.zeros(num_classes, dtype=torch.float64, device=device),
        torch.zeros(2, 3, dtype=torch.float64, device=device),
        torch.zeros((), dtype=torch.int64, device=device),
    )


def check_overlap_sums(states: list[Tensor], counts: Tensor) -> None:
    """Metadata check of `overlap_sums_`, and its fake."""
    if len(states) != len(Sums._fields):
        raise ValueError(f"{_SUMS}: `states` must be {Sums._fields}, got {len(states)} tensors.")
    sums = Sums(*states)
    if len({tensor.device for tensor in (*sums, counts)}) > 1:
        raise ValueError(f"{_SUMS}: all tensors must be on one device.")
    if counts.ndim != 3 or counts.shape[2] != 4 or counts.dtype != torch.int64:
        raise ValueError(
            f"{_SUMS}: `counts` must be int64 (N, C, 4), got {counts.dtype} {tuple(counts.shape)}."
        )
    classes = counts.shape[1]
    shapes = {"iou": (classes,), "present": (classes,), "dice": (classes,), "generalized": (2, 3)}
    for name, tensor in sums._asdict().items():
        wanted = torch.int64 if name in ("present", "images") else torch.float64
        shape = shapes.get(name, ())
        if tensor.shape != shape or tensor.dtype != wanted or not tensor.is_contiguous():
            raise ValueError(
                f"{_SUMS}: `{name}` must be contiguous {wanted} {shape}, got {tensor.dtype}"
                f" {tuple(tensor.shape)}."
            )


def overlap_sums_reference(states: list[Tensor], counts: Tensor) -> None:
    """Plain torch twin of the compiled kernel."""
    iou, present, dice, generalized, images = states
    areas = areas_of(counts)
    iou += class_ious(areas).nansum(0)
    present += (areas.preds + areas.target > 0).sum(0)
    dice += class_dices(areas).nansum(0)
    values = [
        generalized_dices(areas_of(counts, background), kind).sum()
        for background in (True, False)
        for kind in WEIGHT_TYPES
    ]
    generalized += torch.stack(values).view(2, 3)
    images += len(counts)


_overlap_sums = define(
    _SUMS,
    "(Tensor(a!)[] states, Tensor counts)",
    overlap_sums_reference,
    check_overlap_sums,
    triton=False,
)


def overlap_sums_(states: list[Tensor], counts: Tensor) -> None:
    """Add the scores of images to their sums.

    Args:
        states: as in :class:`Sums`: ``iou`` and ``dice``, float64 ``[C]``; ``present``, int64
            ``[C]``; ``generalized``, float64 ``[2, 3]``; ``images``, int64. Changed in place.
        counts: int64 ``[N, C, 4]``, tp, fp, tn and fn of each image and class.

    Raises:
        ValueError: shapes, dtypes or devices do not fit. The states are unchanged.

    >>> import torch
    >>> from fastmetrics.ops import overlap_sums_
    >>> from fastmetrics.ops.overlap import no_sums
    >>> sums = no_sums(num_classes=2)
    >>> overlap_sums_([*sums], torch.tensor([[[3, 1, 0, 0], [0, 0, 3, 1]]]))
    >>> sums.iou.tolist(), sums.present.tolist()
    ([0.75, 0.0], [1, 1])
    """
    _overlap_sums(states, counts)


class AddClasses(Merger):
    """Adds sums of each class ``[C]``, of which there is one until the first batch tells."""

    def __call__(self, parts: Tensor) -> Tensor:
        """Return the sums of all parts ``[R, C]``."""
        return parts.sum(0)

    def absorb(self, total: Tensor, batch: Tensor) -> Tensor:
        """Add ``batch`` to ``total``, in place once that knows the classes."""
        return total.add_(batch) if total.shape == batch.shape else total + batch


@frozen()
class ImageScores(Statistic):
    """The sums of the scores of images, as :class:`Sums` names them: they do not grow.

    Attributes:
        num_classes: C; None until the first batch tells.
        input_format: as for :class:`Overlap`.
    """

    num_classes: int | None
    input_format: str = "one-hot"

    op = staticmethod(stat_scores_)
    exact = Sums._fields

    @property
    def overlap(self) -> Overlap:
        """What is counted of each image."""
        return Overlap(self.num_classes, self.input_format)

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        found: dict[str, Any] = dict.fromkeys((*Sums._fields, "events"), "sum")
        if self.num_classes is None:
            found |= dict.fromkeys(_OF_CLASSES, AddClasses())
        return found

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        return {**no_sums(self.num_classes or 1, device)._asdict(), "events": new_events(device)}

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        values = states.values
        batch = Batch({"counts": [], "events": values["events"]})
        self.overlap.add(batch, preds, target, weight)
        counts = self.overlap.counts_of(batch)
        classes = counts.shape[1]
        if classes != values["iou"].shape[0]:  # the first batch tells how many there are
            grown = {name: values[name].expand(classes) for name in _OF_CLASSES}
            values.update({name: normal_tensor(x.contiguous) for name, x in grown.items()})
        overlap_sums_([*self.sums(states)], counts)

    @override
    def check_state(self, name: str, value: Tensor, default: Tensor) -> None:
        if name in _OF_CLASSES and self.num_classes is None:
            check_form(name, value, ("C",), default.dtype)
        else:
            super().check_state(name, value, default)

    @override
    def report(self, owner: str, states: States) -> None:
        raise_events(owner, states.values["events"])

    def sums(self, states: States) -> Sums:
        """Return the sums."""
        return Sums(*(states.values[name] for name in Sums._fields))

    @override
    def read_from(self, other: Statistic, states: States) -> dict[str, Any] | None:
        """Work them out of the counts of each image."""
        if other != self.overlap:
            return None
        assert isinstance(other, Overlap)
        return {**other.sums(states)._asdict(), "events": states.values["events"]}
