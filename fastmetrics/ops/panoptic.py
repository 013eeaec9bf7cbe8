"""Segments of panoptic maps, matched by their intersection over union."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from fastmetrics.core.states import States
from fastmetrics.core.statistic import Statistic, View, frozen
from fastmetrics.ops.checks import check_devices, check_label_dtype, shape_text
from fastmetrics.ops.define import define
from fastmetrics.ops.faults import INVALID, new_events
from fastmetrics.utilities.recording import is_recorded

__all__ = ["panoptic_"]

# Columns of the state, as torchmetrics names them.
COLUMNS = ("iou_sum", "true_positives", "false_positives", "false_negatives")
IOU, TP, FP, FN = range(4)


def check_panoptic(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor,
    things: Sequence[int], stuffs: Sequence[int], modified: bool, allow_unknown: bool,
) -> None:  # fmt: skip
    """Metadata check of `panoptic_`, and its fake."""
    if preds.shape != target.shape:
        raise ValueError(
            "panoptic_: `preds` and `target` must have the same shape, got"
            f" {shape_text(preds)} and {shape_text(target)}."
        )
    if preds.ndim < 3 or preds.shape[-1] != 2:
        raise ValueError(
            "panoptic_: `preds` and `target` must have shape (N, ..., 2), pairs of category and"
            f" instance, got {shape_text(preds)}."
        )
    check_label_dtype("panoptic_", "preds", preds)
    check_label_dtype("panoptic_", "target", target)
    check_devices("panoptic_", state, preds, target)
    wanted = (len(things) + len(stuffs), 4)
    if state.dtype != torch.float64 or state.shape != wanted:
        raise ValueError(
            f"panoptic_: `state` must be float64 {wanted}, got {state.dtype} {shape_text(state)}."
        )


def explain_panoptic(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor,
    things: Sequence[int], stuffs: Sequence[int], modified: bool, allow_unknown: bool,
) -> None:  # fmt: skip
    """Raise ``ValueError`` for the first unknown category of ``preds``, if that is refused."""
    categories = preds[..., 0].flatten()
    known = torch.tensor([*things, *stuffs], device=categories.device)
    unknown = ~torch.isin(categories, known)
    if not allow_unknown and unknown.any():
        place = int(unknown.nonzero()[0])
        raise ValueError(
            f"panoptic_: `preds` must hold categories among {[*things, *stuffs]}, got"
            f" {categories[place].item()}."
        )


def _numbered(keys: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the number of the group of each entry, and an entry of each group.

    Entries are in a group where all keys, which are ``[M]``, are equal. There are as many groups as
    entries, so that nothing waits for the device: those too many are empty, with any entry.
    """
    order = torch.arange(len(keys[0]), device=keys[0].device)
    for key in keys:
        order = order[key[order].argsort(stable=True)]
    starts = torch.zeros_like(order)
    for key in keys:
        sorted_key = key[order]
        starts[1:] |= sorted_key[1:] != sorted_key[:-1]
    numbers = torch.empty_like(order).scatter_(0, order, starts.cumsum(0))
    return numbers, torch.zeros_like(order).scatter_(0, numbers, order.sort().values)


def _category_places(categories: Tensor, known: Sequence[int]) -> Tensor:
    """Return the place of each category among those known, -1 if it is not."""
    listed = torch.tensor(known).to(categories.device, non_blocking=True)
    ordered, places = listed.sort()
    found = torch.searchsorted(ordered, categories.contiguous()).clamp(max=len(known) - 1)
    return torch.where(ordered[found] == categories, places[found], -1)


