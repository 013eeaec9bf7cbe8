"""Panoptic quality: torchmetrics' values, states and errors."""

from __future__ import annotations

import itertools

import pytest
import torch
import torchmetrics.detection as theirs
import torchmetrics.functional.detection as their_functions
from torch import Tensor

import fastmetrics.detection as ours
import fastmetrics.functional.detection as functions

CATEGORIES = {"things": {5, 1, 9}, "stuffs": {7, 2}}
FLAGS = [*itertools.product((False, True), repeat=2)]


def maps(seed: int, unknown: bool = True) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)

    def one(other: int) -> Tensor:
        categories = torch.tensor([5, 1, 9, 2, 7, other if unknown else 1])
        place = torch.randint(6, (3, 8, 8), generator=draw)
        return torch.stack([categories[place], torch.randint(3, (3, 8, 8), generator=draw)], -1)

    preds, target = one(30), one(33)
    return torch.where(torch.rand(3, 8, 8, 1, generator=draw) < 0.7, target, preds), target


def agree(ours: Tensor, theirs: Tensor) -> None:
    """Their ratios are float32."""
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize(("both", "each"), FLAGS)
def test_values_states_and_checkpoints(both, each):
    options = {"return_sq_and_rq": both, "return_per_class": each}
    options |= {"allow_unknown_preds_category": True, **CATEGORIES}
    own, other = ours.PanopticQuality(**options), theirs.PanopticQuality(**options)
    for seed in range(3):
        agree(own(*maps(seed)), other(*maps(seed)))
        found = functions.panoptic_quality(*maps(seed), **options)
        agree(found, their_functions.panoptic_quality(*maps(seed), **options))
    agree(own.compute(), other.compute())
    for name in ("iou_sum", "true_positives", "false_positives", "false_negatives"):
        agree(getattr(own, name), getattr(other, name))
    assert own.things == other.things and own.void_color == other.void_color
    assert own.cat_id_to_continuous_id == other.cat_id_to_continuous_id
    own.persistent("torchmetrics")
    other.persistent(True)
    one, another = theirs.PanopticQuality(**options), ours.PanopticQuality(**options)
    one.persistent(True)
    one.load_state_dict(own.state_dict())
    another.load_state_dict(other.state_dict())
    agree(own.compute(), one.compute())
    agree(another.compute(), other.compute())


def test_modified_values():
    options = {"allow_unknown_preds_category": True, **CATEGORIES}
    own, other = (x.ModifiedPanopticQuality(**options) for x in (ours, theirs))
    for seed in range(5):
        agree(own(*maps(seed)), other(*maps(seed)))
        found = functions.modified_panoptic_quality(*maps(seed), **options)
        agree(found, own.__class__(**options)(*maps(seed)))
    agree(own.compute(), other.compute())


def test_images_may_be_split():
    whole, parts = (ours.PanopticQuality(**CATEGORIES) for _ in range(2))
    preds, target = maps(1, unknown=False)
    whole.update(preds, target)
    for i in range(3):
        parts.update(preds[i : i + 1], target[i : i + 1])
    torch.testing.assert_close(parts.compute(), whole.compute(), rtol=1e-15, atol=0)


def test_unknown_categories_and_what_is_no_map_are_refused_without_a_trace():
    metric = ours.PanopticQuality(**CATEGORIES)
    preds, target = maps(1)
    refused = [
        ((preds, target), ValueError, "`preds` must hold categories among"),
        ((preds.tolist(), target), ValueError, "`preds` must be a dense tensor, got"),
        ((preds[:2], target), ValueError, "the same shape"),
        ((preds[..., :1], target[..., :1]), ValueError, r"shape \(N, ..., 2\)"),
        ((preds[0, 0], target[0, 0]), ValueError, r"shape \(N, ..., 2\)"),
    ]
    for batch, error, words in refused:
        with pytest.raises(error, match=words):
            metric.update(*batch)
    assert not metric._states.values["matches"].any() and not metric.update_count


def test_categories_are_looked_at():
    for kind in (ours.PanopticQuality, ours.ModifiedPanopticQuality):
        with pytest.raises(ValueError, match="no category in common"):
            kind(things={1}, stuffs={1, 2})
        with pytest.raises(TypeError, match="`things` must hold integers"):
            kind(things={"car"}, stuffs={2})
        with pytest.raises(ValueError, match="must have a category"):
            kind(things=set(), stuffs=set())
        with pytest.warns(UserWarning, match="`things` holds duplicates"):
            kind(things=[1, 1], stuffs=[2])


def test_nothing_known_has_no_quality():
    void = torch.full((1, 4, 2), 99)
    metric = ours.PanopticQuality(allow_unknown_preds_category=True, **CATEGORIES)
    assert metric(void, void).isnan()