def panoptic_reference(
    state: Tensor, events: Tensor, preds: Tensor, target: Tensor,
    things: Sequence[int], stuffs: Sequence[int], modified: bool, allow_unknown: bool,
) -> None:  # fmt: skip
    """Plain torch twin of the compiled kernel, of all images in one go."""
    if not preds.numel():
        return
    sample = torch.arange(len(preds), device=preds.device)
    sample = sample.repeat_interleave(preds[0].numel() // 2)
    segments, categories, areas, kinds = [], [], [], []
    for name, given in (("preds", preds), ("target", target)):
        category, instance = given.long().reshape(-1, 2).unbind(1)
        category = _category_places(category, [*things, *stuffs])
        if name == "preds" and not allow_unknown:
            if preds.is_cpu:
                explain_panoptic(
                    state, events, preds, target, things, stuffs, modified, allow_unknown
                )
            events[INVALID] += (category < 0).sum()
        is_thing = (category >= 0) & (category < len(things))
        number, entry = _numbered([instance.where(is_thing, 0), category, sample])
        segments.append(number)
        categories.append(category)
        areas.append(torch.zeros_like(number).index_add_(0, number, torch.ones_like(number)))
        kinds.append(category[entry])
    void = [
        torch.zeros_like(number).index_add_(0, number, (category < 0).long())
        for number, category in zip(segments, reversed(categories), strict=True)
    ]
    number, entry = _numbered(segments)
    common = torch.zeros_like(number).index_add_(0, number, torch.ones_like(number))
    pair = [segment[entry] for segment in segments]
    kind = kinds[0][pair[0]]
    alike = (common > 0) & (kind >= 0) & (kind == kinds[1][pair[1]])
    union = sum((area[i] - v[i] for area, v, i in zip(areas, void, pair, strict=True)), -common)
    by_area = (kinds[1] >= len(things)) & modified
    by_area_pair = (kind >= len(things)) & modified
    hit = alike & (2 * common > union) & ~by_area_pair
    iou = torch.where(hit | (alike & by_area_pair), common / union.clamp(min=1).double(), 0.0)
    state[:, IOU].index_add_(0, kind.clamp(min=0), iou)
    state[:, TP].index_add_(0, kind.clamp(min=0), hit.double())
    true_kinds = kinds[1].clamp(min=0)
    exists = (areas[1] > 0) & (kinds[1] >= 0)
    state[:, TP].index_add_(0, true_kinds, (exists & by_area).double())
    for side, column in ((0, FP), (1, FN)):
        matched = torch.zeros_like(number).index_add_(0, pair[side], hit.long()) > 0
        missed = (areas[side] > 0) & (kinds[side] >= 0) & ~matched
        missed &= (2 * void[side] <= areas[side]) & ~((kinds[side] >= len(things)) & modified)
        state[:, column].index_add_(0, kinds[side].clamp(min=0), missed.double())


_panoptic = define(
    "panoptic_",
    "(Tensor(a!) state, Tensor(b!) events, Tensor preds, Tensor target, int[] things,"
    " int[] stuffs, bool modified, bool allow_unknown)",
    panoptic_reference,
    check_panoptic,
    explain=explain_panoptic,
    triton=False,
)


def panoptic_(
    state: Tensor,
    events: Tensor,
    preds: Tensor,
    target: Tensor,
    things: Sequence[int],
    stuffs: Sequence[int],
    modified: bool = False,
    allow_unknown: bool = False,
) -> None:
    """Add one batch to the matches of segments of each category.

    The pixels of an image with one category and instance are a segment; all of one category of
    ``stuffs`` are. Pixels of other categories are void. Two segments of a category match where
    their intersection over union, without pixels that are void in the other map, is above 1/2.
    Those without a match count as false unless more than half of them is void in the other map.

    Args:
        state: float64 ``[K, 4]``, a row for each of ``things`` and then ``stuffs``: the sum of the
            intersections over union of matches, their number, and those of false positives and
            false negatives. Changed in place.
        events: int64 ``[4]``. Changed in place.
        preds: category and instance of each pixel, ``[N, ..., 2]``, any integer dtype.
        target: the same.
        things: categories whose instances are told apart.
        stuffs: those whose are not.
        modified: add the intersections over union of all segments of ``stuffs``, and count those of
            ``target`` instead of matches, of which there are no false ones.
        allow_unknown: whether ``preds`` may have void pixels.

    Raises:
        ValueError: shapes, dtypes or devices do not fit; a category of ``preds`` is unknown (CPU).
            The state is unchanged.

    Cost: reads ``preds`` and ``target`` once; temporaries grow with the segments of an image.

    >>> import torch
    >>> from fastmetrics.ops import panoptic_
    >>> from fastmetrics.ops.faults import new_events
    >>> state = torch.zeros(2, 4, dtype=torch.float64)
    >>> preds = torch.tensor([[[0, 1], [0, 1], [0, 1], [6, 0]]])
    >>> target = torch.tensor([[[0, 1], [0, 1], [6, 0], [6, 0]]])
    >>> panoptic_(state, new_events(), preds, target, [0], [6])
    >>> state
    tensor([[0.6667, 1.0000, 0.0000, 0.0000],
            [0.0000, 0.0000, 1.0000, 1.0000]], dtype=torch.float64)
    """
    _panoptic(state, events, preds, target, [*things], [*stuffs], modified, allow_unknown)


@frozen()
class Matches(Statistic):
    """The matches of segments of each category, ``matches`` ``[K, 4]``.

    Attributes:
        things: categories whose instances are told apart, in order.
        stuffs: those whose are not, in order.
        modified: whether segments of ``stuffs`` count by what they have in common.
        allow_unknown: whether ``preds`` may hold other categories.
    """

    things: tuple[int, ...]
    stuffs: tuple[int, ...]
    modified: bool = False
    allow_unknown: bool = False

    op = staticmethod(panoptic_)
    exact = ("matches", "events")

    @property
    @override
    def reductions(self) -> Mapping[str, Any]:
        return {"matches": "sum", "events": "sum"}

    @override
    def empty(self, device: torch.device | None = None) -> dict[str, Any]:
        categories = len(self.things) + len(self.stuffs)
        matches = torch.zeros(categories, 4, dtype=torch.float64, device=device)
        return {"matches": matches, "events": new_events(device)}

    @override
    def arguments(self) -> tuple[Any, ...]:
        return self.things, self.stuffs, self.modified, self.allow_unknown

    @override
    def add(
        self, states: States, preds: Tensor, target: Tensor, weight: Tensor | None = None
    ) -> None:
        if weight is not None:
            raise ValueError("`weight` must be None: images of segments all count the same.")
        values = states.values
        panoptic_(values["matches"], values["events"], preds, target, *self.arguments())

    @override
    def report(self, owner: str, states: States) -> None:
        if is_recorded():
            return
        unknown = states.values["events"][INVALID].item()
        if unknown:
            raise ValueError(
                f"{owner}: {unknown} pixels of `preds` had categories other than"
                f" {[*self.things, *self.stuffs]}."
            )

    @override
    def views(self) -> Mapping[str, View]:
        def get(column: int, states: States) -> Tensor:
            values: Tensor = states.values["matches"][:, column]
            return values.clone() if column == IOU else values.int()

        def put(column: int, states: States, value: Any) -> None:
            states.values["matches"][:, column] = torch.as_tensor(value)

        return {
            name: View(partial(get, column), partial(put, column))
            for column, name in enumerate(COLUMNS)
        }
